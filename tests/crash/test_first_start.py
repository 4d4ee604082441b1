"""A process that ends anywhere in its first start, while it makes the store, leaves nothing that hinders the next."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.nursery import a_nursery
from tests.crash.points import CRASHED, spread
from tests.support.reliability import Record

PLAIN = 9
"""How many of the points are visited among all tests; the table visits every one."""
LOOKS = (
    "SELECT type, name, sql FROM sqlite_master ORDER BY type, name",
    "SELECT version_num FROM alembic_version",
    "SELECT code, position FROM dossiers ORDER BY code",
    "SELECT id, baseline_at IS NOT NULL, baseline_wanted FROM agencies",
    "SELECT count(*) FROM messages",
    "PRAGMA integrity_check",
)


def store_at(path: Path) -> list[list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as store:
        return [store.execute(look).fetchall() for look in LOOKS]


@pytest.mark.reliability
def test_a_crash_anywhere_in_the_first_start_is_made_good_by_the_next(reliability: Record) -> None:
    slowest = 0.0
    with a_nursery(first_start=True) as nursery:
        whole = nursery.live()
        expected = store_at(nursery.places.store)
        assert (whole.ended, expected[2][0], expected[4]) == ([0], ("DUE", "in_progress"), [(0,)])
        visited = spread(whole.points, reliability.times(PLAIN, len(whole.points)))
        for at in visited:
            started = time.monotonic()
            day = nursery.live(at)
            slowest = max(slowest, time.monotonic() - started)
            where = f"crashed at point {at} of {len(whole.points)}: {day.crash}\n{nursery.log()}"
            assert day.ended == [CRASHED, 0], where
            assert store_at(nursery.places.store) == expected, where
            assert not nursery.places.taken.exists(), where
    reliability.row(
        "The process ends",
        "smsd ends at each write and commit of its first start, while it makes the store",
        tried=len(visited),
        recovered=f"by itself, with the next start; {slowest:.1f} s for both at most",
    )
