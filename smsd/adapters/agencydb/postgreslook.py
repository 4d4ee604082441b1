"""A look at a PostgreSQL view: rows by COPY, which costs a fifth of a cursor, and sums that the server computes.

All of it is of one state: the transaction is REPEATABLE READ. The columns that decide stand first in every line, so
that a line's beginning is the same text whether the rest was asked for or not.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from typing import Any, cast

from smsd.adapters.agencydb.digests import digests_of
from smsd.adapters.agencydb.look import SqlLook
from smsd.adapters.agencydb.postgresql import PostgresLink
from smsd.adapters.agencydb.query import Condition
from smsd.services.ports import VIEW_COLUMNS, RawRow
from smsd.services.rowblocks import BUCKETS, DECIDING, REST, BucketSums, RowBlock, Take

_BLOCK_BYTES = 1 << 20
_ORDER = (*DECIDING, *REST)
_PLACES = tuple(_ORDER.index(column) for column in VIEW_COLUMNS)
_NONE_OF_REST = [b"\\N"] * len(REST)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_CODES_AT_ONCE = 20_000
_SUMS_FROM = 140_000
"""The server version that knows bit_xor."""
_TIMESTAMP, _TIMESTAMPTZ = 1114, 1184
_FUNCTIONS = "SELECT to_regprocedure('hashtextextended(text,bigint)') IS NOT NULL AND " \
    "to_regprocedure('timestamp_hash_extended(timestamp,bigint)') IS NOT NULL"  # fmt: skip


class PostgresLook(SqlLook):
    """Answers with COPY."""

    of_one_state = True

    @property
    def _link(self) -> PostgresLink:
        return cast(PostgresLink, self._ground.link)

    def everything(self, take: Take, *, whole: bool) -> None:
        """All rows."""
        self._copy(None, take, whole=whole)

    def of_codes(self, codes: Sequence[str], take: Take) -> None:
        """The rows of these codes. A literal takes the column's own type, and so its index."""
        name = self.column("dossier_code")
        for start in range(0, len(codes), _CODES_AT_ONCE):
            part = codes[start : start + _CODES_AT_ONCE]
            self._copy(Condition(f"{name} = ANY(%s)", (_array_literal(part),)), take)

    def since(self, column: str, instant: object, take: Take) -> None:
        """The rows changed since an instant."""
        name = self.column(column)
        self._copy(Condition(f"({name} >= %s OR {name} IS NULL)", (instant,)), take)

    def sums(self) -> BucketSums | None:
        """Counts and hashes made by the server's own hash functions, in one pass."""
        link = self._link
        if link.raw.server_version < _SUMS_FROM:
            return None
        with self.driver():
            if not link.ask(_FUNCTIONS, [])[1][0][0]:
                return None
            types = link.types(self.select_raw("*", " LIMIT 0"))
            sql, values = self.select_raw(
                f"{self._bucket()}, count(*), bit_xor({self._hash(types)})", " GROUP BY 1"
            )
            # the planner takes every row for a bucket of its own and would sort them all
            link.ask_nothing("SET LOCAL enable_sort = off; SET LOCAL jit = off")
            _, answer = link.ask(sql, values)
            link.ask_nothing("SET LOCAL enable_sort TO DEFAULT; SET LOCAL jit TO DEFAULT")
        made_by = f"{link.raw.server_version // 10_000} {sql} {values}"
        shape = hashlib.sha256(made_by.encode("utf-8", "surrogatepass")).hexdigest()
        return BucketSums.of(shape, [(int(b), int(n), int(h)) for b, n, h in answer])  # type: ignore[call-overload]

    def in_buckets(self, buckets: Sequence[int], take: Take) -> None:
        """The rows of these buckets."""
        wanted = "{" + ",".join(map(str, buckets)) + "}"
        self._copy(Condition(f"{self._bucket()} = ANY(%s)", (wanted,)), take)

    def _bucket(self) -> str:
        code = self._bytes(self.column("dossier_code"), "''")
        return f"(hashtextextended({code}, 0) & {BUCKETS - 1})"

    def _hash(self, types: dict[str, int]) -> str:
        """A hash of what decides in a row, each column's with the one before as its seed; null is no text."""
        hashed = "0"
        for column in DECIDING:
            name = self._ground.found.of(column)
            if name is None:
                continue
            quoted = self._syntax.name(name)
            if types[name] == _TIMESTAMP:
                hashed = f"timestamp_hash_extended(coalesce({quoted}, '-infinity'), {hashed})"
            elif types[name] == _TIMESTAMPTZ:
                hashed = (
                    f"timestamp_hash_extended(coalesce({quoted} AT TIME ZONE 'UTC', '-infinity'), {hashed})"
                )
            else:
                hashed = f"hashtextextended({self._bytes(quoted, 'chr(1)')}, {hashed})"
        return hashed

    @staticmethod
    def _bytes(quoted: str, null: str) -> str:
        """A value as text that is hashed byte by byte: a collation may hold capitals and small letters for the same."""
        return f'coalesce({quoted}::text, {null}) COLLATE "C"'

    def _copy(self, condition: Condition | None, take: Take, *, whole: bool = True) -> None:
        sql, values = self.select(_ORDER if whole else DECIDING, condition)
        lines = _Lines(self._ground.work.go_on, take, whole)
        try:
            with self.driver():
                self._link.copy_out(sql, values, lines.buffer)
        except BaseException:
            lines.forget()
            if lines.error is not None:  # the caller's; what the driver says of it is not the cause
                raise lines.error from None
            raise


class _Lines(io.RawIOBase):
    """Takes what COPY writes, a million bytes at a time, and hands on whole lines."""

    def __init__(self, go_on: Any, take: Take, whole: bool) -> None:
        super().__init__()
        self._go_on = go_on
        self._take = take
        self._whole = whole
        self._rest = b""
        self.error: BaseException | None = None
        self._forgotten = False
        # psycopg2 writes row by row; the buffer does so without Python
        self.buffer = io.BufferedWriter(self, _BLOCK_BYTES)

    def writable(self) -> bool:
        """Yes."""
        return True

    def forget(self) -> None:
        """Hand on nothing of what is still in the buffer."""
        self._forgotten = True

    def write(self, written: Any) -> int:
        """A part of the answer."""
        if self._forgotten or self.error is not None:
            return len(written)
        lines = (self._rest + bytes(written)).split(b"\n")
        self._rest = lines.pop()
        try:
            self._go_on()
            self._take(_block(lines, whole=self._whole))
        except BaseException as error:
            self.error = error
            raise
        return len(written)


def _block(lines: list[bytes], *, whole: bool) -> RowBlock:
    deciding = list(map(_without_rest, lines)) if whole else lines
    row_of = _row_of if whole else _deciding_row_of
    return RowBlock(digests_of(deciding), lines, row_of=row_of, code_of=_code_of, whole=whole)


def _without_rest(line: bytes) -> bytes:
    return line.rsplit(b"\t", len(REST))[0]


def _row_of(line: bytes) -> RawRow:
    fields = line.split(b"\t")
    return tuple(_value(fields[place]) for place in _PLACES)


def _deciding_row_of(line: bytes) -> RawRow:
    fields = line.split(b"\t") + _NONE_OF_REST
    return tuple(_value(fields[place]) for place in _PLACES)


def _code_of(line: bytes) -> object:
    return _value(line.split(b"\t", 1)[0])


def _value(field: bytes) -> str | None:
    """A value in COPY's text format."""
    if b"\\" in field:
        if field == b"\\N":
            return None
        field = _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), field)
    return field.decode("utf-8", "replace")


def _array_literal(texts: Sequence[str]) -> str:
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"
