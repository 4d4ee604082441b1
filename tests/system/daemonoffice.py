"""A small office for tests of the daemon as a process: agencies in SQLite, the spool unless told otherwise."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.support.agencyviews import SqliteAgency
from tests.support.postgres import wait_until
from tests.system.process import Daemon, Installed

READY, WORK = "Trả kết quả", "Thẩm định"
HERE = ZoneInfo("Asia/Ho_Chi_Minh")
ALL_DAY = {"sending_hours": "00:00-00:00"}
AT_ONCE = {"supplement": {"settle": "0s"}, "result_ready": {"settle": "0s"}}


class Office(Installed):
    """Agencies in SQLite, each with dossiers ``<agency>-<number>`` in work."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.databases: dict[str, SqliteAgency] = {}
        super().__init__(
            folder,
            {
                "polling": {"interval": "1s", "timeout": "3s"},
                "notices": AT_ONCE,
                "messages": ALL_DAY,
                **settings,
            },
        )

    def add(self, id_: str, dossiers: int = 10, **content: object) -> SqliteAgency:
        database = self.databases[id_] = SqliteAgency(self.folder / f"{id_}.db")
        now = datetime.now(HERE)
        database.insert(
            {
                "dossier_code": f"{id_}-{number}",
                "phone": "0905123456",
                "step": WORK,
                "procedure_code": "1.001",
                "received_at": f"{now - timedelta(days=3):%Y-%m-%d %H:%M:%S}",
                "due_at": f"{now + timedelta(days=9):%Y-%m-%d %H:%M:%S}",
            }
            for number in range(dossiers)
        )
        self.agency(id_, database=database.url, **content)
        return database

    def spooled(self) -> list[dict[str, str]]:
        files = sorted((self.folder / "spool").glob("*.jsonl"))
        # the last line may be in the making
        whole = [file.read_text("utf-8").rpartition("\n")[0] for file in files]
        return [json.loads(line) for text in whole for line in text.splitlines()]

    def codes(self) -> list[str]:
        return [message["dossier_code"] for message in self.spooled()]

    def ask(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.folder / "smsd.db", timeout=10)) as connection:
            return list(connection.execute(query))

    def close(self) -> None:
        for database in self.databases.values():
            database.close()


def instant(stored: object) -> datetime:
    """An instant as the store keeps it: microseconds."""
    return datetime.fromtimestamp(int(str(stored)) / 1e6, HERE)


def baselined(daemon: Daemon, *agencies: str) -> None:
    for agency in agencies:
        daemon.wait_for("baseline_taken", agency=agency)


def reload(daemon: Daemon, event: str = "reloaded") -> None:
    before = len(daemon.logged(event))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: len(daemon.logged(event)) > before)
