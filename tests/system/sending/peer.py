"""The message centre as a process that can be killed, and that remembers in its record what it took."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


class PeerProcess:
    """``python -m tests.support.smpppeer`` until the block ends. `start` after `kill` is a restart on the same port."""

    def __init__(self, record: Path, *options: str) -> None:
        self.record = record
        self.port = 0
        self._options = options
        record.touch(mode=0o600)
        self.start()

    def start(self) -> None:
        """Listen. Ids go on where the record ends, as those of a message centre do that lost its memory alone."""
        options = [
            "--port",
            str(self.port),
            "--first-id",
            str(self.taken() + 1),
            "--record",
            str(self.record),
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.smpppeer", *options, *self._options],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline().rpartition(":")[2])

    def kill(self) -> None:
        """End it as a power failure would."""
        self._process.kill()
        self._process.communicate()

    def taken(self) -> int:
        """How many parts are in the record."""
        return self.record.read_bytes().count(b"\n")

    def texts(self) -> list[str]:
        """The texts taken, in order."""
        lines = self.record.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line)["text"] for line in lines if line.endswith("\n")]

    def counts(self) -> dict[str, Any]:
        """What this process has taken, reported and heard acknowledged so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"count": True}), file=self._process.stdin, flush=True)
        counted: dict[str, Any] = json.loads(self._process.stdout.readline())
        return counted

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
