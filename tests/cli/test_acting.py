"""Commands that read now, write reports, or carry an operator's decision."""

from __future__ import annotations

import csv
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from smsd.cli.frame import os_user
from tests.cli.office import NUMBER, READY, Office


def decisions(office: Office) -> list[tuple[str, str, str]]:
    with sqlite3.connect(office.folder / "smsd.db") as connection:
        return list(connection.execute("SELECT os_user, action, agency FROM decisions ORDER BY id"))


def queue_of(office: Office) -> dict[str, int]:
    queue: dict[str, int] = office.smsd("status", "--json").json["queue"]
    return queue


# poll


def test_a_dry_run_shows_the_messages_and_changes_nothing(baselined: Office) -> None:
    baselined.move("nha-trang-1", READY)
    baselined.move("nha-trang-2", READY, phone="khong co")
    for _ in range(2):
        document = baselined.smsd("poll", "nha-trang", "--dry-run", "--json").json
        assert (document["dry_run"], document["made"], document["suppressed"]) == (True, 2, 1)
        made = {m["dossier_code"]: (m["state"], m["reason"], m["phone"]) for m in document["messages"]}
        assert made["nha-trang-1"] == ("queued", None, "0905***456")
        assert made["nha-trang-2"][:2] == ("suppressed", "no_phone")
    assert queue_of(baselined) == {}
    shown = baselined.smsd("poll", "nha-trang", "--dry-run")
    assert "2 messages would be made (1 suppressed)" in shown.out
    assert NUMBER not in shown.out


def test_a_poll_makes_the_messages_and_leaves_the_sending_to_the_daemon(baselined: Office) -> None:
    baselined.move("nha-trang-1", READY)
    shown = baselined.smsd("poll", "nha-trang")
    assert (shown.status, queue_of(baselined)) == (0, {"queued": 1})
    assert "1 messages made (0 suppressed)" in shown.out
    assert baselined.spooled() == []
    assert baselined.once() == 0
    assert [m["dossier_code"] for m in baselined.spooled()] == ["nha-trang-1"]


def test_a_read_that_cannot_be_true_is_taken_only_with_accept_and_that_is_recorded(office: Office) -> None:
    for number in range(30):
        office.stand(f"H32.{number}")
    office.once()
    for number in range(25):
        office.databases["nha-trang"].delete(f"H32.{number}")
    refused = office.smsd("poll", "nha-trang")
    assert (refused.status, refused.out) == (1, "")
    assert "smsd poll nha-trang --accept" in refused.err
    assert decisions(office) == []
    accepted = office.smsd("poll", "nha-trang", "--accept")
    assert accepted.status == 0
    assert decisions(office) == [(os_user(), "accept", "nha-trang")]
    assert office.smsd("poll", "nha-trang").status == 0


def test_a_baseline_records_everything_sends_nothing_and_is_recorded(baselined: Office) -> None:
    baselined.move("nha-trang-1", READY)
    document = baselined.smsd("poll", "nha-trang", "--baseline", "--json").json
    assert (document["baseline"], document["made"]) == (True, 0)
    assert decisions(baselined) == [(os_user(), "baseline", "nha-trang")]
    assert baselined.once() == 0
    assert baselined.spooled() == []


def test_an_agency_that_is_off_is_not_read(baselined: Office) -> None:
    baselined.agency("nha-trang", mode="off")
    shown = baselined.smsd("poll", "nha-trang")
    assert (shown.status, shown.out) == (1, "")
    assert "mode: off" in shown.err


def test_an_agency_whose_file_is_wrong_is_refused_with_every_mistake(baselined: Office) -> None:
    file = baselined.folder / "agencies" / "nha-trang.yaml"
    file.write_text("name: Nha Trang\nmode: loud\n")
    shown = baselined.smsd("poll", "nha-trang")
    assert (shown.status, shown.out) == (2, "")
    assert all(line.startswith(f"{file}:") for line in shown.err.splitlines())
    assert len(shown.err.splitlines()) >= 2


def test_a_view_that_is_gone_is_one_line_and_a_hint(baselined: Office) -> None:
    baselined.databases["nha-trang"].lose_view()
    shown = baselined.smsd("poll", "nha-trang")
    assert (shown.status, shown.out, len(shown.err.splitlines())) == (1, "", 2)


def test_a_view_that_hangs_is_given_up_after_its_timeout(baselined: Office) -> None:
    baselined.agency("nha-trang", timeout="1s")
    baselined.databases["nha-trang"].hang()
    began = datetime.now(baselined.zone)
    shown = baselined.smsd("poll", "nha-trang")
    assert shown.status == 1
    assert datetime.now(baselined.zone) - began < timedelta(seconds=5)


