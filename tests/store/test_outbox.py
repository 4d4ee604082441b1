"""What delivery is promised by the store, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from smsd.adapters.store.engine import Database
from smsd.adapters.store.outbox import OutboxStore
from smsd.adapters.store.schema import decisions, message_events
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.core.model import MessageState, Reason
from smsd.core.outbox import FOLLOWERS
from smsd.services.ports import Change
from tests.store.drafts import (
    AGENCY,
    MINUTE,
    SETTLE,
    a_draft,
    keep_agency,
    keep_dossier,
    keep_message,
    later,
    ready,
    the_message,
)
from tests.support.builders import NOW

S = MessageState
INSTANT = timedelta(microseconds=1)


@pytest.fixture
def outbox(database: Database) -> OutboxStore:
    return OutboxStore(database)


def claimed(outbox: OutboxStore, at: Any = NOW, limit: int = 100, **more: Any) -> list[str]:
    with outbox.transaction() as tx:
        return [message.id for message in tx.claim(at, limit, "fake", **more)]


def events(database: Database, id_: str) -> list[tuple[str, str | None]]:
    query = select(message_events.c.state, message_events.c.detail).where(message_events.c.message_id == id_)
    with database.reading() as connection:
        return [(state, detail) for state, detail in connection.execute(query.order_by(message_events.c.id))]


def test_what_is_due_is_claimed_once_oldest_first(database: Database, outbox: OutboxStore) -> None:
    ids = ready(database, 5)
    assert claimed(outbox, later(1), 2) == ids[:2]
    assert claimed(outbox, later(1), 9) == ids[2:]
    assert claimed(outbox, later(1)) == []
    message = the_message(database, ids[0])
    assert (message.state, message.attempts, message.gateway) == (S.SENDING, 1, "fake")
    assert events(database, ids[0]) == [("queued", None), ("sending", "try 1")]


@pytest.mark.parametrize("state", [state for state in S if state is not S.QUEUED])
def test_only_queued_messages_are_claimed(
    database: Database, outbox: OutboxStore, state: MessageState
) -> None:
    keep_agency(database)
    keep_dossier(database)
    keep_message(database, state=state)
    assert claimed(outbox) == []


@pytest.mark.parametrize(
    ("agency", "message", "is_claimed"),
    [
        ({}, {}, True),
        ({"mode": "shadow"}, {}, False),
        ({"mode": "off"}, {}, False),
        ({"last_good_at": None}, {}, False),
        ({"last_good_at": NOW - SETTLE - 2 * MINUTE}, {}, True),
        ({"last_good_at": NOW - SETTLE - 2 * MINUTE - INSTANT}, {}, False),
        ({"last_good_at": NOW - 5 * MINUTE, "interval": 5 * MINUTE}, {}, True),
        ({"last_good_at": NOW + INSTANT}, {}, False),
        ({}, {"next_at": NOW + INSTANT}, False),
        ({}, {"valid_until": NOW}, False),
        ({}, {"valid_until": NOW + INSTANT}, True),
    ],
)
def test_a_message_is_claimed_only_on_a_fresh_read_in_its_time(
    database: Database, outbox: OutboxStore, agency: dict[str, Any], message: dict[str, Any], is_claimed: bool
) -> None:
    keep_agency(database, **agency)
    keep_dossier(database)
    id_ = keep_message(database, **message)
    assert claimed(outbox) == ([id_] if is_claimed else [])


def test_messages_of_missing_or_gone_dossiers_are_not_claimed(
    database: Database, outbox: OutboxStore
) -> None:
    ids = ready(database, 3)
    with SnapshotStore(database).transaction(AGENCY) as tx:
        tx.set_missing(["H0"], 1)
        tx.set_gone(["H1"], 2, NOW)
    assert claimed(outbox, later(1)) == [ids[2]]


def test_a_claim_keeps_to_its_segments_and_lets_nobody_pass(database: Database, outbox: OutboxStore) -> None:
    keep_agency(database)
    ids = []
    for n, segments in enumerate([2, 3, 1]):
        keep_dossier(database, f"H{n}")
        ids.append(keep_message(database, f"H{n}", segments=segments, next_at=NOW + n * INSTANT))
    assert claimed(outbox, later(1), segments=1) == []
    assert claimed(outbox, later(1), segments=4) == ids[:1]
    assert claimed(outbox, later(1), segments=4) == ids[1:]


def test_there_is_something_to_do_only_when_something_is_due(database: Database, outbox: OutboxStore) -> None:
    assert not outbox.anything_to_do(NOW)
    keep_message(database, "H1", next_at=later(1))
    assert not outbox.anything_to_do(NOW)
    assert outbox.anything_to_do(later(1))


@pytest.mark.parametrize("before", list(S))
@pytest.mark.parametrize("after", list(S))
def test_changes_follow_the_one_table(
    database_once: Database, before: MessageState, after: MessageState
) -> None:
    outbox = OutboxStore(database_once)
    id_ = keep_message(database_once, f"{before}-{after}", state=before)
    change = Change(id_, before, after, later(1), "why")
    with outbox.transaction() as tx:
        if after is before or after in FOLLOWERS[before]:
            assert tx.change([change]) == 1
            assert tx.messages([id_])[id_].state is after
        else:
            with pytest.raises(ValueError, match="never followed"):
                tx.change([change])


@pytest.fixture(scope="module")
def database_once(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One store for a whole table."""
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('once') / 'smsd.db'}")
    database.open()
    yield database
    database.close()


