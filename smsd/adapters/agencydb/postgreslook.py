"""A look at a PostgreSQL view: rows by COPY, which costs a fifth of a cursor, and sums that the server computes.

All of it is of one state: the transaction is REPEATABLE READ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from smsd.adapters.agencydb.copyformat import END, ORDER, TIMESTAMP, TIMESTAMPTZ, Layout, without_header
from smsd.adapters.agencydb.faults import READ_FAILED, fault
from smsd.adapters.agencydb.look import Ground, SqlLook
from smsd.adapters.agencydb.postgresql import PostgresLink
from smsd.adapters.agencydb.query import Condition
from smsd.services.rowblocks import BUCKETS, DECIDING, BucketSums, Take

_BLOCK_ROWS, _BLOCK_BYTES = 10_000, 1 << 20
_COUNTED_ROWS = 100
"""So many rows are taken before their bytes are counted."""
_CODES_AT_ONCE = 20_000
_SUMS_FROM = 140_000
"""The server version that knows bit_xor."""
_FUNCTIONS = "SELECT to_regprocedure('hashtextextended(text,bigint)') IS NOT NULL AND " \
    "to_regprocedure('timestamp_hash_extended(timestamp,bigint)') IS NOT NULL"  # fmt: skip


class PostgresLook(SqlLook):
    """Answers with COPY."""

    of_one_state = True

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._types: dict[str, int] | None = None

    @property
    def _link(self) -> PostgresLink:
        return cast(PostgresLink, self._ground.link)

    def everything(self, take: Take, *, whole: bool) -> None:
        """All rows."""
        self._copy(None, take, whole=whole)

    def of_codes(self, codes: Sequence[str], take: Take) -> None:
        """The rows of these codes. A literal takes the column's own type, and so its index.

        For thousands of codes the planner would look through the whole table, with workers beside: an index is gentler.
        """
        name = self.column("dossier_code")
        if not codes:
            return
        with self._planned_without("enable_seqscan"):
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
            types = self._types_now()
            sql, values = self.select_raw(
                f"{self._bucket()}, count(*), bit_xor({self._hash(types)})", " GROUP BY 1"
            )
        # the planner takes every row for a bucket of its own and would sort them all
        with self._planned_without("enable_sort"), self.driver():
            _, answer = link.ask(sql, values)
        made_by = f"{link.raw.server_version // 10_000} {sql} {values}"
        shape = hashlib.sha256(made_by.encode("utf-8", "surrogatepass")).hexdigest()
        return BucketSums.of(shape, [(int(b), int(n), int(h)) for b, n, h in answer])  # type: ignore[call-overload]

    def in_buckets(self, buckets: Sequence[int], take: Take) -> None:
        """The rows of these buckets."""
        wanted = "{" + ",".join(map(str, buckets)) + "}"
        self._copy(Condition(f"{self._bucket()} = ANY(%s)", (wanted,)), take)

    @contextmanager
    def _planned_without(self, way: str) -> Iterator[None]:
        """Around questions for which the planner would choose a costly way; the transaction's end undoes it too."""
        with self.driver():
            self._link.ask_nothing(f"SET LOCAL {way} = off; SET LOCAL jit = off")
        yield
        with self.driver():
            self._link.ask_nothing(f"SET LOCAL {way} TO DEFAULT; SET LOCAL jit TO DEFAULT")

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
            if types[name] == TIMESTAMP:
                hashed = f"timestamp_hash_extended(coalesce({quoted}, '-infinity'), {hashed})"
            elif types[name] == TIMESTAMPTZ:
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
        layout = self._layout(ORDER if whole else DECIDING)
        sql, values = self.select(layout.columns, condition, layout.shown)
        rows = _Rows(self._ground.work.go_on, take, layout)
        try:
            with self.driver():
                self._link.copy_out(sql, values, rows)
            rows.finish()
        except BaseException:
            if rows.error is not None:  # the caller's; what the driver says of it is not the cause
                raise rows.error from None
            raise
        finally:
            rows.close()

    def _layout(self, columns: tuple[str, ...]) -> Layout:
        with self.driver():
            # an old server may count seconds in floating point
            plain = self._link.raw.get_parameter_status("integer_datetimes") != "off"
            types = self._types_now() if plain else {}
        found = self._ground.found
        return Layout(
            columns,
            {column: types.get(found.of(column) or "", 0) for column in columns},
            self._ground.database.place,
        )

    def _types_now(self) -> dict[str, int]:
        """The types of the view's columns, asked once a look."""
        if self._types is None:
            self._types = self._link.types(self.select_raw("*", " LIMIT 0"))
        return self._types


class _Rows:
    """Takes the rows that COPY writes, one after the other, and hands them on by the thousand."""

    def __init__(self, go_on: Callable[[], None], take: Take, layout: Layout) -> None:
        self._go_on = go_on
        self._take = take
        self._layout = layout
        self._rows: list[bytes] = []
        self.error: BaseException | None = None
        self._taking = self._take_rows()
        next(self._taking)
        self.write = self._taking.send
        """A generator's, for it is called for every row."""

    def _take_rows(self) -> Generator[None, bytes, None]:
        try:
            row = yield
            first = without_header(row)
            if first is None:
                raise fault(READ_FAILED, self._layout.place, "its answer did not come in the form of COPY")
            self._rows.append(first)
            size = 0
            while True:
                some: list[bytes] = self._rows
                start, append = len(some), some.append
                for _ in range(_COUNTED_ROWS):
                    append((yield))
                size += sum(map(len, some[start:]))
                if len(some) >= _BLOCK_ROWS or size >= _BLOCK_BYTES:
                    row = yield  # that it has not ended tells that all before are rows
                    size = 0
                    self._hand_on()
                    self._rows.append(row)
        except GeneratorExit:
            return
        except BaseException as error:
            self.error = error
            raise

    def _hand_on(self) -> None:
        rows, self._rows = self._rows, []
        self._go_on()
        self._take(self._layout.block(rows))

    def finish(self) -> None:
        """The answer is over. Raises `AgencyError` if it ended too early."""
        if not self._rows or self._rows.pop() != END:
            raise fault(READ_FAILED, self._layout.place, "its answer broke off")
        if self._rows:
            self._hand_on()

    def close(self) -> None:
        """Let go of what the rows were for: the generator and this would keep one another."""
        self._taking.close()


def _array_literal(texts: Sequence[str]) -> str:
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"
