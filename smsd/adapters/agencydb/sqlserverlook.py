"""A look at a SQL Server view: SELECTs, and sums that the server computes.

HASHBYTES and not CHECKSUM, which takes capitals for small letters. Without snapshots the rows may be newer than the
sums; then the next sums differ again, and the rows are read once more. SQL Server 2012 and later can; an older one has
no CONCAT, and its views are read whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from smsd.adapters.agencydb.faults import READ_FAILED
from smsd.adapters.agencydb.look import SqlLook
from smsd.adapters.agencydb.query import Condition
from smsd.core.errors import AgencyError
from smsd.services.rowblocks import BUCKETS, DECIDING, BucketSums, Take

_DATES = frozenset({"due_at", "resolved_at"})
_SUMMED_LENGTH = 600
"""How much of a text its sum covers: what the six columns make together stays below the 4,000 characters at which
CONCAT would cut off. What changes only beyond is found by the next sweep."""


class SqlServerLook(SqlLook):
    """Answers with SELECTs."""

    of_one_state = False

    def since(self, column: str, instant: object, take: Take) -> None:
        """The rows changed since an instant; a zoned one goes as text, since pyodbc would leave its zone out."""
        if isinstance(instant, datetime) and instant.tzinfo is not None:
            instant = instant.isoformat(timespec="seconds")
        super().since(column, instant, take)

    def sums(self) -> BucketSums | None:
        """Counts and hashes in one pass; None for a server that does not know how."""
        sql, values = self._sums()
        try:
            with self.driver():
                _, answer = self._ground.link.ask(sql, values)
        except AgencyError as error:
            if error.code != READ_FAILED:
                raise
            return None
        shape = hashlib.sha256(f"{sql} {values}".encode("utf-8", "surrogatepass")).hexdigest()
        return BucketSums.of(
            shape,
            [(int(b), int(n), int(high) << 32 | int(low) & 0xFFFFFFFF) for b, n, high, low in answer],  # type: ignore[call-overload]
        )

    def in_buckets(self, buckets: Sequence[int], take: Take) -> None:
        """The rows of these buckets."""
        self._rows(Condition(f"{self._bucket()} IN ({', '.join(map(str, buckets))})"), take)

    def _sums(self) -> tuple[str, list[object]]:
        values = ", NCHAR(31), ".join(self._text(column) for column in DECIDING if self._has(column))
        hashed = f"HASHBYTES('SHA2_256', CONCAT({values}, N''))"
        inner, given = self.select_raw(f"{self._bucket()} AS b, {hashed} AS h")
        halves = ", ".join(f"CHECKSUM_AGG(CONVERT(int, SUBSTRING(h, {at}, 4)))" for at in (1, 5))
        return f"SELECT b, COUNT_BIG(*), {halves} FROM ({inner}) AS hashed GROUP BY b", given  # noqa: S608 # nosec B608 # our own names

    def _has(self, column: str) -> bool:
        return self._ground.found.of(column) is not None

    def _text(self, column: str, null: str = "NCHAR(1)") -> str:
        """A value as text: dates as ISO 8601, floats and money with all their digits; texts leave a style aside."""
        style = 126 if column in _DATES else 2
        return f"ISNULL(CONVERT(nvarchar({_SUMMED_LENGTH}), {self.column(column)}, {style}), {null})"

    def _bucket(self) -> str:
        code = self._text("dossier_code", null="N''")
        return f"(CONVERT(int, SUBSTRING(HASHBYTES('SHA2_256', {code}), 1, 2)) & {BUCKETS - 1})"
