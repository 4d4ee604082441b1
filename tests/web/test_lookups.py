"""Look-ups called in: who may ask, what is read, what comes back; and the two pages for machines."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from flask.testing import FlaskClient

from smsd.services.ports import LookupRequest
from tests.web.conftest import SECRET, Desk
from tests.web.test_receipts import counted


def fields(**changes: str) -> dict[str, str]:
    return {"from": "84905123456", "text": "MCKH H32.12-0001", "id": "mo-1", "token": SECRET} | changes


def test_the_responses_text_is_the_answer(client: FlaskClient, desk: Desk) -> None:
    answer = client.get("/lookups", query_string=fields())
    assert (answer.status_code, answer.text) == (200, "Hồ sơ MCKH H32.12-0001: Đúng hạn")
    assert answer.content_type == "text/plain; charset=utf-8"
    assert desk.asked == [LookupRequest("84905123456", "MCKH H32.12-0001", "mo-1")]
    assert counted(client) == {("lookups", "answered"): 1}


@pytest.mark.parametrize("kind", ["form", "json", "query of a POST"])
def test_a_post_says_the_same(client: FlaskClient, desk: Desk, kind: str) -> None:
    arguments = {"form": {"data": fields()}, "json": {"json": fields()}}.get(kind, {"query_string": fields()})
    assert client.post("/lookups", **arguments).status_code == 200
    assert desk.asked == [LookupRequest("84905123456", "MCKH H32.12-0001", "mo-1")]


@pytest.mark.parametrize(
    ("changes", "status", "outcome"),
    [
        ({"token": "guessed"}, 403, "unsigned"),
        ({"token": ""}, 403, "unsigned"),
        ({"token": SECRET + "\0"}, 403, "unsigned"),
        ({"from": ""}, 400, "malformed"),
        ({"from": "  "}, 400, "malformed"),
        ({"from": "8" * 201}, 400, "malformed"),
        ({"id": "x" * 201}, 400, "malformed"),
        ({"text": "x" * 9000}, 414, "oversized"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    client: FlaskClient, desk: Desk, changes: dict[str, str], status: int, outcome: str
) -> None:
    answer = client.get("/lookups", query_string=fields(**changes))
    assert answer.status_code == status
    assert SECRET not in answer.text
    assert desk.asked == []
    assert counted(client) == {("lookups", outcome): 1}


@pytest.mark.parametrize(("missing", "status"), [("token", 403), ("from", 400), ("text", 400)])
def test_missing_fields_are_told(client: FlaskClient, desk: Desk, missing: str, status: int) -> None:
    without = {name: value for name, value in fields().items() if name != missing}
    assert client.get("/lookups", query_string=without).status_code == status
    assert client.post("/lookups", data=without).status_code == status
    assert desk.asked == []


def test_without_an_id_or_words_there_is_an_answer_all_the_same(client: FlaskClient, desk: Desk) -> None:
    without = {name: value for name, value in fields(text="").items() if name != "id"}
    assert client.get("/lookups", query_string=without).status_code == 200
    assert desk.asked == [LookupRequest("84905123456", "", None)]


@pytest.mark.parametrize(
    "hostile", ["\0", "M\0CKH", "\x1b[31m", "\u202eabc", "'; drop table --", "%s%n{0}{{7*7}}"]
)
def test_hostile_texts_are_passed_on_as_plain_text(client: FlaskClient, desk: Desk, hostile: str) -> None:
    answer = client.get(
        "/lookups", query_string=fields(text=hostile, id=hostile, **{"from": "849" + hostile})
    )
    assert answer.status_code == 200
    assert desk.asked[0].text == hostile.replace("\0", "")
    assert "\0" not in desk.asked[0].number + (desk.asked[0].id or "")


@pytest.mark.parametrize(
    ("raw", "charset", "text"),
    [
        ("Mã hồ sơ 😀".encode(), "", "Mã hồ sơ 😀"),
        ("Mã hồ sơ".encode(), "UTF-8", "Mã hồ sơ"),
        ("MCKH Mã".encode("utf-16-be"), "UTF-16BE", "MCKH Mã"),
        ("MCKH Mã".encode("utf-16"), "utf-16", "MCKH Mã"),
        ("MCKH 1".encode("utf-16-be"), "", "MCKH 1"),
        ("MCKH Mã".encode(), "UTF-16BE", "MCKH Mã"),  # Kannel's %a is UTF-8 whatever %C says
        ("café".encode("latin-1"), "ISO-8859-1", "café"),
        ("Đường".encode("windows-1258", "replace"), "windows-1258", "Đư?ng"),
        (b"MCKH 1", "8-BIT", "MCKH 1"),
        (b"MCKH 1", "rot13", "MCKH 1"),
        (b"MCKH \xff", "", "MCKH %FF"),  # no UTF-8: kept as it came
        (b"\xd8\x00", "UTF-16BE", "�"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_texts_are_read_in_the_charset_they_come_in(
    client: FlaskClient, desk: Desk, raw: bytes, charset: str, text: str, method: str
) -> None:
    encoded = urlencode({name: value for name, value in fields(charset=charset).items() if name != "text"})
    encoded += f"&text={quote(raw)}&text=second"
    if method == "GET":
        client.get(f"/lookups?{encoded}")
    else:
        client.post("/lookups", data=encoded, content_type="application/x-www-form-urlencoded")
    assert [request.text for request in desk.asked] == [text]


def test_a_failed_desk_asks_to_come_again(client: FlaskClient, desk: Desk) -> None:
    desk.broken = True
    answer = client.get("/lookups", query_string=fields())
    assert answer.status_code == 503
    assert "84905123456" not in answer.text


def test_answers_are_kept_by_nobody_and_taken_for_nothing_else(client: FlaskClient) -> None:
    answer = client.get("/lookups", query_string=fields())
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_health_follows_the_loop(client: FlaskClient, desk: Desk) -> None:
    assert client.get("/healthz").status_code == 200
    assert client.head("/healthz").status_code == 200
    desk.alive = False
    assert client.get("/healthz").status_code == 503
    assert client.post("/healthz").status_code == 405


def test_metrics_are_prometheus_text_counted_when_asked(client: FlaskClient, desk: Desk) -> None:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    assert "smsd_oldest_due_seconds 3.0" in answer.text
    desk.broken = True
    assert client.get("/metrics").status_code == 503
    desk.broken = False
    assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize("path", ["/", "/lookups/", "/receipts", "/receipts/", "/static/x", "/../etc/passwd"])
def test_there_is_nothing_else(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert "<" not in answer.text


def test_paths_of_strangers_do_not_become_labels(client: FlaskClient) -> None:
    for number in range(5):
        client.get(f"/84905{number:06d}")
    assert counted(client) == {("other", "not_found"): 5}
