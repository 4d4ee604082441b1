"""Kannel is stopped and killed while messages pass: none is lost, and none doubled that is not marked so by smsd."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.kannel import Kannel
from tests.support.postgres import wait_until
from tests.support.smpppeer import SmppPeer
from tests.system.kannel.handset import shown
from tests.system.kannel.office import Office

MANY = 240
WINDOW = 10
"""Parts Kannel has under way with an operator: max-pending-submits."""
CODES = [f"H32-{number:04}" for number in range(MANY)]
SETTLED = {"delivered", "accepted"}


def text_of(code: str) -> str:
    """One segment, so that a text sent twice cannot mix with itself."""
    return f"Hồ sơ {code} đã có kết quả"


@pytest.fixture
def office(tmp_path: Path, kannel: Kannel, inbound_port: int) -> Office:
    settings = {
        "notices": {"result_ready": {"settle": "0s", "text": "Hồ sơ {Mã số hồ sơ} đã có kết quả"}},
        "messages": {"unknown_after": "3s"},
    }
    with Office(tmp_path / "office", inbound_port, CODES, **settings) as made:
        made.use(kannel, rate=80)
        yield made


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_kannel_may_be_stopped_and_killed_in_the_middle_of_sending(
    office: Office, kannel: Kannel, peer: SmppPeer
) -> None:
    peer.latency = 0.02
    with office.open() as daemon:
        daemon.wait_for("baseline_taken")
        office.finish(*CODES)
        reach(peer, MANY // 5)
        kannel.stop_smsbox()
        kannel.start_smsbox()
        reach(peer, 2 * MANY // 5)
        kannel.kill_smsbox()
        kannel.start_smsbox()
        reach(peer, 3 * MANY // 5)
        kannel.stop_bearerbox()
        kannel.stop_smsbox()
        kannel.start()
        reach(peer, 4 * MANY // 5)
        kannel.kill_bearerbox()
        kannel.kill_smsbox()
        kannel.start()
        wait_until(lambda: all_settled(office), 60, step=0.2)
        wait_until(lambda: not office.installed.json("status")["alarms"], 10, step=0.5)
        kannel.wait_for("store size 0")
        assert daemon.stop() == 0
    check(office, peer)


def reach(peer: SmppPeer, count: int) -> None:
    """Until so many texts have come to the operator."""
    peer.wait(lambda: len({part.to for part in peer.taken}) >= count, 60)


def all_settled(office: Office) -> bool:
    messages = office.messages().values()
    return len(messages) == MANY and {message["state"] for message in messages} <= SETTLED


def check(office: Office, peer: SmppPeer) -> None:
    """Every text came; twice only those that say so, or that a killed bearerbox could not know to be sent."""
    came = Counter(text.text for text in shown(peer.taken))
    assert set(came) == {text_of(code) for code in CODES}
    messages = office.messages()
    doubled = {code for code in CODES if came[text_of(code)] > 1}
    unmarked = {code for code in doubled if not messages[code]["possible_duplicate"]}
    assert len(unmarked) <= WINDOW
    assert all(came[text_of(code)] <= 2 + bool(messages[code]["possible_duplicate"]) for code in doubled)
