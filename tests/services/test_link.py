"""What a link makes of a windowful of answers that came together."""

from __future__ import annotations

from datetime import timedelta

import pytest

from smsd.core.model import Outcome, Verdict
from smsd.services.link import Link
from tests.services.stage import ALWAYS
from tests.support.builders import NOW
from tests.support.fakegateway import FakeGateway

TAKEN = Outcome(Verdict.ACCEPTED)
WINDOW = 100


class Raised:
    """The alarms that stand."""

    def __init__(self) -> None:
        self.keys: set[str] = set()

    def raise_alarm(self, key: str, message: str, *, hint: str = "", severity: str = "error") -> None:
        self.keys.add(key)

    def clear(self, key: str) -> None:
        self.keys.discard(key)


@pytest.fixture
def alarms() -> Raised:
    return Raised()


@pytest.fixture
def link(alarms: Raised) -> Link:
    """A link that has taken a message, and that may be given a windowful."""
    made = Link(FakeGateway(window=WINDOW), ALWAYS, alarms)
    made.judge(TAKEN, NOW)
    assert made.room(0, NOW) == WINDOW
    return made


def put_off(seconds: float | None = None) -> Outcome:
    return Outcome(Verdict.RETRY, "throttled", retry_after=seconds)


def rest(link: Link) -> float:
    """The seconds until it tries the next message, looking every quarter of one."""
    return next(n / 4 for n in range(1000) if link.room(0, NOW + timedelta(seconds=n / 4)))


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        ([None] * WINDOW, 1.0),
        ([0.0] * WINDOW, 1.0),
        ([0.5] * WINDOW, 1.0),
        ([7.0] * WINDOW, 7.0),
        ([None, 3.0, 12.0, 5.0, None], 12.0),
        ([3600.0] * WINDOW, 60.0),
    ],
)
def test_a_windowful_put_off_is_one_failure_and_the_longest_wait_asked_for_is_kept(
    link: Link, asked: list[float | None], waits: float
) -> None:
    for seconds in asked:
        link.judge(put_off(seconds), NOW)
    assert rest(link) == waits


def test_a_link_that_is_put_off_again_and_again_waits_longer_each_time(link: Link) -> None:
    waits = []
    now = NOW
    for _ in range(8):
        for _ in range(WINDOW):
            link.judge(put_off(0.0), now)
        waits.append(next(n for n in range(1000) if link.room(0, now + timedelta(seconds=n))))
        now += timedelta(seconds=waits[-1])
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_throttled_windowful_alarms_nobody_and_a_minute_s_rest_does(link: Link, alarms: Raised) -> None:
    for _ in range(WINDOW):
        link.judge(put_off(2.0), NOW)
    link.tell()
    assert alarms.keys == set()
    link.judge(put_off(60.0), NOW)
    link.tell()
    assert alarms.keys == {"gateway:fake"}
    link.judge(TAKEN, NOW)
    link.tell()
    assert alarms.keys == set()
