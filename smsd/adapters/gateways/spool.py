"""The spool: messages become lines of a file and go nowhere, for trials and for whoever fetches them from there.

A message is taken once its line is on the disk. The same id is written once, however often it is handed over.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime, tzinfo
from pathlib import Path

import structlog

from smsd.adapters.folders import sync_folder
from smsd.core.clock import local_day
from smsd.core.model import Outcome, Verdict
from smsd.core.phones import format_number
from smsd.services.ports import CheckResult, Done, Outgoing

log = structlog.get_logger(__name__)

_DELIVERED = Outcome(Verdict.DELIVERED)
_BLOCK = 1 << 20
_ID = re.compile(rb'^\{"id": ?"((?:[^"\\]|\\.)*)"', re.MULTILINE)


class SpoolGateway:
    """Appends each message to ``<directory>/<YYYY-MM-DD>.jsonl``, the day being that of ``zone``."""

    window = 500
    """One write and one sync for so many: none of them stays unknown, for the files tell."""
    repeats_safely = True

    def __init__(
        self, directory: Path, *, sender: str, zone: tzinfo, number_format: str, name: str = "spool"
    ) -> None:
        self.name = name
        self._directory = directory
        self._sender = sender
        self._zone = zone
        self._number_format = number_format
        self._lock = threading.Lock()
        self._written = _WrittenIds()
        self._failing = False

    def submit(self, messages: Sequence[Outgoing], done: Done) -> None:
        """Write the messages, one write and one sync for those of a day."""
        by_day: dict[date, list[Outgoing]] = {}
        for message in messages:
            by_day.setdefault(local_day(message.at, self._zone), []).append(message)
        for day, batch in by_day.items():
            outcome = self._hand_over(day, batch)
            for message in batch:
                done(message.id, outcome)

    def find(self, message_id: str, since: datetime) -> Outcome | None:
        """Delivered if the message stands in a file of the days since."""
        first = local_day(since, self._zone)
        try:
            with self._lock:
                files = [path for day, path in self._files() if day >= first]
                return _DELIVERED if self._written.among(files, {message_id}) else None
        except OSError as error:
            self._complain("spool_not_read", error)
            return None

    def check(self) -> list[CheckResult]:
        """Whether files can be written where they shall be, and whether others can read them. Changes nothing."""
        directory = self._directory
        existing = next(path for path in (directory, *directory.parents) if path.exists())
        mend = "make the directory and give it to the user that runs the daemon, mode 0700"
        if not existing.is_dir():
            return [CheckResult("spool", "failed", f"{existing} is not a directory", mend)]
        if not os.access(existing, os.W_OK | os.X_OK):
            return [CheckResult("spool", "failed", f"{directory} cannot be written by this user", mend)]
        if existing == directory and directory.stat().st_mode & 0o077:
            hint = f"the files hold numbers and texts: chmod 700 {directory}"
            return [CheckResult("spool", "warning", f"{directory} is open to other users", hint)]
        return [CheckResult("spool", "ok", f"messages are written to {directory} and go nowhere")]

    def purge(self, before: date) -> int:
        """Remove the files of days before a day, as retention asks; returns how many."""
        removed = 0
        with self._lock:
            try:
                for day, path in self._files():
                    if day < before:
                        path.unlink()
                        self._written.forget(path)
                        removed += 1
            except OSError as error:
                self._complain("spool_not_purged", error)
        return removed

    def close(self) -> None:
        """Nothing is ever under way: what was handed over is written."""

    def _hand_over(self, day: date, batch: Sequence[Outgoing]) -> Outcome:
        """What became of a batch: all of it is on the disk, or none of it."""
        try:
            with self._lock:
                self._write(day, batch)
        except _PerhapsWrittenError as error:
            self._complain("spool_not_written", error.fault)
            return Outcome(Verdict.UNKNOWN, "perhaps_written", self._described(error.fault))
        except OSError as error:
            self._complain("spool_not_written", error)
            return Outcome(Verdict.RETRY, "not_written", self._described(error))
        self._failing = False
        return _DELIVERED

    def _write(self, day: date, batch: Sequence[Outgoing]) -> None:
        repeats = {message.id for message in batch if message.repeat}
        known = self._written.among([path for _, path in self._files()], repeats) if repeats else set()
        lines = {message.id: self._line(message) for message in batch if message.id not in known}
        if lines:
            self._make_directory()
            _append(self._directory / f"{day.isoformat()}.jsonl", "".join(lines.values()))

    def _line(self, message: Outgoing) -> str:
        record = {
            "id": message.id,
            "to": format_number(message.phone, self._number_format),
            "sender": self._sender,
            "text": message.text,
            "kind": message.kind,
            "agency": message.agency,
            "dossier_code": message.dossier_code,
            "at": message.at.astimezone(self._zone).isoformat(timespec="milliseconds"),
        }
        return json.dumps(record, ensure_ascii=False) + "\n"

    def _make_directory(self) -> None:
        if not self._directory.is_dir():
            self._directory.parent.mkdir(parents=True, exist_ok=True)
            self._directory.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._directory.parent)

    def _files(self) -> list[tuple[date, Path]]:
        """The spool's files with their days, oldest first; other files are none of ours."""
        found = []
        for path in self._directory.glob("*.jsonl"):
            with suppress(ValueError):
                found.append((date.fromisoformat(path.stem), path))
        return sorted(found)

    def _described(self, error: OSError) -> str:
        return f"{error.strerror or type(error).__name__} ({self._directory})"

    def _complain(self, event: str, error: OSError) -> None:
        """One line when a fault begins; the next only after something was written again."""
        if not self._failing:
            log.warning(event, error=error.strerror or type(error).__name__, directory=str(self._directory))
        self._failing = True


