"""A provider that answers what no provider may: nothing counts as taken, nothing is followed, nothing explodes."""

from __future__ import annotations

import gzip
import json
import random
import resource
import time
from collections import Counter
from typing import Any

import pytest
from structlog.testing import capture_logs

from smsd.adapters.gateways.http.gateway import HttpProvider
from smsd.core.model import Verdict
from tests.contract.gateways.http.support import a_description, a_provider
from tests.contract.gateways.support import TEXT, Answers, a_kannel, an_outgoing
from tests.support.httppeer import HttpPeer, Said
from tests.support.reliability import Record

pytestmark = pytest.mark.reliability
GROUP = "Hostile input"
KEY = "k3y-of-the-account"
LAUGHS = b"<!DOCTYPE r [<!ENTITY a '" + b"ha" * 50 + b"'>" + b"".join(
    b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10 if n else b"&a;" * 10) for n in range(12)
) + b"]><r><code>&a11;</code></r>"  # fmt: skip
BODIES: list[bytes] = [
    b"",
    b"\0" * 500,
    b"\xff\xfe\xfd" * 200,
    b"{",
    b'{"code": ' * 4_000,
    b"[" * 60_000,
    b'{"code": ' + b"9" * 6_000 + b"}",
    b'{"code": 1e999}',
    b'{"code": NaN}',
    b'{"code": {"0": 0}}',
    b'{"code": [0]}',
    b'{"code": null, "CODE": 0}',
    b'{"code": "\\ud800"}',
    b'{"code": "0\\u0000"}',
    b'{"code": "' + b"x" * 60_000 + b'"}',
    '{"code": "０"}'.encode(),
    b"code=0",
    b"<html>0</html>",
    LAUGHS,
    b"<!DOCTYPE r SYSTEM 'http://127.0.0.1:1/x'><r><code>0</code></r>",
    b"<!DOCTYPE r [<!ENTITY e SYSTEM 'file:///etc/hostname'>]><r><code>&e;</code></r>",
    b"<a>" * 20_000,
    b"<r><code>0</r>",
    b"<r xmlns:c='u'><c:kode>0</c:kode></r>",
    b"<?xml version='1.0' encoding='utf-7'?><r><code>+ADA-</code></r>",
    b"<?xml version='1.0' encoding='nothing'?><r><code>0</code></r>",
    gzip.compress(b'{"code": "0"}'),
    gzip.compress(b"0" * 10_000_000),
]
STATUSES = [200, 200, 200, 201, 204, 206, 299, 301, 302, 303, 307, 308, 400, 418, 500, 503, 599]


def an_answer(chance: random.Random, elsewhere: str) -> Said:
    """Any body under any status, with headers that invite to follow, unpack or wait."""
    headers: dict[str, str] = {}
    body = chance.choice(BODIES)
    if chance.randrange(3) == 0:
        place = chance.randrange(1 + len(body))
        body = body[:place] + chance.randbytes(chance.randrange(30)) + body[place + 1 :]
    status = chance.choice(STATUSES)
    if 300 <= status < 400:
        headers["Location"] = chance.choice(
            [elsewhere, "//evil.invalid/", "file:///etc/passwd", "/send", "\x7f"]
        )
    if chance.randrange(5) == 0:
        headers |= {"Content-Encoding": "gzip", "Content-Type": "text/xml; charset=rot13"}
    if chance.randrange(8) == 0:
        headers["Retry-After"] = chance.choice(
            ["9" * 30, "-1", "NaN", "\xb2", "Wed, 21 Oct 2015 07:28:00 GMT"]
        )
    if chance.randrange(40) == 0:
        headers["Content-Length"] = chance.choice(["-1", "x", "99999999999999999999", "0x10"])
    if chance.randrange(60) == 0:
        headers |= {f"X-{n}": "y" * 1_000 for n in range(chance.choice([90, 300]))}
    if chance.randrange(80) == 0:
        body = b'{"code": "0", "pad": "' + b"z" * 3_000_000 + b'"}'
    if status == 204:
        body = b""
    return Said(status, body, headers)


def described(peer: HttpPeer, kind: str) -> dict[str, Any]:
    """A provider that says in JSON or XML that it took a message."""
    request = {"url": peer.url("/send"), "json": {"to": "{to}", "text": "{text}", "key": "{key}"}}
    return a_description(
        variables={"key": KEY},
        request=request,
        answer=kind,
        timeout="1s",
        accepted={"at": "code" if kind == "json" else ".//code", "equals": "0"},
        errors={"at": "code" if kind == "json" else ".//code", "codes": {"104": "account"}},
    )


def outcomes(provider: HttpProvider, peer: HttpPeer, answers: list[Said]) -> Counter[Verdict]:
    """What so many messages come to, one after the other."""
    found: Counter[Verdict] = Counter()
    for number, said in enumerate(answers):
        peer.answers(said)
        heard = Answers()
        provider.submit([an_outgoing(number)], heard)
        outcome = heard.one()
        assert outcome.verdict is not Verdict.ACCEPTED, (said.status, said.body[:80], said.headers)
        assert len(outcome.code) <= 100 and len(outcome.detail) <= 500 and outcome.detail.isprintable()
        found[outcome.verdict] += 1
    return found


@pytest.mark.parametrize("kind", ["json", "xml"])
def test_answers_that_are_none_count_as_nothing_taken(kind: str, reliability: Record) -> None:
    tried, chance = reliability.times(60, 800), random.Random(7)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with capture_logs() as logs, HttpPeer() as peer, HttpPeer() as other:
        provider = a_provider(described(peer, kind))
        began = time.monotonic()
        found = outcomes(provider, peer, [an_answer(chance, other.url("/stolen")) for _ in range(tried)])
        each = (time.monotonic() - began) / tried
        assert other.requests == [], "a redirection is never followed: it would take the account along"
        assert len(peer.requests) == tried, "nothing is sent twice"
        provider.close()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) // 1024
    said = json.dumps(logs, default=str)
    assert KEY not in said and "84905" not in said and TEXT[:20] not in said and "Traceback" not in said
    assert grown < 200, "the peer holds its 3 MB bodies in this process too"
    told = ", ".join(f"{verdict.value}: {count}" for verdict, count in found.most_common())
    reliability.row(
        GROUP,
        f"a provider's answers that are no {kind.upper()}, explode, redirect elsewhere, never end or are too large",
        tried=tried,
        recovered=f"never taken for success ({told}); no redirection followed, nothing sent twice; "
        f"{1000 * each:.0f} ms each",
    )


def test_kannel_s_answers_that_are_none_count_as_nothing_taken(reliability: Record) -> None:
    tried, chance = reliability.times(60, 500), random.Random(8)
    with HttpPeer() as peer, HttpPeer() as other:
        gateway = a_kannel(peer.url("/cgi-bin/sendsms"), timeout=1.0)
        found: Counter[Verdict] = Counter()
        for number in range(tried):
            said = an_answer(chance, other.url("/stolen"))
            peer.answers(said)
            heard = Answers()
            gateway.submit([an_outgoing(number)], heard)
            outcome = heard.one()
            assert outcome.verdict is not Verdict.ACCEPTED or said.status == 202, said
            found[outcome.verdict] += 1
        assert other.requests == []
        gateway.close()
    told = ", ".join(f"{verdict.value}: {count}" for verdict, count in found.most_common())
    reliability.row(
        GROUP,
        "answers of what stands in Kannel's place",
        tried=tried,
        recovered=f"never taken for success ({told}); no redirection followed",
    )
