"""Random histories of a handful of dossiers: whatever an agency's database shows, the promises hold."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path

import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from smsd.core.errors import AgencyError
from smsd.core.model import FINAL, PENDING, MessageState, ReceiptVerdict
from smsd.core.outbox import FOLLOWERS
from tests.services.stage import CLOSED, MINUTE, READY, WORKING, Stage, a_row
from tests.support.builders import POSITIONS, a_policy, a_rule
from tests.support.fakegateway import LOST, REJECTED, RETRY, FakeGateway

CODES = [f"H{n}" for n in range(5)]
OTHERS = [a_row(f"Q{n}") for n in range(3)]
STEPS = [WORKING, READY, CLOSED, "Tiếp nhận", "Hoàn thành", None]
PHONES = ["0905123456", "0912345678", "", "0583822222"]
RULES = [POSITIONS, (POSITIONS[0], a_rule("result_ready", (READY, "Hoàn thành")), POSITIONS[2])]


class Histories(RuleBasedStateMachine):
    """An agency, its dossiers, and everything that may happen between two reads."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.stage = Stage(self.folder, gateway=FakeGateway(window=3))
        self.stage.show(*OTHERS, *[a_row(code) for code in CODES])
        self.poll()
        self.baselines = 1

    def poll(self) -> None:
        with structlog.testing.capture_logs():
            self.stage.poll()

    @rule(
        code=st.sampled_from(CODES),
        step=st.sampled_from(STEPS),
        status=st.sampled_from(["Đang xử lý", "Chờ bổ sung"]),
        phone=st.sampled_from(PHONES),
    )
    def a_row_changes(self, code: str, step: str | None, status: str, phone: str) -> None:
        self.stage.agency.delete(code)
        self.stage.agency.insert([a_row(code, step=step, status=status, phone=phone)])

    @rule(code=st.sampled_from(CODES))
    def a_row_disappears(self, code: str) -> None:
        self.stage.agency.delete(code)

    @rule(code=st.sampled_from(CODES))
    def a_code_stands_twice(self, code: str) -> None:
        self.stage.agency.insert([a_row(code, step=READY)])

    @rule(positions=st.sampled_from(RULES), live=st.booleans())
    def the_configuration_changes(self, positions: object, live: bool) -> None:
        self.stage.use(a_policy(positions=positions))

    @rule(minutes=st.sampled_from([1, 2, 5, 61]))
    def a_read_is_applied(self, minutes: int) -> None:
        self.stage.clock.forward(minutes * MINUTE)
        self.poll()

    @rule()
    def a_baseline_is_taken(self) -> None:
        before = {m.id for m in self.stage.messages()}
        self.stage.clock.forward(MINUTE)
        with structlog.testing.capture_logs():
            self.stage.poll(baseline=True)
        assert {m.id for m in self.stage.messages()} == before, "a baseline made messages"

    @rule()
    def the_database_is_down(self) -> None:
        self.stage.agency.fault = AgencyError("down", code="unreachable")
        try:
            self.stage.poll()
        except AgencyError:
            self.stage.agency.fault = None

    @rule(reaction=st.sampled_from([None, RETRY, REJECTED, LOST]))
    def messages_are_sent(self, reaction: object) -> None:
        if reaction is not None:
            self.stage.gateway.script(reaction, times=1)  # type: ignore[arg-type]
        with structlog.testing.capture_logs():
            self.stage.delivery.age()
            self.stage.send()

    @rule(verdict=st.sampled_from(list(ReceiptVerdict)), which=st.integers(0, 50))
    def a_receipt_comes(self, verdict: ReceiptVerdict, which: int) -> None:
        taken = self.stage.gateway.taken
        if taken:
            self.stage.receipt(taken[which % len(taken)].id, verdict)

    @rule()
    def the_process_starts_anew(self) -> None:
        with structlog.testing.capture_logs():
            self.stage.restart()

    @invariant()
    def one_message_at_most_lives_for_each_entry(self) -> None:
        alive = Counter(
            (m.dossier_code, m.kind, m.occurrence.partition(".")[0])
            for m in self.stage.messages()
            if m.state not in (MessageState.SUPPRESSED, MessageState.SUPERSEDED)
        )
        assert all(count == 1 for count in alive.values()), alive

    @invariant()
    def every_message_got_where_it_is_by_lawful_steps_and_totals_balance(self) -> None:
        messages = self.stage.messages()
        groups = Counter(
            "ended" if m.final_at else "accepted" if m.state is MessageState.ACCEPTED else "pending"
            for m in messages
        )
        assert groups.total() == len(messages)
        for message in messages:
            events = [MessageState(state) for state in self.stage.events(message.id)]
            assert events[-1] is message.state
            assert all(b is a or b in FOLLOWERS[a] for a, b in itertools.pairwise(events))
            assert (message.state in FINAL) == (message.final_at is not None and message.state in FINAL)
            assert not (message.final_at is not None and message.state in PENDING)
            assert (message.reason is not None) == (message.state is MessageState.SUPPRESSED)

    @invariant()
    def nobody_is_texted_more_often_than_marked(self) -> None:
        marked = {m.id for m in self.stage.messages() if m.possible_duplicate}
        times = Counter(m.id for m in self.stage.gateway.taken)
        assert all(count == 1 or (count == 2 and id_ in marked) for id_, count in times.items())

    def teardown(self) -> None:
        if hasattr(self, "stage"):
            self.stage.clock.forward(timedelta(days=11))
            with structlog.testing.capture_logs():
                self.stage.restart()
                self.stage.delivery.age()
            assert not [m for m in self.stage.messages() if m.state in PENDING], "a message never ends"
            self.stage.database.close()
            shutil.rmtree(self.folder)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
