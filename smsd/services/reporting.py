"""The nightly reconciliation: ask each agency's own database, put it beside what was sent, write the files.

When a report is owed, and for which days again, is decided by whoever runs the daily jobs; how files and pages
look is the adapters' business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Protocol

from smsd.core.chain import DayHead
from smsd.core.clock import day_bounds
from smsd.core.figures import (
    ALL,
    Cell,
    DayMaterial,
    ExceptionRow,
    Finding,
    Line,
    ProcedureDay,
    ReportAgency,
    RoadCount,
    cells_of,
    exception_cells,
    kinds_in_order,
    kinds_seen,
    procedure_key,
    reconcile,
)
from smsd.core.model import RESULT_READY, FindingKind
from smsd.core.rows import parse_instant, text_of
from smsd.services.ports import AgencyReader

COUNTED_COLUMNS = (
    "dossier_code",
    "procedure_code",
    "procedure_name",
    "received_at",
    "due_at",
    "resolved_at",
)
"""What is read of every dossier to count it."""


class ReportStore(Protocol):
    """What the reports ask of the state store."""

    def without_message(self, agency: str, kind: str, codes: Collection[str]) -> set[str]:
        """Which of these dossiers never had a message of this kind made, whatever became of it."""

    def replace_day(
        self, day: date, agency: str, counts: Sequence[ProcedureDay], unexplained: Sequence[Finding]
    ) -> None:
        """Put an agency's counts of a day, and what they leave unexplained, in place of the last ones."""

    def material(self, day: date) -> DayMaterial:
        """Everything the reconciliation of a day is made of."""

    def exceptions(self, day: date) -> list[ExceptionRow]:
        """What a person should look at, by agency and time."""

    def lookups_by_road(self, day: date) -> list[RoadCount]:
        """The look-ups answered on a day by road and outcome, repeats counted once."""

    def day_head(self, day: date, *, keep: bool) -> DayHead | None:
        """Where the audit's chain stood when a day ended. ``keep``: the day is over, and this is its head for good."""

    def changed_days(self, since: datetime) -> list[date]:
        """The days of whose messages some changed state since an instant: their reports are out of date."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be printed. ``kinds`` are the notices in the order of their columns."""

    first_day: date
    last_day: date
    kinds: tuple[str, ...]
    lines: Sequence[Line]
    exceptions: Sequence[ExceptionRow]
    agencies: Mapping[str, str]
    """The agencies' names by id."""
    cost_per_segment: int
    zone: tzinfo
    lookups: Sequence[RoadCount] = ()
    provisional: bool = False
    """Whether the day is not over: the page says so."""
    head: DayHead | None = None
    """Where the audit's chain stood at the end of the last day; None while there is nothing in it."""

    @property
    def folder(self) -> str:
        """The folder's name: the day, or the first and the last."""
        if self.first_day == self.last_day:
            return self.first_day.isoformat()
        return f"{self.first_day.isoformat()}_{self.last_day.isoformat()}"


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """Where a report was written; ``by_agency`` has the exceptions of each agency that has any."""

    folder: Path
    reconciliation: Path
    exceptions: Path
    page: Path
    by_agency: Mapping[str, Path]


