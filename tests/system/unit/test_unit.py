"""The unit file, the installer and the credentials on a real server with a real systemd.

They boot a machine of their own (systemd-nspawn), which takes root or sudo without a password.
"""

from __future__ import annotations

import json
import re
import time

import pytest
import yaml

from tests.support.postgres import wait_until
from tests.system.unit.conftest import Installed
from tests.system.unit.machine import SOURCE
from tests.system.unit.server import (
    AGENCY,
    ALARMS,
    CONFIG,
    DATABASE,
    STATE,
    UNREACHABLE_AGENCIES,
    Server,
    agency_yaml,
)

# One server for them all, and the first test may have to make it.
pytestmark = [pytest.mark.xdist_group("systemd"), pytest.mark.timeout(600)]

READY = "Trả kết quả"


# the installer


def test_what_the_installer_leaves_passes_its_check_and_starts(installed: Installed) -> None:
    assert (installed.checked, installed.started) == (0, 0)
    assert installed.status.startswith("0 agencies polled")


def test_only_root_and_the_service_can_read_the_configuration_and_only_root_the_secrets(
    installed: Installed,
) -> None:
    assert installed.owners == {
        CONFIG: "root:smsd 640",
        "/etc/smsd": "root:smsd 750",
        "/etc/smsd/agencies": "root:smsd 750",
        "/etc/smsd/agencies/nha-trang.yaml": "root:smsd 640",
        "/etc/smsd/credentials": "root:root 700",
        "/etc/smsd/credentials/inbound": "root:root 600",
    }


def test_the_program_belongs_to_root_and_brings_documents_and_sql(server: Server) -> None:
    assert server.run("find", "/opt/smsd", "!", "-user", "root").stdout == ""
    assert server.run("find", "/opt/smsd", "-perm", "/go=w", "!", "-type", "l").stdout == ""
    for path in ("doc/README.md", "doc/van-hanh.md", "sql/sqlserver/view.sql"):
        server.run("test", "-s", f"/opt/smsd/share/{path}")


def test_the_installer_run_again_changes_nothing_of_the_operators_and_restarts_a_running_daemon(
    server: Server,
) -> None:
    def kept() -> str:
        return server.run("sh", "-c", "cd /etc/smsd && find . -type f | sort | xargs sha256sum").stdout

    before, pid = kept(), server.main_pid
    said = server.install().stdout
    assert "Restarting smsd" in said and "Making the user" not in said
    assert kept() == before
    assert server.shown("ActiveState") == "active" and server.main_pid not in (0, pid)


def test_the_installer_starts_nothing_that_was_stopped(server: Server) -> None:
    server.systemctl("stop")
    assert "systemctl enable --now smsd" in server.install().stdout
    assert server.shown("ActiveState") == "inactive"


# starting and stopping


def test_the_service_counts_as_started_only_once_it_is_ready(server: Server) -> None:
    server.systemctl("restart")
    entries = server.journal(f"_PID={server.main_pid}")
    (started,) = (entry for entry in entries if '"event": "started"' in entry["MESSAGE"])
    active_since = int(server.shown("ActiveEnterTimestampMonotonic"))
    assert int(started["__MONOTONIC_TIMESTAMP"]) < active_since
    assert "agencies polled" in server.shown("StatusText")


def test_the_service_stops_cleanly_within_ten_seconds(server: Server) -> None:
    pid = server.main_pid
    began = time.monotonic()
    server.systemctl("stop")
    assert time.monotonic() - began < 10
    assert (server.shown("Result"), server.shown("ExecMainStatus")) == ("success", "0")
    assert server.logged(pid, "stopped")


def test_a_wrong_smsd_yaml_ends_with_status_2_and_is_not_tried_again(server: Server) -> None:
    with server.edited(CONFIG, "gateway: {type: pigeon}\n"):
        assert server.systemctl("restart", check=False).returncode != 0
        assert (server.shown("ActiveState"), server.shown("SubState")) == ("failed", "failed")
        assert server.shown("ExecMainStatus") == "2"
        said = server.journal(f"_PID={server.shown('ExecMainPID')}")
        assert said and all(entry["MESSAGE"].startswith(f"{CONFIG}:1:") for entry in said)
        assert server.smsd("check").returncode == 2
    server.run("systemctl", "reset-failed", "smsd")
    server.systemctl("start")


def test_a_killed_daemon_is_started_again_and_every_message_leaves_once(server: Server) -> None:
    codes = [f"H32.9-{number:04}" for number in range(300)]
    pid = server.main_pid
    server.insert(codes, READY)
    wait_until(lambda: server.texted(codes), 30, 0.02)
    server.run("kill", "-KILL", str(pid))
    server.wait_for_restart(pid)
    wait_until(lambda: len(server.texted(codes)) >= len(codes), 60, 0.2)
    server.systemctl("restart")
    server.make_ready()
    assert server.texted(codes) == codes


