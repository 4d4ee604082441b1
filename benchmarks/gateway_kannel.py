"""How many messages a second the Kannel gateway hands to a real smsbox, beside a bare loop of `http.client`.

    python -m benchmarks.gateway_kannel [--messages 12000] [--rounds 5] [--connections 8]

Kannel is Debian's, configured as in docs/kannel.md, before a message centre that is a process of its own on the same
machine, over loopback. All sides ask for receipts, over as many connections; the bare loop does no more than send the
same requests, each connection in a thread, and look at the status. The third side is durable sending: the same gateway
fed from the SQLite store, each message committed before and after its call. Rounds alternate and begin once Kannel has
passed on everything, so that its queue weighs on none. The ratios are what each leaves of what a client can have.

Each side has two figures. "Taken": until smsbox has answered for the last message. "Passed on": until the message
centre has the last one too, which is what can go on for long. They differ most for the
fastest side: smsbox takes messages before bearerbox passes them on, on the same two cores, so that a sprint leaves half
of Kannel's own work for afterwards.
"""

from __future__ import annotations

import argparse
import http.client
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.sending import Sender, a_full_outbox
from smsd.adapters.gateways.kannel import KannelGateway
from smsd.adapters.memory import keep_what_started
from smsd.core.model import MessageState, Outcome, Verdict
from smsd.core.policy import Encoding
from smsd.core.signing import Callback
from smsd.services.ports import Outgoing
from tests.support.builders import NOW
from tests.support.kannel import PASSWORD, TOKEN, Kannel
from tests.support.postgres import free_port, wait_until

TEXT = "Thông báo: Hồ sơ của quý Ông/Bà (000.00.12.H32-260803-0001) đã được giải quyết xong."


def a_gateway(kannel: Kannel, inbound_port: int, connections: int) -> KannelGateway:
    return KannelGateway(
        kannel.url, "smsd", PASSWORD, sender="MotcuaSMS", encoding=Encoding.UNICODE, number_format="84",
        callback=Callback(f"http://127.0.0.1:{inbound_port}", TOKEN), connections=connections,
    )  # fmt: skip


def by_gateway(gateway: KannelGateway, messages: Sequence[Outgoing]) -> float:
    """Seconds until every message is answered, given as the daemon gives them: so many as the window has room for."""
    answers: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

    def done(_: str, outcome: Outcome) -> None:
        answers.put(outcome)

    begun = time.perf_counter()
    given = gateway.window
    gateway.submit(messages[:given], done)
    for _ in messages:
        assert answers.get().verdict is Verdict.ACCEPTED
        gateway.submit(messages[given : given + 1], done)
        given += 1
    return time.perf_counter() - begun


def durably(gateway: KannelGateway, count: int, then: Callable[[], object]) -> float:
    """Seconds from the first claim until every message is recorded as taken; ``then`` follows at once."""
    with a_full_outbox(count, text=TEXT) as database:
        sender = Sender(database)
        unanswered = (MessageState.QUEUED, MessageState.SENDING, MessageState.UNKNOWN)
        seconds = sender.seconds(gateway, *unanswered, then=then)
        assert sender.states() == {"accepted": count}, sender.states()
        return seconds


def by_bare_loop(port: int, targets: Sequence[str], connections: int) -> float:
    """Seconds until every request is answered."""

    def work(own: Sequence[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for target in own:
            connection.request("GET", target)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 202
        connection.close()

    threads = [threading.Thread(target=work, args=(targets[n::connections],)) for n in range(connections)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun


def target_of(request: bytes) -> str:
    """The path and query of a request."""
    return request.split(b" ", 2)[1].decode()


@contextmanager
def surroundings(
    connections: int,
) -> Iterator[tuple[Callable[[], KannelGateway], Kannel, Callable[[], float]]]:
    """What makes gateways, Kannel behind them, and what waits until Kannel has nothing left to do: for how long."""
    command = [sys.executable, "-m", "tests.support.smpppeer"]
    with (
        tempfile.TemporaryDirectory(prefix="smsd-bench-") as name,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as peer,
    ):
        assert peer.stdout is not None
        smsc_port = int(peer.stdout.readline().rpartition(":")[2])
        inbound_port = free_port()
        # without a receiver for them, receipts of the submission would be tried again and again
        retries = {"smsbox": {"http_request_retry": 0}}
        folder = Path(name) / "kannel"
        try:
            with Kannel(folder, smsc_port=smsc_port, inbound_port=inbound_port, changes=retries) as kannel:
                kannel.start()
                yield (
                    lambda: a_gateway(kannel, inbound_port, connections),
                    kannel,
                    lambda: seconds_of_rest(kannel),
                )
        finally:
            peer.kill()


def seconds_of_rest(kannel: Kannel) -> float:
    begun = time.perf_counter()
    wait_until(lambda: "store size 0" in kannel.status(), 120, step=0.02)
    return time.perf_counter() - begun


def main(arguments: list[str] | None = None) -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway_kannel")
    parser.add_argument("--messages", type=int, default=12_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args(arguments)
    keep_what_started()  # as the daemon does
    messages = [
        Outgoing(f"{n:032x}", f"84905{n:06}", TEXT, "result_ready", "agency", f"H32-{n}", NOW, 2)
        for n in range(options.messages)
    ]
    with surroundings(options.connections) as (a_gateway, kannel, rest):
        gateway = a_gateway()
        targets = [target_of(gateway.request_for(message)) for message in messages]
        rests: list[float] = []

        def rest_of_it() -> None:
            rests.append(rest())

        def durable() -> float:
            return durably(a_gateway(), options.messages, rest_of_it)

        def alone() -> float:
            seconds = by_gateway(gateway, messages)
            rest_of_it()
            return seconds

        def bare() -> float:
            seconds = by_bare_loop(kannel.port, targets, options.connections)
            rest_of_it()
            return seconds

        sides = {"gateway alone": alone, "durable": durable, "bare loop": bare}
        taken: dict[str, list[float]] = {name: [] for name in sides}
        passed_on: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(options.rounds):
            for name, side in sides.items():
                taken[name].append(side())
                passed_on[name].append(taken[name][-1] + rests[-1])
        gateway.close()
    print(f"{options.messages} messages, {options.connections} connections, medians of {options.rounds}")
    print_ratios("taken", taken, options.messages)
    print_ratios("passed on", passed_on, options.messages)


def print_ratios(what: str, times: Mapping[str, Sequence[float]], count: int) -> None:
    """Messages a second of each side, and what it leaves of the bare loop's, round by round."""
    for name, seconds in times.items():
        ratios = sorted(bare / own for own, bare in zip(seconds, times["bare loop"], strict=True))
        print(
            f"{what:10}{name:15}{count / statistics.median(seconds):>8,.0f}/s, of the bare loop's "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
