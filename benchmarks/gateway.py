"""Durable sending from the state store, beside what a bare loop gets out of the same peer in the same run.

    python -m benchmarks.gateway [--messages 20000] [--rounds 3]
    python -m benchmarks.gateway kills [--messages 20000] [--kills 3]

Two roads, each beside a bare loop, all four taking turns; medians, ratios, and the raw seconds as JSON.

- *SMPP*, window 100: from the first claim out of `queued` until the last receipt is in the store. SQLite in WAL with
  ``synchronous=FULL``; each message's row is committed as `sending` before it is submitted, as `accepted` after its
  answer and as `delivered` before its receipt is acknowledged. At the end all are `delivered`, each submitted once. The
  bare loop keeps a window of the same size full on a socket and acknowledges receipts unread.
- *HTTP* as Kannel takes it, 8 connections: from the first claim until the last message is recorded as `accepted`. The
  bare loop sends the same requests with `http.client`, each connection in a thread. Receipts do not come back.

Peers are processes of their own (`tests.support`) on loopback, so that both sides share the machine's cores with them.
One-segment texts. Not covered: a network in between, message centres slower than ours, agencies being polled at the
same time, PostgreSQL as the state store, and a disk other than the one under the temporary folder, whose flushes are
part of the figure.

`kills` ends the daemon, then the message centre, several times in the middle, and counts: messages lost, and messages
doubled, which have to be marked `possible_duplicate` and no more than the window for each kill.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.gateway_kannel import by_bare_loop, target_of
from benchmarks.sending import AGENCY, Sender, a_full_outbox, by_bare_socket, text_of
from smsd.adapters.gateways.kannel import KannelGateway
from smsd.adapters.gateways.smpp.gateway import SmppGateway
from smsd.adapters.gateways.smpp.parts import LongMessages, PartWriter, sender_address, subscriber
from smsd.adapters.memory import keep_what_started
from smsd.core.model import MessageState
from smsd.core.policy import Encoding
from smsd.core.signing import Callback
from smsd.services.ports import Outgoing
from tests.support.builders import NOW
from tests.support.gatewayprocess import GatewayProcess
from tests.support.postgres import wait_until
from tests.system.sending.killing import KILLED, WINDOW, kill_in_the_middle
from tests.system.sending.peer import PeerProcess

CONNECTIONS = 8
UNSENT = (MessageState.QUEUED, MessageState.SENDING, MessageState.UNKNOWN)


@dataclass
class Road:
    """Both sides of one comparison."""

    name: str
    durable: Callable[[], float]
    bare: Callable[[], float]
    seconds: list[float] = field(default_factory=list)
    bare_seconds: list[float] = field(default_factory=list)

    def take_turns(self) -> None:
        self.seconds.append(self.durable())
        self.bare_seconds.append(self.bare())

    def report(self, count: int) -> dict[str, object]:
        ratios = [ours / bare for ours, bare in zip(self.seconds, self.bare_seconds, strict=True)]
        return {
            "road": self.name,
            "messages_per_second": round(count / statistics.median(self.seconds)),
            "bare_messages_per_second": round(count / statistics.median(self.bare_seconds)),
            "times_the_bare_loop_s_seconds": round(statistics.median(ratios), 2),
            "seconds": [round(seconds, 3) for seconds in self.seconds],
            "bare_seconds": [round(seconds, 3) for seconds in self.bare_seconds],
        }


def smpp_road(peer: PeerProcess, count: int) -> Road:
    def durable() -> float:
        with a_full_outbox(count) as database:
            sender = Sender(database)
            gateway = SmppGateway(
                host="127.0.0.1", port=peer.port, system_id="smsd", password="sesame", sender="MotcuaSMS",
                encoding=Encoding.UNACCENTED, number_format="84", receipts=sender, window=WINDOW,
            )  # fmt: skip
            gateway.start()
            wait_until(lambda: gateway.connected)
            before = peer.counts()
            seconds = sender.seconds(gateway, *UNSENT, MessageState.ACCEPTED)
            after = peer.counts()
            assert sender.states() == {"delivered": count}, sender.states()
            once = dict.fromkeys(("queued", "sending", "accepted", "delivered"), count)
            assert sender.events() == once, sender.events()
            assert after["taken"] - before["taken"] == count, "a message was submitted twice"
            return seconds

    def bare() -> float:
        writer = PartWriter(LongMessages.UDH)
        source, destination = sender_address("MotcuaSMS", 5, 0), subscriber("84905123456")
        bodies = [
            writer.write(source, destination, text_of(number), Encoding.UNACCENTED, receipts=True)[0]
            for number in range(count)
        ]
        return by_bare_socket(peer.port, bodies, WINDOW)

    return Road(f"SMPP, window {WINDOW}, receipts", durable, bare)


def http_road(peer: GatewayProcess, count: int) -> Road:
    def a_gateway() -> KannelGateway:
        return KannelGateway(
            peer.url, "smsd", "sesame", sender="MotcuaSMS", encoding=Encoding.UNACCENTED, number_format="84",
            callback=Callback("http://127.0.0.1:8029", "secret"), connections=CONNECTIONS,
        )  # fmt: skip

    def durable() -> float:
        with a_full_outbox(count) as database:
            sender = Sender(database)
            before = _lines(peer.record)
            seconds = sender.seconds(a_gateway(), *UNSENT)
            assert sender.states() == {"accepted": count}, sender.states()
            assert _lines(peer.record) - before == count, "a message was handed over twice"
            return seconds

    def bare() -> float:
        request_for = a_gateway().request_for
        targets = [target_of(request_for(an_outgoing(number))) for number in range(count)]
        return by_bare_loop(peer.port, targets, CONNECTIONS)

    return Road(f"HTTP, {CONNECTIONS} connections", durable, bare)


def an_outgoing(number: int) -> Outgoing:
    phone, code = f"84905{number % 1_000_000:06}", f"H32-{number:06}"
    return Outgoing(f"{number:032x}", phone, text_of(number), "result_ready", AGENCY, code, NOW, 1)


def _lines(record: Path) -> int:
    return record.read_bytes().count(b"\n")


def speed(count: int, rounds: int) -> dict[str, object]:
    """Let all take turns and print the table."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="smsd-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        smpp = stack.enter_context(PeerProcess(folder / "smpp.jsonl", "--receipts", "tlv", "--ids", "hex"))
        http = stack.enter_context(GatewayProcess(folder / "http.jsonl"))
        roads = [smpp_road(smpp, count), http_road(http, count)]
        for _ in range(rounds):
            for road in roads:
                road.take_turns()
    reports = [road.report(count) for road in roads]
    print(
        f"{count} messages, medians of {rounds}, load average before {load:.2f}, after {os.getloadavg()[0]:.2f}"
    )
    print(f"{'':32} {'durable':>12} {'bare loop':>12} {'time, bare = 1':>15}")
    for report in reports:
        ours, bare = report["messages_per_second"], report["bare_messages_per_second"]
        times = report["times_the_bare_loop_s_seconds"]
        print(f"{report['road']:32} {ours:>10,}/s {bare:>10,}/s {times:>15}")
    return {
        "messages": count,
        "rounds": rounds,
        "load_average": load,
        "sqlite": sqlite3.sqlite_version,
        "roads": reports,
    }


def kills(count: int, times: int) -> dict[str, object]:
    """Kill each side in the middle and print what that cost."""
    found: dict[str, object] = {}
    for what in KILLED:
        with tempfile.TemporaryDirectory(prefix="smsd-bench-") as folder:
            begun = time.perf_counter()
            toll = kill_in_the_middle(Path(folder), count, what, times)
            seconds = time.perf_counter() - begun
        print(
            f"{what} killed {times} times in {count} messages: {toll.lost} lost, {toll.doubled} doubled, of these "
            f"{toll.unmarked} unmarked; {toll.marked} marked in all; {seconds:.0f} s"
        )
        found[what] = {**asdict(toll), "bearable": toll.bearable, "seconds": round(seconds, 1)}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then JSON. The exit status is 1 if a kill cost more than it may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway")
    parser.add_argument("what", nargs="?", choices=("speed", "kills"), default="speed")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args(arguments)
    keep_what_started()  # as the daemon does
    if options.what == "speed":
        print(json.dumps(speed(options.messages, options.rounds)))
        return
    found = kills(options.messages, options.kills)
    print(json.dumps(found))
    sys.exit(0 if all(toll["bearable"] for toll in found.values()) else 1)


if __name__ == "__main__":
    main()
