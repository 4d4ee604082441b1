"""Reads under way and reads to come: what the poller keeps of each agency between its ticks."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from smsd.core.errors import AgencyError
from smsd.services.ports import AgencyReader


@dataclass(slots=True)
class Job:
    """One read under way. Who settles it first, the reading thread or the deadline, decides its end."""

    agency: str
    started: float
    reader: AgencyReader
    deadline: float
    thread: threading.Thread | None = None
    progress: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _settled: bool = False
    given_up: bool = False

    def settle(self, *, give_up: bool = False) -> bool:
        """Claim the right to apply, or to give up; True for the first claim only."""
        with self._lock:
            if self._settled:
                return False
            self._settled, self.given_up = True, give_up
            return True

    def is_mine(self) -> bool:
        """For the reading thread: whether the job's end is still its own to tell."""
        return self.settle() or not self.given_up

    def goes_on(self, now: float) -> None:
        """Note that rows have come. Raises `AgencyError` once the deadline has taken the job."""
        self.progress = now
        if self.given_up:
            raise AgencyError("the read was given up", code="timeout")


@dataclass(frozen=True, slots=True)
class Appointment:
    """When an agency is read next, and how long the wait was when that was decided."""

    at: datetime
    wait: timedelta

    def is_due(self, now: datetime) -> bool:
        """Whether it is time; a longer wait than was decided means that the clock was set back."""
        return self.at <= now or self.at - now > self.wait
