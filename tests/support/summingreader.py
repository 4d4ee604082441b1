"""A reader whose database tells itself in which of its rows something changed: the fake one, with sums made here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from smsd.adapters.agencydb.digests import block_of
from smsd.services.ports import VIEW_COLUMNS, AgencyLook, RawRow
from smsd.services.rowblocks import BUCKETS, DECIDING, BucketSums, Take
from tests.support.fakereader import FakeAgency, FakeLook, FakeReader

_DECIDING = [VIEW_COLUMNS.index(column) for column in DECIDING]


def bucket_of(code: object) -> int:
    """The bucket a code falls into."""
    return _number(code) % BUCKETS


def _number(*parts: object) -> int:
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big", signed=True)


class SummingReader(FakeReader):
    """Counts what is asked. ``sums_told`` are given instead of the true ones; ``able`` False: it cannot sum."""

    def __init__(
        self, agency: FakeAgency, *, buckets: int = BUCKETS, able: bool = True, **changes: Any
    ) -> None:
        super().__init__(agency, **changes)
        self.buckets = buckets
        self.able = able
        self.sums_told: BucketSums | None = None
        self.shape = "one"
        self.asked: Counter[str] = Counter()

    @contextmanager
    def look(self) -> Iterator[AgencyLook]:
        yield SummingLook(self)

    def bucket(self, code: object) -> int:
        return bucket_of(code) % self.buckets


class SummingLook(FakeLook):
    """As a server with hash functions answers."""

    of_one_state = True

    def __init__(self, reader: SummingReader) -> None:
        super().__init__(reader)
        self._summing = reader

    def everything(self, take: Take, *, whole: bool) -> None:
        self._summing.asked["everything"] += 1
        super().everything(take, whole=whole)

    def newest(self, column: str) -> object:
        self._summing.asked["newest"] += 1
        return super().newest(column)

    def since(self, column: str, instant: object, take: Take) -> None:
        self._summing.asked["since"] += 1
        super().since(column, instant, take)

    def sums(self) -> BucketSums | None:
        self._summing.asked["sums"] += 1
        if not self._summing.able:
            return None
        if self._summing.sums_told is not None:
            return self._summing.sums_told
        counts: Counter[int] = Counter()
        hashes: Counter[int] = Counter()
        for row in self._rows():
            bucket = self._summing.bucket(row[0])
            counts[bucket] += 1
            hashes[bucket] ^= _number(*(row[place] for place in _DECIDING))
        return BucketSums.of(self._summing.shape, [(b, counts[b], hashes[b]) for b in counts])

    def in_buckets(self, buckets: Sequence[int], take: Take) -> None:
        self._summing.asked["in_buckets"] += 1
        take(block_of([row for row in self._rows() if self._summing.bucket(row[0]) in buckets]))

    def _rows(self) -> Iterator[RawRow]:
        for block in self._reader.rows():
            yield from block
