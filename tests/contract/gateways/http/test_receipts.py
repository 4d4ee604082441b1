"""Receipts: whose call it is, which message it names, what it says; and that nothing else changes anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from smsd.adapters.gateways.http.receipts import HttpPartReceipts, HttpReceipts, receipts_of
from smsd.config.http.description import ReceiptSettings
from smsd.core.errors import ReceiptError
from smsd.core.model import PartReceipt, Receipt, ReceiptVerdict
from tests.contract.gateways.http.support import a_description, settings_of
from tests.contract.gateways.support import CALLBACK, SECRET

R = ReceiptVerdict
ID = "0198c0de000070008000000000000001"
TABLE = {
    "status": ["state", "good"],
    "verdicts": {"5/1": "delivered", "5/0": "undelivered", "4/*": "rejected", "2/*": "on_its_way"},
}
TOKEN = "a token of receipts"


def signed() -> HttpReceipts:
    settings = ReceiptSettings.model_validate({"calls": "signed", **TABLE})
    return HttpReceipts("http", settings, SECRET)


def shared_ours() -> HttpReceipts:
    settings = ReceiptSettings.model_validate({"calls": "shared", "token": TOKEN, "our_id": "ref", **TABLE})
    return HttpReceipts("http", settings, SECRET)


def shared_theirs(provider_id: str = "sid") -> HttpPartReceipts:
    settings = ReceiptSettings.model_validate(
        {"calls": "shared", "token": TOKEN, "provider_id": provider_id, **TABLE}
    )
    return HttpPartReceipts("http", settings)


def called(message_id: str = ID, **more: str) -> dict[str, str]:
    """The parameters of a call to a message's signed address."""
    return dict(parse_qsl(urlsplit(CALLBACK.receipt_url("http", message_id)).query)) | more


@pytest.mark.parametrize(
    ("state", "good", "verdict"),
    [
        ("5", "1", R.DELIVERED),
        ("5", "0", R.UNDELIVERED),
        ("4", "", R.REJECTED),
        ("2", "0", R.ON_ITS_WAY),
        (" 5 ", "1", R.DELIVERED),
    ],
)
def test_a_signed_call_tells_what_became_of_its_message(
    state: str, good: str, verdict: ReceiptVerdict
) -> None:
    receipt = signed().parse_receipt(called(state=state, good=good), b"")
    assert receipt == Receipt("http", ID, verdict, f"{state.strip()}/{good}")


def test_a_status_that_is_not_in_the_table_proves_only_that_the_provider_has_the_message() -> None:
    with capture_logs() as logs:
        receipt = signed().parse_receipt(called(state="9", good="84905123456"), b"")
    assert (receipt.verdict, receipt.code) == (R.ON_ITS_WAY, "9/#")
    assert [entry["event"] for entry in logs] == ["receipt_status_unknown"]
    assert "84905" not in json.dumps(logs)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "malformed"),
        (called(), "malformed"),
        (called(state=""), "malformed"),
        (called(state="5") | {"sig": "x"}, "unsigned"),
        (called(state="5") | {"sig": ""}, "unsigned"),
        (called(state="5") | {"id": ID[:-1] + "2"}, "unsigned"),
        (called(state="5") | {"id": ""}, "malformed"),
        (called("x" * 201, state="5"), "malformed"),
        (called(state="5") | {"sig": "\ud800ăé"}, "unsigned"),
    ],
)
def test_calls_that_prove_or_say_nothing_are_refused(fields: dict[str, str], code: str) -> None:
    with pytest.raises(ReceiptError) as caught:
        signed().parse_receipt(fields, b"")
    assert caught.value.code == code


def test_a_signature_of_another_gateway_is_none_here() -> None:
    fields = dict(parse_qsl(urlsplit(CALLBACK.receipt_url("kannel", ID)).query)) | {"state": "5", "good": "1"}
    with pytest.raises(ReceiptError):
        signed().parse_receipt(fields, b"")


@pytest.mark.parametrize(
    "body",
    [
        b'{"state": 5, "good": 1}',
        b'{"x": "{", "state": "5", "good": "1", "id": "another"}',
        b"  <r xmlns='urn:x'><state>5</state><good>1</good></r>",
    ],
)
def test_what_is_not_in_the_parameters_is_looked_for_in_the_body(body: bytes) -> None:
    assert signed().parse_receipt(called(), body).verdict is R.DELIVERED
    assert signed().parse_receipt(called(), body).message_id == ID


