"""A whole day with all going wrong that may quote a number or a secret: neither leaves the places where it belongs."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

from smsd.cli import main
from smsd.core.clock import SystemClock
from smsd.core.signing import signature
from smsd.daemon import run_once
from smsd.installation import read_installation
from tests.support.agencyviews import COLUMNS, PostgresAgency
from tests.support.httpgateway import HttpGateway, Reply
from tests.support.postgres import PostgresServer, free_port, wait_until
from tests.support.reliability import Record
from tests.system.daemonoffice import ALL_DAY, AT_ONCE, READY, WORK, Office, reload
from tests.system.process import Daemon, write_yaml, zone_where_it_is

AGENCY_PASSWORD, DOWN_PASSWORD, YAML_PASSWORD = "ag3ncy/S:cret@", "d0wn-S3cret", "y4ml-S3cret"
GATEWAY_PASSWORD, INBOUND_SECRET, STORE_PASSWORD = "g4teway-S3cret", "inb0und-S3cret", "st0re-S3cret"
SECRETS = (AGENCY_PASSWORD, DOWN_PASSWORD, YAML_PASSWORD, GATEWAY_PASSWORD, INBOUND_SECRET, STORE_PASSWORD)

FIELDS = (
    "0905 111 001", "+84905111002", "84905111003", "0905.111.004", "905111005", "0905-111-006 / 0912 111 006 (con)",
    "(0905) 111 007", "0084 905 111 008", "０９０５１１１００９", "01621111010", "0258 3811 011", "0582 111 012",
    "0905111", "+1 415 555 2671",
)  # fmt: skip
"""What clerks typed; a line of its own for each dossier."""
SIGNIFICANT = (
    *(f"90511100{n}" for n in range(1, 10)), "912111006", "1621111010", "321111010", "2583811011", "582111012",
    "4155552671",
)  # fmt: skip
_BETWEEN = r"[ .\-()/\xa0]{0,3}"
FULL_NUMBER = re.compile(
    "|".join(_BETWEEN.join(f"[{d}{chr(0xFF10 + int(d))}]" for d in digits) for digits in SIGNIFICANT)
)

AT_DEBUG = """
import logging
from functools import partial
import smsd.logs
at_info = smsd.logs.configure_for_daemon
def configure(stream=None):
    at_info(stream, logging.DEBUG)
    logging.getLogger().setLevel(logging.DEBUG)
smsd.logs.configure_for_daemon = configure
from smsd.cli import main
main()
"""
ALARM_COMMAND = '#!/bin/sh\ncat >> "$(dirname "$0")/alarms.log"\necho >> "$(dirname "$0")/alarms.log"\n'


@dataclass
class Searched:
    """Everything the day said, by the place where it was said."""

    places: dict[str, str] = field(default_factory=dict)

    def hear(self, place: str, said: str) -> None:
        self.places[place] = self.places.get(place, "") + said

    @property
    def lines(self) -> int:
        return sum(said.count("\n") + 1 for said in self.places.values())

    def leaks(self, needles: set[str]) -> list[str]:
        found = []
        for place, said in self.places.items():
            for line in said.splitlines():
                if FULL_NUMBER.search(line) or any(needle in line for needle in needles):
                    found.append(f"{place}: {line[:300]}")
        return found


class Listening:
    """systemd's notification socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        try:
            while True:
                self.said.append(self._socket.recv(4096).decode())
        except OSError:
            return

    def close(self) -> None:
        self._socket.close()


