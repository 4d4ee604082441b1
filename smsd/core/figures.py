"""The nightly reconciliation: from what was counted to the rows of the reports.

Pure sums. Dossiers are counted in the agencies' own databases, messages in the state store; here they only
meet, and a number nobody could tell stays None instead of becoming 0. Where the numbers come from and how
they are printed do not belong here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from smsd.core.lookups import LookupOutcome
from smsd.core.model import (
    APOLOGY,
    FAILED,
    HANDED_OVER,
    PENDING,
    PHONE_REASONS,
    RESULT_READY,
    SUPPLEMENT,
    FindingKind,
    MessageState,
    Reason,
)

ALL = "*"
"""The procedure of an agency's total, and the agency of the total over all."""

FIRST_KINDS = (RESULT_READY, SUPPLEMENT, APOLOGY)

LISTED_STATES = FAILED | {MessageState.SUPPRESSED}
"""The endings of a message that a person should look at."""


class Ending(StrEnum):
    """What became of messages, as the columns tell it. Every state is one of these, so that they add up."""

    DELIVERED = MessageState.DELIVERED.value
    ACCEPTED = MessageState.ACCEPTED.value
    FAILED = "failed"
    SUPPRESSED = MessageState.SUPPRESSED.value
    SUPERSEDED = MessageState.SUPERSEDED.value
    PENDING = "pending"


_COUNTED_REASONS = (
    Reason.NO_PHONE,
    Reason.LANDLINE,
    Reason.INVALID_PHONE,
    Reason.AMBIGUOUS_PHONE,
    Reason.SAME_DAY,
)
_HEAD = (
    "date",
    "agency",
    "agency_name",
    "procedure_code",
    "procedure_name",
    "received",
    "resolved",
    "due_tomorrow",
)
_TAIL = (*(reason.value for reason in _COUNTED_REASONS), "unexplained", "lookups", "segments", "cost")
EXCEPTION_COLUMNS = (
    "date",
    "agency",
    "dossier_code",
    "procedure_code",
    "kind",
    "reason",
    "phone",
    "at",
)

Cell = str | int | None


def ending_of(state: MessageState) -> Ending:
    """The column a message in this state is counted in."""
    if state in FAILED:
        return Ending.FAILED
    if state in PENDING:
        return Ending.PENDING
    return Ending(state.value)


def procedure_key(code: str | None) -> str:
    """A procedure's code as the reports key it; the asterisk is taken by the totals."""
    return f"({ALL})" if code == ALL else code or ""


@dataclass(frozen=True, slots=True)
class MessageCount:
    """How many messages of one day share agency, procedure, kind, state and reason, and their segments."""

    agency: str
    procedure_code: str
    procedure_name: str
    kind: str
    state: MessageState
    reason: Reason | None
    count: int
    segments: int


@dataclass(frozen=True, slots=True)
class ProcedureDay:
    """What an agency's own database says of one procedure on one day.

    The one with procedure `ALL` says that the agency could be asked at all. ``resolved`` and ``unexplained``
    are None where the view has no ``resolved_at``.
    """

    agency: str
    procedure_code: str
    procedure_name: str
    received: int
    resolved: int | None
    due_tomorrow: int
    unexplained: int | None


@dataclass(frozen=True, slots=True)
class LookupCount:
    """How many look-ups of one day asked for dossiers of a procedure; without agency: none was found."""

    agency: str | None
    procedure_code: str
    count: int


