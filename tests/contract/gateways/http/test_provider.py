"""A described provider as a gateway: what is certain without an answer, tokens, checks, closing, and nothing told."""

from __future__ import annotations

import hmac
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from hashlib import md5, sha256
from typing import Any

import pytest
from structlog.testing import capture_logs

from smsd.adapters.gateways.http.checking import about_description
from smsd.adapters.gateways.http.rendering import Surroundings
from smsd.adapters.gateways.pool import Attempt
from smsd.core.model import Outcome, Verdict
from smsd.core.policy import Encoding
from smsd.services.ports import Polled
from tests.contract.gateways.http.support import HOSTILE, a_description, a_provider, send, settings_of
from tests.contract.gateways.support import CALLBACK, TEXT, Answers, an_outgoing
from tests.support.builders import NOW, ZONE
from tests.support.httppeer import HANG, LOST, HttpPeer, Said, said_json
from tests.support.postgres import free_port, wait_until

V = Verdict
OK = said_json({"code": "0", "id": "77"})
KEY = "s3cret key"


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    """The provider; nothing that happens with it may bring a secret, a number or a text into the log."""
    with capture_logs() as logs, HttpPeer() as server:
        server.answers(OK)
        yield server
    said = json.dumps(logs, default=str)
    assert KEY not in said and "t0ken" not in said and "84905" not in said and TEXT[:20] not in said


def described(peer: HttpPeer, **keys: Any) -> dict[str, Any]:
    request = {
        "url": peer.url("/send"),
        "json": {"to": "{to}", "text": "{text}", "id": "{id}", "key": "{key}"},
    }
    base = a_description(variables={"key": KEY}, request=request, message_id="id", timeout="1s")
    return base | keys


def a_token(peer: HttpPeer, **keys: Any) -> dict[str, Any]:
    request = {"url": peer.url("/token"), "form": {"secret": "{key}"}}
    return described(
        peer,
        token={"request": request, "at": "access_token", **keys},
        request={"url": peer.url("/send"), "auth": {"bearer": "{token}"}, "json": {"text": "{text}"}},
    )


# requests


@pytest.mark.parametrize("text", [TEXT, *HOSTILE])
def test_any_text_arrives_to_the_letter_in_json_form_query_and_xml(text: str, peer: HttpPeer) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "json": {"json": {"t": "{text}"}},
        "form": {"form": {"t": "{text}", "u": "{id}"}},
        "query": {"query": {"t": "{text}", "u": "{id}"}},
        "base64": {"json": {"t": "{text_base64}"}},
    }
    for body in bodies.values():
        provider = a_provider(described(peer, request={"url": peer.url("/send"), **body}))
        assert send(provider, an_outgoing(text=text)).verdict is V.ACCEPTED
        provider.close()
    as_json, as_form, as_query, as_base64 = peer.requests
    assert as_json.json == {"t": text}
    assert as_form.form == as_query.query == {"t": text, "u": an_outgoing().id}
    assert as_form.headers["content-type"] == "application/x-www-form-urlencoded"
    assert as_base64.json == {"t": b64encode(text.encode()).decode()}


def test_every_field_can_be_placed(peer: HttpPeer) -> None:
    names = ["id", "to", "sender", "segments", "encoding", "callback_url", "key"]
    names += ["time", "time_compact", "time_iso", "time_unix"]
    request = {"url": peer.url("/send"), "json": {name: f"{{{name}}}" for name in names}}
    provider = a_provider(
        described(peer, request=request, encodings={"unaccented": "7bit"}, number_format="0"),
        encoding=Encoding.UNACCENTED,
    )
    send(provider)
    provider.close()
    assert peer.requests[0].json == {
        "id": an_outgoing().id,
        "to": "0905000001",
        "sender": "MotcuaSMS",
        "segments": "3",
        "encoding": "7bit",
        "callback_url": CALLBACK.receipt_url("http", an_outgoing().id),
        "key": KEY,
        "time": "2026-08-03 09:00:00",
        "time_compact": "20260803090000",
        "time_iso": "2026-08-03T09:00:00+07:00",
        "time_unix": str(int(NOW.timestamp())),
    }


