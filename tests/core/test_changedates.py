"""Instants written as a database writes its own: what is at or after them is never missed by the comparison."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.changedates import written_like
from smsd.core.rows import parse_instant
from tests.support.builders import ZONE

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
PLUS_SEVEN = timezone(timedelta(hours=7))

SAMPLES: list[tuple[object, timedelta]] = [
    ("2026-08-03 09:00:00", SECOND),
    ("2026-08-03T09:00:00", SECOND),
    ("  2026-08-03 09:00:00 ", SECOND),
    ("2026-08-03 09:00", MINUTE),
    ("2026-08-03T09:00", MINUTE),
    ("2026-08-03 09:00:00.123", SECOND),
    ("2026-08-03 09:00:00,123456", SECOND),
    ("2026-08-03T09:00:00.1234567", SECOND),
    ("2026-08-03T02:00:00Z", 2 * SECOND),
    ("2026-08-03T02:00Z", MINUTE + SECOND),
    ("2026-08-03 09:00:00+07", 2 * SECOND),
    ("2026-08-03 09:00:00.5+07", 2 * SECOND),
    ("2026-08-03 09:00:00+0700", 2 * SECOND),
    ("2026-08-03T09:00:00+07:00", 2 * SECOND),
    ("2026-08-02T21:00:00-05:00", 2 * SECOND),
    ("2026-08-03", DAY),
    ("20260803", DAY),
    ("20260803T090000", 2 * DAY),
    ("20260803 0900", 2 * DAY),
    ("2026-08-03 02:00:00 +00:00", 3 * DAY),
    ("2026-08-03t09:00:00", 2 * DAY),
    (datetime(2026, 8, 3, 9), MICROSECOND),  # noqa: DTZ001 - as drivers give it
    (datetime(2026, 8, 3, 9, tzinfo=PLUS_SEVEN), MICROSECOND),
    (datetime(2026, 8, 3, 2, tzinfo=UTC), MICROSECOND),
    (date(2026, 8, 3), DAY),
]
INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
ZONES = st.sampled_from([ZONE, ZoneInfo("UTC"), ZoneInfo("America/New_York"), ZoneInfo("Pacific/Auckland")])


@pytest.mark.parametrize(("sample", "unit"), SAMPLES, ids=repr)
def test_an_instant_is_written_as_the_sample_is(sample: object, unit: timedelta) -> None:
    instant = datetime(2026, 8, 3, 2, 0, 30, 500_000, tzinfo=UTC)

    written = written_like(sample, instant, ZONE)

    assert type(written) is type(sample)
    read = parse_instant(written, ZONE)
    assert read is not None
    assert timedelta(0) <= instant - read < unit


@given(st.sampled_from(SAMPLES), INSTANTS, ZONES)
def test_what_is_written_is_the_instant_or_earlier_by_less_than_its_unit(
    sample: tuple[object, timedelta], instant: datetime, zone: ZoneInfo
) -> None:
    written = parse_instant(written_like(sample[0], instant, zone), zone)

    assert written is not None
    early = instant - written
    if isinstance(zone, ZoneInfo) and zone.key != "UTC":  # an hour that a clock shows twice
        assert timedelta(hours=-1) <= early < sample[1] + timedelta(hours=1)
    else:
        assert timedelta(0) <= early < sample[1]


STYLES: list[tuple[str, str, str]] = [
    ("2026-08-03 09:00:00", "%Y-%m-%d %H:%M:%S", "zone"),
    ("2026-08-03T09:00:00", "%Y-%m-%dT%H:%M:%S", "zone"),
    ("2026-08-03 09:00", "%Y-%m-%d %H:%M", "zone"),
    ("2026-08-03T09:00:00.123456", "%Y-%m-%dT%H:%M:%S.%f", "zone"),
    ("2026-08-03 09:00:00,123456", "%Y-%m-%d %H:%M:%S,%f", "zone"),
    ("2026-08-03T02:00:00Z", "%Y-%m-%dT%H:%M:%SZ", "utc"),
    ("2026-08-03T02:00:00.123456Z", "%Y-%m-%dT%H:%M:%S.%fZ", "utc"),
    ("2026-08-03 09:00:00+07", "%Y-%m-%d %H:%M:%S+07", "zone"),
    ("2026-08-03 09:00:00.123456+07:00", "%Y-%m-%d %H:%M:%S.%f+07:00", "zone"),
    ("2026-08-03 02:00:00 +00:00", "%Y-%m-%d %H:%M:%S +00:00", "utc"),
    ("2026-08-03", "%Y-%m-%d", "zone"),
    ("20260803", "%Y%m%d", "zone"),
    ("20260803T090000", "%Y%m%dT%H%M%S", "zone"),
    ("20260803 090000", "%Y%m%d %H%M%S", "zone"),
]


@given(st.sampled_from(STYLES), INSTANTS, st.timedeltas(timedelta(0), 3 * DAY))
def test_no_later_change_is_missed_by_comparing_text(
    style: tuple[str, str, str], since: datetime, later: timedelta
) -> None:
    sample, pattern, where = style
    changed = f"{(since + later).astimezone(ZONE if where == 'zone' else UTC):{pattern}}"

    assert str(written_like(sample, since, ZONE)) <= changed


@given(st.sampled_from(STYLES), INSTANTS)
def test_a_change_of_days_before_is_not_read_again(style: tuple[str, str, str], since: datetime) -> None:
    sample, pattern, where = style
    changed = f"{(since - 4 * DAY).astimezone(ZONE if where == 'zone' else UTC):{pattern}}"

    assert changed < str(written_like(sample, since, ZONE))
