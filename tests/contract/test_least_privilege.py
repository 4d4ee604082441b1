"""What `smsd check` finds that a login could change, and what the servers really receive from us."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from smsd.adapters.agencydb.permissions import SQLSERVER_WORDS, file_rights
from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.adapters.store.engine import Database
from smsd.core.errors import StoreError
from smsd.services.ports import CheckResult
from tests.cli.office import READY, WORK, Office
from tests.contract.test_agencydb_sqlserver import URL, VIEW, a_driver
from tests.support.agencyviews import COLUMNS, PostgresAgency, SqliteAgency
from tests.support.postgres import PostgresServer, wait_until
from tests.support.reliability import Record
from tests.support.tdsserver import Answer, Rows, TdsServer

PASSWORD = "p@ss/word-of-the-test"
SELECT = "GRANT SELECT ON smsd_dossiers TO {role}"


def read_only(url: str, view: str) -> CheckResult:
    reader = open_reader(AgencySource("nha-trang", url, view, timeout=timedelta(seconds=20)))
    (result,) = [result for result in reader.check() if result.name == "read-only"]
    reader.close()
    assert PASSWORD not in result.message + result.hint
    return result


@pytest.fixture
def agency(postgres: PostgresServer, pg_database: str) -> Iterator[PostgresAgency]:
    made = PostgresAgency(postgres, pg_database)
    yield made
    made.close()


# PostgreSQL: each grant on a real server


@pytest.mark.parametrize(
    ("grants", "words"),
    [
        (SELECT, []),
        (SELECT + "; GRANT pg_read_all_data TO {role}", []),
        (SELECT + "; GRANT INSERT ON smsd_dossiers TO {role}", ["rows of the view"]),
        (SELECT + "; GRANT DELETE ON smsd_dossiers TO {role}", ["rows of the view"]),
        (SELECT + "; GRANT UPDATE (phone) ON smsd_dossiers TO {role}", ["rows of the view"]),
        (SELECT + "; GRANT INSERT ON dossiers TO {role}", ["tables of the database"]),
        (SELECT + "; GRANT UPDATE (phone) ON dossiers TO {role}", ["tables of the database"]),
        (SELECT + "; GRANT TRUNCATE ON dossiers TO {role}", ["tables of the database"]),
        (SELECT + "; GRANT pg_write_all_data TO {role}", ["rows of the view", "tables of the database"]),
        ("GRANT SELECT ON dossiers TO {role}; ALTER VIEW smsd_dossiers OWNER TO {role}",
         ["rows of the view", "what it owns"]),
        (SELECT + "; ALTER TABLE dossiers OWNER TO {role}; GRANT SELECT ON dossiers TO postgres", ["what it owns"]),
        (SELECT + "; GRANT CREATE ON SCHEMA public TO {role}", ["create tables"]),
        (SELECT + "; CREATE SCHEMA IF NOT EXISTS other; GRANT CREATE ON SCHEMA other TO {role}", ["create tables"]),
        (SELECT + "; GRANT TEMPORARY ON DATABASE \"{database}\" TO {role}", ["temporary tables"]),
        (SELECT + "; GRANT CREATE ON DATABASE \"{database}\" TO {role}", ["create tables or schemas"]),
        ("ALTER ROLE {role} SUPERUSER", ["superuser"]),
        (SELECT + "; ALTER ROLE {role} CREATEDB", ["create databases"]),
        (SELECT + "; GRANT pg_execute_server_program TO {role}", ["run programs"]),
        (SELECT + "; CREATE ROLE {role}_w; GRANT DELETE ON dossiers TO {role}_w; GRANT {role}_w TO {role}",
         ["tables of the database"]),
        (SELECT + "; ALTER ROLE {role} NOINHERIT; CREATE ROLE {role}_w; GRANT DELETE ON dossiers TO {role}_w; "
         "GRANT {role}_w TO {role}", ["tables of the database"]),
        (SELECT + "; ALTER ROLE {role} NOINHERIT; GRANT postgres TO {role}", ["superuser"]),
    ],
)  # fmt: skip
def test_every_way_a_postgresql_login_could_write_is_warned_of(
    agency: PostgresAgency, grants: str, words: list[str]
) -> None:
    url = agency.role(PASSWORD, grants.replace("{database}", agency.database))
    result = read_only(url, agency.view)
    try:
        assert result.state == ("warning" if words else "ok"), result.message
        assert all(word in result.message for word in words), result.message
        assert not words or "sql/" in result.hint
    finally:
        role = agency.roles[0]
        agency.execute("ALTER VIEW smsd_dossiers OWNER TO postgres; ALTER TABLE dossiers OWNER TO postgres")
        if agency.ask(f"SELECT count(*) FROM pg_roles WHERE rolname = '{role}_w'"):
            agency.execute(f"DROP OWNED BY {role}_w; DROP ROLE {role}_w")


# SQL Server: what is asked, and what is made of the answer


def sql_server(rights: tuple[int, ...]) -> TdsServer:
    def answer(statement: str) -> Answer:
        if "HAS_PERMS_BY_NAME" in statement:
            return Rows([(f"c{n}", "number") for n in range(len(rights))], [rights])
        return Rows([(name, "text") for name in COLUMNS[:9]])

    return TdsServer(answer)


@pytest.mark.parametrize("place", range(len(SQLSERVER_WORDS)))
def test_every_right_that_sql_server_tells_of_is_warned_of(place: int) -> None:
    server = sql_server(tuple(int(n == place) for n in range(len(SQLSERVER_WORDS))))
    result = read_only(URL.format(host=f"127.0.0.1:{server.port}", driver=a_driver()), VIEW)
    server.close()
    assert (result.state, SQLSERVER_WORDS[place] in result.message) == ("warning", True)
    (asked,) = [said for said in server.said if "HAS_PERMS_BY_NAME" in said]
    for word in (
        "fn_my_permissions",
        "db_owner",
        "db_datawriter",
        "db_ddladmin",
        "sysadmin",
        "CONTROL SERVER",
    ):
        assert word in asked


def test_sql_server_receives_selects_alone() -> None:
    server = sql_server((0, 0, 0, 0))
    reader = open_reader(
        AgencySource("a", URL.format(host=f"127.0.0.1:{server.port}", driver=a_driver()), VIEW)
    )
    assert {result.state for result in reader.check()} <= {"ok", "warning"}
    list(reader.rows())
    reader.close()
    server.close()
    assert len(server.said) >= 4
    for said in server.said:
        assert said.lstrip().startswith("SELECT")
        without_words = re.sub(r"'[^']*'", "''", said)
        assert not re.search(
            r"\b(INSERT|UPDATE|DELETE|EXEC|CREATE|DROP|ALTER|MERGE|INTO)\b", without_words
        ), said


# SQLite


def test_a_sqlite_file_that_this_user_could_write_is_warned_of(tmp_path: Path) -> None:
    agency = SqliteAgency(tmp_path / "motcua.db")
    for mode, state in ((0o666, "warning"), (0o664, "warning"), (0o444, "ok")):
        agency.path.chmod(mode)
        assert read_only(agency.url, agency.view).state == state, oct(mode)
    agency.path.chmod(0o644)
    assert bool(file_rights(agency.path)) == (os.geteuid() != 0), (
        "the owner's own, unless that is nobody but root"
    )
    agency.close()


# what leaves us

LAWFUL = re.compile(
    r"BEGIN(?: ISOLATION LEVEL [A-Z ]+)? READ ONLY|ROLLBACK"
    r"|(?:SET LOCAL [a-z_]+ (?:= '?\w+'?|TO DEFAULT)(?:; )?)+|SHOW \w+"
    r"|(?:WITH mine AS \(|SELECT )[^;]*"
    r"|DECLARE \"?\w+\"? NO SCROLL CURSOR (?:WITHOUT HOLD )?FOR SELECT [^;]*"
    r"|FETCH (?:FORWARD )?\w+ FROM \"?\w+\"?|CLOSE \"?\w+\"?|COPY \(SELECT [^;]*\) TO STDOUT[^;]*"
)
GUARD = """
CREATE FUNCTION guard() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF current_setting('transaction_read_only') <> 'on' THEN RAISE EXCEPTION 'a transaction that may write'; END IF;
    RETURN 'Đăng ký khai sinh';
