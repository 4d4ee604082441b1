"""A message centre that speaks SMPP 3.4 and behaves as badly as it is told to; ten thousand messages a second and more.

In a test, in a thread of its own:

    with SmppPeer(receipts="text") as peer:
        peer.next(THROTTLED, Reaction(answer="none"), 0x0B)      # one each, in this order
        peer.always(Reaction(answer="hold"))                      # from then on
        … peer.port … peer.taken … peer.deliver("MCKH H32-1", "84905123456", "9029") … peer.acknowledged …

As a process of its own: ``python -m tests.support.smpppeer --port 0 --record sent.jsonl --receipts tlv``, see
`smppprocess`.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.support.smpppdus import (
    BIND_TRANSCEIVER,
    DELIVER_SM,
    ENQUIRE_LINK,
    GENERIC_NACK,
    HEADER,
    ID_FORMS,
    RESPONSE,
    SUBMIT_SM,
    THROTTLED,
    UNBIND,
    deliver_body,
    pdu,
    read_fields,
    receipt_body,
    wants_receipt,
)


@dataclass(frozen=True)
class Reaction:
    """What happens to one submit_sm.

    ``answer``: ``resp``, ``none``, ``nack``, ``half`` (of a PDU), ``twice``, ``wrong_sequence``, ``wrong_length``,
    ``no_id``, ``hold`` (until `SmppPeer.release`). ``then``: ``drop`` or ``unbind``.
    """

    status: int = 0
    answer: str = "resp"
    then: str = ""


class Taken(NamedTuple):
    """A part that was taken, as it came."""

    id: str
    body: bytes
    wall: float
    monotonic: float

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the submit_sm."""
        return read_fields(self.body)

    @property
    def text(self) -> str:
        return str(self.fields["text"])

    @property
    def to(self) -> str:
        return str(self.fields["to"])


