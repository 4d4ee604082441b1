"""Look-ups by text message: what was asked for however it was typed, and late or on time."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsd.core.lookups import LONGEST_CODE, candidates, fold_code, is_late, number_key, parse
from tests.support.builders import NOW, ZONE, local

CODE = "000.12.34.H32-260803-0001"


@pytest.mark.parametrize(
    "text",
    [
        f"MCKH {CODE}",
        f"mckh {CODE}",
        f"MC KH {CODE}",
        f"M.C.K.H {CODE}",
        f"MC-KH {CODE}",
        f"MCKH{CODE}",
        f"MCKH_{CODE}",
        f"MCKH#{CODE}",
        f"MCKH: {CODE}",
        f"MCKH - {CODE}",
        f"MCKH\n{CODE}",
        f"MCKH\u00a0\u00a0{CODE}",
        f"  MCKH   {CODE}  ",
        f"«MCKH» {CODE}",
        f'"MCKH {CODE}"',
        f"MCKH ({CODE})",
        f"MCKH <{CODE}>",
        f"MCKH [{CODE}]",
        f"\ufeffMCKH \u202a{CODE}\u202c",
        f"ＭＣＫＨ {CODE}",
        "MCKH ００0.12.34.H32-260803-٠٠٠1",
    ],
)
def test_the_code_is_found_however_the_text_was_typed(text: str) -> None:
    assert parse(text, "MCKH") == CODE


@pytest.mark.parametrize(
    "text", ["", "MCKH", "MCKH   ", "MCKH ...", "MCKH ?", CODE, f"MCK {CODE}", "xin chào"]
)
def test_a_text_without_keyword_or_code_has_the_wrong_syntax(text: str) -> None:
    assert parse(text, "MCKH") is None


def test_a_code_keeps_brackets_that_are_its_own() -> None:
    assert parse("MCKH HS(1)", "MCKH") == "HS(1)"
    assert parse("MCKH (HS(1))", "MCKH") == "HS(1)"


def test_a_code_longer_than_any_is_not_looked_for() -> None:
    assert parse("MCKH " + "1" * LONGEST_CODE, "MCKH") == "1" * LONGEST_CODE
    assert parse("MCKH " + "1" * (LONGEST_CODE + 1), "MCKH") is None


def test_another_keyword_may_hold_signs_that_mean_something_in_patterns() -> None:
    assert parse("mc+ 1", "MC+") == "1"
    assert parse("MCC 1", "MC+") is None


@given(st.text())
@example("MCKH " + "(" * 5_000)
@example("M" + " ._-" * 5_000)
@example("MCKH" + "\u202e\ud800" * 9)
def test_whatever_arrives_is_a_code_or_wrong_syntax(text: str) -> None:
    code = parse(text, "MCKH")
    if code is not None:
        assert 0 < len(code) <= LONGEST_CODE
        assert code == code.strip()
        assert candidates(code).exact[0] == code


@given(st.from_regex(r"[A-Z0-9]{1,4}([.-][A-Z0-9]{1,6}){0,4}", fullmatch=True))
def test_every_plain_code_is_read_back(code: str) -> None:
    assert parse(f"MCKH {code}", "MCKH") == code
    assert candidates(code).exact == (code,)


@pytest.mark.parametrize(
    ("code", "exact", "folded"),
    [
        ("H32-1", ("H32-1",), ("h32-1",)),
        ("H32-1.", ("H32-1.", "H32-1"), ("h32-1.", "h32-1")),
        ("H32 - 1", ("H32 - 1",), ("h32-1", "h32")),
        ("H32-1 xin cảm ơn!", ("H32-1 xin cảm ơn!", "H32-1 xin cảm ơn"), None),
    ],
)
def test_exact_codes_come_before_folded_ones(
    code: str, exact: tuple[str, ...], folded: tuple[str, ...] | None
) -> None:
    found = candidates(code)
    assert found.exact == exact
    if folded is not None:
        assert found.folded == folded


def test_a_greeting_behind_the_code_does_not_hide_it() -> None:
    assert candidates("H32-1, cho hỏi hồ sơ của tôi?").folded[-1] == "h32-1"


@given(st.text(min_size=1))
@example("\x1f")
def test_candidates_are_distinct_and_never_blank(code: str) -> None:
    found = candidates(code)
    for codes in (found.exact, found.folded):
        assert len(set(codes)) == len(codes)
        assert all(codes)


@pytest.mark.parametrize("spelling", ["h32.đ-1", "H32.Đ-1", " H32 . Đ - 1 ", "Ｈ３２.Đ-1", "h32.\u00a0đ-1"])
def test_codes_fold_case_width_and_spaces(spelling: str) -> None:
    assert fold_code(spelling) == "h32.đ-1"


@given(st.text())
@example("A\u00af")  # a spacing macron is a space and a combining one
@example("\u0345\u0300ǰ\u0323")
def test_folding_a_code_twice_changes_nothing(code: str) -> None:
    assert fold_code(fold_code(code)) == fold_code(code)
    assert fold_code(unicodedata.normalize("NFD", code)) == fold_code(code)


NOON, MIDNIGHT = local("2026-08-03 12:00"), local("2026-08-03 00:00")


@pytest.mark.parametrize(
    ("due", "resolved", "done_since", "now", "late"),
    [
        (None, None, None, local("2030-01-01 00:00"), False),
        (NOON, None, None, local("2026-08-03 12:00"), False),
        (NOON, None, None, local("2026-08-03 12:01"), True),
        (NOON, local("2026-08-03 11:00"), None, local("2026-09-01 00:00"), False),
        (NOON, local("2026-08-03 13:00"), None, local("2026-09-01 00:00"), True),
        (NOON, None, local("2026-08-03 11:00"), local("2026-09-01 00:00"), False),
        (NOON, None, local("2026-08-03 13:00"), local("2026-09-01 00:00"), True),
        (
            NOON,
            local("2026-08-03 13:00"),
            local("2026-08-03 11:00"),
            NOON,
            True,
        ),  # the agency's own word first
        (MIDNIGHT, None, None, local("2026-08-03 23:59"), False),
        (MIDNIGHT, None, None, local("2026-08-04 00:00"), True),
        (MIDNIGHT, local("2026-08-03 16:00"), None, local("2026-09-01 00:00"), False),
        (MIDNIGHT, local("2026-08-04 08:00"), None, local("2026-09-01 00:00"), True),
    ],
)
def test_late_is_judged_by_when_it_was_resolved_else_seen_done_else_now(
    due: datetime | None,
    resolved: datetime | None,
    done_since: datetime | None,
    now: datetime,
    late: bool,
) -> None:
    assert is_late(due, resolved, done_since, now, ZONE) is late


@given(st.timedeltas(timedelta(0), timedelta(days=3)), st.timedeltas(timedelta(0), timedelta(days=3)))
def test_an_open_dossier_once_late_stays_late(first: timedelta, more: timedelta) -> None:
    due = local("2026-08-04 00:00")
    if is_late(due, None, None, NOW + first, ZONE):
        assert is_late(due, None, None, NOW + first + more, ZONE)


def test_one_telephone_has_one_key_however_the_provider_writes_it() -> None:
    spellings = [
        "0905123456",
        "84905123456",
        "+84905123456",
        "0084905123456",
        "+84 905-123-456",
        "٠905123456",
    ]
    assert {number_key(number) for number in spellings} == {"84905123456"}
    assert number_key("9029") == "9029"
    assert number_key("Viettel") == ""
