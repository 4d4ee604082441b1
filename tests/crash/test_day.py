"""Stopped after any store write and around any gateway call, a day's messages are neither lost nor doubled unmarked."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
import structlog

from smsd.core.model import MessageState
from smsd.core.outbox import FOLLOWERS
from tests.crash.day import Day

EXPECTED = Counter(
    {
        ("A", "result_ready"): 1,
        ("B", "supplement"): 1,
        ("B", "result_ready"): 1,
        ("C", "result_ready"): 1,
        ("DUE", "apology"): 1,
        ("DUE", "result_ready"): 1,
    }
)
SHARES = 4
"""The days are lived in so many tests, so that several processes can share them."""


def lived(folder: Path, crash_at: int, *, repeats_safely: bool) -> Day:
    day = Day(folder, crash_at, repeats_safely=repeats_safely)
    with structlog.testing.capture_logs():
        day.run()
    return day


@pytest.mark.parametrize("share", range(SHARES))
def test_a_crash_anywhere_loses_nothing_and_doubles_nothing_unmarked(tmp_path: Path, share: int) -> None:
    points = whole_day(tmp_path, repeats_safely=False)
    assert len(points) > 60
    assert set(points) == {"before a commit", "after a commit", "before the gateway", "after the gateway"}
    for crash_at in range(1 + share, len(points) + 1, SHARES):
        day = lived(tmp_path / str(crash_at), crash_at, repeats_safely=False)
        where = f"crashed at {crash_at}: {day.crashes}"
        assert day.crashes == [points[crash_at - 1]], where
        doubled = {key for key, times in day.arrived().items() if times > 1}
        assert day.arrived().keys() == EXPECTED.keys(), where
        assert max(day.arrived().values()) <= 2, where
        assert doubled <= day.marked(), where
        assert len(day.marked()) <= 3, where  # no more than a windowful was under way
        _assert_lawful(day)
        day.stage.database.close()


def test_where_the_gateway_tells_repeats_apart_a_crash_around_it_doubles_and_marks_nothing(
    tmp_path: Path,
) -> None:
    points = whole_day(tmp_path, repeats_safely=True)
    around = [n for n, name in enumerate(points, start=1) if "gateway" in name]
    assert len(around) == 2 * EXPECTED.total()
    for crash_at in sorted({n for at in around for n in (at, at + 1)}):
        day = lived(tmp_path / str(crash_at), crash_at, repeats_safely=True)
        assert day.crashes == [points[crash_at - 1]]
        assert (day.arrived(), day.marked()) == (EXPECTED, set()), f"crashed at {crash_at}"
        _assert_lawful(day)
        day.stage.database.close()


def whole_day(tmp_path: Path, *, repeats_safely: bool) -> list[str]:
    """A day without a crash goes as it should; where it could be cut off."""
    day = lived(tmp_path / "whole", 0, repeats_safely=repeats_safely)
    assert (day.arrived(), day.marked()) == (EXPECTED, set())
    day.stage.database.close()
    return day.fuse.points


def _assert_lawful(day: Day) -> None:
    """No message is on its way any more, and each got where it is by lawful steps."""
    for message in day.stage.messages():
        assert message.state in {
            MessageState.ACCEPTED,
            MessageState.DELIVERED,
            MessageState.SUPPRESSED,
            MessageState.SUPERSEDED,
        }
        events = [MessageState(state) for state in day.stage.events(message.id)]
        steps = itertools.pairwise(events)
        assert all(after is before or after in FOLLOWERS[before] for before, after in steps)
