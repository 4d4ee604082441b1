"""What telephones show: the parts that reached the message centre, put together again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from smsd.core.texts import GSM7_BASIC, GSM7_EXTENSION
from tests.support.smpppeer import Taken

_ESCAPE = 0x1B
_EXTENDED = {place: char for char, place in GSM7_EXTENSION.items()}


@dataclass(frozen=True)
class Shown:
    """One text as a telephone shows it, and how it came."""

    to: str
    sender: str
    sender_ton: int
    text: str
    parts: int
    coding: int
    id: str
    """The message centre's id of the first part."""


def shown(taken: Iterable[Taken]) -> list[Shown]:
    """The texts that came, in the order of their first parts. Fails for one whose parts are not all there."""
    wholes: dict[object, list[tuple[Taken, dict[str, Any]]]] = {}
    for place, part in enumerate(taken):
        fields = part.fields
        key = (fields["to"], fields["part"][0]) if fields["part"] else place
        wholes.setdefault(key, []).append((part, fields))
    return [_joined(parts) for parts in wholes.values()]


def _joined(parts: list[tuple[Taken, dict[str, Any]]]) -> Shown:
    first, fields = parts[0]
    if fields["part"]:
        parts = sorted(parts, key=lambda part: part[1]["part"][2])
        numbers = [part[1]["part"][1:] for part in parts]
        assert numbers == [[len(parts), n + 1] for n in range(len(parts))], "a part is missing or doubled"
    octets = b"".join(part[1]["octets"] for part in parts)
    text = octets.decode("utf-16-be") if fields["data_coding"] == 8 else _from_gsm7(octets)
    return Shown(
        fields["to"], fields["from"], fields["source_ton"], text, len(parts), fields["data_coding"], first.id
    )


def _from_gsm7(octets: bytes) -> str:
    text, places = "", iter(octets)
    for place in places:
        text += _EXTENDED[next(places)] if place == _ESCAPE else GSM7_BASIC[place]
    return text
