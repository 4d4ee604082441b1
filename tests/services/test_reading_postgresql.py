"""Reading by parts from a real PostgreSQL, where a view does what views should not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from smsd.adapters.agencydb.postgreslook import PostgresLook
from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.adapters.store.schema import findings
from smsd.core.errors import AgencyError
from smsd.core.model import Dossier
from smsd.core.policy import ReadKind, ReadRule
from smsd.core.rows import parse_instant
from smsd.services import reading
from tests.services.stage import HOUR, Stage, a_row
from tests.support.agencyviews import COLUMNS, PostgresAgency
from tests.support.builders import ZONE, a_policy, local
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


def remembered(stage: Stage, code: str) -> Dossier:
    with stage.snapshots.transaction("nha-trang") as tx:
        return tx.tracked([code])[code][0].dossier


def test_what_a_text_may_say_is_read_anew_of_every_dossier_that_changed(office: Office) -> None:
    stage, agency = office
    stage.poll()
    agency.update("Q1", step="Ký duyệt", procedure_name="Tên mới", received_at="2026-02-02")
    agency.update("Q2", procedure_name="Tên khác")
    assert stage.after().changed == 1

    assert remembered(stage, "Q1").procedure_name == "Tên mới"
    assert remembered(stage, "Q1").received_at == parse_instant("2026-02-02", ZONE)
    assert remembered(stage, "Q2").procedure_name == ROWS[2]["procedure_name"]  # it is not compared


def test_a_dossier_seen_for_the_first_time_is_remembered_whole_whatever_its_position(office: Office) -> None:
    stage, agency = office
    stage.poll()
    agency.insert([a_row("N1", step="Tiếp nhận", procedure_name="Tên N1"), a_row("N2", step="Trả kết quả")])
    agency.update("Q3", step="Ký duyệt")
    applied = stage.after()

    assert (applied.rows, applied.changed, applied.bad_rows) == (32, 3, 0)
    assert remembered(stage, "N1").procedure_name == "Tên N1"
    assert remembered(stage, "N1").received_at is not None
    assert remembered(stage, "N2").procedure_code == a_row("N2")["procedure_code"]
    assert stage.after().changed == 0


def test_codes_that_stand_twice_are_told_however_much_of_them_was_read(office: Office) -> None:
    stage, agency = office
    stage.poll()
    agency.insert(
        [a_row("Q4", step="Ký duyệt"), a_row("N3"), a_row("N3", step="Ký duyệt"), a_row("N4"), a_row("N4")]
    )
    agency.update("Q5", step="Ký duyệt")
    applied = stage.after()

    assert {code for _, code in stage.findings()} == {"Q4", "N3", "N4"}
    assert (applied.changed, applied.absent) == (1, 0)
    assert remembered(stage, "Q5").step == "Ký duyệt"


def test_a_dossier_that_left_and_is_back_is_read_whole(office: Office) -> None:
    stage, agency = office
    stage.poll()
    agency.execute("DELETE FROM dossiers WHERE dossier_code = 'Q6'")
    stage.after()
    stage.after()
    agency.insert([a_row("Q6", step="Ký duyệt", procedure_name="Tên khác")])
    assert stage.after().transitions == 1
    assert remembered(stage, "Q6").step == "Ký duyệt"
    assert remembered(stage, "Q6").procedure_name == "Tên khác"


MORNING, PASS = local("2026-08-03 08:00"), local("2026-08-03 17:30")
TOMORROW = "2026-08-04 10:00"


def at_the_pass(stage: Stage) -> list[tuple[str, str, str | None]]:
    """What became of the apologies of the pass at 17:30 on a read of its own."""
    stage.clock.at = PASS
    stage.poll()
    return [(message.dossier_code, message.state, message.reason) for message in stage.messages("apology")]


@pytest.fixture
def morning(office: Office) -> Office:
    stage, agency = office
    stage.use(a_policy(skip_procedures=frozenset({"9.99"})))
    stage.clock.at = MORNING
    agency.insert(
        [a_row("S1 ", due_at=TOMORROW), a_row("R1", due_at=TOMORROW, phone=""), a_row("T1", due_at=TOMORROW)]
    )
    stage.poll()
    agency.execute("DELETE FROM dossiers WHERE dossier_code = 'T1'")
    stage.after()
    stage.after()
    return office


SUPPRESSED = ("suppressed", "procedure")


@pytest.mark.parametrize("polls", [0, 1])
def test_the_pass_judges_by_the_procedure_a_row_has_at_that_moment(morning: Office, polls: int) -> None:
    stage, agency = morning
    agency.update("Q1", due_at=TOMORROW, procedure_code="9.99")
    agency.update("S1 ", step="Ký duyệt", procedure_code="9.99")
    agency.update("R1", procedure_code="9.99")
    agency.insert([a_row("T1", due_at=TOMORROW, procedure_code="9.99")])
    for _ in range(polls):
        stage.after()

    found = at_the_pass(stage)

    assert sorted(found) == [(code, *SUPPRESSED) for code in ("Q1", "R1", "S1", "T1")]


def test_an_apology_for_a_mended_number_judges_by_the_procedure_of_that_moment(morning: Office) -> None:
    stage, agency = morning
    assert ("R1", "suppressed", "no_phone") in at_the_pass(stage)
    agency.update("R1", phone="0905123456", procedure_code="9.99")
    stage.after()
    (_, remade) = [m for m in stage.messages("apology") if m.dossier_code == "R1"]
    assert (remade.state, remade.reason) == SUPPRESSED


def test_an_impossible_date_is_listed_with_its_procedure(office: Office) -> None:
    stage, agency = office
    stage.poll()
    agency.execute("UPDATE dossiers SET due_at = 'infinity' WHERE dossier_code = 'Q1'")
    stage.after()
    with stage.database.reading() as connection:
        columns = (findings.c.dossier_code, findings.c.reason, findings.c.procedure_code)
        assert connection.execute(select(*columns)).all() == [("Q1", "bad_date", "1.001")]


def test_many_dossiers_seen_for_the_first_time_are_read_in_one_go(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, agency = office
    stage.poll()
    monkeypatch.setattr(reading, "_FEW_CHANGES", 10)
    agency.insert([a_row(f"N{number}", procedure_name=f"Tên {number}") for number in range(1_200)])
    asked = []
    of_codes = PostgresLook.of_codes
    monkeypatch.setattr(PostgresLook, "of_codes", lambda *given: asked.append(given) or of_codes(*given))

    assert stage.after().changed == 1_200
    assert not asked
    assert remembered(stage, "N1199").procedure_name == "Tên 1199"
