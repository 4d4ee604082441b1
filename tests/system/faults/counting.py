"""What became of the messages that were owed: how many never left, how many left twice, and how long it took."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tests.support.postgres import wait_until
from tests.support.reliability import Record
from tests.system.daemonoffice import READY, Office

STORE, BACKUP = "State store, files and clock", "Backup and restore"
MANY = {"sending_hours": "00:00-00:00", "hold_above": 10_000}


@dataclass(frozen=True)
class Counted:
    """The figures of a row."""

    lost: int
    doubled: int

    def keep(self, reliability: Record, group: str, fault: str, *, tried: int, recovered: str) -> None:
        """Write the row of a fault that may cost nothing, and hold it to that."""
        assert (self.lost, self.doubled) == (0, 0), fault
        reliability.row(group, fault, tried=tried, lost=self.lost, doubled=self.doubled, recovered=recovered)


def counted(left: Collection[str], owed: Collection[str]) -> Counted:
    """Compare what left with what was owed, each dossier once."""
    times = Counter(left)
    return Counted(
        lost=len(set(owed) - times.keys()), doubled=sum(count - 1 for count in times.values() if count > 1)
    )


def became_ready(office: Office, agency: str, numbers: range) -> list[str]:
    """The clerks are done with these dossiers, at one stroke. Returns their codes."""
    codes = [f"{agency}-{number}" for number in numbers]
    listed = ", ".join(f"'{code}'" for code in codes)
    office.databases[agency].execute(f"UPDATE dossiers SET step = '{READY}' WHERE dossier_code IN ({listed})")
    return codes


def seconds_until(condition: Callable[[], bool], at_most: float = 60) -> float:
    """How long a condition takes to come true."""
    began = time.monotonic()
    wait_until(condition, at_most)
    return time.monotonic() - began


def by_itself(seconds: float) -> str:
    """As the table says it."""
    return f"by itself in {seconds:.1f} s"


def told(folder: Path) -> str:
    """What the operator's alarm command was given so far."""
    file = folder / "alarms"
    return file.read_text("utf-8") if file.exists() else ""


def telling(folder: Path) -> dict[str, object]:
    """The setting that makes the alarm command write down what it is given."""
    return {"command": ["/bin/sh", "-c", f"cat >> '{folder}/alarms'"]}
