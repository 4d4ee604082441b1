"""The gateway over a real connection: outcomes, window, throttling, broken connections, and how it ends."""

from __future__ import annotations

import random
import time

import pytest
import structlog

from smsd.adapters.gateways.smpp.gateway import SmppGateway
from smsd.core.model import Verdict
from smsd.core.policy import Encoding
from tests.support.postgres import free_port
from tests.support.smppclient import LONG, PHONE, SHORT, Answers, Sink, a_gateway, an_outgoing, many
from tests.support.smpppdus import (
    INVALID_NUMBER,
    INVALID_SENDER,
    QUEUE_FULL,
    SYSTEM_ERROR,
    THROTTLED,
    UNBIND,
    pdu,
)
from tests.support.smpppeer import Reaction, SmppPeer

HOLD = Reaction(answer="hold")
SILENT = Reaction(answer="none")


def test_a_message_leaves_as_it_was_configured(peer: SmppPeer, answers: Answers) -> None:
    with a_gateway(peer.port) as gateway:
        gateway.submit([an_outgoing()], answers.done)
        outcome = answers.of("m1")
    assert (outcome.verdict, outcome.reference, outcome.parts) == (Verdict.ACCEPTED, "1", ("1",))
    fields = peer.taken[0].fields
    assert (fields["source_ton"], fields["source_npi"], fields["from"]) == (5, 0, "MotcuaSMS")
    assert (fields["dest_ton"], fields["dest_npi"], fields["to"]) == (1, 1, PHONE)
    assert (fields["data_coding"], fields["registered"], fields["text"]) == (0, 1, SHORT)


@pytest.mark.parametrize(("style", "digits"), [("84", PHONE), ("+84", f"+{PHONE}"), ("0", f"0{PHONE[2:]}")])
def test_the_number_format_changes_the_digits_alone(
    peer: SmppPeer, answers: Answers, style: str, digits: str
) -> None:
    with a_gateway(peer.port, number_format=style) as gateway:
        gateway.submit([an_outgoing()], answers.done)
        answers.of("m1")
    assert (peer.taken[0].to, peer.taken[0].fields["dest_ton"]) == (digits, 1)


def test_a_long_message_is_accepted_with_the_ids_of_all_its_parts(peer: SmppPeer, answers: Answers) -> None:
    peer.always(HOLD)
    with a_gateway(peer.port, encoding=Encoding.UNICODE) as gateway:
        gateway.submit([an_outgoing(text=LONG)], answers.done)
        peer.wait(lambda: peer.held == 2)
        peer.release(lambda held: held[::-1])
        outcome = answers.of("m1")
    assert (outcome.reference, outcome.parts) == ("1", ("1", "2"))
    assert "".join(part.text for part in peer.taken) == LONG


def test_answers_find_their_messages_in_whatever_order_they_come(peer: SmppPeer, answers: Answers) -> None:
    peer.always(HOLD)
    with a_gateway(peer.port) as gateway:
        gateway.submit(many(50), answers.done)
        peer.wait(lambda: peer.held == 50)
        peer.release(lambda held: random.Random(1).sample(held, len(held)))
        answers.wait_for(50)
    assert {id_: outcome.reference for id_, outcome in answers.all} == {
        f"m{n}": str(n + 1) for n in range(50)
    }


def test_no_more_than_the_window_is_ever_unanswered(peer: SmppPeer, answers: Answers) -> None:
    peer.always(HOLD)
    with a_gateway(peer.port, window=7) as gateway:
        gateway.submit(many(40), answers.done)
        for released in range(1, 6):
            peer.wait(lambda: peer.held == 7)
            assert len(peer.taken) == 7 * released
            peer.release()
        peer.always(None)
        peer.release()
        peer.wait(lambda: len(peer.taken) == 40)
        peer.release()
        answers.wait_for(40)


@pytest.mark.parametrize(
    ("status", "verdict", "code"),
    [
        (INVALID_NUMBER, Verdict.REJECTED, "ESME_RINVDSTADR"),
        (INVALID_SENDER, Verdict.ACCOUNT, "ESME_RINVSRCADR"),
        (QUEUE_FULL, Verdict.RETRY, "ESME_RMSGQFUL"),
        (SYSTEM_ERROR, Verdict.RETRY, "ESME_RSYSERR"),
        (0x0404, Verdict.REJECTED, "0x00000404"),
    ],
)
def test_a_refusal_is_told_by_its_name(
    peer: SmppPeer, answers: Answers, status: int, verdict: Verdict, code: str
) -> None:
    peer.next(status)
    with a_gateway(peer.port) as gateway:
        gateway.submit([an_outgoing("refused")], answers.done)
        outcome = answers.of("refused")
    assert (outcome.verdict, outcome.code) == (verdict, code)


