"""Look-ups that content providers hand on, over the real listener: whose call is taken, and what it is answered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from xml.etree import ElementTree

import pytest
from flask.testing import FlaskClient
from structlog.testing import capture_logs

from smsd.adapters.store.lookups import LookupStore
from smsd.adapters.store.schema import inquiries
from smsd.adapters.web.app import create_app
from smsd.adapters.web.dialects import EsmsDialect, MoDialect, OnePayDialect
from smsd.adapters.web.server import InboundServer
from smsd.core.lookups import Road
from smsd.services.lookup import LookupRules, LookupService
from smsd.services.ports import LookupRequest
from tests.services.stage import HOUR, READY, Stage, a_row
from tests.support.builders import ZONE
from tests.support.mocalls import NUMBER, signed_by_1pay, signed_by_esms
from tests.web.conftest import ESMS_SECRET, ONEPAY_SECRET, SECRET, Desk
from tests.web.test_receipts import counted


@dataclass(frozen=True)
class Provider:
    """A provider's calls: how they are signed, what their parameters are called, and how its answer is read."""

    road: Road
    secret: str
    sign: Callable[..., dict[str, str]]
    text: str
    id: str
    number: str
    proof: str
    said: Callable[[bytes], str]

    @property
    def path(self) -> str:
        return f"/lookups/{self.road}"

    def call(self, text: str = "MCKH H1", id_: str = "r-1", number: str = NUMBER) -> dict[str, str]:
        return self.sign(self.secret, **{self.text: text, self.id: id_, self.number: number})


def said_in_xml(body: bytes) -> str:
    return ElementTree.fromstring(body).findtext("Message") or ""


ONEPAY = Provider(
    Road.ONEPAY, ONEPAY_SECRET, signed_by_1pay, "mo_message", "request_id", "msisdn", "signature",
    lambda body: str(json.loads(body)["sms"]),
)  # fmt: skip
ESMS = Provider(
    Road.ESMS, ESMS_SECRET, signed_by_esms, "content", "smsid", "sender", "sign", said_in_xml
)  # fmt: skip
every = pytest.mark.parametrize("provider", [ONEPAY, ESMS], ids=lambda provider: provider.road.value)


# what is taken


@every
@pytest.mark.parametrize("kind", ["GET", "form", "json", "query of a POST"])
def test_a_signed_call_is_asked_for_and_answered_in_the_providers_form(
    client: FlaskClient, desk: Desk, provider: Provider, kind: str
) -> None:
    fields = provider.call("MCKH H32.12-0001", "mo-1")
    if kind == "GET":
        answer = client.get(provider.path, query_string=fields)
    else:
        arguments = {"form": {"data": fields}, "json": {"json": fields}}.get(kind, {"query_string": fields})
        answer = client.post(provider.path, **arguments)
    assert answer.status_code == 200
    assert provider.said(answer.data) == "Hồ sơ MCKH H32.12-0001: Đúng hạn"
    assert desk.asked == [LookupRequest(NUMBER, "MCKH H32.12-0001", "mo-1", provider.road)]
    assert counted(client) == {(f"lookups/{provider.road}", "answered"): 1}
    assert answer.headers["Cache-Control"] == "no-store"
    assert "X-Kannel-Coding" not in answer.headers


# what is refused


@every
@pytest.mark.parametrize("forged", ["unsigned", "another's", "changed", "other provider's", "our own token"])
def test_a_forged_call_is_refused_and_counted(
    client: FlaskClient, desk: Desk, provider: Provider, forged: str
) -> None:
    fields = provider.call()
    other = ESMS if provider is ONEPAY else ONEPAY
    fields |= {
        "unsigned": {provider.proof: ""},
        "another's": {provider.proof: provider.sign("another secret")[provider.proof]},
        "changed": {provider.text: "MCKH H2"},
        "other provider's": {provider.proof: provider.sign(other.secret)[provider.proof]},
        "our own token": {provider.proof: SECRET, "token": SECRET},
    }[forged]
    for answer in (
        client.get(provider.path, query_string=fields),
        client.post(provider.path, data=fields),
        client.post(provider.path, json=fields),
    ):
        assert answer.status_code == 403
        assert provider.secret not in answer.text and NUMBER not in answer.text
    assert desk.asked == []
    assert counted(client) == {(f"lookups/{provider.road}", "unsigned"): 3}


