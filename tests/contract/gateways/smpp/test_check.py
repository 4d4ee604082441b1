"""What `smsd check` says of a message centre, and that it takes nothing that waits for the daemon."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.support.postgres import free_port
from tests.support.smppclient import Desk, Sink, a_gateway
from tests.support.smpppdus import UNBIND
from tests.support.smpppeer import SmppPeer


def test_a_message_centre_that_takes_our_account_is_fine_and_left_again(peer: SmppPeer) -> None:
    with a_gateway(peer.port) as gateway:
        (result,) = gateway.check()
        assert not gateway.connected
    assert (result.name, result.state, result.hint) == ("smpp", "ok", "")
    assert [command for command, _, _ in peer.heard] == [9, UNBIND]


@pytest.mark.parametrize(
    ("bind", "state", "said", "hint"),
    [
        (0x0E, "failed", "0x0E: the password is wrong", "gateway.system_id"),
        (0x0F, "failed", "0x0F: the system_id is wrong", "gateway.system_id"),
        ("nack", "failed", "takes no bind_transceiver", "gateway.system_id"),
        ("drop", "failed", "connection_lost", "gateway.host"),
        ("none", "failed", "no answer to the bind", "gateway.host"),
        (0x05, "ok", "bound already", ""),
        (0x08, "failed", "ESME_RSYSERR", "gateway.host"),
    ],
)
def test_a_bind_that_does_not_succeed_comes_with_a_hint(
    peer: SmppPeer, bind: int | str, state: str, said: str, hint: str
) -> None:
    peer.bind = bind
    with a_gateway(peer.port, answer_timeout=0.3) as gateway:
        (result,) = gateway.check()
    assert result.state == state
    assert said in result.message and hint in result.hint
    assert "sesame" not in repr(result)


def test_nobody_there_is_a_failure_with_a_hint() -> None:
    with a_gateway(free_port()) as gateway:
        (result,) = gateway.check()
    assert result.state == "failed" and "gateway.host" in result.hint


def test_a_name_nobody_knows_is_a_failure_with_a_hint() -> None:
    with a_gateway(2775, host="no-such-host.invalid") as gateway:
        (result,) = gateway.check()
    assert result.state == "failed" and "no-such-host.invalid" in result.message


def test_what_speaks_no_smpp_is_no_message_centre() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, a_gateway(server.getsockname()[1]) as gateway:

        def greet() -> None:
            connection, _ = server.accept()
            connection.sendall(b"220 mail.example.vn ESMTP\r\n")
            connection.recv(100)

        thread = threading.Thread(target=greet)
        thread.start()
        (result,) = gateway.check()
        thread.join(5)
    assert result.state == "failed" and "out_of_step" in result.message


def test_what_waits_for_the_daemon_is_left_to_it() -> None:
    sink, desk = Sink(), Desk()
    with SmppPeer() as peer, a_gateway(peer.port, receipts=sink, lookups=desk) as gateway:
        peer.on_bind = lambda: (peer.receipt("17"), peer.deliver("MCKH H32-1", "84905123456", "9029"))
        (result,) = gateway.check()
        peer.wait(lambda: [status for _, status in peer.acknowledged] == [0x64, 0x64])
    assert result.state == "ok"
    assert sink.receipts == [] and desk.asked == []


def test_an_unverified_certificate_is_worth_a_warning(peer: SmppPeer) -> None:
    with a_gateway(peer.port, tls="insecure", connect_timeout=0.3) as gateway:
        results = gateway.check()
    assert [result.state for result in results] == ["warning", "failed"]
