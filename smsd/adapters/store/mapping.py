"""Between rows of the store and the nouns of the core, and what several parts of the store write alike."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    CursorResult,
    Row,
    RowMapping,
    select,
    type_coerce,
)

from smsd.adapters.store.bulk import BulkInsert
from smsd.adapters.store.schema import (
    Instant,
    agencies,
    dossiers,
    from_micros,
    message_events,
    messages,
    meta,
    to_micros,
)
from smsd.core.chain import GENESIS, Checkpoint, Head, OwnEntry, chained, content_digest
from smsd.core.lookups import fold_code
from smsd.core.model import Dossier, Message, MessageState, Reason, Tracked
from smsd.services.ports import AgencyRecord

_T = TypeVar("_T")

AGENCY_COLUMNS = tuple(agencies.c[name] for name in AgencyRecord.__slots__)


def agency_from(row: RowMapping) -> AgencyRecord:
    """An agency's record."""
    return AgencyRecord(**row)


def _as_kept(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column as the database keeps it: by the thousand, each instant is turned into one only once."""
    return type_coerce(column, BigInteger) if isinstance(column.type, Instant) else column


def message_columns(**instead: ColumnElement[Any]) -> tuple[ColumnElement[Any], ...]:
    """What `message_from` reads; ``instead``: other values of some columns."""
    return tuple(_as_kept(instead.get(name, messages.c[name])) for name in Message.__slots__)


MESSAGE_COLUMNS = message_columns()
_STATE, _REASON = Message.__slots__.index("state"), Message.__slots__.index("reason")
_INSTANTS = tuple(
    index for index, name in enumerate(Message.__slots__) if isinstance(messages.c[name].type, Instant)
)


def message_from(row: Row[Any]) -> Message:
    """A message of the outbox, from a row of `MESSAGE_COLUMNS`."""
    values = list(row)
    values[_STATE] = MessageState(values[_STATE])
    values[_REASON] = Reason(values[_REASON]) if values[_REASON] else None
    for index in _INSTANTS:
        values[index] = _instant(values[index])
    return Message(*values)


_DOSSIER = tuple(Dossier.__slots__)
TRACKED_COLUMNS = tuple(
    _as_kept(dossiers.c[name])
    for name in (
        *_DOSSIER,
        "position",
        "entered_at",
        "entry",
        "missing_reads",
        "gone_at",
        "done_since",
        "digest",
    )
)
"""What `tracked_from` reads."""
_REMEMBERED = tuple(column.name for column in dossiers.columns)


def tracked_from(row: Sequence[Any]) -> Tracked:
    """A remembered dossier, from a row of `TRACKED_COLUMNS`."""
    code, step, status, phone, procedure_code, procedure_name, *dates = row[: len(_DOSSIER)]
    position, entered_at, entry, missing_reads, gone_at, done_since = row[len(_DOSSIER) : -1]
    return Tracked(
        Dossier(code, step, status, phone, procedure_code, procedure_name, *map(_instant, dates)),
        position,
        from_micros(entered_at),
        entry,
        missing_reads,
        gone_at is not None,
        _instant(done_since),
    )


def rows_of(result: CursorResult[Any]) -> Iterable[Sequence[Any]]:
    """A query's rows as the driver gives them, for columns that are asked for as they are kept."""
    rows = result.cursor.fetchall() if result.cursor is not None else ()
    result.close()
    return rows


def _instant(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _micros(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant)


def _remembering(*left_alone: str) -> BulkInsert:
    """Remember dossiers; of those known already these columns stay as they are."""
    changing = [name for name in _REMEMBERED if name not in ("agency", "code", "code_folded", *left_alone)]
    return BulkInsert(
        dossiers,
        _REMEMBERED,
        on_conflict=lambda query: query.on_conflict_do_update(
            index_elements=["agency", "code"], set_={name: query.excluded[name] for name in changing}
        ),
    )


_REMEMBER = _remembering()
_REMEMBER_MOVED = _remembering("due_at", "gone_at")
"""A column that is not named costs its index nothing."""


def remember(
    connection: Connection, agency: str, rows: Iterable[tuple[Tracked, int]], known: Mapping[str, Tracked]
) -> None:
    """Write dossiers that were just read, with their digests. ``known``: what was remembered of some of them."""
    anew: list[tuple[Any, ...]] = []
    moved: list[tuple[Any, ...]] = []
    for tracked, digest in rows:
        before = known.get(tracked.dossier.code)
        same = before is not None and not before.gone and before.dossier.due_at == tracked.dossier.due_at
        (moved if same else anew).append(_remembered(agency, tracked, digest))
    _REMEMBER.write(connection, anew)
    _REMEMBER_MOVED.write(connection, moved)


def _remembered(agency: str, tracked: Tracked, digest: int) -> tuple[Any, ...]:
    """The row of a remembered dossier, in the order of `_REMEMBERED`. One that was just read is never gone."""
    dossier = tracked.dossier
    return (
        agency,
        dossier.code,
        fold_code(dossier.code),
        digest,
        dossier.phone,
        dossier.step,
        dossier.status,
        dossier.procedure_code,
        dossier.procedure_name,
        _micros(dossier.received_at),
        _micros(dossier.due_at),
        _micros(dossier.resolved_at),
        tracked.position,
        to_micros(tracked.entered_at),
        tracked.entry,
        0,  # missing_reads
        None,  # gone_at
        _micros(tracked.done_since),
    )


# the audit

CONTENT = ("agency", "dossier_code", "kind", "phone", "text", "segments")
"""What a message says and to whom, by the columns of `messages`."""
_CONTENT_COLUMNS = tuple(messages.c[name] for name in CONTENT)
content_in = itemgetter(*CONTENT)
"""A message's content, from a row of `messages` by column."""
_content_of = attrgetter(*CONTENT)
AUDIT_HEAD = "audit_head"
"""The fact of the store that says where the chain ends: an event's id and its hash."""
_EVENTS = BulkInsert(message_events, ("id", "message_id", "at", "state", "detail", "content", "hash"))
_HEAD = BulkInsert(
    meta,
    ("key", "value"),
    on_conflict=lambda query: query.on_conflict_do_update(
        index_elements=["key"], set_={"value": query.excluded.value}
    ),
)
_END = f"SELECT max(id), (SELECT value FROM meta WHERE key = '{AUDIT_HEAD}') FROM message_events"  # noqa: S608 # nosec B608 # our own word
"""Written out, for it is asked several times for each message that is sent."""
_LAST_EVENT = select(message_events.c.hash).order_by(message_events.c.id.desc()).limit(1)


def record_events(
    connection: Connection,
    entries: Sequence[tuple[str, str, str | None]],
    at: datetime,
    contents: Sequence[bytes | None] = (),
) -> None:
    """Write the audit within the writer's transaction: message, state, and why; each event chained to the one before.

    ``contents``: the digest of what each message says and to whom, where this event fixes it.
    """
    if not entries:
        return
    rows = chained(_end_of_chain(connection), to_micros(at), entries, contents or [None] * len(entries))
    _EVENTS.write(connection, rows)
    _HEAD.write(connection, [(AUDIT_HEAD, f"{rows[-1][0]} {rows[-1][-1].hex()}")])


def message_content(message: Message, salt: bytes | None) -> bytes:
    """The digest of what a message says and to whom."""
    return content_digest(salt, _content_of(message))


def contents_of(connection: Connection, ids: Sequence[str]) -> list[bytes]:
    """The digests of what messages say and to whom, as they are now, in the order of their ids here."""
    found: dict[str, bytes] = {}
    for part in chunks(ids):
        query = select(messages.c.id, messages.c.salt, *_CONTENT_COLUMNS).where(messages.c.id.in_(part))
        for id_, salt, *content in connection.execute(query):
            found[id_] = content_digest(salt, tuple(content))
    return [found[id_] for id_ in ids]


def note_in_audit(connection: Connection, entry: OwnEntry, detail: str, at: datetime) -> None:
    """Write what happened to the audit itself."""
    record_events(connection, [("", entry, detail)], at)


def _end_of_chain(connection: Connection) -> Head:
    """What the next event follows, and the id it comes after.

    The noted end counts, not the last row: after rows removed by hand the chain stays broken, and a row added by hand
    is passed by.
    """
    last_id, value = connection.exec_driver_sql(_END).one()
    noted = head_from(value)
    if noted is not None:
        return Head(max(noted.id, last_id or 0), noted.hash)
    if last_id is None:
        return Head(0, GENESIS)
    return Head(last_id, connection.execute(_LAST_EVENT).scalar() or GENESIS)


def checkpoint_from(row: Row[Any]) -> Checkpoint:
    """What stands for removed events, from a row of `audit_checkpoints`."""
    return Checkpoint(row.first_id, row.last_id, row.rows, row.before, row.after, to_micros(row.at))


def head_from(value: str | None) -> Head | None:
    """The noted end of the chain; None for no note, or one that smsd did not write."""
    id_, _, digits = (value or "").partition(" ")
    try:
        return Head(int(id_), bytes.fromhex(digits))
    except ValueError:
        return None


def ids_in_order(count: int, at: datetime) -> list[str]:
    """Ids for messages made together, one by one in this order and after those made before.

    What is sent together lies together in the store's indexes then: with ids at random every commit would write as
    many pages as it changes messages.
    """
    made_together = f"{to_micros(at) // 1000:012x}{secrets.token_hex(5)}"
    return [f"{made_together}{number:010x}" for number in range(count)]


def chunks(items: Sequence[_T], size: int = 500) -> Iterator[Sequence[_T]]:
    """Slices small enough for one statement's parameters."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
