"""SQL Server through the real driver chain (SQLAlchemy, pyodbc, tdsodbc) against a responder of the tests' own.

The responder speaks the protocol and knows no SQL: what is tested is what leaves, and what becomes of the answers.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyodbc
import pytest
from sqlalchemy.engine import make_url

from smsd.adapters.agencydb.query import ViewColumns, quoted_view, select
from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.adapters.agencydb.sqlserver import SqlServer, connection_options, read_datetimeoffset
from smsd.adapters.agencydb.work import BLOCK_ROWS
from smsd.core.errors import AgencyError
from smsd.services.ports import AgencyReader, RawRow
from tests.support.agencyviews import COLUMNS
from tests.support.postgres import free_port, wait_until
from tests.support.tdsserver import Answer, Refusal, Rows, Silence, TdsServer

SECRET = "S3cret;pw"
URL = "mssql+pyodbc://smsd:S3cret%3Bpw@{host}/MotCua?driver={driver}"
VIEW = "dbo.smsd_dossiers"


def a_driver() -> str:
    """FreeTDS as odbcinst knows it, or else the library itself."""
    if "FreeTDS" in pyodbc.drivers():
        return "FreeTDS"
    return str(next(Path("/usr/lib").glob("*/odbc/libtdsodbc.so")))


def fault_of(url: str, seconds: float = 10) -> AgencyError:
    reader = open_reader(AgencySource("nha-trang", url, VIEW, timeout=timedelta(seconds=seconds)))
    with pytest.raises(AgencyError) as caught:
        list(reader.rows())
    reader.close()
    error = caught.value
    assert error.hint
    assert "S3cret" not in f"{error!r} {error} {error.hint} {error.__cause__!r} {reader!r}"
    return error


class Responder:
    """A server of the suite's own, and readers of it."""

    columns_named: Mapping[str, str] = {}

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        self.server = TdsServer(answer)
        self._readers: list[AgencyReader] = []

    def reader(self, **changes: Any) -> AgencyReader:
        url = URL.format(host=f"127.0.0.1:{self.server.port}", driver=a_driver())
        names = {"columns": self.columns_named, "timeout": timedelta(seconds=20)} | changes
        self._readers.append(open_reader(AgencySource("nha-trang", url, VIEW, **names)))
        return self._readers[-1]

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
        self.server.close()


class Agency(Responder):
    """A server whose view has the contract's columns (``Mã`` for the code) and gives what ``answer`` says."""

    columns_named: Mapping[str, str] = {"dossier_code": "mã"}

    def __init__(self, answer: Answer, columns: tuple[str, ...] = ("Mã", *COLUMNS[1:], "MaCoQuan")) -> None:
        super().__init__(self._answer)
        self.answer_ = answer
        self.columns = columns
        self.rights: Answer = Rows([(name, "number") for name in "abcd"], [(0, 0, 0, 0)])

    def _answer(self, statement: str) -> Answer:
        if "HAS_PERMS_BY_NAME" in statement:
            return self.rights
        if "1 = 0" in statement:
            return Rows([(name, "datetime" if name.endswith("_at") else "text") for name in self.columns])
        return self.answer_


@pytest.fixture
def agency_of() -> Iterator[Callable[..., Agency]]:
    made: list[Agency] = []

    def make(answer: Answer, **changes: Any) -> Agency:
        made.append(Agency(answer, **changes))
        return made[-1]

    yield make
    for agency in made:
        agency.close()


def codes_and(*columns: tuple[str, str], rows: list[tuple[object, ...]]) -> Rows:
    return Rows([("dossier_code", "text"), *columns], rows)


def read(reader: AgencyReader, *columns: str) -> list[RawRow]:
    return [row for block in reader.rows(columns) for row in block]


def test_rows_stream_as_plain_tuples_with_their_texts_and_dates(agency_of: Callable[..., Agency]) -> None:
    due = datetime.fromisoformat("2026-08-05 17:00:00.123456")
    zoned = due.replace(tzinfo=timezone(timedelta(hours=7)))
    rows = [(f"H32-{number}", "Trả kết quả 😀", due, zoned, None) for number in range(4 * BLOCK_ROWS + 500)]
    kinds = (("step", "text"), ("received_at", "datetime"), ("due_at", "zoned"), ("resolved_at", "datetime"))
    reader = agency_of(codes_and(*kinds, rows=rows)).reader()

    blocks = list(reader.rows(("dossier_code", *(name for name, _ in kinds))))

    assert [len(block) for block in blocks] == [BLOCK_ROWS] * 4 + [500]
    assert {type(row) for block in blocks for row in block} == {tuple}
    assert [row for block in blocks for row in block] == rows