class Day:
    """The office, its gateway, and all that is heard of it."""

    def __init__(self, folder: Path, postgres: PostgresServer, gateway: HttpGateway) -> None:
        self.folder, self.gateway, self.searched = folder, gateway, Searched()
        self.port = free_port()
        zone = zone_where_it_is(12)
        self.zone = ZoneInfo(zone)
        for name in ("out", "tmp"):
            (folder / name).mkdir(parents=True)
        script = folder / "out" / "alarm"
        script.write_text(ALARM_COMMAND)
        script.chmod(0o755)
        self.office = Office(
            folder / "etc",
            timezone=zone,
            notices={**AT_ONCE, "apology": {"at": "11:00", "until": "23:00"}},
            messages={**ALL_DAY, "hold_above": 9},
            gateway={"type": "kannel", "url": gateway.url, "username": "smsd", "password": GATEWAY_PASSWORD},
            inbound={
                "listen": f"127.0.0.1:{self.port}", "public_url": f"http://127.0.0.1:{self.port}",
                "secret": INBOUND_SECRET,
            },
            reconciliation={"at": "11:30", "directory": "../out/reports", "language": "en"},
            alarms={"command": [str(script)]},
        )  # fmt: skip
        self.agency = PostgresAgency(postgres, postgres.database())
        self.url = self.agency.role(AGENCY_PASSWORD, "GRANT SELECT ON smsd_dossiers TO {role}")
        self._fill()
        self.office.agency("reads", name="Sở Đọc", database=self.url, view="smsd_dossiers")
        self.many = self.office.add("many", dossiers=len(FIELDS))
        for number, phone in enumerate(FIELDS):
            self.many.update(f"many-{number}", phone=phone)

    def _fill(self) -> None:
        now = datetime.now(self.zone)
        self.agency.insert(
            {
                "dossier_code": f"H32.{number:02}", "phone": phone, "step": WORK, "procedure_code": "1.001",
                "received_at": now - timedelta(days=3), "due_at": now + timedelta(days=1 if number % 2 else 9),
            }
            for number, phone in enumerate(FIELDS)
        )  # fmt: skip

    def yesterday(self) -> None:
        """The baseline, so that today's pass is owed."""

        class Yesterday:
            def now(self) -> datetime:
                return SystemClock().now() - timedelta(days=1)

        assert run_once(read_installation(self.office.config, {}), clock=Yesterday()) == 0

    def more_agencies(self) -> None:
        """Others that cannot be read, each for a reason whose words may quote something."""
        self.office.agency(
            "out-of-reach", database=f"postgresql+psycopg2://smsd:{DOWN_PASSWORD}@127.0.0.1:{free_port()}/x"
        )
        wrong = self.url.replace(quote(AGENCY_PASSWORD, safe=""), DOWN_PASSWORD)
        self.office.agency("wrong-login", database=wrong, view="other")
        chosen = ", ".join(COLUMNS[1:])
        self.agency.execute(
            f"CREATE VIEW quoting AS SELECT phone::bigint AS dossier_code, {chosen} FROM dossiers"
        )
        self.agency.execute(f"GRANT SELECT ON quoting TO {self.agency.roles[0]}")
        self.office.agency("quotes-rows", database=self.url, view="quoting")
        garbage = self.office.folder / "garbage.db"
        garbage.write_text("0905111001 is no database\n" * 100)
        self.office.agency("garbage", database=f"sqlite:///{garbage}")
        broken = self.office.folder / "agencies" / "malformed.yaml"
        broken.write_text(
            f"name: x\nview: v\ndatabase: postgresql+psycopg2://smsd:{YAML_PASSWORD}@h: 5432/x\n",
            encoding="utf-8",
        )
        self.office.agency("mistaken", database=f"postgres://smsd:{YAML_PASSWORD}@host/x", mode="loud")

    def call(self, path: str, data: bytes | None = None) -> tuple[int, str]:
        try:
            with urlopen(Request(f"http://127.0.0.1:{self.port}{path}", data=data), timeout=10) as answer:
                status, said = answer.status, answer.read().decode()
        except HTTPError as error:
            status, said = error.code, error.read().decode() + str(error.headers)
        self.searched.hear(f"page {path.partition('?')[0]}", said)
        return status, said

    def smsd(self, *words: str, config: Path | None = None) -> None:
        """A command in both its forms, all of which is searched."""
        for shape in ((), ("--json",)):
            command = ["--config", str(config or self.office.config), *words, *shape]
            done = CliRunner().invoke(main, command, env={"COLUMNS": "200"})
            said = done.stdout + done.stderr + repr(done.exception)
            self.searched.hear(f"smsd {words[0]}", said)

    def close(self) -> None:
        self.office.close()
        self.agency.close()


