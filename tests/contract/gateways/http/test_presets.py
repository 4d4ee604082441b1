"""The presets, by a table: the request expected, the answer given, the outcome."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from smsd.adapters.gateways.http.gateway import HttpProvider
from smsd.config.http.presetfiles import laid_over, preset, preset_names
from smsd.core.model import ReceiptVerdict, Verdict
from smsd.core.policy import Encoding
from smsd.services.ports import Outgoing
from tests.contract.gateways.http.support import HOSTILE, a_notice, a_provider, send
from tests.contract.gateways.support import CALLBACK, an_outgoing
from tests.support.httppeer import Heard, HttpPeer, Said, said_json

V = Verdict
R = ReceiptVerdict
SECRET = "s3cret&<\"'{x}"
"""A secret that would show any place where a value is not escaped."""

OWN: dict[str, dict[str, Any]] = {
    "esms": {"variables": {"api_key": "key", "secret_key": SECRET}},
    "speedsms": {"variables": {"access_token": SECRET}},
    "viettel": {"variables": {"user": "user", "password": SECRET, "cp_code": "CP"}},
    "vnpt": {
        "variables": {
            "label_id": "61",
            "contract_id": "58",
            "agent_id": "18",
            "api_user": "user",
            "api_pass": SECRET,
            "user_name": "name",
        },
        "templates": {
            "result_ready": {"id": "386872", "params": ["Mã số hồ sơ", "Tên cơ quan"]},
            "supplement": {"id": "386873", "params": ["Mã số hồ sơ", "Tên cơ quan"]},
            "apology": {"id": "386874", "params": ["Mã số hồ sơ", "Ngày hẹn trả", "Tên cơ quan"]},
        },
    },
    "fpt": {"variables": {"client_id": "client", "client_secret": SECRET}},
}
SEND_PATHS = {
    "esms": "/MainService.svc/json/SendMultipleMessage_V4_post_json/",
    "speedsms": "/index.php/sms/send",
    "viettel": "/bulkapi",
    "vnpt": "/smsmarketing/api",
    "fpt": "/api/push-brandname-otp",
}


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    with HttpPeer() as server:
        server.answers(said_json({"access_token": "t0ken"}), path="/oauth2/token")
        yield server


def description(name: str, peer: HttpPeer) -> dict[str, Any]:
    """A preset with an account, its hosts replaced by the peer's."""

    def here(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: here(item) for key, item in value.items()}
        if isinstance(value, str) and value.startswith("https://"):
            return peer.url("/" + value.split("/", 3)[3])
        return value

    whole = here(laid_over(preset(name), {"type": "http", **OWN[name]}))
    if whole["request"]["url"] is None:
        whole["request"]["url"] = peer.url(SEND_PATHS[name])
    return dict(whole)


def outgoing(encoding: Encoding = Encoding.UNACCENTED, **values: str) -> Outgoing:
    kind, text = a_notice(encoding=encoding, **values)
    return replace(an_outgoing(), kind=kind, text=text)


def sent(name: str, peer: HttpPeer, message: Outgoing, encoding: Encoding) -> Heard:
    provider = a_provider(description(name, peer), encoding=encoding)
    send(provider, message)
    provider.close()
    (heard,) = peer.to(SEND_PATHS[name])
    return heard


def test_each_preset_has_its_rows_here() -> None:
    assert set(OWN) == set(SEND_PATHS) == set(preset_names()) == {row[0] for row in ANSWERS}


# requests


def test_esms_is_asked_as_its_documents_say(peer: HttpPeer) -> None:
    message = outgoing(Encoding.UNICODE)
    heard = sent("esms", peer, message, Encoding.UNICODE)
    assert heard.method == "POST"
    assert heard.headers["content-type"] == "application/json; charset=utf-8"
    assert heard.json == {
        "ApiKey": "key",
        "SecretKey": SECRET,
        "Brandname": "MotcuaSMS",
        "SmsType": "2",
        "Phone": "84905000001",
        "Content": message.text,
        "IsUnicode": "1",
        "Sandbox": "0",
        "RequestId": message.id,
        "CallbackUrl": CALLBACK.receipt_url("esms", message.id),
    }
    assert len(message.id) <= 50


def test_speedsms_is_asked_as_its_documents_say(peer: HttpPeer) -> None:
    message = outgoing()
    heard = sent("speedsms", peer, message, Encoding.UNACCENTED)
    assert heard.json == {
        "to": ["84905000001"],
        "content": message.text,
        "sms_type": 3,
        "sender": "MotcuaSMS",
    }
    login = base64.b64decode(heard.headers["authorization"].removeprefix("Basic ")).decode()
    assert login == f"{SECRET}:x"


