"""Reading the phone field: which number is meant, or why nobody can be texted.

The field is whatever a clerk typed: several numbers, remarks, old spellings, names. Where in doubt no number is found,
because a text to a stranger is worse than a listed dossier. Which network serves a number does not belong here: numbers
are portable.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from smsd.core.model import Reason

_SECOND_DIGITS = {"3": "0123456789", "5": "125689", "7": "06789", "8": "123456789", "9": "012346789"}
MOBILE_PREFIXES = frozenset(first + second for first, seconds in _SECOND_DIGITS.items() for second in seconds)
"""The first two digits of today's nine-digit mobile numbers.

The national numbering plan as of the switch of 15 September 2018 (Circular 22/2014/TT-BTTTT and its amendments), with
030, 031 and 051, which numbering metadata shows as mobile in 2026. Not 012x: those ten digits are an old number with
one missing. Blocks within a prefix are left to the networks, so that a newly opened one is not refused here.
"""

RENUMBERED = {
    # Viettel
    "162": "32",
    "163": "33",
    "164": "34",
    "165": "35",
    "166": "36",
    "167": "37",
    "168": "38",
    "169": "39",
    # MobiFone
    "120": "70",
    "121": "79",
    "122": "77",
    "126": "76",
    "128": "78",
    # VinaPhone
    "123": "83",
    "124": "84",
    "125": "85",
    "127": "81",
    "129": "82",
    # Vietnamobile, Gmobile
    "186": "56",
    "188": "58",
    "199": "59",
}
"""Eleven-digit mobile numbers of before 15 September 2018: old to new first digits; the last seven stayed."""

_LANDLINE = re.compile(
    r"2[0-9]{9}"  # since 2017: 02x + 8 or 02xx + 7 digits
    r"|4[2-8][0-9]{7}"  # Hà Nội's 04 + 8 digits; 08 of Hồ Chí Minh City reads as today's mobile prefixes
    r"|(?:2[025679]|53|54|57|6[0-46-8]|7[2-5])[2367][0-9]{6}"  # older area codes that no mobile prefix took over
    r"|(?:32[01]|35[01]|50[01]|51[01]|65[01]|71[01]|78[01])[2367][0-9]{6}"
)
_LOCAL = re.compile(r"[2367][0-9]{6,7}")
"""A landline without its area code: seven digits, in Hà Nội and Hồ Chí Minh City eight."""

_OLD_KHANH_HOA = re.compile(r"58[2367][0-9]{6}")
"""Khánh Hòa's area code before 2017 with a landline's number; reads as today's mobile prefix 058."""

_SPELLING = re.compile(r"(?:00)?840?([1-9][0-9]{8,9})|0?([1-9][0-9]{8,9})")
_SPELLING_AFTER_PLUS = re.compile(r"840?([1-9][0-9]{8,9})|0([1-9][0-9]{8,9})")
_LONGEST_SPELLING = 15
"""Digits: 0084, a needless 0 and ten more."""
_SHORTEST_WITH_COUNTRY_CODE = 11

_LONGEST_FIELD = 500
"""Characters that are read; what stands behind so many is no phone number of anybody's."""

_DIGITS = re.compile(r"[0-9]+")
_GAP = r"[ \xa0.()–-]{0,2}"
_IN_TEXT = re.compile(
    rf"(?<![^\W_])(?:(?:\+|00)?84{_GAP}0?{_GAP}|0{_GAP})?(?:[35-9](?:{_GAP}\d){{8}}|[12](?:{_GAP}\d){{9}}|\d{{9,10}})(?![^\W_])"
)
"""What may be a phone number within a sentence, its digits together or nearly so."""
_WITHIN_A_CODE = re.compile(r"\d[._-]$")
_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_PARTING = frozenset(";|&\\")
_TIGHT = frozenset(" .-–_·'")
"""Single characters that people write within a number."""


@dataclass(frozen=True, slots=True)
class Phone:
    """What a phone field comes to: a number (``84`` and nine digits, no plus), or the reason not to text."""

    number: str | None
    reason: Reason | None

    def __post_init__(self) -> None:
        if (self.number is None) == (self.reason is None):
            raise ValueError("a phone is either a number or a reason")


