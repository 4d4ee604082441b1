"""Look-ups in the state store: finding a dossier by its code, and the inquiries already answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select
from sqlalchemy.dialects import postgresql, sqlite

from smsd.adapters.store.engine import Database
from smsd.adapters.store.mapping import TRACKED_COLUMNS, tracked_from
from smsd.adapters.store.schema import dossiers, inquiries
from smsd.core.lookups import Candidates, LookupOutcome, Road
from smsd.core.model import Tracked
from smsd.services.lookup import Inquiry

_LATEST_FIRST = (
    func.coalesce(dossiers.c.received_at, 0).desc(),
    dossiers.c.gone_at.is_(None).desc(),
    dossiers.c.entered_at.desc(),
    dossiers.c.agency,
)
"""Of several dossiers with one code the one received last; then one still in its view, then the one that moved last."""


class LookupStore:
    """The part of the state store that look-ups work on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, codes: Candidates, agencies: Sequence[str]) -> tuple[str, Tracked] | None:
        """The agency and dossier of the first candidate found, exact ones before folded ones."""
        conditions = [dossiers.c.code == code for code in codes.exact]
        conditions += [dossiers.c.code_folded == code for code in codes.folded]
        with self._database.reading() as connection:
            for condition in conditions:
                found = self._latest(connection, condition, frozenset(agencies))
                if found is not None:
                    return found
        return None

    def _latest(
        self, connection: Connection, condition: ColumnElement[bool], agencies: frozenset[str]
    ) -> tuple[str, Tracked] | None:
        query = select(dossiers.c.agency, *TRACKED_COLUMNS).where(condition).order_by(*_LATEST_FIRST)
        for agency, *tracked in connection.execute(query):
            if agency in agencies:
                return agency, tracked_from(tracked)
        return None

    def previous_answer(self, road: Road, provider_id: str) -> str | None:
        """What an earlier call with this id on this road was answered; None also where that was erased."""
        with self._database.reading() as connection:
            return _answer_to(connection, road, provider_id) or None

    def asked_since(self, number_digest: str, since: datetime) -> list[datetime]:
        """When a number asked after an instant, without what was refused as too many."""
        query = select(inquiries.c.at).where(
            inquiries.c.number_digest == number_digest,
            inquiries.c.at > since,
            inquiries.c.outcome != LookupOutcome.TOO_MANY,
        )
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def answered_since(self, since: datetime) -> list[tuple[datetime, LookupOutcome]]:
        """What all numbers were answered after an instant, without what was refused as too many."""
        query = select(inquiries.c.at, inquiries.c.outcome).where(
            inquiries.c.at > since, inquiries.c.outcome != LookupOutcome.TOO_MANY
        )
        with self._database.reading() as connection:
            return [(at, LookupOutcome(outcome)) for at, outcome in connection.execute(query)]

    def record(self, inquiry: Inquiry) -> str:
        """Record an inquiry unless its id is recorded already; returns the answer that stands for the id."""
        values = {
            "road": inquiry.road,
            "provider_id": inquiry.provider_id,
            "at": inquiry.at,
            "number_digest": inquiry.number_digest,
            "number_masked": inquiry.number_masked,
            "outcome": inquiry.outcome,
            "agency": inquiry.agency,
            "dossier_code": inquiry.dossier_code,
            "procedure_code": inquiry.procedure_code,
            "answer": inquiry.answer,
        }
        with self._database.writing() as connection:
            first = _insert_once(connection, values)
            if first is not None or inquiry.provider_id is None:
                return inquiry.answer
            return _answer_to(connection, inquiry.road, inquiry.provider_id) or inquiry.answer


def _insert_once(connection: Connection, values: dict[str, Any]) -> Row[Any] | None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    query = dialect.insert(inquiries).values(**values)
    once = query.on_conflict_do_nothing(index_elements=["road", "provider_id"]).returning(inquiries.c.id)
    return connection.execute(once).first()


def _answer_to(connection: Connection, road: Road, provider_id: str) -> str | None:
    query = select(inquiries.c.answer).where(inquiries.c.road == road, inquiries.c.provider_id == provider_id)
    return connection.execute(query).scalar()
