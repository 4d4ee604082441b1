"""What people are shown of the store, on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy.event import listen

from smsd.adapters.store.engine import Database
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.adapters.store.views import QueuedGroup, Views
from smsd.core.model import MessageState, Reason
from tests.store.drafts import AGENCY, MINUTE, SETTLE, keep_agency, keep_dossier, keep_message, later
from tests.support.builders import NOW


def test_agencies_are_shown_with_their_dossiers_and_what_is_on_its_way(database: Database) -> None:
    keep_agency(database)
    keep_agency(database, "empty")
    for n in range(3):
        keep_dossier(database, f"H{n}")
    with SnapshotStore(database).transaction(AGENCY) as tx:
        tx.set_gone(["H2"], 2, NOW)
    keep_message(database, "H0")
    keep_message(database, "H1", state=MessageState.HELD)
    keep_message(database, "H2", state=MessageState.DELIVERED, columns={"final_at": NOW})
    empty, full = Views(database).agencies()
    assert (empty["id"], empty["dossiers"], empty["queue"]) == ("empty", 0, {})
    assert (full["id"], full["dossiers"], full["queue"]) == (AGENCY, 2, {"queued": 1, "held": 1})


def test_totals_count_what_was_made_since(database: Database) -> None:
    keep_message(database, "H0", made_at=later(-1))
    keep_message(database, "H1", segments=3, state=MessageState.ACCEPTED)
    keep_message(database, "H2", state=MessageState.SUPPRESSED, columns={"reason": Reason.STALE})
    views = Views(database)
    assert sorted(views.message_totals(NOW)) == [
        (AGENCY, "result_ready", "accepted", "", 1),
        (AGENCY, "result_ready", "suppressed", "stale", 1),
    ]
    assert views.segments_taken(NOW) == {AGENCY: 3}


def test_the_message_that_waits_longest_is_known(database: Database) -> None:
    views = Views(database)
    assert views.oldest_queued() is None
    keep_message(database, "H0", next_at=later(5))
    keep_message(database, "H1", next_at=later(3))
    keep_message(database, "H2", next_at=later(1), state=MessageState.SENDING)
    assert views.oldest_queued() == later(3)


def test_queued_messages_are_counted_in_groups_that_wait_alike(database: Database) -> None:
    views = Views(database)
    assert views.queued(NOW) == []
    keep_agency(database)
    for n in range(7):
        keep_dossier(database, f"H{n}")
    with SnapshotStore(database).transaction(AGENCY) as tx:
        tx.set_missing(["H5"], 1)
    keep_message(database, "H0", next_at=later(2))
    keep_message(database, "H1", next_at=later(1))
    keep_message(database, "H2", next_at=later(1), columns={"attempts": 1})
    keep_message(database, "H3", next_at=NOW)
    keep_message(database, "H4", next_at=NOW, settle=MINUTE)
    keep_message(database, "H5", next_at=NOW)
    keep_message(database, "H6", state=MessageState.HELD)
    keep_message(database, "H6", agency="cam-ranh", state=MessageState.SUPERSEDED, columns={"final_at": NOW})
    assert views.queued(NOW) == [
        QueuedGroup(AGENCY, MINUTE, later=False, tried=False, missing=False, messages=1, first_at=NOW),
        QueuedGroup(AGENCY, SETTLE, later=False, tried=False, missing=False, messages=1, first_at=NOW),
        QueuedGroup(AGENCY, SETTLE, later=False, tried=False, missing=True, messages=1, first_at=NOW),
        QueuedGroup(AGENCY, SETTLE, later=True, tried=False, missing=False, messages=2, first_at=later(1)),
        QueuedGroup(AGENCY, SETTLE, later=True, tried=True, missing=False, messages=1, first_at=later(1)),
    ]


def test_counting_what_is_queued_never_reads_what_has_ended(tmp_path: Path) -> None:
    """Years of records cost it nothing: it goes by the index of what is open, and by the dossiers' keys."""
    database = Database(f"sqlite:///{tmp_path / 'smsd.db'}")
    database.open()
    asked: list[tuple[str, Any]] = []
    listen(database.engine, "before_cursor_execute", lambda *told: asked.append((told[2], told[3])))
    Views(database).queued(NOW)
    ((query, values),) = [one for one in asked if "messages" in one[0]]
    with database.reading() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values).all()
    steps = [step for *_, step in plan]
    database.close()
    assert any("ix_messages_open_" in step for step in steps), steps
    assert not [step for step in steps if step.startswith("SCAN") and "ix_messages_open_" not in step], steps


def test_a_code_is_traced_in_every_agency_exact_before_folded(database: Database) -> None:
    keep_agency(database)
    keep_dossier(database, "H1")
    keep_dossier(database, "h1", agency="cam-ranh")
    id_ = keep_message(database, "H1")
    views = Views(database)
    (found,) = views.trace("H1")
    assert (found["dossier"]["agency"], found["agency"]["id"]) == (AGENCY, AGENCY)
    (message,) = found["messages"]
    assert (message["id"], message["phone_masked"]) == (id_, "0905***456")
    assert "phone" not in message
    assert [event["state"] for event in message["events"]] == ["queued"]
    assert [one["dossier"]["agency"] for one in views.trace(" H 1 ")] == ["cam-ranh", AGENCY]
    assert views.trace("nobody") == []
