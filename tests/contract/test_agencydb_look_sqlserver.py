"""A look at a SQL Server view through the real driver chain: what is asked, and what becomes of the answers.

The responder knows no SQL, so that the server's own hashing is not tested here; that its statements are what they
ought to be is.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest

from smsd.core.errors import AgencyError
from smsd.services.ports import RawRow, SummingLook
from smsd.services.rowblocks import BUCKETS, DECIDING, RowBlock
from tests.contract.test_agencydb_sqlserver import Responder
from tests.support.agencyviews import COLUMNS
from tests.support.postgres import wait_until
from tests.support.tdsserver import Answer, Refusal, Rows, Silence

ROWS = [(f"H{n}", "0905 123 456", "Thẩm định", None, "1", "x", None, None, None) for n in range(3)]
NINE = [(name, "text") for name in COLUMNS[:9]]
SUMMED = [(name, "number") for name in "bnhl"]
HANOI = timezone(timedelta(hours=7))


class Agency(Responder):
    """A responder for a view; ``answer`` is what follows everything but the question for its columns."""

    def __init__(self) -> None:
        self.answer: Answer = Rows(NINE, ROWS)
        self.columns: tuple[str, ...] = (*COLUMNS, "MaCoQuan")
        super().__init__(self._answer)

    def _answer(self, statement: str) -> Answer:
        return Rows([(name, "text") for name in self.columns]) if "1 = 0" in statement else self.answer

    @property
    def said(self) -> str:
        return self.server.said[-1]


@pytest.fixture
def agency() -> Iterator[Agency]:
    made = Agency()
    yield made
    made.close()


class Taken:
    def __init__(self) -> None:
        self.rows: list[RawRow] = []
        self.digests: list[int] = []

    def take(self, block: RowBlock) -> None:
        assert block.whole
        self.rows += [block.row(place) for place in range(len(block))]
        self.digests += block.digests


def test_every_question_gives_the_same_rows_the_same_digests(agency: Agency) -> None:
    found = [Taken() for _ in range(5)]
    with agency.reader().look() as look:
        assert isinstance(look, SummingLook)
        look.everything(found[0].take, whole=False)
        look.everything(found[1].take, whole=True)
        look.of_codes(["H0", "H1"], found[2].take)
        look.since("updated_at", datetime(2026, 8, 3, 9), found[3].take)  # noqa: DTZ001 - as the driver gives it
        look.in_buckets([1, 4095], found[4].take)

    assert all(one.rows == ROWS for one in found)
    assert all(one.digests == found[0].digests for one in found)
    assert len(set(found[0].digests)) == 3


def test_what_is_asked_keeps_names_and_values_apart_and_the_filter_everywhere(agency: Agency) -> None:
    agency.columns = ("Mã]số", *COLUMNS[1:], "MaCoQuan")
    reader = agency.reader(columns={"dossier_code": "mã]số"}, filter={"MaCoQuan": "H32'; --"})
    nothing: Callable[[RowBlock], None] = lambda _: None  # noqa: E731
    with reader.look() as look:
        assert isinstance(look, SummingLook)
        look.of_codes(["A'", "B"], nothing)
        assert "WHERE [MaCoQuan] = @P1 AND [Mã]]số] IN (@P2, @P3)" in agency.said
        look.in_buckets([3, 17], nothing)
        assert f"1, 2)) & {BUCKETS - 1}) IN (3, 17)" in agency.said
        assert "WHERE [MaCoQuan] = @P1 AND" in agency.said
        agency.answer = Rows([("", "datetime")], [(None,)])
        assert look.newest("updated_at") is None
        assert "SELECT max([updated_at]) FROM [dbo].[smsd_dossiers] WHERE [MaCoQuan] = @P1" in agency.said
        agency.answer = Rows(SUMMED)
        look.sums()
        assert "WHERE [MaCoQuan] = @P1) AS hashed GROUP BY b" in agency.said
        assert "[Mã]]số]" in agency.said

    assert all("H32'; --" in said for said in agency.server.said if "@P1" in said)


def test_many_codes_are_asked_for_in_parts_a_server_takes(agency: Agency) -> None:
    with agency.reader().look() as look:
        look.of_codes([f"H{n}" for n in range(1_201)], lambda _: None)

    asked = [said for said in agency.server.said if " IN (" in said]
    assert len(asked) == 3
    assert all(said.count("@P") <= 3 * 500 for said in asked)


@pytest.mark.parametrize("whole_hours", [7, 0, -5])
def test_an_instant_with_a_zone_is_asked_for_with_its_zone(agency: Agency, whole_hours: int) -> None:
    zone = timezone(timedelta(hours=whole_hours))
    with agency.reader().look() as look:
        look.since("updated_at", datetime(2026, 8, 3, 9, 0, 0, 999_999, zone), lambda _: None)

    assert f"2026-08-03T09:00:00{whole_hours:+03d}:00" in agency.said
    assert "[updated_at] >= @P1 OR [updated_at] IS NULL" in agency.said


def test_the_newest_change_comes_as_the_driver_gives_it(agency: Agency) -> None:
    moment = datetime(2026, 8, 3, 9, 0, 0, 123_000)  # noqa: DTZ001 - as the driver gives it
    with agency.reader().look() as look:
        agency.answer = Rows([("", "datetime")], [(moment,)])
        assert look.newest("updated_at") == moment
        agency.answer = Rows([("", "zoned")], [(moment.replace(tzinfo=HANOI),)])
        assert look.newest("updated_at") == moment.replace(tzinfo=HANOI)


def test_sums_are_put_together_of_two_halves_whatever_their_signs(agency: Agency) -> None:
    low, high = -(2**31), 2**31 - 1
    agency.answer = Rows(SUMMED, [(0, 3, 1, -1), (7, 1, -1, low), (4095, 2, low, high), (9, 1, 0, 0)])

    with agency.reader().look() as look:
        assert isinstance(look, SummingLook)
        sums, again = look.sums(), look.sums()

    assert sums is not None
    assert sums == again
    assert sums.total == 7
    assert sums.hashes[0] == (1 << 32) | 0xFFFFFFFF
    assert sums.hashes[7] == (-1 << 32) | 0x80000000
    assert sums.hashes[4095] == (low << 32) | high
    assert (sums.rows[9], sums.hashes[9], sums.rows[10]) == (1, 0, 0)


def test_sums_cover_the_deciding_columns_there_are_and_nothing_else(agency: Agency) -> None:
    agency.answer = Rows(SUMMED)
    shapes = set()
    for missing in ((), ("resolved_at",), ("status", "resolved_at")):
        agency.columns = tuple(name for name in COLUMNS if name not in missing)
        with agency.reader().look() as look:
            assert isinstance(look, SummingLook)
            sums = look.sums()
        assert sums is not None
        shapes.add(sums.shape)
        summed = agency.said
        assert [column for column in COLUMNS if f"[{column}]" in summed] == [
            column for column in COLUMNS if column in DECIDING and column not in missing
        ]

    assert len(shapes) == 3


def test_sums_keep_all_digits_of_numbers_and_dates_and_are_never_cut_off(agency: Agency) -> None:
    """Style 2: floats with 16 digits and not 6, money with 4 places and not 2. Style 126: dates to the last digit."""
    agency.answer = Rows(SUMMED)
    with agency.reader().look() as look:
        assert isinstance(look, SummingLook)
        look.sums()

    converted = re.findall(r"CONVERT\(nvarchar\((\d+)\), \[(\w+)\], (\d+)\)", agency.said)
    styles = {column: style for _, column, style in converted}
    assert styles == {column: "126" if column in ("due_at", "resolved_at") else "2" for column in DECIDING}
    together = sum(int(length) for length, _, _ in converted[1:]) + len(DECIDING)
    assert together <= 4_000, "CONCAT of more is cut off without a word"
    assert agency.said.count("CONVERT(nvarchar(") == len(converted) == len(DECIDING) + 1


def test_a_server_that_cannot_hash_has_no_sums_and_the_look_goes_on(agency: Agency) -> None:
    agency.answer = Refusal(195, "'HASHBYTES' is not a recognized built-in function name.")
    found = Taken()

    with agency.reader().look() as look:
        assert isinstance(look, SummingLook)
        assert look.sums() is None
        agency.answer = Rows(NINE, ROWS)
        look.everything(found.take, whole=True)

    assert found.rows == ROWS


def test_a_fault_while_it_sums_is_the_agencys_and_not_taken_for_inability(agency: Agency) -> None:
    agency.answer = Refusal(229, "The SELECT permission was denied on the object 'smsd_dossiers'.")

    with pytest.raises(AgencyError) as caught, agency.reader().look() as look:
        assert isinstance(look, SummingLook)
        look.sums()

    assert caught.value.code == "permission_denied"


def test_a_silent_sum_ends_at_the_deadline_and_when_cancelled(agency: Agency) -> None:
    agency.answer = Silence()
    with pytest.raises(AgencyError) as caught, agency.reader(timeout=timedelta(seconds=0.6)).look() as look:
        look.sums()  # type: ignore[attr-defined]
    assert caught.value.code == "timeout"

    reader = agency.reader()
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            with reader.look() as look:
                look.sums()  # type: ignore[attr-defined]
        except BaseException as error:
            errors.append(error)

    before = len(agency.server.said)
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    wait_until(lambda: len(agency.server.said) == before + 2)
    started = time.monotonic()
    reader.cancel()
    thread.join(5)

    assert time.monotonic() - started < 3
    assert [getattr(error, "code", error) for error in errors] == ["timeout"]


@pytest.mark.parametrize("error", [ValueError("mine"), AgencyError("mine", code="timeout")])
def test_what_a_consumer_raises_comes_out_as_it_is_and_the_next_look_is_sound(
    agency: Agency, error: Exception
) -> None:
    reader = agency.reader()

    def take(_: RowBlock) -> None:
        raise error

    with pytest.raises(type(error)) as caught, reader.look() as look:
        look.everything(take, whole=True)
    assert caught.value is error

    found = Taken()
    with reader.look() as look:
        look.everything(found.take, whole=False)
    assert found.rows == ROWS
