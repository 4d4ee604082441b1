"""Receipts that name parts of a message by the provider's ids, as they come over SMPP."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsd.core.model import Outcome, PartReceipt, ReceiptVerdict, Verdict
from smsd.services.receipts import other_spellings, part_key
from tests.services.stage import HOUR, READY, SETTLED, Stage, a_row
from tests.support.fakegateway import HELD, Reaction

DELIVERED = ReceiptVerdict.DELIVERED
UNDELIVERED = ReceiptVerdict.UNDELIVERED


def answered(*parts: str) -> Reaction:
    return Reaction(True, Outcome(Verdict.ACCEPTED, reference=parts[0], parts=parts))


def sent(stage: Stage, *parts: str) -> None:
    stage.gateway.script(answered(*parts))
    stage.enter(a_row(step=READY))
    stage.settle_and_send()


def report(stage: Stage, part: str, verdict: ReceiptVerdict = DELIVERED) -> None:
    stage.delivery.receive_parts([PartReceipt("fake", part, verdict, "000")])


def test_a_message_is_delivered_when_all_its_parts_are(stage: Stage) -> None:
    sent(stage, "7A1", "7A2")
    report(stage, "7A2")
    assert stage.states() == ["accepted"]
    report(stage, "7A1")
    assert stage.states() == ["delivered"]


def test_one_part_refused_is_a_message_refused(stage: Stage) -> None:
    sent(stage, "1", "2", "3")
    report(stage, "1")
    report(stage, "2", UNDELIVERED)
    report(stage, "3")
    assert stage.states() == ["undelivered"]


def test_receipts_that_come_before_the_answer_are_not_lost(stage: Stage) -> None:
    stage.gateway.script(HELD)
    stage.enter(a_row(step=READY))
    stage.after(SETTLED)
    stage.delivery.pump()
    report(stage, "00A7")
    report(stage, "a8")
    assert stage.states() == ["sending"]
    stage.gateway.release(answered("A7", "A8").outcome or Outcome(Verdict.UNKNOWN))
    stage.delivery.pump()
    assert stage.states() == ["delivered"]


def test_a_final_word_on_a_part_is_never_taken_back(stage: Stage) -> None:
    sent(stage, "1", "2")
    report(stage, "1")
    report(stage, "1", ReceiptVerdict.ON_ITS_WAY)
    report(stage, "1", UNDELIVERED)
    report(stage, "2")
    assert stage.states() == ["delivered"]


def test_parts_half_reported_count_as_delivered_once_nothing_more_can_come(stage: Stage) -> None:
    sent(stage, "1", "2")
    report(stage, "1")
    stage.clock.forward(72 * HOUR)
    stage.delivery.age()
    assert stage.states() == ["delivered"]


def test_parts_never_reported_end_accepted(stage: Stage) -> None:
    sent(stage, "1", "2")
    stage.clock.forward(72 * HOUR)
    stage.delivery.age()
    assert (stage.states(), stage.message().final_at is None) == (["accepted"], False)


@pytest.mark.parametrize(("answer", "receipt"), [("4779", "12ab"), ("12AB", "4779"), ("0012AB", "0004779")])
def test_an_id_reported_in_hexadecimal_or_decimal_finds_its_part_after_a_while(
    stage: Stage, answer: str, receipt: str
) -> None:
    sent(stage, answer)
    report(stage, receipt)
    stage.delivery.age()
    assert stage.states() == ["accepted"]
    stage.clock.forward(timedelta(seconds=30))
    stage.delivery.age()
    assert stage.states() == ["delivered"]


def test_a_receipt_of_nobody_s_part_is_given_up_and_no_longer_looked_for(stage: Stage) -> None:
    sent(stage, "1")
    report(stage, "77")
    stage.clock.forward(timedelta(seconds=30))
    stage.delivery.age()
    with stage.outbox.transaction() as tx:
        assert tx.unowned_parts(stage.clock.now()) == []
    assert stage.states() == ["accepted"]


def test_an_id_that_the_message_centre_uses_again_belongs_to_the_new_message(stage: Stage) -> None:
    sent(stage, "1")
    report(stage, "1")
    stage.gateway.script(answered("1"))
    stage.show(a_row("other"), a_row(step=READY), a_row("H2", step=READY))
    stage.after(HOUR)
    stage.settle_and_send()
    assert stage.states() == ["delivered", "accepted"]
    report(stage, "1", UNDELIVERED)
    assert stage.states() == ["delivered", "undelivered"]


def test_a_stray_receipt_of_long_ago_says_nothing_of_a_new_message(stage: Stage) -> None:
    report(stage, "1", UNDELIVERED)
    stage.clock.forward(2 * HOUR)
    sent(stage, "1")
    assert stage.states() == ["accepted"]


def test_many_receipts_are_recorded_together(stage: Stage) -> None:
    sent(stage, "1", "2", "3")
    stage.delivery.receive_parts([PartReceipt("fake", str(n), DELIVERED) for n in range(1, 30)])
    assert stage.states() == ["delivered"]


def two_may_go(stage: Stage) -> None:
    """Two messages of two parts each, that will be taken as 1 and 2, 3 and 4."""
    stage.enter(a_row("H1", step=READY), a_row("H2", step=READY, phone="0905123457"))
    for code, parts in (("H1", ("1", "2")), ("H2", ("3", "4"))):
        (id_,) = (message.id for message in stage.messages() if message.dossier_code == code)
        stage.gateway.script(answered(*parts), id=id_)
    stage.after(SETTLED)


WORDS = st.tuples(
    st.sampled_from(["1", "2", "3", "4", "77"]),
    st.sampled_from([DELIVERED, UNDELIVERED, ReceiptVerdict.ON_ITS_WAY]),
)


@settings(max_examples=25, deadline=None)
@given(before=st.lists(WORDS, max_size=4), after=st.lists(WORDS, max_size=8))
def test_receipts_together_are_worth_what_they_are_one_by_one_before_the_answers_and_after(
    before: list[tuple[str, ReceiptVerdict]], after: list[tuple[str, ReceiptVerdict]]
) -> None:
    ends = []
    for at_once in (True, False):
        with TemporaryDirectory() as folder:
            stage = Stage(Path(folder))
            two_may_go(stage)
            for words in (before, after):
                receipts = [PartReceipt("fake", part, verdict, "000") for part, verdict in words]
                for some in [receipts] if at_once else [[receipt] for receipt in receipts]:
                    stage.delivery.receive_parts(some)
                stage.send()
            ends.append((stage.states(), [stage.events(message.id) for message in stage.messages()]))
            stage.database.close()
    assert ends[0] == ends[1]


def test_a_windowful_reported_before_its_answers_are_recorded_is_delivered(stage: Stage) -> None:
    rows = [a_row(f"H{n}", step=READY, phone=f"09051234{n:02d}") for n in range(60)]
    stage.enter(*rows)
    for number, message in enumerate(stage.messages()):
        stage.gateway.script(answered(f"{number:x}"), id=message.id)
    stage.after(SETTLED)
    stage.delivery.receive_parts([PartReceipt("fake", f"{n:X}", DELIVERED) for n in range(60)])
    stage.send()
    assert stage.states() == ["delivered"] * 60
    for message in stage.messages():
        assert stage.events(message.id) == ["queued", "sending", "accepted", "delivered"]


def test_receipts_of_several_gateways_may_come_at_once(stage: Stage) -> None:
    sent(stage, "1")
    of_another = PartReceipt("another", "1", UNDELIVERED)
    stage.delivery.receive_parts([of_another, PartReceipt("fake", "1", DELIVERED)])
    assert stage.states() == ["delivered"]


def test_all_receipts_of_nobody_are_given_up_in_one_turn_however_many(stage: Stage) -> None:
    sent(stage, "4779")
    strays = [PartReceipt("fake", f"x-{n}", DELIVERED) for n in range(1100)]
    stage.delivery.receive_parts([*strays, PartReceipt("fake", "12ab", DELIVERED)])
    stage.clock.forward(timedelta(seconds=30))
    stage.delivery.age()
    with stage.outbox.transaction() as tx:
        assert tx.unowned_parts(stage.clock.now()) == []
    assert stage.states() == ["delivered"]


@pytest.mark.parametrize(("part", "key"), [("0012Ab", "12ab"), ("000", "0"), ("", "0"), ("x\x00y", "xy")])
def test_ids_are_compared_without_case_and_leading_zeros(part: str, key: str) -> None:
    assert part_key(part) == key


@pytest.mark.parametrize(("key", "others"), [("10", ["a", "16"]), ("ff", ["255"]), ("x-1", []), ("5", [])])
def test_other_spellings_are_hexadecimal_and_decimal(key: str, others: list[str]) -> None:
    assert other_spellings(key) == others
