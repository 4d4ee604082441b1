"""What may have been taken is sent again late, once and marked, or not at all; whoever lost sight of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from smsd.core.errors import StoreError
from smsd.core.model import Mode, Outcome, Verdict
from smsd.services.review import REMOVED
from smsd.services.storage import OutboxTx
from tests.services.stage import AGENCY, CLOSED, MINUTE, READY, SETTLED, Stage, a_row
from tests.support.builders import a_policy, a_rule, local
from tests.support.fakegateway import HELD, LOST, FakeGateway


def test_a_commit_that_stood_though_it_failed_leaves_no_message_in_sending_for_ever(stage: Stage) -> None:
    stage.enter(a_row("H1", step=READY))
    stage.after(SETTLED)
    stage.outbox.transaction = failing_after_its_commit(stage)  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        stage.delivery.pump()
    assert stage.states() == ["sending"]
    for _ in range(20):
        stage.after()
        stage.age()
        stage.send()
    assert stage.states() == ["accepted"]
    assert (len(stage.gateway.taken), stage.message().possible_duplicate) == (1, True)


def failing_after_its_commit(stage: Stage) -> object:
    """The outbox's transaction, whose first commit is applied while the answer to it is lost."""
    real, failed = stage.outbox.transaction, []

    @contextmanager
    def transaction() -> Iterator[OutboxTx]:
        with real() as tx:
            yield tx
        if not failed:
            failed.append(True)
            raise StoreError("the connection was lost at COMMIT")

    return transaction


def test_what_is_under_way_for_long_is_not_taken_for_lost(stage: Stage) -> None:
    stage.gateway.script(HELD, times=1)
    stage.enter(a_row("H1", step=READY))
    stage.after(SETTLED)
    stage.delivery.pump()
    for _ in range(10):
        stage.after()
        stage.age()
    assert stage.states() == ["sending"]


def test_an_answer_that_comes_after_the_message_was_taken_for_lost_still_counts(stage: Stage) -> None:
    stage.gateway.script(HELD, times=1)
    stage.enter(a_row("H1", step=READY))
    stage.after(SETTLED)
    stage.delivery.pump()
    stage.a_delivery(FakeGateway("fake")).recover()
    assert stage.states() == ["unknown"]
    stage.gateway.release()
    stage.delivery.pump()
    assert stage.states() == ["accepted"]


def test_a_gateway_that_tells_repeats_apart_cannot_tell_those_of_another(stage: Stage) -> None:
    stage.gateway = FakeGateway("kannel")
    stage.start()
    stage.gateway.script(LOST, times=1)
    stage.enter(a_row("H1", step=READY))
    stage.settle_and_send()
    stage.gateway = FakeGateway("esms", repeats_safely=True)
    stage.restart()
    stage.after()
    stage.age()
    stage.send()
    assert (stage.states(), stage.gateway.taken, stage.gateway.asked_for) == (["unknown"], [], [])
    for _ in range(20):
        stage.after()
        stage.age()
        stage.send()
    assert (len(stage.gateway.taken), stage.message().possible_duplicate) == (1, True)


def test_a_repeat_is_trusted_to_be_told_for_a_day_only(stage: Stage) -> None:
    stage.gateway = FakeGateway("esms", repeats_safely=True)
    stage.start()
    stage.gateway.script(LOST, times=1)
    stage.enter(a_row("H1", step=READY))
    stage.settle_and_send()
    assert stage.states() == ["unknown"]
    stage.after(timedelta(hours=25))
    stage.gateway.taken.clear()  # the provider has forgotten the id
    stage.age()
    stage.send()
    assert (len(stage.gateway.taken), stage.message().possible_duplicate) == (1, True)


def test_a_message_that_comes_back_after_its_agency_was_removed_ends_as_off(stage: Stage) -> None:
    stage.gateway.script(HELD, times=1)
    stage.enter(a_row("H1", step=READY))
    stage.after(SETTLED)
    stage.delivery.pump()
    stage.policies = {AGENCY: REMOVED}
    stage.gateway.release(Outcome(Verdict.RETRY, "busy"))
    stage.delivery.pump()
    assert stage.states() == ["off"]


def test_a_baseline_with_changed_positions_leaves_no_old_one_behind(stage: Stage) -> None:
    old = a_policy(
        positions=(a_rule("result_ready", steps=("Có kết quả",)), a_rule("closed", steps=(CLOSED,)))
    )
    stage.use(old)
    stage.baseline(a_row("H1", step=READY), a_row("other"))
    stage.use(replace(old, mode=Mode.OFF))
    stage.take_part()
    stage.use(a_policy())
    stage.take_part()
    assert stage.after().baseline
    stage.show(a_row("H1", step=READY, procedure_name="Khai sinh lại"), a_row("other"))
    stage.after()
    assert stage.messages() == []