@dataclass(frozen=True, slots=True)
class RoadCount:
    """How many look-ups of one day came by a road and were answered so; by them roads are settled."""

    day: date
    road: str
    outcome: LookupOutcome
    count: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What a person should look at. Recorded once for the same day, agency, dossier, reason and kind."""

    day: date
    agency: str
    reason: FindingKind
    at: datetime
    dossier_code: str = ""
    procedure_code: str = ""
    kind: str = ""
    phone_masked: str = ""
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ExceptionRow:
    """One row of exceptions.csv. ``reason`` is a message state, a `Reason` or a `FindingKind`."""

    day: date
    agency: str
    dossier_code: str
    procedure_code: str
    kind: str
    reason: str
    phone: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ReportAgency:
    """An agency as the reports name it. One taking part has a total even on a day without traffic."""

    id: str
    name: str
    takes_part: bool = True


@dataclass(frozen=True, slots=True)
class DayMaterial:
    """Everything that was counted of one day."""

    messages: Sequence[MessageCount] = ()
    dossiers: Sequence[ProcedureDay] = ()
    lookups: Sequence[LookupCount] = ()


@dataclass(slots=True)
class Figures:
    """The numbers of one row. Totals are made by `add`, so that they are the sum of their rows."""

    received: int | None = None
    resolved: int | None = None
    due_tomorrow: int | None = None
    unexplained: int | None = None
    endings: Counter[tuple[str, Ending]] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    lookups: int = 0
    segments: int = 0

    def add(self, other: Figures) -> None:
        """Add another row's numbers; what is unknown in one counts as nothing, in both it stays unknown."""
        self.received = _sum_of_known(self.received, other.received)
        self.resolved = _sum_of_known(self.resolved, other.resolved)
        self.due_tomorrow = _sum_of_known(self.due_tomorrow, other.due_tomorrow)
        self.unexplained = _sum_of_known(self.unexplained, other.unexplained)
        self.endings.update(other.endings)
        self.reasons.update(other.reasons)
        self.lookups += other.lookups
        self.segments += other.segments

    def add_messages(self, messages: MessageCount) -> None:
        """Count messages; those a gateway took also cost segments."""
        self.endings[messages.kind, ending_of(messages.state)] += messages.count
        if messages.reason is not None:
            self.reasons[messages.reason] += messages.count
        if messages.state in HANDED_OVER:
            self.segments += messages.segments

    def made(self, kind: str | None = None) -> int:
        """How many messages were made, of one kind or of all."""
        return sum(count for (of, _), count in self.endings.items() if kind in (None, of))

    def ended(self, ending: Ending) -> int:
        """How many messages of all kinds ended so."""
        return sum(count for (_, how), count in self.endings.items() if how is ending)

    @property
    def bad_phones(self) -> int:
        """How many messages were not sent because of the phone field."""
        return sum(self.reasons[reason] for reason in PHONE_REASONS)

    @property
    def has_traffic(self) -> bool:
        """Whether there is anything to tell of a procedure."""
        dossiers = (self.received, self.resolved, self.due_tomorrow, self.unexplained)
        return any(dossiers) or self.made() > 0 or self.lookups > 0


