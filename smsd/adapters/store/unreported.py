"""Messages of whose delivery nothing final is known yet, for providers that have to be asked."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, exists, or_, select

from smsd.adapters.store.engine import Database
from smsd.adapters.store.schema import message_parts, messages
from smsd.core.model import MessageState, ReceiptVerdict
from smsd.services.receiptpolling import Unreported


class UnreportedStore:
    """The part of the state store that asking after messages works on; looks only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unreported(self, gateway: str, after: Unreported | None, limit: int) -> list[Unreported]:
        """Accepted messages of a gateway by the provider's ids, handed over first first, beginning behind ``after``."""
        column = messages.c
        query = (
            select(column.id, column.handed_over_at, column.reference)
            .where(
                column.state == MessageState.ACCEPTED,
                column.final_at.is_(None),
                column.gateway == gateway,
                column.reference.is_not(None),
                column.handed_over_at.is_not(None),
                _has_open_part(gateway),
            )
            .order_by(column.handed_over_at, column.id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(_comes_after(after))
        with self._database.reading() as connection:
            return [Unreported(*row) for row in connection.execute(query)]


def _has_open_part(gateway: str) -> ColumnElement[bool]:
    """Only by a part that is the message's can a receipt find it."""
    verdict = message_parts.c.verdict
    return exists().where(
        message_parts.c.message_id == messages.c.id,
        message_parts.c.gateway == gateway,
        or_(verdict.is_(None), verdict == ReceiptVerdict.ON_ITS_WAY),
    )


def _comes_after(last: Unreported) -> ColumnElement[bool]:
    at, id_ = messages.c.handed_over_at, messages.c.id
    return or_(at > last.handed_over_at, and_(at == last.handed_over_at, id_ > last.message_id))
