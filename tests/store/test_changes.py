"""Many messages changed at once: each as it was asked to, and found by its id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from smsd.adapters.store.engine import Database
from smsd.adapters.store.mapping import ids_in_order
from smsd.adapters.store.outbox import OutboxStore
from smsd.core.model import MessageState, ReceiptVerdict
from smsd.services.ports import Change, Part
from tests.store.drafts import keep_message, later, ready, the_message
from tests.support.builders import NOW

S = MessageState


def test_messages_that_change_alike_keep_a_reference_each_and_those_that_do_not_change_their_own(
    database: Database,
) -> None:
    ids = [keep_message(database, f"H{n}", state=S.SENDING, columns={"reference": "old"}) for n in range(3)]
    ended = keep_message(
        database, "H9", state=S.SENDING, columns={"reference": "old", "final_at": NOW, "detail": "old"}
    )
    with OutboxStore(database).transaction() as tx:
        changes = [
            Change(id_, S.SENDING, S.ACCEPTED, later(1), "202", "smpp", f"r{n}", handed_over=True)
            for n, id_ in enumerate([*ids[:2], ended])
        ]
        changes.append(Change(ids[2], S.SENDING, S.ACCEPTED, later(1), "202", "smpp", handed_over=True))
        assert tx.change(changes) == 3
    assert [the_message(database, id_).reference for id_ in ids] == ["r0", "r1", "old"]
    untouched = the_message(database, ended)
    assert (untouched.state, untouched.reference, untouched.detail) == (S.SENDING, "old", "old")


def test_of_changes_that_may_not_be_none_is_made(database: Database) -> None:
    first, second = keep_message(database, "H1", state=S.SENDING), keep_message(database, "H2", state=S.HELD)
    with OutboxStore(database).transaction() as tx, pytest.raises(ValueError, match="never followed"):
        tx.change([Change(first, S.SENDING, S.ACCEPTED, NOW), Change(second, S.HELD, S.DELIVERED, NOW)])
    assert the_message(database, first).state is S.SENDING


def test_the_first_time_it_was_handed_over_is_kept(database: Database) -> None:
    id_ = keep_message(database, state=S.SENDING)
    with OutboxStore(database).transaction() as tx:
        tx.change([Change(id_, S.SENDING, S.ACCEPTED, later(1), handed_over=True)])
        tx.change([Change(id_, S.ACCEPTED, S.DELIVERED, later(2), handed_over=True, final=True)])
    assert the_message(database, id_).handed_over_at == later(1)


def test_ids_made_together_differ_and_are_in_order_after_those_made_before() -> None:
    before, after = ids_in_order(300, NOW), ids_in_order(300, later(1))
    assert len({*before, *after, *ids_in_order(300, NOW)}) == 900
    assert [*before, *after] == sorted([*before, *after])
    assert {len(id_) for id_ in before} == {32}


@contextmanager
def statements_on(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Every statement run meanwhile, with its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, _x: object, many: bool) -> None:
        seen.append((statement, parameters[0] if many else parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)


def test_a_windowful_is_found_by_its_ids_though_many_more_messages_are_in_its_state(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    database.open()
    ready(database, 60)
    outbox = OutboxStore(database)
    with statements_on(database) as seen:
        with outbox.transaction() as tx:
            claimed = [message.id for message in tx.claim(later(1), 50, "smpp")]
        with outbox.transaction() as tx:
            tx.change([Change(id_, S.SENDING, S.ACCEPTED, NOW, reference=id_) for id_ in claimed])
            tx.own_parts("smpp", {id_: id_ for id_ in claimed}, NOW)
            tx.note_parts("smpp", [Part(id_, ReceiptVerdict.DELIVERED) for id_ in claimed], NOW)
            tx.reported("smpp", claimed)
    plans = {statement: plan_of(database, statement, given) for statement, given in seen}
    updates = [plan for statement, plan in plans.items() if statement.startswith("UPDATE messages")]
    assert len(updates) == 3
    assert all("sqlite_autoindex_messages_1 (id=?)" in plan for plan in updates), updates
    assert not [statement for statement, plan in plans.items() if "SCAN" in plan]
    database.close()


def plan_of(database: Database, statement: str, parameters: Any) -> str:
    with database.reading() as connection:
        if not statement.startswith(("SELECT", "UPDATE", "INSERT")):
            return ""
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return " | ".join(row[3] for row in rows)