@every
def test_a_provider_s_call_proves_nothing_on_another_road(
    client: FlaskClient, desk: Desk, provider: Provider
) -> None:
    other = ESMS if provider is ONEPAY else ONEPAY
    assert client.get(other.path, query_string=provider.call()).status_code == 403
    assert client.get("/lookups", query_string=provider.call()).status_code == 403
    plain = {"from": NUMBER, "text": "MCKH H1", "id": "r-1", "token": SECRET}
    assert client.get(provider.path, query_string=plain).status_code == 403
    assert desk.asked == []


def test_a_call_for_another_customer_is_refused(client: FlaskClient, desk: Desk) -> None:
    assert client.get(ESMS.path, query_string=signed_by_esms(ESMS_SECRET, cpid="cp8")).status_code == 403
    assert desk.asked == []


@every
@pytest.mark.parametrize("what", ["number", "id"])
@pytest.mark.parametrize("value", ["", "9" * 201])
def test_a_signed_call_without_its_parts_is_malformed(
    client: FlaskClient, desk: Desk, provider: Provider, what: str, value: str
) -> None:
    fields = provider.call(**{"number": {"number": value}, "id": {"id_": value}}[what])
    assert client.get(provider.path, query_string=fields).status_code == 400
    assert desk.asked == []
    assert counted(client) == {(f"lookups/{provider.road}", "malformed"): 1}


@every
@pytest.mark.parametrize(
    ("method", "arguments", "status", "outcome"),
    [
        ("POST", {"data": b"\xff\x00\xd8{", "content_type": "application/json"}, 403, "unsigned"),
        (
            "POST",
            {"data": b"%%%=&&&\0", "content_type": "application/x-www-form-urlencoded"},
            403,
            "unsigned",
        ),
        ("POST", {"json": [["signature"]]}, 403, "unsigned"),
        ("POST", {"data": b"x" * 16_385}, 413, "oversized"),
        ("GET", {"query_string": "x" * 9_000}, 414, "oversized"),
        ("HEAD", {}, 405, "wrong_method"),
        ("PUT", {}, 405, "wrong_method"),
    ],
)
def test_garbage_is_refused_plainly_and_counted(
    client: FlaskClient,
    desk: Desk,
    provider: Provider,
    method: str,
    arguments: dict[str, object],
    status: int,
    outcome: str,
) -> None:
    answer = client.open(provider.path, method=method, **arguments)
    assert answer.status_code == status
    assert desk.asked == []
    assert [key[1] for key in counted(client)] == [outcome]


@pytest.mark.parametrize("name", ["vcom", "1PAY", "plain", "smpp", "1pay/", "..", "\u202e"])
def test_who_is_not_configured_is_unknown(client: FlaskClient, desk: Desk, name: str) -> None:
    answer = client.get(f"/lookups/{name}", query_string=ONEPAY.call())
    assert answer.status_code == 404
    assert desk.asked == []
    assert all(label in {"lookups", "other"} for label, _ in counted(client))


def test_providers_come_and_go_while_the_listener_serves(
    client: FlaskClient, providers: dict[str, MoDialect]
) -> None:
    del providers["1pay"]
    assert client.get(ONEPAY.path, query_string=ONEPAY.call()).status_code == 404
    providers["1pay"] = OnePayDialect("the next secret")
    assert client.get(ONEPAY.path, query_string=ONEPAY.call()).status_code == 403
    assert client.get(ONEPAY.path, query_string=signed_by_1pay("the next secret")).status_code == 200


@every
def test_a_failed_desk_asks_the_provider_to_come_again(
    client: FlaskClient, desk: Desk, provider: Provider
) -> None:
    desk.broken = True
    answer = client.get(provider.path, query_string=provider.call())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


# with the service behind it, over a socket

RULES = LookupRules(
    keyword="MCKH",
    answer="Hồ sơ ({Mã số hồ sơ}) ở bước {Tên bước giải quyết hiện tại}: {Đúng hạn/Trễ hạn}.",
    not_found="Không tìm thấy {Mã số hồ sơ}",
    wrong_syntax="Sai cú pháp",
    too_many="Quá nhiều",
    limit=3,
    per=HOUR,
    zone=ZONE,
)


