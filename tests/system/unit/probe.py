"""Run inside the service's sandbox: tries what a daemon that was taken over would, and prints what came of it."""

import ctypes
import errno
import json
import mmap
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

NEW_USER_NAMESPACE = 0x10000000


def outcome(attempt: Callable[[], object]) -> str:
    """``done``, or the name of the error."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


def unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_USER_NAMESPACE):
        raise OSError(ctypes.get_errno(), "unshare")


def set_user_id(state: Path) -> None:
    path = state / "probe"
    path.touch()
    path.chmod(0o4755)


def foreign_processes() -> None:
    """Fails unless processes of root can be seen."""
    if not any(path.name.isdigit() and path.stat().st_uid == 0 for path in Path("/proc").iterdir()):
        raise FileNotFoundError(errno.ENOENT, "none")


def main(state: Path) -> None:
    attempts: dict[str, Callable[[], object]] = {
        **{f"write {folder}": Path(folder, "probe").touch for folder in sys.argv[2:]},
        "write its state": (state / "probe").touch,
        "become root": lambda: os.setuid(0),
        "leave a set-user-id file": lambda: set_user_id(state),
        "make a namespace": unshare,
        "write and run memory": lambda: mmap.mmap(
            -1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        ),
        "run in real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        "read packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "set the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
        "change the kernel": lambda: Path("/proc/sys/kernel/hostname").write_text("x"),
        "read the kernel's log": lambda: os.open("/dev/kmsg", os.O_RDONLY),
        "see the others": foreign_processes,
        "read root's secrets": lambda: list(Path("/etc/smsd/credentials").iterdir()),
    }
    results = {name: outcome(attempt) for name, attempt in attempts.items()}
    (state / "probe.json").write_text(json.dumps(results))
    (state / "probe").unlink()


main(Path(sys.argv[1]))
