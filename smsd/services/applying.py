"""Applying a snapshot: transitions, messages and findings of one read of one agency, in one transaction or not at all.

The core decides; this module brings it what the store remembers and writes down what it says.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from smsd.core.diff import (
    DOUBT_IN_WORDS,
    GONE_AFTER_READS,
    Doubt,
    ReadFacts,
    doubt,
    low_count_stays,
    observe,
    reposition,
)
from smsd.core.errors import AgencyError
from smsd.core.model import (
    APOLOGY,
    CLOSED,
    PENDING,
    RESULT_READY,
    Dossier,
    FindingKind,
    MessageState,
    Mode,
    Reason,
    Tracked,
)
from smsd.core.policy import AgencyPolicy, ReadKind
from smsd.core.rows import BadRow, dossier_from
from smsd.services.making import LONGEST_CODE, NOT_HANDED_OVER, Applied, MessageMaker
from smsd.services.ports import AgencyRecord
from smsd.services.snapshot import ChangedRow, Snapshot
from smsd.services.storage import SnapshotTx


@dataclass(frozen=True, slots=True)
class Orders:
    """What the configuration and an operator say about one read."""

    policy: AgencyPolicy
    source: str
    """Fingerprint of what is read; another than last time means a baseline."""
    positions: str
    """Fingerprint of the position rules."""
    accept: bool = False
    """Take the read although it cannot be true."""
    baseline: bool = False
    """Record everything, send nothing."""
    apology_day: date | None = None
    """Run the apology pass of this day on what was read."""


class Overtaken(Exception):  # noqa: N818 - not a fault: another read was applied first
    """A newer read of the agency was applied while this one was under way; this one is dropped."""


def needs_baseline(record: AgencyRecord | None, orders: Orders) -> bool:
    """Whether the next good read only records: nothing known, another source, leaving `off`, or ordered."""
    if record is None or record.baseline_at is None or orders.baseline or record.baseline_wanted:
        return True
    return record.source != orders.source or record.mode == Mode.OFF


class Application:
    """One read being applied. Used once; `run` does everything within the given transaction."""

    def __init__(self, tx: SnapshotTx, snapshot: Snapshot, orders: Orders, now: datetime, batch: str) -> None:
        self._tx = tx
        self._snapshot = snapshot
        self._orders = orders
        self._policy = orders.policy
        self._now = now
        self._batch = batch
        apology = orders.policy.notices.get(APOLOGY)
        self._ends_wait = apology.unless if apology is not None else frozenset({RESULT_READY, CLOSED})
        self._known = snapshot.known
        self._repeated = set(snapshot.repeated)
        self._baseline = False
        self.done = Applied(rows=snapshot.rows, kind=snapshot.kind)
        self.forgotten = array("q")
        self.learnt = array("q")
        """Digests that are no dossier's any more, and new ones."""
        self._maker = MessageMaker(tx, orders.policy, now, batch, self.done)

    def run(self, known_good_at: datetime | None) -> Applied:
        """Apply the read. ``known_good_at`` is the last good read its digests were taken from.

        Raises `Overtaken` or, for a read that cannot be true, `AgencyError` with code ``incredible``; then the
        caller's transaction is undone.
        """
        record = self._tx.agency()
        if record is not None and record.last_good_at != known_good_at:
            raise Overtaken
        self._baseline = self.done.baseline = needs_baseline(record, self._orders)
        if self._baseline and self._snapshot.kind is not ReadKind.FULL:
            raise Overtaken  # ordered while it was read
        self.done.bad_rows_before = record.bad_rows if record is not None else 0
        self._believe(record)
        if record is not None and record.mode == Mode.LIVE and self._policy.mode is not Mode.LIVE:
            end_unsent(self._tx, self._policy.mode, self._now)
        if record is not None and record.positions not in (None, self._orders.positions):
            self._apply_positions()
        for block in self._snapshot.changed.blocks():
            self._apply_block(block)
        self._believe(record)  # once more: rows that repeat unchanged ones were found on the way
        self._apply_absence()
        self._maker.hold_if_too_many(self._batch)
        self._refresh()
        if self._orders.apology_day is not None:
            baseline_at = self._now if self._baseline or record is None else record.baseline_at
            self._maker.apologise(self._orders.apology_day, baseline_at or self._now)
        self._maker.write_findings()
        self.done.still_held = self._tx.any_held()
        self._save(record)
        return self.done

    def _believe(self, record: AgencyRecord | None) -> None:
        if self._orders.accept:
            return
        comparable = record is not None and record.source == self._orders.source
        last_rows = record.last_rows if record is not None and comparable else None
        if not self._snapshot.tells_absence:  # how many rows there are was not asked
            facts = ReadFacts(max(last_rows or 0, self._snapshot.rows, 1), len(self._repeated))
            last_rows = None
        else:
            facts = ReadFacts(self._snapshot.rows, len(self._repeated))
        reason = doubt(facts, last_rows)
        if reason is None:
            return
        low_since = record.low_since if record is not None else None
        if reason is Doubt.HALVED and low_count_stays(low_since, self._now):
            return
        raise incredible(reason, self._policy.id, self._snapshot.rows, last_rows)

    # rows

    def _apply_block(self, block: list[ChangedRow]) -> None:
        good = self._parse(block)
        remembered = self._tx.tracked([dossier.code for dossier, _ in good])
        good = [pair for pair in good if not self._repeats(pair[0].code, remembered)]
        previous = {code: tracked for code, (tracked, _) in remembered.items()}
        observed = [
            (observe(previous.get(d.code), d, self._policy.positions, self._ends_wait, self._now), row.digest)
            for d, row in good
        ]
        self.done.changed += len(observed)
        found_before = self._snapshot.found_before
        if found_before is not None:
            self.done.found_by_sweep += sum(1 for dossier, _ in good if dossier.code not in found_before)
        self._tx.put([(observation.tracked, row_digest) for observation, row_digest in observed], previous)
        self.learnt.extend(row_digest for _, row_digest in observed)
        replaced = (remembered[d.code] for d, _ in good if d.code in remembered)
        self.forgotten.extend(row_digest for tracked, row_digest in replaced if not tracked.gone)
        self._maker.settle([o for o, _ in observed], previous, baseline=self._baseline)
        self._maker.write_findings()

    def _parse(self, block: list[ChangedRow]) -> list[tuple[Dossier, ChangedRow]]:
        """The rows that are dossiers; the others, and impossible dates, are listed."""
        good: list[tuple[Dossier, ChangedRow]] = []
        bad_codes: list[str] = []
        for row in block:
            try:
                dossier, bad_dates = dossier_from(row.raw, self._policy.zone)
            except BadRow as bad:
                self._maker.found_bad_row(bad.code, bad.problem)
                bad_codes += [bad.code] if bad.code else []
                continue
            if len(dossier.code) > LONGEST_CODE:
                self._maker.found_bad_row(dossier.code, "dossier_code is too long")
                continue
            if dossier.code in self._repeated:
                bad_codes.append(dossier.code)
                self._maker.found_bad_row(dossier.code, "dossier_code is repeated")
                continue
            if bad_dates:
                self._maker.found(FindingKind.BAD_DATE, dossier, detail=", ".join(bad_dates))
            good.append((dossier, row))
        # a bad row says that its dossier is there all the same
        for _, known_digest in self._tx.tracked(bad_codes).values():
            self._known.cross_off(known_digest)
        return good

    def _repeats(self, code: str, remembered: dict[str, tuple[Tracked, int]]) -> bool:
        """Whether an unchanged row with the same code was read too; else the old row is accounted for."""
        tracked, known_digest = remembered.get(code, (None, 0))
        if tracked is None or tracked.gone:
            return False
        if self._known.cross_off(known_digest):
            return False
        self._repeated.add(code)
        self._maker.found_bad_row(code, "dossier_code is repeated")
        return True

    def _refresh(self) -> None:
        """Take over what the rows of dossiers that are owed something say beside what is compared."""
        for block in self._snapshot.refreshed.blocks():
            remembered = self._tx.tracked([row.code for row in block])
            fresh: list[tuple[Tracked, int]] = []
            for row in block:
                tracked, known_digest = remembered.get(row.code, (None, 0))
                if tracked is None or tracked.gone or known_digest != row.digest:
                    continue  # it was taken over as a row that changed, or will be
                dossier, _ = dossier_from(row.raw, self._policy.zone)
                fresh.append((replace(tracked, dossier=dossier), known_digest))
            self._tx.put(fresh)

    # configuration and absence

    def _apply_positions(self) -> None:
        """Judge every known dossier by the changed rules, silently."""
        for block in self._tx.all_tracked():
            observed = [reposition(t, self._policy.positions, self._ends_wait, self._now) for t in block]
            moved = [o for o in observed if o.transition is not None]
            self._tx.put_positions([o.tracked for o in moved])
            self._tx.record([(o.tracked, o.transition, "configuration") for o in moved if o.transition])
            existing = self._tx.messages_of([o.tracked.dossier.code for o in moved])
            untrue: list[str] = []
            for observation in moved:
                messages = existing.get(observation.tracked.dossier.code, [])
                untrue += self._maker.untrue(observation.tracked, messages)
            self._maker.supersede(untrue)

    def _apply_absence(self) -> None:
        absent, back = self._absent()
        self.done.absent = len(absent)
        self._tx.set_missing(list(back), 0)
        leaving = {
            code: digest
            for code, (missed, digest) in absent.items()
            if self._baseline or missed + 1 >= GONE_AFTER_READS
        }
        self._tx.set_missing([code for code in absent if code not in leaving], 1)
        self._let_go(sorted(leaving))
        self.forgotten.extend(leaving.values())

    def _absent(self) -> tuple[dict[str, tuple[int, int]], set[str]]:
        """Codes that are not there, each with how many reads have lacked it and its digest; and those back again."""
        if self._snapshot.kind is ReadKind.FULL:
            absent = self._tx.codes_of(self._known.unseen())
            return absent, self._tx.missing() - absent.keys()
        back = self._snapshot.back
        if self._snapshot.kind is ReadKind.CHANGED_BY:  # which says nothing of those it does not name
            return {}, back
        # by fingerprints nothing has left but what was missing already: else the read would have become a full one
        missing = self._tx.tracked(sorted(self._tx.missing() - back))
        return {code: (tracked.missing_reads, digest) for code, (tracked, digest) in missing.items()}, back

    def _let_go(self, leaving: list[str]) -> None:
        """Dossiers that have left the view, with their messages that were not handed over."""
        self._tx.set_gone(leaving, GONE_AFTER_READS, self._now)
        self._tx.record_gone(leaving, self._now)
        waiting = [m for found in self._tx.messages_of(leaving).values() for m in found]
        self._maker.supersede([m.id for m in waiting if m.state in NOT_HANDED_OVER])

    # writing down

    def _save(self, record: AgencyRecord | None) -> None:
        snapshot = self._snapshot
        changes: dict[str, Any] = {
            "mode": self._policy.mode,
            "source": self._orders.source,
            "positions": self._orders.positions,
            "interval": self._policy.interval,
            "attempted_at": snapshot.started_at,
            "last_good_at": snapshot.started_at,
            "read_time": self._now - snapshot.started_at,
            "read_kind": snapshot.kind,
            "failures": 0,
            "next_attempt_at": snapshot.started_at + self._policy.interval,
            "error_code": None,
            "error": None,
            "error_since": None,
            "low_since": None,
        }
        if snapshot.tells_absence:
            changes["last_rows"] = snapshot.rows
        if snapshot.kind is ReadKind.FULL:
            found_before = record.found_by_sweep if record is not None and not self._baseline else 0
            changes |= {
                "bad_rows": self.done.bad_rows,
                "swept_at": snapshot.started_at,
                "found_by_sweep": found_before + self.done.found_by_sweep,
            }
        else:  # those elsewhere in the view were not looked at
            self.done.bad_rows = self.done.bad_rows_before
        if snapshot.mark is not None or self._baseline:
            changes["changed_mark"] = snapshot.mark
        self._tx.save_sums(snapshot.sums)
        if self._baseline:
            changes |= {"baseline_at": self._now, "baseline_wanted": False}
        self._tx.save_agency(**changes)


class IncredibleRead(AgencyError):  # noqa: N818 - one of the AgencyErrors
    """A full read that cannot be true; ``doubt`` says why."""

    def __init__(self, doubt: Doubt, message: str, *, hint: str) -> None:
        super().__init__(message, code="incredible", hint=hint)
        self.doubt = doubt


def incredible(reason: Doubt, agency: str, rows: int, last_rows: int | None) -> IncredibleRead:
    """The fault of a read that cannot be true."""
    compared = f" ({rows} rows, {last_rows} before)" if last_rows is not None else f" ({rows} rows)"
    return IncredibleRead(
        reason,
        DOUBT_IN_WORDS[reason] + compared,
        hint=f"look at the view in the agency's database; if it is right, take it with: smsd poll {agency} --accept",
    )


def end_unsent(tx: SnapshotTx, mode: Mode, now: datetime) -> int:
    """An agency was set to shadow or off, or removed: end its unsent messages so. Returns how many."""
    reason = Reason.SHADOW if mode is Mode.SHADOW else Reason.OFF
    states = PENDING - {MessageState.SENDING}
    ids = [message.id for message in tx.unsent(states)]
    return tx.end(ids, states, MessageState.SUPPRESSED, reason, now)
