"""Runs the tests of faults at full length and writes what they measured into docs/reliability.md.

Usage: python scripts/reliability.py [pytest's options]. Exits with pytest's status; the table is written only when
every test passed.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.reliability import GROUPS, ROWS_VARIABLE  # noqa: E402

DOCUMENT = ROOT / "docs" / "reliability.md"
HEAD = """# Reliability

What was done to smsd on purpose, how often, and what it cost. `make reliability` makes this page anew (under half an
hour on two cores); every row is the result of tests that also run, with fewer tries, in `make test`.

*Lost*: a message owed by the contract that never reached the gateway. *Doubled*: messages the network got twice;
*marked* says how many of those carried `possible_duplicate`, as the contract demands where a gateway cannot tell a
repeat. Where a row is not 0, the note says why.
"""


def main() -> int:
    """Run, then write."""
    with tempfile.TemporaryDirectory(prefix="smsd-reliability-") as folder:
        rows_file = Path(folder) / "rows.jsonl"
        rows_file.touch()
        started = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-m", "reliability", "--timeout", "900", *sys.argv[1:]]
        status = subprocess.run(  # noqa: S603
            command, cwd=ROOT, env={**os.environ, ROWS_VARIABLE: str(rows_file)}, check=False
        ).returncode
        if status:
            print("docs/reliability.md is left as it was: a test failed", file=sys.stderr)  # noqa: T201
            return status
        rows = [json.loads(line) for line in rows_file.read_text(encoding="utf-8").splitlines()]
        DOCUMENT.write_text(page(rows, minutes=(time.monotonic() - started) / 60), encoding="utf-8")
        print(f"{len(rows)} rows in {DOCUMENT.relative_to(ROOT)}")  # noqa: T201
    return 0


def page(rows: list[dict[str, object]], minutes: float) -> str:
    """The whole document."""
    parts = [HEAD]
    for group in GROUPS:
        mine = sorted((row for row in rows if row["group"] == group), key=lambda row: str(row["fault"]))
        if mine:
            parts.append(_table(group, mine))
    machine = f"Debian, Python {platform.python_version()}, {os.cpu_count()} cores"
    tried = sum(int(str(row["tried"])) for row in rows)
    parts.append(f"{len(rows)} faults, {tried:,} tries, {minutes:.0f} minutes ({machine}).\n")
    return "\n".join(parts)


def _table(group: str, rows: list[dict[str, object]]) -> str:
    lines = [
        f"## {group}",
        "",
        "| fault | tried | lost | doubled | marked | recovered | note |",
        "|---|--:|--:|--:|--:|---|---|",
    ]
    for row in rows:
        numbers = " | ".join(f"{int(str(row[key])):,}" for key in ("tried", "lost", "doubled", "marked"))
        lines.append(f"| {row['fault']} | {numbers} | {row['recovered']} | {row['note']} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    raise SystemExit(main())