def test_viettel_is_asked_as_its_service_description_says(peer: HttpPeer) -> None:
    message = outgoing(**{"Tên cơ quan": "Sở KH&ĐT <1>"})
    heard = sent("viettel", peer, message, Encoding.UNACCENTED)
    assert heard.headers["content-type"] == "text/xml; charset=utf-8"
    assert heard.headers["soapaction"] == '""'
    envelope = ElementTree.fromstring(heard.body)
    (operation,) = envelope.findall(".//{http://impl.bulkSms.ws/}wsCpMt")
    assert {element.tag: element.text for element in operation} == {
        "User": "user",
        "Password": SECRET,
        "CPCode": "CP",
        "RequestID": "1",
        "UserID": "84905000001",
        "ReceiverID": "84905000001",
        "ServiceID": "MotcuaSMS",
        "CommandCode": "bulksms",
        "Content": message.text.replace("&", "-"),
        "ContentType": "0",
    }
    assert "So KH-DT <1>" in message.text.replace("&", "-")


def test_vnpt_is_given_the_template_and_its_parameters(peer: HttpPeer) -> None:
    kind, text = a_notice("apology", Encoding.UNACCENTED, **{"Tên cơ quan": 'Sở "Xây dựng"'})
    message = replace(an_outgoing(), kind=kind, text=text)
    heard = sent("vnpt", peer, message, Encoding.UNACCENTED)
    asked = heard.json["RQST"]
    assert {name: value for name, value in asked.items() if value} == {
        "name": "send_sms_list",
        "REQID": message.id,
        "LABELID": "61",
        "CONTRACTTYPEID": "1",
        "CONTRACTID": "58",
        "TEMPLATEID": "386874",
        "PARAMS": [
            {"NUM": "1", "CONTENT": "H32.12-0001"},
            {"NUM": "2", "CONTENT": "04/08/2026"},
            {"NUM": "3", "CONTENT": 'So "Xay dung"'},
        ],
        "MOBILELIST": "84905000001",
        "ISTELCOSUB": "0",
        "AGENTID": "18",
        "APIUSER": "user",
        "APIPASS": SECRET,
        "USERNAME": "name",
        "DATACODING": "0",
    }
    assert text not in heard.body.decode()


def test_fpt_is_given_a_token_and_the_text_in_base64(peer: HttpPeer) -> None:
    message = outgoing(Encoding.UNICODE)
    heard = sent("fpt", peer, message, Encoding.UNICODE)
    (token,) = peer.to("/oauth2/token")
    assert token.json == {
        "grant_type": "client_credentials",
        "client_id": "client",
        "client_secret": SECRET,
        "scope": "send_brandname_otp",
        "session_id": "smsd",
    }
    asked = heard.json
    assert base64.b64decode(asked.pop("Message")).decode() == message.text
    assert asked == {
        "access_token": "t0ken",
        "session_id": "smsd",
        "BrandName": "MotcuaSMS",
        "Phone": "84905000001",
        "RequestId": message.id,
    }


@pytest.mark.parametrize("name", preset_names())
def test_whatever_a_name_holds_the_request_keeps_its_shape(name: str, peer: HttpPeer) -> None:
    provider = a_provider(description(name, peer))
    for hostile in ("plain", *HOSTILE):
        send(provider, outgoing(Encoding.UNICODE, **{"Tên cơ quan": f"a{hostile}b"}))
    provider.close()
    plain, *others = peer.to(SEND_PATHS[name])
    assert len(others) == len(HOSTILE)
    for heard in others:
        assert heard.headers.keys() == plain.headers.keys()
        assert shape_of(heard) == shape_of(plain)


def shape_of(heard: Heard) -> Any:
    if "xml" in heard.headers["content-type"]:
        return [element.tag for element in ElementTree.fromstring(heard.body).iter()]
    return keys_of(heard.json)


def keys_of(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: keys_of(item) for key, item in value.items()}
    return [keys_of(item) for item in value] if isinstance(value, list) else type(value).__name__


# answers


def soap(result: str, message: str) -> Said:
    return Said(
        200,
        '<?xml version="1.0" ?><S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>'
        '<n:wsCpMtResponse xmlns:n="http://impl.bulkSms.ws/"><return>'
        f"<message>{message}</message><result>{result}</result>"
        "</return></n:wsCpMtResponse></S:Body></S:Envelope>".encode(),
    )


def esms(code: str, **more: object) -> Said:
    return said_json({"CodeResult": code, "CountRegenerate": 0, **more})


def speed(code: str) -> Said:
    return said_json({"status": "error", "code": code, "message": "error description"})


def vnpt(code: str) -> Said:
    return said_json({"RPLY": {"name": "send_sms_list", "ERROR": code, "ERROR_DESC": "text"}})


