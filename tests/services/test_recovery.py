"""Lost answers and restarts: an unknown message is found, sent again safely, or once and marked, and never left."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from smsd.adapters.store.schema import messages
from smsd.core.model import MessageState, Mode, Outcome, ReceiptVerdict, Verdict
from tests.services.stage import HOUR, MINUTE, READY, SETTLED, Stage, a_row
from tests.support.builders import a_policy
from tests.support.fakegateway import HELD, LOST, NEVER_ARRIVED, FakeGateway

OTHER = a_row("other")


def lost(stage: Stage, reaction: object = LOST) -> None:
    stage.gateway.script(reaction, times=1)  # type: ignore[arg-type]
    stage.enter(a_row(step=READY))
    stage.settle_and_send()
    assert stage.states() == ["unknown"]


def age(stage: Stage, passed: timedelta) -> None:
    stage.clock.forward(passed)
    stage.poll()
    stage.delivery.age()
    stage.send()


def test_an_unknown_message_is_sent_again_once_after_a_while_and_marked(stage: Stage) -> None:
    lost(stage)
    age(stage, 15 * MINUTE - timedelta(seconds=1))
    assert stage.states() == ["unknown"]
    age(stage, timedelta(seconds=1))
    message = stage.message()
    assert (message.state, message.possible_duplicate) == (MessageState.ACCEPTED, True)
    assert [m.repeat for m in stage.gateway.handed_over] == [False, True]


def test_it_is_sent_again_only_once(stage: Stage) -> None:
    stage.gateway.script(LOST)
    stage.enter(a_row(step=READY))
    stage.settle_and_send()
    for _ in range(5):
        age(stage, HOUR)
    assert stage.states() == ["unknown"]
    assert len(stage.gateway.handed_over) == 2
    stage.receipt(stage.message().id, ReceiptVerdict.DELIVERED)
    assert stage.states() == ["delivered"]


def test_one_that_no_receipt_ever_comes_for_expires(stage: Stage) -> None:
    stage.gateway.script(LOST)
    stage.enter(a_row(step=READY))
    stage.settle_and_send()
    age(stage, HOUR)
    age(stage, timedelta(days=10))
    assert stage.states() == ["expired"]
    assert stage.message().detail == "neither answer nor receipt came in time"
    assert stage.message().possible_duplicate


def test_an_unknown_message_whose_dossier_left_is_superseded_and_never_sent_again(stage: Stage) -> None:
    lost(stage)
    stage.show(OTHER, a_row())
    stage.after()
    assert stage.states() == ["superseded"]
    age(stage, HOUR)
    assert len(stage.gateway.handed_over) == 1


def test_where_repeats_are_told_apart_it_is_asked_for_at_once(stage: Stage) -> None:
    stage.gateway = FakeGateway(repeats_safely=True)
    stage.delivery = stage.a_delivery()
    lost(stage)
    stage.delivery.age()
    message = stage.message()
    assert (message.state, message.possible_duplicate) == (MessageState.ACCEPTED, False)
    assert len(stage.gateway.handed_over) == 1


def test_where_repeats_are_told_apart_it_is_sent_again_under_the_same_id_and_not_marked(stage: Stage) -> None:
    stage.gateway = FakeGateway(repeats_safely=True)
    stage.delivery = stage.a_delivery()
    lost(stage, NEVER_ARRIVED)
    stage.delivery.age()
    age(stage, MINUTE)
    message = stage.message()
    assert (message.state, message.possible_duplicate) == (MessageState.ACCEPTED, False)
    assert [m.id for m in stage.gateway.handed_over] == [message.id, message.id]


@pytest.mark.parametrize(
    ("verdict", "state", "marked"),
    [
        (Verdict.ACCEPTED, "accepted", False),
        (Verdict.DELIVERED, "delivered", False),
        (Verdict.REJECTED, "rejected", False),
        (Verdict.RETRY, "queued", False),
        (Verdict.UNKNOWN, "queued", True),
        (None, "queued", True),
    ],
)
def test_what_the_gateway_says_when_asked_decides(
    stage: Stage, verdict: Verdict | None, state: str, marked: bool
) -> None:
    class Knowing(FakeGateway):
        def find(self, message_id: str, since: datetime) -> Outcome | None:
            return None if verdict is None else Outcome(verdict, reference="r7")

    stage.gateway = Knowing()
    stage.delivery = stage.a_delivery()
    lost(stage)
    stage.clock.forward(15 * MINUTE)
    stage.delivery.age()
    message = stage.message()
    assert (message.state, message.possible_duplicate) == (state, marked)


def test_a_slow_gateway_is_asked_about_a_few_and_the_rest_next_time(stage: Stage) -> None:
    class Slow(FakeGateway):
        def find(self, message_id: str, since: datetime) -> Outcome | None:
            super().find(message_id, since)
            stage.clock.forward(timedelta(seconds=1))
            return Outcome(Verdict.ACCEPTED)

    stage.gateway = Slow()
    stage.gateway.script(LOST)
    stage.delivery = stage.a_delivery()
    stage.enter(*[a_row(f"H{n}", step=READY) for n in range(9)])
    for _ in range(10):
        stage.clock.forward(MINUTE)
        stage.poll()
        stage.send()
    stage.clock.forward(HOUR)
    stage.delivery.age()
    assert len(stage.gateway.asked_for) == 3
    for _ in range(2):
        stage.delivery.age()
    assert stage.states() == ["accepted"] * 9


# restarts


def interrupted(stage: Stage) -> None:
    """The process ends while a message is under way."""
    stage.enter(a_row(step=READY))
    stage.gateway.script(HELD, times=1)
    stage.clock.forward(SETTLED)
    stage.delivery.pump()
    assert stage.states() == ["sending"]


def test_what_was_under_way_at_the_end_is_unknown_at_the_next_start(stage: Stage) -> None:
    interrupted(stage)
    stage.restart()
    assert stage.states() == ["unknown"]
    age(stage, 15 * MINUTE)
    assert (stage.states(), stage.message().possible_duplicate) == (["accepted"], True)


def test_a_mark_of_possible_duplicate_survives_restarts_and_answers(stage: Stage) -> None:
    lost(stage)
    stage.gateway.script(HELD, times=1)
    stage.clock.forward(15 * MINUTE)
    stage.poll()
    stage.delivery.age()
    stage.delivery.pump()
    assert stage.states() == ["sending"]
    stage.restart()
    assert (stage.states(), stage.message().possible_duplicate) == (["unknown"], True)
    for _ in range(3):
        age(stage, HOUR)
    assert len(stage.gateway.handed_over) == 2
    stage.receipt(stage.message().id, ReceiptVerdict.DELIVERED)
    assert stage.message().possible_duplicate


def test_a_dossier_that_left_before_the_restart_ends_its_message_then(stage: Stage) -> None:
    interrupted(stage)
    stage.show(OTHER, a_row())
    stage.after()
    assert stage.states() == ["sending"]
    stage.restart()
    assert stage.states() == ["superseded"]


@pytest.mark.parametrize("recover_first", [True, False])
def test_an_agency_set_to_shadow_over_a_restart_ends_what_was_under_way(
    stage: Stage, recover_first: bool
) -> None:
    interrupted(stage)
    stage.use(a_policy(mode=Mode.SHADOW))
    stage.delivery = stage.a_delivery()
    steps = [stage.delivery.recover, stage.take_part]
    for step in steps if recover_first else reversed(steps):
        step()
    assert stage.states() == ["shadow"]


def test_more_than_a_thousand_messages_are_recovered(stage: Stage) -> None:
    stage.use(a_policy(hold_above=9999))
    stage.enter(*[a_row(f"H{n}", step=READY) for n in range(1100)])
    with stage.database.writing() as connection:
        connection.execute(messages.update().values(state=MessageState.SENDING))
    assert stage.delivery.recover() == 1100
    assert set(stage.states()) == {"unknown"}


def test_aging_takes_a_thousand_at_a_time_and_comes_to_an_end(stage: Stage) -> None:
    stage.use(a_policy(hold_above=9999))
    stage.enter(*[a_row(f"H{n}", step=READY) for n in range(1100)])
    stage.clock.forward(timedelta(days=10))
    stage.delivery.age()
    assert stage.states().count("expired") == 1000
    stage.delivery.age()
    assert stage.states().count("expired") == 1100
