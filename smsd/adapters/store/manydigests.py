"""Known digests by the million: the same as `KnownDigests`, a block of rows at a time."""

from __future__ import annotations

from array import array
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from smsd.services.snapshot import KnownDigests


def numbers_in(text: str) -> array[int]:
    """Numbers in decimal with commas between."""
    numbers = array("q")
    numbers.frombytes(np.fromstring(text, np.int64, sep=",").tobytes())
    return numbers


_SIGN = np.uint64(1 << 63)
_MOST_BITS = 20
"""The table takes four bytes for each of the parts that so many bits tell apart: 4 MB at most."""
_STEPS = 16
"""Steps taken from where a number's part begins; only numbers that are not as by chance have more in a part."""


class ManyDigests(KnownDigests):
    """Sorted numbers, found in blocks by a table of where those with the same first bits begin.

    Digests lie evenly: of a million a part holds two or so, and to look there takes a third of a binary search.
    """

    def __init__(self, ascending: array[int]) -> None:
        super().__init__(ascending)
        self._numbers = np.frombuffer(ascending, np.int64)
        bits = max(1, min(_MOST_BITS, len(ascending).bit_length() - 1))
        self._shift = np.uint64(64 - bits)
        self._begins: npt.NDArray[np.int32] | None = None
        self.begin()

    @classmethod
    def of(cls, digests: array[int]) -> ManyDigests:
        """From digests in any order; the array is used, and sorted."""
        np.frombuffer(digests, np.int64).sort()
        return cls(digests)

    def begin(self) -> None:
        """Nothing is crossed off."""
        super().begin()
        self._marks = np.frombuffer(self._seen, np.bool_)

    def fresh(self, digests: array[int]) -> list[int]:
        """Which rows of a block (their places) are not known, or were read already; the others are crossed off."""
        if not len(digests) or not len(self._numbers):
            return list(range(len(digests)))
        read = np.frombuffer(digests, np.int64)
        places = self._places_of(read)
        known = (self._numbers[places] == read) & ~self._marks[places]
        rows = np.flatnonzero(known)
        marked = places[rows]
        before = int(np.count_nonzero(self._marks))
        self._marks[marked] = True
        if int(np.count_nonzero(self._marks)) - before < len(
            rows
        ):  # a digest stands in the block more than once
            _, first = np.unique(marked, return_index=True)
            known[:] = False
            known[rows[first]] = True
        found: list[int] = np.flatnonzero(~known).tolist()
        return found

    def _places_of(self, read: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The place of the first number not smaller than each, or the last place."""
        if self._begins is None:
            firsts = np.arange(1 << (64 - int(self._shift)), dtype=np.uint64) << self._shift
            self._begins = np.searchsorted(self._numbers, (firsts ^ _SIGN).view(np.int64)).astype(np.int32)
        last = len(self._numbers) - 1
        parts = ((read.view(np.uint64) ^ _SIGN) >> self._shift).astype(np.int64)
        places = np.minimum(self._begins[parts], last).astype(np.int64)
        before = np.flatnonzero(self._numbers[places] < read)
        for _ in range(_STEPS):
            if not len(before):
                return places
            places[before] = np.minimum(places[before] + 1, last)
            before = before[(self._numbers[places[before]] < read[before]) & (places[before] < last)]
        places[before] = np.minimum(np.searchsorted(self._numbers, read[before]), last)
        return places

    def unseen(self) -> list[int]:
        """The digests that no row had."""
        found: list[int] = self._numbers[~self._marks].tolist()
        return found

    def replace(self, removed: Collection[int], added: Collection[int]) -> KnownDigests:
        """What is known once a read was applied."""
        self._begins = None  # room for what follows
        gone = np.sort(np.fromiter(removed, np.int64, len(removed)))
        places = np.searchsorted(self._numbers, gone)
        inside = places < len(self._numbers)
        places, gone = places[inside], gone[inside]
        stays = np.ones(len(self._numbers), np.bool_)
        stays[places[self._numbers[places] == gone]] = False
        kept = int(np.count_nonzero(stays))
        ascending = array("q", [0]) * (kept + len(added))
        numbers = np.frombuffer(ascending, np.int64)
        np.compress(stays, self._numbers, out=numbers[:kept])
        numbers[kept:] = np.fromiter(added, np.int64, len(added))
        return ManyDigests.of(ascending)
