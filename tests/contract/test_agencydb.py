"""What every reader of an agency's view has to do, whatever the database; the fake one of other tests included."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from smsd.core.errors import AGENCY_FAULTS, AgencyError
from smsd.core.rows import VIEW_COLUMNS, parse_instant
from smsd.services.ports import AgencyReader, RawRow
from tests.contract.agencyrig import SOON, Rig, a_row, held_up
from tests.support.agencyviews import COLUMNS
from tests.support.builders import ZONE, local
from tests.support.postgres import wait_until


def everything(reader: AgencyReader, columns: tuple[str, ...] = VIEW_COLUMNS) -> list[RawRow]:
    return [row for block in reader.rows(columns) for row in block]


def fault_of(reader: AgencyReader) -> AgencyError:
    with pytest.raises(AgencyError) as caught:
        everything(reader)
    assert caught.value.code in AGENCY_FAULTS
    assert caught.value.hint
    return caught.value


def test_every_row_comes_once_in_blocks_of_plain_tuples(rig: Rig) -> None:
    rig.agency.insert(a_row(number) for number in range(4_321))

    blocks = list(rig.open().rows())

    assert max(map(len, blocks)) < 4_321
    assert all(blocks)
    rows = [row for block in blocks for row in block]
    assert {type(row) for row in rows} == {tuple}
    assert sorted(str(row[0]) for row in rows) == [f"H32.12-260803-{number:04d}" for number in range(4_321)]


def test_rows_have_exactly_the_columns_asked_for_in_their_order(rig: Rig) -> None:
    rig.agency.insert([a_row()])
    reader = rig.open()

    assert everything(reader, ("status", "dossier_code", "status")) == [
        ("Đang xử lý", "H32.12-260803-0001", "Đang xử lý")
    ]
    assert [len(row) for row in everything(reader)] == [len(VIEW_COLUMNS)]
    assert everything(reader, ("updated_at",))[0][0] is not None


def test_an_empty_view_gives_no_block(rig: Rig) -> None:
    assert list(rig.open().rows()) == []


def test_columns_are_found_by_the_names_the_agency_gives_them_whatever_their_case(rig: Rig) -> None:
    rig.agency.insert([a_row()])
    rig.agency.show(
        {c: c for c in COLUMNS} | {"dossier_code": "Mã Hồ Sơ", "step": "TenBuoc", "phone": "PHONE"}
    )

    reader = rig.open(columns={"dossier_code": "Mã Hồ Sơ", "step": "tenbuoc"})

    assert everything(reader, ("dossier_code", "step", "phone")) == [
        ("H32.12-260803-0001", "Thẩm định", "0905 123 456")
    ]
    assert reader.has_column("step")


@pytest.mark.parametrize(
    "value", ["H32.12", "O'Brien; DROP TABLE dossiers --", 'hai "ngoặc"', "Sở Xây dựng 100%"]
)
def test_a_filter_reads_only_rows_with_exactly_its_value(rig: Rig, value: str) -> None:
    rig.agency.insert([a_row(1, agency_code=value), a_row(2, agency_code="H32"), a_row(3)])

    reader = rig.open(filter={"AGENCY_CODE": value, "step": "Thẩm định"})

    assert everything(reader, ("dossier_code",)) == [("H32.12-260803-0001",)]


def test_a_filter_of_null_reads_only_rows_without_a_value(rig: Rig) -> None:
    rig.agency.insert([a_row(1, agency_code="H32"), a_row(2)])

    assert everything(rig.open(filter={"agency_code": None}), ("dossier_code",)) == [("H32.12-260803-0002",)]


def test_optional_columns_a_view_lacks_read_as_null(rig: Rig) -> None:
    rig.agency.insert([a_row()])
    optional = ("status", "procedure_name", "resolved_at", "updated_at")
    rig.agency.show([c for c in COLUMNS if c not in optional])
    reader = rig.open()

    assert everything(reader, (*optional, "step")) == [(None, None, None, None, "Thẩm định")]
    assert not reader.has_column("resolved_at")
    assert reader.has_column("due_at")


@pytest.mark.parametrize(
    "column", ["dossier_code", "phone", "step", "procedure_code", "received_at", "due_at"]
)
def test_a_needed_column_that_is_missing_is_named_with_those_there_are(rig: Rig, column: str) -> None:
    rig.agency.insert([a_row()])
    rig.agency.show([c for c in COLUMNS if c != column])

    error = fault_of(rig.open())

    assert error.code == "column_missing"
    assert f"no {column} among" in error.message
    assert "resolved_at" in error.message


def test_a_column_named_for_the_agency_must_be_there_even_an_optional_one(rig: Rig) -> None:
    rig.agency.insert([a_row()])

    error = fault_of(rig.open(columns={"status": "TinhTrang"}))

    assert error.code == "column_missing"
    assert "TinhTrang" in error.message


def test_a_column_added_to_the_view_is_seen_by_the_next_read(rig: Rig) -> None:
    rig.agency.insert([a_row()])
    rig.agency.show([c for c in COLUMNS if c != "status"])
    reader = rig.open()
    assert everything(reader, ("status",)) == [(None,)]

    rig.agency.show()

    assert everything(reader, ("status",)) == [("Đang xử lý",)]


@pytest.mark.parametrize(
    "text", ["Trả kết quả", "Tra\u0309 kê\u0301t qua\u0309", "😀 ở đâu", "  100% \\ ' \" ? %s  ", ""]
)
def test_texts_come_as_they_are(rig: Rig, text: str) -> None:
    rig.agency.insert([a_row(step=text)])

    assert everything(rig.open(), ("step",)) == [(text,)]


def test_null_values_come_as_none(rig: Rig) -> None:
    rig.agency.insert([{}])

    assert everything(rig.open()) == [(None,) * len(VIEW_COLUMNS)]


def test_dates_without_a_zone_are_in_the_configured_one(rig: Rig) -> None:
    rig.agency.insert([a_row(due_at="2026-08-05 17:00:00.123456")])

    ((due,),) = everything(rig.open(), ("due_at",))

    assert parse_instant(due, ZONE) == local("2026-08-05 17:00").replace(microsecond=123456)


def test_dates_with_a_zone_keep_it(rig: Rig) -> None:
    if rig.kind == "postgresql":
        rig.agency.lose_view()
        rig.agency.execute("ALTER TABLE dossiers ALTER due_at TYPE timestamptz")
        rig.agency.show()
    if rig.kind == "sqlserver":
        rig.agency.retype(due_at="DATETIMEOFFSET")
    rig.agency.insert([a_row(due_at="2026-08-05 10:00:00 +00:00")])

    ((due,),) = everything(rig.open(), ("due_at",))

    assert parse_instant(due, ZONE) == datetime(2026, 8, 5, 10, tzinfo=UTC)


IMPOSSIBLE = ["0044-03-15 12:00:00 BC", "20216-08-05 17:00:00", "infinity", "-infinity"]


def test_dates_that_python_cannot_hold_do_not_fail_the_read(rig: Rig) -> None:
    if rig.kind == "sqlserver":  # whose dates Python can hold all
        rig.agency.retype(due_at="NVARCHAR(40)")
    rig.agency.insert(a_row(number, due_at=value) for number, value in enumerate(IMPOSSIBLE))
    rig.agency.insert([a_row(9)])

    rows = everything(rig.open(), ("dossier_code", "due_at"))

    assert len(rows) == len(IMPOSSIBLE) + 1
    for code, due in rows:
        if str(code).endswith("9"):
            assert parse_instant(due, ZONE) == local("2026-08-05 17:00")
        else:
            with pytest.raises(ValueError, match=r".+"):
                parse_instant(due, ZONE)


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, errors


def statement_under_way(rig: Rig, reader: AgencyReader) -> Callable[[], bool]:
    """A condition that comes true when the reader's statement hangs: asleep in the server, or busy in this process."""
    if rig.kind == "postgresql":
        return lambda: (
            rig.agency.ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == 1
        )
    if rig.kind == "sqlite":
        before = time.process_time()
        return lambda: time.process_time() - before > 0.2
    if rig.kind == "sqlserver":
        return held_up(reader)
    return lambda: reader.waiting  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("ending", ["cancel", "close"])