@pytest.mark.parametrize(
    ("style", "to"), [("84", "84905000001"), ("+84", "+84905000001"), ("0", "0905000001")]
)
def test_numbers_are_sent_in_the_configured_format(style: str, to: str, peer: HttpPeer) -> None:
    provider = a_provider(described(peer), number_format=style)
    send(provider)
    provider.close()
    assert peer.requests[0].json["to"] == to


def test_an_address_keeps_its_own_query_and_takes_values_in_its_path(peer: HttpPeer) -> None:
    request = {"method": "GET", "url": peer.url("/send/{to}?x=1"), "query": {"t": "{text}"}}
    provider = a_provider(described(peer, request=request))
    send(provider, an_outgoing(text="a/b?c#d"))
    provider.close()
    (heard,) = peer.requests
    assert (heard.path, heard.query) == ("/send/84905000001", {"x": "1", "t": "a/b?c#d"})
    assert "content-length" not in heard.headers


def test_a_variable_in_a_header_stays_there(peer: HttpPeer) -> None:
    request = {"url": peer.url("/send"), "headers": {"X-Key": "k={key}"}, "json": {"t": "{text}"}}
    provider = a_provider(described(peer, variables={"key": "a\r\nX-Evil: 1\r\n\r\nb"}, request=request))
    send(provider)
    provider.close()
    (heard,) = peer.requests
    assert heard.headers["x-key"] == "k=aX-Evil: 1b" and "x-evil" not in heard.headers


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ({"digest": "md5", "of": "{id}{key}"}, lambda said: md5(said).hexdigest()),
        (
            {"digest": "sha256", "of": "{id}{key}", "written": "HEX"},
            lambda said: sha256(said).hexdigest().upper(),
        ),
        (
            {"digest": "hmac-sha256", "of": "{id}{key}", "key": "{key}", "written": "base64"},
            lambda said: b64encode(hmac.new(KEY.encode(), said, sha256).digest()).decode(),
        ),
    ],
)
def test_requests_can_be_signed(signature: dict[str, str], expected: Any, peer: HttpPeer) -> None:
    request = {"url": peer.url("/send"), "form": {"s": "{signature}"}}
    provider = a_provider(described(peer, signature=signature, request=request))
    send(provider)
    provider.close()
    assert peer.requests[0].form == {"s": expected(f"{an_outgoing().id}{KEY}".encode())}


def test_a_value_that_is_no_number_where_one_is_due_stops_the_link(peer: HttpPeer) -> None:
    request = {"url": peer.url("/send"), "json": {"n": "{key|number}"}}
    provider = a_provider(described(peer, request=request))
    outcome = send(provider)
    provider.close()
    assert (outcome.verdict, outcome.code) == (V.ACCOUNT, "no_number")
    assert peer.requests == []


def test_an_encoding_that_is_not_carried_stops_the_link(peer: HttpPeer) -> None:
    provider = a_provider(described(peer, encodings={"unaccented": "0"}))
    assert send(provider).code == "encoding"
    provider.close()
    assert peer.requests == []


# what is certain


@pytest.mark.parametrize(
    ("said", "verdict", "code"),
    [
        (LOST, V.UNKNOWN, "connection_lost"),
        (HANG, V.UNKNOWN, "answer_timeout"),
        (Said(200, b"x" * 70_000), V.UNKNOWN, "unrecognised_answer"),
        (Said(200, b"<html>"), V.UNKNOWN, "unrecognised_answer"),
        (Said(503, b"", {"Retry-After": "7"}), V.RETRY, "temporary_failure"),
        (Said(302, b"", {"Location": "http://127.0.0.1:9/"}), V.ACCOUNT, "redirected"),
    ],
)
def test_without_an_answer_that_can_be_read_a_message_is_perhaps_taken(
    said: Said, verdict: Verdict, code: str, peer: HttpPeer
) -> None:
    peer.answers(said, OK)
    provider = a_provider(described(peer, connections=1))
    outcome = send(provider)
    assert (outcome.verdict, outcome.code) == (verdict, code)
    assert len(peer.requests) == 1, "nothing is sent again by itself"
    assert send(provider).verdict is V.ACCEPTED
    provider.close()


