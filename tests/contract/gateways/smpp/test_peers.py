"""Against message centres that others wrote: the npm package `smpp` under node, and `smpp34` in Rust."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import smpp34

from smsd.core.model import PartReceipt, ReceiptVerdict, Verdict
from smsd.core.policy import Encoding
from tests.support.smppclient import LONG, PHONE, SHORT, Answers, Desk, Sink, a_gateway, an_outgoing, many
from tests.support.smppnode import NodeSmsc
from tests.support.smpprust import RustSmsc


@pytest.fixture
def node() -> Iterator[NodeSmsc]:
    with NodeSmsc() as running:
        yield running


@pytest.fixture
def rust() -> Iterator[RustSmsc]:
    with RustSmsc() as running:
        yield running


@pytest.mark.parametrize("form", ["udh", "sar", "payload"])
def test_node_reads_long_messages_in_every_form_and_its_receipts_are_read(node: NodeSmsc, form: str) -> None:
    answers, sink = Answers(), Sink()
    settings = {"receipts": sink, "encoding": Encoding.UNICODE, "long_messages": form}
    with a_gateway(node.port, **settings) as gateway:
        gateway.submit([an_outgoing(text=LONG)], answers.done)
        outcome = answers.of("m1")
        submitted = [node.event("submitted") for _ in outcome.parts]
        assert [node.event("acknowledged") for _ in outcome.parts] == [0] * len(outcome.parts)
    assert node.event("unbound")
    assert outcome.parts == tuple(part["id"] for part in submitted)
    assert "".join(part["text"] for part in submitted) == LONG
    assert {part["destination_addr"] for part in submitted} == {PHONE}
    assert {part["source_addr"] for part in submitted} == {"MotcuaSMS"}
    expected = [PartReceipt("smpp", part, ReceiptVerdict.DELIVERED, "DELIVRD") for part in outcome.parts]
    assert sink.receipts == expected
    if form == "udh":
        assert [part["udh"][0][3:] for part in submitted] == [[2, 1], [2, 2]]
    if form == "sar":
        assert [(part["sar_total_segments"], part["sar_segment_seqnum"]) for part in submitted] == [
            (2, 1),
            (2, 2),
        ]


def test_node_reads_the_gsm_alphabet_and_writes_it(node: NodeSmsc) -> None:
    answers, desk = Answers(), Desk("Hồ sơ H32-1: đúng hạn")
    with a_gateway(node.port, lookups=desk) as gateway:
        gateway.submit([an_outgoing(text="Ho so {H32_1} [a@b] ~ $")], answers.done)
        assert answers.of("m1").verdict is Verdict.ACCEPTED
        assert node.event("submitted")["text"] == "Ho so {H32_1} [a@b] ~ $"
        assert node.event("acknowledged") == 0
        node.deliver(source_addr=PHONE, destination_addr="9029", short_message="MCKH [H32_1]@")
        answered = node.event("submitted")
        assert node.event("acknowledged") == 0
    assert [(request.number, request.text) for request in desk.asked] == [(PHONE, "MCKH [H32_1]@")]
    assert (answered["source_addr"], answered["destination_addr"]) == ("9029", PHONE)
    assert (answered["text"], answered["data_coding"]) == ("Hồ sơ H32-1: đúng hạn", 8)


def test_node_refuses_a_wrong_password(node: NodeSmsc) -> None:
    answers = Answers()
    with a_gateway(node.port, password="wrong") as gateway:
        gateway.submit([an_outgoing()], answers.done)
        outcome = answers.of("m1")
        (result,) = gateway.check()
    assert (outcome.verdict, outcome.code) == (Verdict.ACCOUNT, "ESME_RINVPASWD")
    assert result.state == "failed" and "wrong" not in result.message.replace("password is wrong", "")


def test_node_is_kept_alive_and_passes_the_check(node: NodeSmsc) -> None:
    with a_gateway(node.port, enquire_every=0.1) as gateway:
        gateway.start()
        assert node.event("bind") == "smsd"
        assert node.event("enquired") and node.event("enquired")
        (result,) = gateway.check()
    assert result.state == "ok"


def test_rust_takes_many_messages_and_reads_every_field(rust: RustSmsc) -> None:
    answers = Answers()
    with a_gateway(rust.port) as gateway:
        gateway.submit(many(500), answers.done)
        answers.wait_for(500)
        rust.wait(lambda: len(rust.taken) == 500)
    assert answers.verdicts() == ["accepted"] * 500
    assert {part for _, outcome in answers.all for part in outcome.parts} == {
        f"{n:08X}" for n in range(1, 501)
    }
    taken = rust.taken[0]
    assert (taken.source_addr_ton, taken.source_addr_npi, taken.source_addr) == (5, 0, "MotcuaSMS")
    assert (taken.dest_addr_ton, taken.dest_addr_npi, taken.destination_addr) == (1, 1, PHONE)
    assert (taken.data_coding, taken.registered_delivery, taken.short_message) == (0, 1, SHORT.encode())


def test_rust_reads_parts_with_headers_and_payloads(rust: RustSmsc) -> None:
    for form in ("udh", "payload"):
        answers = Answers()
        with a_gateway(rust.port, encoding=Encoding.UNICODE, long_messages=form) as gateway:
            gateway.submit([an_outgoing(text=LONG)], answers.done)
            answers.of("m1")
    first, second = sorted(rust.taken[:2], key=lambda part: part.short_message[5])
    whole = rust.taken[2]
    assert (first.esm_class, second.esm_class, whole.esm_class) == (0x40, 0x40, 0)
    assert (first.short_message[6:] + second.short_message[6:]).decode("utf-16-be") == LONG
    payload = {parameter.tag: parameter.value for parameter in whole.tlvs}[smpp34.TLV_MESSAGE_PAYLOAD]
    assert bytes(payload).decode("utf-16-be") == LONG


def test_rusts_receipts_and_texts_are_recorded_answered_and_acknowledged(rust: RustSmsc) -> None:
    sink, desk = Sink(), Desk("Ho so H32-1: dung han")
    with a_gateway(rust.port, receipts=sink, lookups=desk) as gateway:
        gateway.start()
        rust.wait(lambda: rust.bound)
        text = b"id:0000000A sub:001 dlvrd:000 submit date:2608030900 done date:2608030901 stat:UNDELIV err:027 text:"
        assert rust.deliver(text, PHONE, "MotcuaSMS", esm_class=4) == 0
        tlvs = [
            smpp34.Tlv(smpp34.TLV_RECEIPTED_MESSAGE_ID, b"0000000B\0"),
            smpp34.Tlv(smpp34.TLV_MESSAGE_STATE, b"\2"),
        ]
        assert rust.deliver(b"", PHONE, "MotcuaSMS", esm_class=4, tlvs=tlvs) == 0
        assert rust.deliver(b"MCKH H32-1", PHONE, "9029", source_addr_ton=1, source_addr_npi=1) == 0
        rust.wait(lambda: len(rust.taken) == 1)
        sink.broken = True
        assert rust.deliver(text, PHONE, "MotcuaSMS", esm_class=4) == 0x64
    assert [(receipt.part, receipt.verdict.value) for receipt in sink.receipts] == [
        ("0000000A", "undelivered"),
        ("0000000B", "delivered"),
    ]
    assert (rust.taken[0].source_addr, rust.taken[0].destination_addr) == ("9029", PHONE)
    assert rust.taken[0].short_message == b"Ho so H32-1: dung han"
