"""Looking whether the audit is as smsd wrote it, and the heads that reports print. Memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, func, insert, select, text

from smsd.adapters.store.engine import Database
from smsd.adapters.store.mapping import AUDIT_HEAD, checkpoint_from, chunks, head_from
from smsd.adapters.store.schema import (
    audit_checkpoints,
    audit_heads,
    from_micros,
    message_events,
    messages,
    meta,
)
from smsd.core.chain import (
    DayHead,
    Event,
    Fault,
    Faults,
    Head,
    OwnEntry,
    StoredMessage,
    Walk,
    message_fault,
)
from smsd.core.errors import StoreError

_AT_ONCE = 2000
_REVISION = "0002"
_PREFIX = 16
"""Bytes of a hash by which heads are found; a copied head has that many digits at least."""
_EVENTS = "SELECT id, message_id, at, state, detail, content, hash FROM message_events"
_MESSAGES = "SELECT id, state, agency, dossier_code, kind, phone, text, segments, salt FROM messages"

Progress = Callable[[int, int], None]
"""Called now and then with how many rows were looked at, and how many there are."""


@dataclass(slots=True)
class SoughtHead:
    """A head on paper, by its digits, and the day it was printed for if that is known; where it was found."""

    digits: str
    day: date | None = None
    event_id: int | None = None
    at: datetime | None = None
    wrong_day: bool = False
    """It is in the chain, but not where the day ended."""

    @property
    def good(self) -> bool:
        """Whether it is in the chain, where it should be."""
        return self.event_id is not None and not self.wrong_day


@dataclass(frozen=True, slots=True)
class PlacedFault:
    """A fault, with the dossier it concerns as far as the store still knows it."""

    what: str
    event_id: int | None
    message_id: str | None
    agency: str | None
    dossier_code: str | None
    at: datetime | None


@dataclass(slots=True)
class Verified:
    """What was found. ``faults`` are the first hundred of ``fault_count``, in the order of the chain."""

    events: int = 0
    messages: int = 0
    checkpoints: int = 0
    removed: int = 0
    """Events that retention removed; the chain goes on over them."""
    head: Head | None = None
    fault_count: int = 0
    faults: list[PlacedFault] = field(default_factory=list)
    heads: Sequence[SoughtHead] = ()
    restored: list[datetime] = field(default_factory=list)
    """When the store was started from a backup copy: heads printed since the copy was made are of another store."""

    @property
    def whole(self) -> bool:
        """Whether all is as smsd wrote it and every head that was asked for is in it."""
        return not self.fault_count and all(head.good for head in self.heads)


class AuditStore:
    """The part of the state store that looks at its own audit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def verify(
        self, sought: Sequence[SoughtHead] = (), progress: Progress = lambda _done, _total: None
    ) -> Verified:
        """Look at every event and every message, as they are at one moment. Raises `StoreError`.

        Hinders no writer, and is not disturbed by one.
        """
        revision = self._database.revision()
        if revision is None or revision < _REVISION:
            raise StoreError(
                f"the state store is of an older smsd (schema {revision or 'none'}), whose audit is no chain yet",
                code="older_schema",
                hint="start the daemon once (systemctl restart smsd): it brings the store up to date",
            )
        with _one_look(self._database) as connection:
            return _Look(connection, sought, progress).result()


@contextmanager
def _one_look(database: Database) -> Iterator[Connection]:
    """The store as it is at one moment. Text that is none is read all the same: it may be what somebody wrote there."""
    with database.reading() as connection:
        if not database.is_sqlite:
            yield connection.execution_options(isolation_level="REPEATABLE READ")
            return
        driver = connection.connection.driver_connection
        assert driver is not None  # noqa: S101 # nosec B101 # for the type checker: it was just connected
        driver.text_factory = _lenient
        try:
            yield connection
        finally:
            driver.text_factory = str


