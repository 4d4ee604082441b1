"""SMPP 3.4 octets: headers, bodies that are read or written here, optional parameters, and PDUs out of a stream.

What a PDU means, and when one is sent, does not belong here. Everything read is hostile: it is read whole or refused.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

GENERIC_NACK = 0x80000000
SUBMIT_SM = 0x00000004
SUBMIT_SM_RESP = 0x80000004
DELIVER_SM = 0x00000005
DELIVER_SM_RESP = 0x80000005
UNBIND = 0x00000006
UNBIND_RESP = 0x80000006
BIND_TRANSCEIVER = 0x00000009
BIND_TRANSCEIVER_RESP = 0x80000009
ENQUIRE_LINK = 0x00000015
ENQUIRE_LINK_RESP = 0x80000015
ALERT_NOTIFICATION = 0x00000102
RESPONSE = 0x80000000
"""The bit that tells an answer from a request."""

RECEIPTED_MESSAGE_ID = 0x001E
SAR_MSG_REF_NUM = 0x020C
SAR_TOTAL_SEGMENTS = 0x020E
SAR_SEGMENT_SEQNUM = 0x020F
NETWORK_ERROR_CODE = 0x0423
MESSAGE_PAYLOAD = 0x0424
MESSAGE_STATE = 0x0427

UDH_INDICATOR = 0x40
"""In esm_class: the text begins with a user data header."""

SHORTEST = 16
LONGEST = 65536
"""Octets of a PDU. Whoever announces another length has lost the thread of the stream."""
LONGEST_SEQUENCE = 0x7FFFFFFF
LONGEST_ADDRESS = 20
_LONGEST_ADDRESS_READ = 64
"""Some message centres write more than the 20 octets of the specification."""
_LONGEST_ID = 64
_LONGEST_ACCOUNT = 64

_HEADER = Struct(">IIII")
_TLV = Struct(">HH")


class MalformedError(Exception):
    """A PDU whose body cannot be read; the stream around it can."""


class Pdu(NamedTuple):
    """One PDU: its header without the length, and its body."""

    command: int
    status: int
    sequence: int
    body: bytes


class DeliverSm(NamedTuple):
    """What of a deliver_sm is of use. ``octets`` is its text, from short_message or message_payload."""

    source_ton: int
    source_npi: int
    source: bytes
    destination_ton: int
    destination_npi: int
    destination: bytes
    esm_class: int
    data_coding: int
    octets: bytes
    tlvs: dict[int, bytes]

    def number(self, tag: int) -> int | None:
        """An optional parameter that is a number."""
        value = self.tlvs.get(tag)
        return int.from_bytes(value) if value and len(value) <= 4 else None


def write_pdu(command: int, status: int, sequence: int, body: bytes = b"") -> bytes:
    """A whole PDU."""
    return _HEADER.pack(SHORTEST + len(body), command, status, sequence) + body


def write_tlv(tag: int, value: bytes) -> bytes:
    """An optional parameter."""
    return _TLV.pack(tag, len(value)) + value


def c_string(text: str, longest: int) -> bytes:
    """A text as an octet string that ends with NUL; what is not ASCII becomes ``?``."""
    return text.replace("\0", "").encode("ascii", "replace")[:longest] + b"\0"


def bind_body(system_id: str, password: str, system_type: str) -> bytes:
    """The body of a bind_transceiver. Raises ValueError for an account that no message centre can have.

    The specification's own limits (15, 8 and 12 characters) are not held to: message centres take more.
    """
    account = {"system_id": system_id, "password": password, "system_type": system_type}
    for name, text in account.items():
        if not text.isascii() or "\0" in text or len(text) > _LONGEST_ACCOUNT:
            raise ValueError(f"{name} has to be ASCII, {_LONGEST_ACCOUNT} characters at most")
    return b"".join(c_string(text, _LONGEST_ACCOUNT) for text in account.values()) + b"\x34\0\0\0"


def message_id(body: bytes) -> str:
    """The id in the body of a submit_sm_resp; empty where there is none."""
    return body.partition(b"\0")[0][:_LONGEST_ID].decode("latin-1")


def read_deliver_sm(body: bytes) -> DeliverSm:
    """Read a deliver_sm. Raises `MalformedError`."""
    try:
        service = body.index(0)
        source = body.index(0, service + 3)
        destination = body.index(0, source + 3)
        schedule = body.index(0, destination + 4)
        validity = body.index(0, schedule + 1)
        begin = validity + 6
        end = begin + body[validity + 5]
        tlvs = _tlvs(body, end) if end < len(body) else {}
        octets = body[begin:end] or tlvs.get(MESSAGE_PAYLOAD, b"")
        if end > len(body) or max(source - service, destination - source) > _LONGEST_ADDRESS_READ + 3:
            raise MalformedError("a field is longer than it can be")
        return DeliverSm(
            body[service + 1],
            body[service + 2],
            body[service + 3 : source],
            body[source + 1],
            body[source + 2],
            body[source + 3 : destination],
            body[destination + 1],
            body[validity + 3],
            octets,
            tlvs,
        )
    except (ValueError, IndexError):
        raise MalformedError("a mandatory field is missing") from None


def _tlvs(body: bytes, at: int) -> dict[int, bytes]:
    """Optional parameters from a place on. What is cut off at the end is left out: peers append stray octets."""
    found = {}
    while at + 4 <= len(body):
        tag, length = _TLV.unpack_from(body, at)
        at += 4 + length
        if at <= len(body):
            found[tag] = body[at - length : at]
    return found


class Framing:
    """Cuts a stream into PDUs. Once it has a ``fault``, what follows in the stream cannot be read."""

    def __init__(self) -> None:
        self.fault = ""
        self._rest = bytearray()
        self._needed = SHORTEST

    def feed(self, data: bytes) -> list[Pdu]:
        """The PDUs that are whole now."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return []
            data = bytes(self._rest)
            self._rest.clear()
        found: list[Pdu] = []
        at, size = 0, len(data)
        while not self.fault:
            if size - at < SHORTEST:
                self._needed = SHORTEST
                break
            length, command, status, sequence = _HEADER.unpack_from(data, at)
            if not SHORTEST <= length <= LONGEST:
                self.fault = f"a PDU of {length} octets"
                break
            if size - at < length:
                self._needed = length
                break
            found.append(Pdu(command, status, sequence, data[at + SHORTEST : at + length]))
            at += length
        self._rest += data[at:] if not self.fault else b""
        return found