def test_a_hanging_read_ends_soon_when_another_thread_says_so(rig: Rig, ending: str) -> None:
    rig.agency.hang()
    reader = rig.open()
    under_way = statement_under_way(rig, reader)
    thread, errors = in_thread(lambda: everything(reader))
    wait_until(under_way)

    started = time.monotonic()
    getattr(reader, ending)()
    assert time.monotonic() - started < 1.0
    thread.join(SOON)

    assert not thread.is_alive()
    (error,) = errors
    assert isinstance(error, AgencyError)
    assert error.code == "timeout"


def test_a_read_ends_at_its_deadline(rig: Rig) -> None:
    rig.agency.hang()
    started = time.monotonic()

    error = fault_of(rig.open(timeout=rig.short))

    assert error.code == "timeout"
    assert time.monotonic() - started < SOON


def test_a_cancelled_read_between_two_blocks_gives_no_more(rig: Rig) -> None:
    rig.agency.insert(a_row(number) for number in range(5_000))
    reader = rig.open()
    blocks = reader.rows()
    next(blocks)

    reader.cancel()

    with pytest.raises(AgencyError) as caught:
        list(blocks)
    assert caught.value.code == "timeout"


def test_ending_a_reader_that_reads_nothing_does_no_harm(rig: Rig) -> None:
    rig.agency.insert([a_row()])
    reader = rig.open()
    reader.cancel()
    reader.close()

    assert len(everything(reader)) == 1
    reader.cancel()
    reader.close()
    assert len(everything(reader)) == 1


