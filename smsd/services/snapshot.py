"""Taking a snapshot: streaming an agency's whole view while keeping only what changed.

Memory follows what changed, not what exists: rows whose digest is known are dropped at once, changed ones are spooled
to disk beyond a few thousand. Nothing is decided here.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self

from smsd.core.rows import digest, text_of
from smsd.services.ports import RawRow

_BLOCK = 500
_IN_MEMORY_BYTES = 1 << 20


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


@dataclass(slots=True)
class Snapshot:
    """One full read, before anything of it is believed.

    ``unseen`` are the known digests that no row had: their dossiers changed or are absent. ``repeated`` are codes that
    stood in more than one changed row; a changed row that repeats an unchanged one shows only against the store.
    """

    started_at: datetime
    unseen: set[int]
    rows: int = 0
    changed: ChangedRows = field(default_factory=ChangedRows)
    repeated: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.changed.close()


def take(blocks: Iterable[list[RawRow]], known: set[int], started_at: datetime) -> Snapshot:
    """Read a view to its end. ``known`` is used up: what is left of it is the snapshot's ``unseen``."""
    snapshot = Snapshot(started_at, known)
    codes: set[str] = set()
    for block in blocks:
        snapshot.rows += len(block)
        for raw in block:
            row_digest = digest(raw)
            if row_digest in known:
                known.remove(row_digest)
                continue
            code = text_of(raw[0]) or ""
            if code:
                if code in codes:
                    snapshot.repeated.add(code)
                codes.add(code)
            snapshot.changed.append(code, row_digest, raw)
    return snapshot
