"""Kannel: the request expected, the answer given, the outcome; and what is certain when there is no answer."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from smsd.adapters.gateways.httpexchange import Address
from smsd.adapters.gateways.kannel import KannelGateway, KannelReceipts
from smsd.adapters.gateways.kannelanswers import RECEIPT_MASK, RECEIPT_TYPES
from smsd.core.errors import ReceiptError
from smsd.core.model import Outcome, ReceiptVerdict, Verdict
from smsd.core.policy import Encoding
from smsd.core.signing import Callback, signature
from tests.contract.gateways.support import PASSWORD, SECRET, TEXT, UNACCENTED, Answers, a_kannel, an_outgoing
from tests.support.httpgateway import HttpGateway, Reply, filled_in
from tests.support.postgres import free_port, wait_until

V = Verdict


def send(gateway: KannelGateway) -> Outcome:
    answers = Answers()
    gateway.submit([an_outgoing()], answers)
    return answers.one()


@pytest.fixture
def kannel(server: HttpGateway) -> Iterator[KannelGateway]:
    gateway = a_kannel(server.url, connections=1, timeout=0.6)
    yield gateway
    gateway.close()


# the request


def test_the_request_carries_what_the_contract_names(server: HttpGateway, kannel: KannelGateway) -> None:
    send(kannel)
    (message,) = server.messages
    assert (message.sender, message.to, message.text) == ("MotcuaSMS", "84905000001", TEXT)
    assert (message.coding, message.charset, message.dlr_mask) == ("2", "UTF-8", str(RECEIPT_MASK))
    assert urlsplit(message.dlr_url)._replace(query="").geturl() == "http://127.0.0.1:8029/receipts/kannel"
    assert parse_qs(urlsplit(message.dlr_url.replace("%", "%25")).query) == {
        "id": [an_outgoing().id],
        "sig": [signature(SECRET, "kannel", an_outgoing().id)],
        "status": ["%d"],
        "answer": ["%A"],
    }


def test_unaccented_texts_are_sent_in_the_seven_bit_alphabet(server: HttpGateway) -> None:
    gateway = a_kannel(server.url, encoding=Encoding.UNACCENTED)
    answers = Answers()
    gateway.submit([an_outgoing(text=UNACCENTED)], answers)
    answers.wait(1)
    (message,) = server.messages
    assert (message.text, message.coding, message.charset) == (UNACCENTED, "0", "UTF-8")
    gateway.close()


def test_without_a_listener_no_receipt_is_asked_for(server: HttpGateway) -> None:
    gateway = a_kannel(server.url, callback=None)
    send(gateway)
    assert (server.messages[0].dlr_mask, server.messages[0].dlr_url) == ("", "")
    gateway.close()


@pytest.mark.parametrize(
    ("style", "to"), [("84", "84905000001"), ("+84", "+84905000001"), ("0", "0905000001")]
)
def test_numbers_are_sent_in_the_configured_format(server: HttpGateway, style: str, to: str) -> None:
    gateway = a_kannel(server.url, number_format=style)
    send(gateway)
    assert server.messages[0].to == to
    gateway.close()


@pytest.mark.parametrize("password", ["a&b=c%20d+é \"'", "#?/\\\r\n"])
def test_any_password_survives_the_way_and_is_never_shown(password: str) -> None:
    with HttpGateway(password=password) as server:
        gateway = a_kannel(server.url, password=password)
        assert send(gateway).verdict is V.ACCEPTED
        assert password not in repr(gateway)
        gateway.close()


def test_an_address_with_a_query_of_its_own_keeps_it(server: HttpGateway) -> None:
    gateway = a_kannel(f"{server.url}?smsc=viettel", connections=1)
    assert send(gateway).verdict is V.ACCEPTED
    assert server.messages[0].to == "84905000001"
    gateway.close()


def test_a_percent_sign_in_the_public_address_is_not_taken_for_one_of_kannels_escapes() -> None:
    gateway = a_kannel("http://127.0.0.1:9/", callback=Callback("http://host/a%20d", SECRET))
    request = gateway.request_for(an_outgoing()).decode()
    (url,) = parse_qs(urlsplit(request.split(" ")[1]).query)["dlr-url"]
    assert filled_in(url, "1").startswith("http://host/a%20d/receipts/kannel?id=")
    assert "&status=1&" in filled_in(url, "1")


# the answers

ANSWERS = [
    ("accept", V.ACCEPTED, "accepted"),
    ("queue", V.ACCEPTED, "queued"),
    ("sent", V.ACCEPTED, "sent"),
    ("accept_and_close", V.ACCEPTED, "accepted"),
    ("chunked", V.ACCEPTED, "accepted"),
    ("until_closed", V.ACCEPTED, "accepted"),
    ("unavailable", V.RETRY, "temporary_failure"),
    ("fail", V.RETRY, "temporary_failure"),
    ("throttle", V.RETRY, "throttled"),
    ("refuse_account", V.ACCOUNT, "authorization_failed"),
    ("not_routable", V.REJECTED, "not_routable"),
    ("misformed", V.REJECTED, "malformed"),
    ("sender_missing", V.ACCOUNT, "sender_missing"),
    ("not_found", V.ACCOUNT, "wrong_address"),
    ("redirect", V.ACCOUNT, "redirected"),
    ("garbage", V.UNKNOWN, "unrecognised_answer"),
    ("not_http", V.UNKNOWN, "unrecognised_answer"),
    ("close_untaken", V.UNKNOWN, "connection_lost"),
    ("close_taken", V.UNKNOWN, "connection_lost"),
    ("reset_taken", V.UNKNOWN, "connection_lost"),
    ("hang", V.UNKNOWN, "answer_timeout"),
    ("half", V.UNKNOWN, "answer_cut_off"),
    ("half_and_hang", V.UNKNOWN, "answer_timeout"),
    ("half_head", V.UNKNOWN, "unrecognised_answer"),
    ("oversized", V.UNKNOWN, "unrecognised_answer"),
    ("oversized_chunked", V.UNKNOWN, "unrecognised_answer"),
    ("endless_head", V.UNKNOWN, "unrecognised_answer"),
    ("slow", V.UNKNOWN, "answer_timeout"),
]
MORE_STATUSES = [
    (200, b"0: Accepted for delivery", V.UNKNOWN),
    (202, b"", V.UNKNOWN),
    (202, b"\x00\xff", V.UNKNOWN),
    (202, b"Message for delivery", V.UNKNOWN),
    (204, b"", V.UNKNOWN),
    (401, b"", V.ACCOUNT),
    (403, b"<html>Forbidden</html>", V.ACCOUNT),
    (408, b"", V.RETRY),
    (414, b"", V.REJECTED),
    (502, b"", V.UNKNOWN),
    (504, b"", V.UNKNOWN),
    (599, b"", V.RETRY),
    (600, b"", V.UNKNOWN),
    (301, b"", V.ACCOUNT),
]


@pytest.mark.parametrize(("reply", "verdict", "code"), ANSWERS)
def test_each_answer_has_its_outcome_and_the_next_message_goes_out(
    server: HttpGateway, kannel: KannelGateway, reply: str, verdict: Verdict, code: str
) -> None:
    server.next(reply)
    outcome = send(kannel)
    assert (outcome.verdict, outcome.code) == (verdict, code)
    assert outcome.reference is None
    assert PASSWORD not in repr(outcome)
    assert send(kannel).verdict is V.ACCEPTED
    assert server.exchange.requests == 2  # nothing was repeated or followed


@pytest.mark.parametrize(("status", "body", "verdict"), MORE_STATUSES)
def test_other_statuses_have_theirs(
    server: HttpGateway, kannel: KannelGateway, status: int, body: bytes, verdict: Verdict
) -> None:
    server.next(Reply(status, body))
    assert send(kannel).verdict is verdict


def test_what_a_body_quotes_never_gets_into_an_outcome(server: HttpGateway, kannel: KannelGateway) -> None:
    server.next(Reply(400, f"password={PASSWORD} to=84905000001".encode()))
    assert PASSWORD not in repr(send(kannel))


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("9999999", None),
        ("²", None),
    ],
)
def test_how_long_to_wait_is_read_from_the_answer(
    server: HttpGateway, kannel: KannelGateway, header: str, seconds: float | None
) -> None:
    raw = f"HTTP/1.1 503 X\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n".encode()
    server.next(Reply(raw=raw, taken=False))
    assert send(kannel).retry_after == seconds


def test_one_message_that_cannot_be_written_costs_no_other_its_way(kannel: KannelGateway) -> None:
    answers, broken = Answers(), replace(an_outgoing(2), phone="84\ud800")
    kannel.submit([an_outgoing(1), broken, an_outgoing(3)], answers)
    outcomes = answers.wait(3)
    assert [outcomes[an_outgoing(n).id].verdict for n in (1, 2, 3)] == [V.ACCEPTED, V.RETRY, V.ACCEPTED]


# no answer: what is certain


def test_a_refused_connection_means_that_nothing_was_sent() -> None:
    gateway = a_kannel(f"http://127.0.0.1:{free_port()}/cgi-bin/sendsms")
    outcome = send(gateway)
    assert (outcome.verdict, outcome.code) == (V.RETRY, "not_connected")
    gateway.close()


def test_an_unknown_host_means_that_nothing_was_sent() -> None:
    gateway = a_kannel("http://smsbox.invalid:13013/cgi-bin/sendsms")
    assert send(gateway).verdict is V.RETRY
    gateway.close()


def test_a_host_that_never_answers_the_connection_means_that_nothing_was_sent() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(2)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        gateway = a_kannel(f"http://127.0.0.1:{deaf.getsockname()[1]}/", timeout=0.5)
        outcome = send(gateway)
        assert (outcome.verdict, outcome.code) == (V.RETRY, "connect_timeout")
        gateway.close()
        for filler in fillers:
            filler.close()


class OneRequestServer:
    """Answers one request on each connection and then closes it without saying so."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/cgi-bin/sendsms"
        self.closed = threading.Semaphore(0)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                received = b""
                while b"\r\n\r\n" not in received:
                    received += connection.recv(65536)
                connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nSent.")
            self.closed.release()


