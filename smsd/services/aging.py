"""What time does to messages: too old to be sent, too long without an answer, too long without a receipt."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from smsd.core.clock import Clock
from smsd.core.model import Message, MessageState, Outcome, Verdict
from smsd.core.outbox import RECEIPT_WAIT, after_outcome
from smsd.services.ports import Change, Gateway
from smsd.services.review import PolicyOf, review
from smsd.services.storage import OutboxStore

_ASKING = 2.0
"""Seconds a gateway is asked about lost answers in one turn; the rest is asked about in the next."""
_REPEATS_TOLD = timedelta(hours=24)
"""How long a gateway is trusted to tell a repeated id from a new one; providers keep ids for a day."""
_SURELY_NOT_TAKEN = frozenset({Verdict.RETRY, Verdict.ACCOUNT})


class Aging:
    """Looks at the outbox now and then. Each turn takes a thousand messages of a kind; those left come next time."""

    def __init__(
        self,
        store: OutboxStore,
        gateway: Gateway,
        clock: Clock,
        *,
        policy_of: PolicyOf,
        monotonic: Callable[[], float] = time.monotonic,
        beside: Collection[str] = (),
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._clock = clock
        self._policy_of = policy_of
        self._monotonic = monotonic
        self._beside = beside

    def age(self, unknown_after: timedelta) -> None:
        """Expire what is too old, let `accepted` become final, ask after or send again what is unknown."""
        now = self._clock.now()
        with self._store.looking() as tx:
            changes = [_expired(message, now) for message in tx.overdue(now)]
            told = tx.accepted_before(now - RECEIPT_WAIT)
            in_part = tx.delivered_in_part([message.id for message in told])
            changes += [_waited_out(message, in_part, now) for message in told]
        if changes:
            with self._store.transaction() as tx:
                tx.change(changes)
        self._resolve_unknown(now, unknown_after)

    def _resolve_unknown(self, now: datetime, unknown_after: timedelta) -> None:
        """An unknown one is asked for, or sent again: under its id where that is safe, else once and marked."""
        patient = now - unknown_after
        with self._store.looking() as tx:
            waiting = tx.in_state(
                MessageState.UNKNOWN, until=patient, possible_duplicate=False, beside=self._beside
            )
            if self._gateway.repeats_safely:
                waiting += tx.in_state(MessageState.UNKNOWN, until=now, beside=self._beside)
        # of a gateway that is not configured any more, nobody else knows the ids
        due = {m.id: m for m in waiting if self._is_safe(m, now) or (m.state_at or now) <= patient}
        asked = self._ask([m for m in due.values() if self._is_safe(m, now) or not m.possible_duplicate])
        if not asked:
            return
        with self._store.transaction() as tx:
            found = [self._found(message, outcome, now) for message, outcome in asked]
            tx.change([change for change in found if change is not None])
            lost = [m for (m, _), change in zip(asked, found, strict=True) if change is None]
            ended = [c for c in review(tx, lost, self._policy_of, now) if c.final]
            tx.change(ended)
            untrue = {change.message_id for change in ended}
            surely = {m.id for m, outcome in asked if outcome and outcome.verdict in _SURELY_NOT_TAKEN}
            again = [m for m in lost if m.id not in untrue]
            tx.change([_again(m, now, certain=m.id in surely, safe=self._is_safe(m, now)) for m in again])
            queued = [
                m for m in tx.messages([m.id for m in again]).values() if m.state is MessageState.QUEUED
            ]
            tx.change(review(tx, queued, self._policy_of, now))  # to the number of the latest good read

    def _is_safe(self, message: Message, now: datetime) -> bool:
        """Whether it may be handed over again under its id: the gateway that may have it would tell the repeat."""
        own = message.gateway == self._gateway.name
        return self._gateway.repeats_safely and own and now - (message.state_at or now) <= _REPEATS_TOLD

    def _ask(self, waiting: Sequence[Message]) -> list[tuple[Message, Outcome | None]]:
        asked: list[tuple[Message, Outcome | None]] = []
        until = self._monotonic() + _ASKING
        for message in waiting:
            own = message.gateway == self._gateway.name
            asked.append((message, self._gateway.find(message.id, message.made_at) if own else None))
            if self._monotonic() > until:
                break
        return asked

    def _found(self, message: Message, outcome: Outcome | None, now: datetime) -> Change | None:
        """What the gateway knows of a message; None: nothing, or that it was not taken."""
        if outcome is None or outcome.verdict is Verdict.UNKNOWN or outcome.verdict in _SURELY_NOT_TAKEN:
            return None
        after = after_outcome(outcome.verdict)
        return Change(
            message.id,
            MessageState.UNKNOWN,
            after,
            now,
            "the gateway was asked",
            gateway=self._gateway.name,
            reference=outcome.reference,
            final=after is not MessageState.ACCEPTED,
            handed_over=outcome.verdict is not Verdict.REJECTED,
        )


def _expired(message: Message, now: datetime) -> Change:
    unknown = message.state is MessageState.UNKNOWN
    detail = "neither answer nor receipt came in time" if unknown else "not handed over in time"
    return Change(message.id, message.state, MessageState.EXPIRED, now, detail, final=True)


def _waited_out(message: Message, in_part: set[str], now: datetime) -> Change:
    """The end of waiting: receipts of some parts alone, and none that says no, count for the whole."""
    if message.id in in_part:
        detail = "delivered as far as receipts came; not every part had one in 72 h"
        return Change(message.id, message.state, MessageState.DELIVERED, now, detail, final=True)
    return Change(message.id, message.state, message.state, now, "no final receipt in 72 h", final=True)


def _again(message: Message, now: datetime, *, certain: bool, safe: bool) -> Change:
    """Sent once more; marked unless the gateway surely did not take it, or would tell the repeat."""
    if certain:
        detail = "the gateway did not take it"
    else:
        detail = "sent again under the same id" if safe else "no receipt came: sent again once"
    return Change(
        message.id,
        MessageState.UNKNOWN,
        MessageState.QUEUED,
        now,
        detail,
        next_at=now,
        possible_duplicate=not (certain or safe),
        unbound=certain,
    )
