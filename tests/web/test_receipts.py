"""Receipts called back: what is proven is handed on once, anything else changes nothing and is counted."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient

from smsd.core.model import ReceiptVerdict
from smsd.core.signing import Callback, signature
from tests.support.httpgateway import filled_in
from tests.web.conftest import SECRET, Desk

CALLBACK = Callback("http://localhost", SECRET)


def fields(message_id: str = "m1", **changes: str) -> dict[str, str]:
    return {"id": message_id, "sig": signature(SECRET, "kannel", message_id), "status": "1"} | changes


def counted(client: FlaskClient) -> dict[tuple[str, str], int]:
    """Inbound calls as `/metrics` tells them."""
    found = re.findall(
        r'smsd_inbound_calls_total\{outcome="(\w+)",path="([^"]+)"\} (\d+)', client.get("/metrics").text
    )
    return {(path, outcome): int(count) for outcome, path, count in found}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_signed_receipt_is_recorded_before_it_is_answered(
    client: FlaskClient, desk: Desk, method: str
) -> None:
    desk.known = {"m1"}
    if method == "GET":
        answer = client.get("/receipts/kannel", query_string=fields())
    else:
        answer = client.post("/receipts/kannel", data=fields())
    assert (answer.status_code, answer.text) == (200, "ok")
    assert [(r.message_id, r.verdict) for r in desk.receipts] == [("m1", ReceiptVerdict.DELIVERED)]
    assert counted(client) == {("receipts", "applied"): 1}


def test_the_address_kannel_is_given_leads_here_once_it_filled_it_in(client: FlaskClient, desk: Desk) -> None:
    desk.known = {"m1"}
    url = CALLBACK.receipt_url("kannel", "m1") + "&status=%d&answer=%A"
    assert client.get(filled_in(url, "2")).status_code == 200
    assert [(r.verdict, r.detail) for r in desk.receipts] == [
        (ReceiptVerdict.UNDELIVERED, "stat:UNDELIV err:001")
    ]


def test_a_replayed_receipt_is_answered_and_changes_nothing(client: FlaskClient, desk: Desk) -> None:
    desk.known = {"m1"}
    for _ in range(3):
        assert client.get("/receipts/kannel", query_string=fields()).status_code == 200
    assert len(desk.receipts) == 1
    assert counted(client) == {("receipts", "applied"): 1, ("receipts", "repeated"): 2}


@pytest.mark.parametrize(
    ("path", "query", "status", "outcome"),
    [
        ("kannel", fields(sig=""), 403, "unsigned"),
        ("kannel", {"id": "m1", "status": "1"}, 403, "unsigned"),
        ("kannel", fields(sig=signature(SECRET, "kannel", "m2")), 403, "unsigned"),
        ("kannel", fields(sig=signature("guessed", "kannel", "m1")), 403, "unsigned"),
        ("kannel", fields(status="99"), 400, "malformed"),
        ("kannel", fields(status=""), 400, "malformed"),
        ("kannel", {}, 400, "malformed"),
        ("kannel", fields("x" * 5000), 400, "malformed"),
        ("kannel", fields(padding="x" * 9000), 414, "oversized"),
        ("kannel", fields("m2"), 200, "unknown_message"),
        ("jasmin", fields(), 404, "unknown_gateway"),
        ("kannel%00", fields(), 404, "unknown_gateway"),
        ("%F0%9F", fields(), 404, "unknown_gateway"),
    ],
)
def test_anything_else_changes_nothing_and_is_counted(
    client: FlaskClient, desk: Desk, path: str, query: dict[str, str], status: int, outcome: str
) -> None:
    desk.known = {"m1"}
    answer = client.get(f"/receipts/{path}?{urlencode(query)}")
    assert answer.status_code == status
    assert desk.receipts == []
    assert counted(client) == {("receipts", outcome): 1}
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"x" * 20_000, "application/octet-stream", 413),
        (urlencode(fields(padding="x" * 20_000)).encode(), "application/x-www-form-urlencoded", 413),
        (b"\xff\x00\xfe", "application/x-www-form-urlencoded", 400),
        (b"{", "application/json", 400),
        (b"[1]", "application/json", 400),
        (b'{"id": {"a": 1}}', "application/json", 400),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x", 400),
    ],
)
def test_bodies_that_are_no_receipt_change_nothing(
    client: FlaskClient, desk: Desk, data: bytes, content_type: str, status: int
) -> None:
    assert client.post("/receipts/kannel", data=data, content_type=content_type).status_code == status
    assert desk.receipts == []


def test_the_query_outranks_the_body(client: FlaskClient, desk: Desk) -> None:
    desk.known = {"m1", "m2"}
    client.post("/receipts/kannel", query_string=fields("m1"), data=fields("m2"))
    assert [receipt.message_id for receipt in desk.receipts] == ["m1"]


def test_our_own_fault_asks_the_gateway_to_come_again_and_tells_nothing(
    client: FlaskClient, desk: Desk
) -> None:
    desk.broken = True
    answer = client.get("/receipts/kannel", query_string=fields())
    assert (answer.status_code, answer.text) == (503, "try again later")
    assert int(answer.headers["Retry-After"]) > 0
    desk.broken = False
    assert counted(client) == {("receipts", "failed"): 1}


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["/receipts/kannel", "/lookups"])
def test_other_methods_change_nothing(client: FlaskClient, desk: Desk, path: str, method: str) -> None:
    desk.known = {"m1"}
    query = fields(**{"from": "84905123456", "text": "MCKH 1", "token": SECRET})
    answer = client.open(path, method=method, query_string=query)
    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) >= {"GET", "POST"}
    assert (desk.receipts, desk.asked) == ([], [])
