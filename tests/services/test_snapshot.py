"""Changed rows: in the order of their codes, whatever their number, and as often as they are asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsd.services import snapshot
from smsd.services.snapshot import ChangedRow, ChangedRows, KnownDigests, Snapshot

NOW = datetime(2026, 8, 3, tzinfo=UTC)


@pytest.fixture
def rows() -> Iterator[ChangedRows]:
    made = ChangedRows()
    yield made
    made.close()


def of(rows: ChangedRows) -> list[ChangedRow]:
    return [row for block in rows.blocks() for row in block]


@pytest.mark.parametrize("number", [0, 1, 499, 500, 501, 4_999, 5_000, 5_001, 10_000, 19_137])
def test_rows_come_in_the_order_of_their_codes_and_none_is_lost(rows: ChangedRows, number: int) -> None:
    codes = [f"H{n:05}" for n in range(number)]
    random.Random(number).shuffle(codes)
    for digest, code in enumerate(codes):
        rows.append(code, digest, (code, None, "bước"))

    found = of(rows)

    assert [row.code for row in found] == sorted(codes)
    assert {row.code: row.digest for row in found} == {code: n for n, code in enumerate(codes)}
    assert all(row.raw == (row.code, None, "bước") for row in found)
    assert max((len(block) for block in rows.blocks()), default=0) <= 500


def test_rows_may_be_asked_for_twice_at_once_and_added_to_afterwards(rows: ChangedRows) -> None:
    for number in range(10_500):
        rows.append(f"H{-number % 10_500:05}", number, ())

    once, twice = rows.blocks(), rows.blocks()
    together = [(next(once), next(twice)) for _ in range(21)]
    assert all(one == two for one, two in together)

    rows.append("H", 10_500, ())
    assert next(row.digest for row in of(rows)) == 10_500
    assert len(of(rows)) == 10_501


@settings(max_examples=60)
@given(st.lists(st.text(max_size=3), max_size=60))
def test_rows_of_one_code_come_in_the_order_in_which_they_were_read(codes: list[str]) -> None:
    rows = ChangedRows()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "_RUN", 7)
        patch.setattr(snapshot, "_PIECE", 2)
        for number, code in enumerate(codes):
            rows.append(code, number, ())
        found = [(row.code, row.digest) for row in of(rows)]
    rows.close()

    assert found == sorted((code, number) for number, code in enumerate(codes))


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["", "A", "B", "C ", "Đ", "E" * 300]), max_size=20))
def test_codes_of_more_than_one_row_are_told(codes: list[str]) -> None:
    with Snapshot(NOW, KnownDigests()) as taken:
        for number, code in enumerate(codes):
            taken.add((code,), number)
        taken.finish()

    stripped = [code.strip() for code in codes]
    assert taken.repeated == {code for code in stripped if code and stripped.count(code) > 1}
