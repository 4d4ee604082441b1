"""Living the day: the clerks' changes, the daemon's turns and the citizens' look-ups, ten minutes at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from datetime import time as time_of_day

from smsd.demo.network import DemoNetwork
from smsd.demo.stage import INTERVAL, ZONE, DemoClock, Stage
from smsd.running import daily_jobs
from smsd.services.ports import LookupRequest
from smsd.wiring import System

_ACCIDENTS = (
    (-1, time_of_day(10, 0), time_of_day(10, 40)),
    (1, time_of_day(17, 0), time_of_day(21, 0)),
)
"""Which agencies' views are lost on the first day, from when to when: the second one misses its apology pass."""
_AT_WORK = ((time_of_day(7, 20), time_of_day(11, 50)), (time_of_day(13, 20), time_of_day(18, 0)))
"""When something happens every few minutes; else one turn in half an hour is enough."""


class Play:
    """Drives a `System` through the days, with the very services the daemon runs."""

    def __init__(
        self, stage: Stage, system: System, network: DemoNetwork, clock: DemoClock, seed: int
    ) -> None:
        self._stage = stage
        self._system = system
        self._network = network
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 # nosec B311 # a play, not a secret
        self._lost: set[str] = set()
        self.lookups = 0

    def instants(self) -> list[datetime]:
        """Every turn's instant: each ten minutes at work, through the last night until its report is final."""
        ends = datetime.combine(self._stage.days[-1] + timedelta(days=1), time_of_day(0, 10), tzinfo=ZONE)
        return [at for at in _every(INTERVAL, self._stage.begins, ends) if self._is_lived(at)]

    def _is_lived(self, at: datetime) -> bool:
        busy = at.date() in self._stage.days and any(begin <= at.time() <= end for begin, end in _AT_WORK)
        return busy or _on_the_half_hour(at) or at.time() == time_of_day(0, 10)

    def turn(self, at: datetime) -> None:
        """What happens until an instant, and what smsd makes of it."""
        self._clock.at = at
        for agency in self._stage.agencies.values():
            agency.live_until(at)
        self._accidents(at)
        self._poll()
        self._system.delivery.age()
        self._system.delivery.drain()
        self._network.report(self._system.delivery)
        if _on_the_half_hour(at) or at.hour == 0:
            for _, job in daily_jobs(self._system):
                job()
        if at.date() in self._stage.days and time_of_day(7) <= at.time() <= time_of_day(21):
            self._ask()

    def _poll(self) -> None:
        """Read every agency that is due, as the daemon's loop does, and wait for all."""
        poller = self._system.poller
        poller.tick()
        while poller.busy():
            time.sleep(0.002)
            poller.tick()

    def _accidents(self, at: datetime) -> None:
        """Administrators' mistakes: views that are gone for a while."""
        names = sorted(self._stage.agencies)
        for number, *times in _ACCIDENTS:
            lost, mended = (datetime.combine(self._stage.days[0], moment, tzinfo=ZONE) for moment in times)
            agency = names[number]
            if lost <= at < mended and agency not in self._lost:
                self._lost.add(agency)
                self._stage.agencies[agency].lose_view()
            elif at >= mended and agency in self._lost:
                self._lost.discard(agency)
                self._stage.agencies[agency].restore_view()

    def _ask(self) -> None:
        """Now and then a citizen asks 9029, sometimes for a code that is none."""
        if self._random.random() > 0.35:
            return
        agency = self._stage.agencies[self._random.choice(sorted(self._stage.agencies))]
        code = self._random.choice(agency.codes()) if self._random.random() < 0.85 else "H32-000000-0000"
        number = f"8490{self._random.randrange(10_000_000):07}"
        self.lookups += 1
        self._system.lookups.answer(LookupRequest(number, f"MCKH {code}", f"demo-{self.lookups}"))


def _on_the_half_hour(at: datetime) -> bool:
    return at.minute % 30 == 0


def _every(step: timedelta, start: datetime, end: datetime) -> Iterator[datetime]:
    at = start
    while at <= end:
        yield at
        at += step
