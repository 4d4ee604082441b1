"""What the message centre sends: receipts recorded before they are acknowledged, look-ups answered once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from smsd.adapters.gateways.smpp import pdu
from smsd.adapters.gateways.smpp.assembly import Assembly
from smsd.adapters.gateways.smpp.pdu import read_deliver_sm
from smsd.core.model import PartReceipt, ReceiptVerdict, Verdict
from smsd.core.policy import Encoding
from tests.support.builders import FixedClock
from tests.support.smppclient import LONG, PHONE, Answers, Desk, Sink, a_gateway, an_outgoing, many
from tests.support.smpppdus import THROTTLED, deliver_body, receipt_body, tlv
from tests.support.smpppeer import SmppPeer

SHORT_CODE = "9029"
QUESTION = "MCKH H32-1"


@pytest.fixture
def peer() -> Iterator[SmppPeer]:
    with SmppPeer(receipts="both") as running:
        yield running


# receipts


@pytest.mark.parametrize("form", ["tlv", "text", "both"])
@pytest.mark.parametrize("ids", ["decimal", "hex", "padded", "long"])
def test_each_part_is_reported_by_the_id_that_was_answered(form: str, ids: str) -> None:
    answers, sink = Answers(), Sink()
    with (
        SmppPeer(receipts=form, ids=ids, first_id=170) as peer,
        a_gateway(peer.port, receipts=sink, encoding=Encoding.UNICODE) as gateway,
    ):
        gateway.submit([an_outgoing(text=LONG)], answers.done)
        sink.wait(lambda: len(sink.receipts) == 2)
        peer.wait(lambda: len(peer.acknowledged) == 2)
        parts = answers.of("m1").parts
    assert sink.receipts == [PartReceipt("smpp", part, ReceiptVerdict.DELIVERED, "DELIVRD") for part in parts]


def test_an_id_in_another_spelling_is_handed_on_as_it_stands() -> None:
    answers, sink = Answers(), Sink()
    with (
        SmppPeer(receipts="text", ids="padded_hex", receipt_ids="decimal", first_id=171) as peer,
        a_gateway(peer.port, receipts=sink) as gateway,
    ):
        gateway.submit([an_outgoing()], answers.done)
        sink.wait(lambda: len(sink.receipts) == 1)
        assert answers.of("m1").parts == ("000000AB",)
    assert sink.receipts[0].part == "171"


def test_every_state_is_told_in_turn_final_or_not() -> None:
    sink = Sink()
    with (
        SmppPeer(receipts="text", states=("ACCEPTD", "ENROUTE", "UNDELIV")) as peer,
        a_gateway(peer.port, receipts=sink) as gateway,
    ):
        gateway.submit([an_outgoing()], Answers().done)
        sink.wait(lambda: len(sink.receipts) == 3)
    assert [(r.verdict.value, r.code, r.detail) for r in sink.receipts] == [
        ("on_its_way", "ACCEPTD", ""),
        ("on_its_way", "ENROUTE", ""),
        ("undelivered", "UNDELIV", "err:027"),
    ]


def test_receipts_come_even_when_nothing_is_sent(peer: SmppPeer) -> None:
    sink = Sink()
    with a_gateway(peer.port, receipts=sink) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        peer.receipt("4711")
        sink.wait(lambda: len(sink.receipts) == 1)
    assert sink.receipts[0].part == "4711"


def test_a_receipt_is_acknowledged_only_once_it_is_recorded(peer: SmppPeer) -> None:
    sink = Sink()
    sink.gate.clear()
    with a_gateway(peer.port, receipts=sink, lookups=Desk()) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        receipt = peer.receipt("17")
        text = peer.deliver(QUESTION, PHONE, SHORT_CODE)
        peer.wait(lambda: (text, 0) in peer.acknowledged)
        assert peer.acknowledged == [(text, 0)], "look-ups do not wait for receipts"
        sink.gate.set()
        peer.wait(lambda: (receipt, 0) in peer.acknowledged)


def test_receipts_that_come_meanwhile_are_recorded_together(peer: SmppPeer) -> None:
    sink = Sink()
    sink.gate.clear()
    with a_gateway(peer.port, receipts=sink) as gateway:
        gateway.submit(many(200), Answers().done)
        peer.wait(lambda: len(peer.taken) == 200)
        sink.gate.set()
        sink.wait(lambda: len(sink.receipts) == 200)
        peer.wait(lambda: len(peer.acknowledged) == 200)
    assert sink.batches < 20


def test_receipts_that_cannot_be_recorded_are_refused_for_a_while(peer: SmppPeer) -> None:
    sink = Sink()
    sink.broken = True
    with a_gateway(peer.port, receipts=sink) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        refused = peer.receipt("17")
        peer.wait(lambda: peer.acknowledged == [(refused, 0x64)])
        sink.broken = False
        again = peer.receipt("17")
        peer.wait(lambda: peer.acknowledged[-1] == (again, 0))
    assert [receipt.part for receipt in sink.receipts] == ["17"]


def test_receipts_twice_or_for_unknown_ids_are_handed_on_and_acknowledged(peer: SmppPeer) -> None:
    sink = Sink()
    with a_gateway(peer.port, receipts=sink) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        sequences = [peer.receipt("17"), peer.receipt("17"), peer.receipt("nobody-knows-it")]
        peer.wait(lambda: sorted(peer.acknowledged) == [(sequence, 0) for sequence in sequences])
    assert [receipt.part for receipt in sink.receipts] == ["17", "17", "nobody-knows-it"]


@pytest.mark.parametrize(("esm_class", "kind"), [(4, "unreadable_receipts"), (0, "unproven_receipts")])
def test_what_looks_like_a_receipt_but_is_none_changes_nothing_and_is_no_look_up(
    peer: SmppPeer, esm_class: int, kind: str
) -> None:
    sink, desk = Sink(), Desk()
    text = (
        b"id:17 done date:0000000000 stat:NOTHING"
        if esm_class
        else b"id:17 done date:2608030900 stat:DELIVRD"
    )
    with a_gateway(peer.port, receipts=sink, lookups=desk) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        sequence = peer.deliver_raw(deliver_body(text, PHONE, SHORT_CODE, esm_class=esm_class))
        peer.wait(lambda: peer.acknowledged == [(sequence, 0)])
        assert gateway.counts == {kind: 1}
    assert sink.receipts == [] and desk.asked == []


def test_a_receipt_of_a_connection_that_has_ended_is_recorded_and_acknowledged_when_it_comes_again(
    peer: SmppPeer,
) -> None:
    sink = Sink()
    sink.gate.clear()
    with a_gateway(peer.port, receipts=sink) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        peer.receipt("17")
        peer.drop()
        peer.wait(lambda: peer.connections == 2 and peer.bound)
        sink.gate.set()
        again = peer.receipt("17")
        peer.wait(lambda: peer.acknowledged == [(again, 0)])
    assert [receipt.part for receipt in sink.receipts] == ["17", "17"]


# look-ups


def ask(peer: SmppPeer, text: str = QUESTION, source: str = PHONE, **more: object) -> int:
    return peer.deliver(text, source, SHORT_CODE, **more)


def test_a_look_up_is_answered_from_the_number_it_was_sent_to(peer: SmppPeer) -> None:
    desk = Desk("Hồ sơ H32-1 đúng hạn")
    with a_gateway(peer.port, lookups=desk) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        sequence = ask(peer)
        peer.wait(lambda: len(peer.taken) == 1 and peer.acknowledged == [(sequence, 0)])
    (request,) = desk.asked
    assert (request.number, request.text, request.road) == (PHONE, QUESTION, "smpp")
    fields = peer.taken[0].fields
    assert (fields["from"], fields["to"], fields["text"]) == (SHORT_CODE, PHONE, "Hồ sơ H32-1 đúng hạn")
    assert (fields["dest_ton"], fields["dest_npi"], fields["data_coding"]) == (1, 1, 8)
    assert fields["registered"] == 0, "nobody waits for a receipt of an answer"


def test_a_plain_answer_is_in_the_gsm_alphabet_whatever_notices_are_in(peer: SmppPeer) -> None:
    with a_gateway(peer.port, lookups=Desk("Ho so H32-1"), encoding=Encoding.UNICODE) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        ask(peer)
        peer.wait(lambda: len(peer.taken) == 1)
    assert (peer.taken[0].fields["data_coding"], peer.taken[0].text) == (0, "Ho so H32-1")


@pytest.mark.parametrize(
    ("octets", "more", "text"),
    [
        (b"MCKH\x11H32-1", {}, "MCKH_H32-1"),
        ("MCKH hồ sơ".encode("utf-16-be"), {"data_coding": 8}, "MCKH hồ sơ"),
        (b"MCKH l\xe0", {"data_coding": 3}, "MCKH là"),
        (b"MCKH H32-1", {"payload": True}, "MCKH H32-1"),
    ],
)
def test_a_look_up_is_read_in_whatever_alphabet_it_comes(
    peer: SmppPeer, octets: bytes, more: dict[str, object], text: str
) -> None:
    desk = Desk()
    with a_gateway(peer.port, lookups=desk) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        peer.deliver_raw(deliver_body(octets, PHONE, SHORT_CODE, **more))
        desk.wait(lambda: len(desk.asked) == 1)
    assert desk.asked[0].text == text


def test_a_look_up_in_two_parts_is_put_together(peer: SmppPeer) -> None:
    desk = Desk()
    with a_gateway(peer.port, lookups=desk) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        for number, text in ((2, b"H32-1"), (1, b"MCKH ")):
            header = bytes((5, 0, 3, 77, 2, number))
            peer.deliver_raw(deliver_body(header + text, PHONE, SHORT_CODE, esm_class=0x40))
        peer.wait(lambda: len(peer.taken) == 1 and len(peer.acknowledged) == 2)
    assert [request.text for request in desk.asked] == [QUESTION]


def test_the_same_text_delivered_again_is_acknowledged_and_answered_once(peer: SmppPeer) -> None:
    desk = Desk()
    with a_gateway(peer.port, lookups=desk) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        sequences = [ask(peer) for _ in range(3)]
        peer.wait(lambda: sorted(peer.acknowledged) == [(sequence, 0) for sequence in sequences])
        peer.drop()
        peer.wait(lambda: peer.connections == 2 and peer.bound)
        again = ask(peer)
        peer.wait(lambda: (again, 0) in peer.acknowledged)
        other = ask(peer, source="84905123457")
        peer.wait(lambda: (other, 0) in peer.acknowledged and len(peer.taken) == 2)
    assert [request.number for request in desk.asked] == [PHONE, "84905123457"]
    assert desk.asked[0].id != desk.asked[1].id


def test_a_look_up_that_could_not_be_answered_comes_again_under_the_same_id(peer: SmppPeer) -> None:
    desk = Desk()
    desk.broken = True
    with a_gateway(peer.port, lookups=desk, clock=FixedClock()) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        refused = ask(peer)
        peer.wait(lambda: peer.acknowledged == [(refused, 0x64)])
        desk.broken = False
        again = ask(peer)
        peer.wait(lambda: peer.acknowledged[-1] == (again, 0) and len(peer.taken) == 1)
    assert desk.asked[0].id == desk.asked[1].id


def test_an_id_of_the_message_centres_own_tells_two_texts_apart(peer: SmppPeer) -> None:
    desk = Desk()
    with a_gateway(peer.port, lookups=desk) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        for own in (b"a1", b"a1", b"a2"):
            ask(peer, tlvs=tlv(0x001E, own + b"\0"))
        peer.wait(lambda: len(peer.acknowledged) == 3 and len(peer.taken) == 2)
    assert len({request.id for request in desk.asked}) == 2


@pytest.mark.parametrize("source", ["Viettel", "9029", "", "191"])
def test_machines_get_no_answer(peer: SmppPeer, source: str) -> None:
    desk = Desk()
    with a_gateway(peer.port, lookups=desk) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        sequence = ask(peer, source=source)
        peer.wait(lambda: peer.acknowledged == [(sequence, 0)])
    assert desk.asked == [] and peer.taken == []


def test_without_a_desk_a_text_is_acknowledged_and_left_alone(peer: SmppPeer) -> None:
    with a_gateway(peer.port, lookups=None) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        sequence = ask(peer)
        peer.wait(lambda: peer.acknowledged == [(sequence, 0)])
    assert peer.taken == []


def test_an_answer_that_was_throttled_is_sent_later(peer: SmppPeer) -> None:
    peer.next(THROTTLED)
    with a_gateway(peer.port, lookups=Desk()) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        ask(peer)
        peer.wait(lambda: len(peer.taken) == 1)


def test_an_answer_waits_for_the_connection_to_come_back(peer: SmppPeer) -> None:
    peer.next(THROTTLED)
    with a_gateway(peer.port, lookups=Desk()) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        sequence = ask(peer)
        peer.wait(lambda: peer.acknowledged == [(sequence, 0)])
        peer.drop()
        peer.wait(lambda: peer.connections == 2 and len(peer.taken) == 1)


def test_notices_and_answers_share_the_connection(peer: SmppPeer) -> None:
    answers, desk = Answers(), Desk()
    with a_gateway(peer.port, lookups=desk, window=5) as gateway:
        gateway.submit(many(300), answers.done)
        for number in range(50):
            ask(peer, source=f"849051{number:05d}") if peer.bound else None
        answers.wait_for(300)
        desk.wait(lambda: True)
        peer.wait(lambda: len(peer.taken) == 300 + len(desk.asked))
    assert {outcome.verdict for _, outcome in answers.all} == {Verdict.ACCEPTED}


# putting parts together


def part(
    number: int, total: int = 2, text: bytes = b"x", *, reference: int = 1, source: str = PHONE
) -> pdu.DeliverSm:
    header = bytes((5, 0, 3, reference, total, number))
    return read_deliver_sm(deliver_body(header + text, source, SHORT_CODE, esm_class=0x40))


def texts_of(found: object) -> list[str]:
    return [text.text for text in found]  # type: ignore[attr-defined]


def test_parts_by_sar_parameters_and_wide_references_are_put_together() -> None:
    assembly = Assembly()
    wide = b"\6\x08\4\1\2\2"
    for number, expected in ((1, None), (2, "ab")):
        octets = wide + bytes((number,)) + (b"a" if number == 1 else b"b")
        found = assembly.add(read_deliver_sm(deliver_body(octets, PHONE, SHORT_CODE, esm_class=0x40)), 0.0)
        assert (found and found.text) == expected
        tlvs = tlv(0x020C, b"\0\7") + tlv(0x020E, b"\2") + tlv(0x020F, bytes((number,)))
        found = assembly.add(
            read_deliver_sm(deliver_body(b"a" if number == 1 else b"b", PHONE, SHORT_CODE, tlvs=tlvs)), 0.0
        )
        assert (found and found.text) == expected


def test_a_text_that_stays_unfinished_is_given_out_as_it_is() -> None:
    assembly = Assembly()
    assert assembly.add(part(1, 3, b"MCKH "), 0.0) is None
    assert assembly.add(part(3, 3, b"!"), 100.0) is None
    assert texts_of(assembly.overdue(179.0)) == []
    assert texts_of(assembly.overdue(180.0)) == ["MCKH !"]
    assert texts_of(assembly.overdue(999.0)) == []


def test_a_last_part_delivered_again_gives_the_same_text_and_begins_no_new_one() -> None:
    assembly = Assembly()
    assembly.add(part(1, text=b"MCKH "), 0.0)
    first = assembly.add(part(2, text=b"H32-1"), 1.0)
    again = assembly.add(part(2, text=b"H32-1"), 20.0)
    assert first is not None and again is not None and first.text == again.text == QUESTION
    assert texts_of(assembly.overdue(500.0)) == []


def test_a_reference_used_again_begins_a_new_text() -> None:
    assembly = Assembly()
    assembly.add(part(1, text=b"MCKH "), 0.0)
    assembly.add(part(2, text=b"H32-1"), 1.0)
    assembly.add(part(1, text=b"mckh "), 60.0)
    second = assembly.add(part(2, text=b"H32-2"), 61.0)
    assert second is not None and second.text == "mckh H32-2"


def test_unfinished_texts_are_bounded_and_the_oldest_gives_way() -> None:
    assembly = Assembly()
    given = 0
    for number in range(1500):
        assembly.add(part(1, source=f"849{number:08d}"), 0.0)
        given += len(texts_of(assembly.overdue(1.0)))
    assert given == 500


def test_a_header_that_makes_no_sense_is_no_header_of_parts() -> None:
    assembly = Assembly()
    for octets in (b"\xffMCKH", b"\5\0\3\1\2\3H32", b"\5\0\3\1\1\1H32", b"\5\0\3\1\0\0H32", b"\1\0H32", b""):
        found = assembly.add(read_deliver_sm(deliver_body(octets, PHONE, SHORT_CODE, esm_class=0x40)), 0.0)
        assert found is not None


def test_a_receipt_is_never_taken_for_a_part_of_a_look_up(peer: SmppPeer) -> None:
    desk, sink = Desk(), Sink()
    with a_gateway(peer.port, lookups=desk, receipts=sink) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        peer.deliver_raw(receipt_body("17", "DELIVRD", "text"))
        sink.wait(lambda: len(sink.receipts) == 1)
    assert desk.asked == []
