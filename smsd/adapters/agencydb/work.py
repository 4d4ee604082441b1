"""A read's life beside its own thread: connecting that can be given up, a deadline, and an end called by others.

Drivers block in calls that Python cannot break off, so the thread that reads never owns what ends it. What a
connection is asked belongs elsewhere.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from smsd.services.ports import RawRow

BLOCK_ROWS = 1_000
"""Rows fetched at once: few enough to bound memory, many enough for the round trips not to count."""


class End(StrEnum):
    """Why a piece of work is over before it was done."""

    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    CLOSED = "closed"
    OVERTAKEN = "overtaken"  # another read began on the same reader


class Ended(Exception):  # noqa: N818 - not a fault: somebody's decision
    """The work under way was ended. ``connecting``: before there was a connection."""

    def __init__(self, end: End, *, connecting: bool = False) -> None:
        super().__init__(end.value)
        self.end = end
        self.connecting = connecting


class Link(ABC):
    """One open connection. One thread works on it; any other may interrupt or close it, without waiting."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self._lock = threading.Lock()
        self._busy = False
        self._closing = False

    def ask(self, sql: str, values: list[object]) -> tuple[list[str], list[RawRow]]:
        """The column names and all rows of a small question."""
        with self._in_driver():
            cursor = self.open_small_cursor()
            _execute(cursor, sql, values)
            names = [column[0] for column in cursor.description]
            answer = [tuple(row) for row in cursor.fetchall()]
            cursor.close()
        return names, answer

    def stream(self, sql: str, values: list[object], size: int = BLOCK_ROWS) -> Iterator[list[RawRow]]:
        """All rows of a large question in blocks of ``size``; no more than one block is in memory."""
        with self._in_driver():
            cursor = self.open_cursor()
            _execute(cursor, sql, values)
        while True:
            with self._in_driver():
                block = self.fetch(cursor, size)
            if not block:
                break
            yield block
            del block  # the next one is fetched without this one in memory
        with self._in_driver():
            cursor.close()

    def interrupt(self) -> None:
        """Make the driver call under way fail. From any thread; never raises, never blocks."""
        self.break_off()

    def close(self) -> None:
        """Let go of the connection: now, or when the driver call under way has been broken off."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            if not self._busy:
                self.shut()
                return
        self.break_off()

    @contextmanager
    def _in_driver(self) -> Iterator[None]:
        """Around every driver call: the connection is not closed under it."""
        with self._lock:
            if self._closing:
                raise Ended(End.CLOSED)
            self._busy = True
        try:
            yield
        finally:
            with self._lock:
                self._busy = False
                if self._closing:
                    self.shut()

    # what differs between kinds of databases

    def open_small_cursor(self) -> Any:
        """A cursor for an answer of a few rows."""
        return self.raw.cursor()

    def open_cursor(self) -> Any:
        """A cursor that does not hold a whole answer in memory."""
        return self.raw.cursor()

    def fetch(self, cursor: Any, size: int) -> list[RawRow]:
        """The next rows as plain tuples; none at the end."""
        rows: list[RawRow] = cursor.fetchmany(size)
        return rows

    def begin(self, seconds: float) -> None:  # noqa: B027 - not every kind has to
        """Prepare for a read that may take ``seconds``."""

    def rest(self) -> None:  # noqa: B027 - nor this
        """Leave nothing open on the server until the next read."""

    @abstractmethod
    def break_off(self) -> None:
        """Make the driver call under way fail; never raises, never blocks."""

    @abstractmethod
    def shut(self) -> None:
        """Close the driver's connection; never raises."""


class Work:
    """One read or check under way. It ends when done, at its deadline, or when another thread says so."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end: End | None = None
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._woken = threading.Event()
        self._timer = threading.Timer(seconds, self.stop, (End.DEADLINE,))
        self._timer.daemon = True
        self._timer.start()

    def stop(self, end: End) -> None:
        """End the work. From any thread; never raises, never blocks."""
        with self._lock:
            if self.end is None:
                self.end = end
            link = self._link
        self._woken.set()
        if link is not None:
            link.interrupt()

    def go_on(self) -> None:
        """Raises `Ended` if the work has been ended."""
        if self.end is not None:
            raise Ended(self.end)

    def use(self, link: Link) -> None:
        """From now on ending the work interrupts this connection."""
        with self._lock:
            self._link = link
        self.go_on()

    def connect(self, connect: Callable[[float], Link]) -> Link:
        """A new connection. Raises what ``connect`` raises, or `Ended`, however long the driver goes on trying.

        Drivers cannot be woken while they look up a name or wait for a server's first word; one given up closes what
        it may still get.
        """
        found: list[Link | Exception] = []

        def run() -> None:
            outcome: Link | Exception
            try:
                outcome = connect(self.seconds)
            except Exception as error:  # told to the thread that waits
                outcome = error
            with self._lock:
                wanted = self.end is None
                if wanted:
                    found.append(outcome)
            if not wanted and isinstance(outcome, Link):
                outcome.close()
            self._woken.set()

        self._woken.clear()
        self.go_on()
        threading.Thread(target=run, name="connect", daemon=True).start()
        self._woken.wait()
        with self._lock:
            outcome = found[0] if found else Ended(self.end or End.CLOSED, connecting=True)
        if isinstance(outcome, Exception):
            raise outcome
        try:
            self.use(outcome)
        except Ended:
            outcome.close()
            raise
        return outcome

    def done(self) -> None:
        """The work is over: no deadline any more."""
        self._timer.cancel()
        with self._lock:
            self._link = None


def _execute(cursor: Any, sql: str, values: list[object]) -> None:
    """Without values none are passed, so that drivers leave percent signs and question marks alone."""
    if values:
        cursor.execute(sql, values)
    else:
        cursor.execute(sql)
