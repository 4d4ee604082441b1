"""Look-ups by text message: what a citizen asked for, which codes may have been meant, and late or on time.

Where dossiers are found and how answers are kept does not belong here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache

from smsd.core.clock import at_time
from smsd.core.names import clean_text

LONGEST_CODE = 100
"""Characters; the longest code that is looked for. Longer ones are no dossier codes."""

_BEFORE_CODE = re.compile(r"[\s_#:;,.=*/\\+\-–—−\"'`´“”„‘’«»()\[\]{}<>|~]+")
_AFTER_CODE = " \t\n.,;:!?…\"'`´“”„‘’«»()[]{}<>|*#=~"


class LookupOutcome(StrEnum):
    """How a look-up was answered."""

    FOUND = "found"
    NOT_FOUND = "not_found"
    WRONG_SYNTAX = "wrong_syntax"
    TOO_MANY = "too_many"


class Road(StrEnum):
    """By which road a look-up came: each is settled with whom it belongs to, and has ids of its own."""

    PLAIN = "plain"
    SMPP = "smpp"
    ONEPAY = "1pay"
    ESMS = "esms"


@dataclass(frozen=True, slots=True)
class Candidates:
    """The codes a citizen may have meant: ``exact`` ones in the order to try them, then ``folded`` ones."""

    exact: tuple[str, ...]
    folded: tuple[str, ...]


def parse(text: str, keyword: str) -> str | None:
    """The code asked for, as typed but for quotes and brackets around it; None where the syntax is wrong.

    People type the keyword in any case, with spaces in it or none after it, with a dash, colon or hash between, and
    phones add no-break spaces, line breaks, fullwidth letters and digits of other scripts.
    """
    plain = _plain(text)
    match = _keyword_pattern(_plain(keyword).casefold()).match(plain)
    if match is None:
        return None
    rest = plain[match.end() :]
    separator = _BEFORE_CODE.match(rest)
    code = rest[separator.end() if separator else 0 :].strip()
    code = _without_wrapping(code)
    if not any(character.isalnum() for character in code) or len(code) > LONGEST_CODE:
        return None
    return code


def candidates(code: str) -> Candidates:
    """What to look for, best first: the code as typed, without trailing punctuation, then folded; its first word last.

    The first word alone counts because people add a greeting or a question behind the code.
    """
    stripped = code.strip(_AFTER_CODE)
    first_word = next(iter(stripped.split(maxsplit=1)), "").rstrip(_AFTER_CODE)
    exact = _distinct((code, stripped))
    folded = _distinct(map(fold_code, (code, stripped, first_word)))
    return Candidates(exact, folded)


def fold_code(code: str) -> str:
    """The form in which codes are compared when no exact one is found: compatible forms, case and spaces made one.

    Folded while decomposed, as Unicode's compatibility caseless matching asks, and composed once the spaces are gone,
    so that folding twice changes nothing.
    """
    if code.isascii():
        return "".join(code.lower().split())
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", code).casefold()).casefold()
    return unicodedata.normalize("NFC", "".join(unicodedata.normalize("NFKD", folded).split()))


def is_late(
    due_at: datetime | None,
    resolved_at: datetime | None,
    done_since: datetime | None,
    now: datetime,
    zone: tzinfo,
) -> bool:
    """Whether a dossier is late (Trễ hạn): resolved, else seen done, else still open after its appointed instant.

    An appointed instant at local midnight is a date without a time and means the end of that day. Without an
    appointed date nothing is late.
    """
    if due_at is None:
        return False
    reached = resolved_at or done_since or now
    due = due_at.astimezone(zone)
    if due.time() != time():
        return reached > due_at
    return reached >= at_time(due.date() + timedelta(days=1), time(), zone)


def number_key(number: str) -> str:
    """One form for the ways a provider may write one number (+84905…, 84905…, 0905…), for counting."""
    digits = "".join(str(unicodedata.decimal(c)) for c in number if c.isdecimal())
    digits = digits.removeprefix("00")
    return "84" + digits.removeprefix("0") if digits.startswith("0") else digits


def _plain(text: str) -> str:
    """Compatibility forms and other scripts' digits made plain, invisible characters gone, spaces collapsed."""
    plain = " ".join(clean_text(unicodedata.normalize("NFKC", text)).split())
    if plain.isascii():
        return plain
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in plain)


@lru_cache(maxsize=8)
def _keyword_pattern(keyword: str) -> re.Pattern[str]:
    letters = [re.escape(letter) for letter in keyword if not letter.isspace()]
    return re.compile(r"\W*" + r"[\s_.\-]*".join(letters), re.IGNORECASE)


def _without_wrapping(code: str) -> str:
    """Without closing quotes and brackets that have no opening partner left, as the opening ones are gone."""
    while code and (code[-1] in "\"'`´“”„‘’«»>" or (code[-1] in ")]}" and not _is_paired(code))):
        code = code[:-1].rstrip()
    return code


def _is_paired(code: str) -> bool:
    opening = {")": "(", "]": "[", "}": "{"}[code[-1]]
    return code.count(opening) >= code.count(code[-1])


def _distinct(codes: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, codes)))
