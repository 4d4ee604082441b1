"""One agency's part of the state store within one transaction: its record, its dossiers and the messages made of them.

Everything of one applied read happens in one `SnapshotTx`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from smsd.adapters.store.bulk import BulkInsert
from smsd.adapters.store.journal import finish_run, run_record
from smsd.adapters.store.mapping import (
    AGENCY_COLUMNS,
    MESSAGE_COLUMNS,
    TRACKED_COLUMNS,
    agency_from,
    chunks,
    content_in,
    contents_of,
    ids_in_order,
    message_from,
    record_events,
    remember,
    rows_of,
    tracked_from,
)
from smsd.adapters.store.reports import record_findings
from smsd.adapters.store.schema import (
    agencies,
    bucket_sums,
    dossiers,
    messages,
    to_micros,
    transitions,
)
from smsd.core.chain import SALT_BYTES, content_digest
from smsd.core.figures import Finding
from smsd.core.model import Draft, Message, MessageState, Reason, Tracked, Transition
from smsd.core.phones import mask_phone
from smsd.services.ports import AgencyRecord, RunKey
from smsd.services.rowblocks import BucketSums

_BLOCK = 2000
_DIGESTS_AT_ONCE = 20_000
"""Well below the 32,766 values that SQLite takes."""
_TRANSITIONS = BulkInsert(
    transitions, ("agency", "code", "at", "came_from", "went_to", "step", "status", "cause")
)


def missing_of(agency: str) -> Select[Any]:
    """The codes that an agency's last read lacked and that are not gone."""
    return select(dossiers.c.code).where(
        dossiers.c.agency == agency, dossiers.c.missing_reads > 0, dossiers.c.gone_at.is_(None)
    )


def agency_in(connection: Connection, agency: str) -> AgencyRecord | None:
    """An agency's record."""
    row = connection.execute(select(*AGENCY_COLUMNS).where(agencies.c.id == agency)).mappings().first()
    return agency_from(row) if row is not None else None