@dataclass
class SmppPeer:
    """See the module. Methods may be called from any thread."""

    port: int = 0
    system_id: str = "smsd"
    password: str = "sesame"
    receipts: str = "none"
    states: tuple[str, ...] = ("DELIVRD",)
    receipt_delay: float = 0.0
    receipts_first: bool = False
    ids: str = "decimal"
    receipt_ids: str = ""
    first_id: int = 1
    latency: float = 0.0
    throttle_every: int = 0
    drop_after: int = 0
    no_id: bool = False
    record: str = ""
    tls: ssl.SSLContext | None = None
    bind: int | str = 0
    """What a bind of our account is answered: a status, ``none``, ``nack`` or ``drop``."""
    taken: list[Taken] = field(default_factory=list)
    acknowledged: list[tuple[int, int]] = field(default_factory=list)
    """Sequence number and status of each deliver_sm_resp."""
    heard: list[tuple[int, int, int]] = field(default_factory=list)
    """Command, status and sequence number of every other PDU."""
    connections: int = 0
    receipts_sent: int = 0
    on_bind: Callable[[], object] = lambda: None
    """Called in the peer's thread when somebody has bound, after the answer."""

    def __post_init__(self) -> None:
        self._reactions: deque[Reaction] = deque()
        self._always: Reaction | None = None
        self._changed = threading.Condition()
        self._sessions: list[_Session] = []
        self._submitted = 0
        self.sequence = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._file = open(self.record, "a", encoding="utf-8", buffering=1 << 20) if self.record else None  # noqa: SIM115, PTH123

    # life

    def __enter__(self) -> SmppPeer:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready.set)), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop.set)
        self._thread.join(10)

    async def _serve(self, ready: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await self._loop.create_server(lambda: _Session(self), "127.0.0.1", self.port, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        ready()
        await self._stop.wait()
        server.close()
        for session in list(self._sessions):
            session.transport.abort()
        if self._file:
            self._file.close()

    def _call(self, function: Callable[[], Any]) -> Any:
        """Run something in the loop's thread."""
        assert self._loop is not None
        if threading.current_thread() is getattr(self, "_thread", None):
            return function()

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    # what a test says

    def next(self, *reactions: Reaction | int) -> None:
        """React so to the next submit_sm, one each."""
        self._reactions.extend(map(_reaction, reactions))

    def always(self, reaction: Reaction | int | None) -> None:
        """React so to every further one; None: as the options say."""
        self._always = None if reaction is None else _reaction(reaction)

    def deliver(self, text: str, source: str, destination: str, **more: Any) -> int:
        """Send a text as a subscriber's; returns the sequence number."""
        octets, coding = (text.encode(), 0) if text.isascii() else (text.encode("utf-16-be"), 8)
        return self.deliver_raw(deliver_body(octets, source, destination, **({"data_coding": coding} | more)))

    def deliver_raw(self, body: bytes) -> int:
        """Send a deliver_sm with this body."""

        def send() -> int:
            self.sequence += 1
            self.session.transport.write(pdu(DELIVER_SM, 0, self.sequence, body))
            return self.sequence

        return int(self._call(send))

    def receipt(self, part: str, state: str = "DELIVRD", form: str = "both") -> int:
        """Send a receipt."""
        return self.deliver_raw(receipt_body(part, state, form))

    def send(self, octets: bytes) -> bool:
        """Send octets as they are; False if nobody is bound to send them to."""

        def send() -> bool:
            if self.bound:
                self.session.transport.write(octets)
            return self.bound

        return bool(self._call(send))

    def release(self, order: Callable[[list[bytes]], Iterable[bytes]] = list) -> None:
        """Send the answers that were held."""

        def send() -> None:
            held, self.session.held = self.session.held, []
            self.session.transport.write(b"".join(order(held)))

        self._call(send)

    def drop(self) -> None:
        """Cut every connection."""
        self._call(lambda: [session.transport.abort() for session in list(self._sessions)])

    def read_nothing(self) -> None:
        """Read no more from the present connection."""
        self._call(self.session.transport.pause_reading)

    def wait(self, condition: Callable[[], bool], seconds: float = 15.0) -> None:
        """Until a condition over what came holds; fails the test when it does not in time."""
        with self._changed:
            assert self._changed.wait_for(condition, seconds), "the condition did not come true in time"

    @property
    def session(self) -> _Session:
        """The latest connection that is bound."""
        return next(session for session in reversed(self._sessions) if session.bound)

    @property
    def bound(self) -> bool:
        return any(session.bound for session in self._sessions)

    @property
    def held(self) -> int:
        """How many answers are held."""
        return sum(len(session.held) for session in self._sessions)

    def told(self) -> None:
        """Something changed: look at the conditions again."""
        with self._changed:
            self._changed.notify_all()

    # what it does

    def reaction(self) -> Reaction:
        self._submitted += 1
        if self._reactions:
            return self._reactions.popleft()
        if self._always is not None:
            return self._always
        if self.throttle_every and self._submitted % self.throttle_every == 0:
            return Reaction(THROTTLED)
        if self.drop_after and (len(self.taken) + 1) % self.drop_after == 0:
            return Reaction(answer="none", then="drop")
        return Reaction(answer="no_id" if self.no_id else "resp")

    def take(self, body: bytes) -> tuple[str, str]:
        """Take a part; its id in the answer, and in receipts."""
        number = self.first_id + len(self.taken)
        part = ID_FORMS[self.ids](number)
        taken = Taken(part, body, time.time(), time.monotonic())
        self.taken.append(taken)
        if self._file:
            self._write(taken)
        return part, ID_FORMS[self.receipt_ids or self.ids](number)

    def _write(self, taken: Taken) -> None:
        fields = taken.fields
        kept = {
            key: fields[key]
            for key in ("to", "from", "text", "esm_class", "data_coding", "registered", "part")
        }
        line = {"id": taken.id, **kept, "wall": taken.wall, "monotonic": taken.monotonic}
        assert self._file is not None
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def flush(self) -> None:
        if self._file and not self._file.closed:
            self._file.flush()


class _Session(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self, peer: SmppPeer) -> None:
        self.peer = peer
        self.bound = False
        self.held: list[bytes] = []
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.peer._sessions.append(self)
        self.peer.connections += 1
        self.peer.told()

    def connection_lost(self, exc: Exception | None) -> None:
        self.peer._sessions.remove(self)
        self.bound = False
        self.peer.flush()
        self.peer.told()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        at, answers, receipts = 0, [], []
        while len(data) - at >= 16:
            length, command, status, sequence = HEADER.unpack_from(data, at)
            if len(data) - at < length:
                break
            body = data[at + 16 : at + length]
            at += length
            if command == SUBMIT_SM and self.bound:
                self._on_submit(sequence, body, answers, receipts)
            elif command == DELIVER_SM | RESPONSE:
                self.peer.acknowledged.append((sequence, status))
            else:
                self._on_other(command, status, sequence, body, answers)
        self._rest = data[at:]
        self.peer.flush()  # what is answered is in the record, even if the process is killed now
        self._answer(answers, receipts)
        self.peer.told()

    def _answer(self, answers: list[bytes], receipts: list[bytes]) -> None:
        peer = self.peer
        first, then = (receipts, answers) if peer.receipts_first else (answers, receipts)
        if not (peer.latency or peer.receipt_delay):
            self._write(first + then)
        elif peer.receipts_first:
            asyncio.get_running_loop().call_later(peer.latency, self._write, first + then)
        else:
            self._later(peer.latency, answers)
            self._later(peer.latency + peer.receipt_delay, receipts)

    def _later(self, seconds: float, pdus: list[bytes]) -> None:
        if pdus and seconds:
            asyncio.get_running_loop().call_later(seconds, self._write, pdus)
        else:
            self._write(pdus)

    def _write(self, pdus: list[bytes]) -> None:
        if pdus and not self.transport.is_closing():
            self.transport.write(b"".join(pdus))

    def _on_submit(self, sequence: int, body: bytes, answers: list[bytes], receipts: list[bytes]) -> None:
        peer = self.peer
        reaction = peer.reaction()
        part = reported = ""
        if reaction.status == 0 and reaction.answer != "nack":
            part, reported = peer.take(body)
        named = b"" if reaction.answer == "no_id" else part.encode()
        answer = pdu(SUBMIT_SM | RESPONSE, reaction.status, sequence, named + b"\0" if part else b"")
        match reaction.answer:
            case "none":
                answer = b""
            case "nack":
                answer = pdu(GENERIC_NACK, reaction.status or 3, sequence)
            case "half":
                answer = answer[: len(answer) // 2]
            case "twice":
                answer *= 2
            case "wrong_sequence":
                answer = pdu(SUBMIT_SM | RESPONSE, reaction.status, sequence + 1_000_000, b"x\0")
            case "wrong_length":
                answer = HEADER.pack(3, SUBMIT_SM | RESPONSE, 0, sequence)
            case "hold":
                self.held.append(answer)
                answer = b""
        answers.append(answer)
        if (
            part
            and peer.receipts != "none"
            and reaction.answer not in ("none", "hold")
            and wants_receipt(body)
        ):
            receipts += self._receipts(reported, body)
        if reaction.then:
            self._write(answers)
            answers.clear()
            self._then(reaction.then)

    def _receipts(self, part: str, body: bytes) -> list[bytes]:
        peer = self.peer
        made = []
        for state in peer.states:
            peer.sequence += 1
            peer.receipts_sent += 1
            made.append(pdu(DELIVER_SM, 0, peer.sequence, receipt_body(part, state, peer.receipts)))
        return made

    def _then(self, what: str) -> None:
        if what == "drop":
            self.transport.close()
        elif what == "unbind":
            self.peer.sequence += 1
            self._write([pdu(UNBIND, 0, self.peer.sequence)])

    def _on_other(self, command: int, status: int, sequence: int, body: bytes, answers: list[bytes]) -> None:
        peer = self.peer
        peer.heard.append((command, status, sequence))
        if command == BIND_TRANSCEIVER:
            self._on_bind(sequence, body, answers)
        elif command in (ENQUIRE_LINK, UNBIND) and not isinstance(peer.bind, str):
            answers.append(pdu(command | RESPONSE, 0, sequence))
        elif command == UNBIND | RESPONSE:
            self.transport.close()
        elif command == SUBMIT_SM:
            answers.append(pdu(command | RESPONSE, 4, sequence))

    def _on_bind(self, sequence: int, body: bytes, answers: list[bytes]) -> None:
        peer = self.peer
        system_id, password = body.split(b"\0")[:2]
        status = peer.bind
        if status == 0 and system_id.decode() != peer.system_id:
            status = 0x0F
        elif status == 0 and password.decode() != peer.password:
            status = 0x0E
        if status == "drop":
            self.transport.abort()
        elif status == "nack":
            answers.append(pdu(GENERIC_NACK, 3, sequence))
        elif isinstance(status, int):
            self.bound = status == 0
            answer = pdu(BIND_TRANSCEIVER | RESPONSE, status, sequence, b"peer\0" if self.bound else b"")
            self._write([*answers, answer])
            answers.clear()
            if self.bound:
                peer.on_bind()


def _reaction(given: Reaction | int) -> Reaction:
    return Reaction(given) if isinstance(given, int) else given


if __name__ == "__main__":
    from tests.support.smppprocess import main

    main()
