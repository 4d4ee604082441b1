"""The whole PostgreSQL server of an agency: stopped, crashed, full, moved; under the running daemon."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg2
import pytest

from tests.support.agencyviews import PostgresAgency
from tests.support.postgres import PostgresServer, wait_until
from tests.support.reliability import Record
from tests.system.daemonoffice import READY, WORK, Office, baselined
from tests.system.faults.agencytrouble import GROUP
from tests.system.faults.agencywire import Wire
from tests.system.process import Daemon

pytestmark = [pytest.mark.reliability, pytest.mark.xdist_group("agencies-server")]

ROWS = 60_000
MIDDLE = 100_000
SESSIONS = "FROM pg_stat_activity WHERE application_name = 'smsd' AND datname = current_database()"
Fault = tuple[str, str]
"""The code of a fault and what `smsd status` says of it."""


class Ward:
    """One agency on the server behind a wire, one that is well, and the daemon."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.server = server
        self.office = Office(folder, polling={"interval": "1s", "timeout": "2s"})
        self.office.add("well", dossiers=40)
        self.database = PostgresAgency(server, server.database())
        self.database.execute(
            "INSERT INTO dossiers (dossier_code, phone, step, procedure_code, procedure_name, received_at, due_at) "
            f"SELECT 'ward-' || i, '0905123456', '{WORK}', '1.001', repeat('x', 100), now() - interval '3 days', "
            f"now() + interval '9 days' FROM generate_series(0, {ROWS - 1}) i"
        )
        url = self.database.role("s3cret-of-ward", "GRANT SELECT ON smsd_dossiers TO {role}")
        self.database.connection.close()
        self.login = url.replace("+psycopg2", "")
        self.wire = Wire(server.port)
        self.office.agency(
            "ward",
            database=url.replace(f":{server.port}/", f":{self.wire.port}/"),
            view=self.database.view,
        )
        self.daemon = Daemon(self.office)
        self.worked = 0
        try:
            baselined(self.daemon, "well", "ward")
        except BaseException:
            self.daemon.kill()  # or it would outlive the tests
            raise

    def in_mid_stream(self) -> None:
        """Returns when a read is held between its first row and its last."""
        assert self.wire.spoil("held", MIDDLE).reached.wait(10)

    def failed(self) -> Fault:
        """What the store says of the fault, once it does."""
        wait_until(lambda: self._fault()[0] != "None")
        return self._fault()

    def _fault(self) -> Fault:
        [(code, error)] = self.office.ask("SELECT error_code, error FROM agencies WHERE id = 'ward'")
        return str(code), str(error)

    def back(self) -> float:
        """A clerk has a result: the seconds until its applicant and one of the other agency are texted."""
        wait_until(self._answers)
        began, number = time.monotonic(), self.worked
        self.worked += 1
        self.ask(f"UPDATE dossiers SET step = '{READY}' WHERE dossier_code = 'ward-{number}' RETURNING 1")
        self.office.databases["well"].update(f"well-{number}", step=READY)
        try:
            wait_until(lambda: {f"ward-{number}", f"well-{number}"} <= set(self.office.codes()), 30)
        except AssertionError:
            raise AssertionError(f"not back:\n{''.join(self.daemon.raw)[-3000:]}") from None
        return time.monotonic() - began

    def ask(self, sql: str) -> object:
        """What the database answers on a connection of its own, since connections do not outlive the faults."""
        with closing(
            psycopg2.connect(self.server.url(self.database.database).replace("+psycopg2", ""))
        ) as one:
            one.autocommit = True
            with one.cursor() as cursor:
                cursor.execute(sql)
                row = cursor.fetchone()
        return None if row is None else row[0]

    def _answers(self) -> bool:
        try:
            return self.ask("SELECT 1") == 1
        except psycopg2.OperationalError:
            return False

    def close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self.server.drop, self.database.database)
            stack.callback(self.wire.close)
            stack.callback(self.office.close)
            stack.enter_context(self.daemon)


@pytest.fixture(scope="module")
def ward(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    made = Ward(tmp_path_factory.mktemp("ward") / "etc", postgres)
    yield made
    made.close()


def stopped(ward: Ward) -> Fault:
    ward.server.stop("fast")
    said = ward.failed()
    ward.server.start()
    return said


def crashed(ward: Ward) -> Fault:
    ward.in_mid_stream()
    ward.server.stop("immediate")
    ward.wire.mend()
    said = ward.failed()
    ward.server.start()
    return said


def process_killed(ward: Ward) -> Fault:
    ward.in_mid_stream()
    os.kill(int(str(ward.ask(f"SELECT pid {SESSIONS}"))), signal.SIGKILL)
    ward.wire.mend()
    return ward.failed()


NO_PLACE = "connection slots are reserved"


def full(ward: Ward) -> Fault:
    with ExitStack() as stack:

        def taken() -> bool:
            try:
                stack.enter_context(closing(psycopg2.connect(ward.login)))
            except psycopg2.OperationalError:
                return False
            return True

        while taken():
            pass
        ward.ask(f"SELECT pg_terminate_backend(pid) {SESSIONS}")
        wait_until(taken, step=0.001)  # the place of smsd's own connection, before it comes back for it
        wait_until(
            lambda: NO_PLACE in ward.failed()[1]
        )  # a read that was cut off just then tells of that first
        return ward.failed()


CASES: dict[str, tuple[str, Callable[[Ward], Fault], str, str]] = {
    "stopped": ("PostgreSQL stopped and started again", stopped, "unreachable", "check that the server runs"),
    "crashed": (
        "PostgreSQL killed in the middle of a read and started again",
        crashed,
        "unreachable",
        "cannot be reached",
    ),
    "process-killed": (
        "PostgreSQL's process killed (SIGKILL) in the middle of a read",
        process_killed,
        "unreachable",
        "cannot be reached",
    ),
    "full": (
        "PostgreSQL refuses connections (max_connections)",
        full,
        "unreachable",
        NO_PLACE,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_told_and_the_agency_comes_back_by_itself(ward: Ward, reliability: Record, case: str) -> None:
    fault, happen, code, words = CASES[case]
    began, times = ward.worked, reliability.times(1, 6)
    seconds = []
    for _ in range(times):
        told, said = happen(ward)
        assert told == code
        assert words in said
        seconds.append(ward.back())

    texts = Counter(ward.office.codes())
    owed = {f"{id_}-{number}" for id_ in ("ward", "well") for number in range(ward.worked)}
    lost, doubled = len(owed - set(texts)), sum(texts.values()) - len(texts)
    assert (set(texts), lost, doubled) == (owed, 0, 0)
    assert ward.worked == began + times
    assert max(seconds) < 20
    assert not ward.daemon.logged("read_failed", agency="well"), "the other agency goes on"
    reliability.row(
        GROUP,
        fault,
        tried=times,
        lost=lost,
        doubled=doubled,
        recovered=f"by itself in {max(seconds):.1f} s after it is over",
        note="polled every second, timeout 2 s",
    )
