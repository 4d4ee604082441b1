"""The message state machine: which state may follow which, and what answers, receipts, restarts and age make of one.

The store applies these by compare-and-set; nothing else decides a state.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from smsd.core.model import FINAL, MessageState, ReceiptVerdict, Verdict

S = MessageState

FOLLOWERS: dict[MessageState, frozenset[MessageState]] = {
    S.QUEUED: frozenset(
        # accepted, delivered, undelivered, rejected: a late receipt of a first try whose answer was lost
        {S.HELD, S.SENDING, S.EXPIRED, S.SUPERSEDED, S.SUPPRESSED}
        | {S.ACCEPTED, S.DELIVERED, S.UNDELIVERED, S.REJECTED}
    ),
    S.HELD: frozenset({S.QUEUED, S.SUPERSEDED, S.SUPPRESSED, S.EXPIRED}),
    S.SENDING: frozenset(
        {S.QUEUED, S.UNKNOWN, S.ACCEPTED, S.DELIVERED, S.UNDELIVERED, S.REJECTED, S.SUPERSEDED, S.EXPIRED}
    ),
    S.UNKNOWN: frozenset(
        {S.QUEUED, S.ACCEPTED, S.DELIVERED, S.UNDELIVERED, S.REJECTED, S.SUPERSEDED, S.SUPPRESSED, S.EXPIRED}
    ),
    S.ACCEPTED: frozenset({S.DELIVERED, S.UNDELIVERED, S.REJECTED}),
    **{state: frozenset() for state in FINAL},
}
"""The whole table. A state not named after another never follows it."""

RECEIPT_WAIT = timedelta(hours=72)
"""How long a final receipt is waited for; then `accepted` is how the message ends."""

FIRST_GATEWAY_WAIT = timedelta(seconds=1)
LONGEST_GATEWAY_WAIT = timedelta(seconds=60)
LONGEST_READ_WAIT = timedelta(minutes=15)
STOPPED_LINK_WAIT = timedelta(minutes=10)
REFUSALS_THAT_STOP = 10
"""So many permanent refusals (or unreadable answers) in a row stop a link: the fault is not the messages'."""

_AFTER_OUTCOME = {
    Verdict.ACCEPTED: S.ACCEPTED,
    Verdict.DELIVERED: S.DELIVERED,
    Verdict.REJECTED: S.REJECTED,
    Verdict.RETRY: S.QUEUED,
    Verdict.ACCOUNT: S.QUEUED,
    Verdict.UNKNOWN: S.UNKNOWN,
}

_AFTER_RECEIPT = {
    ReceiptVerdict.ON_ITS_WAY: S.ACCEPTED,
    ReceiptVerdict.DELIVERED: S.DELIVERED,
    ReceiptVerdict.UNDELIVERED: S.UNDELIVERED,
    ReceiptVerdict.REJECTED: S.REJECTED,
}


def may_follow(before: MessageState, after: MessageState) -> bool:
    """Whether ``after`` may come directly after ``before``."""
    return after in FOLLOWERS[before]


def after_outcome(verdict: Verdict) -> MessageState:
    """What a message in `sending` becomes by the gateway's answer."""
    return _AFTER_OUTCOME[verdict]


def after_receipt(
    before: MessageState, verdict: ReceiptVerdict, *, tried: bool, ended: bool
) -> MessageState | None:
    """What a receipt makes of a message; None: nothing (told already, too late, or never handed over).

    ``tried`` says whether the message was ever given to a gateway; ``ended`` whether its 72 h are over.
    """
    if ended or not tried:
        return None
    after = _AFTER_RECEIPT[verdict]
    return after if may_follow(before, after) else None


def backoff(failures: int, first: timedelta, longest: timedelta) -> timedelta:
    """The wait after the ``failures``-th failure in a row: ``first``, doubling, to ``longest`` at most.

    A ``first`` longer than ``longest`` stays as it is.
    """
    if failures <= 0:
        return timedelta(0)
    wait = first
    for _ in range(failures - 1):
        if not timedelta(0) < wait < longest:
            break
        wait = min(wait * 2, longest)
    return wait


def valid_after_hold(valid_until: datetime, held_at: datetime, released_at: datetime) -> datetime:
    """The end of validity of a released message: its clock stood still while it was held."""
    return valid_until + max(released_at - held_at, timedelta(0))
