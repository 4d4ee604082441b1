"""Single reads on real databases: views that change while they stream, connections that are never used again."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.core.errors import AgencyError
from smsd.services.ports import AgencyReader
from tests.support.agencyviews import AgencyDatabase, PostgresAgency, SqliteAgency
from tests.support.postgres import PostgresServer, wait_until
from tests.support.reliability import Record
from tests.system.daemonoffice import READY, WORK
from tests.system.faults.agencytrouble import GROUP
from tests.system.faults.agencywire import Wire

pytestmark = pytest.mark.reliability

ROWS, READY_ROWS = 2_500, 100
SESSIONS = "FROM pg_stat_activity WHERE application_name = 'smsd' AND datname = current_database()"


@pytest.fixture
def agency(postgres: PostgresServer, pg_database: str) -> Iterator[PostgresAgency]:
    made = PostgresAgency(postgres, pg_database)
    yield made
    made.close()


def a_reader(database: AgencyDatabase, seconds: float = 20, url: str = "") -> AgencyReader:
    source = AgencySource("nha-trang", url or database.url, database.view, timeout=timedelta(seconds=seconds))
    return open_reader(source)


def fill(database: AgencyDatabase) -> None:
    database.insert(
        {
            "dossier_code": f"H{number}",
            "step": READY if number < READY_ROWS else WORK,
            "procedure_name": "x" * 80,
        }
        for number in range(ROWS)
    )


class Clerk:
    """Exchanges the steps of two dossiers in one transaction, again and again until told to stop."""

    def __init__(self, agency: AgencyDatabase) -> None:
        self._agency = agency
        self._random = random.Random(7)
        self._steps = [READY if number < READY_ROWS else WORK for number in range(ROWS)]
        self._over = threading.Event()
        self.changes = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Clerk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        steps = self._steps
        while not self._over.is_set():
            a, b = self._random.sample(range(ROWS), 2)
            steps[a], steps[b] = steps[b], steps[a]
            self._agency.execute(
                f"UPDATE dossiers SET step = CASE dossier_code WHEN 'H{a}' THEN '{steps[a]}' ELSE '{steps[b]}' END "
                f"WHERE dossier_code IN ('H{a}', 'H{b}')"
            )
            self.changes += 1


def test_a_view_that_changes_while_it_streams_is_read_as_of_one_moment_from_postgresql(
    agency: PostgresAgency, reliability: Record
) -> None:
    _read_among_changes(agency, reliability, "PostgreSQL")


def test_a_view_that_changes_while_it_streams_is_read_as_of_one_moment_from_sqlite(
    tmp_path: Path, reliability: Record
) -> None:
    agency = SqliteAgency(tmp_path / "motcua.db")
    _read_among_changes(agency, reliability, "SQLite (WAL)")
    agency.close()


def _read_among_changes(agency: AgencyDatabase, reliability: Record, kind: str) -> None:
    fill(agency)
    agency.execute("CREATE UNIQUE INDEX codes ON dossiers (dossier_code)")
    times, wrong, changed_meanwhile = reliability.times(4, 60), 0, 0
    reader = a_reader(agency)
    with Clerk(agency) as clerk:
        for _ in range(times):
            before = clerk.changes
            blocks = reader.rows(("dossier_code", "step"))
            rows = list(next(blocks))
            seen = clerk.changes
            wait_until(lambda seen=seen: clerk.changes > seen + 5, step=0.001)
            rows += [row for block in blocks for row in block]
            changed_meanwhile += clerk.changes - before
            ready = sum(step == READY for _, step in rows)
            wrong += (len(rows), len({code for code, _ in rows}), ready) != (ROWS, ROWS, READY_ROWS)
    reader.close()
    assert wrong == 0
    assert changed_meanwhile > 5 * times
    reliability.row(
        GROUP,
        f"view changed by writers while it streams from {kind}",
        tried=times,
        recovered="each read shows one moment",
        note=f"{changed_meanwhile:,} transactions of others during the reads",
    )


def test_a_connection_that_timed_out_is_never_used_again(agency: PostgresAgency, reliability: Record) -> None:
    fill(agency)
    times = reliability.times(2, 20)
    wire = Wire(agency.server.port)
    url = agency.url.replace(f":{agency.server.port}/", f":{wire.port}/")
    with ExitStack() as stack:
        stack.callback(wire.close)
        reader = a_reader(agency, seconds=0.6, url=url)
        stack.callback(reader.close)
        slowest = 0.0
        for _ in range(times):
            assert sum(map(len, reader.rows())) == ROWS
            poisoned, opened = agency.ask(f"SELECT pid {SESSIONS}"), wire.connections
            wire.spoil("silent", 100_000)
            began = time.monotonic()
            with pytest.raises(AgencyError) as caught:
                list(reader.rows())
            slowest = max(slowest, time.monotonic() - began)
            assert caught.value.code == "timeout"
            wire.mend()
            assert sum(map(len, reader.rows())) == ROWS, "the next read is whole"
            assert wire.connections == opened + 1
            wait_until(lambda: agency.ask(f"SELECT count(*) {SESSIONS}") == 1)
            assert agency.ask(f"SELECT pid {SESSIONS}") != poisoned
    assert slowest < 1.6
    reliability.row(
        GROUP,
        "connection that timed out in the middle of a read",
        tried=times,
        recovered="by the next read, on a new connection",
        note=f"deadline 0.6 s held within {slowest:.1f} s; the old session ended on the server",
    )