END $$
"""


def statements(log: str) -> list[str]:
    """What a server with log_statement = all has received, each on one line."""
    joined = log.replace("\n\t", " ")
    return [
        " ".join(match[1].split())
        for match in re.finditer(r"LOG:  (?:statement|execute [^:]*): (.*)", joined)
    ]


@pytest.fixture
def watched(tmp_path: Path, agency: PostgresAgency) -> Iterator[tuple[Office, PostgresAgency]]:
    """An office whose agency is on PostgreSQL; every transaction that may write fails, every statement is logged."""
    office = Office(tmp_path / "etc")
    chosen = ", ".join(
        column if column != "procedure_name" else "guard() AS procedure_name" for column in COLUMNS
    )
    agency.execute(GUARD)
    agency.lose_view()
    agency.execute(f"CREATE VIEW smsd_dossiers AS SELECT {chosen} FROM dossiers")
    url = agency.role(PASSWORD, SELECT + "; ALTER ROLE {role} SET log_statement = 'all'")
    office.agency("nha-trang", database=url, view="smsd_dossiers", timeout="20s", filter={"step": WORK})
    office.agency("so-xay-dung", database=url, view="smsd_dossiers", timeout="20s")
    yield office, agency
    office.close()


@pytest.mark.reliability
def test_a_postgresql_server_receives_single_selects_in_transactions_that_cannot_write(
    watched: tuple[Office, PostgresAgency], reliability: Record
) -> None:
    office, agency = watched
    now = datetime.now(ZoneInfo(str(office.settings["timezone"])))
    agency.insert(
        {
            "dossier_code": f"H32.{number}", "phone": "0905123456", "step": WORK, "procedure_code": "1.001",
            "received_at": now - timedelta(days=2), "due_at": now + timedelta(days=1 + number),
        }
        for number in range(3)
    )  # fmt: skip
    office.configure(notices={**office.settings["notices"], "apology": {"at": "11:00", "until": "23:00"}},
                     reconciliation={"at": "11:30", "directory": "reports"})  # fmt: skip
    log = agency.server.folder / "log"
    before = len(log.read_text(errors="replace"))

    assert office.smsd("check").status == 0
    assert office.once() == 0
    agency.update("H32.1", step=READY)
    for words in (("poll", "so-xay-dung"), ("poll", "nha-trang", "--dry-run"), ("apology", "--dry-run"), ("report",),
                  ("lookup", "MCKH H32.1")):  # fmt: skip
        assert office.smsd(*words).status == 0, words
    assert office.once() == 0
    assert [message["dossier_code"] for message in office.spooled()] == ["H32.1"]

    received = statements(log.read_text(errors="replace")[before:])
    reads = [said for said in received if "smsd_dossiers" in said]
    assert len(reads) >= 20
    assert [said for said in received if not LAWFUL.fullmatch(said)] == []
    assert any(said.startswith("BEGIN") for said in received)
    reliability.row(
        "Hostile input",
        "A statement that an agency's PostgreSQL received and that is no SELECT, or could write",
        tried=len(received),
        recovered="none was found: every statement of check, poll, apology pass, report and look-up was looked at",
    )


# TLS


@pytest.fixture
def safe(postgres: PostgresServer, tmp_path: Path) -> Iterator[tuple[PostgresServer, Path, Path]]:
    """The server with a certificate for 127.0.0.1 alone, its authority, and another's."""
    for name in ("ca", "other"):
        _openssl(tmp_path, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}")  # fmt: skip
    _openssl(tmp_path, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
             "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1")  # fmt: skip
    _openssl(tmp_path, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
             "-copy_extensions", "copy", "-days", "2", "-out", "server.pem")  # fmt: skip
    for name, mode in (("server.key", 0o600), ("server.pem", 0o644)):
        target = postgres.data / name
        target.write_bytes((tmp_path / name).read_bytes())
        target.chmod(mode)
        os.chown(target, postgres.data.stat().st_uid, postgres.data.stat().st_gid)
    for setting in ("ssl_cert_file = 'server.pem'", "ssl_key_file = 'server.key'", "ssl = on"):
        postgres.execute(f"ALTER SYSTEM SET {setting}")
    postgres.execute("SELECT pg_reload_conf()")
    ca = tmp_path / "ca.pem"
    wait_until(lambda: _speaks_tls(postgres, ca))
    yield postgres, ca, tmp_path / "other.pem"
    postgres.execute("ALTER SYSTEM RESET ALL")
    postgres.execute("SELECT pg_reload_conf()")
    wait_until(lambda: not _speaks_tls(postgres, ca))


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def _speaks_tls(server: PostgresServer, ca: Path) -> bool:
    import psycopg2  # noqa: PLC0415 - here alone

    try:
        psycopg2.connect(
            host="127.0.0.1", port=server.port, user="postgres", dbname="postgres", sslmode="verify-full",
            sslrootcert=str(ca),
        ).close()  # fmt: skip
    except psycopg2.OperationalError:
        return False
    return True


