"""What the store remembers of the clock, and what has to change in it when the clock was set back.

Instants that lie in the future then would keep messages, passes and reports waiting until the clock has come there.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, Update, case, delete, literal, or_, update

from smsd.adapters.store.engine import SEEN, Database
from smsd.adapters.store.mapping import record_events
from smsd.adapters.store.schema import agencies, messages, runs

AHEAD = timedelta(minutes=1)
"""What lies further in the future than this was written under a clock that ran ahead."""
_DETAIL = "the clock had run ahead"


class SetClockStore:
    """The part of the state store that outlives a wrong clock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_seen(self) -> datetime | None:
        """The latest instant at which a daemon believed its clock; None on a new store."""
        with self._database.reading() as connection:
            noted = self._database.get_meta(connection, SEEN)
        return None if noted is None else datetime.fromisoformat(noted)

    def note_seen(self, now: datetime) -> None:
        """A daemon believes that it is now."""
        self._database.note_seen(now)

    def bring_back(self, now: datetime) -> int:
        """Bring back to now what was written under a clock that ran ahead. Returns how many messages waited for it.

        A message keeps what was left of its settling and its validity. Daily jobs that were over by that clock are
        owed again: each of them finds what it did. What messages and dossiers say of the past stays as it is.
        """
        with self._database.writing() as connection:
            moved = _bring_back_messages(connection, now)
            connection.execute(_bring_back_agencies(now))
            connection.execute(delete(runs).where(runs.c.finished_at > now + AHEAD))
        return moved


def _bring_back_messages(connection: Connection, now: datetime) -> int:
    column = messages.c
    kind = column.next_at.type
    here = literal(now, kind)
    wait = case((column.next_at > column.state_at, column.next_at - column.state_at), else_=0)
    query = (
        update(messages)
        .where(column.final_at.is_(None), column.state_at > now + AHEAD)
        .values(
            next_at=here + wait,
            valid_until=here + (column.valid_until - column.state_at),
            held_at=case((column.held_at > now, here), else_=column.held_at),
            state_at=here,
        )
        .returning(column.id, column.state)
    )
    moved = [(row.id, row.state, _DETAIL) for row in connection.execute(query)]
    record_events(connection, moved, now)
    return len(moved)


def _bring_back_agencies(now: datetime) -> Update:
    """The last good read is left: the next one takes its place, and until then nothing goes out on its word."""
    limit = now + AHEAD
    names = ("baseline_at", "attempted_at", "error_since", "low_since")
    columns = [agencies.c[name] for name in names]
    return (
        update(agencies)
        .where(or_(*(column > limit for column in columns)))
        .values(
            {
                column.name: case((column > limit, literal(now, column.type)), else_=column)
                for column in columns
            }
        )
    )
