"""The demonstration's installation: databases, YAML files as an operator would write them, and its own clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from smsd.config.load import read_agencies, read_settings
from smsd.demo.agency import VIEW, DemoAgency
from smsd.demo.lives import Storyteller

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
INTERVAL = timedelta(minutes=10)
SHIPPED = Path(__file__).parent.parent / "shipped" / "config"
LARGEST_SHARE = 4
"""The largest agency has this many times the dossiers of the smallest."""


class DemoClock:
    """A clock that is told what time it is."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """The instant it was set to, in UTC."""
        return self.at.astimezone(UTC)


@dataclass(frozen=True)
class Stage:
    """Everything that is there before the curtain rises."""

    folder: Path
    config: Path
    agencies: Mapping[str, DemoAgency]
    days: list[date]
    begins: datetime


def set_up(folder: Path, days: list[date], dossiers: int, seed: int) -> Stage:
    """Make the agencies' databases and the configuration. ``dossiers`` in all, spread unevenly over the agencies."""
    pilot = _pilot_agencies()
    (folder / "agencies").mkdir(parents=True)
    (folder / "databases").mkdir()
    _write(folder / "smsd.yaml", _settings(dossiers))
    shares = [1 + index % LARGEST_SHARE for index in range(len(pilot))]
    agencies = {}
    for index, (id_, own) in enumerate(pilot.items()):
        database = folder / "databases" / f"{id_}.db"
        share = max(10, dossiers * shares[index] // sum(shares))
        population = Storyteller(index + 1, days, ZONE, seed).population(share)
        agencies[id_] = DemoAgency(database, population)
        _write(
            folder / "agencies" / f"{id_}.yaml", own | {"database": f"sqlite:///../databases/{database.name}"}
        )
    return Stage(
        folder, folder / "smsd.yaml", agencies, days, datetime.combine(days[0], time(6, 30), tzinfo=ZONE)
    )


def _pilot_agencies() -> dict[str, dict[str, object]]:
    """The shipped agencies by id: their real names, with an embedded database and live instead of off."""
    files = read_agencies(read_settings(SHIPPED / "smsd.yaml", {}), {})
    return {
        id_: {
            "name": agency.name,
            "short_name": agency.short_name or agency.name,
            "mode": "live",
            "view": VIEW,
            "same_day": agency.same_day,
        }
        for id_, agency in files.agencies.items()
    }


def _settings(dossiers: int) -> dict[str, object]:
    minutes = int(INTERVAL.total_seconds()) // 60
    return {
        "store": "sqlite:///smsd.db",
        "agencies": "agencies",
        "polling": {"interval": f"{minutes}m"},
        "messages": {"hold_above": max(500, dossiers // 10)},
        "gateway": {"type": "spool", "directory": "spool"},
        "reconciliation": {"directory": "reports"},
    }


def _write(path: Path, content: object) -> None:
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")
