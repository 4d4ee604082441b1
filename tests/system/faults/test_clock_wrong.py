"""A clock that is wrong at the start and put right later, or that is set while smsd runs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pytest
import structlog

from smsd.adapters.reports.files import FolderReports
from smsd.adapters.store.reports import SqlReportStore
from smsd.adapters.store.setclock import SetClockStore
from smsd.core.errors import SmsdError
from smsd.core.figures import ReportAgency
from smsd.daemon import run_once
from smsd.installation import read_installation
from smsd.services.clockwatch import FAR, NEVER_BEFORE, PATIENCE, ClockWatch
from smsd.services.daily import NightlyReports
from smsd.services.reporting import ReportService, ReportSettings
from tests.services.stage import HOUR, MINUTE, READY, Stage, a_row
from tests.support.builders import NOW, ZONE, local
from tests.support.postgres import wait_until
from tests.support.reliability import Record
from tests.system.daemonoffice import Office, baselined
from tests.system.faults.counting import STORE, became_ready, by_itself, counted, seconds_until
from tests.system.process import Daemon

DAY, YEAR = timedelta(days=1), timedelta(days=365)


class FakeTime:
    """The clock of a process, so much off: libfaketime reads it from a file at every look."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "faketime"
        library = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        assert library, "libfaketime is missing: run scripts/system-packages.sh"
        self.environ = {
            "LD_PRELOAD": str(library[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def off_by(self, seconds: float) -> None:
        """From now on the clock is so much ahead."""
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{seconds:+.0f}", "ascii")
        beside.replace(self._file)


@pytest.mark.reliability
def test_a_daemon_started_under_a_wrong_clock_waits_until_it_is_put_right(
    tmp_path: Path, reliability: Record
) -> None:
    office, fake = Office(tmp_path / "etc"), FakeTime(tmp_path)
    office.add("alpha", dossiers=40)
    fake.off_by(0)
    with Daemon(office, **fake.environ) as daemon:
        baselined(daemon, "alpha")
        owed = became_ready(office, "alpha", range(5))
        wait_until(lambda: len(office.codes()) == len(owed))
        assert daemon.stop() == 0
    wrong = {
        "a year ahead": YEAR.total_seconds(),
        "in 1970": -datetime.now(UTC).timestamp() + 3600,
        "a year behind": -YEAR.total_seconds(),
    }
    first = 5
    for name, off in list(wrong.items())[: reliability.times(1, 3)]:
        fake.off_by(off)
        with Daemon(office, **fake.environ) as daemon:
            daemon.wait_for("alarm_raised", key="clock")
            owed += became_ready(office, "alpha", range(first, first + 5))
            [(key, message)] = office.ask("SELECT key, message FROM alarms WHERE cleared_at IS NULL")
            assert key == "clock"
            assert "the clock shows" in str(message)
            assert not daemon.logged("read_applied")
            assert len(office.codes()) == first
            fake.off_by(0)
            first += 5
            took = seconds_until(lambda: len(office.codes()) >= len(owed))  # noqa: B023
            assert daemon.logged("clock_believed")
            assert office.ask("SELECT count(*) FROM alarms WHERE cleared_at IS NULL") == [(0,)]
            assert daemon.stop() == 0
        found = counted(office.codes(), owed)
        found.keep(
            reliability,
            STORE,
            f"the clock is {name} when smsd starts, and put right later",
            tried=1,
            recovered=f"{by_itself(took)} of its being put right; until then nothing is read, sent or ended",
        )
    office.close()


@pytest.mark.reliability
def test_a_clock_set_while_it_runs_ends_no_message_and_sends_none_twice(
    tmp_path: Path, reliability: Record
) -> None:
    office, fake = Office(tmp_path / "etc"), FakeTime(tmp_path)
    office.write(notices={"result_ready": {"settle": "0s"}, "supplement": {"settle": "0s"}})
    office.add("alpha", dossiers=60)
    fake.off_by(0)
    steps = [YEAR, timedelta(0), 10 * HOUR, timedelta(0), -10 * HOUR, timedelta(0), -YEAR, timedelta(0)]
    owed: list[str] = []
    slowest = 0.0

    def all_left() -> bool:
        return len(office.codes()) >= len(owed)

    with Daemon(office, **fake.environ) as daemon:
        baselined(daemon, "alpha")
        for number, step in enumerate(steps):
            fake.off_by(step.total_seconds())
            if abs(step) >= FAR:
                wait_until(lambda number=number: len(daemon.logged("clock_not_believed")) > number // 4)
            owed += became_ready(office, "alpha", range(number * 5, number * 5 + 5))
            if abs(step) < FAR:
                slowest = max(slowest, seconds_until(all_left))
        assert daemon.stop() == 0
    found = counted(office.codes(), owed)
    assert office.ask("SELECT DISTINCT state FROM messages") == [("delivered",)]
    found.keep(
        reliability,
        STORE,
        "the clock is set ten hours or a year forward or back while smsd runs, and put right later",
        tried=len(steps) // 2,
        recovered=f"{by_itself(slowest)} of each step that can be true; a step of a year is waited out",
    )
    office.close()


def test_once_refuses_a_clock_that_is_surely_wrong(tmp_path: Path) -> None:
    office = Office(tmp_path / "etc")
    office.add("alpha")
    stage_clock = Stage(tmp_path / "etc").clock
    stage_clock.at = NEVER_BEFORE - MINUTE
    with pytest.raises(SmsdError, match="before smsd was made"):
        run_once(read_installation(office.config, {}), clock=stage_clock)
    office.close()


# evenings and nights that are lived through more than once


class Evening:
    """A stage with everything that looks at the time of day, its clock set forward and back at random."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir()
        self.stage = Stage(folder)
        self.chosen = random.Random(seed)
        self.passed = 0.0
        self.watch = ClockWatch(
            self.stage.clock,
            SetClockStore(self.stage.database),
            lambda: self.stage.alarms,
            monotonic=lambda: self.passed,
        )
        service = ReportService(
            SqlReportStore(self.stage.database, ZONE),
            FolderReports(folder / "reports", language="en"),
            ReportSettings(ZONE, ("result_ready", "supplement", "apology"), 300),
        )
        self.reports = NightlyReports(
            service, self.stage.journal, self.stage.alarms, self.stage.clock, zone=ZONE, at=time(23, 30)
        )
        self.due: dict[date, list[str]] = {}
        rows = []
        for day in (date(2026, 8, 4), date(2026, 8, 5)):
            self.due[day] = [f"D{day.day}-{number}" for number in range(3)]
            due_at = datetime.combine(day, time(10), ZONE)
            rows += [a_row(code, due_at=due_at) for code in self.due[day]]
        self.stage.clock.at = local("2026-08-03 08:00")
        assert self.watch.believed()
        self.stage.baseline(*rows)

    def turn(self, real: datetime, off: timedelta) -> None:
        """A minute of the daemon's work, at a true time and under a clock that is off."""
        self.passed += 60
        self.stage.clock.at = real + off
        if not self.watch.believed():
            return
        self.stage.poll()
        self.stage.passes.tick({"nha-trang": self.stage.plan})
        self.reports.tick({"nha-trang": self.stage.plan}, [ReportAgency("nha-trang", "Nha Trang")])
        self.stage.age()
        self.stage.send()

    def live(self) -> None:
        """Two evenings; the clock is off by up to some hours now and then, and right from 19:00 each evening."""
        off = timedelta(0)
        for day in (date(2026, 8, 3), date(2026, 8, 4)):
            for minute in range(0, 17 * 60 + 30, 30):
                real = datetime.combine(day, time(6), ZONE).astimezone(UTC) + minute * MINUTE
                at = real.astimezone(ZONE).time()
                if time(19) <= at or at < time(6):
                    off = timedelta(0)
                elif self.chosen.random() < 0.4:
                    off = self.chosen.choice([-3, -2, -1, 0, 0, 1, 2, 3, 7, 11]) * HOUR
                self.passed += 29 * 60
                self.turn(real, off)

    def apologies(self) -> Counter[str]:
        return Counter(m.dossier_code for m in self.stage.gateway.taken if m.kind == "apology")


@pytest.mark.reliability
def test_an_evening_lived_through_twice_brings_each_apology_once(tmp_path: Path, reliability: Record) -> None:
    tried, lost, doubled = reliability.times(2, 40), 0, 0
    with structlog.testing.capture_logs():
        for seed in range(tried):
            evening = Evening(tmp_path / str(seed), seed)
            evening.live()
            owed = [code for codes in evening.due.values() for code in codes]
            found = counted(list(evening.apologies().elements()), owed)
            lost, doubled = lost + found.lost, doubled + found.doubled
            evening.stage.database.close()
            assert (found.lost, found.doubled) == (0, 0), f"seed {seed}"
    reliability.row(
        STORE,
        "the clock is set forward and back over 17:30, 20:30 and midnight while smsd runs",
        tried=tried,
        lost=lost,
        doubled=doubled,
        recovered="by itself at the next pass; each evening lived through again finds what it did",
    )


# what is believed


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.database.close()


def a_watch(stage: Stage, passed: list[float]) -> ClockWatch:
    return ClockWatch(
        stage.clock, SetClockStore(stage.database), lambda: stage.alarms, monotonic=lambda: passed[0]
    )


@pytest.mark.parametrize(
    ("later", "believed"),
    [
        (timedelta(0), True),
        (11 * HOUR, True),
        (-11 * HOUR, True),
        (-13 * HOUR, False),
        (10 * DAY, True),
        (20 * DAY, False),
        (-20 * YEAR, False),
    ],
)
def test_at_a_start_the_clock_is_held_against_the_last_time_it_was_believed(
    stage: Stage, later: timedelta, believed: bool
) -> None:
    assert a_watch(stage, [0.0]).believed()
    stage.clock.forward(later)
    again = a_watch(stage, [0.0])
    assert again.believed() is believed
    assert again.in_doubt is not believed
    assert stage.alarm_keys() == ([] if believed else ["clock"])


def test_a_clock_that_stays_is_believed_after_a_while_but_never_one_of_before_smsd(stage: Stage) -> None:
    assert a_watch(stage, [0.0]).believed()
    stage.clock.forward(-DAY)
    passed = [0.0]
    watch = a_watch(stage, passed)
    assert not watch.believed()
    passed[0] = PATIENCE - 1
    assert not watch.believed()
    passed[0] = PATIENCE
    assert watch.believed()
    assert stage.alarm_keys() == []
    stage.clock.at = NEVER_BEFORE - DAY
    assert not watch.believed()
    passed[0] += 100 * PATIENCE
    assert not watch.believed()


def test_what_was_written_under_a_clock_that_ran_ahead_does_not_wait_for_it(stage: Stage) -> None:
    stage.clock.at = NOW + YEAR
    stage.baseline(a_row("H1"))
    stage.show(a_row("H1", step=READY))
    stage.after()
    stage.clock.at = NOW
    watch = a_watch(stage, [0.0])
    assert watch.believed()
    stage.settle_and_send()
    assert stage.states() == ["accepted"]
    record = stage.snapshots.agency("nha-trang")
    assert record is not None
    assert record.baseline_at == NOW
    assert stage.message().valid_until == NOW + timedelta(days=10)
