"""What Kannel's words mean: answers of sendsms and the types of delivery reports, as tables."""

from __future__ import annotations

from dataclasses import dataclass

from smsd.adapters.gateways.httpexchange import Answer
from smsd.core.model import Outcome, ReceiptVerdict, Verdict


@dataclass(frozen=True, slots=True)
class Meaning:
    """An answer is told by its status, then by how its body begins (an empty ``begins`` fits every body)."""

    status: range
    begins: str
    verdict: Verdict
    code: str
    detail: str = ""


def _only(status: int) -> range:
    return range(status, status + 1)


SENDSMS_ANSWERS = (
    Meaning(_only(202), "0:", Verdict.ACCEPTED, "accepted"),
    Meaning(_only(202), "3:", Verdict.ACCEPTED, "queued"),
    Meaning(_only(202), "Sent.", Verdict.ACCEPTED, "sent"),
    Meaning(
        _only(403), "Not routable", Verdict.REJECTED, "not_routable", "Kannel has no route to this number"
    ),
    Meaning(
        _only(403), "", Verdict.ACCOUNT, "authorization_failed", "Kannel refuses username, password or host"
    ),
    Meaning(
        _only(400), "Sender missing", Verdict.ACCOUNT, "sender_missing", "Kannel takes no sender name from us"
    ),
    Meaning(
        _only(400), "Number(s) has", Verdict.REJECTED, "number_denied", "Kannel's lists refuse this number"
    ),
    Meaning(_only(400), "", Verdict.REJECTED, "malformed", "Kannel refuses this message"),
    Meaning(
        _only(401), "", Verdict.ACCOUNT, "authorization_failed", "a server before Kannel asks for a login"
    ),
    Meaning(
        _only(407), "", Verdict.ACCOUNT, "authorization_failed", "a server before Kannel asks for a login"
    ),
    Meaning(_only(404), "", Verdict.ACCOUNT, "wrong_address", "there is no sendsms at gateway.url"),
    Meaning(_only(405), "", Verdict.ACCOUNT, "wrong_address", "there is no sendsms at gateway.url"),
    Meaning(_only(410), "", Verdict.ACCOUNT, "wrong_address", "there is no sendsms at gateway.url"),
    Meaning(
        range(300, 400), "", Verdict.ACCOUNT, "redirected", "gateway.url points elsewhere; it is not followed"
    ),
    Meaning(_only(408), "", Verdict.RETRY, "request_timeout", "the request did not arrive in time"),
    Meaning(_only(429), "", Verdict.RETRY, "throttled", "too many messages"),
    Meaning(range(400, 500), "", Verdict.REJECTED, "refused", "the request is refused"),
    # a server before Kannel that had no answer from it cannot know whether Kannel took the message
    Meaning(
        _only(502), "", Verdict.UNKNOWN, "no_answer_behind", "a server before Kannel had no answer from it"
    ),
    Meaning(
        _only(504), "", Verdict.UNKNOWN, "no_answer_behind", "a server before Kannel had no answer from it"
    ),
    Meaning(range(500, 600), "", Verdict.RETRY, "temporary_failure", "Kannel cannot take it now"),
)
"""The first that fits counts; what fits none cannot be read."""

RECEIPT_TYPES = {
    "1": ReceiptVerdict.DELIVERED,
    "2": ReceiptVerdict.UNDELIVERED,
    "4": ReceiptVerdict.ON_ITS_WAY,  # buffered by the SMSC
    "8": ReceiptVerdict.ON_ITS_WAY,  # taken by the SMSC
    "16": ReceiptVerdict.REJECTED,  # refused by the SMSC
    "32": ReceiptVerdict.ON_ITS_WAY,  # intermediate
}

RECEIPT_MASK = 1 + 2 + 8 + 16
"""The reports asked for: both ends, refused by the SMSC, and taken by it (which tells what became of a lost answer)."""


def outcome_of(answer: Answer) -> Outcome:
    """What an answer of sendsms means. Details are our own words: bodies may quote what was sent."""
    body = answer.body[:100].decode("latin-1").lstrip()
    for meaning in SENDSMS_ANSWERS:
        if answer.status in meaning.status and body.startswith(meaning.begins):
            told = f"HTTP {answer.status}: {meaning.detail}" if meaning.detail else ""
            return Outcome(meaning.verdict, meaning.code, told, retry_after=answer.retry_after)
    return Outcome(
        Verdict.UNKNOWN, "unrecognised_answer", f"HTTP {answer.status} is no answer of Kannel's sendsms"
    )
