"""No room on the disk, really none: beneath the state store, the spool and the reports."""

from __future__ import annotations

import shutil
import time as clock_time
from datetime import time
from pathlib import Path

import pytest
import structlog

from smsd.adapters.reports.files import FolderReports
from smsd.adapters.store.reports import SqlReportStore
from smsd.core.figures import ReportAgency
from smsd.services.daily import ALL_AGENCIES, PROVISIONAL_RUN, NightlyReports
from smsd.services.ports import RunKey
from smsd.services.reporting import ReportService, ReportSettings
from tests.services.stage import READY, Stage, a_row
from tests.support.builders import ZONE, local
from tests.support.reliability import Record
from tests.system.daemonoffice import Office, baselined
from tests.system.faults.counting import (
    MANY,
    STORE,
    became_ready,
    by_itself,
    counted,
    seconds_until,
    telling,
    told,
)
from tests.system.faults.smalldisk import SmallDisk
from tests.system.process import Daemon


@pytest.mark.reliability
def test_a_full_disk_stops_sending_says_so_and_is_made_up_for_when_there_is_room_again(
    tmp_path: Path, reliability: Record
) -> None:
    etc = tmp_path / "etc"
    with SmallDisk(tmp_path / "var", 24) as disk, SmallDisk(tmp_path / "spool", 2) as spool:
        office = Office(
            etc,
            store=f"sqlite:///{disk.folder / 'smsd.db'}",
            gateway={"type": "spool", "directory": str(spool.folder / "spool")},
            messages=MANY,
            alarms=telling(tmp_path),
        )
        (etc / "spool").symlink_to(spool.folder / "spool")
        office.add("alpha", dossiers=900)
        with Daemon(office) as daemon:
            baselined(daemon, "alpha")
            owed = became_ready(office, "alpha", range(10))
            seconds_until(lambda: len(office.codes()) == len(owed))

            spool.fill()
            owed += became_ready(office, "alpha", range(10, 20))
            daemon.wait_for("spool_not_written")
            assert len(office.codes()) == 10
            spool.free()
            took = seconds_until(lambda: len(office.codes()) == len(owed))
            found = counted(office.codes(), owed)
            found.keep(
                reliability,
                STORE,
                "the disk beneath the spool is full while messages are handed over",
                tried=1,
                recovered=by_itself(took),
            )

            fetched = office.codes()
            shutil.rmtree(spool.folder / "spool")
            owed += became_ready(office, "alpha", range(20, 30))
            took = seconds_until(lambda: len(office.codes()) == 10)
            found = counted(fetched + office.codes(), owed)
            assert (spool.folder / "spool").stat().st_mode & 0o777 == 0o700
            found.keep(
                reliability,
                STORE,
                "the spool's folder is deleted while smsd runs",
                tried=1,
                recovered=by_itself(took),
            )

            disk.fill()
            owed += became_ready(office, "alpha", range(30, 900))
            seconds_until(lambda: "store_failing" in told(tmp_path))
            assert "disk is full" in told(tmp_path)
            assert any("disk is full" in line for line in daemon.raw)
            assert daemon.process.poll() is None
            disk.free()
            took = seconds_until(lambda: len(fetched + office.codes()) == len(owed))
            found = counted(fetched + office.codes(), owed)
            found.keep(
                reliability,
                STORE,
                "the disk beneath the state store is full while agencies are read and messages sent",
                tried=1,
                recovered=by_itself(took),
            )
            assert daemon.stop() == 0
        assert "Traceback" not in "".join(daemon.raw)
        assert office.smsd("status").returncode == 0
        office.close()


@pytest.mark.reliability
def test_reports_that_find_no_room_are_written_whole_once_there_is_some(
    tmp_path: Path, reliability: Record
) -> None:
    stage = Stage(tmp_path)
    stage.clock.at = local("2026-08-03 23:30")
    stage.baseline(a_row(step=READY))
    with SmallDisk(tmp_path / "reports", 1) as disk, structlog.testing.capture_logs():
        service = ReportService(
            SqlReportStore(stage.database, ZONE),
            FolderReports(disk.folder, language="en"),
            ReportSettings(ZONE, ("result_ready", "supplement", "apology"), 300),
        )
        nightly = NightlyReports(
            service, stage.journal, stage.alarms, stage.clock, zone=ZONE, at=time(23, 30)
        )
        key = RunKey(PROVISIONAL_RUN, ALL_AGENCIES, stage.clock.now().astimezone(ZONE).date())
        agencies = [ReportAgency("nha-trang", "Nha Trang")]
        disk.fill()
        assert nightly.tick({"nha-trang": stage.plan}, agencies) == []
        assert stage.alarm_keys() == ["reports"]
        again = stage.journal.run(key).next_attempt_at
        assert again is not None
        wait = (again - stage.clock.now()).total_seconds()
        disk.free()
        stage.clock.at = again
        began = clock_time.monotonic()
        [paths] = nightly.tick({"nha-trang": stage.plan}, agencies)
        took = clock_time.monotonic() - began
        assert paths.page.read_text("utf-8").rstrip().endswith("</html>")
        assert [file.name for file in paths.folder.iterdir() if file.name.endswith(".part")] == []
        assert stage.alarm_keys() == []
    stage.database.close()
    reliability.row(
        STORE,
        "the disk beneath the reports is full at 23:30",
        tried=1,
        recovered=f"by itself at the next try, {wait:.0f} s after the first, in {took:.1f} s",
    )