class _PerhapsWrittenError(Exception):
    """A write failed and could not be taken back: some lines may stay."""

    def __init__(self, fault: OSError) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _WrittenIds:
    """The ids that stand in the files. Each file is read once; later only what was appended."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[int, set[bytes]]] = {}

    def among(self, files: Iterable[Path], ids: Collection[str]) -> set[str]:
        """Those of the ids that stand in one of the files. Raises OSError."""
        wanted = {json.dumps(id_, ensure_ascii=False)[1:-1].encode("utf-8", "replace"): id_ for id_ in ids}
        found: set[str] = set()
        for path in files:
            found.update(wanted[id_] for id_ in wanted.keys() & self._ids_of(path))
        return found

    def forget(self, path: Path) -> None:
        """A file is gone."""
        self._seen.pop(path, None)

    def _ids_of(self, path: Path) -> set[bytes]:
        read_to, ids = self._seen.get(path, (0, set()))
        if path.stat().st_size < read_to:  # another file under the same name
            read_to, ids = 0, set()
        for block in _whole_lines(path, read_to):
            ids.update(_ID.findall(block))
            read_to += len(block)
        self._seen[path] = (read_to, ids)
        return ids


def _whole_lines(path: Path, offset: int) -> Iterator[bytes]:
    """A file's content from an offset in blocks of whole lines. A last line without an end is left out."""
    with path.open("rb") as file:
        file.seek(offset)
        rest = b""
        while block := file.read(_BLOCK):
            whole, newline, tail = (rest + block).rpartition(b"\n")
            if newline:
                yield whole + newline
            rest = tail


def _append(path: Path, lines: str) -> None:
    """Append whole lines and wait until they are on the disk, or leave the file as it was.

    Raises OSError if nothing was written, `_PerhapsWrittenError` if that is not certain.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        length = _mended_length(descriptor, path)
        try:
            _write_all(descriptor, lines.encode("utf-8", "replace"))
            os.fsync(descriptor)
            if length == 0:
                sync_folder(path.parent)
        except OSError as error:
            _take_back(descriptor, length, error)
            raise
    finally:
        os.close(descriptor)


def _mended_length(descriptor: int, path: Path) -> int:
    """The file's length without a last line that a crash cut off; it is removed, for nobody was told it was taken."""
    size = os.fstat(descriptor).st_size
    end = size
    while end and os.pread(descriptor, 1, end - 1) != b"\n":
        start = max(0, end - _BLOCK)
        end = start + os.pread(descriptor, end - start, start).rfind(b"\n") + 1
    if end < size:
        os.ftruncate(descriptor, end)
        log.warning("spool_line_cut_off", file=path.name, bytes=size - end)
    return end


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _take_back(descriptor: int, length: int, fault: OSError) -> None:
    try:
        os.ftruncate(descriptor, length)
        os.fsync(descriptor)
    except OSError:
        raise _PerhapsWrittenError(fault) from None