# apology


@pytest.fixture
def at_noon(office: Office) -> Office:
    """Three dossiers are due tomorrow, one of them ready; today's pass is to come at 13:30."""
    office.configure(notices={**office.settings["notices"], "apology": {"at": "13:30", "until": "20:00"}})
    tomorrow = datetime.now(office.zone) + timedelta(days=1)
    office.stand("H32.due", due_at=tomorrow)
    office.stand("H32.nobody", due_at=tomorrow, phone="")
    office.stand("H32.ready", due_at=tomorrow, step=READY)
    office.once()
    return office


def test_the_apologies_of_today_are_shown_and_none_is_made(at_noon: Office) -> None:
    shown = at_noon.smsd("apology", "--dry-run")
    assert shown.status == 0
    assert "nha-trang: 2 apologies" in shown.out
    assert "so-xay-dung: 0 apologies" in shown.out
    assert "H32.ready" not in shown.out
    document = at_noon.smsd("apology", "--dry-run", "--json").json
    assert [m["dossier_code"] for m in document["agencies"]["nha-trang"]] == ["H32.due", "H32.nobody"]
    assert queue_of(at_noon) == {}


def test_a_pass_that_is_over_and_one_that_cannot_be_are_told_from_one_to_come(at_noon: Office) -> None:
    assert at_noon.once(later=timedelta(hours=2)) == 0
    assert (
        "nha-trang: 0 more apologies (today's pass is done: 2 made)"
        in at_noon.smsd("apology", "--dry-run").out
    )
    at_noon.configure(notices={"apology": {"at": "11:00", "until": "11:30"}})
    at_noon.add("cam-ranh")
    assert "cam-ranh: no pass today: its first read" in at_noon.smsd("apology", "--dry-run").out
    at_noon.smsd("poll", "cam-ranh")
    assert "cam-ranh: no pass today: the baseline came after" in at_noon.smsd("apology", "--dry-run").out


def test_an_agency_out_of_reach_is_told_beside_the_others(at_noon: Office) -> None:
    at_noon.databases["so-xay-dung"].lose_view()
    shown = at_noon.smsd("apology", "--dry-run")
    assert shown.status == 1
    assert "nha-trang: 2 apologies" in shown.out
    assert "so-xay-dung could not be read" in shown.out
    assert list(at_noon.smsd("apology", "--dry-run", "--json").json["failed"]) == ["so-xay-dung"]


# held batches


@pytest.fixture
def too_many(office: Office) -> Office:
    """Three messages at once where two are allowed."""
    office.configure(messages={"hold_above": 2, "sending_hours": "00:00-00:00"})
    assert office.once() == 0
    for number in range(3):
        office.move(f"nha-trang-{number}", READY)
    assert office.once() == 1, "a held batch is an alarm"
    assert office.spooled() == []
    return office


def test_a_held_batch_is_listed_and_goes_when_it_is_released(too_many: Office) -> None:
    listed = too_many.smsd("held", "--json").json
    assert [(b["agency"], b["kind"], b["messages"]) for b in listed] == [("nha-trang", "result_ready", 3)]
    assert "nha-trang" in too_many.smsd("held", "list").out
    shown = too_many.smsd("held", "release", "nha-trang")
    assert (shown.status, shown.out) == (0, "3 messages of nha-trang released\n")
    assert decisions(too_many) == [(os_user(), "release", "nha-trang")]
    assert too_many.once() == 0
    assert len(too_many.spooled()) == 3
    assert too_many.smsd("held").out == "nothing is held\n"


def test_a_held_batch_ends_when_it_is_discarded(too_many: Office) -> None:
    document = too_many.smsd("held", "discard", "nha-trang", "--json").json
    assert document == {"agency": "nha-trang", "decision": "discarded", "messages": 3}
    assert decisions(too_many) == [(os_user(), "discard", "nha-trang")]
    assert too_many.once() == 0
    assert too_many.spooled() == []
    total = too_many.smsd("report", "--json").json["reconciliation"][-1]
    assert (total["result_ready_made"], total["result_ready_suppressed"]) == (3, 3)


@pytest.mark.parametrize("action", ["release", "discard"])
def test_there_is_nothing_to_decide_on_where_nothing_is_held(baselined: Office, action: str) -> None:
    shown = baselined.smsd("held", action, "nha-trang")
    assert (shown.status, shown.out) == (1, "nothing of nha-trang is held\n")
    assert decisions(baselined) == []


