"""Between rows of the store and the nouns of the core, and what several parts of the store write alike."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, RowMapping

from smsd.adapters.store.bulk import BulkInsert
from smsd.adapters.store.schema import agencies, message_events, messages, to_micros
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


_EVENTS = BulkInsert(message_events, ("message_id", "at", "state", "detail"))


def record_events(
    connection: Connection, entries: Sequence[tuple[str, str, str | None]], at: datetime
) -> None:
    """Write the audit: message, state, and why."""
    instant = to_micros(at)
    _EVENTS.write(connection, [(id_, instant, state, detail) for id_, state, detail in entries])


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
