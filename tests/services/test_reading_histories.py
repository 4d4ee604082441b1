"""Random histories of one agency, read in every way at once: no way tells anything but what full reads tell."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smsd.core.diff import position_of
from smsd.core.policy import ReadKind, ReadRule
from tests.services.stage import AGENCY, CLOSED, HOUR, MINUTE, READY, WORKING, Stage, a_row
from tests.support.builders import POSITIONS, FixedClock, a_policy
from tests.support.fakereader import FakeAgency
from tests.support.summingreader import SummingReader

CODES = [f"H{n}" for n in range(4)]
OTHERS = [a_row(f"Q{n}") for n in range(3)]
DATED = {
    "now": timedelta(0),
    "late": -10 * MINUTE,
    "behind": -3 * HOUR,
    "ahead": timedelta(days=1),
    "not": None,
}
STEPS = st.sampled_from([WORKING, READY, READY, CLOSED, None])
POLL = st.tuples(st.just("poll"), st.sampled_from([1, 2, 20]))
CHANGE = st.tuples(st.just("change"), st.sampled_from(CODES), STEPS, st.sampled_from(list(DATED)))
HONEST_CHANGE = st.tuples(
    st.just("change"), st.sampled_from(CODES), STEPS, st.sampled_from(["now", "late", "not"])
)
OTHER_EVENTS = st.one_of(
    st.tuples(st.just("delete"), st.sampled_from(CODES)),
    st.tuples(st.just("repeat"), st.sampled_from(CODES), STEPS),
    st.tuples(st.sampled_from(["restart", "sweep"])),
)
Event = tuple[object, ...]


class Kept:
    """One agency and a store for each way of reading it."""

    def __init__(self, folder: Path) -> None:
        self.clock = FixedClock()
        self.agency = FakeAgency()
        self.stages = {kind: self._stage(folder / kind, kind) for kind in ReadKind}
        self.agency.insert([*OTHERS, *map(a_row, CODES)])

    def _stage(self, folder: Path, kind: ReadKind) -> Stage:
        folder.mkdir()
        policy = a_policy(reading=ReadRule(kind, "updated_at", HOUR))
        stage = Stage(folder, clock=self.clock, policy=policy)
        stage.agency = self.agency
        stage.reader = SummingReader(self.agency, buckets=3)
        return stage

    def poll(self, minutes: int) -> None:
        self.clock.forward(minutes * MINUTE)
        for stage in self.stages.values():
            stage.poll()

    def happens(self, event: Event) -> None:
        what, *how = event
        if what == "poll":
            self.poll(int(str(how[0])))
        elif what == "sweep":
            self.poll(60)
        elif what == "restart":
            for stage in self.stages.values():
                stage.start()
                stage.reader = SummingReader(self.agency, buckets=3)
        elif what == "delete":
            self.agency.delete(str(how[0]))
        elif what == "repeat":
            self.agency.insert([a_row(str(how[0]), step=how[1], updated_at=self.clock.now())])
        else:
            code, step, dated = how
            since = DATED[str(dated)]
            at = self.clock.now() + since if since is not None else None
            self.agency.delete(str(code))
            self.agency.insert([a_row(str(code), step=step, updated_at=at)])

    def in_view(self) -> dict[str, str]:
        """The position of every dossier whose row is good."""
        times = Counter(str(row["dossier_code"]) for row in self.agency.rows)
        return {
            str(row["dossier_code"]): position_of(str(row["step"]), None, POSITIONS)
            for row in self.agency.rows
            if row["step"] is not None and times[str(row["dossier_code"])] == 1
        }


def in_store(stage: Stage) -> dict[str, str]:
    with stage.snapshots.transaction(AGENCY) as tx:
        return {t.dossier.code: t.position for block in tx.all_tracked() for t in block}


def told(stage: Stage) -> list[tuple[str, str, str, str]]:
    return sorted((m.dossier_code, m.kind, m.occurrence, m.reason or m.state) for m in stage.messages())


def assert_told_once(stage: Stage) -> None:
    """Each time a dossier became ready, and it was read, is one message; nothing else is."""
    entered = Counter(
        code for code, _, to, cause in stage.transitions() if to == "result_ready" and cause == "read"
    )
    assert Counter(m.dossier_code for m in stage.messages("result_ready")) == entered


def assert_as_in_view(kept: Kept) -> None:
    """The positions of all good rows, in every store."""
    view = kept.in_view()
    for kind, stage in kept.stages.items():
        known = in_store(stage)
        assert {code: known.get(code) for code in view} == view, kind
        assert_told_once(stage)


@contextmanager
def kept_stores() -> Iterator[Kept]:
    folder = Path(tempfile.mkdtemp())
    kept = Kept(folder)
    try:
        with structlog.testing.capture_logs():
            kept.poll(0)
            yield kept
    finally:
        for stage in kept.stages.values():
            stage.database.close()
        shutil.rmtree(folder)


QUICK = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(st.lists(st.one_of(CHANGE, POLL, POLL, OTHER_EVENTS), max_size=14))
def test_sums_tell_what_full_reads_tell_and_dates_after_the_next_sweep(events: list[Event]) -> None:
    with kept_stores() as kept:
        full, summed = kept.stages[ReadKind.FULL], kept.stages[ReadKind.FINGERPRINT]
        for event in events:
            kept.happens(event)
            if event[0] == "sweep":
                assert_as_in_view(kept)
            assert told(summed) == told(full)
        assert summed.transitions() == full.transitions()

        kept.poll(60)
        assert_as_in_view(kept)
        kept.poll(60)
        there = {str(row["dossier_code"]) for row in kept.agency.rows}
        for stage in kept.stages.values():
            assert in_store(stage).keys() <= there, "what left two full reads ago is gone"
        assert told(summed) == told(full)


@QUICK
@given(st.lists(st.one_of(HONEST_CHANGE, POLL, st.just(("restart",)), st.just(("sweep",))), max_size=14))
def test_dates_that_are_kept_well_tell_what_full_reads_tell(events: list[Event]) -> None:
    with kept_stores() as kept:
        full, by_date = kept.stages[ReadKind.FULL], kept.stages[ReadKind.CHANGED_BY]
        for event in events:
            kept.happens(event)
            assert told(by_date) == told(full)
        kept.poll(60)

        assert by_date.transitions() == full.transitions()
        record = by_date.snapshots.agency(AGENCY)
        assert record is not None
        assert record.found_by_sweep == 0
