"""A message centre that sends what no message centre may: no crash, no state changed by what proves nothing."""

from __future__ import annotations

import random
import resource
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import select

from smsd.adapters.gateways.smpp.gateway import SmppGateway
from smsd.adapters.store.schema import dossiers, message_events, messages, transitions
from smsd.core.model import MessageState
from tests.hostile.office import PARTS, Attacked
from tests.support.reliability import Record
from tests.support.smppclient import a_gateway
from tests.support.smpppdus import DELIVER_SM, HEADER, deliver_body, pdu, receipt_body, tlv
from tests.support.smpppeer import SmppPeer

pytestmark = pytest.mark.reliability
GROUP = "Hostile input"
_AT_A_TIME = 200


def state_of(attacked: Attacked) -> list[list[str]]:
    """All that a message centre could wrongly change."""
    with attacked.stage.database.reading() as connection:
        return [
            sorted(repr(tuple(row)) for row in connection.execute(select(table)))
            for table in (messages, message_events, dossiers, transitions)
        ]


@contextmanager
def bound(attacked: Attacked) -> Iterator[tuple[SmppPeer, SmppGateway]]:
    """A gateway of the office, bound to a message centre that we are."""
    with (
        SmppPeer() as peer,
        a_gateway(
            peer.port, name="fake", receipts=attacked.stage.delivery, lookups=attacked.lookups
        ) as gateway,
    ):
        gateway.start()
        peer.wait(lambda: peer.bound)
        yield peer, gateway


def delivered(peer: SmppPeer, bodies: list[bytes]) -> None:
    """Send each as a deliver_sm, and wait until each is acknowledged."""
    for start in range(0, len(bodies), _AT_A_TIME):
        sequences = {peer.deliver_raw(body) for body in bodies[start : start + _AT_A_TIME]}
        peer.wait(lambda sent=sequences: sent <= {sequence for sequence, _ in peer.acknowledged})  # type: ignore[misc]


def still_works(attacked: Attacked, peer: SmppPeer, number: str) -> None:
    """A citizen is answered, and a true receipt counts."""
    peer.wait(lambda: peer.bound)
    before = len(peer.taken)
    peer.deliver("MCKH H1", number, "9029")
    peer.wait(lambda: len(peer.taken) > before)
    sequence = peer.receipt(PARTS[0])
    peer.wait(lambda: (sequence, 0) in peer.acknowledged)
    states = sorted(message.state for message in attacked.stage.messages())
    assert states == sorted([MessageState.DELIVERED, *[MessageState.ACCEPTED] * 3])


def a_broken_pdu(chance: random.Random) -> bytes:
    """A body of noise, a good one cut off or spoilt, an unknown command, an answer nobody asked for."""
    body = bytearray(deliver_body(b"MCKH H1", "84905123456", "9029", tlvs=tlv(0x1400, b"x")))
    kind = chance.randrange(6)
    if kind == 0:
        return pdu(DELIVER_SM, 0, chance.randrange(1, 1 << 31), chance.randbytes(chance.randrange(300)))
    if kind == 1:
        return pdu(DELIVER_SM, 0, chance.randrange(1, 1 << 31), bytes(body[: chance.randrange(20)]))
    if kind == 2:
        for _ in range(chance.randrange(1, 9)):
            body[chance.randrange(2)] = chance.randrange(1, 256)
        return pdu(DELIVER_SM, 0, chance.randrange(1, 1 << 31), bytes(body).replace(b"\0", b"\1"))
    command = chance.choice(
        [0, 1, 3, 0x21, 0x103, 0x80000004, 0x80000009, 0x80000015, 0x80000000, 0xFFFFFFFF]
    )
    if kind == 3:
        return pdu(command, chance.randrange(1 << 32), chance.randrange(1 << 32), chance.randbytes(40))
    if kind == 4:
        return pdu(0x80000004, 0, chance.randrange(1 << 32), b"\xff" * 500)
    if chance.randrange(10) == 0:  # the stream cannot be read any further: it has to be bound anew
        return HEADER.pack(chance.choice([0, 1, 15, 65_537, 0xFFFFFFFF]), DELIVER_SM, 0, 1)
    return pdu(DELIVER_SM, 0xFFFFFFFF, 0, struct.pack(">HH", 0x0424, 0xFFFF) * 10)


def test_broken_pdus_end_nothing_but_a_connection(attacked: Attacked, reliability: Record) -> None:
    tried, chance = reliability.times(500, 5_000), random.Random(1)
    with bound(attacked) as (peer, _gateway):
        before = state_of(attacked)
        connections = peer.connections
        sent = 0
        while sent < tried:
            peer.wait(lambda: peer.bound)
            sent += peer.send(a_broken_pdu(chance))
        assert state_of(attacked) == before
        still_works(attacked, peer, "84905123456")
        again = peer.connections - connections
    reliability.row(
        GROUP,
        "broken SMPP PDUs: noise, cut off, impossible lengths, answers nobody asked for",
        tried=tried,
        recovered=f"refused; where the stream was lost it was bound anew ({again} times); nothing changed",
    )