# reports


def test_a_report_shows_the_totals_that_its_file_holds(baselined: Office) -> None:
    now = datetime.now(baselined.zone)
    baselined.move("nha-trang-1", READY, resolved_at=now)
    baselined.move("nha-trang-2", READY, resolved_at=now, phone="0258 3822222")
    baselined.once()
    document = baselined.smsd("report", "--json").json
    total = document["reconciliation"][-1]
    assert (total["agency"], total["resolved"], total["unexplained"]) == ("*", 2, 0)
    assert (total["result_ready_made"], total["result_ready_delivered"], total["landline"]) == (2, 1, 1)
    assert [row["reason"] for row in document["exceptions"]] == ["landline"]
    with Path(document["files"]["reconciliation"]).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["agency"] for row in rows if row["procedure_code"] == "*"] == [
        "nha-trang",
        "so-xay-dung",
        "*",
    ]
    assert rows[-1]["result_ready_delivered"] == "1"
    shown = baselined.smsd("report", "--date", f"{now:%Y-%m-%d}")
    assert shown.status == 0
    assert str(document["files"]["page"]) in shown.out


def test_results_of_before_the_first_baseline_are_unexplained_on_the_day_of_installing(
    office: Office,
) -> None:
    for code in ("nha-trang-1", "nha-trang-2"):
        office.move(code, READY, resolved_at=datetime.now(office.zone))
    office.once()
    office.move("nha-trang-3", READY, resolved_at=datetime.now(office.zone))
    office.once()
    document = office.smsd("report", "--json").json
    assert (document["reconciliation"][-1]["resolved"], document["reconciliation"][-1]["unexplained"]) == (
        3,
        2,
    )
    assert {(row["dossier_code"], row["reason"]) for row in document["exceptions"]} == {
        ("nha-trang-1", "unexplained"),
        ("nha-trang-2", "unexplained"),
    }


def test_a_range_has_its_days_and_files_of_its_own(baselined: Office) -> None:
    today = datetime.now(baselined.zone).date()
    first = today - timedelta(days=2)
    document = baselined.smsd("report", "--from", str(first), "--to", str(today), "--json").json
    days = {row["date"] for row in document["reconciliation"]}
    assert {str(first), str(today)} <= days
    assert f"{first}_{today}" in document["files"]["reconciliation"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("25/11/2026", "did you mean 2026-11-25?"), ("1-8-2026", "did you mean 2026-08-01?"),
        ("25.11.26", "did you mean 2026-11-25?"), ("11/25/2026", "did you mean 2026-11-25?"),
        ("2026/11/25", "did you mean 2026-11-25?"), ("20261125", "did you mean 2026-11-25?"),
        ("2026-02-30", "such as 2026-08-03"), ("32/13/2026", "such as 2026-08-03"), ("hôm qua", "such as 2026-08-03"),
    ],
)  # fmt: skip
def test_a_day_in_another_form_is_refused_with_the_form_and_the_day_that_was_meant(
    baselined: Office, typed: str, said: str
) -> None:
    for words in (("--date", typed), ("--from", typed, "--to", "2026-08-03")):
        shown = baselined.smsd("report", *words)
        assert (shown.status, shown.out) == (2, "")
        assert f"'{typed}' is no day, accepted: YYYY-MM-DD; {said}" in " ".join(shown.err.split())
    assert not (baselined.folder / "reports").exists()


def test_an_agency_that_cannot_be_asked_leaves_blank_counts_and_ends_with_1(baselined: Office) -> None:
    baselined.databases["so-xay-dung"].lose_view()
    shown = baselined.smsd("report", "--json")
    assert shown.status == 1
    assert list(shown.json["not_asked"]) == ["so-xay-dung"]
    rows = [r for r in shown.json["reconciliation"] if r["agency"] == "so-xay-dung"]
    assert all(row["received"] is None for row in rows)
    assert "so-xay-dung could not be asked" in baselined.smsd("report").out


def test_no_command_ever_sends(baselined: Office) -> None:
    baselined.move("nha-trang-1", READY)
    for words in (
        ["poll", "nha-trang"], ["check"], ["status"], ["report"], ["purge"], ["apology", "--dry-run"],
        ["held", "release", "nha-trang"],
        ["trace", "nha-trang-1"], ["lookup", "MCKH nha-trang-1"],
    ):  # fmt: skip
        baselined.smsd(*words)
    assert baselined.spooled() == []
