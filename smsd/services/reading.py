"""Reading a view: which of its rows one read looks at, and what is known after it.

Three ways, chosen for each read. All rows, compared by digest. Or the database's own sums over 4,096 buckets of codes,
and then the rows of the buckets that differ. Or the rows whose date of change is not older than the last read's. The
last two are checked by a full read every `sweep`, which also counts what they have missed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import structlog

from smsd.core.changedates import instant_of_change, written_like
from smsd.core.clock import day_bounds
from smsd.core.policy import AgencyPolicy, ReadKind
from smsd.core.rows import text_of
from smsd.services.ports import AgencyLook, AgencyReader, AgencyRecord, SummingLook
from smsd.services.rowblocks import BUCKETS, BucketSums, RowBlock, Take
from smsd.services.snapshot import MANY_ROWS, KnownDigests, ReadAgain, Snapshot
from smsd.services.storage import SnapshotStore

log = structlog.get_logger(__name__)

OVERLAP = timedelta(minutes=15)
"""How far before the last change rows are read again: transactions commit late, and servers' clocks differ."""
SUMS_FROM_ROWS = 50_000
"""Smaller views are read as fast as they are summed up."""
MOST_BUCKETS = BUCKETS // 4
"""When more buckets than these differ, reading everything is cheaper."""
_FEW_CHANGES = 10_000
_FEW_OF_ALL = 20
"""Up to so many changed rows, or one in twenty, the rest of their columns is fetched by code."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What one read is for."""

    policy: AgencyPolicy
    record: AgencyRecord | None
    started_at: datetime
    full: bool = False
    """Everything has to be looked at: a baseline, or an operator's order."""
    apology_day: date | None = None
    """The 17:30 pass of this day rides on the read: it needs to know which dossiers are there, and all they say now."""
    on_block: Callable[[], None] = lambda: None
    """Called with every block; what it raises ends the read."""


class Reads:
    """Reads views; keeps at hand what is known of those whose rows are all compared every time."""

    def __init__(self, store: SnapshotStore) -> None:
        self._store = store
        self._known: dict[str, tuple[datetime, KnownDigests]] = {}

    def read(self, reader: AgencyReader, occasion: Occasion) -> Snapshot:
        """One read, to be closed. Raises `AgencyError`."""
        # taken out while in use: a read given up may still be crossing off in its own
        known_at, known = self._known.pop(occasion.policy.id, (None, None))
        if occasion.record is None or occasion.record.last_good_at != known_at:
            known = None  # another process has applied a read meanwhile, or none was applied yet
        with reader.look() as look:
            return Reading(look, self._store, occasion, known).take()

    def applied(
        self, agency: str, snapshot: Snapshot, forgotten: Collection[int], learnt: Collection[int]
    ) -> None:
        """A read was applied, which made these digests no dossier's any more, and those new."""
        known = snapshot.known
        not_again = (
            snapshot.kind is not ReadKind.FULL or snapshot.sums is not None or snapshot.mark is not None
        )
        if not_again or len(known) < MANY_ROWS <= len(known) + len(learnt):  # or it has outgrown its form
            return
        if forgotten or learnt:
            known = known.replace(forgotten, learnt)
        self._known[agency] = (snapshot.started_at, known)


