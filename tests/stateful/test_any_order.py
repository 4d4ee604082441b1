"""Any order of polls, restarts, receipts, clock steps and reloads: nothing is lost, nothing doubled unmarked.

A state machine lives through the days of two agencies; the ledger tells what is owed, the judge compares. A failure is
printed by Hypothesis as the shortest story it found that ends in it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import time
from functools import wraps

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from smsd.core.errors import AgencyError
from smsd.core.model import ReceiptVerdict, Verdict
from tests.stateful.events import CONFIGURATIONS, EDITS, EVENTS, MET, PLACES, begin
from tests.stateful.judge import Tally
from tests.stateful.ledger import PHONES, READY
from tests.stateful.life import DAY, LARGE, MINUTE, SMALL, Life
from tests.stateful.network import REACTIONS
from tests.support.reliability import Record

AGENCIES = st.sampled_from([LARGE, LARGE, LARGE, SMALL])
CODES = st.sampled_from(["H1", "H1", "H1", "H2", "H3"])
"""Most happens to one dossier of one agency, so that one thing comes upon the other."""
SETS_OF_CODES = st.sampled_from([["H1"], ["H2"], ["H1", "H2", "H3"]])
THEN = st.sampled_from([1, 0, 3])
"""In how many minutes the daemon turns after a clerk did something; 0: something else happens before."""
MOMENTS = [time(0, 6), time(7), time(17, 29), time(17, 31), time(20, 31), time(21, 59), time(23, 31)]
Rule = Callable[..., None]


def step(**strategies: st.SearchStrategy[object]) -> Callable[[Rule], Rule]:
    """A rule after which everything is looked at; as an invariant that would stand between any two lines of a story."""

    def decorate(function: Rule) -> Rule:
        @wraps(function)
        def stepped(self: AnyOrder, **arguments: object) -> None:
            self.broken = True
            self.life.tally.steps += 1
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

    @step(
        agency=AGENCIES,
        code=CODES,
        met=st.sampled_from(MET),
        then=st.lists(st.sampled_from(sorted(EVENTS)), min_size=1, max_size=5),
    )
    def a_notice_is_made(self, agency: str, code: str, met: str, then: list[str]) -> None:
        begin(self.life, agency, code, met)
        for name in then:
            self.tally.steps += 1
            EVENTS[name](self.life, agency, code)

    @step(agency=AGENCIES, code=CODES, then=st.lists(st.sampled_from(sorted(EVENTS)), min_size=1, max_size=3))
    def this_happens(self, agency: str, code: str, then: list[str]) -> None:
        for name in then:
            self.tally.steps += 1
            EVENTS[name](self.life, agency, code)

    # what clerks do

    @step(agency=AGENCIES, code=CODES, to=st.sampled_from(sorted(PLACES)), minutes=THEN)
    def a_dossier_moves(self, agency: str, code: str, to: str, minutes: int) -> None:
        at, status = PLACES[to]
        self.life.edit(agency, code, step=at, status=status)
        self.life.after(minutes)

    @step(agency=AGENCIES, codes=SETS_OF_CODES, minutes=THEN)
    def results_are_ready(self, agency: str, codes: list[str], minutes: int) -> None:
        for code in codes:
            self.life.edit(agency, code, step=READY, status=None)
        self.life.after(minutes)

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

    @step(agency=AGENCIES, code=CODES, to=st.sampled_from(sorted(EDITS)))
    def a_row_is_edited(self, agency: str, code: str, to: str) -> None:
        self.life.edit(agency, code, **EDITS[to](self.life.now))

    @step(agency=AGENCIES, code=st.sampled_from(["H1", "H2", "", None]), minutes=THEN)
    def a_row_stands_in_the_view_that_should_not(self, agency: str, code: str | None, minutes: int) -> None:
        """A code that stands twice, or none. Of two rows the second remains after the turn."""
        view = self.life.office.views[agency]
        view.insert([self.life.a_row(code) | {"step": READY}])
        self.life.after(minutes)
        view.rows = list({row["dossier_code"]: row for row in view.rows if row["dossier_code"]}.values())

    # reading

    @step(minutes=st.sampled_from([1, 2, 5]))
    def the_daemon_turns(self, minutes: int) -> None:
        """Time passes, every agency is read, and what is due is sent."""
        self.life.after(minutes)

    @step(
        agency=AGENCIES, how=st.sampled_from(["fails", "shows 5 rows", "shows 5 rows, accepted", "is tried"])
    )
    def a_read(self, agency: str, how: str) -> None:
        view = self.life.office.views[agency]
        if how == "fails":
            view.fault = AgencyError("down", code="unreachable")
            self.life.read(agency)
            view.fault = None
        elif how == "is tried":
            self.life.try_read(agency)
        else:
            self.life.read_shown(agency, view.rows[-5:], accept="accepted" in how)

    # the gateway

    @step(reactions=st.lists(st.sampled_from(sorted(REACTIONS)), min_size=1, max_size=3))
    def the_gateway_will_answer(self, reactions: list[str]) -> None:
        self.life.network.coming = list(reactions)

    @step(down=st.booleans())
    def the_gateway_is_down(self, down: bool) -> None:
        self.life.network.down = down

    @step(verdict=st.sampled_from(list(Verdict)))
    def late_answers_come(self, verdict: Verdict) -> None:
        self.life.answer(verdict)

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

    # processes, configuration, operators and citizens

    @step(point=st.integers(0, 9))
    def the_process_ends(self, point: int) -> None:
        """Now, or at the n-th commit or call of the gateway from now on: just before it, or right after."""
        self.life.fuse.left = point
        if not point:
            self.life.restart()

    @step(agency=AGENCIES, to=st.sampled_from(sorted(CONFIGURATIONS)))
    def the_configuration_changes(self, agency: str, to: str) -> None:
        self.life.reload(agency, **CONFIGURATIONS[to])

    @step(agency=AGENCIES, release=st.booleans())
    def an_operator_decides_on_what_is_held(self, agency: str, release: bool) -> None:
        self.life.decide_held(agency, release=release)

    @step(code=CODES, id_=st.sampled_from(["m1", "m2", "m3"]))
    def a_citizen_looks_up(self, code: str, id_: str) -> None:
        self.life.look_up(code, id_)

    # time

    @step(to=st.sampled_from(MOMENTS))
    def it_becomes(self, to: time) -> None:
        self.life.until(to)

    @step(minutes=st.sampled_from([3, 16, 61, 26 * 60, 73 * 60]))
    def time_passes(self, minutes: int) -> None:
        self.life.office.forward(minutes * MINUTE)

    @step(minutes=st.sampled_from([-1, -30, -120, -26 * 60, 30, 180, 26 * 60]))
    def the_clock_is_set(self, minutes: int) -> None:
        self.life.set_clock(minutes)

    @step()
    def the_daily_jobs_are_run(self) -> None:
        self.life.run_daily_jobs()

    def teardown(self) -> None:
        if not hasattr(self, "life"):
            return
        try:
            if not self.broken:
                self.life.settle()
        finally:
            self.life.end()


@pytest.mark.reliability
@pytest.mark.timeout(1800)
def test_whatever_order_things_come_in_nothing_is_lost_and_nothing_doubled_unmarked(
    reliability: Record,
) -> None:
    tally = Tally()
    run_state_machine_as_test(
        type("AnyOrder", (AnyOrder,), {"tally": tally}),
        settings=settings(
            max_examples=reliability.times(50, 700),
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert tally.handed_over and tally.restarts
    reliability.row(
        "State store, files and clock",
        "any order of reads, restarts, receipts, clock steps and reloads, one step after the other",
        tried=tally.steps,
        lost=tally.lost,
        doubled=tally.doubled,
        marked=tally.marked,
        recovered="by itself, once gateway and databases are well again",
        note=f"{tally.entries:,} notices owed; the network got twice only what it had taken without its answer "
        f"reaching smsd ({tally.restarts:,} restarts among the steps)",
    )
