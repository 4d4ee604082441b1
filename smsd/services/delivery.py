"""Delivery: from the outbox through a gateway, every state written before and after the call that leaves the process.

One link is one gateway. A pump records what came back and claims what may go next in one transaction, then hands the
claimed messages over; so a crash can leave no more messages unknown than the gateway's window. What a state may become
is `core.outbox`'s to say.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from datetime import time as time_of_day

import structlog

from smsd.core.clock import Clock, within_hours
from smsd.core.model import Message, MessageState, Outcome, Receipt, Verdict
from smsd.core.notices import still_holds
from smsd.core.outbox import (
    FIRST_GATEWAY_WAIT,
    LONGEST_GATEWAY_WAIT,
    RECEIPT_WAIT,
    REFUSALS_THAT_STOP,
    STOPPED_LINK_WAIT,
    after_outcome,
    after_receipt,
    backoff,
)
from smsd.core.policy import AgencyPolicy
from smsd.services.ports import Alarms, Change, Gateway, Outgoing
from smsd.services.storage import OutboxStore, OutboxTx

log = structlog.get_logger(__name__)

_IDLE = 0.2
"""Seconds between looks at the outbox when nothing happens."""
_PACE_MARGIN = 1.02
"""Sending a little slower than `rate`, so that jitter on the way never exceeds it."""


@dataclass(frozen=True, slots=True)
class SendingRules:
    """The `messages` section of the configuration, as far as sending goes."""

    zone: tzinfo
    opens: time_of_day
    closes: time_of_day
    unknown_after: timedelta
    rate: float | None = None
    """Segments a second, never exceeded."""


class Delivery:
    """Sends what the outbox holds over one gateway. Only `wake`, `receive` and answers may come from other threads."""

    def __init__(
        self,
        store: OutboxStore,
        gateway: Gateway,
        rules: SendingRules,
        alarms: Alarms,
        clock: Clock,
        *,
        policy_of: Callable[[str], AgencyPolicy | None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self.gateway = gateway
        self.rules = rules
        self._alarms = alarms
        self._clock = clock
        self._policy_of = policy_of
        self._monotonic = monotonic
        self._answers: queue.SimpleQueue[tuple[str, Outcome] | None] = queue.SimpleQueue()
        self._under_way = 0
        self._failures = 0
        self._refusals = 0
        self._stopped = False
        self._resume_at: datetime | None = None
        self._slot = 0.0

    # life

    def recover(self) -> int:
        """After a start: what was in `sending` when the process ended may have been handed over. Returns how many."""
        now, count = self._clock.now(), 0
        while True:
            with self._store.transaction() as tx:
                stuck = tx.in_state(MessageState.SENDING)
                if not stuck:
                    return count
                detail = "smsd stopped before the answer was recorded"
                tx.change([Change(m.id, m.state, MessageState.UNKNOWN, now, detail) for m in stuck])
                count += len(stuck)

    def wake(self) -> None:
        """Look at the outbox now. From any thread."""
        self._answers.put(None)

    def reload(self, rules: SendingRules) -> None:
        """Take a reloaded configuration; a stopped link tries again at once."""
        self.rules = rules
        self._resume_at = None
        self.wake()

    def run(self, stop: Callable[[], bool]) -> None:
        """Pump until told to stop, then wait for what is under way."""
        while not stop():
            try:
                self.pump(wait=self._pause())
            except Exception as error:
                # the store failed; nothing was claimed or recorded by halves
                log.error(
                    "delivery_failed", error=type(error).__name__, detail=str(error).splitlines()[0][:200]
                )
                time.sleep(_IDLE)
        self.close()

    def close(self) -> None:
        """Wait for the gateway's last answers and record them."""
        self.gateway.close()
        self._record(self._collect(0.0))

    def drain(self) -> None:
        """Send everything that may go now, and return; for `run --once`, the demo and tests."""
        idle = 0
        while self._under_way or idle < 2:
            busy = self.pump(wait=0.05 if self._under_way else 0.0)
            idle = 0 if busy else idle + 1

    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._under_way == 0

    @property
    def stopped(self) -> bool:
        """Whether an alarm has stopped the link."""
        return self._stopped

    # the pump

    def pump(self, wait: float = 0.0) -> bool:
        """Record answers, claim what may go and hand it over. Returns whether anything was done."""
        answers = self._collect(wait)
        now = self._clock.now()
        room = self._room(now)
        if not answers and (room == 0 or not self._store.anything_to_do(now)):
            return False
        claimed = self._record_and_claim(answers, room, now)
        if claimed:
            self._under_way += len(claimed)
            self.gateway.submit([self._outgoing(m, now) for m in claimed], self._answered)
        return bool(answers or claimed)

    def _answered(self, message_id: str, outcome: Outcome) -> None:
        self._answers.put((message_id, outcome))

    def _collect(self, wait: float) -> list[tuple[str, Outcome]]:
        answers: list[tuple[str, Outcome]] = []
        try:
            first = self._answers.get(timeout=wait) if wait > 0 else self._answers.get_nowait()
            while True:
                if first is not None:
                    answers.append(first)
                first = self._answers.get_nowait()
        except queue.Empty:
            return answers

    def _record_and_claim(
        self, answers: list[tuple[str, Outcome]], room: int, now: datetime
    ) -> list[Message]:
        with self._store.transaction() as tx:
            self._apply_answers(tx, answers, now)
            # what the answers said of the link decides how much more it is given
            room = min(room + len(answers), self._room(now)) if answers else room
            return tx.claim(now, room, self.gateway.name) if room > 0 else []

    def _record(self, answers: list[tuple[str, Outcome]]) -> None:
        if answers:
            with self._store.transaction() as tx:
                self._apply_answers(tx, answers, self._clock.now())

    def _room(self, now: datetime) -> int:
        """How many more messages the link may be given now."""
        if not within_hours(now, self.rules.opens, self.rules.closes, self.rules.zone):
            return 0
        if self._resume_at is not None and now < self._resume_at:
            return 0
        window = 1 if self._failures or self._stopped else self.gateway.window
        if self.rules.rate is not None:
            window = min(window, self._under_way + 1)
            if self._monotonic() < self._slot:
                return 0
        return max(0, window - self._under_way)

    def _pause(self) -> float:
        """Seconds to wait for an answer before looking at the outbox again."""
        if self.rules.rate is not None:
            return min(_IDLE, max(0.0005, self._slot - self._monotonic()))
        return _IDLE

    def _outgoing(self, message: Message, now: datetime) -> Outgoing:
        if self.rules.rate is not None:
            pace = message.segments / self.rules.rate * _PACE_MARGIN
            self._slot = max(self._slot, self._monotonic()) + pace
        return Outgoing(
            id=message.id,
            phone=message.phone or "",
            text=message.text or "",
            kind=message.kind,
            agency=message.agency,
            dossier_code=message.dossier_code,
            at=now,
            segments=message.segments,
            repeat=message.attempts > 1,
        )

    # answers

    def _apply_answers(self, tx: OutboxTx, answers: Sequence[tuple[str, Outcome]], now: datetime) -> None:
        self._under_way -= len(answers)
        found = tx.messages([id_ for id_, _ in answers])
        changes = []
        for message_id, outcome in answers:
            self._judge_link(outcome, now)
            message = found.get(message_id)
            if message is not None:
                changes.append(self._change_for(tx, message, outcome, now))
        tx.change(changes)

    def _change_for(self, tx: OutboxTx, message: Message, outcome: Outcome, now: datetime) -> Change:
        after = after_outcome(outcome.verdict)
        handed_over = outcome.verdict in (Verdict.ACCEPTED, Verdict.DELIVERED)
        if after in (MessageState.QUEUED, MessageState.UNKNOWN) and not self._still_holds(tx, message):
            after = MessageState.SUPERSEDED
        wait = timedelta(0)
        if outcome.verdict is Verdict.RETRY:
            wait = backoff(message.attempts, FIRST_GATEWAY_WAIT, LONGEST_GATEWAY_WAIT)
        return Change(
            message.id,
            MessageState.SENDING,
            after,
            now,
            detail=" ".join(filter(None, (outcome.code, outcome.detail)))[:200] or None,
            gateway=self.gateway.name,
            reference=outcome.reference,
            next_at=now + wait if after is MessageState.QUEUED else None,
            possible_duplicate=message.possible_duplicate,
            final=after in (MessageState.DELIVERED, MessageState.REJECTED, MessageState.SUPERSEDED),
            handed_over=handed_over,
            failed_try=outcome.verdict is Verdict.ACCOUNT,
        )

    def _still_holds(self, tx: OutboxTx, message: Message) -> bool:
        policy = self._policy_of(message.agency)
        return policy is None or still_holds(message.kind, message.due_day, tx.tracked(message), policy)

    def _judge_link(self, outcome: Outcome, now: datetime) -> None:
        """What one answer says of the link as a whole: go on, slow down, or stop and raise an alarm."""
        verdict = outcome.verdict
        if verdict in (Verdict.ACCEPTED, Verdict.DELIVERED):
            self._failures = self._refusals = 0
            self._resume_at = None
            if self._stopped:
                self._stopped = False
                log.info("link_recovered", gateway=self.gateway.name)
            self._alarms.clear(f"gateway:{self.gateway.name}")
            return
        unreadable = verdict is Verdict.UNKNOWN and outcome.code == "unrecognised_answer"
        if verdict is Verdict.REJECTED or unreadable:
            self._refusals += 1
        if verdict is Verdict.REJECTED:
            self._failures = 0
        if verdict is Verdict.ACCOUNT or self._refusals >= REFUSALS_THAT_STOP:
            self._stop_link(outcome, now)
        elif verdict in (Verdict.RETRY, Verdict.UNKNOWN):
            self._slow_down(outcome, now)

    def _slow_down(self, outcome: Outcome, now: datetime) -> None:
        if self._resume_at is not None and now < self._resume_at and outcome.retry_after is None:
            return  # one of several under way when the fault began: counted already
        self._failures += 1
        wait = backoff(self._failures, FIRST_GATEWAY_WAIT, LONGEST_GATEWAY_WAIT)
        if outcome.retry_after is not None:
            wait = max(
                wait, timedelta(seconds=min(outcome.retry_after, LONGEST_GATEWAY_WAIT.total_seconds()))
            )
        self._resume_at = now + wait
        log.warning(
            "gateway_waits", gateway=self.gateway.name, code=outcome.code, seconds=wait.total_seconds()
        )
        if wait >= LONGEST_GATEWAY_WAIT:
            self._alarms.raise_alarm(
                f"gateway:{self.gateway.name}",
                f"gateway {self.gateway.name} takes no messages: {outcome.code} {outcome.detail}".strip(),
                hint="messages wait and go out by themselves when it is back; look at the gateway",
            )

    def _stop_link(self, outcome: Outcome, now: datetime) -> None:
        self._resume_at = now + STOPPED_LINK_WAIT
        if not self._stopped:
            log.error("link_stopped", gateway=self.gateway.name, code=outcome.code, detail=outcome.detail)
        self._stopped = True
        self._alarms.raise_alarm(
            f"gateway:{self.gateway.name}",
            f"gateway {self.gateway.name} is stopped: {outcome.code} {outcome.detail}".strip(),
            hint="mend account, sender or address, then: systemctl reload smsd (one is tried every 10 minutes)",
        )

    # receipts

    def receive(self, receipt: Receipt) -> str:
        """Record a proven receipt before it is answered. From any thread."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            message = tx.message(receipt.message_id)
            if message is None:
                return "unknown_message"
            ended = message.final_at is not None
            after = after_receipt(message.state, receipt.verdict, tried=message.attempts > 0, ended=ended)
            if after is None:
                return "late" if ended and message.state is not after else "repeated"
            detail = " ".join(filter(None, ("receipt", receipt.code, receipt.detail)))[:200]
            change = Change(
                message.id,
                message.state,
                after,
                now,
                detail=detail,
                gateway=receipt.gateway,
                final=after is not MessageState.ACCEPTED,
                handed_over=after is not MessageState.REJECTED,
                possible_duplicate=message.possible_duplicate,
            )
            return "applied" if tx.change([change]) else "repeated"

    # age

    def age(self) -> None:
        """Expire what is too old, ask after or requeue what is unknown, let `accepted` become final."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            tx.change(
                [
                    Change(
                        m.id,
                        m.state,
                        MessageState.EXPIRED,
                        now,
                        "not handed over in time",
                        final=True,
                        possible_duplicate=m.possible_duplicate,
                    )
                    for m in tx.overdue(now)
                ]
            )
            tx.change(
                [
                    Change(
                        m.id,
                        m.state,
                        m.state,
                        now,
                        "no final receipt in 72 h",
                        final=True,
                        possible_duplicate=m.possible_duplicate,
                    )
                    for m in tx.accepted_before(now - RECEIPT_WAIT)
                ]
            )
        self._resolve_unknown(now)

    def _resolve_unknown(self, now: datetime) -> None:
        """An unknown one is asked for, or sent again: under its id where that is safe, else once and marked."""
        safe = self.gateway.repeats_safely
        until = now if safe else now - self.rules.unknown_after
        with self._store.transaction() as tx:
            waiting = tx.in_state(MessageState.UNKNOWN, until=until)
        asked = [(message, self.gateway.find(message.id, message.made_at)) for message in waiting]
        changes = []
        for message, outcome in asked:
            if outcome is not None and outcome.verdict in (Verdict.ACCEPTED, Verdict.DELIVERED):
                changes.append(self._found_again(message, outcome, now))
            elif safe or not message.possible_duplicate:
                changes.append(
                    Change(
                        message.id,
                        MessageState.UNKNOWN,
                        MessageState.QUEUED,
                        now,
                        "sent again under the same id" if safe else "no receipt came: sent again once",
                        next_at=now,
                        possible_duplicate=message.possible_duplicate or not safe,
                    )
                )
        if changes:
            with self._store.transaction() as tx:
                tx.change(changes)

    def _found_again(self, message: Message, outcome: Outcome, now: datetime) -> Change:
        after = after_outcome(outcome.verdict)
        return Change(
            message.id,
            MessageState.UNKNOWN,
            after,
            now,
            "the gateway has it",
            gateway=self.gateway.name,
            reference=outcome.reference,
            final=after is MessageState.DELIVERED,
            handed_over=True,
            possible_duplicate=message.possible_duplicate,
        )