def test_what_could_not_be_sent_is_surely_not_taken() -> None:
    description = a_description()
    description["request"] = {"url": f"http://127.0.0.1:{free_port()}/send", "json": {"t": "{text}"}}
    provider = a_provider(description)
    outcome = send(provider)
    assert (outcome.verdict, outcome.code) == (V.RETRY, "not_connected")
    assert provider.check()[0].state == "failed"
    provider.close()


def test_each_message_is_answered_once_over_kept_alive_connections(peer: HttpPeer) -> None:
    provider, answers = a_provider(described(peer, connections=2)), Answers()
    messages = [an_outgoing(number) for number in range(40)]
    for start in range(0, 40, 10):
        provider.submit(messages[start : start + 10], answers)
    outcomes = answers.wait(40)
    provider.close()
    assert {outcome.verdict for outcome in outcomes.values()} == {V.ACCEPTED}
    assert sorted(heard.json["id"] for heard in peer.requests) == sorted(message.id for message in messages)


# closing


def test_closing_answers_what_hangs_as_unknown_and_gives_back_the_rest(peer: HttpPeer) -> None:
    peer.answers(HANG)
    provider, answers = a_provider(described(peer, connections=1, timeout="60s")), Answers()
    provider.submit([an_outgoing(1), an_outgoing(2)], answers)
    wait_until(lambda: bool(peer.requests))
    began = time.monotonic()
    provider.close()
    assert time.monotonic() - began < 5.5
    outcomes = answers.wait(2)
    assert outcomes[an_outgoing(1).id].verdict is V.UNKNOWN
    assert outcomes[an_outgoing(2).id].verdict is V.RETRY
    provider.submit([an_outgoing(3)], answers)
    assert answers.wait(3)[an_outgoing(3).id].verdict is V.RETRY
    provider.close()
    assert len(peer.requests) == 1


def test_a_message_given_up_before_its_first_byte_never_begins() -> None:
    answers = Answers()
    attempt = Attempt(an_outgoing(), answers)
    attempt.give_up()
    assert not attempt.begin()
    attempt.answer(Outcome(V.ACCEPTED))
    assert answers.one().verdict is V.RETRY


@pytest.mark.parametrize(("taken_back", "verdict"), [(False, V.UNKNOWN), (True, V.RETRY)])
def test_a_message_given_up_later_is_unknown_unless_it_was_refused(
    taken_back: bool, verdict: Verdict
) -> None:
    answers = Answers()
    attempt = Attempt(an_outgoing(), answers)
    assert attempt.begin()
    if taken_back:
        attempt.take_back()
    attempt.give_up()
    assert answers.one().verdict is verdict


def test_a_fault_of_ours_costs_neither_a_thread_nor_an_answer(peer: HttpPeer) -> None:
    provider, answers = a_provider(described(peer, connections=1)), Answers()
    broken = an_outgoing(1)
    object.__setattr__(broken, "text", None)
    provider.submit([broken, an_outgoing(2)], answers)
    outcomes = answers.wait(2)
    provider.close()
    assert (outcomes[broken.id].verdict, outcomes[broken.id].code) == (V.RETRY, "failed")
    assert outcomes[an_outgoing(2).id].verdict is V.ACCEPTED


# tokens


def test_a_token_is_fetched_once_for_all_senders(peer: HttpPeer) -> None:
    peer.answers(said_json({"access_token": "t0ken"}), path="/token")
    provider, answers = a_provider(a_token(peer)), Answers()
    provider.submit([an_outgoing(number) for number in range(20)], answers)
    answers.wait(20)
    provider.close()
    assert [heard.form for heard in peer.to("/token")] == [{"secret": KEY}]
    assert {heard.headers["authorization"] for heard in peer.to("/send")} == {"Bearer t0ken"}


