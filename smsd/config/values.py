"""How single values are written: durations, times, names, texts (places are in `addresses`).

Each parser takes what YAML (or a reference, which always brings text) gave and returns what the program uses; one that
already is what it should be is returned as it is. What is wrong is a `Wrong`: a sentence without its subject, which
never holds the value, so that it can be shown whatever the value's origin.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, SecretStr

from smsd.core.names import clean_text
from smsd.core.texts import PLACEHOLDERS, placeholders_in

LONGEST_DURATION = timedelta(days=36_500)
LONGEST_TEXT = 1_000
LONGEST_NAME = 200

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "y": 365 * 86_400}
_DURATION = re.compile(r"([0-9]{1,10})([smhdy])")
_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_BRANDNAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9._-](?:[A-Za-z0-9._ -]{0,9}[A-Za-z0-9._-])?")
_NUMBER_SENDER = re.compile(r"\+?[0-9]{3,15}")
_QUOTING = re.compile(r"[\"'`;\[\]]")
_KEYWORD = re.compile(r"[A-Za-z0-9]{1,20}")


class Wrong(ValueError):  # noqa: N818 - it names the value, and never leaves the configuration
    """A value that is not accepted. ``quoting`` is the same sentence with a piece of the value in it."""

    def __init__(self, sentence: str, quoting: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.quoting = quoting


def text_from(value: object) -> str:
    """A text; numbers are taken as they were written, for the YAML reader keeps as text whatever would lose by it."""
    if value is None:
        raise Wrong("is empty, accepted: a text")
    if isinstance(value, bool):
        raise Wrong("is not a text, accepted: a text, this one in quotes")
    if isinstance(value, (str, int, float)):
        return str(value)
    raise Wrong("is not a text, accepted: one text")


def name_from(value: object) -> str:
    """A name on one line: steps, statuses, agencies, codes."""
    name = unicodedata.normalize("NFC", clean_text(text_from(value)))
    if not name:
        raise Wrong("is blank, accepted: a name")
    if len(name) > LONGEST_NAME:
        raise Wrong(f"is too long, accepted: at most {LONGEST_NAME} characters")
    return name


def secret_from(value: object) -> SecretStr:
    """A secret, whatever its characters but none."""
    if isinstance(value, SecretStr):
        return value
    text = text_from(value)
    if not text.strip():
        raise Wrong("is blank, accepted: a text, better ${credential:NAME}")
    return SecretStr(text)


def template_from(placeholders: Collection[str]) -> Callable[[object], str]:
    """A parser of texts with these placeholders."""
    accepted = " ".join(f"{{{name}}}" for name in PLACEHOLDERS if name in placeholders) or "none in this text"

    def parse(value: object) -> str:
        text = unicodedata.normalize("NFC", text_from(value))
        if not text.strip():
            raise Wrong("is blank, accepted: a text")
        if len(text) > LONGEST_TEXT:
            raise Wrong(f"is too long, accepted: at most {LONGEST_TEXT} characters")
        if any(char != "\n" and clean_text(f"a{char}a") == "aa" for char in text if not char.isprintable()):
            raise Wrong("holds a control or invisible character, accepted: printable text")
        for name in placeholders_in(text):
            if name not in placeholders:
                raise Wrong(
                    f"holds an unknown placeholder, accepted: {accepted}",
                    f"holds the unknown placeholder {{{name}}}, accepted: {accepted}",
                )
        if re.search(r"[{}]", re.sub(r"\{[^{}]*\}", "", text)):
            raise Wrong(f"has a brace without its other half, accepted: {accepted}")
        return text.strip()

    return parse


def duration_from(*, zero: bool = False, years: bool = False) -> Callable[[object], timedelta]:
    """A parser of durations; with ``zero`` none at all is lawful, with ``years`` a year (365 days) is a unit."""
    units = "smhdy" if years else "smhd"
    accepted = "accepted: 30s, 5m, 2h, 3d" + (", 5y" if years else "") + (", 0s" if zero else "")

    def parse(value: object) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is None or match[2] not in units:
            raise Wrong(f"is no duration, {accepted}")
        seconds = int(match[1]) * _UNITS[match[2]]
        if seconds == 0 and not zero:
            raise Wrong(f"is no time at all, {accepted}")
        if seconds > LONGEST_DURATION.total_seconds():
            raise Wrong(f"is too long, {accepted}")
        return timedelta(seconds=seconds)

    return parse


def time_from(value: object) -> time:
    """A time of day."""
    if isinstance(value, time):
        return value
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong('is no time of day, accepted: "17:30"')
    return time(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Hours:
    """Daily hours ``[opens, closes)``; they may span midnight, equal ends mean always."""

    opens: time
    closes: time


def hours_from(value: object) -> Hours:
    """Daily hours."""
    if isinstance(value, Hours):
        return value
    opens, _, closes = value.partition("-") if isinstance(value, str) else ("", "", "")
    try:
        return Hours(
            time_from(opens.strip()), time() if closes.strip() == "24:00" else time_from(closes.strip())
        )
    except Wrong:
        raise Wrong("is no span of hours, accepted: 06:00-22:00 (00:00-24:00: always)") from None


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``limit`` within ``per``."""

    limit: int
    per: timedelta


