"""A small scripted day that can be cut off anywhere and taken up again from what is in the store."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection

from smsd.adapters.store.engine import Database
from smsd.core.model import ReceiptVerdict
from smsd.services.ports import Done, Outgoing
from tests.services.stage import CLOSED, READY, SETTLED, Stage, a_row
from tests.support.builders import local
from tests.support.fakegateway import FakeGateway

UNKNOWN_LONG_ENOUGH = timedelta(minutes=16)
TOMORROW = local("2026-08-04 10:00")


class Crash(BaseException):
    """The process ends here: nothing in memory survives."""


@dataclass
class Fuse:
    """Burns at the n-th point it passes. 0: never."""

    at: int = 0
    passed: int = 0
    points: list[str] = field(default_factory=list)

    def point(self, name: str) -> None:
        self.passed += 1
        self.points.append(name)
        if self.passed == self.at:
            raise Crash(name)


_COMPILED: dict[object, object] = {}
"""Statements compiled once for all the days."""


class FragileDatabase(Database):
    """May end the process before a commit that changes anything, which undoes it, or right after."""

    fuse: Fuse

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.engine = self.engine.execution_options(compiled_cache=_COMPILED)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with super().writing() as connection:
            before = self._changes(connection)
            yield connection
            changed = self._changes(connection) > before
            if changed:
                self.fuse.point("before a commit")
        if changed:
            self.fuse.point("after a commit")

    def _changes(self, connection: Connection) -> int:
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        return driver.total_changes


@dataclass
class FragileGateway(FakeGateway):
    """May end the process before a message reaches the network, or after it did and before the answer is known."""

    fuse: Fuse = field(default_factory=Fuse)

    def submit(self, messages: Sequence[Outgoing], done: Done) -> None:
        for message in messages:
            self.fuse.point("before the gateway")
            super().submit([message], done)
            self.fuse.point("after the gateway")


class Day:
    """``run`` lives through the day, starting a new process after each crash, and goes on where the day stood."""

    def __init__(self, folder: Path, crash_at: int = 0, *, repeats_safely: bool = False) -> None:
        folder.mkdir()
        self.fuse = Fuse(crash_at)
        self.stage = Stage(
            folder,
            gateway=FragileGateway(window=3, repeats_safely=repeats_safely, fuse=Fuse()),
            make_database=self._fragile,
        )
        assert isinstance(self.stage.gateway, FragileGateway)
        self.stage.gateway.fuse = self.fuse
        self.crashes: list[str] = []

    def _fragile(self, url: str) -> Database:
        made = FragileDatabase(url)
        made.fuse = Fuse()  # opening the store is not part of the day
        return made

    def run(self) -> None:
        assert isinstance(self.stage.database, FragileDatabase)
        self.stage.database.fuse = self.fuse
        for moment, rows, receipts in self._script():
            self.stage.clock.at = local(moment)
            self.stage.show(*rows)
            self._survive(self.stage.poll)
            for wait in (SETTLED, UNKNOWN_LONG_ENOUGH):
                self.stage.clock.forward(wait)
                self._survive(self.stage.poll)
                self._survive(self.stage.age)
                self._survive(self.stage.send)
            for dossier in receipts:
                self._survive(lambda dossier=dossier: self._report(dossier))  # type: ignore[misc]

    def _survive(self, step: Callable[[], object]) -> None:
        """One step of the day; a crash takes its whole memory, and the step is taken again as a new process would."""
        while True:
            try:
                step()
            except Crash as crash:
                self.crashes.append(str(crash))
                self._restart()
            else:
                return

    def _restart(self) -> None:
        self.stage.gateway._held.clear()
        self.stage.start()
        self.stage.delivery.recover()
        self.stage.take_part()

    def _report(self, dossier: str) -> None:
        for message in self.stage.gateway.taken:
            if message.dossier_code == dossier:
                self.stage.receipt(message.id, ReceiptVerdict.DELIVERED)

    def _script(self) -> list[tuple[str, list[dict[str, object]], list[str]]]:
        quiet = [a_row(f"Q{n}") for n in range(2)]
        due = a_row("DUE", due_at=TOMORROW)
        return [
            ("2026-08-03 08:00", [*quiet, a_row("A"), a_row("B"), due], []),
            ("2026-08-03 09:00", [*quiet, a_row("A", step=READY), a_row("B"), due], []),
            (
                "2026-08-03 10:00",
                [
                    *quiet,
                    a_row("A", step=READY),
                    a_row("B", step="Tiếp nhận", status="Chờ bổ sung"),
                    a_row("C", step=READY, phone=""),
                    due,
                ],
                ["A"],
            ),
            (
                "2026-08-03 11:00",
                [*quiet, a_row("A", step=CLOSED), a_row("B", step=READY), a_row("C", step=READY), due],
                ["B"],
            ),
            ("2026-08-03 17:30", [*quiet, a_row("A", step=CLOSED), a_row("B", step=READY), due], ["C"]),
            ("2026-08-03 18:00", [*quiet, a_row("B", step=READY), a_row("DUE", step=READY)], ["DUE"]),
        ]

    # what came of it

    def arrived(self) -> Counter[tuple[str, str]]:
        return Counter((message.dossier_code, message.kind) for message in self.stage.gateway.taken)

    def marked(self) -> set[tuple[str, str]]:
        return {(m.dossier_code, m.kind) for m in self.stage.messages() if m.possible_duplicate}
