"""The phone field: the number that is meant in every spelling, or the reason why nobody is texted."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from smsd.core.model import PHONE_REASONS, Reason
from smsd.core.phones import MOBILE_PREFIXES, RENUMBERED, Phone, classify, format_number, mask_phone

MEANT = "84905123456"

SPELLINGS = [
    "0905123456",
    " 0905 123 456 ",
    "0905.123.456",
    "0905-123-456",
    "0905 - 123 - 456",
    "0905,123,456",
    "0905/123456",
    "(0905) 123456",
    "0 9 0 5 1 2 3 4 5 6",
    "905123456",
    "905 123 456",
    "90 5123456",
    "84905123456",
    "+84905123456",
    "+84 905 123 456",
    "+84 (0) 905-123-456",
    "(+84)0905123456",
    "(+84) 0905 123 456",
    "0084905123456",
    "00 84 905 123 456",
    "840905123456",
    "849 051 234 56",
    "０９０５１２３４５６",
    "＋84905123456",
    "٠٩٠٥١٢٣٤٥٦",
    "0905\u00a0123\u00a0456",
    "\u202a0905123456\u202c",
    "0905\u200b123\u00ad456",
    "DĐ: 0905.123.456 - NR 3822222",
    "0905123456 (A Nam)",
    "A.Nam0905123456",
    "0905123456/0912345678",
    "0905123456 0912345678",
    "0905 123 456 0912 345 678",
    "0905 123 456 91 234 5678",
    "0905 123 456 3822222",
    "0905.123.456-0912.345.678",
    "0905123456-457",
    "0905.123.456/457",
    "0912…/0905123456",
    "3822222 / 0905123456",
    "0258 3822222; 0905 123 456",
    "02583822222\n0905123456",
    "0583822222 - 0905123456",
    "12/3 0905123456",
    "12 +84 905 123 456",
    "0000000000, 0905123456",
    "CCCD 056190001234, ĐT 0905123456",
    "sinh 15/09/1990, 0905123456",
    "o905123456",
    "0905123456.0",
]


@pytest.mark.parametrize("raw", SPELLINGS)
def test_the_first_mobile_number_is_found_however_it_is_written(raw: str) -> None:
    assert classify(raw) == Phone(MEANT, None)


@pytest.mark.parametrize("raw", ["0841234567", "841234567", "84841234567", "+84841234567", "0084841234567"])
def test_a_number_that_begins_like_the_country_code_is_not_mistaken_for_it(raw: str) -> None:
    assert classify(raw).number == "84841234567"


REFUSED = {
    Reason.NO_PHONE: [None, "", "   ", "không có", "chưa cung cấp ĐT", "---", "\u200b", "Ⅳ"],
    Reason.LANDLINE: [
        "02583822222",
        "0258 3822222",
        "0258.3.822.222",
        "(0258) 3.822.222",
        "2583822222",
        "+84 258 3822222",
        "84 2583822222",
        "0259 3822222",
        "02438222222",
        "024 3822 2222",
        "0438222222",
        "0683822222",
        "068.3822222",
        "0511 3822222",
        "3822222",
        "3.822.222",
        "6250123",
        "38222222",
        "NR: 3822222 gặp A Nam",
        "77/3822222",
        "84 3822222",
    ],
    Reason.AMBIGUOUS_PHONE: [
        "0582222222",
        "0583822222",
        "058.3822222",
        "(058) 3822222",
        "058 3 822 222",
        "0586250123",
        "0587300000",
        "583822222",
        "+84583822222",
        "84583822222",
        "0583822222 (cơ quan)",
        "3822222 - 0583822222",
        "113 / 0583822222",
    ],
    Reason.INVALID_PHONE: [
        "0",
        "113",
        "số nhà 12",
        "0905 12345",
        "09051234567",
        "0905 123 456 7",
        "0905 912 345 678",
        "90512345",
        "0123456789",
        "01234567890",
        "1234567890",
        "0000000000",
        "0999999999",
        "999999999",
        "1111111111",
        "0900000000",
        "01633333333",
        "0905 +123456",
        "+841234567",
        "+12015550123",
        "+66 905123456",
        "00 66 905123456",
        "+1 (905) 123-4567",
        "19001234",
        "0401234567",
        "056190001234",
        "056 1900 012 34",
        "0905x123x456",
        "0" * 40,
    ],
}


@pytest.mark.parametrize(
    ("raw", "reason"), [(raw, reason) for reason, fields in REFUSED.items() for raw in fields]
)
def test_a_field_without_a_mobile_number_says_why(raw: str | None, reason: Reason) -> None:
    assert classify(raw) == Phone(None, reason)


def test_khanh_hoas_old_landlines_are_ambiguous_only_with_a_landlines_first_digit() -> None:
    reasons = {digit: classify(f"058{digit}822222").reason for digit in "0123456789"}
    ambiguous = {digit for digit, reason in reasons.items() if reason is Reason.AMBIGUOUS_PHONE}
    assert ambiguous == {"2", "3", "6", "7"}
    assert all(reasons[digit] is None for digit in set(reasons) - ambiguous)


OPERATORS_SWITCH = [
    ("0162", "032"),
    ("0163", "033"),
    ("0164", "034"),
    ("0165", "035"),
    ("0166", "036"),
    ("0167", "037"),
    ("0168", "038"),
    ("0169", "039"),
    ("0120", "070"),
    ("0121", "079"),
    ("0122", "077"),
    ("0126", "076"),
    ("0128", "078"),
    ("0123", "083"),
    ("0124", "084"),
    ("0125", "085"),
    ("0127", "081"),
    ("0129", "082"),
    ("0186", "056"),
    ("0188", "058"),
    ("0199", "059"),
]


@pytest.mark.parametrize(("old", "new"), OPERATORS_SWITCH)
def test_a_number_of_before_september_2018_is_converted(old: str, new: str) -> None:
    spellings = [
        f"{old}2345671",
        f"{old} 234 5671",
        f"{old[1:]}2345671",
        f"+84{old[1:]}2345671",
        f"84 {old[1:]} 2345671",
    ]
    assert {classify(raw).number for raw in spellings} == {f"84{new[1:]}2345671"}


def test_an_old_number_now_under_058_was_never_a_landline() -> None:
    assert classify("01883822222").number == "84583822222"


def test_no_other_old_prefix_is_converted() -> None:
    assert {f"0{prefix}" for prefix in RENUMBERED} == {old for old, _ in OPERATORS_SWITCH}
    for prefix in range(100, 200):
        converted = classify(f"0{prefix}2345671").number is not None
        assert converted == (str(prefix) in RENUMBERED)


mobiles = st.builds(
    str.__add__, st.sampled_from(sorted(MOBILE_PREFIXES)), st.from_regex(r"[0-9]{7}", fullmatch=True)
)
separators = st.sampled_from([" ", ".", "-", "\u00a0", " - ", "  ", ". "])


@st.composite
def spelled(draw: st.DrawFn) -> tuple[str, str]:
    """A mobile number's nine digits, and the same number as somebody may have typed it."""
    number = draw(mobiles)
    prefix = draw(st.sampled_from(["0", "84", "+84", "0084", "(+84)0", "+84 ", "(+84) 0"]))
    separator = draw(separators)
    first = draw(st.sampled_from([2, 3]))
    cut = draw(st.sampled_from([first, 5, 6]))
    groups = [number[:first], number[first:cut], number[cut:]] if draw(st.booleans()) else [number]
    remark = draw(st.sampled_from(["", " (A Nam)", " - vợ", "; NR 3822222", " / 0258.3822222"]))
    return number, prefix + separator.join(filter(None, groups)) + remark


