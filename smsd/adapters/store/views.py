"""Looking into the store for people: status, metrics, and the trace of one dossier. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, exists, func, or_, select

from smsd.adapters.store.engine import Database
from smsd.adapters.store.mapping import chunks
from smsd.adapters.store.schema import (
    agencies,
    dossiers,
    findings,
    inquiries,
    message_events,
    messages,
    transitions,
)
from smsd.core.lookups import fold_code
from smsd.core.model import HANDED_OVER, PENDING, MessageState

_TRACED_MESSAGE = tuple(
    messages.c[name]
    for name in (
        "id", "agency", "kind", "occurrence", "state", "reason", "phone_masked", "text", "segments", "made_at",
        "settle", "next_at", "valid_until", "attempts", "gateway", "reference", "possible_duplicate",
        "handed_over_at", "final_at", "detail",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class QueuedGroup:
    """Queued messages of an agency that wait alike: ``later``, not before ``first_at`` at the earliest; ``tried``
    before; ``missing``, the last full read did not have their dossiers."""

    agency: str
    settle: timedelta
    later: bool
    tried: bool
    missing: bool
    messages: int
    first_at: datetime


class Views:
    """Queries for status, metrics and trace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def agencies(self, *, count_dossiers: bool = True) -> list[dict[str, Any]]:
        """Every agency's record, with how many messages are on their way and, if asked, how many dossiers it has."""
        with self._database.reading() as connection:
            rows = [
                dict(row) for row in connection.execute(select(agencies).order_by(agencies.c.id)).mappings()
            ]
            counts = self._dossier_counts(connection) if count_dossiers else {}
            queues = self._queues(connection)
        for row in rows:
            row["dossiers"] = counts.get(row["id"], 0)
            row["queue"] = {state: count for (agency, state), count in queues.items() if agency == row["id"]}
        return rows

    def _dossier_counts(self, connection: Connection) -> dict[str, int]:
        query = (
            select(dossiers.c.agency, func.count())
            .where(dossiers.c.gone_at.is_(None))
            .group_by(dossiers.c.agency)
        )
        return {row[0]: row[1] for row in connection.execute(query)}

    def _queues(self, connection: Connection) -> dict[tuple[str, str], int]:
        query = (
            select(messages.c.agency, messages.c.state, func.count())
            .where(messages.c.state.in_(sorted(PENDING)), messages.c.final_at.is_(None))
            .group_by(messages.c.agency, messages.c.state)
        )
        return {(agency, state): count for agency, state, count in connection.execute(query)}

    def queued(self, now: datetime) -> list[QueuedGroup]:
        """What is queued, in groups that wait alike."""
        missing = exists().where(
            dossiers.c.agency == messages.c.agency,
            dossiers.c.code == messages.c.dossier_code,
            or_(dossiers.c.missing_reads > 0, dossiers.c.gone_at.is_not(None)),
        )
        alike = (
            messages.c.agency,
            messages.c.settle,
            (messages.c.next_at > now).label("later"),
            (messages.c.attempts > 0).label("tried"),
            missing.label("missing"),
        )
        query = (
            select(*alike, func.count(), func.min(messages.c.next_at))
            .where(messages.c.state == MessageState.QUEUED, messages.c.final_at.is_(None))
            .group_by(messages.c.agency, messages.c.settle, "later", "tried", "missing")
            .order_by(messages.c.agency, messages.c.settle, "later", "tried", "missing")
        )
        with self._database.reading() as connection:
            return [
                QueuedGroup(agency, settle, bool(later), bool(tried), bool(gone), count, first_at)
                for agency, settle, later, tried, gone, count, first_at in connection.execute(query)
            ]

    def message_totals(self, since: datetime) -> list[tuple[str, str, str, str, int]]:
        """Messages made since an instant, by agency, kind, state and reason."""
        columns = (messages.c.agency, messages.c.kind, messages.c.state, messages.c.reason)
        query = select(*columns, func.count()).where(messages.c.made_at >= since).group_by(*columns)
        with self._database.reading() as connection:
            return [(a, k, s, r or "", n) for a, k, s, r, n in connection.execute(query)]

    def segments_taken(self, since: datetime) -> dict[str, int]:
        """Segments a gateway took of messages made since an instant, by agency."""
        query = (
            select(messages.c.agency, func.sum(messages.c.segments))
            .where(messages.c.made_at >= since, messages.c.state.in_(sorted(HANDED_OVER)))
            .group_by(messages.c.agency)
        )
        with self._database.reading() as connection:
            return {agency: int(total) for agency, total in connection.execute(query)}

    def oldest_queued(self) -> datetime | None:
        """Since when the message that has been due longest has waited."""
        query = select(func.min(messages.c.next_at)).where(
            messages.c.state == MessageState.QUEUED, messages.c.final_at.is_(None)
        )
        with self._database.reading() as connection:
            return connection.execute(query).scalar()

    def lookups(self, since: datetime) -> dict[tuple[str, str], int]:
        """Look-ups since an instant, by outcome and by the road they came on."""
        kinds = (inquiries.c.outcome, inquiries.c.road)
        query = select(*kinds, func.count()).where(inquiries.c.at >= since).group_by(*kinds)
        with self._database.reading() as connection:
            return {(outcome, road): count for outcome, road, count in connection.execute(query)}

    def trace(self, code: str) -> list[dict[str, Any]]:
        """All that is known of a code, an entry for each agency that has it: exact first, else by folded code."""
        with self._database.reading() as connection:
            found = self._dossiers(connection, dossiers.c.code == code)
            if not found:
                found = self._dossiers(connection, dossiers.c.code_folded == fold_code(code))
            return [self._trace_one(connection, row) for row in found]

    def _dossiers(self, connection: Connection, condition: Any) -> list[dict[str, Any]]:
        query = select(dossiers).where(condition).order_by(dossiers.c.agency, dossiers.c.code)
        return [dict(row) for row in connection.execute(query).mappings()]

    def _trace_one(self, connection: Connection, dossier: dict[str, Any]) -> dict[str, Any]:
        agency, code = dossier["agency"], dossier["code"]
        seen = (
            select(transitions)
            .where(transitions.c.agency == agency, transitions.c.code == code)
            .order_by(transitions.c.id)
        )
        made = (
            select(*_TRACED_MESSAGE)
            .where(messages.c.agency == agency, messages.c.dossier_code == code)
            .order_by(messages.c.made_at)
        )
        noted = (
            select(findings)
            .where(findings.c.agency == agency, findings.c.dossier_code == code)
            .order_by(findings.c.at)
        )
        told = [dict(row) for row in connection.execute(made).mappings()]
        events = self._events(connection, [message["id"] for message in told])
        for message in told:
            message["events"] = events.get(message["id"], [])
        record = connection.execute(select(agencies).where(agencies.c.id == agency)).mappings().first()
        return {
            "dossier": dossier,
            "agency": dict(record) if record is not None else None,
            "transitions": [dict(row) for row in connection.execute(seen).mappings()],
            "messages": told,
            "findings": [dict(row) for row in connection.execute(noted).mappings()],
        }

    def _events(self, connection: Connection, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for part in chunks(ids):
            query = (
                select(message_events)
                .where(message_events.c.message_id.in_(part))
                .order_by(message_events.c.id)
            )
            for row in connection.execute(query).mappings():
                entry = {"at": row["at"], "state": row["state"], "detail": row["detail"]}
                found.setdefault(row["message_id"], []).append(entry)
        return found
