"""Receipts in every order: they change a message once, and never one that was not handed over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from smsd.core.model import MessageState, Receipt, ReceiptVerdict
from tests.services.stage import HOUR, MINUTE, READY, SETTLED, Stage, a_row
from tests.support.fakegateway import ACCOUNT, HELD, LOST, REJECTED, RETRY

DELIVERED = ReceiptVerdict.DELIVERED
UNDELIVERED = ReceiptVerdict.UNDELIVERED
ON_ITS_WAY = ReceiptVerdict.ON_ITS_WAY


def sent(stage: Stage) -> str:
    stage.enter(a_row(step=READY))
    stage.settle_and_send()
    return stage.message().id


def under_way(stage: Stage) -> str:
    stage.enter(a_row(step=READY))
    stage.gateway.script(HELD)
    stage.after(SETTLED)
    stage.delivery.pump()
    return stage.message().id


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (DELIVERED, "delivered"),
        (UNDELIVERED, "undelivered"),
        (ReceiptVerdict.REJECTED, "rejected"),
        (ON_ITS_WAY, "accepted"),
    ],
)
def test_a_receipt_ends_an_accepted_message(stage: Stage, verdict: ReceiptVerdict, state: str) -> None:
    id_ = sent(stage)
    assert stage.receipt(id_, verdict) == ("repeated" if verdict is ON_ITS_WAY else "applied")
    assert stage.states() == [state]
    assert (stage.message().final_at is None) is (verdict is ON_ITS_WAY)


def test_the_same_receipt_again_is_a_repeat_and_a_contradicting_one_is_late(stage: Stage) -> None:
    id_ = sent(stage)
    assert stage.receipt(id_, DELIVERED) == "applied"
    assert stage.receipt(id_, DELIVERED) == "repeated"
    assert stage.receipt(id_, UNDELIVERED) == "late"
    assert stage.receipt(id_, ON_ITS_WAY) == "late"
    assert stage.states() == ["delivered"]
    assert stage.events(id_) == ["queued", "sending", "accepted", "delivered"]


def test_a_receipt_of_nothing_we_know_changes_nothing(stage: Stage) -> None:
    sent(stage)
    assert stage.receipt("0" * 32, DELIVERED) == "unknown_message"


def test_a_receipt_before_the_answer_stands_whatever_the_answer(stage: Stage) -> None:
    id_ = under_way(stage)
    assert stage.receipt(id_, DELIVERED) == "applied"
    stage.gateway.release(REJECTED.outcome)  # type: ignore[arg-type]
    stage.delivery.pump()
    assert stage.states() == ["delivered"]
    assert stage.message().handed_over_at is not None


def test_word_of_being_on_its_way_before_the_answer_keeps_it_from_being_sent_again(stage: Stage) -> None:
    id_ = under_way(stage)
    assert stage.receipt(id_, ON_ITS_WAY) == "applied"
    stage.gateway.release(LOST.outcome)  # type: ignore[arg-type]
    stage.delivery.pump()
    assert stage.states() == ["accepted"]


def test_a_receipt_for_a_lost_answer_ends_the_message(stage: Stage) -> None:
    stage.gateway.script(LOST)
    id_ = sent(stage)
    assert stage.receipt(id_, DELIVERED) == "applied"
    stage.after(HOUR)
    stage.delivery.age()
    stage.send()
    assert stage.states() == ["delivered"]
    assert len(stage.gateway.handed_over) == 1


def test_a_receipt_of_the_first_try_after_it_was_queued_again_keeps_the_second_from_leaving(
    stage: Stage,
) -> None:
    stage.gateway.script(LOST, times=1)
    id_ = sent(stage)
    stage.clock.forward(15 * MINUTE)
    stage.poll()
    stage.delivery.age()
    assert stage.states() == ["queued"]
    assert stage.receipt(id_, DELIVERED) == "applied"
    stage.send()
    assert stage.states() == ["delivered"]
    assert stage.message().possible_duplicate
    assert len(stage.gateway.handed_over) == 1


@pytest.mark.parametrize("reaction", [ACCOUNT])
def test_a_message_no_gateway_took_has_no_receipts(stage: Stage, reaction: object) -> None:
    stage.gateway.script(ACCOUNT)
    id_ = sent(stage)
    assert stage.receipt(id_, DELIVERED) == "repeated"
    assert stage.states() == ["queued"]


def test_a_queued_message_that_was_tried_takes_a_receipt(stage: Stage) -> None:
    stage.gateway.script(RETRY)
    id_ = sent(stage)
    assert stage.receipt(id_, UNDELIVERED) == "applied"
    assert stage.states() == ["undelivered"]


def test_a_receipt_after_the_message_ended_is_late(stage: Stage) -> None:
    stage.gateway.script(REJECTED)
    id_ = sent(stage)
    assert stage.receipt(id_, DELIVERED) == "late"
    assert stage.states() == ["rejected"]


def test_72_hours_without_a_receipt_end_an_accepted_message_as_accepted(stage: Stage) -> None:
    id_ = sent(stage)
    stage.clock.forward(72 * HOUR - timedelta(seconds=1))
    stage.delivery.age()
    assert stage.message().final_at is None
    stage.clock.forward(timedelta(seconds=1))
    stage.delivery.age()
    assert stage.message().state is MessageState.ACCEPTED
    assert stage.message().final_at == stage.clock.now()
    assert stage.receipt(id_, DELIVERED) == "late"
    assert stage.states() == ["accepted"]


def test_a_provider_s_hostile_words_are_kept_clean(stage: Stage) -> None:
    id_ = sent(stage)
    stage.delivery.receive(Receipt("fake", id_, DELIVERED, "0\x0000", "a\r\nb\u202e" + "c" * 500))
    detail = stage.message().detail or ""
    assert detail.startswith("receipt 000 a bccc")
    assert len(detail) == 200
