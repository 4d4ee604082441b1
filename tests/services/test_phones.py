"""The phone is that of the latest good read, and a mended one is texted after all."""

from __future__ import annotations

from datetime import timedelta

import pytest

from smsd.core.model import ReceiptVerdict
from tests.services.stage import HOUR, READY, Stage, a_row
from tests.support.builders import a_policy
from tests.support.fakegateway import HELD, LOST, NEVER_ARRIVED, RETRY

OTHER = a_row("other")
NEW = "0912345678"


def test_a_queued_message_goes_to_the_number_of_the_latest_read(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.show(OTHER, a_row(step=READY, phone=NEW))
    stage.after()
    stage.settle_and_send()
    assert [m.phone for m in stage.gateway.taken] == ["84912345678"]
    assert stage.events(stage.message().id) == ["queued", "queued", "sending", "accepted"]


def test_the_same_number_written_in_another_way_changes_nothing(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.show(OTHER, a_row(step=READY, phone="+84 905 123 456"))
    stage.after()
    assert stage.events(stage.message().id) == ["queued"]


def test_held_messages_take_the_new_number_too(stage: Stage) -> None:
    stage.use(a_policy(hold_above=0))
    stage.enter(a_row(step=READY))
    stage.show(OTHER, a_row(step=READY, phone=NEW))
    stage.after()
    assert (stage.message().state, stage.message().phone) == ("held", "84912345678")


def test_a_queued_message_whose_number_becomes_unusable_ends_with_the_number_s_fault(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.show(OTHER, a_row(step=READY, phone=""))
    stage.after()
    assert stage.states() == ["no_phone"]


def test_a_baseline_follows_numbers_and_positions_of_messages_made_before(stage: Stage) -> None:
    stage.enter(a_row("H1", step=READY), a_row("H2", step=READY))
    stage.show(OTHER, a_row("H1", step=READY, phone=NEW), a_row("H2"), a_row("H3", step=READY))
    stage.clock.forward(timedelta(minutes=1))
    stage.poll(baseline=True)
    assert [(m.dossier_code, m.state, m.phone) for m in stage.messages()] == [
        ("H1", "queued", "84912345678"),
        ("H2", "superseded", "84905123456"),
    ]


@pytest.mark.parametrize("wrong", ["", "0258 3822222", "123", "0583822222"])
def test_a_message_suppressed_for_its_number_is_made_anew_when_the_number_is_mended(
    stage: Stage, wrong: str
) -> None:
    stage.enter(a_row(step=READY, phone=wrong))
    stage.show(OTHER, a_row(step=READY))
    stage.after(HOUR)
    stage.settle_and_send()
    first, second = stage.messages()
    assert (first.state, second.state, second.occurrence) == ("suppressed", "accepted", "1.1")
    assert second.valid_until == first.valid_until


def test_a_number_may_break_and_be_mended_again_and_again(stage: Stage) -> None:
    stage.enter(a_row(step=READY, phone=""))
    for phone in ("0905123456", "không", "0905123457"):
        stage.show(OTHER, a_row(step=READY, phone=phone))
        stage.after(timedelta(seconds=30))
    stage.settle_and_send()
    assert stage.states() == ["no_phone", "no_phone", "accepted"]
    assert [m.phone for m in stage.gateway.taken] == ["84905123457"]


def test_a_number_mended_after_the_message_s_time_is_left(stage: Stage) -> None:
    stage.enter(a_row(step=READY, phone=""))
    stage.show(OTHER, a_row(step=READY))
    stage.after(timedelta(days=10))
    assert stage.states() == ["no_phone"]


def test_a_number_mended_after_the_dossier_left_is_left(stage: Stage) -> None:
    stage.enter(a_row(step=READY, phone=""))
    stage.show(OTHER, a_row())
    stage.after()
    assert stage.states() == ["no_phone"]


def test_a_number_mended_with_a_new_entry_makes_one_message_for_that_entry(stage: Stage) -> None:
    stage.enter(a_row(step=READY, phone=""))
    stage.show(OTHER, a_row(phone=""))
    stage.after()
    stage.show(OTHER, a_row(step=READY))
    stage.after()
    assert stage.states() == ["no_phone", "queued"]
    stage.show(OTHER, a_row(step=READY, phone=NEW))
    stage.after()
    assert stage.states() == ["no_phone", "queued"]


def test_a_changed_number_of_a_message_that_was_sent_makes_no_second_one(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.settle_and_send()
    stage.show(OTHER, a_row(step=READY, phone=NEW))
    stage.after()
    assert stage.states() == ["accepted"]


def test_a_message_retried_after_its_number_changed_goes_to_the_new_one(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.gateway.script(RETRY, times=1)
    stage.settle_and_send()
    stage.show(OTHER, a_row(step=READY, phone=NEW))
    stage.after()
    stage.send()
    assert [m.phone for m in stage.gateway.handed_over] == ["84905123456", "84912345678"]


def test_a_number_that_changes_while_its_message_is_under_way_is_used_for_the_next_try(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.gateway.script(HELD, times=1)
    stage.clock.forward(timedelta(minutes=2))
    stage.delivery.pump()
    stage.show(OTHER, a_row(step=READY, phone=NEW))
    stage.poll()
    stage.gateway.release(RETRY.outcome)  # type: ignore[arg-type]
    stage.delivery.pump()
    stage.after()
    stage.send()
    assert [m.phone for m in stage.gateway.handed_over] == ["84905123456", "84912345678"]


def test_a_number_that_breaks_while_its_message_is_under_way_ends_it_when_it_comes_back(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.gateway.script(HELD, times=1)
    stage.clock.forward(timedelta(minutes=2))
    stage.delivery.pump()
    stage.show(OTHER, a_row(step=READY, phone=""))
    stage.poll()
    stage.gateway.release(RETRY.outcome)  # type: ignore[arg-type]
    stage.delivery.pump()
    assert stage.states() == ["no_phone"]
    assert stage.events(stage.message().id) == ["queued", "sending", "queued", "suppressed"]


def test_an_unknown_message_is_sent_again_to_the_new_number(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.gateway.script(NEVER_ARRIVED, times=1)
    stage.settle_and_send()
    stage.show(OTHER, a_row(step=READY, phone=NEW))
    stage.after()
    stage.clock.forward(timedelta(minutes=15))
    stage.poll()
    stage.delivery.age()
    stage.send()
    assert [m.phone for m in stage.gateway.handed_over] == ["84905123456", "84912345678"]


def test_an_unknown_message_whose_number_breaks_still_takes_its_receipt(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.gateway.script(LOST, times=1)
    stage.settle_and_send()
    stage.show(OTHER, a_row(step=READY, phone=""))
    stage.after()
    assert stage.states() == ["unknown"]
    stage.receipt(stage.message().id, ReceiptVerdict.DELIVERED)
    assert stage.states() == ["delivered"]


def test_an_unknown_message_whose_number_broke_is_not_sent_again(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.gateway.script(LOST, times=1)
    stage.settle_and_send()
    stage.show(OTHER, a_row(step=READY, phone=""))
    stage.after(timedelta(minutes=16))
    stage.delivery.age()
    stage.send()
    assert stage.states() == ["no_phone"]
    assert len(stage.gateway.handed_over) == 1
