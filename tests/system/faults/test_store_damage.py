"""A state store that is damaged, removed, replaced or not to be written: noticed at once."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from smsd.core.errors import StoreError
from smsd.daemon import Daemon as DaemonItself
from smsd.daemon import run_once
from smsd.installation import Installation, read_installation
from tests.cli.office import READY, Office
from tests.support.postgres import wait_until
from tests.support.reliability import Record
from tests.system import daemonoffice
from tests.system.faults.counting import (
    STORE,
    became_ready,
    by_itself,
    counted,
    seconds_until,
    telling,
    told,
)
from tests.system.faults.smalldisk import ReadOnly
from tests.system.process import ROOT, Daemon

PAGE = 4096
BACKUP_HINT = "put the newest smsd backup in its place"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An office in its second hour: 300 dossiers of one agency, a message of the day before."""
    it = Office(tmp_path / "etc")
    for number in range(300):
        it.stand(f"H{number}")
    assert it.once() == 0
    it.move("H1", READY)
    assert it.once() == 0
    assert [message["dossier_code"] for message in it.spooled()] == ["H1"]
    yield it
    it.close()


def store_of(office: Office) -> Path:
    return office.folder / "smsd.db"


def no_database(content: bytearray) -> bytes:
    return b"smsd was here\n" * (len(content) // 14)


def header_gone(content: bytearray) -> bytes:
    return bytes(100) + content[100:]


def cut_in_half(content: bytearray) -> bytes:
    return bytes(content[: len(content) // 2 // PAGE * PAGE])


def end_overwritten(content: bytearray) -> bytes:
    return bytes(content[:-PAGE]) + b"\xab" * PAGE


def page_overwritten(number: int) -> Callable[[bytearray], bytes]:
    def damage(content: bytearray) -> bytes:
        start = number * PAGE
        return bytes(content[:start]) + b"\xab" * PAGE + bytes(content[start + PAGE :])

    return damage


def run_daemon_itself(installation: Installation) -> int:
    return DaemonItself(installation, {}).run()


@pytest.mark.reliability
def test_a_damaged_store_is_refused_at_the_start_and_touched_by_nobody(
    office: Office, reliability: Record
) -> None:
    store = store_of(office)
    sound = bytearray(store.read_bytes())
    pages = len(sound) // PAGE
    step = max(1, pages // reliability.times(6, pages))
    damages: list[Callable[[bytearray], bytes]] = [no_database, header_gone, cut_in_half, end_overwritten]
    damages += [page_overwritten(number) for number in range(0, pages, step)]
    office.move("H2", READY)
    installation = read_installation(office.config, {})
    for damage in damages:
        damaged = damage(bytearray(sound))
        store.write_bytes(damaged)
        for run in (run_once, run_daemon_itself):
            with pytest.raises(StoreError) as caught:
                run(installation)
            assert caught.value.code == "store_damaged"
            assert BACKUP_HINT in caught.value.hint
            assert store.read_bytes() == damaged, "it may be all that is left"
    done = subprocess.run(
        [sys.executable, "-m", "smsd", "--config", str(office.config), "run"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    said, hint = done.stderr.splitlines()
    assert "is damaged" in said
    assert BACKUP_HINT in hint
    assert len(office.spooled()) == 1
    store.write_bytes(sound)
    assert office.once() == 0
    found = counted([message["dossier_code"] for message in office.spooled()], ["H1", "H2"])
    found.keep(
        reliability,
        STORE,
        "the state store is damaged when smsd starts (header, pages overwritten, cut off, no database)",
        tried=len(damages),
        recovered="refused with exit status 1 and how to restore; a person puts the newest backup in its place",
    )


@pytest.mark.reliability
def test_garbage_in_the_place_of_the_log_costs_nothing(office: Office, reliability: Record) -> None:
    store = store_of(office)
    log = store.with_name("smsd.db-wal")
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    tried = 0
    for content in (b"", b"\xab" * 32, b"\xab" * 3 * PAGE, bytes(5 * PAGE)):
        log.write_bytes(content)
        tried += 1
        office.move(f"H{1 + tried}", READY)
        assert office.once() == 0
    owed = [f"H{number}" for number in range(1, 2 + tried)]
    found = counted([message["dossier_code"] for message in office.spooled()], owed)
    found.keep(
        reliability,
        STORE,
        "garbage in the place of the store's write-ahead log",
        tried=tried,
        recovered="by itself at the start",
    )


@pytest.mark.reliability
def test_an_emptied_store_begins_with_a_baseline_and_sends_nothing_again(
    office: Office, reliability: Record
) -> None:
    store_of(office).write_bytes(b"")
    office.move("H2", READY)
    assert office.once() == 0
    assert [message["dossier_code"] for message in office.spooled()] == ["H1"]
    office.move("H3", READY)
    assert office.once() == 0
    found = counted([message["dossier_code"] for message in office.spooled()], ["H1", "H3"])
    found.keep(
        reliability,
        STORE,
        "the state store is emptied",
        tried=1,
        recovered="by itself: the first read only records",
    )


@pytest.mark.reliability
def test_a_store_that_may_not_be_written_is_refused_in_words(office: Office, reliability: Record) -> None:
    with ReadOnly(office.folder):
        installation = read_installation(office.config, {})
        with pytest.raises(StoreError) as caught:
            run_once(installation)
        assert "may write there" in caught.value.hint
    office.move("H2", READY)
    assert office.once() == 0
    found = counted([message["dossier_code"] for message in office.spooled()], ["H1", "H2"])
    found.keep(
        reliability,
        STORE,
        "the state store and its folder are read-only",
        tried=1,
        recovered="refused with exit status 1 and what to look at; by itself once it may be written",
    )


@pytest.mark.reliability
def test_a_store_of_a_newer_smsd_is_left_alone(office: Office, reliability: Record) -> None:
    store = store_of(office)
    with closing(sqlite3.connect(store, isolation_level=None)) as connection:
        [(revision,)] = connection.execute("SELECT version_num FROM alembic_version")
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(StoreError, match="newer smsd"):
            office.once()
        office.move("H2", READY)
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    assert office.once() == 0
    found = counted([message["dossier_code"] for message in office.spooled()], ["H1", "H2"])
    found.keep(
        reliability,
        STORE,
        "the state store is of a newer smsd",
        tried=1,
        recovered="refused with exit status 1; a person installs the newer smsd again",
    )


@pytest.mark.reliability
def test_damage_while_it_runs_ends_the_daemon_and_a_backup_takes_up_the_work(
    tmp_path: Path, reliability: Record
) -> None:
    office = daemonoffice.Office(tmp_path / "etc", alarms=telling(tmp_path))
    office.add("alpha", dossiers=200)
    store, backup = office.folder / "smsd.db", tmp_path / "backup.db"
    with Daemon(office) as daemon:
        daemonoffice.baselined(daemon, "alpha")
        assert office.smsd("backup", str(backup)).returncode == 0
        with closing(sqlite3.connect(store, timeout=10)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with store.open("r+b") as file:
                file.seek(PAGE)
                file.write(b"\xab" * (store.stat().st_size - PAGE))
        became_ready(office, "alpha", range(5))
        noticed = seconds_until(lambda: daemon.process.poll() is not None)
        assert daemon.process.returncode == 1
        wait_until(lambda: any("is damaged" in line and BACKUP_HINT in line for line in daemon.raw))
    assert office.codes() == [], "nothing leaves on the word of a damaged store"
    assert "is damaged" in told(tmp_path)
    assert "Traceback" not in "".join(daemon.raw)
    for name in ("smsd.db-wal", "smsd.db-shm"):
        (office.folder / name).unlink(missing_ok=True)
    shutil.copyfile(backup, store)
    with Daemon(office) as daemon:
        daemonoffice.baselined(daemon, "alpha")
        owed = became_ready(office, "alpha", range(5, 9))
        wait_until(lambda: len(office.codes()) >= len(owed))
        assert daemon.stop() == 0
    found = counted(office.codes(), owed)
    found.keep(
        reliability,
        STORE,
        "the state store is damaged while smsd runs",
        tried=1,
        recovered=f"smsd ends and tells within {noticed:.1f} s; a person puts the newest backup in its place",
    )
    office.close()


@pytest.mark.reliability
def test_a_store_that_is_taken_away_while_it_runs_ends_the_daemon_and_nothing_is_sent_again(
    tmp_path: Path, reliability: Record
) -> None:
    for what in ("replaced", "removed")[: reliability.times(1, 2)]:
        (tmp_path / what).mkdir()
        take_away(tmp_path / what, what, reliability)


def take_away(folder: Path, what: str, reliability: Record) -> None:
    office = daemonoffice.Office(folder / "etc", alarms=telling(folder))
    office.add("alpha", dossiers=20)
    store, copy = office.folder / "smsd.db", folder / "copy.db"
    with Daemon(office) as daemon:
        daemonoffice.baselined(daemon, "alpha")
        with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)  # by hand: it carries no mark
        owed = became_ready(office, "alpha", range(5))
        wait_until(lambda: len(office.codes()) == len(owed))
        for name in ("smsd.db", "smsd.db-wal", "smsd.db-shm"):
            (office.folder / name).unlink()
        if what == "replaced":
            shutil.copyfile(copy, store)
        noticed = seconds_until(lambda: daemon.process.poll() is not None)
        assert daemon.process.returncode == 1
        wait_until(lambda: any(f"was {what} while smsd worked on it" in line for line in daemon.raw))
    assert f"was {what}" in told(folder)
    with Daemon(office) as daemon:  # as systemd does
        daemonoffice.baselined(daemon, "alpha")
        owed += became_ready(office, "alpha", range(5, 9))
        wait_until(lambda: len(office.codes()) >= len(owed))
        assert daemon.stop() == 0
    found = counted(office.codes(), owed)
    found.keep(
        reliability,
        STORE,
        f"the state store's file is {what} while smsd runs",
        tried=1,
        recovered=f"{by_itself(noticed)}: smsd ends, systemd starts it again, the first read only records",
    )
    office.close()
