"""The parts of the rig for a real SQL Server that can be looked at without one: what it is told, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import pyodbc
import pytest

from tests.contract.agencyrig import KINDS, SQLSERVER_URL, a_row, held_up
from tests.contract.sqlserveragency import (
    VARIABLE,
    SqlServerAgency,
    connection_text,
    create_table,
    create_view,
    inserts,
    literal,
    quoted,
    real_server,
    update,
)
from tests.support.agencyviews import COLUMNS

URL = "mssql+pyodbc://tester:p%40ss%3Bw@db.example:1433/smsd_test?driver=FreeTDS"


class Server:
    """Takes statements as pyodbc would, and keeps them. ``refuses``: what a statement holds that fails."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.connections: list[Connection] = []
        self.refuses: str | None = None

    def connect(self, text: str, **options: Any) -> Connection:
        self.connections.append(Connection(self, text, options))
        return self.connections[-1]


class Connection:
    def __init__(self, server: Server, text: str, options: dict[str, Any]) -> None:
        self.server, self.text = server, text
        self.autocommit = options["autocommit"]
        self.open = True

    def cursor(self) -> Cursor:
        return Cursor(self)

    def commit(self) -> None:
        assert not self.autocommit
        self.server.said.append("COMMIT")

    def rollback(self) -> None:
        self.server.said.append("ROLLBACK")

    def close(self) -> None:
        self.open = False


class Cursor:
    def __init__(self, connection: Connection) -> None:
        self.server = connection.server

    def execute(self, sql: str) -> Cursor:
        if self.server.refuses is not None and self.server.refuses in sql:
            raise pyodbc.ProgrammingError("42000", f"refused: {sql[:40]} (2627)")
        self.server.said.append(sql)
        return self

    def fetchall(self) -> list[tuple[object, ...]]:
        return [(0,)]

    def fetchone(self) -> tuple[object, ...]:
        return (7,)

    def close(self) -> None:
        """Nothing to let go."""


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def agency(server: Server) -> Iterator[SqlServerAgency]:
    made = SqlServerAgency(URL, server.connect)
    server.said.clear()
    yield made
    made.close()


def test_without_the_variable_there_is_no_real_server_and_nothing_stands_for_it() -> None:
    assert real_server({}) is None
    assert real_server({VARIABLE: ""}) is None
    assert ("sqlserver" in KINDS) == (SQLSERVER_URL is not None)


@pytest.mark.parametrize(
    "url",
    [
        URL,
        "mssql+pyodbc://u:p@h:1433/db?driver=ODBC+Driver+18+for+SQL+Server&TrustServerCertificate=yes",
    ],
)
def test_a_url_with_a_driver_is_taken_as_it_is(url: str) -> None:
    assert real_server({VARIABLE: url}) == url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://u:S3cret@h/db",
        "mssql+pyodbc://u:S3cret@h:1433/db",
        "mssql+pyodbc:///?odbc_connect=DSN%3Dmotcua%3BPWD%3DS3cret",
        "S3cret",
        "mssql+pyodbc://u:S3:cret@h:port/db?driver=FreeTDS",
    ],
)
def test_a_url_that_cannot_be_used_stops_the_run_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match=VARIABLE) as caught:
        real_server({VARIABLE: url})
    assert "S3cret" not in str(caught.value)


def test_the_driver_is_told_what_smsd_tells_it_but_that_it_only_reads() -> None:
    text = connection_text(URL)
    for part in ("DRIVER={FreeTDS}", "Server=db.example,1433", "Database=smsd_test", "TDS_Version=7.4"):
        assert part in text
    assert "PWD={p@ss;w}" in text
    microsofts = connection_text("mssql+pyodbc://u:p@h/db?driver=ODBC+Driver+18+for+SQL+Server")
    assert "ApplicationIntent" not in microsofts


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "NULL"),
        ("", "N''"),
        ("O'Brien; DROP TABLE x --", "N'O''Brien; DROP TABLE x --'"),
        ("😀 ở đâu\t?{a}%s", "N'😀 ở đâu\t?{a}%s'"),
        ("\\", "N'\\'"),
        (12, "12"),
        (True, "1"),
        (905123456.25, "905123456.25"),
        (datetime(2026, 8, 5, 17, 0, 0, 1), "N'2026-08-05 17:00:00.000001'"),  # noqa: DTZ001
        (date(2026, 8, 5), "N'2026-08-05'"),
    ],
)
def test_values_are_written_as_literals(value: object, written: str) -> None:
    assert literal(value) == written


@pytest.mark.parametrize("value", ["a\\\nb", "a\\\r\nb", "a\0b", b"bytes", ["list"]])
def test_a_value_that_would_not_arrive_as_it_is_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no literal"):
        literal(value)


def test_names_are_in_brackets_whatever_stands_in_them() -> None:
    assert quoted("Mã Hồ Sơ 100%") == "[Mã Hồ Sơ 100%]"
    assert quoted("a]b") == "[a]]b]"


