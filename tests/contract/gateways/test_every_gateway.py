"""One suite for every gateway: what the services rely on, whatever road a message takes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from smsd.core.model import Verdict
from smsd.core.policy import Encoding
from smsd.services.ports import Outgoing
from tests.contract.gateways.conftest import STANDS, Stand
from tests.contract.gateways.support import PASSWORD, SECRET, TEXT, UNACCENTED, Answers, an_outgoing
from tests.support.postgres import wait_until

OpenStand = Callable[..., Stand]
TAKEN = {Verdict.ACCEPTED, Verdict.DELIVERED}
FAULTS = [
    (name, fault)
    for name, faults in {
        "spool": ["retry"],
        "kannel": ["retry", "rejected", "account", "unknown"],
        "fake": ["retry", "rejected", "account", "unknown"],
    }.items()
    for fault in faults
]

every_gateway = pytest.mark.parametrize("name", sorted(STANDS))


@every_gateway
def test_each_message_is_answered_exactly_once_and_sent_once(open_stand: OpenStand, name: str) -> None:
    stand, answers = open_stand(name), Answers()
    messages = [an_outgoing(number) for number in range(25)]
    for start in range(0, len(messages), 5):
        stand.gateway.submit(messages[start : start + 5], answers)
    outcomes = answers.wait(len(messages))
    assert set(outcomes) == {message.id for message in messages}
    assert {outcome.verdict for outcome in outcomes.values()} <= TAKEN
    assert sorted(stand.sent()) == sorted((message.phone, message.text) for message in messages)


@every_gateway
@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        (Encoding.UNICODE, TEXT),
        (Encoding.UNACCENTED, UNACCENTED),
        (Encoding.UNICODE, "Đ" * 670),
        (Encoding.UNACCENTED, "a%00b%s%d+ &&?=#"),
        (Encoding.UNICODE, '"\\\r\n\t“”‘’ …\u00a0x'),
    ],
)
def test_texts_arrive_to_the_letter(open_stand: OpenStand, name: str, encoding: Encoding, text: str) -> None:
    stand, answers = open_stand(name, encoding), Answers()
    stand.gateway.submit([an_outgoing(text=text)], answers)
    answers.wait(1)
    assert stand.sent() == [(an_outgoing().phone, text)]


@every_gateway
def test_half_of_a_surrogate_pair_costs_no_message(open_stand: OpenStand, name: str) -> None:
    stand, answers = open_stand(name), Answers()
    stand.gateway.submit([an_outgoing(text="a\ud800b")], answers)
    assert answers.one().verdict in TAKEN


@every_gateway
def test_nothing_handed_over_is_nothing_answered(open_stand: OpenStand, name: str) -> None:
    stand, answers = open_stand(name), Answers()
    stand.gateway.submit([], answers)
    stand.gateway.close()
    assert answers.calls == []
    assert stand.sent() == []


@every_gateway
def test_the_window_is_a_small_number(open_stand: OpenStand, name: str) -> None:
    assert 1 <= open_stand(name).gateway.window <= 1000


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_faults_are_told_apart_and_concern_one_message(open_stand: OpenStand, name: str, fault: str) -> None:
    stand, answers = open_stand(name), Answers()
    stand.fail[fault]()
    stand.gateway.submit([an_outgoing()], answers)
    outcome = answers.one()
    assert outcome.verdict == Verdict(fault)
    assert outcome.code
    assert PASSWORD not in repr(outcome)
    assert an_outgoing().phone not in repr(outcome)
    assert TEXT[:20] not in repr(outcome)


@pytest.mark.parametrize(("name", "fault"), [(name, fault) for name, fault in FAULTS if name != "spool"])
def test_after_a_fault_the_next_message_goes_out(open_stand: OpenStand, name: str, fault: str) -> None:
    stand, answers = open_stand(name), Answers()
    stand.fail[fault]()
    stand.gateway.submit([an_outgoing(1)], answers)
    answers.wait(1)
    stand.gateway.submit([an_outgoing(2)], answers)
    assert answers.wait(2)[an_outgoing(2).id].verdict in TAKEN


@pytest.mark.parametrize("name", ["kannel", "fake"])
def test_closing_answers_what_is_under_way_as_unknown_within_five_seconds(
    open_stand: OpenStand, name: str
) -> None:
    stand, answers = open_stand(name), Answers()
    stand.fail["hang"]()
    stand.gateway.submit([an_outgoing()], answers)
    wait_until(stand.sent)
    began = time.monotonic()
    stand.gateway.close()
    assert time.monotonic() - began < 5.5
    assert answers.one(0.5).verdict is Verdict.UNKNOWN


@every_gateway
def test_closing_twice_does_no_harm(open_stand: OpenStand, name: str) -> None:
    stand, answers = open_stand(name), Answers()
    stand.gateway.submit([an_outgoing()], answers)
    assert answers.one().verdict in TAKEN
    stand.gateway.close()
    stand.gateway.close()
    assert len(answers.calls) == 1


@every_gateway
def test_checking_sends_nothing_and_says_how_it_stands(open_stand: OpenStand, name: str) -> None:
    stand = open_stand(name)
    results = stand.gateway.check()
    assert [result.state for result in results] == ["ok"]
    assert stand.sent() == []


@every_gateway
def test_no_secret_is_shown(open_stand: OpenStand, name: str) -> None:
    gateway = open_stand(name).gateway
    assert PASSWORD not in repr(gateway)
    assert SECRET not in repr(gateway)
    assert PASSWORD not in repr(gateway.check())


@every_gateway
def test_who_repeats_safely_can_be_asked_and_sends_once(open_stand: OpenStand, name: str) -> None:
    stand, answers = open_stand(name), Answers()
    if isinstance_fake(stand):
        stand.gateway.repeats_safely = True
    message = an_outgoing()
    if not stand.gateway.repeats_safely:
        assert stand.gateway.find(message.id, message.at) is None
        return
    assert stand.gateway.find(message.id, message.at) is None
    stand.gateway.submit([message], answers)
    answers.wait(1)
    found = stand.gateway.find(message.id, message.at)
    assert found is not None
    assert found.verdict in TAKEN
    again = Answers()
    stand.gateway.submit([an_outgoing(repeat=True)], again)
    assert again.one().verdict in TAKEN
    assert len(stand.sent()) == 1


def isinstance_fake(stand: Stand) -> bool:
    return stand.gateway.name == "fake"


def test_the_fake_never_shows_more_under_way_than_it_was_given(open_stand: OpenStand) -> None:
    stand, answers = open_stand("fake"), Answers()
    batch: list[Outgoing] = [an_outgoing(number) for number in range(3)]
    stand.fail["hang"]()
    stand.gateway.submit(batch, answers)
    assert len(answers.calls) == 2
    stand.gateway.close()
    assert answers.wait(3)
