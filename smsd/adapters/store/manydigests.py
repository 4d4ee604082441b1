"""Known digests by the million: the same as `KnownDigests`, a block of rows at a time."""

from __future__ import annotations

from array import array
from collections.abc import Collection

import numpy as np

from smsd.services.snapshot import KnownDigests


class ManyDigests(KnownDigests):
    """Sorted numbers, searched in blocks."""

    def __init__(self, ascending: array[int]) -> None:
        super().__init__(ascending)
        self._numbers = np.frombuffer(ascending, np.int64)
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
        """Which rows of a block are not known, or were read already; the others are crossed off."""
        if not len(digests) or not len(self._numbers):
            return list(range(len(digests)))
        read = np.frombuffer(digests, np.int64)
        order = np.argsort(read)
        ordered = read[order]
        places = np.searchsorted(self._numbers, ordered)
        places[places == len(self._numbers)] = 0
        fresh = (self._numbers[places] != ordered) | self._marks[places]
        fresh[1:] |= ordered[1:] == ordered[:-1]
        self._marks[places[~fresh]] = True
        found: list[int] = np.sort(order[fresh]).tolist()
        return found

    def unseen(self) -> list[int]:
        """The digests that no row had."""
        found: list[int] = self._numbers[~self._marks].tolist()
        return found

    def replace(self, removed: Collection[int], added: Collection[int]) -> KnownDigests:
        """What is known once a read was applied."""
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
