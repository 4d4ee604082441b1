"""The audit as it lies in the store: whole whatever smsd does, and any touch by hand is found and named first."""

from __future__ import annotations

import ast
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

import smsd
from smsd.adapters.store import audit, upkeep
from smsd.adapters.store.audit import AuditStore, SoughtHead, Verified
from smsd.adapters.store.engine import Database
from smsd.adapters.store.mapping import AUDIT_HEAD, record_events
from smsd.adapters.store.outbox import OutboxStore
from smsd.adapters.store.reports import SqlReportStore
from smsd.adapters.store.schema import audit_checkpoints, audit_heads, message_events, messages, meta
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.adapters.store.upkeep import UpkeepStore
from smsd.core.clock import day_bounds
from smsd.core.errors import StoreError
from smsd.core.model import MessageState, Reason
from smsd.services.ports import Change
from tests.store.drafts import AGENCY, keep_agency, keep_message, ready, the_message
from tests.support.builders import NOW, ZONE
from tests.support.reliability import Record

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
TODAY = NOW.astimezone(ZONE).date()
S = MessageState


def verified(database: Database, *sought: SoughtHead) -> Verified:
    return AuditStore(database).verify(sought)


def lived(database: Database, count: int = 3) -> list[str]:
    """Messages that were made, sent and delivered; returns their ids. Their events are 1 to 4 × count."""
    ids = ready(database, count)
    outbox = OutboxStore(database)
    for step in ((S.SENDING, S.ACCEPTED), (S.ACCEPTED, S.DELIVERED)):
        with outbox.transaction() as tx:
            if step[0] is S.SENDING:
                assert [message.id for message in tx.claim(NOW + MINUTE, 99, "spool")] == ids
            changes = [Change(id_, *step, NOW + MINUTE, final=step[1] is S.DELIVERED) for id_ in ids]
            assert tx.change(changes) == count
    return ids


def by_hand(database: Database, statement: str, **given: Any) -> None:
    with database.writing() as connection:
        connection.execute(text(statement), given)


# what smsd does itself


def test_a_store_in_which_nothing_happened_has_a_whole_audit(database: Database) -> None:
    found = verified(database)
    assert (found.whole, found.events, found.messages, found.head) == (True, 0, 0, None)


def test_the_audit_stays_whole_through_all_that_befalls_messages(database: Database) -> None:
    ids = lived(database)
    keep_message(database, "H7", state=S.SUPPRESSED, reason=Reason.NO_PHONE, phone=None)
    by_hand(database, "DELETE FROM messages WHERE dossier_code = 'H7'")
    by_hand(database, "DELETE FROM message_events WHERE id = 13")
    by_hand(database, "UPDATE meta SET value = :head WHERE key = 'audit_head'", head=head_at(database, 12))
    held = keep_message(database, "H8", batch="many")
    with SnapshotStore(database).transaction(AGENCY) as tx:
        assert tx.hold("many", NOW) == 1
        tx.set_phone(held, "84905000001", [S.HELD], NOW)
        assert tx.end([held], [S.HELD], S.SUPERSEDED, None, NOW, detail="the dossier moved on") == 1
    found = verified(database)
    assert found.faults == []
    assert (found.events, found.messages) == (4 * len(ids) + 4, len(ids) + 1)
    assert found.head is not None
    assert found.head.id == found.events


def head_at(database: Database, id_: int) -> str:
    with database.reading() as connection:
        hash_ = connection.execute(
            select(message_events.c.hash).where(message_events.c.id == id_)
        ).scalar_one()
    return f"{id_} {hash_.hex()}"


def test_a_number_mended_by_the_agency_between_tries_is_no_tampering(database: Database) -> None:
    (id_,) = ready(database)
    outbox = OutboxStore(database)
    with outbox.transaction() as tx:
        tx.claim(NOW, 1, "spool")
        tx.change([Change(id_, S.SENDING, S.QUEUED, NOW, next_at=NOW)])
        tx.change([Change(id_, S.QUEUED, S.QUEUED, NOW, "phone changed by the agency", phone="84905000001")])
        (again,) = tx.claim(NOW, 1, "spool")
    assert again.phone == "84905000001"
    assert verified(database).faults == []


def test_a_transaction_that_is_undone_leaves_no_hole(database: Database) -> None:
    ids = lived(database)
    with suppress(RuntimeError), database.writing() as connection:
        record_events(connection, [(ids[0], "queued", None)], NOW)
        raise RuntimeError
    keep_message(database, "H9")
    found = verified(database)
    assert (found.whole, found.events) == (True, 13)


