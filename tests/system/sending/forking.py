"""The daemon, forked from a process that has imported it: it starts in a tenth of the time and can be killed often.

    python -m tests.system.sending.forking CONFIG LOG

Standard input takes ``start``, which prints the daemon's process id, ``kill`` (SIGKILL) and ``stop`` (SIGTERM), which
print how it ended: the exit status, or less than 0 for the signal. What all daemons log is appended to LOG.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from tests.support.postgres import wait_until

ROOT = Path(__file__).parents[3]
NEEDED = ("smsd.cli", "smsd.daemon", "smsd.adapters.gateways.smpp.gateway")
"""What a daemon imports once it runs."""


class ForkedDaemon:
    """``smsd run`` on a configuration, one process at a time, as often as it is started."""

    def __init__(self, config: Path, log: Path) -> None:
        self.log = log
        log.touch(mode=0o600)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.system.sending.forking", str(config), str(log)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self) -> None:
        """A new process."""
        self._tell("start")

    def kill(self) -> None:
        """SIGKILL. Fails if the process had ended by itself."""
        ended = self._tell("kill")
        assert ended == -signal.SIGKILL, f"the daemon had ended by itself: {ended}\n{self.tail()}"

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        return self._tell("stop")

    def wait_for(self, event: str) -> None:
        """Until the event stands in the log."""
        try:
            wait_until(lambda: f'"event": "{event}"' in self.log.read_text(encoding="utf-8"), 30, 0.05)
        except AssertionError:
            raise AssertionError(f"no {event} in the log:\n{self.tail()}") from None

    def tail(self) -> str:
        """The end of the log."""
        return self.log.read_text(encoding="utf-8")[-4000:]

    def _tell(self, word: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(word, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def __enter__(self) -> ForkedDaemon:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def main(config: str, log: str) -> None:
    """Serve until standard input ends; a daemon that runs then is killed."""
    for name in NEEDED:
        import_module(name)
    daemon = 0
    for line in sys.stdin:
        if line.strip() == "start":
            daemon = os.fork() or _be_a_daemon(config, log)
            print(daemon, flush=True)
        else:
            print(_end(daemon, signal.SIGKILL if line.strip() == "kill" else signal.SIGTERM), flush=True)
            daemon = 0
    if daemon:
        _end(daemon, signal.SIGKILL)


def _end(daemon: int, how: signal.Signals) -> int:
    os.kill(daemon, how)
    return os.waitstatus_to_exitcode(os.waitpid(daemon, 0)[1])


def _be_a_daemon(config: str, log: str) -> NoReturn:
    target = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(target, 1)
    os.dup2(target, 2)
    try:
        import_module("smsd.cli").main(["run", "--config", config])
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