def test_a_daemon_that_stands_still_is_killed_and_started_again(server: Server) -> None:
    with server.drop_in("WatchdogSec=3"):
        pid, fed = server.main_pid, server.shown("WatchdogTimestampMonotonic")
        wait_until(lambda: server.shown("WatchdogTimestampMonotonic") != fed, 10, 0.2)
        assert server.main_pid == pid
        server.run("kill", "-STOP", str(pid))
        server.wait_for_restart(pid)
        assert any("Watchdog timeout" in entry["MESSAGE"] for entry in server.journal("--lines=50"))


# what it may do


def test_the_daemon_runs_as_its_own_user_without_any_power(server: Server) -> None:
    status = dict(
        line.split(":\t", 1)
        for line in server.read(f"/proc/{server.main_pid}/status").splitlines()
        if ":\t" in line
    )
    uid, gid = (server.run("id", option, "smsd").stdout.strip() for option in ("-u", "-g"))
    assert set(status["Uid"].split()) == {uid} and set(status["Gid"].split()) == {gid}
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_the_sandbox_holds(server: Server) -> None:
    closed = [
        "/etc/smsd",
        "/opt/smsd",
        "/usr/local/bin",
        "/var/lib",
        "/var/log",
        "/root",
        "/home",
        "/srv/loc-tho",
    ]
    probe = f"/usr/bin/python3 {SOURCE}/tests/system/unit/probe.py {STATE} {' '.join(closed)}"
    with server.drop_in(f"ExecStartPre={probe}"):
        results = json.loads(server.read(f"{STATE}/probe.json"))
    server.run("rm", f"{STATE}/probe.json")
    assert [name for name, result in results.items() if result == "done"] == ["write its state"]
    assert len(results) == len(closed) + 12


def test_its_files_are_its_own_whoever_ran_a_command(server: Server) -> None:
    server.insert(["H32.3-0001"], READY)
    wait_until(lambda: server.texted(["H32.3-0001"]), 20, 0.2)
    server.smsd("report", "--date", "2026-01-05")  # status 1: two agencies cannot be asked
    assert server.run("find", STATE, "!", "-user", "smsd").stdout == ""
    assert server.run("find", STATE, "-type", "f", "-perm", "/g=wx,o=rwx").stdout == ""
    closed = (f"{STATE}/smsd.db", f"{STATE}/spool")
    assert server.run("find", *closed, "-perm", "/go=rwx").stdout == ""
    assert server.mode(STATE) == "smsd:smsd 750"
    assert server.mode(f"{STATE}/reports/2026-01-05/report.html") == "smsd:smsd 640"


def test_root_can_run_everything_once_while_the_service_is_stopped(server: Server) -> None:
    server.systemctl("stop")
    server.insert(["H32.4-0001"], READY)
    done = server.smsd("run", "--once")
    assert done.returncode == 1, (
        f"two agencies cannot be reached, nothing else is wrong: {done.stdout}{done.stderr}"
    )
    assert server.texted(["H32.4-0001"]) == ["H32.4-0001"]
    assert server.run("find", STATE, "!", "-user", "smsd").stdout == ""


# what it does


def test_a_change_in_an_agencys_database_becomes_one_message(server: Server) -> None:
    code = "H32.1-0002"
    pid = server.main_pid
    server.insert([code], "Thẩm định")
    polled = server.status_of(AGENCY)["last_good_at"]
    wait_until(lambda: server.status_of(AGENCY)["last_good_at"] > polled, 20, 0.2)
    server.move(code, READY)
    wait_until(lambda: server.texted([code]), 20, 0.2)
    (message,) = (m for m in server.lines(f"{STATE}/spool/*.jsonl") if m["dossier_code"] == code)
    assert (message["to"], message["kind"], message["agency"]) == ("84905123000", "result_ready", AGENCY)
    assert server.mode(DATABASE) == "root:smsd 640" and server.main_pid == pid


def test_the_drivers_of_other_databases_work_within_the_sandbox(server: Server) -> None:
    for agency in UNREACHABLE_AGENCIES:
        wait_until(lambda one=agency: server.status_of(one)["error_code"], 30, 0.2)
        assert server.status_of(agency)["error_code"] == "unreachable", server.status_of(agency)["error"]


def test_the_journal_gets_json_lines_without_numbers_and_secrets(server: Server) -> None:
    server.insert(["H32.5-0001"], READY)
    wait_until(lambda: server.texted(["H32.5-0001"]), 20, 0.2)
    said = server.said(server.main_pid)
    events = [json.loads(line) for line in said]
    assert events and all({"event", "level", "at"} <= event.keys() for event in events)
    everything = "\n".join(
        entry["MESSAGE"] for entry in server.journal() if isinstance(entry["MESSAGE"], str)
    )
    assert not re.search(r"905\s?123", everything)
    for secret in ("inbound", "so-xay-dung"):
        assert server.read(f"/etc/smsd/credentials/{secret}").strip() not in everything


