"""When agencies are read: within the interval, and apart from one another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.services.timetable import FIRST_STEP, FIRST_WITHIN, Timetable, wait_until_own_instant
from tests.support.builders import NOW

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
PILOT = [f"agency-{n:02}" for n in range(13)]

instants = st.datetimes(datetime(2024, 1, 1), datetime(2040, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
intervals = st.integers(1, 86_400).map(lambda seconds: timedelta(seconds=seconds))
phases = st.floats(0, 1, exclude_max=True)


def never(_: str) -> None:
    return None


def first_reads(intervals: dict[str, timedelta], **last: datetime) -> dict[str, timedelta]:
    """How long after a start each agency is read for the first time."""
    table = Timetable(intervals)
    table.begin(NOW, lambda agency: last.get(agency.replace("-", "_")))
    return {agency: datetime.fromtimestamp(table.due_since(agency), UTC) - NOW for agency in intervals}


@given(instants, intervals, phases)
def test_a_wait_is_never_longer_than_the_interval_nor_shorter_than_half_of_it(
    began: datetime, interval: timedelta, phase: float
) -> None:
    assert interval / 2 <= wait_until_own_instant(began, interval, phase) <= interval


@given(instants, intervals, phases)
def test_the_third_read_at_the_latest_falls_on_an_agency_s_own_instants_and_so_do_all_after_it(
    began: datetime, interval: timedelta, phase: float
) -> None:
    reads = [began]
    for _ in range(6):
        reads.append(reads[-1] + wait_until_own_instant(reads[-1], interval, phase))

    assert {after - before for before, after in pairwise(reads[3:])} == {interval}


@given(instants, intervals, phases, st.floats(0, 0.5))
def test_a_read_that_begins_late_does_not_move_those_after_it(
    began: datetime, interval: timedelta, phase: float, late: float
) -> None:
    own = began
    for _ in range(3):
        own += wait_until_own_instant(own, interval, phase)
    begins = own + interval * late

    assert begins + wait_until_own_instant(begins, interval, phase) == own + interval


@pytest.mark.parametrize("interval", [MINUTE, 5 * MINUTE, 20 * SECOND])
def test_agencies_of_one_interval_are_read_evenly_spread_over_it(interval: timedelta) -> None:
    table = Timetable(dict.fromkeys(PILOT, interval))
    table.begin(NOW, never)
    due = {}
    for agency in PILOT:
        for _ in range(4):
            table.follow(agency, datetime.fromtimestamp(table.due_since(agency), UTC))
        due[agency] = table.due_since(agency) % interval.total_seconds()

    ordered = sorted(due.values())
    gaps = [b - a for a, b in pairwise([*ordered, ordered[0] + interval.total_seconds()])]
    assert min(gaps) > 0.99 * interval.total_seconds() / 13
    assert max(gaps) < 1.01 * interval.total_seconds() / 13


def test_the_first_reads_come_a_second_apart_and_all_of_them_soon() -> None:
    waits = first_reads(dict.fromkeys(PILOT, MINUTE))

    assert sorted(waits.values()) == [n * FIRST_STEP for n in range(13)]
    assert first_reads({"only": MINUTE}) == {"only": timedelta(0)}
    many = first_reads({f"a{n}": MINUTE for n in range(200)})
    assert len(set(many.values())) == 200
    assert max(many.values()) < FIRST_WITHIN
    assert max(first_reads({f"a{n}": SECOND for n in range(5)}).values()) < SECOND


def test_a_start_soon_after_the_last_read_keeps_the_interval_too() -> None:
    last = {"agency_12": NOW - 58 * SECOND, "agency_11": NOW - 61 * SECOND, "agency_10": NOW + MINUTE}
    waits = first_reads(dict.fromkeys(PILOT, MINUTE), **last)

    assert waits["agency-12"] == 2 * SECOND
    assert waits["agency-11"] == 11 * SECOND, "it is late anyway"
    assert waits["agency-10"] == 10 * SECOND, "the clock was set back"


def test_an_agency_that_is_read_no_more_has_no_next_read() -> None:
    table = Timetable({"one": MINUTE})
    table.follow("gone", NOW)
    table.begin(NOW, never)

    assert table.due_since("gone") == 0
    assert table.due_since("one") == NOW.timestamp()