def test_one_select_leaves_with_names_in_brackets_and_values_beside_it(
    agency_of: Callable[..., Agency],
) -> None:
    agency = agency_of(codes_and(("status", "text"), rows=[("H32-1", None)]))
    agency.columns = tuple(name for name in agency.columns if name != "status")

    assert read(agency.reader(filter={"macoquan": "H32'; --"}), "dossier_code", "status") == [("H32-1", None)]

    probed, asked = agency.server.said
    assert probed == "SELECT * FROM [dbo].[smsd_dossiers] WHERE 1 = 0"
    assert asked.startswith("SELECT [Mã], NULL FROM [dbo].[smsd_dossiers] WHERE [MaCoQuan] = @P1")
    assert "--" not in asked.split("@P1")[0]
    assert asked.endswith("H32'; --")


def test_a_missing_column_is_named_with_those_there_are(agency_of: Callable[..., Agency]) -> None:
    agency = agency_of(Silence(), columns=("Mã", "step"))

    with pytest.raises(AgencyError, match="no phone among Mã, step") as caught:
        read(agency.reader(), "dossier_code", "phone")

    assert caught.value.code == "column_missing"


@pytest.mark.parametrize(
    ("number", "code"),
    [(208, "view_missing"), (207, "column_missing"), (229, "permission_denied"), (1205, "read_failed")],
)
def test_a_refused_statement_has_a_code_and_the_reader_reads_again(
    agency_of: Callable[..., Agency], number: int, code: str
) -> None:
    agency = agency_of(Refusal(number, "The server's own words."))
    reader = agency.reader()

    with pytest.raises(AgencyError, match="The server's own words") as caught:
        read(reader, "dossier_code")
    agency.answer_ = codes_and(rows=[("H32-1",)])

    assert caught.value.code == code
    assert read(reader, "dossier_code") == [("H32-1",)]


@pytest.mark.parametrize(("number", "code"), [(18456, "login_failed"), (4060, "database_missing")])
def test_a_refused_login_has_a_code(agency_of: Callable[..., Agency], number: int, code: str) -> None:
    agency = agency_of(Silence())
    agency.server.login = Refusal(number, "Login failed for user 'smsd'.")

    error = fault_of(URL.format(host=f"127.0.0.1:{agency.server.port}", driver=a_driver()))

    assert error.code == code


@pytest.mark.parametrize("rows", [0, 3_000])
def test_a_cancel_reaches_the_server_and_ends_the_read_soon(
    agency_of: Callable[..., Agency], rows: int
) -> None:
    given = codes_and(rows=[(f"H32-{number}",) for number in range(rows)])
    agency = agency_of(Silence(given if rows else None))
    reader = agency.reader()
    errors: list[AgencyError] = []

    def hang() -> None:
        with pytest.raises(AgencyError) as caught:
            read(reader, "dossier_code")
        errors.append(caught.value)

    thread = threading.Thread(target=hang, daemon=True)
    thread.start()
    wait_until(lambda: len(agency.server.said) == 2)
    started = time.monotonic()
    reader.cancel()
    thread.join(5)

    assert not thread.is_alive()
    assert time.monotonic() - started < 3
    assert agency.server.cancelled.is_set()
    assert errors[0].code == "timeout"


def test_a_silent_statement_ends_at_the_deadline(agency_of: Callable[..., Agency]) -> None:
    agency = agency_of(Silence())
    started = time.monotonic()

    with pytest.raises(AgencyError) as caught:
        read(agency.reader(timeout=timedelta(seconds=0.6)), "dossier_code")

    assert caught.value.code == "timeout"
    assert time.monotonic() - started < 2


def test_a_kept_connection_that_broke_does_not_cost_a_read(agency_of: Callable[..., Agency]) -> None:
    agency = agency_of(codes_and(rows=[("H32-1",)]))
    reader = agency.reader()
    assert len(read(reader, "dossier_code")) == 1

    agency.server.hang_up()

    assert len(read(reader, "dossier_code")) == 1


def test_a_check_asks_what_the_login_could_change(agency_of: Callable[..., Agency]) -> None:
    nine = [(name, "text") for name in COLUMNS[:9]]
    agency = agency_of(Rows(nine, [("H32-1", None, "Thẩm định", *[None] * 6)]))
    assert {result.name: result.state for result in agency.reader().check()} == {
        "connection": "ok", "view": "ok", "columns": "ok", "read-only": "ok", "rows": "ok"
    }  # fmt: skip

    agency.rights = Rows([(name, "number") for name in "abcd"], [(1, 0, 0, 1)])
    (result,) = [result for result in agency.reader().check() if result.name == "read-only"]

    assert result.state == "warning"
    assert "sysadmin" in result.message
    assert any("[dbo].[smsd_dossiers]" in said for said in agency.server.said if "HAS_PERMS" in said)