@given(spelled())
def test_every_mobile_number_reads_the_same_in_every_spelling(spelling: tuple[str, str]) -> None:
    number, typed = spelling
    assume(classify(f"0{number}").reason is not Reason.INVALID_PHONE)  # typed to fill the field
    assert classify(typed) == classify(f"0{number}")


@given(mobiles)
def test_a_lost_leading_zero_changes_nothing(number: str) -> None:
    assert classify(number) == classify(f"0{number}") == classify(f"84{number}")


@given(mobiles)
def test_a_found_number_is_the_one_typed_and_is_found_again_in_itself(number: str) -> None:
    phone = classify(f"0{number}")
    if phone.number is None:
        assert phone.reason in (Reason.AMBIGUOUS_PHONE, Reason.INVALID_PHONE)
    else:
        assert phone.number == f"84{number}"
        assert classify(phone.number) == phone


LEFT_TO_THE_NETWORKS = {"52", "55", "89", "99"}
"""Prefixes of which the library's metadata knows some blocks only."""


@pytest.mark.parametrize("prefix", sorted(MOBILE_PREFIXES - LEFT_TO_THE_NETWORKS))
def test_a_second_opinion_takes_every_prefix_of_the_table_for_mobile(prefix: str) -> None:
    parsed = phonenumbers.parse(f"+84{prefix}1234561")
    assert phonenumbers.number_type(parsed) is phonenumbers.PhoneNumberType.MOBILE