def test_a_released_message_still_waits_for_what_is_left_of_settle(stage: Stage) -> None:
    stage.use(a_policy(hold_above=0))
    stage.enter(a_row("H1", step=READY))
    assert stage.states() == ["held"]
    stage.clock.forward(timedelta(seconds=5))
    stage.outbox.decide_held(AGENCY, release=True, os_user="an", now=stage.clock.now())
    stage.send()
    assert stage.states() == ["queued"]
    stage.settle_and_send()
    assert stage.states() == ["accepted"]


def test_a_message_held_under_a_clock_that_ran_ahead_waits_no_longer_than_settle_once_released(
    stage: Stage,
) -> None:
    stage.use(a_policy(hold_above=0))
    stage.enter(a_row("H1", step=READY))
    stage.clock.forward(-timedelta(hours=26))
    stage.outbox.decide_held(AGENCY, release=True, os_user="an", now=stage.clock.now())
    stage.settle_and_send()
    assert stage.states() == ["accepted"]


def test_a_dossier_away_for_the_one_read_of_the_pass_is_listed(stage: Stage) -> None:
    due = local("2026-08-04 10:00")
    everyone = [a_row(f"H{n}", due_at=due) for n in range(3)]
    stage.baseline(*everyone)
    stage.clock.at = local("2026-08-03 17:30")
    stage.show(*everyone[:2])
    stage.poll()
    stage.show(*everyone)
    stage.after(MINUTE)
    assert sorted(m.dossier_code for m in stage.messages("apology")) == ["H0", "H1"]
    assert stage.findings() == [("no_apology", "H2")]


def under_way_while_its_dossier_leaves_and_comes_back(stage: Stage, after: timedelta) -> None:
    """H1's message is with the gateway, unanswered; the dossier has left its position and entered it again."""
    stage.gateway.script(HELD, times=1)
    stage.enter(a_row("H1", step=READY))
    stage.after(SETTLED)
    stage.delivery.pump()
    assert stage.states() == ["sending"]
    stage.show(a_row("H1"), a_row("other"))
    stage.after()
    stage.show(a_row("H1", step=READY), a_row("other"))
    stage.after(after)


def test_a_message_that_comes_back_to_another_entry_with_one_of_its_own_is_not_sent(stage: Stage) -> None:
    under_way_while_its_dossier_leaves_and_comes_back(stage, 61 * MINUTE)
    assert stage.states() == ["sending", "queued"]
    stage.gateway.release(Outcome(Verdict.RETRY, "busy"))
    stage.gateway.taken.clear()  # it was not
    for _ in range(3):
        stage.after()
        stage.send()
    assert stage.states() == ["superseded", "accepted"]
    assert len(stage.gateway.taken) == 1


def test_a_message_that_comes_back_to_an_entry_found_to_be_its_repeat_is_sent(stage: Stage) -> None:
    under_way_while_its_dossier_leaves_and_comes_back(stage, MINUTE)
    assert stage.states() == ["sending", "repeat"]
    stage.gateway.release(Outcome(Verdict.RETRY, "busy"))
    stage.gateway.taken.clear()  # it was not
    for _ in range(3):
        stage.after()
        stage.send()
    assert stage.states() == ["accepted", "repeat"]
    assert len(stage.gateway.taken) == 1


@pytest.mark.parametrize("repeats_safely", [False, True])
def test_a_perhaps_sent_one_made_anew_for_a_mended_number_is_marked(
    stage: Stage, repeats_safely: bool
) -> None:
    stage.gateway = FakeGateway(repeats_safely=repeats_safely)
    stage.start()
    stage.gateway.script(LOST, times=1)
    stage.enter(a_row("H1", step=READY))
    stage.settle_and_send()
    assert stage.states() == ["unknown"]
    stage.gateway.repeats_safely = False  # it does not know the id when it is asked
    stage.show(a_row("H1", step=READY, phone=""), a_row("other"))
    stage.after(16 * MINUTE)
    stage.age()
    assert stage.states() == ["no_phone"]
    stage.show(a_row("H1", step=READY), a_row("other"))
    stage.after()
    stage.settle_and_send()
    assert stage.states() == ["no_phone", "accepted"]
    assert (len(stage.gateway.taken), stage.messages()[-1].possible_duplicate) == (2, True)


def test_one_made_anew_that_no_gateway_ever_had_is_not_marked(stage: Stage) -> None:
    stage.enter(a_row("H1", step=READY, phone=""))
    stage.show(a_row("H1", step=READY), a_row("other"))
    stage.after()
    stage.settle_and_send()
    assert stage.states() == ["no_phone", "accepted"]
    assert not stage.messages()[-1].possible_duplicate
