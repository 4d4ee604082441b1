"""The backup drill: `smsd backup` under load, and the way back as the operators' guide tells it, step by step."""

from __future__ import annotations

import csv
import random
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from alembic import command

from smsd.adapters.store.engine import BACKUP_MARK, SCHEMA_REVISION, Database
from smsd.adapters.store.migrations.run import alembic_config
from tests.cli.office import READY
from tests.cli.office import Office as OfficeInside
from tests.support.builders import NOW
from tests.support.postgres import wait_until
from tests.support.reliability import Record
from tests.system.daemonoffice import HERE, Office, baselined
from tests.system.faults.counting import BACKUP, MANY, became_ready, counted, seconds_until
from tests.system.faults.smalldisk import SmallDisk
from tests.system.process import ROOT, Daemon

GUIDE = ROOT / "docs" / "van-hanh.md"
SUPPLEMENT = "Chờ bổ sung"


def restoring(backup: Path, store: Path) -> list[list[str]]:
    """The guide's commands between stopping and starting the service, on these files."""
    [block] = re.findall(r"^Khôi phục:\n+```\n(.*?)```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = block.splitlines()
    assert (lines[0], lines[-1]) == ("systemctl stop smsd", "systemctl start smsd")
    commands = []
    for line in lines[1:-1]:
        told = re.sub(r"/srv/backup/smsd-[0-9-]+\.db", str(backup), line)
        told = told.replace("/var/lib/smsd/smsd.db", str(store)).replace("-o smsd -g smsd", "")
        commands.append(shlex.split(told))
    assert [words[0] for words in commands] == ["mv", "rm", "install"]
    return commands


def sound(path: Path) -> dict[str, int]:
    """A copy in order: how many rows each table has."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        marks = connection.execute("SELECT count(*) FROM meta WHERE key = ?", (BACKUP_MARK,)).fetchone()
        assert marks == (1,)
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in tables}


class Drill:
    """An office of 400 dossiers whose supplement notices wait ten minutes, and whose results leave at once."""

    def __init__(self, folder: Path) -> None:
        self.backup = folder / "backup.db"
        self.office = Office(
            folder / "etc",
            notices={"supplement": {"settle": "10m"}, "result_ready": {"settle": "0s"}},
            messages=MANY,
        )
        self.agency = self.office.add("alpha", dossiers=400)
        self.owed: list[str] = []
        self.waiting: list[str] = []

    def ready(self, numbers: range) -> list[str]:
        """Results of now, as the agency's software writes them down."""
        codes = became_ready(self.office, "alpha", numbers)
        self.agency.execute(
            f"UPDATE dossiers SET resolved_at = '{datetime.now(HERE):%Y-%m-%d %H:%M:%S}' "
            f"WHERE step = '{READY}' AND resolved_at IS NULL"
        )
        self.owed += codes
        return codes

    def wanting(self, numbers: range) -> None:
        for number in numbers:
            self.agency.update(f"alpha-{number}", step="Tiếp nhận", status=SUPPLEMENT)
            self.waiting.append(f"alpha-{number}")

    def all_left(self) -> bool:
        return len(self.office.codes()) >= len(self.owed)

    def restore(self) -> None:
        for words in restoring(self.backup, self.office.folder / "smsd.db"):
            subprocess.run(words, check=True)


@pytest.mark.reliability
def test_a_store_restored_as_the_guide_says_sends_nothing_again_and_hides_nothing(
    tmp_path: Path, reliability: Record
) -> None:
    drill = Drill(tmp_path)
    office = drill.office
    with Daemon(office) as daemon:
        baselined(daemon, "alpha")
        drill.wanting(range(300, 303))
        wait_until(lambda: office.ask("SELECT count(*) FROM messages WHERE state = 'queued'") == [(3,)])
        drill.ready(range(120))
        assert office.smsd("backup", str(drill.backup)).returncode == 0  # while they are being sent
        rows = sound(drill.backup)
        assert rows["dossiers"] == 400
        wait_until(drill.all_left)
        gap = drill.ready(range(120, 200))  # the store moves on
        wait_until(drill.all_left)
        assert daemon.stop() == 0
    drill.restore()
    assert (office.folder / "smsd.db.hong").exists()
    in_copy = {code for (code,) in office.ask("SELECT dossier_code FROM messages WHERE final_at IS NULL")}
    assert set(drill.waiting) <= in_copy
    with Daemon(office) as daemon:
        baselined(daemon, "alpha")
        assert office.ask("SELECT key FROM alarms WHERE cleared_at IS NULL") == [("restored",)]
        drill.ready(range(200, 220))
        took = seconds_until(drill.all_left)
        assert daemon.stop() == 0
    found = counted(office.codes(), drill.owed)
    listed = exceptions(office, datetime.now(HERE))
    assert {code for code, reason in listed if reason == "expired"} == in_copy
    unsaid = {code for code, reason in listed if reason == "unexplained"}
    known = {code for (code,) in office.ask("SELECT dossier_code FROM messages WHERE kind = 'result_ready'")}
    assert unsaid == set(drill.owed) - known
    assert set(gap) <= unsaid
    found.keep(
        reliability,
        BACKUP,
        f"the store is restored from a backup made under load, {len(gap)} messages having been sent since",
        tried=1,
        recovered=f"a person restores it; the first read only records, news is texted again in {took:.1f} s; "
        f"{len(in_copy)} listed as expired, {len(unsaid)} as unexplained",
    )
    office.close()


def exceptions(office: Office, day: datetime) -> set[tuple[str, str]]:
    done = office.smsd("report", "--date", f"{day:%Y-%m-%d}")
    assert done.returncode == 0, done.stderr
    file = office.folder / "reports" / f"{day:%Y-%m-%d}" / "exceptions.csv"
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return {(row["dossier_code"], row["reason"]) for row in csv.DictReader(lines)}


# what an operator may do otherwise than the guide says


@pytest.fixture
def office(tmp_path: Path) -> Iterator[OfficeInside]:
    it = OfficeInside(tmp_path / "etc")
    for number in range(40):
        it.stand(f"H{number}")
    assert it.once() == 0
    it.move("H1", READY)
    assert it.once() == 0
    yield it
    it.close()


def left(office: OfficeInside) -> list[str]:
    return [message["dossier_code"] for message in office.spooled()]


def store_of(office: OfficeInside) -> Path:
    return office.folder / "smsd.db"


@pytest.mark.reliability
def test_a_backup_put_in_place_beside_the_old_store_s_log_is_not_mixed_with_it(
    office: OfficeInside, tmp_path: Path, reliability: Record
) -> None:
    backup, store = tmp_path / "backup.db", store_of(office)
    assert office.smsd("backup", str(backup)).status == 0
    with closing(sqlite3.connect(store, isolation_level=None)) as looking:
        looking.execute("SELECT count(*) FROM meta").fetchone()  # the log stays, as after a power failure
        office.move("H2", READY)
        assert office.once() == 0
        kept = {name: (office.folder / name).read_bytes() for name in ("smsd.db-wal", "smsd.db-shm")}
        assert kept["smsd.db-wal"]
    store.unlink()
    shutil.copyfile(backup, store)
    for name, content in kept.items():
        (office.folder / name).write_bytes(content)
    assert office.once() == 1, "it is known for a restored copy"
    office.move("H3", READY)
    office.once()
    found = counted(left(office), ["H1", "H2", "H3"])
    assert Database(f"sqlite:///{store}").verify()
    assert (office.folder / "smsd.db-wal.of-the-replaced-store").read_bytes() == kept["smsd.db-wal"]
    found.keep(
        reliability,
        BACKUP,
        "a backup is put in place and the old store's write-ahead log is left beside it",
        tried=1,
        recovered="by itself: the log is set aside, the first read only records",
    )


@pytest.mark.reliability
@pytest.mark.parametrize("copy", ["smsd backup, its mark removed by hand", "cp, so that it has no mark"])
def test_an_unmarked_copy_is_known_by_what_was_left_beside_the_store(
    office: OfficeInside, tmp_path: Path, reliability: Record, copy: str
) -> None:
    backup, store = tmp_path / "backup.db", store_of(office)
    if copy.startswith("smsd backup"):
        assert office.smsd("backup", str(backup)).status == 0
        with closing(sqlite3.connect(backup, isolation_level=None)) as connection:
            connection.execute("DELETE FROM meta WHERE key = ?", (BACKUP_MARK,))
    else:
        shutil.copyfile(store, backup)
    office.move("H2", READY)
    assert office.once() == 0
    assert left(office) == ["H1", "H2"]
    shutil.copyfile(backup, store)
    assert office.once() == 1, "it is known for a restored copy"
    office.move("H3", READY)
    assert office.once() == 0
    found = counted(left(office), ["H1", "H2", "H3"])
    found.keep(
        reliability,
        BACKUP,
        f"the store is restored from a copy without a mark ({copy})",
        tried=1,
        recovered="by itself: the lock file tells that a newer store was worked on; the first read only records",
    )


@pytest.mark.reliability
def test_a_backup_of_an_older_schema_is_brought_up_to_date_and_keeps_its_mark(
    office: OfficeInside, tmp_path: Path, reliability: Record
) -> None:
    backup, store = tmp_path / "backup.db", store_of(office)
    assert office.smsd("backup", str(backup)).status == 0
    older = Database(f"sqlite:///{backup}")
    command.downgrade(alembic_config(older.engine), "0001")
    older.close()
    office.move("H2", READY)
    assert office.once() == 0
    store.unlink()
    shutil.copyfile(backup, store)
    assert office.once() == 1, "it is known for a restored copy"
    office.move("H3", READY)
    assert office.once() == 0
    found = counted(left(office), ["H1", "H2", "H3"])
    assert Database(f"sqlite:///{store}").revision() == SCHEMA_REVISION
    found.keep(
        reliability,
        BACKUP,
        "a backup of an older smsd is restored",
        tried=1,
        recovered="by itself: the schema is brought up to date, the first read only records",
    )


# backups that do not come to their end


@pytest.mark.reliability
def test_a_backup_without_room_fails_in_words_and_leaves_nothing(
    office: OfficeInside, tmp_path: Path, reliability: Record
) -> None:
    with SmallDisk(tmp_path / "backup", 1) as disk:
        disk.fill()
        target = disk.folder / "smsd.db"
        done = office.smsd("backup", str(target))
        assert done.status == 1
        assert "cannot write the backup" in done.err
        assert [file.name for file in disk.folder.iterdir()] == ["something-else.bin"]
        disk.free()
        assert office.smsd("backup", str(target)).status == 0
        sound(target)
    assert office.once() == 0
    reliability.row(
        BACKUP,
        "there is no room for the backup",
        tried=1,
        recovered="refused with exit status 1, nothing is left of it; the next one succeeds",
    )


def test_a_backup_over_an_existing_file_is_refused_before_anything_is_written(
    office: OfficeInside, tmp_path: Path
) -> None:
    target = tmp_path / "backup.db"
    assert office.smsd("backup", str(target)).status == 0
    first = target.read_bytes()
    office.move("H2", READY)
    assert office.once() == 0
    assert office.smsd("backup", str(target)).status == 1
    assert target.read_bytes() == first
    assert sorted(file.name for file in tmp_path.iterdir() if file.name.startswith("backup")) == ["backup.db"]


_BACKUP = """
import sys
from datetime import datetime, UTC
from pathlib import Path
from smsd.adapters.store.engine import Database
print("copying", flush=True)
Database(sys.argv[1]).backup(Path(sys.argv[2]), datetime.now(UTC))
"""


@pytest.mark.reliability
def test_a_backup_that_is_killed_leaves_no_half_file_for_a_backup(
    office: OfficeInside, tmp_path: Path, reliability: Record
) -> None:
    for block in range(20):
        rows = ", ".join(f"('filling {block} {n}', '{'x' * 400}')" for n in range(1000))
        with closing(sqlite3.connect(store_of(office))) as connection, connection:
            connection.execute(f"INSERT INTO meta (key, value) VALUES {rows}")
    chosen, tried, half = random.Random(1263), reliability.times(2, 25), 0
    target = tmp_path / "backup.db"
    for _ in range(tried):
        target.unlink(missing_ok=True)
        copying = subprocess.Popen(
            [sys.executable, "-c", _BACKUP, f"sqlite:///{store_of(office)}", str(target)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert copying.stdout is not None
        assert copying.stdout.readline() == "copying\n"
        threading.Event().wait(chosen.uniform(0, 0.5))
        copying.kill()
        copying.wait()
        copying.stdout.close()
        if target.exists():
            assert sound(target)["meta"] > 20_000
        else:
            half += 1
    target.unlink(missing_ok=True)
    assert office.smsd("backup", str(target)).status == 0
    sound(target)
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("backup")] == ["backup.db"]
    reliability.row(
        BACKUP,
        "kill -9 while a backup is written",
        tried=tried,
        recovered=f"the next backup takes its place; of {half} cut off no file had a backup's name",
    )


def test_a_store_that_was_moved_to_another_server_is_no_copy(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'a.db'}")
    database.open()
    database.lock()
    database.note_seen(NOW)
    database.close()
    shutil.copyfile(tmp_path / "a.db", tmp_path / "b.db")  # moved to another server
    moved = Database(f"sqlite:///{tmp_path / 'b.db'}")
    moved.open()
    moved.lock()
    with moved.reading() as connection:
        assert moved.get_meta(connection, BACKUP_MARK) is None
    moved.note_seen(NOW + timedelta(hours=1))
    moved.close()
