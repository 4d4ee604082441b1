"""Names are cleaned for people and folded for comparing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.names import clean_text, fold_name

CLEANED = [
    ("  H32-0001 ", "H32-0001"),
    ("\u00a0Trả kết quả\u3000", "Trả kết quả"),
    ("Trả\tkết\r\nquả", "Trả kết quả"),
    ("Trả\u2028kết quả", "Trả kết quả"),
    ("H32\x00\x07-0001\x1b", "H32-0001"),
    ("H32\u202e-0001\u202c", "H32-0001"),
    ("\ufeffH32\u200b-0001\u2069\u061c", "H32-0001"),
    ("H32\ud8000001", "H320001"),
    ("Tiếp nhận", "Tiếp nhận"),
    ("Tie\u0302\u0301p  nhận", "Tie\u0302\u0301p  nhận"),
    ("\x00 \t", ""),
]


@pytest.mark.parametrize(("raw", "cleaned"), CLEANED)
def test_a_text_loses_what_a_reader_cannot_see(raw: str, cleaned: str) -> None:
    assert clean_text(raw) == cleaned


SAME_NAMES = [
    ("Trả kết quả", "TRẢ  KẾT QUẢ"),
    ("Trả kết quả", unicodedata.normalize("NFD", "Trả kết quả")),
    ("Trả kết quả", "\u00a0trả\u00a0kết\tquả\n"),
    ("Đã rút", "đã RÚT"),
    ("Chờ bổ sung", "Chờ\u200b bổ sung\u202c"),
    ("Straße", "STRASSE"),
]


@pytest.mark.parametrize(("one", "other"), SAME_NAMES)
def test_names_that_look_alike_fold_to_one(one: str, other: str) -> None:
    assert fold_name(one) == fold_name(other)


def test_names_that_differ_by_a_tone_stay_two() -> None:
    assert fold_name("Đã trả") != fold_name("Da tra")
    assert fold_name("Trả kết quả") != fold_name("Tra kết quả")


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean_text(clean_text(text)) == clean_text(text)


@given(st.text(alphabet=st.characters()))
def test_cleaned_text_can_be_encoded_and_holds_no_control_character(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert not any(unicodedata.category(c) == "Cc" for c in cleaned)


@given(st.text())
def test_folding_twice_changes_nothing_more(text: str) -> None:
    assert fold_name(fold_name(text)) == fold_name(text)


@given(st.text())
def test_the_two_normal_forms_of_a_name_fold_to_one(text: str) -> None:
    assert fold_name(unicodedata.normalize("NFD", text)) == fold_name(unicodedata.normalize("NFC", text))
