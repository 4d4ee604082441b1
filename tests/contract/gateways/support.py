"""What the gateways' tests need: messages, a place to collect answers, and a watcher of the log."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime
from pathlib import Path

from smsd.adapters.gateways.kannel import KannelGateway
from smsd.adapters.gateways.spool import SpoolGateway
from smsd.core.model import Outcome
from smsd.core.policy import Encoding
from smsd.core.signing import Callback
from smsd.services.ports import Outgoing
from tests.support.builders import NOW, ZONE
from tests.support.postgres import wait_until

PASSWORD = "sesame"
SECRET = "a secret of the inbound listener"
CALLBACK = Callback("http://127.0.0.1:8029", SECRET)
TEXT = "Thông báo: Hồ sơ của quý Ông/Bà (H32.12 & co, 100% #1+2=3) đã được giải quyết.\nMời Ông/Bà đến “Một cửa” 😀"
UNACCENTED = "Thong bao: Ho so cua quy Ong/Ba (H32.12 & co, 100% #1+2=3) da duoc giai quyet xong. {[~]}"


def an_outgoing(number: int = 1, *, text: str = TEXT, at: datetime = NOW, repeat: bool = False) -> Outgoing:
    return Outgoing(
        id=f"0198c0de-0000-7000-8000-{number:012d}",
        phone=f"84905{number:06d}",
        text=text,
        kind="result_ready",
        agency="nha-trang",
        dossier_code=f"H32.12-260803-{number:04d}",
        at=at,
        segments=3,
        repeat=repeat,
    )


class Answers:
    """Collects what `done` is told, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls: list[tuple[str, Outcome]] = []

    def __call__(self, message_id: str, outcome: Outcome) -> None:
        with self._lock:
            self.calls.append((message_id, outcome))

    def wait(self, count: int, seconds: float = 10.0) -> dict[str, Outcome]:
        """The answers by id, once so many have come; each once."""
        wait_until(lambda: len(self.calls) >= count, seconds, step=0.002)
        assert [id_ for id_, times in Counter(id_ for id_, _ in self.calls).items() if times > 1] == []
        assert len(self.calls) == count
        return dict(self.calls)

    def one(self, seconds: float = 10.0) -> Outcome:
        return next(iter(self.wait(1, seconds).values()))


def a_spool(directory: Path, *, number_format: str = "84") -> SpoolGateway:
    return SpoolGateway(directory, sender="MotcuaSMS", zone=ZONE, number_format=number_format)


def a_kannel(
    url: str,
    *,
    password: str = PASSWORD,
    encoding: Encoding = Encoding.UNICODE,
    number_format: str = "84",
    callback: Callback | None = CALLBACK,
    connections: int = 2,
    timeout: float = 10.0,
) -> KannelGateway:
    return KannelGateway(
        url,
        "smsd",
        password,
        sender="MotcuaSMS",
        encoding=encoding,
        number_format=number_format,
        callback=callback,
        connections=connections,
        timeout=timeout,
    )
