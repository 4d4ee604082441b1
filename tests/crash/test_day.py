"""A process that ends at any write, commit, gateway call or rename loses nothing and doubles only what it marks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from tests.crash.nursery import Nursery, a_nursery
from tests.crash.outcome import Outcome, outcome_of
from tests.crash.points import CRASHED, KINDS, PostOffice, spread
from tests.support.reliability import Record

EXPECTED = Counter(
    {
        ("OLD", "result_ready"): 1,
        ("A", "result_ready"): 1,
        ("B", "supplement"): 1,
        ("B", "result_ready"): 1,
        ("C", "result_ready"): 1,
        ("DUE", "apology"): 1,
        ("DUE", "result_ready"): 1,
    }
)
MADE = Counter(
    {
        ("OLD", "result_ready", "delivered", ""): 1,
        ("A", "result_ready", "delivered", ""): 1,
        ("A", "result_ready", "suppressed", "repeat"): 1,
        ("B", "supplement", "undelivered", ""): 1,
        ("B", "result_ready", "accepted", ""): 1,
        ("C", "result_ready", "suppressed", "no_phone"): 1,
        ("C", "result_ready", "delivered", ""): 1,
        ("D", "result_ready", "superseded", ""): 1,
        ("DUE", "apology", "delivered", ""): 1,
        ("DUE", "result_ready", "delivered", ""): 1,
    }
)
PLAIN = 14
"""How many of the points are visited among all tests; the table visits every one."""


@dataclass
class Toll:
    """What all crashes together cost."""

    crashes: int = 0
    lost: int = 0
    doubled: int = 0
    marked: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def points(self) -> str:
        return f"{self.crashes} points: " + ", ".join(f"{self.kinds[kind]} {kind}" for kind in KINDS)


def whole(nursery: Nursery) -> tuple[Outcome, list[str]]:
    """A day without a crash goes as it should; where it could be cut off."""
    day = nursery.live()
    assert day.ended == [0], nursery.log()
    outcome = outcome_of(nursery.places)
    assert (outcome.arrived, outcome.marked, outcome.messages) == (EXPECTED, set(), MADE)
    assert (outcome.audit, outcome.inquiries, len(outcome.answers)) == ({"heads": 2, "wrong": []}, 2, 2)
    assert set(outcome.reports) >= {
        f"{day}/{name}"
        for day in ("2026-08-02", "2026-08-03")
        for name in ("reconciliation.csv", "exceptions.csv", "report.html")
    }
    assert set(day.points) == set(KINDS)
    return outcome, day.points


def crashed(nursery: Nursery, expected: Outcome, points: list[str], at: int, toll: Toll) -> Outcome:
    """A day that is cut off at one point went on to its end, as whole as without."""
    started = time.monotonic()
    day = nursery.live(at)
    toll.seconds = max(toll.seconds, time.monotonic() - started)
    assert (day.ended, day.crash) == ([CRASHED, 0], points[at - 1]), nursery.log()
    outcome = outcome_of(nursery.places)
    assert replace(outcome, arrived=expected.arrived, marked=expected.marked) == expected
    toll.crashes += 1
    toll.lost += outcome.lost(expected)
    toll.doubled += outcome.doubled(expected).total()
    toll.marked += len(outcome.marked)
    toll.kinds[day.crash] += 1
    return outcome


def crash_at_points(nursery: Nursery, record: Record, judge: Callable[[Outcome], None]) -> Toll:
    """A day for each point to be visited, all of them for the table; ``judge`` says what no day's outcome may be."""
    expected, points = whole(nursery)
    toll = Toll()
    for at in spread(points, record.times(PLAIN, len(points))):
        try:
            judge(crashed(nursery, expected, points, at, toll))
        except AssertionError as error:
            error.add_note(f"crashed at point {at} of {len(points)}: {points[at - 1]}\n{nursery.log()}")
            raise
    assert set(toll.kinds) == set(KINDS)
    return toll


@pytest.mark.reliability
@pytest.mark.timeout(900)
def test_where_the_gateway_tells_repeats_apart_a_crash_anywhere_loses_doubles_and_marks_nothing(
    reliability: Record,
) -> None:
    def judge(outcome: Outcome) -> None:
        assert (outcome.arrived, outcome.marked) == (EXPECTED, set())

    with a_nursery(repeats_safely=True) as nursery:
        toll = crash_at_points(nursery, reliability, judge)
    write_row(
        reliability, "smsd ends at each point of a day; the gateway tells repeats apart", toll, toll.points
    )


@pytest.mark.reliability
@pytest.mark.timeout(900)
def test_where_the_gateway_cannot_a_crash_anywhere_loses_nothing_and_doubles_no_more_than_its_window_marked(
    reliability: Record,
) -> None:
    def judge(outcome: Outcome) -> None:
        assert outcome.arrived.keys() == EXPECTED.keys()
        doubled = outcome.arrived - EXPECTED
        assert max(doubled.values(), default=0) <= 1, "sent again more than once"
        assert doubled.keys() <= outcome.marked
        assert len(outcome.marked) <= PostOffice.window

    with a_nursery(repeats_safely=False) as nursery:
        toll = crash_at_points(nursery, reliability, judge)
    note = f"doubled by crashes between a message's taking and the commit of the answer; {toll.points}"
    write_row(reliability, "smsd ends at each point of a day; the gateway cannot tell repeats", toll, note)


def write_row(record: Record, fault: str, toll: Toll, note: str) -> None:
    record.row(
        "The process ends",
        fault,
        tried=toll.crashes,
        lost=toll.lost,
        doubled=toll.doubled,
        marked=toll.marked,
        recovered=f"by itself, all reports as without, byte for byte; a day in {toll.seconds:.1f} s at most",
        note=note,
    )
