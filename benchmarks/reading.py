"""What a poll costs, beside the bare driver reading and discarding the same rows in the same run.

    python -m benchmarks.reading [--rows 1000000] [--rounds 5] [--databases postgresql sqlite] [--kinds full changed_by]

The bare read is psycopg2's server-side cursor (sqlite3's cursor) over all ten columns of the view, ten thousand rows at
a time, nothing kept. A poll is measured from its first question to the commit of what it found, by the services as the
daemon has them, on a SQLite store of its own (WAL, FULL): `resident` in a process that goes on polling, as the daemon
does, `fresh` in a new process for each poll, as `run --once` does (the interpreter's start is not counted). What is
committed is carried over from the log into the store's file afterwards, by the daemon in a thread of its own.
Changed dossiers are closed, or taken up again, lie anywhere in the view, and have no notice, so that only reading,
comparing and the committed transitions are measured. Both sides take turns; medians; peak memory is the kernel's. By
date, `own ms` is what is left when the bare driver's time for the same questions is taken off.

Many agencies are measured by `benchmarks.agencies`, other programs by `benchmarks.peers`. Not covered: a network in
between, views over joins, an agency's server that has other work to do.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2
import structlog

from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.adapters.memory import keep_what_started
from smsd.adapters.store.checkpoints import EVERY
from smsd.adapters.store.engine import Database
from smsd.adapters.store.journal import Journal
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.core.clock import SystemClock
from smsd.core.policy import ReadKind, ReadRule
from smsd.services.alarms import AlarmBell
from smsd.services.applying import Orders
from smsd.services.polling import AgencyPlan, Poller
from smsd.services.reading import OVERLAP
from tests.support.builders import a_policy
from tests.support.postgres import PostgresServer

VIEW = "smsd_dossiers"
BARE_ROWS = 10_000
LONG = timedelta(minutes=30)
FEW = 100
KINDS = {
    "postgresql": (ReadKind.FULL, ReadKind.FINGERPRINT, ReadKind.CHANGED_BY),
    "sqlite": (ReadKind.FULL, ReadKind.CHANGED_BY),
}
POSTGRES_SQL = """
CREATE TABLE {table} (dossier_code text PRIMARY KEY, phone text, step text, status text, procedure_code text,
  procedure_name text, received_at timestamp, due_at timestamp, resolved_at timestamp, updated_at timestamp);
INSERT INTO {table} SELECT
  '000.00.' || lpad((i % 13)::text, 2, '0') || '.H32-' || to_char(date '2026-01-01' + i % 300, 'YYMMDD') || '-'
    || lpad(i::text, 7, '0'),
  '09' || lpad((i::bigint * 7919 % 100000000)::text, 8, '0'),
  'Thẩm định', 'Đang xử lý', '1.00' || i % 200, 'Thủ tục hành chính số ' || i % 200,
  timestamp '2026-01-01' + i % 300 * interval '1 day', timestamp '2027-01-20' + i % 300 * interval '1 day', NULL,
  timestamp '2026-01-01' + i % 300 * interval '1 day' + i % 480 * interval '1 minute'
FROM generate_series(1, {rows}) AS i;
CREATE INDEX ON {table} (updated_at);
CREATE VIEW {view} AS SELECT * FROM {table};
"""
_SQLITE = """
CREATE TABLE dossiers (dossier_code TEXT PRIMARY KEY, phone, step, status, procedure_code, procedure_name, received_at,
  due_at, resolved_at, updated_at);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
INSERT INTO dossiers SELECT
  printf('000.00.%02d.H32-%07d', i % 13, i), printf('09%08d', i * 7919 % 100000000), 'Thẩm định', 'Đang xử lý',
  '1.00' || i % 200, 'Thủ tục hành chính số ' || i % 200, datetime('2026-01-01', (i % 300) || ' days'),
  datetime('2027-01-20', (i % 300) || ' days'), NULL, datetime('2026-01-01', (i % 300) || ' days') FROM n;
