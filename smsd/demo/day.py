"""Living the day: the clerks' changes, the daemon's turns and the citizens' look-ups, five minutes at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from datetime import time as time_of_day

from smsd.daemon import daily_jobs
from smsd.demo.stage import INTERVAL, ZONE, DemoClock, Stage
from smsd.services.ports import LookupRequest
from smsd.wiring import System

_ACCIDENT = (time_of_day(10, 0), time_of_day(10, 40))
"""Between these an administrator has lost one agency's view."""


class Play:
    """Drives a `System` through the days, with the very services the daemon runs."""

    def __init__(self, stage: Stage, system: System, clock: DemoClock, seed: int) -> None:
        self._stage = stage
        self._system = system
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 - a play, not a secret
        self._lost: str | None = None
        self.lookups = 0

    def instants(self) -> list[datetime]:
        """Every turn's instant: each five minutes, through the last night until its report is final."""
        ends = datetime.combine(self._stage.days[-1] + timedelta(days=1), time_of_day(0, 15), tzinfo=ZONE)
        return list(_every(INTERVAL, self._stage.begins, ends))

    def turn(self, at: datetime) -> None:
        """What happens until an instant, and what smsd makes of it."""
        self._clock.at = at
        for agency in self._stage.agencies.values():
            agency.live_until(at)
        self._accident(at)
        self._poll()
        self._system.delivery.age()
        self._system.delivery.drain()
        for _, job in daily_jobs(self._system):
            job()
        if at.date() in self._stage.days and time_of_day(7) <= at.time() <= time_of_day(21):
            self._ask()

    def _poll(self) -> None:
        """Read every agency that is due, as the daemon's loop does, and wait for all."""
        poller = self._system.poller
        poller.tick()
        while poller.busy():
            time.sleep(0.0005)
            poller.tick()

    def _accident(self, at: datetime) -> None:
        lost, mended = (datetime.combine(self._stage.days[0], moment, tzinfo=ZONE) for moment in _ACCIDENT)
        if lost <= at < mended and self._lost is None:
            self._lost = sorted(self._stage.agencies)[-1]
            self._stage.agencies[self._lost].lose_view()
        elif at >= mended and self._lost is not None and self._lost != "":
            self._stage.agencies[self._lost].restore_view()
            self._lost = ""

    def _ask(self) -> None:
        """Now and then a citizen asks 9029, sometimes for a code that is none."""
        if self._random.random() > 0.35:
            return
        agency = self._stage.agencies[self._random.choice(sorted(self._stage.agencies))]
        code = self._random.choice(agency.codes()) if self._random.random() < 0.85 else "H32-000000-0000"
        number = f"8490{self._random.randrange(10_000_000):07}"
        self.lookups += 1
        self._system.lookups.answer(LookupRequest(number, f"MCKH {code}", f"demo-{self.lookups}"))


def _every(step: timedelta, start: datetime, end: datetime) -> Iterator[datetime]:
    at = start
    while at <= end:
        yield at
        at += step
