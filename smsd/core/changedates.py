"""Dates that a view gives for a row's last change: what instant they name, and an instant written as they are."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, tzinfo

from smsd.core.rows import parse_instant

_WRITTEN = re.compile(
    r"\d{4}-\d\d-\d\d(?P<separator>[ T])\d\d:\d\d(?P<seconds>:\d\d([.,]\d+)?)?(?P<offset>Z|[+-]\d\d(:?\d\d)?)?$"
)
_NO_DATE_BEFORE = 1970
"""Databases write 1753, 1900 or the year 1 for a date that is not known."""


def instant_of_change(raw: object, zone: tzinfo) -> datetime | None:
    """The instant a date of change names; None where it is not known. Raises ValueError for what is no date."""
    instant = parse_instant(raw, zone)
    return instant if instant is not None and instant.year >= _NO_DATE_BEFORE else None


def written_like(sample: object, instant: datetime, zone: tzinfo) -> object:
    """An instant as a database's own value of it is written, so that the two compare, as text too."""
    if isinstance(sample, datetime):
        return instant.astimezone(sample.tzinfo or zone).replace(tzinfo=sample.tzinfo)
    if isinstance(sample, date):
        return instant.astimezone(zone).date()
    text = str(sample).strip()
    found = _WRITTEN.match(text)
    if found is None:  # an unusual spelling: whole days compare in any case, and in any zone a day before
        day = instant.astimezone(zone) - timedelta(days=len(text) > len("2026-08-03"))
        return f"{day:%Y-%m-%d}" if "-" in text[:8] else f"{day:%Y%m%d}"
    offset = found["offset"] or ""
    own = datetime.fromisoformat(f"2000-01-01T00:00:00{_full(offset)}").tzinfo if offset else zone
    style = f"%Y-%m-%d{found['separator']}%H:%M{':%S' if found['seconds'] else ''}"
    if offset:  # as text, an offset comes after a fraction of the same second
        instant -= timedelta(seconds=1)
    return f"{instant.astimezone(own):{style}}{offset}"


def _full(offset: str) -> str:
    """`+07` as Python reads it."""
    return "+00:00" if offset in "Zz" else offset if len(offset) > len("+07") else f"{offset}:00"
