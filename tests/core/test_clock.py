"""Days and times of day of one zone, as instants."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.clock import SystemClock, at_time, day_bounds, local_day, within_hours
from tests.support.builders import ZONE, local

ZONES = [ZONE, ZoneInfo("UTC"), ZoneInfo("Europe/Berlin"), ZoneInfo("America/St_Johns")]
days = st.dates(date(1980, 1, 1), date(2100, 1, 1))
instants = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def test_the_systems_clock_tells_aware_instants_in_utc_that_do_not_run_back() -> None:
    first, then = SystemClock().now(), SystemClock().now()
    assert first.utcoffset() == timedelta(0)
    assert first <= then < first + timedelta(minutes=1)


def test_a_day_in_khanh_hoa_begins_seven_hours_before_utc() -> None:
    assert day_bounds(date(2026, 8, 3), ZONE) == (
        datetime(2026, 8, 2, 17, tzinfo=UTC),
        datetime(2026, 8, 3, 17, tzinfo=UTC),
    )
    assert at_time(date(2026, 8, 3), time(17, 30), ZONE) == datetime(2026, 8, 3, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        (datetime(2026, 8, 2, 16, 59, 59, tzinfo=UTC), date(2026, 8, 2)),
        (datetime(2026, 8, 2, 17, tzinfo=UTC), date(2026, 8, 3)),
    ],
)
def test_an_instant_belongs_to_the_zones_day(instant: datetime, day: date) -> None:
    assert local_day(instant, ZONE) == day


@given(instants, st.sampled_from(ZONES))
def test_every_instant_lies_in_exactly_its_own_day(instant: datetime, zone: ZoneInfo) -> None:
    day = local_day(instant, zone)
    begins, ends = day_bounds(day, zone)
    assert begins <= instant < ends
    assert begins.utcoffset() == ends.utcoffset() == timedelta(0)


@given(days, st.sampled_from(ZONES))
def test_a_day_ends_where_the_next_begins(day: date, zone: ZoneInfo) -> None:
    assert day_bounds(day, zone)[1] == day_bounds(day + timedelta(days=1), zone)[0]


def test_a_day_on_which_clocks_are_changed_has_its_own_length() -> None:
    begins, ends = day_bounds(date(2026, 3, 29), ZoneInfo("Europe/Berlin"))
    assert ends - begins == timedelta(hours=23)


@pytest.mark.parametrize(
    ("moment", "opens", "closes", "within"),
    [
        ("06:00", time(6), time(22), True),
        ("05:59", time(6), time(22), False),
        ("21:59", time(6), time(22), True),
        ("22:00", time(6), time(22), False),
        ("23:00", time(20), time(2), True),
        ("01:59", time(20), time(2), True),
        ("02:00", time(20), time(2), False),
        ("19:59", time(20), time(2), False),
        ("03:00", time(0), time(0), True),
        ("12:00", time(7), time(7), True),
    ],
)
def test_hours_are_half_open_and_may_span_midnight(
    moment: str, opens: time, closes: time, within: bool
) -> None:
    assert within_hours(local(f"2026-08-03 {moment}"), opens, closes, ZONE) is within


@given(instants, st.times(), st.times())
def test_an_instant_is_in_the_hours_or_in_those_between_them(
    instant: datetime, opens: time, closes: time
) -> None:
    inside = within_hours(instant, opens, closes, ZONE)
    assert inside or opens != closes
    if opens != closes:
        assert within_hours(instant, closes, opens, ZONE) is not inside
