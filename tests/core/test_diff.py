"""Positions, transitions and credible reads: what a row says now against what was known."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.diff import (
    DOUBT_IN_WORDS,
    Doubt,
    ReadFacts,
    doubt,
    is_at_step_of,
    low_count_stays,
    observe,
    position_of,
    reposition,
)
from smsd.core.model import Tracked, Transition
from smsd.core.policy import PositionRule
from tests.support.builders import NOW, POSITIONS, a_dossier, a_rule, a_tracked

ENDS_WAIT = frozenset({"result_ready", "closed"})
LATER = NOW + timedelta(minutes=5)
READY = a_dossier(step="Trả kết quả", status="Đã xử lý")
AT_WORK = a_dossier()
INCOMPLETE = a_dossier(step="Trả kết quả", status="Chờ bổ sung")
HANDED_OVER = a_dossier(step="Đã trả kết quả", status="Đã xử lý")


@pytest.mark.parametrize(
    ("step", "status", "position"),
    [
        ("Trả kết quả", "Đã xử lý", "result_ready"),
        ("Trả kết quả", None, "result_ready"),
        ("Trả kết quả", "Chờ bổ sung", "supplement"),
        ("Tiếp nhận", "Chờ bổ sung", "supplement"),
        ("Thẩm định", "Chờ bổ sung", "in_progress"),  # not back at the one-stop unit yet
        ("Tiếp nhận", "Đang xử lý", "in_progress"),
        ("Tiếp nhận", None, "in_progress"),
        ("Đã trả kết quả", None, "closed"),
        ("Kết thúc", "Chờ bổ sung", "closed"),
        ("Trả kết quả cho phòng chuyên môn", None, "in_progress"),
        ("", "", "in_progress"),
    ],
)
def test_step_and_status_give_the_position(step: str, status: str | None, position: str) -> None:
    assert position_of(step, status, POSITIONS) == position


@pytest.mark.parametrize(
    "step",
    [
        "  TRẢ  KẾT QUẢ ",
        "trả\u00a0kết\tquả",
        unicodedata.normalize("NFD", "Trả kết quả"),
        "Trả kết\u200b quả",
    ],
)
def test_names_match_however_they_are_spelled(step: str) -> None:
    assert position_of(step, None, POSITIONS) == "result_ready"


def test_the_first_rule_that_fits_wins() -> None:
    rules = (a_rule("first", ("A",)), a_rule("second", ("A", "B")))
    assert [position_of(step, None, rules) for step in "AB"] == ["first", "second"]
    assert position_of("A", None, rules[::-1]) == "second"


def test_a_rule_of_a_status_alone_holds_at_any_step() -> None:
    rules = (a_rule("paused", statuses=("Tạm dừng",)), *POSITIONS)
    assert position_of("Trả kết quả", "tạm dừng", rules) == "paused"
    assert position_of("Trả kết quả", None, rules) == "result_ready"


def test_being_at_a_step_of_a_position_does_not_ask_the_status() -> None:
    assert is_at_step_of("TRẢ kết quả", "result_ready", POSITIONS)
    assert not is_at_step_of("Tiếp nhận", "result_ready", POSITIONS)
    assert not is_at_step_of("Trả kết quả", "refused", POSITIONS)
    assert not is_at_step_of("X", "paused", (a_rule("paused", statuses=("X",)),))


def test_a_dossier_never_seen_comes_from_nowhere() -> None:
    observation = observe(None, READY, POSITIONS, ENDS_WAIT, NOW)
    assert observation.transition == Transition(None, "result_ready", NOW)
    assert observation.transition is not None and observation.transition.first_seen
    assert observation.tracked == Tracked(READY, "result_ready", NOW, entry=1, done_since=NOW)


def test_a_dossier_that_stays_makes_no_transition_but_its_fields_are_remembered() -> None:
    before = a_tracked(missing_reads=1)
    mended = replace(AT_WORK, phone="0912345678", due_at=LATER)
    observation = observe(before, mended, POSITIONS, ENDS_WAIT, LATER)
    assert observation.transition is None
    assert observation.tracked == replace(before, dossier=mended, missing_reads=0)


def test_a_dossier_that_moves_is_numbered_on() -> None:
    observation = observe(a_tracked(entry=3), READY, POSITIONS, ENDS_WAIT, LATER)
    assert observation.transition == Transition("in_progress", "result_ready", LATER)
    assert (observation.tracked.entry, observation.tracked.entered_at) == (4, LATER)


def test_a_dossier_that_was_gone_enters_anew() -> None:
    gone = a_tracked(READY, "result_ready", entry=2, missing_reads=2, gone=True)
    observation = observe(gone, READY, POSITIONS, ENDS_WAIT, LATER)
    assert observation.transition == Transition(None, "result_ready", LATER)
    assert observation.tracked == Tracked(READY, "result_ready", LATER, entry=3, done_since=LATER)


def test_a_dossier_missing_once_has_not_left() -> None:
    missing = a_tracked(READY, "result_ready", missing_reads=1)
    assert observe(missing, READY, POSITIONS, ENDS_WAIT, LATER).transition is None


def test_the_end_of_the_wait_is_when_it_was_first_seen_and_forgotten_when_it_begins_again() -> None:
    ready = observe(a_tracked(), READY, POSITIONS, ENDS_WAIT, NOW).tracked
    closed = observe(ready, HANDED_OVER, POSITIONS, ENDS_WAIT, LATER).tracked
    reopened = observe(closed, INCOMPLETE, POSITIONS, ENDS_WAIT, LATER).tracked
    assert [ready.done_since, closed.done_since, reopened.done_since] == [NOW, NOW, None]


dossiers = st.sampled_from([AT_WORK, READY, INCOMPLETE, HANDED_OVER])


@given(st.lists(dossiers, min_size=1, max_size=20))
def test_each_change_of_position_makes_exactly_one_transition(rows: list[object]) -> None:
    tracked, transitions, positions = None, [], []
    for minutes, row in enumerate(rows):
        at = NOW + timedelta(minutes=minutes)
        observation = observe(tracked, row, POSITIONS, ENDS_WAIT, at)  # type: ignore[arg-type]
        tracked = observation.tracked
        positions.append(tracked.position)
        transitions += [observation.transition] if observation.transition else []
    changes = [positions[0], *(after for before, after in pairwise(positions) if before != after)]
    assert [t.went_to for t in transitions] == changes
    assert [t.came_from for t in transitions] == [None, *changes[:-1]]
    assert tracked is not None and tracked.entry == len(changes)


@given(dossiers, dossiers)
def test_reading_the_same_row_again_changes_nothing(first: object, then: object) -> None:
    once = observe(None, first, POSITIONS, ENDS_WAIT, NOW).tracked  # type: ignore[arg-type]
    moved = observe(once, then, POSITIONS, ENDS_WAIT, LATER).tracked  # type: ignore[arg-type]
    again = observe(moved, then, POSITIONS, ENDS_WAIT, LATER + timedelta(hours=1))  # type: ignore[arg-type]
    assert again.transition is None
    assert again.tracked == moved


def test_changed_rules_move_a_dossier_by_configuration() -> None:
    rules: tuple[PositionRule, ...] = (a_rule("result_ready", ("Thẩm định",)),)
    observation = reposition(a_tracked(entry=2), rules, ENDS_WAIT, LATER)
    assert observation.transition == Transition("in_progress", "result_ready", LATER, by_configuration=True)
    assert (observation.tracked.entry, observation.tracked.done_since) == (3, LATER)
    assert observe(observation.tracked, AT_WORK, rules, ENDS_WAIT, LATER).transition is None


def test_changed_rules_that_mean_the_same_change_nothing() -> None:
    before = a_tracked()
    assert reposition(before, POSITIONS[::-1], ENDS_WAIT, LATER).tracked is before


@pytest.mark.parametrize(
    ("rows", "repeated", "last_rows", "expected"),
    [
        (0, 0, None, Doubt.EMPTY),
        (0, 0, 0, Doubt.EMPTY),
        (1, 0, None, None),
        (9, 0, 19, None),
        (1, 0, 19, None),
        (10, 0, 20, None),
        (9, 0, 20, Doubt.HALVED),
        (50, 0, 101, Doubt.HALVED),
        (51, 0, 101, None),
        (10, 10, None, None),
        (12, 11, None, Doubt.REPEATED_CODES),
        (1_100, 11, None, None),
        (1_099, 11, None, Doubt.REPEATED_CODES),
        (10_000, 100, 10_000, None),
        (10_000, 101, 10_000, Doubt.REPEATED_CODES),
    ],
)
def test_a_full_read_that_cannot_be_true_is_doubted(
    rows: int, repeated: int, last_rows: int | None, expected: Doubt | None
) -> None:
    assert doubt(ReadFacts(rows, repeated), last_rows) is expected


def test_a_low_count_is_the_truth_after_a_day() -> None:
    since = NOW - timedelta(hours=24)
    assert low_count_stays(since, NOW)
    assert not low_count_stays(since + timedelta(seconds=1), NOW)
    assert not low_count_stays(None, NOW)


def test_every_doubt_has_words() -> None:
    assert DOUBT_IN_WORDS.keys() == set(Doubt)
