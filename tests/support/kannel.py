"""Debian's Kannel as the operators' guide sets it up: bearerbox and smsbox on loopback, in a folder of the tests' own.

The configuration is the one printed in ``docs/kannel.md``, with other ports, paths, passwords and waiting times.
"""

from __future__ import annotations

import shutil
import signal
import socket
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.postgres import free_port, wait_until

DOCUMENT = Path(__file__).parents[2] / "docs" / "kannel.md"
PASSWORD = "sesame"
TOKEN = "AsecretOfTheInboundListener"
"""Also signs receipts. Letters alone: Kannel reads ``%`` in a get-url as an escape."""

Group = dict[str, str]


def _fenced(language: str) -> str:
    """The document's block of one language."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def printed_groups() -> list[Group]:
    """The groups of the document's example, in their order."""
    groups = []
    for block in _fenced("conf").strip().split("\n\n"):
        pairs = (line.split(" = ", 1) for line in block.splitlines())
        groups.append({key: value.strip('"') for key, value in pairs})
    return groups


def _binary(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None:
        raise RuntimeError(f"{name} is missing: run scripts/system-packages.sh tests, which installs Kannel")
    return path


class Kannel:
    """Both boxes, each to be started, stopped and killed by itself. ``changes`` are settings by their group.

    A changed setting must be one the document prints; ``more`` are settings and groups it does not have.
    """

    def __init__(
        self,
        folder: Path,
        *,
        smsc_port: int,
        inbound_port: int = 9,
        changes: Mapping[str, Mapping[str, object]] | None = None,
        more: Iterable[tuple[str, Mapping[str, object]]] = (),
    ) -> None:
        self.folder = folder
        self.admin_port, self.port = free_port(), free_port()
        (folder / "spool").mkdir(parents=True)
        self._make_receipts_table()
        self._groups = printed_groups()
        self._set_places(smsc_port, inbound_port)
        for group, settings in (changes or {}).items():
            self._change(group, **settings)
        for group, settings in more:
            self._named(group).update({key: str(value) for key, value in settings.items()})
        self.config = folder / "kannel.conf"
        self.config.write_text("\n\n".join(map(_written, self._groups)) + "\n", encoding="utf-8")
        self.bearerbox: subprocess.Popen[bytes] | None = None
        self.smsbox: subprocess.Popen[bytes] | None = None

    def _make_receipts_table(self) -> None:
        database = sqlite3.connect(self.folder / "receipts.db")
        database.executescript(_fenced("sql"))
        database.close()

    def _set_places(self, smsc_port: int, inbound_port: int) -> None:
        """What differs on every machine."""
        folder, boxes = self.folder, free_port()
        self._change("core", admin_port=self.admin_port, smsbox_port=boxes, admin_password=PASSWORD)
        self._change("core", store_location=folder / "spool", log_file=folder / "bearerbox.log")
        self._change("sqlite3-connection", database=folder / "receipts.db")
        self._change("smsc", host="127.0.0.1", port=smsc_port, smsc_username="smsd", smsc_password=PASSWORD)
        self._change("smsc", reconnect_delay=1)
        self._change("smsbox", sendsms_port=self.port, log_file=folder / "smsbox.log", http_queue_delay=1)
        self._change("sendsms-user", password=PASSWORD)
        url = self._named("sms-service")["get-url"]
        url = url.replace(":8029/", f":{inbound_port}/").replace("change-this", TOKEN)
        self._change("sms-service", get_url=url)

    def _named(self, name: str) -> Group:
        for group in self._groups:
            if group["group"] == name:
                return group
        self._groups.append({"group": name})
        return self._groups[-1]

    def _change(self, name: str, **settings: object) -> None:
        group = self._named(name)
        for key, value in settings.items():
            printed = key.replace("_", "-")
            assert printed in group, f"{DOCUMENT.name} prints no {printed} in group {name}"
            group[printed] = str(value)

    @property
    def url(self) -> str:
        """The address of sendsms."""
        return f"http://127.0.0.1:{self.port}/cgi-bin/sendsms"

    # life

    def start(self, *, smsc: bool = True) -> None:
        """Both boxes; with ``smsc``, until the operator's line is up too."""
        self.start_bearerbox()
        self.start_smsbox()
        if smsc:
            self.wait_for("(online")

    def start_bearerbox(self) -> None:
        """Start bearerbox and wait until it answers."""
        self.bearerbox = self._run("bearerbox")
        self.wait_for("Status: running")

    def start_smsbox(self) -> None:
        """Start smsbox and wait until it takes messages."""
        self.smsbox = self._run("smsbox")
        wait_until(self.listens, 15, step=0.02)
        self.wait_for("smsbox:")

    def listens(self) -> bool:
        """Whether sendsms takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def status(self) -> str:
        """What bearerbox says of itself; empty when it does not answer."""
        url = f"http://127.0.0.1:{self.admin_port}/status.txt?password={PASSWORD}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode("latin-1"))
        except OSError:
            return ""

    def wait_for(self, words: str, seconds: float = 15) -> None:
        """Until bearerbox's status says so; fails with the status and what the boxes printed."""
        try:
            wait_until(lambda: words in self.status(), seconds, step=0.02)
        except AssertionError:
            raise AssertionError(f"no {words!r}:\n{self.status()}\n{self._printed()}") from None

    def _run(self, name: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.out").open("ab") as output:
            return subprocess.Popen(
                [_binary(name), "-v", "1", str(self.config)], cwd=self.folder, stdout=output, stderr=output
            )

    def _printed(self) -> str:
        return "\n".join(path.read_text("latin-1")[-3000:] for path in sorted(self.folder.glob("*.out")))

    def stop_bearerbox(self) -> None:
        """As its init script does; smsbox is told to go too."""
        assert self.bearerbox is not None
        end(self.bearerbox, signal.SIGTERM)

    def stop_smsbox(self) -> None:
        """As its init script does."""
        assert self.smsbox is not None
        end(self.smsbox, signal.SIGTERM)

    def kill_bearerbox(self) -> None:
        """As a power failure would; smsbox notices and starts itself anew."""
        assert self.bearerbox is not None
        end(self.bearerbox, signal.SIGKILL)

    def kill_smsbox(self) -> None:
        """As a power failure would."""
        assert self.smsbox is not None
        end(self.smsbox, signal.SIGKILL)

    def __enter__(self) -> Kannel:
        return self

    def __exit__(self, *_: object) -> None:
        for box in (self.smsbox, self.bearerbox):
            if box is not None:
                end(box, signal.SIGKILL)


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal and wait until the process is gone."""
    if process.poll() is None:
        process.send_signal(number)
    process.wait(30)


def _written(group: Group) -> str:
    return "\n".join(f'{key} = "{value}"' for key, value in group.items())
