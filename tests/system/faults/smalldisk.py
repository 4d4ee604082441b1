"""A disk so small that it can be filled to the last byte, and one that cannot be written: both mounted for real."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

from tests.system.unit.machine import AS_ROOT

_BLOCK = b"\xa5" * 4096


class SmallDisk:
    """A file system in memory, mounted on a folder of its own; unmounted as the context ends."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._filler = folder / "something-else.bin"
        folder.mkdir(parents=True)
        options = f"size={megabytes}m,mode=0700,uid={os.geteuid()},gid={os.getegid()}"
        _as_root("mount", "-t", "tmpfs", "-o", options, "smsd-test", str(folder))

    def fill(self) -> None:
        """Somebody else's file takes what room there is."""
        with self._filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(_BLOCK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self) -> None:
        """That file is removed."""
        self._filler.unlink()

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(self, *_: object) -> None:
        _as_root("umount", "--lazy", str(self.folder))


class ReadOnly:
    """A folder that cannot be written while the context lasts, by nobody."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> ReadOnly:
        _as_root("mount", "--bind", str(self._folder), str(self._folder))
        _as_root("mount", "-o", "remount,bind,ro", str(self._folder))
        return self

    def __exit__(self, *_: object) -> None:
        _as_root("umount", "--lazy", str(self._folder))


def _as_root(*command: str) -> None:
    subprocess.run([*AS_ROOT, *command], check=True, capture_output=True, text=True)
