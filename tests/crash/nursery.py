"""A warmed-up process that gives birth to those that live the day, so that each starts in milliseconds.

    python -m tests.crash.nursery FOLDER [--repeats-safely] [--first-start]

It has imported everything, parsed the configuration and compiled the statements; what it forks opens its own
connections. Each number read from standard input is the point at which the next day ends for the first time; a new
process then lives it to its end. The answer is one JSON object: how the processes ended, and the points passed where
none was given (0). ``--first-start``: there is no store yet, and the day is over after its first moment.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Engine

from smsd.adapters.store.engine import Database
from smsd.installation import Installation, read_installation
from smsd.logs import configure_for_daemon
from tests.crash.day import Day, Places, prepare, script
from tests.crash.points import CRASHED, Fuse
from tests.store.empty import copy_empty_store

ROOT = Path(__file__).parents[2]


class WarmDatabase(Database):
    """Opened with an engine that has compiled its statements already and holds no connection."""

    def __init__(self, url: str, engine: Engine | None = None) -> None:
        self._warm = engine
        super().__init__(url)

    def _make_engine(self) -> Engine:
        return self._warm or super()._make_engine()


class Births:
    """The forking side."""

    def __init__(self, folder: Path, *, repeats_safely: bool, first_start: bool) -> None:
        self._repeats_safely = repeats_safely
        self._first_start = first_start
        self.places = prepare(folder)
        self._log = folder / "log.jsonl"
        self.installation: Installation = read_installation(self.places.office / "smsd.yaml", {})
        self._engine: Engine | None = None

    def warm_up(self) -> None:
        """Live a day in this process and keep what was compiled."""
        self._clean()
        day = self._day(Fuse(0, self.places.crash))
        day.live()
        self._engine = day.database.engine
        assert threading.active_count() == 1, "a process with threads cannot be forked safely"
        gc.freeze()

    def live(self, crash_at: int) -> dict[str, object]:
        """One day, in one process or in two."""
        self._clean()
        ended = [self._fork(crash_at)]
        if ended == [CRASHED]:
            ended.append(self._fork(0))
        points = self.places.world / "points"
        return {
            "ended": ended,
            "crash": self.places.crash.read_text() if self.places.crash.exists() else "",
            "points": json.loads(points.read_text()) if crash_at == 0 and points.exists() else [],
        }

    def _fork(self, crash_at: int) -> int:
        process = os.fork()
        if process == 0:
            self._be_born(crash_at)
        _, status = os.waitpid(process, 0)
        return os.waitstatus_to_exitcode(status)

    def _be_born(self, crash_at: int) -> None:
        status = 1
        try:
            log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            fuse = Fuse(crash_at, self.places.crash)
            self._day(fuse).live()
            (self.places.world / "points").write_text(json.dumps(fuse.points))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _day(self, fuse: Fuse) -> Day:
        make = partial(WarmDatabase, engine=self._engine)
        moments = script()[:1] if self._first_start else script()
        return Day(self.places, self.installation, fuse, self._repeats_safely, moments, make)

    def _clean(self) -> None:
        """The office as it was installed, with an empty store unless the first start is to make it."""
        for path in (self.places.reports, self.places.world):
            shutil.rmtree(path, ignore_errors=True)
        for pattern in ("smsd.db*", "backup.db*"):
            for path in self.places.office.glob(pattern):
                path.unlink()
        self._log.unlink(missing_ok=True)
        self.places.world.mkdir()
        if not self._first_start:
            copy_empty_store(self.places.store)


@dataclass(frozen=True)
class Lived:
    """How a day's processes ended (0: by themselves), where the first one crashed, and every point if none did."""

    ended: list[int]
    crash: str
    points: list[str]


class Nursery:
    """The process from outside."""

    def __init__(self, folder: Path, *, repeats_safely: bool = False, first_start: bool = False) -> None:
        self.places = Places(folder)
        self._log = folder / "log.jsonl"
        chosen = {"--repeats-safely": repeats_safely, "--first-start": first_start}
        options = [option for option, given in chosen.items() if given]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery", str(folder), *options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def live(self, crash_at: int = 0) -> Lived:
        """Have a day lived. Its files stay until the next."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(crash_at, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, "the nursery has died"
        return Lived(**json.loads(answer))

    def log(self) -> str:
        """The end of what the day's processes logged."""
        return self._log.read_text(encoding="utf-8")[-3000:]

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


@contextmanager
def a_nursery(*, repeats_safely: bool = False, first_start: bool = False) -> Iterator[Nursery]:
    """In memory where there is such a folder: a process that ends leaves all it has written, whatever the disk does."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(prefix="smsd-crash-", dir=memory if memory.is_dir() else None) as folder,
        Nursery(Path(folder) / "day", repeats_safely=repeats_safely, first_start=first_start) as nursery,
    ):
        yield nursery


def main(folder: str, *options: str) -> None:
    """Serve until standard input ends."""
    births = Births(
        Path(folder), repeats_safely="--repeats-safely" in options, first_start="--first-start" in options
    )
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    configure_for_daemon()
    births.warm_up()
    for line in sys.stdin:
        print(json.dumps(births.live(int(line))), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
