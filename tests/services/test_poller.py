"""Reads in threads: when, how many at once, how long, and what a hanging database costs the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from errno import ENOSPC
from itertools import pairwise
from pathlib import Path

import pytest
import structlog

from smsd.core.errors import AgencyError, StoreError
from smsd.services.polling import AgencyPlan, Poller
from smsd.services.ports import AgencyReader
from smsd.services.timetable import FIRST_STEP, FIRST_WITHIN
from tests.services.stage import HOUR, MINUTE, READY, Stage, a_row
from tests.support.builders import a_policy, local
from tests.support.fakereader import FakeAgency, FakeReader
from tests.support.postgres import wait_until

SECOND = timedelta(seconds=1)
TURN = timedelta(seconds=0.5)


class Seconds:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


class DeafReader(FakeReader):
    """A driver that nothing wakes until the test lets it go."""

    def __init__(self, agency: FakeAgency, let_go: threading.Event) -> None:
        super().__init__(agency)
        self.let_go = let_go
        self.closed = 0

    def rows(self, *columns: object) -> Iterator[list[tuple[object, ...]]]:  # type: ignore[override]
        assert self.let_go.wait(30)
        yield from super().rows()

    def cancel(self) -> None:
        """Deaf."""

    def close(self) -> None:
        self.closed += 1


@dataclass
class Province:
    """Several agencies and one poller with threads."""

    stage: Stage
    seconds: Seconds = field(default_factory=Seconds)

    def __post_init__(self) -> None:
        self.agencies: dict[str, FakeAgency] = {}
        self.readers: list[AgencyReader] = []
        self.plans: dict[str, AgencyPlan] = {}
        self.let_go = threading.Event()
        self.poller = Poller(
            self.stage.snapshots,
            self.stage.journal,
            self.stage.alarms,
            self.stage.clock,
            workers=2,
            monotonic=self.seconds,
        )

    def add(self, id_: str, *, deaf: bool = False, timeout: float = 30.0) -> FakeAgency:
        agency = FakeAgency()
        agency.insert([a_row(f"{id_}-1")])

        def open_reader() -> AgencyReader:
            reader = DeafReader(agency, self.let_go) if deaf else FakeReader(agency)
            self.readers.append(reader)
            return reader

        self.agencies[id_] = agency
        policy = a_policy(id=id_)
        self.plans[id_] = AgencyPlan(policy, "source", "positions", timedelta(seconds=timeout), open_reader)
        self.poller.use(self.plans)
        return agency

    def tick(self) -> None:
        """One turn, and all reads that can end have ended."""
        self.poller.tick()
        wait_until(lambda: all(self._hangs(agency) for agency in self.poller._jobs))

    def _hangs(self, agency: str) -> bool:
        hanging = self.agencies[agency].hanging and self.readers[-1].waiting  # type: ignore[attr-defined]
        return hanging or (isinstance(self.readers[-1], DeafReader) and not self.let_go.is_set())

    def reads(self, agency: str) -> int:
        record = self.stage.snapshots.agency(agency)
        return 0 if record is None or record.last_good_at is None else 1

    def last_good(self, agency: str) -> object:
        record = self.stage.snapshots.agency(agency)
        return record.last_good_at if record is not None else None


@pytest.fixture
def province(tmp_path: Path) -> Iterator[Province]:
    stage = Stage(tmp_path)
    made = Province(stage)
    yield made
    made.let_go.set()
    made.poller.stop(5)
    wait_until(lambda: not any(t.name.startswith("poll-") for t in threading.enumerate()))
    stage.database.close()


def test_each_agency_is_read_once_an_interval(province: Province) -> None:
    province.add("one")
    province.tick()
    first = province.last_good("one")
    assert first == province.stage.clock.now()
    province.stage.clock.forward(MINUTE / 2 - timedelta(seconds=1))
    province.tick()
    assert province.last_good("one") == first
    province.stage.clock.forward(MINUTE / 2 + timedelta(seconds=1))
    province.tick()
    second = province.last_good("one")
    assert second == province.stage.clock.now()
    for _ in range(5):  # the first waits may be shorter
        province.stage.clock.forward(MINUTE)
        province.tick()
        assert province.last_good("one") == province.stage.clock.now()


def reads_until(province: Province, until: datetime) -> dict[str, list[datetime]]:
    """When each agency was read, with a turn of the daemon every half second."""
    seen: dict[str, list[datetime]] = {agency: [] for agency in province.plans}
    while province.stage.clock.now() < until:
        for _ in range(len(province.plans)):  # more than there are slots for
            province.tick()
        for record in province.stage.snapshots.agencies():
            good = record.last_good_at
            if good is not None and good not in seen[record.id]:
                seen[record.id].append(good)
        province.stage.clock.forward(TURN)
    return seen


def crowds(reads: dict[str, list[datetime]], since: datetime) -> list[list[str]]:
    """The agencies that were read in the same turn."""
    at: dict[datetime, list[str]] = {}
    for agency, instants in reads.items():
        for instant in instants:
            if instant >= since:
                at.setdefault(instant, []).append(agency)
    return [agencies for agencies in at.values() if len(agencies) > 1]


def test_thirteen_agencies_are_not_read_at_once_and_each_within_its_interval(province: Province) -> None:
    for n in range(13):
        province.add(f"a{n:02}")
    started = province.stage.clock.now()

    reads = reads_until(province, started + 6 * MINUTE)

    for instants in reads.values():
        assert instants[0] < started + FIRST_WITHIN
        assert max(b - a for a, b in pairwise([*instants, started + 6 * MINUTE])) <= MINUTE + TURN
    assert crowds(reads, started + 3 * MINUTE) == []
    assert sum(1 for instants in reads.values() for at in instants if at >= started + 3 * MINUTE) == 39
    later = sorted(at for instants in reads.values() for at in instants if at >= started + 3 * MINUTE)
    assert min(b - a for a, b in pairwise(later)) > 3 * SECOND
    start = sorted(instants[0] for instants in reads.values())
    assert min(b - a for a, b in pairwise(start)) >= FIRST_STEP


def test_the_pass_is_not_delayed_and_after_it_the_agencies_are_read_apart_again(province: Province) -> None:
    for n in range(6):
        province.add(f"a{n:02}")
    province.stage.clock.at = local("2026-08-03 17:25:00")
    at = local("2026-08-03 17:30:00")

    reads = reads_until(province, at + 6 * MINUTE)

    assert all(at in instants for instants in reads.values())
    for instants in reads.values():
        assert max(b - a for a, b in pairwise(instants)) <= MINUTE + TURN
    assert crowds(reads, at + 3 * MINUTE) == []


def test_a_reload_does_not_make_a_wait_longer_than_the_interval(province: Province) -> None:
    for n in range(13):
        province.add(f"a{n:02}")
    started = province.stage.clock.now()
    before = reads_until(province, started + 4 * MINUTE + 50 * SECOND)

    province.poller.use(province.plans)
    after = reads_until(province, started + 6 * MINUTE)

    for agency, instants in before.items():
        assert max(b - a for a, b in pairwise([*instants, *after[agency]])) <= MINUTE + TURN


def test_a_read_past_its_deadline_is_given_up_and_written_down(province: Province) -> None:
    province.add("one").hang()
    province.tick()
    province.seconds.at += 29.9
    province.poller.tick()
    assert province.stage.snapshots.agency("one") is None
    province.seconds.at += 0.2
    province.poller.tick()
    record = province.stage.snapshots.agency("one")
    assert record is not None
    assert (record.error_code, record.failures) == ("timeout", 1)


def test_hanging_agencies_cost_no_slot(province: Province) -> None:
    for n in range(3):
        province.add(f"hanging{n}", deaf=True)
    province.add("well")
    for _ in range(3):
        province.poller.tick()
        province.seconds.at += 1.1
        province.stage.clock.forward(FIRST_STEP)
    wait_until(lambda: (province.poller.tick() or province.reads("well")) == 1)


def test_a_deaf_driver_is_left_after_three_reads_until_one_comes_back(province: Province) -> None:
    province.add("deaf", deaf=True)
    for _ in range(6):
        province.poller.tick()
        province.seconds.at += 31
        province.poller.tick()
        province.stage.clock.forward(HOUR)
    assert len(province.readers) == 3
    assert province.stage.alarm_keys() == ["agency:deaf"]
    province.let_go.set()
    wait_until(lambda: all(reader.closed for reader in province.readers))  # type: ignore[attr-defined]
    assert province.reads("deaf") == 0, "a read that was given up is not applied"
    wait_until(lambda: (province.poller.tick() or province.reads("deaf")) == 1)


def test_failures_wait_twice_as_long_each_up_to_a_quarter_of_an_hour(province: Province) -> None:
    province.add("one").fault = AgencyError("no route", code="unreachable")
    waits, failures = [], 0
    for _ in range(7):
        waited = timedelta(0)
        while True:
            province.tick()
            record = province.stage.snapshots.agency("one")
            assert record is not None
            if record.failures > failures:
                failures = record.failures
                break
            waited += MINUTE
            province.stage.clock.forward(MINUTE)
        waits.append(int(waited / MINUTE))
    assert waits == [0, 1, 2, 4, 8, 15, 15]


def test_an_alarm_is_raised_for_the_third_failure_and_cleared_by_a_good_read(province: Province) -> None:
    agency = province.add("one")
    agency.fault = AgencyError("no route", code="unreachable")
    for expected in ([], [], ["agency:one"]):
        province.tick()
        assert province.stage.alarm_keys() == expected
        province.stage.clock.forward(HOUR)
    agency.fault = None
    province.tick()
    assert province.stage.alarm_keys() == []


@pytest.mark.parametrize("code", ["login_failed", "view_missing", "permission_denied"])
def test_what_only_people_can_mend_raises_an_alarm_at_once(province: Province, code: str) -> None:
    province.add("one").fault = AgencyError("no", code=code)
    province.tick()
    assert province.stage.alarm_keys() == ["agency:one"]


def test_a_driver_missing_when_the_reader_is_opened_stops_nobody_else(province: Province) -> None:
    def no_driver() -> AgencyReader:
        raise AgencyError("no such driver", code="driver_missing", hint="install it")

    province.add("well")
    province.plans["broken"] = AgencyPlan(
        a_policy(id="broken"), "source", "positions", timedelta(seconds=30), no_driver
    )
    province.poller.use(province.plans)
    province.tick()
    province.stage.clock.forward(FIRST_STEP)
    province.tick()
    assert province.reads("well") == 1
    record = province.stage.snapshots.agency("broken")
    assert record is not None
    assert record.error_code == "driver_missing"


def test_an_unforeseen_error_of_a_reader_is_a_failed_read(province: Province) -> None:
    province.add("one").fault = ZeroDivisionError()  # type: ignore[assignment]
    with structlog.testing.capture_logs() as lines:
        province.tick()
    record = province.stage.snapshots.agency("one")
    assert record is not None
    assert (record.error_code, record.failures) == ("read_failed", 1)
    assert "poll_crashed" in [line["event"] for line in lines]


def test_a_full_disk_of_temporary_files_is_a_failed_read_and_says_where_to_look(province: Province) -> None:
    province.add("one").fault = OSError(ENOSPC, "No space left on device")  # type: ignore[assignment]
    with structlog.testing.capture_logs() as lines:
        province.tick()
    record = province.stage.snapshots.agency("one")
    assert record is not None
    assert (record.error_code, record.failures) == ("read_failed", 1)
    assert "No space left on device" in str(record.error)
    assert "/tmp" in str(record.error) + str(lines)
    assert not [line for line in lines if "exc_info" in line]


def test_a_failing_store_is_one_line_and_the_agency_is_read_again(province: Province) -> None:
    agency = province.add("one")
    working = province.stage.snapshots.transaction

    def broken(_agency: str) -> object:
        raise StoreError("disk full")

    province.stage.snapshots.transaction = broken  # type: ignore[method-assign, assignment]
    with structlog.testing.capture_logs() as lines:
        province.tick()
    assert [line["event"] for line in lines] == ["poll_failed"]
    province.stage.snapshots.transaction = working  # type: ignore[method-assign]
    province.stage.clock.forward(MINUTE)
    province.tick()
    assert province.reads("one") == 1
    assert agency.fault is None


def test_a_clock_set_back_does_not_stop_the_polling(province: Province) -> None:
    province.add("one")
    province.tick()
    before = province.stage.clock.forward(-24 * HOUR)
    province.tick()
    assert province.last_good("one") == before


def test_a_clock_set_back_while_an_agency_fails_does_not_prolong_its_wait(province: Province) -> None:
    agency = province.add("one")
    agency.fault = AgencyError("no route", code="unreachable")
    province.tick()
    agency.fault = None
    province.stage.clock.forward(-2 * HOUR)
    province.tick()
    assert province.reads("one") == 1


def test_the_pass_s_time_makes_a_read_due_at_once(province: Province) -> None:
    province.stage.clock.at = local("2026-08-03 17:29:30")
    agency = province.add("one")
    province.tick()
    agency.fault = AgencyError("no route", code="unreachable")
    province.stage.clock.at = local("2026-08-03 17:30:00")
    province.tick()
    record = province.stage.snapshots.agency("one")
    assert record is not None
    assert record.failures == 1
    province.stage.clock.forward(timedelta(seconds=30))
    province.tick()
    assert province.stage.snapshots.agency("one").failures == 1  # type: ignore[union-attr]


def test_a_reload_drops_what_the_old_configuration_began_and_reads_anew(province: Province) -> None:
    province.add("one", deaf=True)
    province.poller.tick()
    old = province.readers[0]
    other = FakeAgency()
    other.insert([a_row("new-1"), a_row("new-2")])
    plan = replace(province.plans["one"], source="another", open_reader=lambda: FakeReader(other))
    province.poller.use({"one": plan})
    wait_until(lambda: (province.poller.tick() or province.reads("one")) == 1)
    province.let_go.set()
    wait_until(lambda: old.closed == 1)  # type: ignore[attr-defined]
    record = province.stage.snapshots.agency("one")
    assert record is not None
    assert (record.source, record.last_rows, record.failures) == ("another", 2, 0)


def test_a_reload_reads_through_new_connections(province: Province) -> None:
    province.add("one")
    province.tick()
    province.poller.use(province.plans)
    province.stage.clock.forward(MINUTE)
    province.tick()
    assert len(province.readers) == 2


def test_a_removed_agency_is_read_no_more(province: Province) -> None:
    province.add("one")
    province.tick()
    before = province.last_good("one")
    province.poller.use({})
    province.stage.clock.forward(HOUR)
    province.tick()
    assert province.last_good("one") == before


def test_polling_once_reads_every_agency_however_few_the_slots(province: Province) -> None:
    for n in range(7):
        province.add(f"a{n}")
    province.add("down").fault = AgencyError("no route", code="unreachable")
    province.poller.poll_all_once()
    assert [province.reads(f"a{n}") for n in range(7)] == [1] * 7
    assert not province.poller.busy()


def test_new_messages_wake_the_delivery(province: Province) -> None:
    woken: list[int] = []
    province.poller._on_messages = lambda: woken.append(1)
    agency = province.add("one")
    province.tick()
    assert woken == []
    agency.update("one-1", step=READY)
    province.stage.clock.forward(MINUTE)
    province.tick()
    assert woken == [1]


def test_stopping_gives_up_what_is_under_way_and_applies_nothing(province: Province) -> None:
    province.add("one").hang()
    province.tick()
    province.poller.stop(5)
    wait_until(lambda: not province.poller.busy())
    assert province.stage.snapshots.agency("one") is None
