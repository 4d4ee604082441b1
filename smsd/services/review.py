"""Messages that came back unsent, or may be sent again: whether they still say the truth, and to which number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from smsd.core.model import APOLOGY, Message, MessageState, Mode, Reason, Tracked
from smsd.core.notices import entry_of, still_holds
from smsd.core.phones import classify
from smsd.core.policy import AgencyPolicy
from smsd.services.ports import Change
from smsd.services.storage import OutboxTx

REMOVED = AgencyPolicy(id="", name="", mode=Mode.OFF, zone=UTC, positions=(), notices={})
"""What stands for the policy of an agency whose file is gone; it takes no part."""

PolicyOf = Callable[[str], AgencyPolicy | None]


def review(tx: OutboxTx, messages: Iterable[Message], policy_of: PolicyOf, now: datetime) -> list[Change]:
    """What happened to their dossiers and agencies while messages were out of our hands.

    They end if their dossier left the position, though it may have come back since, or if their agency takes no part
    any more. One to be sent again gets the number of the latest good read, or ends with that number's fault. Those that
    are well as they are have no change. Agencies without a policy (their file is wrong) are left alone.
    """
    changes = (_reviewed(tx, message, policy_of(message.agency), now) for message in messages)
    return [change for change in changes if change is not None]


def _reviewed(tx: OutboxTx, message: Message, policy: AgencyPolicy | None, now: datetime) -> Change | None:
    tracked = tx.tracked(message)
    if policy is None:
        return None
    if policy.mode is not Mode.LIVE:
        reason = Reason.SHADOW if policy.mode is Mode.SHADOW else Reason.OFF
        return _ended(message, MessageState.SUPPRESSED, reason, now)
    if tracked is None or not still_holds(message.kind, message.due_day, tracked, policy):
        return _ended(message, MessageState.SUPERSEDED, None, now)
    if _was_left(tx, message, tracked):
        return _ended(message, MessageState.SUPERSEDED, None, now)
    return _readdressed(message, tracked, now)


def _was_left(tx: OutboxTx, message: Message, tracked: Tracked) -> bool:
    """Whether the position was left, and is held now by an entry that was told of by itself or is not to be told of.

    One that was found to be a repeat of this message, while that was on its way, is told of by it.
    """
    if message.kind == APOLOGY or entry_of(message.occurrence) == tracked.entry:
        return False
    return tx.reason_of_entry(message, tracked.entry) is not Reason.REPEAT


def _readdressed(message: Message, tracked: Tracked, now: datetime) -> Change | None:
    phone = classify(tracked.dossier.phone)
    if phone.number is None:
        # an unknown one may have arrived: what a receipt says is still wanted
        unknown = message.state is MessageState.UNKNOWN
        return None if unknown else _ended(message, MessageState.SUPPRESSED, phone.reason, now)
    if phone.number == message.phone:
        return None
    detail = "phone changed by the agency"
    return Change(message.id, message.state, message.state, now, detail, phone=phone.number)


def _ended(message: Message, after: MessageState, reason: Reason | None, now: datetime) -> Change:
    return Change(message.id, message.state, after, now, final=True, reason=reason)