def test_a_change_from_another_state_changes_nothing(database: Database, outbox: OutboxStore) -> None:
    first, second = (
        keep_message(database, "H1", state=S.SENDING),
        keep_message(database, "H2", state=S.UNKNOWN),
    )
    with outbox.transaction() as tx:
        changes = [
            Change(id_, S.SENDING, S.ACCEPTED, NOW, handed_over=True) for id_ in (first, second, "nobody")
        ]
        assert tx.change(changes) == 1
    assert the_message(database, second).state is S.UNKNOWN
    assert events(database, second) == [("queued", None)]


def test_what_has_ended_is_never_changed(database: Database, outbox: OutboxStore) -> None:
    id_ = keep_message(database, "H1", state=S.ACCEPTED, columns={"final_at": NOW})
    with outbox.transaction() as tx:
        assert tx.change([Change(id_, S.ACCEPTED, S.DELIVERED, NOW, final=True)]) == 0


def test_each_change_keeps_its_own_words_and_what_is_not_given_stays(
    database: Database, outbox: OutboxStore
) -> None:
    ids = [keep_message(database, f"H{n}", state=S.SENDING, columns={"attempts": 1}) for n in range(3)]
    with outbox.transaction() as tx:
        tx.change(
            [
                Change(ids[0], S.SENDING, S.ACCEPTED, later(1), "202", "smpp", "r1", handed_over=True),
                Change(ids[1], S.SENDING, S.QUEUED, later(2), "busy", next_at=later(9), failed_try=True),
                Change(ids[2], S.SENDING, S.UNKNOWN, later(3), possible_duplicate=True, phone="84912345678"),
            ]
        )
        tx.change(
            [Change(ids[0], S.ACCEPTED, S.DELIVERED, later(4), "DELIVRD", final=True, handed_over=True)]
        )
        tx.change([Change(ids[2], S.UNKNOWN, S.SUPPRESSED, later(5), reason=Reason.OFF, final=True)])
    delivered, again, marked = (the_message(database, id_) for id_ in ids)
    assert (delivered.gateway, delivered.reference, delivered.detail) == ("smpp", "r1", "DELIVRD")
    assert (delivered.handed_over_at, delivered.final_at, delivered.state_at) == (
        later(1),
        later(4),
        later(4),
    )
    assert (again.next_at, again.attempts, again.final_at, again.handed_over_at) == (later(9), 0, None, None)
    assert (marked.possible_duplicate, marked.phone, marked.reason) == (True, "84912345678", Reason.OFF)
    assert events(database, ids[2])[-1] == ("suppressed", "off")


def test_a_mark_of_possible_duplicate_is_never_taken_off(database: Database, outbox: OutboxStore) -> None:
    id_ = keep_message(database, "H1", state=S.SENDING, columns={"possible_duplicate": True})
    with outbox.transaction() as tx:
        tx.change([Change(id_, S.SENDING, S.UNKNOWN, NOW)])
    assert the_message(database, id_).possible_duplicate


