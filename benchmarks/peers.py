"""What programs made for the same end cost: which dossiers changed since the last time, kept durably.

    python -m benchmarks.peers [--rows 1000000] [--rounds 5] [--shares 0.0001 0.01]

smsd and its peers are asked in turns for the same changes of the same view in the same PostgreSQL, and each must tell
as many dossiers as were changed. Read and compared are the columns that decide what smsd does. The peers run in
an environment of their own (build/peers-venv, made on demand from peers-requirements.txt), each in a process of its
own: `resident` goes on from round to round, `fresh` is a new process each time (the interpreter's start and imports are
not counted). The bare read is that of `benchmarks.reading`; medians; peak memory is that of the asking process.

- dlt: sql_database through ConnectorX, merged into a DuckDB file by dossier_code, unchanged rows skipped (`cdc`); the
  changed ones bear the identity of the load. Those that vanished are removed from the file without being named.
- data-diff: joins two tables of one PostgreSQL. The work, and its memory, are the agency's server's, which has to hold
  a copy of the last state, a numeric key and an index on it. It keeps no state: what it found is written into the copy
  here. The server runs with fsync off, which makes that cheaper than it would be.

smsd moreover finds out positions and commits transitions, with fsync, and tells vanished rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Protocol

# smsd is not installed where the peers are: what needs it is imported where it is used

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "benchmarks" / "peers-requirements.txt"
ENVIRONMENT = ROOT / "build" / "peers-venv"
COLUMNS = ("dossier_code", "phone", "step", "status", "due_at", "resolved_at")
VIEW = "smsd_dossiers"
SHARES = (0.0001, 0.01)
QUIET = {
    "DO_NOT_TRACK": "1",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "true",
    "DATA_WRITER__COMPRESSION": "none",
    "LOAD__DELETE_COMPLETED_JOBS": "true",
}
"""Nothing leaves the machine, nothing is printed; temporary files are written in the quickest way."""
CORES = 2


# in the peers' processes


class Peer(Protocol):
    """Something that tells what changed."""

    needs: ClassVar[tuple[str, ...]]

    def __init__(self, url: str, folder: Path) -> None: ...

    def changed(self) -> set[str]:
        """The codes of the dossiers that changed since it was last asked; all at first, or none."""


class Dlt:
    """dlt into DuckDB."""

    needs: ClassVar[tuple[str, ...]] = (
        "dlt.sources.sql_database",
        "dlt.common.libs.pyarrow",
        "dlt.destinations.impl.duckdb.duck",
        "duckdb",
        "connectorx",
        "psycopg2",
    )
    how: ClassVar[dict[str, Any]] = {"disposition": "merge", "strategy": "cdc", "skip_unchanged_rows": True}

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._file = folder / "dlt.duckdb"
        self._duckdb = import_module("duckdb")
        dlt = import_module("dlt")
        self._pipeline = dlt.pipeline(
            "peer",
            destination=dlt.destinations.duckdb(str(self._file)),
            dataset_name="agency",
            pipelines_dir=str(folder / "pipelines"),
        )

    def changed(self) -> set[str]:
        table = import_module("dlt.sources.sql_database").sql_table(
            credentials=self._url,
            table=VIEW,
            backend="connectorx",
            included_columns=list(COLUMNS),
            primary_key="dossier_code",
            write_disposition=self.how,
        )
        (load,) = self._pipeline.run(table, loader_file_format="parquet").loads_ids
        with self._duckdb.connect(str(self._file)) as connection:
            sql = f"SELECT dossier_code FROM agency.{VIEW} WHERE _dlt_load_id = ?"
            return {code for (code,) in connection.execute(sql, [load]).fetchall()}


class DataDiff:
    """data-diff of the view and a copy of its last state, which is brought up to date with what was found."""

    needs: ClassVar[tuple[str, ...]] = (
        "data_diff",
        "data_diff.joindiff_tables",
        "psycopg2",
        "psycopg2.extras",
    )
    _columns = ", ".join(COLUMNS)
    _tables = f"""
