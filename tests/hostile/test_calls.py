"""Thousands of calls that are no receipts and no look-ups, for every dialect: refused, counted, nothing changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from smsd.core.signing import signature
from tests.hostile.calls import malformed_calls
from tests.hostile.office import SECRET, SECRETS, SHARED, SIGNED, THEIRS, TOKEN, Attacked, Call
from tests.support.mocalls import signed_by_1pay, signed_by_esms
from tests.support.reliability import Record

GROUP = "Hostile input"
Pairs = list[tuple[str, str]]


def bombarded(attacked: Attacked, calls: st.SearchStrategy[Call], times: int) -> Counter[int]:
    """Make so many calls; the answers by status. None is a fault of ours, tells a secret, or changes the store."""
    before = attacked.digest
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=times,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        phases=[Phase.generate],
    )
    @given(calls)
    def one(call: Call) -> None:
        status, body = attacked.call(call)
        statuses[status] += 1
        assert status < 500, call
        assert b"Traceback" not in body and b"<" not in body and len(body) < 200, call
        assert not any(secret.encode() in body for secret in SECRETS)

    one()
    assert attacked.digest == before
    return statuses


def near_receipts(attacked: Attacked, gateway: str) -> list[Pairs]:
    """Parameters of a gateway's call that are almost a receipt."""
    own, other = attacked.ids[:2]
    sig = signature(SECRET, gateway, own)
    if gateway in (SHARED, THEIRS):
        good = {"token": TOKEN, "ref": own, "data.sid": "77", "state": "1"}
        wrong = [{"token": TOKEN + "x"}, {"token": ""}, {"token": TOKEN.upper()}, {"state": " "}]
        wrong += [{"ref": "", "data.sid": ""}, {"ref": "x" * 201, "data.sid": "y\nz"}]
        return [list((good | change).items()) for change in wrong]
    good = {"id": own, "sig": sig, "status": "1", "SendStatus": "5", "SendSuccess": "1"}
    changes = [
        {"sig": sig[:-1]},
        {"sig": sig + "="},
        {"sig": sig.lower()},
        {"sig": signature(SECRET, gateway, other)},
        {"sig": signature(SECRET, "another", own)},
        {"sig": signature("guessed", gateway, own)},
        {"id": other},
        {"id": own + "\0"},
        {"id": ""},
        {"status": "99", "SendStatus": ""},
        {"status": "", "SendStatus": " "},
    ]
    return [list((good | change).items()) for change in changes]


@pytest.mark.reliability
@pytest.mark.parametrize("gateway", ["kannel", SIGNED, SHARED, THEIRS])
def test_malformed_receipts_change_nothing(attacked: Attacked, gateway: str, reliability: Record) -> None:
    times = reliability.times(100, 600)
    names = [
        "id",
        "sig",
        "status",
        "SendStatus",
        "SendSuccess",
        "token",
        "ref",
        "data.sid",
        "state",
        "answer",
    ]
    calls = malformed_calls([f"/receipts/{gateway}".encode()], names, near_receipts(attacked, gateway))
    statuses = bombarded(attacked, calls, times)
    assert statuses.keys() <= {400, 403, 404, 405, 413, 414, 415}
    assert statuses[403] > times / 20 and statuses[400] > times / 20
    reliability.row(
        GROUP,
        f"malformed and forged receipts called in, dialect {gateway}",
        tried=statuses.total(),
        recovered=f"refused and counted: {told(statuses)}; the store stayed as it was",
    )


def near_lookups(road: str) -> list[Pairs]:
    """Parameters of a look-up that are almost proven."""
    if road == "plain":
        good = {"from": "84905123456", "text": "MCKH H1", "id": "m", "token": SECRET}
        changes = [
            {"token": SECRET[:-1]},
            {"token": ""},
            {"token": SECRET + "\0"},
            {"from": " "},
            {"id": "x" * 201},
        ]
        return [list((good | change).items()) for change in changes]
    sign: Callable[..., dict[str, str]] = signed_by_1pay if road == "1pay" else signed_by_esms
    proof, text = ("signature", "mo_message") if road == "1pay" else ("sign", "content")
    good = sign("not the secret")
    return [
        list((good | change).items()) for change in ({}, {proof: ""}, {text: "MCKH H2"}, {proof: "0" * 64})
    ]


@pytest.mark.reliability
@pytest.mark.parametrize("road", ["plain", "1pay", "esms"])
def test_malformed_look_ups_change_nothing_and_learn_nothing(
    attacked: Attacked, road: str, reliability: Record
) -> None:
    times = reliability.times(100, 600)
    path = b"/lookups" if road == "plain" else f"/lookups/{road}".encode()
    names = [name for name, _ in near_lookups(road)[0]]
    statuses = bombarded(attacked, malformed_calls([path], names, near_lookups(road)), times)
    assert statuses.keys() <= {400, 403, 404, 405, 413, 414, 415}
    assert statuses[403] > times / 10
    reliability.row(
        GROUP,
        f"malformed and forged look-ups called in, dialect {road}",
        tried=statuses.total(),
        recovered=f"refused and counted: {told(statuses)}; nothing recorded, no dossier told of",
    )


@pytest.mark.reliability
def test_any_path_and_method_is_refused_plainly(attacked: Attacked, reliability: Record) -> None:
    paths = [
        b"/",
        b"/receipts",
        b"/receipts/",
        b"/lookups/",
        b"//receipts/kannel",
        b"/metrics/",
        b"/static/x",
        b"",
    ]
    calls = malformed_calls(paths, ["id", "token"], [[("id", "1")]])
    statuses = bombarded(attacked, calls, reliability.times(100, 600))
    assert statuses.keys() <= {400, 403, 404, 405, 413, 414}
    reliability.row(
        GROUP,
        "paths and methods that are not ours (.., %2e%2e, //, NUL, 9,000 characters)",
        tried=statuses.total(),
        recovered=f"refused: {told(statuses)}",
    )


def told(statuses: Counter[int]) -> str:
    """``403: 120, 400: 30``."""
    return ", ".join(f"{status}: {count:,}" for status, count in statuses.most_common())