def test_throttling_slows_the_link_and_what_waits_goes_out_after_it(peer: SmppPeer, answers: Answers) -> None:
    peer.next(THROTTLED)
    with a_gateway(peer.port, window=1) as gateway:
        gateway.submit(many(3), answers.done)
        throttled = answers.of("m0")
        begun = time.monotonic()
        assert (throttled.verdict, throttled.retry_after) == (Verdict.RETRY, 1.0)
        answers.wait_for(3)
        assert time.monotonic() - begun > 0.8
    assert answers.verdicts() == ["retry", "accepted", "accepted"]


def test_a_part_that_was_taken_is_not_sent_again_when_another_is_throttled(
    peer: SmppPeer, answers: Answers
) -> None:
    peer.next(0, THROTTLED, 0)
    with a_gateway(peer.port, encoding=Encoding.UNICODE) as gateway:
        gateway.submit([an_outgoing(text=LONG * 2)], answers.done)
        outcome = answers.of("m1")
    assert outcome.verdict is Verdict.ACCEPTED
    numbers = [part.fields["part"][2] for part in peer.taken]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert numbers[-1] == 2
    assert outcome.parts == tuple(
        sorted((part.id for part in peer.taken), key=lambda id_: numbers[int(id_) - 1])
    )


def test_what_was_not_answered_when_the_connection_broke_is_unknown(peer: SmppPeer, answers: Answers) -> None:
    peer.next(0, SILENT, Reaction(answer="none", then="drop"))
    with a_gateway(peer.port, window=3) as gateway:
        gateway.submit(many(3), answers.done)
        answers.wait_for(3)
        assert answers.of("m0").verdict is Verdict.ACCEPTED
        for name in ("m1", "m2"):
            assert (answers.of(name).verdict, answers.of(name).code) == (Verdict.UNKNOWN, "connection_lost")


def test_what_was_not_yet_written_when_the_connection_broke_may_be_tried_again(
    peer: SmppPeer, answers: Answers
) -> None:
    peer.next(Reaction(answer="none", then="drop"))
    with a_gateway(peer.port, window=1) as gateway:
        gateway.submit(many(5), answers.done)
        answers.wait_for(5)
    assert answers.verdicts() == ["unknown", "retry", "retry", "retry", "retry"]
    assert len(peer.taken) == 1


def test_the_connection_is_made_again_by_itself(peer: SmppPeer, answers: Answers) -> None:
    with a_gateway(peer.port) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        for connections in (2, 3):
            peer.drop()
            peer.wait(lambda wanted=connections: peer.connections == wanted and peer.bound)
        gateway.submit([an_outgoing()], answers.done)
        assert answers.of("m1").verdict is Verdict.ACCEPTED


def test_a_message_that_is_never_answered_is_unknown_after_a_while(peer: SmppPeer, answers: Answers) -> None:
    peer.next(SILENT, Reaction(answer="wrong_sequence"))
    with a_gateway(peer.port, answer_timeout=0.3) as gateway:
        gateway.submit(many(3), answers.done)
        assert answers.of("m2").verdict is Verdict.ACCEPTED
        for name in ("m0", "m1"):
            assert (answers.of(name).verdict, answers.of(name).code) == (Verdict.UNKNOWN, "answer_timeout")


@pytest.mark.parametrize("answer", ["half", "wrong_length"])
def test_half_an_answer_or_one_of_an_impossible_length_ends_the_connection(
    peer: SmppPeer, answers: Answers, answer: str
) -> None:
    peer.next(0, Reaction(answer=answer, then="drop"))
    with a_gateway(peer.port) as gateway:
        gateway.submit(many(2), answers.done)
        assert answers.of("m0").verdict is Verdict.ACCEPTED
        assert answers.of("m1").verdict is Verdict.UNKNOWN
        peer.wait(lambda: peer.connections == 2)


def test_an_answer_given_twice_counts_once(peer: SmppPeer, answers: Answers) -> None:
    peer.next(Reaction(answer="twice"), Reaction(answer="twice"))
    with a_gateway(peer.port) as gateway:
        gateway.submit(many(3), answers.done)
        answers.wait_for(3)
    assert answers.verdicts() == ["accepted"] * 3