def test_a_reader_can_be_used_again_after_a_fault_and_after_a_read_left_half(rig: Rig) -> None:
    rig.agency.insert(a_row(number) for number in range(5_000))
    reader = rig.open(timeout=timedelta(seconds=10))
    rig.agency.lose_view()
    assert fault_of(reader).code == "view_missing"
    rig.agency.show()
    assert len(everything(reader)) == 5_000

    next(reader.rows())

    assert len(everything(reader)) == 5_000


def test_a_new_read_ends_an_unfinished_one(rig: Rig) -> None:
    rig.agency.insert(a_row(number) for number in range(5_000))
    reader = rig.open()
    unfinished = reader.rows()
    next(unfinished)

    assert len(everything(reader)) == 5_000
    with pytest.raises(AgencyError):
        list(unfinished)
    assert len(everything(reader)) == 5_000


def test_whether_there_is_a_column_can_be_asked_first(rig: Rig) -> None:
    rig.agency.show([c for c in COLUMNS if c != "resolved_at"])
    reader = rig.open()

    assert not reader.has_column("resolved_at")
    assert reader.has_column("updated_at")


def test_a_check_of_a_good_view_finds_no_fault(rig: Rig) -> None:
    rig.agency.insert([a_row()])

    results = rig.open().check()

    assert [result.name for result in results] == ["connection", "view", "columns", "read-only", "rows"]
    assert {result.state for result in results if result.name != "read-only"} == {"ok"}


def test_a_check_of_an_empty_view_warns(rig: Rig) -> None:
    assert rig.open().check()[-1].state == "warning"


def test_a_check_of_a_missing_view_fails_with_a_hint_instead_of_raising(rig: Rig) -> None:
    rig.agency.lose_view()

    last = rig.open().check()[-1]

    assert (last.name, last.state) == ("view", "failed")
    assert last.hint
