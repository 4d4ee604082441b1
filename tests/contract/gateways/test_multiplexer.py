"""Many exchanges in one thread: in which order things happen, and that nothing keeps the others up."""

from __future__ import annotations

import queue
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from smsd.adapters.gateways import multiplexer as module
from smsd.adapters.gateways import opening
from smsd.adapters.gateways.httpexchange import (
    LARGEST_BODY,
    Address,
    Answer,
    ExchangeError,
    NoAnswerError,
    NotSentError,
)
from smsd.adapters.gateways.multiplexer import Exchange, Multiplexer
from tests.support.postgres import free_port, wait_until

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nSent."


class Server:
    """Answers each request with the next of its answers, the last one for ever; an answer may come in pieces."""

    def __init__(
        self,
        *answers: bytes | list[bytes],
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        answers_each: int | None = None,
    ) -> None:
        """``answers_each``: so many answers, then a connection is closed without a word."""
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self._tls = tls
        self._answers_each = answers_each
        self._answers = list(answers)
        self._lock = threading.Lock()
        self.requests = 0
        self.connections = 0
        self.open = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @classmethod
    @contextmanager
    def at(
        cls,
        port: int,
        *answers: bytes | list[bytes],
        tls: ssl.SSLContext | None = None,
        answers_each: int | None = None,
    ) -> Iterator[Server]:
        server = cls(*answers, port=port, tls=tls, answers_each=answers_each)
        yield server
        server.close()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._count(connections=1)
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answered = 0
            while answered != self._answers_each and self._asked(connection):
                answered += 1
                for piece in self._next():
                    connection.sendall(piece)
        self._count(connections=-1)

    def _count(self, connections: int) -> None:
        with self._lock:
            self.open += connections
            self.connections += max(connections, 0)

    def _asked(self, connection: socket.socket) -> bool:
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            try:
                piece = connection.recv(65536)
            except OSError:
                return False
            if not piece:
                return False
            received += piece
        return True

    def _next(self) -> list[bytes]:
        with self._lock:
            self.requests += 1
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [answer] if isinstance(answer, bytes) else answer


class Ends:
    """Collects how exchanges end."""

    def __init__(self) -> None:
        self._ends: queue.SimpleQueue[Answer | ExchangeError] = queue.SimpleQueue()

    def exchange(self) -> Exchange:
        return Exchange(REQUEST, self._ends.put)

    def next(self, seconds: float = 5.0) -> Answer | ExchangeError:
        return self._ends.get(timeout=seconds)


Made = Callable[..., Multiplexer]


@pytest.fixture
def make() -> Iterator[Made]:
    made: list[Multiplexer] = []

    def one(port: int, *, host: str = "127.0.0.1", connections: int = 1, timeout: float = 5.0) -> Multiplexer:
        address = Address.of(f"http://{host}:{port}/")
        made.append(Multiplexer("test", address, connections=connections, timeout=timeout))
        return made[-1]

    yield one
    for multiplexer in made:
        multiplexer.close()


def serving(*answers: bytes | list[bytes]) -> AbstractContextManager[Server]:
    return Server.at(0, *answers)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS for localhost, and the certificate to trust."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *more], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def test_the_next_request_leaves_before_it_is_told_what_the_last_answer_was(make: Made) -> None:
    with serving(ACCEPTED) as server:
        multiplexer, ends, seen = make(server.port), Ends(), []

        def end(_: object) -> None:
            wait_until(lambda: server.requests == 2, 5, step=0.002)
            seen.append(server.requests)

        multiplexer.submit([Exchange(REQUEST, end), ends.exchange()])
        assert isinstance(ends.next(), Answer)
        assert seen == [2]


def test_all_connections_are_seen_to_in_one_thread(make: Made) -> None:
    with serving(ACCEPTED) as server:
        multiplexer, ends, before = make(server.port, connections=8), Ends(), threading.active_count()
        multiplexer.submit([ends.exchange() for _ in range(400)])
        answers = [ends.next() for _ in range(400)]
        assert {type(answer) for answer in answers} == {Answer}
        assert server.connections <= 8
        wait_until(lambda: not any(thread.name == "look-up" for thread in threading.enumerate()))
        # the server has one thread for each connection; ours has one in all
        assert threading.active_count() - before == 1 + server.open


def test_a_hanging_exchange_keeps_no_other_connection_up(make: Made) -> None:
    with serving([], ACCEPTED) as server:
        multiplexer, ends = make(server.port, connections=2, timeout=1.0), Ends()
        begun = time.monotonic()
        multiplexer.submit([ends.exchange() for _ in range(50)])
        assert {type(ends.next()) for _ in range(49)} == {Answer}
        assert time.monotonic() - begun < 1.0
        hung = ends.next()
        assert isinstance(hung, NoAnswerError)
        assert hung.code == "answer_timeout"


