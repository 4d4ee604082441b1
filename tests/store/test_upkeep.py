"""What is blanked and forgotten, and what never is, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select

from smsd.adapters.store.engine import Database
from smsd.adapters.store.journal import Journal
from smsd.adapters.store.lookups import LookupStore
from smsd.adapters.store.outbox import OutboxStore
from smsd.adapters.store.reports import record_findings
from smsd.adapters.store.schema import (
    audit_heads,
    dossiers,
    findings,
    inquiries,
    message_events,
    messages,
    metadata,
    transitions,
)
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.adapters.store.upkeep import UpkeepStore
from smsd.core.figures import Finding
from smsd.core.lookups import LookupOutcome, Road
from smsd.core.model import FindingKind, MessageState, Transition
from smsd.services.lookup import Inquiry
from smsd.services.ports import Alarm, RunKey
from tests.store.drafts import AGENCY, keep_agency, keep_dossier, keep_message, the_message
from tests.support.builders import NOW

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)


@pytest.fixture
def upkeep(database: Database) -> UpkeepStore:
    return UpkeepStore(database)


def ended(database: Database, code: str, final_at: Any, **changes: Any) -> str:
    columns = {"final_at": final_at, "made_at": final_at or NOW - 999 * DAY}
    return keep_message(database, code, state=MessageState.DELIVERED, columns=columns, **changes)


def phones(database: Database) -> dict[str, str | None]:
    with database.reading() as connection:
        return {row.code: row.phone for row in connection.execute(select(dossiers.c.code, dossiers.c.phone))}


def count(database: Database, table: Any) -> int:
    with database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_ended_messages_lose_number_and_text_and_keep_the_mask(
    database: Database, upkeep: UpkeepStore
) -> None:
    old = ended(database, "old", NOW - INSTANT)
    new = ended(database, "new", NOW)
    waiting = keep_message(database, "waiting", made_at=NOW - 999 * DAY)
    assert upkeep.blank_personal_data(NOW) == 1
    assert upkeep.blank_personal_data(NOW) == 0
    assert (the_message(database, old).phone, the_message(database, old).text) == (None, None)
    assert the_message(database, new).phone == the_message(database, waiting).phone == "84905123456"
    with database.reading() as connection:
        mask = connection.execute(select(messages.c.phone_masked).where(messages.c.id == old)).scalar()
    assert mask == "0905***456"


def test_dossiers_gone_or_closed_long_ago_lose_their_number(database: Database, upkeep: UpkeepStore) -> None:
    keep_dossier(database, "gone")
    keep_dossier(database, "open", "in_progress", entered_at=NOW - 999 * DAY)
    keep_dossier(database, "closed", "closed", entered_at=NOW - INSTANT)
    keep_dossier(database, "just", "closed", entered_at=NOW)
    with SnapshotStore(database).transaction(AGENCY) as tx:
        tx.set_gone(["gone"], 2, NOW - INSTANT)
    assert upkeep.blank_personal_data(NOW) == 2
    assert {code for code, phone in phones(database).items() if phone is None} == {"gone", "closed"}


def test_inquiries_lose_what_tells_their_numbers_apart(database: Database, upkeep: UpkeepStore) -> None:
    inquiry = Inquiry(Road.PLAIN, "p1", NOW - INSTANT, "digest", "0905***456", LookupOutcome.FOUND, "Hồ sơ…")
    LookupStore(database).record(inquiry)
    LookupStore(database).record(replace(inquiry, provider_id="p2", at=NOW))
    assert upkeep.blank_personal_data(NOW) == 1
    assert LookupStore(database).previous_answer(Road.PLAIN, "p1") == "Hồ sơ…"
    with database.reading() as connection:
        assert sorted(connection.execute(select(inquiries.c.number_digest)).scalars()) == ["", "digest"]


def test_old_records_go_and_what_is_open_or_in_a_view_stays(database: Database, upkeep: UpkeepStore) -> None:
    keep_agency(database)
    ended(database, "old", NOW - INSTANT)
    keep_message(database, "late", state=MessageState.DELIVERED, made_at=NOW - DAY, columns={"final_at": NOW})
    keep_message(database, "open", made_at=NOW - 999 * DAY)
    kept = keep_dossier(database, "H1", "closed", entered_at=NOW - 999 * DAY)
    keep_dossier(database, "H2")
    with SnapshotStore(database).transaction(AGENCY) as tx:
        tx.set_gone(["H2"], 2, NOW - INSTANT)
        tx.record([(kept, Transition(None, "closed", NOW - INSTANT), "read")])
        tx.record([(kept, Transition("closed", "closed", NOW), "read")])
    upkeep.forget(NOW, NOW)
    assert set(phones(database)) == {"H1"}
    with database.reading() as connection:
        left = set(connection.execute(select(messages.c.dossier_code)).scalars())
    assert left == {"late", "open"}
    with database.reading() as connection:
        told = list(connection.execute(select(message_events.c.message_id, message_events.c.state)))
    assert [(bool(id_), state) for id_, state in told] == [
        (True, "queued"),
        (True, "queued"),
        (False, "checkpoint"),
    ]
    assert count(database, transitions) == 1


def test_a_dossier_that_left_is_known_as_long_as_a_message_of_it_is(
    database: Database, upkeep: UpkeepStore
) -> None:
    keep_agency(database)
    for code in ("told", "untold"):
        keep_dossier(database, code)
    columns = {"final_at": NOW}
    keep_message(database, "told", state=MessageState.DELIVERED, made_at=NOW - 2 * DAY, columns=columns)
    with SnapshotStore(database).transaction(AGENCY) as tx:
        tx.set_gone(["told", "untold"], 2, NOW - DAY)
    upkeep.forget(NOW, NOW)
    assert set(phones(database)) == {"told"}  # back in the view, its next entry is not the first again
    upkeep.forget(NOW + DAY, NOW + DAY)
    assert phones(database) == {}


def test_a_printed_head_whose_event_was_removed_by_hand_is_not_forgotten(
    database: Database, upkeep: UpkeepStore
) -> None:
    keep_agency(database)
    ended(database, "old", NOW - INSTANT)
    by_hand = keep_message(database, "new")
    with database.writing() as connection:
        [old, new] = connection.execute(select(message_events.c.id, message_events.c.hash)).all()
        heads = [
            {"day": NOW.date() - n * DAY, "event_id": one.id, "hash": one.hash}
            for n, one in enumerate([old, new])
        ]
        connection.execute(insert(audit_heads), heads)
        connection.execute(delete(message_events).where(message_events.c.message_id == by_hand))
    upkeep.forget(NOW, NOW)
    with database.reading() as connection:
        assert list(connection.execute(select(audit_heads.c.event_id)).scalars()) == [new.id]


def test_days_runs_findings_alarms_and_inquiries_go_by_their_own_time(
    database: Database, upkeep: UpkeepStore
) -> None:
    journal, day = Journal(database), date(2026, 8, 1)
    journal.finish_run(RunKey("apology", AGENCY, day), "done", NOW - 2 * DAY)
    journal.finish_run(RunKey("apology", AGENCY, day + 5 * DAY), "done", NOW)
    for key, cleared in (("old", True), ("standing", False)):
        journal.raise_alarm(Alarm(key, "error", "", "", NOW - 9 * DAY))
        if cleared:
            journal.clear_alarm(key, NOW - DAY)
    for at in (NOW - DAY, NOW):
        found = Finding(
            day=at.date(),
            agency=AGENCY,
            dossier_code="H1",
            procedure_code="",
            kind="",
            reason=FindingKind.BAD_ROW,
            phone_masked="",
            at=at,
        )
        with database.writing() as connection:
            record_findings(connection, [found])
        LookupStore(database).record(
            Inquiry(Road.SMPP, None, at, "digest", "0905***456", LookupOutcome.FOUND, "Hồ sơ…")
        )
    upkeep.forget(NOW, NOW)
    left = [count(database, table) for table in (metadata.tables["runs"], findings, inquiries)]
    assert left == [1, 1, 1]
    assert [alarm.key for alarm in journal.standing_alarms()] == ["standing"]
    assert count(database, metadata.tables["alarms"]) == 1


def test_parts_of_old_messages_are_dropped_with_their_personal_data(
    database: Database, upkeep: UpkeepStore
) -> None:
    with OutboxStore(database).transaction() as tx:
        tx.own_parts("smpp", {"1": "m1"}, NOW - INSTANT)
        tx.own_parts("smpp", {"2": "m2"}, NOW)
    upkeep.blank_personal_data(NOW)
    with OutboxStore(database).looking() as tx:
        assert tx.owners_of_parts("smpp", ["1", "2"]) == {"2": "m2"}


def test_retention_and_sending_use_indexes_and_do_not_read_years_of_messages(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    database.open()
    with database.writing() as connection:
        plans = {
            name: " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}"))
            for name, query in (
                ("blank", "SELECT id FROM messages WHERE final_at < 1 AND text IS NOT NULL"),
                ("age", "SELECT id FROM messages WHERE state = 'accepted' AND final_at IS NULL"),
                (
                    "claim",
                    "SELECT id FROM messages WHERE state = 'queued' AND final_at IS NULL AND next_at <= 1",
                ),
            )
        }
    database.close()
    assert "ix_messages_personal_final_at" in plans["blank"]
    assert "ix_messages_open_state_next_at" in plans["age"]
    assert "ix_messages_open_state_next_at" in plans["claim"]
