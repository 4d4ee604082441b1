"""Answers: what was said, what it means, and that whatever was said something is meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from smsd.adapters.gateways.http.answers import Judge, cleaned
from smsd.adapters.gateways.httpexchange import Answer
from smsd.core.model import Outcome, Verdict
from tests.contract.gateways.http.support import a_description, settings_of

V = Verdict
KEYS: dict[str, Any] = {
    "message_id": "data.id",
    "receipt": {
        "calls": "shared",
        "token": "t",
        "provider_id": "id",
        "status": "s",
        "verdicts": {"1": "delivered"},
    },
    "errors": {
        "at": "code",
        "codes": {
            "1": "rejected",
            "2": "retry",
            "3": "account",
            "4": "accepted",
            "5": "throttled",
            "6": "unknown",
        },
        "statuses": {"418": "retry"},
        "wait": "45s",
    },
}
JUDGE = Judge(settings_of(a_description(**KEYS)))


def judged(
    body: object, status: int = 200, retry_after: float | None = None, judge: Judge = JUDGE
) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return judge.outcome_of(Answer(status, raw, retry_after))


@pytest.mark.parametrize(
    ("body", "status", "verdict", "code"),
    [
        ({"code": 0, "data": {"id": 7}}, 200, V.ACCEPTED, "accepted"),
        ({"code": "0"}, 202, V.ACCEPTED, "accepted"),
        ({"code": 1}, 200, V.REJECTED, "1"),
        ({"code": 2}, 200, V.RETRY, "2"),
        ({"code": 3}, 200, V.ACCOUNT, "3"),
        ({"code": 4}, 200, V.ACCEPTED, "4"),
        ({"code": 5}, 200, V.RETRY, "5"),
        ({"code": 6}, 200, V.UNKNOWN, "6"),
        ({"code": 77}, 200, V.UNKNOWN, "unrecognised_answer"),
        # a code that is known counts whatever the status; success needs its status too
        ({"code": 3}, 500, V.ACCOUNT, "3"),
        ({"code": 0}, 500, V.UNKNOWN, "server_failed"),
        ({"code": 77}, 400, V.REJECTED, "malformed"),
        ({}, 418, V.RETRY, "http_418"),
        ({}, 200, V.UNKNOWN, "unrecognised_answer"),
        (b"", 200, V.UNKNOWN, "unrecognised_answer"),
        (b"<html>Welcome", 200, V.UNKNOWN, "unrecognised_answer"),
        (b"", 302, V.ACCOUNT, "redirected"),
        (b"", 401, V.ACCOUNT, "authorization_failed"),
        (b"", 403, V.ACCOUNT, "authorization_failed"),
        (b"", 404, V.ACCOUNT, "wrong_address"),
        (b"", 408, V.RETRY, "request_timeout"),
        (b"", 422, V.REJECTED, "refused"),
        (b"", 429, V.RETRY, "throttled"),
        (b"", 500, V.UNKNOWN, "server_failed"),
        (b"", 502, V.UNKNOWN, "server_failed"),
        (b"", 503, V.RETRY, "temporary_failure"),
        (b"", 504, V.UNKNOWN, "server_failed"),
        (b"", 199, V.UNKNOWN, "unrecognised_answer"),
    ],
)
def test_what_an_answer_means(body: object, status: int, verdict: Verdict, code: str) -> None:
    outcome = judged(body, status)
    assert (outcome.verdict, outcome.code) == (verdict, code)


def test_the_providers_id_is_kept_and_receipts_may_name_it() -> None:
    outcome = judged({"code": 0, "data": {"id": 7}})
    assert (outcome.reference, outcome.parts) == ("7", ("7",))
    without = Judge(settings_of(a_description(message_id="data.id")))
    outcome = judged({"code": 0, "data": {"id": 7}}, judge=without)
    assert (outcome.reference, outcome.parts) == ("7", ())


@pytest.mark.parametrize("id_", [None, "", "x" * 201, "a\nb", ["7"], {}, "\u202e7"])
def test_success_without_an_id_that_can_be_kept_is_success(id_: object) -> None:
    outcome = judged({"code": 0, "data": {"id": id_}})
    assert (outcome.verdict, outcome.reference, outcome.parts) == (V.ACCEPTED, None, ())


@pytest.mark.parametrize(
    ("body", "status", "said", "wait"),
    [
        ({"code": 5}, 200, None, 45.0),
        ({"code": 5}, 200, 7.0, 7.0),
        (b"", 429, None, 45.0),
        (b"", 503, 9.0, 9.0),
        (b"", 503, None, None),
        ({"code": 2}, 200, 3.0, 3.0),
        ({"code": 1}, 200, 3.0, None),
    ],
)
def test_how_long_to_wait(body: object, status: int, said: float | None, wait: float | None) -> None:
    assert judged(body, status, said).retry_after == wait


@pytest.mark.parametrize(("other", "verdict"), [("rejected", V.REJECTED), ("account", V.ACCOUNT)])
def test_what_codes_outside_the_table_mean_can_be_set(other: str, verdict: Verdict) -> None:
    judge = Judge(settings_of(a_description(errors={"at": "code", "other": other})))
    outcome = judged({"code": "E77"}, judge=judge)
    assert (outcome.verdict, outcome.code) == (verdict, "E77")


def test_an_unknown_code_is_logged_once_and_nothing_else_of_the_answer() -> None:
    judge = Judge(settings_of(a_description(**KEYS)))
    with capture_logs() as logs:
        judged({"code": 77, "message": "84905123456 Thông báo"}, judge=judge)
        judged({"code": 77}, judge=judge)
        judged({"code": 1}, judge=judge)
    assert [(entry["event"], entry["code"]) for entry in logs] == [("provider_code_unknown", "77")]
    assert "84905" not in json.dumps(logs)


def test_however_many_unknown_codes_there_are_the_log_stays_short() -> None:
    judge = Judge(settings_of(a_description(**KEYS)))
    with capture_logs() as logs:
        for number in range(1000, 1300):
            judged({"code": number}, judge=judge)
    assert len(logs) == 100


def test_a_code_that_is_no_code_is_cleaned() -> None:
    assert cleaned("to 84905123456: Thông báo\n{x}") == "to #: Th?ng b?o?x?"
    assert len(cleaned("x" * 500)) <= 60
    assert cleaned(None) == ""


@pytest.mark.parametrize(
    ("accepted", "body", "status", "verdict"),
    [
        ({}, b"anything", 200, V.ACCEPTED),
        ({"status": 201}, b"", 201, V.ACCEPTED),
        ({"status": 201}, b"", 200, V.UNKNOWN),
        ({"at": "m", "matches": "^ok"}, {"m": "okay"}, 200, V.ACCEPTED),
        ({"at": "m", "matches": "^ok"}, {"m": "not ok"}, 200, V.UNKNOWN),
        ({"at": "m", "equals": ["a", "b"]}, {"m": "b"}, 200, V.ACCEPTED),
        ({"at": "m", "equals": ["a"], "matches": "b"}, {"m": "a"}, 200, V.UNKNOWN),
        ({"at": "m", "equals": "true"}, {"m": True}, 200, V.ACCEPTED),
        ({"status": "400", "at": "m", "equals": "a"}, {"m": "a"}, 400, V.ACCEPTED),
    ],
)
def test_conditions_of_success_hold_together(
    accepted: dict[str, Any], body: object, status: int, verdict: Verdict
) -> None:
    judge = Judge(settings_of(a_description(accepted=accepted)))
    assert judged(body, status, judge=judge).verdict is verdict


def test_plain_text_is_judged_by_patterns() -> None:
    judge = Judge(
        settings_of(
            a_description(
                answer="text",
                accepted={"at": r"^(\w+):", "equals": "OK"},
                message_id=r"^OK:(\d+)",
                errors={"at": r"^ERR:(\d+)", "codes": {"7": "account"}},
            )
        )
    )
    assert judged(b"OK:123", judge=judge).reference == "123"
    assert judged(b"ERR:7 no balance", judge=judge).verdict is V.ACCOUNT
    assert judged(b"?", judge=judge).verdict is V.UNKNOWN


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["code", "data", "id", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values, st.integers(100, 599), st.sampled_from([None, 0.0, 9.0]))
def test_any_json_has_a_meaning(value: object, status: int, wait: float | None) -> None:
    outcome = judged(value, status, wait)
    assert isinstance(outcome.verdict, Verdict) and outcome.code
    assert outcome.reference is None or (outcome.reference.isprintable() and len(outcome.reference) <= 200)
    assert (outcome.code + outcome.detail).isprintable() and len(outcome.code) <= 60


@given(st.binary(max_size=300), st.integers(100, 599), st.sampled_from(["json", "xml", "text"]))
def test_any_bytes_have_a_meaning(body: bytes, status: int, kind: str) -> None:
    path = {"json": "code", "xml": ".//code", "text": "(.*)"}[kind]
    judge = Judge(
        settings_of(
            a_description(
                answer=kind,
                accepted={"at": path, "equals": "0"},
                message_id=path,
                errors={"at": path, "codes": {"1": "rejected"}},
            )
        )
    )
    outcome = judged(body, status, judge=judge)
    assert isinstance(outcome.verdict, Verdict) and outcome.code
