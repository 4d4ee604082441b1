"""The page of a report: the same figures as the files, with charts, for a phone, a desk and a printer.

What the page shows is gathered here; how it looks is in report.html beside this module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from smsd.adapters.reports.words import (
    ending_name,
    kind_name,
    outcome_name,
    reason_name,
    road_name,
    translator,
)
from smsd.core.chain import printed_head
from smsd.core.figures import ALL, Ending, Figures, Line
from smsd.core.lookups import LookupOutcome
from smsd.core.model import RESULT_READY, Reason
from smsd.services.reporting import Report, printed_instant

EXCEPTIONS_SHOWN = 200
_PHONE_REASONS = (Reason.NO_PHONE, Reason.LANDLINE, Reason.INVALID_PHONE, Reason.AMBIGUOUS_PHONE)


@dataclass(frozen=True, slots=True)
class _Row:
    """One agency's, or one procedure's, figures over all days of the report."""

    code: str
    name: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class _Segment:
    """One piece of a bar, in hundredths of the whole bar."""

    css: str
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class _Bar:
    """One line of a chart: its label, the numbers in words, and the pieces."""

    label: str
    total: int
    segments: Sequence[_Segment]
    parts: Sequence[tuple[str, str, int]]


def page_html(report: Report, language: str) -> str:
    """The page, self-contained. The same report gives the same text."""
    overall = _added(line.figures for line in report.lines if line.agency == ALL)
    agencies = _agency_rows(report)
    shown = report.exceptions[:EXCEPTIONS_SHOWN]
    return _template().render(
        language=language,
        t=translator(language),
        kind_name=lambda kind: kind_name(language, kind),
        ending_name=lambda ending: ending_name(language, ending),
        reason_name=lambda reason: reason_name(language, reason),
        road_name=lambda road: road_name(language, road),
        outcome_name=lambda outcome: outcome_name(language, outcome),
        number=lambda value: number(value, language),
        day=lambda value: printed_day(value, language),
        at=lambda value: printed_instant(value, report.zone),
        share=lambda figures: _share(figures, language),
        report=report,
        seal=printed_head(report.head.hash) if report.head is not None else "",
        overall=overall,
        agencies=agencies,
        unasked=_unasked(report),
        procedures=_procedure_rows(report),
        endings=tuple(Ending),
        Ending=Ending,
        notice_bars=_notice_bars(report, overall, language),
        result_bars=_result_bars(agencies),
        suppressed=_most_frequent(overall.reasons),
        phone_reasons=_PHONE_REASONS,
        bad_phones=[row for row in agencies if row.figures.bad_phones],
        roads=_roads(report),
        outcomes=tuple(LookupOutcome),
        exception_reasons=_most_frequent(Counter(row.reason for row in report.exceptions)),
        exceptions=shown,
        exceptions_left=len(report.exceptions) - len(shown),
        result_ready=RESULT_READY,
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def number(value: int | None, language: str) -> str:
    """A number as people of the language group its digits; a dash for one that nobody could tell."""
    if value is None:
        return "–"
    return f"{value:,}".replace(",", ".") if language == "vi" else f"{value:,}"


def printed_day(day: date, language: str) -> str:
    """A day as people of the language write it."""
    return day.strftime("%d/%m/%Y") if language == "vi" else day.isoformat()


def _share(figures: Figures, language: str) -> str:
    """Delivered messages among those tried: delivered, taken by a gateway, or failed."""
    delivered = figures.ended(Ending.DELIVERED)
    tried = delivered + figures.ended(Ending.ACCEPTED) + figures.ended(Ending.FAILED)
    if not tried:
        return "–"
    text = f"{100 * delivered / tried:.1f} %"
    return text.replace(".", ",") if language == "vi" else text


def _added(parts: Iterable[Figures]) -> Figures:
    total = Figures()
    for part in parts:
        total.add(part)
    return total


def _agency_rows(report: Report) -> list[_Row]:
    """Each agency's total over the days."""
    own: dict[str, list[Line]] = {}
    for line in report.lines:
        if line.procedure_code == ALL and line.agency != ALL:
            own.setdefault(line.agency, []).append(line)
    return [
        _Row(agency, lines[-1].agency_name, _added(line.figures for line in lines))
        for agency, lines in sorted(own.items())
    ]


def _unasked(report: Report) -> list[tuple[str, int]]:
    """The agencies whose databases could not be asked, and for how many days of the report."""
    days: Counter[str] = Counter()
    names: dict[str, str] = {}
    for line in report.lines:
        if line.procedure_code == ALL and line.agency != ALL and line.figures.received is None:
            days[line.agency] += 1
            names[line.agency] = line.agency_name
    return [(names[agency], count) for agency, count in sorted(days.items())]


def _procedure_rows(report: Report) -> Mapping[str, Sequence[_Row]]:
    """Each agency's procedures over the days."""
    own: dict[tuple[str, str], list[Line]] = {}
    for line in report.lines:
        if line.procedure_code != ALL:
            own.setdefault((line.agency, line.procedure_code), []).append(line)
    found: dict[str, list[_Row]] = {}
    for (agency, code), lines in sorted(own.items()):
        row = _Row(code, lines[-1].procedure_name, _added(line.figures for line in lines))
        found.setdefault(agency, []).append(row)
    return found


def _bar(label: str, numbers: Sequence[tuple[str, str, int]], longest: int) -> _Bar:
    """A bar whose whole width stands for ``longest``."""
    segments = []
    start = 0.0
    for css, _, count in numbers:
        width = 100 * count / longest if longest else 0.0
        if count:
            segments.append(_Segment(css, round(start, 3), round(width, 3)))
        start += width
    parts = [part for part in numbers if part[2]]
    return _Bar(label, sum(part[2] for part in numbers), segments, parts)


def _notice_bars(report: Report, overall: Figures, language: str) -> list[_Bar]:
    """A bar per notice: what became of its messages."""
    longest = max((overall.made(kind) for kind in report.kinds), default=0)
    return [
        _bar(
            kind_name(language, kind),
            [
                (ending.value, ending_name(language, ending), overall.endings[kind, ending])
                for ending in Ending
            ],
            longest,
        )
        for kind in report.kinds
    ]


def _result_bars(agencies: Sequence[_Row]) -> list[tuple[_Row, _Bar, _Bar]]:
    """For each agency dossiers with a result beside result messages that reached the phone, to one scale."""
    pairs = [
        (row, row.figures.resolved or 0, row.figures.endings[RESULT_READY, Ending.DELIVERED])
        for row in agencies
    ]
    longest = max((max(resolved, delivered) for _, resolved, delivered in pairs), default=0)
    return [
        (
            row,
            _bar(row.name, [("resolved", "", resolved)], longest),
            _bar(row.name, [("delivered", "", delivered)], longest),
        )
        for row, resolved, delivered in pairs
        if resolved or delivered
    ]


def _roads(report: Report) -> Mapping[str, Counter[LookupOutcome]]:
    """How the look-ups of each road were answered, over all days of the report."""
    roads: dict[str, Counter[LookupOutcome]] = {}
    for one in report.lookups:
        roads.setdefault(one.road, Counter())[one.outcome] += one.count
    return dict(sorted(roads.items()))


def _most_frequent(reasons: Counter[Any]) -> list[tuple[str, int]]:
    """Reasons and how often they occur, the most frequent first; equal ones by the alphabet."""
    return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
