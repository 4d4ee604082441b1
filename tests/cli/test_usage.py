"""Options, exit statuses, and errors as every command has them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import rmtree

import pytest
from click.testing import CliRunner

from smsd.adapters.store import sqlitefile
from smsd.adapters.store.views import Views
from smsd.cli import main
from tests.cli.office import READY, Office

NEED_A_STORE = (
    ("status",), ("trace", "X"), ("lookup", "MCKH X"), ("held",), ("held", "release", "nha-trang"), ("purge",),
    ("backup", "copy.db"), ("report",), ("poll", "nha-trang"), ("apology", "--dry-run"),
)  # fmt: skip
SHOWING = (
    ("status",), ("check",), ("trace", "nha-trang-1"), ("lookup", "MCKH nha-trang-1"), ("held",), ("held", "list"),
    ("purge",), ("report",), ("poll", "nha-trang", "--dry-run"), ("poll", "nha-trang"), ("apology", "--dry-run"),
)  # fmt: skip


def ids(commands: tuple[tuple[str, ...], ...]) -> list[str]:
    return [" ".join(command) for command in commands]


@pytest.mark.parametrize("place", ["before", "after", "environment"])
def test_the_configuration_is_named_before_or_after_the_command_or_by_the_environment(
    baselined: Office, place: str
) -> None:
    config = str(baselined.config)
    words = {
        "before": ["--config", config, "status"],
        "after": ["status", "--config", config],
        "environment": ["status"],
    }[place]
    done = CliRunner().invoke(main, words, env={"SMSD_CONFIG": config if place == "environment" else "/nope"})
    assert done.exit_code == 0, done.stderr
    assert "nha-trang" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        (), ("bogus",), ("status", "--bogus"), ("poll",), ("poll", "atlantis"),
        ("poll", "nha-trang", "--accept", "--baseline"),
        ("trace",), ("lookup",), ("apology",), ("held", "release"), ("held", "release", "atlantis"), ("held", "bogus"),
        ("report", "--date", "yesterday"), ("report", "--date", "2999-01-01"), ("report", "--from", "2026-01-01"),
        ("report", "--from", "2026-02-01", "--to", "2026-01-01"),
        ("report", "--date", "2026-01-01", "--from", "2026-01-01", "--to", "2026-01-01"),
        ("check", "atlantis"), ("init",), ("backup",), ("demo", "--days", "0"), ("demo", "--dossiers", "many"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_ends_with_2_and_shows_nothing_on_standard_output(
    baselined: Office, words: tuple[str, ...]
) -> None:
    shown = baselined.smsd(*words)
    assert shown.status == 2
    assert shown.out == ""
    assert "Traceback" not in shown.err
    assert "Usage:" in shown.err or "atlantis" in shown.err


@pytest.mark.parametrize("words", [*NEED_A_STORE, ("check",), ("run",), ("run", "--once")], ids=" ".join)
def test_a_wrong_smsd_yaml_ends_every_command_with_2_and_every_mistake_in_its_place(
    baselined: Office, words: tuple[str, ...]
) -> None:
    baselined.config.write_text("gateway: {type: pigeon}\npolling: {interval: soon}\nbogus: 1\n")
    shown = baselined.smsd(*words)
    assert (shown.status, shown.out) == (2, "")
    lines = shown.err.splitlines()
    assert {line.split(":")[1] for line in lines} == {"1", "2", "3"}
    assert all(line.startswith(f"{baselined.config}:") for line in lines)


def test_a_configuration_that_is_not_there_is_told_with_how_to_make_one(office: Office) -> None:
    office.config.unlink()
    shown = office.smsd("status")
    assert shown.status == 2
    assert shown.err.startswith(f"{office.config}:1:1: ")
    assert "smsd init" in shown.err


@pytest.mark.parametrize("words", NEED_A_STORE, ids=ids(NEED_A_STORE))
def test_without_a_state_store_a_command_says_so_and_makes_none(
    office: Office, words: tuple[str, ...]
) -> None:
    shown = office.smsd(*words)
    assert (shown.status, shown.out) == (1, "")
    said, hint = shown.err.splitlines()
    assert said == f"smsd: there is no state store {office.folder / 'smsd.db'} yet"
    assert "systemctl start smsd" in hint
    assert not (office.folder / "smsd.db").exists()


@pytest.mark.parametrize("words", SHOWING, ids=ids(SHOWING))
def test_what_is_shown_is_also_shown_as_json_alone(baselined: Office, words: tuple[str, ...]) -> None:
    shown = baselined.smsd(*words, "--json")
    assert shown.status == 0, shown.err
    assert shown.json is not None
    assert shown.err == ""


@pytest.mark.parametrize("words", SHOWING, ids=ids(SHOWING))
def test_what_is_shown_to_people_is_neither_json_nor_cut_off(
    baselined: Office, words: tuple[str, ...]
) -> None:
    shown = baselined.smsd(*words)
    assert shown.status == 0, shown.err
    assert shown.out.strip()
    assert "…" not in shown.out
    assert all(line == line.rstrip() for line in shown.out.splitlines())


@pytest.mark.parametrize("words", [w for w in NEED_A_STORE if w[0] not in ("backup",)], ids=" ".join)
def test_a_damaged_store_is_one_line_and_a_hint(baselined: Office, words: tuple[str, ...]) -> None:
    for file in baselined.folder.glob("smsd.db*"):
        file.unlink()
    (baselined.folder / "smsd.db").write_bytes(b"this is no database " * 500)
    shown = baselined.smsd(*words)
    assert (shown.status, shown.out) == (1, "")
    said, hint = shown.err.splitlines()
    assert said.startswith("smsd: the state store")
    assert "backup" in hint


def test_a_store_that_another_program_keeps_locked_is_one_line_and_a_hint(
    baselined: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlitefile, "BUSY_MS", 100)
    other = sqlite3.connect(baselined.folder / "smsd.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    shown = baselined.smsd("poll", "nha-trang")
    other.close()
    assert shown.status == 1
    said, hint = shown.err.splitlines()
    assert "locked" in said
    assert "another program" in hint


def test_a_folder_that_cannot_be_written_is_one_line_and_a_hint(baselined: Office) -> None:
    (baselined.folder / "reports").write_text("a file in the folder's place")
    shown = baselined.smsd("report")
    assert shown.status == 1
    assert "reports" in shown.err
    assert "Traceback" not in shown.err
    assert len(shown.err.splitlines()) <= 2


def test_a_mistake_of_our_own_is_one_line_too(baselined: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Views, "agencies", lambda self: {}["no such key"])
    shown = baselined.smsd("status")
    assert shown.status == 1
    said, _ = shown.err.splitlines()
    assert said.startswith("smsd: a mistake in smsd itself: KeyError")
    assert "test_usage.py" in said


def test_a_reader_that_goes_away_is_not_talked_about(baselined: Office) -> None:
    for number in range(60):
        baselined.agency(f"off-{number}", mode="off", filter={"MaCoQuan": str(number)})
    for extra in ([], ["--json"]):
        process = subprocess.Popen(
            [sys.executable, "-m", "smsd", "status", "--config", str(baselined.config), *extra],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(30)
        process.stderr.close()


def test_help_names_every_command_in_whole_words() -> None:
    done = CliRunner().invoke(main, ["--help"], env={"COLUMNS": "80"})
    listed = done.stdout.partition("Commands:")[2]
    for name in (
        "run", "check", "demo", "status", "poll", "apology", "trace", "lookup", "report", "held", "init", "backup",
        "purge",
    ):  # fmt: skip
        assert f"  {name} " in listed
        assert CliRunner().invoke(main, [name, "-h"]).exit_code == 0
    assert "..." not in listed


def test_root_leaves_no_file_that_the_daemons_user_cannot_write() -> None:
    """As any other user there is nothing to become; the files are that user's anyhow."""
    place = Path(tempfile.mkdtemp(prefix="smsd-owner-"))
    place.chmod(0o755)
    office = Office(place / "etc")
    try:
        office.once()
        office.move("nha-trang-1", READY)
        office.smsd("poll", "so-xay-dung")  # everything is imported: the other user may not reach our Python
        nobody = 65534 if os.geteuid() == 0 else os.geteuid()
        for path in (place, *place.rglob("*")):
            os.chown(path, nobody, -1)
        child = os.fork()
        if child == 0:
            statuses = [
                office.smsd(*words).status for words in (("poll", "nha-trang"), ("report",), ("purge",))
            ]
            os._exit(max(statuses))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert {path.stat().st_uid for path in place.rglob("*")} == {nobody}
        assert (place / "etc" / "reports").is_dir()
    finally:
        office.close()
        rmtree(place)
