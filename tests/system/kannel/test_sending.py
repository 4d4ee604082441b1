"""Messages through real Kannel to an operator: to the letter, and what becomes of those it does not take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from smsd.adapters.gateways.kannel import KannelGateway
from smsd.core.model import Outcome, Verdict
from smsd.core.policy import Encoding
from smsd.core.texts import encode_for, segments
from smsd.services.ports import Outgoing
from tests.contract.gateways.support import TEXT, UNACCENTED, Answers, a_kannel, an_outgoing
from tests.support.kannel import Kannel
from tests.support.postgres import free_port, wait_until
from tests.support.smpppeer import SmppPeer
from tests.system.kannel.handset import Shown, shown

UNICODE, PLAIN = Encoding.UNICODE, Encoding.UNACCENTED
LETTER = (
    "Thông báo: Hồ sơ của quý Ông/Bà (000.00.12.H32-260803-0001) chưa có kết quả vào ngày 04/08/2026. "
    "UBND thành phố Nha Trang chân thành xin lỗi. Ông/Bà vui lòng đến nhận kết quả khi có tin nhắn tiếp theo"
)
TEXTS = [
    (UNICODE, "A"),
    (UNICODE, "đ" * 70),
    (UNICODE, "đ" * 71),
    (UNICODE, "ệ" * 67 * 3),
    (UNICODE, "ệ" * 67 * 3 + "."),
    (UNICODE, TEXT),
    (UNICODE, LETTER),
    (UNICODE, "😀 " * 20),
    (PLAIN, UNACCENTED),
    (PLAIN, "x" * 160),
    (PLAIN, "x" * 161),
    (PLAIN, "[" * 80),
    (PLAIN, "[" * 81),
    (PLAIN, "x" * 152 + "{" + "y" * 200 + "€|^~\\]}"),
    (PLAIN, "@$_`'\"#%&+?=/;:,.<>!*()-\n" * 8),
    (PLAIN, LETTER),
]
"""Short, long, and at the edges of parts."""


def send(gateway: KannelGateway, *messages: Outgoing) -> list[Outcome]:
    answers = Answers()
    gateway.submit(messages, answers)
    outcomes = answers.wait(len(messages))
    return [outcomes[message.id] for message in messages]


def parts_expected(texts: list[tuple[Encoding, str]]) -> int:
    return sum(segments(text, encoding) for encoding, text in texts)


def arrived(peer: SmppPeer, parts: int) -> list[Shown]:
    """The texts, once so many parts have come."""
    peer.wait(lambda: len(peer.taken) >= parts)
    return shown(peer.taken)


def test_texts_arrive_to_the_letter_in_as_many_parts_as_are_counted(kannel: Kannel, peer: SmppPeer) -> None:
    for encoding in Encoding:
        gateway = a_kannel(kannel.url, encoding=encoding, callback=None)
        for number, (_, text) in enumerate(TEXTS):
            if TEXTS[number][0] is encoding:
                message = an_outgoing(number, text=encode_for(text, encoding))
                assert [outcome.verdict for outcome in send(gateway, message)] == [Verdict.ACCEPTED]
        gateway.close()
    by_number = {text.to: text for text in arrived(peer, parts_expected(TEXTS))}
    assert len(by_number) == len(TEXTS)
    for number, (encoding, text) in enumerate(TEXTS):
        came = by_number[an_outgoing(number).phone]
        assert came.text == encode_for(text, encoding)
        assert came.parts == segments(text, encoding), text
        assert came.coding == (8 if encoding is UNICODE else 0)
        assert (came.sender, came.sender_ton) == ("MotcuaSMS", 5)
    assert len(peer.taken) == parts_expected(TEXTS)


def test_a_character_of_two_units_at_the_edge_of_a_part_still_arrives(kannel: Kannel, peer: SmppPeer) -> None:
    """Kannel cuts it in two, so that a text may take a part less than is counted; telephones join it again."""
    text = "ạ" * 66 + "😀" + "b" * 66
    gateway = a_kannel(kannel.url, callback=None)
    send(gateway, an_outgoing(text=text))
    gateway.close()
    (came,) = arrived(peer, 2)
    assert came.text == text
    assert came.parts <= segments(text, UNICODE)


def test_numbers_arrive_in_the_international_format_whatever_is_configured(
    kannel: Kannel, peer: SmppPeer
) -> None:
    for style in ("84", "+84"):
        gateway = a_kannel(kannel.url, number_format=style, callback=None)
        send(gateway, an_outgoing(text="a"))
        gateway.close()
    peer.wait(lambda: len(peer.taken) == 2)
    addresses = {(part.fields["to"], part.fields["dest_ton"], part.fields["dest_npi"]) for part in peer.taken}
    assert addresses == {(an_outgoing().phone, 1, 1)}


def with_path(kannel: Kannel) -> KannelGateway:
    return a_kannel(kannel.url.replace("sendsms", "sendsm"), callback=None)


def without_sender(kannel: Kannel) -> KannelGateway:
    return KannelGateway(
        kannel.url, "smsd", "sesame", sender="", encoding=UNICODE, number_format="84", callback=None
    )


@pytest.mark.parametrize(
    ("make", "phone", "verdict", "code"),
    [
        (lambda kannel: a_kannel(kannel.url, password="wrong"), "84905123456", Verdict.ACCOUNT, "authorization_failed"),
        (without_sender, "84905123456", Verdict.ACCOUNT, "sender_missing"),
        (with_path, "84905123456", Verdict.ACCOUNT, "wrong_address"),
        (lambda kannel: a_kannel(kannel.url), "84995123456", Verdict.REJECTED, "not_routable"),
        (lambda kannel: a_kannel(kannel.url), "84905x23456", Verdict.REJECTED, "number_denied"),
    ],
)  # fmt: skip
def test_what_kannel_refuses_stops_the_link_or_ends_the_message(
    kannel: Kannel,
    peer: SmppPeer,
    make: Callable[[Kannel], KannelGateway],
    phone: str,
    verdict: Verdict,
    code: str,
) -> None:
    gateway = make(kannel)
    (outcome,) = send(gateway, replace(an_outgoing(), phone=phone))
    gateway.close()
    assert (outcome.verdict, outcome.code) == (verdict, code)
    assert "905" not in outcome.detail and "sesame" not in outcome.detail
    assert not peer.taken


@pytest.mark.parametrize(
    ("change", "state", "said"),
    [
        ({}, "ok", "takes our account"),
        ({"password": "wrong"}, "failed", "refuses username, password or host"),
        ({"path": "/sendsms"}, "failed", "no sendsms"),
        ({"port": "9"}, "failed", "no answer"),
    ],
)
def test_the_check_tells_what_is_wrong_and_sends_nothing(
    kannel: Kannel, peer: SmppPeer, change: dict[str, str], state: str, said: str
) -> None:
    url = kannel.url.replace(f":{kannel.port}", f":{change.get('port', kannel.port)}")
    url = url.replace("/cgi-bin/sendsms", change.get("path", "/cgi-bin/sendsms"))
    gateway = a_kannel(url, password=change.get("password", "sesame"))
    (result,) = gateway.check()
    gateway.close()
    assert result.state == state
    assert said in result.message
    assert bool(result.hint) == (state != "ok")
    assert "SMS: received 0 (0 queued), sent 0 (0 queued)" in kannel.status()
    assert not peer.taken


def test_while_the_operator_is_away_kannel_queues_what_it_may_and_refuses_the_rest_for_now(
    tmp_path: Path,
) -> None:
    port = free_port()
    limit = [("core", {"sms-outgoing-queue-limit": 2})]
    with Kannel(tmp_path / "kannel", smsc_port=port, more=limit) as kannel:
        kannel.start(smsc=False)
        gateway = a_kannel(kannel.url, callback=None, connections=1)
        outcomes = [send(gateway, an_outgoing(n, text=f"text {n}"))[0] for n in range(5)]
        taken = [n for n, outcome in enumerate(outcomes) if outcome.verdict is Verdict.ACCEPTED]
        assert taken and {outcomes[n].code for n in taken} == {"queued"}
        refused = [outcome for outcome in outcomes if outcome.verdict is not Verdict.ACCEPTED]
        assert {(o.verdict, o.code) for o in refused} == {(Verdict.RETRY, "temporary_failure")}
        with SmppPeer(port=port) as peer:
            peer.wait(lambda: len(peer.taken) >= len(taken))
            wait_until(
                lambda: send(gateway, an_outgoing(9, text="text 9"))[0].code == "accepted", 10, step=0.2
            )
            peer.wait(lambda: "84905000009" in {part.to for part in peer.taken})
            texts = {text.text for text in shown(peer.taken)}
        gateway.close()
    assert texts == {f"text {n}" for n in (*taken, 9)}


def test_without_a_bearerbox_the_message_is_surely_not_taken(kannel: Kannel, peer: SmppPeer) -> None:
    kannel.kill_bearerbox()
    wait_until(lambda: not kannel.listens(), 10)
    gateway = a_kannel(kannel.url, callback=None)
    (outcome,) = send(gateway, an_outgoing())
    gateway.close()
    assert (outcome.verdict, outcome.code) == (Verdict.RETRY, "not_connected")
