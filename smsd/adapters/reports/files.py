"""Writes a report's files: each whole or not at all, one writer at a time, readable by the group only."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from smsd.adapters.folders import sync_folder
from smsd.adapters.reports.csvfile import csv_bytes
from smsd.adapters.reports.page import page_html
from smsd.adapters.reports.words import exceptions_header, reconciliation_header
from smsd.core.figures import ExceptionRow, cells_of, columns_for, exception_cells
from smsd.services.reporting import Report, ReportPaths, printed_instant

RECONCILIATION = "reconciliation.csv"
EXCEPTIONS = "exceptions.csv"
PAGE = "report.html"
_FILE_MODE = 0o640
_FOLDER_MODE = 0o750


class FolderReports:
    """Reports as folders of files beneath ``directory``, one per day or range."""

    def __init__(self, directory: Path, *, language: str = "vi", delimiter: str = ",") -> None:
        self._directory = directory
        self._language = language
        self._delimiter = delimiter

    def write(self, report: Report) -> ReportPaths:
        """Write all files of a report, each whole or not at all. Raises OSError."""
        folder = self._directory / report.folder
        contents = self._contents(report)
        _make_folders(folder)
        with _only_writer(folder):
            for name, content in contents.items():
                _replace_file(folder / name, content)
            for stale in folder.glob("exceptions-*.csv"):
                if stale.name not in contents:
                    stale.unlink()
            sync_folder(folder)
        return ReportPaths(
            folder=folder,
            reconciliation=folder / RECONCILIATION,
            exceptions=folder / EXCEPTIONS,
            page=folder / PAGE,
            by_agency={agency: folder / agency_file(agency) for agency in _by_agency(report)},
        )

    def _contents(self, report: Report) -> dict[str, bytes]:
        """Every file's bytes by name. All is composed before anything is touched."""
        contents = {
            RECONCILIATION: self._reconciliation(report),
            EXCEPTIONS: self._exceptions(report, report.exceptions),
        }
        for agency, own in _by_agency(report).items():
            contents[agency_file(agency)] = self._exceptions(report, own)
        contents[PAGE] = page_html(report, self._language).encode("utf-8", "replace")
        return contents

    def _reconciliation(self, report: Report) -> bytes:
        columns = columns_for(report.kinds)
        header = reconciliation_header(self._language, columns, report.kinds)
        rows = (cells_of(line, report.kinds, report.cost_per_segment).values() for line in report.lines)
        return csv_bytes(header, rows, self._delimiter)

    def _exceptions(self, report: Report, found: Sequence[ExceptionRow]) -> bytes:
        rows = (exception_cells(row, printed_instant(row.at, report.zone)).values() for row in found)
        return csv_bytes(exceptions_header(self._language), rows, self._delimiter)


def agency_file(agency: str) -> str:
    """The name of the file with one agency's exceptions."""
    return f"exceptions-{agency}.csv"


def _by_agency(report: Report) -> dict[str, list[ExceptionRow]]:
    own: dict[str, list[ExceptionRow]] = {}
    for row in report.exceptions:
        own.setdefault(row.agency, []).append(row)
    return dict(sorted(own.items()))


def _make_folders(folder: Path) -> None:
    """Make the folder and those above it that are missing; existing ones keep their modes."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        path.chmod(_FOLDER_MODE)


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Keep a command and the daemon from writing one folder at once; ends with the process at the latest."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace_file(path: Path, content: bytes) -> None:
    """Put a file in place of another so that a reader, or a crash, finds the whole old or the whole new one."""
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), _FILE_MODE)
        os.fsync(file.fileno())
    partial.replace(path)
