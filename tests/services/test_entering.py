"""Entering a position makes one message, or none for the first reason that applies."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from smsd.core.model import MessageState, Mode, Reason
from tests.services.stage import CLOSED, HOUR, MINUTE, READY, SETTLED, WORKING, Stage, a_row
from tests.support.builders import NOW, a_policy, a_rule, local, notices


def test_a_dossier_that_reaches_the_result_is_texted_once(stage: Stage) -> None:
    stage.baseline(a_row())
    stage.show(a_row(step=READY))
    stage.after()
    stage.after()
    message = stage.message()
    assert (message.kind, message.state, message.phone) == ("result_ready", "queued", "84905123456")
    assert "(H1) đã được giải quyết xong" in (message.text or "")
    assert stage.transitions() == [("H1", "in_progress", "result_ready", "read")]


def test_a_dossier_first_seen_in_a_position_after_the_baseline_is_texted(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    assert stage.states() == ["queued"]


def test_supplement_is_told_by_status_and_step_together(stage: Stage) -> None:
    stage.baseline(a_row("H1"), a_row("H2"))
    stage.show(
        a_row("H1", status="  chờ  BỔ SUNG ", step="Tiếp nhận"),
        a_row("H2", status="Chờ bổ sung", step=WORKING),
    )
    stage.after()
    assert [(m.dossier_code, m.kind) for m in stage.messages()] == [("H1", "supplement")]


def test_entering_again_after_an_hour_makes_a_new_message(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.settle_and_send()
    stage.show(a_row("other"), a_row())
    stage.after()
    stage.show(a_row("other"), a_row(step=READY))
    stage.after(HOUR)
    assert stage.states() == ["accepted", "queued"]


def test_entering_again_within_the_hour_is_a_repeat_if_the_first_was_handed_over(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.settle_and_send()
    stage.show(a_row("other"), a_row())
    stage.after()
    stage.show(a_row("other"), a_row(step=READY))
    stage.after()
    assert stage.states() == ["accepted", "repeat"]


@pytest.mark.parametrize(
    ("set_back", "again"), [(MINUTE, "repeat"), (55 * MINUTE, "repeat"), (timedelta(days=30), "queued")]
)
def test_a_clock_set_back_a_little_hides_no_repeat_and_one_that_ran_far_ahead_makes_none(
    stage: Stage, set_back: timedelta, again: str
) -> None:
    stage.enter(a_row(step=READY))
    stage.settle_and_send()
    stage.clock.forward(-set_back)
    stage.show(a_row("other"), a_row())
    stage.after()
    stage.show(a_row("other"), a_row(step=READY))
    stage.after()
    assert sorted(stage.states()) == ["accepted", again]


@pytest.mark.parametrize("ending", ["superseded", "suppressed", "rejected", "expired"])
def test_messages_that_never_arrived_make_no_repeat(stage: Stage, ending: str) -> None:
    stage.enter(a_row(step=READY))
    stage.put_all(ending, final_at=stage.clock.now())
    stage.show(a_row("other"), a_row())
    stage.after()
    stage.show(a_row("other"), a_row(step=READY))
    stage.after()
    assert stage.states()[-1] == "queued"


def test_leaving_before_it_was_sent_supersedes_and_coming_back_makes_a_new_one(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.show(a_row("other"), a_row())
    assert stage.after(timedelta(seconds=30)).superseded == 1
    stage.show(a_row("other"), a_row(step=READY))
    stage.after(timedelta(seconds=30))
    stage.settle_and_send()
    assert stage.states() == ["superseded", "accepted"]
    assert len(stage.gateway.taken) == 1


def test_one_position_after_the_other_supersedes_the_first_message(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.show(a_row("other"), a_row(step=READY, status="Chờ bổ sung"))
    stage.after()
    assert [(m.kind, m.state) for m in stage.messages()] == [
        ("result_ready", MessageState.SUPERSEDED),
        ("supplement", MessageState.QUEUED),
    ]


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ({"resolved_at": NOW - timedelta(days=31)}, Reason.STALE),
        ({"resolved_at": NOW - timedelta(days=29), "received_at": NOW - timedelta(days=90)}, "queued"),
        ({"resolved_at": None, "received_at": NOW - timedelta(days=31)}, Reason.STALE),
        ({"resolved_at": None, "received_at": None}, "queued"),
    ],
)
def test_what_is_first_seen_long_after_it_happened_is_stale(
    stage: Stage, dates: dict[str, datetime | None], expected: str
) -> None:
    stage.enter(a_row(step=READY, **dates))
    assert stage.states() == [expected]


def test_a_known_dossier_is_never_stale(stage: Stage) -> None:
    stage.baseline(a_row(received_at=NOW - timedelta(days=400)))
    stage.show(a_row(received_at=NOW - timedelta(days=400), step=READY))
    stage.after()
    assert stage.states() == ["queued"]


def test_the_first_reason_that_applies_is_the_one_recorded(stage: Stage) -> None:
    morning, evening = local("2026-08-03 07:30"), local("2026-08-03 17:00")
    same_day = {"received_at": morning, "due_at": evening, "resolved_at": morning}
    stage.use(
        a_policy(
            mode=Mode.SHADOW, skip_procedures=frozenset({"9.999"}), skip_same_day=True
        )  # every reason at hand
    )
    stage.baseline(a_row("known"))
    old = NOW - timedelta(days=60)
    stage.show(
        a_row("known"),
        a_row("procedure", step=READY, procedure_code="9.999", phone="", **same_day),
        a_row("same_day", step=READY, phone="", **same_day),
        a_row("stale", step=READY, phone="", received_at=old),
        a_row("no_phone", step=READY, phone="không có"),
        a_row("landline", step=READY, phone="0258 3822 222"),
        a_row("invalid_phone", step=READY, phone="12345"),
        a_row("ambiguous_phone", step=READY, phone="0583822222"),
        a_row("shadow", step=READY),
    )
    stage.after()
    assert {m.dossier_code: str(m.reason) for m in stage.messages()} == {
        name: name
        for name in (
            "procedure",
            "same_day",
            "stale",
            "no_phone",
            "landline",
            "invalid_phone",
            "ambiguous_phone",
            "shadow",
        )
    }


def test_more_new_messages_than_hold_above_are_all_held(stage: Stage) -> None:
    stage.use(a_policy(hold_above=3))
    rows = [a_row(f"H{n}", step=READY) for n in range(4)]
    stage.enter(*rows)
    assert stage.states() == ["held"] * 4
    assert stage.alarm_keys() == ["held:nha-trang"]


def test_as_many_new_messages_as_hold_above_go_out_and_suppressed_ones_do_not_count(stage: Stage) -> None:
    stage.use(a_policy(hold_above=3))
    stage.enter(*[a_row(f"H{n}", step=READY) for n in range(3)], a_row("H9", step=READY, phone=""))
    assert sorted(stage.states()) == ["no_phone", "queued", "queued", "queued"]


def test_held_messages_follow_their_dossier_and_the_alarm_ends_with_the_last(stage: Stage) -> None:
    stage.use(a_policy(hold_above=1))
    stage.enter(a_row("H1", step=READY), a_row("H2", step=READY))
    stage.show(a_row("other"), a_row("H1"), a_row("H2"))
    stage.after()
    assert stage.states() == ["superseded", "superseded"]
    assert stage.alarm_keys() == []


def test_a_released_batch_goes_out_with_its_clock_having_stood_still(stage: Stage) -> None:
    stage.use(a_policy(hold_above=1))
    stage.enter(a_row("H1", step=READY), a_row("H2", step=READY))
    valid_until = stage.messages()[0].valid_until
    stage.clock.forward(3 * HOUR)
    assert stage.outbox.decide_held("nha-trang", release=True, os_user="lan", now=stage.clock.now()) == 2
    assert stage.messages()[0].valid_until == valid_until + 3 * HOUR
    stage.settle_and_send()
    assert stage.states() == ["accepted", "accepted"]
    assert stage.events(stage.messages()[0].id) == ["queued", "held", "queued", "sending", "accepted"]


def test_a_discarded_batch_ends_suppressed(stage: Stage) -> None:
    stage.use(a_policy(hold_above=1))
    stage.enter(a_row("H1", step=READY), a_row("H2", step=READY))
    stage.outbox.decide_held("nha-trang", release=False, os_user="lan", now=stage.clock.now())
    stage.settle_and_send()
    assert stage.states() == ["discarded", "discarded"]
    assert stage.gateway.taken == []


def test_held_messages_never_expire(stage: Stage) -> None:
    stage.use(a_policy(hold_above=1))
    stage.enter(a_row("H1", step=READY), a_row("H2", step=READY))
    stage.clock.forward(timedelta(days=30))
    stage.delivery.age()
    assert stage.states() == ["held", "held"]


def test_a_dossier_that_leaves_the_result_after_its_message_is_listed(stage: Stage) -> None:
    stage.enter(a_row("H1", step=READY), a_row("H2", step=READY), a_row("H3", step=READY))
    stage.settle_and_send()
    stage.show(a_row("other"), a_row("H1"), a_row("H2", step=CLOSED), a_row("H3", step=READY))
    stage.after()
    assert stage.findings() == [("bounced", "H1")]


def test_a_dossier_that_leaves_the_result_before_its_message_is_not_listed(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.show(a_row("other"), a_row())
    stage.after()
    assert stage.findings() == []


def test_a_notice_of_a_position_of_the_agency_s_own_is_sent(stage: Stage) -> None:
    own = notices() | {"refused": notices()["supplement"].__class__("refused", "Từ chối {Mã số hồ sơ}")}
    rules = (*a_policy().positions, a_rule("refused", ("Từ chối",)))
    stage.use(a_policy(notices=own, positions=rules))
    stage.baseline(a_row())
    stage.show(a_row(step="Từ chối"))
    stage.after()
    assert [(m.kind, m.text) for m in stage.messages()] == [("refused", "Từ chối H1")]


def test_a_message_is_not_sent_before_its_position_has_settled(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.send(SETTLED - timedelta(seconds=1))
    assert stage.states() == ["queued"]
    stage.send(timedelta(seconds=1))
    assert stage.states() == ["accepted"]


def test_a_message_is_not_sent_on_a_read_that_is_too_old(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.send(SETTLED + 2 * MINUTE + timedelta(seconds=1))
    assert stage.states() == ["queued"]
    stage.after()
    stage.send()
    assert stage.states() == ["accepted"]
