"""Reading by parts from a real PostgreSQL, where a view does what views should not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.core.errors import AgencyError
from smsd.core.policy import ReadKind, ReadRule
from tests.services.stage import HOUR, Stage, a_row
from tests.support.agencyviews import COLUMNS, PostgresAgency
from tests.support.builders import a_policy
from tests.support.postgres import PostgresServer

ROWS = [a_row(f"Q{number}", received_at="2026-01-01", due_at="2027-01-01") for number in range(30)]
Office = tuple[Stage, PostgresAgency]


@pytest.fixture
def office(tmp_path: Path, postgres: PostgresServer, pg_database: str) -> Iterator[Office]:
    stage, agency = Stage(tmp_path), PostgresAgency(postgres, pg_database)
    source = AgencySource(agency="nha-trang", url=agency.url, view=agency.view, timeout=timedelta(seconds=30))
    stage.reader = open_reader(source)
    agency.insert(ROWS)
    yield stage, agency
    stage.reader.close()
    agency.close()


@pytest.mark.parametrize("kind", [*ReadKind, None])
def test_a_needed_column_that_went_is_a_fault_though_nothing_changed(
    office: Office, kind: ReadKind | None
) -> None:
    stage, agency = office
    column = "updated_at" if kind is ReadKind.CHANGED_BY else None
    stage.use(a_policy(reading=ReadRule(kind, column, HOUR)))
    assert stage.poll().baseline
    stage.after()
    agency.show([name for name in COLUMNS if name not in ("procedure_code", "received_at")])
    with pytest.raises(AgencyError, match="procedure_code, received_at") as caught:
        stage.after()
    assert caught.value.code == "column_missing"


def test_rows_that_read_otherwise_a_moment_later_are_there_all_the_same(office: Office) -> None:
    stage, agency = office
    stage.poll()
    shown = ", ".join("clock_timestamp()::text AS status" if c == "status" else c for c in COLUMNS)
    agency.lose_view()
    agency.execute(f"CREATE VIEW smsd_dossiers AS SELECT {shown} FROM dossiers")
    for _ in range(3):
        applied = stage.after()
        assert (applied.rows, applied.changed, applied.absent) == (30, 30, 0)
