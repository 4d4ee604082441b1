"""How many messages a second the SMPP gateway hands over, with receipts, and what its codec costs.

    python -m benchmarks.smpp_wire [--messages 20000] [--rounds 5] [--window 100] [--parts 1]

The message centre is a process of its own on the same machine, over loopback. Receipts go to a sink that only counts,
so that the figure is the gateway's alone: no store, no outbox. smpplib's PDU layer is measured beside ours.
"""

from __future__ import annotations

import argparse
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from smpplib import smpp

from smsd.adapters.gateways.smpp import pdu
from smsd.adapters.gateways.smpp.gateway import SmppGateway
from smsd.adapters.gateways.smpp.parts import LongMessages, PartWriter, sender_address, subscriber
from smsd.adapters.gateways.smpp.receipts import read_receipt
from smsd.core.model import Outcome, PartReceipt
from smsd.core.policy import Encoding
from smsd.services.ports import Outgoing
from tests.support.builders import NOW
from tests.support.smpppdus import receipt_body

TEXT = "Thong bao: Ho so cua quy Ong/Ba (000.12.12.H32-260803-0001) da co ket qua. Moi Ong/Ba den Bo phan Mot cua UBND"


class CountingSink:
    """Takes receipts and tells when all have come."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.count = 0
        self.all_there = threading.Event()

    def receive_parts(self, receipts: Sequence[PartReceipt]) -> None:
        self.count += len(receipts)
        if self.count >= self.expected:
            self.all_there.set()


def one_round(port: int, messages: int, window: int, text: str, parts: int) -> tuple[float, float]:
    """Seconds until all are accepted, and until all receipts are recorded."""
    sink = CountingSink(messages * parts)
    gateway = SmppGateway(
        host="127.0.0.1", port=port, system_id="smsd", password="sesame", sender="MotcuaSMS",
        encoding=Encoding.UNACCENTED, number_format="84", receipts=sink, window=window,
    )  # fmt: skip
    outgoing = [Outgoing(f"m{n}", "84905123456", text, "k", "a", "c", NOW, parts) for n in range(messages)]
    answers: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

    def done(_: str, outcome: Outcome) -> None:
        answers.put(outcome)

    gateway.start()
    while not gateway.connected:
        time.sleep(0.01)
    begun = time.perf_counter()
    given = min(window, messages)
    gateway.submit(outgoing[:given], done)
    taken = 0
    while taken < messages:
        count = 1
        assert answers.get().parts
        while not answers.empty():
            assert answers.get().parts
            count += 1
        taken += count
        gateway.submit(outgoing[given : given + count], done)
        given += count
    accepted = time.perf_counter() - begun
    assert sink.all_there.wait(60), f"{sink.count} of {sink.expected} receipts"
    reported = time.perf_counter() - begun
    gateway.close()
    return accepted, reported


def wire(messages: int, rounds: int, window: int, parts: int) -> None:
    """Print the medians."""
    text = (TEXT * parts)[: 160 if parts == 1 else 153 * parts]
    for form in ("tlv", "text"):
        command = [sys.executable, "-m", "tests.support.smpppeer", "--receipts", form, "--ids", "hex"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer:
            assert peer.stdout is not None
            port = int(peer.stdout.readline().rpartition(":")[2])
            times = [one_round(port, messages, window, text, parts) for _ in range(rounds)]
            peer.kill()
        accepted, reported = (statistics.median(column) for column in zip(*times, strict=True))
        print(
            f"receipts by {form}, window {window}, {parts} part(s): {messages / accepted:,.0f} messages/s accepted, "
            f"{messages / reported:,.0f} messages/s with receipts recorded (median of {rounds})"
        )


class _Owner:
    """Whom smpplib asks for sequence numbers."""

    sequence = 1

    def next_sequence(self) -> int:
        return self.sequence


def microseconds(action: Callable[[], object], times: int = 5000) -> float:
    """The best of five."""
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        for _ in range(times):
            action()
        best = min(best, time.perf_counter() - begun)
    return best / times * 1e6


def codec() -> None:
    """Print what each PDU costs."""
    writer = PartWriter(LongMessages.UDH)
    source, destination = sender_address("MotcuaSMS", 5, 0), subscriber("84905123456")
    body = writer.write(source, destination, TEXT, Encoding.UNACCENTED, receipts=True)[0]
    receipt = receipt_body("1a2b3c4d", "DELIVRD", "both")
    answer = pdu.write_pdu(pdu.SUBMIT_SM_RESP, 0, 7, b"1a2b3c4d\0")
    rows = {
        "submit_sm write, text and all": lambda: pdu.write_pdu(
            4, 0, 7, writer.write(source, destination, TEXT, Encoding.UNACCENTED, receipts=True)[0]
        ),
        "submit_sm write, body at hand": lambda: pdu.write_pdu(4, 0, 7, body),
        "submit_sm_resp read": lambda: pdu.message_id(pdu.Framing().feed(answer)[0].body),
        "deliver_sm read": lambda: pdu.read_deliver_sm(receipt),
        "deliver_sm read as a receipt": lambda: read_receipt(pdu.read_deliver_sm(receipt), "smpp"),
        "deliver_sm_resp write": lambda: pdu.write_pdu(pdu.DELIVER_SM_RESP, 0, 7, b"\0"),
    }
    for name, action in rows.items():
        print(f"{name}: {microseconds(action):.1f} µs")


def smpplib_codec() -> None:
    """The same with smpplib."""
    owner = _Owner()
    text = TEXT.encode()

    def submit() -> bytes:
        return smpp.make_pdu(
            "submit_sm", client=owner, source_addr_ton=5, source_addr="MotcuaSMS", dest_addr_ton=1, dest_addr_npi=1,
            destination_addr="84905123456", short_message=text, registered_delivery=1,
        ).generate()  # fmt: skip

    receipt = pdu.write_pdu(pdu.DELIVER_SM, 0, 7, receipt_body("1a2b3c4d", "DELIVRD", "both"))
    answer = pdu.write_pdu(pdu.SUBMIT_SM_RESP, 0, 7, b"1a2b3c4d\0")
    rows = {
        "submit_sm write": submit,
        "submit_sm_resp read": lambda: smpp.parse_pdu(answer, client=owner, allow_unknown_opt_params=True),
        "deliver_sm read": lambda: smpp.parse_pdu(receipt, client=owner, allow_unknown_opt_params=True),
        "deliver_sm_resp write": lambda: smpp.make_pdu("deliver_sm_resp", client=owner).generate(),
    }
    for name, action in rows.items():
        print(f"smpplib {name}: {microseconds(action, 1000):.1f} µs")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=int, default=100)
    parser.add_argument("--parts", type=int, default=1)
    options = parser.parse_args()
    codec()
    smpplib_codec()
    wire(options.messages, options.rounds, options.window, options.parts)


if __name__ == "__main__":
    main()
