"""What is submitted: a text as the bodies of one or more submit_sm, in the encoding and the form that were agreed.

How many parts a text takes is `core.texts.split`'s to say.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from smsd.adapters.gateways.smpp.alphabets import DEFAULT_ALPHABET, UCS2, to_gsm7, to_ucs2
from smsd.adapters.gateways.smpp.pdu import (
    LONGEST_ADDRESS,
    MESSAGE_PAYLOAD,
    SAR_MSG_REF_NUM,
    SAR_SEGMENT_SEQNUM,
    SAR_TOTAL_SEGMENTS,
    UDH_INDICATOR,
    c_string,
    write_tlv,
)
from smsd.core.policy import Encoding
from smsd.core.texts import is_gsm7, split

_ALPHANUMERIC, _INTERNATIONAL, _SHORT_CODE = 5, 1, 3
_NO_PLAN, _TELEPHONE = 0, 1
_SHORTEST_INTERNATIONAL = 9
_MOST_PARTS = 255


class LongMessages(StrEnum):
    """How a text that takes several segments is submitted."""

    UDH = "udh"  # parts, each with a user data header in its text
    SAR = "sar"  # parts, each with the sar_* parameters
    PAYLOAD = "payload"  # one message_payload, which the message centre cuts up


@dataclass(frozen=True, slots=True)
class Address:
    """A number, short code or sender name with its type and plan."""

    ton: int
    npi: int
    digits: str

    def octets(self) -> bytes:
        """The three fields of a PDU."""
        return bytes((self.ton, self.npi)) + c_string(self.digits, LONGEST_ADDRESS)


def sender_address(sender: str, ton: int, npi: int) -> Address:
    """The sender's address. A number that was configured as if it were a name gets the type that it has."""
    digits = sender.removeprefix("+")
    if ton != _ALPHANUMERIC or not (digits.isascii() and digits.isdigit()):
        return Address(ton, npi, sender)
    if sender.startswith("+") or len(digits) >= _SHORTEST_INTERNATIONAL:
        return Address(_INTERNATIONAL, _TELEPHONE, digits)
    return Address(_SHORT_CODE, _NO_PLAN, digits)


def subscriber(number: str) -> Address:
    """A subscriber's address, in whatever format the digits are."""
    return Address(_INTERNATIONAL, _TELEPHONE, number)


def encoding_that_fits(text: str) -> Encoding:
    """GSM 7-bit where it loses nothing, for answers to citizens. ASCII alone, as for `unaccented` texts."""
    return Encoding.UNACCENTED if text.isascii() and is_gsm7(text) else Encoding.UNICODE


class PartWriter:
    """Writes bodies of submit_sm. From any thread: reference numbers are counted over all of them."""

    def __init__(self, long_messages: LongMessages) -> None:
        self._long_messages = long_messages
        self._references = count(secrets.randbelow(0x10000))
        self._lock = threading.Lock()

    def write(
        self, source: Address, destination: Address, text: str, encoding: Encoding, *, receipts: bool
    ) -> list[bytes]:
        """The bodies that carry a text, in order. Raises ValueError for one that is too long to be cut up."""
        texts = split(text, encoding)
        if len(texts) > _MOST_PARTS:
            raise ValueError("the text takes more than 255 segments")
        to_octets, coding = (
            (to_gsm7, DEFAULT_ALPHABET) if encoding is Encoding.UNACCENTED else (to_ucs2, UCS2)
        )
        addresses = b"\0" + source.octets() + destination.octets()
        form = _Form(addresses, receipts, coding)
        octets = [to_octets(part) for part in texts]
        if len(octets) == 1:
            return [form.body(octets[0])]
        if self._long_messages is LongMessages.PAYLOAD:
            return [form.body(b"", tlvs=write_tlv(MESSAGE_PAYLOAD, b"".join(octets)))]
        with self._lock:
            reference = next(self._references)
        if self._long_messages is LongMessages.SAR:
            return list(_with_parameters(form, octets, reference))
        return list(_with_headers(form, octets, reference))


@dataclass(frozen=True, slots=True)
class _Form:
    """What the parts of a message have in common."""

    addresses: bytes
    receipts: bool
    data_coding: int

    def body(self, octets: bytes, *, esm_class: int = 0, tlvs: bytes = b"") -> bytes:
        fixed = (self.receipts, 0, self.data_coding, 0, len(octets))
        return self.addresses + bytes((esm_class, 0, 0, 0, 0, *fixed)) + octets + tlvs


def _with_headers(form: _Form, parts: list[bytes], reference: int) -> Iterator[bytes]:
    for number, octets in enumerate(parts, 1):
        header = bytes((5, 0, 3, reference & 0xFF, len(parts), number))
        yield form.body(header + octets, esm_class=UDH_INDICATOR)


def _with_parameters(form: _Form, parts: list[bytes], reference: int) -> Iterator[bytes]:
    for number, octets in enumerate(parts, 1):
        tlvs = write_tlv(SAR_MSG_REF_NUM, (reference & 0xFFFF).to_bytes(2))
        tlvs += write_tlv(SAR_TOTAL_SEGMENTS, bytes((len(parts),)))
        tlvs += write_tlv(SAR_SEGMENT_SEQNUM, bytes((number,)))
        yield form.body(octets, tlvs=tlvs)
