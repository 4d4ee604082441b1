"""What polling asks of the store before a read is applied: agencies' records, and what is known of their rows."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import (
    Connection,
    select,
    update,
)

from smsd.adapters.store.engine import BACKUP_MARK, Database
from smsd.adapters.store.mapping import (
    AGENCY_COLUMNS,
    agency_from,
    chunks,
    note_in_audit,
    record_events,
)
from smsd.adapters.store.schema import agencies, bucket_sums, dossiers, messages
from smsd.adapters.store.snapshottx import SnapshotTx, agency_in, missing_of
from smsd.core.chain import OwnEntry
from smsd.core.model import PENDING, MessageState
from smsd.services.ports import AgencyRecord
from smsd.services.rowblocks import BucketSums
from smsd.services.snapshot import MANY_ROWS, KnownDigests

_DIGESTS_AT_ONCE = 10_000
_DIGEST_TEXT = (
    "SELECT group_concat(digest), max(code), count(*) FROM (SELECT code, digest FROM dossiers"
    " WHERE agency = ? AND code > ? AND gone_at IS NULL ORDER BY code LIMIT ?)"
)


def _digest_texts(connection: Connection, agency: str) -> Iterator[str]:
    """An agency's digests as texts with commas between: a million in four fifths of the time of rows."""
    last, count = "", _DIGESTS_AT_ONCE
    while count == _DIGESTS_AT_ONCE:
        given = (agency, last, _DIGESTS_AT_ONCE)
        text, last, count = connection.exec_driver_sql(_DIGEST_TEXT, given).one()
        if count:
            yield text


def _numbers_in(text: str, *, many: bool) -> Iterable[int]:
    if not many:
        return map(int, text.split(","))
    from smsd.adapters.store.manydigests import numbers_in  # noqa: PLC0415 - see MANY_ROWS

    return numbers_in(text)


class SnapshotStore:
    """The part of the state store that polling works on."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def agency(self, agency: str) -> AgencyRecord | None:
        """An agency's record, outside any transaction."""
        with self._database.reading() as connection:
            return agency_in(connection, agency)

    def agencies(self) -> list[AgencyRecord]:
        """Every agency ever seen."""
        with self._database.reading() as connection:
            rows = connection.execute(select(*AGENCY_COLUMNS).order_by(agencies.c.id)).mappings()
            return [agency_from(row) for row in rows]

    def digests(self, agency: str) -> KnownDigests:
        """The digests of all dossiers of an agency that are not gone."""
        digests = array("q")
        with self._database.reading() as connection:
            if self._database.is_sqlite:
                for text in _digest_texts(connection, agency):
                    digests.extend(_numbers_in(text, many=len(digests) >= MANY_ROWS))
            else:
                query = select(dossiers.c.digest).where(
                    dossiers.c.agency == agency, dossiers.c.gone_at.is_(None)
                )
                found = connection.execution_options(yield_per=_DIGESTS_AT_ONCE).execute(query)
                digests.extend(found.scalars())
        if len(digests) < MANY_ROWS:
            return KnownDigests(array("q", sorted(digests)))
        from smsd.adapters.store.manydigests import ManyDigests  # noqa: PLC0415 - see MANY_ROWS

        return ManyDigests.of(digests)

    def digests_among(self, agency: str, codes: Collection[str]) -> dict[str, int]:
        """Those of these codes that are known and not gone, each with its digest."""
        found: dict[str, int] = {}
        with self._database.reading() as connection:
            for part in chunks(list(codes)):
                query = select(dossiers.c.code, dossiers.c.digest).where(
                    dossiers.c.agency == agency, dossiers.c.code.in_(part), dossiers.c.gone_at.is_(None)
                )
                found.update((row.code, row.digest) for row in connection.execute(query))
        return found

    def missing_codes(self, agency: str) -> set[str]:
        """Codes that the last read lacked and that are not gone."""
        with self._database.reading() as connection:
            return set(connection.execute(missing_of(agency)).scalars())

    def codes_due(self, agency: str, start: datetime, end: datetime) -> list[str]:
        """Codes of dossiers not gone whose appointed instant is in ``[start, end)``."""
        query = select(dossiers.c.code).where(
            dossiers.c.agency == agency,
            dossiers.c.due_at >= start,
            dossiers.c.due_at < end,
            dossiers.c.gone_at.is_(None),
        )
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def sums(self, agency: str) -> BucketSums | None:
        """What the agency's database said of its rows at the last read that asked it."""
        query = select(bucket_sums.c.shape, bucket_sums.c.sums).where(bucket_sums.c.agency == agency)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return BucketSums.from_bytes(row.shape, row.sums) if row is not None else None

    def want_baselines(self, now: datetime) -> bool:
        """On a store started from a backup copy, once: order a baseline of every agency and end what was unsent.

        The newer store may have sent it since. Says whether it was a copy.
        """
        with self._database.writing() as connection:
            copied = self._database.get_meta(connection, BACKUP_MARK)
            if copied is None:
                return False
            note_in_audit(connection, OwnEntry.RESTORED, f"from the copy of {copied}", now)
            connection.execute(update(agencies).values(baseline_wanted=True))
            _expire_unsent(connection, now, "unsent when the backup was made; perhaps sent since")
            self._database.set_meta(connection, BACKUP_MARK, None)
            return True

    @contextmanager
    def transaction(self, agency: str) -> Iterator[SnapshotTx]:
        """One transaction for one agency: all of it is kept, or nothing."""
        with self._database.writing() as connection:
            yield SnapshotTx(connection, agency)


def _expire_unsent(connection: Connection, now: datetime, detail: str) -> None:
    query = (
        update(messages)
        .where(messages.c.state.in_(sorted(PENDING)), messages.c.final_at.is_(None))
        .values(state=MessageState.EXPIRED, state_at=now, final_at=now, detail=detail)
        .returning(messages.c.id)
    )
    ended = list(connection.execute(query).scalars())
    record_events(connection, [(id_, MessageState.EXPIRED, detail) for id_ in ended], now)