class ReportFiles(Protocol):
    """Where reports go."""

    def write(self, report: Report) -> ReportPaths:
        """Write all files of a report, each whole or not at all. Raises OSError."""


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What the configuration says of the reports. ``notices``: all configured, those of agencies too."""

    zone: tzinfo
    notices: tuple[str, ...]
    cost_per_segment: int


class ReportService:
    """Counts, reconciles and writes. Safe to repeat: a day gives the same files until something changed."""

    def __init__(self, store: ReportStore, files: ReportFiles, settings: ReportSettings) -> None:
        self._store = store
        self._files = files
        self._settings = settings

    def count_agency(self, agency: str, reader: AgencyReader, day: date) -> int | None:
        """Count a day in an agency's own database and keep the counts in place of earlier ones.

        Returns how many dossiers were resolved without a result message (None: the view cannot tell). Raises
        `AgencyError`, and then earlier counts stay. Memory is bounded by the day's own dossiers.
        """
        count = DayCount(day, self._settings.zone)
        for block in reader.rows(COUNTED_COLUMNS):
            count.add(block)
        tells_resolved = reader.has_column("resolved_at")
        unexplained = self._unexplained(agency, count, day) if tells_resolved else []
        self._store.replace_day(day, agency, count.result(agency, unexplained, tells_resolved), unexplained)
        return len(unexplained) if tells_resolved else None

    def _unexplained(self, agency: str, count: DayCount, day: date) -> list[Finding]:
        """A finding for each dossier resolved that day for which no result message was made at all."""
        silent = self._store.without_message(agency, RESULT_READY, count.resolved.keys())
        return [
            Finding(
                day=day,
                agency=agency,
                reason=FindingKind.UNEXPLAINED,
                at=count.resolved[code].at,
                dossier_code=code,
                procedure_code=count.resolved[code].procedure,
                kind=RESULT_READY,
            )
            for code in sorted(silent)
        ]

    def write(self, day: date, *, agencies: Sequence[ReportAgency], provisional: bool = False) -> ReportPaths:
        """Write a day's files from what the store holds."""
        return self.write_range(day, day, agencies=agencies, provisional=provisional)

    def write_range(
        self,
        first_day: date,
        last_day: date,
        *,
        agencies: Sequence[ReportAgency],
        provisional: bool = False,
    ) -> ReportPaths:
        """Write one set of files with the daily rows of ``first_day`` to ``last_day``, both included."""
        lines = self._lines(first_day, last_day, agencies)
        found = [row for day in days_between(first_day, last_day) for row in self._store.exceptions(day)]
        report = Report(
            first_day=first_day,
            last_day=last_day,
            kinds=self._kinds(lines),
            lines=lines,
            exceptions=found,
            agencies={agency.id: agency.name for agency in agencies},
            cost_per_segment=self._settings.cost_per_segment,
            zone=self._settings.zone,
            lookups=self._lookups(first_day, last_day),
            provisional=provisional,
            head=next(reversed(self.heads(first_day, last_day, provisional=provisional)), None),
        )
        return self._files.write(report)

    def heads(self, first_day: date, last_day: date, *, provisional: bool) -> list[DayHead]:
        """Where the audit's chain stood at the end of each day. Those of days that are over never change again.

        ``provisional``: the last day is not over.
        """
        heads = [
            self._store.day_head(day, keep=not (provisional and day == last_day))
            for day in days_between(first_day, last_day)
        ]
        return [head for head in heads if head is not None]

    def rows(
        self, first_day: date, last_day: date, *, agencies: Sequence[ReportAgency]
    ) -> list[dict[str, Cell]]:
        """The rows of reconciliation.csv by column, for programs."""
        lines = self._lines(first_day, last_day, agencies)
        kinds = self._kinds(lines)
        return [cells_of(line, kinds, self._settings.cost_per_segment) for line in lines]

    def exception_rows(self, first_day: date, last_day: date) -> list[dict[str, Cell]]:
        """The rows of exceptions.csv by column, for programs."""
        return [
            exception_cells(row, printed_instant(row.at, self._settings.zone))
            for day in days_between(first_day, last_day)
            for row in self._store.exceptions(day)
        ]

    def lookup_rows(self, first_day: date, last_day: date) -> list[dict[str, Cell]]:
        """The look-ups by day, road and outcome, for programs: what is settled with whom a road belongs to."""
        return [
            {"date": one.day.isoformat(), "road": one.road, "outcome": one.outcome.value, "count": one.count}
            for one in self._lookups(first_day, last_day)
        ]

    def changed_days(self, since: datetime) -> list[date]:
        """The days whose reports late receipts have put out of date since an instant."""
        return self._store.changed_days(since)

    def _lines(self, first_day: date, last_day: date, agencies: Sequence[ReportAgency]) -> list[Line]:
        return [
            line
            for day in days_between(first_day, last_day)
            for line in reconcile(day, self._store.material(day), agencies)
        ]

    def _lookups(self, first_day: date, last_day: date) -> list[RoadCount]:
        return [one for day in days_between(first_day, last_day) for one in self._store.lookups_by_road(day)]

    def _kinds(self, lines: Iterable[Line]) -> tuple[str, ...]:
        return kinds_in_order(self._settings.notices, kinds_seen(lines))


