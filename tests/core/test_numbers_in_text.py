"""Numbers in sentences are masked, and every number of a phone field has one form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.phones import mask_numbers, numbers_in

SPELLINGS = (
    "0905123456", "+84905123456", "84905123456", "0084905123456", "905123456", "0905 123 456", "0905.123.456",
    "0905-123-456", "(0905) 123 456", "+84 905 123 456", "84-905-123-456", "+84 (0) 905 123 456", "0 905 123 456",
    "０９０５１２３４５６",
)  # fmt: skip
AROUND = (
    "{}",
    "to={}&coding=2",
    "bad number {}, try again",
    "(phone)=({}) exists",
    "'{}'",
    "tel.{}.",
    "id:{}\n",
)
WORDS = st.text(alphabet=st.characters(exclude_categories=("Nd", "Cs")), max_size=12)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_number_in_a_sentence_is_masked_in_every_spelling(spelling: str, around: str) -> None:
    masked = mask_numbers(around.format(spelling))
    assert "0905***456" in masked
    assert "123" not in masked and "１２３" not in masked


@given(WORDS, st.lists(st.sampled_from(SPELLINGS), min_size=1, max_size=3), WORDS)
def test_several_numbers_in_a_row_are_masked_each(before: str, numbers: list[str], after: str) -> None:
    masked = mask_numbers(f"{before} {' ; '.join(numbers)} {after}")
    assert masked.count("0905***456") >= len(numbers)


@pytest.mark.parametrize(
    "text",
    [
        "000.00.12.H32-260803-0001 is repeated", "H32.12-260803-0001", "000.00.12-260803-0001", "2026-11-24 18:34:31",
        "10.93.123.45:1433 cannot be reached", "192.168.100.200", "1753412345123", "9051234567 bytes",
        "a0905123456f", "smpp error 0x00000045", "",
    ],
)  # fmt: skip
def test_codes_dates_addresses_and_counts_stay_readable(text: str) -> None:
    assert mask_numbers(text) == text


@pytest.mark.parametrize("text", ["0258 3822222 is none", "0582222333 may be old", "01621234567 is old"])
def test_landlines_and_old_numbers_are_masked_too(text: str) -> None:
    digits = "".join(char for char in text if char.isdigit())
    masked = mask_numbers(text)
    assert "***" in masked
    assert sum(char.isdigit() for char in masked) < len(digits)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_mobile_number_has_one_form(spelling: str) -> None:
    assert numbers_in(spelling) == {"84905123456"}


@pytest.mark.parametrize(
    ("field", "numbers"),
    [
        ("0905 123 456 - 0912 345 678 (con)", {"84905123456", "84912345678"}),
        ("01621234567", {"84321234567"}),
        ("0258.3822222", {"842583822222"}),
        ("+84 258 3822222", {"842583822222"}),
        ("058 2222333", {"84582222333"}),
        ("84582222333", {"84582222333"}),
        ("3822222", {"843822222"}),
        ("khong co", set()),
        ("", set()),
        (None, set()),
    ],
)
def test_every_number_of_a_field_is_named(field: str | None, numbers: set[str]) -> None:
    assert numbers_in(field) == numbers