CREATE INDEX updated ON dossiers (updated_at);
CREATE VIEW smsd_dossiers AS SELECT * FROM dossiers;
"""
_MOVE = "step = CASE step WHEN 'Thẩm định' THEN 'Kết thúc' ELSE 'Thẩm định' END"


# the two databases


class Postgres:
    """A server of the benchmark's own."""

    kind = "postgresql"

    def __init__(self, folder: Path, rows: int) -> None:
        self.server = PostgresServer(folder / "postgres")
        self.server.execute("CREATE DATABASE agency TEMPLATE template0")
        self.server.execute(POSTGRES_SQL.format(table="dossiers", view=VIEW, rows=rows), "agency")
        self.server.execute("VACUUM ANALYZE dossiers", "agency")
        self.url = self.server.url("agency")

    def connect(self) -> Any:
        return psycopg2.connect(host="127.0.0.1", port=self.server.port, user="postgres", dbname="agency")

    def bare_read(self) -> None:
        with closing(self.connect()) as connection, connection.cursor(name="bare") as cursor:
            cursor.itersize = BARE_ROWS
            cursor.execute(f"SELECT * FROM {VIEW}")
            while cursor.fetchmany(BARE_ROWS):
                pass

    def since(self, minutes: float) -> Callable[[], object]:
        """What asks for the rows of so many minutes before the last change, on a connection of its own."""
        connection = self.connect()
        connection.autocommit = True
        cursor = connection.cursor()

        def ask() -> object:
            cursor.execute(f"SELECT max(updated_at) FROM {VIEW}")
            (newest,) = cursor.fetchone()
            cursor.execute(
                f"SELECT * FROM {VIEW} WHERE updated_at >= %s OR updated_at IS NULL",
                (newest - timedelta(minutes=minutes),),
            )
            return cursor.fetchall()

        return ask

    def change(self, every: int, turn: int, *, dated: bool) -> int:
        """Move about every so-manieth dossier, others each turn; how many it was."""
        date = ", updated_at = localtimestamp" if dated else ""
        sql = f"UPDATE dossiers SET {_MOVE}{date} WHERE abs(hashtext(dossier_code)::bigint) %% %s = %s"
        with closing(self.connect()) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql, (every, turn % every))
                changed = int(cursor.rowcount)
                cursor.execute("VACUUM dossiers")
        return changed

    def close(self) -> None:
        self.server.stop("immediate")