def test_a_kept_connection_that_the_server_closed_is_noticed_before_it_is_used() -> None:
    server = OneRequestServer()
    gateway = a_kannel(server.url, connections=1)
    for _ in range(20):
        assert send(gateway).verdict is V.ACCEPTED
        assert server.closed.acquire(timeout=5)
    gateway.close()
    server.listener.close()


def test_connections_are_kept_and_no_more_than_configured(server: HttpGateway) -> None:
    gateway, answers = a_kannel(server.url, connections=3), Answers()
    gateway.submit([an_outgoing(number) for number in range(200)], answers)
    answers.wait(200)
    assert server.exchange.connections <= 3
    gateway.close()


def test_what_a_server_says_unasked_is_not_taken_for_the_next_answer(
    server: HttpGateway, kannel: KannelGateway
) -> None:
    refusal = b"HTTP/1.1 403 X\r\nContent-Length: 12\r\n\r\nNot routable"
    accepted = b"HTTP/1.1 202 X\r\nContent-Length: 5\r\n\r\nSent."
    server.next(Reply(raw=accepted + refusal))
    assert send(kannel).verdict is V.ACCEPTED
    assert send(kannel).code == "accepted"


def test_proxies_of_the_environment_are_not_asked(
    server: HttpGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    gateway = a_kannel(server.url)
    assert send(gateway).verdict is V.ACCEPTED
    gateway.close()


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    path = folder / "server.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += [
        "-keyout",
        str(path),
        "-out",
        str(folder / "cert.pem"),
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + (folder / "cert.pem").read_text())
    return path