def test_a_closed_port_is_unreachable() -> None:
    host = f"127.0.0.1:{free_port()}"

    error = fault_of(URL.format(host=host, driver=a_driver()))

    assert error.code == "unreachable"
    assert f"{host}/MotCua" in error.message


def test_a_server_that_says_nothing_is_given_up_at_the_deadline(silent_port: int) -> None:
    started = time.monotonic()

    error = fault_of(URL.format(host=f"127.0.0.1:{silent_port}", driver=a_driver()), seconds=0.7)

    assert error.code == "unreachable"
    assert time.monotonic() - started < 1.5


def test_the_login_timeout_holds_without_our_deadline(silent_port: int) -> None:
    database = SqlServer(make_url(URL.format(host=f"127.0.0.1:{silent_port}", driver=a_driver())), VIEW)
    started = time.monotonic()

    with pytest.raises(AgencyError) as caught:
        database.connect(1.0)

    assert caught.value.code == "unreachable"
    assert time.monotonic() - started < 4


def test_a_driver_that_is_not_there_is_named_with_the_package_to_install() -> None:
    for url in (
        URL.format(host="127.0.0.1:1", driver="Nothing"),
        "mssql+pyodbc://smsd:S3cret%3Bpw@127.0.0.1:1/MotCua",
    ):
        error = fault_of(url)
        assert error.code == "driver_missing"
        assert "FreeTDS" in error.hint


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("driver=FreeTDS", {"APP": "smsd", "TDS_Version": "7.4", "ClientCharset": "UTF-8"}),
        ("driver=FreeTDS&tds_version=7.3&app=other", {"ClientCharset": "UTF-8"}),
        (
            "driver=/usr/lib/odbc/libtdsodbc.so",
            {"APP": "smsd", "TDS_Version": "7.4", "ClientCharset": "UTF-8"},
        ),
        ("driver=ODBC+Driver+18+for+SQL+Server", {"APP": "smsd", "ApplicationIntent": "ReadOnly"}),
        ("driver=ODBC+Driver+17+for+SQL+Server&applicationintent=ReadWrite", {"APP": "smsd"}),
        ("odbc_connect=DSN%3Dmotcua%3BPWD%3Dx", {}),
    ],
)
def test_the_driver_is_told_what_it_needs_unless_the_url_says_otherwise(
    url: str, expected: dict[str, str]
) -> None:
    query = dict(make_url(f"mssql+pyodbc://u:p@h/db?{url}").query)

    assert connection_options(query) == expected


def test_the_options_reach_the_connection_string() -> None:
    database = SqlServer(make_url("mssql+pyodbc://u:p@h:1433/db?driver=FreeTDS"), VIEW)
    dialect = database.url.get_dialect()
    ((text,), _) = dialect(dbapi=pyodbc).create_connect_args(database.url)  # type: ignore[call-arg]

    assert "TDS_Version=7.4" in text
    assert "Server=h,1433" in text


OUTCOMES: list[tuple[Callable[..., Exception], str, str, str]] = [
    (
        pyodbc.ProgrammingError,
        "42000",
        "Login failed for user 'smsd'. (18456) (SQLDriverConnect)",
        "login_failed",
    ),
    (pyodbc.Error, "08004", "Database 'MotCua' does not exist. (911) (SQLDriverConnect)", "database_missing"),
    (
        pyodbc.ProgrammingError,
        "42000",
        "Cannot open database requested by the login. (4060)",
        "database_missing",
    ),
    (
        pyodbc.InterfaceError,
        "28000",
        "Login failed for user 'smsd'. (18456) (SQLDriverConnect); [28000] [Microsoft][ODBC Driver 18 for SQL Server]"
        '[SQL Server]Cannot open database "MotCua" requested by the login. The login failed. (4060)',
        "database_missing",
    ),
    (
        pyodbc.OperationalError,
        "08001",
        "SSL Provider: [error:0A000086:SSL routines::certificate verify failed:self-signed certificate] (-1)",
        "unreachable",
    ),
    (
        pyodbc.OperationalError,
        "08S01",
        "Unable to connect: Adaptive Server is unavailable (20009)",
        "unreachable",
    ),
    (pyodbc.OperationalError, "08S01", "Write to the server failed (20006) (SQLExecDirectW)", "unreachable"),
    (pyodbc.ProgrammingError, "42S02", "Invalid object name 'dbo.x'. (208) (SQLExecDirectW)", "view_missing"),
    (pyodbc.ProgrammingError, "42S22", "Invalid column name 'x'. (207) (SQLExecDirectW)", "column_missing"),
    (pyodbc.ProgrammingError, "42000", "The SELECT permission was denied (229)", "permission_denied"),
    (pyodbc.OperationalError, "HYT00", "Timeout expired (0) (SQLExecDirectW)", "timeout"),
    (
        pyodbc.ProgrammingError,
        "42000",
        "Invalid object name 'v'. (208); no corresponding BEGIN. (3903)",
        "view_missing",
    ),
    (pyodbc.Error, "42000", "no corresponding BEGIN TRANSACTION. (3903)", "read_failed"),
    (pyodbc.InterfaceError, "IM002", "Data source name not found (0) (SQLDriverConnect)", "driver_missing"),
    (
        pyodbc.Error,
        "01000",
        "Can't open lib 'FreeTDS' : file not found (0) (SQLDriverConnect)",
        "driver_missing",
    ),
    (pyodbc.Error, "HY000", "something new (99999)", "read_failed"),
]


