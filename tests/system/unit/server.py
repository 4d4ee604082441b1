"""smsd on a server of its own, as its administrator sees it: files, systemctl, the journal, the spool."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from tests.support.postgres import wait_until
from tests.system.unit.machine import SOURCE, WHEELS, Machine

CONFIG = "/etc/smsd/smsd.yaml"
DROP_INS = "/etc/systemd/system/smsd.service.d"
STATE = "/var/lib/smsd"
ALARMS = f"{STATE}/alarms.jsonl"
DATABASE = "/srv/loc-tho/motcua.db"
AGENCY = "loc-tho"
UNREACHABLE_AGENCIES = ("so-xay-dung", "cam-ranh")

_TELL_OPERATOR = f"""#!/bin/sh
{{ cat; echo; }} >>{ALARMS}
"""
_SETTINGS = {
    "polling": {"interval": "1s", "timeout": "10s"},
    "notices": {"result_ready": {"settle": "0s"}},
    "messages": {"sending_hours": "00:00-24:00"},
    "gateway": {"type": "spool", "directory": f"{STATE}/spool"},
    "inbound": {"secret": "${credential:inbound}"},
    "alarms": {"command": "/usr/local/bin/tell-operator"},
}
_TABLE = """
CREATE TABLE dossiers (dossier_code TEXT PRIMARY KEY, phone TEXT, step TEXT, procedure_code TEXT,
                       received_at TEXT, due_at TEXT, resolved_at TEXT);
CREATE VIEW smsd_dossiers AS SELECT * FROM dossiers;
"""
_SQLITE = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=20).executescript(sys.stdin.read())"


def agency_yaml(database: str, **more: object) -> str:
    """An agency's file."""
    content = {"name": "UBND phường Lộc Thọ", "database": database, "view": "smsd_dossiers", **more}
    return yaml.safe_dump(content, allow_unicode=True)


