"""What an agency's rows mean: raw values as drivers give them, turned into dossiers.

Here belong the columns of the view and the reading of text and date values. What follows from a row (positions,
messages) does not.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache

from smsd.core.model import Dossier
from smsd.core.names import clean_text

VIEW_COLUMNS = (
    "dossier_code",
    "phone",
    "step",
    "status",
    "procedure_code",
    "procedure_name",
    "received_at",
    "due_at",
    "resolved_at",
)
"""The columns of the view that decide anything, in the order in which rows carry them."""

_DATE_COLUMNS = VIEW_COLUMNS[6:9]

RawRow = tuple[object, ...]

_DAY = r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})"
_TIME = r"([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:[.,]([0-9]+))?)?)?"
_OFFSET = r"(?:([Zz])|([+-])([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2}))?)?)"
_USUAL_LENGTH = len("2026-08-03 17:30:00")
_INSTANT = re.compile(rf"{_DAY}(?:(?:[Tt]| +){_TIME}(?: *{_OFFSET})?)?")


class BadRow(Exception):  # noqa: N818 - it names the row, and is told apart from faults of smsd
    """A row without what makes it a dossier, skipped and listed. ``code`` is None where it is missing."""

    def __init__(self, code: str | None, problem: str) -> None:
        super().__init__(problem)
        self.code = code
        self.problem = problem


def parse_instant(raw: object, zone: tzinfo) -> datetime | None:
    """The instant a date-time value names, in UTC; None for null and blank ones.

    Values without a zone are in ``zone``; a date alone is its first moment. Raises ValueError for one that
    cannot be: not ISO 8601, a day that no calendar has, or an instant outside the years 1 to 9999.
    """
    if raw is None:
        return None
    if isinstance(raw, datetime):
        return _to_utc(raw, zone)
    if isinstance(raw, date):
        return _to_utc(datetime.combine(raw, time()), zone)
    if isinstance(raw, (bytes, bytearray, memoryview)):
        raw = bytes(raw).decode("utf-8", "replace")
    if not isinstance(raw, str):
        raise ValueError("not a date-time")
    text = raw.strip()
    return _parse_text(text, zone) if text else None


def _parse_text(text: str, zone: tzinfo) -> datetime:
    """The instant of ISO 8601 text; fractions finer than a microsecond are cut off, as databases do."""
    usual = len(text) == _USUAL_LENGTH and text[4] == text[7] == "-" and text[13] == text[16] == ":"
    if usual and text[10] in " T":  # nearly all are; several times faster
        return _to_utc(datetime.fromisoformat(text), zone)
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError("not an ISO 8601 date-time")
    year, month, day, hour, minute, second, fraction, zulu, sign, *offset = match.groups()
    moment = datetime(  # noqa: DTZ001 - given its zone below
        int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        int(fraction[:6].ljust(6, "0")) if fraction else 0,
    )
    if zulu:
        return moment.replace(tzinfo=UTC)
    if sign is None:
        return _to_utc(moment, zone)
    hours, minutes, seconds = (int(part or 0) for part in offset)
    if minutes > 59 or seconds > 59:
        raise ValueError("an impossible zone offset")
    distance = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return _to_utc(moment.replace(tzinfo=timezone(distance if sign == "+" else -distance)), zone)


@lru_cache(maxsize=4096)  # dossiers of a day have many in common
def _to_utc(moment: datetime, zone: tzinfo) -> datetime:
    """An instant in UTC; a naive one is in ``zone``."""
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("outside the years 1 to 9999") from error


def dossier_from(raw: RawRow, zone: tzinfo) -> tuple[Dossier, tuple[str, ...]]:
    """The dossier of a row in the order of `VIEW_COLUMNS`, and the date columns that were impossible.

    Impossible dates read as None. Raises `BadRow` for a row without code or step.
    """
    code, phone, step, status, procedure_code, procedure_name, *dates = raw
    dossier_code = text_of(code)
    if dossier_code is None:
        raise BadRow(None, "dossier_code is null")
    step_name = text_of(step)
    if step_name is None:
        raise BadRow(dossier_code, "step is null")
    received_at, due_at, resolved_at, bad = _dates_of(dates, zone)
    dossier = Dossier(
        code=dossier_code,
        step=step_name,
        status=text_of(status),
        phone=phone_of(phone),
        procedure_code=text_of(procedure_code),
        procedure_name=text_of(procedure_name),
        received_at=received_at,
        due_at=due_at,
        resolved_at=resolved_at,
    )
    return dossier, bad


def _dates_of(
    values: list[object], zone: tzinfo
) -> tuple[datetime | None, datetime | None, datetime | None, tuple[str, ...]]:
    """Received, due, resolved; and the names of those that were impossible."""
    found: list[datetime | None] = []
    bad: tuple[str, ...] = ()
    for name, value in zip(_DATE_COLUMNS, values, strict=True):
        try:
            found.append(parse_instant(value, zone))
        except ValueError:
            found.append(None)
            bad += (name,)
    received_at, due_at, resolved_at = found
    return received_at, due_at, resolved_at, bad


def text_of(raw: object) -> str | None:
    """A value as clean text: no control or bidi characters, no outer spaces; blank is None."""
    if raw is None:
        return None
    return clean_text(raw if isinstance(raw, str) else _plain(raw)) or None


def phone_of(raw: object) -> str | None:
    """A phone field as typed, control characters as spaces: a line break between two numbers parts them."""
    if raw is None:
        return None
    text = raw if isinstance(raw, str) else _plain(raw)
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return text.strip() or None


def _plain(raw: object) -> str:
    """A value that is not text, as a person would write it: whole numbers without a decimal point."""
    if isinstance(raw, (bytes, bytearray, memoryview)):
        return bytes(raw).decode("utf-8", "replace")
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    if isinstance(raw, Decimal) and raw.is_finite() and raw == raw.to_integral_value():
        return str(int(raw))
    return str(raw)
