"""Texts from citizens that come in parts: put together in order, whatever the order in which they come.

Memory is bounded: the oldest unfinished text gives way. What is still unfinished after a while is given out as it is,
because the citizen has paid for an answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from smsd.adapters.gateways.smpp.alphabets import decode_text
from smsd.adapters.gateways.smpp.pdu import (
    SAR_MSG_REF_NUM,
    SAR_SEGMENT_SEQNUM,
    SAR_TOTAL_SEGMENTS,
    UDH_INDICATOR,
    DeliverSm,
)

_WAIT = 180.0
"""Seconds for the parts of one text to come."""
_REMEMBERED = 600.0
_MOST_TEXTS = 1_000
_MOST_PARTS = 16
"""Parts of one text that are kept; no look-up needs more than one or two."""
_LONGEST_PART = 1_000
_CONCATENATION = {0x00: 1, 0x08: 2}
"""Information elements of a user data header that number parts, and the octets of their reference."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text from a subscriber, with the deliver_sm that brought its last part."""

    message: DeliverSm = field(repr=False)
    text: str = field(repr=False)


@dataclass(slots=True)
class _Unfinished:
    message: DeliverSm
    total: int
    since: float
    parts: dict[int, str]

    def text(self) -> Text:
        return Text(self.message, "".join(self.parts[number] for number in sorted(self.parts)))


_Key = tuple[bytes, bytes, int, int]


class Assembly:
    """Unfinished texts, and those just finished, whose parts may be delivered again. Used by one thread."""

    def __init__(self) -> None:
        self._unfinished: OrderedDict[_Key, _Unfinished] = OrderedDict()
        self._finished: OrderedDict[_Key, _Unfinished] = OrderedDict()

    def add(self, message: DeliverSm, now: float) -> Text | None:
        """Take a deliver_sm; returns the whole text once it is there."""
        place, octets = _place_of(message)
        text = decode_text(message.data_coding, octets[:_LONGEST_PART])
        if place is None:
            return Text(message, text)
        reference, total, number = place
        key = (message.source, message.destination, reference, total)
        finished = self._finished.get(key)
        if finished is not None and finished.parts.get(number, text) == text:
            return finished.text() if number == max(finished.parts) else None
        if number > _MOST_PARTS:
            return None
        found = self._unfinished.setdefault(key, _Unfinished(message, total, now, {}))
        found.message = message
        found.parts[number] = text
        if len(found.parts) < min(total, _MOST_PARTS):
            return None
        self._finished[key] = self._unfinished.pop(key)
        return found.text()

    def overdue(self, now: float) -> Iterator[Text]:
        """What has waited too long, or has to give way, as far as it came."""
        while self._finished:
            oldest = next(iter(self._finished.values()))
            if oldest.since + _REMEMBERED > now and len(self._finished) <= _MOST_TEXTS:
                break
            self._finished.popitem(last=False)
        while self._unfinished:
            oldest = next(iter(self._unfinished.values()))
            if oldest.since + _WAIT > now and len(self._unfinished) <= _MOST_TEXTS:
                return
            yield self._unfinished.popitem(last=False)[1].text()


def _place_of(message: DeliverSm) -> tuple[tuple[int, int, int] | None, bytes]:
    """Reference, total and number of a part, or None for a whole text; and its octets without their header."""
    octets = message.octets
    place = None
    if message.esm_class & UDH_INDICATOR and octets and octets[0] < len(octets):
        header, octets = octets[1 : 1 + octets[0]], octets[1 + octets[0] :]
        place = _place_in_header(header)
    elif SAR_MSG_REF_NUM in message.tlvs:
        reference = message.number(SAR_MSG_REF_NUM)
        total, number = message.number(SAR_TOTAL_SEGMENTS), message.number(SAR_SEGMENT_SEQNUM)
        if reference is not None and total is not None and number is not None:
            place = (reference, total, number)
    if place is None or not 1 <= place[2] <= place[1] or place[1] < 2:
        return None, octets
    return place, octets


def _place_in_header(header: bytes) -> tuple[int, int, int] | None:
    at = 0
    while at + 2 <= len(header):
        kind, length = header[at], header[at + 1]
        value = header[at + 2 : at + 2 + length]
        width = _CONCATENATION.get(kind)
        if width is not None and len(value) == width + 2:
            return int.from_bytes(value[:width]), value[width], value[width + 1]
        at += 2 + length
    return None
