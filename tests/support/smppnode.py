"""A message centre that others wrote: the npm package `smpp` under node. It is installed once, outside the project."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

_PACKAGE, _VERSION = "smpp", "0.5.1"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
"""What the machine trusts; node looks at its own list otherwise."""


def node_modules() -> Path:
    """The folder with the package. Fetched from the npm registry the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smsd-tests"
    folder = cache / f"{_PACKAGE}-{_VERSION}"
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("npm is missing: the message centre of the tests needs node and npm")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as fresh:
            command = [npm, "install", "--prefix", fresh, "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(
                [*command, f"{_PACKAGE}@{_VERSION}"],
                check=True,
                capture_output=True,
                timeout=120,
                env={"NODE_EXTRA_CA_CERTS": _CERTIFICATES, **os.environ},
            )
            try:
                Path(fresh, "node_modules").rename(folder)
            except OSError:  # another test process was first
                if not folder.exists():
                    raise
    return folder


class NodeSmsc:
    """The server of `smppserver.js` as a process."""

    def __enter__(self) -> NodeSmsc:
        script = Path(__file__).with_name("smppserver.js")
        environment = os.environ | {"NODE_PATH": str(node_modules())}
        self._process = subprocess.Popen(
            ["node", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._put_back: list[dict[str, Any]] = []
        threading.Thread(target=self._listen, daemon=True).start()
        self.port = int(self.event("port"))
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._events.put(json.loads(line))

    def deliver(self, **fields: Any) -> None:
        """Send a deliver_sm by the package's own names of fields."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(fields) + "\n")
        self._process.stdin.flush()

    def event(self, kind: str) -> Any:
        """The next event of a kind; waits for it."""
        for event in self._put_back:
            if kind in event:
                self._put_back.remove(event)
                return event[kind]
        while True:
            event = self._events.get(timeout=15)
            if kind in event:
                return event[kind]
            self._put_back.append(event)