class Sqlite:
    """A file."""

    kind = "sqlite"

    def __init__(self, folder: Path, rows: int) -> None:
        self.path = folder / "agency.db"
        self.url = f"sqlite:///{self.path}"
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript("PRAGMA journal_mode = WAL;" + _SQLITE.format(rows=rows))

    def bare_read(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            cursor = connection.execute(f"SELECT * FROM {VIEW}")
            while cursor.fetchmany(BARE_ROWS):
                pass

    def since(self, minutes: float) -> Callable[[], object]:
        """What asks for the rows of so many minutes before the last change, on a connection of its own."""
        connection = sqlite3.connect(self.path)

        def ask() -> object:
            before = f"datetime((SELECT max(updated_at) FROM {VIEW}), '-{minutes} minutes')"
            sql = f"SELECT * FROM {VIEW} WHERE updated_at >= {before} OR updated_at IS NULL"
            return connection.execute(sql).fetchall()

        return ask

    def change(self, every: int, turn: int, *, dated: bool) -> int:
        """Move every so-manieth dossier, others each turn; how many it was."""
        date = ", updated_at = datetime('now', 'localtime')" if dated else ""
        sql = f"UPDATE dossiers SET {_MOVE}{date} WHERE rowid % ? = ?"
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(sql, (every, turn % every)).rowcount

    def close(self) -> None:
        """Nothing runs."""


# the process that polls


class Agency:
    """One agency and the services that poll it, as the daemon has them."""

    def __init__(self, url: str, store: Path, kind: ReadKind, *, resident: bool) -> None:
        self.database = Database(f"sqlite:///{store}")
        self.database.open()
        if resident:
            self.database.checkpoint_aside()
        clock, snapshots, journal = SystemClock(), SnapshotStore(self.database), Journal(self.database)
        self.poller = Poller(snapshots, journal, AlarmBell(journal, clock), clock)
        changed_by = "updated_at" if kind is ReadKind.CHANGED_BY else None
        self.policy = replace(a_policy(), reading=ReadRule(kind, changed_by, LONG), hold_above=10**7)
        source = AgencySource("agency", url, VIEW, timeout=LONG)
        self.plan = AgencyPlan(self.policy, "source", "positions", LONG, lambda: open_reader(source))
        self.reader = open_reader(source)
        keep_what_started()

    def poll(self) -> dict[str, Any]:
        begun = time.perf_counter()
        orders = Orders(self.policy, "source", "positions")
        applied = self.poller.poll(self.plan, orders, self.reader)
        return {
            "seconds": time.perf_counter() - begun,
            "kind": applied.kind.value,
            "rows": applied.rows,
            "transitions": applied.transitions,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def worker(arguments: Sequence[str]) -> None:
    """Poll at every line of input, and answer with a line."""
    url, store, kind, process = arguments
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    agency: Agency | None = None
    for _ in sys.stdin:
        begun = time.perf_counter()
        agency = agency or Agency(url, Path(store), ReadKind(kind), resident=process == "resident")
        opened = time.perf_counter() - begun
        told = agency.poll()
        print(json.dumps(told | {"seconds": told["seconds"] + opened}), flush=True)
    if agency is not None:
        agency.database.close()


@contextmanager
def polling(url: str, store: Path, kind: ReadKind, process: str = "fresh") -> Iterator[Any]:
    """What polls when it is called."""
    command = [sys.executable, "-m", "benchmarks.reading", "worker", url, str(store), kind.value, process]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None

        def poll() -> dict[str, Any]:
            worker.stdin.write("poll\n")
            worker.stdin.flush()
            told: dict[str, Any] = json.loads(worker.stdout.readline())
            return told

        yield poll
        worker.stdin.close()


@dataclass
class Series:
    """One line of the table."""

    database: str
    kind: str
    process: str
    changed: int
    seconds: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    asking: list[float] = field(default_factory=list)
    """By date: what the bare driver takes for the same questions."""
    peak_mb: float = 0.0

    def add(self, told: dict[str, Any], changed: int, bare: float, asking: float) -> None:
        assert told["kind"] in (self.kind, "full"), told
        assert told["transitions"] == changed, told
        self.seconds.append(told["seconds"])
        self.bare.append(bare)
        self.asking.append(asking)
        self.peak_mb = max(self.peak_mb, told["peak_mb"])

    def report(self) -> dict[str, Any]:
        ratios = sorted(own / bare for own, bare in zip(self.seconds, self.bare, strict=True))
        return {
            "database": self.database,
            "kind": self.kind,
            "process": self.process,
            "changed": self.changed,
            "seconds": round(statistics.median(self.seconds), 4),
            "bare_seconds": round(statistics.median(self.bare), 3),
            "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(ratio, 3) for ratio in ratios],
            "own_ms": round(
                statistics.median(own - ask for own, ask in zip(self.seconds, self.asking, strict=True))
                * 1000,
                1,
            ),
            "peak_mb": round(self.peak_mb),
        }


def baseline(database: Any, folder: Path) -> tuple[Path, dict[str, Any]]:
    """A store in which everything is known, and what that took."""
    store = folder / f"{database.kind}.db"
    print(f"{database.kind}: baseline", file=sys.stderr, flush=True)
    with polling(database.url, store, ReadKind.FULL) as poll:
        return store, poll()


def measure(database: Any, kind: ReadKind, rows: int, rounds: int, known: Path) -> list[Series]:
    """No change, a hundred, and one in a hundred, in a process that goes on and in new ones."""
    store = known.with_name(f"{database.kind}-{kind.value}.db")
    shutil.copyfile(known, store)
    by_date = kind is ReadKind.CHANGED_BY
    ask = database.since(OVERLAP / timedelta(minutes=1)) if by_date else lambda: None
    turns = count()
    found: list[Series] = []

    def round_of(series: Series, every: int, poll: Any) -> None:
        if series.process == "resident":
            time.sleep(EVERY + 1)  # what the last poll wrote is carried over into the store's file beside it
        bare = _seconds(database.bare_read)
        changed = database.change(every, next(turns), dated=by_date) if every else 0
        series.add(poll(), changed, bare, _seconds(ask))

    print(f"{database.kind}, {kind.value}", file=sys.stderr, flush=True)
    # few changes first: by date, what changed of late is read once more
    for changed in (0, FEW, rows // 100):
        every = rows // changed if changed else 0
        resident, fresh = (Series(database.kind, kind.value, name, changed) for name in ("resident", "fresh"))
        with polling(database.url, store, kind, resident.process) as poll:
            for _ in range(2):  # sums are first taken by the second
                poll()
            for _ in range(rounds):
                round_of(resident, every, poll)
        for _ in range(rounds):
            with polling(database.url, store, kind) as poll:
                round_of(fresh, every, poll)
        found += [resident, fresh]
    return found


def _seconds(call: Any) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


# the command


def one(rows: int, rounds: int, databases: Sequence[str], kinds: Sequence[str]) -> dict[str, Any]:
    """One large agency, every way of reading it."""
    lines: list[dict[str, Any]] = []
    baselines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="smsd-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for kind in databases:
            database = {"postgresql": Postgres, "sqlite": Sqlite}[kind](folder, rows)
            known, first = baseline(database, folder)
            baselines.append(
                {"database": kind, "seconds": round(first["seconds"]), "peak_mb": round(first["peak_mb"])}
            )
            for read_kind in [found for found in KINDS[kind] if found in kinds]:
                lines += [series.report() for series in measure(database, read_kind, rows, rounds, known)]
            database.close()
    print(f"{rows:,} rows, medians of {rounds}; bare read = 1")
    print(
        f"{'database':<11} {'read':<12} {'process':<9} {'changed':>9} {'seconds':>9} {'bare':>7} {'ratio':>7} "
        f"{'own ms':>7} {'MB':>5}"
    )
    for line in lines:
        print(
            f"{line['database']:<11} {line['kind']:<12} {line['process']:<9} {line['changed']:>9,} "
            f"{line['seconds']:>9.3f} {line['bare_seconds']:>7.2f} {line['ratio']:>7.3f} "
            f"{line['own_ms'] if line['kind'] == 'changed_by' else '':>7} {line['peak_mb']:>5}"
        )
    for first in baselines:
        print(f"{first['database']:<11} baseline: {first['seconds']} s, {first['peak_mb']} MB")
    return {"rows": rows, "rounds": rounds, "baselines": baselines, "lines": lines}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then JSON."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["worker"]:
        worker(given[1:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--databases", nargs="+", choices=tuple(KINDS), default=list(KINDS))
    parser.add_argument("--kinds", nargs="+", choices=tuple(ReadKind), default=list(ReadKind))
    options = parser.parse_args(given)
    print(json.dumps(one(options.rows, options.rounds, options.databases, options.kinds)))


if __name__ == "__main__":
    main()
