"""Calendar days as operators type them on a command line."""

from __future__ import annotations

import re
from datetime import date

import click

FORM = "YYYY-MM-DD"
_EXAMPLE = "2026-08-03"
_DAY = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})")
_YEAR_FIRST = re.compile(r"([0-9]{4})[./ ]?([0-9]{1,2})[./ ]?([0-9]{1,2})")
_DAY_FIRST = re.compile(r"([0-9]{1,2})[-./ ]([0-9]{1,2})[-./ ]([0-9]{4}|[0-9]{2})")
_CENTURY = 2000


def day_from(_context: click.Context, _parameter: click.Parameter, given: str | None) -> date | None:
    """An option's day, None where it was not given.

    Raises `BadParameter` for another form than `FORM`, with the day that was likely meant.
    """
    if given is None:
        return None
    typed = given.strip()
    found = _DAY.fullmatch(typed)
    day = _date(*found.groups()) if found else None
    if day is None:
        meant = _meant(typed)
        example = f"such as {_EXAMPLE}" if meant is None else f"did you mean {meant}?"
        raise click.BadParameter(f"{typed!r} is no day, accepted: {FORM}; {example}")
    return day


def _meant(typed: str) -> date | None:
    """The day somebody likely meant who writes 25/11/2026, or the month first, or the year, or no dividers."""
    found = _DAY_FIRST.fullmatch(typed)
    if found:
        day, month, year = found.groups()
        return _date(year, month, day) or _date(year, day, month)
    found = _YEAR_FIRST.fullmatch(typed)
    return _date(*found.groups()) if found else None


def _date(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year) if len(year) > 2 else _CENTURY + int(year), int(month), int(day))
    except ValueError:
        return None
