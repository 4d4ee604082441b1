"""The daemon behind real Kannel: receipts settle messages, citizens are answered, what was down is made up for."""

from __future__ import annotations

import signal
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pytest

from smsd.core.policy import Encoding
from smsd.core.texts import segments
from tests.support.kannel import TOKEN, Kannel
from tests.support.postgres import wait_until
from tests.support.smpppdus import INVALID_NUMBER
from tests.support.smpppeer import SmppPeer
from tests.system.kannel.handset import Shown, shown
from tests.system.kannel.office import NAME, READY, WORK, Office, answer_text, result_text

CITIZEN = "84905000000"
SHORT_CODE = "9029"
CODES = [f"000.00.12.H32-260803-{number:04}" for number in range(6)]
DELIVERED, UNDELIVERED, REFUSED, WAITED, LATER, _ = CODES


@pytest.fixture
def office(tmp_path: Path, kannel: Kannel, inbound_port: int) -> Office:
    with Office(tmp_path / "office", inbound_port, CODES) as made:
        made.use(kannel)
        yield made


def newest(peer: SmppPeer, before: int, parts: int) -> Shown:
    """The one text that came after so many parts."""
    peer.wait(lambda: len(peer.taken) >= before + parts)
    (text,) = shown(peer.taken[before:])
    return text


def ask(peer: SmppPeer, text: str, answer: str, **how: int) -> None:
    """A citizen's text to 9029 gets this answer."""
    before = len(peer.taken)
    peer.deliver(text, CITIZEN, SHORT_CODE, **how)
    came = newest(peer, before, segments(answer, Encoding.UNICODE))
    assert came.text == answer
    assert (came.to, came.sender) == (CITIZEN, SHORT_CODE)
    assert (came.coding, came.parts) == (8, segments(answer, Encoding.UNICODE))


def test_receipts_settle_messages_and_citizens_are_answered(office: Office, peer: SmppPeer) -> None:
    with office.open() as daemon:
        daemon.wait_for("baseline_taken")
        office.finish(DELIVERED)
        office.wait_for_state(DELIVERED, "delivered")
        came = newest(peer, 0, segments(result_text(DELIVERED), Encoding.UNICODE))
        assert (came.text, came.to, came.sender) == (result_text(DELIVERED), CITIZEN, "MotcuaSMS")

        peer.states = ("UNDELIV",)
        office.finish(UNDELIVERED)
        office.wait_for_state(UNDELIVERED, "undelivered")
        assert office.messages()[UNDELIVERED]["detail"] == "receipt 2 stat:UNDELIV err:027"

        peer.always(INVALID_NUMBER)
        office.finish(REFUSED)
        office.wait_for_state(REFUSED, "rejected")
        peer.always(None)

        ask(peer, f"MCKH {DELIVERED}", answer_text(DELIVERED, READY))
        ask(peer, f"mckh   {LATER.lower()}.", answer_text(LATER, WORK))
        ask(peer, f"MCKH {LATER} cảm ơn"[: 5 + len(LATER)] + "\u00a0", answer_text(LATER, WORK))
        ask(peer, "xin chào", "Tin nhắn sai cú pháp. Vui lòng soạn: MCKH, dấu cách, mã số hồ sơ, gửi 9029.")
        _check_that_a_repeat_gets_the_same_answer(office, peer)
        assert daemon.stop() == 0
    log = "".join(daemon.raw)
    assert "0000000" not in log.replace("000.00.12", "") and TOKEN not in log and NAME not in log


def _check_that_a_repeat_gets_the_same_answer(office: Office, peer: SmppPeer) -> None:
    ((id_,),) = office.ask("SELECT provider_id FROM inquiries ORDER BY id DESC LIMIT 1 OFFSET 1")
    assert len(id_) == 36, "Kannel names each text by a UUID"
    address = office.installed.settings["inbound"]["public_url"]
    call = {"from": f"+{CITIZEN}", "text": "anything", "id": id_, "charset": "UTF-8", "token": TOKEN}
    with urllib.request.urlopen(f"{address}/lookups?{urlencode(call)}", timeout=5) as answer:
        assert answer.read().decode() == answer_text(LATER, WORK)
        assert answer.headers["X-Kannel-Coding"] == "2"


def test_what_comes_while_smsd_is_down_is_told_again_when_it_is_back(
    office: Office, peer: SmppPeer, kannel: Kannel
) -> None:
    peer.states = ()
    with office.open() as daemon:
        daemon.wait_for("baseline_taken")
        office.finish(WAITED)
        office.wait_for_state(WAITED, "accepted")
        daemon.kill()
    before = len(peer.taken)
    peer.receipt(peer.taken[0].id, form="text")
    peer.deliver(f"MCKH {LATER}", CITIZEN, SHORT_CODE)
    peer.wait(lambda: len(peer.acknowledged) == 2)
    wait_until(lambda: "(0 queued)" in kannel.status().partition("Box connections")[2], 10)
    assert office.state(WAITED) == "accepted"
    assert len(peer.taken) == before
    with office.open() as daemon:
        office.wait_for_state(WAITED, "delivered")
        answer = answer_text(LATER, WORK)
        assert newest(peer, before, segments(answer, Encoding.UNICODE)).text == answer
        assert daemon.stop() == 0


def test_a_wrong_password_stops_the_link_with_an_alarm_until_it_is_mended(
    office: Office, peer: SmppPeer, kannel: Kannel
) -> None:
    office.use(kannel, password="m1styped")
    with office.open() as daemon:
        daemon.wait_for("baseline_taken")
        office.finish(DELIVERED, WAITED)
        daemon.wait_for("link_stopped", code="authorization_failed")
        wait_until(
            lambda: any(a["key"] == "gateway:kannel" for a in office.installed.json("status")["alarms"])
        )
        assert {office.state(code) for code in (DELIVERED, WAITED)} == {"queued"}
        assert not peer.taken
        office.use(kannel)
        daemon.signal(signal.SIGHUP)
        for code in (DELIVERED, WAITED):
            office.wait_for_state(code, "delivered")
        wait_until(lambda: not office.installed.json("status")["alarms"])
        assert daemon.stop() == 0
    assert "m1styped" not in "".join(daemon.raw)
