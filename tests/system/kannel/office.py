"""One agency's office: its database, smsd as a daemon, and what is in smsd's store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.agencyviews import SqliteAgency
from tests.support.kannel import PASSWORD, TOKEN, Kannel
from tests.support.postgres import wait_until
from tests.system.process import Daemon, Installed, write_yaml, zone_where_it_is

WORK, READY = "Thẩm định", "Trả kết quả"
NAME = "UBND phường Lộc Thọ"


def result_text(code: str) -> str:
    """The letter's text that a result is ready."""
    return (
        f"Thông báo: Hồ sơ của quý Ông/Bà ({code}) đã được giải quyết xong. "
        f"Mời Ông/Bà đến Bộ phận Một cửa {NAME} để nhận kết quả"
    )


def answer_text(code: str, step: str) -> str:
    """The letter's answer to a look-up."""
    return f"Hồ sơ của quý Ông/Bà ({code}) hiện đang ở bước {step}, trạng thái hồ sơ: Đúng hạn."


class Office:
    """``codes`` are dossiers being worked on; each has a telephone number of its own."""

    def __init__(self, folder: Path, inbound_port: int, codes: Iterable[str], **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.codes = list(codes)
        self.database = SqliteAgency(folder / "agency.db")
        self.database.insert([self._row(number, code) for number, code in enumerate(self.codes)])
        address = f"127.0.0.1:{inbound_port}"
        messages = {"sending_hours": "00:00-00:00", **settings.pop("messages", {})}
        self.installed = Installed(
            folder / "etc",
            {
                "timezone": zone_where_it_is(12),
                "polling": {"interval": "1s", "timeout": "5s"},
                "notices": {"result_ready": {"settle": "0s"}},
                "messages": messages,
                "inbound": {"listen": address, "public_url": f"http://{address}", "secret": TOKEN},
                **settings,
            },
        )
        self.installed.agency("loc-tho", database=self.database.url, name=NAME)

    def _row(self, number: int, code: str) -> dict[str, object]:
        return {
            "dossier_code": code,
            "phone": self.phone(number),
            "step": WORK,
            "status": "Đang xử lý",
            "procedure_code": "1.001",
            "procedure_name": "Đăng ký khai sinh",
            "received_at": f"{datetime.now():%Y-%m-%d} 07:00:00",  # noqa: DTZ005 - as agencies store it
            "due_at": "2099-12-31 17:00:00",
        }

    @staticmethod
    def phone(number: int) -> str:
        return f"0905{number:06}"

    def use(self, kannel: Kannel, password: str = PASSWORD, **more: object) -> None:
        """Write the gateway's section."""
        account = {"url": kannel.url, "username": "smsd", "password": password}
        self.installed.settings["gateway"] = {"type": "kannel", **account, **more}
        write_yaml(self.installed.config, self.installed.settings)

    def open(self) -> Daemon:
        """Start smsd and wait until it listens."""
        daemon = Daemon(self.installed)
        daemon.wait_for("inbound_listens")
        return daemon

    def finish(self, *codes: str) -> None:
        """The clerks' work on these is done."""
        self.database.update_all(codes, step=READY)

    # what smsd knows

    def messages(self) -> dict[str, dict[str, Any]]:
        """The messages by their dossiers' codes."""
        rows = self.ask("SELECT dossier_code, state, possible_duplicate, detail, text FROM messages")
        names = ("code", "state", "possible_duplicate", "detail", "text")
        return {row[0]: dict(zip(names, row, strict=True)) for row in rows}

    def state(self, code: str) -> str:
        """Where a dossier's message stands; empty while there is none."""
        return str(self.messages().get(code, {}).get("state", ""))

    def wait_for_state(self, code: str, state: str, seconds: float = 20) -> None:
        """Until a dossier's message stands so."""
        try:
            wait_until(lambda: self.state(code) == state, seconds, step=0.05)
        except AssertionError:
            raise AssertionError(f"{code} is not {state}: {self.messages().get(code)}") from None

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """What a question to the state store gives."""
        with closing(sqlite3.connect(self.installed.folder / "smsd.db", timeout=10)) as store:
            return store.execute(sql).fetchall()

    def __enter__(self) -> Office:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()
