"""Raw values of agencies' views become instants, texts and dossiers; or are named as what cannot be read."""

# ruff: noqa: DTZ001, DTZ901 - drivers give naive values, and so do these tests

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.rows import VIEW_COLUMNS, BadRow, dossier_from, parse_instant, phone_of, text_of

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
MORNING = datetime(2026, 8, 3, 3, 15, tzinfo=UTC)


def a_raw(**values: object) -> tuple[object, ...]:
    row: dict[str, object] = {"dossier_code": "H32.12-1", "step": "Tiếp nhận", **values}
    return tuple(row.get(column) for column in VIEW_COLUMNS)


@pytest.mark.parametrize(
    "raw",
    [
        "2026-08-03 10:15:00",
        "2026-08-03T10:15:00",
        "2026-08-03t10:15",
        "  2026-08-03   10:15:00 ",
        "2026-08-03T10:15:00+07:00",
        "2026-08-03 10:15:00+07",
        "2026-08-03 10:15:00+0700",
        "2026-08-03 10:15:00.0000000 +07:00",
        "2026-08-03T03:15:00Z",
        "2026-08-03T03:15:00z",
        "2026-08-02T22:15:00-05:00",
        "2026-08-03 10:21:40+07:06:40",
        "20260803T101500",
        "20260803T031500Z",
        "2026-08-03 10:15:00.000",
        b"2026-08-03 10:15:00",
        memoryview(b"2026-08-03 10:15:00"),
        datetime(2026, 8, 3, 10, 15),
        datetime(2026, 8, 3, 10, 15, tzinfo=ZONE),
        datetime(2026, 8, 3, 3, 15, tzinfo=UTC),
    ],
)
def test_every_spelling_of_one_instant_is_read_alike(raw: object) -> None:
    instant = parse_instant(raw, ZONE)
    assert instant == MORNING
    assert instant is not None
    assert instant.utcoffset() == timedelta(0)


@pytest.mark.parametrize("raw", [None, "", "   ", "\t", b""])
def test_null_and_blank_are_no_date(raw: object) -> None:
    assert parse_instant(raw, ZONE) is None


@pytest.mark.parametrize("raw", ["2026-08-03", "20260803", date(2026, 8, 3)])
def test_a_date_alone_is_its_midnight_in_the_zone(raw: object) -> None:
    assert parse_instant(raw, ZONE) == datetime(2026, 8, 2, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fraction", "micros"),
    [
        (".1", 100_000),
        (",25", 250_000),
        (".123456", 123_456),
        (".1234567", 123_456),
        (".123456789012", 123_456),
    ],
)
def test_fractions_of_any_length_are_read_to_the_microsecond(fraction: str, micros: int) -> None:
    instant = parse_instant(f"2026-08-03 10:15:00{fraction}", ZONE)
    assert instant == MORNING + timedelta(microseconds=micros)


@pytest.mark.parametrize(
    "raw",
    [
        "0044-03-15 10:00:00 BC",
        "-0044-03-15",
        "20216-01-01",
        "20216-01-01 00:00:00+07",
        "+20216-01-01",
        "infinity",
        "-infinity",
        "2026-02-31",
        "2026-13-01 00:00:00",
        "2026-00-10",
        "0000-01-01",
        "2026-08-03 25:00:00",
        "2026-08-03 10:60:00",
        "2026-08-03 10:15:00+25:00",
        "2026-08-03 10:15:00+07:75",
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59-05:00",
        "03/08/2026",
        "2026-08-03x10:15",
        "２０２６-08-03",
        "hôm qua",
        date.min,
        datetime.min,
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
        20260803,
        45872.5,
        Decimal("20260803"),
        True,
        time(10, 15),
    ],
)
def test_an_impossible_date_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_instant(raw, ZONE)


@given(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1)))
def test_text_reads_as_the_datetime_it_was_printed_from(moment: datetime) -> None:
    fixed = timezone(timedelta(hours=7))
    assert parse_instant(moment.isoformat(), fixed) == parse_instant(moment, fixed)
    assert parse_instant(str(moment) + "+07", UTC) == parse_instant(moment, fixed)


@given(st.text())
def test_any_text_is_an_instant_a_blank_or_refused(raw: str) -> None:
    try:
        instant = parse_instant(raw, ZONE)
    except ValueError:
        return
    assert (instant is None) == (not raw.strip())


