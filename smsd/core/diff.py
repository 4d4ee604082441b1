"""Comparing what an agency's view says now with what was known: positions, transitions, and whether to believe a read.

Nothing here knows of messages; `notices` decides what a transition is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from smsd.core.model import IN_PROGRESS, Dossier, Tracked, Transition
from smsd.core.names import fold_name
from smsd.core.policy import PositionRule

LOW_COUNT_IS_TAKEN_AFTER = timedelta(hours=24)
HALVING_MATTERS_FROM = 20
REPEATED_CODES_TOLERATED = 10
GONE_AFTER_READS = 2

_folded = lru_cache(maxsize=4096)(fold_name)


def position_of(step: str, status: str | None, rules: Iterable[PositionRule]) -> str:
    """The position of a dossier: the first rule all of whose conditions hold, else `IN_PROGRESS`."""
    folded_step = _folded(step)
    folded_status = _folded(status) if status is not None else None
    for rule in rules:
        if rule.steps is not None and folded_step not in rule.steps:
            continue
        if rule.statuses is not None and folded_status not in rule.statuses:
            continue
        return rule.name
    return IN_PROGRESS


def is_at_step_of(step: str, name: str, rules: Iterable[PositionRule]) -> bool:
    """Whether a step is among the steps of a named position, whatever the status says."""
    folded = _folded(step)
    return any(rule.name == name and rule.steps is not None and folded in rule.steps for rule in rules)


@dataclass(frozen=True, slots=True)
class Observation:
    """One dossier after a read: what to remember, and the transition if it moved."""

    tracked: Tracked
    transition: Transition | None


def observe(
    previous: Tracked | None,
    row: Dossier,
    rules: Sequence[PositionRule],
    ends_wait: frozenset[str],
    now: datetime,
) -> Observation:
    """Compare one row with what was known of its dossier.

    A dossier never seen, or gone (missing from two full reads in a row), is first seen: its transition comes from None.
    ``ends_wait`` names the positions in which the applicant no longer waits; look-ups judge lateness by when one was
    first seen in.
    """
    position = position_of(row.step, row.status, rules)
    if previous is None or previous.gone:
        entry = 1 if previous is None else previous.entry + 1
        done = now if position in ends_wait else None
        return Observation(
            Tracked(row, position, now, entry, done_since=done), Transition(None, position, now)
        )
    done = _done(previous, position, ends_wait, now)
    if position == previous.position:
        return Observation(Tracked(row, position, previous.entered_at, previous.entry, done_since=done), None)
    moved = Tracked(row, position, now, previous.entry + 1, done_since=done)
    return Observation(moved, Transition(previous.position, position, now))


def reposition(
    previous: Tracked, rules: Sequence[PositionRule], ends_wait: frozenset[str], now: datetime
) -> Observation:
    """Judge a known dossier by changed rules. Its transition is the configuration's doing and is never texted."""
    position = position_of(previous.dossier.step, previous.dossier.status, rules)
    if position == previous.position:
        return Observation(previous, None)
    moved = replace(
        previous,
        position=position,
        entered_at=now,
        entry=previous.entry + 1,
        done_since=_done(previous, position, ends_wait, now),
    )
    return Observation(moved, Transition(previous.position, position, now, by_configuration=True))


def _done(previous: Tracked, position: str, ends_wait: frozenset[str], now: datetime) -> datetime | None:
    if position not in ends_wait:
        return None
    return previous.done_since or now


class Doubt(StrEnum):
    """Why a full read cannot be true."""

    EMPTY = "empty"
    HALVED = "halved"
    REPEATED_CODES = "repeated_codes"


@dataclass(frozen=True, slots=True)
class ReadFacts:
    """What is counted of a full read before anything of it is believed."""

    rows: int
    repeated: int = 0
    """Codes that stood in more than one row."""


def doubt(facts: ReadFacts, last_rows: int | None) -> Doubt | None:
    """Why a full read is not to be believed, or None. ``last_rows`` is the last good read's count."""
    if facts.rows == 0:
        return Doubt.EMPTY
    if facts.repeated > REPEATED_CODES_TOLERATED and facts.repeated * 100 > facts.rows:
        return Doubt.REPEATED_CODES
    if last_rows is not None and last_rows >= HALVING_MATTERS_FROM and facts.rows * 2 < last_rows:
        return Doubt.HALVED
    return None


def low_count_stays(low_since: datetime | None, now: datetime) -> bool:
    """Whether counts have been low for so long that the low count is the truth."""
    return low_since is not None and now - low_since >= LOW_COUNT_IS_TAKEN_AFTER


DOUBT_IN_WORDS = {
    Doubt.EMPTY: "the view returned no rows at all",
    Doubt.HALVED: "the view returned less than half of the rows of the last good read",
    Doubt.REPEATED_CODES: "more than 1 % of the dossier codes are repeated",
}
