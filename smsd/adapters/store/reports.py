"""What the reports ask of the state store: a day's messages, look-ups, findings and the agencies' counts.

Everything is counted by the database; nothing here decides what a figure means.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta, tzinfo
from itertools import islice
from typing import Any, Protocol

from sqlalchemy import Connection, Select, exists, func, select
from sqlalchemy.dialects import postgresql, sqlite

from smsd.adapters.store.audit import find_day_head, keep_day_head, kept_day_head
from smsd.adapters.store.schema import day_counts, findings, inquiries, messages
from smsd.core.chain import DayHead
from smsd.core.clock import day_bounds, local_day
from smsd.core.figures import (
    LISTED_STATES,
    DayMaterial,
    ExceptionRow,
    Finding,
    LookupCount,
    MessageCount,
    ProcedureDay,
    RoadCount,
    procedure_key,
)
from smsd.core.lookups import LookupOutcome
from smsd.core.model import FindingKind, MessageState, Reason

_CODES_AT_ONCE = 500
_CHANGES_UNTIL = timedelta(days=45)
"""A message older than this has ended whatever its validity, holding and receipt."""


class Connections(Protocol):
    """What this module needs of the state store's engine."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection for looking."""

    def writing(self) -> AbstractContextManager[Connection]:
        """The one writer's transaction."""


def record_findings(connection: Connection, found: Sequence[Finding]) -> None:
    """Note findings within the caller's transaction; those noted before stay as they were."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    if found:
        connection.execute(insert(findings).on_conflict_do_nothing(), [_finding_values(one) for one in found])


def _finding_values(found: Finding) -> dict[str, object]:
    return {
        "day": found.day,
        "agency": found.agency,
        "dossier_code": found.dossier_code,
        "procedure_code": found.procedure_code,
        "kind": found.kind,
        "reason": found.reason.value,
        "phone_masked": found.phone_masked,
        "at": found.at,
        "detail": found.detail,
    }


class SqlReportStore:
    """The reports' view of the state store. A message belongs to the day of ``zone`` it was made."""

    def __init__(self, database: Connections, zone: tzinfo) -> None:
        self._database = database
        self._zone = zone

    def without_message(self, agency: str, kind: str, codes: Collection[str]) -> set[str]:
        """Which of these dossiers never had a message of this kind made, whatever became of it."""
        missing = set(codes)
        with self._database.reading() as connection:
            for some in _in_batches(sorted(missing)):
                query = select(messages.c.dossier_code).where(
                    messages.c.agency == agency,
                    messages.c.kind == kind,
                    messages.c.dossier_code.in_(some),
                )
                missing.difference_update(connection.execute(query).scalars())
        return missing

    def replace_day(
        self, day: date, agency: str, counts: Sequence[ProcedureDay], unexplained: Sequence[Finding]
    ) -> None:
        """Put an agency's counts of a day, and what they leave unexplained, in place of the last ones."""
        with self._database.writing() as connection:
            connection.execute(
                day_counts.delete().where(day_counts.c.day == day, day_counts.c.agency == agency)
            )
            connection.execute(
                findings.delete().where(
                    findings.c.day == day,
                    findings.c.agency == agency,
                    findings.c.reason == FindingKind.UNEXPLAINED.value,
                )
            )
            if counts:
                connection.execute(day_counts.insert(), [_count_values(day, count) for count in counts])
            record_findings(connection, unexplained)

    def material(self, day: date) -> DayMaterial:
        """Everything the reconciliation of a day is made of."""
        start, end = day_bounds(day, self._zone)
        with self._database.reading() as connection:
            return DayMaterial(
                messages=_message_counts(connection, start, end),
                dossiers=_procedure_days(connection, day),
                lookups=_lookup_counts(connection, start, end),
            )

    def exceptions(self, day: date) -> list[ExceptionRow]:
        """What a person should look at, by agency and time."""
        start, end = day_bounds(day, self._zone)
        with self._database.reading() as connection:
            rows = [
                *_failed_messages(connection, day, start, end),
                *_findings_of(connection, day),
            ]
        return sorted(rows, key=lambda row: (row.agency, row.at, row.dossier_code, row.kind, row.reason))

    def lookups_by_road(self, day: date) -> list[RoadCount]:
        """The look-ups answered on a day by road and outcome, repeats counted once."""
        start, end = day_bounds(day, self._zone)
        keys = inquiries.c.road, inquiries.c.outcome
        query = select(*keys, func.count()).where(inquiries.c.at >= start, inquiries.c.at < end)
        with self._database.reading() as connection:
            rows = connection.execute(query.group_by(*keys).order_by(*keys)).all()
        return [RoadCount(day, road, LookupOutcome(outcome), count) for road, outcome, count in rows]

    def day_head(self, day: date, *, keep: bool) -> DayHead | None:
        """Where the audit's chain stood when a day ended. ``keep``: the day is over, and this is its head for good."""
        _, end = day_bounds(day, self._zone)
        with self._database.reading() as connection:
            head = kept_day_head(connection, day) or (None if keep else find_day_head(connection, day, end))
        if head is None and keep:
            with self._database.writing() as connection:
                head = keep_day_head(connection, day, end)
        return head

    def changed_days(self, since: datetime) -> list[date]:
        """The days of whose messages some changed state since an instant: their reports are out of date."""
        day = local_day(since - _CHANGES_UNTIL, self._zone)
        with self._database.reading() as connection:
            newest = connection.execute(select(func.max(messages.c.made_at))).scalar()
            changed = []
            while newest is not None and day <= local_day(newest, self._zone):
                if connection.execute(select(_change_within(*day_bounds(day, self._zone), since))).scalar():
                    changed.append(day)
                day += timedelta(days=1)
        return changed


