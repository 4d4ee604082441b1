"""Several gateways: the next takes over when one has been in trouble for long, and nothing is sent by two of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

from smsd.services.routes import Routes
from tests.services.stage import MINUTE, READY, SETTLED, Stage, a_row
from tests.support.fakegateway import ACCOUNT, LOST, REJECTED, RETRY, FakeGateway

PATIENCE = timedelta(minutes=5)


@dataclass
class Roads:
    """Two gateways on one outbox, and time to pass."""

    stage: Stage
    first: FakeGateway
    second: FakeGateway

    def __post_init__(self) -> None:
        over = [
            self.stage.a_delivery(self.first, beside=("second",)),
            self.stage.a_delivery(self.second, beside=("first",)),
        ]
        self.routes = Routes(over, [PATIENCE, PATIENCE])

    def pass_time(self, minutes: int) -> None:
        """Minute by minute, as the daemon turns: read, age, send."""
        for _ in range(minutes):
            self.stage.clock.forward(MINUTE)
            self.stage.poll()
            self.routes.age()
            self.routes.drain()

    def sends(self) -> str:
        return self.routes.in_use()

    def taken(self) -> tuple[int, int]:
        return len(self.first.taken), len(self.second.taken)


def entered(stage: Stage, *codes: str) -> None:
    """Dossiers that became ready; their messages are settled."""
    stage.enter(*[a_row(code, step=READY) for code in codes or ("H1",)])
    stage.clock.forward(SETTLED)
    stage.poll()


def ready_too(stage: Stage, count: int) -> None:
    """Of so many dossiers the last one has just become ready."""
    stage.show(a_row("other"), *[a_row(f"H{n}", step=READY) for n in range(1, count + 1)])
    stage.after()


@pytest.fixture
def roads(stage: Stage) -> Roads:
    return Roads(stage, FakeGateway("first"), FakeGateway("second"))


def test_while_the_first_is_well_the_second_sends_nothing(roads: Roads) -> None:
    entered(roads.stage)
    roads.pass_time(10)
    assert (roads.taken(), roads.sends()) == ((1, 0), "first")


@pytest.mark.parametrize("fault", [RETRY, ACCOUNT])
def test_the_second_takes_over_after_the_patience_and_not_before(roads: Roads, fault: object) -> None:
    roads.first.script(fault)
    entered(roads.stage)
    roads.pass_time(5)
    assert (roads.taken(), roads.sends()) == ((0, 0), "first")
    roads.pass_time(5)
    assert (roads.taken(), roads.sends()) == ((0, 1), "second")
    assert roads.stage.message().gateway == "second"


def test_the_first_is_back_when_it_takes_a_message(roads: Roads) -> None:
    roads.first.script(RETRY)
    entered(roads.stage, "H1", "H2")
    roads.pass_time(10)
    assert roads.sends() == "second"
    roads.first.mend()
    for number in range(3, 30):
        ready_too(roads.stage, number)
        roads.pass_time(1)
    roads.pass_time(5)
    assert roads.sends() == "first"
    assert sum(roads.taken()) == 29
    before = roads.taken()
    ready_too(roads.stage, 30)
    roads.pass_time(5)
    assert roads.taken() == (before[0] + 1, before[1])


def test_a_gateway_that_comes_and_goes_is_left_only_after_its_whole_patience_each_time(roads: Roads) -> None:
    entered(roads.stage)
    roads.pass_time(1)
    for round_ in range(2, 8):
        roads.first.script(RETRY)
        ready_too(roads.stage, round_)
        roads.pass_time(4)
        assert (roads.sends(), roads.taken()) == ("first", (round_ - 1, 0))
        roads.first.mend()
        roads.pass_time(2)
    assert roads.taken() == (7, 0)


def test_a_message_that_the_first_may_have_taken_is_never_given_to_the_second(roads: Roads) -> None:
    roads.first.script(LOST, times=1)
    entered(roads.stage)
    roads.pass_time(4)
    assert (roads.taken(), roads.stage.message().state) == ((1, 0), "unknown")
    roads.first.script(RETRY)
    roads.pass_time(40)
    assert roads.taken() == (1, 0)
    message = roads.stage.message()
    assert message.possible_duplicate
    roads.first.mend()
    roads.pass_time(5)
    assert roads.taken() == (2, 0)


def test_refused_messages_are_no_reason_to_change(roads: Roads) -> None:
    roads.first.script(REJECTED)
    entered(roads.stage)
    roads.pass_time(20)
    assert (roads.stage.message().state, roads.sends()) == ("rejected", "first")


def test_with_both_in_trouble_messages_wait_for_whichever_is_well_first(roads: Roads) -> None:
    roads.first.script(RETRY)
    roads.second.script(RETRY)
    entered(roads.stage)
    roads.pass_time(30)
    assert roads.taken() == (0, 0)
    assert roads.routes.in_trouble
    roads.second.mend()
    roads.pass_time(5)
    assert roads.taken() == (0, 1)


def test_a_clock_set_back_does_not_hurry_the_change(roads: Roads) -> None:
    roads.first.script(RETRY)
    entered(roads.stage)
    roads.pass_time(4)
    roads.stage.clock.forward(-timedelta(hours=3))
    roads.routes.age()
    assert roads.sends() == "first"
