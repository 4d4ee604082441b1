"""The nightly reports, retention and alarms: owed until they are done, whatever fails in between."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, time, timedelta

import pytest
import structlog

from smsd.adapters.reports.files import FolderReports
from smsd.adapters.store.reports import SqlReportStore
from smsd.adapters.store.upkeep import UpkeepStore
from smsd.core.errors import AgencyError
from smsd.core.figures import ReportAgency
from smsd.core.model import ReceiptVerdict
from smsd.services.alarms import AlarmBell
from smsd.services.daily import ALL_AGENCIES, FINAL_RUN, PROVISIONAL_RUN, NightlyReports
from smsd.services.ports import Alarm, RunKey
from smsd.services.reporting import ReportService, ReportSettings
from smsd.services.upkeep import Upkeep
from tests.services.stage import HOUR, MINUTE, READY, Stage, a_row
from tests.support.builders import ZONE, local

DAY = date(2026, 8, 3)
AGENCIES = [ReportAgency("nha-trang", "Nha Trang")]


class Night:
    """The nightly reports over a stage, into a folder."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.folder = stage.folder / "reports"
        settings = ReportSettings(ZONE, ("result_ready", "supplement", "apology"), 300)
        files = FolderReports(self.folder, language="en", delimiter=",")
        service = ReportService(SqlReportStore(stage.database, ZONE), files, settings)
        self.reports = NightlyReports(
            service, stage.journal, stage.alarms, stage.clock, zone=ZONE, at=time(23, 30)
        )

    def tick(self, at: datetime) -> int:
        self.stage.clock.at = at
        with structlog.testing.capture_logs():
            return len(self.reports.tick({"nha-trang": self.stage.plan}, AGENCIES))

    def state(self, name: str, day: date = DAY) -> str:
        return self.stage.journal.run(RunKey(name, ALL_AGENCIES, day)).state

    def days(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []


@pytest.fixture
def night(stage: Stage) -> Night:
    stage.clock.at = local("2026-08-03 08:00")
    stage.journal.began(stage.clock.now())
    stage.baseline(a_row(step=READY))
    return Night(stage)


def test_the_provisional_report_is_written_once_at_its_time(night: Night) -> None:
    assert night.tick(local("2026-08-03 23:29")) == 0
    assert night.tick(local("2026-08-03 23:30")) == 1
    assert night.tick(local("2026-08-03 23:31")) == 0
    assert (night.state(PROVISIONAL_RUN), night.state(FINAL_RUN)) == ("done", "owed")
    assert night.days() == ["2026-08-03"]


def test_the_final_report_is_written_after_midnight(night: Night) -> None:
    night.tick(local("2026-08-03 23:30"))
    assert night.tick(local("2026-08-04 00:04")) == 0
    assert night.tick(local("2026-08-04 00:05")) == 1
    assert night.tick(local("2026-08-04 00:06")) == 0
    assert night.state(FINAL_RUN) == "done"


def test_days_without_a_daemon_are_reported_at_the_next_start(night: Night) -> None:
    assert night.tick(local("2026-08-06 07:00")) == 3
    assert night.days() == ["2026-08-03", "2026-08-04", "2026-08-05"]


def test_days_before_the_store_began_are_not_reported(night: Night) -> None:
    night.tick(local("2026-08-04 00:05"))
    assert night.days() == ["2026-08-03"]


def test_an_agency_that_cannot_be_asked_is_asked_again_until_morning(night: Night) -> None:
    night.stage.agency.fault = AgencyError("no route", code="unreachable")
    assert night.tick(local("2026-08-04 00:05")) == 1
    assert night.state(FINAL_RUN) == "owed"
    assert night.tick(local("2026-08-04 00:05") + timedelta(seconds=59)) == 0
    assert night.tick(local("2026-08-04 00:06")) == 1
    night.stage.agency.fault = None
    assert night.tick(local("2026-08-04 00:08")) == 1
    assert night.state(FINAL_RUN) == "done"


def test_in_the_morning_the_report_is_final_without_those_that_could_not_be_asked(night: Night) -> None:
    night.stage.agency.fault = AgencyError("no route", code="unreachable")
    night.tick(local("2026-08-04 06:00"))
    run = night.stage.journal.run(RunKey(FINAL_RUN, ALL_AGENCIES, DAY))
    assert (run.state, run.detail) == ("done", "not asked: nha-trang")


def test_an_agency_that_hangs_holds_up_nothing_but_its_own_count(night: Night) -> None:
    night.stage.agency.hang()
    plan = replace(night.stage.plan, timeout=timedelta(milliseconds=50))
    with structlog.testing.capture_logs():
        failed = night.reports.count(DAY, {"nha-trang": plan})
    assert [error.code for error in failed.values()] == ["timeout"]


def test_a_driver_that_is_missing_is_a_count_that_failed(night: Night) -> None:
    def no_driver() -> object:
        raise AgencyError("no driver", code="driver_missing")

    plan = replace(night.stage.plan, open_reader=no_driver)  # type: ignore[arg-type]
    with structlog.testing.capture_logs():
        assert night.reports.count(DAY, {"nha-trang": plan})["nha-trang"].code == "driver_missing"


def test_reports_that_cannot_be_written_raise_an_alarm_and_are_tried_again_later(night: Night) -> None:
    night.folder.write_text("in the way")
    assert night.tick(local("2026-08-03 23:30")) == 0
    assert night.stage.alarm_keys() == ["reports"]
    night.folder.unlink()
    assert night.tick(local("2026-08-03 23:30") + timedelta(seconds=2)) == 0, "not at every tick"
    assert night.tick(local("2026-08-03 23:31")) == 1
    assert night.stage.alarm_keys() == []


def test_an_earlier_day_that_a_late_receipt_changed_is_written_again_before_the_night_is_over(
    night: Night,
) -> None:
    stage, earlier = night.stage, night.folder / DAY.isoformat()
    stage.show(a_row(step=READY), a_row("H2", step=READY))
    stage.after()
    stage.settle_and_send()
    night.tick(local("2026-08-04 00:05"))
    stage.clock.at = local("2026-08-04 10:00")
    stage.receipt(stage.message().id, ReceiptVerdict.DELIVERED)
    shutil.rmtree(earlier)
    earlier.write_text("in the way")
    assert night.tick(local("2026-08-05 00:05")) == 1
    assert night.state(FINAL_RUN, DAY + timedelta(days=1)) == "owed"
    earlier.unlink()
    night.tick(local("2026-08-05 00:06"))
    assert night.state(FINAL_RUN, DAY + timedelta(days=1)) == "done"
    total = list(csv.DictReader((earlier / "reconciliation.csv").open(encoding="utf-8-sig")))[-1]
    assert (total["result_ready_made"], total["result_ready_delivered"]) == ("1", "1")


def test_a_clock_that_ran_ahead_does_not_silence_the_nights_to_come(night: Night) -> None:
    night.tick(local("2031-01-01 07:00"))
    before = night.days()
    night.tick(local("2026-08-04 00:05"))
    assert "2026-08-03" in set(night.days()) - set(before)


def test_a_clock_set_back_does_not_prolong_a_wait(night: Night) -> None:
    night.stage.agency.fault = AgencyError("no route", code="unreachable")
    night.tick(local("2026-08-04 05:00"))
    night.stage.agency.fault = None
    assert night.tick(local("2026-08-04 00:30")) == 1


# retention


def test_retention_is_applied_once_a_day_and_on_demand(stage: Stage) -> None:
    purged: list[date] = []

    def purge_files(before: date) -> int:
        purged.append(before)
        return 0

    upkeep = Upkeep(
        UpkeepStore(stage.database),
        stage.journal,
        stage.clock,
        zone=ZONE,
        personal_data=timedelta(days=90),
        records=timedelta(days=1826),
        purge_files=purge_files,
    )
    stage.enter(a_row(step=READY))
    stage.settle_and_send()
    for _ in range(3):
        upkeep.tick()
    assert purged == [date(2026, 5, 5)]
    stage.clock.forward(timedelta(days=3))
    stage.delivery.age()
    stage.clock.forward(timedelta(days=91))
    upkeep.tick()
    assert stage.message().text is None
    assert len(purged) == 2
    stage.clock.forward(timedelta(days=1827))
    assert upkeep.purge().forgotten > 0
    assert stage.messages() == []


# alarms


@pytest.fixture
def bell(stage: Stage) -> Iterator[tuple[AlarmBell, list[Alarm]]]:
    told: list[Alarm] = []
    with structlog.testing.capture_logs():
        yield AlarmBell(stage.journal, stage.clock, told.append), told


def test_an_alarm_is_told_once_while_its_condition_lasts(
    stage: Stage, bell: tuple[AlarmBell, list[Alarm]]
) -> None:
    alarms, told = bell
    alarms.raise_alarm("k", "down", hint="look")
    stage.clock.forward(MINUTE)
    alarms.raise_alarm("k", "still down")
    assert [(a.key, a.message, a.hint, a.severity) for a in told] == [("k", "down", "look", "error")]
    alarms.clear("k")
    assert stage.alarm_keys() == []
    alarms.raise_alarm("k", "down again", severity="warning")
    assert len(told) == 2


def test_an_alarm_of_an_earlier_process_stands_and_is_not_told_again(
    stage: Stage, bell: tuple[AlarmBell, list[Alarm]]
) -> None:
    alarms, told = bell
    alarms.raise_alarm("k", "down")
    later = AlarmBell(stage.journal, stage.clock, told.append)
    later.raise_alarm("k", "down")
    assert len(told) == 1
    later.clear("k")
    assert stage.alarm_keys() == []


def test_an_alarm_that_another_process_cleared_is_told_again(
    stage: Stage, bell: tuple[AlarmBell, list[Alarm]]
) -> None:
    alarms, told = bell
    alarms.raise_alarm("k", "down")
    AlarmBell(stage.journal, stage.clock).clear("k")
    stage.clock.forward(HOUR)
    alarms.raise_alarm("k", "down")
    assert len(told) == 2
