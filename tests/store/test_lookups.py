"""Finding a dossier by its code and remembering what was answered, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from smsd.adapters.store.engine import Database
from smsd.adapters.store.lookups import LookupStore
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.core.lookups import LookupOutcome, Road, candidates
from smsd.services.lookup import Inquiry
from tests.store.drafts import keep_dossier, later
from tests.support.builders import NOW

DAY = timedelta(days=1)
INQUIRY = Inquiry(
    Road.PLAIN, "p1", NOW, "digest", "0905***456", LookupOutcome.FOUND, "Hồ sơ…", "a", "H1", "1.001"
)


@pytest.fixture
def store(database: Database) -> LookupStore:
    return LookupStore(database)


def found(store: LookupStore, code: str, *agencies: str) -> tuple[str, str] | None:
    hit = store.find(candidates(code), agencies or ("a", "b"))
    return None if hit is None else (hit[0], hit[1].dossier.code)


def test_an_exact_code_comes_before_one_that_differs_in_case(database: Database, store: LookupStore) -> None:
    keep_dossier(database, "h1", agency="a", received_at=NOW)
    keep_dossier(database, "H1", agency="b", received_at=NOW - 9 * DAY)
    assert found(store, "H1") == ("b", "H1")
    assert found(store, "h1") == ("a", "h1")


@pytest.mark.parametrize("typed", ["h32.12-1", "H32.12 - 1", "H32.12-1.", "H32.12-1 xin cảm ơn", "Ｈ32.12-1"])
def test_a_code_is_found_without_regard_to_case_and_spaces(
    database: Database, store: LookupStore, typed: str
) -> None:
    keep_dossier(database, "H32.12-1", agency="a")
    assert found(store, typed) == ("a", "H32.12-1")


def test_of_several_the_one_received_last_is_meant(database: Database, store: LookupStore) -> None:
    keep_dossier(database, "H1", agency="a", received_at=NOW - DAY)
    keep_dossier(database, "H1", agency="b", received_at=NOW)
    keep_dossier(database, "H1", agency="c", received_at=None)
    assert found(store, "H1", "a", "b", "c") == ("b", "H1")
    assert found(store, "H1", "a", "c") == ("a", "H1")


def test_agencies_not_asked_are_not_found(database: Database, store: LookupStore) -> None:
    keep_dossier(database, "H1", agency="off")
    assert found(store, "H1") is None


def test_a_dossier_that_left_the_view_is_still_found_after_one_that_is_there(
    database: Database, store: LookupStore
) -> None:
    keep_dossier(database, "H1", agency="a", received_at=NOW)
    with SnapshotStore(database).transaction("a") as tx:
        tx.set_gone(["H1"], 2, NOW)
    assert found(store, "H1") == ("a", "H1")
    keep_dossier(database, "H1", agency="b", received_at=NOW)
    assert found(store, "H1") == ("b", "H1")


def test_a_repeated_id_keeps_its_first_answer(store: LookupStore) -> None:
    assert store.previous_answer(Road.PLAIN, "p1") is None
    assert store.record(INQUIRY) == "Hồ sơ…"
    assert store.record(replace(INQUIRY, answer="another", at=later(1))) == "Hồ sơ…"
    assert store.previous_answer(Road.PLAIN, "p1") == "Hồ sơ…"
    assert store.asked_since("digest", NOW - DAY) == [NOW]


def test_an_id_is_one_among_those_of_its_road(store: LookupStore) -> None:
    assert store.record(INQUIRY) == "Hồ sơ…"
    assert store.record(replace(INQUIRY, road=Road.ONEPAY, answer="another")) == "another"
    assert store.previous_answer(Road.PLAIN, "p1") == "Hồ sơ…"
    assert store.previous_answer(Road.ONEPAY, "p1") == "another"
    assert store.previous_answer(Road.ESMS, "p1") is None


def test_inquiries_without_an_id_are_all_recorded(store: LookupStore) -> None:
    for minutes in (0, 1):
        store.record(replace(INQUIRY, provider_id=None, at=later(minutes)))
    assert store.asked_since("digest", NOW - DAY) == [NOW, later(1)]


def test_what_was_refused_as_too_many_or_is_older_does_not_count(store: LookupStore) -> None:
    store.record(replace(INQUIRY, provider_id="1", at=later(-60)))
    store.record(replace(INQUIRY, provider_id="2", at=later(-59)))
    store.record(replace(INQUIRY, provider_id="3", outcome=LookupOutcome.TOO_MANY))
    store.record(replace(INQUIRY, provider_id="4", number_digest="another"))
    assert store.asked_since("digest", later(-60)) == [later(-59)]
