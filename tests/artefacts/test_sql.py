"""The SQL that is shipped: loaded as it is, read through the reader, and proven unable to write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.core.rows import VIEW_COLUMNS, parse_instant
from smsd.services.ports import AgencyReader
from tests.support.builders import ZONE, local
from tests.support.postgres import PostgresServer

SQL = Path(__file__).parents[2] / "sql"
KINDS = ("postgresql", "sqlite", "sqlserver")
PROCEDURE = "INSERT INTO thu_tuc VALUES ('1.001', 'Đăng ký khai sinh')"
DOSSIER = """INSERT INTO ho_so
    (ma_ho_so, ma_co_quan, dien_thoai, ma_thu_tuc, buoc_id, trang_thai_id, ngay_nhan, ngay_hen_tra, ngay_cap_nhat)
    VALUES ('H32.12-260803-0001', 'H32.12', '0905123456', '1.001', 3, 2,
            '2026-08-03 08:00:00', '2026-08-10 17:00:00', '2026-08-04 09:30:00')"""
UNKNOWN_STEP = """INSERT INTO ho_so (ma_ho_so, ma_co_quan, ngay_nhan, ngay_cap_nhat)
    VALUES ('H32.13-260803-0002', 'H32.13', '2026-08-03 08:00:00', '2026-08-03 08:00:00')"""


def script(kind: str, name: str) -> str:
    return (SQL / kind / name).read_text(encoding="utf-8")


def assert_reads(url: str, view: str) -> AgencyReader:
    reader = open_reader(AgencySource("nha-trang", url, view, filter={"agency_code": "H32.12"}))
    ((row,),) = list(reader.rows((*VIEW_COLUMNS, "updated_at")))
    texts = ("H32.12-260803-0001", "0905123456", "Trả kết quả", "Chờ bổ sung", "1.001", "Đăng ký khai sinh")
    assert row[:6] == texts
    assert parse_instant(row[7], ZONE) == local("2026-08-10 17:00")
    assert row[8] is None
    assert parse_instant(row[9], ZONE) == local("2026-08-04 09:30")
    everyone = open_reader(AgencySource("all", url, view))
    assert sum(map(len, everyone.rows())) == 2
    everyone.close()
    return reader


@pytest.fixture
def shipped_postgres(postgres: PostgresServer, pg_database: str) -> Iterator[str]:
    """The name of a database with the shipped schema, view and login."""
    for name in ("example-schema.sql", "view.sql", "view.sql", "login.sql"):
        postgres.execute(script("postgresql", name), pg_database)
    for statement in (PROCEDURE, DOSSIER, UNKNOWN_STEP):
        postgres.execute(statement, pg_database)
    yield pg_database
    postgres.execute("DROP OWNED BY smsd_reader; DROP ROLE smsd_reader", pg_database)


def test_the_postgresql_login_reads_the_view_and_can_write_nothing(
    postgres: PostgresServer, shipped_postgres: str
) -> None:
    url = postgres.url(shipped_postgres, "smsd_reader", "CHANGE-ME")
    reader = assert_reads(url, "public.smsd_dossiers")
    assert {result.name: result.state for result in reader.check()}["read-only"] == "ok"
    reader.close()

    connection = psycopg2.connect(
        host="127.0.0.1", port=postgres.port, user="smsd_reader", dbname=shipped_postgres
    )
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SHOW statement_timeout")
    assert cursor.fetchone() == ("1min",)
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        cursor.execute("CREATE TABLE public.mine (a int)")
    cursor.execute("SET default_transaction_read_only = off")
    for forbidden in (
        "DELETE FROM public.ho_so",
        "UPDATE public.ho_so SET dien_thoai = ''",
        "SELECT * FROM public.ho_so",
        "CREATE TABLE public.mine (a int)",
        "CREATE ROLE other",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(forbidden)
    connection.close()


def test_the_sqlite_view_reads(tmp_path: Path) -> None:
    path = tmp_path / "motcua.db"
    connection = sqlite3.connect(path)
    for name in ("example-schema.sql", "view.sql", "view.sql"):
        connection.executescript(script("sqlite", name))
    for statement in (PROCEDURE, DOSSIER, UNKNOWN_STEP):
        connection.execute(statement)
    connection.commit()
    connection.close()
    before = path.read_bytes()

    assert_reads(f"sqlite:///{path}", "smsd_dossiers").close()

    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", KINDS)
def test_every_view_has_the_contract_s_columns_in_one_order(kind: str) -> None:
    text = script(kind, "view.sql")
    places = [text.index(f"AS {column}") for column in (*VIEW_COLUMNS, "updated_at")]

    assert places == sorted(places)
    assert "LEFT JOIN" in text


@pytest.mark.parametrize("kind", ["postgresql", "sqlserver"])
def test_every_login_gets_a_placeholder_for_a_password_and_select_on_the_view_alone(kind: str) -> None:
    statements = [line for line in script(kind, "login.sql").splitlines() if not line.startswith("--")]
    grants = [line for line in statements if line.startswith("GRANT ")]

    assert any("'CHANGE-ME'" in line for line in statements)
    assert [line for line in grants if "SELECT" in line] == [
        line for line in grants if "smsd_dossiers" in line
    ]
    assert len([line for line in grants if "SELECT" in line]) == 1


def test_the_readme_names_every_file_and_column() -> None:
    readme = (SQL / "README.md").read_text(encoding="utf-8")

    for name in (*VIEW_COLUMNS, "updated_at", *{path.name for path in SQL.glob("*/*.sql")}):
        assert f"`{name}`" in readme
