"""What the state store keeps of one number, and its erasure by the same rule as retention's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select, tuple_, update

from smsd.adapters.store.engine import Database
from smsd.adapters.store.mapping import chunks
from smsd.adapters.store.schema import decisions, dossiers, inquiries, messages
from smsd.adapters.store.upkeep import BLANK_MESSAGE
from smsd.core.model import CLOSED
from smsd.core.phones import numbers_in
from smsd.services.privacy import Decision, Erasure, Found, KeptDossier, KeptInquiry, KeptMessage, Subject

ALL_AGENCIES = "*"
_READ_AT_ONCE = 2000
_DOSSIER = ("agency", "code", "step", "position", "received_at", "due_at", "gone_at", "phone")
_MESSAGE = tuple(messages.c[name] for name in KeptMessage.__slots__)
_INQUIRY = tuple(inquiries.c[name] for name in KeptInquiry.__slots__)


def _needed() -> ColumnElement[bool]:
    """Dossiers that may still be texted about: open ones, and those a message of which is on its way."""
    on_its_way = exists().where(
        messages.c.agency == dossiers.c.agency,
        messages.c.dossier_code == dossiers.c.code,
        messages.c.final_at.is_(None),
    )
    return or_(and_(dossiers.c.gone_at.is_(None), dossiers.c.position != CLOSED), on_its_way)


class PrivacyStore:
    """The part of the state store that answers for one number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, subject: Subject) -> Found:
        """Everything that is kept of a number. Reads every dossier that has one: fields are what clerks typed."""
        with self._database.reading() as connection:
            theirs = _dossiers_of(connection, subject.number)
            return Found(
                theirs, _messages_of(connection, subject, theirs), _inquiries_of(connection, subject)
            )

    def erase(self, found: Found, decision: Decision) -> Erasure:
        """Blank what has ended of what was found, and record who ordered it. What moved meanwhile is left alone."""
        with self._database.writing() as connection:
            blanked = _blank_messages(connection, [message.id for message in found.messages])
            unneeded = {id(one) for one in found.dossiers if _blank_dossier(connection, one)}
            forgotten = _blank_inquiries(connection, [inquiry.id for inquiry in found.inquiries])
            detail = f"{decision.masked}: {blanked} messages, {len(unneeded)} dossiers, {forgotten} look-ups"
            values = {"at": decision.at, "os_user": decision.os_user, "action": "erase"}
            connection.execute(decisions.insert().values(**values, agency=ALL_AGENCIES, detail=detail))
            left = _on_their_way(connection, [message.id for message in found.messages])
        return Erasure(
            messages=blanked,
            dossiers=len(unneeded),
            inquiries=forgotten,
            lines=0,
            on_their_way=[message for message in found.messages if message.id in left],
            needed=[one for one in found.dossiers if id(one) not in unneeded],
        )


def _dossiers_of(connection: Connection, number: str) -> list[KeptDossier]:
    query = (
        select(*(dossiers.c[name] for name in _DOSSIER), _needed().label("needed"))
        .where(dossiers.c.phone.is_not(None))
        .order_by(dossiers.c.agency, dossiers.c.code)
        .execution_options(yield_per=_READ_AT_ONCE)
    )
    rows = connection.execute(query).mappings()
    return [KeptDossier(**row) for row in rows if number in numbers_in(row["phone"])]


def _messages_of(
    connection: Connection, subject: Subject, theirs: Sequence[KeptDossier]
) -> list[KeptMessage]:
    """Those sent to the number, and those that could not be sent to anybody of the dossiers that name it."""
    found = list(connection.execute(select(*_MESSAGE).where(messages.c.phone == subject.number)))
    for some in chunks(theirs):
        of_these = tuple_(messages.c.agency, messages.c.dossier_code).in_([(d.agency, d.code) for d in some])
        unsent = select(*_MESSAGE).where(of_these, messages.c.phone.is_(None), messages.c.text.is_not(None))
        found += connection.execute(unsent)
    return sorted((KeptMessage(*row) for row in found), key=lambda message: (message.made_at, message.id))


def _inquiries_of(connection: Connection, subject: Subject) -> list[KeptInquiry]:
    query = select(*_INQUIRY).where(inquiries.c.number_digest.in_(subject.digests)).order_by(inquiries.c.at)
    return [KeptInquiry(*row) for row in connection.execute(query)]


def _blank_messages(connection: Connection, ids: Sequence[str]) -> int:
    ended = update(messages).where(messages.c.final_at.is_not(None), messages.c.text.is_not(None))
    queries = [ended.where(messages.c.id.in_(part)).values(BLANK_MESSAGE) for part in chunks(ids)]
    return _updated(connection, queries)


def _blank_dossier(connection: Connection, kept: KeptDossier) -> bool:
    """Only while it is as it was found: a read may have come between."""
    query = update(dossiers).where(
        dossiers.c.agency == kept.agency,
        dossiers.c.code == kept.code,
        dossiers.c.phone == kept.phone,
        ~_needed(),
    )
    return _updated(connection, [query.values(phone=None)]) > 0


def _blank_inquiries(connection: Connection, ids: Sequence[int]) -> int:
    blanking = update(inquiries).values(number_digest="", number_masked="", answer="")
    return _updated(connection, [blanking.where(inquiries.c.id.in_(part)) for part in chunks(ids)])


def _on_their_way(connection: Connection, ids: Sequence[str]) -> Collection[str]:
    found: set[str] = set()
    for part in chunks(ids):
        query = select(messages.c.id).where(messages.c.id.in_(part), messages.c.final_at.is_(None))
        found.update(connection.execute(query).scalars())
    return found


def _updated(connection: Connection, queries: Sequence[Any]) -> int:
    return sum(connection.execute(query).rowcount for query in queries)
