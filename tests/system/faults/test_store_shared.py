"""Others at the state store: a program that holds it, a second smsd on it, a start that was cut off."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import text

from smsd.adapters.store.engine import SCHEMA_REVISION, Database
from smsd.adapters.store.migrations.run import alembic_config
from smsd.core.errors import StoreError
from tests.cli.office import READY
from tests.cli.office import Office as OfficeInside
from tests.store.empty import copy_empty_store
from tests.support.postgres import wait_until
from tests.support.reliability import Record
from tests.system.daemonoffice import Office, baselined
from tests.system.faults.counting import (
    STORE,
    became_ready,
    by_itself,
    counted,
    seconds_until,
    telling,
    told,
)
from tests.system.process import ROOT, Daemon


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    it = Office(tmp_path / "etc", alarms=telling(tmp_path))
    it.add("alpha", dossiers=40)
    yield it
    it.close()


@pytest.mark.reliability
def test_a_program_that_holds_the_store_is_waited_for_and_nothing_is_lost(
    office: Office, reliability: Record
) -> None:
    held = reliability.times(3, 45)
    with Daemon(office) as daemon:
        baselined(daemon, "alpha")
        owed = became_ready(office, "alpha", range(10))
        wait_until(lambda: len(office.codes()) == len(owed))
        over = threading.Event()
        with closing(sqlite3.connect(office.folder / "smsd.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            owed += became_ready(office, "alpha", range(10, 20))
            over.wait(held)
            assert len(office.codes()) == 10
            other.execute("ROLLBACK")
        took = seconds_until(lambda: len(office.codes()) == len(owed))
        assert daemon.stop() == 0
    found = counted(office.codes(), owed)
    assert ("locked" in told(office.folder.parent)) == (held > 40), (
        "told of when it lasts longer than it is waited for"
    )
    assert "Traceback" not in "".join(daemon.raw)
    found.keep(
        reliability,
        STORE,
        "another program holds the state store for longer than smsd waits for it",
        tried=1,
        recovered=f"{by_itself(took)} of its release (held {held} s)",
    )


@pytest.mark.reliability
def test_a_second_smsd_is_refused_whatever_path_leads_to_the_store(
    office: Office, tmp_path: Path, reliability: Record
) -> None:
    store = office.folder / "smsd.db"
    by_folder, by_file = tmp_path / "other-name", tmp_path / "other.db"
    by_folder.symlink_to(office.folder)
    by_file.symlink_to(store)
    right = office.config.read_text("utf-8")
    tried = 0
    with Daemon(office) as daemon:
        baselined(daemon, "alpha")
        owed = became_ready(office, "alpha", range(10))
        for path in (by_folder / "smsd.db", by_file, office.folder / ".." / "etc" / "smsd.db"):
            second = Database(f"sqlite:///{path}")
            second.open()
            with pytest.raises(StoreError, match="another smsd runs on this state store"):
                second.lock()
            second.close()
            tried += 1
        office.config.write_text(right.replace("sqlite:///smsd.db", f"sqlite:///{by_file}"), "utf-8")
        refused = office.smsd("run", "--once")
        office.config.write_text(right, "utf-8")
        tried += 1
        assert refused.returncode == 1
        assert refused.stderr.startswith("smsd: another smsd runs on this state store")
        wait_until(lambda: len(office.codes()) >= len(owed))
        # somebody removes the lock file: the daemon does not go on unprotected
        (office.folder / "smsd.db.lock").unlink()
        assert daemon.process.wait(20) == 1
        wait_until(lambda: any("claim on the state store is lost" in line for line in daemon.raw))
    found = counted(office.codes(), owed)
    found.keep(
        reliability,
        STORE,
        "a second smsd is started on the store, also under another path",
        tried=tried,
        recovered="refused with exit status 1 and why; the first goes on",
    )


_OPEN = """
import sys
from smsd.adapters.store.engine import Database
print("opening", flush=True)
Database(sys.argv[1]).open(check=True)
print("opened", flush=True)
"""


def killed_while_opening(store: Path, wait: float) -> bool:
    """Open the store in a process of its own and kill that after a while; whether it was still at it."""
    opening = subprocess.Popen(
        [sys.executable, "-c", _OPEN, f"sqlite:///{store}"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert opening.stdout is not None
    assert opening.stdout.readline() == "opening\n"
    threading.Event().wait(wait)
    opening.kill()
    rest = opening.stdout.read()
    opening.wait()
    return "opened" not in rest


def an_older_store(path: Path, revision: str) -> None:
    """A store as an earlier smsd left it, with facts in it."""
    copy_empty_store(path)
    database = Database(f"sqlite:///{path}")
    command.downgrade(alembic_config(database.engine), revision)
    with database.writing() as connection:
        facts = [{"key": f"fact{number}"} for number in range(500)]
        connection.execute(text("INSERT INTO meta (key, value) VALUES (:key, 'x')"), facts)
    database.close()


@pytest.mark.reliability
def test_a_start_that_is_killed_while_the_schema_is_made_is_taken_up_by_the_next(
    tmp_path: Path, reliability: Record
) -> None:
    chosen = random.Random(1263)
    tried = cut_off = 0
    for kind in ("new", "older"):
        for attempt in range(reliability.times(2, 20)):
            store = tmp_path / f"{kind}{attempt}.db"
            if kind == "older":
                an_older_store(store, "0001")
            cut_off += killed_while_opening(store, chosen.uniform(0, 0.35))
            tried += 1
            database = Database(f"sqlite:///{store}")
            database.open(check=True)
            assert database.revision() == SCHEMA_REVISION
            with database.reading() as connection:
                facts = connection.execute(text("SELECT count(*) FROM meta WHERE key LIKE 'fact%'")).scalar()
            assert facts == (500 if kind == "older" else 0)
            database.close()
            store.unlink()
    assert cut_off > 0
    reliability.row(
        STORE,
        "kill -9 while the first start makes the store, or a newer smsd changes its schema",
        tried=tried,
        recovered=f"by itself at the next start ({cut_off} were cut off before they were done)",
    )


@pytest.mark.reliability
def test_a_first_start_that_is_killed_before_its_baseline_is_one_all_the_same(
    tmp_path: Path, reliability: Record
) -> None:
    office = OfficeInside(tmp_path / "etc")
    (office.folder / "smsd.db").touch(0o600)  # the file was made, and nothing else
    office.move("nha-trang-1", READY)
    assert office.once() == 0
    assert office.spooled() == []
    office.move("nha-trang-2", READY)
    assert office.once() == 0
    found = counted([message["dossier_code"] for message in office.spooled()], ["nha-trang-2"])
    found.keep(
        reliability,
        STORE,
        "kill -9 between making the store's file and its first table",
        tried=1,
        recovered="by itself at the next start: the first read only records",
    )
    office.close()