def test_messages_are_listed_by_state_longest_in_it_first(database: Database, outbox: OutboxStore) -> None:
    for n in (2, 0, 1):
        keep_message(
            database,
            f"H{n}",
            state=S.UNKNOWN,
            columns={"state_at": later(n), "possible_duplicate": n == 1},
        )
    keep_message(database, "H9", state=S.SENDING)
    with outbox.looking() as tx:

        def codes(**more: Any) -> list[str]:
            return [m.dossier_code for m in tx.in_state(S.UNKNOWN, **more)]

        assert codes() == ["H0", "H1", "H2"]
        assert codes(until=later(1)) == ["H0", "H1"]
        assert codes(possible_duplicate=False) == ["H0", "H2"]
        assert codes(limit=1) == ["H0"]


def test_overdue_are_queued_and_unknown_messages_past_their_time(
    database: Database, outbox: OutboxStore
) -> None:
    for state in S:
        keep_message(database, state, state=state, valid_until=NOW)
    keep_message(database, "fresh", valid_until=NOW + INSTANT)
    with outbox.looking() as tx:
        assert sorted(m.dossier_code for m in tx.overdue(NOW)) == ["queued", "unknown"]


def test_accepted_messages_wait_for_their_receipt_since_they_were_handed_over(
    database: Database, outbox: OutboxStore
) -> None:
    keep_message(database, "old", state=S.ACCEPTED, columns={"handed_over_at": NOW})
    keep_message(database, "new", state=S.ACCEPTED, columns={"handed_over_at": NOW + INSTANT})
    keep_message(database, "ended", state=S.ACCEPTED, columns={"handed_over_at": NOW, "final_at": NOW})
    with outbox.looking() as tx:
        assert [m.dossier_code for m in tx.accepted_before(NOW)] == ["old"]


def test_held_batches_are_shown_and_decided_by_agency(database: Database, outbox: OutboxStore) -> None:
    for n in range(3):
        keep_message(
            database,
            f"H{n}",
            state=S.HELD,
            segments=2,
            columns={"held_at": later(n), "valid_until": later(100)},
        )
    other = keep_message(database, "H9", "cam-ranh", kind="apology", state=S.HELD, columns={"held_at": NOW})
    assert [(b["agency"], b["kind"], b["messages"], b["segments"], b["since"]) for b in outbox.held()] == [
        ("cam-ranh", "apology", 1, 1, NOW),
        (AGENCY, "result_ready", 3, 6, NOW),
    ]
    assert outbox.decide_held(AGENCY, release=True, os_user="lan", now=later(10)) == 3
    assert outbox.decide_held(AGENCY, release=True, os_user="lan", now=later(10)) == 0
    with SnapshotStore(database).transaction(AGENCY) as tx:
        found = [tx.messages_of([f"H{n}"])[f"H{n}"][0] for n in range(3)]
    assert {m.state for m in found} == {S.QUEUED}
    assert [m.valid_until for m in found] == [later(110), later(109), later(108)]
    assert the_message(database, other).state is S.HELD
    assert outbox.decide_held("cam-ranh", release=False, os_user="minh", now=later(10)) == 1
    assert the_message(database, other).reason is Reason.DISCARDED
    with database.reading() as connection:
        rows = connection.execute(select(decisions.c.os_user, decisions.c.action).order_by(decisions.c.id))
        assert [tuple(row) for row in rows] == [("lan", "release"), ("minh", "discard")]


def test_a_dossier_is_found_for_its_message(database: Database, outbox: OutboxStore) -> None:
    tracked = keep_dossier(database, "H0")
    id_ = keep_message(database, "H0")
    with outbox.looking() as tx:
        message = tx.message(id_)
        assert message is not None
        assert tx.tracked(message) == tracked
        assert tx.tracked(replace(message, dossier_code="nobody")) is None


def test_more_messages_than_one_statement_takes_are_claimed_and_changed(
    database: Database, outbox: OutboxStore
) -> None:
    keep_agency(database)
    tracked = keep_dossier(database, "H0")
    with SnapshotStore(database).transaction(AGENCY) as tx:
        tx.add([(tracked, a_draft(occurrence=str(n)), SETTLE) for n in range(1100)], "batch")
    ids = claimed(outbox, limit=2000)
    assert len(ids) == 1100
    with outbox.transaction() as tx:
        changes = [Change(id_, S.SENDING, S.ACCEPTED, NOW, reference=id_, handed_over=True) for id_ in ids]
        assert tx.change(changes) == 1100
    assert the_message(database, ids[-1]).reference == ids[-1]