@pytest.fixture
def tls_port(certificate: Path) -> Iterator[int]:
    """A TLS server that accepts everything on kept-alive connections."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
                with context.wrap_socket(plain, server_side=True) as connection:
                    while b"\r\n\r\n" in connection.recv(65536):
                        connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nSent.")
            except OSError:
                if listener.fileno() < 0:
                    return

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


def test_messages_go_out_over_tls(tls_port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    gateway = a_kannel(f"https://localhost:{tls_port}/cgi-bin/sendsms", connections=1)
    assert [send(gateway).verdict for _ in range(3)] == [V.ACCEPTED] * 3
    gateway.close()


def test_a_certificate_nobody_vouches_for_stops_the_link(tls_port: int) -> None:
    gateway = a_kannel(f"https://localhost:{tls_port}/cgi-bin/sendsms", connections=1)
    outcome = send(gateway)
    assert (outcome.verdict, outcome.code) == (V.ACCOUNT, "certificate")
    gateway.close()


# closing


def test_closing_gives_back_what_no_connection_has_taken_up(server: HttpGateway) -> None:
    server.always("hang")
    gateway, answers = a_kannel(server.url, connections=1, timeout=30), Answers()
    gateway.submit([an_outgoing(number) for number in range(4)], answers)
    wait_until(lambda: len(server.messages) == 1)
    began = time.monotonic()
    gateway.close()
    assert time.monotonic() - began < 5
    outcomes = answers.wait(4)
    assert outcomes.pop(an_outgoing(0).id).verdict is V.UNKNOWN
    assert {outcome.verdict for outcome in outcomes.values()} == {V.RETRY}
    assert len(server.messages) == 1


def test_closing_waits_for_answers_that_come(server: HttpGateway) -> None:
    server.exchange.latency = 0.5
    gateway, answers = a_kannel(server.url, connections=2), Answers()
    gateway.submit([an_outgoing(1), an_outgoing(2)], answers)
    wait_until(lambda: len(server.messages) == 2)
    gateway.close()
    assert {outcome.verdict for outcome in answers.wait(2, 0.1).values()} == {V.ACCEPTED}


def test_after_closing_messages_are_given_back(server: HttpGateway) -> None:
    gateway = a_kannel(server.url)
    gateway.close()
    assert send(gateway).verdict is V.RETRY
    assert server.messages == []


# the check


@pytest.mark.parametrize(
    ("password", "path", "state", "words"),
    [
        (PASSWORD, "/cgi-bin/sendsms", "ok", "takes our account"),
        ("wrong", "/cgi-bin/sendsms", "failed", "refuses username, password or host"),
        (PASSWORD, "/elsewhere", "failed", "no sendsms"),
        (PASSWORD, "/count", "warning", "HTTP 200"),
    ],
)
def test_the_check_asks_kannel_without_sending(
    server: HttpGateway, password: str, path: str, state: str, words: str
) -> None:
    gateway = a_kannel(server.url.replace("/cgi-bin/sendsms", path), password=password)
    (result,) = gateway.check()
    assert result.state == state
    assert words in result.message
    assert bool(result.hint) == (state != "ok")
    assert password not in repr(result)
    assert server.messages == []


def test_the_check_tells_that_nobody_is_there() -> None:
    (result,) = a_kannel(f"http://127.0.0.1:{free_port()}/cgi-bin/sendsms").check()
    assert result.state == "failed"
    assert "127.0.0.1" in result.message
    assert "smsbox" in result.hint


@pytest.mark.parametrize("url", ["ftp://host/", "smsbox:13013", "http://", "http:///path"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        Address.of(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/cgi-bin/sendsms", Address("h", 80, False, "h", "/cgi-bin/sendsms")),
        ("https://h", Address("h", 443, True, "h", "/")),
        ("http://user:pw@h:13013/a?b=c", Address("h", 13013, False, "h:13013", "/a?b=c")),
        ("http://[::1]:13013/a", Address("::1", 13013, False, "[::1]:13013", "/a")),
    ],
)
def test_addresses_are_taken_apart(url: str, expected: Address) -> None:
    assert Address.of(url) == expected


# receipts

PARSER = KannelReceipts("kannel", SECRET)
ID = an_outgoing().id


def receipt_fields(**changes: str) -> dict[str, str]:
    return {"id": ID, "sig": signature(SECRET, "kannel", ID), "status": "1", "answer": ""} | changes


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("1", ReceiptVerdict.DELIVERED),
        ("2", ReceiptVerdict.UNDELIVERED),
        ("4", ReceiptVerdict.ON_ITS_WAY),
        ("8", ReceiptVerdict.ON_ITS_WAY),
        ("16", ReceiptVerdict.REJECTED),
        ("32", ReceiptVerdict.ON_ITS_WAY),
    ],
)
def test_each_type_of_report_means_one_thing(status: str, verdict: ReceiptVerdict) -> None:
    receipt = PARSER.parse_receipt(receipt_fields(status=status), b"")
    assert (receipt.gateway, receipt.message_id, receipt.verdict, receipt.code) == (
        "kannel",
        ID,
        verdict,
        status,
    )
    assert status in RECEIPT_TYPES


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sig": ""}, "unsigned"),
        ({"sig": signature("another secret", "kannel", ID)}, "unsigned"),
        ({"sig": signature(SECRET, "jasmin", ID)}, "unsigned"),
        ({"id": an_outgoing(2).id}, "unsigned"),
        ({"id": f"{ID} "}, "unsigned"),
        ({"sig": "ü\ud800"}, "unsigned"),
        ({"id": ""}, "malformed"),
        ({"id": "x" * 201}, "malformed"),
        ({"status": ""}, "malformed"),
        ({"status": "3"}, "malformed"),
        ({"status": "%d"}, "malformed"),
        ({"status": "01"}, "malformed"),
        ({"status": "١"}, "malformed"),
    ],
)
def test_what_is_no_proven_report_changes_nothing(changes: dict[str, str], code: str) -> None:
    with pytest.raises(ReceiptError) as caught:
        PARSER.parse_receipt(receipt_fields(**changes), b"")
    assert caught.value.code == code


def test_the_reason_is_kept_and_what_quotes_the_message_is_not() -> None:
    answer = "id:7 sub:001 dlvrd:000 submit date:2608030900 done date:2608030901 stat:UNDELIV err:027 text:Thong bao"
    assert PARSER.parse_receipt(receipt_fields(answer=answer), b"").detail == "stat:UNDELIV err:027"
    assert PARSER.parse_receipt(receipt_fields(answer="NACK/Invalid 84905123456"), b"").detail == ""


def test_the_secret_of_receipts_is_not_shown() -> None:
    assert SECRET not in repr(PARSER)
    assert SECRET not in repr(vars(PARSER).get("name"))