@pytest.fixture(autouse=True)
def _logging(logging_put_back: None) -> None:
    """Around every test here."""


@pytest.fixture
def day(tmp_path: Path, postgres: PostgresServer) -> Iterator[Day]:
    with HttpGateway(password=GATEWAY_PASSWORD, receipts=["8"], receipt_delay=0.05) as gateway:
        the_day = Day(tmp_path, postgres, gateway)
        yield the_day
        the_day.close()


def refuse_and_quote(gateway: HttpGateway) -> None:
    """Kannel's and its neighbours' refusals, each with the number or the password in its words."""
    gateway.next(
        Reply(400, b"Number(s) has 84905111002 been denied", taken=False),
        Reply(500, b"SMSC failed for +84905111003", taken=False),
        Reply(403, b"Not routable: 0905 111 004", taken=False),
        Reply(418, b"to=84905111005&password=" + GATEWAY_PASSWORD.encode(), taken=False),
    )


def citizens_and_strangers_call(day: Day) -> None:
    """Receipts and look-ups, lawful and not, with numbers, tokens and signatures in them."""
    lawful = {"from": "+84905111001", "text": "MCKH H32.00", "id": "q1", "token": INBOUND_SECRET}
    assert day.call(f"/lookups?{urlencode(lawful)}")[0] == 200
    assert day.call(f"/lookups?{urlencode(lawful | {'text': '0905111001', 'id': 'q2'})}")[0] == 200
    assert day.call(f"/lookups?{urlencode(lawful | {'token': 'wrong' + INBOUND_SECRET})}")[0] == 403
    assert day.call(f"/lookups/0905111001?{urlencode(lawful)}")[0] == 404
    assert day.call(f"/receipts/kannel?id=0905111001&sig={INBOUND_SECRET}&status=1&answer=x")[0] >= 400
    assert day.call("/lookups", data=b"\xff" * 100_000)[0] >= 400
    for message in list(day.gateway.messages)[:3]:
        path = message.dlr_url.replace("%d", "2").replace("%A", quote(f"NACK/11/text to {message.to} failed"))
        assert day.call(path.partition(str(day.port))[2])[0] == 200
    for page in ("/metrics", "/healthz", "/0905111001", "/receipts/0905111001"):
        day.call(page)


def operators_ask(day: Day) -> None:
    """Every command, in both forms."""
    for words in (
        ("status",), ("check",), ("held", "list"), ("apology", "--dry-run"), ("poll", "reads", "--dry-run"),
        ("poll", "reads"), ("poll", "quotes-rows"), ("poll", "wrong-login"), ("poll", "out-of-reach"),
        ("poll", "malformed"), ("report",), ("report", "--date", "2000-01-01"),
        ("held", "release", "reads"), ("held", "discard", "many"),
        ("lookup", "MCKH H32.00"), ("purge",), ("backup", str(day.folder / "copy.db")), ("trace", "no such"),
        *(("trace", f"H32.{number:02}") for number in (0, 5, 9, 10, 11)),
        ("privacy", "erase", "0905111001"), ("privacy", "erase", "0905111001", "--yes"),
        ("privacy", "erase", "0258 3811 011", "--yes"),
    ):  # fmt: skip
        day.smsd(*words)


