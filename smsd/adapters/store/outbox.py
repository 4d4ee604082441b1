"""The outbox: claiming messages and changing their states by compare-and-set, each change with its event."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import accumulate
from typing import Any

from sqlalchemy import (
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
    or_,
    select,
    true,
    update,
)

from smsd.adapters.store.changes import apply_changes
from smsd.adapters.store.engine import Database
from smsd.adapters.store.mapping import (
    MESSAGE_COLUMNS,
    TRACKED_COLUMNS,
    chunks,
    message_columns,
    message_content,
    message_from,
    record_events,
    tracked_from,
)
from smsd.adapters.store.parts import Parts
from smsd.adapters.store.schema import Instant, agencies, decisions, dossiers, messages
from smsd.core.model import Message, MessageState, Mode, Reason, Tracked
from smsd.core.outbox import valid_after_hold
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
        """Held batches by agency and kind: how many, since when, and one dossier to look at."""
        query = (
            select(
                messages.c.agency,
                messages.c.kind,
                func.count().label("messages"),
                func.sum(messages.c.segments).label("segments"),
                func.min(messages.c.held_at).label("since"),
                func.min(messages.c.dossier_code).label("example"),
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
    here, settled = literal(now, messages.c.next_at.type), messages.c.next_at
    latest = here + messages.c.settle  # more is left of `settle` only where the clock has been set back since
    return _held().values(
        state=MessageState.QUEUED,
        next_at=case((settled > latest, latest), (settled > now, settled), else_=here),
        state_at=now,
        valid_until=bindparam("b_valid_until"),
    )


def _discard(now: datetime) -> Update:
    return _held().values(state=MessageState.SUPPRESSED, reason=Reason.DISCARDED, state_at=now, final_at=now)


def _held() -> Update:
    return update(messages).where(messages.c.id == bindparam("b_id"), messages.c.state == MessageState.HELD)


def _is_not_of(gateways: Collection[str]) -> ColumnElement[bool]:
    """Messages that none of these gateways may have."""
    if not gateways:
        return true()
    return or_(messages.c.gateway.is_(None), messages.c.gateway.not_in(sorted(gateways)))


def _claimable() -> Select[Any]:
    """Queued messages that may go `now`, as they are once they are claimed."""
    column, now = messages.c, bindparam("now", type_=Instant)
    fresh = agencies.c.last_good_at + column.settle + literal_column("2") * agencies.c.interval
    return (
        select(*message_columns(state=literal(MessageState.SENDING), attempts=column.attempts + 1))
        .join(agencies, agencies.c.id == column.agency)
        .join(
            dossiers,
            and_(dossiers.c.agency == column.agency, dossiers.c.code == column.dossier_code),
        )
        .where(
            column.state == MessageState.QUEUED,
            column.final_at.is_(None),
            column.next_at <= now,
            column.valid_until > now,
            agencies.c.mode == Mode.LIVE,
            agencies.c.last_good_at <= now,  # the age of a read from the future is not known
            fresh >= now,
            dossiers.c.missing_reads == 0,
            dossiers.c.gone_at.is_(None),
        )
        .order_by(column.next_at)
        .limit(bindparam("limit", type_=Integer))
    )


_CLAIMABLE = _claimable()
_CLAIM = (
    update(messages)
    .where(messages.c.id.in_(bindparam("ids", expanding=True)), messages.c.state == MessageState.QUEUED)
    .values(
        state=MessageState.SENDING,
        state_at=bindparam("now", type_=Instant),
        attempts=messages.c.attempts + 1,
        gateway=bindparam("by"),
    )
    .returning(messages.c.id, messages.c.salt)
)


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
        query = _CLAIMABLE.where(_is_not_of(beside)) if beside else _CLAIMABLE
        found = self._connection.execute(query, {"now": now, "limit": limit})
        chosen = [message_from(row) for row in found]
        if segments is not None:
            taken = accumulate(message.segments for message in chosen)
            chosen = [message for message, total in zip(chosen, taken, strict=True) if total <= segments]
        salts: dict[str, bytes | None] = {}
        for part in chunks([message.id for message in chosen]):
            given = {"ids": part, "now": now, "by": gateway}
            for id_, salt in self._connection.execute(_CLAIM, given):
                salts[id_] = salt
        chosen = [message for message in chosen if message.id in salts]
        events = [(message.id, MessageState.SENDING, f"try {message.attempts}") for message in chosen]
        contents = [message_content(message, salts[message.id]) for message in chosen]
        record_events(self._connection, events, now, contents)
        return chosen

    def change(self, changes: Sequence[Change]) -> int:
        """Apply changes whose message is still in the state it is expected in; how many were. One for each message."""
        return apply_changes(self._connection, changes)

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
        query = select(*TRACKED_COLUMNS).where(
            dossiers.c.agency == message.agency, dossiers.c.code == message.dossier_code
        )
        row = self._connection.execute(query).first()
        return tracked_from(row) if row is not None else None

    def reason_of_entry(self, message: Message, entry: int) -> Reason | None:
        """Why nothing was sent for another entry of a message's dossier; None: something was, or none was made."""
        query = select(messages.c.reason).where(
            messages.c.agency == message.agency,
            messages.c.dossier_code == message.dossier_code,
            messages.c.kind == message.kind,
            messages.c.occurrence == str(entry),
        )
        reason = self._connection.execute(query).scalar()
        return Reason(reason) if reason is not None else None

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
        return [message_from(row) for row in self._connection.execute(query)]

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

    def reported(self, gateway: str, keys: Sequence[str]) -> list[Reported]:
        """The messages that parts belong to: where each stands, with what was reported of all its parts."""
        return self._parts.reported(gateway, keys)

    def delivered_in_part(self, ids: Sequence[str]) -> set[str]:
        """Which of these messages have a delivered part and none that failed."""
        return self._parts.delivered_in_part(ids)

    def unowned_parts(self, until: datetime, limit: int = 1000) -> list[tuple[str, Part]]:
        """Parts reported by this instant that no answer has named."""
        return self._parts.unowned(until, limit)

    def give_up_parts(self, gateway: str, keys: Sequence[str]) -> None:
        """Look for the owners of these parts no more."""
        self._parts.give_up(gateway, keys)
