"""PostgreSQL's binary COPY format: what a view's rows are asked as, and how they are read.

The server hands out what it holds, without writing dates as text and looking for characters to escape, and each row
comes as a piece of its own. Types other than text and dates are asked for as text. Source: PostgreSQL's manual, COPY,
"Binary Format".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from operator import itemgetter, methodcaller

from smsd.adapters.agencydb.digests import digests_of
from smsd.adapters.agencydb.faults import READ_FAILED, Place, fault
from smsd.core.errors import AgencyError
from smsd.services.ports import VIEW_COLUMNS, RawRow
from smsd.services.rowblocks import DECIDING, REST, RowBlock

END = b"\xff\xff"
"""What comes after the last row."""
ORDER = (*DECIDING, *REST)
"""The columns of a whole row: those that decide come first, so that all begin as rows of these alone do."""

DATE, TIMESTAMP, TIMESTAMPTZ = 1082, 1114, 1184
_TEXTS = frozenset({25, 1042, 1043})  # text, char(n), varchar(n)
_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER = len(_SIGNATURE) + 8
_in_order = itemgetter(*(ORDER.index(column) for column in VIEW_COLUMNS))
_NONE_OF_REST = (None,) * len(REST)
_DECIDING_BEGIN = len(DECIDING).to_bytes(2, "big")
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - what has no zone in the view has none here
_EPOCH_UTC = _EPOCH.replace(tzinfo=UTC)
_NO_DATE = "a date that no calendar has"
"""Infinity, or a year beyond 9999: told as an impossible date."""


_text: Callable[[bytes], object] = methodcaller("decode", "utf-8", "replace")


def _date(field: bytes) -> object:
    try:
        return date.fromordinal(_EPOCH.toordinal() + int.from_bytes(field, "big", signed=True))
    except (ValueError, OverflowError):
        return _NO_DATE


@lru_cache(maxsize=4096)  # appointed days have many dossiers
def _timestamp(field: bytes) -> object:
    try:
        return _EPOCH + timedelta(microseconds=int.from_bytes(field, "big", signed=True))
    except OverflowError:
        return _NO_DATE


@lru_cache(maxsize=4096)
def _timestamptz(field: bytes) -> object:
    try:
        return _EPOCH_UTC + timedelta(microseconds=int.from_bytes(field, "big", signed=True))
    except OverflowError:
        return _NO_DATE


_READERS: Mapping[int, Callable[[bytes], object]] = {
    DATE: _date,
    TIMESTAMP: _timestamp,
    TIMESTAMPTZ: _timestamptz,
}
_length_at = struct.Struct(">i").unpack_from


class Layout:
    """Rows as they are asked for: ``columns`` (`ORDER` or `DECIDING`), and the OIDs of their types in the view."""

    def __init__(self, columns: tuple[str, ...], types: Mapping[str, int], place: Place) -> None:
        self.columns = columns
        self.place = place
        self.whole = columns == ORDER
        self._types = types
        self._readers = [_READERS.get(types[column], _text) for column in columns]
        self._count = len(columns).to_bytes(2, "big")

    def shown(self, column: str, quoted: str) -> str:
        """The expression that a column is asked by."""
        type_ = self._types[column]
        return quoted if type_ in _TEXTS or type_ in _READERS else f"{quoted}::text"

    def block(self, rows: Sequence[bytes]) -> RowBlock:
        """Rows with their digests."""
        deciding = map(self._deciding, rows) if self.whole else rows
        return RowBlock(
            digests_of(deciding), rows, row_of=self.row_of, code_of=self.code_of, whole=self.whole
        )

    def _deciding(self, row: bytes) -> bytes:
        """A whole row as a row of what decides. Raises `AgencyError` for what is no row."""
        end = 2
        try:
            for _ in DECIDING:
                (length,) = _length_at(row, end)
                end += 4 + length if length > 0 else 4
        except struct.error:
            raise self._no_row() from None
        return _DECIDING_BEGIN + row[2:end]

    def row_of(self, row: bytes) -> RawRow:
        """A row in the order of `VIEW_COLUMNS`; None stands for what was not asked for.

        Raises `AgencyError` for what is no row.
        """
        values: list[object] = []
        at = 2
        try:
            for read in self._readers:
                (length,) = _length_at(row, at)
                at += 4
                if length < 0:
                    values.append(None)
                else:
                    end = at + length
                    values.append(read(row[at:end]))
                    at = end
        except struct.error:
            raise self._no_row() from None
        if at != len(row) or row[:2] != self._count:
            raise self._no_row()
        if not self.whole:
            values += _NONE_OF_REST
        ordered: RawRow = _in_order(values)
        return ordered

    def code_of(self, row: bytes) -> object:
        """A row's code, which is its first field."""
        try:
            (length,) = _length_at(row, 2)
        except struct.error:
            raise self._no_row() from None
        return None if length < 0 else _text(row[6 : 6 + length])

    def _no_row(self) -> AgencyError:
        return fault(READ_FAILED, self.place, "its rows did not come in the form of COPY")


def without_header(first: bytes) -> bytes | None:
    """The first row, before which the header stands; None if none does."""
    return first[_HEADER:] if first.startswith(_SIGNATURE) else None