def what_goes_wrong_at_a_start(day: Day) -> None:
    """A store that refuses, a file with mistakes beside its secrets, a folder that is none: commands and the daemon."""
    for name, settings in {
        "store": {"store": f"postgresql+psycopg2://smsd:{STORE_PASSWORD}@127.0.0.1:{free_port()}/smsd"},
        "mistakes": {"store": f"postgres://smsd:{STORE_PASSWORD}@h/x", "polling": {"interval": "0905111001"}},
        "folder": {"reconciliation": {"directory": "smsd.yaml"}},
    }.items():
        config = day.office.folder / f"{name}.yaml"
        write_yaml(config, day.office.settings | settings)
        day.searched.hear(f"broken {name}", a_process("-m", "smsd", "--config", str(config), "run", "--once"))
        for words in (("status",), ("check",), ("report",)):
            day.smsd(*words, config=config)
    broken = day.office.folder / "unreadable.yaml"
    broken.write_text(f"gateway: {{type: kannel, password: {GATEWAY_PASSWORD}: x, url: [}}\n")
    day.smsd("check", config=broken)


def a_process(*words: str) -> str:
    """What a Python program says until its end."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def everything_written(day: Day) -> None:
    """Every file that was left anywhere but where numbers belong: the store, its copy, the agency's own database."""
    allowed = re.compile(r"smsd\.db.*|copy\.db|garbage\.db|many\.db.*|.*\.yaml|alarm")
    for path in day.folder.rglob("*"):
        if path.is_file() and not allowed.fullmatch(path.name):
            day.searched.hear(
                f"file {path.relative_to(day.folder)}", path.read_bytes().decode("utf-8-sig", "replace")
            )


@pytest.mark.reliability
@pytest.mark.timeout(180)
def test_no_full_number_and_no_secret_leaves_its_place_in_a_day_of_faults(
    day: Day, reliability: Record
) -> None:
    systemd = Listening(day.folder / "notify")
    environ = {"NOTIFY_SOCKET": str(systemd.path), "TMPDIR": str(day.folder / "tmp")}
    day.yesterday()
    day.more_agencies()
    refuse_and_quote(day.gateway)
    with Daemon(day.office, ("-c", AT_DEBUG), **environ) as daemon:
        daemon.wait_for("read_failed", agency="quotes-rows")
        daemon.wait_for("read_failed", agency="out-of-reach")
        daemon.wait_for("report_written")
        day.agency.execute(f"UPDATE dossiers SET step = '{READY}' WHERE dossier_code < 'H32.09'")
        day.many.execute(f"UPDATE dossiers SET step = '{READY}', resolved_at = updated_at")
        wait_until(lambda: len(day.gateway.messages) >= 6, seconds=40)
        citizens_and_strangers_call(day)
        day.gateway.always(
            Reply(403, b"Authorization failed for 84905111009 " + GATEWAY_PASSWORD.encode(), taken=False)
        )
        day.agency.execute(f"UPDATE dossiers SET step = '{READY}'")
        daemon.wait_for("link_stopped")
        reload(daemon)
        operators_ask(day)
        wait_until((day.folder / "out" / "alarms.log").exists)
        day.searched.hear("command line", Path(f"/proc/{daemon.process.pid}/cmdline").read_text())
        assert daemon.stop() == 0
    systemd.close()
    day.searched.hear("log", "".join(daemon.raw))
    day.searched.hear("systemd", "\n".join(systemd.said))
    what_goes_wrong_at_a_start(day)
    everything_written(day)

    _is_a_day_worth_searching(day, daemon)
    ids = [str(id_) for (id_,) in day.office.ask("SELECT id FROM messages")]
    proofs = {signature(INBOUND_SECRET, "kannel", id_) for id_ in ids}
    needles = {*SECRETS, *(quote(secret, safe="") for secret in SECRETS), *proofs}
    assert day.searched.leaks(needles) == []
    reliability.row(
        "Hostile input",
        "Full numbers and secrets in any log, report, page or error of a day",
        tried=day.searched.lines,
        recovered="none was found, at debug level too",
        note=f"lines of {len(day.searched.places)} places; {len(FIELDS)} spellings of numbers, {len(needles)} secrets",
    )


