"""Blanking one number in the files of a spool while the daemon appends to them.

A line keeps its place and its length, so that nothing that is written or counted meanwhile is disturbed, and its id,
by which repeats are told: a message that was erased is never written again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smsd.core.phones import numbers_in
from smsd.services.privacy import Spooled


@dataclass(frozen=True, slots=True)
class _Line:
    offset: int
    length: int
    record: dict[str, Any]


class SpoolErasure:
    """The files of one spool, as far as one number goes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, number: str) -> list[Spooled]:
        """The files that hold lines for a number. Raises OSError."""
        counted = ((path, sum(1 for _ in _lines_to(path, number))) for path in self._files())
        return [Spooled(str(path), lines) for path, lines in counted if lines]

    def erase(self, number: str, keep: Collection[str]) -> int:
        """Blank number and text in the lines for a number, but for these messages; how many lines. Raises OSError."""
        return sum(_erase_in(path, number, keep) for path in self._files())

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.jsonl"))


def _lines_to(path: Path, number: str) -> Iterator[_Line]:
    """The whole lines for a number. What is no message of a spool's is left alone."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                record = _record(line)
                if record is not None and number in numbers_in(str(record.get("to", ""))):
                    yield _Line(offset, len(line), record)
            offset += len(line)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _erase_in(path: Path, number: str, keep: Collection[str]) -> int:
    found = [line for line in _lines_to(path, number) if line.record.get("id") not in keep]
    if not found:
        return 0
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        for line in found:
            blank = json.dumps(line.record | {"to": "", "text": ""}, ensure_ascii=False).encode(
                "utf-8", "replace"
            )
            if len(blank) < line.length:  # always, for a line that a spool wrote
                os.pwrite(descriptor, blank.ljust(line.length - 1) + b"\n", line.offset)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return len(found)