def _sum_of_known(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


@dataclass(frozen=True, slots=True)
class Line:
    """One row of reconciliation.csv: whose numbers of which day, and the numbers."""

    day: date
    agency: str
    agency_name: str
    procedure_code: str
    procedure_name: str
    figures: Figures


def kinds_in_order(configured: Iterable[str], seen: Iterable[str] = ()) -> tuple[str, ...]:
    """The notices in the order of the columns: the mission's three, the configured ones, any others seen."""
    return tuple(dict.fromkeys((*FIRST_KINDS, *configured, *sorted(set(seen)))))


def kinds_seen(lines: Iterable[Line]) -> set[str]:
    """The notices of which messages were made."""
    return {kind for line in lines for kind, _ in line.figures.endings}


def columns_for(kinds: Sequence[str]) -> tuple[str, ...]:
    """The header of reconciliation.csv."""
    endings = (f"{kind}_{what}" for kind in kinds for what in ("made", *Ending))
    return (*_HEAD, *endings, *_TAIL)


def cells_of(line: Line, kinds: Sequence[str], cost_per_segment: int) -> dict[str, Cell]:
    """One row of reconciliation.csv by column; None is a blank cell."""
    figures = line.figures
    values: list[Cell] = [
        line.day.isoformat(),
        line.agency,
        line.agency_name,
        line.procedure_code,
        line.procedure_name,
        figures.received,
        figures.resolved,
        figures.due_tomorrow,
    ]
    for kind in kinds:
        values.append(figures.made(kind))
        values += [figures.endings[kind, ending] for ending in Ending]
    values += [figures.reasons[reason] for reason in _COUNTED_REASONS]
    values += [figures.unexplained, figures.lookups, figures.segments, figures.segments * cost_per_segment]
    return dict(zip(columns_for(kinds), values, strict=True))


def exception_cells(row: ExceptionRow, at: str) -> dict[str, Cell]:
    """One row of exceptions.csv by column; ``at`` is the row's instant as it shall be printed."""
    values = (
        row.day.isoformat(),
        row.agency,
        row.dossier_code,
        row.procedure_code,
        row.kind,
        row.reason,
        row.phone,
        at,
    )
    return dict(zip(EXCEPTION_COLUMNS, values, strict=True))


def reconcile(day: date, material: DayMaterial, agencies: Sequence[ReportAgency]) -> list[Line]:
    """The rows of one day: each agency's procedures with traffic and its total, then the total over all."""
    named = {agency.id: agency for agency in agencies}
    book = _Book(material)
    lines: list[Line] = []
    overall = Figures()
    wanted = {agency.id for agency in agencies if agency.takes_part} | book.agencies_with_traffic()
    for agency in sorted(wanted):
        name = named[agency].name if agency in named else agency
        total = book.nothing(agency)
        for code in book.procedures(agency):
            figures = book.rows[agency, code]
            total.add(figures)
            lines.append(Line(day, agency, name, code, book.names.get((agency, code), ""), figures))
        overall.add(total)
        lines.append(Line(day, agency, name, ALL, "", total))
    overall.lookups += book.lookups_without_dossier
    lines.append(Line(day, ALL, "", ALL, "", overall))
    return lines


class _Book:
    """One day's numbers by agency and procedure, while they are entered."""

    def __init__(self, material: DayMaterial) -> None:
        self._markers = {count.agency: count for count in material.dossiers if count.procedure_code == ALL}
        self.rows: dict[tuple[str, str], Figures] = {}
        self.names: dict[tuple[str, str], str] = {}
        self.lookups_without_dossier = 0
        for messages in material.messages:
            self._figures(messages.agency, messages.procedure_code).add_messages(messages)
            self._name(messages.agency, messages.procedure_code, messages.procedure_name)
        for lookups in material.lookups:
            self._enter_lookups(lookups)
        for count in material.dossiers:
            self._enter_dossiers(count)

    def nothing(self, agency: str) -> Figures:
        """The numbers of a procedure nobody mentioned: noughts where the agency was asked, else unknown."""
        marker = self._markers.get(agency)
        if marker is None:
            return Figures()
        resolved = None if marker.resolved is None else 0
        return Figures(received=0, resolved=resolved, due_tomorrow=0, unexplained=resolved)

    def procedures(self, agency: str) -> list[str]:
        """The agency's procedures with traffic."""
        return sorted(code for (of, code), row in self.rows.items() if of == agency and row.has_traffic)

    def agencies_with_traffic(self) -> set[str]:
        """The agencies that have anything to tell, also those no longer configured."""
        return {agency for (agency, _), row in self.rows.items() if row.has_traffic}

    def _enter_dossiers(self, count: ProcedureDay) -> None:
        if count.procedure_code == ALL or count.agency not in self._markers:
            return
        figures = self._figures(count.agency, count.procedure_code)
        dossiers = Figures(count.received, count.resolved, count.due_tomorrow, count.unexplained)
        figures.add(dossiers)
        if count.procedure_name:
            self.names[count.agency, count.procedure_code] = count.procedure_name

    def _enter_lookups(self, lookups: LookupCount) -> None:
        if lookups.agency is None:
            self.lookups_without_dossier += lookups.count
        else:
            self._figures(lookups.agency, lookups.procedure_code).lookups += lookups.count

    def _figures(self, agency: str, procedure: str) -> Figures:
        key = agency, procedure
        if key not in self.rows:
            self.rows[key] = self.nothing(agency)
        return self.rows[key]

    def _name(self, agency: str, procedure: str, name: str) -> None:
        """Of several names in one day's messages the last in the alphabet, whatever order they came in."""
        key = agency, procedure
        self.names[key] = max(self.names.get(key, ""), name)
