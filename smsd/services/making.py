"""Making and ending messages for one applied read: what its transitions, mended numbers and the 17:30 pass come to.

The core decides each; this module brings it the messages there are, and writes down what it says.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
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
from smsd.core.policy import AgencyPolicy, ReadKind
from smsd.services.silence import list_unapologised
from smsd.services.storage import SnapshotTx

APOLOGY_RUN = "apology"
LATE_BASELINE = "the baseline came after the pass's time"
NOT_HANDED_OVER = UNSENT | {MessageState.UNKNOWN}

LONGEST_CODE = 200
"""Characters; twice what look-ups take. A longer code is none, and a database may be unable to index it."""
_DRAFTS_KEPT = 1000

Made = tuple[Tracked, Draft, timedelta]
"""A message with its dossier and how long it settles."""


@dataclass(slots=True)
class Applied:
    """What one applied read did, for logs, status and `poll --dry-run`."""

    rows: int = 0
    kind: ReadKind = ReadKind.FULL
    found_by_sweep: int = 0
    baseline: bool = False
    changed: int = 0
    transitions: int = 0
    made: int = 0
    suppressed: int = 0
    superseded: int = 0
    absent: int = 0
    bad_rows: int = 0
    held: int = 0
    still_held: bool = False
    """Whether messages of the agency wait for an operator, of this read or of an earlier one."""
    bad_rows_before: int = 0
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
        self._queued: Counter[str] = Counter()
        self._findings: list[Finding] = []

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
        untrue: list[str] = []
        drafts: list[Made] = []
        for observation in observed:
            messages = existing.get(observation.tracked.dossier.code, [])
            if not messages:  # nothing to end, to correct or to repeat
                drafts += self._on_entering(observation, messages) if not baseline else []
                continue
            before = previous.get(observation.tracked.dossier.code)
            self._note_bounce(observation, before, messages)
            gone = self.untrue(observation.tracked, messages)
            untrue += gone
            left = [m for m in messages if m.id not in gone]
            mended = self._follow_phone(observation.tracked, before, left)
            if not baseline:
                drafts += self._remake(observation.tracked, left) if mended else []
                drafts += self._on_entering(observation, left)
        self.supersede(untrue)
        self._add(drafts, self._batch)

    def untrue(self, tracked: Tracked, messages: list[Message]) -> list[str]:
        """Which messages not handed over no longer say the truth about their dossier."""
        return [
            m.id
            for m in messages
            if m.state in NOT_HANDED_OVER and not still_holds(m.kind, m.due_day, tracked, self._policy)
        ]

    def supersede(self, ids: list[str]) -> None:
        """End messages whose dossiers left the position, or whose appointed date moved."""
        if ids:
            self._done.superseded += self._tx.end(
                ids, NOT_HANDED_OVER, MessageState.SUPERSEDED, None, self._now
            )

    def _on_entering(self, observation: Observation, messages: list[Message]) -> list[Made]:
        move = observation.transition
        notice = self._policy.notices.get(move.went_to) if move is not None else None
        if move is None or notice is None or notice.at is not None:
            return []
        # a clock set back a little hides none; what was made while it ran far ahead tells nothing
        repeated = any(
            m.kind == notice.name
            and abs(self._now - m.made_at) < self._policy.repeat_after
            and m.state in COUNTS_AS_REPEATED
            for m in messages
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

    def _follow_phone(self, tracked: Tracked, before: Tracked | None, messages: list[Message]) -> bool:
        """A changed number: messages not handed over take it, or unsent ones end with its fault. Whether it is good."""
        if before is None or before.dossier.phone == tracked.dossier.phone:
            return False
        phone = classify(tracked.dossier.phone)
        if phone.number is None:
            unsent = [message.id for message in messages if message.state in UNSENT]
            self._tx.end(unsent, UNSENT, MessageState.SUPPRESSED, phone.reason, self._now)
            return False
        for message in messages:
            if message.state in NOT_HANDED_OVER and message.phone != phone.number:
                self._tx.set_phone(message.id, phone.number, NOT_HANDED_OVER, self._now)
        return True

    def _remake(self, tracked: Tracked, messages: list[Message]) -> list[Made]:
        latest: dict[tuple[str, str], list[Message]] = {}
        for message in messages:
            latest.setdefault((message.kind, message.occurrence.partition(".")[0]), []).append(message)
        drafts: list[Made] = []
        for (kind, occurrence), made in latest.items():
            last, notice = made[-1], self._policy.notices.get(kind)
            if notice is None or last.valid_until <= self._now:
                continue
            if any(m.reason not in PHONE_REASONS for m in made):
                continue  # one stands, or ended in another way
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
            # one that a gateway may have taken ended for its number when it was to be sent again
            doubtful = any(m.gateway is not None for m in made)
            drafts.append((tracked, replace(draft, possible_duplicate=doubtful), notice.settle))
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
            self._tx.finish_run(APOLOGY_RUN, day, "skipped", self._now, LATE_BASELINE)
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
        list_unapologised(self._tx, self._policy, day, self._now)
        self._tx.finish_run(APOLOGY_RUN, day, "done", self._now, f"{self._done.apologies} made")

    def _add(self, drafts: list[Made], batch: str) -> None:
        self._tx.add(drafts, batch)
        for tracked, draft, _ in drafts:
            self._done.made += 1
            self._done.suppressed += draft.state is MessageState.SUPPRESSED
            self._queued[batch] += draft.state is MessageState.QUEUED
            if len(self._done.drafts) < _DRAFTS_KEPT:
                self._done.drafts.append((tracked.dossier.code, draft))

    def hold_if_too_many(self, batch: str) -> None:
        """Hold a whole batch when it is larger than anything plausible."""
        if self._queued[batch] > self._policy.hold_above:
            self._done.held += self._tx.hold(batch, self._now)

    def found_bad_row(self, code: str | None, problem: str) -> None:
        """List a row that is no dossier; a missing code is "" and listed once a day."""
        self._done.bad_rows += 1
        self.found(FindingKind.BAD_ROW, Dossier((code or "")[:LONGEST_CODE], ""), detail=problem)

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
        self._findings.append(finding)

    def write_findings(self) -> None:
        """Write down what was found since the last time."""
        self._tx.find(self._findings)
        self._findings = []
