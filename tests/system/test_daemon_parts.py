"""Log lines and ticks: what is told, how often, and what an error in one job does to the others."""

from __future__ import annotations

import gc
import io
import json
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import schedule
import structlog

from smsd.adapters.memory import keep_what_started
from smsd.core.errors import StoreError
from smsd.logs import Repeats, configure_for_daemon, tell_of_broken_threads
from smsd.ticks import Ticks
from tests.support.builders import FixedClock


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Where the daemon's lines go."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    configure_for_daemon(stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_unforeseen_error_is_one_line_with_its_place_and_without_a_number(log: io.StringIO) -> None:
    try:
        raise ValueError("bad number 0905123456\nsecond line: 84905123456")
    except ValueError:
        structlog.get_logger("x").exception("poll_crashed", agency="alpha")
        logging.getLogger("some.library").exception("it broke for +84905123456")
    ours, theirs = lines(log)
    assert (ours["event"], ours["agency"], ours["level"]) == ("poll_crashed", "alpha", "error")
    assert ours["error"] == "ValueError"
    assert ours["where"].startswith("test_daemon_parts.py:")
    assert theirs["level"] == "error"
    assert "Traceback" not in log.getvalue()
    assert "905123456" not in log.getvalue()
    assert "second line" not in log.getvalue()


def test_what_nobody_catches_ends_its_thread_with_a_line(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    tell_of_broken_threads()

    def break_off() -> None:
        raise LookupError("no row for 0905 123 456\nsecond line")

    thread = threading.Thread(target=break_off, name="poll-alpha")
    thread.start()
    thread.join()
    (line,) = lines(log)
    assert (line["event"], line["thread"], line["error"]) == ("thread_broke_off", "poll-alpha", "LookupError")
    assert line["detail"] == "no row for 0905***456"


def test_dossier_codes_are_not_taken_for_numbers(log: io.StringIO) -> None:
    structlog.get_logger("x").warning("bad_row", detail="000.00.12.H32-260803-0001 is repeated")
    assert lines(log)[0]["detail"] == "000.00.12.H32-260803-0001 is repeated"


def test_a_fault_that_lasts_is_told_at_first_then_ever_more_rarely() -> None:
    now = [0.0]
    repeats = Repeats(lambda: now[0])
    told: list[tuple[float, int]] = []
    for second in range(3600):
        now[0] = float(second)
        try:
            line = repeats(
                None, "error", {"level": "error", "event": "turn_failed", "at": second, "detail": "disk full"}
            )
        except structlog.DropEvent:
            continue
        told.append((second, line.get("times_since", 0)))
    assert [second for second, _ in told] == [0, 60, 180, 420, 900, 1800, 2700]
    assert sum(left_out for _, left_out in told) == 2700 - len(told) + 1


def test_a_fault_that_comes_back_after_a_pause_is_told_at_once_and_another_always() -> None:
    now = [0.0]
    repeats = Repeats(lambda: now[0])

    def told(**event: object) -> bool:
        try:
            repeats(None, "error", {"level": "error", "event": "turn_failed", **event})
        except structlog.DropEvent:
            return False
        return True

    assert told(detail="disk full")
    assert not told(detail="disk full")
    assert told(detail="locked")
    now[0] = 61.0
    assert told(detail="disk full")
    for event in ({"event": "alarm_raised"}, {"level": "warning"}):
        assert told(**event)
        assert told(**event)


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Ticks, list[float]]]:
    passed = [0.0]
    clock = FixedClock()
    base = clock.at

    class Moving:
        def now(self):  # type: ignore[no-untyped-def]
            return base + timedelta(seconds=passed[0])

    import datetime as real  # noqa: PLC0415 - `schedule` looks at the wall clock by itself

    class Wall(real.datetime):
        @classmethod
        def now(cls, tz=None):  # type: ignore[no-untyped-def, override]
            return real.datetime(2026, 8, 3, 9, 0) + timedelta(seconds=passed[0])  # noqa: DTZ001

    monkeypatch.setattr(schedule.datetime, "datetime", Wall)
    yield Ticks(Moving(), lambda: passed[0]), passed


def test_an_error_of_one_job_costs_the_others_nothing(
    ticks: tuple[Ticks, list[float]], log: io.StringIO
) -> None:
    jobs, passed = ticks
    done: list[str] = []

    def broken() -> None:
        done.append("broken")
        raise StoreError("the disk is full", code="store_unusable", hint="make room")

    jobs.every(5, "broken", broken)
    jobs.every(5, "sound", lambda: done.append("sound"))
    for second in (4.0, 5.0, 6.0, 10.0):
        passed[0] = second
        jobs.run()
    assert sorted(done) == ["broken", "broken", "sound", "sound"]
    [line] = lines(log)
    assert (line["event"], line["tick"], line["code"], line["hint"]) == (
        "tick_failed",
        "broken",
        "store_unusable",
        "make room",
    )


def test_what_is_there_once_all_is_started_is_kept_from_the_collector() -> None:
    threshold = gc.get_threshold()
    try:
        keep_what_started()
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)
