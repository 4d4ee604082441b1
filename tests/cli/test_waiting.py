"""Why messages wait, as `smsd status` counts it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smsd.adapters.store.views import QueuedGroup
from smsd.cli.waiting import Surroundings, Why, in_words, waiting

NOON = datetime(2026, 8, 3, 5, tzinfo=UTC)  # 12:00 in Việt Nam
MINUTE = timedelta(minutes=1)
AROUND = Surroundings(
    now=NOON,
    zone=ZoneInfo("Asia/Ho_Chi_Minh"),
    opens=time(7),
    closes=time(21),
    daemon_works=True,
    alarms=(),
    rates={"kannel": None},
)
NIGHT = replace(AROUND, now=NOON + timedelta(hours=10))


def queued(messages: int = 1, **changes: Any) -> QueuedGroup:
    values: dict[str, Any] = {
        "agency": "nha-trang",
        "settle": 2 * MINUTE,
        "later": False,
        "tried": False,
        "missing": False,
        "messages": messages,
        "first_at": NOON - MINUTE,
    }
    return QueuedGroup(**(values | changes))


def an_agency(read_at: datetime = NOON, mode: str = "live", **queue: int) -> dict[str, Any]:
    return {"mode": mode, "last_good_at": read_at, "interval": MINUTE, "queue": queue}


def told(*groups: QueuedGroup, around: Surroundings = AROUND, **agency: Any) -> str:
    record = an_agency(**{"read_at": around.now, **agency})
    return in_words(waiting(groups, {"nha-trang": record}, around), around)


def test_nothing_is_told_where_nothing_waits() -> None:
    assert told() == ""


@pytest.mark.parametrize(
    ("group", "around", "said"),
    [
        (queued(), AROUND, "1 (1 due now)"),
        (queued(), replace(AROUND, rates={"kannel": 10.0}), "1 (1 due now, at 10 segments a second)"),
        (queued(later=True), AROUND, "1 (1 settling)"),
        (queued(later=True, tried=True), AROUND, "1 (1 after a failed try)"),
        (queued(missing=True), AROUND, "1 (1 whose dossier the last read missed)"),
        (queued(), NIGHT, "1 (1 until 07:00)"),
        (queued(later=True), NIGHT, "1 (1 settling)"),
        (queued(), replace(AROUND, alarms={"gateway:kannel"}), "1 (1 until the gateway is well again)"),
        (queued(), replace(AROUND, alarms={"gateway:kannel"}, rates={"kannel": None, "smpp": 5}),
         "1 (1 due now, at 5 segments a second)"),
        (queued(), replace(AROUND, alarms={"clock"}), "1 (1 until the clock can be true)"),
        (queued(), replace(AROUND, daemon_works=False), "1 (1 until the daemon works)"),
    ],
)  # fmt: skip
def test_a_queued_message_waits_for_one_thing(group: QueuedGroup, around: Surroundings, said: str) -> None:
    assert told(group, around=around) == said


@pytest.mark.parametrize(
    ("minutes", "said"), [(4, "1 (1 due now)"), (5, "1 (1 until a good read of nha-trang)")]
)
def test_a_read_is_too_old_where_the_outbox_takes_it_for_too_old(minutes: int, said: str) -> None:
    """`settle` + 2 × `interval`, as a claim counts it."""
    assert told(queued(), read_at=NOON - minutes * MINUTE) == said


@pytest.mark.parametrize("mode", ["shadow", "off"])
def test_an_agency_that_is_not_live_is_told(mode: str) -> None:
    assert told(queued(), mode=mode) == "1 (1 of an agency that is not live)"


def test_what_waits_for_the_same_is_counted_together_and_all_of_it_adds_up() -> None:
    groups = [
        queued(9, later=True),
        queued(3),
        queued(2, agency="cam-ranh"),
        queued(1, agency="cam-ranh", later=True),
    ]
    agencies = {
        "nha-trang": an_agency(NIGHT.now, queued=12, held=4, sending=1),
        "cam-ranh": an_agency(NIGHT.now, queued=3, held=1, unknown=2),
    }
    found = waiting(groups, agencies, NIGHT)
    assert in_words(found, NIGHT) == (
        "23 (10 settling, 5 until 07:00, 5 held for a decision (smsd held), 2 whose answer was lost, "
        "1 being handed over)"
    )
    assert [(one.why, one.messages, one.agencies) for one in found][:2] == [
        (Why.SETTLING, 10, ["nha-trang", "cam-ranh"]),
        (Why.SENDING_HOURS, 5, ["nha-trang", "cam-ranh"]),
    ]


def test_the_next_opening_is_of_this_day_or_of_the_next() -> None:
    for hours_before_noon, day in ((6, 3), (-10, 4)):
        around = replace(AROUND, now=NOON - timedelta(hours=hours_before_noon))
        (one,) = waiting([queued()], {"nha-trang": an_agency(around.now)}, around)
        assert one.until == datetime(2026, 8, day, 7, tzinfo=AROUND.zone)
