"""What is known of an agency's rows, few and by the million, and the store's questions about it, on both databases."""

from __future__ import annotations

from array import array
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.adapters.store import snapshots
from smsd.adapters.store.engine import Database
from smsd.adapters.store.manydigests import ManyDigests
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.services.rowblocks import BUCKETS, BucketSums
from smsd.services.snapshot import KnownDigests
from tests.store.drafts import AGENCY
from tests.support.builders import NOW, a_dossier, a_tracked

LOW, HIGH = -(2**63), 2**63 - 1
NUMBERS = st.one_of(st.integers(-4, 4), st.sampled_from([LOW, LOW + 1, HIGH - 1, HIGH]))
BLOCKS = st.lists(st.lists(NUMBERS, max_size=12), max_size=5)


def both(numbers: set[int]) -> tuple[KnownDigests, ManyDigests]:
    ascending = sorted(numbers)
    return KnownDigests(array("q", ascending)), ManyDigests(array("q", ascending))


def read(known: KnownDigests, blocks: list[list[int]]) -> tuple[list[Counter[int]], list[int]]:
    """Which digests of each block are fresh, and what no row had. Rows of equal digests are the same to anybody."""
    fresh = []
    for block in blocks:
        places = known.fresh(array("q", block))
        assert places == sorted(set(places))
        fresh.append(Counter(block[place] for place in places))
    return fresh, sorted(known.unseen())


@given(st.sets(NUMBERS), BLOCKS)
def test_few_and_many_tell_the_same_rows_fresh_and_leave_the_same_unseen(
    numbers: set[int], blocks: list[list[int]]
) -> None:
    few, many = both(numbers)

    assert read(few, blocks) == read(many, blocks)


@given(st.sets(NUMBERS), BLOCKS)
def test_a_row_is_fresh_unless_it_is_known_and_the_first_of_its_digest(
    numbers: set[int], blocks: list[list[int]]
) -> None:
    for known in both(numbers):
        fresh, unseen = read(known, blocks)

        rows = Counter(digest for block in blocks for digest in block)
        assert sum(fresh, Counter()) == rows - Counter(numbers & rows.keys())
        assert unseen == sorted(numbers - rows.keys())


@given(st.sets(NUMBERS), st.lists(NUMBERS, max_size=20))
def test_single_rows_are_crossed_off_alike_and_blocks_heed_it(numbers: set[int], digests: list[int]) -> None:
    few, many = both(numbers)

    assert [few.cross_off(d) for d in digests] == [many.cross_off(d) for d in digests]
    assert read(few, [digests]) == read(many, [digests])


@given(st.sets(NUMBERS), st.sets(NUMBERS), st.sets(NUMBERS), BLOCKS)
def test_what_is_replaced_is_known_alike_afterwards(
    numbers: set[int], removed: set[int], added: set[int], blocks: list[list[int]]
) -> None:
    added -= numbers
    few, many = (known.replace(array("q", removed), array("q", added)) for known in both(numbers))

    assert isinstance(many, ManyDigests)
    assert len(few) == len(many) == len((numbers - removed) | added)
    assert sorted(few.unseen()) == sorted((numbers - removed) | added)
    assert read(few, blocks) == read(many, blocks)


@given(st.sets(NUMBERS), BLOCKS)
def test_a_read_begun_anew_knows_nothing_of_the_one_before(
    numbers: set[int], blocks: list[list[int]]
) -> None:
    for known in both(numbers):
        first = read(known, blocks)
        known.begin()
        assert read(known, blocks) == first


def a_store(database: Database, digests: dict[str, int], agency: str = AGENCY) -> SnapshotStore:
    store = SnapshotStore(database)
    with store.transaction(agency) as tx:
        tx.put([(a_tracked(a_dossier(code)), digest) for code, digest in digests.items()])
    return store


def test_digests_are_those_of_dossiers_that_are_not_gone(database: Database) -> None:
    store = a_store(database, {"A": 3, "B": LOW, "C": HIGH, "D": -1})
    a_store(database, {"A": 4, "X": 5}, "cam-ranh")
    with store.transaction(AGENCY) as tx:
        tx.set_gone(["D"], 2, NOW)
        tx.set_missing(["B"], 1)

    assert store.digests(AGENCY).unseen() == [LOW, 3, HIGH]
    assert store.digests("nowhere").unseen() == []


def test_many_rows_are_kept_in_the_form_for_many(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    store = a_store(database, {f"H{n}": n * n - 7 for n in range(20)})
    assert type(store.digests(AGENCY)) is KnownDigests

    monkeypatch.setattr(snapshots, "MANY_ROWS", 20)

    many = store.digests(AGENCY)
    assert isinstance(many, ManyDigests)
    assert many.unseen() == sorted(n * n - 7 for n in range(20))


def test_digests_are_looked_up_by_codes(database: Database) -> None:
    store = a_store(database, {f"H{n}": n for n in range(1_201)} | {"gone": -5})
    a_store(database, {"H5000": 5_000}, "cam-ranh")
    with store.transaction(AGENCY) as tx:
        tx.set_gone(["gone"], 2, NOW)

    codes = [f"H{n}" for n in range(1_190, 5_100)]
    assert store.digests_among(AGENCY, [*codes, "gone", "", "h1"]) == {
        f"H{n}": n for n in range(1_190, 1_201)
    }
    assert store.digests_among(AGENCY, []) == {}


def test_missing_codes_are_those_the_last_read_lacked(database: Database) -> None:
    store = a_store(database, {"A": 1, "B": 2, "C": 3})
    with store.transaction(AGENCY) as tx:
        tx.set_missing(["A", "B"], 1)
        tx.set_gone(["B"], 2, NOW)

    assert store.missing_codes(AGENCY) == {"A"}
    assert store.missing_codes("cam-ranh") == set()


def test_sums_come_back_as_they_were_kept_each_agencys_own(database: Database) -> None:
    store = SnapshotStore(database)
    first = BucketSums.of("shape", [(0, 1, LOW), (7, 3, -1), (BUCKETS - 1, 2**40, HIGH)])
    second = BucketSums.of("other", [(7, 3, -1)])
    assert store.sums(AGENCY) is None

    for sums in (first, second, first):
        with store.transaction(AGENCY) as tx:
            tx.save_sums(sums)
        assert store.sums(AGENCY) == sums
    with store.transaction("cam-ranh") as tx:
        tx.save_sums(second)

    assert store.sums(AGENCY) == first
    assert first.total == 4 + 2**40
    assert first.differing(second) == [0, BUCKETS - 1]
    assert first.rows_in([7, 0]) == 4


def test_a_read_without_sums_makes_older_ones_void(database: Database) -> None:
    store = SnapshotStore(database)
    for agency in (AGENCY, "cam-ranh"):
        with store.transaction(agency) as tx:
            tx.save_sums(BucketSums.of("shape", []))

    with store.transaction(AGENCY) as tx:
        tx.save_sums(None)
        tx.save_sums(None)

    assert store.sums(AGENCY) is None
    assert store.sums("cam-ranh") is not None


def test_sums_of_a_read_that_was_not_applied_are_not_kept(database: Database) -> None:
    store = SnapshotStore(database)

    with pytest.raises(KeyError), store.transaction(AGENCY) as tx:
        tx.save_sums(BucketSums.of("shape", []))
        raise KeyError

    assert store.sums(AGENCY) is None
