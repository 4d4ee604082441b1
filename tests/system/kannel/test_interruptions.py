"""Kannel is stopped and killed while messages pass: none is lost, and none doubled that is not marked so by smsd."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kannel import Kannel
from tests.support.postgres import wait_until
from tests.support.reliability import Record
from tests.support.smpppeer import SmppPeer
from tests.system.kannel.handset import shown
from tests.system.kannel.office import Office

WINDOW = 10
"""Parts Kannel has under way with an operator: max-pending-submits."""
KILLS = 2
SETTLED = {"delivered", "accepted"}


def text_of(code: str) -> str:
    """One segment, so that a text sent twice cannot mix with itself."""
    return f"Hồ sơ {code} đã có kết quả"


@pytest.fixture
def many(reliability: Record) -> int:
    """How many messages pass."""
    return reliability.times(240, 20_000)


@pytest.fixture
def office(tmp_path: Path, kannel: Kannel, inbound_port: int, many: int) -> Iterator[Office]:
    settings = {
        "notices": {"result_ready": {"settle": "0s", "text": "Hồ sơ {Mã số hồ sơ} đã có kết quả"}},
        "messages": {"unknown_after": "3s", "hold_above": 1_000_000},
        "polling": {"interval": "1s", "timeout": "60s"},
    }
    codes = [f"H32-{number:05}" for number in range(many)]
    with Office(tmp_path / "office", inbound_port, codes, **settings) as made:
        made.use(kannel, rate=max(80, many // 20))
        yield made


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.timeout(600)
def test_kannel_may_be_stopped_and_killed_in_the_middle_of_sending(
    office: Office, kannel: Kannel, peer: SmppPeer, many: int, reliability: Record
) -> None:
    peer.latency = 0.02 if many < 1000 else 0.0
    with office.open() as daemon:
        daemon.wait_for("baseline_taken", 60)
        office.finish(*office.codes)
        reach(peer, many // 5)
        kannel.stop_smsbox()
        kannel.start_smsbox()
        reach(peer, 2 * many // 5)
        kannel.kill_smsbox()
        kannel.start_smsbox()
        reach(peer, 3 * many // 5)
        kannel.stop_bearerbox()
        kannel.stop_smsbox()
        kannel.start()
        reach(peer, 4 * many // 5)
        kannel.kill_bearerbox()
        kannel.kill_smsbox()
        kannel.start()
        killed_at = time.monotonic()
        wait_until(lambda: peer_goes_on(peer, 4 * many // 5), 60, step=0.05)
        recovered = time.monotonic() - killed_at
        wait_until(lambda: all_settled(office), 240, step=0.2)
        wait_until(lambda: not office.installed.json("status")["alarms"], 20, step=0.5)
        kannel.wait_for("store size 0", 120)
        assert daemon.stop() == 0
    check(office, peer, many, recovered, reliability)


def reach(peer: SmppPeer, count: int) -> None:
    """Until so many texts have come to the operator."""
    peer.wait(lambda: peer_goes_on(peer, count), 120)


def peer_goes_on(peer: SmppPeer, count: int) -> bool:
    return len(peer.taken) >= count and len({part.to for part in list(peer.taken)}) >= count


def all_settled(office: Office) -> bool:
    states = dict(office.ask("SELECT state, count(*) FROM messages GROUP BY state"))
    return sum(states.values()) == len(office.codes) and states.keys() <= SETTLED


def check(office: Office, peer: SmppPeer, many: int, recovered: float, reliability: Record) -> None:
    """Every text came; twice only those that say so, or that a killed bearerbox could not know to be sent."""
    came = Counter(text.text for text in shown(peer.taken))
    messages = office.messages()
    texts = {code: text_of(code) for code in office.codes}
    doubled = {code for code, text in texts.items() if came[text] > 1}
    marked = {code for code in doubled if messages[code]["possible_duplicate"]}
    reliability.row(
        "Gateways",
        f"Kannel's boxes stopped, then killed, in the middle of {many} messages",
        tried=2 * KILLS,
        lost=len(texts.values() - came.keys()),
        doubled=len(doubled),
        marked=len(marked),
        recovered=f"by itself in {recovered:.1f} s",
        note="the unmarked are Kannel's own resending of what the operator had taken, its window of "
        f"{WINDOW} at most: smsd cannot see them",
    )
    assert came.keys() == set(texts.values())
    assert len(doubled - marked) <= WINDOW
    assert all(came[texts[code]] <= 2 + bool(messages[code]["possible_duplicate"]) for code in doubled)
