"""Reports whose folder vanishes, or that may not be written; the spool's folder is in test_store_full."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import time
from pathlib import Path

import pytest
import structlog

from smsd.adapters.reports.files import FolderReports
from smsd.adapters.store.reports import SqlReportStore
from smsd.core.figures import ReportAgency
from smsd.services.daily import NightlyReports
from smsd.services.reporting import ReportService, ReportSettings
from tests.services.stage import MINUTE, READY, Stage, a_row
from tests.support.builders import ZONE, local
from tests.support.reliability import Record
from tests.system.faults.counting import STORE
from tests.system.faults.smalldisk import ReadOnly


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    made.clock.at = local("2026-08-03 23:30")
    made.baseline(a_row(step=READY))
    yield made
    made.database.close()


@pytest.mark.reliability
def test_reports_whose_folder_vanished_or_was_closed_are_written_when_it_can_be(
    stage: Stage, reliability: Record
) -> None:
    folder = stage.folder / "reports"
    service = ReportService(
        SqlReportStore(stage.database, ZONE),
        FolderReports(folder, language="en"),
        ReportSettings(ZONE, ("result_ready", "supplement", "apology"), 300),
    )
    nightly = NightlyReports(service, stage.journal, stage.alarms, stage.clock, zone=ZONE, at=time(23, 30))

    def night() -> list[Path]:
        written = nightly.tick({"nha-trang": stage.plan}, [ReportAgency("nha-trang", "Nha Trang")])
        return [file for paths in written for file in paths.folder.iterdir()]

    with structlog.testing.capture_logs():
        files = night()
        shutil.rmtree(folder)
        stage.clock.at = local("2026-08-04 00:05")
        assert sorted(night()) == sorted(files)
        for file in files:
            file.chmod(0o400)
        stage.clock.at = local("2026-08-04 23:30")
        with ReadOnly(folder):
            assert night() == []
            assert stage.alarm_keys() == ["reports"]
        stage.clock.forward(MINUTE)
        assert len(night()) == len(files)
        assert stage.alarm_keys() == []
        stage.clock.at = local("2026-08-05 00:05")
        assert len(night()) == len(files)
    reliability.row(
        STORE,
        "the reports' folder vanished, or is read-only, when they are due",
        tried=2,
        recovered="by itself: made anew at once; a closed one is told of and tried again after a minute",
    )


@pytest.mark.reliability
def test_report_files_that_may_not_be_written_are_replaced_all_the_same(
    stage: Stage, reliability: Record
) -> None:
    files = FolderReports(stage.folder / "reports", language="en")
    service = ReportService(
        SqlReportStore(stage.database, ZONE), files, ReportSettings(ZONE, ("result_ready",), 300)
    )
    day, agencies = stage.clock.now().astimezone(ZONE).date(), [ReportAgency("nha-trang", "Nha Trang")]
    paths = service.write(day, agencies=agencies)
    before = {file: file.read_bytes() for file in paths.folder.iterdir()}
    for file in before:
        file.write_bytes(b"edited by hand")
        file.chmod(0o400)
        if file.owner() == "root":
            shutil.chown(file, "nobody")
    service.write(day, agencies=agencies)
    assert {file: file.read_bytes() for file in paths.folder.iterdir()} == before
    assert {file.stat().st_mode & 0o777 for file in before} == {0o640}
    reliability.row(
        STORE,
        "report files are read-only, of another user or edited by hand",
        tried=len(before),
        recovered="by itself at the next writing: whole files are put in their place",
    )
