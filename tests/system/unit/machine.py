"""A Debian server to install smsd on: booted by systemd-nspawn, with a systemd of its own, without a network.

Its disk is scripts/systemd-tree.sh's tree beneath a layer in memory, so each boot begins with a fresh server. The
checkout lies read-only in /usr/src/smsd. Commands enter through the namespaces of its first process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from tests.support.postgres import wait_until

ROOT = Path(__file__).parents[3]
SOURCE = "/usr/src/smsd"
WHEELS = "/usr/src/wheels"
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]


def made_tree() -> Path:
    """The folder with ``tree`` and ``wheels``, made if need be (half a minute, once)."""
    script = ROOT / "scripts" / "systemd-tree.sh"
    done = subprocess.run([str(script), sys.executable], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{script.name} failed; what it printed says why and how to mend it")
    return Path(done.stdout.strip())


def _beneath(pid: int) -> Iterator[int]:
    """The processes that descend from one, each before its own children."""
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # gone
        return
    for child in children:
        yield child
        yield from _beneath(child)


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class Machine:
    """The server while it is on. As a context manager it is switched off at the end."""

    def __init__(self, made: Path, console: Path) -> None:
        self._console = console
        command = [
            *AS_ROOT,
            *("setpriv", "--pdeathsig", "TERM"),
            *("systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network"),
            *("--volatile=overlay", "--console=pipe", "--resolv-conf=off", "--timezone=off"),
            f"--machine=smsd-{uuid.uuid4().hex[:8]}",
            f"--directory={made / 'tree'}",
            f"--bind-ro={ROOT}:{SOURCE}",
            f"--bind-ro={made / 'wheels'}:{WHEELS}",
        ]
        with console.open("wb") as file:
            self._nspawn = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
        self._leader = 0
        try:
            wait_until(self._has_booted, 60)
        except AssertionError:
            self.switch_off()
            raise AssertionError(f"no server came up:\n{console.read_text(errors='replace')}") from None

    def _has_booted(self) -> bool:
        if self._nspawn.poll() is not None:
            raise AssertionError("systemd-nspawn ended")
        self._leader = self._leader or self._find_leader()
        if not self._leader:
            return False
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in {"running", "degraded"}

    def _find_leader(self) -> int:
        """The server's first process, the first systemd beneath what was started here; 0 for not yet."""
        return next((pid for pid in _beneath(self._nspawn.pid) if _name_of(pid) == "systemd"), 0)

    def run(
        self, *command: str, check: bool = True, stdin: str | None = None, seconds: float = 60, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root in there, to its end. A failure is one of the test unless ``check`` says otherwise."""
        words = ["nsenter", "--target", str(self._leader), "--all", "/usr/bin/env", "-i", "--chdir=/"]
        environ = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8", **environ}
        words += [f"{name}={value}" for name, value in environ.items()]
        done = subprocess.run(
            [*AS_ROOT, *words, *command],
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),  # type: ignore[arg-type]
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def read(self, path: str) -> str:
        """A file's text."""
        return self.run("cat", path).stdout

    def write(self, path: str, text: str) -> None:
        """Write a file as root's editor does: owner and mode of one that exists stay as they are."""
        self.run("mkdir", "-p", str(Path(path).parent))
        self.run("dd", "status=none", f"of={path}", stdin=text)

    def mode(self, path: str) -> str:
        """Owner, group and permissions: ``smsd:smsd 600``."""
        return self.run("stat", "--format=%U:%G %a", path).stdout.strip()

    def switch_off(self) -> None:
        """Power off; pull the plug on one that does not."""
        if self._nspawn.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._nspawn.wait(15)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self._nspawn.wait(5)

    def _signal(self, number: signal.Signals) -> None:
        pid = self._nspawn.pid
        if (
            AS_ROOT
        ):  # sudo passes a SIGTERM on; nothing passes a SIGKILL on, so the server's first process gets it
            target = pid if number is signal.SIGTERM or not self._leader else self._leader
            subprocess.run([*AS_ROOT, "kill", f"-{number.value}", str(target)], check=False)
        else:
            self._nspawn.send_signal(number)

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _where: TracebackType | None
    ) -> None:
        self.switch_off()
