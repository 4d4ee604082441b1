"""Parts of messages by the provider's ids: which message each belongs to, and what receipts said of it.

A receipt may come before the answer that names its part; then the part has no owner yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, case, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from smsd.adapters.store.mapping import chunks
from smsd.adapters.store.schema import message_parts
from smsd.core.model import ReceiptVerdict
from smsd.services.ports import Part

_GIVEN_UP = ""
"""The owner of a part that no answer named and no other spelling found."""
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
            query = select(message_parts).where(
                message_parts.c.gateway == gateway,
                message_parts.c.part.in_(some),
                _unowned(),
                message_parts.c.at >= at - _EARLY,
            )
            reported.update({row["part"]: _part(row) for row in self._connection.execute(query).mappings()})
        rows = [
            _values(gateway, reported.get(key, Part(key)), at) | {"message_id": owner}
            for key, owner in owners.items()
        ]
        if rows:
            query = self._insert()
            replaced = {name: query.excluded[name] for name in ("message_id", "at", "verdict", "detail")}
            keys = ["gateway", "part"]
            self._connection.execute(query.on_conflict_do_update(index_elements=keys, set_=replaced), rows)
        return set(reported)

    def note(self, gateway: str, part: Part, at: datetime) -> None:
        """Keep what a receipt said; a final word is never taken back."""
        query = self._insert().values(_values(gateway, part, at))
        said = {"verdict": query.excluded.verdict, "detail": query.excluded.detail}
        open_ = or_(message_parts.c.verdict.is_(None), message_parts.c.verdict == ReceiptVerdict.ON_ITS_WAY)
        keys = ["gateway", "part"]
        self._connection.execute(query.on_conflict_do_update(index_elements=keys, set_=said, where=open_))

    def owner(self, gateway: str, key: str) -> str | None:
        """The message a part belongs to."""
        query = select(message_parts.c.message_id).where(_is(gateway, key))
        return self._connection.execute(query).scalar() or None

    def of(self, message_id: str) -> list[Part]:
        """The parts of a message."""
        query = select(message_parts).where(message_parts.c.message_id == message_id)
        return [_part(row) for row in self._connection.execute(query).mappings()]

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
            select(message_parts)
            .where(message_parts.c.message_id.is_(None), message_parts.c.at <= until)
            .limit(limit)
        )
        return [(row["gateway"], _part(row)) for row in self._connection.execute(query).mappings()]

    def give_up(self, gateway: str, key: str) -> None:
        """Look for the owner of this part no more; an answer may still name it."""
        query = update(message_parts).where(_is(gateway, key), message_parts.c.message_id.is_(None))
        self._connection.execute(query.values(message_id=_GIVEN_UP))

    def _insert(self) -> Any:
        dialect = sqlite if self._connection.dialect.name == "sqlite" else postgresql
        return dialect.insert(message_parts)


def _is(gateway: str, key: str) -> ColumnElement[bool]:
    return and_(message_parts.c.gateway == gateway, message_parts.c.part == key)


def _unowned() -> ColumnElement[bool]:
    return or_(message_parts.c.message_id.is_(None), message_parts.c.message_id == _GIVEN_UP)


def _counts(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _part(row: RowMapping) -> Part:
    verdict = ReceiptVerdict(row["verdict"]) if row["verdict"] else None
    return Part(row["part"], verdict, row["detail"])


def _values(gateway: str, part: Part, at: datetime) -> dict[str, Any]:
    return {
        "gateway": gateway,
        "part": part.key,
        "message_id": None,
        "at": at,
        "verdict": part.verdict,
        "detail": part.detail,
    }
