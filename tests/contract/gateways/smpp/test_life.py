"""How the gateway ends, how it is encrypted, and what it never shows."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from smsd.core.model import Verdict
from tests.support.smppclient import PHONE, SHORT, Answers, Desk, Sink, a_gateway, an_outgoing, many
from tests.support.smpppdus import (
    INVALID_NUMBER,
    UNBIND,
)
from tests.support.smpppeer import Reaction, SmppPeer

HOLD = Reaction(answer="hold")
SILENT = Reaction(answer="none")


# closing


def test_closing_waits_for_answers_and_unbinds(peer: SmppPeer, answers: Answers) -> None:
    peer.always(HOLD)
    with a_gateway(peer.port) as gateway:
        gateway.submit(many(3), answers.done)
        peer.wait(lambda: peer.held == 3)
        closing = threading.Thread(target=gateway.close)
        closing.start()
        peer.release()
        closing.join(5)
    assert answers.verdicts() == ["accepted"] * 3
    assert any(command == UNBIND for command, _, _ in peer.heard)


def test_closing_takes_five_seconds_at_most_and_leaves_no_message_without_an_end(
    peer: SmppPeer, answers: Answers
) -> None:
    peer.always(HOLD)
    with a_gateway(peer.port, window=2) as gateway:
        gateway.submit(many(4), answers.done)
        peer.wait(lambda: peer.held == 2)
        begun = time.monotonic()
        gateway.close()
        assert time.monotonic() - begun < 5
        assert dict(answers.all)["m0"].code == "stopped"
        assert sorted(answers.verdicts()) == ["retry", "retry", "unknown", "unknown"]
        gateway.submit([an_outgoing("late")], answers.done)
        assert (answers.of("late").verdict, answers.of("late").code) == (Verdict.RETRY, "stopped")


def test_closing_gives_up_an_attempt_to_connect(answers: Answers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, a_gateway(silent.getsockname()[1]) as gateway:
        gateway.submit([an_outgoing()], answers.done)
        silent.accept()[0].recv(1)
        begun = time.monotonic()
        gateway.close()
        assert time.monotonic() - begun < 1
    assert answers.of("m1").verdict is Verdict.RETRY


def test_a_gateway_that_was_never_used_connects_nowhere(peer: SmppPeer) -> None:
    with a_gateway(peer.port) as gateway:
        assert not gateway.connected
    assert peer.connections == 0


# encryption


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that nobody has signed, with its key, in one file."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    name = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{file}.key", "-out", str(file)]
    subprocess.run([*command.split(), *name], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.key").read_text())
    return file


@pytest.fixture
def tls_peer(certificate: Path) -> Iterator[SmppPeer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with SmppPeer(tls=context, receipts="both") as running:
        yield running


def test_messages_and_receipts_go_over_tls(
    tls_peer: SmppPeer, answers: Answers, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    sink = Sink()
    with a_gateway(tls_peer.port, tls=True, receipts=sink) as gateway:
        gateway.submit(many(500), answers.done)
        answers.wait_for(500)
        sink.wait(lambda: len(sink.receipts) == 500)
    assert answers.verdicts() == ["accepted"] * 500


def test_a_certificate_that_nobody_vouches_for_stops_the_link(tls_peer: SmppPeer, answers: Answers) -> None:
    with a_gateway(tls_peer.port, tls=True) as gateway:
        gateway.submit([an_outgoing()], answers.done)
        outcome = answers.of("m1")
    assert (outcome.verdict, outcome.code) == (Verdict.ACCOUNT, "certificate")


def test_an_operator_may_do_without_verification(tls_peer: SmppPeer, answers: Answers) -> None:
    with a_gateway(tls_peer.port, tls="insecure") as gateway:
        gateway.submit([an_outgoing()], answers.done)
        assert answers.of("m1").verdict is Verdict.ACCEPTED


def test_a_peer_without_tls_is_no_peer(peer: SmppPeer, answers: Answers) -> None:
    with a_gateway(peer.port, tls=True, connect_timeout=0.5) as gateway:
        gateway.submit([an_outgoing()], answers.done)
        assert answers.of("m1").verdict is Verdict.RETRY


# what is never shown


def test_neither_secrets_nor_numbers_nor_texts_are_logged_or_shown(peer: SmppPeer, answers: Answers) -> None:
    peer.next(INVALID_NUMBER, 0, Reaction(answer="none", then="drop"))
    with structlog.testing.capture_logs() as lines, a_gateway(peer.port) as gateway:
        gateway.submit([*many(3), an_outgoing("endless", "x" * 50_000)], answers.done)
        answers.wait_for(4)
        peer.wait(lambda: peer.connections == 2 and peer.bound)
        peer.deliver("id:17 stat:DELIVRD done date:2608030900", PHONE, "9029")
        peer.wait(lambda: len(peer.acknowledged) == 1)
        shown = f"{lines} {gateway!r} {answers.all}"
    assert lines
    for secret in ("sesame", PHONE, PHONE[2:], SHORT[:20], "stat:DELIVRD"):
        assert secret not in shown


@pytest.mark.parametrize(
    "changes",
    [
        {"number_format": "84x"},
        {"password": "mật khẩu"},
        {"long_messages": "pigeon"},
        {"system_id": "a" * 99},
    ],
)
def test_what_no_session_can_be_made_of_is_refused_at_once(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError) as refused, a_gateway(1, **changes):
        pass
    assert "mật" not in str(refused.value)


# the peer as a process, as system tests and benchmarks use it


def test_the_peer_runs_as_a_process_that_records_and_obeys(answers: Answers, tmp_path: Path) -> None:
    record, desk, sink = tmp_path / "sent.jsonl", Desk("Ho so H32-1"), Sink()
    command = [sys.executable, "-m", "tests.support.smpppeer", "--record", str(record), "--receipts", "both",
               "--ids", "hex", "--throttle-every", "2"]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        with a_gateway(port, receipts=sink, lookups=desk) as gateway:
            gateway.submit([an_outgoing()], answers.done)
            assert answers.of("m1").verdict is Verdict.ACCEPTED
            gateway.submit([an_outgoing("m2")], answers.done)
            assert answers.of("m2").code == "ESME_RTHROTTLED"
            sink.wait(lambda: len(sink.receipts) == 1)
            question = {"text": "MCKH H32-1", "source": PHONE, "destination": "9029"}
            process.stdin.write(json.dumps({"deliver": question}) + "\n")
            process.stdin.flush()
            desk.wait(lambda: len(desk.asked) == 1)
        process.stdin.write(json.dumps({"count": True}) + "\n")
        process.stdin.flush()
        counted = json.loads(process.stdout.readline())
        process.terminate()
    assert counted == {"taken": 2, "receipts": 1, "acknowledged": 2, "connections": 1}
    sent = [json.loads(line) for line in record.read_text().splitlines()]
    assert [(line["id"], line["from"], line["to"], line["text"]) for line in sent] == [
        ("1", "MotcuaSMS", PHONE, SHORT),
        ("2", "9029", PHONE, "Ho so H32-1"),
    ]
