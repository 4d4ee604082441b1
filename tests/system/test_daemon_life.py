"""The daemon as a process: starting, being alone, reloading, stopping, and what it writes down."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.httpgateway import HttpGateway
from tests.support.postgres import PostgresServer, free_port, wait_until
from tests.system.daemonoffice import ALL_DAY, HERE, READY, WORK, Office, baselined, instant, reload
from tests.system.process import Daemon

_BETA_READ = "SELECT last_good_at FROM agencies WHERE id = 'beta'"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    it = Office(tmp_path / "etc")
    it.add("alpha")
    it.add("beta")
    yield it
    it.close()


def test_a_second_daemon_on_the_store_is_refused_and_leaves_the_first_alone(office: Office) -> None:
    with Daemon(office) as daemon:
        baselined(daemon, "alpha", "beta")
        for words in (("run",), ("run", "--once")):
            second = office.smsd(*words)
            assert second.returncode == 1
            said, hint = second.stderr.splitlines()
            assert said == "smsd: another smsd runs on this state store"
            assert "stop it first" in hint
        assert office.smsd("status").stdout.startswith(f"daemon   running (pid {daemon.process.pid})")
        office.databases["alpha"].update("alpha-1", step=READY)
        wait_until(lambda: office.codes() == ["alpha-1"])
        assert daemon.stop() == 0
    assert office.smsd("status").stdout.startswith("daemon   not running")


def test_on_a_shared_store_one_host_works_and_another_stands_by_until_it_is_gone(
    office: Office, postgres: PostgresServer, pg_database: str
) -> None:
    office.write(store=postgres.url(pg_database))
    with Daemon(office) as first:
        baselined(first, "alpha", "beta")
        with Daemon(office) as second:
            second.wait_for("standing_by")
            office.databases["alpha"].update("alpha-1", step=READY)
            wait_until(lambda: office.codes() == ["alpha-1"])
            first.kill()
            second.wait_for("started")
            office.databases["beta"].update("beta-1", step=READY)
            wait_until(lambda: sorted(office.codes()) == ["alpha-1", "beta-1"])
            assert not second.logged("baseline_taken"), "the other host knew everything already"
            assert second.stop() == 0


def test_one_that_stands_by_stops_when_it_is_told_to(
    office: Office, postgres: PostgresServer, pg_database: str
) -> None:
    office.write(store=postgres.url(pg_database))
    with Daemon(office) as first, Daemon(office) as second:
        wait_until(lambda: first.logged("started") or second.logged("started"))
        waiting = second if first.logged("started") else first
        waiting.wait_for("standing_by")
        assert waiting.stop() == 0


def test_a_daemon_whose_claim_is_lost_ends_and_says_so(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="smsd-store-") as folder:
        server = PostgresServer(Path(folder))
        office = Office(tmp_path / "etc", store=server.url(server.database()))
        office.add("alpha")
        with Daemon(office) as daemon:
            baselined(daemon, "alpha")
            server.stop()
            server.start()
            assert daemon.process.wait(timeout=20) == 1
            wait_until(lambda: any("claim on the state store is lost" in line for line in daemon.raw))
        office.close()
        server.stop("immediate")


def test_alarms_of_the_configuration_end_when_it_was_mended_before_a_restart(office: Office) -> None:
    with Daemon(office) as daemon:
        baselined(daemon, "alpha", "beta")
        right = office.config.read_text("utf-8")
        office.config.write_text("gateway: {type: pigeon}\n")
        reload(daemon, "not_reloaded")
        office.config.write_text(right)
        assert [alarm["key"] for alarm in office.alarms()] == ["config"]
        other = right.replace("smsd.db", "other.db")
        office.config.write_text(other)
        reload(daemon)
        office.config.write_text(right)
        assert [alarm["key"] for alarm in office.alarms()] == ["store"]
        assert daemon.stop() == 0
    with Daemon(office) as daemon:
        daemon.wait_for("started")
        wait_until(lambda: office.alarms() == [])
        assert daemon.stop() == 0


def test_a_new_file_on_the_rows_of_an_agency_kept_as_it_was_is_left_out(office: Office) -> None:
    with Daemon(office) as daemon:
        baselined(daemon, "alpha", "beta")
        (office.folder / "agencies" / "alpha.yaml").write_text("name: Sở alpha\nbogus: 1\n")
        office.agency("gamma", database=office.databases["alpha"].url)
        reload(daemon)
        assert {"config:alpha", "config:gamma"} <= {alarm["key"] for alarm in office.alarms()}
        office.databases["alpha"].update("alpha-1", step=READY)
        wait_until(lambda: office.codes() == ["alpha-1"])
        assert not daemon.logged("baseline_taken", agency="gamma")
        assert daemon.stop() == 0


def test_once_polls_everyone_sends_what_is_due_listens_to_nothing_and_ends(office: Office) -> None:
    port = free_port()
    office.write(
        inbound={
            "listen": f"127.0.0.1:{port}",
            "public_url": f"http://127.0.0.1:{port}",
            "secret": "s3cret-of-the-test",
        },
        notices={"result_ready": {"settle": "2s"}, "supplement": {"settle": "2s"}},
    )
    with closing(socket.create_server(("127.0.0.1", port))):  # it would fail if it listened
        assert office.smsd("run", "--once").returncode == 0
        for agency, database in office.databases.items():
            database.update(f"{agency}-0", step=READY)
        assert office.smsd("run", "--once").returncode == 0
        assert office.codes() == [], "settle is not over"
        [(last,)] = office.ask("SELECT max(made_at) FROM messages")
        made = instant(last)
        wait_until(lambda: datetime.now(HERE) > made + timedelta(seconds=2.1))
        assert office.smsd("run", "--once").returncode == 0
    assert sorted(office.codes()) == ["alpha-0", "beta-0"]
    office.databases["beta"].lose_view()
    assert office.smsd("run", "--once").returncode == 1
    assert len(office.codes()) == 2


def test_once_with_a_gateway_out_of_reach_ends_with_1_and_keeps_the_message(office: Office) -> None:
    office.write(
        gateway={
            "type": "kannel",
            "url": f"http://127.0.0.1:{free_port()}/cgi-bin/sendsms",
            "username": "smsd",
            "password": "sesame",
        }
    )
    assert office.smsd("run", "--once").returncode == 0
    office.databases["alpha"].update("alpha-0", step=READY)
    assert office.smsd("run", "--once").returncode == 1
    assert office.ask("SELECT state FROM messages") == [("queued",)]


def test_it_stops_within_ten_seconds_whatever_hangs(tmp_path: Path) -> None:
    port = free_port()
    with HttpGateway() as gateway, closing(socket.create_server(("127.0.0.1", 0))) as silent:
        gateway.always("hang")
        office = Office(
            tmp_path / "etc",
            gateway={"type": "kannel", "url": gateway.url, "username": "smsd", "password": "sesame"},
            inbound={
                "listen": f"127.0.0.1:{port}",
                "public_url": f"http://127.0.0.1:{port}",
                "secret": "s3cret-of-the-test",
            },
            polling={"interval": "1s", "timeout": "30s"},
        )
        office.add("alpha")
        office.add("hanging").hang()
        office.agency(
            "black-hole",
            database=f"postgresql+psycopg2://smsd:x@127.0.0.1:{silent.getsockname()[1]}/motcua",
        )
        with Daemon(office) as daemon:
            baselined(daemon, "alpha")
            office.databases["alpha"].update("alpha-0", step=READY)
            wait_until(lambda: ("sending",) in office.ask("SELECT state FROM messages"))
            open_calls = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
            for call in open_calls:
                call.sendall(b"POST /lookups HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nfrom=")
            began = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - began < 10
            for call in open_calls:
                call.close()
        assert daemon.logged("stopped")
        assert "Traceback" not in "".join(daemon.raw)
        office.close()


def test_it_stops_within_ten_seconds_while_another_program_holds_the_store(office: Office) -> None:
    with Daemon(office) as daemon:
        baselined(daemon, "alpha", "beta")
        with closing(sqlite3.connect(office.folder / "smsd.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            [before] = other.execute(_BETA_READ).fetchall()
            office.databases["beta"].update("beta-0", step=READY)
            began = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - began < 10
            assert other.execute(_BETA_READ).fetchall() == [before]
    assert daemon.logged("stopped")
    with Daemon(office) as daemon:
        wait_until(lambda: office.codes() == ["beta-0"])
        assert daemon.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_ends_it_in_order(office: Office, number: signal.Signals) -> None:
    with Daemon(office) as daemon:
        daemon.wait_for("started")
        daemon.signal(number)
        assert daemon.process.wait(10) == 0
    assert "Traceback" not in "".join(daemon.raw)


def test_reloading_takes_over_what_changed_and_keeps_what_is_wrong_as_it_was(office: Office) -> None:
    with Daemon(office) as daemon:
        baselined(daemon, "alpha", "beta")
        # the text and the number format
        office.write(
            notices={
                "result_ready": {"text": "Xong {Mã số hồ sơ}", "settle": "0s"},
                "supplement": {"settle": "0s"},
            },
            messages={**ALL_DAY, "sender": "KhanhHoa", "number_format": "0"},
        )
        # a new agency, one whose file is wrong
        office.add("gamma").update("gamma-0", step=READY)
        beta = office.folder / "agencies" / "beta.yaml"
        right = beta.read_text("utf-8")
        beta.write_text("name: Sở Beta\nmode: loud\n", "utf-8")
        reload(daemon)
        baselined(daemon, "gamma")
        assert [a["key"] for a in office.alarms()] == ["config:beta"]
        office.databases["alpha"].update("alpha-0", step=READY)
        office.databases["beta"].update("beta-0", step=READY)
        wait_until(lambda: sorted(office.codes()) == ["alpha-0", "beta-0"])
        message = office.spooled()[0]
        assert (message["to"], message["sender"]) == ("0905123456", "KhanhHoa")
        assert message["text"] == f"Xong {message['dossier_code']}"
        # smsd.yaml wrong: as it was, with an alarm; mended: the alarm ends
        good = office.config.read_text("utf-8")
        office.config.write_text("bogus: 1\n" + good, "utf-8")
        beta.write_text(right, "utf-8")
        reload(daemon, "not_reloaded")
        standing = office.ask("SELECT key FROM alarms WHERE cleared_at IS NULL ORDER BY key")
        assert standing == [("config",), ("config:beta",)]
        office.databases["alpha"].update("alpha-1", step=READY)
        wait_until(lambda: "alpha-1" in office.codes())
        office.config.write_text(good, "utf-8")
        reload(daemon)
        wait_until(lambda: office.alarms() == [])
        assert daemon.stop() == 0


def test_positions_changed_by_configuration_are_recorded_and_never_sent(office: Office) -> None:
    with Daemon(office) as daemon:
        baselined(daemon, "alpha", "beta")
        office.write(positions={"result_ready": {"steps": [WORK]}})
        reload(daemon)
        wait_until(
            lambda: office.ask("SELECT count(*) FROM transitions WHERE cause = 'configuration'") == [(20,)]
        )
        office.databases["alpha"].update("alpha-0", step="Khác")
        wait_until(
            lambda: office.ask("SELECT position FROM dossiers WHERE code = 'alpha-0'") == [("in_progress",)]
        )
        office.databases["alpha"].update("alpha-0", step=WORK)
        wait_until(lambda: office.codes() == ["alpha-0"])
        assert daemon.stop() == 0
    assert office.ask("SELECT count(*) FROM messages") == [(1,)]


@pytest.mark.parametrize(("change", "reason"), [("shadow", "shadow"), ("off", "off"), ("removed", "off")])
def test_an_agency_withdrawn_by_a_reload_ends_its_unsent_messages_so(
    office: Office, change: str, reason: str
) -> None:
    office.write(notices={"result_ready": {"settle": "10m"}, "supplement": {"settle": "10m"}})
    with Daemon(office) as daemon:
        baselined(daemon, "alpha", "beta")
        for agency, database in office.databases.items():
            database.update(f"{agency}-0", step=READY)
        wait_until(lambda: office.ask("SELECT count(*) FROM messages WHERE state = 'queued'") == [(2,)])
        file = office.folder / "agencies" / "alpha.yaml"
        if change == "removed":
            file.unlink()
        else:
            office.agency("alpha", database=office.databases["alpha"].url, mode=change)
        reload(daemon)
        ended = office.ask("SELECT agency, state, reason FROM messages ORDER BY agency")
        assert ended == [("alpha", "suppressed", reason), ("beta", "queued", None)]
        assert daemon.stop() == 0


def test_reloads_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    with HttpGateway(latency=0.05) as gateway:
        office = Office(
            tmp_path / "etc",
            gateway={"type": "kannel", "url": gateway.url, "username": "smsd", "password": "sesame"},
            messages={**ALL_DAY, "hold_above": 10_000},
        )
        for agency in ("alpha", "beta"):
            office.add(agency, dossiers=150)
        with Daemon(office) as daemon:
            baselined(daemon, "alpha", "beta")
            for database in office.databases.values():
                database.execute(f"UPDATE dossiers SET step = '{READY}'")
            wait_until(lambda: len(gateway.messages) >= 20)
            for _ in range(3):
                before = len(gateway.messages)
                reload(daemon)
                wait_until(lambda before=before: len(gateway.messages) >= min(300, before + 15))
            wait_until(lambda: len(gateway.messages) >= 300)
            assert daemon.stop() == 0
        texts = [message.text for message in gateway.messages]
        assert len(texts) == len(set(texts)) == 300
        assert office.ask("SELECT DISTINCT state, possible_duplicate FROM messages") == [("accepted", 0)]
        office.close()


def test_a_rate_is_kept_over_reloads(tmp_path: Path) -> None:
    with HttpGateway() as gateway:
        office = Office(
            tmp_path / "etc",
            gateway={
                "type": "kannel",
                "url": gateway.url,
                "username": "smsd",
                "password": "sesame",
                "rate": 6,
            },
            messages={**ALL_DAY, "encoding": "unaccented"},
        )
        office.add("alpha", dossiers=30)
        with Daemon(office) as daemon:
            baselined(daemon, "alpha")
            office.databases["alpha"].execute(f"UPDATE dossiers SET step = '{READY}'")
            wait_until(lambda: len(gateway.messages) >= 5)
            reload(daemon)
            wait_until(lambda: len(gateway.messages) >= 15)
            assert daemon.stop() == 0
        arrived = [message.monotonic for message in gateway.messages]
        for first, *_ in zip(arrived, strict=False):
            assert sum(1 for at in arrived if first <= at < first + 1.0) <= 6
        office.close()


def test_a_hanging_agency_never_delays_the_others_and_comes_back_by_itself(tmp_path: Path) -> None:
    office = Office(tmp_path / "etc", polling={"interval": "1s", "timeout": "2s", "workers": 2})
    for agency in ("alpha", "beta", "gamma", "hanging"):
        office.add(agency)
    with Daemon(office) as daemon:
        baselined(daemon, "alpha", "beta", "gamma", "hanging")
        office.databases["hanging"].hang()
        daemon.wait_for("read_failed", agency="hanging", code="timeout")
        seen: dict[str, set[object]] = {"alpha": set(), "beta": set(), "gamma": set()}

        def watched() -> bool:
            for agency, at in office.ask("SELECT id, last_good_at FROM agencies WHERE id != 'hanging'"):
                seen[str(agency)].add(at)
            return all(len(reads) >= 6 for reads in seen.values())

        wait_until(watched, seconds=12)
        for reads in seen.values():
            instants = sorted(instant(at) for at in reads)
            gaps = [b - a for a, b in pairwise(instants)]
            assert max(gaps) < timedelta(seconds=2.5), gaps
        office.databases["hanging"].show()
        office.databases["hanging"].update("hanging-0", step=READY)
        wait_until(lambda: "hanging-0" in office.codes(), seconds=25)
        assert daemon.stop() == 0
    assert all(line.startswith("{") for line in daemon.raw)
    assert len(daemon.logged("read_failed", agency="hanging")) <= 4, "one line a try, and tries grow rarer"


def test_a_store_that_fails_is_one_line_and_nothing_is_lost(office: Office) -> None:
    with Daemon(office) as daemon:
        baselined(daemon, "alpha", "beta")
        reads: set[object] = set()
        with closing(sqlite3.connect(office.folder / "smsd.db", isolation_level=None)) as other:
            other.execute("ALTER TABLE runs RENAME TO runs_hidden")
            office.databases["alpha"].update("alpha-0", step=READY)
            wait_until(lambda: any(line["level"] == "error" for line in daemon.lines))
            wait_until(lambda: reads.update(office.ask(_BETA_READ)) or len(reads) >= 6)
            other.execute("ALTER TABLE runs_hidden RENAME TO runs")
        wait_until(lambda: office.codes() == ["alpha-0"])
        assert daemon.stop() == 0
    faults = [
        line["event"] + str(line.get("job") or line.get("tick") or "")
        for line in daemon.lines
        if line["level"] == "error"
    ]
    assert faults
    assert len(faults) == len(set(faults)), "the same fault is told once"
    assert "Traceback" not in "".join(daemon.raw)


def test_health_tells_a_loop_that_turns(office: Office) -> None:
    port = free_port()
    office.write(
        inbound={
            "listen": f"127.0.0.1:{port}",
            "public_url": f"http://127.0.0.1:{port}",
            "secret": "s3cret-of-the-test",
        }
    )
    with Daemon(office) as daemon:
        baselined(daemon, "alpha", "beta")
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            assert answer.status == 200
        assert daemon.stop() == 0
    log = "".join(daemon.raw)
    assert not re.search(r"905123456|Thông báo|s3cret", log)
