"""Retention: what is blanked, what is forgotten, and when."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import and_, delete, or_, select, update

from smsd.adapters.store.engine import Database
from smsd.adapters.store.schema import (
    alarms,
    day_counts,
    dossiers,
    findings,
    inquiries,
    message_events,
    message_parts,
    messages,
    runs,
    transitions,
)
from smsd.core.model import CLOSED


class UpkeepStore:
    """The part of the state store that forgets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def blank_personal_data(self, before: datetime) -> int:
        """Blank phone and text of what ended before an instant; the rows, masked, stay. Returns how many rows."""
        ended = (
            update(messages)  # every message has a text until both are blanked
            .where(messages.c.final_at < before, messages.c.text.is_not(None))
            .values(phone=None, text=None)
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

    def forget(self, before: datetime) -> int:
        """Remove what ended before an instant. Dossiers still in an agency's view stay. Returns how many rows."""
        day = before.date()
        old = and_(messages.c.made_at < before, messages.c.final_at < before)
        queries = (
            delete(message_events).where(message_events.c.message_id.in_(select(messages.c.id).where(old))),
            delete(messages).where(old),
            delete(transitions).where(transitions.c.at < before),
            delete(dossiers).where(dossiers.c.gone_at < before),
            delete(findings).where(findings.c.at < before),
            delete(inquiries).where(inquiries.c.at < before),
            delete(day_counts).where(day_counts.c.day < day),
            delete(runs).where(runs.c.day < day),
            delete(alarms).where(alarms.c.cleared_at < before),
        )
        with self._database.writing() as connection:
            return sum(connection.execute(query).rowcount for query in queries)