def test_the_table_has_the_contracts_columns_and_the_view_shows_them_under_the_names_given() -> None:
    table = create_table("t")
    for column in (*COLUMNS, "agency_code"):
        assert f"[{column}] " in table
    assert table.count("DATETIME2(7) NULL") == 4
    assert table.count("COLLATE Latin1_General_BIN2 NULL") == 7
    assert create_view("v", "t", {"step": "Tên'Bước", "phone": "phone"}) == (
        "CREATE VIEW [v] AS SELECT [step] AS [Tên'Bước], [phone] AS [phone], [agency_code] FROM [t]"
    )


def test_rows_are_inserted_in_as_many_statements_as_a_server_takes() -> None:
    statements = list(inserts("t", (a_row(number) for number in range(1_201))))

    assert [statement.count("(N'H32.12-") for statement in statements] == [500, 500, 201]
    first = statements[0].split("), (")[0]
    assert first.startswith("INSERT INTO [t] ([dossier_code], [phone], [step]")
    assert first.endswith("N'2026-08-05 17:00:00', NULL, N'2026-08-01 10:00:00', NULL")
    assert list(inserts("t", [])) == []


def test_an_update_names_its_dossier_and_its_columns_alone() -> None:
    assert update("t", "H'1", {"step": None, "phone": "x"}) == (
        "UPDATE [t] SET [step] = NULL, [phone] = N'x' WHERE [dossier_code] = N'H''1'"
    )


def test_an_agency_makes_a_table_and_a_view_of_its_own_and_drops_both(server: Server) -> None:
    one, other = SqlServerAgency(URL, server.connect), SqlServerAgency(URL, server.connect)
    assert one.table != other.table
    assert re.fullmatch(r"smsd_test_[0-9a-f]{12}_view", one.view)
    made = [said for said in server.said if one.table in said]
    assert [said.split(" (")[0].split(" AS")[0] for said in made] == [
        f"CREATE TABLE [{one.table}]",
        f"IF OBJECT_ID(N'[{one.view}]', N'V') IS NOT NULL DROP VIEW [{one.view}]",
        f"CREATE VIEW [{one.view}]",
    ]

    one.close()
    other.close()

    assert server.said[-2:] == [
        f"IF OBJECT_ID(N'[{other.view}]', N'V') IS NOT NULL DROP VIEW [{other.view}]",
        f"IF OBJECT_ID(N'[{other.table}]', N'U') IS NOT NULL DROP TABLE [{other.table}]",
    ]
    assert not any(connection.open for connection in server.connections)


def test_a_table_whose_view_may_not_be_made_is_dropped_again(server: Server) -> None:
    server.refuses = "CREATE VIEW"
    with pytest.raises(pyodbc.ProgrammingError):
        SqlServerAgency(URL, server.connect)
    assert "DROP TABLE" in server.said[-1]
    assert not server.connections[0].open


def test_what_clerks_do_is_committed_at_once_and_together(server: Server, agency: SqlServerAgency) -> None:
    agency.insert([a_row(1), a_row(2)])
    agency.update("H1", step="Ký")
    agency.delete("H1")

    assert [said.split()[0] for said in server.said] == ["INSERT", "COMMIT", "UPDATE", "COMMIT", "DELETE"]
    assert agency.connection.autocommit

    server.refuses = "H3"
    with pytest.raises(pyodbc.ProgrammingError):
        agency.update_all(["H2", "H3"], step="Ký")
    assert server.said[-1] == "ROLLBACK"
    assert agency.connection.autocommit
    server.refuses = None


def test_a_view_hangs_behind_a_writer_of_the_whole_table_until_it_is_shown_again(
    server: Server, agency: SqlServerAgency
) -> None:
    agency.hang()
    assert "WITH (READCOMMITTEDLOCK)" in server.said[-2]
    assert server.said[-1] == f"SELECT COUNT(*) FROM [{agency.table}] WITH (TABLOCKX, HOLDLOCK)"
    holder = server.connections[-1]
    assert not holder.autocommit
    assert holder.open

    agency.show()

    assert not holder.open
    assert "ROLLBACK" in server.said
    assert "READCOMMITTEDLOCK" not in server.said[-1]


def test_columns_get_another_type_and_the_view_is_made_anew(server: Server, agency: SqlServerAgency) -> None:
    agency.retype(phone="FLOAT")
    assert [said.split("[")[0].strip() for said in server.said] == [
        "IF OBJECT_ID(N'", "ALTER TABLE", "ALTER TABLE", "IF OBJECT_ID(N'", "CREATE VIEW",
    ]  # fmt: skip
    assert server.said[2] == f"ALTER TABLE [{agency.table}] ADD [phone] FLOAT NULL"
    assert agency.ask("SELECT 7") == 7


def test_a_statement_holds_a_reader_up_when_it_and_no_other_lasts() -> None:
    class Link:
        def __init__(self) -> None:
            self._busy, self._cursor = True, object()

    class Reader:
        _link: Link | None = None

    reader = Reader()
    condition = held_up(reader, seconds=0)  # type: ignore[arg-type]
    assert not condition()
    reader._link = link = Link()
    condition()
    assert condition()
    link._cursor = object()
    assert not held_up(reader, seconds=60)()  # type: ignore[arg-type]
    link._busy = False
    assert not condition()