CREATE INDEX ON dossiers ((right(dossier_code, 7)::int));
CREATE VIEW keyed AS SELECT right(dossier_code, 7)::int AS id, {_columns} FROM {VIEW};
CREATE TABLE previous AS SELECT * FROM keyed;
ALTER TABLE previous ADD PRIMARY KEY (id);
ANALYZE dossiers, previous;
"""
    _values = "(%s::int, %s, %s, %s, %s, %s::timestamp, %s::timestamp)"

    def __init__(self, url: str, folder: Path) -> None:
        del folder
        tool, psycopg2 = import_module("data_diff"), import_module("psycopg2")
        tool.disable_tracking()
        login = url.replace("+psycopg2", "").replace("postgres@", "postgres:any@")  # it asks for a password
        self._own = psycopg2.connect(login)
        self._prepare()
        self._last = tool.connect_to_table(login, "previous", "id", thread_count=CORES, extra_columns=COLUMNS)
        self._now = tool.TableSegment(self._last.database, ("keyed",), ("id",), extra_columns=COLUMNS)
        differ = import_module("data_diff.joindiff_tables").JoinDiffer
        # every part costs a round of queries: as many parts as the machine can work on at once
        self._differ = type("Differ", (differ,), {"bisection_factor": CORES})

    def _prepare(self) -> None:
        with self._own, self._own.cursor() as cursor:
            cursor.execute("SELECT to_regclass('previous') IS NULL")
            if cursor.fetchone()[0]:
                cursor.execute(self._tables)

    def changed(self) -> set[str]:
        differ = self._differ(max_threadpool_size=CORES, validate_unique_key=False)
        found = list(differ.diff_tables(self._last, self._now))
        gone = [int(row[0]) for sign, row in found if sign == "-"]
        come = [row for sign, row in found if sign == "+"]
        with self._own, self._own.cursor() as cursor:
            cursor.execute("DELETE FROM previous WHERE id = ANY(%s)", (gone,))
            insert = f"INSERT INTO previous (id, {self._columns}) VALUES %s"
            import_module("psycopg2.extras").execute_values(
                cursor, insert, come, self._values, page_size=1000
            )
        return {row[1] for _, row in found}


PEERS: dict[str, type[Peer]] = {"dlt": Dlt, "data-diff": DataDiff}


def worker(name: str, url: str, folder: Path) -> None:
    """Ask the peer at every line of input, and answer with a line."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a peer prints is no answer
    for module in PEERS[name].needs:
        import_module(module)
    peer: Peer | None = None
    for _ in sys.stdin:
        begun = time.perf_counter()
        peer = peer or PEERS[name](url, folder)
        changed = len(peer.changed())
        seconds = time.perf_counter() - begun
        status = Path("/proc/self/status").read_text(encoding="ascii")
        peak_mb = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        print(
            json.dumps({"seconds": seconds, "changed": changed, "peak_mb": peak_mb}), file=answers, flush=True
        )


# around them

Ask = Callable[[], dict[str, Any]]


def make_environment() -> None:
    """Install the peers, unless these versions are installed."""
    wanted, installed = REQUIREMENTS.read_text(encoding="utf-8"), ENVIRONMENT / "installed.txt"
    if installed.exists() and installed.read_text(encoding="utf-8") == wanted:
        return
    print(f"making {ENVIRONMENT.relative_to(ROOT)}", file=sys.stderr, flush=True)
    venv.create(ENVIRONMENT, clear=True, with_pip=True)
    pip = [str(ENVIRONMENT / "bin" / "pip"), "--disable-pip-version-check", "install", "-qq", "--no-deps"]
    subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=True)
    shutil.copy(REQUIREMENTS, installed)