def limit_from(value: object) -> Limit:
    """So many within a duration."""
    if isinstance(value, Limit):
        return value
    count, _, per = value.partition("/") if isinstance(value, str) else ("", "", "")
    try:
        return Limit(whole_from(1, 1_000_000)(count), duration_from()(per))
    except Wrong:
        raise Wrong("is no limit, accepted: 20/1h") from None


def whole_from(low: int, high: int) -> Callable[[object], int]:
    """A parser of whole numbers."""

    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Wrong(f"is no number that fits, accepted: a whole number from {low} to {high}")
        return value

    return parse


def rate_from(value: object) -> float | None:
    """Segments a second; None is no limit."""
    if value is None:
        return None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1_000_000:
        raise Wrong("is no rate, accepted: segments a second, more than 0, such as 10 or 0.5")
    return float(value)


def switch_from(value: object) -> bool:
    """True or false."""
    known = {"true": True, "false": False}
    if isinstance(value, str) and value in known:
        return known[value]
    if not isinstance(value, bool):
        raise Wrong("is neither of two, accepted: true or false")
    return value


def choice_from(*choices: str) -> Callable[[object], str]:
    """A parser of one word out of several."""
    accepted = ", ".join(choices)

    def parse(value: object) -> str:
        text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
        if text not in choices:
            raise Wrong(f"is unknown, accepted: {accepted}")
        return text

    return parse


def delimiter_from(value: object) -> str:
    """What stands between the cells of a CSV file."""
    if value not in (",", ";", "|", "\t"):
        raise Wrong('is no delimiter, accepted: "," ";" "|" or "\\t" in double quotes')
    return str(value)


def list_from(value: object) -> list[object]:
    """A list; what its items are is the field's business."""
    if not isinstance(value, (list, tuple)):
        raise Wrong("is not a list, accepted: [one, another], or [] for none")
    return list(value)


def zone_name_from(value: object) -> str:
    """A time zone's name."""
    name = text_from(value)
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Wrong("is no time zone, accepted: a name such as Asia/Ho_Chi_Minh") from None
    return name


def sender_from(value: object) -> str:
    """A brandname, or a number."""
    sender = text_from(value)
    if not (_BRANDNAME.fullmatch(sender) or _NUMBER_SENDER.fullmatch(sender)):
        raise Wrong(
            "is no sender, accepted: a brandname of at most 11 ASCII letters, digits, . _ - and inner spaces, "
            "with a letter in it, or a number"
        )
    return sender


def keyword_from(value: object) -> str:
    """What a look-up starts with."""
    keyword = text_from(value)
    if not _KEYWORD.fullmatch(keyword):
        raise Wrong("is no keyword, accepted: at most 20 letters A-Z and digits")
    return keyword


def identifier_from(value: object) -> str:
    """The name of a view or column, as the database knows it."""
    name = text_from(value)
    if not name.strip() or not name.isprintable() or _QUOTING.search(name) or len(name) > LONGEST_NAME:
        raise Wrong("is no name in a database, accepted: the name alone, without quotes or brackets")
    return name.strip()


def view_from(value: object) -> str:
    """The name of a view, with its schema where it has one."""
    view = identifier_from(value)
    if not all(part.strip() for part in view.split(".")):
        raise Wrong("is no view, accepted: smsd_dossiers or dbo.smsd_dossiers")
    return view


def given_from(value: object) -> object:
    """Anything but nothing."""
    if value is None:
        raise Wrong("is empty, accepted: a value, or no such key")
    return value


def parsed_by(parser: Callable[..., Any]) -> BeforeValidator:
    """The mark of a field whose values a parser of this module reads."""
    return BeforeValidator(parser)


WhereGiven = parsed_by(given_from)
"""The mark of an optional key that means something by its absence: it cannot be given empty."""
Duration = Annotated[timedelta, parsed_by(duration_from())]
DurationOrNone = Annotated[timedelta, parsed_by(duration_from(zero=True))]
"""A duration that may be ``0s``."""
LongDuration = Annotated[timedelta, parsed_by(duration_from(years=True))]
TimeOfDay = Annotated[time, parsed_by(time_from)]
Name = Annotated[str, parsed_by(name_from)]
Names = Annotated[tuple[Name, ...], parsed_by(list_from)]
Secret = Annotated[SecretStr, parsed_by(secret_from)]
Template = Annotated[str, parsed_by(template_from(PLACEHOLDERS))]
Switch = Annotated[bool, parsed_by(switch_from)]
Rate = Annotated[float | None, parsed_by(rate_from)]
Identifier = Annotated[str, parsed_by(identifier_from)]
