"""Work done every so many seconds, on `schedule`: each piece apart from the others' errors, whatever the clock does.

What has to happen once a day is not scheduled here: it is owed until its row in the store says that it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from schedule import Scheduler

from smsd.core.clock import Clock
from smsd.core.errors import SmsdError, described

log = structlog.get_logger(__name__)

_STEP = timedelta(seconds=5)
"""The wall clock was set when it moved this much further than the time that really passed."""


class Ticks:
    """Jobs and their intervals. `run` runs those that are due, in the caller's thread."""

    def __init__(self, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._jobs: list[tuple[int, str, Callable[[], object]]] = []
        self._scheduler = Scheduler()
        self._seen = self._look()

    def every(self, seconds: int, name: str, job: Callable[[], object]) -> None:
        """Run a job every so many seconds from now on."""
        self._jobs.append((seconds, name, job))
        self._add(seconds, name, job)

    def run(self) -> None:
        """Run what is due. A job's error is a log line; the job is run again when it is next due."""
        if self._clock_was_set():
            # `schedule` counts on the wall clock: set back an hour, it would rest for an hour
            log.warning("clock_was_set", to=self._clock.now().isoformat())
            self._scheduler.clear()
            for job in self._jobs:
                self._add(*job)
        self._scheduler.run_pending()

    def _add(self, seconds: int, name: str, job: Callable[[], object]) -> None:
        self._scheduler.every(seconds).seconds.do(_guarded, name, job)

    def _look(self) -> tuple[datetime, float]:
        return self._clock.now(), self._monotonic()

    def _clock_was_set(self) -> bool:
        before, self._seen = self._seen, self._look()
        passed = timedelta(seconds=self._seen[1] - before[1])
        return abs(self._seen[0] - before[0] - passed) > _STEP


def _guarded(name: str, job: Callable[[], object]) -> None:
    try:
        job()
    except SmsdError as error:
        log.error("tick_failed", tick=name, code=error.code, error=error.message, hint=error.hint)
    except Exception as error:
        log.error("tick_failed", tick=name, **described(error))
