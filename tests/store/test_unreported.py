"""Which messages a provider is asked after, on both databases."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from smsd.adapters.store.engine import Database
from smsd.adapters.store.outbox import OutboxStore
from smsd.adapters.store.unreported import UnreportedStore
from smsd.core.model import MessageState, ReceiptVerdict
from smsd.services.ports import Part
from smsd.services.receiptpolling import Unreported
from smsd.services.receipts import part_key
from tests.store.drafts import keep_agency, keep_message, later

HTTP = "http"


@pytest.fixture
def store(database: Database) -> UnreportedStore:
    keep_agency(database)
    return UnreportedStore(database)


def accepted(
    database: Database,
    reference: str | None,
    at: datetime,
    *,
    gateway: str = HTTP,
    part: bool = True,
    state: MessageState = MessageState.ACCEPTED,
    **columns: Any,
) -> str:
    values = {"reference": reference, "handed_over_at": at, "gateway": gateway, **columns}
    id_ = keep_message(database, f"H-{reference}-{at.timestamp()}", state=state, columns=values)
    if part and reference is not None:
        with OutboxStore(database).transaction() as tx:
            tx.own_parts(gateway, {part_key(reference): id_}, at)
    return id_


def references(store: UnreportedStore, limit: int = 100) -> list[str]:
    return [one.reference for one in store.unreported(HTTP, None, limit)]


def test_those_handed_over_first_come_first_with_the_id_as_the_provider_wrote_it(
    database: Database, store: UnreportedStore
) -> None:
    second = accepted(database, "00Ab/2", later(2))
    first = accepted(database, "00Ab/1", later(1))
    assert store.unreported(HTTP, None, 5) == [
        Unreported(first, later(1), "00Ab/1"),
        Unreported(second, later(2), "00Ab/2"),
    ]
    assert references(store, limit=1) == ["00Ab/1"]


@pytest.mark.parametrize(
    "what",
    [
        {"state": MessageState.DELIVERED, "final_at": later(9)},
        {"state": MessageState.UNKNOWN},
        {"final_at": later(9)},  # accepted for good: no receipt came in 72 hours
        {"gateway": "another"},
        {"part": False},  # no receipt could find it
    ],
)
def test_what_needs_no_asking_or_cannot_be_told_is_left_out(
    database: Database, store: UnreportedStore, what: dict[str, Any]
) -> None:
    accepted(database, "1", later(1), **what)
    accepted(database, None, later(2))
    accepted(database, "3", later(3))
    assert references(store) == ["3"]


def test_a_part_reported_for_good_is_not_asked_after_again(
    database: Database, store: UnreportedStore
) -> None:
    for reference, verdict in (("1", ReceiptVerdict.DELIVERED), ("2", ReceiptVerdict.ON_ITS_WAY)):
        accepted(database, reference, later(1))
        with OutboxStore(database).transaction() as tx:
            tx.note_parts(HTTP, [Part(reference, verdict)], later(2))
    assert references(store) == ["2"]


def test_the_list_goes_on_behind_the_last_one_though_many_were_handed_over_at_one_instant(
    database: Database, store: UnreportedStore
) -> None:
    ids = {accepted(database, str(n), later(n // 4)) for n in range(10)}
    seen: list[Unreported] = []
    while batch := store.unreported(HTTP, seen[-1] if seen else None, 3):
        seen += batch
    assert [one.handed_over_at for one in seen] == sorted(one.handed_over_at for one in seen)
    assert len(seen) == 10 and {one.message_id for one in seen} == ids


def test_the_last_one_may_have_been_reported_meanwhile(database: Database, store: UnreportedStore) -> None:
    accepted(database, "2", later(2))
    gone = Unreported("gone", later(1) + timedelta(seconds=1), "1")
    assert [one.reference for one in store.unreported(HTTP, gone, 5)] == ["2"]