TOO_MANY = {"name": "Too Many Requests", "message": "Rate limit exceeded.", "code": 0, "status": 429}
ANSWERS: list[tuple[str, Said, Verdict, str]] = [
    ("esms", esms("100", SMSID="d8e0f1"), V.ACCEPTED, "accepted"),
    ("esms", esms("124", ErrorMessage="RequestId exists"), V.ACCEPTED, "124"),
    ("esms", esms("99"), V.REJECTED, "99"),
    ("esms", esms("101", ErrorMessage="Authorize Failed"), V.ACCOUNT, "101"),
    ("esms", esms("102"), V.ACCOUNT, "102"),
    ("esms", esms("103"), V.ACCOUNT, "103"),
    ("esms", esms("104"), V.ACCOUNT, "104"),
    ("esms", esms("108"), V.REJECTED, "108"),
    ("esms", esms("118"), V.ACCOUNT, "118"),
    ("esms", esms("140"), V.ACCOUNT, "140"),
    ("esms", esms("146"), V.REJECTED, "146"),
    ("esms", esms("177"), V.REJECTED, "177"),
    ("esms", esms("300"), V.ACCOUNT, "300"),
    ("esms", esms("999"), V.UNKNOWN, "unrecognised_answer"),
    ("esms", said_json({}), V.UNKNOWN, "unrecognised_answer"),
    ("esms", Said(500, b"<html>"), V.UNKNOWN, "server_failed"),
    (
        "speedsms",
        said_json({"status": "success", "code": "00", "data": {"tranId": 5}}),
        V.ACCEPTED,
        "accepted",
    ),
    ("speedsms", speed("007"), V.ACCOUNT, "007"),
    ("speedsms", speed("008"), V.ACCOUNT, "008"),
    ("speedsms", speed("009"), V.ACCOUNT, "009"),
    ("speedsms", speed("101"), V.REJECTED, "101"),
    ("speedsms", speed("105"), V.REJECTED, "105"),
    ("speedsms", speed("110"), V.REJECTED, "110"),
    ("speedsms", speed("113"), V.REJECTED, "113"),
    ("speedsms", speed("300"), V.ACCOUNT, "300"),
    ("speedsms", speed("500"), V.RETRY, "500"),
    ("speedsms", speed("7"), V.UNKNOWN, "unrecognised_answer"),
    ("speedsms", said_json(TOO_MANY, 429), V.RETRY, "throttled"),
    ("viettel", soap("1", "Insert MT_QUEUE: OK"), V.ACCEPTED, "accepted"),
    ("viettel", soap("0", "Check template: NOT_MATCH"), V.REJECTED, "Check template: NOT_MATCH"),
    ("viettel", soap("0", "Authenticate: IP_INVALID"), V.ACCOUNT, "Authenticate: IP_INVALID"),
    ("viettel", soap("0", "whatever"), V.REJECTED, "whatever"),
    ("viettel", Said(200, b"<html>"), V.UNKNOWN, "unrecognised_answer"),
    ("viettel", Said(500, soap("1", "OK").body), V.UNKNOWN, "server_failed"),
    ("vnpt", vnpt("0"), V.ACCEPTED, "accepted"),
    ("vnpt", vnpt("31"), V.UNKNOWN, "unrecognised_answer"),
    ("fpt", said_json({"MessageId": 987, "Phone": "84905000001"}), V.ACCEPTED, "accepted"),
    ("fpt", said_json({"error": 1, "error_description": "x"}), V.UNKNOWN, "unrecognised_answer"),
    ("fpt", said_json({"error": 1, "error_description": "x"}, 403), V.ACCOUNT, "authorization_failed"),
]


@pytest.mark.parametrize(("name", "said", "verdict", "code"), ANSWERS)
def test_each_answer_has_its_outcome(
    name: str, said: Said, verdict: Verdict, code: str, peer: HttpPeer
) -> None:
    peer.answers(said, path=SEND_PATHS[name])
    provider = a_provider(description(name, peer), encoding=Encoding.UNACCENTED)
    outcome = send(provider, outgoing())
    provider.close()
    assert (outcome.verdict, outcome.code) == (verdict, code)
    assert "84905" not in repr(outcome) and SECRET not in repr(outcome)


@pytest.mark.parametrize(
    ("name", "said", "reference", "parts"),
    [
        ("esms", esms("100", SMSID="d8e0f1"), "d8e0f1", ("d8e0f1",)),
        ("esms", esms("124"), None, ()),
        ("speedsms", said_json({"status": "success", "data": {"tranId": 12345}}), "12345", ("12345",)),
        ("viettel", soap("1", "Insert MT_QUEUE: OK"), None, ()),
        ("fpt", said_json({"MessageId": 987}), "987", ()),
    ],
)
def test_the_providers_id_is_kept(
    name: str, said: Said, reference: str | None, parts: tuple[str, ...], peer: HttpPeer
) -> None:
    peer.answers(said, path=SEND_PATHS[name])
    provider = a_provider(description(name, peer), encoding=Encoding.UNACCENTED)
    outcome = send(provider, outgoing())
    provider.close()
    assert (outcome.reference, outcome.parts) == (reference, parts)