# reloading


def test_a_reload_takes_a_changed_agency_and_keeps_the_process(server: Server) -> None:
    pid, file = server.main_pid, server.agency_file(AGENCY)
    reloads = len(server.logged(pid, "reloaded"))
    with server.edited(file, agency_yaml(f"sqlite:///{DATABASE}", mode="shadow")):
        server.systemctl("reload")
        server.wait_for_log(pid, "reloaded", reloads + 1)
        server.insert(["H32.6-0001"], READY)
        wait_until(lambda: '"shadow"' in server.smsd("trace", "H32.6-0001", "--json").stdout, 20, 0.2)
        assert server.texted(["H32.6-0001"]) == []
    server.systemctl("reload")
    server.wait_for_log(pid, "reloaded", reloads + 2)
    assert (server.shown("ActiveState"), server.main_pid) == ("active", pid)


def test_a_reload_leaves_an_agency_whose_file_is_wrong_as_it_was_and_tells_the_operator(
    server: Server,
) -> None:
    pid, file = server.main_pid, server.agency_file(AGENCY)
    reloads = len(server.logged(pid, "reloaded"))
    with server.edited(file, agency_yaml(f"sqlite:///{DATABASE}", modus="shadow")):
        server.systemctl("reload")
        server.wait_for_log(pid, "reloaded", reloads + 1)
        server.insert(["H32.7-0001"], READY)
        wait_until(lambda: server.texted(["H32.7-0001"]), 20, 0.2)
        assert f"config:{AGENCY}" in {alarm["key"] for alarm in server.status()["alarms"]}
        wait_until(lambda: f"config:{AGENCY}" in {alarm["key"] for alarm in server.lines(ALARMS)}, 20, 0.2)
    server.systemctl("reload")
    server.wait_for_log(pid, "reloaded", reloads + 2)
    assert f"config:{AGENCY}" not in {alarm["key"] for alarm in server.status()["alarms"]}


def test_a_reload_with_a_wrong_smsd_yaml_changes_nothing_and_raises_an_alarm(server: Server) -> None:
    pid = server.main_pid
    with server.edited(CONFIG, "gateway: {type: pigeon}\n"):
        server.systemctl("reload")
        wait_until(lambda: "config" in {alarm["key"] for alarm in server.lines(ALARMS)}, 20, 0.2)
        server.insert(["H32.8-0001"], READY)
        wait_until(lambda: server.texted(["H32.8-0001"]), 20, 0.2)
    reloads = len(server.logged(pid, "reloaded"))
    server.systemctl("reload")
    server.wait_for_log(pid, "reloaded", reloads + 1)
    assert (server.shown("ActiveState"), server.main_pid) == ("active", pid)


# secrets


def test_credentials_reach_the_daemon_and_roots_commands(server: Server) -> None:
    secret = server.read("/etc/smsd/credentials/inbound").strip()
    ask = (
        "import sys, urllib.error, urllib.parse, urllib.request\n"
        "query = urllib.parse.urlencode({'from': '84905123456', 'text': 'MCKH H32.1-0001', 'id': sys.argv[1], "
        "'token': sys.argv[1]})\n"
        "try: print(urllib.request.urlopen('http://127.0.0.1:8029/lookups?' + query).read().decode())\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    assert "Tiếp nhận" in server.run("python3", "-c", ask, secret).stdout
    assert server.run("python3", "-c", ask, "wrong").stdout.strip() == "403"
    assert server.smsd("check", AGENCY).returncode == 0
    checked = server.smsd("check", "so-xay-dung")
    assert checked.returncode == 1 and "credential" not in checked.stdout + checked.stderr


def test_a_new_credential_is_closed_to_others_and_counts_after_a_restart(server: Server) -> None:
    folder = "/etc/smsd/credentials"
    server.write(f"{folder}/nha-trang", "p@ss:word/\n")
    server.run("chmod", "0644", f"{folder}/nha-trang")
    server.write(f"{folder}/not a name", "x")
    said = server.run("smsd-credentials")
    assert "not a name" in said.stderr and "3 credentials" in said.stdout
    assert server.mode(f"{folder}/nha-trang") == "root:root 600"
    server.systemctl("restart")
    listed = server.run("ls", "/run/credentials/smsd.service").stdout.split()
    assert listed == ["inbound", "nha-trang", "so-xay-dung"]
    server.run("rm", f"{folder}/nha-trang", f"{folder}/not a name")
    assert "2 credentials" in server.run("smsd-credentials").stdout


def test_a_secret_that_is_not_there_is_named_by_the_daemon_and_the_check(server: Server) -> None:
    settings = yaml.safe_load(server.read(CONFIG)) | {"inbound": {"secret": "${credential:nowhere}"}}
    with server.edited(CONFIG, yaml.safe_dump(settings)):
        checked = server.smsd("check")
        assert checked.returncode == 2 and "the credential nowhere is not set" in checked.stderr