class Reading:
    """One read of one look."""

    def __init__(
        self, look: AgencyLook, store: SnapshotStore, occasion: Occasion, known: KnownDigests | None = None
    ) -> None:
        """``known``: the digests as of the last read, if they are at hand."""
        self._look = look
        self._store = store
        self._occasion = occasion
        self._agency = occasion.policy.id
        self._rule = occasion.policy.reading
        self._known = known
        self._asked = False
        self._sums: BucketSums | None = None

    def take(self) -> Snapshot:
        """Read, by the cheapest way that is sure enough now. The snapshot has to be closed."""
        snapshot = self._read()
        try:
            if self._occasion.apology_day is not None:
                self._refresh(snapshot, self._occasion.apology_day)
        except BaseException:
            snapshot.close()
            raise
        return snapshot

    def _refresh(self, snapshot: Snapshot, apology_day: date) -> None:
        """Ask for the whole rows of the dossiers that the pass may be about, changed or not."""
        due = day_bounds(apology_day + timedelta(days=1), self._occasion.policy.zone)
        wanted = set(self._store.codes_due(self._agency, *due))

        def take(block: RowBlock) -> None:
            self._occasion.on_block()
            found = [text_of(block.code(place)) for place in range(len(block))]
            snapshot.refresh(block, [place for place, code in enumerate(found) if code in wanted])
            wanted.difference_update(found)

        self._look.of_codes(sorted(wanted), take)
        if wanted:  # they have left, or the view writes them otherwise: with spaces around, say
            self._look.everything(take, whole=True)

    def _read(self) -> Snapshot:
        kind = self._kind()
        if kind is ReadKind.FULL or self._occasion.full:
            return self._swept(kind, None)
        snapshot = self._some(kind)
        if snapshot is None:
            return self._swept(kind, None)
        if not self._sweep_is_due() and (snapshot.tells_absence or self._occasion.apology_day is None):
            return snapshot
        with snapshot:
            return self._swept(kind, _codes_in(snapshot))

    def _kind(self) -> ReadKind:
        record = self._occasion.record
        if self._rule.kind is ReadKind.CHANGED_BY or (self._rule.kind is None and self._rule.changed_by):
            return ReadKind.CHANGED_BY
        if not isinstance(self._look, SummingLook) or self._rule.kind is ReadKind.FULL:
            return ReadKind.FULL
        many = record is not None and (record.last_rows or 0) >= SUMS_FROM_ROWS
        return ReadKind.FINGERPRINT if many or self._rule.kind is ReadKind.FINGERPRINT else ReadKind.FULL

    def _sweep_is_due(self) -> bool:
        """A clock that was set back makes it due too."""
        record = self._occasion.record
        if record is None or record.swept_at is None:
            return True
        since = self._occasion.started_at - record.swept_at
        return not timedelta(0) <= since < self._rule.sweep

    # everything

    def _swept(self, kind: ReadKind, found: set[str] | None) -> Snapshot:
        """Every row. ``found``: the codes a cheaper read of the same look found changed, to know what it missed."""
        snapshot = Snapshot(self._occasion.started_at, self._known_digests())
        try:
            if kind is ReadKind.FINGERPRINT:
                snapshot.sums = self._sums_now()
            if kind is ReadKind.CHANGED_BY:
                snapshot.mark = self._mark()
            self._read_everything(snapshot)
            if not self._sums_hold(snapshot):
                snapshot.sums = None
            snapshot.finish()
            snapshot.found_before = found
        except BaseException:
            snapshot.close()
            raise
        return snapshot

    def _sums_now(self) -> BucketSums | None:
        """The database's sums; asked once a look, for a look is of one state or has to be asked again anyway."""
        if not self._asked and isinstance(self._look, SummingLook):
            self._asked, self._sums = True, self._look.sums()
        return self._sums

    def _sums_hold(self, snapshot: Snapshot) -> bool:
        """Whether sums that were asked for before the rows are sums of those rows."""
        if snapshot.sums is None:
            return True
        if snapshot.sums.total != snapshot.rows:
            return False
        look = self._look
        return not isinstance(look, SummingLook) or look.of_one_state or look.sums() == snapshot.sums

    def _known_digests(self) -> KnownDigests:
        known = self._known if self._known is not None else self._store.digests(self._agency)
        known.begin()
        return known

    def _read_everything(self, snapshot: Snapshot) -> None:
        most = max(_FEW_CHANGES, len(snapshot.known) // _FEW_OF_ALL)
        partly = self._read_all_rows(snapshot, whole=len(snapshot.known) == 0, most=most)
        if not partly:
            return
        if len(partly) > most or not self._fetch(snapshot, partly):
            snapshot.start_anew()
            self._read_all_rows(snapshot, whole=True)

    def _fetch(self, snapshot: Snapshot, partly: list[tuple[str, int]]) -> bool:
        """Ask for the whole rows of those that changed. False if one is not what it was a moment ago."""
        wanted = Counter(digest for _, digest in partly)

        def take(block: RowBlock) -> None:
            self._occasion.on_block()
            for place, digest in enumerate(block.digests):
                if wanted[digest] > 0:
                    wanted[digest] -= 1
                    snapshot.add(block.row(place), digest)

        self._look.of_codes(list(dict.fromkeys(code for code, _ in partly)), take)
        return not any(wanted.values())

    def _read_all_rows(self, snapshot: Snapshot, *, whole: bool, most: int = 0) -> list[tuple[str, int]]:
        """Compare all rows with what is known; the codes of those that changed and came without all columns.

        Of these one more than ``most`` at most, which says that there are too many.
        """
        partly: list[tuple[str, int]] = []

        def take(block: RowBlock) -> None:
            self._occasion.on_block()
            snapshot.rows += len(block)
            for place in snapshot.known.fresh(block.digests):
                code = None if block.whole else block.code(place)
                if isinstance(code, str):
                    if len(partly) <= most:
                        partly.append((code, block.digests[place]))
                else:  # all is there, or there is no code to ask for more by
                    snapshot.add(block.row(place), block.digests[place])

        self._look.everything(take, whole=whole)
        return partly

    # some rows

    def _some(self, kind: ReadKind) -> Snapshot | None:
        """The rows that may have changed; None if that cannot be told this time."""
        known = ReadAgain()
        snapshot = Snapshot(self._occasion.started_at, known, kind=kind)
        try:
            told = (
                self._changed_since(snapshot)
                if kind is ReadKind.CHANGED_BY
                else self._changed_buckets(snapshot, known)
            )
            snapshot.finish()
        except BaseException:
            snapshot.close()
            raise
        if told:
            return snapshot
        snapshot.close()
        return None

    def _changed_since(self, snapshot: Snapshot) -> bool:
        record, column = self._occasion.record, self._rule.changed_by
        before = record.changed_mark if record is not None else None
        newest = self._look.newest(column) if column is not None else None
        snapshot.mark = self._instant(newest)
        if column is None or before is None or snapshot.mark is None:
            return False
        since = written_like(newest, min(before, snapshot.mark) - OVERLAP, self._occasion.policy.zone)
        looked_at = self._look_through(snapshot, lambda take: self._look.since(column, since, take))
        snapshot.rows = looked_at.rows
        return True

    def _mark(self) -> datetime | None:
        column = self._rule.changed_by
        return self._instant(self._look.newest(column)) if column is not None else None

    def _instant(self, raw: object) -> datetime | None:
        """When the newest change was. A date that lies ahead would hide what comes until then."""
        try:
            newest = instant_of_change(raw, self._occasion.policy.zone)
        except ValueError:
            record = self._occasion.record
            if (
                record is None or record.read_kind == ReadKind.CHANGED_BY
            ):  # once; `smsd check` says it any time
                log.warning("changed_by_is_no_date", agency=self._agency, column=self._rule.changed_by)
            return None
        return min(newest, self._occasion.started_at) if newest is not None else None

    def _changed_buckets(self, snapshot: Snapshot, known: ReadAgain) -> bool:
        look, before = self._look, self._store.sums(self._agency)
        if before is None or not isinstance(look, SummingLook):
            return False
        snapshot.sums = sums = self._sums_now()
        if sums is None or sums.shape != before.shape:
            return False
        snapshot.rows = sums.total
        differing = sums.differing(before)
        return len(differing) <= MOST_BUCKETS and (
            not differing
            or self._accounted_for(snapshot, known, look=look, before=before, differing=differing)
        )

    def _accounted_for(
        self,
        snapshot: Snapshot,
        known: ReadAgain,
        *,
        look: SummingLook,
        before: BucketSums,
        differing: Sequence[int],
    ) -> bool:
        """Read the buckets that differ. Whether their rows explain the sums; else only all rows tell what happened."""
        sums = snapshot.sums
        looked_at = self._look_through(snapshot, lambda take: look.in_buckets(differing, take))
        if sums is None or looked_at.rows != sums.rows_in(differing):
            return False  # these are not the rows that were summed up
        present = self._store.digests_among(self._agency, looked_at.changed)
        if len(set(looked_at.changed)) < len(looked_at.changed) or any(map(known.was_read, present.values())):
            return False  # a code stands there twice, perhaps in place of one that left
        appeared = len(snapshot.back) + sum(1 for code in looked_at.changed if code not in present)
        return before.rows_in(differing) + appeared == sums.rows_in(differing)

    def _look_through(self, snapshot: Snapshot, ask: Callable[[Take], None]) -> _LookedAt:
        """Keep the changed rows among those asked for."""
        missing = self._store.missing_codes(self._agency)
        looked_at = _LookedAt()

        def take(block: RowBlock) -> None:
            self._occasion.on_block()
            looked_at.rows += len(block)
            codes = [text_of(block.code(place)) or "" for place in range(len(block))]
            known = self._store.digests_among(self._agency, codes)
            for place, (code, digest) in enumerate(zip(codes, block.digests, strict=True)):
                if known.get(code) != digest or not snapshot.known.cross_off(digest):
                    snapshot.add(block.row(place), digest)
                    looked_at.changed.append(code)
                if code in missing:
                    snapshot.back.add(code)

        ask(take)
        return looked_at


@dataclass(slots=True)
class _LookedAt:
    """What a read of some rows came upon: how many rows, and the codes of those that changed."""

    rows: int = 0
    changed: list[str] = field(default_factory=list)


def _codes_in(snapshot: Snapshot) -> set[str]:
    return {row.code for block in snapshot.changed.blocks() for row in block if row.code}
