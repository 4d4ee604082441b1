"""Rows as a read gives them: with fingerprints that tell which are new, so that the others need not be looked into.

A fingerprint covers the columns that decide (`DECIDING`). The rest is read of every row, or only of those that
changed, whichever the database makes cheaper.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from smsd.core.rows import VIEW_COLUMNS, RawRow

DECIDING = ("dossier_code", "phone", "step", "status", "due_at", "resolved_at")
"""What positions, messages, numbers, the 17:30 pass and look-ups are told by."""
REST = tuple(column for column in VIEW_COLUMNS if column not in DECIDING)
"""What texts and reports say beside, and what some rules ask when a message is made. It is not compared."""

BUCKETS = 4096
"""Into so many parts a view's rows are divided by their codes when the database itself tells what changed."""


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Some rows. ``whole``: each has all columns, else only those that decide (None stands for the others)."""

    digests: array[int]
    """Signed 64-bit fingerprints, the same in every process; equal ones mean that nothing changed."""
    items: Sequence[Any]
    """The rows as the database gave them; `row` and `code` read one."""
    row_of: Callable[[Any], RawRow]
    code_of: Callable[[Any], object]
    whole: bool = True

    def __len__(self) -> int:
        return len(self.items)

    def row(self, place: int) -> RawRow:
        """One row in the order of `VIEW_COLUMNS`."""
        return self.row_of(self.items[place])

    def code(self, place: int) -> object:
        """One row's code as the database has it."""
        return self.code_of(self.items[place])


Take = Callable[[RowBlock], None]
"""What is called with the blocks of a read, one after the other; what it raises ends the read."""


@dataclass(frozen=True, slots=True)
class BucketSums:
    """What a database says of the rows in each bucket: how many, and a hash of them all, whatever their order."""

    shape: str
    """How they were made; sums of different shapes cannot be compared."""
    rows: array[int]
    hashes: array[int]

    @classmethod
    def of(cls, shape: str, buckets: Sequence[tuple[int, int, int]]) -> BucketSums:
        """From (bucket, rows, hash); buckets that are not named are empty."""
        rows, hashes = array("q", bytes(8 * BUCKETS)), array("q", bytes(8 * BUCKETS))
        for bucket, count, combined in buckets:
            rows[bucket], hashes[bucket] = count, combined
        return cls(shape, rows, hashes)

    @classmethod
    def from_bytes(cls, shape: str, kept: bytes) -> BucketSums:
        """What `to_bytes` gave."""
        both = array("q")
        both.frombytes(kept)
        return cls(shape, both[:BUCKETS], both[BUCKETS:])

    def to_bytes(self) -> bytes:
        """For the state store."""
        return self.rows.tobytes() + self.hashes.tobytes()

    @property
    def total(self) -> int:
        """All rows."""
        return sum(self.rows)

    def differing(self, other: BucketSums) -> list[int]:
        """The buckets in which something changed."""
        return [
            bucket
            for bucket in range(BUCKETS)
            if self.rows[bucket] != other.rows[bucket] or self.hashes[bucket] != other.hashes[bucket]
        ]

    def rows_in(self, buckets: Sequence[int]) -> int:
        """How many rows these buckets hold."""
        return sum(map(self.rows.__getitem__, buckets))
