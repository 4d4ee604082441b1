"""What a day left behind: what arrived, what the store says of it, the reports, the backup."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from smsd.core.model import MessageState
from smsd.core.outbox import FOLLOWERS
from tests.crash.day import SEAL, Places
from tests.crash.points import lines_of

Key = tuple[str, str]
"""A dossier and the kind of a message."""
_ENDINGS = ("delivered", "accepted", "failed", "suppressed", "superseded", "pending")


@dataclass(frozen=True)
class Outcome:
    """One day's end. Two days went alike if all but ``marked`` and doubled arrivals are equal."""

    arrived: Counter[Key]
    marked: frozenset[Key]
    messages: Counter[tuple[str, str, str, str]]
    """Every message made: dossier, kind, state, reason."""
    reports: dict[str, bytes]
    """Every file in the folder of reports by its name, without the head of the audit."""
    answers: dict[str, str]
    """What citizens were told, by the provider's id."""
    inquiries: int
    """How many look-ups were recorded."""
    audit: dict[str, object]
    """How many heads of the audit the reports print, and what is wrong with it or them."""

    def lost(self, expected: Outcome) -> int:
        """How many of the expected messages never arrived."""
        return sum(key not in self.arrived for key in expected.arrived)

    def doubled(self, expected: Outcome) -> Counter[Key]:
        """What arrived more often than it should, or should not have at all."""
        return self.arrived - expected.arrived


def outcome_of(places: Places) -> Outcome:
    """Read it all. Raises AssertionError for what no day may leave: unlawful states, files that are not whole."""
    with closing(sqlite3.connect(places.store)) as store:
        rows = store.execute(
            "SELECT dossier_code, kind, state, coalesce(reason, '') FROM messages"
        ).fetchall()
        query = "SELECT dossier_code, kind FROM messages WHERE possible_duplicate"
        marked = frozenset(store.execute(query).fetchall())
        inquiries = store.execute("SELECT count(*) FROM inquiries").fetchone()[0]
        _assert_lawful(store)
    _assert_backup(places.backup)
    reports = {
        str(path.relative_to(places.reports)): SEAL.sub(b"", path.read_bytes())
        for path in sorted(places.reports.rglob("*"))
        if path.is_file()
    }
    for name, content in reports.items():
        if name.endswith(".csv"):
            _assert_balanced(name, content)
    return Outcome(
        arrived=Counter((line["code"], line["kind"]) for line in lines_of(places.taken)),
        marked=marked,
        messages=Counter(rows),
        reports=reports,
        answers={line["id"]: line["text"] for line in lines_of(places.answered)},
        inquiries=inquiries,
        audit=json.loads(places.audit.read_text()),
    )


def _assert_lawful(store: sqlite3.Connection) -> None:
    """Every message got where it is by steps the state machine allows, and none is on its way any more."""
    events: dict[str, list[MessageState]] = {}
    for message, state in store.execute(
        "SELECT message_id, state FROM message_events WHERE message_id <> '' ORDER BY id"
    ):
        events.setdefault(message, []).append(MessageState(state))
    for states in events.values():
        steps = itertools.pairwise(states)
        assert all(after is before or after in FOLLOWERS[before] for before, after in steps), states
    on_their_way = "SELECT state FROM messages WHERE state IN ('queued', 'held', 'sending', 'unknown')"
    assert store.execute(on_their_way).fetchall() == []


def _assert_backup(path: Path) -> None:
    """The copy is whole, marked as one, and nothing of an earlier try lies beside it."""
    with closing(sqlite3.connect(path)) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM meta WHERE key = 'restored_from_backup'").fetchone() == (1,)
    assert list(path.parent.glob("*.part")) == []


def _assert_balanced(name: str, content: bytes) -> None:
    """A CSV file is whole: every row has every cell, and what became of messages adds up to those made."""
    header, *rows = csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    assert content.endswith(b"\r\n"), name
    assert all(len(row) == len(header) for row in rows), name
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        for kind in (column.removesuffix("_made") for column in header if column.endswith("_made")):
            ended = sum(int(cells[f"{kind}_{ending}"]) for ending in _ENDINGS)
            assert ended == int(cells[f"{kind}_made"]), (name, kind)
