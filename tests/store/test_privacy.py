"""What is kept of one number and what its erasure leaves, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from smsd.adapters.store.engine import Database
from smsd.adapters.store.lookups import LookupStore
from smsd.adapters.store.privacy import PrivacyStore
from smsd.adapters.store.reports import SqlReportStore
from smsd.adapters.store.schema import decisions, dossiers, inquiries, messages
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.core.lookups import LookupOutcome, Road
from smsd.core.model import MessageState, Reason
from smsd.services.lookup import Inquiry
from smsd.services.privacy import Decision, Erasure, Found, Subject
from tests.store.drafts import AGENCY, keep_dossier, keep_message, the_message
from tests.support.builders import NOW, ZONE

NUMBER = "84905123456"
SUBJECT = Subject(NUMBER, ("digest", "other spelling"))
DECISION = Decision(NOW, "root (sudo by lan)", SUBJECT.masked)


@pytest.fixture
def store(database: Database) -> PrivacyStore:
    return PrivacyStore(database)


def ended(database: Database, code: str, **changes: Any) -> str:
    return keep_message(database, code, state=MessageState.DELIVERED, columns={"final_at": NOW}, **changes)


def erased(store: PrivacyStore, subject: Subject = SUBJECT) -> Erasure:
    return store.erase(store.find(subject), DECISION)


def asked(database: Database, digest: str, id_: str) -> None:
    inquiry = Inquiry(
        Road.PLAIN, id_, NOW, digest, "0905***456", LookupOutcome.FOUND, "Hồ sơ H1…", AGENCY, "H1"
    )
    LookupStore(database).record(inquiry)


def left_of(database: Database, table: Any, *columns: str) -> list[tuple[Any, ...]]:
    with database.reading() as connection:
        query = select(*(table.c[name] for name in columns)).order_by(*table.primary_key)
        return [tuple(row) for row in connection.execute(query)]


@pytest.mark.parametrize(
    "field",
    ["0905 123 456", "+84905123456", "84.905.123.456", "905123456", "ĐT: 0912345678 - 0905123456 (con)",
     "０９０５１２３４５６", "0905123456/0258 3822222"],
)  # fmt: skip
def test_a_number_is_found_however_the_clerk_typed_it(
    database: Database, store: PrivacyStore, field: str
) -> None:
    keep_dossier(database, "H1", phone=field)
    keep_dossier(database, "H2", phone="0905123457")
    keep_dossier(database, "H3", phone=None)
    (found,) = store.find(SUBJECT).dossiers
    assert (found.agency, found.code) == (AGENCY, "H1")
    assert NUMBER not in repr(found) and field not in repr(found)


def test_messages_are_found_by_their_number_and_unsendable_ones_by_their_dossier(
    database: Database, store: PrivacyStore
) -> None:
    landline = Subject("842583822222", ())
    keep_dossier(database, "H1", phone="0258.3822222")
    keep_message(
        database, "H1", state=MessageState.SUPPRESSED, phone=None, reason=Reason.LANDLINE,
        columns={"final_at": NOW, "reason": "landline"},
    )  # fmt: skip
    ended(database, "H2")
    assert [(m.dossier_code, m.reason) for m in store.find(landline).messages] == [("H1", "landline")]
    assert [(m.dossier_code, m.state) for m in store.find(SUBJECT).messages] == [("H2", "delivered")]
    assert erased(store, landline).messages == 1
    assert dict(left_of(database, messages, "dossier_code", "text")) == {"H1": None, "H2": "Thông báo"}


def test_erasing_blanks_what_ended_and_leaves_what_is_on_its_way(
    database: Database, store: PrivacyStore
) -> None:
    gone, waiting = ended(database, "H1"), keep_message(database, "H2")
    keep_dossier(database, "H1", "closed")
    keep_dossier(database, "H2", "closed")  # a notice of its own may be on its way from there
    keep_dossier(database, "H3", "in_progress")
    keep_dossier(database, "H4", "in_progress")
    with SnapshotStore(database).transaction(AGENCY) as tx:
        tx.set_gone(["H4"], 2, NOW)
    asked(database, "digest", "p1")
    asked(database, "another's", "p2")

    done = erased(store)

    assert (done.messages, done.dossiers, done.inquiries) == (1, 2, 1)
    assert [message.id for message in done.on_their_way] == [waiting]
    assert [dossier.code for dossier in done.needed] == ["H2", "H3"]
    assert (the_message(database, gone).phone, the_message(database, gone).text) == (None, None)
    assert the_message(database, waiting).phone == NUMBER
    assert left_of(database, messages, "phone_masked") == [("0905***456",)] * 2
    with database.reading() as connection:
        salts = connection.execute(select(messages.c.id).where(messages.c.salt.is_(None))).scalars().all()
    assert salts == [gone], "the audit's digests cannot be tried with numbers any more"
    kept = {code: phone is not None for code, phone in left_of(database, dossiers, "code", "phone")}
    assert kept == {"H1": False, "H2": True, "H3": True, "H4": False}
    assert left_of(database, inquiries, "number_digest", "number_masked", "answer") == [
        ("", "", ""), ("another's", "0905***456", "Hồ sơ H1…"),
    ]  # fmt: skip


def test_an_erasure_is_recorded_with_the_mask_and_who_ordered_it(
    database: Database, store: PrivacyStore
) -> None:
    ended(database, "H1")
    erased(store)
    erased(store)
    assert left_of(database, decisions, "os_user", "action", "agency", "detail") == [
        (DECISION.os_user, "erase", "*", "0905***456: 1 messages, 0 dossiers, 0 look-ups"),
        (DECISION.os_user, "erase", "*", "0905***456: 0 messages, 0 dossiers, 0 look-ups"),
    ]


def test_what_moved_between_finding_and_erasing_is_left_alone(
    database: Database, store: PrivacyStore
) -> None:
    keep_dossier(database, "H1", "closed")
    keep_dossier(database, "H2", "closed")
    found = store.find(SUBJECT)
    keep_dossier(database, "H1", "in_progress")  # opened again
    keep_dossier(database, "H2", "closed", phone="0912345678")  # another's number now
    done = store.erase(found, DECISION)
    assert (done.dossiers, [one.code for one in done.needed]) == (0, ["H1", "H2"])
    assert [phone for (phone,) in left_of(database, dossiers, "phone")] == ["0905123456", "0912345678"]


def test_no_figure_changes_by_an_erasure(database: Database, store: PrivacyStore) -> None:
    keep_dossier(database, "H1", "closed")
    ended(database, "H1")
    keep_message(database, "H2", state=MessageState.REJECTED, columns={"final_at": NOW, "detail": "refused"})
    asked(database, "digest", "p1")
    reports, day = SqlReportStore(database, ZONE), NOW.astimezone(ZONE).date()

    def figures() -> object:
        return reports.material(day), reports.exceptions(day), reports.lookups_by_road(day)

    before = figures()
    assert erased(store).messages == 2
    assert figures() == before


def test_an_erased_answer_is_as_if_it_had_never_been_given(database: Database, store: PrivacyStore) -> None:
    asked(database, "digest", "p1")
    assert LookupStore(database).previous_answer(Road.PLAIN, "p1") == "Hồ sơ H1…"
    erased(store)
    assert LookupStore(database).previous_answer(Road.PLAIN, "p1") is None
    again = Inquiry(Road.PLAIN, "p1", NOW, "digest", "0905***456", LookupOutcome.FOUND, "the answer of now")
    assert LookupStore(database).record(again) == "the answer of now"
    assert len(left_of(database, inquiries, "id")) == 1, "a repeated id is never counted again"


def test_nothing_is_found_of_a_number_that_nobody_has(database: Database, store: PrivacyStore) -> None:
    keep_dossier(database, "H1", "closed")
    assert store.find(Subject("84912345678", ("none",))) == Found([], [], [])