def test_only_esms_tells_repeats_apart_and_gets_the_same_request_again(peer: HttpPeer) -> None:
    safe = {}
    for name in preset_names():
        provider = a_provider(description(name, peer))
        safe[name] = provider.repeats_safely
        provider.close()
    assert [name for name, is_safe in safe.items() if is_safe] == ["esms"]
    provider = a_provider(description("esms", peer), encoding=Encoding.UNACCENTED)
    send(provider, outgoing())
    send(provider, replace(outgoing(), repeat=True))
    provider.close()
    first, second = peer.to(SEND_PATHS["esms"])
    assert first.json == second.json


def test_viettel_carries_no_more_than_480_characters(peer: HttpPeer) -> None:
    provider = a_provider(description("viettel", peer), encoding=Encoding.UNACCENTED)
    outcome = send(provider, replace(outgoing(), text="x" * 481))
    assert (outcome.verdict, outcome.code) == (V.REJECTED, "text_too_long")
    send(provider, replace(outgoing(), text="x" * 480))
    provider.close()
    assert len(peer.requests) == 1


# receipts by asking


@pytest.mark.parametrize(
    ("name", "path", "said", "verdict"),
    [
        ("esms", "/MainService.svc/json/GetSendStatus", {"SendStatus": 5, "SendSuccess": 1}, R.DELIVERED),
        ("esms", "/MainService.svc/json/GetSendStatus", {"SendStatus": 5, "SendSuccess": 0}, R.UNDELIVERED),
        ("esms", "/MainService.svc/json/GetSendStatus", {"SendStatus": 5}, R.ON_ITS_WAY),
        ("esms", "/MainService.svc/json/GetSendStatus", {"SendStatus": 4, "SendSuccess": 0}, R.REJECTED),
        ("esms", "/MainService.svc/json/GetSendStatus", {"SendStatus": 7, "SendSuccess": 0}, R.ON_ITS_WAY),
        ("esms", "/MainService.svc/json/GetSendStatus", {"CodeResponse": "101"}, None),
        ("speedsms", "/index.php/sms/status/A%2F1", {"data": [{"phone": "84905", "status": 0}]}, R.DELIVERED),
        ("speedsms", "/index.php/sms/status/A%2F1", {"data": [{"status": 70}]}, R.UNDELIVERED),
        ("speedsms", "/index.php/sms/status/A%2F1", {"data": [{"status": 9}]}, R.ON_ITS_WAY),
        ("speedsms", "/index.php/sms/status/A%2F1", {"data": []}, None),
    ],
)
def test_what_became_of_a_message_can_be_asked(
    name: str, path: str, said: dict[str, Any], verdict: ReceiptVerdict | None, peer: HttpPeer
) -> None:
    peer.answers(said_json(said), path=path)
    provider: HttpProvider = a_provider(description(name, peer))
    receipts = provider.poll_receipts(["A/1"])
    provider.close()
    assert [(receipt.part, receipt.verdict) for receipt in receipts] == (
        [] if verdict is None else [("A/1", verdict)]
    )
    (heard,) = peer.to(path)
    assert heard.method == "GET" and not heard.body
    if name == "esms":
        assert heard.query == {"RefId": "A/1", "ApiKey": "key", "SecretKey": SECRET}


@pytest.mark.parametrize(
    ("said", "state"),
    [(said_json({"status": "success", "code": "00"}), "ok"), (speed("007"), "failed"), (Said(401), "failed")],
)
def test_speedsms_can_be_asked_about_the_account(said: Said, state: str, peer: HttpPeer) -> None:
    peer.answers(said, path="/index.php/user/info")
    provider = a_provider(description("speedsms", peer))
    assert provider.check()[0].state == state
    provider.close()
    assert [heard.path for heard in peer.requests] == ["/index.php/user/info"]


@pytest.mark.parametrize("name", preset_names())
def test_each_preset_reaches_its_own_hosts_over_tls_or_leaves_them_to_the_operator(name: str) -> None:
    def urls(value: Any) -> Iterator[str | None]:
        for key, item in value.items():
            if key == "url":
                yield item
            elif isinstance(item, dict):
                yield from urls(item)

    found = list(urls(preset(name)))
    assert found and all(url is None or url.startswith("https://") for url in found)
