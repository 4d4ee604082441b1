"""What tests of faults measured, kept for the table of docs/reliability.md.

Such a test says by `Record.row` how often a fault was tried and what it cost. In a plain run the rows go nowhere;
`make reliability` gives SMSD_RELIABILITY_ROWS, a file that takes them one JSON object a line, and the tests try more.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

ROWS_VARIABLE = "SMSD_RELIABILITY_ROWS"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    group: str
    """The heading it stands under: one of `GROUPS`."""
    fault: str
    tried: int
    lost: int
    doubled: int
    """Messages the network got twice; with ``marked`` of them marked `possible_duplicate`."""
    marked: int
    recovered: str
    """How it ends: by itself and in what time, or what a person does. Plain English, no full stop."""
    note: str
    """Why a figure is not 0."""


GROUPS = (
    "The process ends",
    "Agencies' databases",
    "State store, files and clock",
    "Gateways",
    "Backup and restore",
    "Hostile input",
)


class Record:
    """Where a test writes its rows, and how much it should try."""

    def __init__(self, target: Path | None) -> None:
        self._target = target

    @property
    def thorough(self) -> bool:
        """Whether this is `make reliability`, which may take minutes for one fault."""
        return self._target is not None

    def times(self, plain: int, thorough: int) -> int:
        """How often to try: few times among all tests, many times for the table."""
        return thorough if self.thorough else plain

    def row(
        self,
        group: str,
        fault: str,
        *,
        tried: int,
        recovered: str,
        lost: int = 0,
        doubled: int = 0,
        marked: int = 0,
        note: str = "",
    ) -> None:
        """Keep what was measured. A figure that is not 0 needs a note."""
        assert group in GROUPS, group
        assert note or (lost, doubled) == (0, 0), "a row that is not 0 is explained"
        row = Row(group, fault, tried, lost, doubled, marked, recovered, note)
        if self._target is None:
            return
        with self._target.open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")


def record_from_environment() -> Record:
    """The record of this run."""
    target = os.environ.get(ROWS_VARIABLE)
    return Record(Path(target) if target else None)