def _is_a_day_worth_searching(day: Day, daemon: Daemon) -> None:
    """The faults did happen, and the places do say something: an empty search proves nothing."""
    places = day.searched.places
    alarms = places["file out/alarms.log"]
    for agency in ("out-of-reach", "wrong-login", "quotes-rows", "malformed", "mistaken", "held:many"):
        assert agency in alarms, agency
    assert "gateway kannel is stopped" in alarms
    assert "invalid input syntax" in places["smsd status"]
    assert "0905***" in places["smsd trace"] and "0258***" in places["smsd trace"]
    assert any("READY=1" in said for said in places["systemd"].splitlines())
    assert "smsd_" in places["page /metrics"]
    assert any(place.endswith("exceptions.csv") and "0258***" in said for place, said in places.items())
    assert any(place.endswith("report.html") for place in places)
    assert "state store" in places["broken store"] and "store: names no kind" in places["broken mistakes"]
    assert "many" in places["smsd held"] and daemon.logged("link_stopped")
    states = {state for (state,) in day.office.ask("SELECT DISTINCT state FROM messages")}
    assert {"rejected", "suppressed"} <= states


def test_the_search_finds_what_it_looks_for() -> None:
    searched = Searched()
    for form in (
        "0905111001",
        "+84 905 111 001",
        "84905111001",
        "0905.111.001",
        "x905-111-001",
        "０９０５１１１００１",
    ):
        searched.places = {"log": f"something {form} something"}
        assert searched.leaks(set()), form
    searched.places = {"log": f"password={GATEWAY_PASSWORD}"}
    assert searched.leaks({*SECRETS})
    searched.places = {"log": "0905***001 H32.12-260803-0001 2026-11-24"}
    assert searched.leaks({*SECRETS}) == []


def test_no_file_is_open_to_others_even_where_every_bit_is_granted(tmp_path: Path) -> None:
    """The store with its companions, spool, reports and copies, made by a process whose umask is 000."""
    office = Office(tmp_path / "etc", notices=AT_ONCE, messages=ALL_DAY)
    database = office.add("alpha", dossiers=2)
    loose = ["-c", "import os, sys; os.umask(0); from smsd.cli import main; main()"]
    seen: dict[str, int] = {}

    def note() -> None:
        for path in office.folder.rglob("*"):
            if path.name.startswith(("smsd.db", "copy")) or {"spool", "reports", "new"} & set(
                path.relative_to(office.folder).parts
            ):
                seen[str(path.relative_to(office.folder))] = stat.S_IMODE(path.stat().st_mode)

    with Daemon(office, loose) as daemon:
        daemon.wait_for("baseline_taken")
        database.update("alpha-1", step=READY)
        wait_until(lambda: office.codes() == ["alpha-1"])
        usual = os.umask(0)
        try:
            for words in (
                ["report"],
                ["backup", f"{office.folder}/copy.db"],
                ["init", f"{office.folder}/new"],
            ):
                assert CliRunner().invoke(main, ["--config", str(office.config), *words]).exit_code == 0
        finally:
            os.umask(usual)
        note()
        assert daemon.stop() == 0
    note()
    assert {"smsd.db", "smsd.db-wal", "smsd.db-shm", "smsd.db.lock", "copy.db"} <= seen.keys()
    assert any(name.endswith(".jsonl") for name in seen) and any(name.endswith(".csv") for name in seen)
    starting = {
        name for name in seen if name.startswith("new")
    }  # no secrets, and the daemon has to read them
    assert {name: oct(seen[name]) for name in starting if seen[name] & 0o022} == {}
    assert {name: oct(seen[name]) for name in seen.keys() - starting if seen[name] & 0o027} == {}
    private = {name for name in seen if name.startswith(("smsd.db", "copy", "spool"))}
    assert {name: oct(seen[name]) for name in private if seen[name] & 0o077} == {}
    office.close()
