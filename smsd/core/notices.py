"""From a transition or an appointed date to a message, or to the reason not to text.

Pure decisions: who would be texted what, when at the earliest, until when at the latest, and whether a message made
earlier still says the truth.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from smsd.core.clock import local_day
from smsd.core.diff import is_at_step_of
from smsd.core.model import (
    APOLOGY,
    CLOSED,
    HANDED_OVER,
    PENDING,
    RESULT_READY,
    Dossier,
    Draft,
    MessageState,
    Mode,
    Reason,
    Tracked,
)
from smsd.core.names import clean_text
from smsd.core.phones import classify
from smsd.core.policy import AgencyPolicy, Notice
from smsd.core.texts import encode_for, fill, segments

COUNTS_AS_REPEATED = HANDED_OVER | PENDING
"""Messages that make the same notice within `repeat_after` a repeat: handed over, or still on their way."""


def render(notice: Notice, dossier: Dossier, policy: AgencyPolicy, *, late: bool = False) -> str:
    """The text as it will appear on the telephone."""
    due = dossier.due_at
    filled = fill(
        notice.text,
        {
            "Mã số hồ sơ": dossier.code,
            "Tên cơ quan": policy.name,
            "Ngày hẹn trả": local_day(due, policy.zone).strftime("%d/%m/%Y") if due else "",
            "Tên bước giải quyết hiện tại": " ".join(clean_text(dossier.step).split()),
            "Đúng hạn/Trễ hạn": "Trễ hạn" if late else "Đúng hạn",
            "Tên thủ tục": dossier.procedure_name or dossier.procedure_code or "",
        },
    )
    return encode_for(filled, policy.encoding)


def decide(
    tracked: Tracked,
    notice: Notice,
    policy: AgencyPolicy,
    *,
    occurrence: str,
    now: datetime,
    first_seen: bool = False,
    repeated: bool = False,
    due_day: date | None = None,
    valid_until: datetime | None = None,
) -> Draft:
    """The message for one notice of one dossier: queued for after `settle`, or suppressed with the first reason.

    ``repeated`` says that the same notice was made within `repeat_after` and counts (`COUNTS_AS_REPEATED`).
    """
    dossier = tracked.dossier
    phone = classify(dossier.phone)
    reason = (
        _reason_of_rules(tracked, policy, now, first_seen=first_seen, repeated=repeated)
        or phone.reason
        or (Reason.SHADOW if policy.mode is Mode.SHADOW else None)
    )
    text = render(notice, dossier, policy)
    return Draft(
        kind=notice.name,
        occurrence=occurrence,
        state=MessageState.SUPPRESSED if reason else MessageState.QUEUED,
        reason=reason,
        phone=phone.number,
        text=text,
        segments=segments(text, policy.encoding),
        made_at=now,
        next_at=now + notice.settle,
        valid_until=valid_until or now + notice.valid_for,
        due_day=due_day,
    )


def _reason_of_rules(
    tracked: Tracked, policy: AgencyPolicy, now: datetime, *, first_seen: bool, repeated: bool
) -> Reason | None:
    dossier = tracked.dossier
    if policy.mode is Mode.OFF:
        return Reason.OFF
    if dossier.procedure_code is not None and dossier.procedure_code in policy.skip_procedures:
        return Reason.PROCEDURE
    if policy.skip_same_day and resolved_the_same_day(tracked, policy, now):
        return Reason.SAME_DAY
    if first_seen and is_stale(dossier, policy.stale_after, now):
        return Reason.STALE
    return Reason.REPEAT if repeated else None


def resolved_the_same_day(tracked: Tracked, policy: AgencyPolicy, now: datetime) -> bool:
    """Whether a dossier was received and due on one day, and resolved on it.

    Without a `resolved_at`, it was resolved when it was first seen in a position that ends the wait, or is ready or
    closed now. The step alone does not tell: a dossier waiting for papers may stand at the step of handing over.
    """
    dossier = tracked.dossier
    if dossier.received_at is None or dossier.due_at is None:
        return False
    resolved = dossier.resolved_at or tracked.done_since
    if resolved is None and tracked.position in (RESULT_READY, CLOSED):
        resolved = now
    if resolved is None:
        return False
    received_on = local_day(dossier.received_at, policy.zone)
    return received_on == local_day(dossier.due_at, policy.zone) == local_day(resolved, policy.zone)


def is_stale(dossier: Dossier, stale_after: timedelta, now: datetime) -> bool:
    """Whether what a first-seen dossier would be texted about happened too long ago to be news."""
    since = dossier.resolved_at or dossier.received_at
    return since is not None and now - since > stale_after


def apology_is_owed(tracked: Tracked, notice: Notice, policy: AgencyPolicy, day: date) -> bool:
    """Whether the pass of ``day`` apologises for a dossier: due on the next day and its result not ready."""
    due = tracked.dossier.due_at
    if due is None or tracked.gone or tracked.missing_reads:
        return False
    return local_day(due, policy.zone) == day + timedelta(days=1) and _still_waits(tracked, notice, policy)


def _still_waits(tracked: Tracked, notice: Notice, policy: AgencyPolicy) -> bool:
    if tracked.position in notice.unless:
        return False
    return not is_at_step_of(tracked.dossier.step, RESULT_READY, policy.positions)


def still_holds(kind: str, due_day: date | None, tracked: Tracked | None, policy: AgencyPolicy) -> bool:
    """Whether a message not yet handed over still says the truth about its dossier."""
    if tracked is None or tracked.gone:
        return False
    if kind != APOLOGY:
        return tracked.position == kind
    due = tracked.dossier.due_at
    if due is None or local_day(due, policy.zone) != due_day:
        return False
    notice = policy.notices.get(APOLOGY)
    return notice is None or _still_waits(tracked, notice, policy)


def entry_of(occurrence: str) -> int:
    """Which entry of its dossier a message is for that is no apology."""
    return int(occurrence.partition(".")[0])


def remade_occurrence(occurrence: str, times: int) -> str:
    """How the message that replaces one suppressed for its phone is numbered: ``3`` becomes ``3.1``, then ``3.2``."""
    return f"{occurrence.partition('.')[0]}.{times}"
