"""The running daemon under load: how long a change takes to reach the gateway, and how much memory it needs.

    python -m benchmarks.daemon latency [--changes 2000] [--agencies 10] [--rounds 5]
    python -m benchmarks.daemon memory [--agencies 13] [--dossiers 20000] [--changed 200]

The daemon, the gateway (a Kannel-like HTTP peer) and PostgreSQL are processes of their own on this machine's loopback.
`latency` changes all dossiers at once right after a poll, the worst moment, and counts from each agency's commit to the
instant the gateway took the message; what is promised is ``interval + settle + 2 s`` for 99 of 100. `memory` reads the
peak resident set of the daemon from the kernel, after its baselines and a few minutes' worth of polls. Neither figure
covers a network between the machines, nor an agency database slower than this one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.agencyviews import AgencyDatabase, PostgresAgency, SqliteAgency
from tests.support.gatewayprocess import GatewayProcess
from tests.support.postgres import PostgresServer, wait_until
from tests.system.process import Daemon, Installed, zone_where_it_is

INTERVAL, SETTLE = 5.0, 2.0
PROMISED = INTERVAL + SETTLE + 2.0


def a_row(agency: str, number: int) -> dict[str, object]:
    day = datetime(2026, 8, 3) - timedelta(days=number % 30)  # noqa: DTZ001 - as agencies store it
    return {
        "dossier_code": f"000.00.12.H32-{agency}-{number:06}",
        "phone": f"0905{number % 1_000_000:06}",
        "step": "Thẩm định",
        "status": "Đang xử lý",
        "procedure_code": f"1.00{number % 50:04}",
        "procedure_name": f"Thủ tục hành chính số {number % 50}",
        "received_at": day.strftime("%Y-%m-%d %H:%M:%S"),
        "due_at": (day + timedelta(days=60)).strftime("%Y-%m-%d %H:%M:%S"),
        "updated_at": day.strftime("%Y-%m-%d %H:%M:%S"),
    }


@contextmanager
def surroundings(agencies: int, dossiers: int, *, interval: float) -> Iterator[dict[str, Any]]:
    """A PostgreSQL server, agencies half of them on it and half in SQLite files, a gateway, and an installation."""
    with tempfile.TemporaryDirectory(prefix="smsd-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres = PostgresServer(folder / "postgres")
        databases: dict[str, AgencyDatabase] = {}
        for number in range(agencies):
            id_ = f"agency-{number:02}"
            databases[id_] = (
                PostgresAgency(postgres, postgres.database())
                if number % 2
                else SqliteAgency(folder / f"{id_}.db")
            )
            databases[id_].insert([a_row(id_, n) for n in range(dossiers)])
        with GatewayProcess(folder / "sent.jsonl") as gateway:
            installed = Installed(
                folder / "etc",
                {
                    "timezone": zone_where_it_is(12),
                    "polling": {"interval": f"{interval:g}s"},
                    "notices": {"result_ready": {"settle": f"{SETTLE:g}s"}},
                    "gateway": {
                        "type": "kannel",
                        "url": gateway.url,
                        "username": "smsd",
                        "password": "sesame",
                    },
                },
            )
            for id_, database in databases.items():
                installed.agency(id_, database=database.url)
            try:
                yield {"installed": installed, "databases": databases, "gateway": gateway}
            finally:
                for database in databases.values():
                    database.close()
                postgres.stop("immediate")


def latency(agencies: int, changes: int, rounds: int) -> dict[str, Any]:
    """Change so many dossiers at once and follow each to the gateway."""
    each = changes // agencies
    found = []
    with surroundings(agencies, each * rounds, interval=INTERVAL) as around:
        databases, gateway = around["databases"], around["gateway"]
        with Daemon(around["installed"]) as daemon:
            wait_until(lambda: len(daemon.logged("baseline_taken")) == agencies, 60)
            for number in range(rounds):
                taken_before = len(gateway.messages())
                _wait_for_a_poll(around["installed"])
                changed_at = _make_ready(databases, number * each, each)
                wait_until(lambda: len(gateway.messages()) >= taken_before + each * agencies, 60, 0.1)  # noqa: B023
                delays = [
                    message["wall"] - changed_at[_code_of(message)]
                    for message in gateway.messages()[taken_before:]
                ]
                found.append(sorted(delays))
    p99 = [delays[int(len(delays) * 0.99) - 1] for delays in found]
    return {
        "messages": each * agencies,
        "agencies": agencies,
        "promised_p99": PROMISED,
        "p50": statistics.median(statistics.median(delays) for delays in found),
        "p99": statistics.median(p99),
        "p99_worst_round": max(p99),
        "slowest": max(delays[-1] for delays in found),
        "all_within": all(value <= PROMISED for value in p99),
    }


def _wait_for_a_poll(installed: Installed) -> None:
    """Return once every agency was read; their reads are spread, so the coming changes wait up to an interval."""
    before = [agency["last_good_at"] for agency in installed.json("status")["agencies"]]
    wait_until(
        lambda: all(
            agency["last_good_at"] != seen
            for agency, seen in zip(installed.json("status")["agencies"], before, strict=True)
        ),
        60,
        0.05,
    )


def _make_ready(databases: dict[str, AgencyDatabase], first: int, count: int) -> dict[str, float]:
    """Move dossiers of every agency to the result's step; when each agency's change was committed, by code."""
    changed_at = {}
    for id_, database in databases.items():
        codes = [str(a_row(id_, number)["dossier_code"]) for number in range(first, first + count)]
        listed = ", ".join(f"'{code}'" for code in codes)
        database.execute(f"UPDATE dossiers SET step = 'Trả kết quả' WHERE dossier_code IN ({listed})")
        changed_at.update(dict.fromkeys(codes, time.time()))
    return changed_at


def _code_of(message: dict[str, Any]) -> str:
    return str(message["text"]).partition("(")[2].partition(")")[0]


def memory(agencies: int, dossiers: int, changed: int) -> dict[str, Any]:
    """The daemon's peak resident set with so many dossiers, after baselines and some polls with changes."""
    with surroundings(agencies, dossiers, interval=INTERVAL) as around, Daemon(around["installed"]) as daemon:
        wait_until(lambda: len(daemon.logged("baseline_taken")) == agencies, 300, 0.2)
        after_baseline = _peak_mb(daemon.process.pid)
        for number in range(3):
            _make_ready(around["databases"], number * changed, changed)
            _wait_for_a_poll(around["installed"])
        time.sleep(2 * INTERVAL)
        return {
            "agencies": agencies,
            "dossiers_each": dossiers,
            "peak_mb_after_baselines": after_baseline,
            "peak_mb": _peak_mb(daemon.process.pid),
            "goal_mb": 120,
        }


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024, 1)


def main() -> None:
    """Run one of the two and print what was measured as JSON."""
    parser = argparse.ArgumentParser(description="Measures the running daemon.")
    commands = parser.add_subparsers(dest="what", required=True)
    of_latency = commands.add_parser("latency")
    of_latency.add_argument("--agencies", type=int, default=10)
    of_latency.add_argument("--changes", type=int, default=2000)
    of_latency.add_argument("--rounds", type=int, default=5)
    of_memory = commands.add_parser("memory")
    of_memory.add_argument("--agencies", type=int, default=13)
    of_memory.add_argument("--dossiers", type=int, default=20_000)
    of_memory.add_argument("--changed", type=int, default=200)
    options = vars(parser.parse_args())
    what = options.pop("what")
    print(json.dumps({"latency": latency, "memory": memory}[what](**options), indent=2))


if __name__ == "__main__":
    main()