def test_it_can_be_verified_while_smsd_writes_and_sees_one_moment(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(database)
    monkeypatch.setattr(audit, "_AT_ONCE", 1)
    seen: list[tuple[int, int]] = []

    def go_on(done: int, total: int) -> None:
        if len(seen) < 30:
            keep_message(database, f"N{done}")
        seen.append((done, total))

    found = AuditStore(database).verify(progress=go_on)
    assert found.faults == []
    assert (found.events, found.messages) == (12, 3)
    assert seen[-1] == (27, 27)
    assert verified(database).events == 12 + min(30, len(seen))


def test_blanked_messages_are_still_covered_by_the_chain_and_nobody_can_try_numbers(
    database: Database,
) -> None:
    (id_, *_) = lived(database)
    upkeep_store = UpkeepStore(database)
    assert upkeep_store.blank_personal_data(NOW + DAY) == 3
    with database.reading() as connection:
        assert set(connection.execute(select(messages.c.salt)).scalars()) == {None}
    assert the_message(database, id_).text is None
    assert verified(database).faults == []


def test_each_message_has_a_salt_of_its_own(database: Database) -> None:
    ready(database, 5)
    with database.reading() as connection:
        salts = set(connection.execute(select(messages.c.salt)).scalars())
    assert len(salts) == 5
    assert {len(salt) for salt in salts} == {16}


def test_a_restored_copy_goes_on_with_the_chain_and_says_since_when(tmp_path: Path, sqlite_url: str) -> None:
    database = Database(sqlite_url)
    database.open()
    lived(database)
    database.backup(tmp_path / "copy.db", NOW)
    keep_message(database, "H9")
    with database.reading() as connection:
        lost = connection.execute(
            select(message_events.c.hash).order_by(message_events.c.id.desc())
        ).scalars()
        paper = SoughtHead(next(lost).hex())
    database.close()
    restored = Database(f"sqlite:///{tmp_path / 'copy.db'}")
    assert SnapshotStore(restored).want_baselines(NOW + DAY)
    keep_message(restored, "H9")
    found = verified(restored, paper)
    assert (found.fault_count, found.events, found.restored) == (0, 14, [NOW + DAY])
    assert (found.whole, paper.good) == (False, False), "a head of the store that was replaced"
    restored.close()


# retention


def test_over_years_of_retention_the_chain_stays_whole_and_checkpoints_stay_few(database: Database) -> None:
    keep_agency(database)
    retention, store = 3 * DAY, UpkeepStore(database)
    for day in range(12):
        now = NOW + day * DAY
        late = day % 4 == 1
        for number in range(3):
            final = now + 5 * DAY if late and number == 1 else now
            keep_message(
                database, f"D{day}-{number}", state=S.QUEUED, made_at=now, columns={"final_at": final}
            )
        store.forget(now - retention, now)
        found = verified(database)
        assert found.faults == [], f"on day {day}"
        assert found.checkpoints <= 4
    assert found.removed > 20
    store.forget(now + 99 * DAY, now)
    found = verified(database)
    assert (found.faults, found.events, found.messages, found.checkpoints) == ([], 1, 0, 1)


def test_retention_that_removes_no_event_says_nothing(database: Database) -> None:
    lived(database)
    UpkeepStore(database).forget(NOW - DAY, NOW)
    assert verified(database).events == 12


def test_retention_cut_off_before_its_commit_has_removed_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(database)

    def cut_off(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(upkeep, "note_in_audit", cut_off)
        with pytest.raises(RuntimeError):
            UpkeepStore(database).forget(NOW + DAY, NOW + DAY)
    found = verified(database)
    assert (found.faults, found.events, found.checkpoints) == ([], 12, 0)
    assert UpkeepStore(database).forget(NOW + DAY, NOW + DAY) == 15
    assert verified(database).faults == []


# touched by hand

TOUCHES: list[tuple[str, str, int | None, str]] = [
    ("a state", "UPDATE message_events SET state = 'undelivered' WHERE id = 5", 5, "changed after"),
    ("a time", "UPDATE message_events SET at = at - 1 WHERE id = 5", 5, "changed after"),
    ("a detail", "UPDATE message_events SET detail = 'no' WHERE id = 12", 12, "changed after"),
    ("a message", "UPDATE message_events SET message_id = 'other' WHERE id = 1", 1, "changed after"),
    ("a digest", "UPDATE message_events SET content = hash WHERE id = 4", 4, "changed after"),
    ("a hash", "UPDATE message_events SET hash = content WHERE id = 4", 4, "changed, inserted or moved"),
    ("no hash", "UPDATE message_events SET hash = NULL WHERE id = 4", 4, "changed, inserted or moved"),
    ("one removed", "DELETE FROM message_events WHERE id = 6", 7, "missing before it: event 6 "),
    ("many removed", "DELETE FROM message_events WHERE id BETWEEN 1 AND 9", 10, "events 1 to 9"),
    ("the last", "DELETE FROM message_events WHERE id > 10", 12, "at the end of the chain: events 11 to 12"),
    ("all", "DELETE FROM message_events", 12, "at the end of the chain: events 1 to 12"),
    (
        "moved",
        "UPDATE message_events SET id = CASE id WHEN 13 THEN 3 WHEN 14 THEN 8 ELSE id END WHERE id > 12",
        3,
        "changed, inserted or moved",
    ),
    (
        "inserted",
        "INSERT INTO message_events (id, message_id, at, state) SELECT 13, message_id, at, state "
        "FROM message_events WHERE id = 12",
        13,
        "inserted",
    ),
    ("the note", f"DELETE FROM meta WHERE key = '{AUDIT_HEAD}'", 12, "note of the chain's end is missing"),
    ("a bad note", f"UPDATE meta SET value = 'x' WHERE key = '{AUDIT_HEAD}'", 12, "note of the chain's end"),
    ("a message's state", "UPDATE messages SET state = 'undelivered' WHERE id = :id", 11, "is undelivered"),
    ("a text", "UPDATE messages SET text = 'Khác' WHERE id = :id", 11, "its events sealed"),
    ("a number", "UPDATE messages SET phone = '84905000000' WHERE id = :id", 11, "its events sealed"),
    ("a dossier", "UPDATE messages SET dossier_code = 'H99' WHERE id = :id", 11, "its events sealed"),
    ("a price", "UPDATE messages SET segments = 9 WHERE id = :id", 11, "its events sealed"),
    ("a message gone", "DELETE FROM messages WHERE id = :id", 2, "its message is missing"),
]


@pytest.mark.parametrize(
    ("statement", "event", "what"), [t[1:] for t in TOUCHES], ids=[t[0] for t in TOUCHES]
)
def test_what_is_touched_by_hand_is_found_and_the_first_is_named(
    database: Database, statement: str, event: int, what: str
) -> None:
    ids = lived(database)
    if "WHEN 13" in statement:
        by_hand(database, "UPDATE message_events SET id = id + 10 WHERE id IN (3, 8)")
        by_hand(database, "UPDATE message_events SET id = CASE id WHEN 13 THEN 8 ELSE 3 END WHERE id > 12")
    else:
        by_hand(database, statement, **({"id": ids[1]} if ":id" in statement else {}))
    found = verified(database)
    assert not found.whole
    first = found.faults[0]
    assert first.event_id == event
    assert what in first.what
    if "DELETE FROM messages" not in statement and first.message_id in ids:
        known = the_message(database, first.message_id)
        assert (first.agency, first.dossier_code) == (known.agency, known.dossier_code)
        assert first.at is not None


def test_a_message_written_by_hand_has_no_events(database: Database) -> None:
    (id_,) = ready(database)
    by_hand(database, "UPDATE messages SET id = 'forged' WHERE id = :id", id=id_)
    first, second = verified(database).faults
    assert (first.message_id, first.what) == (id_, "its message is missing")
    assert (second.message_id, second.what) == ("forged", "the message, queued, has no events")
    assert (second.agency, second.dossier_code) == (AGENCY, "H0")


def test_a_text_changed_between_made_and_sent_is_found_though_smsd_sent_it(database: Database) -> None:
    (id_,) = ready(database)
    by_hand(database, "UPDATE messages SET phone = '84905000000' WHERE id = :id", id=id_)
    with OutboxStore(database).transaction() as tx:
        assert len(tx.claim(NOW, 1, "spool")) == 1
    (fault,) = verified(database).faults
    assert (fault.event_id, fault.message_id) == (2, id_)
    assert fault.what == "number or text were changed by hand before it was sent"


def test_smsd_goes_on_after_a_row_was_added_by_hand_and_the_row_stays_found(database: Database) -> None:
    ids = lived(database)
    with database.writing() as connection:
        values = {"id": 13, "message_id": ids[0], "at": NOW, "state": "delivered"}
        connection.execute(message_events.insert().values(**values))
    keep_message(database, "H9")
    (fault,) = verified(database).faults
    assert (fault.event_id, fault.what) == (13, "smsd did not write it: it was inserted")


@pytest.mark.parametrize("lost_note", [False, True])
def test_what_was_removed_at_the_end_stays_missed_after_smsd_went_on(
    database: Database, lost_note: bool
) -> None:
    lived(database)
    by_hand(database, "DELETE FROM message_events WHERE id = 12")
    if lost_note:
        by_hand(database, f"DELETE FROM meta WHERE key = '{AUDIT_HEAD}'")
    keep_message(database, "H9")
    found = verified(database)
    if lost_note:  # the chain closes over it, but a delivered message's last event says otherwise
        assert "is delivered, its last event accepted" in found.faults[0].what
    else:
        assert (found.faults[0].event_id, found.faults[0].what) == (
            13, "missing before it: event 12 (or it was changed itself)",
        )  # fmt: skip


def test_rows_removed_under_a_checkpoint_made_by_hand_are_found(database: Database) -> None:
    lived(database)
    with database.writing() as connection:
        before, after = (
            connection.execute(select(message_events.c.hash).where(message_events.c.id == id_)).scalar_one()
            for id_ in (4, 6)
        )
        connection.execute(message_events.delete().where(message_events.c.id.in_([5, 6])))
        forged = {"first_id": 5, "last_id": 6, "rows": 2, "before": before, "after": after, "at": NOW}
        connection.execute(audit_checkpoints.insert().values(**forged))
    assert "checkpoints of removed events are not those that smsd made" in verified(database).faults[0].what


def test_values_that_smsd_never_writes_are_faults_and_no_errors(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    database.open()
    lived(database)
    for statement in (
        "UPDATE message_events SET at = 'yesterday' WHERE id = 2",
        "UPDATE message_events SET at = 9223372036854775807 WHERE id = 3",
        "UPDATE message_events SET detail = CAST(x'ff00fe' AS TEXT) WHERE id = 4",
        "UPDATE message_events SET hash = 'text', content = 7 WHERE id = 5",
        "UPDATE message_events SET message_id = x'ff' WHERE id = 6",
        "UPDATE messages SET salt = 'text', text = CAST(x'ff' AS TEXT)",
    ):
        by_hand(database, statement)
    found = verified(database)
    assert [fault.event_id for fault in found.faults[:5]] == [2, 3, 4, 5, 6]
    assert [fault.at for fault in found.faults[:2]] == [None, None]
    with database.reading() as connection:
        assert connection.execute(text("SELECT 'chữ'")).scalar() == "chữ", "the connection is as it was"
    database.close()


@pytest.mark.reliability
def test_whatever_row_is_touched_by_hand_and_however_it_is_found_and_named(
    tmp_path: Path, reliability: Record
) -> None:
    whole = tmp_path / "whole.db"
    database = Database(f"sqlite:///{whole}")
    database.open()
    lived(database, 8)
    UpkeepStore(database).forget(NOW - DAY, NOW)
    database.close()
    rng, tried = random.Random(5), reliability.times(24, 400)
    for number in range(tried):
        touched = Database(f"sqlite:///{shutil.copy(whole, tmp_path / 'touched.db')}")
        touch, first = TAMPERING[number % len(TAMPERING)](rng)
        by_hand(touched, touch)
        fault = verified(touched).faults[0]
        assert fault.event_id == first, touch
        touched.close()
    reliability.row(
        "Hostile input",
        "Row of the audit changed, removed, inserted or moved by hand",
        tried=tried,
        recovered="found and named by `smsd audit verify`",
    )


def _changed(rng: random.Random) -> tuple[str, int]:
    id_, to = rng.randint(1, 32), rng.choice(("state = 'rejected'", "at = at + 1", "detail = 'x'"))
    return f"UPDATE message_events SET {to} WHERE id = {id_}", id_


def _removed(rng: random.Random) -> tuple[str, int]:
    first = rng.randint(1, 32)
    last = rng.randint(first, 32)
    return f"DELETE FROM message_events WHERE id BETWEEN {first} AND {last}", min(last + 1, 32)


def _inserted(rng: random.Random) -> tuple[str, int]:
    columns = "message_id, at, state, detail, content, hash"
    like = rng.randint(1, 32)
    insert = f"INSERT INTO message_events (id, {columns}) SELECT 33, {columns}"
    return f"{insert} FROM message_events WHERE id = {like}", 33


def _moved(rng: random.Random) -> tuple[str, int]:
    """An event takes the place of another, whose row is pushed to the end."""
    one = rng.randint(1, 31)
    return f"UPDATE message_events SET id = {one} + 1000 WHERE id = {one}", one + 1


TAMPERING: list[Callable[[random.Random], tuple[str, int]]] = [_changed, _removed, _inserted, _moved]


# day heads


def reports_of(database: Database) -> SqlReportStore:
    return SqlReportStore(database, ZONE)


def paper(database: Database, keep: bool, day: Any = TODAY) -> SoughtHead:
    head = reports_of(database).day_head(day, keep=keep)
    assert head is not None
    return SoughtHead(head.hash.hex(), head.day, head.event_id)


def test_the_head_of_a_day_that_is_over_never_changes(database: Database) -> None:
    assert reports_of(database).day_head(TODAY, keep=True) is None
    start, end = day_bounds(TODAY, ZONE)
    keep_message(database, "H1", made_at=start)
    keep_message(database, "H2", made_at=end - timedelta(microseconds=1))
    keep_message(database, "H3", made_at=end)
    assert paper(database, keep=False).event_id == 2
    assert paper(database, keep=True).event_id == 2
    keep_message(database, "H4", made_at=end - MINUTE)  # as after a clock was set back
    assert paper(database, keep=True).event_id == paper(database, keep=False).event_id == 2
    assert paper(database, keep=False, day=TODAY + DAY).event_id == 4
    assert paper(database, keep=False, day=TODAY + 9 * DAY).event_id == 4
    assert reports_of(database).day_head(TODAY - DAY, keep=True) is None
    assert verified(database).faults == []


def test_heads_on_paper_are_found_in_the_chain(database: Database) -> None:
    lived(database)
    head = paper(database, keep=True)
    early = SoughtHead(head_at(database, 4).split()[1][:32])
    head.event_id = None
    found = verified(database, head, early)
    assert found.whole
    assert (head.event_id, early.event_id) == (12, 4)
    other_day = SoughtHead(head_at(database, 4).split()[1], TODAY)
    strange = SoughtHead("ab" * 32)
    assert not verified(database, other_day, strange).whole
    assert (other_day.event_id, other_day.wrong_day, strange.event_id) == (4, True, None)


def test_a_chain_made_anew_throughout_no_longer_has_the_head_on_paper(database: Database) -> None:
    lived(database)
    head = paper(database, keep=True)
    with database.reading() as connection:
        query = select(message_events).order_by(message_events.c.id)
        rows = [row._asdict() for row in connection.execute(query)]
    with database.writing() as connection:
        for table in (message_events, audit_heads):
            connection.execute(table.delete())
        connection.execute(meta.delete().where(meta.c.key == AUDIT_HEAD))
        connection.execute(update(messages).values(state="undelivered"))
        for row in rows:
            state = "undelivered" if row["state"] == "delivered" else row["state"]
            contents = [row["content"]] if row["content"] else []
            record_events(connection, [(row["message_id"], state, row["detail"])], row["at"], contents)
    head.event_id = None
    assert verified(database).whole, "who computes everything anew is not found by the chain alone"
    assert not verified(database, head).whole
    assert not head.good


def test_a_kept_head_changed_by_hand_is_found(database: Database) -> None:
    lived(database)
    paper(database, keep=True)
    by_hand(database, "UPDATE audit_heads SET event_id = 11")
    (fault,) = verified(database).faults
    assert fault.what == f"the head kept for {TODAY}, event 11, is not in the chain"


def test_heads_go_with_their_events(database: Database) -> None:
    lived(database)
    paper(database, keep=True)
    UpkeepStore(database).forget(NOW + DAY, NOW + DAY)
    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(audit_heads)).scalar() == 0
    assert verified(database).faults == []


# the store


def test_a_store_whose_audit_is_no_chain_yet_says_how_to_mend_it(url: str) -> None:
    database = Database(url)
    with pytest.raises(StoreError, match="older smsd") as raised:
        verified(database)
    assert "start the daemon once" in raised.value.hint
    database.close()


def test_record_events_alone_writes_the_audit_and_retention_alone_removes() -> None:
    package = Path(smsd.__file__).parent
    writers: dict[str, set[str]] = {}
    for file in sorted(package.rglob("*.py")):
        if "migrations" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and (what := _on_the_audit(node)):
                writers.setdefault(what, set()).add(file.relative_to(package).as_posix())
    assert writers == {
        "BulkInsert": {"adapters/store/mapping.py"},
        "delete": {"adapters/store/upkeep.py"},
    }


def _on_the_audit(call: ast.Call) -> str | None:
    """The kind of a statement that changes the audit's table; None for another call."""
    name = getattr(call.func, "attr", None) or getattr(call.func, "id", "")
    if name not in ("insert", "update", "delete", "BulkInsert"):
        return None
    places = [*call.args[:1], *([call.func.value] if isinstance(call.func, ast.Attribute) else [])]
    return name if any(isinstance(p, ast.Name) and p.id == "message_events" for p in places) else None
