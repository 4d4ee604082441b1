"""When each agency is read: once an interval, and agencies of one interval never in the same moment.

Thirteen agencies often share one server. Each has instants of its own, one an interval, and those of all are spread
evenly over it. A read out of turn (at the start, for the 17:30 pass, late since all slots were taken) does not move
them: the next wait is shortened until the reads fall on them again, and is never longer than the interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from smsd.services.reads import Appointment

FIRST_STEP = timedelta(seconds=1)
"""From one agency's first read after a start to the next one's, at most."""
FIRST_WITHIN = timedelta(seconds=15)
"""How long the first reads after a start may be spread, in all."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def wait_until_own_instant(after: datetime, interval: timedelta, phase: float) -> timedelta:
    """How long to wait after a read began: half an interval at least, an interval at most.

    ``phase`` (from 0 to 1) says where in every interval the agency's own instant lies. Where that is near, the wait
    ends before it comes again, and so two waits later the reads fall on it.
    """
    ahead = interval - (after - _EPOCH - interval * phase) % interval
    return ahead if 2 * ahead >= interval else interval * 0.75


class Timetable:
    """The next read of each agency."""

    def __init__(self, intervals: Mapping[str, timedelta]) -> None:
        """``intervals``: of every agency that is read."""
        self._intervals = dict(intervals)
        self._ranks = {agency: rank for rank, agency in enumerate(sorted(intervals))}
        self._next: dict[str, Appointment] = {}

    def begin(self, now: datetime, last_attempt: Callable[[str], datetime | None]) -> None:
        """Appoint the first reads of agencies that have none yet, shortly one after the other.

        ``last_attempt``: when an agency was read last, by whatever process. Where that was less than an interval ago
        (a reload), the interval is kept too.
        """
        for agency, interval in self._intervals.items():
            if agency in self._next:
                continue
            step = min(FIRST_STEP, min(FIRST_WITHIN, interval) / len(self._intervals))
            at = now + step * self._ranks[agency]
            last = last_attempt(agency)
            if last is not None and now < last + interval < at:
                at = last + interval
            self._next[agency] = Appointment(at, at - now)

    def follow(self, agency: str, began: datetime) -> None:
        """Appoint the read after one that began at an instant. An agency that is read no more has none."""
        if agency in self._intervals:
            phase = self._ranks[agency] / len(self._ranks)
            self.put_off(agency, began, wait_until_own_instant(began, self._intervals[agency], phase))

    def put_off(self, agency: str, after: datetime, wait: timedelta) -> None:
        """Appoint a read so long after an instant."""
        self._next[agency] = Appointment(after + wait, wait)

    def is_due(self, agency: str, now: datetime) -> bool:
        """Whether an agency's read is due; one that has no appointment is."""
        appointment = self._next.get(agency)
        return appointment is None or appointment.is_due(now)

    def due_since(self, agency: str) -> float:
        """Since when, to take the longest waiting first."""
        appointment = self._next.get(agency)
        return appointment.at.timestamp() if appointment is not None else 0.0