def _lenient(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


class _Look:
    """One verification."""

    def __init__(self, connection: Connection, sought: Sequence[SoughtHead], progress: Progress) -> None:
        self._connection = connection
        self._progress = progress
        self._found = Verified(heads=sought)
        self._faults = Faults()
        self._sought: dict[bytes, list[SoughtHead]] = {}
        for head in sought:
            self._sought.setdefault(bytes.fromhex(head.digits[: 2 * _PREFIX]), []).append(head)
        self._day_heads = self._kept_heads()
        self._unseen = {head.event_id for head in self._day_heads.values()}
        self._done = 0
        counts = [select(func.count()).select_from(table) for table in (message_events, messages)]
        events, self._found.messages = (connection.execute(count).scalar_one() for count in counts)
        self._total = 2 * events + self._found.messages

    def result(self) -> Verified:
        """Look at everything."""
        found = self._found
        self._walk()
        self._compare()
        for head in found.heads:
            kept = self._day_heads.get(head.day) if head.day is not None else None
            head.wrong_day = kept is not None and not kept.hash.hex().startswith(head.digits)
        found.fault_count = self._faults.count
        found.faults = _placed(self._connection, self._faults.kept)
        return found

    # the chain

    def _walk(self) -> None:
        query = select(audit_checkpoints).order_by(audit_checkpoints.c.first_id)
        checkpoints = [checkpoint_from(row) for row in self._connection.execute(query)]
        self._found.checkpoints, self._found.removed = len(checkpoints), sum(one.rows for one in checkpoints)
        for one in checkpoints:
            self._note_head(one.last_id, one.after, one.at)
        walk = Walk(checkpoints, self._faults)
        by_id = self._kept_by_id()
        for event in self._counted(self._events("ORDER BY id")):
            walk.take(event)
            self._note_event(event, by_id)
        noted = select(meta.c.value).where(meta.c.key == AUDIT_HEAD)
        walk.end(head_from(self._connection.execute(noted).scalar()))
        for day, head in self._day_heads.items():
            if head.event_id in self._unseen:
                what = f"the head kept for {day}, event {head.event_id}, is not in the chain"
                self._faults.add(Fault(what, head.event_id))
        self._found.events, self._found.head = walk.events, walk.head if walk.head.id else None

    def _note_event(self, event: Event, by_id: dict[int, list[DayHead]]) -> None:
        if event.id in by_id:
            for head in by_id[event.id]:
                if head.hash == event.hash:
                    self._unseen.discard(head.event_id)
        if type(event.hash) is bytes and event.hash[:_PREFIX] in self._sought:
            self._note_head(event.id, event.hash, event.at)
        if event.message_id == "" and event.state == OwnEntry.RESTORED:
            self._found.restored.extend(at for at in [_instant(event.at)] if at is not None)

    def _note_head(self, event_id: int, hash_: bytes, at: object) -> None:
        for head in self._sought.get(bytes(hash_)[:_PREFIX], []):
            if bytes(hash_).hex().startswith(head.digits):
                head.event_id, head.at = event_id, _instant(at)

    def _kept_heads(self) -> dict[date, DayHead]:
        query = select(audit_heads.c.day, audit_heads.c.event_id, audit_heads.c.hash)
        return {row.day: DayHead(*row) for row in self._connection.execute(query.order_by(audit_heads.c.day))}

    def _kept_by_id(self) -> dict[int, list[DayHead]]:
        found: dict[int, list[DayHead]] = {}
        for head in self._day_heads.values():
            found.setdefault(head.event_id, []).append(head)
        return found

    # messages and their events

    def _compare(self) -> None:
        """Each message beside its events, both in the order of the messages' ids."""
        sqlite = self._connection.dialect.name == "sqlite"
        order = "" if sqlite else ' COLLATE "C"'  # as Python has it
        rows = self._rows(f"{_MESSAGES} ORDER BY id{order}")
        told = self._counted(StoredMessage(*row) for row in rows)
        events = self._counted(self._events(f"WHERE message_id <> '' ORDER BY message_id{order}, id"))
        for message, own in _beside(told, events):
            fault = message_fault(message, own)
            if fault is not None:
                self._faults.add(fault)

    # rows

    def _events(self, how: str) -> Iterator[Event]:
        return (Event(*row) for row in self._rows(f"{_EVENTS} {how}"))

    def _rows(self, query: str) -> Iterator[Sequence[Any]]:
        """Rows as they lie there: what was written by hand need not be of the column's type."""
        result = self._connection.execution_options(yield_per=_AT_ONCE).execute(text(query))
        if self._connection.dialect.name == "sqlite":
            return iter(result)
        return ([bytes(v) if isinstance(v, memoryview) else v for v in row] for row in result)

    def _counted(self, rows: Iterable[Any]) -> Iterator[Any]:
        for row in rows:
            self._done += 1
            if self._done % _AT_ONCE == 0:
                self._progress(self._done, self._total)
            yield row


def _beside(
    told: Iterator[StoredMessage], events: Iterator[Event]
) -> Iterator[tuple[StoredMessage | None, list[Event]]]:
    """Messages with their events, messages without, and events without."""
    message = next(told, None)
    for id_, group in groupby(events, key=attrgetter("message_id")):
        while message is not None and str(message.id) < str(id_):
            yield message, []
            message = next(told, None)
        if message is not None and message.id == id_:
            yield message, list(group)
            message = next(told, None)
        else:
            yield None, list(group)
    while message is not None:
        yield message, []
        message = next(told, None)


def _placed(connection: Connection, faults: Sequence[Fault]) -> list[PlacedFault]:
    """Each with its dossier, and fit to be shown: what was written by hand may hold anything."""
    ids = sorted({fault.message_id for fault in faults if isinstance(fault.message_id, str)})
    known: dict[str, tuple[str, str]] = {}
    for part in chunks(ids):
        query = select(messages.c.id, messages.c.agency, messages.c.dossier_code).where(
            messages.c.id.in_(part)
        )
        known |= {id_: (_shown(agency), _shown(code)) for id_, agency, code in connection.execute(query)}
    placed = []
    for fault in faults:
        agency, code = known.get(fault.message_id or "", (None, None))
        id_ = _shown(fault.message_id) if fault.message_id else None
        placed.append(PlacedFault(_shown(fault.what), fault.event_id, id_, agency, code, _instant(fault.at)))
    return placed


def _shown(value: object) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(value)[:200])