def _change_within(start: datetime, end: datetime, since: datetime) -> Any:
    return exists().where(messages.c.made_at >= start, messages.c.made_at < end, messages.c.state_at >= since)


def _message_counts(connection: Connection, start: datetime, end: datetime) -> list[MessageCount]:
    """The messages made in ``[start, end)``, grouped."""
    keys = (
        messages.c.agency,
        messages.c.procedure_code,
        messages.c.kind,
        messages.c.state,
        messages.c.reason,
    )
    query = (
        select(
            *keys,
            func.max(messages.c.procedure_name),
            func.count(),
            func.sum(messages.c.segments),
        )
        .where(messages.c.made_at >= start, messages.c.made_at < end)
        .group_by(*keys)
    )
    return [
        MessageCount(
            agency=agency,
            procedure_code=procedure_key(procedure),
            procedure_name=name or "",
            kind=kind,
            state=MessageState(state),
            reason=Reason(reason) if reason else None,
            count=count,
            segments=int(segments),
        )
        for agency, procedure, kind, state, reason, name, count, segments in connection.execute(query)
    ]


def _procedure_days(connection: Connection, day: date) -> list[ProcedureDay]:
    """What the agencies' own databases said of a day."""
    rows = connection.execute(select(day_counts).where(day_counts.c.day == day)).mappings()
    return [
        ProcedureDay(
            agency=row["agency"],
            procedure_code=row["procedure_code"],
            procedure_name=row["procedure_name"],
            received=row["received"],
            resolved=row["resolved"],
            due_tomorrow=row["due_tomorrow"],
            unexplained=None if row["resolved"] is None else row["unexplained"],
        )
        for row in rows
    ]


def _count_values(day: date, count: ProcedureDay) -> dict[str, object]:
    return {
        "day": day,
        "agency": count.agency,
        "procedure_code": count.procedure_code,
        "procedure_name": count.procedure_name,
        "received": count.received,
        "resolved": count.resolved,
        "due_tomorrow": count.due_tomorrow,
        "unexplained": count.unexplained or 0,
    }


def _lookup_counts(connection: Connection, start: datetime, end: datetime) -> list[LookupCount]:
    """The look-ups answered in ``[start, end)``, grouped."""
    keys = inquiries.c.agency, inquiries.c.procedure_code
    query = select(*keys, func.count()).where(inquiries.c.at >= start, inquiries.c.at < end).group_by(*keys)
    return [
        LookupCount(agency, procedure_key(procedure), count)
        for agency, procedure, count in connection.execute(query)
    ]


def _failed_messages(
    connection: Connection, day: date, start: datetime, end: datetime
) -> Iterator[ExceptionRow]:
    """The messages made in ``[start, end)`` that ended in a way a person should look at."""
    query = _listed().where(messages.c.made_at >= start, messages.c.made_at < end)
    for row in connection.execute(query).mappings():
        yield ExceptionRow(
            day=day,
            agency=row["agency"],
            dossier_code=row["dossier_code"],
            procedure_code=row["procedure_code"] or "",
            kind=row["kind"],
            reason=row["reason"] if row["state"] == MessageState.SUPPRESSED else row["state"],
            phone=row["phone_masked"],
            at=row["state_at"],
        )


def _listed() -> Select[Any]:
    return select(
        messages.c.agency,
        messages.c.dossier_code,
        messages.c.procedure_code,
        messages.c.kind,
        messages.c.state,
        messages.c.reason,
        messages.c.phone_masked,
        messages.c.state_at,
    ).where(messages.c.state.in_(sorted(LISTED_STATES)))


def _findings_of(connection: Connection, day: date) -> Iterator[ExceptionRow]:
    for row in connection.execute(select(findings).where(findings.c.day == day)).mappings():
        yield ExceptionRow(
            day=day,
            agency=row["agency"],
            dossier_code=row["dossier_code"],
            procedure_code=row["procedure_code"],
            kind=row["kind"],
            reason=row["reason"],
            phone=row["phone_masked"],
            at=row["at"],
        )


def _in_batches(codes: Sequence[str]) -> Iterator[list[str]]:
    """Lists short enough for one statement's parameters."""
    iterator = iter(codes)
    while batch := list(islice(iterator, _CODES_AT_ONCE)):
        yield batch
