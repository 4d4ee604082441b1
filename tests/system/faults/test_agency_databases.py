"""Agencies in every kind of trouble at once: each is told apart, each comes back, nobody is texted twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import PostgresServer
from tests.support.reliability import Record
from tests.system.faults.agencycases_postgresql import POSTGRESQL
from tests.system.faults.agencycases_sqlite import SQLITE
from tests.system.faults.agencycases_sqlserver import SQLSERVER
from tests.system.faults.agencytrouble import DOSSIERS, Province

pytestmark = [
    pytest.mark.reliability,
    pytest.mark.xdist_group("agencies-in-trouble"),
    pytest.mark.timeout(300),
]

IDS = [kind.id for kind in (*POSTGRESQL, *SQLITE, *SQLSERVER)]


@pytest.fixture(scope="module")
def province(
    postgres: PostgresServer, reliability: Record, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Province]:
    """All agencies after their rounds; the daemon has stopped in order."""
    database = postgres.database()
    cases = [*(kind(postgres, database) for kind in POSTGRESQL), *(kind() for kind in (*SQLITE, *SQLSERVER))]
    made = Province(tmp_path_factory.mktemp("province") / "etc", cases)
    try:
        for _ in range(reliability.times(1, 6)):
            made.round()
    finally:
        made.end()
    yield made
    postgres.drop(database)


@pytest.mark.parametrize("id_", IDS)
def test_each_fault_is_told_and_its_agency_comes_back_with_nothing_lost_or_doubled(
    province: Province, reliability: Record, id_: str
) -> None:
    province.check(id_, reliability)


def test_the_other_agencies_go_on_meanwhile(province: Province) -> None:
    province.check_the_others()


def test_dates_that_are_none_are_listed(province: Province) -> None:
    [(listed,)] = province.office.ask(
        "SELECT count(DISTINCT dossier_code) FROM findings WHERE agency = 'garbage-dates' AND reason = 'bad_date'"
    )
    assert listed == DOSSIERS
