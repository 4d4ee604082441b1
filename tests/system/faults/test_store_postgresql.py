"""A state store on a PostgreSQL server that is restarted, away for a while, or restored from a dump."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from smsd.adapters.store.engine import Database
from smsd.adapters.store.snapshots import SnapshotStore
from tests.cli.office import READY
from tests.cli.office import Office as OfficeInside
from tests.support.builders import NOW
from tests.support.postgres import PostgresServer, _binary, wait_until
from tests.support.reliability import Record
from tests.system.daemonoffice import Office, baselined
from tests.system.faults.counting import BACKUP, STORE, became_ready, counted, seconds_until
from tests.system.process import Daemon

pytestmark = pytest.mark.xdist_group("state store on PostgreSQL")


@pytest.mark.reliability
def test_a_store_whose_server_goes_down_ends_the_daemon_and_is_taken_up_when_it_is_back(
    tmp_path: Path, postgres: PostgresServer, pg_database: str, reliability: Record
) -> None:
    office = Office(tmp_path / "etc", store=postgres.url(pg_database))
    office.add("alpha", dossiers=200)
    owed: list[str] = []
    times, ended = reliability.times(1, 4), 0.0
    restarts = 0.0

    def all_left() -> bool:
        return len(office.codes()) >= len(owed)

    for attempt in range(times):
        first = attempt * 20
        with Daemon(office) as daemon:
            daemon.wait_for("started")
            if not attempt:
                baselined(daemon, "alpha")
            owed += became_ready(office, "alpha", range(first, first + 10))
            wait_until(all_left)
            owed += became_ready(office, "alpha", range(first + 10, first + 20))
            postgres.stop("immediate" if attempt % 2 == 0 else "fast")
            try:
                ended = max(ended, seconds_until(lambda: daemon.process.poll() is not None))
                assert daemon.process.returncode == 1
                if attempt == 1:
                    away = office.smsd("run", "--once")
                    assert away.returncode == 1
                    assert away.stderr.startswith("smsd: the state store postgresql")
            finally:
                postgres.start()
        with Daemon(office) as daemon:  # as systemd does, every ten seconds
            restarts = max(restarts, seconds_until(all_left))
            assert not daemon.logged("baseline_taken")
            assert daemon.stop() == 0
    found = counted(office.codes(), owed)
    found.keep(
        reliability,
        STORE,
        "the state store's PostgreSQL server is restarted, or away for a while, under the running daemon",
        tried=times,
        recovered=f"by itself: smsd ends in {ended:.1f} s, systemd starts it, all is sent {restarts:.1f} s later",
    )
    office.close()


class Province:
    """An office whose store is on PostgreSQL, with a message that left, and one that waits when the dump is made."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.server = server
        self.database = server.database()
        self.office = OfficeInside(folder)
        self.use(self.database)
        assert self.office.once() == 0
        self.ready("nha-trang-0")
        self.dump = server.folder / f"{self.database}.dump"

    def use(self, database: str) -> None:
        self.database = database
        self.office.configure(store=self.server.url(database))

    def ready(self, code: str) -> None:
        self.office.move(code, READY)
        assert self.office.once() == 0

    def left(self) -> list[str]:
        return [message["dossier_code"] for message in self.office.spooled()]

    def dump_it(self) -> None:
        self._tool("pg_dump", "--format=custom", f"--file={self.dump}", self.database)

    def restore(self, database: str, *options: str) -> None:
        self._tool("pg_restore", f"--dbname={database}", *options, str(self.dump))

    def _tool(self, name: str, *words: str) -> None:
        where = ["--host=127.0.0.1", f"--port={self.server.port}", "--username=postgres"]
        subprocess.run([_binary(name), *where, *words], check=True, capture_output=True, text=True)


@pytest.fixture
def province(tmp_path: Path, postgres: PostgresServer) -> Iterator[Province]:
    it = Province(tmp_path / "etc", postgres)
    yield it
    it.office.close()
    postgres.drop(it.database)


@pytest.mark.reliability
@pytest.mark.parametrize("where", ["another database", "the same database"])
def test_a_store_restored_from_a_dump_is_known_for_one(
    province: Province, postgres: PostgresServer, reliability: Record, where: str
) -> None:
    province.dump_it()
    province.ready("nha-trang-1")  # sent after the dump was made
    assert province.left() == ["nha-trang-0", "nha-trang-1"]
    old = province.database
    if where == "another database":
        province.use(postgres.database())
        province.restore(province.database)
        postgres.drop(old)
    else:
        province.restore(old, "--clean", "--if-exists")
    assert province.office.once() == 1, "the alarm tells that it is a restored copy"
    assert "restored backup" in province.office.smsd("status").out
    assert province.left() == ["nha-trang-0", "nha-trang-1"]
    province.ready("nha-trang-2")
    found = counted(province.left(), ["nha-trang-0", "nha-trang-1", "nha-trang-2"])
    found.keep(
        reliability,
        BACKUP,
        f"a PostgreSQL store is restored by pg_restore into {where}, a message having been sent since the dump",
        tried=1,
        recovered="by itself: the first read only records",
    )


def test_a_store_that_stayed_at_home_is_no_copy(postgres: PostgresServer, pg_database: str) -> None:
    for _ in range(3):
        database = Database(postgres.url(pg_database))
        database.open()
        database.lock()
        assert not SnapshotStore(database).want_baselines(NOW)
        database.close()
        postgres.execute("VACUUM FULL", pg_database)
