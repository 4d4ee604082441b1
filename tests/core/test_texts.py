"""Texts: placeholders are filled once, diacritics go where they must, and segments are counted as networks do."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsd.core.policy import Encoding
from smsd.core.texts import (
    GSM7_BASIC,
    GSM7_EXTENSION,
    PLACEHOLDERS,
    encode_for,
    fill,
    is_gsm7,
    placeholders_in,
    segments,
    split,
    unaccent,
)
from tests.support.builders import APOLOGY_TEXT, RESULT_TEXT, SUPPLEMENT_TEXT

VIETNAMESE = (
    "aàáảãạăằắẳẵặâầấẩẫậ" + "eèéẻẽẹêềếểễệ" + "iìíỉĩị" + "oòóỏõọôồốổỗộơờớởỡợ" + "uùúủũụưừứửữự" + "yỳýỷỹỵ" + "đ"
)
BARE = "a" * 18 + "e" * 12 + "i" * 6 + "o" * 18 + "u" * 12 + "y" * 6 + "d"
UNICODE, UNACCENTED = Encoding.UNICODE, Encoding.UNACCENTED


def test_every_placeholder_of_the_letter_is_filled() -> None:
    template = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
    values = {name: str(index) for index, name in enumerate(PLACEHOLDERS)}
    assert fill(template, values) == "0 1 2 3 4 5"


@pytest.mark.parametrize("text", [RESULT_TEXT, SUPPLEMENT_TEXT, APOLOGY_TEXT])
def test_the_missions_texts_hold_known_placeholders_only(text: str) -> None:
    assert set(placeholders_in(text)) <= set(PLACEHOLDERS)
    assert "{" not in fill(text, dict.fromkeys(PLACEHOLDERS, "x"))


def test_a_placeholder_is_known_in_either_normal_form() -> None:
    decomposed = unicodedata.normalize("NFD", "Số {Mã số hồ sơ}")
    assert decomposed != "Số {Mã số hồ sơ}"
    assert fill(decomposed, {"Mã số hồ sơ": "H32-1"}).endswith(" H32-1")
    assert placeholders_in(decomposed) == ["Mã số hồ sơ"]
    assert fill("{Mã số hồ sơ}", {unicodedata.normalize("NFD", "Mã số hồ sơ"): "H32-1"}) == "H32-1"


def test_placeholders_are_named_once_and_in_order() -> None:
    text = "{Tên cơ quan} {lạ} {Mã số hồ sơ} {Tên cơ quan} {}"
    assert placeholders_in(text) == ["Tên cơ quan", "lạ", "Mã số hồ sơ", ""]


def test_values_lose_control_and_bidi_characters_and_outer_spaces() -> None:
    assert fill("({Mã số hồ sơ})", {"Mã số hồ sơ": "\t H32\u202e-\x001\u200b\r\n"}) == "(H32-1)"


def test_a_placeholder_without_a_value_stays() -> None:
    assert fill("{Mã số hồ sơ} {lạ} {", {"Mã số hồ sơ": "1"}) == "1 {lạ} {"


braced = st.text(alphabet=st.sampled_from("{}x Mã")) | st.sampled_from(
    [f"{{{name}}}" for name in PLACEHOLDERS]
)


@given(code=braced, name=braced)
def test_nothing_that_was_filled_in_is_filled_again(code: str, name: str) -> None:
    values = {"Mã số hồ sơ": code, "Tên cơ quan": name}
    assert fill("<{Mã số hồ sơ}|{Tên cơ quan}>", values) == f"<{code.strip()}|{name.strip()}>"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_every_vietnamese_letter_loses_its_diacritics_in_both_normal_forms(form: str) -> None:
    letters = VIETNAMESE + VIETNAMESE.upper()
    written = unicodedata.normalize(form, letters)
    assert unaccent(written) == BARE + BARE.upper()
    assert is_gsm7(unaccent(written))


def test_tones_typed_before_the_circumflex_or_horn_are_removed_too() -> None:
    assert unaccent("e\u0301\u0302 o\u0323\u031b a\u0340") == "e o a"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Đúng hạn – “Trễ hạn”…", 'Dung han - "Tre han"...'),
        ("Ðăng ký (chữ Ð của Iceland)", "Dang ky (chu D cua Iceland)"),
        ("500.000\u00a0₫", "500.000 d"),
        ("‘a’ `b` ´c´", "'a' 'b' 'c'"),
        ("½ № ﬁ Ⅳ ① m² ＡＢ９", "1/2 No fi IV 1 m2 AB9"),
        ("Müller Ångström Straße Æsop Łódź", "Muller Angstrom Strasse AEsop Lodz"),
        ("10 € → 3 × 4", "10 EUR -> 3 x 4"),
        ("dòng 1\ndòng 2", "dong 1\ndong 2"),
        ("a\tb\u200bc\x07", "a bc"),
        ("hồ sơ 📄 Ω 中", "ho so ? ? ?"),
        ("한", "?"),
    ],
)
def test_what_has_no_place_in_the_alphabet_gets_a_sensible_likeness(text: str, plain: str) -> None:
    assert unaccent(text) == plain


@given(st.text())
@example("".join(map(chr, range(0x20, 0x2FF))))
def test_an_unaccented_text_is_ascii_within_the_gsm_alphabet(text: str) -> None:
    plain = unaccent(text)
    assert plain.isascii()
    assert is_gsm7(plain)
    assert unaccent(plain) == plain


@given(st.text())
def test_both_normal_forms_unaccent_alike(text: str) -> None:
    assert unaccent(unicodedata.normalize("NFC", text)) == unaccent(unicodedata.normalize("NFD", text))


def test_unicode_texts_leave_composed_and_otherwise_as_they_are() -> None:
    text = "Trễ hạn – “Đ” 📄"
    assert encode_for(unicodedata.normalize("NFD", text), UNICODE) == text
    assert encode_for(text, UNACCENTED) == 'Tre han - "D" ?'


def test_the_gsm_alphabet_is_the_standards() -> None:
    assert len(GSM7_BASIC) == len(set(GSM7_BASIC)) == 128
    places = {"@": 0, "\n": 10, "_": 17, " ": 32, "0": 48, "A": 65, "Ä": 91, "a": 97, "à": 127}
    assert {char: GSM7_BASIC.index(char) for char in places} == places
    assert all(char not in GSM7_BASIC for char in GSM7_EXTENSION)
    assert not is_gsm7("\x1b") and not is_gsm7("`") and not is_gsm7("ạ") and is_gsm7("à€{")


@pytest.mark.parametrize(
    ("text", "encoding", "count"),
    [
        ("", UNICODE, 1),
        ("a" * 160, UNACCENTED, 1),
        ("a" * 161, UNACCENTED, 2),
        ("a" * 306, UNACCENTED, 2),
        ("a" * 307, UNACCENTED, 3),
        ("{" * 80, UNACCENTED, 1),
        ("{" * 81, UNACCENTED, 2),
        ("a" * 158 + "{", UNACCENTED, 1),
        ("a" * 159 + "{", UNACCENTED, 2),
        ("{" * 152, UNACCENTED, 2),
        ("{" * 153, UNACCENTED, 3),  # 306 septets, but no escape is parted from its character
        ("a" * 152 + "{" + "a" * 152, UNACCENTED, 3),
        ("ạ" * 160, UNACCENTED, 1),
        ("e\u0323\u0302" * 160, UNACCENTED, 1),
        ("ạ" * 70, UNICODE, 1),
        ("ạ" * 71, UNICODE, 2),
        ("ạ" * 134, UNICODE, 2),
        ("ạ" * 135, UNICODE, 3),
        ("e\u0323\u0302" * 70, UNICODE, 1),
        ("a" * 71, UNICODE, 2),  # sent in UCS-2 although 7 bits would do
        ("📄" * 35, UNICODE, 1),
        ("📄" * 36, UNICODE, 2),
        ("📄" * 66, UNICODE, 2),
        ("📄" * 67, UNICODE, 3),  # 134 units, but no surrogate pair is parted
    ],
)
def test_segments_are_counted_as_networks_do(text: str, encoding: Encoding, count: int) -> None:
    assert segments(text, encoding) == count


def size(part: str, encoding: Encoding) -> int:
    if encoding is UNICODE:
        return len(part.encode("utf-16-be", "surrogatepass")) // 2
    return sum(2 if char in GSM7_EXTENSION else 1 for char in part)


long_texts = st.text(alphabet=st.sampled_from("aạ{€📄\n "), max_size=400)


@given(long_texts, st.sampled_from(Encoding))
def test_parts_join_to_the_text_and_each_fits(text: str, encoding: Encoding) -> None:
    parts = split(text, encoding)
    whole, each = (70, 67) if encoding is UNICODE else (160, 153)
    assert "".join(parts) == encode_for(text, encoding)
    assert len(parts) == segments(text, encoding)
    assert all(size(part, encoding) <= (whole if len(parts) == 1 else each) for part in parts)
    assert all(parts) or parts == [""]
    if len(parts) == 1:
        assert size(parts[0], encoding) <= whole
    else:
        assert size("".join(parts), encoding) > whole


@given(long_texts, st.sampled_from(Encoding))
def test_encoding_twice_changes_neither_text_nor_count(text: str, encoding: Encoding) -> None:
    encoded = encode_for(text, encoding)
    assert encode_for(encoded, encoding) == encoded
    assert segments(encoded, encoding) == segments(text, encoding)