@dataclass
class Office:
    """A store with one dossier, the look-up service over it, and the listener before it."""

    stage: Stage
    server: InboundServer

    def ask(self, provider: Provider, fields: dict[str, str], *, post: bool = False) -> tuple[int, str]:
        """Status and answer of a provider's call."""
        query = urlencode(fields)
        url = f"http://127.0.0.1:{self.server.port}{provider.path}"
        request = Request(url, data=query.encode()) if post else Request(f"{url}?{query}")
        try:
            with urlopen(request, timeout=10) as answer:
                return answer.status, provider.said(answer.read())
        except HTTPError as error:
            return error.code, ""

    def recorded(self) -> list[tuple[str, str | None, str, str]]:
        with self.stage.database.reading() as connection:
            rows = connection.execute(inquiries.select().order_by(inquiries.c.id)).mappings().all()
        assert all(NUMBER not in str(row) for row in rows)
        return [(row["road"], row["provider_id"], row["outcome"], row["number_masked"]) for row in rows]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    stage = Stage(tmp_path)
    stage.baseline(a_row())
    service = LookupService(
        LookupStore(stage.database),
        RULES,
        stage.clock,
        policies=lambda: stage.policies,
        secret="s",
        patience=10,
    )
    desk = Desk()
    with capture_logs() as logs:
        app = create_app(
            receipts={},
            sink=desk,
            lookups=service,
            secret=SECRET,
            providers={"1pay": OnePayDialect(ONEPAY_SECRET), "esms": EsmsDialect(ESMS_SECRET)},
            metrics=lambda: (),
            alive=lambda: True,
        )
        server = InboundServer("127.0.0.1:0", app, app.extensions["smsd_inbound_calls"])
        server.start()
        yield Office(stage, server)
        server.close()
        service.close()
        stage.database.close()
    assert NUMBER not in str(logs) and "MCKH" not in str(logs)


@every
@pytest.mark.parametrize("post", [False, True], ids=["GET", "POST"])
def test_a_paid_message_always_gets_an_answer(office: Office, provider: Provider, post: bool) -> None:
    said = [
        office.ask(provider, provider.call(text, f"r-{place}"), post=post)
        for place, text in enumerate(["MCKH H1", "MCKH H9", "xin chào", "MCKH H1"])
    ]
    assert said == [
        (200, "Hồ sơ (H1) ở bước Thẩm định: Đúng hạn."),
        (200, "Không tìm thấy H9"),
        (200, "Sai cú pháp"),
        (200, "Quá nhiều"),
    ]
    assert office.recorded() == [
        (provider.road, f"r-{place}", outcome, "0905***456")
        for place, outcome in enumerate(["found", "not_found", "wrong_syntax", "too_many"])
    ]


@every
def test_a_repeated_call_gets_the_same_answer_and_is_not_counted_again(
    office: Office, provider: Provider
) -> None:
    first = office.ask(provider, provider.call())
    office.stage.show(a_row(step=READY))
    office.stage.after()
    assert [office.ask(provider, provider.call(), post=post) for post in (False, True)] == [first, first]
    assert office.ask(provider, provider.call(id_="r-2"))[1].startswith(f"Hồ sơ (H1) ở bước {READY}")
    assert len(office.recorded()) == 2


def test_the_same_id_on_another_road_is_another_message(office: Office) -> None:
    office.stage.show(a_row(), a_row("H2"))
    office.stage.after()
    assert "(H1)" in office.ask(ONEPAY, ONEPAY.call("MCKH H1", "7"))[1]
    assert "(H2)" in office.ask(ESMS, ESMS.call("MCKH H2", "7"))[1]
    assert [row[:3] for row in office.recorded()] == [("1pay", "7", "found"), ("esms", "7", "found")]


@every
def test_forged_and_broken_calls_leave_no_trace(office: Office, provider: Provider) -> None:
    fields = provider.call()
    assert office.ask(provider, fields | {provider.text: "MCKH H2"})[0] == 403
    assert office.ask(provider, fields | {provider.proof: "0" * 64}, post=True)[0] == 403
    assert office.ask(provider, provider.call(number=""))[0] == 400
    assert office.ask(provider, provider.call("x" * 9_000))[0] == 414
    assert office.ask(provider, provider.call("x" * 17_000), post=True)[0] == 413
    assert office.recorded() == []


@every
@pytest.mark.parametrize(
    "text", ["MCKH H1\0\u202e", "MCKH " + "😀" * 200, "'; drop table inquiries; --", "{x}<y>&"]
)
def test_hostile_texts_are_answered_like_any_other(office: Office, provider: Provider, text: str) -> None:
    status, said = office.ask(provider, provider.call(text))
    assert status == 200 and said
    assert len(office.recorded()) == 1
