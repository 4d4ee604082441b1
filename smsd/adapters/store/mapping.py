"""Between rows of the store and the nouns of the core, and what several parts of the store write alike."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, RowMapping, select

from smsd.adapters.store.bulk import BulkInsert
from smsd.adapters.store.schema import agencies, message_events, messages, meta, to_micros
from smsd.core.chain import GENESIS, Checkpoint, Head, OwnEntry, chained, content_digest
from smsd.core.lookups import fold_code
from smsd.core.model import Dossier, Message, MessageState, Reason, Tracked
from smsd.services.ports import AgencyRecord

_T = TypeVar("_T")

AGENCY_COLUMNS = tuple(agencies.c[name] for name in AgencyRecord.__slots__)
MESSAGE_COLUMNS = tuple(messages.c[name] for name in Message.__slots__)


def agency_from(row: RowMapping) -> AgencyRecord:
    """An agency's record."""
    return AgencyRecord(**row)


_STATE, _REASON = Message.__slots__.index("state"), Message.__slots__.index("reason")


def message_from(row: Row[Any]) -> Message:
    """A message of the outbox, from a row of `MESSAGE_COLUMNS`."""
    values = list(row)
    values[_STATE] = MessageState(values[_STATE])
    values[_REASON] = Reason(values[_REASON]) if values[_REASON] else None
    return Message(*values)


def tracked_from(row: RowMapping) -> Tracked:
    """A remembered dossier."""
    return Tracked(
        dossier=Dossier(
            code=row["code"],
            step=row["step"],
            status=row["status"],
            phone=row["phone"],
            procedure_code=row["procedure_code"],
            procedure_name=row["procedure_name"],
            received_at=row["received_at"],
            due_at=row["due_at"],
            resolved_at=row["resolved_at"],
        ),
        position=row["position"],
        entered_at=row["entered_at"],
        entry=row["entry"],
        missing_reads=row["missing_reads"],
        gone=row["gone_at"] is not None,
        done_since=row["done_since"],
    )


def tracked_values(agency: str, tracked: Tracked, digest: int) -> dict[str, Any]:
    """The row of a remembered dossier. A dossier that was just read is never gone."""
    dossier = tracked.dossier
    return {
        "agency": agency,
        "code": dossier.code,
        "code_folded": fold_code(dossier.code),
        "digest": digest,
        "phone": dossier.phone,
        "step": dossier.step,
        "status": dossier.status,
        "procedure_code": dossier.procedure_code,
        "procedure_name": dossier.procedure_name,
        "received_at": dossier.received_at,
        "due_at": dossier.due_at,
        "resolved_at": dossier.resolved_at,
        "position": tracked.position,
        "entered_at": tracked.entered_at,
        "entry": tracked.entry,
        "missing_reads": 0,
        "gone_at": None,
        "done_since": tracked.done_since,
    }


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