_NO_PHONE = Phone(None, Reason.NO_PHONE)
_LANDLINE_FOUND = Phone(None, Reason.LANDLINE)
_AMBIGUOUS = Phone(None, Reason.AMBIGUOUS_PHONE)
_INVALID = Phone(None, Reason.INVALID_PHONE)
_TELLING = (_AMBIGUOUS, _LANDLINE_FOUND, _INVALID)
"""Which of several unusable numbers says most about the field."""


def classify(raw: str | None) -> Phone:
    """The first Vietnamese mobile number in a phone field, wherever it stands; else why there is none."""
    text = _plain(raw or "")
    if not _DIGITS.search(text):
        return _NO_PHONE
    found = set()
    for chain in _chains(text):
        for phone in _numbers(chain):
            if phone.number is not None:
                return phone
            found.add(phone)
    return next(phone for phone in _TELLING if phone in found)


def mask_phone(raw: str) -> str:
    """A phone field for reports and logs: ``0905***456`` for a mobile number in any spelling.

    Of anything else a few digits, never more than seven nor all, and never a letter of what was typed.
    """
    number = classify(raw).number
    digits = f"0{number[2:]}" if number else "".join(_DIGITS.findall(_plain(raw)))
    if not digits:
        return "***" if raw.strip() else ""
    head, tail = (4, 3) if len(digits) >= 10 else (len(digits) // 3, len(digits) // 4)
    return f"{digits[:head]}***{digits[len(digits) - tail :]}"


def mask_numbers(text: str) -> str:
    """A sentence of anybody's with the phone numbers in it masked: drivers and providers quote what they were given.

    Parts of dossier codes, dates and network addresses stay as they are.
    """
    return _IN_TEXT.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    said, before = found[0], found.string[max(0, found.start() - 2) : found.start()]
    together = said.removeprefix("+").isdigit()
    if (_WITHIN_A_CODE.search(before) and not together) or _ADDRESS.fullmatch(said):
        return said
    phone = classify(said)
    is_one = phone.number is not None or (phone.reason is not Reason.INVALID_PHONE and said[0] in "+0")
    return mask_phone(said) if is_one else said


def numbers_in(raw: str | None) -> frozenset[str]:
    """Every number that a phone field names, each in one form however it was typed: ``84``, then no leading zero.

    Those that cannot be texted are among them, so that whoever they belong to can be told what is kept of them.
    """
    found = set()
    for chain in _chains(_plain(raw or "")):
        start = 0
        while start < len(chain):
            read = _number_at(chain, start)
            phone, end = read if read is not None else (_INVALID, _after_junk(chain, start))
            digits = "".join(group.digits for group in chain[start:end])
            found.add(phone.number or _in_one_form(digits))
            start = end
    return frozenset(found)


def _in_one_form(digits: str) -> str:
    plain = digits.removeprefix("00")
    if len(plain) >= _SHORTEST_WITH_COUNTRY_CODE:
        plain = plain.removeprefix("84")
    return f"84{plain.removeprefix('0')}"


def format_number(number: str, style: str) -> str:
    """A number as a gateway wants it: styles ``84``, ``+84`` and ``0`` (`messages.number_format`)."""
    if style == "84":
        return number
    if style == "+84":
        return f"+{number}"
    if style == "0":
        return f"0{number.removeprefix('84')}"
    raise ValueError(f"unknown number format {style!r}: use 84, +84 or 0")


@dataclass(frozen=True, slots=True)
class _Group:
    """Digits that stand together; what parts them from the group before, and whether a plus leads them."""

    digits: str
    before: str
    plus: bool


def _plain(text: str) -> str:
    """Every script's digits as ASCII ones, every space as one, and no invisible characters."""
    text = text[:_LONGEST_FIELD]
    if text.isascii():
        return text
    kept: list[str] = []
    for char in text:
        if char.isdecimal():
            kept.append(str(unicodedata.decimal(char)))
        elif char.isspace():
            kept.append("\n" if char in "\u0085\u2028\u2029" else " ")
        elif unicodedata.category(char) != "Cf":
            kept.append("+" if char == "＋" else char)
    return "".join(kept)


def _chains(text: str) -> Iterator[list[_Group]]:
    """Groups of digits that may be parts of one number: no word, line break or semicolon stands between them."""
    chain: list[_Group] = []
    end = 0
    for match in _DIGITS.finditer(text):
        between = text[end : match.start()]
        end = match.end()
        if chain and _parts(between):
            yield chain
            chain = []
        chain.append(_Group(match[0], " ".join(f".{between}.".split())[1:-1], between.endswith("+")))
    if chain:
        yield chain


def _parts(between: str) -> bool:
    return any(char.isalpha() or char in _PARTING or char in "\n\r\v\f" for char in between)


def _numbers(chain: Sequence[_Group]) -> Iterator[Phone]:
    """What a chain of groups says, from left to right."""
    start = 0
    while start < len(chain):
        found = _number_at(chain, start)
        if found is None:
            yield _INVALID
            start = _after_junk(chain, start)
        else:
            phone, start = found
            yield phone


def _number_at(chain: Sequence[_Group], start: int) -> tuple[Phone, int] | None:
    """The number that begins with a group, and the group after it. A group complete in itself is not added to."""
    alone = _read(chain[start].digits, plus=chain[start].plus)
    if alone is not None:
        return alone, start + 1
    for end, digits in reversed(list(_joined(chain, start))):
        phone = _read(digits, plus=chain[start].plus)
        if phone is not None and _ends_before(chain, end):
            return phone, end
    return None


def _joined(chain: Sequence[_Group], start: int) -> Iterator[tuple[int, str]]:
    """Each row of two or more groups that could be one number, as the group after it and its digits."""
    digits = chain[start].digits
    holds_another = False
    for end in range(start + 1, len(chain)):
        group = chain[end]
        if group.plus:
            return
        digits += group.digits
        if len(digits) > _LONGEST_SPELLING:
            return
        holds_another = holds_another or _read(group.digits, plus=False) is not None
        if holds_another and not digits.startswith("0") and len(digits) < _SHORTEST_WITH_COUNTRY_CODE:
            continue  # a house number and a landline would read as a mobile number without its leading zero
        yield end + 1, digits


def _ends_before(chain: Sequence[_Group], end: int) -> bool:
    """Whether a number put together of groups ends here: what follows is set apart, or is a number itself."""
    if end == len(chain) or chain[end].plus or chain[end].before != chain[end - 1].before:
        return True
    following = chain[end].digits
    if _read(following, plus=False) or (following.startswith("0") and len(following) > 2):
        return True
    return any(_read(digits, plus=False) for _, digits in _joined(chain, end))


def _after_junk(chain: Sequence[_Group], start: int) -> int:
    """The next group that may begin a number: the rest of a foreign, mistyped or identity number does not."""
    foreign = chain[start].plus or chain[start].digits.startswith("00")
    for index in range(start + 1, len(chain)):
        group = chain[index]
        if group.plus or (group.digits.startswith("0") and len(group.digits) > 1):
            return index
        if foreign:
            if not set(group.before) <= {*_TIGHT, "(", ")"}:
                return index
        elif group.before not in _TIGHT or _read(group.digits, plus=False):
            return index
    return len(chain)


def _read(digits: str, *, plus: bool) -> Phone | None:
    """What digits are as one complete number; None where they are none."""
    match = (_SPELLING_AFTER_PLUS if plus else _SPELLING).fullmatch(digits)
    if match is not None:
        return _judge(match[1] or match[2])
    return _LANDLINE_FOUND if not plus and _LOCAL.fullmatch(digits) else None


def _judge(significant: str) -> Phone | None:
    """What a number without its leading zero or country code is."""
    if len(significant) == 10 and significant[:3] in RENUMBERED:
        renumbered = RENUMBERED[significant[:3]] + significant[3:]
        return _INVALID if _is_dummy(significant) or _is_dummy(renumbered) else Phone(f"84{renumbered}", None)
    if len(significant) == 9 and significant[:2] in MOBILE_PREFIXES:
        if _is_dummy(significant):
            return _INVALID
        return _AMBIGUOUS if _OLD_KHANH_HOA.fullmatch(significant) else Phone(f"84{significant}", None)
    return _LANDLINE_FOUND if _LANDLINE.fullmatch(significant) else None


def _is_dummy(significant: str) -> bool:
    """Whether a number was typed to fill the field: one digit all along, nothing but noughts, or counting up."""
    return (
        len(set(significant)) == 1 or not significant[2:].strip("0") or "1234567890".startswith(significant)
    )
