"""The one place that reads the wall clock, and the calendar arithmetic of one time zone.

Instants are aware datetimes in UTC; days and times of day belong to the configured zone. Days are half-open:
``start <= instant < end``.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Protocol


class Clock(Protocol):
    """Tells the present instant; the demo and the tests bring their own."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)


def local_day(instant: datetime, zone: tzinfo) -> date:
    """The calendar day of an instant in a zone."""
    return instant.astimezone(zone).date()


def at_time(day: date, moment: time, zone: tzinfo) -> datetime:
    """The instant of a time of day on a day in a zone, in UTC."""
    return datetime.combine(day, moment, tzinfo=zone).astimezone(UTC)


def day_bounds(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """First instant of a day and first instant of the next, in UTC."""
    return at_time(day, time(), zone), at_time(day + timedelta(days=1), time(), zone)


def within_hours(instant: datetime, opens: time, closes: time, zone: tzinfo) -> bool:
    """Whether an instant falls in daily hours ``[opens, closes)``; hours may span midnight, equal ends mean always."""
    moment = instant.astimezone(zone).time()
    if opens == closes:
        return True
    if opens < closes:
        return opens <= moment < closes
    return moment >= opens or moment < closes