class SnapshotTx:
    """One agency's part of the store within one transaction."""

    def __init__(self, connection: Connection, agency: str) -> None:
        self._connection = connection
        self._agency = agency

    # the agency

    def agency(self) -> AgencyRecord | None:
        """The agency's record."""
        return agency_in(self._connection, self._agency)

    def save_agency(self, **changes: Any) -> None:
        """Change the agency's record; a new agency needs at least mode and interval."""
        query = update(agencies).where(agencies.c.id == self._agency).values(**changes)
        if self._connection.execute(query).rowcount == 0:
            self._connection.execute(insert(agencies).values(id=self._agency, **changes))

    # dossiers

    def tracked(self, codes: Sequence[str]) -> dict[str, tuple[Tracked, int]]:
        """What is remembered of these codes, with the digest of each."""
        found: dict[str, tuple[Tracked, int]] = {}
        for part in chunks(codes):
            query = select(*TRACKED_COLUMNS).where(self._mine(), dossiers.c.code.in_(part))
            for row in rows_of(self._connection.execute(query)):
                found[row[0]] = tracked_from(row), row[-1]
        return found

    def all_tracked(self) -> Iterator[list[Tracked]]:
        """Every remembered dossier that is not gone, in blocks."""
        yield from self._blocks(dossiers.c.gone_at.is_(None))

    def due_between(self, start: datetime, end: datetime, *, present: bool = True) -> Iterator[list[Tracked]]:
        """Dossiers not gone whose appointed instant is in ``[start, end)``; ``present``: and in the last full read."""
        due = and_(dossiers.c.due_at >= start, dossiers.c.due_at < end, dossiers.c.gone_at.is_(None))
        yield from self._blocks(and_(due, dossiers.c.missing_reads == 0) if present else due)

    def _blocks(self, condition: ColumnElement[bool]) -> Iterator[list[Tracked]]:
        last = ""
        while True:
            query = (
                select(*TRACKED_COLUMNS)
                .where(self._mine(), dossiers.c.code > last, condition)
                .order_by(dossiers.c.code)
                .limit(_BLOCK)
            )
            block = [tracked_from(row) for row in self._connection.execute(query)]
            if not block:
                return
            yield block
            last = block[-1].dossier.code

    def put(self, rows: Iterable[tuple[Tracked, int]], known: Mapping[str, Tracked] | None = None) -> None:
        """Remember dossiers that were just read, with their digests. ``known``: what is remembered of some by now."""
        remember(self._connection, self._agency, rows, known or {})

    def put_positions(self, rows: Sequence[Tracked]) -> None:
        """Remember new positions of dossiers whose row did not change."""
        if not rows:
            return
        query = (
            update(dossiers)
            .where(self._mine(), dossiers.c.code == bindparam("b_code"))
            .values(
                {name: bindparam(f"b_{name}") for name in ("position", "entered_at", "entry", "done_since")}
            )
        )
        values = [
            {
                "b_code": row.dossier.code,
                "b_position": row.position,
                "b_entered_at": row.entered_at,
                "b_entry": row.entry,
                "b_done_since": row.done_since,
            }
            for row in rows
        ]
        self._connection.execute(query, values)

    def codes_of(self, digests: Sequence[int]) -> dict[str, tuple[int, int]]:
        """The codes behind digests, each with how many full reads in a row have lacked it, and its digest."""
        found: dict[str, tuple[int, int]] = {}
        columns = (dossiers.c.code, dossiers.c.missing_reads, dossiers.c.digest)
        for part in chunks(digests, _DIGESTS_AT_ONCE):  # each looks through all of the agency's
            query = select(*columns).where(
                self._mine(), dossiers.c.digest.in_(part), dossiers.c.gone_at.is_(None)
            )
            found.update({code: (missed, digest) for code, missed, digest in self._connection.execute(query)})
        return found

    def missing(self) -> set[str]:
        """Codes that the last full read lacked and that are not gone."""
        return set(self._connection.execute(missing_of(self._agency)).scalars())

    def save_sums(self, sums: BucketSums | None) -> None:
        """Remember what the agency's database said of its rows; None: it was not asked, and older sums are void."""
        if sums is None:
            self._connection.execute(delete(bucket_sums).where(bucket_sums.c.agency == self._agency))
            return
        kept = {"shape": sums.shape, "sums": sums.to_bytes()}
        query = update(bucket_sums).where(bucket_sums.c.agency == self._agency).values(**kept)
        if self._connection.execute(query).rowcount == 0:
            self._connection.execute(insert(bucket_sums).values(agency=self._agency, **kept))

    def set_missing(self, codes: Sequence[str], reads: int) -> None:
        """Note how many full reads in a row have lacked these dossiers (0: they are back)."""
        for part in chunks(codes):
            query = (
                update(dossiers).where(self._mine(), dossiers.c.code.in_(part)).values(missing_reads=reads)
            )
            self._connection.execute(query)

    def set_gone(self, codes: Sequence[str], reads: int, at: datetime) -> None:
        """These dossiers have left the view."""
        for part in chunks(codes):
            query = (
                update(dossiers)
                .where(self._mine(), dossiers.c.code.in_(part))
                .values(missing_reads=reads, gone_at=at)
            )
            self._connection.execute(query)

    def record(self, moves: Sequence[tuple[Tracked, Transition, str]]) -> None:
        """Note transitions with their cause (read, baseline or configuration)."""
        _TRANSITIONS.write(
            self._connection,
            [
                (
                    self._agency,
                    tracked.dossier.code,
                    to_micros(move.at),
                    move.came_from,
                    move.went_to,
                    tracked.dossier.step,
                    tracked.dossier.status,
                    cause,
                )
                for tracked, move, cause in moves
            ],
        )

    def record_gone(self, codes: Sequence[str], at: datetime) -> None:
        """Note that dossiers left the view."""
        values = [{"agency": self._agency, "code": code, "at": at, "cause": "gone"} for code in codes]
        if values:
            self._connection.execute(insert(transitions), values)

    # messages

    def messages_of(self, codes: Sequence[str]) -> dict[str, list[Message]]:
        """All messages of these dossiers, oldest first."""
        found: dict[str, list[Message]] = {}
        for part in chunks(codes):
            query = (
                select(*MESSAGE_COLUMNS)
                .where(messages.c.agency == self._agency, messages.c.dossier_code.in_(part))
                .order_by(messages.c.made_at, messages.c.occurrence)
            )
            for row in self._connection.execute(query):
                message = message_from(row)
                found.setdefault(message.dossier_code, []).append(message)
        return found

    def add(self, drafts: Sequence[tuple[Tracked, Draft, timedelta]], batch: str) -> None:
        """Make messages, each with its settle time, and their first events."""
        if not drafts:
            return
        ids = ids_in_order(len(drafts), drafts[0][1].made_at)
        rows = [
            self._message_values(id_, tracked, draft, settle, batch)
            for id_, (tracked, draft, settle) in zip(ids, drafts, strict=True)
        ]
        self._connection.execute(insert(messages), rows)
        entries = [(row["id"], row["state"], row["reason"]) for row in rows]
        contents = [content_digest(row["salt"], content_in(row)) for row in rows]
        record_events(self._connection, entries, drafts[0][1].made_at, contents)

    def _message_values(
        self, id_: str, tracked: Tracked, draft: Draft, settle: timedelta, batch: str
    ) -> dict[str, Any]:
        suppressed = draft.state is MessageState.SUPPRESSED
        return {
            "id": id_,
            "agency": self._agency,
            "dossier_code": tracked.dossier.code,
            "kind": draft.kind,
            "occurrence": draft.occurrence,
            "procedure_code": tracked.dossier.procedure_code,
            "procedure_name": tracked.dossier.procedure_name,
            "state": draft.state,
            "reason": draft.reason,
            "phone": draft.phone,
            "phone_masked": mask_phone(draft.phone or tracked.dossier.phone or ""),
            "text": draft.text,
            "salt": secrets.token_bytes(SALT_BYTES),
            "segments": draft.segments,
            "made_at": draft.made_at,
            "settle": settle,
            "next_at": draft.next_at,
            "valid_until": draft.valid_until,
            "due_day": draft.due_day,
            "possible_duplicate": draft.possible_duplicate,
            "batch": batch,
            "state_at": draft.made_at,
            "final_at": draft.made_at if suppressed else None,
        }

    def end(
        self,
        ids: Sequence[str],
        states: Iterable[MessageState],
        after: MessageState,
        reason: Reason | None,
        at: datetime,
        *,
        detail: str | None = None,
    ) -> int:
        """End messages that are still in one of ``states``; how many were. ``detail`` says why where no reason does."""
        ended: list[str] = []
        for part in chunks(ids):
            query = (
                update(messages)
                .where(messages.c.id.in_(part), messages.c.state.in_(sorted(states)))
                .values(state=after, reason=reason, state_at=at, final_at=at, detail=detail)
                .returning(messages.c.id)
            )
            ended.extend(self._connection.execute(query).scalars())
        self._events([(id_, after, detail or reason) for id_ in ended], at)
        return len(ended)

    def set_phone(self, message_id: str, phone: str, states: Iterable[MessageState], at: datetime) -> None:
        """Give a message not yet sent the number of the latest good read."""
        query = (
            update(messages)
            .where(messages.c.id == message_id, messages.c.state.in_(sorted(states)))
            .values(phone=phone, phone_masked=mask_phone(phone))
            .returning(messages.c.state)
        )
        state = self._connection.execute(query).scalar()
        if state is not None:
            entries = [(message_id, state, "phone changed by the agency")]
            record_events(self._connection, entries, at, contents_of(self._connection, [message_id]))

    def hold(self, batch: str, at: datetime) -> int:
        """Hold every queued message of a batch until an operator decides; how many."""
        query = (
            update(messages)
            .where(
                messages.c.batch == batch,
                messages.c.agency == self._agency,
                messages.c.state == MessageState.QUEUED,
                messages.c.final_at.is_(None),
            )
            .values(state=MessageState.HELD, held_at=at, state_at=at)
            .returning(messages.c.id)
        )
        held = list(self._connection.execute(query).scalars())
        detail = "more new messages at once than hold_above"
        self._events([(id_, MessageState.HELD, detail) for id_ in held], at)
        return len(held)

    def unsent(self, states: Iterable[MessageState]) -> list[Message]:
        """The agency's messages in these states, none of which is an ending."""
        query = select(*MESSAGE_COLUMNS).where(self._open(), messages.c.state.in_(sorted(states)))
        return [message_from(row) for row in self._connection.execute(query)]

    def any_held(self) -> bool:
        """Whether messages of the agency wait for an operator's decision."""
        query = select(messages.c.id).where(self._open(), messages.c.state == MessageState.HELD).limit(1)
        return self._connection.execute(query).first() is not None

    def find(self, findings: Sequence[Finding]) -> None:
        """List things a person should look at; those listed already stay as they are."""
        record_findings(self._connection, list(findings))

    def finish_run(self, name: str, day: date, state: str, at: datetime, detail: str | None = None) -> None:
        """Note, with everything else of this transaction, that a daily job is over."""
        finish_run(self._connection, RunKey(name, self._agency, day), state, at, detail)

    def run_is_over(self, name: str, day: date) -> bool:
        """Whether nothing is left to do of a daily job of this agency."""
        return run_record(self._connection, RunKey(name, self._agency, day)).over

    def _events(self, entries: Sequence[tuple[str, str, str | None]], at: datetime) -> None:
        record_events(self._connection, entries, at)

    def _open(self) -> ColumnElement[bool]:
        return and_(messages.c.agency == self._agency, messages.c.final_at.is_(None))

    def _mine(self) -> ColumnElement[bool]:
        return dossiers.c.agency == self._agency