def test_a_generic_nack_is_told_as_a_refusal(peer: SmppPeer, answers: Answers) -> None:
    peer.next(Reaction(status=2, answer="nack"))
    with a_gateway(peer.port) as gateway:
        gateway.submit([an_outgoing()], answers.done)
        assert answers.of("m1").code == "ESME_RINVCMDLEN"


def test_an_answer_without_an_id_is_accepted(peer: SmppPeer, answers: Answers) -> None:
    peer.next(Reaction(answer="no_id"))
    with a_gateway(peer.port) as gateway:
        gateway.submit([an_outgoing()], answers.done)
        outcome = answers.of("m1")
    assert (outcome.verdict, outcome.reference, outcome.parts) == (Verdict.ACCEPTED, None, ())


def test_an_unbind_in_the_middle_is_answered_and_the_connection_made_again(
    peer: SmppPeer, answers: Answers
) -> None:
    peer.next(0, Reaction(answer="none", then="unbind"))
    with a_gateway(peer.port) as gateway:
        gateway.submit(many(2), answers.done)
        assert answers.of("m1").verdict is Verdict.UNKNOWN
        peer.wait(lambda: peer.connections == 2 and peer.bound)
        gateway.submit([an_outgoing("later")], answers.done)
        assert answers.of("later").verdict is Verdict.ACCEPTED
    assert any(command == UNBIND | 0x80000000 for command, _, _ in peer.heard)


def test_nobody_there_is_no_fault_of_the_message(answers: Answers) -> None:
    with a_gateway(free_port()) as gateway:
        gateway.submit(many(3), answers.done)
        answers.wait_for(3)
    assert [(o.verdict, o.code) for _, o in answers.all] == [(Verdict.RETRY, "unreachable")] * 3
    waits = [outcome.retry_after for _, outcome in answers.all]
    assert waits[0] is not None and waits[1:] == [None, None], "one of them tells how long to wait"


def test_it_connects_once_somebody_is_there(answers: Answers) -> None:
    port = free_port()
    with a_gateway(port) as gateway:
        gateway.submit([an_outgoing("early")], answers.done)
        assert answers.of("early").verdict is Verdict.RETRY
        with SmppPeer(port=port) as peer:
            peer.wait(lambda: peer.bound)
            gateway.submit([an_outgoing("late")], answers.done)
            assert answers.of("late").verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("bind", "verdict", "code"),
    [
        (0x0D, Verdict.ACCOUNT, "ESME_RBINDFAIL"),
        (0x0E, Verdict.ACCOUNT, "ESME_RINVPASWD"),
        (0x0F, Verdict.ACCOUNT, "ESME_RINVSYSID"),
        (0x05, Verdict.RETRY, "ESME_RALYBND"),
        (0x08, Verdict.RETRY, "ESME_RSYSERR"),
        ("nack", Verdict.ACCOUNT, "ESME_RINVCMDID"),
        ("drop", Verdict.RETRY, "connection_lost"),
        ("none", Verdict.RETRY, "no_bind_answer"),
    ],
)
def test_a_bind_that_does_not_succeed_is_told_to_what_waits(
    peer: SmppPeer, answers: Answers, bind: int | str, verdict: Verdict, code: str
) -> None:
    peer.bind = bind
    with a_gateway(peer.port, answer_timeout=0.3, reconnect_after=5) as gateway:
        gateway.submit(many(2), answers.done)
        answers.wait_for(2)
    assert {(outcome.verdict, outcome.code) for _, outcome in answers.all} == {(verdict, code)}
    assert peer.taken == []


def test_a_refused_account_is_not_hammered_but_tried_by_the_next_message(
    peer: SmppPeer, answers: Answers
) -> None:
    peer.bind = 0x0E
    with a_gateway(peer.port, reconnect_after=0.01) as gateway:
        gateway.submit([an_outgoing("first")], answers.done)
        assert answers.of("first").verdict is Verdict.ACCOUNT
        gateway.submit([an_outgoing("at once")], answers.done)
        assert answers.of("at once").verdict is Verdict.ACCOUNT
        assert peer.connections == 1
        peer.bind = 0
        verdict, until = Verdict.ACCOUNT, time.monotonic() + 10
        while verdict is Verdict.ACCOUNT and time.monotonic() < until:
            again = Answers()
            gateway.submit([an_outgoing()], again.done)
            verdict = again.of("m1").verdict
        assert (verdict, peer.connections) == (Verdict.ACCEPTED, 2)


