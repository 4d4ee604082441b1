"""Delivery: from the outbox through a gateway, every state written before and after the call that leaves the process.

One link is one gateway. A pump records what came back and claims what may go next in one transaction, then hands the
claimed messages over; so a crash can leave no more messages unknown than the gateway's window. What a state may become
is `core.outbox`'s to say, what the link may be given `link`'s; receipts and age are in `receipts` and `aging`.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from smsd.core.clock import Clock
from smsd.core.errors import SmsdError
from smsd.core.model import Message, MessageState, Outcome, PartReceipt, Receipt, Verdict
from smsd.core.names import clean_text
from smsd.core.outbox import FIRST_GATEWAY_WAIT, LONGEST_GATEWAY_WAIT, after_outcome, backoff
from smsd.services.aging import Aging
from smsd.services.link import Link, SendingRules
from smsd.services.ports import Alarms, Change, Gateway, Outgoing
from smsd.services.receipts import Receipts, detail_of
from smsd.services.review import PolicyOf, review
from smsd.services.storage import OutboxStore, OutboxTx

__all__ = ["Delivery", "SendingRules"]

log = structlog.get_logger(__name__)

_IDLE = 0.2
"""Seconds between looks at the outbox when nothing happens."""
_MOMENT = 0.02
"""Seconds for which further answers are waited for, in steps of `_LULL`."""
_LULL = 0.002
"""Seconds slept between looks at the answers meanwhile: to be woken by each of them costs more than to look."""
_RETURNED = frozenset({MessageState.QUEUED, MessageState.UNKNOWN})
_LONGEST_REFERENCE = 200
_LONGEST_ANSWER = timedelta(minutes=2)
"""Longer than handing over what was claimed ever takes; what is under way longer than this is known to be."""


class Delivery:
    """Sends what the outbox holds over one gateway. `wake`, `age`, receipts and answers may come from other threads."""

    def __init__(
        self,
        store: OutboxStore,
        gateway: Gateway,
        rules: SendingRules,
        alarms: Alarms,
        clock: Clock,
        *,
        policy_of: PolicyOf,
        monotonic: Callable[[], float] = time.monotonic,
        beside: Collection[str] = (),
    ) -> None:
        """``beside``: the other gateways, whose messages with a lost answer are theirs."""
        self.may_send: Callable[[], bool] = lambda: True
        """Whether it is this gateway's turn to send."""
        self._beside = frozenset(beside)
        self._store = store
        self.gateway = gateway
        self._clock = clock
        self._policy_of = policy_of
        self._link = Link(gateway, rules, alarms, monotonic)
        self._receipts = Receipts(store, clock)
        self._aging = Aging(
            store, gateway, clock, policy_of=policy_of, monotonic=monotonic, beside=self._beside
        )
        self._answers: queue.SimpleQueue[tuple[str, Outcome] | None] = queue.SimpleQueue()
        self._under_way: dict[str, Message] = {}
        self._unrecorded: list[tuple[Message, Outcome]] = []
        """Answers that are not in the store yet; kept while the store fails."""

    @property
    def rules(self) -> SendingRules:
        """What the configuration says of sending."""
        return self._link.rules

    # life

    def recover(self) -> int:
        """After a start: what was in `sending` when the process ended may have been handed over. Returns how many."""
        now, count = self._clock.now(), 0
        detail = "smsd stopped before the answer was recorded"
        while True:
            with self._store.transaction() as tx:
                stuck = tx.in_state(MessageState.SENDING)
                if not stuck:
                    return count
                tx.change([Change(m.id, m.state, MessageState.UNKNOWN, now, detail) for m in stuck])
                self._review(tx, [m.id for m in stuck], now)
                count += len(stuck)

    def wake(self) -> None:
        """Look at the outbox now. From any thread."""
        self._answers.put(None)

    def reload(self, rules: SendingRules) -> None:
        """Take a reloaded configuration; a stopped link tries again at once."""
        self._link.reload(rules)
        self.wake()

    def run(self, stop: Callable[[], bool]) -> None:
        """Pump until told to stop, then wait for what is under way."""
        while not stop():
            try:
                self.pump(wait=self._pause())
            except Exception as error:
                # nothing was claimed or recorded by halves; answers not recorded are kept for the next turn
                log.error("delivery_failed", error=type(error).__name__, detail=_first_line(error))
                time.sleep(_IDLE)
        self.close()

    def close(self) -> None:
        """Wait for the gateway's last answers and record them."""
        self.gateway.close()
        self._collect(0.0)
        if not self._unrecorded:
            return
        try:
            with self._store.transaction() as tx:
                self._record(tx, self._clock.now())
        except SmsdError as error:
            # they are in `sending` and become `unknown` by the next start
            log.error("answers_not_recorded", answers=len(self._unrecorded), detail=_first_line(error))
        else:
            self._unrecorded = []

    def drain(self) -> None:
        """Send everything that may go now, as fast as `rate` allows; for `run --once`, the demo and tests."""
        idle = 0
        while self._under_way or idle < 2:
            if self.pump(wait=0.05 if self._under_way else 0.0):
                idle = 0
            elif self._link.pace.wait() > 0:
                time.sleep(min(_IDLE, self._link.pace.wait()))
            elif not self._waits_for_room():
                idle += 1

    def _waits_for_room(self) -> bool:
        """Whether only the last second's segments keep the next message back."""
        budget = self._link.budget()
        if budget is None or not self._store.anything_to_do(self._clock.now()):
            return False
        time.sleep(0.01)
        return self._link.room(len(self._under_way), self._clock.now()) > 0

    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    @property
    def stopped(self) -> bool:
        """Whether an alarm has stopped the link."""
        return self._link.stopped

    @property
    def in_trouble(self) -> bool:
        """Whether the gateway's last answers were faults of its own or of the account."""
        return self._link.in_trouble

    def trouble_for(self) -> float:
        """Seconds for which the gateway's answers have been faults; 0 while it is well."""
        return self._link.trouble_for()

    # the pump

    def pump(self, wait: float = 0.0) -> bool:
        """Record answers, claim what may go and hand it over. Returns whether anything was done."""
        self._collect(wait)
        now = self._clock.now()
        room = self._link.room(len(self._under_way), now) if self.may_send() else 0
        answered = len(self._unrecorded)
        if not answered and (room == 0 or not self._store.anything_to_do(now)):
            return False
        with self._store.transaction() as tx:
            self._record(tx, now)
            claimed = self._claim(tx, room, now)
        self._unrecorded = []
        if claimed:
            self._hand_over(claimed, now)
        self._link.tell()
        return bool(answered or claimed)

    def _claim(self, tx: OutboxTx, room: int, now: datetime) -> list[Message]:
        if room == 0:
            return []
        return tx.claim(now, room, self.gateway.name, segments=self._link.budget(), beside=self._beside)

    def _hand_over(self, claimed: Sequence[Message], now: datetime) -> None:
        self._under_way.update((message.id, message) for message in claimed)
        self._link.passed(sum(message.segments for message in claimed))
        try:
            self.gateway.submit([_outgoing(message, now) for message in claimed], self._answered)
        except Exception as error:
            # a gateway answers by `done` and never raises; whatever it did, nothing may be lost or taken for unsent
            log.error("submit_failed", gateway=self.gateway.name, error=type(error).__name__)
            for message in claimed:
                self._answered(message.id, Outcome(Verdict.UNKNOWN, "submit_failed", type(error).__name__))

    def _answered(self, message_id: str, outcome: Outcome) -> None:
        self._answers.put((message_id, outcome))

    def _collect(self, wait: float) -> None:
        """Take the answers that have come, waiting so many seconds for the first. Second answers count for nothing.

        While the gateway still has enough under way, a moment is given to more: one commit then records many.
        """
        now, enough = self._clock.now(), self.gateway.window // 2
        try:
            answer = self._answers.get(timeout=wait) if wait > 0 else self._answers.get_nowait()
        except queue.Empty:
            return
        until = time.monotonic() + (_MOMENT if wait > 0 else 0.0)
        while True:
            message = self._under_way.pop(answer[0], None) if answer is not None else None
            if answer is not None and message is not None:
                self._link.judge(answer[1], now)
                self._unrecorded.append((message, answer[1]))
            while self._answers.empty():
                if len(self._under_way) <= enough or time.monotonic() >= until:
                    return
                time.sleep(_LULL)
            answer = self._answers.get_nowait()

    def _pause(self) -> float:
        """Seconds to wait for an answer before looking at the outbox again."""
        wait = self._link.pace.wait()
        return min(_IDLE, wait) if wait > 0 else _IDLE if self._link.rules.rate is None else _IDLE / 10

    # answers

    def _record(self, tx: OutboxTx, now: datetime) -> None:
        if not self._unrecorded:
            return
        changes = [self._change_for(message, outcome, now) for message, outcome in self._unrecorded]
        if tx.change(changes) < len(changes):
            self._record_late(tx, changes)
        parts = {m.id: outcome.parts for m, outcome in self._unrecorded if outcome.parts}
        if parts:
            self._receipts.keep_parts(tx, self.gateway.name, parts, now)
        self._review(tx, [change.message_id for change in changes if change.after in _RETURNED], now)

    def _record_late(self, tx: OutboxTx, changes: Sequence[Change]) -> None:
        """Answers to messages that were taken for lost meanwhile: what was taken or refused is not sent again."""
        states = {id_: message.state for id_, message in tx.messages([c.message_id for c in changes]).items()}
        tx.change(
            [
                replace(change, before=MessageState.UNKNOWN)
                for change in changes
                if states.get(change.message_id) is MessageState.UNKNOWN and change.after not in _RETURNED
            ]
        )

    def _change_for(self, message: Message, outcome: Outcome, now: datetime) -> Change:
        after = after_outcome(outcome.verdict)
        # beside other gateways the link alone rests: one of them may have the message meanwhile
        wait = timedelta(0)
        if outcome.verdict is Verdict.RETRY and not self._beside:
            wait = backoff(message.attempts, FIRST_GATEWAY_WAIT, LONGEST_GATEWAY_WAIT)
        reference = clean_text(outcome.reference)[:_LONGEST_REFERENCE] if outcome.reference else None
        return Change(
            message.id,
            MessageState.SENDING,
            after,
            now,
            detail=detail_of(outcome.code, outcome.detail),
            gateway=self.gateway.name,
            reference=reference,
            next_at=now + wait if after is MessageState.QUEUED else None,
            final=after in (MessageState.DELIVERED, MessageState.REJECTED),
            handed_over=outcome.verdict in (Verdict.ACCEPTED, Verdict.DELIVERED),
            failed_try=outcome.verdict is Verdict.ACCOUNT,
            # one that had a gateway when it was claimed may have been taken by it in an earlier try
            unbound=outcome.verdict in (Verdict.RETRY, Verdict.ACCOUNT) and message.gateway is None,
        )

    def _review(self, tx: OutboxTx, ids: Sequence[str], now: datetime) -> None:
        """What came back may have become untrue meanwhile; it must not be sent again then."""
        if ids:
            back = [message for message in tx.messages(ids).values() if message.state in _RETURNED]
            tx.change(review(tx, back, self._policy_of, now))

    # receipts and age

    def receive(self, receipt: Receipt) -> str:
        """Record a proven receipt before it is answered. From any thread."""
        return self._receipts.receive(receipt)

    def receive_parts(self, receipts: Sequence[PartReceipt]) -> None:
        """Record receipts that name parts by the provider's ids, before they are acknowledged. From any thread."""
        self._receipts.receive_parts(receipts)

    def age(self) -> None:
        """Expire what is too old, ask after or requeue what is unknown, let `accepted` become final."""
        self._miss_answers()
        self._aging.age(self._link.rules.unknown_after)
        self._receipts.match_late_parts()

    def _miss_answers(self) -> None:
        """What has long been in `sending` and is not under way here was claimed in vain, or by one that is gone."""
        now = self._clock.now()
        with self._store.looking() as tx:
            old = tx.in_state(MessageState.SENDING, until=now - _LONGEST_ANSWER, beside=self._beside)
        if not old:
            return
        mine = {*self._under_way.copy(), *(message.id for message, _ in list(self._unrecorded))}
        stuck = [message.id for message in old if message.id not in mine]
        with self._store.transaction() as tx:
            detail = "no answer was recorded"
            tx.change([Change(id_, MessageState.SENDING, MessageState.UNKNOWN, now, detail) for id_ in stuck])
            self._review(tx, stuck, now)


def _outgoing(message: Message, now: datetime) -> Outgoing:
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


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:200]