@pytest.mark.parametrize("refusal", [Said(401), said_json({"code": "E11"})])
def test_a_refused_token_is_fetched_anew_and_the_message_sent_once_more(
    refusal: Said, peer: HttpPeer
) -> None:
    peer.answers(said_json({"access_token": "t0ken1"}), said_json({"access_token": "t0ken2"}), path="/token")
    peer.answers(refusal, OK, path="/send")
    provider = a_provider(a_token(peer, refused=["E1*"]) | {"errors": {"at": "code"}})
    assert send(provider).verdict is V.ACCEPTED
    assert send(provider).verdict is V.ACCEPTED
    provider.close()
    tokens = [heard.headers["authorization"] for heard in peer.to("/send")]
    assert tokens == ["Bearer t0ken1", "Bearer t0ken2", "Bearer t0ken2"]


def test_a_token_refused_twice_stops_the_link(peer: HttpPeer) -> None:
    peer.answers(said_json({"access_token": "t0ken"}), path="/token")
    peer.answers(Said(401), path="/send")
    provider = a_provider(a_token(peer))
    outcome = send(provider)
    provider.close()
    assert (outcome.verdict, outcome.code) == (V.ACCOUNT, "authorization_failed")
    assert (len(peer.to("/token")), len(peer.to("/send"))) == (2, 2)


@pytest.mark.parametrize(
    ("said", "verdict", "code"),
    [
        (Said(401), V.ACCOUNT, "token_refused"),
        (said_json({"error": "invalid_client"}), V.ACCOUNT, "token_refused"),
        (said_json({"access_token": ["x"]}), V.ACCOUNT, "token_refused"),
        (Said(200, b"<html>"), V.ACCOUNT, "token_refused"),
        (Said(503), V.RETRY, "no_token"),
        (Said(429), V.RETRY, "no_token"),
        (LOST, V.RETRY, "token_connection_lost"),
        (HANG, V.RETRY, "token_answer_timeout"),
    ],
)
def test_without_a_token_nothing_was_sent(said: Said, verdict: Verdict, code: str, peer: HttpPeer) -> None:
    peer.answers(said, path="/token")
    provider = a_provider(a_token(peer) | {"timeout": "1s"})
    outcome = send(provider)
    provider.close()
    assert (outcome.verdict, outcome.code) == (verdict, code)
    assert peer.to("/send") == []


# checking


def states(provider: Any) -> list[tuple[str, str]]:
    return [(result.state, result.message) for result in provider.check()]


def test_checking_sends_nothing_and_says_whether_the_host_can_be_reached(peer: HttpPeer) -> None:
    receipt = {"calls": "shared", "token": "t", "our_id": "r", "status": "s", "verdicts": {"1": "delivered"}}
    provider = a_provider(described(peer, receipt=receipt))
    assert [state for state, _ in states(provider)] == ["ok"]
    provider.close()
    assert peer.requests == []


def test_checking_fetches_a_token_where_one_is_needed(peer: HttpPeer) -> None:
    peer.answers(said_json({"access_token": "t0ken"}), Said(401), path="/token")
    provider = a_provider(a_token(peer, lifetime="1s"))
    assert states(provider)[0] == ("ok", "answers and gives our account a token")
    provider.close()
    other = a_provider(a_token(peer))
    state, message = states(other)[0]
    other.close()
    assert state == "failed" and "token_refused" in message and KEY not in message
    assert peer.to("/send") == []