def test_waits_between_tries_double(peer: SmppPeer) -> None:
    peer.bind = "drop"
    with structlog.testing.capture_logs() as lines, a_gateway(peer.port, reconnect_after=0.02) as gateway:
        gateway.start()
        peer.wait(lambda: peer.connections == 5)
    waits = [line["seconds"] for line in lines if line["event"] == "smpp_disconnected"]
    assert waits[:4] == [0.02, 0.04, 0.08, 0.16]


def test_an_idle_connection_is_kept_alive(peer: SmppPeer) -> None:
    with a_gateway(peer.port, enquire_every=0.1) as gateway:
        gateway.start()
        peer.wait(lambda: sum(command == 0x15 for command, _, _ in peer.heard) >= 3)
    assert peer.connections == 1


def test_a_message_that_cannot_be_written_does_not_hold_up_the_others(
    peer: SmppPeer, answers: Answers
) -> None:
    with a_gateway(peer.port) as gateway:
        gateway.submit([an_outgoing("endless", "x" * 50_000), an_outgoing("good")], answers.done)
        assert (answers.of("endless").verdict, answers.of("endless").code) == (Verdict.REJECTED, "malformed")
        assert answers.of("good").verdict is Verdict.ACCEPTED


def test_a_listener_that_fails_does_not_stop_the_connection(peer: SmppPeer, answers: Answers) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a listener's own mistake")

    with a_gateway(peer.port) as gateway:
        gateway.submit([an_outgoing("lost")], broken)
        gateway.submit([an_outgoing("next")], answers.done)
        assert answers.of("next").verdict is Verdict.ACCEPTED
    assert peer.connections == 1


def test_a_peer_that_reads_nothing_is_given_up_and_every_message_ends(
    peer: SmppPeer, answers: Answers
) -> None:
    text = "x" * 1500
    with a_gateway(peer.port, window=50_000, answer_timeout=0.5, reconnect_after=60) as gateway:
        gateway.start()
        peer.wait(lambda: peer.bound)
        peer.read_nothing()
        gateway.submit(many(3000, text), answers.done)
        answers.wait_for(3000)
    assert {outcome.verdict for _, outcome in answers.all} <= {Verdict.UNKNOWN, Verdict.RETRY}
    assert len({id_ for id_, _ in answers.all}) == 3000
    assert peer.taken == []


# all at once


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_a_peer_that_does_everything_wrong_each_message_still_ends_once(
    seed: int, answers: Answers
) -> None:
    chance = random.Random(seed)
    reactions = [
        Reaction(chance.choice((0, 0, 0, THROTTLED, INVALID_NUMBER)), chance.choice(("resp", "resp", "twice", "hold")))
        if chance.random() < 0.9
        else Reaction(0, chance.choice(("half", "none", "nack", "wrong_sequence", "wrong_length")),
                      chance.choice(("", "drop", "unbind")))
        for _ in range(300)
    ]  # fmt: skip
    with SmppPeer(receipts="both", receipts_first=True) as peer:
        peer.next(*reactions)
        with a_gateway(peer.port, encoding=Encoding.UNICODE, answer_timeout=0.3, window=20) as gateway:
            batch = [an_outgoing(f"m{n}", LONG if n % 3 else "Hồ sơ") for n in range(120)]
            for start in range(0, len(batch), 10):
                gateway.submit(batch[start : start + 10], answers.done)
                if chance.random() < 0.2:
                    peer.wait(lambda: peer.bound)
                    peer.send(
                        chance.choice(
                            (pdu(0x99, 0, 1), b"\0\0\0\0" * 5, pdu(5, 0, 3, b"x"), pdu(UNBIND, 0, 9))
                        )
                    )
            gateway.close()
    assert sorted(id_ for id_, _ in answers.all) == sorted(message.id for message in batch)
    taken: dict[str, int] = {}
    for part in peer.taken:
        taken[part.id] = taken.get(part.id, 0) + 1
    named = [part for _, outcome in answers.all for part in outcome.parts]
    assert len(named) == len(set(named)) and set(named) <= set(taken)


def test_a_constructed_gateway_fits_the_port() -> None:
    gateway = SmppGateway(
        host="127.0.0.1", port=2775, system_id="smsd", password="sesame", sender="MotcuaSMS",
        encoding=Encoding.UNICODE, number_format="84", receipts=Sink(), lookups=None, window=42,
    )  # fmt: skip
    assert (gateway.name, gateway.window, gateway.repeats_safely) == ("smpp", 42, False)
    assert gateway.find("m1", an_outgoing().at) is None
    gateway.close()
