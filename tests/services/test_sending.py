"""What each answer of a gateway makes of a message, and what is never sent."""

from __future__ import annotations

import time as real_time
from dataclasses import replace
from datetime import time, timedelta

import pytest

from smsd.adapters.store.schema import messages
from smsd.core.errors import StoreError
from smsd.core.model import MessageState, Outcome, Verdict
from smsd.services.delivery import SendingRules
from tests.services.stage import ALWAYS, HOUR, MINUTE, READY, SETTLED, Stage, a_row
from tests.support.builders import ZONE, a_policy, local
from tests.support.fakegateway import (
    ACCOUNT,
    DELIVERED,
    GARBLED,
    HELD,
    LOST,
    REJECTED,
    RETRY,
    Reaction,
)

OTHER = a_row("other")


def entered(stage: Stage, count: int = 1) -> None:
    stage.enter(*[a_row(f"H{n}", step=READY, phone=f"09051234{n:02d}") for n in range(1, count + 1)])
    stage.clock.forward(SETTLED)
    stage.poll()


def test_everything_the_gateway_and_the_spool_need_is_handed_over(stage: Stage) -> None:
    entered(stage)
    stage.send()
    (given,) = stage.gateway.taken
    message = stage.message()
    assert (given.id, given.phone, given.text) == (message.id, "84905123401", message.text)
    assert (given.kind, given.agency, given.dossier_code) == ("result_ready", "nha-trang", "H1")
    assert (given.segments, given.repeat, given.at) == (message.segments, False, stage.clock.now())


@pytest.mark.parametrize(
    ("reaction", "state", "final"),
    [
        (Reaction(True, Outcome(Verdict.ACCEPTED, reference="r1")), "accepted", False),
        (DELIVERED, "delivered", True),
        (REJECTED, "rejected", True),
        (RETRY, "queued", False),
        (ACCOUNT, "queued", False),
        (LOST, "unknown", False),
        (GARBLED, "unknown", False),
    ],
)
def test_each_answer_has_its_state(stage: Stage, reaction: Reaction, state: str, final: bool) -> None:
    entered(stage)
    stage.gateway.script(reaction, times=1)
    stage.send()
    message = stage.message()
    assert (message.state, message.final_at is not None) == (state, final)
    handed_over = state in ("accepted", "delivered")
    assert (message.handed_over_at is not None) is handed_over
    assert message.gateway == ("fake" if state != "queued" else None)  # any gateway may take what none has


def test_the_provider_s_words_are_kept_as_one_clean_line(stage: Stage) -> None:
    entered(stage)
    hostile = Outcome(
        Verdict.REJECTED, "E\x0017", "no\nsuch\udc00 number " + "x" * 500, reference="r\x00" + "9" * 900
    )
    stage.gateway.script(Reaction(False, hostile))
    stage.send()
    message = stage.message()
    assert message.detail is not None
    assert message.detail.startswith("E17 no such number xxx")
    assert len(message.detail) == 200
    assert len(message.reference or "") == 200


def test_tries_wait_one_second_doubling_to_a_minute(stage: Stage) -> None:
    entered(stage)
    stage.gateway.script(RETRY)
    waits = []
    for _ in range(9):
        before = len(stage.gateway.handed_over)
        seconds = 0
        while len(stage.gateway.handed_over) == before:
            if seconds:
                stage.clock.forward(timedelta(seconds=1))
            seconds += 1
            stage.poll()
            stage.send()
        waits.append(seconds - 1)
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_gateway_that_takes_nothing_for_long_raises_an_alarm_that_ends_by_itself(stage: Stage) -> None:
    entered(stage)
    stage.gateway.script(RETRY, times=7)
    for _ in range(8):
        stage.clock.forward(MINUTE)
        stage.poll()
        if stage.gateway.handed_over:
            assert stage.alarm_keys() == ([] if len(stage.gateway.handed_over) < 7 else ["gateway:fake"])
        stage.send()
    assert stage.states() == ["accepted"]
    assert stage.alarm_keys() == []


def test_a_message_that_expires_while_the_gateway_is_down_is_not_sent(stage: Stage) -> None:
    entered(stage)
    stage.gateway.script(RETRY, times=1)
    stage.send()
    stage.clock.forward(timedelta(days=10))
    stage.poll()
    stage.send()
    stage.delivery.age()
    assert stage.states() == ["expired"]
    assert len(stage.gateway.handed_over) == 1


def test_a_position_left_while_its_message_was_under_way_ends_it_if_it_comes_back(stage: Stage) -> None:
    entered(stage)
    stage.gateway.script(HELD)
    stage.delivery.pump()
    stage.show(OTHER, a_row("H1"))
    stage.after()
    assert stage.states() == ["sending"]
    stage.gateway.release(RETRY.outcome)  # type: ignore[arg-type]
    stage.delivery.pump()
    assert stage.states() == ["superseded"]
    stage.settle_and_send()
    assert len(stage.gateway.handed_over) == 1