def _instant(at: object) -> datetime | None:
    """An event's time, unless somebody wrote something else there."""
    try:
        return from_micros(at) if isinstance(at, int) else None
    except OverflowError:
        return None


# the heads that reports print


def kept_day_head(connection: Connection, day: date) -> DayHead | None:
    """The head of a day that is over, if it was kept."""
    query = select(audit_heads.c.day, audit_heads.c.event_id, audit_heads.c.hash)
    row = connection.execute(query.where(audit_heads.c.day == day)).first()
    return DayHead(*row) if row is not None else None


def find_day_head(connection: Connection, day: date, end: datetime) -> DayHead | None:
    """The last event before the end of a day; None if there is none so old."""
    query = (
        select(message_events.c.id, message_events.c.hash)
        .where(message_events.c.at < end)
        .order_by(message_events.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return DayHead(day, row.id, row.hash) if row is not None and row.hash is not None else None


def keep_day_head(connection: Connection, day: date, end: datetime) -> DayHead | None:
    """Find and keep the head of a day that is over. What is kept never changes."""
    kept = kept_day_head(connection, day)
    if kept is not None:
        return kept
    found = find_day_head(connection, day, end)
    if found is not None:
        connection.execute(insert(audit_heads).values(day=day, event_id=found.event_id, hash=found.hash))
    return found