@pytest.mark.parametrize(
    ("keys", "encoding", "callback", "state", "said"),
    [
        ({}, Encoding.UNICODE, True, "warning", "no receipts are described"),
        ({"encodings": {"unaccented": "0"}}, Encoding.UNICODE, True, "failed", "carries no unicode texts"),
        (
            {
                "receipt": {
                    "calls": "shared",
                    "token": "t",
                    "our_id": "r",
                    "status": "s",
                    "verdicts": {"1": "delivered"},
                }
            },
            Encoding.UNICODE,
            False,
            "warning",
            "nothing listens",
        ),
        (
            {"templates": {"result_ready": {"id": "1", "params": []}}},
            Encoding.UNICODE,
            True,
            "failed",
            "no template for the notice apology",
        ),
    ],
)
def test_checking_tells_what_the_description_lacks(
    keys: dict[str, Any], encoding: Encoding, callback: bool, state: str, said: str, peer: HttpPeer
) -> None:
    provider = a_provider(described(peer, **keys), encoding=encoding, callback=CALLBACK if callback else None)
    assert any(found == state and said in message for found, message in states(provider)[1:])
    provider.close()


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://203.190.170.41:8998/bulkapi", True),
        ("http://sms.example.vn/", True),
        ("https://sms.example.vn/", False),
        ("http://127.0.0.1:1/", False),
        ("http://10.65.1.9/", False),
        ("http://localhost:1/", False),
    ],
)
def test_speaking_in_the_clear_over_other_peoples_networks_is_warned_of(url: str, warned: bool) -> None:
    settings = settings_of(a_description(request={"url": url, "json": {"t": "{text}"}}))
    around = Surroundings("MotcuaSMS", Encoding.UNICODE, "84", ZONE, CALLBACK)
    results = about_description(settings, around, [])
    assert any("without TLS" in result.message for result in results) is warned


# asking after messages


def polled(peer: HttpPeer, **keys: Any) -> dict[str, Any]:
    request = {"method": "GET", "url": peer.url("/status/{reference}"), "query": {"k": "{key}"}}
    poll = {"request": request, "status": "state", "verdicts": {"1": "delivered"}, "every": "5m", **keys}
    return described(peer, receipt={"poll": poll})


def test_one_fault_ends_the_asking_and_what_was_told_counts(peer: HttpPeer) -> None:
    peer.answers(said_json({"state": 1}), Said(200, b"?"), said_json({"state": 1}), Said(503), path="*")
    provider = a_provider(polled(peer))
    with capture_logs() as logs:
        receipts = provider.poll_receipts(["a", "b", "c", "d", "e"])
    provider.close()
    assert [receipt.part for receipt in receipts] == ["a", "c"]
    assert [heard.path for heard in peer.requests] == ["/status/a", "/status/b", "/status/c", "/status/d"]
    assert [entry["event"] for entry in logs] == ["receipts_not_asked_for"]
    assert provider.poll_interval == 300


def test_asking_ends_when_it_is_told_to(peer: HttpPeer) -> None:
    peer.answers(said_json({"state": 1}))
    provider = a_provider(polled(peer))
    assert len(provider.poll_receipts(["a", "b", "c"], stop=lambda: len(peer.requests) == 2)) == 2
    provider.close()


def test_before_each_id_it_is_asked_whether_to_stop_so_that_the_caller_knows_how_far_it_came(
    peer: HttpPeer,
) -> None:
    peer.answers(said_json({"state": 1}), Said(503))
    provider = a_provider(polled(peer))
    assert isinstance(provider, Polled)
    calls: list[int] = []
    receipts = provider.poll_receipts(["a", "b", "c"], stop=lambda: bool(calls.append(len(peer.requests))))
    provider.close()
    assert (len(receipts), calls) == (1, [0, 1])


def test_who_cannot_be_asked_is_not(peer: HttpPeer) -> None:
    provider = a_provider(described(peer))
    assert (provider.poll_interval, provider.poll_receipts(["a"])) == (None, [])
    assert provider.find("a", NOW) is None  # type: ignore[func-returns-value]
    provider.close()
    assert peer.requests == []


def test_nothing_secret_is_shown(peer: HttpPeer) -> None:
    peer.answers(said_json({"access_token": "t0ken"}), path="/token")
    provider = a_provider(a_token(peer))
    send(provider)
    assert KEY not in repr(provider) + repr(vars(provider)) and "t0ken" not in repr(vars(provider))
    provider.close()
