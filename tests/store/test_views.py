"""What people are shown of the store, on both databases."""

from __future__ import annotations

from smsd.adapters.store.engine import Database
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.adapters.store.views import Views
from smsd.core.model import MessageState, Reason
from tests.store.drafts import AGENCY, keep_agency, keep_dossier, keep_message, later
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