@contextmanager
def peer_process(name: str, url: str, folder: Path) -> Iterator[Ask]:
    """A peer in a process of its own, that tells what changed when it is called."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | QUIET | {"HOME": str(folder), "DLT_DATA_DIR": str(folder)}
    command = [
        str(ENVIRONMENT / "bin" / "python"),
        "-m",
        "benchmarks.peers",
        "worker",
        name,
        url,
        str(folder),
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=environment) as process:
        questions, answers = process.stdin, process.stdout
        assert questions is not None
        assert answers is not None

        def ask() -> dict[str, Any]:
            questions.write("ask\n")
            questions.flush()
            told = answers.readline()
            if not told:
                raise RuntimeError(f"{name} has ended; see above")
            answer: dict[str, Any] = json.loads(told)
            return answer

        yield ask
        questions.close()


@contextmanager
def smsd_process(url: str, store: Path, kind: str) -> Iterator[Ask]:
    """A polling process of smsd."""
    from benchmarks.reading import polling  # noqa: PLC0415
    from smsd.core.policy import ReadKind  # noqa: PLC0415

    with polling(url, store, ReadKind(kind)) as poll:

        def ask() -> dict[str, Any]:
            told = poll()
            return {**told, "changed": told["transitions"]}

        yield ask


@dataclass
class Series:
    """One line of the table; about so many dossiers are changed."""

    side: str
    process: str
    changed: int
    seconds: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)
    peak_mb: float = 0.0

    def add(self, told: dict[str, Any], changed: int, bare: float) -> None:
        assert told["changed"] == changed, (self.side, changed, told)
        self.seconds.append(told["seconds"])
        self.bare.append(bare)
        self.peak_mb = max(self.peak_mb, told["peak_mb"])

    def report(self, smsd: Series) -> dict[str, Any]:
        return {
            "side": self.side,
            "process": self.process,
            "changed": self.changed,
            "seconds": round(statistics.median(self.seconds), 3),
            "bare_seconds": round(statistics.median(self.bare), 3),
            "ratio": _median_ratio(self.seconds, self.bare),
            "times_smsd": _median_ratio(self.seconds, smsd.seconds),
            "peak_mb": round(self.peak_mb),
        }


def _median_ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(ones, others, strict=True)), 3)


class Run:
    """All sides on one database."""

    def __init__(self, database: Any, rows: int, rounds: int, folder: Path) -> None:
        self._database = database
        self._rows, self._rounds = rows, rounds
        self._turn = 0
        url = database.url
        self._sides: dict[str, Callable[[], AbstractContextManager[Ask]]] = {
            "smsd full": lambda: smsd_process(url, folder / "full.db", "full"),
            "smsd fingerprint": lambda: smsd_process(url, folder / "fingerprint.db", "fingerprint"),
            "dlt": lambda: peer_process("dlt", url, folder / "dlt"),
            "data-diff": lambda: peer_process("data-diff", url, folder / "data-diff"),
        }

    def measure(self, shares: Sequence[float]) -> list[dict[str, Any]]:
        """All shares of changed rows, in processes that go on and in new ones."""
        lines = []
        with ExitStack() as stack:
            asks = {side: stack.enter_context(process()) for side, process in self._sides.items()}
            for side, ask in asks.items():
                print(f"{side}: baseline of {self._rows:,}", file=sys.stderr, flush=True)
                ask()
                told = ask()
                assert told["changed"] == 0, (side, told)
            for share in shares:
                lines += self._rounds_of(share, "resident", lambda side: asks[side]())
        for share in shares:
            lines += self._rounds_of(share, "fresh", self._ask_new)
        return lines

    def _ask_new(self, side: str) -> dict[str, Any]:
        with self._sides[side]() as ask:
            return ask()

    def _rounds_of(
        self, share: float, process: str, ask: Callable[[str], dict[str, Any]]
    ) -> list[dict[str, Any]]:
        every = round(1 / share)
        found = {side: Series(side, process, self._rows // every) for side in self._sides}
        names = list(found)
        for number in range(self._rounds):
            begun = time.perf_counter()
            self._database.bare_read()
            bare = time.perf_counter() - begun
            changed = self._database.change(every, self._turn, dated=False)
            self._turn += 1
            first = number % len(names)
            for side in names[first:] + names[:first]:
                found[side].add(ask(side), changed, bare)
        return [series.report(found["smsd full"]) for series in found.values()]


# the command


def run(rows: int, rounds: int, shares: Sequence[float]) -> dict[str, Any]:
    """Measure, and print a table."""
    from benchmarks.reading import Postgres  # noqa: PLC0415

    make_environment()
    with tempfile.TemporaryDirectory(prefix="smsd-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        database = Postgres(folder, rows)
        try:
            lines = Run(database, rows, rounds, folder).measure(shares)
        finally:
            database.close()
    print(f"{rows:,} rows, medians of {rounds}; ratio: bare read = 1")
    print(
        f"{'side':<17} {'process':<9} {'changed':>9} {'seconds':>8} {'ratio':>6} {'× smsd full':>12} {'MB':>5}"
    )
    for line in lines:
        print(
            f"{line['side']:<17} {line['process']:<9} {line['changed']:>9,} {line['seconds']:>8.3f} "
            f"{line['ratio']:>6.2f} {line['times_smsd']:>12.2f} {line['peak_mb']:>5}"
        )
    return {"rows": rows, "rounds": rounds, "lines": lines}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, then JSON."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["worker"]:
        name, url, folder = given[1:]
        worker(name, url, Path(folder))
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES))
    options = parser.parse_args(given)
    print(json.dumps(run(options.rows, options.rounds, options.shares)))


if __name__ == "__main__":
    main()