def a_broken_receipt(chance: random.Random) -> bytes:
    """What the message centre marks as a receipt, but which does not tell of whom, or what."""
    part = chance.choice(PARTS)
    texts = [
        f"id:{part} sub:001 stat:",
        f"id:{part} stat:NOTHING err:000",
        f"stat:DELIVRD id:{'9' * 200} done date:x",
        f"stat:DELIVRD err:{part}",
        f"id{part}statDELIVRD",
        f"text:id:{part} stat:DELIVRD",
        "id: ,;stat:DELIVRD",
        "\0" * 60,
        "stat:DELIVRD " * 15,
        "id:" * 60,
    ]
    text = chance.choice(texts).encode()[:255]
    if chance.randrange(3) == 0:
        text = bytes(octet ^ 0x80 for octet in text)
    tlvs = chance.choice(
        [b"", tlv(0x0427, b""), tlv(0x0427, bytes((99,))), tlv(0x001E, b"\0"), tlv(0x001E, b"x" * 200)]
    )
    coding = chance.choice([0, 0, 3, 8, 4, 0xF5, 255])
    return deliver_body(text, "84905123456", "MotcuaSMS", esm_class=4, data_coding=coding, tlvs=tlvs)


def test_receipts_that_cannot_be_read_change_no_message(attacked: Attacked, reliability: Record) -> None:
    tried, chance = reliability.times(500, 5_000), random.Random(2)
    bodies = [a_broken_receipt(chance) for _ in range(tried - 8)]
    bodies += [
        receipt_body(part, "DELIVRD", "text").replace(b"MotcuaSMS\0\4", b"MotcuaSMS\0\0") for part in PARTS
    ]
    bodies += [receipt_body(f"99{part}", "DELIVRD", "both") for part in PARTS]
    with bound(attacked) as (peer, gateway):
        before = state_of(attacked)
        delivered(peer, bodies)
        assert state_of(attacked) == before
        unread = gateway.counts["unreadable_receipts"] + gateway.counts["unproven_receipts"]
        assert unread > tried * 0.8
        still_works(attacked, peer, "84905123456")
    reliability.row(
        GROUP,
        "receipts over SMPP that cannot be read, prove nothing, or name no message of ours",
        tried=tried,
        recovered=f"each acknowledged, {unread} counted as unreadable; no message changed",
    )


def a_strange_text(chance: random.Random, place: int) -> bytes:
    """A citizen's text, or what claims to be one: header, parts, alphabet and sender are anything."""
    text = chance.choice(
        [b"MCKH H1", "MCKH H1".encode("utf-16-be"), chance.randbytes(chance.randrange(140)), b"", b"\0"]
    )
    number = chance.randrange(10)
    esm_class, tlvs = 0, b""
    if number < 4:
        esm_class = 0x40
        header = bytes(
            (chance.randrange(256), chance.choice([0, 8, 5]), chance.randrange(9), *chance.randbytes(4))
        )
        text = header + text
    elif number == 4:
        tlvs = (
            tlv(0x020C, chance.randbytes(2))
            + tlv(0x020E, chance.randbytes(1))
            + tlv(0x020F, chance.randbytes(9))
        )
    elif number == 5:
        tlvs = tlv(0x0424, chance.randbytes(2_000))
    source = chance.choice(
        [f"849{place:08d}", f"+849{place:08d}", "9029", "VIETTEL", "0" * 20, "-1", "84\x01905"]
    )
    return deliver_body(
        text[:255], source, "9029", esm_class=esm_class, data_coding=chance.randrange(256), tlvs=tlvs
    )


def test_strange_texts_from_citizens_change_no_state_and_stop_nobody(
    attacked: Attacked, reliability: Record
) -> None:
    tried, chance = reliability.times(500, 5_000), random.Random(3)
    bodies = [a_strange_text(chance, place) for place in range(tried)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with bound(attacked) as (peer, gateway):
        before = state_of(attacked)
        delivered(peer, bodies)
        assert state_of(attacked) == before
        refused = sum(status != 0 for _, status in peer.acknowledged)
        assert refused == 0
        peer.wait(lambda: peer.bound)
        answered = len(peer.taken)
        assert gateway.counts["inquiries"] == tried
        still_works(attacked, peer, "84999999999")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) // 1024
    assert grown < 64
    reliability.row(
        GROUP,
        "texts to 9029 over SMPP with broken headers, parts, alphabets and senders",
        tried=tried,
        recovered=f"each acknowledged, {answered} answered by then with one of the four texts; no state changed, "
        f"{grown} MiB more",
    )
