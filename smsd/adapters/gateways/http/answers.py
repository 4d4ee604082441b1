"""What a provider's answer means, by the tables of its description. Whatever comes, some outcome is told.

Answers may quote what was sent, so that only codes leave this module, and those cleaned.
"""

from __future__ import annotations

import re

import structlog

from smsd.adapters.gateways.httpexchange import Answer
from smsd.config.http.description import AcceptedSettings, HttpSettings
from smsd.config.http.paths import look_up, read_body
from smsd.core.model import Outcome, Verdict

log = structlog.get_logger(__name__)

LONGEST_REFERENCE = 200
_LONGEST_CODE = 60
_MOST_CODES_TOLD = 100
"""Each unknown code is logged once, as long as there are not too many."""
_LONG_NUMBER = re.compile(r"\d{7,}")
_NOT_A_CODE = re.compile(r"[^A-Za-z0-9_.:/ -]+")

_STATUS_CLASSES: tuple[tuple[range, str, str], ...] = (
    (range(300, 400), "account", "redirected"),
    (range(400, 401), "rejected", "malformed"),
    (range(401, 402), "account", "authorization_failed"),
    (range(403, 404), "account", "authorization_failed"),
    (range(404, 406), "account", "wrong_address"),
    (range(407, 408), "account", "authorization_failed"),
    (range(408, 409), "retry", "request_timeout"),
    (range(410, 411), "account", "wrong_address"),
    (range(429, 430), "throttled", "throttled"),
    (range(400, 500), "rejected", "refused"),
    # a server that could not finish does not say how far it came; only 503 says that it did not begin
    (range(503, 504), "retry", "temporary_failure"),
    (range(500, 600), "unknown", "server_failed"),
)
"""What HTTP's own statuses mean where the description does not say otherwise; the first that fits."""

_VERDICTS = {
    "accepted": Verdict.ACCEPTED,
    "rejected": Verdict.REJECTED,
    "retry": Verdict.RETRY,
    "throttled": Verdict.RETRY,
    "account": Verdict.ACCOUNT,
    "unknown": Verdict.UNKNOWN,
}


def is_accepted(conditions: AcceptedSettings, status: int, document: object) -> bool:
    """Whether an answer meets every condition of success."""
    if not any(status in statuses for statuses in conditions.status):
        return False
    if conditions.at is None:
        return True
    found = conditions.at.find(document)
    if found is None:
        return False
    if conditions.equals is not None and found not in conditions.equals:
        return False
    return conditions.matches is None or conditions.matches.search(found) is not None


class Judge:
    """Tells the outcomes of one provider's answers."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._told: set[str] = set()

    def outcome_of(self, answer: Answer) -> Outcome:
        """The meaning of an answer: success, else its code by the table, else its HTTP status."""
        outcome, unknown = _judged(answer, self._settings)
        if unknown and unknown not in self._told and len(self._told) < _MOST_CODES_TOLD:
            self._told.add(unknown)
            log.warning(
                "provider_code_unknown",
                gateway=self._settings.name,
                code=unknown,
                counts_as=outcome.verdict.value,
                hint="name the code under gateway.errors.codes",
            )
        return outcome


def _judged(answer: Answer, settings: HttpSettings) -> tuple[Outcome, str]:
    """The outcome, and the code if it is not in the table."""
    document = read_body(answer.body, settings.answer)
    if is_accepted(settings.accepted, answer.status, document):
        return _taken(document, settings, "accepted"), ""
    code = settings.errors.at.find(document) if settings.errors.at is not None else None
    meaning = look_up(settings.errors.codes, code) if code else None
    if meaning == "accepted":
        return _taken(document, settings, cleaned(code)), ""
    if meaning is not None:
        return _refused(meaning, cleaned(code), answer, settings), ""
    by_status = _class_of_status(answer.status, settings)
    if by_status is not None:
        return _refused(*by_status, answer, settings, cleaned(code)), cleaned(code)
    if code:
        other = settings.errors.other
        word = "unrecognised_answer" if other == "unknown" else cleaned(code)
        return _refused(other, word, answer, settings, cleaned(code)), cleaned(code)
    detail = f"HTTP {answer.status} without what accepted and errors look for"
    return Outcome(Verdict.UNKNOWN, "unrecognised_answer", detail), ""


def _taken(document: object, settings: HttpSettings, code: str) -> Outcome:
    reference = reference_in(document, settings)
    wanted = settings.receipt is not None and settings.receipt.by_provider_id
    parts = (reference,) if wanted and reference is not None else ()
    return Outcome(Verdict.ACCEPTED, code, reference=reference, parts=parts)


def reference_in(document: object, settings: HttpSettings) -> str | None:
    """The provider's id of the message, if it named one that can be kept."""
    if settings.message_id is None:
        return None
    found = (settings.message_id.find(document) or "").strip()
    if not found or len(found) > LONGEST_REFERENCE or not found.isprintable():
        return None
    return found


def _refused(meaning: str, word: str, answer: Answer, settings: HttpSettings, code: str = "") -> Outcome:
    verdict = _VERDICTS[meaning]
    wait = None
    if verdict is Verdict.RETRY:
        wait = answer.retry_after
    if meaning == "throttled" and wait is None and settings.errors.wait is not None:
        wait = settings.errors.wait.total_seconds()
    told = f"HTTP {answer.status}" + (f", code {code}" if code and code != word else "")
    return Outcome(verdict, word, told, retry_after=wait)


def _class_of_status(status: int, settings: HttpSettings) -> tuple[str, str] | None:
    for statuses, meaning in settings.errors.status_classes:
        if status in statuses:
            return meaning, f"http_{status}"
    for statuses, meaning, word in _STATUS_CLASSES:
        if status in statuses:
            return meaning, word
    return None


def cleaned(code: str | None) -> str:
    """A provider's code as it may be logged: short, plain, without anything like a telephone number."""
    plain = _NOT_A_CODE.sub("?", code or "")
    return _LONG_NUMBER.sub("#", plain)[:_LONGEST_CODE].strip()