def test_an_agency_and_a_store_are_read_over_tls_where_the_url_says_so_and_refused_where_nobody_vouches(
    safe: tuple[PostgresServer, Path, Path], agency: PostgresAgency
) -> None:
    server, ca, other = safe
    url = agency.role(PASSWORD, SELECT)
    over_tls = "(SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS dossier_code"
    agency.lose_view()
    agency.execute(f"CREATE VIEW smsd_dossiers AS SELECT {over_tls}, {', '.join(COLUMNS[1:])} FROM dossiers")
    agency.execute(f"GRANT SELECT ON smsd_dossiers TO {agency.roles[0]}")
    agency.insert([{"step": "Thẩm định"}])

    def first(address: str) -> CheckResult:
        reader = open_reader(AgencySource("a", address, "smsd_dossiers", timeout=timedelta(seconds=10)))
        try:
            return reader.check()[0]
        finally:
            reader.close()

    verified = f"{url}?sslmode=verify-full&sslrootcert={ca}"
    assert first(verified).state == "ok"
    reader = open_reader(AgencySource("a", verified, "smsd_dossiers"))
    assert [row[0] for block in reader.rows() for row in block] == ["true"]
    reader.close()
    for address in (
        f"{url}?sslmode=verify-full&sslrootcert={other}",
        verified.replace("127.0.0.1", "localhost"),
        f"{url}?sslmode=verify-full&sslrootcert={ca}.none",
    ):
        refused = first(address)
        assert refused.state == "failed", address
        assert "sslrootcert" in refused.hint
        assert PASSWORD not in refused.message + refused.hint

    own = server.database()
    store = f"{server.url(own)}?sslmode=verify-full&sslrootcert={{}}"
    kept = Database(store.format(ca))
    kept.open()
    kept.close()
    with pytest.raises(StoreError, match="certificate"):
        Database(store.format(other)).open()
    server.drop(own)
