"""The 17:30 pass: who is owed an apology, when it runs, and what becomes of one nobody could run."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from smsd.core.errors import AgencyError
from smsd.core.model import Mode
from tests.services.stage import CLOSED, HOUR, MINUTE, READY, SETTLED, Stage, a_row
from tests.support.builders import a_policy, local, notices

MORNING = local("2026-08-03 08:00")
PASS = local("2026-08-03 17:30")
UNTIL = local("2026-08-03 20:30")
TOMORROW = local("2026-08-04 10:00")


def at(stage: Stage, instant: datetime) -> None:
    stage.clock.at = instant


def pass_on(stage: Stage, *rows: dict[str, object], when: datetime = PASS) -> None:
    """A baseline in the morning, then the read on which the pass rides."""
    at(stage, MORNING)
    stage.baseline(*rows)
    at(stage, when)
    stage.poll()


@pytest.mark.parametrize(
    ("due", "owed"),
    [
        ("2026-08-04 00:00", True),
        ("2026-08-04 23:59", True),
        ("2026-08-03 23:59", False),
        ("2026-08-05 00:00", False),
    ],
)
def test_a_dossier_due_tomorrow_and_not_ready_gets_an_apology(stage: Stage, due: str, owed: bool) -> None:
    pass_on(stage, a_row(due_at=local(due)))
    assert stage.states() == (["queued"] if owed else [])
    if owed:
        assert "chưa có kết quả vào ngày 04/08/2026" in (stage.message().text or "")
    assert stage.run_state("apology", PASS) == "done"


@pytest.mark.parametrize(
    "row",
    [
        {"step": READY},
        {"step": CLOSED},
        {"step": READY, "status": "Chờ bổ sung"},
        {"due_at": None},
    ],
)
def test_ready_closed_or_undated_dossiers_get_none(stage: Stage, row: dict[str, object]) -> None:
    pass_on(stage, a_row(**({"due_at": TOMORROW} | row)))
    assert stage.messages() == []


def test_a_dossier_waiting_for_papers_elsewhere_gets_one(stage: Stage) -> None:
    pass_on(stage, a_row(due_at=TOMORROW, step="Tiếp nhận", status="Chờ bổ sung"))
    assert [m.kind for m in stage.messages()] == ["apology"]


def test_the_pass_looks_at_what_the_database_says_at_that_moment(stage: Stage) -> None:
    at(stage, MORNING)
    stage.baseline(a_row("H1", due_at=TOMORROW), a_row("H2", due_at=TOMORROW), a_row("H3"))
    stage.show(a_row("H1", due_at=TOMORROW, step=READY), a_row("H2"), a_row("H3", due_at=TOMORROW))
    at(stage, PASS)
    stage.poll()
    assert [(m.dossier_code, m.kind) for m in stage.messages()] == [
        ("H1", "result_ready"),
        ("H3", "apology"),
    ]


def test_a_dossier_missing_from_that_read_gets_none(stage: Stage) -> None:
    at(stage, MORNING)
    stage.baseline(a_row("H1", due_at=TOMORROW), a_row("H2"))
    stage.show(a_row("H2"))
    at(stage, PASS)
    stage.poll()
    assert stage.messages() == []


def test_the_pass_runs_once_a_day(stage: Stage) -> None:
    pass_on(stage, a_row("H1", due_at=TOMORROW))
    stage.show(a_row("H1", due_at=TOMORROW), a_row("H2", due_at=TOMORROW))
    stage.after()
    assert len(stage.messages()) == 1


def test_before_its_time_nothing_is_owed(stage: Stage) -> None:
    pass_on(stage, a_row(due_at=TOMORROW), when=PASS - timedelta(seconds=1))
    assert stage.messages() == []


@pytest.mark.parametrize("late", [timedelta(minutes=1), timedelta(hours=3) - timedelta(seconds=1)])
def test_a_daemon_started_late_still_runs_it(stage: Stage, late: timedelta) -> None:
    pass_on(stage, a_row(due_at=TOMORROW), when=PASS + late)
    assert stage.states() == ["queued"]


def test_what_became_ready_before_its_apology_left_gets_only_the_result(stage: Stage) -> None:
    pass_on(stage, a_row(due_at=TOMORROW))
    stage.show(a_row(due_at=TOMORROW, step=READY))
    stage.after(timedelta(seconds=30))
    stage.settle_and_send()
    assert [(m.kind, m.state) for m in stage.messages()] == [
        ("apology", "superseded"),
        ("result_ready", "accepted"),
    ]
    assert len(stage.gateway.taken) == 1


def test_what_became_ready_after_its_apology_left_gets_the_result_too(stage: Stage) -> None:
    pass_on(stage, a_row(due_at=TOMORROW))
    stage.send()
    stage.show(a_row(due_at=TOMORROW, step=READY))
    stage.after(timedelta(days=2))
    stage.settle_and_send()
    assert stage.states() == ["accepted", "accepted"]


def test_an_appointed_date_that_moved_ends_the_apology_and_the_new_date_has_its_own(stage: Stage) -> None:
    stage.gateway.window = 1
    pass_on(stage, a_row(due_at=TOMORROW))
    stage.show(a_row(due_at=TOMORROW + timedelta(days=1)))
    stage.after(timedelta(seconds=1))
    assert stage.states() == ["superseded"]
    at(stage, PASS + timedelta(days=1))
    stage.poll()
    assert stage.states() == ["superseded", "queued"]


def test_an_hour_that_moved_within_the_day_changes_nothing(stage: Stage) -> None:
    pass_on(stage, a_row(due_at=TOMORROW))
    stage.show(a_row(due_at=TOMORROW + HOUR))
    stage.after(timedelta(seconds=1))
    assert stage.states() == ["queued"]


def test_an_apology_s_number_mended_the_same_evening_makes_it_anew(stage: Stage) -> None:
    pass_on(stage, a_row(due_at=TOMORROW, phone=""))
    stage.show(a_row(due_at=TOMORROW))
    stage.after()
    stage.settle_and_send()
    assert stage.states() == ["no_phone", "accepted"]


def test_an_apology_not_sent_within_its_time_expires(stage: Stage) -> None:
    pass_on(stage, a_row(due_at=TOMORROW))
    stage.clock.forward(14 * HOUR)
    stage.delivery.age()
    assert stage.states() == ["expired"]


def test_on_the_day_of_its_baseline_the_pass_runs_only_after_an_earlier_baseline(stage: Stage) -> None:
    at(stage, PASS)
    stage.baseline(a_row(due_at=TOMORROW))
    assert stage.messages() == []
    assert stage.run_state("apology", PASS) == "skipped"
    stage.after()
    assert stage.messages() == []
    stage.show(a_row(due_at=TOMORROW + timedelta(days=1)))
    at(stage, PASS + timedelta(days=1))
    stage.poll()
    assert stage.states() == ["queued"]


def test_more_apologies_than_hold_above_are_held_apart_from_other_messages(stage: Stage) -> None:
    stage.use(a_policy(hold_above=2))
    at(stage, MORNING)
    stage.baseline(*[a_row(f"H{n}", due_at=TOMORROW) for n in range(5)])
    stage.show(*[a_row(f"H{n}", due_at=TOMORROW) for n in range(1, 5)], a_row("H0", step=READY))
    at(stage, PASS)
    stage.poll()
    assert sorted((m.kind, m.state) for m in stage.messages()) == [("apology", "held")] * 4 + [
        ("result_ready", "queued")
    ]


def test_an_agency_may_send_none(stage: Stage) -> None:
    stage.use(a_policy(apology=False))
    pass_on(stage, a_row(due_at=TOMORROW))
    assert stage.messages() == []
    at(stage, UNTIL)
    stage.passes.tick({"nha-trang": stage.plan})
    assert stage.run_state("apology", PASS) == "skipped"
    assert stage.findings() == []


def test_a_pass_in_shadow_is_decided_and_recorded(stage: Stage) -> None:
    stage.use(a_policy(mode=Mode.SHADOW))
    pass_on(stage, a_row(due_at=TOMORROW))
    assert stage.states() == ["shadow"]


def test_a_dry_run_of_the_pass_shows_the_apologies_at_any_hour(stage: Stage) -> None:
    at(stage, MORNING)
    stage.baseline(a_row(due_at=TOMORROW))
    orders = replace(stage.poller.orders("nha-trang"), apology_day=MORNING.date())
    applied = stage.poller.poll(stage.plan, orders, stage.reader, dry_run=True)
    assert [draft.kind for _, draft in applied.drafts] == ["apology"]
    assert stage.run_state("apology", PASS) == "owed"


# missed passes


def test_an_agency_that_could_not_be_reached_is_closed_at_the_end_and_its_dossiers_listed(
    stage: Stage,
) -> None:
    at(stage, MORNING)
    stage.baseline(
        a_row("H1", due_at=TOMORROW), a_row("H2", due_at=TOMORROW, step=READY), a_row("H3"), a_row("H4")
    )
    at(stage, PASS)
    stage.agency.fault = AgencyError("no route", code="unreachable")
    with pytest.raises(AgencyError):
        stage.poll()
    at(stage, UNTIL - MINUTE)
    stage.passes.tick({"nha-trang": stage.plan})
    assert stage.run_state("apology", PASS) == "owed"
    at(stage, UNTIL)
    stage.passes.tick({"nha-trang": stage.plan})
    stage.passes.tick({"nha-trang": stage.plan})
    assert stage.run_state("apology", PASS) == "missed"
    assert stage.findings() == [("no_apology", "H1")]


def test_a_missing_dossier_is_listed_too(stage: Stage) -> None:
    at(stage, MORNING)
    stage.baseline(a_row("H1", due_at=TOMORROW), a_row("H2"))
    stage.show(a_row("H2"))
    stage.after()
    at(stage, UNTIL)
    stage.passes.tick({"nha-trang": stage.plan})
    assert stage.findings() == [("no_apology", "H1")]


def test_an_apology_for_an_earlier_date_does_not_hide_that_this_one_is_missing(stage: Stage) -> None:
    pass_on(stage, a_row(due_at=TOMORROW))
    stage.show(a_row(due_at=TOMORROW + timedelta(days=1)))
    stage.after()
    at(stage, UNTIL + timedelta(days=1))
    stage.passes.tick({"nha-trang": stage.plan})
    assert stage.findings() == [("no_apology", "H1")]


def test_a_read_that_ends_after_until_makes_no_apologies(stage: Stage) -> None:
    at(stage, MORNING)
    stage.baseline(a_row(due_at=TOMORROW))
    at(stage, UNTIL - timedelta(seconds=5))
    orders = stage.poller.orders("nha-trang")
    assert orders.apology_day is not None
    at(stage, UNTIL)
    stage.passes.tick({"nha-trang": stage.plan})
    stage.poller.poll(stage.plan, orders, stage.reader)
    assert stage.messages() == []
    assert stage.run_state("apology", PASS) == "missed"


def test_two_reads_begun_for_one_pass_make_its_apologies_once(stage: Stage) -> None:
    at(stage, MORNING)
    stage.baseline(a_row(due_at=TOMORROW))
    at(stage, PASS)
    orders = stage.poller.orders("nha-trang")
    stage.poller.poll(stage.plan, orders, stage.reader)
    stage.show(a_row(due_at=TOMORROW), a_row("H2", due_at=TOMORROW))
    stage.clock.forward(MINUTE)
    stage.poller.poll(stage.plan, orders, stage.reader)
    assert len(stage.messages()) == 1


def test_days_without_a_daemon_are_closed_at_the_next_start(stage: Stage) -> None:
    pass_on(stage, a_row(due_at=TOMORROW + timedelta(days=1)))
    at(stage, local("2026-08-05 07:00"))
    stage.passes.tick({"nha-trang": stage.plan})
    assert stage.findings() == [("no_apology", "H1")]
    assert stage.run_state("apology", PASS + timedelta(days=1)) == "missed"
    assert stage.run_state("apology", PASS + timedelta(days=2)) == "owed"


def test_nothing_is_owed_for_the_time_before_the_baseline(stage: Stage) -> None:
    at(stage, UNTIL + MINUTE)
    stage.baseline(a_row(due_at=TOMORROW))
    stage.passes.tick({"nha-trang": stage.plan})
    assert stage.run_state("apology", PASS) == "skipped"
    assert stage.run_state("apology", PASS - timedelta(days=1)) == "owed"
    assert stage.findings() == []


def test_a_clock_that_ran_ahead_does_not_silence_the_passes_to_come(stage: Stage) -> None:
    at(stage, MORNING)
    stage.baseline(a_row(due_at=TOMORROW))
    at(stage, local("2031-01-01 21:00"))
    stage.passes.tick({"nha-trang": stage.plan})
    at(stage, UNTIL)
    stage.passes.tick({"nha-trang": stage.plan})
    assert stage.run_state("apology", PASS) == "missed"


def test_the_apology_leaves_after_its_settle(stage: Stage) -> None:
    own = notices()
    own["apology"] = replace(own["apology"], settle=SETTLED)
    stage.use(a_policy(notices=own))
    pass_on(stage, a_row(due_at=TOMORROW))
    stage.send()
    assert stage.states() == ["queued"]
    stage.settle_and_send()
    assert stage.states() == ["accepted"]
