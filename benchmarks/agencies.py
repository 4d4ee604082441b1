"""Many agencies on one daemon: how old reads become, how much processor time and memory it takes.

    python -m benchmarks.agencies [--agencies 200] [--dossiers 20000] [--minutes 5]

All agencies are views of one PostgreSQL server on the same machine, each read every minute. Some of their dossiers
change all the while, ten in every tenth agency each ten seconds. Not covered: servers far away, views over joins.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.reading import POSTGRES_SQL
from tests.support.postgres import PostgresServer, wait_until
from tests.system.process import Daemon, Installed

CHANGES = 10
_CHANGE = (
    "UPDATE dossiers_{number:03} SET step = CASE step WHEN 'Thẩm định' THEN 'Kết thúc' ELSE 'Thẩm định' END "
    "WHERE dossier_code IN (SELECT dossier_code FROM dossiers_{number:03} OFFSET {turn} * 100 LIMIT 10)"
)


def many(agencies: int, dossiers: int, minutes: float) -> dict[str, Any]:
    """The daemon on so many agencies of one server, each polled every minute."""
    with tempfile.TemporaryDirectory(prefix="smsd-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = PostgresServer(folder / "postgres", max_connections=agencies + 50)
        server.execute("CREATE DATABASE province TEMPLATE template0")
        installed = Installed(
            folder / "etc",
            {
                "polling": {"interval": "60s", "timeout": "120s"},
                "gateway": {"type": "spool", "directory": str(folder / "spool")},
            },
        )
        for number in range(agencies):
            print(f"\ragency {number + 1} of {agencies}", end="", file=sys.stderr, flush=True)
            table, view = f"dossiers_{number:03}", f"smsd_dossiers_{number:03}"
            server.execute(POSTGRES_SQL.format(table=table, view=view, rows=dossiers), "province")
            installed.agency(f"agency-{number:03}", database=server.url("province"), view=view)
        print(file=sys.stderr)
        with Daemon(installed) as daemon:
            begun = time.monotonic()
            wait_until(lambda: len(daemon.logged("baseline_taken")) == agencies, 3600, 1)
            baseline = time.monotonic() - begun
            time.sleep(70)  # the polls put off by the baselines
            used, begun = _cpu_seconds(daemon.process.pid), time.monotonic()
            lags = []
            turn = changed = 0
            while time.monotonic() - begun < minutes * 60:
                for number in range(turn % 10, agencies, 10):
                    server.execute(_CHANGE.format(number=number, turn=turn), "province")
                    changed += CHANGES
                turn += 1
                time.sleep(10)
                status = installed.json("status")
                lags.append(max(agency["lag_seconds"] for agency in status["agencies"]))
            took = time.monotonic() - begun
            result = {
                "agencies": agencies,
                "dossiers_each": dossiers,
                "baseline_seconds": round(baseline),
                "oldest_read_seconds": round(max(lags), 1),
                "cpu_cores": round((_cpu_seconds(daemon.process.pid) - used) / took, 3),
                "memory_mb": _memory_mb(daemon.process.pid, "VmRSS"),
                "peak_mb": _memory_mb(daemon.process.pid, "VmHWM"),
                "changed": changed,
            }
        server.stop("immediate")
    return result


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _memory_mb(pid: int, which: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition(f"{which}:")[2].split()[0]) // 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, then JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agencies")
    parser.add_argument("--agencies", type=int, default=200)
    parser.add_argument("--dossiers", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=5.0)
    options = parser.parse_args(arguments)
    result = many(options.agencies, options.dossiers, options.minutes)
    print("\n".join(f"{name:<22} {value}" for name, value in result.items()))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
