"""Parts of messages by the provider's ids: which message each belongs to, and what receipts said of it.

A receipt may come before the answer that names its part; then the part has no owner yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
    update,
)

from smsd.adapters.store.bulk import BulkInsert
from smsd.adapters.store.mapping import chunks
from smsd.adapters.store.schema import message_parts, messages, to_micros
from smsd.core.model import MessageState, ReceiptVerdict
from smsd.services.ports import Part, Reported

_GIVEN_UP = ""
"""The owner of a part that no answer named and no other spelling found."""
_KEY = ("gateway", "part")
_EARLY = timedelta(hours=1)
"""A receipt without owner is of the message that is answered within this time; an older one is of an id used before."""
_FAILED = (ReceiptVerdict.UNDELIVERED, ReceiptVerdict.REJECTED)


class Parts:
    """The parts within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def own(self, gateway: str, owners: Mapping[str, str], at: datetime) -> set[str]:
        """Give parts to messages; returns those of which a receipt came already. An id used before starts anew."""
        reported: dict[str, Part] = {}
        for some in chunks(list(owners)):
            query = select(*_SAID).where(
                message_parts.c.gateway == gateway,
                message_parts.c.part.in_(some),
                _unowned(),
                message_parts.c.at >= at - _EARLY,
            )
            reported.update((row.part, _part(*row)) for row in self._connection.execute(query))
        rows = [_row(gateway, reported.get(key, Part(key)), owner, at) for key, owner in owners.items()]
        _OWNING.write(self._connection, rows)
        return set(reported)

    def note(self, gateway: str, parts: Sequence[Part], at: datetime) -> None:
        """Keep what receipts said of parts, each once; a final word is never taken back."""
        _NOTING.write(self._connection, [_row(gateway, part, None, at) for part in parts])

    def owners(self, gateway: str, keys: Sequence[str]) -> dict[str, str]:
        """The messages that these parts belong to; those of nobody are left out."""
        found: dict[str, str] = {}
        for some in chunks(keys):
            query = select(message_parts.c.part, message_parts.c.message_id).where(_are(gateway, some))
            found.update((part, owner) for part, owner in self._connection.execute(query) if owner)
        return found

    def reported(self, gateway: str, keys: Sequence[str]) -> list[Reported]:
        """The messages that these parts belong to: where each stands, with all its parts."""
        found: dict[str, Reported] = {}
        for some in chunks(keys):
            rows: Iterable[Row[Any]] = self._connection.execute(
                _REPORTED, {"gateway": gateway, "parts": some}
            )
            for id_, of_message in groupby(rows, key=itemgetter(0)):
                found[id_] = _reported(list(of_message))
        return list(found.values())

    def delivered_in_part(self, ids: Sequence[str]) -> set[str]:
        """Which of these messages have a delivered part."""
        found: set[str] = set()
        for some in chunks(ids):
            query = (
                select(message_parts.c.message_id)
                .where(message_parts.c.message_id.in_(some))
                .group_by(message_parts.c.message_id)
                .having(func.sum(_counts(message_parts.c.verdict == ReceiptVerdict.DELIVERED)) > 0)
                .having(func.sum(_counts(message_parts.c.verdict.in_(_FAILED))) == 0)
            )
            found.update(self._connection.execute(query).scalars())
        return found

    def unowned(self, until: datetime, limit: int) -> list[tuple[str, Part]]:
        """Parts reported by this instant that belong to no message and were not given up."""
        query = (
            select(message_parts.c.gateway, *_SAID)
            .where(message_parts.c.message_id.is_(None), message_parts.c.at <= until)
            .limit(limit)
        )
        return [(gateway, _part(*said)) for gateway, *said in self._connection.execute(query)]

    def give_up(self, gateway: str, keys: Sequence[str]) -> None:
        """Look for the owners of these parts no more; an answer may still name them."""
        for some in chunks(keys):
            query = update(message_parts).where(_are(gateway, some), message_parts.c.message_id.is_(None))
            self._connection.execute(query.values(message_id=_GIVEN_UP))


def _replacing(query: Any) -> Any:
    """Parts as they are given, whatever was there before."""
    replaced = {name: query.excluded[name] for name in ("message_id", "at", "verdict", "detail")}
    return query.on_conflict_do_update(index_elements=_KEY, set_=replaced)


def _saying(query: Any) -> Any:
    """What is said of parts, unless something final was said before."""
    said = {"verdict": query.excluded.verdict, "detail": query.excluded.detail}
    on_its_way: ColumnElement[str] = literal_column(f"'{ReceiptVerdict.ON_ITS_WAY}'")
    open_ = or_(message_parts.c.verdict.is_(None), message_parts.c.verdict == on_its_way)
    return query.on_conflict_do_update(index_elements=_KEY, set_=said, where=open_)


_COLUMNS = ("gateway", "part", "message_id", "at", "verdict", "detail")
_OWNING = BulkInsert(message_parts, _COLUMNS, _replacing)
_NOTING = BulkInsert(message_parts, _COLUMNS, _saying)
_SAID = message_parts.c.part, message_parts.c.verdict, message_parts.c.detail
_THESE = message_parts.alias()
_REPORTED = (
    select(
        messages.c.id,
        messages.c.state,
        messages.c.attempts,
        messages.c.final_at,
        *_SAID,
    )
    .join(message_parts, message_parts.c.message_id == messages.c.id)
    .where(
        messages.c.id.in_(
            select(_THESE.c.message_id).where(
                _THESE.c.gateway == bindparam("gateway"),
                _THESE.c.part.in_(bindparam("parts", expanding=True)),
            )
        )
    )
    .order_by(messages.c.id, message_parts.c.part)
)


def _reported(rows: Sequence[Sequence[Any]]) -> Reported:
    id_, state, attempts, final_at, *_ = rows[0]
    parts = tuple(_part(*row[4:]) for row in rows)
    return Reported(id_, MessageState(state), attempts > 0, final_at is not None, parts)


def _are(gateway: str, keys: Sequence[str]) -> ColumnElement[bool]:
    return and_(message_parts.c.gateway == gateway, message_parts.c.part.in_(keys))


def _unowned() -> ColumnElement[bool]:
    return or_(message_parts.c.message_id.is_(None), message_parts.c.message_id == _GIVEN_UP)


def _counts(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _part(key: str, verdict: str | None, detail: str | None) -> Part:
    return Part(key, ReceiptVerdict(verdict) if verdict else None, detail)


def _row(gateway: str, part: Part, owner: str | None, at: datetime) -> tuple[Any, ...]:
    """In the order of `_COLUMNS`."""
    return gateway, part.key, owner, to_micros(at), part.verdict, part.detail
