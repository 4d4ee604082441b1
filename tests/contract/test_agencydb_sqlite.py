"""What only a SQLite file can show: locks, damage, replacement, odd bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.adapters.agencydb.sqlite import Sqlite
from smsd.core.errors import AgencyError
from smsd.services.ports import AgencyReader
from tests.support.agencyviews import SqliteAgency


@pytest.fixture
def agency(tmp_path: Path) -> Iterator[SqliteAgency]:
    made = SqliteAgency(tmp_path / "motcua.db")
    made.insert([{"dossier_code": "H32-1", "step": "Thẩm định"}])
    yield made
    made.close()


def reader_of(url: str, **changes: Any) -> AgencyReader:
    return open_reader(AgencySource(agency="loc-tho", url=url, view="smsd_dossiers", **changes))


def codes(reader: AgencyReader) -> list[object]:
    return [row[0] for block in reader.rows(("dossier_code",)) for row in block]


def fault_of(reader: AgencyReader) -> AgencyError:
    with pytest.raises(AgencyError) as caught:
        codes(reader)
    assert caught.value.hint
    return caught.value


def test_a_missing_file_is_a_missing_database_and_is_not_made(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.db", tmp_path / "no" / "folder.db", tmp_path):
        error = fault_of(reader_of(f"sqlite:///{path}"))
        assert error.code == "database_missing"
        assert str(path) in error.message
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "motcua.db"
    path.write_bytes(b"PK\x03\x04" * 4096)

    error = fault_of(reader_of(f"sqlite:///{path}"))

    assert error.code == "read_failed"
    assert "no SQLite database" in error.hint


def test_a_file_locked_by_a_writer_is_a_timeout_and_readable_afterwards(agency: SqliteAgency) -> None:
    agency.execute("PRAGMA journal_mode = DELETE")
    reader = reader_of(agency.url, timeout=timedelta(seconds=0.4))
    agency.execute("BEGIN EXCLUSIVE")

    error = fault_of(reader)
    agency.execute("ROLLBACK")

    assert error.code == "timeout"
    assert codes(reader) == ["H32-1"]


def test_the_file_cannot_be_written_through_our_connection(agency: SqliteAgency) -> None:
    link = Sqlite(make_url(agency.url), "smsd_dossiers").connect(5)
    try:
        for statement in ("DELETE FROM dossiers", "DROP VIEW smsd_dossiers", "PRAGMA user_version = 7"):
            with pytest.raises(sqlite3.OperationalError):
                link.raw.execute(statement)
        link.raw.execute("PRAGMA query_only = OFF")
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            link.raw.execute("DELETE FROM dossiers")
    finally:
        link.close()


def test_a_file_replaced_by_another_is_read_anew(agency: SqliteAgency, tmp_path: Path) -> None:
    reader = reader_of(agency.url)
    assert codes(reader) == ["H32-1"]
    agency.close()
    for leftover in tmp_path.glob("motcua.db-*"):
        leftover.unlink()
    newer = SqliteAgency(tmp_path / "newer.db")
    newer.insert([{"dossier_code": "H32-2"}])
    newer.execute("PRAGMA journal_mode = DELETE")
    newer.close()
    newer.path.rename(agency.path)

    assert codes(reader) == ["H32-2"]


def test_bytes_that_are_not_utf8_do_not_fail_the_read(agency: SqliteAgency) -> None:
    agency.execute("INSERT INTO dossiers (dossier_code) VALUES (CAST(X'4833322DE12D32' AS TEXT))")

    assert codes(reader_of(agency.url)) == ["H32-1", "H32-\ufffd-2"]


def test_a_writer_is_not_kept_waiting_once_a_read_is_over_or_left(agency: SqliteAgency) -> None:
    agency.execute("PRAGMA journal_mode = DELETE")
    agency.insert({"dossier_code": str(number)} for number in range(5_000))
    reader = reader_of(agency.url)
    codes(reader)
    agency.update("H32-1", step="Trả kết quả")
    unfinished = reader.rows()
    next(unfinished)

    reader.close()

    agency.update("H32-1", step="Đã trả kết quả")


def test_a_view_over_a_table_that_is_gone_is_a_missing_view(agency: SqliteAgency) -> None:
    agency.execute("ALTER TABLE dossiers ADD COLUMN later")
    agency.execute("DROP TABLE dossiers")

    assert fault_of(reader_of(agency.url)).code == "view_missing"


@pytest.mark.parametrize(
    "url", ["", "not a url", "mysql+pymysql://u:s3cr3t@h/db", "postgresql+psycopg2://u:s3cr3t@h:5x/db"]
)
def test_a_url_that_means_nothing_fails_the_read_not_the_opening(url: str) -> None:
    reader = reader_of(url)

    error = fault_of(reader)

    assert error.code == "driver_missing"
    assert "s3cr3t" not in f"{error!r} {error} {reader._source!r}"  # type: ignore[attr-defined]
    (result,) = reader.check()
    assert (result.name, result.state) == ("connection", "failed")
    reader.cancel()
    reader.close()
