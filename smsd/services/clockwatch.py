"""Whether the machine's clock can be true. One that cannot would have things done on a wrong day, and messages ended.

A server whose clock battery is empty starts years back or ahead and is put right a little later. Until then nothing is
read, sent, ended or reported. What cannot be told from a long rest of the server, or from a clock that was wrong
before, is only waited for: after a while the clock is believed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from smsd.core.clock import Clock
from smsd.core.errors import SmsdError
from smsd.services.ports import Alarms

log = structlog.get_logger(__name__)

ALARM = "clock"
NEVER_BEFORE = datetime(2016, 1, 1, tzinfo=UTC)
"""No server shows this rightly any more; clocks without a battery begin at 1970 or 2000."""
FAR = timedelta(hours=12)
"""A smaller step ends nothing: the shortest validity that smsd.yaml begins with (14 h) outlives it."""
LONG_REST = timedelta(days=15)
"""Longer than any holiday. A server off for longer waits ten minutes; a clock months ahead would end everything."""
PATIENCE = 600.0
"""Seconds for which a clock in doubt may be put right; a server that finds a time server does it within seconds."""
_SET_BACK = timedelta(minutes=1)
_HINT = "set the clock (timedatectl); smsd goes on by itself once it can be true"


class ClockNotes(Protocol):
    """What the state store keeps for this."""

    def last_seen(self) -> datetime | None:
        """The latest instant at which a daemon believed its clock; None on a new store."""

    def note_seen(self, now: datetime) -> None:
        """A daemon believes that it is now."""

    def bring_back(self, now: datetime) -> int:
        """Bring back to now what was written under a clock that ran ahead; how many messages waited for it."""


class ClockWatch:
    """Asked by the loop before each turn. `monotonic` counts on whatever the clock is set to."""

    def __init__(
        self,
        clock: Clock,
        notes: ClockNotes,
        alarms: Callable[[], Alarms],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._notes = notes
        self._alarms = alarms
        self._monotonic = monotonic
        self._believed: tuple[datetime, float] | None = None
        self._doubted_since: float | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether the last look found a clock that is not to be believed."""
        return self._doubted_since is not None

    def believed(self) -> bool:
        """Whether what time it is can be true. Raises `StoreError`."""
        now, passed = self._clock.now(), self._monotonic()
        doubt = self._doubt(now, passed)
        if doubt is not None and not self._waited_enough(now, passed):
            if self._doubted_since is None:
                self._doubted_since = passed
                log.warning("clock_not_believed", shows=now.isoformat(), reason=doubt)
                self._alarms().raise_alarm(
                    ALARM, f"the clock shows {now:%Y-%m-%d %H:%M} UTC: {doubt}", hint=_HINT
                )
            return False
        self._believe(now, passed, doubt)
        return True

    def note(self) -> None:
        """Keep in the store until when the clock was believed."""
        if self._believed is not None and not self.in_doubt:
            self._notes.note_seen(self._clock.now())

    def _doubt(self, now: datetime, passed: float) -> str | None:
        """Why it cannot be now; None if it can."""
        if now < NEVER_BEFORE:
            return "that is before smsd was made"
        if self._believed is not None:
            step = now - self._expected(passed)
            if abs(step) < FAR:
                return None
            hours, way = abs(step) // timedelta(hours=1), "forward" if step > timedelta(0) else "back"
            return f"it was set {hours} hours {way} while smsd ran"
        seen = self._notes.last_seen()
        if seen is not None and now < seen - FAR:
            return f"smsd ran already on {seen:%Y-%m-%d %H:%M} UTC"
        if seen is not None and now > seen + LONG_REST:
            return f"smsd has not run since {seen:%Y-%m-%d %H:%M} UTC"
        return None

    def _expected(self, passed: float) -> datetime:
        if self._believed is None:
            raise RuntimeError("no clock was believed yet")
        at, then = self._believed
        return at + timedelta(seconds=passed - then)

    def _waited_enough(self, now: datetime, passed: float) -> bool:
        since = self._doubted_since
        return now >= NEVER_BEFORE and since is not None and passed - since >= PATIENCE

    def _believe(self, now: datetime, passed: float, doubt: str | None) -> None:
        first = self._believed is None
        if first or now < self._expected(passed) - _SET_BACK:
            moved = self._notes.bring_back(now)
            if moved:
                log.warning("clock_had_run_ahead", messages=moved)
        self._believed = now, passed
        if self._doubted_since is not None or first:
            if self._doubted_since is not None:
                log.info("clock_believed", shows=now.isoformat(), waited_in_vain=doubt is not None)
            self._doubted_since = None
            self._alarms().clear(ALARM)
            self._notes.note_seen(now)


def require_believable(clock: Clock) -> None:
    """For a run that waits for nothing. Raises `SmsdError` for a clock that is surely wrong."""
    now = clock.now()
    if now < NEVER_BEFORE:
        raise SmsdError(
            f"the clock shows {now:%Y-%m-%d %H:%M} UTC: that is before smsd was made",
            code="clock",
            hint=_HINT,
        )
