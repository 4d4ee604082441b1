"""Retention: what is blanked, what is forgotten, and when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from heapq import merge

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from smsd.adapters.store.engine import Database
from smsd.adapters.store.mapping import checkpoint_from, note_in_audit
from smsd.adapters.store.schema import (
    alarms,
    audit_checkpoints,
    audit_heads,
    day_counts,
    dossiers,
    findings,
    from_micros,
    inquiries,
    message_events,
    message_parts,
    messages,
    runs,
    to_micros,
    transitions,
)
from smsd.core.chain import OwnEntry, Stretch, attestation, checkpoints_of
from smsd.core.model import CLOSED

BLANK_MESSAGE: Mapping[str, None] = {"phone": None, "text": None, "salt": None}
"""What blanking a message's personal data means. Without the salt no number can be tried on the audit's digests."""
_AT_ONCE = 1000


class UpkeepStore:
    """The part of the state store that forgets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def blank_personal_data(self, before: datetime) -> int:
        """Blank phone and text of what ended before an instant; the rows, masked, stay. Returns how many rows."""
        ended = (
            update(messages)  # every message has a text until both are blanked
            .where(messages.c.final_at < before, messages.c.text.is_not(None))
            .values(BLANK_MESSAGE)
        )
        closed = (
            update(dossiers)
            .where(
                dossiers.c.phone.is_not(None),
                or_(
                    dossiers.c.gone_at < before,
                    (dossiers.c.position == CLOSED) & (dossiers.c.entered_at < before),
                ),
            )
            .values(phone=None)
        )
        asked = (
            update(inquiries)
            .where(inquiries.c.at < before, inquiries.c.number_digest != "")
            .values(number_digest="")
        )
        with self._database.writing() as connection:
            connection.execute(delete(message_parts).where(message_parts.c.at < before))
            return sum(connection.execute(query).rowcount for query in (ended, closed, asked))

    def forget(self, before: datetime, now: datetime) -> int:
        """Remove what ended before an instant. Dossiers still in an agency's view stay. Returns how many rows.

        The audit's chain goes on over the events that are removed: checkpoints stand for them.
        """
        day = before.date()
        old = and_(messages.c.made_at < before, messages.c.final_at < before)
        queries = (
            delete(messages).where(old),
            delete(transitions).where(transitions.c.at < before),
            delete(dossiers).where(dossiers.c.gone_at < before, ~_has_messages),
            delete(findings).where(findings.c.at < before),
            delete(inquiries).where(inquiries.c.at < before),
            delete(day_counts).where(day_counts.c.day < day),
            delete(runs).where(runs.c.day < day),
            delete(alarms).where(alarms.c.cleared_at < before),
        )
        with self._database.writing() as connection:
            removed = _forget_events(connection, old, before, now)
            return removed + sum(connection.execute(query).rowcount for query in queries)


_has_messages = exists().where(
    messages.c.agency == dossiers.c.agency, messages.c.dossier_code == dossiers.c.code
)
"""A dossier forgotten before its messages would count its entries anew, and meet theirs, if it came back."""


def _forget_events(connection: Connection, old: ColumnElement[bool], before: datetime, now: datetime) -> int:
    """Remove the events of these messages, and old ones of the audit itself; returns how many."""
    column = message_events.c
    gone = or_(
        column.message_id.in_(select(messages.c.id).where(old)),
        and_(column.message_id == "", column.at < before),
    )
    last = connection.execute(select(func.max(column.id)).where(gone)).scalar()
    if last is None:
        return 0
    query = select(audit_checkpoints).order_by(audit_checkpoints.c.first_id)
    known = [checkpoint_from(row) for row in connection.execute(query)]
    removed_before = (Stretch(one.first_id, one.last_id, one.rows, one.after, True, one.at) for one in known)
    end = max([last, *(one.last_id for one in known)])
    stretches = merge(removed_before, _events_until(connection, end, gone, now))  # both by their first ids
    found = checkpoints_of(stretches)
    with_their_events = audit_heads.c.event_id.in_(select(column.id).where(gone))
    connection.execute(delete(audit_heads).where(with_their_events))
    removed = connection.execute(delete(message_events).where(gone)).rowcount
    connection.execute(delete(audit_checkpoints))
    rows = [
        {
            "first_id": one.first_id,
            "last_id": one.last_id,
            "rows": one.rows,
            "before": one.before,
            "after": one.after,
            "at": from_micros(one.at),
        }
        for one in found
    ]
    connection.execute(insert(audit_checkpoints), rows)
    note_in_audit(connection, OwnEntry.CHECKPOINT, f"{removed} events removed; {attestation(found)}", now)
    return removed


def _events_until(
    connection: Connection, last: int, gone: ColumnElement[bool], now: datetime
) -> Iterator[Stretch]:
    """The events up to an id, each with whether it goes."""
    column = message_events.c
    query = (
        select(column.id, column.hash, case((gone, 1), else_=0))
        .where(column.id <= last)
        .order_by(column.id)
        .execution_options(yield_per=_AT_ONCE)
    )
    at = to_micros(now)
    for id_, hash_, goes in connection.execute(query):
        yield Stretch(id_, id_, 1, hash_ or b"", bool(goes), at)
