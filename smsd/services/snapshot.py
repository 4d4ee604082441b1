"""Taking a snapshot: streaming an agency's whole view while keeping only what changed.

Memory follows what changed, not what exists: rows whose digest is known are dropped at once, changed ones are spooled
to disk beyond a few thousand. Nothing is decided here.
"""

from __future__ import annotations

import pickle
import tempfile
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from types import TracebackType
from typing import Self

from smsd.core.rows import digest, text_of
from smsd.services.ports import RawRow

_BLOCK = 500
_IN_MEMORY_BYTES = 256 << 10


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
                block = pickle.load(self._file)  # noqa: S301  (our own, in an unlinked file)
            except EOFError:
                return
            yield [ChangedRow(*row) for row in block]

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


class KnownDigests:
    """The digests of an agency's remembered rows, each crossed off when its row is read: nine bytes a row."""

    def __init__(self, ascending: Iterable[int] = ()) -> None:
        self._digests = array("q", ascending)
        self._seen = bytearray(len(self._digests))

    def cross_off(self, digest: int) -> bool:
        """Note that a row was read. False if it is not known, or was read already."""
        place = self._place(digest)
        if place is None or self._seen[place]:
            return False
        self._seen[place] = 1
        return True

    def unseen(self) -> Iterator[int]:
        """The digests that no row had: their dossiers changed or are absent."""
        return (digest for digest, seen in zip(self._digests, self._seen, strict=True) if not seen)

    def _place(self, digest: int) -> int | None:
        place = bisect_left(self._digests, digest)
        return place if place < len(self._digests) and self._digests[place] == digest else None


@dataclass(slots=True)
class Snapshot:
    """One full read, before anything of it is believed.

    ``known`` are the digests remembered, those of rows that were read crossed off. ``repeated`` are codes that stood in
    more than one changed row; a changed row that repeats an unchanged one shows only against the store.
    """

    started_at: datetime
    known: KnownDigests
    rows: int = 0
    changed: ChangedRows = field(default_factory=ChangedRows)
    repeated: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.changed.close()


def take(blocks: Iterable[list[RawRow]], known: KnownDigests, started_at: datetime) -> Snapshot:
    """Read a view to its end."""
    snapshot = Snapshot(started_at, known)
    code_hashes = array("q")
    for block in blocks:
        snapshot.rows += len(block)
        for raw in block:
            row_digest = digest(raw)
            if known.cross_off(row_digest):
                continue
            code = text_of(raw[0]) or ""
            if code:
                code_hashes.append(hash(code))
            snapshot.changed.append(code, row_digest, raw)
    snapshot.repeated = _repeated(snapshot.changed, code_hashes)
    return snapshot


def _repeated(changed: ChangedRows, code_hashes: array[int]) -> set[str]:
    """The codes of more than one changed row: told by their hashes, then looked at only where those meet."""
    ordered = sorted(code_hashes)
    suspects = {one for one, next_one in pairwise(ordered) if one == next_one}
    if not suspects:
        return set()
    counts = Counter(row.code for block in changed.blocks() for row in block if hash(row.code) in suspects)
    return {code for code, count in counts.items() if code and count > 1}
