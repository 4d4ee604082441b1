"""Daily jobs, alarms, decisions and facts, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from smsd.adapters.store.engine import Database
from smsd.adapters.store.journal import Journal
from smsd.services.ports import Alarm, RunKey
from tests.store.drafts import AGENCY, keep_agency, later
from tests.support.builders import NOW

DAY = date(2026, 8, 3)
KEY = RunKey("apology", AGENCY, DAY)


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


def test_a_job_without_a_row_is_owed(journal: Journal) -> None:
    assert journal.run(KEY).state == "owed"
    assert not journal.run(KEY).over


def test_a_job_is_put_off_and_then_over(journal: Journal) -> None:
    journal.put_off_run(KEY, 2, later(5), "not asked")
    run = journal.run(KEY)
    assert (run.state, run.attempts, run.next_attempt_at, run.detail) == ("owed", 2, later(5), "not asked")
    journal.finish_run(KEY, "missed", NOW, "late")
    run = journal.run(KEY)
    assert (run.state, run.over, run.attempts, run.next_attempt_at) == ("missed", True, 2, None)


def test_the_last_day_that_is_over_is_looked_for_up_to_a_day(journal: Journal) -> None:
    assert journal.last_run_day("apology", AGENCY, DAY) is None
    for days in (-3, -1, 400):
        journal.finish_run(replace(KEY, day=DAY + timedelta(days=days)), "done", NOW)
    journal.put_off_run(KEY, 1, NOW, "")
    journal.finish_run(replace(KEY, agency="another"), "done", NOW)
    assert journal.last_run_day("apology", AGENCY, DAY) == DAY - timedelta(days=1)
    assert journal.last_run_day("apology", AGENCY, DAY - timedelta(days=2)) == DAY - timedelta(days=3)


def test_the_store_s_beginning_is_noted_once_and_corrected_if_the_clock_ran_ahead(journal: Journal) -> None:
    assert journal.began(later(10)) == later(10)
    assert journal.began(later(20)) == later(10)
    assert journal.began(later(5)) == later(5)
    assert journal.began(later(20)) == later(5)


def test_an_alarm_stands_once_until_it_is_cleared(journal: Journal) -> None:
    alarm = Alarm("agency:a", "error", "down", "look", NOW)
    assert journal.raise_alarm(alarm)
    assert not journal.raise_alarm(replace(alarm, message="still down", at=later(1)))
    assert journal.standing_alarms() == [alarm]
    assert journal.clear_alarm("agency:a", later(2))
    assert not journal.clear_alarm("agency:a", later(3))
    assert journal.standing_alarms() == []
    assert journal.raise_alarm(replace(alarm, at=later(4)))
    assert [one.at for one in journal.standing_alarms()] == [later(4)]


def test_alarms_stand_oldest_first(journal: Journal) -> None:
    for minutes in (3, 1, 2):
        journal.raise_alarm(Alarm(f"k{minutes}", "error", "", "", later(minutes)))
    assert [alarm.key for alarm in journal.standing_alarms()] == ["k1", "k2", "k3"]


def test_a_baseline_is_wanted_of_a_known_agency_alone(database: Database, journal: Journal) -> None:
    keep_agency(database)
    assert journal.want_baseline(AGENCY)
    assert not journal.want_baseline("nobody")


def test_facts_are_replaced_and_found_by_key(journal: Journal) -> None:
    journal.note_fact("daemon", "one")
    journal.note_fact("daemon", "two")
    assert journal.facts(["daemon", "nothing"]) == {"daemon": "two"}
