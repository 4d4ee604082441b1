"""Snapshots: what a read keeps of a view, which is only what changed.

Memory follows what changed, not what exists: rows whose digest is known are dropped at once, changed ones are laid
aside on disk beyond twenty thousand, or two million characters. Nothing is decided here; how a view is read stands in
`reading`.
"""

from __future__ import annotations

import os
import pickle  # nosec B403 # our own, in an unlinked file
import tempfile
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from heapq import merge
from itertools import chain, islice, pairwise
from operator import itemgetter
from types import TracebackType
from typing import IO, Self

from smsd.core.policy import ReadKind
from smsd.core.rows import text_of
from smsd.services.ports import RawRow
from smsd.services.rowblocks import BucketSums, RowBlock

_BLOCK = 500
_RUN = 20_000
"""So many rows are sorted at once, and stay in memory if there are no more."""
_RUN_SIZE = 2 << 20
"""And at most so many characters of them."""
_PIECE = 20
"""So many rows of each run are in memory while runs are merged."""
_PARTS = 64
"""Codes are looked through for repeated ones in so many parts: sorting takes five times the memory of what it sorts."""


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A row whose digest is new. ``code`` is cleaned; "" where there is none."""

    code: str
    digest: int
    raw: RawRow


_Row = tuple[str, int, RawRow]
_code_of = itemgetter(0)


class ChangedRows:
    """Changed rows in the order of their codes, in which the store keeps them too; on disk when there are many.

    Runs of rows are sorted and laid aside in pieces, and merged when they are asked for.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None  # closed by Snapshot.close
        self._runs: list[array[int]] = []
        """Where in the file each run's pieces begin."""
        self._last: list[_Row] = []
        self._size = 0
        """Characters in `_last`."""
        self._small = True

    def append(self, code: str, row_digest: int, raw: RawRow) -> None:
        """Keep one more row."""
        self._last.append((code, row_digest, raw))
        self._size += sum([len(value) for value in raw if isinstance(value, (str, bytes))])
        if len(self._last) >= _RUN or self._size >= _RUN_SIZE:
            self._small &= len(self._last) >= _RUN
            self._lay_aside()

    def _lay_aside(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._file.seek(0, os.SEEK_END)
        run, self._last, self._size = sorted(self._last, key=_code_of), [], 0
        begins = array("q")
        for start in range(0, len(run), _PIECE):
            begins.append(self._file.tell())
            pickle.dump(run[start : start + _PIECE], self._file, protocol=pickle.HIGHEST_PROTOCOL)
        self._runs.append(begins)

    def blocks(self) -> Iterator[list[ChangedRow]]:
        """The rows, in blocks."""
        self._last.sort(key=_code_of)
        runs = [_laid_aside(self._file, begins) for begins in self._runs if self._file is not None]
        parts: list[Iterable[_Row]] = [*runs, self._last]
        # of rows as large as these a piece of every run is too much at once; the order only saves time
        rows = merge(*parts, key=_code_of) if self._small else chain.from_iterable(parts)
        while block := [ChangedRow(*row) for row in islice(rows, _BLOCK)]:
            yield block

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            self._file.close()


def _laid_aside(file: IO[bytes], begins: array[int]) -> Iterator[_Row]:
    for begin in begins:
        file.seek(begin)  # other runs are read in between
        yield from pickle.load(file)  # noqa: S301 # nosec B301 # our own, in an unlinked file


class KnownDigests:
    """The digests of an agency's remembered rows, each crossed off when its row is read: nine bytes a row."""

    def __init__(self, ascending: array[int] | None = None) -> None:
        self._digests = ascending if ascending is not None else array("q")
        self._seen = bytearray(len(self._digests))

    def __len__(self) -> int:
        return len(self._digests)

    def begin(self) -> None:
        """Nothing is crossed off."""
        self._seen = bytearray(len(self._digests))

    def fresh(self, digests: array[int]) -> list[int]:
        """Which rows of a block (their places) are not known, or were read already; the others are crossed off."""
        return [place for place, digest in enumerate(digests) if not self.cross_off(digest)]

    def cross_off(self, digest: int) -> bool:
        """Note that a row was read. False if it is not known, or was read already."""
        place = self._place(digest)
        if place is None or self._seen[place]:
            return False
        self._seen[place] = 1
        return True

    def unseen(self) -> list[int]:
        """The digests that no row had: their dossiers changed or are absent."""
        return [digest for digest, seen in zip(self._digests, self._seen, strict=True) if not seen]

    def replace(self, removed: Collection[int], added: Collection[int]) -> KnownDigests:
        """What is known once a read was applied."""
        gone = set(removed)
        return KnownDigests(array("q", sorted([*(d for d in self._digests if d not in gone), *added])))

    def _place(self, digest: int) -> int | None:
        place = bisect_left(self._digests, digest)
        return place if place < len(self._digests) and self._digests[place] == digest else None


MANY_ROWS = 50_000
"""From here on rows are compared by the thousand; the library for it takes 20 MB, which small offices are spared."""


class ReadAgain(KnownDigests):
    """Stands for what is known where only some rows are read: a known row crossed off was read."""

    def __init__(self) -> None:
        super().__init__()
        self._unchanged: set[int] = set()

    def cross_off(self, digest: int) -> bool:
        """Note that a row was read. False if it was read already."""
        if digest in self._unchanged:
            return False
        self._unchanged.add(digest)
        return True

    def was_read(self, digest: int) -> bool:
        """Whether a row with it was read."""
        return digest in self._unchanged


def _no_hashes() -> list[array[int]]:
    return [array("q") for _ in range(_PARTS)]


@dataclass(slots=True)
class Snapshot:
    """One read, before anything of it is believed.

    ``known`` are the digests remembered, those of rows that were read crossed off. ``repeated`` are codes that stood in
    more than one changed row; a changed row that repeats an unchanged one shows only against the store.
    """

    started_at: datetime
    known: KnownDigests
    kind: ReadKind = ReadKind.FULL
    """How it was read. `full` means that every row was looked at, whatever is read at other times."""
    rows: int = 0
    """Rows of the view; of a read by `changed_by`, those that were looked at."""
    changed: ChangedRows = field(default_factory=ChangedRows)
    repeated: set[str] = field(default_factory=set)
    back: set[str] = field(default_factory=set)
    """Of a read of some rows: codes that were missing and stood in it."""
    sums: BucketSums | None = None
    """What the next read by fingerprints compares with."""
    mark: datetime | None = None
    """Up to when changes have been read, where they are told by a date."""
    found_before: Collection[str] | None = None
    """Of a full read that checks a cheaper one of the same look: the codes which that found changed."""
    refreshed: ChangedRows = field(default_factory=ChangedRows)
    """Rows that were wanted whole, changed or not."""
    _code_hashes: list[array[int]] = field(default_factory=_no_hashes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the rows go."""
        self.changed.close()
        self.refreshed.close()

    @property
    def tells_absence(self) -> bool:
        """Whether a dossier that is not in it has left the view."""
        return self.kind is not ReadKind.CHANGED_BY

    def add(self, raw: RawRow, digest: int) -> None:
        """A row that changed."""
        code = text_of(raw[0]) or ""
        if code:
            hashed = hash(code)
            self._code_hashes[hashed % _PARTS].append(hashed)
        self.changed.append(code, digest, raw)

    def refresh(self, block: RowBlock, places: Iterable[int]) -> None:
        """Rows that were wanted whole."""
        for place in places:
            raw = block.row(place)
            self.refreshed.append(text_of(raw[0]) or "", block.digests[place], raw)

    def start_anew(self) -> None:
        """Forget all rows: they are read once more."""
        self.changed.close()
        self.changed = ChangedRows()
        self.rows = 0
        self._code_hashes = _no_hashes()
        self.known.begin()

    def finish(self) -> None:
        """All rows are in: find the codes of more than one."""
        self.repeated = _repeated(self.changed, self._code_hashes)


def _repeated(changed: ChangedRows, code_hashes: Iterable[array[int]]) -> set[str]:
    """The codes of more than one changed row: told by their hashes, then looked at only where those meet."""
    suspects: set[int] = set()
    for part in code_hashes:
        suspects.update(one for one, next_one in pairwise(sorted(part)) if one == next_one)
    if not suspects:
        return set()
    counts = Counter(row.code for block in changed.blocks() for row in block if hash(row.code) in suspects)
    return {code for code, count in counts.items() if code and count > 1}
