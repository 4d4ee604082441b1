"""`smsd audit verify`: what it shows, and its exit status."""

from __future__ import annotations

import re
import shlex
import sqlite3
from html import unescape

import pytest

from smsd.cli import auditing
from tests.cli.office import NUMBER, READY, Office


@pytest.fixture
def busy(baselined: Office) -> Office:
    """A day on which two messages left."""
    for number in (0, 1):
        baselined.move(f"nha-trang-{number}", READY)
    assert baselined.once() == 0
    return baselined


def by_hand(office: Office, statement: str) -> None:
    with sqlite3.connect(office.folder / "smsd.db") as connection:
        connection.execute(statement)
    connection.close()


def test_a_whole_audit_is_said_to_be_one_with_its_head(busy: Office) -> None:
    shown = busy.smsd("audit", "verify")
    first, second = shown.out.splitlines()
    assert (shown.status, shown.err) == (0, "")
    assert first == "the audit is as smsd wrote it: 6 events of 2 messages"
    document = busy.smsd("audit", "verify", "--json").json
    assert second == f"head: {auditing.printed_head(bytes.fromhex(document['head']['hash']))} (event 6)"
    assert (document["whole"], document["faults"], document["messages"]) == (True, [], 2)


def test_the_first_touch_is_named_with_event_message_dossier_and_time(busy: Office) -> None:
    by_hand(busy, "UPDATE message_events SET detail = 'nobody saw' WHERE id = 3")
    by_hand(busy, "DELETE FROM message_events WHERE id = 5")
    shown = busy.smsd("audit", "verify")
    assert shown.status == 1
    head, first, *_ = shown.out.splitlines()
    assert head.startswith("the audit is not as smsd wrote it: ")
    document = busy.smsd("audit", "verify", "--json").json
    fault = document["faults"][0]
    assert (document["whole"], fault["event_id"], fault["agency"]) == (False, 3, "nha-trang")
    assert first.startswith(f"  event 3, message {fault['message_id']}, dossier nha-trang nha-trang-")
    assert first.endswith(": it was changed after smsd wrote it")
    assert NUMBER not in shown.out


def test_many_faults_are_counted_and_not_all_listed(busy: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditing, "_SHOWN", 1)
    by_hand(busy, "UPDATE message_events SET detail = 'x', hash = x'00'")
    lines = busy.smsd("audit", "verify").out.splitlines()
    assert "faults in 6 events" in lines[0]
    assert lines[2] == "  … what comes later may follow from the first"


def test_a_head_printed_in_a_report_is_found_and_a_strange_one_is_not(busy: Office) -> None:
    shown = busy.smsd("report")
    line = next(line for line in shown.out.splitlines() if line.startswith("audit head of "))
    day, _, printed = line.removeprefix("audit head of ").partition(": ")
    (head,) = busy.smsd("report", "--json").json["audit_heads"]
    assert (head["date"], head["hash"]) == (day, printed.replace(" ", ""))
    page = (busy.folder / "reports" / day / "report.html").read_text("utf-8")
    assert printed in page
    found = busy.smsd("audit", "verify", "--head", printed, "--day", f"{day}={printed[:35]}")
    assert found.status == 0
    assert f"head of {day}: in the chain (event 6, " in found.out
    strange = busy.smsd("audit", "verify", "--head", printed, "--head", "ab" * 32)
    assert strange.status == 1
    assert "head abababab…: not in the chain" in strange.out


def test_the_command_a_report_prints_works_as_it_stands_with_the_seal_in_its_place(busy: Office) -> None:
    day = busy.smsd("report", "--json").json["audit_heads"][0]["date"]
    page = unescape((busy.folder / "reports" / day / "report.html").read_text("utf-8"))
    (printed,) = re.findall(r"<code>smsd (audit verify .*?)</code>", page)
    (seal,) = re.findall(r"<code>([0-9a-f ]{71})</code>", page)
    shown = busy.smsd(*shlex.split(printed.replace("<seal>", seal)))
    assert (shown.status, "in the chain" in shown.out) == (0, True)


def test_a_head_of_another_place_is_not_taken_for_the_end_of_a_day(busy: Office) -> None:
    document = busy.smsd("report", "--json").json
    day, head = document["audit_heads"][0]["date"], document["audit_heads"][0]["hash"]
    by_hand(
        busy,
        f"INSERT INTO audit_heads SELECT '{day}', id, hash FROM message_events WHERE id = 5",
    )
    shown = busy.smsd("audit", "verify", "--day", f"{day}={head}")
    assert shown.status == 1
    assert "but not where that day ended" in shown.out


@pytest.mark.parametrize(
    "words",
    [("--head", "12"), ("--day", "2026-08-03"), ("--day", f"yesterday={'ab' * 32}"), ("--day", "2026-08-03=12")],
)  # fmt: skip
def test_a_head_that_is_none_is_wrong_usage(busy: Office, words: tuple[str, str]) -> None:
    shown = busy.smsd("audit", "verify", *words)
    assert (shown.status, shown.out) == (2, "")
    assert words[1] in shown.err or "64 digits" in shown.err


def test_after_purge_the_audit_says_how_much_is_gone(busy: Office) -> None:
    years = 6 * 366 * 24 * 3600 * 1_000_000
    by_hand(busy, f"UPDATE messages SET made_at = made_at - {years}, final_at = final_at - {years}")
    assert busy.smsd("purge").status == 0
    shown = busy.smsd("audit", "verify")
    assert shown.status == 0
    assert "1 events of 0 messages (6 older events were removed by retention)" in shown.out


def test_without_a_store_it_says_so(office: Office) -> None:
    shown = office.smsd("audit", "verify")
    assert shown.status == 1
    assert "there is no state store" in shown.err


def test_a_restored_copy_is_whole_and_says_when_it_was_restored(busy: Office) -> None:
    assert busy.smsd("backup", str(busy.folder / "copy.db")).status == 0
    busy.configure(store="sqlite:///copy.db")
    busy.once()
    shown = busy.smsd("audit", "verify")
    assert shown.status == 0
    assert "restored from a backup on " in shown.out
