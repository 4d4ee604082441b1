"""Opening a store: modes, schema, damage, the lock of the running daemon, backups."""

from __future__ import annotations

import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from smsd.adapters.store.engine import BACKUP_MARK, SCHEMA_REVISION, Database
from smsd.adapters.store.journal import Journal
from smsd.adapters.store.schema import agencies
from smsd.core.errors import StoreError
from tests.store.drafts import MINUTE, keep_agency
from tests.support.builders import NOW
from tests.support.postgres import PostgresServer, wait_until


def opened(url: str) -> Database:
    database = Database(url)
    database.open()
    return database


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_store_is_the_owner_s_alone_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "var" / "lib" / "smsd.db"
    database = opened(f"sqlite:///{path}")
    keep_agency(database)
    assert {file.name: mode(file) for file in path.parent.iterdir()} == {
        "smsd.db": 0o600,
        "smsd.db-wal": 0o600,
        "smsd.db-shm": 0o600,
    }
    database.close()


def test_a_store_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "smsd.db"
    path.touch(mode=0o644)
    opened(f"sqlite:///{path}").close()
    assert mode(path) == 0o600


def test_sqlite_is_durable_and_lets_readers_look_while_it_is_written(sqlite_url: str) -> None:
    database = opened(sqlite_url)
    with database.reading() as connection:
        pragma = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous")
        }
    assert pragma == {"journal_mode": "wal", "synchronous": 2}
    with database.writing() as writer:
        writer.execute(agencies.insert().values(id="a", mode="live", interval=MINUTE))
        with database.reading() as connection:
            assert connection.execute(agencies.select()).all() == []
    database.close()


def test_postgresql_waits_for_its_disk_whatever_the_server_is_set_to(
    postgres: PostgresServer, pg_database: str
) -> None:
    database = opened(postgres.url(pg_database))
    with database.reading() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
    database.close()


def test_an_error_s_first_line_which_is_logged_shows_no_number(database: Database) -> None:
    with pytest.raises(SQLAlchemyError) as caught, database.writing() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:phone)"), {"phone": "84905123456"})
    first, *rest = str(caught.value).splitlines()
    assert "84905123456" not in first
    assert not any("parameters: " in line for line in rest)


def test_opening_twice_changes_nothing(url: str) -> None:
    first = opened(url)
    keep_agency(first)
    first.close()
    second = opened(url)
    assert second.revision() == SCHEMA_REVISION
    with second.reading() as connection:
        assert len(connection.execute(agencies.select()).all()) == 1
    second.close()


def test_a_store_of_a_newer_smsd_is_refused(url: str) -> None:
    database = opened(url)
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(StoreError, match="newer smsd") as caught:
        opened(url)
    assert caught.value.code == "newer_schema"
    assert "install the newer smsd" in caught.value.hint


