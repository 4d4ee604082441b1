"""The outbox: claiming messages and changing their states by compare-and-set, each change with its event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, func, insert, literal, select, update

from smsd.adapters.store.engine import Database
from smsd.adapters.store.mapping import MESSAGE_COLUMNS, chunks, message_from, tracked_from
from smsd.adapters.store.schema import agencies, decisions, dossiers, message_events, messages
from smsd.core.model import Message, MessageState, Mode, Reason, Tracked
from smsd.core.outbox import may_follow, valid_after_hold
from smsd.services.ports import Change


class OutboxStore:
    """The part of the state store that delivery works on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def transaction(self) -> Iterator[OutboxTx]:
        """One transaction of the one writer."""
        with self._database.writing() as connection:
            yield OutboxTx(connection)

    def anything_to_do(self, now: datetime) -> bool:
        """Whether a message may be due; looks only, so that an idle outbox writes nothing."""
        query = (
            select(messages.c.id)
            .where(messages.c.state == MessageState.QUEUED, messages.c.next_at <= now)
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
            .where(messages.c.state == MessageState.HELD)
            .group_by(messages.c.agency, messages.c.kind)
            .order_by(messages.c.agency, messages.c.kind)
        )
        with self._database.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def decide_held(self, agency: str, *, release: bool, os_user: str, now: datetime) -> int:
        """Carry out and record an operator's decision on an agency's held messages; returns how many."""
        with self._database.writing() as connection:
            query = select(*MESSAGE_COLUMNS).where(
                messages.c.agency == agency, messages.c.state == MessageState.HELD
            )
            held = [message_from(row) for row in connection.execute(query).mappings()]
            if not held:
                return 0
            action = "release" if release else "discard"
            for message in held:
                values: dict[str, Any] = {"state": MessageState.QUEUED, "next_at": now, "state_at": now}
                if release:
                    since = message.held_at or now
                    values["valid_until"] = valid_after_hold(message.valid_until, since, now)
                else:
                    values = {"state": MessageState.SUPPRESSED, "reason": Reason.DISCARDED}
                    values |= {"state_at": now, "final_at": now}
                connection.execute(update(messages).where(messages.c.id == message.id).values(values))
                _event(connection, message.id, str(values["state"]), now, f"{action} by {os_user}")
            values = {"at": now, "os_user": os_user, "action": action, "agency": agency}
            connection.execute(insert(decisions).values(**values, detail=f"{len(held)} messages"))
            return len(held)


class OutboxTx:
    """The outbox within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(self, now: datetime, limit: int, gateway: str) -> list[Message]:
        """Move up to ``limit`` queued messages that may go now to `sending`, oldest due first.

        A message may go while its agency is live and its last good read is no older than `settle` + 2 × `interval`,
        its dossier was in that read, and it is not too old itself.
        """
        chosen = self._messages(self._claimable(now).order_by(messages.c.next_at).limit(limit))
        if not chosen:
            return []
        query = (
            update(messages)
            .where(messages.c.id.in_([m.id for m in chosen]), messages.c.state == MessageState.QUEUED)
            .values(
                state=MessageState.SENDING, state_at=now, attempts=messages.c.attempts + 1, gateway=gateway
            )
            .returning(messages.c.id, messages.c.attempts)
        )
        claimed = {row.id: row.attempts for row in self._connection.execute(query)}
        self._events([(id_, MessageState.SENDING, f"try {n}") for id_, n in claimed.items()], now)
        return [
            replace(m, attempts=claimed[m.id], state=MessageState.SENDING) for m in chosen if m.id in claimed
        ]

    def _claimable(self, now: datetime) -> Select[Any]:
        fresh = agencies.c.last_good_at + messages.c.settle + 2 * agencies.c.interval
        return (
            select(*MESSAGE_COLUMNS)
            .join(agencies, agencies.c.id == messages.c.agency)
            .join(
                dossiers,
                and_(dossiers.c.agency == messages.c.agency, dossiers.c.code == messages.c.dossier_code),
            )
            .where(
                messages.c.state == MessageState.QUEUED,
                messages.c.next_at <= now,
                messages.c.valid_until > now,
                agencies.c.mode == Mode.LIVE,
                fresh >= literal(now, messages.c.made_at.type),
                dossiers.c.missing_reads == 0,
                dossiers.c.gone_at.is_(None),
            )
        )

    def change(self, changes: Sequence[Change]) -> int:
        """Apply changes whose message is still in the state it is expected in; how many were."""
        alike: dict[Change, list[str]] = {}
        for change in changes:
            if change.after is not change.before and not may_follow(change.before, change.after):
                raise ValueError(f"{change.before} is never followed by {change.after}")
            alike.setdefault(replace(change, message_id=""), []).append(change.message_id)
        return sum(self._change_alike(change, part) for change, ids in alike.items() for part in chunks(ids))

    def _change_alike(self, change: Change, ids: Sequence[str]) -> int:
        query = (
            update(messages)
            .where(messages.c.id.in_(ids), messages.c.state == change.before, messages.c.final_at.is_(None))
            .values(self._new_values(change))
            .returning(messages.c.id)
        )
        changed = list(self._connection.execute(query).scalars())
        self._events([(id_, change.after, change.detail) for id_ in changed], change.at)
        return len(changed)

    def _new_values(self, change: Change) -> dict[str, Any]:
        values: dict[str, Any] = {
            "state": change.after,
            "state_at": change.at,
            "detail": change.detail,
            "possible_duplicate": change.possible_duplicate,
        }
        if change.gateway is not None:
            values["gateway"] = change.gateway
        if change.reference is not None:
            values["reference"] = change.reference
        if change.next_at is not None:
            values["next_at"] = change.next_at
        if change.final:
            values["final_at"] = change.at
        if change.handed_over:
            values["handed_over_at"] = func.coalesce(messages.c.handed_over_at, change.at)
        if change.failed_try:
            values["attempts"] = messages.c.attempts - 1
        return values

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
        self, state: MessageState, *, until: datetime | None = None, limit: int = 1000
    ) -> list[Message]:
        """Messages in a state, those longest in it first; ``until``: in it since this instant at the latest."""
        query = select(*MESSAGE_COLUMNS).where(messages.c.state == state).order_by(messages.c.state_at)
        if until is not None:
            query = query.where(messages.c.state_at <= until)
        return self._messages(query.limit(limit))

    def overdue(self, now: datetime, limit: int = 1000) -> list[Message]:
        """Messages not handed over whose validity is over. Held ones keep theirs."""
        query = select(*MESSAGE_COLUMNS).where(
            messages.c.state.in_([MessageState.QUEUED, MessageState.UNKNOWN]), messages.c.valid_until <= now
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

    def _events(self, entries: Sequence[tuple[str, str, str | None]], at: datetime) -> None:
        values = [
            {"message_id": id_, "at": at, "state": state, "detail": detail} for id_, state, detail in entries
        ]
        if values:
            self._connection.execute(insert(message_events), values)


def _event(connection: Connection, message_id: str, state: str, at: datetime, detail: str) -> None:
    values = {"message_id": message_id, "at": at, "state": state, "detail": detail}
    connection.execute(insert(message_events).values(**values))
