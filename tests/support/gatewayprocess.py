"""The Kannel-like gateway as a process of its own, for tests that kill things and for benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class GatewayProcess:
    """``python -m tests.support.httpgateway`` until the block ends; every message taken is in ``record``."""

    def __init__(self, record: Path, *options: str, port: int = 0) -> None:
        self.record = record
        record.touch(mode=0o600)
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.httpgateway",
                "--port",
                str(port),
                "--record",
                str(record),
                *options,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().rpartition(":")[2])

    @property
    def url(self) -> str:
        """The address of sendsms."""
        return f"http://127.0.0.1:{self.port}/cgi-bin/sendsms"

    def messages(self) -> list[dict[str, Any]]:
        """The messages taken so far, in order."""
        lines = self.record.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def kill(self) -> None:
        """End it as a power failure would."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> GatewayProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
