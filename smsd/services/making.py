"""Making and ending messages for one applied read: what its transitions, mended numbers and the 17:30 pass come to.

The core decides each; this module brings it the messages there are, and writes down what it says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from smsd.core.clock import at_time, day_bounds, local_day
from smsd.core.diff import Observation
from smsd.core.figures import Finding
from smsd.core.model import (
    APOLOGY,
    CLOSED,
    HANDED_OVER,
    PHONE_REASONS,
    RESULT_READY,
    UNSENT,
    Dossier,
    Draft,
    FindingKind,
    Message,
    MessageState,
    Tracked,
)
from smsd.core.notices import COUNTS_AS_REPEATED, apology_is_owed, decide, remade_occurrence, still_holds
from smsd.core.phones import classify, mask_phone
from smsd.core.policy import AgencyPolicy
from smsd.services.storage import SnapshotTx

APOLOGY_RUN = "apology"
NOT_HANDED_OVER = UNSENT | {MessageState.UNKNOWN}

Made = tuple[Tracked, Draft, timedelta]
"""A message with its dossier and how long it settles."""


@dataclass(slots=True)
class Applied:
    """What one applied read did, for logs, status and `poll --dry-run`."""

    rows: int = 0
    baseline: bool = False
    changed: int = 0
    transitions: int = 0
    made: int = 0
    suppressed: int = 0
    superseded: int = 0
    absent: int = 0
    bad_rows: int = 0
    held: int = 0
    apologies: int = 0
    drafts: list[tuple[str, Draft]] = field(default_factory=list)
    """The messages made, for `--dry-run`; the first thousand."""


class MessageMaker:
    """Makes and ends the messages of one applied read, within its transaction."""

    def __init__(
        self, tx: SnapshotTx, policy: AgencyPolicy, now: datetime, batch: str, done: Applied
    ) -> None:
        self._tx = tx
        self._policy = policy
        self._now = now
        self._batch = batch
        self._done = done

    def settle(self, observed: list[Observation], previous: dict[str, Tracked], *, baseline: bool) -> None:
        """Record the transitions of rows that changed, end what they made untrue, make what they ask for."""
        cause = "baseline" if baseline else "read"
        moves = [(o.tracked, o.transition, cause) for o in observed if o.transition is not None]
        self._done.transitions += len(moves)
        if baseline:
            # a first sight is no news in a baseline; what moved since an earlier one is
            moves = [move for move in moves if move[1].came_from is not None]
        self._tx.record(moves)
        known = [o.tracked.dossier.code for o in observed if o.tracked.dossier.code in previous]
        existing = self._tx.messages_of(known)
        drafts: list[Made] = []
        for observation in observed:
            code = observation.tracked.dossier.code
            messages = existing.get(code, [])
            self._note_bounce(observation, previous.get(code), messages)
            left = self.supersede(observation.tracked, messages)
            if baseline:
                continue
            drafts += self._follow_phone(observation.tracked, previous.get(code), left)
            drafts += self._on_entering(observation, left)
        self._add(drafts, self._batch)

    def supersede(self, tracked: Tracked, messages: list[Message]) -> list[Message]:
        """End what no longer says the truth; returns the messages that stand."""
        gone = [
            m.id
            for m in messages
            if m.state in NOT_HANDED_OVER and not still_holds(m.kind, m.due_day, tracked, self._policy)
        ]
        if gone:
            self._done.superseded += self._tx.end(
                gone, NOT_HANDED_OVER, MessageState.SUPERSEDED, None, self._now
            )
        return [m for m in messages if m.id not in gone]

    def _on_entering(self, observation: Observation, messages: list[Message]) -> list[Made]:
        move = observation.transition
        notice = self._policy.notices.get(move.went_to) if move is not None else None
        if move is None or notice is None or notice.at is not None:
            return []
        since = self._now - self._policy.repeat_after
        repeated = any(
            m.kind == notice.name and m.made_at > since and m.state in COUNTS_AS_REPEATED for m in messages
        )
        draft = decide(
            observation.tracked,
            notice,
            self._policy,
            occurrence=str(observation.tracked.entry),
            now=self._now,
            first_seen=move.first_seen,
            repeated=repeated,
        )
        return [(observation.tracked, draft, notice.settle)]

    def _follow_phone(self, tracked: Tracked, before: Tracked | None, messages: list[Message]) -> list[Made]:
        """A changed number: unsent messages take it (or end with its fault), ones suppressed for the old are remade."""
        if before is None or before.dossier.phone == tracked.dossier.phone:
            return []
        phone = classify(tracked.dossier.phone)
        for message in messages:
            if message.state not in UNSENT:
                continue
            if phone.number is not None:
                self._tx.set_phone(message.id, phone.number, UNSENT, self._now)
            else:
                self._tx.end([message.id], UNSENT, MessageState.SUPPRESSED, phone.reason, self._now)
        return self._remake(tracked, messages) if phone.number is not None else []

    def _remake(self, tracked: Tracked, messages: list[Message]) -> list[Made]:
        latest: dict[tuple[str, str], list[Message]] = {}
        for message in messages:
            latest.setdefault((message.kind, message.occurrence.partition(".")[0]), []).append(message)
        drafts: list[Made] = []
        for (kind, occurrence), made in latest.items():
            last, notice = made[-1], self._policy.notices.get(kind)
            if notice is None or last.reason not in PHONE_REASONS or last.valid_until <= self._now:
                continue
            entered = kind == APOLOGY or occurrence == str(tracked.entry)
            if not entered or not still_holds(kind, last.due_day, tracked, self._policy):
                continue
            draft = decide(
                tracked,
                notice,
                self._policy,
                occurrence=remade_occurrence(occurrence, len(made)),
                now=self._now,
                due_day=last.due_day,
                valid_until=last.valid_until,
            )
            drafts.append((tracked, draft, notice.settle))
        return drafts

    def _note_bounce(self, observation: Observation, before: Tracked | None, messages: list[Message]) -> None:
        move = observation.transition
        if move is None or before is None or move.came_from != RESULT_READY or move.went_to == CLOSED:
            return
        told = HANDED_OVER | {MessageState.SENDING, MessageState.UNKNOWN}
        occurrence = str(before.entry)
        if any(
            m.kind == RESULT_READY and m.state in told and m.occurrence.partition(".")[0] == occurrence
            for m in messages
        ):
            self.found(FindingKind.BOUNCED, observation.tracked.dossier, detail=f"went to {move.went_to}")

    # the 17:30 pass

    def apologise(self, day: date, baseline_at: datetime) -> None:
        """One message for each dossier due tomorrow and not ready, as just read."""
        notice = self._policy.notices.get(APOLOGY)
        if notice is None or notice.at is None:
            return
        if baseline_at >= at_time(day, notice.at, self._policy.zone):
            self._tx.finish_run(
                APOLOGY_RUN, day, "skipped", self._now, "the baseline came after the pass's time"
            )
            return
        batch = f"{self._batch[:24]}apology"
        due_day = day + timedelta(days=1)
        for block in self._tx.due_between(*day_bounds(due_day, self._policy.zone)):
            owed = [tracked for tracked in block if apology_is_owed(tracked, notice, self._policy, day)]
            existing = self._tx.messages_of([tracked.dossier.code for tracked in owed])
            drafts = []
            for tracked in owed:
                made = existing.get(tracked.dossier.code, [])
                if any(m.kind == APOLOGY and m.due_day == due_day for m in made):
                    continue
                occurrence = due_day.isoformat()
                draft = decide(
                    tracked, notice, self._policy, occurrence=occurrence, now=self._now, due_day=due_day
                )
                drafts.append((tracked, draft, notice.settle))
            self._add(drafts, batch)
            self._done.apologies += len(drafts)
        self.hold_if_too_many(batch)
        self._tx.finish_run(APOLOGY_RUN, day, "done", self._now, f"{self._done.apologies} made")

    def _add(self, drafts: list[Made], batch: str) -> None:
        self._tx.add(drafts, batch)
        for tracked, draft, _ in drafts:
            self._done.made += 1
            self._done.suppressed += draft.state is MessageState.SUPPRESSED
            if len(self._done.drafts) < 1000:
                self._done.drafts.append((tracked.dossier.code, draft))

    def hold_if_too_many(self, batch: str) -> None:
        """Hold a whole batch when it is larger than anything plausible."""
        queued = self._tx.queued_in(batch)
        if queued > self._policy.hold_above:
            self._tx.hold(batch, self._now)
            self._done.held += queued

    def found(self, kind: FindingKind, dossier: Dossier, *, detail: str) -> None:
        """List something about a dossier that a person should look at."""
        finding = Finding(
            day=local_day(self._now, self._policy.zone),
            agency=self._policy.id,
            dossier_code=dossier.code,
            procedure_code=dossier.procedure_code or "",
            kind="",
            reason=kind,
            phone_masked=mask_phone(dossier.phone or ""),
            at=self._now,
            detail=detail,
        )
        self._tx.find([finding])
