"""A small installation, its agencies and the commands run on it within the test's own process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from click.testing import CliRunner

from smsd.cli import main
from smsd.core.clock import SystemClock
from smsd.daemon import run_once
from smsd.installation import read_installation
from tests.support.agencyviews import SqliteAgency
from tests.system.process import write_yaml, zone_where_it_is

READY, RECEIVED, WORK, DONE, SUPPLEMENT = (
    "Trả kết quả",
    "Tiếp nhận",
    "Thẩm định",
    "Đã trả kết quả",
    "Chờ bổ sung",
)
NUMBER = "0905123456"


@dataclass(frozen=True)
class Shown:
    """What a command showed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document and nothing else."""
        return json.loads(self.out)


class ShiftedClock:
    """The present, so much later."""

    def __init__(self, by: timedelta) -> None:
        self._by = by

    def now(self) -> datetime:
        return SystemClock().now() + self._by


class Office:
    """smsd.yaml, two agencies in SQLite, the spool for a gateway; it is between 12 and 13 o'clock there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "smsd.yaml"
        zone = zone_where_it_is(12)
        self.zone = ZoneInfo(zone)
        self.settings: dict[str, Any] = {
            "timezone": zone,
            "store": "sqlite:///smsd.db",
            "polling": {"interval": "1s", "timeout": "5s"},
            "notices": {"supplement": {"settle": "0s"}, "result_ready": {"settle": "0s"}},
            "messages": {"sending_hours": "00:00-00:00"},
            "gateway": {"type": "spool", "directory": "spool"},
            "reconciliation": {"directory": "reports", "language": "en"},
        }
        self.databases: dict[str, SqliteAgency] = {}
        (folder / "agencies").mkdir(parents=True)
        self.configure()
        for id_ in ("nha-trang", "so-xay-dung"):
            self.add(id_)

    def configure(self, **settings: Any) -> None:
        """Write smsd.yaml; what is given takes the place of a whole section."""
        self.settings |= settings
        write_yaml(self.config, self.settings)

    def agency(self, id_: str, **content: object) -> None:
        """Write an agency's file."""
        known = {
            "name": f"Cơ quan {id_}",
            "view": "smsd_dossiers",
            "database": f"sqlite:///../{id_}.db",
            **content,
        }
        write_yaml(self.folder / "agencies" / f"{id_}.yaml", known)

    def add(self, id_: str, dossiers: int = 4) -> None:
        """A new agency with a database and dossiers in work."""
        self.agency(id_)
        self.databases[id_] = SqliteAgency(self.folder / f"{id_}.db")
        for number in range(dossiers):
            self.stand(f"{id_}-{number}", agency=id_)

    def stand(self, code: str, agency: str = "nha-trang", **values: object) -> None:
        """A dossier, due in nine days unless told otherwise."""
        now = datetime.now(self.zone)
        row: Mapping[str, object] = {
            "dossier_code": code,
            "phone": NUMBER,
            "step": WORK,
            "status": "Đang xử lý",
            "procedure_code": "1.001",
            "procedure_name": "Đăng ký khai sinh",
            "received_at": now - timedelta(days=4),
            "due_at": now + timedelta(days=9),
            **values,
        }
        self.databases[agency].insert([{key: _text(value) for key, value in row.items()}])

    def move(self, code: str, step: str, agency: str = "nha-trang", **values: object) -> None:
        """A dossier goes to another step."""
        self.databases[agency].update(code, step=step, **{k: _text(v) for k, v in values.items()})

    def smsd(self, *words: str) -> Shown:
        """Run a command."""
        done = CliRunner().invoke(
            main, ["--config", str(self.config), *words], env={"COLUMNS": "100"}, catch_exceptions=False
        )
        return Shown(done.exit_code, done.stdout, done.stderr)

    def once(self, later: timedelta = timedelta(0)) -> int:
        """``smsd run --once``, so much later; its exit status."""
        return run_once(read_installation(self.config, {}), clock=ShiftedClock(later))

    def spooled(self) -> list[dict[str, Any]]:
        """Every message that left."""
        files = sorted((self.folder / "spool").glob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]

    def close(self) -> None:
        """Let the databases go."""
        for database in self.databases.values():
            database.close()


def _text(value: object) -> object:
    return value.strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else value
