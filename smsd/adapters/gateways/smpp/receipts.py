"""Delivery receipts: what a deliver_sm says of one part of a message, by optional parameters or by its text.

Only what the message centre itself marks as a receipt is read as one: anybody can send a text that looks like it.
"""

from __future__ import annotations

import re

from smsd.adapters.gateways.smpp.alphabets import decode_text
from smsd.adapters.gateways.smpp.pdu import (
    MESSAGE_STATE,
    NETWORK_ERROR_CODE,
    RECEIPTED_MESSAGE_ID,
    UDH_INDICATOR,
    DeliverSm,
)
from smsd.core.model import PartReceipt, ReceiptVerdict

_KIND_OF_MESSAGE = 0x3C
_RECEIPT_KINDS = frozenset({0x04, 0x20})
"""In esm_class: a message centre's delivery receipt, an intermediate notification."""
_LONGEST_ID = 64

_STATE_NAMES = (
    "SCHEDULED",
    "ENROUTE",
    "DELIVRD",
    "EXPIRED",
    "DELETED",
    "UNDELIV",
    "ACCEPTD",
    "UNKNOWN",
    "REJECTD",
)
"""By the number in message_state."""

_ON_ITS_WAY, _DELIVERED = ReceiptVerdict.ON_ITS_WAY, ReceiptVerdict.DELIVERED
_UNDELIVERED = ReceiptVerdict.UNDELIVERED

RECEIPT_STATES = {
    "SCHEDULED": _ON_ITS_WAY,
    "ENROUTE": _ON_ITS_WAY,
    "ACCEPTD": _ON_ITS_WAY,
    "ACCEPTED": _ON_ITS_WAY,
    "BUFFERED": _ON_ITS_WAY,
    "UNKNOWN": _ON_ITS_WAY,  # nothing is known of it: that ends nothing
    "DELIVRD": _DELIVERED,
    "DELIVERED": _DELIVERED,
    "EXPIRED": _UNDELIVERED,
    "DELETED": _UNDELIVERED,
    "UNDELIV": _UNDELIVERED,
    "UNDELIVERED": _UNDELIVERED,
    "UNDELIVERABLE": _UNDELIVERED,
    "FAILED": _UNDELIVERED,
    "SKIPPED": _UNDELIVERED,
    # by a receipt the gateway had taken the message, and it costs: the network beyond it said no
    "REJECTD": _UNDELIVERED,
    "REJECTED": _UNDELIVERED,
}
"""What the words for a message's state mean, in capitals."""

_TEXT = re.compile(r"\btext\s*[:=]", re.IGNORECASE)
_ID = re.compile(r"(?<![A-Za-z])id\s*[:=]\s*([^\s;,]+)", re.IGNORECASE)
_STATE = re.compile(r"\bstat(?:us|e)?\s*[:=]\s*([A-Za-z]+|[0-9])", re.IGNORECASE)
_ERROR = re.compile(r"\berr(?:or)?\s*[:=]\s*([0-9A-Za-z]{1,8})", re.IGNORECASE)


def is_receipt(message: DeliverSm) -> bool:
    """Whether the message centre says that this is a receipt: in esm_class, or by parameters that only it can set."""
    if message.esm_class & _KIND_OF_MESSAGE in _RECEIPT_KINDS:
        return True
    tlvs = message.tlvs
    return bool(tlvs) and RECEIPTED_MESSAGE_ID in tlvs and MESSAGE_STATE in tlvs


def looks_like_receipt(text: str) -> bool:
    """Whether a text has a receipt's form. Without the message centre's mark it proves nothing."""
    head = text[:200]
    return _STATE.search(head) is not None and _ID.search(head) is not None and "date" in head.lower()


def read_receipt(message: DeliverSm, gateway: str) -> PartReceipt | None:
    """What a receipt says. Parameters win over the text; None where either the part or its state cannot be told."""
    part, state = _part_by_parameter(message), _state_by_parameter(message)
    verdict = RECEIPT_STATES.get(state)
    if verdict is _DELIVERED and 0 < len(part) <= _LONGEST_ID:
        return PartReceipt(gateway, part, verdict, state)
    text = _words(message)
    if not part:
        found = _ID.search(text)
        part = found[1] if found else ""
    if verdict is None:
        found = _STATE.search(text)
        state = found[1].upper() if found else ""
        verdict = RECEIPT_STATES.get(_state_name(int(state)) if state.isdigit() else state)
    if verdict is None or not 0 < len(part) <= _LONGEST_ID:
        return None
    return PartReceipt(gateway, part, verdict, state, _error(message, text))


def _words(message: DeliverSm) -> str:
    """The text of a receipt up to where it quotes the message."""
    octets = message.octets
    if message.esm_class & UDH_INDICATOR and octets and octets[0] < len(octets):
        octets = octets[1 + octets[0] :]
    coding = message.data_coding
    text = octets.decode("ascii") if coding == 0 and octets.isascii() else decode_text(coding, octets)
    found = _TEXT.search(text)
    return text[: found.start()] if found else text


def _part_by_parameter(message: DeliverSm) -> str:
    return message.tlvs.get(RECEIPTED_MESSAGE_ID, b"").partition(b"\0")[0].decode("latin-1").strip()


def _state_by_parameter(message: DeliverSm) -> str:
    value = message.tlvs.get(MESSAGE_STATE)
    return _state_name(value[0]) if value else ""


def _state_name(number: int) -> str:
    return _STATE_NAMES[number] if number < len(_STATE_NAMES) else ""


def _error(message: DeliverSm, text: str) -> str:
    """The network's own error, if it tells one. 000 is none."""
    value = message.tlvs.get(NETWORK_ERROR_CODE)
    if value is not None and len(value) == 3:
        number = int.from_bytes(value[1:])
        return f"network error {number}" if number else ""
    found = _ERROR.search(text)
    return f"err:{found[1]}" if found and found[1].strip("0") else ""
