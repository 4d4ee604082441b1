"""`smsd status`: what an operator sees first, and the exit status that scripts look at."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta

from smsd.adapters.store.engine import Database
from smsd.adapters.store.journal import Journal
from smsd.core.clock import SystemClock
from smsd.daemon_fact import DAEMON_FACT
from tests.cli.office import READY, RECEIVED, SUPPLEMENT, Office


def test_a_sound_installation_is_told_agency_by_agency(baselined: Office) -> None:
    baselined.agency("loc-tho", mode="off", database="sqlite:///../loc-tho.db")
    shown = baselined.smsd("status")
    assert shown.status == 0
    lines = {line.split()[0]: line.split() for line in shown.out.splitlines() if line}
    assert " ".join(lines["daemon"][1:]) == "not running; start it: systemctl start smsd"
    assert lines["gateway"] == ["gateway", "spool:", "nothing", "waits"]
    assert lines["nha-trang"][1] == "live"
    assert lines["nha-trang"][-5] == "4"
    assert lines["nha-trang"][-3:] == ["s", "full", "good"]
    assert lines["loc-tho"][1] == "off"
    assert all(len(line) <= 100 for line in shown.out.splitlines())


def test_programs_read_the_same_with_lag_and_queue(baselined: Office) -> None:
    baselined.move("nha-trang-0", READY)
    baselined.smsd("poll", "nha-trang")
    document = baselined.smsd("status", "--json").json
    agency = next(a for a in document["agencies"] if a["id"] == "nha-trang")
    assert document["daemon"]["running"] is False
    assert document["queue"] == agency["queue"] == {"queued": 1}
    assert 0 <= agency["lag_seconds"] < 60
    assert datetime.fromisoformat(agency["last_good_at"]).tzinfo is not None
    assert (agency["rows"], agency["dossiers"], agency["error"]) == (4, 4, None)


def test_why_messages_wait_is_told_in_a_line_and_to_programs(baselined: Office) -> None:
    assert "waiting" not in baselined.smsd("status").out
    assert baselined.smsd("status", "--json").json["waiting"]["messages"] == 0
    baselined.configure(notices={"result_ready": {"settle": "1h"}, "supplement": {"settle": "0s"}})
    baselined.move("nha-trang-0", READY)
    baselined.move("nha-trang-1", READY)
    baselined.move("nha-trang-2", RECEIVED, status=SUPPLEMENT)
    assert baselined.smsd("poll", "nha-trang").status == 0
    assert "\nwaiting  3 (2 settling, 1 until the daemon works)\n" in baselined.smsd("status").out
    told = baselined.smsd("status", "--json").json["waiting"]
    assert told["messages"] == 3
    settling, due = told["why"]
    assert (settling["reason"], settling["messages"], settling["agencies"]) == ("settling", 2, ["nha-trang"])
    wait = datetime.fromisoformat(settling["until"]) - datetime.now(baselined.zone)
    assert timedelta(minutes=55) < wait <= timedelta(hours=1)
    assert (due["reason"], due["messages"], due["until"]) == ("daemon", 1, None)


def test_outside_sending_hours_the_line_tells_when_they_begin(baselined: Office) -> None:
    baselined.configure(messages={"sending_hours": "03:00-04:00"})  # it is noon
    baselined.move("nha-trang-0", READY)
    assert baselined.smsd("poll", "nha-trang").status == 0
    database = Database(f"sqlite:///{baselined.folder / 'smsd.db'}")
    database.lock()
    assert "\nwaiting  1 (1 until 03:00)\n" in baselined.smsd("status").out
    database.close()


def test_an_agency_that_cannot_be_read_is_told_with_its_fault_and_ends_with_1(baselined: Office) -> None:
    baselined.databases["nha-trang"].lose_view()
    assert baselined.once() == 1
    shown = baselined.smsd("status")
    assert shown.status == 1
    assert "nha-trang cannot be read (since" in shown.out
    assert "tried again at" in shown.out
    assert "ALARM" in shown.out
    document = baselined.smsd("status", "--json").json
    assert [alarm["key"] for alarm in document["alarms"]] == ["agency:nha-trang"]
    assert next(a for a in document["agencies"] if a["id"] == "nha-trang")["error_code"] == "view_missing"


def test_an_agency_whose_file_is_wrong_is_listed_with_every_mistake(baselined: Office) -> None:
    (baselined.folder / "agencies" / "so-xay-dung.yaml").write_text(
        "name: Sở Xây dựng\nmode: loud\nbogus: 1\n"
    )
    shown = baselined.smsd("status")
    assert shown.status == 1
    assert "so-xay-dung: its file is wrong" in shown.out
    assert shown.out.count("so-xay-dung.yaml:") >= 3
    problems = baselined.smsd("status", "--json").json["problems"]
    assert len(problems["so-xay-dung"]) >= 3


def test_an_agency_that_was_read_and_whose_file_is_wrong_now_is_not_called_good(baselined: Office) -> None:
    file = baselined.folder / "agencies" / "nha-trang.yaml"
    file.write_text(file.read_text("utf-8") + "\nbogus: 1\n", "utf-8")
    [row] = [line for line in baselined.smsd("status").out.splitlines() if line.startswith("nha-trang ")]
    assert "wrong file" in row
    assert "good" not in row


def test_a_running_daemon_is_told_from_one_that_hangs_and_from_one_that_is_gone(baselined: Office) -> None:
    database = Database(f"sqlite:///{baselined.folder / 'smsd.db'}")
    journal = Journal(database)
    now = SystemClock().now()

    def seen(ago: timedelta) -> None:
        journal.note_fact(
            DAEMON_FACT, json.dumps({"pid": 4711, "version": "1", "at": (now - ago).isoformat()})
        )

    database.lock()
    seen(timedelta(seconds=20))
    shown = baselined.smsd("status")
    assert shown.status == 0
    assert "daemon   running (pid 4711), smsd 1" in shown.out
    seen(timedelta(minutes=10))
    shown = baselined.smsd("status")
    assert shown.status == 1
    assert "daemon   hangs" in shown.out
    database.close()
    shown = baselined.smsd("status")
    assert shown.status == 0
    assert "daemon   not running; the last sign of life" in shown.out


def test_an_agency_nobody_has_read_for_long_is_overdue_and_a_fault(baselined: Office) -> None:
    with closing(sqlite3.connect(baselined.folder / "smsd.db")) as store, store:
        store.execute("UPDATE agencies SET last_good_at = last_good_at - 7200000000")
    shown = baselined.smsd("status")
    assert shown.status == 1
    assert "overdue" in shown.out


def test_a_mode_that_is_not_reloaded_yet_is_told_beside_the_one_in_force(baselined: Office) -> None:
    baselined.agency("nha-trang", mode="off")
    assert "live (file: off)" in baselined.smsd("status").out


def test_an_agency_whose_file_is_wrong_keeps_its_line(baselined: Office) -> None:
    (baselined.folder / "agencies" / "nha-trang.yaml").write_text("name: Nha Trang\nbogus: 1\n")
    rows = {agency["id"]: agency for agency in baselined.smsd("status", "--json").json["agencies"]}
    assert rows["nha-trang"]["rows"] is not None
