"""What a message centre's command_status means, as tables: for a message that was submitted and for a bind.

A status that is not in the table for messages refuses the message: it was surely not taken, and trying again could
go on for ever. Ten such in a row stop the link and raise an alarm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from smsd.core.model import Verdict

OK = 0x00
NOT_BOUND = 0x04
UNKNOWN_COMMAND = 0x03
ALREADY_BOUND = 0x05
MALFORMED = 0x02
TRY_AGAIN = 0x64
"""What we answer when a receipt or a look-up could not be taken now: the message centre delivers it again."""

ONCE_MORE = frozenset({0x45, 0xFF})
"""Statuses that say no reason: tried once more, then permanent."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """A status' name in the specification, what it makes of a message or a bind, and why in our words."""

    name: str
    verdict: Verdict
    detail: str


def _rejected(name: str, detail: str) -> Meaning:
    return Meaning(name, Verdict.REJECTED, detail)


def _retry(name: str, detail: str) -> Meaning:
    return Meaning(name, Verdict.RETRY, detail)


def _account(name: str, detail: str) -> Meaning:
    return Meaning(name, Verdict.ACCOUNT, detail)


SUBMIT_STATUSES = {
    0x01: _rejected("ESME_RINVMSGLEN", "the text is too long for the message centre"),
    0x02: _rejected("ESME_RINVCMDLEN", "the message centre cannot read our submit_sm"),
    0x03: _rejected("ESME_RINVCMDID", "the message centre knows no submit_sm"),
    0x04: _retry("ESME_RINVBNDSTS", "the session is not bound"),
    0x05: _retry("ESME_RALYBND", "the account is bound already"),
    0x06: _rejected("ESME_RINVPRTFLG", "the priority is refused"),
    0x07: _account("ESME_RINVREGDLVFLG", "the account may not ask for receipts"),
    0x08: _retry("ESME_RSYSERR", "the message centre has a fault of its own"),
    0x0A: _account("ESME_RINVSRCADR", "the sender name is not allowed on this account"),
    0x0B: _rejected("ESME_RINVDSTADR", "the number is refused"),
    0x0C: _rejected("ESME_RINVMSGID", "the message id is refused"),
    0x0D: _account("ESME_RBINDFAIL", "the bind failed"),
    0x0E: _account("ESME_RINVPASWD", "the password is wrong"),
    0x0F: _account("ESME_RINVSYSID", "the system_id is wrong"),
    0x14: _retry("ESME_RMSGQFUL", "the message centre's queue is full"),
    0x15: _account("ESME_RINVSERTYP", "the service type is refused"),
    0x33: _rejected("ESME_RINVNUMDESTS", "the number of destinations is refused"),
    0x40: _rejected("ESME_RINVDESTFLAG", "the destination flag is refused"),
    0x42: _rejected("ESME_RINVSUBREP", "replacing is refused"),
    0x43: _rejected("ESME_RINVESMCLASS", "esm_class is refused: another gateway.long_messages may be taken"),
    0x44: _rejected("ESME_RCNTSUBDL", "distribution lists are refused"),
    0x45: _retry("ESME_RSUBMITFAIL", "the message was refused without a reason"),
    0x48: _account("ESME_RINVSRCTON", "the sender's type of number is refused: see gateway.source_ton"),
    0x49: _account("ESME_RINVSRCNPI", "the sender's numbering plan is refused: see gateway.source_npi"),
    0x50: _rejected("ESME_RINVDSTTON", "the number's type is refused"),
    0x51: _rejected("ESME_RINVDSTNPI", "the number's numbering plan is refused"),
    0x53: _account("ESME_RINVSYSTYP", "the system_type is wrong"),
    0x54: _rejected("ESME_RINVREPFLAG", "the replace flag is refused"),
    0x55: _rejected("ESME_RINVNUMMSGS", "the number of messages is refused"),
    0x58: _retry("ESME_RTHROTTLED", "the message centre asks for a slower pace"),
    0x61: _rejected("ESME_RINVSCHED", "the delivery time is refused"),
    0x62: _rejected("ESME_RINVEXPIRY", "the validity is refused"),
    0x63: _rejected("ESME_RINVDFTMSGID", "the predefined message is refused"),
    0x64: _retry("ESME_RX_T_APPN", "the receiver has a passing fault"),
    0x65: _rejected("ESME_RX_P_APPN", "the receiver has a lasting fault"),
    0x66: _rejected("ESME_RX_R_APPN", "the receiver refuses the message"),
    0xC0: _rejected("ESME_RINVOPTPARSTREAM", "the optional parameters cannot be read"),
    0xC1: _rejected("ESME_ROPTPARNOTALLWD", "an optional parameter is refused: see gateway.long_messages"),
    0xC2: _rejected("ESME_RINVPARLEN", "a parameter's length is refused"),
    0xC3: _rejected("ESME_RMISSINGOPTPARAM", "an optional parameter is missing"),
    0xC4: _rejected("ESME_RINVOPTPARAMVAL", "an optional parameter's value is refused"),
    0xFE: _rejected("ESME_RDELIVERYFAILURE", "the delivery failed"),
    0xFF: _retry("ESME_RUNKNOWNERR", "the message was refused without a reason"),
}
"""By command_status, of a submit_sm_resp or of a generic_nack to a submit_sm."""

BIND_STATUSES = {
    0x03: _account("ESME_RINVCMDID", "the message centre takes no bind_transceiver"),
    0x04: _account("ESME_RINVBNDSTS", "the account may not bind as a transceiver"),
    0x05: _retry("ESME_RALYBND", "the account is bound already, perhaps by a session that has not yet ended"),
    0x0D: _account("ESME_RBINDFAIL", "the message centre refuses to bind the account"),
    0x0E: SUBMIT_STATUSES[0x0E],
    0x0F: SUBMIT_STATUSES[0x0F],
    0x53: SUBMIT_STATUSES[0x53],
    **{status: SUBMIT_STATUSES[status] for status in (0x08, 0x14, 0x58, 0x64)},
}
"""By command_status of a bind_transceiver_resp. An unknown one is tried again: no message is spent on it."""

_UNKNOWN_FOR_MESSAGE = _rejected("", "refused with a status that is not in the specification")
_UNKNOWN_FOR_BIND = _retry("", "the bind is refused with a status that is not in the specification")


def meaning_for_message(status: int, *, tried_before: bool) -> Meaning:
    """What a status other than `OK` makes of a message."""
    meaning = _numbered(status, SUBMIT_STATUSES.get(status, _UNKNOWN_FOR_MESSAGE))
    if status in ONCE_MORE and tried_before:
        return replace(meaning, verdict=Verdict.REJECTED)
    return meaning


def meaning_for_bind(status: int) -> Meaning:
    """What a status other than `OK` makes of a bind."""
    return _numbered(status, BIND_STATUSES.get(status, _UNKNOWN_FOR_BIND))


def _numbered(status: int, meaning: Meaning) -> Meaning:
    """The same with its number, by which providers know it."""
    number = f"0x{status:02X}" if status < 0x100 else f"0x{status:08X}"
    return replace(meaning, name=meaning.name or number, detail=f"{number}: {meaning.detail}")