def test_parameters_come_before_the_body() -> None:
    receipt = signed().parse_receipt(called(state="4", good=""), b'{"state": "5", "good": "1"}')
    assert receipt.verdict is R.REJECTED


def test_a_shared_call_names_our_id_and_knows_the_token() -> None:
    fields = {"token": TOKEN, "ref": ID, "state": "5", "good": "1"}
    assert shared_ours().parse_receipt(fields, b"") == Receipt("http", ID, R.DELIVERED, "5/1")
    for wrong in ({"token": "x"}, {"token": ""}, {"token": TOKEN + " "}):
        with pytest.raises(ReceiptError) as caught:
            shared_ours().parse_receipt(fields | wrong, b"")
        assert caught.value.code == "unsigned"
    with pytest.raises(ReceiptError) as caught:
        shared_ours().parse_receipt(fields | {"ref": " "}, b"")
    assert caught.value.code == "malformed"


def test_a_shared_call_may_name_the_providers_id_instead() -> None:
    fields = {"token": TOKEN, "sid": "7788", "state": "5", "good": "1"}
    assert shared_theirs().parse_part_receipts(fields, b"") == [
        PartReceipt("http", "7788", R.DELIVERED, "5/1")
    ]
    body = b'{"data": {"id": 7788}, "state": 5, "good": 0}'
    receipts = shared_theirs("data.id").parse_part_receipts({"token": TOKEN}, body)
    assert receipts == [PartReceipt("http", "7788", R.UNDELIVERED, "5/0")]
    for wrong, code in (
        ({"token": "x"}, "unsigned"),
        ({"sid": ""}, "malformed"),
        ({"sid": "a\nb"}, "malformed"),
    ):
        with pytest.raises(ReceiptError) as caught:
            shared_theirs().parse_part_receipts(fields | wrong, b"")
        assert caught.value.code == code


def test_a_token_in_the_body_alone_proves_nothing() -> None:
    body = json.dumps({"token": TOKEN, "sid": "1", "state": "5", "good": "1"}).encode()
    with pytest.raises(ReceiptError) as caught:
        shared_theirs().parse_part_receipts({}, body)
    assert caught.value.code == "unsigned"


POLL = {"request": {"url": "https://h/{reference}"}, "status": "s", "verdicts": {"1": "delivered"}}


@pytest.mark.parametrize(
    ("receipt", "kind"),
    [
        (None, type(None)),
        ({"poll": POLL}, type(None)),
        ({"calls": "shared", "token": "t", "our_id": "x", **TABLE}, HttpReceipts),
        ({"calls": "shared", "token": "t", "provider_id": "x", **TABLE}, HttpPartReceipts),
    ],
)
def test_who_reads_the_calls_follows_from_the_description(receipt: Any, kind: type) -> None:
    settings = settings_of(a_description(receipt=receipt, message_id="id"))
    assert type(receipts_of(settings.name, settings.receipt, SECRET)) is kind


def test_the_reply_is_the_descriptions() -> None:
    settings = ReceiptSettings.model_validate(
        {"calls": "signed", **TABLE, "reply": {"type": "application/json", "body": '{"status":0}'}}
    )
    reply = HttpReceipts("http", settings, SECRET).reply
    assert (reply.type, reply.body) == ("application/json", '{"status":0}')
    assert (signed().reply.type, signed().reply.body) == ("text/plain", "ok")


@pytest.mark.parametrize("parser", [signed(), shared_ours(), shared_theirs()])
def test_no_secret_is_shown(parser: object) -> None:
    assert SECRET not in repr(parser) and TOKEN not in repr(parser)


texts = st.text(max_size=30)


@given(
    st.dictionaries(st.sampled_from(["id", "sig", "token", "state", "good", "ref", "sid"]), texts),
    st.binary(max_size=80),
)
def test_no_call_that_proves_nothing_gets_through(fields: Mapping[str, str], body: bytes) -> None:
    for parse in (
        signed().parse_receipt,
        shared_ours().parse_receipt,
        shared_theirs().parse_part_receipts,
    ):
        with pytest.raises(ReceiptError) as caught:
            parse(fields, body)
        assert caught.value.code in {"unsigned", "malformed"}


@given(st.text(min_size=1, max_size=20), st.text(max_size=20), st.binary(max_size=80))
def test_a_proven_call_is_a_receipt_or_malformed(state: str, good: str, body: bytes) -> None:
    try:
        receipt = signed().parse_receipt(called(state=state, good=good), body)
    except ReceiptError as error:
        assert error.code == "malformed" and not state.strip()
    else:
        assert receipt.message_id == ID and receipt.code.isprintable()
