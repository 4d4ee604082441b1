"""A provider's words: every command_status has a verdict, and receipts of every manner are understood."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsd.adapters.gateways.smpp import statuses
from smsd.adapters.gateways.smpp.pdu import DeliverSm, read_deliver_sm
from smsd.adapters.gateways.smpp.receipts import is_receipt, looks_like_receipt, read_receipt
from smsd.core.model import PartReceipt, ReceiptVerdict, Verdict
from tests.support.smpppdus import deliver_body, receipt_body, tlv

DELIVERED, UNDELIVERED, ON_ITS_WAY = (
    ReceiptVerdict.DELIVERED,
    ReceiptVerdict.UNDELIVERED,
    ReceiptVerdict.ON_ITS_WAY,
)


@pytest.mark.parametrize(
    ("status", "verdict", "code"),
    [
        (0x58, Verdict.RETRY, "ESME_RTHROTTLED"),
        (0x14, Verdict.RETRY, "ESME_RMSGQFUL"),
        (0x08, Verdict.RETRY, "ESME_RSYSERR"),
        (0x64, Verdict.RETRY, "ESME_RX_T_APPN"),
        (0x45, Verdict.RETRY, "ESME_RSUBMITFAIL"),
        (0x01, Verdict.REJECTED, "ESME_RINVMSGLEN"),
        (0x0B, Verdict.REJECTED, "ESME_RINVDSTADR"),
        (0x43, Verdict.REJECTED, "ESME_RINVESMCLASS"),
        (0x65, Verdict.REJECTED, "ESME_RX_P_APPN"),
        (0x66, Verdict.REJECTED, "ESME_RX_R_APPN"),
        (0x0A, Verdict.ACCOUNT, "ESME_RINVSRCADR"),
        (0x0F, Verdict.ACCOUNT, "ESME_RINVSYSID"),
        (0x48, Verdict.ACCOUNT, "ESME_RINVSRCTON"),
        (0x0400, Verdict.REJECTED, "0x00000400"),
        (0x1234, Verdict.REJECTED, "0x00001234"),
    ],
)
def test_a_status_of_a_message_means_what_the_table_says(status: int, verdict: Verdict, code: str) -> None:
    meaning = statuses.meaning_for_message(status, tried_before=False)
    assert (meaning.verdict, meaning.name) == (verdict, code)
    assert f"{status:02X}" in meaning.detail


def test_a_refusal_without_a_reason_is_tried_once_more_and_no_further() -> None:
    for status in statuses.ONCE_MORE:
        assert statuses.meaning_for_message(status, tried_before=False).verdict is Verdict.RETRY
        assert statuses.meaning_for_message(status, tried_before=True).verdict is Verdict.REJECTED


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (0x0D, Verdict.ACCOUNT),
        (0x0E, Verdict.ACCOUNT),
        (0x0F, Verdict.ACCOUNT),
        (0x53, Verdict.ACCOUNT),
        (0x03, Verdict.ACCOUNT),
        (0x05, Verdict.RETRY),
        (0x08, Verdict.RETRY),
        (0x58, Verdict.RETRY),
        (0x0499, Verdict.RETRY),
    ],
)
def test_a_status_of_a_bind_stops_the_link_only_where_the_account_is_at_fault(
    status: int, verdict: Verdict
) -> None:
    assert statuses.meaning_for_bind(status).verdict is verdict


def test_every_status_has_a_defined_outcome_that_never_counts_as_taken() -> None:
    for status in range(1, 0x500):
        meaning = statuses.meaning_for_message(status, tried_before=False)
        assert meaning.verdict in (Verdict.RETRY, Verdict.REJECTED, Verdict.ACCOUNT)
        assert meaning.name and meaning.detail


def a_receipt(text: str = "", *, tlvs: bytes = b"", esm_class: int = 4, data_coding: int = 0) -> DeliverSm:
    octets = text.encode("utf-16-be") if data_coding == 8 else text.encode("latin-1")
    return read_deliver_sm(
        deliver_body(
            octets, "84905123456", "MotcuaSMS", esm_class=esm_class, data_coding=data_coding, tlvs=tlvs
        )
    )


@pytest.mark.parametrize(
    ("text", "part", "verdict", "code"),
    [
        (
            "id:0913121205 sub:001 dlvrd:001 submit date:2608030900 done date:2608030901 stat:DELIVRD err:000 text:x",
            "0913121205", DELIVERED, "DELIVRD",
        ),
        ("ID:ab12 STAT:delivrd", "ab12", DELIVERED, "DELIVRD"),
        ("stat:UNDELIV err:027 id:17", "17", UNDELIVERED, "UNDELIV"),
        ("id: 17  sub: 001 stat: EXPIRED done date:0000000000", "17", UNDELIVERED, "EXPIRED"),
        ("id:17 stat:DELETED", "17", UNDELIVERED, "DELETED"),
        ("id:17 stat:REJECTD err:0A1", "17", UNDELIVERED, "REJECTD"),
        ("id:17 stat:ACCEPTD", "17", ON_ITS_WAY, "ACCEPTD"),
        ("id:17 stat:ENROUTE", "17", ON_ITS_WAY, "ENROUTE"),
        ("id:17 stat:UNKNOWN", "17", ON_ITS_WAY, "UNKNOWN"),
        ("id=17;status=Delivered", "17", DELIVERED, "DELIVERED"),
        ("id:17\nsub:001\nstat:2", "17", DELIVERED, "2"),
        ("id:a3f1c2d4-0000-4000-8000-1 sub:1 stat:DELIVRD", "a3f1c2d4-0000-4000-8000-1", DELIVERED, "DELIVRD"),
    ],
)  # fmt: skip
def test_a_receipt_is_read_from_its_text_whatever_its_manner(
    text: str, part: str, verdict: ReceiptVerdict, code: str
) -> None:
    receipt = read_receipt(a_receipt(text), "smpp")
    assert receipt is not None
    assert (receipt.gateway, receipt.part, receipt.verdict, receipt.code) == ("smpp", part, verdict, code)


def test_the_quoted_message_says_nothing_of_the_receipt() -> None:
    assert read_receipt(a_receipt("sub:001 text:id:17 stat:DELIVRD"), "smpp") is None
    told = read_receipt(a_receipt("id:17 stat:UNDELIV err:001 Text:id:18 stat:DELIVRD"), "smpp")
    assert told == PartReceipt("smpp", "17", UNDELIVERED, "UNDELIV", "err:001")


def test_parameters_win_over_the_text() -> None:
    tlvs = tlv(0x001E, b"AB12\0") + tlv(0x0427, b"\5") + tlv(0x0423, b"\3\0\x1b")
    told = read_receipt(a_receipt("id:999 stat:DELIVRD err:000 text:", tlvs=tlvs), "smpp")
    assert told == PartReceipt("smpp", "AB12", UNDELIVERED, "UNDELIV", "network error 27")


def test_what_a_parameter_leaves_open_the_text_tells() -> None:
    told = read_receipt(a_receipt("stat:DELIVRD", tlvs=tlv(0x001E, b"AB12\0")), "smpp")
    assert told == PartReceipt("smpp", "AB12", DELIVERED, "DELIVRD")
    told = read_receipt(a_receipt("id:17", tlvs=tlv(0x0427, b"\2")), "smpp")
    assert told == PartReceipt("smpp", "17", DELIVERED, "DELIVRD")


def test_the_id_stays_as_it_stands() -> None:
    for part in ("0000000017", "0xAB", "ABcd", "17"):
        told = read_receipt(a_receipt(f"id:{part} stat:DELIVRD"), "smpp")
        assert told is not None and told.part == part


def test_a_receipt_in_ucs2_or_with_a_header_is_read_too() -> None:
    assert read_receipt(a_receipt("id:17 stat:DELIVRD", data_coding=8), "smpp") is not None
    assert read_receipt(a_receipt("\5\0\3\1\1\1id:17 stat:DELIVRD", esm_class=0x44), "smpp") is not None


@pytest.mark.parametrize(
    "text", ["", "id:17", "stat:DELIVRD", "id:17 stat:WHATEVER", f"id:{'1' * 65} stat:DELIVRD"]
)
def test_a_receipt_that_names_no_part_or_no_state_cannot_be_read(text: str) -> None:
    assert read_receipt(a_receipt(text), "smpp") is None


def test_only_the_message_centre_makes_a_receipt() -> None:
    forged = a_receipt("id:17 sub:001 submit date:2608030900 stat:DELIVRD", esm_class=0)
    assert not is_receipt(forged)
    assert looks_like_receipt(forged.octets.decode())
    assert not looks_like_receipt("MCKH H32-1")
    assert is_receipt(a_receipt("x", esm_class=0x04))
    assert is_receipt(a_receipt("x", esm_class=0x20))
    assert is_receipt(read_deliver_sm(receipt_body("17", "DELIVRD", "tlv")))
    assert is_receipt(a_receipt("x", esm_class=0, tlvs=tlv(0x001E, b"17\0") + tlv(0x0427, b"\2")))
    assert not is_receipt(a_receipt("x", esm_class=0, tlvs=tlv(0x001E, b"17\0")))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 255), st.sampled_from((4, 0x20, 0x44)), st.binary(max_size=60))
def test_no_receipt_makes_the_reader_fail(octets: bytes, coding: int, esm_class: int, tlvs: bytes) -> None:
    body = deliver_body(
        octets, "84905123456", "MotcuaSMS", esm_class=esm_class, data_coding=coding, tlvs=tlvs
    )
    receipt = read_receipt(read_deliver_sm(body), "smpp")
    assert receipt is None or (receipt.part and len(receipt.part) <= 64)
