"""Any order of polls, restarts, receipts, clock steps and reloads: nothing is lost, nothing doubled unmarked.

A state machine lives through the days of two agencies; the ledger tells what is owed, the judge compares. A failure is
printed by Hypothesis as the shortest story it found that ends in it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import wraps

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from smsd.core.model import ReceiptVerdict
from tests.stateful.events import EVENTS, FOLLOWS, GROUPS, MET, begin, prepare
from tests.stateful.judge import Tally
from tests.stateful.ledger import PHONES
from tests.stateful.life import DAY, LARGE, SMALL, Life
from tests.stateful.network import REACTIONS
from tests.support.reliability import Record

AGENCIES = st.sampled_from([SMALL, LARGE])
CODES = st.sampled_from(["H1", "H2", "H3"])
HAPPENINGS = st.lists(
    st.one_of(*(st.sampled_from(sorted(group)) for group in GROUPS)), min_size=2, max_size=6
)
SETS_OF_CODES = st.sampled_from([["H1"], ["H2"], ["H1", "H2", "H3"]])
THEN = st.sampled_from([1, 0, 3])
"""In how many minutes the daemon turns after a clerk did something; 0: something else happens before."""
Rule = Callable[..., None]


def step(**strategies: st.SearchStrategy[object]) -> Callable[[Rule], Rule]:
    """A rule after which everything is looked at; as an invariant that would stand between any two lines of a story."""

    def decorate(function: Rule) -> Rule:
        @wraps(function)
        def stepped(self: AnyOrder, **arguments: object) -> None:
            self.broken = True
            self.tally.steps += 1
            function(self, **arguments)
            self.life.judge.look()
            self.broken = False

        return rule(**strategies)(stepped)

    return decorate


class AnyOrder(RuleBasedStateMachine):
    """See the module. The rules say what happens, `Life` what that means."""

    tally: Tally

    @initialize(repeats_safely=st.booleans())
    def the_first_day_begins(self, repeats_safely: bool) -> None:
        self.broken = False
        self.life = Life(self.tally, repeats_safely=repeats_safely)

    # notices and what comes between

    @step(met=st.sampled_from(MET), then=HAPPENINGS)
    def a_notice_is_made(self, met: str, then: list[str]) -> None:
        """Of one dossier, of which most is told: so one thing comes upon the other."""
        prepare(self.life, LARGE)
        begin(self.life, LARGE, "H1", met)
        self._happens(LARGE, "H1", then)

    @step(agency=AGENCIES, code=CODES, met=st.sampled_from(MET), then=HAPPENINGS)
    def another_notice_is_made(self, agency: str, code: str, met: str, then: list[str]) -> None:
        begin(self.life, agency, code, met)
        self._happens(agency, code, then)

    @step(then=HAPPENINGS)
    def this_happens(self, then: list[str]) -> None:
        self._happens(LARGE, "H1", then)

    @step(agency=AGENCIES, code=CODES, then=HAPPENINGS)
    def that_happens(self, agency: str, code: str, then: list[str]) -> None:
        self._happens(agency, code, then)

    def _happens(self, agency: str, code: str, then: list[str]) -> None:
        for name in then:
            self.tally.steps += 1
            EVENTS[name](self.life, agency, code)
            self.life.judge.look()

    # what clerks do

    @step(agency=AGENCIES, code=CODES, number=st.sampled_from(sorted(PHONES, key=str)), minutes=THEN)
    def a_number_is_typed(self, agency: str, code: str, number: str | None, minutes: int) -> None:
        self.life.edit(agency, code, phone=number)
        self.life.after(minutes)

    @step(
        agency=AGENCIES,
        codes=SETS_OF_CODES,
        days=st.sampled_from([1, 0, 2, None, "impossible"]),
        minutes=THEN,
    )
    def appointed_dates_are_moved(
        self, agency: str, codes: list[str], days: int | str | None, minutes: int
    ) -> None:
        due = self.life.now + days * DAY if isinstance(days, int) else days
        for code in codes:
            self.life.edit(agency, code, due_at="0000-00-00" if due == "impossible" else due)
        self.life.after(minutes)

    # the gateway, and the process

    @step(reactions=st.lists(st.sampled_from(sorted(REACTIONS)), min_size=1, max_size=3))
    def the_gateway_will_answer(self, reactions: list[str]) -> None:
        self.life.network.coming = list(reactions)

    @step(
        of=st.sampled_from(["a message", "its first part", "its second part", "an untried one", "nobody's"]),
        which=st.integers(0, 5),
        verdict=st.sampled_from(list(ReceiptVerdict)),
    )
    def a_receipt_comes(self, of: str, which: int, verdict: ReceiptVerdict) -> None:
        """Of one of the last messages handed over (repeated, late and contradictory ones among them), or of others."""
        handed = self.life.handed()
        untried = [m.id for m in self.life.judge.known.values() if m.id not in handed and not m.attempts]
        ids = {"an untried one": untried, "nobody's": ["nobody's"]}.get(of, handed)
        if not ids:
            return
        id_ = ids[-1 - which % len(ids)]
        if "part" in of:
            self.life.part_receipt(id_, int("second" in of), verdict)
        elif ids is handed:
            self.life.receipt(id_, verdict)
        else:
            self.life.false_receipt(id_, verdict)

    @step(point=st.integers(0, 9))
    def the_process_ends(self, point: int) -> None:
        """Now, or at the n-th commit or call of the gateway from now on: just before it, or right after."""
        self.life.fuse.left = point
        if not point:
            self.life.restart()

    def teardown(self) -> None:
        if not hasattr(self, "life"):
            return
        try:
            if not self.broken:
                self.life.settle()
        finally:
            self.life.end()


def story(met: str, then: list[str], tally: Tally) -> None:
    """A notice, and what comes upon it, from an empty store to the end."""
    life = Life(tally, repeats_safely=len("".join(then)) % 2 == 0)
    try:
        begin(life, LARGE, "H1", met)
        for name in then:
            tally.steps += 1
            EVENTS[name](life, LARGE, "H1")
            life.judge.look()
        life.settle()
    except AssertionError as error:
        raise AssertionError(f"a notice is {met!r}; {'; '.join(then)}: {error}") from error
    finally:
        life.end()


@pytest.mark.reliability
@pytest.mark.timeout(1800)
def test_whatever_comes_upon_a_notice_it_is_neither_lost_nor_doubled_unmarked(reliability: Record) -> None:
    chosen, tally = random.Random(17), Tally()
    pairs = [(met, name) for met in MET for name in EVENTS]
    chosen.shuffle(pairs)
    for met, name in pairs[: reliability.times(30, len(pairs))]:
        then = [*chosen.choices(GROUPS, k=2), *([FOLLOWS[met]] if met in FOLLOWS else [])]
        story(met, [name, *(chosen.choice(list(group)) for group in then)], tally)
    _write_row(reliability, tally, "everything that may happen to a dossier, upon a notice in every state")


@pytest.mark.reliability
@pytest.mark.timeout(1800)
def test_whatever_order_things_come_in_nothing_is_lost_and_nothing_doubled_unmarked(
    reliability: Record,
) -> None:
    tally = Tally()
    run_state_machine_as_test(
        type("AnyOrder", (AnyOrder,), {"tally": tally}),
        settings=settings(
            max_examples=reliability.times(20, 300),
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    _write_row(
        reliability,
        tally,
        "any order of reads, restarts, receipts, clock steps, reloads and operators' orders",
    )


def _write_row(reliability: Record, tally: Tally, fault: str) -> None:
    assert tally.handed_over and tally.restarts and (tally.lost, tally.doubled) == (0, tally.marked)
    reliability.row(
        "State store, files and clock",
        fault,
        tried=tally.steps,
        lost=tally.lost,
        doubled=tally.doubled,
        marked=tally.marked,
        recovered="by itself, once gateway and databases are well again",
        note=f"{tally.entries:,} notices, {tally.restarts:,} restarts. Doubled is what the network had taken "
        "without its answer reaching smsd",
    )