def test_a_position_left_while_its_message_was_under_way_does_not_undo_what_was_taken(stage: Stage) -> None:
    entered(stage)
    stage.gateway.script(HELD)
    stage.delivery.pump()
    stage.show(OTHER, a_row("H1"))
    stage.after()
    stage.gateway.release()
    stage.delivery.pump()
    assert stage.states() == ["accepted"]


def test_nothing_is_sent_outside_the_sending_hours(stage: Stage) -> None:
    stage.rules = replace(ALWAYS, opens=time(6), closes=time(22))
    stage.start()
    stage.clock.at = local("2026-08-03 21:50")
    entered(stage)
    stage.clock.at = local("2026-08-03 22:00")
    stage.poll()
    stage.send()
    assert stage.states() == ["queued"]
    stage.clock.at = local("2026-08-04 05:59")
    stage.poll()
    stage.send()
    assert stage.states() == ["queued"]
    stage.clock.at = local("2026-08-04 06:00")
    stage.poll()
    stage.send()
    assert stage.states() == ["accepted"]


def test_no_more_than_the_window_is_under_way(stage: Stage) -> None:
    stage.gateway.window = 3
    entered(stage, 8)
    stage.send()
    assert stage.gateway.most_under_way <= 3
    assert len(stage.gateway.taken) == 8


def test_the_first_message_goes_alone_then_a_windowful(stage: Stage) -> None:
    stage.gateway.window = 5
    stage.gateway.script(HELD)
    entered(stage, 8)
    stage.delivery.pump()
    assert len(stage.gateway.handed_over) == 1
    stage.gateway.release()
    stage.delivery.pump()
    assert len(stage.gateway.handed_over) == 6


def test_a_wrong_account_stops_the_link_and_burns_no_message(stage: Stage) -> None:
    entered(stage, 5)
    stage.gateway.script(ACCOUNT)
    stage.send()
    assert len(stage.gateway.handed_over) == 1
    assert stage.states() == ["queued"] * 5
    assert stage.alarm_keys() == ["gateway:fake"]
    assert stage.delivery.stopped
    for _ in range(3):
        stage.clock.forward(10 * MINUTE - timedelta(seconds=1))
        stage.poll()
        tried = len(stage.gateway.handed_over)
        stage.send()
        assert len(stage.gateway.handed_over) == tried
        stage.clock.forward(timedelta(seconds=1))
        stage.send()
        assert len(stage.gateway.handed_over) == tried + 1
    assert {m.attempts for m in stage.messages()} == {0}


def test_a_stopped_link_tries_again_on_reload_and_goes_on_when_the_account_is_mended(stage: Stage) -> None:
    entered(stage, 5)
    stage.gateway.script(ACCOUNT, times=1)
    stage.send()
    stage.delivery.reload(ALWAYS)
    stage.send()
    assert stage.states() == ["accepted"] * 5
    assert stage.alarm_keys() == []
    assert not stage.delivery.stopped


def test_a_new_delivery_tries_one_message_on_a_link_that_was_stopped(stage: Stage) -> None:
    entered(stage, 5)
    stage.gateway.script(ACCOUNT)
    stage.send()
    stage.delivery = stage.a_delivery()
    stage.send()
    assert len(stage.gateway.handed_over) == 2


@pytest.mark.parametrize(("reaction", "state"), [(REJECTED, "rejected"), (GARBLED, "unknown")])
def test_ten_refusals_or_unreadable_answers_in_a_row_stop_the_link(
    stage: Stage, reaction: Reaction, state: str
) -> None:
    stage.gateway.window = 50
    entered(stage, 30)
    stage.gateway.script(reaction)
    for _ in range(60):
        stage.clock.forward(timedelta(seconds=61))
        stage.poll()
        stage.send()
        if stage.delivery.stopped:
            break
    assert sorted(stage.states()) == sorted([state] * 10 + ["queued"] * 20)
    assert stage.alarm_keys() == ["gateway:fake"]


def test_ten_refusals_after_a_success_stop_the_link_with_no_windowful_burnt(stage: Stage) -> None:
    stage.gateway.window = 5
    entered(stage, 40)
    for n in range(2, 41):
        stage.gateway.script(REJECTED, phone=f"849051234{n:02d}")
    stage.send()
    rejected = stage.states().count("rejected")
    assert 10 <= rejected <= 10 + stage.gateway.window
    assert stage.delivery.stopped


