"""Texts as they reach a telephone: placeholders filled, diacritics kept or removed, and how many segments they take.

A segment is what a network carries and charges as one message. What a text says, and when, does not belong here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from smsd.core.names import clean_text
from smsd.core.policy import Encoding

PLACEHOLDERS = (
    "Mã số hồ sơ",
    "Tên cơ quan",
    "Ngày hẹn trả",
    "Tên bước giải quyết hiện tại",
    "Đúng hạn/Trễ hạn",
    "Tên thủ tục",
)
"""What may stand in braces in a text, as the official letter prints it."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

GSM7_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The GSM 7-bit default alphabet (3GPP TS 23.038); a character's place is its septet. The escape is no character."""
GSM7_EXTENSION = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
"""Characters that take the escape and a second septet."""

_BASIC_CHARACTERS = frozenset(GSM7_BASIC) - {"\x1b"}

_SUBSTITUTES = {
    **dict.fromkeys("ĐÐƉ", "D"),
    **dict.fromkeys("đðɖ", "d"),
    **dict.fromkeys("‘’‚‛′‵´`ʻʼʹˊˋ", "'"),
    **dict.fromkeys("“”„‟″«»〃", '"'),
    **dict.fromkeys("‐‑‒–—―−⁃•·‧∙●▪■", "-"),
    "‹": "<",
    "›": ">",
    "⁄": "/",
    "∕": "/",
    "×": "x",
    "÷": ":",
    "°": "o",
    "¡": "!",
    "¿": "?",
    "₫": "d",
    "€": "EUR",
    "£": "GBP",
    "¥": "JPY",
    "©": "(c)",
    "®": "(R)",
    "±": "+-",
    "≤": "<=",
    "≥": ">=",
    "≠": "<>",
    "→": "->",
    "←": "<-",
    "Æ": "AE",
    "æ": "ae",
    "Ø": "O",
    "ø": "o",
    "ß": "ss",
    "ẞ": "SS",
    "§": "S",
    "µ": "u",
    "Œ": "OE",
    "œ": "oe",
    "Ł": "L",
    "ł": "l",
    "ı": "i",
    "Þ": "Th",
    "þ": "th",
    **dict.fromkeys("\t\v\f\x85\u2028\u2029", " "),
}


def fill(template: str, values: Mapping[str, str]) -> str:
    """A template with its placeholders filled in, in one pass: braces within a value stay as they are.

    Values lose outer spaces and invisible characters. A placeholder without a value stays; the configuration lets
    none through.
    """
    known = {_plain_name(name): clean_text(value) for name, value in values.items()}
    return _PLACEHOLDER.sub(lambda found: known.get(_plain_name(found[1]), found[0]), template)


def placeholders_in(template: str) -> list[str]:
    """The names in braces, each once, in the order in which they come."""
    return list(dict.fromkeys(_plain_name(name) for name in _PLACEHOLDER.findall(template)))


def _plain_name(name: str) -> str:
    return unicodedata.normalize("NFC", clean_text(name))


def encode_for(text: str, encoding: Encoding) -> str:
    """A text in the characters that leave: composed Unicode, or unaccented."""
    return unaccent(text) if encoding is Encoding.UNACCENTED else unicodedata.normalize("NFC", text)


def unaccent(text: str) -> str:
    """A text in ASCII characters of the GSM 7-bit alphabet: no diacritics, Đ/đ as D/d, ``?`` for what has no likeness.

    ASCII alone, because gateways differ in how they want the alphabet's other characters.
    """
    return "".join(map(_plain_character, unicodedata.normalize("NFC", text)))


@lru_cache(maxsize=2048)
def _plain_character(char: str) -> str:
    if char in _SUBSTITUTES:
        return _SUBSTITUTES[char]
    if char in "\n\r" or " " <= char <= "~":
        return char
    if unicodedata.category(char)[0] in "CM":
        return ""
    plain = "".join(_SUBSTITUTES.get(c, c) for c in unicodedata.normalize("NFKD", char) if not _is_mark(c))
    return plain if plain and plain.isascii() else "?"


def _is_mark(char: str) -> bool:
    return unicodedata.category(char).startswith("M")


def is_gsm7(text: str) -> bool:
    """Whether a text can be written in the GSM 7-bit alphabet with its extension."""
    return all(char in _BASIC_CHARACTERS or char in GSM7_EXTENSION for char in text)


def segments(text: str, encoding: Encoding) -> int:
    """How many segments a text takes once it is encoded so; the configured encoding is used even if 7 bits would do."""
    return len(split(text, encoding))


def split(text: str, encoding: Encoding) -> list[str]:
    """A text, encoded, in the parts that are sent: one if it fits, else shorter ones that leave room for a header.

    Lengths are counted in septets (160 or 153) or UTF-16 units (70 or 67). A character is never cut in two.
    """
    encoded = encode_for(text, encoding)
    if encoding is Encoding.UNACCENTED:
        costs, whole, part = [2 if char in GSM7_EXTENSION else 1 for char in encoded], 160, 153
    else:
        costs, whole, part = [2 if char > "\uffff" else 1 for char in encoded], 70, 67
    if sum(costs) <= whole:
        return [encoded]
    parts: list[str] = []
    start = used = 0
    for index, cost in enumerate(costs):
        if used + cost > part:
            parts.append(encoded[start:index])
            start, used = index, 0
        used += cost
    return [*parts, encoded[start:]]
