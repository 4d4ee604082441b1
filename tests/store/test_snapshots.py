"""What polling is promised by the store, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from smsd.adapters.store.engine import Database
from smsd.adapters.store.journal import Journal
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.adapters.store.views import Views
from smsd.core.model import MessageState, Reason, Transition
from smsd.services.ports import RunKey
from tests.store.drafts import (
    AGENCY,
    MINUTE,
    a_draft,
    keep_agency,
    keep_dossier,
    keep_message,
    later,
    the_message,
)
from tests.support.builders import NOW, a_dossier, a_tracked

S = MessageState


@pytest.fixture
def store(database: Database) -> SnapshotStore:
    return SnapshotStore(database)


def known(store: SnapshotStore, agency: str = AGENCY) -> list[int]:
    return list(store.digests(agency).unseen())


def test_an_agency_is_remembered_and_changed_key_by_key(store: SnapshotStore) -> None:
    assert store.agency(AGENCY) is None
    with store.transaction(AGENCY) as tx:
        tx.save_agency(mode="live", interval=MINUTE)
        tx.save_agency(last_good_at=NOW, failures=3)
    record = store.agency(AGENCY)
    assert record is not None
    assert (record.mode, record.interval, record.last_good_at, record.failures) == ("live", MINUTE, NOW, 3)
    assert (record.baseline_wanted, record.baseline_at) == (False, None)
    assert [one.id for one in store.agencies()] == [AGENCY]


def test_dossiers_come_back_as_they_were_put(database: Database, store: SnapshotStore) -> None:
    whole = a_tracked(
        a_dossier("H1", status=None, procedure_name=None, resolved_at=NOW),
        "closed",
        entry=7,
        done_since=later(-5),
    )
    with store.transaction(AGENCY) as tx:
        tx.put([(whole, -(2**63))])
        assert tx.tracked(["H1", "H2"]) == {"H1": (whole, -(2**63))}
    assert known(store) == [-(2**63)]
    assert known(store, "another") == []


def test_putting_again_replaces_and_brings_back_what_was_gone(store: SnapshotStore) -> None:
    with store.transaction(AGENCY) as tx:
        tx.put([(a_tracked(a_dossier("H1")), 1)])
        tx.set_gone(["H1"], 2, NOW)
        gone = tx.tracked(["H1"])["H1"][0]
        assert (gone.gone, gone.missing_reads) == (True, 2)
    assert known(store) == []
    with store.transaction(AGENCY) as tx:
        tx.put([(a_tracked(a_dossier("H1", step="Ký"), entry=2), 5)])
        back, row_digest = tx.tracked(["H1"])["H1"]
        assert (back.gone, back.missing_reads, back.dossier.step, back.entry, row_digest) == (
            False,
            0,
            "Ký",
            2,
            5,
        )


def test_many_codes_are_found_in_few_statements(store: SnapshotStore) -> None:
    rows = [(a_tracked(a_dossier(f"H{n}")), n) for n in range(1201)]
    with store.transaction(AGENCY) as tx:
        tx.put(rows)
        assert len(tx.tracked([f"H{n}" for n in range(1300)])) == 1201
        assert tx.codes_of(list(range(1190, 1300))) == {f"H{n}": (0, n) for n in range(1190, 1201)}
        assert sum(len(block) for block in tx.all_tracked()) == 1201


def test_missing_reads_are_counted_and_forgotten(store: SnapshotStore) -> None:
    with store.transaction(AGENCY) as tx:
        tx.put([(a_tracked(a_dossier(code)), n) for n, code in enumerate("ABC")])
        tx.set_missing(["A", "B"], 1)
        assert tx.missing() == {"A", "B"}
        tx.set_missing(["A"], 0)
        tx.set_gone(["B"], 2, NOW)
        assert tx.missing() == set()
        assert tx.codes_of([0, 1, 2]) == {"A": (0, 0), "C": (0, 2)}


def test_dossiers_due_in_a_span_are_found_whole(store: SnapshotStore) -> None:
    day = timedelta(days=1)
    with store.transaction(AGENCY) as tx:
        tx.put(
            [
                (a_tracked(a_dossier("first", due_at=NOW)), 1),
                (a_tracked(a_dossier("end", due_at=NOW + day)), 2),
                (a_tracked(a_dossier("before", due_at=NOW - timedelta(microseconds=1))), 3),
                (a_tracked(a_dossier("last", due_at=NOW + day - timedelta(microseconds=1))), 4),
                (a_tracked(a_dossier("never", due_at=None)), 5),
                (a_tracked(a_dossier("missing", due_at=NOW)), 6),
                (a_tracked(a_dossier("gone", due_at=NOW)), 7),
            ]
        )
        tx.set_missing(["missing"], 1)
        tx.set_gone(["gone"], 2, NOW)
        found = [t.dossier.code for block in tx.due_between(NOW, NOW + day) for t in block]
        assert sorted(found) == ["first", "last"]
        found = [t.dossier.code for block in tx.due_between(NOW, NOW + day, present=False) for t in block]
        assert sorted(found) == ["first", "last", "missing"]


def test_positions_change_without_the_row(store: SnapshotStore) -> None:
    with store.transaction(AGENCY) as tx:
        tx.put([(a_tracked(a_dossier("H1")), 9)])
        moved = replace(tx.tracked(["H1"])["H1"][0], position="closed", entry=2, done_since=NOW)
        tx.put_positions([moved])
        assert tx.tracked(["H1"])["H1"] == (moved, 9)


def test_one_agency_s_transaction_touches_no_other(database: Database, store: SnapshotStore) -> None:
    keep_dossier(database, "H1", agency="cam-ranh")
    message = keep_message(database, "H1", "cam-ranh")
    with store.transaction(AGENCY) as tx:
        tx.set_gone(["H1"], 2, NOW)
        assert tx.messages_of(["H1"]) == {}
        assert tx.unsent({S.QUEUED}) == []
        assert tx.hold("batch", NOW) == 0
    assert the_message(database, message).state is S.QUEUED
    assert len(known(store, "cam-ranh")) == 1


def test_a_transaction_that_raises_leaves_nothing(database: Database, store: SnapshotStore) -> None:
    with pytest.raises(KeyError), store.transaction(AGENCY) as tx:
        tx.save_agency(mode="live", interval=MINUTE)
        tx.put([(a_tracked(a_dossier("H1")), 1)])
        tx.add([(a_tracked(a_dossier("H1")), a_draft(), MINUTE)], "batch")
        raise KeyError
    assert store.agency(AGENCY) is None
    with store.transaction(AGENCY) as tx:
        assert (tx.tracked(["H1"]), tx.messages_of(["H1"])) == ({}, {})


def test_the_same_message_cannot_be_made_twice(database: Database, store: SnapshotStore) -> None:
    keep_message(database, "H1")
    with pytest.raises(IntegrityError):
        keep_message(database, "H1")


def test_messages_of_a_dossier_come_oldest_first(database: Database, store: SnapshotStore) -> None:
    keep_message(database, "H1", occurrence="2", made_at=later(2))
    keep_message(database, "H1", occurrence="1", made_at=later(1))
    with store.transaction(AGENCY) as tx:
        assert [m.occurrence for m in tx.messages_of(["H1"])["H1"]] == ["1", "2"]


@pytest.mark.parametrize("state", list(MessageState))
def test_ending_is_compare_and_set(database: Database, store: SnapshotStore, state: MessageState) -> None:
    id_ = keep_message(database, "H1", state=state)
    with store.transaction(AGENCY) as tx:
        ended = tx.end([id_], {S.QUEUED, S.HELD}, S.SUPPRESSED, Reason.OFF, later(1), detail="why")
    message = the_message(database, id_)
    if state in (S.QUEUED, S.HELD):
        assert (ended, message.state, message.reason) == (1, S.SUPPRESSED, Reason.OFF)
        assert (message.final_at, message.detail) == (later(1), "why")
    else:
        assert (ended, message.state, message.final_at) == (0, state, None)


def test_a_batch_is_held_but_for_what_is_no_longer_queued(database: Database, store: SnapshotStore) -> None:
    queued = keep_message(database, "H1")
    sending = keep_message(database, "H2", state=S.SENDING)
    other = keep_message(database, "H3", batch="another")
    with store.transaction(AGENCY) as tx:
        assert not tx.any_held()
        assert tx.hold("batch", later(1)) == 1
        assert tx.any_held()
    states = [the_message(database, id_).state for id_ in (queued, sending, other)]
    assert states == [S.HELD, S.SENDING, S.QUEUED]
    assert the_message(database, queued).held_at == later(1)


def test_a_new_number_is_given_to_what_was_not_sent(database: Database, store: SnapshotStore) -> None:
    queued = keep_message(database, "H1")
    sending = keep_message(database, "H2", state=S.SENDING)
    with store.transaction(AGENCY) as tx:
        for id_ in (queued, sending):
            tx.set_phone(id_, "84912345678", {S.QUEUED}, NOW)
    assert the_message(database, queued).phone == "84912345678"
    assert the_message(database, sending).phone == "84905123456"


def test_a_run_finished_with_a_read_is_over(database: Database, store: SnapshotStore) -> None:
    day = date(2026, 8, 3)
    with store.transaction(AGENCY) as tx:
        assert not tx.run_is_over("apology", day)
        tx.finish_run("apology", day, "done", NOW, "3 made")
        assert tx.run_is_over("apology", day)
    run = Journal(database).run(RunKey("apology", AGENCY, day))
    assert (run.state, run.detail, run.over) == ("done", "3 made", True)


def test_transitions_are_kept_in_order(database: Database, store: SnapshotStore) -> None:
    tracked = keep_dossier(database, "H1")
    keep_agency(database)
    with store.transaction(AGENCY) as tx:
        tx.record([(tracked, Transition(None, "in_progress", NOW), "read")])
        tx.record([(tracked, Transition("in_progress", "closed", later(1)), "configuration")])
        tx.record_gone(["H1"], later(2))
    (found,) = Views(database).trace("H1")
    assert [(t["went_to"], t["cause"]) for t in found["transitions"]] == [
        ("in_progress", "read"),
        ("closed", "configuration"),
        (None, "gone"),
    ]


def test_instants_keep_their_microseconds_and_any_year(store: SnapshotStore) -> None:
    edges = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), NOW.replace(microsecond=1)]
    with store.transaction(AGENCY) as tx:
        tx.put([(a_tracked(a_dossier(f"H{n}", due_at=edge)), n) for n, edge in enumerate(edges)])
        found = [tx.tracked([f"H{n}"])[f"H{n}"][0].dossier.due_at for n in range(3)]
    assert found == edges


def test_names_that_operators_choose_may_be_long(database: Database, store: SnapshotStore) -> None:
    name = "a" * 300
    keep_agency(database, name, source=name, positions=name, error_code=name)
    keep_dossier(database, "H1", name, agency=name)
    id_ = keep_message(database, "H1", name, kind=name, columns={"gateway": name})
    with store.transaction(name) as tx:
        tx.record([(a_tracked(a_dossier("H1"), name), Transition(name, name, NOW), "read")])
    assert (the_message(database, id_).kind, the_message(database, id_).gateway) == (name, name)