@pytest.mark.parametrize(
    "content", [b"this is no database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 4096]
)
def test_a_damaged_file_is_refused_with_a_way_out(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "smsd.db"
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        opened(f"sqlite:///{path}")
    assert str(path) in caught.value.message
    assert "the newest smsd backup" in caught.value.hint
    assert path.read_bytes() == content


def test_damage_within_is_found_when_the_store_is_verified(sqlite_url: str, tmp_path: Path) -> None:
    database = opened(sqlite_url)
    assert f"schema {SCHEMA_REVISION}" in database.verify()
    database.close()
    path = tmp_path / "smsd.db"
    damaged = bytearray(path.read_bytes())
    damaged[8192:] = b"\xab" * (len(damaged) - 8192)
    path.write_bytes(damaged)
    with pytest.raises(StoreError) as caught:
        Database(sqlite_url).verify()
    assert "the newest smsd backup" in caught.value.hint


def test_a_folder_that_cannot_be_made_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used") as caught:
        opened(f"sqlite:///{tmp_path / 'file' / 'smsd.db'}")
    assert "may write there" in caught.value.hint


def test_a_server_that_cannot_be_reached_is_said_without_the_password() -> None:
    url = "postgresql+psycopg2://smsd:hush-hush@127.0.0.1:1/smsd"
    with pytest.raises(StoreError) as caught:
        opened(url)
    assert "hush-hush" not in str(caught.value)
    assert "127.0.0.1" in caught.value.message


# faults while running


def test_a_store_that_fails_says_so_and_is_used_again_when_it_is_back(
    postgres: PostgresServer, pg_database: str
) -> None:
    database = opened(postgres.url(pg_database))
    postgres.stop()
    try:
        with pytest.raises(StoreError, match="cannot be used"):
            keep_agency(database)
        with pytest.raises(StoreError, match="cannot be used"):
            Journal(database).facts(["a"])
    finally:
        postgres.start()
    keep_agency(database)
    database.close()


def test_a_locked_file_is_said_in_words(sqlite_url: str, tmp_path: Path) -> None:
    database = opened(sqlite_url)
    database.engine.dispose()
    holder = sqlite3.connect(tmp_path / "smsd.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with database.reading() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=10")  # stays with the pooled connection
    with pytest.raises(StoreError, match="locked") as caught:
        keep_agency(database)
    assert "another program" in caught.value.hint
    holder.close()
    database.close()


def test_a_mistake_in_our_own_statements_is_not_the_store_s_fault(database: Database) -> None:
    with pytest.raises(SQLAlchemyError), database.writing() as connection:
        connection.execute(text("SELECT * FROM nothing_like_it WHERE" + " (" * 3))


def test_a_transaction_within_another_is_refused_instead_of_waiting_for_itself(database: Database) -> None:
    with pytest.raises(RuntimeError, match="within another"), database.writing(), database.writing():
        pass
    keep_agency(database)


def test_writers_take_turns(database: Database) -> None:
    began = threading.Event()
    done: list[str] = []

    def second() -> None:
        began.set()
        keep_agency(database, "second")
        done.append("second")

    with database.writing() as connection:
        thread = threading.Thread(target=second)
        thread.start()
        assert began.wait(10)
        connection.execute(agencies.insert().values(id="first", mode="live", interval=MINUTE))
        done.append("first")
    thread.join(10)
    assert done == ["first", "second"]


def test_writers_of_two_processes_take_turns(url: str) -> None:
    one, other = opened(url), opened(url)
    order: list[str] = []

    def second() -> None:
        with other.writing() as connection:
            order.append("second in")
            assert len(connection.execute(agencies.select()).all()) == 1

    with one.writing() as connection:
        thread = threading.Thread(target=second)
        thread.start()
        connection.execute(agencies.insert().values(id="first", mode="live", interval=MINUTE))
        order.append("first out")
    thread.join(10)
    assert order == ["first out", "second in"]
    one.close()
    other.close()


# the lock


def test_a_second_daemon_is_refused_until_the_first_has_ended(url: str) -> None:
    first, second = opened(url), opened(url)
    assert not second.in_use()
    first.lock()
    assert second.in_use()
    with pytest.raises(StoreError, match="another smsd") as caught:
        second.lock()
    assert caught.value.code == "store_in_use"
    keep_agency(second)  # commands go on beside the daemon
    first.close()
    wait_until(lambda: not second.in_use())
    second.lock()
    second.close()


def test_a_server_that_restarted_has_forgotten_the_claim(postgres: PostgresServer, pg_database: str) -> None:
    database = opened(postgres.url(pg_database))
    assert not database.still_locked()
    database.lock()
    assert database.still_locked()
    postgres.stop()
    postgres.start()
    assert not database.still_locked()
    database.close()


def test_the_lock_is_of_this_store_alone(postgres: PostgresServer, pg_database: str, tmp_path: Path) -> None:
    other_name = postgres.database()
    one, other = opened(postgres.url(pg_database)), opened(postgres.url(other_name))
    one.lock()
    assert not other.in_use()
    other.lock()
    one.close()
    other.close()
    postgres.drop(other_name)


# backups


def test_a_backup_is_a_whole_marked_copy_made_while_the_store_is_in_use(
    sqlite_url: str, tmp_path: Path
) -> None:
    database = opened(sqlite_url)
    database.lock()
    keep_agency(database)
    target = tmp_path / "copy.db"
    with database.reading() as looking:
        looking.execute(agencies.select()).all()
        database.backup(target, NOW)
    keep_agency(database, "later")
    assert mode(target) == 0o600
    copy = opened(f"sqlite:///{target}")
    with copy.reading() as connection:
        assert [row.id for row in connection.execute(agencies.select())] == ["nha-trang"]
        assert copy.get_meta(connection, BACKUP_MARK) == NOW.isoformat()
    with database.reading() as connection:
        assert database.get_meta(connection, BACKUP_MARK) is None
    copy.close()
    database.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.db", "smsd.db", "smsd.db.lock"]


def test_a_backup_overwrites_nothing(sqlite_url: str, tmp_path: Path) -> None:
    database = opened(sqlite_url)
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(StoreError, match="exists"):
        database.backup(target, NOW)
    assert target.read_text() == "precious"
    database.close()


def test_a_backup_that_cannot_be_written_leaves_nothing_behind(sqlite_url: str, tmp_path: Path) -> None:
    database = opened(sqlite_url)
    with pytest.raises(StoreError, match="cannot write the backup"):
        database.backup(tmp_path / "nowhere" / "copy.db", NOW)
    database.close()
    assert [file.name for file in tmp_path.iterdir()] == ["smsd.db"]


def test_a_postgresql_store_is_backed_up_by_its_own_means(postgres: PostgresServer, pg_database: str) -> None:
    database = opened(postgres.url(pg_database))
    with pytest.raises(StoreError, match="SQLite") as caught:
        database.backup(Path("anywhere"), NOW)
    assert "pg_dump" in caught.value.hint
    database.close()