@given(st.from_regex(r"02[0-9]{9}", fullmatch=True))
def test_no_landline_of_today_is_ever_texted(raw: str) -> None:
    assert classify(raw).reason is Reason.LANDLINE


typed = st.text(alphabet=st.sampled_from("0123456789+84 .-/(),;ABđ\n\u00a0\u200b９٣"), max_size=40)


@given(st.one_of(typed, st.text()))
@example("1 " * 5_000)
@example("0905 123 456 7" * 2_000)
def test_whatever_is_typed_is_a_number_or_a_reason(raw: str) -> None:
    phone = classify(raw)
    assert (phone.number is None) != (phone.reason is None)
    if phone.number is not None:
        assert len(phone.number) == 11 and phone.number.isascii() and phone.number.isdigit()
        assert phone.number[:2] == "84" and phone.number[2:4] in MOBILE_PREFIXES
    else:
        assert phone.reason in PHONE_REASONS


@given(typed)
def test_a_field_without_digits_is_no_phone_and_only_such_a_field(raw: str) -> None:
    assert (classify(raw).reason is Reason.NO_PHONE) == (not any(char.isdecimal() for char in raw))


@pytest.mark.parametrize(("number", "reason"), [(None, None), ("84905123456", Reason.LANDLINE)])
def test_a_phone_is_a_number_or_a_reason_and_never_both(number: str | None, reason: Reason | None) -> None:
    with pytest.raises(ValueError, match="either"):
        Phone(number, reason)


@pytest.mark.parametrize("raw", SPELLINGS)
def test_a_mobile_number_is_masked_alike_in_every_spelling(raw: str) -> None:
    assert mask_phone(raw) == "0905***456"


@pytest.mark.parametrize(
    ("raw", "masked"),
    [
        ("", ""),
        ("  ", ""),
        ("Nguyễn Văn Nam", "***"),
        ("12 Trần Phú", "***"),
        ("113", "1***"),
        ("3822222", "38***2"),
        ("02583822222", "0258***222"),
        ("0583822222", "0583***222"),
        ("0905 12345", "090***45"),
        ("01201234567", "0701***567"),
        ("CCCD 056190001234 Nguyễn Văn Nam", "0561***234"),
    ],
)
def test_of_anything_else_a_few_digits_are_shown(raw: str, masked: str) -> None:
    assert mask_phone(raw) == masked


@given(st.one_of(typed, st.text()))
def test_a_mask_never_shows_a_letter_nor_all_digits_nor_more_than_seven(raw: str) -> None:
    masked = mask_phone(raw)
    shown = masked.replace("***", "")
    digits = [char for char in raw if char.isdecimal()]
    assert shown == "" or (shown.isascii() and shown.isdigit())
    assert len(shown) <= 7
    assert not digits or len(shown) < len(digits)


def test_a_number_is_written_as_the_gateway_wants_it() -> None:
    styles = {style: format_number(MEANT, style) for style in ("84", "+84", "0")}
    assert styles == {"84": "84905123456", "+84": "+84905123456", "0": "0905123456"}
    assert {classify(written).number for written in styles.values()} == {MEANT}


def test_an_unknown_number_format_is_refused() -> None:
    with pytest.raises(ValueError, match="number format"):
        format_number(MEANT, "E.164")
