"""The daemon as operators run it: a process of its own, its YAML files, its log lines, its signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from tests.support.postgres import wait_until

ROOT = Path(__file__).parents[2]


def write_yaml(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), encoding="utf-8")


def zone_where_it_is(hour: int) -> str:
    """A time zone of whole hours in which it is now just after ``hour`` o'clock: a day to live in without waiting."""
    ahead = (hour - datetime.now(UTC).hour + 11) % 24 - 11
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"


class Installed:
    """A folder with smsd.yaml and agencies, and the commands run on it."""

    def __init__(self, folder: Path, settings: Mapping[str, object]) -> None:
        self.folder = folder
        self.config = folder / "smsd.yaml"
        self.settings: dict[str, Any] = {
            "store": "sqlite:///smsd.db",
            "gateway": {"type": "spool", "directory": "spool"},
            "reconciliation": {"directory": "reports", "language": "en"},
            **settings,
        }
        (folder / "agencies").mkdir(parents=True)
        write_yaml(self.config, self.settings)

    def write(self, **settings: object) -> None:
        """Write smsd.yaml again; what is given takes the place of a whole section."""
        self.settings |= settings
        write_yaml(self.config, self.settings)

    def alarms(self) -> list[dict[str, Any]]:
        """The alarms that stand."""
        standing: list[dict[str, Any]] = self.json("status")["alarms"]
        return standing

    def agency(self, id_: str, **content: object) -> None:
        """Write one agency's file."""
        write_yaml(
            self.folder / "agencies" / f"{id_}.yaml",
            {"name": f"Sở {id_}", "view": "smsd_dossiers", **content},
        )

    def smsd(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [sys.executable, "-m", "smsd", "--config", str(self.config), *words]
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def json(self, *words: str) -> Any:
        """What a command shows with --json, whatever its exit status."""
        done = self.smsd(*words, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)


class Daemon:
    """``smsd run`` until it is stopped; every log line is kept."""

    def __init__(self, installed: Installed, program: Sequence[str] = ("-m", "smsd"), **environ: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, *program, "run", "--config", str(installed.config)],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.raw.append(line)
            if line.startswith("{"):
                self.lines.append(json.loads(line))

    def logged(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """The log lines of one event with these fields."""
        wanted = {"event": event, **fields}
        return [
            line for line in list(self.lines) if all(line.get(key) == value for key, value in wanted.items())
        ]

    def wait_for(self, event: str, seconds: float = 30, **fields: object) -> dict[str, Any]:
        """The first log line of an event; fails with the whole log when it does not come."""
        try:
            wait_until(lambda: self.logged(event, **fields) or self.process.poll() is not None, seconds)
            return self.logged(event, **fields)[0]
        except (AssertionError, IndexError):
            raise AssertionError(f"no {event} {fields} in the log:\n{''.join(self.raw)[-6000:]}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power failure would."""
        self.process.kill()
        self.process.wait()
        self._reader.join(5)

    def stop(self) -> int:
        """SIGTERM; the exit status, which must come within ten seconds."""
        self.process.terminate()
        status = self.process.wait(timeout=10)
        self._reader.join(5)
        return status

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()