def test_an_interim_answer_is_passed_over(make: Made) -> None:
    with serving(b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n" + ACCEPTED) as server:
        multiplexer, ends = make(server.port), Ends()
        multiplexer.submit([ends.exchange(), ends.exchange()])
        assert ends.next() == ends.next() == Answer(202, b"Sent.")
        assert server.connections == 1


@pytest.mark.parametrize("size", [1, 2, 7])
def test_an_answer_may_come_in_any_pieces(make: Made, size: int) -> None:
    whole = b"HTTP/1.1 202 X\r\nRetry-After: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nSen\r\n2\r\nt.\r\n0\r\n\r\n"
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    with serving(pieces) as server:
        multiplexer, ends = make(server.port), Ends()
        multiplexer.submit([ends.exchange(), ends.exchange()])
        assert ends.next() == ends.next() == Answer(202, b"Sent.", 3.0)


def test_a_body_of_many_small_chunks_costs_no_more_than_its_size(make: Made) -> None:
    body = b"1\r\nx\r\n" * 20_000  # as much as an answer may be in all
    with serving(b"HTTP/1.1 202 X\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n") as server:
        multiplexer, ends = make(server.port), Ends()
        begun = time.thread_time()
        multiplexer.submit([ends.exchange()])
        assert ends.next() == Answer(202, b"x" * 20_000)
        assert time.thread_time() - begun < 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/2.0 202 X\r\nContent-Length: 5\r\n\r\nSent.",
        b"HTTP/0.9 202 X\r\nContent-Length: 5\r\n\r\nSent.",
        f"HTTP/1.1 202 X\r\nContent-Length: {LARGEST_BODY + 1}\r\n\r\n".encode(),
        b"HTTP/1.1 202 X\r\nTransfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n" + b"x" * 65535 + b"\r\n9\r\n" + b"x" * 9,
        b"HTTP/1.1 202 X\r\n" + b"X: y\r\n" * 30_000,
        b"HTTP/1.1 202 X\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nSent.",
        b"HTTP/1.1 202 X\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_too_large_or_no_answer_ends_at_once(make: Made, answer: bytes) -> None:
    with serving(answer, ACCEPTED) as server:
        multiplexer, ends = make(server.port), Ends()
        multiplexer.submit([ends.exchange()])
        error = ends.next()
        assert isinstance(error, NoAnswerError)
        assert error.code == "unrecognised_answer"
        multiplexer.submit([ends.exchange()])
        assert ends.next() == Answer(202, b"Sent.")


@pytest.mark.parametrize("size", [40_000, LARGEST_BODY])
def test_a_long_page_is_an_answer(make: Made, size: int) -> None:
    with serving(b"HTTP/1.1 503 X\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size) as server:
        multiplexer, ends = make(server.port), Ends()
        multiplexer.submit([ends.exchange()])
        assert ends.next() == Answer(503, b"x" * size)


@pytest.mark.parametrize(
    "rest", [b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", b"\0\xff", b"H"]
)
def test_what_follows_a_whole_answer_ends_the_connection_alone(make: Made, rest: bytes) -> None:
    with serving(ACCEPTED + rest, ACCEPTED) as server:
        multiplexer, ends = make(server.port), Ends()
        multiplexer.submit([ends.exchange(), ends.exchange()])
        assert ends.next() == ends.next() == Answer(202, b"Sent.")
        assert server.connections == 2


def test_a_wait_that_is_said_twice_is_not_said(make: Made) -> None:
    with serving(
        b"HTTP/1.1 503 X\r\nRetry-After: 3\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n"
    ) as server:
        multiplexer, ends = make(server.port), Ends()
        multiplexer.submit([ends.exchange()])
        assert ends.next() == Answer(503, b"", None)


def test_a_mistake_in_what_is_told_costs_no_other_exchange_its_end(make: Made) -> None:
    def mistaken(_: object) -> None:
        raise RuntimeError("of ours")

    with serving(ACCEPTED) as server:
        multiplexer, ends = make(server.port), Ends()
        multiplexer.submit([Exchange(REQUEST, mistaken), ends.exchange()])
        assert ends.next() == Answer(202, b"Sent.")
        assert server.connections == 1


@contextmanager
def silent() -> Iterator[int]:
    """A port that takes no connection and refuses none."""
    with socket.socket() as deaf, socket.socket() as one, socket.socket() as two:
        deaf.bind(("127.0.0.9", 0))
        deaf.listen(0)
        for filler in (one, two):
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        yield deaf.getsockname()[1]


@pytest.mark.parametrize("first", ["127.0.0.9", "255.255.255.255", "silent"])
def test_each_address_of_a_host_is_tried(make: Made, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """Whether the one before refuses, cannot be reached or says nothing."""
    with silent() as port, Server.at(port if first == "silent" else 0, ACCEPTED) as server:
        hosts = ["127.0.0.9" if first == "silent" else first, "127.0.0.1"]
        found = [(0, 0, 0, "", (host, server.port)) for host in hosts]
        monkeypatch.setattr(opening.socket, "getaddrinfo", lambda *_, **__: found)
        multiplexer, ends = make(server.port, host="two.example", timeout=1.0), Ends()
        multiplexer.submit([ends.exchange()])
        assert ends.next() == Answer(202, b"Sent.")


def test_why_a_connection_cannot_be_opened_is_said_in_the_systems_words(make: Made) -> None:
    port = free_port()
    multiplexer, ends = make(port), Ends()
    multiplexer.submit([ends.exchange()])
    error = ends.next()
    assert isinstance(error, NotSentError)
    assert error.detail == f"127.0.0.1:{port}: Connection refused"


def test_a_connection_that_rests_is_closed(make: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.05)
    with serving(ACCEPTED) as server:
        multiplexer, ends = make(server.port, timeout=30.0), Ends()
        multiplexer.submit([ends.exchange()])
        assert isinstance(ends.next(), Answer)
        wait_until(lambda: server.open == 0, 3)
        multiplexer.submit([ends.exchange()])
        assert isinstance(ends.next(), Answer)
        assert server.connections == 2


def test_closing_waits_for_no_look_up_of_a_name(make: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    looking, go_on = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        looking.set()
        go_on.wait(10)
        return []

    monkeypatch.setattr(opening.socket, "getaddrinfo", hang)
    multiplexer, ends = make(free_port(), host="slow.example"), Ends()
    multiplexer.submit([ends.exchange(), ends.exchange()])
    assert looking.wait(5)
    multiplexer.close()
    stopped = [ends.next(0.5), ends.next(0.5)]
    go_on.set()
    assert [type(end) for end in stopped] == [NotSentError, NotSentError]
    assert {end.code for end in stopped if isinstance(end, ExchangeError)} == {"stopped"}


@pytest.mark.parametrize("failing", ["the multiplexer's", "a look-up's"])
def test_without_threads_everything_is_given_back_and_goes_on_once_there_are_some(
    make: Made, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if (thread.name == "test") == (failing == "the multiplexer's"):
            raise RuntimeError("can't start new thread")
        start(thread)

    port = free_port()
    multiplexer, ends = make(port, host="localhost", connections=2), Ends()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        multiplexer.submit([ends.exchange() for _ in range(6)])
        given_back = [ends.next() for _ in range(6)]
    assert {type(end) for end in given_back} == {NotSentError}
    with Server.at(port, ACCEPTED):
        multiplexer.submit([ends.exchange() for _ in range(6)])
        assert {type(ends.next()) for _ in range(6)} == {Answer}


def test_a_mistake_while_the_next_request_is_begun_keeps_no_answer_back(
    make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> None:
        raise RuntimeError("of ours")

    with serving(ACCEPTED) as server:
        multiplexer, ends = make(server.port), Ends()
        monkeypatch.setattr(multiplexer, "give_next", mistaken)
        multiplexer.submit([ends.exchange()])
        assert ends.next() == Answer(202, b"Sent.")


def test_over_tls_a_close_without_a_word_is_noticed_before_the_next_request(
    make: Made, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, certificate = tls
    feed = module.Reply.feed

    def slowly(reply: module.Reply, data: bytes) -> NoAnswerError | None:
        time.sleep(0.02)  # so that the server has closed by then, if it is about to
        return feed(reply, data)

    monkeypatch.setattr(module.Reply, "feed", slowly)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Server.at(0, ACCEPTED, tls=context, answers_each=2) as server:
        address = Address.of(f"https://localhost:{server.port}/")
        multiplexer, ends = Multiplexer("test", address, connections=1, timeout=5.0), Ends()
        multiplexer.submit([ends.exchange() for _ in range(40)])
        found = [ends.next() for _ in range(40)]
        multiplexer.close()
    # on a busy machine the server may be later than that
    assert sum(isinstance(end, NoAnswerError) for end in found) <= 4
    assert server.connections >= 18


def test_closing_twice_and_without_a_first_exchange_is_nothing_special(make: Made) -> None:
    with serving(ACCEPTED) as server:
        unused, used, ends = make(server.port), make(server.port), Ends()
        used.submit([ends.exchange()])
        assert isinstance(ends.next(), Answer)
        for multiplexer in (unused, used, unused, used):
            multiplexer.close()
        used.submit([ends.exchange()])
        assert isinstance(ends.next(), NotSentError)


def test_neither_requests_nor_receivers_are_shown() -> None:
    assert repr(Exchange(b"password=sesame", print)) == "Exchange()"
