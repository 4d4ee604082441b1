"""A citizen's request about their own number, and what retention does by itself."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from smsd.cli import main
from smsd.cli.frame import os_user
from smsd.installation import read_installation
from smsd.services.ports import LookupRequest
from smsd.wiring import System, open_database
from tests.cli.office import DONE, NUMBER, READY, Office

SPELLINGS = (("0905123456",), ("+84905123456",), ("0905", "123", "456"), ("84.905.123.456",), ("905123456",))


@pytest.fixture
def told(office: Office) -> Iterator[Office]:
    """One dossier of the number is closed after its message, one is open; the number asked after the first."""
    office.configure(inbound={"listen": "127.0.0.1:0", "public_url": "http://localhost", "secret": "s3cret"})
    for database in office.databases.values():
        database.execute("UPDATE dossiers SET phone = '0912345678'")
    office.once()
    office.databases["nha-trang"].execute(
        "UPDATE dossiers SET phone = '0905 123 456' WHERE dossier_code IN ('nha-trang-1', 'nha-trang-2')"
    )
    office.move("nha-trang-1", READY)
    assert office.once() == 0
    office.move("nha-trang-1", DONE)
    assert office.once() == 0
    database = open_database(read_installation(office.config, {}).settings)
    with closing(database), closing(System(read_installation(office.config, {}), database)) as system:
        system.lookups.answer(LookupRequest("+84905123456", "MCKH nha-trang-1", "q1"))
    yield office


def stored(office: Office, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(office.folder / "smsd.db")) as connection:
        return connection.execute(query).fetchall()


def files_with(folder: Path, *needles: bytes) -> list[str]:
    return sorted(
        p.name for p in folder.rglob("*") if p.is_file() and any(n in p.read_bytes() for n in needles)
    )


@pytest.mark.parametrize("typed", SPELLINGS, ids=" ".join)
def test_everything_kept_of_a_number_is_shown_however_it_is_typed(
    told: Office, typed: tuple[str, ...]
) -> None:
    document = told.smsd("privacy", "show", *typed, "--json").json
    assert document["number"] == "84905123456"
    assert [d["code"] for d in document["dossiers"]] == ["nha-trang-1", "nha-trang-2"]
    (message,) = document["messages"]
    assert (message["dossier_code"], message["kind"], message["state"]) == (
        "nha-trang-1",
        "result_ready",
        "delivered",
    )
    assert "(nha-trang-1)" in message["text"]
    (asked,) = document["lookups"]
    assert (asked["outcome"], asked["dossier_code"], "nha-trang-1" in asked["answer"]) == (
        "found",
        "nha-trang-1",
        True,
    )
    assert [one["lines"] for one in document["spooled"]] == [1]
    shown = told.smsd("privacy", "show", *typed)
    assert shown.status == 0
    for word in ("nha-trang-2", "result_ready", "delivered", "found", ".jsonl: 1 lines", "smsd backup"):
        assert word in shown.out


def test_a_number_nobody_has_is_an_answer_and_what_is_no_number_is_wrong_usage(told: Office) -> None:
    shown = told.smsd("privacy", "show", "0987654321")
    assert (shown.status, "Nothing is kept" in shown.out) == (0, True)
    for typed, why in (
        ("nobody", "no number"), ("12", "too short"), ("0905123456 0912345678", "several numbers"),
    ):  # fmt: skip
        for action in ("show", "erase"):
            refused = told.smsd("privacy", action, typed)
            assert (refused.status, refused.out) == (2, "")
            assert why in refused.err
            assert "912345678" not in refused.err


def test_erasing_leaves_counts_and_masks_and_says_what_it_did_not_touch(told: Office) -> None:
    day = told.smsd("report", "--json").json
    pages = {
        p.name: p.read_bytes()
        for p in (told.folder / "reports").rglob("*.*")
        if p.suffix in (".csv", ".html")
    }
    shown = told.smsd("privacy", "erase", "+84 905 123 456", "--yes")
    assert shown.status == 0
    assert (
        "Erased of 0905***456: 1 messages, the number of 1 dossiers, 1 look-ups, 1 spooled lines."
        in shown.out
    )
    assert "nha-trang nha-trang-2: Thẩm định" in shown.out
    assert "Ask the agency to remove it there" in shown.out
    assert "905123456" not in shown.out.replace(" ", "") + shown.err

    assert stored(told, "SELECT phone, text, phone_masked FROM messages") == [(None, None, "0905***456")]
    assert stored(told, "SELECT number_digest, number_masked, answer FROM inquiries") == [("", "", "")]
    assert stored(told, "SELECT code FROM dossiers WHERE phone LIKE '0905%'") == [("nha-trang-2",)]
    assert stored(told, "SELECT os_user, action, detail FROM decisions") == [
        (os_user(), "erase", "0905***456: 1 messages, 1 dossiers, 1 look-ups")
    ]
    assert files_with(told.folder / "spool", b"905123456", "Thông báo".encode()) == []
    assert told.smsd("report", "--json").json == day
    assert pages == {
        p.name: p.read_bytes()
        for p in (told.folder / "reports").rglob("*.*")
        if p.suffix in (".csv", ".html")
    }
    assert told.smsd("trace", "nha-trang-1").status == 0


def erase_at_a_terminal(office: Office, *words: str, typed: str) -> subprocess.CompletedProcess[str]:
    """``smsd privacy erase`` with a terminal for its standard input, on which somebody types this."""
    terminal, its_input = pty.openpty()
    command = [sys.executable, "-m", "smsd", "--config", str(office.config), "privacy", "erase", *words]
    try:
        os.write(terminal, typed.encode())
        return subprocess.run(
            command, stdin=its_input, capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        os.close(terminal)
        os.close(its_input)


def kept_of_the_number(office: Office) -> list[tuple[Any, ...]]:
    return stored(
        office, "SELECT phone, text FROM messages UNION SELECT number_digest, answer FROM inquiries"
    )


@pytest.mark.parametrize("typed", ["no\n", "\n", "y\n", "\x04"], ids=["no", "nothing", "y", "end of input"])
def test_at_a_terminal_it_tells_what_it_comes_to_and_anything_but_yes_changes_nothing(
    told: Office, typed: str
) -> None:
    before = kept_of_the_number(told)
    done = erase_at_a_terminal(told, NUMBER, typed=typed)
    assert (done.returncode, done.stdout) == (1, "")
    said = done.stderr
    assert (
        "To be erased of 0905***456, for good: 1 messages, the number of 1 dossiers, 1 look-ups, 1 spooled lines."
        in said
    )
    assert "Not touched: 0 messages on their way, 1 open dossiers." in said
    assert said.endswith("Type yes to erase: smsd: nothing was erased\n")
    assert "905123456" not in said
    assert kept_of_the_number(told) == before
    assert stored(told, "SELECT count(*) FROM decisions") == [(0,)]


def test_at_a_terminal_yes_erases_as_much_as_was_told_and_the_document_stays_alone(told: Office) -> None:
    done = erase_at_a_terminal(told, "-", "--json", typed="0905 123 456\nyes\n")
    assert done.returncode == 0, done.stderr
    erased = json.loads(done.stdout)["erased"]
    assert erased == {"messages": 1, "dossiers": 1, "lookups": 1, "spooled": 1}
    assert "1 messages, the number of 1 dossiers, 1 look-ups, 1 spooled lines" in done.stderr
    assert stored(told, "SELECT count(*), count(phone) FROM messages") == [(1, 0)]


@pytest.mark.parametrize("words", [(NUMBER,), (NUMBER, "--json"), ("-",)], ids=" ".join)
def test_without_a_terminal_and_without_yes_it_is_refused_and_changes_nothing(
    told: Office, words: tuple[str, ...]
) -> None:
    before = kept_of_the_number(told)
    done = CliRunner().invoke(
        main, ["--config", str(told.config), "privacy", "erase", *words], input=f"{NUMBER}\nyes\n"
    )
    assert (done.exit_code, done.stdout) == (2, "")
    assert "nothing was erased" in done.stderr and "--yes" in done.stderr
    assert kept_of_the_number(told) == before
    assert stored(told, "SELECT count(*) FROM decisions") == [(0,)]


def test_what_was_erased_is_never_sent_again_whatever_comes_next(told: Office) -> None:
    told.smsd("privacy", "erase", NUMBER, "--yes")
    sent = len(told.spooled())
    assert told.once() == 0
    assert told.smsd("poll", "nha-trang", "--baseline").status == 0
    told.configure(messages={**told.settings["messages"], "repeat_after": "1s"})
    assert told.once(later=timedelta(days=1)) == 0
    assert len(told.spooled()) == sent
    assert stored(told, "SELECT count(*), count(phone), count(text) FROM messages") == [(1, 0, 0)]
    told.move("nha-trang-1", READY)  # something new at the agency: it is read again, and is news
    assert told.once(later=timedelta(days=1)) == 0
    assert len(told.spooled()) == sent + 1
    assert told.smsd("privacy", "erase", NUMBER, "--yes", "--json").json["erased"]["messages"] == 1


def test_a_message_on_its_way_is_not_touched_and_is_named(told: Office) -> None:
    told.move("nha-trang-2", READY)
    assert told.smsd("poll", "nha-trang").status == 0
    document = told.smsd("privacy", "erase", NUMBER, "--yes", "--json").json
    assert document["phone"] == "0905***456"
    assert [(m["dossier_code"], m["state"]) for m in document["on_their_way"]] == [("nha-trang-2", "queued")]
    assert [d["code"] for d in document["still_needed"]] == ["nha-trang-2"]
    assert told.once() == 0
    assert told.spooled()[-1]["to"] == "84905123456"
    assert told.smsd("privacy", "erase", NUMBER, "--yes", "--json").json["erased"]["messages"] == 1


def test_the_number_can_be_read_from_standard_input_so_that_no_history_keeps_it(told: Office) -> None:
    words = ["--config", str(told.config), "privacy", "show", "-", "--json"]
    done = CliRunner().invoke(main, words, input="0905 123 456\n")
    assert json.loads(done.stdout)["number"] == "84905123456"
    assert CliRunner().invoke(main, words, input="").exit_code == 2


# retention


def test_retention_blanks_numbers_and_texts_removes_spool_files_and_leaves_every_figure(told: Office) -> None:
    day = told.smsd("report", "--json").json
    told.configure(retention={"personal_data": "1d", "records": "5y"})
    assert told.once(later=timedelta(days=3)) == 0  # the daemon does so by itself, once a day
    assert stored(told, "SELECT phone, text, phone_masked FROM messages") == [(None, None, "0905***456")]
    assert stored(told, "SELECT number_digest FROM inquiries") == [("",)]
    assert stored(told, "SELECT code FROM dossiers WHERE phone LIKE '0905%'") == [("nha-trang-2",)]
    assert list((told.folder / "spool").iterdir()) == []
    again = told.smsd("report", "--json").json
    assert again == day
    kept = told.smsd("privacy", "show", NUMBER, "--json").json
    assert (kept["messages"], kept["lookups"], kept["spooled"]) == ([], [], [])


def test_a_store_started_from_an_old_copy_forgets_what_is_due_before_the_day_is_over(told: Office) -> None:
    copy = told.folder / "copy.db"
    assert told.smsd("backup", str(copy)).status == 0
    told.configure(store="sqlite:///copy.db", retention={"personal_data": "1d", "records": "5y"})
    told.once(later=timedelta(days=3))
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*), count(phone), count(text) FROM messages").fetchall() == [
            (1, 0, 0)
        ]
        assert connection.execute("SELECT number_digest FROM inquiries").fetchall() == [("",)]


def test_old_records_go_whole_and_a_dossier_still_in_its_view_stays(told: Office) -> None:
    told.configure(retention={"personal_data": "1d", "records": "2d"})
    assert told.once(later=timedelta(days=5)) == 0
    assert stored(told, "SELECT count(*) FROM messages") == [(0,)]
    assert stored(told, "SELECT count(*) FROM inquiries") == [(0,)]
    assert stored(told, "SELECT count(*) FROM dossiers WHERE agency = 'nha-trang'") == [(4,)]
