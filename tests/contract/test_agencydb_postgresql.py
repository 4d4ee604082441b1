"""What only a real PostgreSQL can show: refusals, restarts, silence, rights, memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.core.errors import AgencyError
from smsd.services.ports import AgencyReader
from tests.support.agencyviews import COLUMNS, PostgresAgency
from tests.support.postgres import PostgresServer, free_port, wait_until

PASSWORD = "Mật khẩu: 1/2@3 %40?"
SMSD_SESSIONS = (
    "SELECT {} FROM pg_stat_activity WHERE application_name = 'smsd' AND datname = current_database()"
)


@pytest.fixture
def agency(postgres: PostgresServer, pg_database: str) -> Iterator[PostgresAgency]:
    made = PostgresAgency(postgres, pg_database)
    made.insert([{"dossier_code": f"H32-{number}", "step": "Thẩm định"} for number in range(3)])
    yield made
    made.close()


@pytest.fixture
def opened() -> Iterator[list[AgencyReader]]:
    readers: list[AgencyReader] = []
    yield readers
    for reader in readers:
        reader.close()


def reader_of(opened: list[AgencyReader], url: str, **changes: Any) -> AgencyReader:
    names = {"view": "public.smsd_dossiers", "timeout": timedelta(seconds=20)} | changes
    reader = open_reader(AgencySource(agency="nha-trang", url=url, **names))
    opened.append(reader)
    return reader


def codes(reader: AgencyReader) -> list[object]:
    return sorted(str(row[0]) for block in reader.rows(("dossier_code",)) for row in block)


def fault_of(reader: AgencyReader) -> AgencyError:
    with pytest.raises(AgencyError) as caught:
        codes(reader)
    error = caught.value
    said = f"{error!r} {error} {error.hint} {error.__cause__!r} {reader!r}"
    assert PASSWORD not in said
    assert quote(PASSWORD, safe="") not in said
    assert "://" not in said
    return error


def states(reader: AgencyReader) -> dict[str, str]:
    return {result.name: result.state for result in reader.check()}


def test_a_login_with_its_password_reads(agency: PostgresAgency, opened: list[AgencyReader]) -> None:
    url = agency.role(PASSWORD, "GRANT SELECT ON smsd_dossiers TO {role}")

    assert codes(reader_of(opened, url)) == ["H32-0", "H32-1", "H32-2"]


def test_refusals_have_codes_and_show_no_secret(agency: PostgresAgency, opened: list[AgencyReader]) -> None:
    url = agency.role(PASSWORD)
    wrong = url.replace(quote(PASSWORD, safe=""), "wrong-secret")

    assert fault_of(reader_of(opened, url)).code == "permission_denied"
    login = fault_of(reader_of(opened, wrong))
    assert login.code == "login_failed"
    assert "wrong-secret" not in str(login)
    assert fault_of(reader_of(opened, agency.url.rsplit("/", 1)[0] + "/nowhere")).code == "database_missing"
    assert fault_of(reader_of(opened, agency.server.url(agency.database, "nobody"))).code == "login_failed"
    assert fault_of(reader_of(opened, agency.url, view="nothing.smsd_dossiers")).code == "view_missing"
    capitals = fault_of(reader_of(opened, agency.url, view="public.SMSD_Dossiers"))
    assert capitals.code == "view_missing"
    assert "capitals" in capitals.hint


def test_a_closed_port_and_an_unknown_host_are_unreachable(opened: list[AgencyReader]) -> None:
    secret = quote(PASSWORD, safe="")
    for host in (f"127.0.0.1:{free_port()}", "nowhere.invalid:5432"):
        error = fault_of(reader_of(opened, f"postgresql+psycopg2://smsd:{secret}@{host}/motcua"))
        assert error.code == "unreachable"
        assert host in error.message


def test_a_server_that_says_nothing_is_given_up_at_the_deadline(
    opened: list[AgencyReader], silent_port: int
) -> None:
    url = f"postgresql+psycopg2://smsd:{quote(PASSWORD, safe='')}@127.0.0.1:{silent_port}/motcua"
    started = time.monotonic()

    error = fault_of(reader_of(opened, url, timeout=timedelta(seconds=0.5)))

    assert error.code == "unreachable"
    assert time.monotonic() - started < 1.9  # libpq itself waits two seconds at least


def test_connecting_can_be_cancelled(opened: list[AgencyReader], silent_port: int) -> None:
    reader = reader_of(opened, f"postgresql+psycopg2://smsd@127.0.0.1:{silent_port}/motcua")
    errors: list[AgencyError] = []
    thread = threading.Thread(target=lambda: errors.append(fault_of(reader)), daemon=True)
    started = time.monotonic()
    thread.start()
    wait_until(lambda: (reader.cancel(), not thread.is_alive())[1])

    assert time.monotonic() - started < 1.9
    assert errors[0].code == "timeout"


def test_a_restarted_server_does_not_cost_a_read_and_a_stopped_one_costs_only_those_meanwhile(
    agency: PostgresAgency, opened: list[AgencyReader]
) -> None:
    reader = reader_of(opened, agency.url)
    assert len(codes(reader)) == 3

    agency.server.stop()
    agency.server.start()
    assert len(codes(reader)) == 3

    agency.server.stop()
    try:
        assert fault_of(reader).code == "unreachable"
    finally:
        agency.server.start()
    assert len(codes(reader)) == 3


def test_a_server_killed_in_the_middle_of_a_read_is_unreachable(
    agency: PostgresAgency, opened: list[AgencyReader]
) -> None:
    agency.execute("INSERT INTO dossiers (dossier_code) SELECT i::text FROM generate_series(1, 9000) i")
    blocks = reader_of(opened, agency.url).rows()
    next(blocks)

    agency.execute(SMSD_SESSIONS.format("pg_terminate_backend(pid)"))

    with pytest.raises(AgencyError) as caught:
        list(blocks)
    assert caught.value.code == "unreachable"


def test_a_server_gone_silent_neither_holds_the_read_nor_the_process_when_it_is_cancelled(
    agency: PostgresAgency, opened: list[AgencyReader]
) -> None:
    agency.hang()
    reader = reader_of(opened, agency.url)
    errors: list[AgencyError] = []
    thread = threading.Thread(target=lambda: errors.append(fault_of(reader)), daemon=True)
    thread.start()
    wait_until(lambda: agency.ask(SMSD_SESSIONS.format("count(*)") + " AND wait_event = 'PgSleep'") == 1)
    stopped = [int((agency.server.data / "postmaster.pid").read_text().split()[0])]
    stopped.append(int(str(agency.ask(SMSD_SESSIONS.format("pid")))))
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        reader.cancel()
        assert time.monotonic() - started < 0.5
        thread.join(3)
        assert not thread.is_alive()
        reader.close()
        assert time.monotonic() - started < 3.5
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert errors[0].code == "timeout"
    # and the server does not go on with a statement nobody waits for
    wait_until(lambda: agency.ask(SMSD_SESSIONS.format("count(*)")) == 0)


def test_a_view_that_writes_cannot_whoever_the_login_is(
    agency: PostgresAgency, opened: list[AgencyReader]
) -> None:
    agency.execute(
        "CREATE FUNCTION note() RETURNS text LANGUAGE sql VOLATILE AS $$ DELETE FROM dossiers; SELECT 'x' $$"
    )
    agency.execute(
        f"CREATE VIEW busy AS SELECT {', '.join(COLUMNS[1:])}, note() AS dossier_code FROM dossiers"
    )

    error = fault_of(reader_of(opened, agency.url, view="busy"))

    assert error.code == "read_failed"
    assert "only read" in error.hint
    assert agency.ask("SELECT count(*) FROM dossiers") == 3


def test_between_reads_one_connection_is_kept_and_no_transaction(
    agency: PostgresAgency, opened: list[AgencyReader]
) -> None:
    reader = reader_of(opened, agency.url)
    for _ in range(3):
        codes(reader)

    assert agency.ask(SMSD_SESSIONS.format("string_agg(state, ',')")) == "idle"
    reader.close()
    wait_until(lambda: agency.ask(SMSD_SESSIONS.format("count(*)")) == 0)


def test_nothing_is_set_for_the_session_only_for_the_read(
    agency: PostgresAgency, opened: list[AgencyReader]
) -> None:
    shown = "concat_ws(' ', current_setting('transaction_read_only'), current_setting('statement_timeout'))"
    agency.execute(f"CREATE VIEW settings AS SELECT {shown} AS dossier_code")
    reader = reader_of(opened, agency.url, view="settings", timeout=timedelta(seconds=7))

    assert codes(reader) == ["on 7s"]
    assert agency.ask(SMSD_SESSIONS.format("count(*)")) == 1


@pytest.mark.parametrize("name", ['v"; DROP TABLE dossiers; --', "Hồ Sơ 100% %s", "select", "a'b"])
def test_names_are_names_whatever_stands_in_them(
    agency: PostgresAgency, opened: list[AgencyReader], name: str
) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    agency.execute(f"CREATE SCHEMA {quoted}")
    agency.execute(f"CREATE VIEW {quoted}.{quoted} AS SELECT step, dossier_code AS {quoted} FROM dossiers")
    columns = {"dossier_code": name}

    reader = reader_of(opened, agency.url, view=f"{name}.{name}", columns=columns, filter={name: "H32-1"})
    assert codes(reader) == ["H32-1"]
    assert fault_of(reader_of(opened, agency.url, view=f"{name}.{name}; --")).code == "view_missing"
    assert len(codes(reader_of(opened, agency.url, view=f"{name}.{name}", columns=columns))) == 3


@pytest.mark.parametrize("name", ["", ".", "public.", ".smsd_dossiers", "a\0b"])
def test_what_cannot_be_a_name_is_refused(
    opened: list[AgencyReader], agency: PostgresAgency, name: str
) -> None:
    assert fault_of(reader_of(opened, agency.url, view=name)).code == "view_missing"


def test_a_filter_s_value_fits_the_column_s_type(agency: PostgresAgency, opened: list[AgencyReader]) -> None:
    agency.execute(
        "CREATE VIEW typed AS SELECT *, '12'::text AS as_text, 12 AS as_number, true AS as_truth, "
        "date '2026-08-03' AS as_date FROM dossiers"
    )
    wanted: dict[str, object] = {"as_text": 12, "as_number": "12", "as_truth": True, "as_date": "2026-08-03"}

    assert len(codes(reader_of(opened, agency.url, view="typed", filter=wanted))) == 3
    assert codes(reader_of(opened, agency.url, view="typed", filter={"as_truth": False})) == []
    wrong = fault_of(reader_of(opened, agency.url, view="typed", filter={"as_number": "0905123456 Nguyễn"}))
    assert wrong.code == "read_failed"
    assert "0905" not in str(wrong)


def test_a_fault_after_the_first_rows_names_no_citizen(
    agency: PostgresAgency, opened: list[AgencyReader]
) -> None:
    agency.execute("UPDATE dossiers SET phone = 'Nguyễn Văn A 0905123456' WHERE dossier_code = 'H32-2'")
    agency.execute("CREATE VIEW failing AS SELECT phone::bigint AS dossier_code FROM dossiers")

    error = fault_of(reader_of(opened, agency.url, view="failing"))

    assert error.code == "read_failed"
    assert "invalid input syntax" in error.message
    assert "0905" not in str(error)
    assert "Nguyễn" not in str(error)


def test_a_check_warns_of_a_login_that_could_write(
    agency: PostgresAgency, opened: list[AgencyReader]
) -> None:
    grants = "GRANT SELECT ON smsd_dossiers TO {role}"
    may_read = reader_of(opened, agency.role("x1", grants))
    may_write = reader_of(opened, agency.role("x2", grants + "; GRANT INSERT ON dossiers TO {role}"))

    assert states(may_read)["read-only"] == "ok"
    assert states(may_write)["read-only"] == "warning"
    (superuser,) = [result for result in reader_of(opened, agency.url).check() if result.name == "read-only"]
    assert superuser.state == "warning"
    assert "superuser" in superuser.message
    assert "sql/" in superuser.hint


def test_a_check_counts_what_is_wrong_with_the_first_rows(
    agency: PostgresAgency, opened: list[AgencyReader]
) -> None:
    agency.insert(
        [{"step": "x"}, {"dossier_code": "a"}, {"dossier_code": "b", "step": "x", "due_at": "infinity"}]
    )

    (rows,) = [result for result in reader_of(opened, agency.url).check() if result.name == "rows"]

    assert rows.state == "warning"
    for problem in ("1 with dossier_code is null", "1 with step is null", "1 with due_at is not a date-time"):
        assert problem in rows.message


def test_a_check_says_what_missing_columns_cost(agency: PostgresAgency, opened: list[AgencyReader]) -> None:
    agency.show([c for c in COLUMNS if c != "status"])
    assert states(reader_of(opened, agency.url))["columns"] == "warning"

    agency.show([c for c in COLUMNS if c != "updated_at"])
    assert states(reader_of(opened, agency.url))["columns"] == "ok"

    agency.show([c for c in COLUMNS if c != "due_at"])
    assert states(reader_of(opened, agency.url)) == {"connection": "ok", "view": "ok", "columns": "failed"}


_MEASURE = """
import resource, sys
from smsd.adapters.agencydb.reader import AgencySource, open_reader
reader = open_reader(AgencySource("a", sys.argv[1], sys.argv[2]))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reader.has_column("step"); before = peak()
print(sum(map(len, reader.rows())), (peak() - before) // 1024)
"""


def test_memory_is_bounded_by_a_block_not_by_the_view(agency: PostgresAgency) -> None:
    chosen = ", ".join("i || repeat('x', 40) AS " + column for column in COLUMNS)
    agency.execute(f"CREATE VIEW large AS SELECT {chosen} FROM generate_series(1, 200000) i")

    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, agency.url, "large"], capture_output=True, text=True, check=True
    )

    rows, megabytes = map(int, done.stdout.split())
    assert rows == 200_000
    assert megabytes < 16  # all rows at once are more than 150