class Server(Machine):
    """A machine with smsd on it."""

    # installing

    def install(self) -> subprocess.CompletedProcess[str]:
        """Run the installer as README.md says; the wheels stand in for the package index."""
        return self.run(
            f"{SOURCE}/packaging/install.sh", seconds=150, PIP_NO_INDEX="1", PIP_FIND_LINKS=WHEELS
        )

    def configure(self) -> None:
        """Edit what the installer wrote: one agency that is read, and two whose servers are not there."""
        self.write("/usr/local/bin/tell-operator", _TELL_OPERATOR)
        self.run("chmod", "0755", "/usr/local/bin/tell-operator")
        self.run("install", "-d", "-m", "0750", "-g", "smsd", "/srv/loc-tho")
        self.sql(_TABLE)
        self.insert(["H32.1-0001"], "Tiếp nhận")
        self.run("chown", "root:smsd", DATABASE)
        self.run("chmod", "0640", DATABASE)
        self.write(CONFIG, yaml.safe_dump(_SETTINGS, allow_unicode=True))
        self.write(self.agency_file(AGENCY), agency_yaml(f"sqlite:///{DATABASE}"))
        for agency, database in zip(
            UNREACHABLE_AGENCIES,
            (
                "mssql+pyodbc://smsd:${credential:so-xay-dung}@localhost:1433/MotCua?driver=FreeTDS&TDS_Version=7.4",
                "postgresql+psycopg2://smsd@localhost:5432/motcua",
            ),
            strict=True,
        ):
            self.write(self.agency_file(agency), agency_yaml(database, interval="1h"))
        self.write("/etc/smsd/credentials/so-xay-dung", "a secret of the agency's\n")
        self.run("smsd-credentials")
        # systemd waits ten seconds before it starts smsd again: not here
        self.write(f"{DROP_INS}/soon.conf", "[Service]\nRestartSec=100ms\n")
        self.run("systemctl", "daemon-reload")

    @staticmethod
    def agency_file(agency: str) -> str:
        """Where an agency's file is."""
        return f"/etc/smsd/agencies/{agency}.yaml"

    @contextmanager
    def edited(self, path: str, text: str) -> Iterator[None]:
        """A file with another text for a while."""
        before = self.read(path)
        self.write(path, text)
        try:
            yield
        finally:
            self.write(path, before)

    @contextmanager
    def drop_in(self, *lines: str) -> Iterator[None]:
        """The service restarted with lines of a drop-in, and again without."""
        path = f"{DROP_INS}/test.conf"
        self.write(path, "\n".join(("[Service]", *lines, "")))
        try:
            self.run("systemctl", "daemon-reload")
            self.systemctl("restart")
            yield
        finally:
            self.run("rm", path)
            self.run("systemctl", "daemon-reload")
            self.systemctl("restart")

    # the service

    def systemctl(self, verb: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """``systemctl VERB smsd``."""
        done = self.run("systemctl", verb, "smsd", check=False)
        if done.returncode and "compat systemd cgroup" in self._last_lines():
            # systemd on a kernel with both kinds of cgroups, when a unit is stopped and started in one breath
            done = self.run("systemctl", verb, "smsd", check=False)
        if check and done.returncode:
            raise AssertionError(f"systemctl {verb} smsd: {done.stderr}{self._last_lines()}")
        return done

    def _last_lines(self) -> str:
        """What the journal says of the service lately."""
        return self.run("journalctl", "--unit=smsd", "--lines=20", "--output=cat", check=False).stdout

    def shown(self, name: str) -> str:
        """One property of the unit."""
        return self.run("systemctl", "show", "--value", f"--property={name}", "smsd").stdout.strip()

    @property
    def main_pid(self) -> int:
        """The daemon's process; 0 for none."""
        return int(self.shown("MainPID"))

    def make_ready(self) -> None:
        """The service runs, whatever a test before did."""
        self.run(
            "systemctl", "reset-failed", "smsd", check=False
        )  # fails where systemd has forgotten the unit
        self.systemctl("start")

    def wait_for_restart(self, pid: int, seconds: float = 30) -> int:
        """The new process's id, once systemd has started the service again and it is ready."""
        wait_until(
            lambda: self.main_pid not in (0, pid) and self.shown("ActiveState") == "active", seconds, 0.1
        )
        return self.main_pid

    # what it says and does

    def smsd(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of smsd, run by root."""
        return self.run("smsd", *words, check=False)

    def status(self) -> dict[str, Any]:
        """What ``smsd status`` shows."""
        done = self.smsd("status", "--json")
        assert done.stdout, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def status_of(self, agency: str) -> dict[str, Any]:
        """What it shows of one agency."""
        (one,) = (row for row in self.status()["agencies"] if row["id"] == agency)
        return dict(one)

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """The journal's entries about smsd, systemd's own included."""
        out = self.run("journalctl", "--unit=smsd", "--output=json", "--all", *matches).stdout
        return [json.loads(line) for line in out.splitlines()]

    def said(self, pid: int) -> list[str]:
        """The lines that a process of the daemon printed."""
        return [entry["MESSAGE"] for entry in self.journal(f"_PID={pid}", "_TRANSPORT=stdout")]

    def logged(self, pid: int, event: str) -> list[Mapping[str, Any]]:
        """A process' log lines of one event."""
        lines = (json.loads(line) for line in self.said(pid) if line.startswith("{"))
        return [line for line in lines if line["event"] == event]

    def wait_for_log(self, pid: int, event: str, count: int = 1) -> None:
        """Wait until a process has logged an event so often."""
        wait_until(lambda: len(self.logged(pid, event)) >= count, 30, 0.1)

    def lines(self, pattern: str) -> list[dict[str, Any]]:
        """The JSON lines of all files of a pattern."""
        out = self.run("sh", "-c", f"cat {pattern} 2>/dev/null || true").stdout
        return [json.loads(line) for line in out.splitlines() if line.strip()]

    def texted(self, codes: Iterable[str]) -> list[str]:
        """The codes of these dossiers as often as a message left for them."""
        wanted = set(codes)
        spool = self.lines(f"{STATE}/spool/*.jsonl")
        return sorted(line["dossier_code"] for line in spool if line["dossier_code"] in wanted)

    # the agency

    def sql(self, statements: str) -> None:
        """Change the agency's database."""
        self.run("python3", "-c", _SQLITE, DATABASE, stdin=statements)

    def insert(self, codes: Iterable[str], step: str) -> None:
        """New dossiers at a step, each with a mobile number."""
        rows = ", ".join(
            f"('{code}', '0905 123 {number:03}', '{step}', 'TP01', date('now', '-3 days'), date('now', '+9 days'), "
            f"datetime('now', '+7 hours'))"
            for number, code in enumerate(codes)
        )
        self.sql(f"INSERT INTO dossiers VALUES {rows};")

    def move(self, code: str, step: str) -> None:
        """A dossier goes to another step."""
        self.sql(f"UPDATE dossiers SET step = '{step}' WHERE dossier_code = '{code}';")
