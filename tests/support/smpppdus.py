"""PDUs as the message centres of the tests write and read them, apart from the project's own codec."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

SUBMIT_SM, DELIVER_SM, UNBIND, BIND_TRANSCEIVER, ENQUIRE_LINK = 4, 5, 6, 9, 0x15
GENERIC_NACK, RESPONSE = 0x80000000, 0x80000000
THROTTLED, QUEUE_FULL, SYSTEM_ERROR, INVALID_NUMBER, INVALID_SENDER = 0x58, 0x14, 0x08, 0x0B, 0x0A
STATES = {
    "ENROUTE": 1,
    "DELIVRD": 2,
    "EXPIRED": 3,
    "DELETED": 4,
    "UNDELIV": 5,
    "ACCEPTD": 6,
    "UNKNOWN": 7,
    "REJECTD": 8,
}
ID_FORMS: dict[str, Callable[[int], str]] = {
    "decimal": str,
    "hex": lambda number: f"{number:x}",
    "HEX": lambda number: f"{number:X}",
    "padded": lambda number: f"{number:012d}",
    "padded_hex": lambda number: f"{number:08X}",
    "long": lambda number: f"a3f1c2d4-0000-4000-8000-{number:012x}",
}
HEADER = struct.Struct(">IIII")


def pdu(command: int, status: int, sequence: int, body: bytes = b"") -> bytes:
    """A whole PDU."""
    return HEADER.pack(16 + len(body), command, status, sequence) + body


def tlv(tag: int, value: bytes) -> bytes:
    """An optional parameter."""
    return struct.pack(">HH", tag, len(value)) + value


def read_fields(body: bytes) -> dict[str, Any]:
    """A submit_sm or deliver_sm as a dictionary, by the order of the specification."""
    at = 0

    def string() -> str:
        nonlocal at
        end = body.index(b"\0", at)
        value, at = body[at:end].decode("latin-1"), end + 1
        return value

    def octet() -> int:
        nonlocal at
        at += 1
        return body[at - 1]

    names = (
        "service_type", "source_ton#", "source_npi#", "from", "dest_ton#", "dest_npi#", "to", "esm_class#", "protocol#",
        "priority#", "schedule", "validity", "registered#", "replace#", "data_coding#", "default_id#", "length#",
    )  # fmt: skip
    found: dict[str, Any] = {}
    for name in names:
        found[name.rstrip("#")] = octet() if name.endswith("#") else string()
    octets = body[at : at + found["length"]]
    at += found["length"]
    found["tlvs"] = tlvs = {}
    while at < len(body):
        tag, length = struct.unpack_from(">HH", body, at)
        tlvs[tag] = body[at + 4 : at + 4 + length]
        at += 4 + length
    return found | _content(found, octets or tlvs.get(0x0424, b""), tlvs)


def _content(found: dict[str, Any], octets: bytes, tlvs: dict[int, bytes]) -> dict[str, Any]:
    part = None
    if found["esm_class"] & 0x40:
        part, octets = list(octets[3:6]), octets[6:]
    elif 0x020C in tlvs:
        part = [int.from_bytes(tlvs[tag]) for tag in (0x020C, 0x020E, 0x020F)]
    charset = "utf-16-be" if found["data_coding"] == 8 else "latin-1"
    text = octets.decode(charset, "surrogatepass")  # parts may be cut in the middle of a surrogate pair
    return {"octets": octets, "part": part, "text": text}


def wants_receipt(body: bytes) -> bool:
    """Whether registered_delivery asks for a final receipt."""
    destination = body.index(0, body.index(0, body.index(0) + 3) + 3)
    validity = body.index(0, body.index(0, destination + 4) + 1)
    return body[validity + 1] & 3 == 1


def deliver_body(
    octets: bytes,
    source: str,
    destination: str,
    *,
    esm_class: int = 0,
    data_coding: int = 0,
    tlvs: bytes = b"",
    payload: bool = False,
) -> bytes:
    """The body of a deliver_sm."""
    if payload:
        tlvs, octets = tlvs + tlv(0x0424, octets), b""
    addresses = b"\0\1\1" + source.encode() + b"\0" + b"\0\0" + destination.encode() + b"\0"
    return addresses + bytes((esm_class, 0, 0, 0, 0, 0, 0, data_coding, 0, len(octets))) + octets + tlvs


def receipt_body(part: str, state: str, form: str) -> bytes:
    """The body of a receipt: ``tlv``, ``text`` or ``both``."""
    text, tlvs = b"", b""
    if form in ("text", "both"):
        delivered = "001" if state == "DELIVRD" else "000"
        error = "000" if state in ("DELIVRD", "ENROUTE", "ACCEPTD") else "027"
        text = (
            f"id:{part} sub:001 dlvrd:{delivered} submit date:2608030900 done date:2608030901 "
            f"stat:{state} err:{error} text:Thong bao: Ho so"
        ).encode()
    if form in ("tlv", "both"):
        tlvs = tlv(0x001E, part.encode() + b"\0") + tlv(0x0427, bytes((STATES[state],)))
    return deliver_body(text, "84905123456", "MotcuaSMS", esm_class=4, tlvs=tlvs)
