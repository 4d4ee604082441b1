"""Parts of messages by the provider's ids, many at a time, on both databases."""

from __future__ import annotations

from datetime import timedelta

import pytest

from smsd.adapters.store.engine import Database
from smsd.adapters.store.outbox import OutboxStore
from smsd.core.model import MessageState, ReceiptVerdict
from smsd.services.ports import Part, Reported
from tests.store.drafts import keep_message, later
from tests.support.builders import NOW

DELIVERED, UNDELIVERED = ReceiptVerdict.DELIVERED, ReceiptVerdict.UNDELIVERED
ON_ITS_WAY = ReceiptVerdict.ON_ITS_WAY
SENDING, ACCEPTED = MessageState.SENDING, MessageState.ACCEPTED
MANY = 1100
"""More than one statement takes."""


@pytest.fixture
def outbox(database: Database) -> OutboxStore:
    return OutboxStore(database)


def test_a_part_is_reported_with_its_whole_message(database: Database, outbox: OutboxStore) -> None:
    first = keep_message(database, "H1", state=ACCEPTED, columns={"attempts": 1})
    second = keep_message(database, "H2", state=SENDING, columns={"final_at": NOW})
    with outbox.transaction() as tx:
        assert tx.own_parts("smpp", {"1": first, "2": first, "3": second}, NOW) == set()
        tx.note_parts("smpp", [Part("2", UNDELIVERED, "err:027"), Part("9", DELIVERED)], NOW)
        whole = (Part("1"), Part("2", UNDELIVERED, "err:027"))
        assert tx.reported("smpp", ["2", "9"]) == [
            Reported(first, ACCEPTED, tried=True, ended=False, parts=whole)
        ]
        assert {one.message_id: (one.tried, one.ended) for one in tx.reported("smpp", ["1", "3"])} == {
            first: (True, False),
            second: (False, True),
        }
        assert tx.reported("another", ["1"]) == []


def test_receipts_that_came_first_are_found_by_their_owners(outbox: OutboxStore) -> None:
    with outbox.transaction() as tx:
        tx.note_parts("smpp", [Part("1", DELIVERED, "ok"), Part("2", DELIVERED)], NOW)
        assert tx.owners_of_parts("smpp", ["1", "2"]) == {}
        assert tx.own_parts("smpp", {"1": "m1", "3": "m1"}, later(1)) == {"1"}
        assert tx.owners_of_parts("smpp", ["1", "2", "3"]) == {"1": "m1", "3": "m1"}
        assert tx.unowned_parts(later(1)) == [("smpp", Part("2", DELIVERED))]


def test_a_receipt_of_long_ago_is_of_an_id_that_was_used_before(outbox: OutboxStore) -> None:
    with outbox.transaction() as tx:
        tx.note_parts("smpp", [Part("1", DELIVERED)], NOW)
        assert tx.own_parts("smpp", {"1": "m1"}, NOW + timedelta(hours=1, seconds=1)) == set()


@pytest.mark.parametrize("final", [DELIVERED, UNDELIVERED])
def test_a_final_word_is_kept_whatever_comes_after(
    database: Database, outbox: OutboxStore, final: ReceiptVerdict
) -> None:
    id_ = keep_message(database)
    with outbox.transaction() as tx:
        tx.own_parts("smpp", {"1": id_}, NOW)
        for said in (ON_ITS_WAY, final, ON_ITS_WAY, DELIVERED, UNDELIVERED):
            tx.note_parts("smpp", [Part("1", said)], NOW)
        (message,) = tx.reported("smpp", ["1"])
    assert message.parts == (Part("1", final),)


def test_parts_given_up_are_looked_for_no_more_but_may_still_be_named(outbox: OutboxStore) -> None:
    with outbox.transaction() as tx:
        tx.note_parts("smpp", [Part("1", DELIVERED), Part("2", DELIVERED)], NOW)
        tx.own_parts("smpp", {"2": "m2"}, NOW)
        tx.give_up_parts("smpp", ["1", "2"])
        assert tx.unowned_parts(NOW) == []
        assert tx.owners_of_parts("smpp", ["1", "2"]) == {"2": "m2"}
        assert tx.own_parts("smpp", {"1": "m1"}, NOW) == {"1"}


def test_more_parts_than_one_statement_takes_are_owned_noted_found_and_given_up(
    database: Database, outbox: OutboxStore
) -> None:
    id_ = keep_message(database)
    keys = [f"{number:x}" for number in range(MANY)]
    with outbox.transaction() as tx:
        tx.note_parts("smpp", [Part(key, DELIVERED) for key in keys], NOW)
        assert tx.own_parts("smpp", dict.fromkeys(keys, id_), NOW) == set(keys)
        assert tx.owners_of_parts("smpp", keys) == dict.fromkeys(keys, id_)
        (message,) = tx.reported("smpp", keys)
        assert {part.key for part in message.parts} == set(keys)
        tx.note_parts("other", [Part(key, DELIVERED) for key in keys], NOW)
        tx.give_up_parts("other", keys)
        assert tx.unowned_parts(NOW) == []


def test_no_parts_are_no_work(outbox: OutboxStore) -> None:
    with outbox.transaction() as tx:
        tx.note_parts("smpp", [], NOW)
        tx.give_up_parts("smpp", [])
        assert (tx.own_parts("smpp", {}, NOW), tx.owners_of_parts("smpp", [])) == (set(), {})
        assert tx.reported("smpp", []) == []
