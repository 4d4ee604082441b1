"""The outbox: claiming messages and changing their states by compare-and-set, each change with its event."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import accumulate
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    Select,
    Update,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)

from smsd.adapters.store.engine import Database
from smsd.adapters.store.mapping import MESSAGE_COLUMNS, chunks, message_from, record_events, tracked_from
from smsd.adapters.store.parts import Parts
from smsd.adapters.store.schema import agencies, decisions, dossiers, messages
from smsd.core.model import Message, MessageState, Mode, Reason, Tracked
from smsd.core.outbox import may_follow, valid_after_hold
from smsd.core.phones import mask_phone
from smsd.services.ports import Change, Part, Reported


class OutboxStore:
    """The part of the state store that delivery works on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def transaction(self) -> Iterator[OutboxTx]:
        """One transaction of the one writer."""
        with self._database.writing() as connection:
            yield OutboxTx(connection)

    @contextmanager
    def looking(self) -> Iterator[OutboxTx]:
        """The outbox as it is at one moment, for looking only: hinders no writer."""
        with self._database.reading() as connection:
            yield OutboxTx(connection)

    def anything_to_do(self, now: datetime) -> bool:
        """Whether a message may be due; looks only, so that an idle outbox writes nothing."""
        query = (
            select(messages.c.id)
            .where(
                messages.c.state == MessageState.QUEUED,
                messages.c.final_at.is_(None),
                messages.c.next_at <= now,
            )
            .limit(1)
        )
        with self._database.reading() as connection:
            return connection.execute(query).first() is not None

    def held(self) -> list[dict[str, Any]]:
        """Held batches by agency and kind: how many, since when."""
        query = (
            select(
                messages.c.agency,
                messages.c.kind,
                func.count().label("messages"),
                func.sum(messages.c.segments).label("segments"),
                func.min(messages.c.held_at).label("since"),
            )
            .where(messages.c.state == MessageState.HELD, messages.c.final_at.is_(None))
            .group_by(messages.c.agency, messages.c.kind)
            .order_by(messages.c.agency, messages.c.kind)
        )
        with self._database.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def decide_held(self, agency: str, *, release: bool, os_user: str, now: datetime) -> int:
        """Carry out and record an operator's decision on an agency's held messages; returns how many."""
        query = select(messages.c.id, messages.c.valid_until, messages.c.held_at).where(
            messages.c.agency == agency,
            messages.c.state == MessageState.HELD,
            messages.c.final_at.is_(None),
        )
        with self._database.writing() as connection:
            held = list(connection.execute(query))
            if not held:
                return 0
            after = MessageState.QUEUED if release else MessageState.SUPPRESSED
            decided = [
                {
                    "b_id": row.id,
                    "b_valid_until": valid_after_hold(row.valid_until, row.held_at or now, now),
                }
                for row in held
            ]
            connection.execute(_release(now) if release else _discard(now), decided)
            action = "release" if release else "discard"
            record_events(connection, [(row.id, after, f"{action} by {os_user}") for row in held], now)
            values = {"at": now, "os_user": os_user, "action": action, "agency": agency}
            connection.execute(insert(decisions).values(**values, detail=f"{len(held)} messages"))
            return len(held)


def _release(now: datetime) -> Update:
    return _held().values(
        state=MessageState.QUEUED, next_at=now, state_at=now, valid_until=bindparam("b_valid_until")
    )


def _discard(now: datetime) -> Update:
    return _held().values(state=MessageState.SUPPRESSED, reason=Reason.DISCARDED, state_at=now, final_at=now)


def _held() -> Update:
    return update(messages).where(messages.c.id == bindparam("b_id"), messages.c.state == MessageState.HELD)


def _changing() -> Update:
    """The one statement every change of the outbox is: compare-and-set on state, what is not given stays."""
    column = messages.c
    return (
        update(messages)
        .where(
            column.id == bindparam("b_id"), column.state == bindparam("b_before"), column.final_at.is_(None)
        )
        .values(
            state=bindparam("b_after"),
            state_at=bindparam("b_at"),
            reason=bindparam("b_reason"),
            detail=bindparam("b_detail"),
            possible_duplicate=or_(column.possible_duplicate, bindparam("b_twice", type_=Boolean)),
            gateway=case(
                (bindparam("b_unbound", type_=Boolean), null()),
                else_=_given("gateway"),
            ),
            reference=_given("reference"),
            next_at=_given("next_at"),
            phone=_given("phone"),
            phone_masked=_given("phone_masked"),
            final_at=bindparam("b_final_at"),
            handed_over_at=func.coalesce(
                column.handed_over_at, bindparam("b_handed_over_at", type_=column.handed_over_at.type)
            ),
            attempts=column.attempts - bindparam("b_failed_tries", type_=Integer),
        )
    )