def test_refusals_between_successes_stop_nothing(stage: Stage) -> None:
    entered(stage, 40)
    for n in range(1, 41, 2):
        stage.gateway.script(REJECTED, phone=f"849051234{n:02d}")
    stage.gateway.window = 2
    stage.delivery = stage.a_delivery()
    stage.send()
    assert sorted(set(stage.states())) == ["accepted", "rejected"]
    assert not stage.delivery.stopped


def test_answers_are_kept_while_the_store_fails(stage: Stage) -> None:
    entered(stage, 2)
    stage.gateway.script(HELD)
    stage.delivery.pump()
    stage.gateway.release()
    working = stage.outbox.transaction

    def broken() -> object:
        raise StoreError("disk full")

    stage.outbox.transaction = broken  # type: ignore[method-assign, assignment]
    for _ in range(2):
        with pytest.raises(StoreError):
            stage.delivery.pump()
    stage.outbox.transaction = working  # type: ignore[method-assign]
    stage.gateway.script(DELIVERED)
    stage.send()
    assert sorted(stage.states()) == ["accepted", "delivered"]
    assert stage.delivery.idle()


def test_a_second_answer_to_one_message_counts_for_nothing(stage: Stage) -> None:
    class Twice(type(stage.gateway)):  # type: ignore[misc]
        def _answer(self, message_id: str, outcome: Outcome, done: object) -> None:
            super()._answer(message_id, outcome, done)
            done(message_id, Outcome(Verdict.REJECTED))  # type: ignore[operator]
            done("never given", Outcome(Verdict.REJECTED))  # type: ignore[operator]

    stage.gateway = Twice(window=1)
    stage.delivery = stage.a_delivery()
    entered(stage, 3)
    stage.send()
    assert stage.states() == ["accepted"] * 3


def test_a_gateway_that_raises_leaves_its_messages_unknown(stage: Stage) -> None:
    class Raising(type(stage.gateway)):  # type: ignore[misc]
        def submit(self, *given: object) -> None:
            raise OSError("broken")

    stage.gateway = Raising()
    stage.delivery = stage.a_delivery()
    entered(stage)
    stage.send()
    assert stage.states() == ["unknown"]


def test_closing_records_the_last_answers(stage: Stage) -> None:
    entered(stage)
    stage.gateway.script(HELD)
    stage.delivery.pump()
    stage.delivery.close()
    assert stage.states() == ["unknown"]


def test_messages_of_an_agency_in_shadow_or_of_another_state_are_not_claimed(stage: Stage) -> None:
    entered(stage)
    stage.put_all(MessageState.HELD)
    stage.send()
    assert stage.gateway.handed_over == []


def test_a_clock_set_back_holds_a_message_only_until_the_next_read(stage: Stage) -> None:
    entered(stage)
    stage.clock.forward(-HOUR)
    stage.send()
    assert stage.states() == ["queued"]
    stage.clock.forward(HOUR)
    stage.poll()
    stage.send()
    assert stage.states() == ["accepted"]


def test_a_clock_set_back_does_not_prolong_a_link_s_rest(stage: Stage) -> None:
    entered(stage)
    stage.gateway.script(ACCOUNT, times=1)
    stage.send()
    stage.clock.forward(-timedelta(days=1))
    stage.poll()
    with stage.database.writing() as connection:
        connection.execute(messages.update().values(next_at=stage.clock.now()))
    stage.send()
    assert len(stage.gateway.handed_over) == 2


def test_the_hours_may_span_midnight(stage: Stage) -> None:
    rules = SendingRules(ZONE, time(22), time(6), unknown_after=MINUTE)
    stage.rules = rules
    stage.start()
    stage.clock.at = local("2026-08-03 23:00")
    stage.use(a_policy())
    entered(stage)
    stage.send()
    assert stage.states() == ["accepted"]


def test_a_rate_is_kept_and_everything_is_sent_in_the_end(stage: Stage) -> None:
    stage.rules = replace(ALWAYS, rate=5000.0)
    stage.monotonic = real_time.monotonic  # type: ignore[method-assign]
    stage.start()
    entered(stage, 20)
    stage.send()
    assert stage.states() == ["accepted"] * 20
    assert stage.gateway.most_under_way == 1


def test_a_gateway_that_is_down_for_an_hour_loses_and_doubles_nothing(stage: Stage) -> None:
    entered(stage, 5)
    stage.gateway.script(RETRY)
    for _ in range(60):
        stage.after()
        stage.age()
        stage.send()
    assert stage.gateway.taken == []
    assert stage.alarm_keys() == ["gateway:fake"]
    stage.gateway.mend()
    for _ in range(5):
        stage.after()
        stage.send()
    assert len({message.id for message in stage.gateway.taken}) == len(stage.gateway.taken) == 5
    assert stage.alarm_keys() == []
