"""Connections and the threads that work for them: slow senders, those who ask much at once, and who waits for whom."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from flask.testing import FlaskClient

from smsd.adapters.web import channels
from smsd.adapters.web.channels import Channel, Lanes
from smsd.adapters.web.server import InboundServer, _dispensable
from tests.support.postgres import wait_until
from tests.web.conftest import SECRET, Desk
from tests.web.test_lookups import fields
from tests.web.test_receipts import fields as receipt_fields
from tests.web.test_server import LOOKUP, exchange, get


def test_a_sender_that_dribbles_is_cut_off_and_counted(
    server: InboundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "REQUEST_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
        until = time.monotonic() + 10
        with pytest.raises(OSError, match=r"reset|pipe"):
            while time.monotonic() < until:
                slow.sendall(b"x")
                time.sleep(0.02)
    assert 'smsd_inbound_calls_total{outcome="slow",path="other"} 1.0' in get(server, "/metrics")[1]


def test_a_connection_that_is_kept_for_long_is_not_cut_off_between_requests(
    server: InboundServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "REQUEST_SECONDS", 0.2)
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as kept:
        for part in (request, request[:9], request[9:], request):
            kept.sendall(part)
            if part.endswith(b"\r\n\r\n"):
                answer = b""
                while not answer.endswith(b"\r\n\r\nok"):
                    answer += kept.recv(4096)
                    assert answer.startswith(b"HTTP/1.1 200")
                until = time.monotonic() + 0.6
                while time.monotonic() < until:  # the listener looks every half second
                    assert get(server, "/healthz") == (200, "ok")


def test_of_many_requests_at_once_eight_are_answered(server: InboundServer) -> None:
    answer = exchange(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    assert answer.count(b"HTTP/1.1 200") == 8
    assert b"Connection: close" in answer.rpartition(b"HTTP/1.1")[2]
    few = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 4
    assert exchange(server, few).count(b"HTTP/1.1 200") == 4


@pytest.fixture
def stuck(server: InboundServer, desk: Desk) -> Iterator[list[threading.Thread]]:
    """More look-ups than there are threads for them, all of which wait."""
    desk.gate.clear()
    callers = [threading.Thread(target=lambda: get(server, LOOKUP, 20)) for _ in range(12)]
    for caller in callers:
        caller.start()
    wait_until(lambda: server._server.task_dispatcher.active_count >= 8)
    yield callers
    desk.gate.set()
    for caller in callers:
        caller.join(20)


def test_calls_of_one_kind_that_hang_do_not_keep_the_others_waiting(
    server: InboundServer, stuck: list[threading.Thread]
) -> None:
    assert stuck
    assert get(server, "/healthz") == (200, "ok")
    assert get(server, "/metrics")[0] == 200
    fields_ = receipt_fields("unknown")
    assert get(server, "/receipts/kannel?" + "&".join(f"{k}={v}" for k, v in fields_.items()))[0] == 200


def test_the_lanes_end_within_their_time_whatever_hangs() -> None:
    lanes, gate = Lanes(), threading.Event()
    hanging = SimpleNamespace(
        asks_for="lookups", requests=[], service=lambda: gate.wait(20), cancel=lambda: None
    )
    lanes.add_task(cast(Channel, hanging))
    wait_until(lambda: lanes.active_count == 1)
    began = time.monotonic()
    lanes.shutdown(timeout=0.3)
    assert time.monotonic() - began < 2
    gate.set()


def a_channel(address: str, since: float, asks: int = 0, path: str = "metrics") -> Any:
    at_work = bool(asks) and path in ("receipts", "lookups")
    return SimpleNamespace(addr=(address, 1), last_activity=since, requests=[path] * asks, is_at_work=at_work)


def test_who_goes_first_when_there_are_too_many() -> None:
    greedy = [a_channel("9.9.9.9", 9.0 + n) for n in range(6)]
    silent, fresh = a_channel("1.1.1.1", 1.0), a_channel("1.1.1.2", 8.0)
    many = a_channel("1.1.1.3", 7.0, 5)
    working = a_channel("1.1.1.4", 0.0, 1, "receipts")
    order = _dispensable([working, fresh, *greedy[::-1], silent, many])
    assert order == [*greedy, many, silent, fresh, working]
    alone = [a_channel("127.0.0.1", float(9 - n)) for n in range(4)]
    assert _dispensable(alone) == alone[::-1], "behind a proxy all have one address"


@pytest.mark.parametrize("body", ["[" * 9_000, '{"a":' * 3_000, "[" * 4_000 + "]" * 4_000])
def test_json_nested_without_end_is_refused_like_any_other_garbage(
    client: FlaskClient, desk: Desk, body: str
) -> None:
    for path, status in (("/receipts/kannel", 400), ("/lookups", 403)):
        assert client.post(path, data=body, content_type="application/json").status_code == status
    assert (
        client.post("/lookups", data=json.dumps(fields()), content_type="application/json").status_code == 200
    )
    assert len(desk.asked) == 1


def test_octets_that_should_have_been_escaped_are_read_as_if_they_were(
    client: FlaskClient, desk: Desk
) -> None:
    """The listener refuses them itself; another server in its place may not."""
    for octets in ("Mã".encode(), b"\xff"):
        query = f"from=84905123456&token={SECRET}&text=MCKH+".encode() + octets
        answer = client.get("/lookups", environ_overrides={"QUERY_STRING": query.decode("latin-1")})
        assert answer.status_code == 200
    assert [request.text for request in desk.asked] == ["MCKH Mã", "MCKH %FF"]
    assert client.get("/receipts/kannel", environ_overrides={"QUERY_STRING": "\x80"}).status_code == 400