def days_between(first_day: date, last_day: date) -> Iterator[date]:
    """The days from the first to the last, both included."""
    for ordinal in range(first_day.toordinal(), last_day.toordinal() + 1):
        yield date.fromordinal(ordinal)


def printed_instant(instant: datetime, zone: tzinfo) -> str:
    """An instant as reports print it: local, to the second, in a form spreadsheets take for a time."""
    return instant.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True, slots=True)
class _Resolved:
    procedure: str
    at: datetime


@dataclass(slots=True)
class _Procedure:
    name: str = ""
    received: int = 0
    resolved: int = 0
    due_tomorrow: int = 0


class DayCount:
    """Counts one day's dossiers from raw rows in the order of `COUNTED_COLUMNS`.

    Rows without a code, or with a code counted before, are bad rows and left out; impossible dates fall
    on no day.
    """

    def __init__(self, day: date, zone: tzinfo) -> None:
        self.resolved: dict[str, _Resolved] = {}
        self._today = DayTest(day, zone)
        self._tomorrow = DayTest(day + timedelta(days=1), zone)
        self._zone = zone
        self._procedures: dict[str, _Procedure] = {}
        self._codes: set[str] = set()

    def add(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Count a block of rows."""
        today, tomorrow = self._today.holds, self._tomorrow.holds
        for row in rows:
            received, due, resolved = today(row[3]), tomorrow(row[4]), today(row[5])
            if received or due or resolved:
                self._count(row, received=received, due=due, resolved=resolved)

    def _count(self, row: tuple[object, ...], *, received: bool, due: bool, resolved: bool) -> None:
        code = text_of(row[0])
        if code is None or code in self._codes:
            return
        self._codes.add(code)
        key = procedure_key(text_of(row[1]))
        procedure = self._procedures.setdefault(key, _Procedure())
        procedure.name = max(procedure.name, text_of(row[2]) or "")
        procedure.received += received
        procedure.due_tomorrow += due
        procedure.resolved += resolved
        at = parse_instant(row[5], self._zone) if resolved else None
        if at is not None:
            self.resolved[code] = _Resolved(key, at)

    def result(self, agency: str, unexplained: Sequence[Finding], tells_resolved: bool) -> list[ProcedureDay]:
        """The counts by procedure, and their total, which also says that the agency was asked."""
        silent = Counter(finding.procedure_code for finding in unexplained)
        counts = [
            ProcedureDay(
                agency=agency,
                procedure_code=key,
                procedure_name=procedure.name,
                received=procedure.received,
                resolved=procedure.resolved if tells_resolved else None,
                due_tomorrow=procedure.due_tomorrow,
                unexplained=silent[key] if tells_resolved else None,
            )
            for key, procedure in sorted(self._procedures.items())
        ]
        total = ProcedureDay(
            agency=agency,
            procedure_code=ALL,
            procedure_name="",
            received=sum(count.received for count in counts),
            resolved=sum(count.resolved or 0 for count in counts) if tells_resolved else None,
            due_tomorrow=sum(count.due_tomorrow for count in counts),
            unexplained=len(unexplained) if tells_resolved else None,
        )
        return [*counts, total]


class DayTest:
    """Whether raw date-time values fall on one day. Asked millions of times, so plain cases are quick."""

    def __init__(self, day: date, zone: tzinfo) -> None:
        self._zone = zone
        self._day = day
        self._start, self._end = day_bounds(day, zone)
        # Whatever zone a text carries, its own date is within two days of ours.
        self._earliest = (day - timedelta(days=2)).isoformat()
        self._latest = (day + timedelta(days=2)).isoformat()

    def holds(self, raw: object) -> bool:
        """Whether the value is an instant of the day; an impossible or absent one is not."""
        if raw is None:
            return False
        kind = raw.__class__
        if kind is datetime and raw.tzinfo is None:  # type: ignore[attr-defined]
            return bool(raw.date() == self._day)  # type: ignore[attr-defined]
        if kind is str and raw[4:5] == "-" and not self._earliest <= raw[:10] <= self._latest:  # type: ignore[index]
            return False
        try:
            instant = parse_instant(raw, self._zone)
        except ValueError:
            return False
        return instant is not None and self._start <= instant < self._end