@pytest.mark.parametrize(("kind", "state", "said", "code"), OUTCOMES)
def test_what_the_driver_says_has_a_code(
    kind: Callable[..., Exception], state: str, said: str, code: str
) -> None:
    database = SqlServer(make_url(URL.format(host="h:1433", driver="FreeTDS")), VIEW)

    error = database.translate(kind(state, f"[{state}] [FreeTDS][SQL Server]{said} PWD={{{SECRET}}}"))

    assert error.code == code
    assert "S3cret" not in str(error)
    assert "[FreeTDS]" not in error.message


def test_a_certificate_that_the_driver_does_not_trust_has_a_hint_of_its_own() -> None:
    database = SqlServer(make_url(URL.format(host="h", driver="ODBC+Driver+18+for+SQL+Server")), VIEW)
    said = (
        "[Microsoft][ODBC Driver 18 for SQL Server]SSL Provider: [error:0A000086::certificate verify failed]"
    )

    error = database.translate(pyodbc.OperationalError("08001", f"[08001] {said} (-1)"), connecting=True)

    assert error.code == "unreachable"
    assert "TrustServerCertificate=yes" in error.hint


def test_a_value_the_server_choked_on_is_not_repeated() -> None:
    database = SqlServer(make_url(URL.format(host="h", driver="FreeTDS")), VIEW)
    said = "Conversion failed when converting the nvarchar value 'Nguyễn Văn A 0905' to data type int. (245)"

    error = database.translate(pyodbc.DataError("22018", f"[22018] [FreeTDS][SQL Server]{said}"))

    assert error.code == "read_failed"
    assert "Nguyễn" not in str(error)
    assert "Conversion failed" in error.message


def test_names_and_values_cannot_become_sql() -> None:
    source = AgencySource(
        "a",
        "",
        "dbo.x]; DROP TABLE t --",
        {"step": "Bước]"},
        {"MaCoQuan": 12, "Ngay": date(2026, 8, 3), "Mo": True},
    )
    database = SqlServer(make_url(URL.format(host="h", driver="FreeTDS")), source.view)
    found = ViewColumns(["dossier_code", "BƯỚC]", "macoquan", "Ngay", "Mo"], source, database.place)
    view = quoted_view(source, database.syntax, database.place)

    sql, values = select(("step", "status", "dossier_code"), view, found, source.filter, database.syntax)

    assert sql == (
        "SELECT [BƯỚC]]], NULL, [dossier_code] FROM [dbo].[x]]; DROP TABLE t --] "
        "WHERE [macoquan] = ? AND [Ngay] = ? AND [Mo] = ?"
    )
    assert values == ["12", "2026-08-03", "1"]


def test_a_datetimeoffset_is_zoned_and_an_odd_one_does_not_fail_the_read() -> None:
    fields = (2026, 8, 5, 17, 0, 0, 123_456_700, 7, 0)

    assert read_datetimeoffset(struct.pack("<6hI2h", *fields)) == datetime(2026, 8, 5, 10, 0, 0, 123456, UTC)
    assert (
        read_datetimeoffset(struct.pack("<6hI2h", 0, *fields[1:]))
        == struct.pack("<6hI2h", 0, *fields[1:]).hex()
    )
    assert read_datetimeoffset(b"\x01") == "01"
    assert read_datetimeoffset(None) is None