@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda m: str(m.replace(microsecond=0))),
    st.lists(st.tuples(st.integers(0, 18), st.sampled_from("0159 -:T.,+Zz٣W\t")), max_size=3),
)
def test_the_usual_spelling_is_read_as_any_other(usual: str, changes: list[tuple[int, str]]) -> None:
    text = list(usual)
    for place, char in changes:
        text[place] = char

    def read(written: str) -> object:
        try:
            return parse_instant(written, ZONE)
        except ValueError:
            return None

    written = "".join(text)
    # with two spaces it is not of the usual length
    assert text[10] not in " Tt" or read(written) == read(f"{written[:10]}  {written[11:]}")


def test_a_whole_row_becomes_a_dossier() -> None:
    raw = (
        " H32.12-1 ",
        "0905 123 456",
        "Trả kết quả",
        "Chờ bổ sung",
        "1.004227",
        "Đăng ký\u202e khai sinh",
        "2026-08-01",
        datetime(2026, 8, 3, 17, 0),
        None,
    )
    dossier, bad = dossier_from(raw, ZONE)
    assert bad == ()
    assert (dossier.code, dossier.phone, dossier.step) == ("H32.12-1", "0905 123 456", "Trả kết quả")
    assert (dossier.status, dossier.procedure_code) == ("Chờ bổ sung", "1.004227")
    assert dossier.procedure_name == "Đăng ký khai sinh"
    assert dossier.received_at == datetime(2026, 7, 31, 17, tzinfo=UTC)
    assert dossier.due_at == datetime(2026, 8, 3, 10, tzinfo=UTC)
    assert dossier.resolved_at is None


def test_impossible_dates_read_as_null_and_are_named() -> None:
    raw = a_raw(received_at="infinity", due_at="2026-08-03", resolved_at="20216-01-01")
    dossier, bad = dossier_from(raw, ZONE)
    assert bad == ("received_at", "resolved_at")
    assert (dossier.received_at, dossier.resolved_at) == (None, None)
    assert dossier.due_at is not None


@pytest.mark.parametrize("code", [None, "", "  ", "\u200b", b""])
def test_a_row_without_a_code_is_bad(code: object) -> None:
    with pytest.raises(BadRow) as caught:
        dossier_from(a_raw(dossier_code=code), ZONE)
    assert caught.value.code is None
    assert "dossier_code" in caught.value.problem


@pytest.mark.parametrize("step", [None, "", "   "])
def test_a_row_without_a_step_is_bad_and_says_whose(step: object) -> None:
    with pytest.raises(BadRow) as caught:
        dossier_from(a_raw(step=step), ZONE)
    assert caught.value.code == "H32.12-1"
    assert "step" in str(caught.value)


def test_other_nulls_are_lawful() -> None:
    dossier, bad = dossier_from(a_raw(), ZONE)
    assert (dossier.phone, dossier.status, dossier.procedure_code, bad) == (None, None, None, ())


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (905123456, "905123456"),
        (905123456.0, "905123456"),
        (Decimal("905123456.00"), "905123456"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1.004227"), "1.004227"),
        (1.5, "1.5"),
        (float("nan"), "nan"),
        (Decimal("NaN"), "NaN"),
        ("Hồ sơ".encode(), "Hồ sơ"),
        (b"\xff1", "\ufffd1"),
        (memoryview(b"abc"), "abc"),
        ("a\x00b", "ab"),
        ("  a  b ", "a  b"),
        ("", None),
        (None, None),
    ],
)
def test_values_that_are_not_text_become_the_text_a_person_would_write(raw: object, text: str | None) -> None:
    assert text_of(raw) == text


@pytest.mark.parametrize(
    ("raw", "phone"),
    [
        (" 0905.123.456 (anh Ba) ", "0905.123.456 (anh Ba)"),
        ("0905123456\n0912345678", "0905123456 0912345678"),
        ("0905123456\u202e", "0905123456"),
        (905123456, "905123456"),
        (905123456.0, "905123456"),
        ("\t", None),
        (None, None),
    ],
)
def test_a_phone_stays_as_typed_but_line_breaks_part_two_numbers(raw: object, phone: str | None) -> None:
    assert phone_of(raw) == phone