def _is_not_of(gateways: Collection[str]) -> ColumnElement[bool]:
    """Messages that none of these gateways may have."""
    if not gateways:
        return true()
    return or_(messages.c.gateway.is_(None), messages.c.gateway.not_in(sorted(gateways)))


def _given(name: str) -> ColumnElement[Any]:
    column = messages.c[name]
    return func.coalesce(bindparam(f"b_{name}", type_=column.type), column)


_CHANGING = _changing()


def _change_values(change: Change) -> dict[str, Any]:
    return {
        "b_id": change.message_id,
        "b_before": change.before,
        "b_after": change.after,
        "b_at": change.at,
        "b_reason": change.reason,
        "b_detail": change.detail,
        "b_twice": change.possible_duplicate,
        "b_gateway": change.gateway,
        "b_unbound": change.unbound,
        "b_reference": change.reference,
        "b_next_at": change.next_at,
        "b_phone": change.phone,
        "b_phone_masked": mask_phone(change.phone) if change.phone is not None else None,
        "b_final_at": change.at if change.final else None,
        "b_handed_over_at": change.at if change.handed_over else None,
        "b_failed_tries": int(change.failed_try),
    }


class OutboxTx:
    """The outbox within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parts = Parts(connection)

    def claim(
        self,
        now: datetime,
        limit: int,
        gateway: str,
        *,
        segments: int | None = None,
        beside: Collection[str] = (),
    ) -> list[Message]:
        """Move up to ``limit`` queued messages that may go now to `sending`, oldest due first.

        A message may go while its agency is live and its last good read is no older than `settle` + 2 × `interval`,
        its dossier was in that read, and it is not too old itself. ``segments``: no more than so many in all; one that
        is longer waits for room, and those behind it with it. ``beside``: the other gateways; what one of them may
        have taken is left to it.
        """
        claimable = self._claimable(now).where(_is_not_of(beside))
        chosen = self._messages(claimable.order_by(messages.c.next_at).limit(limit))
        if segments is not None:
            taken = accumulate(message.segments for message in chosen)
            chosen = [message for message, total in zip(chosen, taken, strict=True) if total <= segments]
        claimed: dict[str, int] = {}
        for part in chunks([message.id for message in chosen]):
            query = (
                update(messages)
                .where(messages.c.id.in_(part), messages.c.state == MessageState.QUEUED)
                .values(
                    state=MessageState.SENDING,
                    state_at=now,
                    attempts=messages.c.attempts + 1,
                    gateway=gateway,
                )
                .returning(messages.c.id, messages.c.attempts)
            )
            claimed.update((row.id, row.attempts) for row in self._connection.execute(query))
        events = [(id_, MessageState.SENDING, f"try {n}") for id_, n in claimed.items()]
        record_events(self._connection, events, now)
        return [
            replace(m, attempts=claimed[m.id], state=MessageState.SENDING) for m in chosen if m.id in claimed
        ]

    def _claimable(self, now: datetime) -> Select[Any]:
        fresh = agencies.c.last_good_at + messages.c.settle + literal_column("2") * agencies.c.interval
        return (
            select(*MESSAGE_COLUMNS)
            .join(agencies, agencies.c.id == messages.c.agency)
            .join(
                dossiers,
                and_(dossiers.c.agency == messages.c.agency, dossiers.c.code == messages.c.dossier_code),
            )
            .where(
                messages.c.state == MessageState.QUEUED,
                messages.c.final_at.is_(None),
                messages.c.next_at <= now,
                messages.c.valid_until > now,
                agencies.c.mode == Mode.LIVE,
                agencies.c.last_good_at <= now,  # the age of a read from the future is not known
                fresh >= literal(now, messages.c.made_at.type),
                dossiers.c.missing_reads == 0,
                dossiers.c.gone_at.is_(None),
            )
        )

    def change(self, changes: Sequence[Change]) -> int:
        """Apply changes whose message is still in the state it is expected in; how many were. One for each message."""
        for change in changes:
            if change.after is not change.before and not may_follow(change.before, change.after):
                raise ValueError(f"{change.before} is never followed by {change.after}")
        states = self._open_states([change.message_id for change in changes])
        applied = [change for change in changes if states.get(change.message_id) == change.before]
        if applied:
            self._connection.execute(_CHANGING, [_change_values(change) for change in applied])
        by_instant: dict[datetime, list[tuple[str, str, str | None]]] = {}
        for change in applied:
            event = change.message_id, change.after, change.reason or change.detail
            by_instant.setdefault(change.at, []).append(event)
        for at, events in by_instant.items():
            record_events(self._connection, events, at)
        return len(applied)

    def _open_states(self, ids: Sequence[str]) -> dict[str, str]:
        """The states of messages that have not ended; in them until this transaction is over."""
        states: dict[str, str] = {}
        for part in chunks(ids):
            query = (
                select(messages.c.id, messages.c.state)
                .where(messages.c.id.in_(part), messages.c.final_at.is_(None))
                .with_for_update()
            )
            states.update((row.id, row.state) for row in self._connection.execute(query))
        return states

    # looking

    def message(self, message_id: str) -> Message | None:
        """One message by its id."""
        return self.messages([message_id]).get(message_id)

    def messages(self, ids: Sequence[str]) -> dict[str, Message]:
        """Messages by their ids."""
        found: dict[str, Message] = {}
        for part in chunks(ids):
            query = select(*MESSAGE_COLUMNS).where(messages.c.id.in_(part))
            found.update({message.id: message for message in self._messages(query)})
        return found

    def tracked(self, message: Message) -> Tracked | None:
        """What is remembered of a message's dossier."""
        query = select(dossiers).where(
            dossiers.c.agency == message.agency, dossiers.c.code == message.dossier_code
        )
        row = self._connection.execute(query).mappings().first()
        return tracked_from(row) if row is not None else None

    def in_state(
        self,
        state: MessageState,
        *,
        until: datetime | None = None,
        possible_duplicate: bool | None = None,
        beside: Collection[str] = (),
        limit: int = 1000,
    ) -> list[Message]:
        """Messages in a state that is no ending, those longest in it first; ``until``: since this instant or longer.

        ``beside``: without those of these gateways.
        """
        query = select(*MESSAGE_COLUMNS).where(
            messages.c.state == state, messages.c.final_at.is_(None), _is_not_of(beside)
        )
        if until is not None:
            query = query.where(messages.c.state_at <= until)
        if possible_duplicate is not None:
            query = query.where(messages.c.possible_duplicate == possible_duplicate)
        return self._messages(query.order_by(messages.c.state_at).limit(limit))

    def overdue(self, now: datetime, limit: int = 1000) -> list[Message]:
        """Messages not handed over whose validity is over. Held ones keep theirs."""
        query = select(*MESSAGE_COLUMNS).where(
            messages.c.state.in_([MessageState.QUEUED, MessageState.UNKNOWN]),
            messages.c.final_at.is_(None),
            messages.c.valid_until <= now,
        )
        return self._messages(query.limit(limit))

    def accepted_before(self, instant: datetime, limit: int = 1000) -> list[Message]:
        """Messages handed over before an instant whose final receipt is still waited for."""
        query = select(*MESSAGE_COLUMNS).where(
            messages.c.state == MessageState.ACCEPTED,
            messages.c.final_at.is_(None),
            messages.c.handed_over_at <= instant,
        )
        return self._messages(query.limit(limit))

    def _messages(self, query: Select[Any]) -> list[Message]:
        return [message_from(row) for row in self._connection.execute(query).mappings()]

    # parts, by the provider's ids

    def own_parts(self, gateway: str, owners: Mapping[str, str], at: datetime) -> set[str]:
        """Give parts to messages; returns those of which a receipt came already."""
        return self._parts.own(gateway, owners, at)

    def note_parts(self, gateway: str, parts: Sequence[Part], at: datetime) -> None:
        """Keep what receipts said of parts, each once, whether their messages are known or not."""
        self._parts.note(gateway, parts, at)

    def owners_of_parts(self, gateway: str, keys: Sequence[str]) -> dict[str, str]:
        """The messages that parts belong to, as far as answers have named them."""
        return self._parts.owners(gateway, keys)

    def reported(self, ids: Sequence[str]) -> list[Reported]:
        """Where messages stand, with what was reported of each of their parts."""
        return self._parts.reported(ids)

    def delivered_in_part(self, ids: Sequence[str]) -> set[str]:
        """Which of these messages have a delivered part and none that failed."""
        return self._parts.delivered_in_part(ids)

    def unowned_parts(self, until: datetime, limit: int = 1000) -> list[tuple[str, Part]]:
        """Parts reported by this instant that no answer has named."""
        return self._parts.unowned(until, limit)

    def give_up_parts(self, gateway: str, keys: Sequence[str]) -> None:
        """Look for the owners of these parts no more."""
        self._parts.give_up(gateway, keys)
