"""Snapshots: what a read keeps of a view, which is only what changed.

Memory follows what changed, not what exists: rows whose digest is known are dropped at once, changed ones are spooled
to disk beyond a few thousand. Nothing is decided here; how a view is read stands in `reading`.
"""

from __future__ import annotations

import pickle  # nosec B403 # our own, in an unlinked file
import tempfile
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from types import TracebackType
from typing import Self

from smsd.core.policy import ReadKind
from smsd.core.rows import text_of
from smsd.services.ports import RawRow
from smsd.services.rowblocks import BucketSums, RowBlock

_BLOCK = 500
_IN_MEMORY_BYTES = 256 << 10
_PARTS = 64
"""Codes are looked through for repeated ones in so many parts: sorting takes five times the memory of what it sorts."""


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A row whose digest is new. ``code`` is cleaned; "" where there is none."""

    code: str
    digest: int
    raw: RawRow


class ChangedRows:
    """Changed rows in the order in which they were read; on disk when there are many."""

    def __init__(self) -> None:
        # closed by Snapshot.close
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115
        self._block: list[tuple[str, int, RawRow]] = []

    def append(self, code: str, row_digest: int, raw: RawRow) -> None:
        """Keep one more row."""
        self._block.append((code, row_digest, raw))
        if len(self._block) >= _BLOCK:
            self._flush()

    def _flush(self) -> None:
        if self._block:
            pickle.dump(self._block, self._file, protocol=pickle.HIGHEST_PROTOCOL)
            self._block = []

    def blocks(self) -> Iterator[list[ChangedRow]]:
        """The rows, in blocks."""
        self._flush()
        self._file.seek(0)
        while True:
            try:
                block = pickle.load(self._file)  # noqa: S301 # nosec B301 # our own, in an unlinked file
            except EOFError:
                return
            yield [ChangedRow(*row) for row in block]

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


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

    def refresh(self, block: RowBlock) -> None:
        """Rows that were wanted whole."""
        for place, digest in enumerate(block.digests):
            raw = block.row(place)
            self.refreshed.append(text_of(raw[0]) or "", digest, raw)

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
