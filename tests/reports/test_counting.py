"""Counting a day in an agency's own database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from smsd.core.errors import AgencyError
from smsd.core.model import MessageState, Reason
from smsd.services.reporting import DayTest, ReportService
from tests.reports.report_builders import (
    DAY,
    NHA_TRANG,
    NOON,
    ZONE,
    ReportDatabase,
    RowsReader,
    a_row,
    a_service,
    put_message,
)

NEXT_DAY = DAY + timedelta(days=1)
_PLUS_7 = timezone(timedelta(hours=7))


def naive(text: str) -> datetime:
    """As drivers give the agencies' local times."""
    return datetime.fromisoformat(text)


def counted(
    service: ReportService, rows: Sequence[tuple[object, ...]], **options: object
) -> dict[str, object]:
    """The agency's total of the day after counting these rows."""
    service.count_agency("nha-trang", RowsReader(rows, **options), DAY)  # type: ignore[arg-type]
    return total_of(service)


def total_of(service: ReportService) -> dict[str, object]:
    rows = service.rows(DAY, DAY, agencies=[NHA_TRANG])
    (total,) = (row for row in rows if row["agency"] == "nha-trang" and row["procedure_code"] == "*")
    return dict(total)


@pytest.mark.parametrize(
    "value",
    [
        naive("2026-08-03T00:00"),
        naive("2026-08-03T23:59:59.999999"),
        datetime(2026, 8, 2, 17, 0, tzinfo=UTC),
        datetime(2026, 8, 3, 16, 59, 59, tzinfo=UTC),
        datetime(2026, 8, 3, 8, 0, tzinfo=_PLUS_7),
        date(2026, 8, 3),
        "2026-08-03",
        "2026-08-03T07:30",
        "2026-08-03 07:30:15.5",
        " 2026-08-03 07:30 ",
        "20260803T0730",
        "2026-08-02T17:00:00Z",
        "2026-08-04T02:00:00+13:00",
        "2026-08-02T09:00:00-08:00",
    ],
)
def test_an_instant_of_the_day_is_counted_in_whatever_form_it_comes(value: object) -> None:
    assert DayTest(DAY, ZONE).holds(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "hôm nay",
        "2026-02-30",
        "03/08/2026",
        20260803,
        naive("2026-08-02T23:59:59.999999"),
        naive("2026-08-04T00:00"),
        datetime(2026, 8, 2, 16, 59, 59, tzinfo=UTC),
        datetime(2026, 8, 3, 17, 0, tzinfo=UTC),
        date(2026, 8, 4),
        "2026-08-03T17:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "20216-08-03",
    ],
)
def test_other_days_and_impossible_dates_are_not_counted(value: object) -> None:
    assert not DayTest(DAY, ZONE).holds(value)


def test_received_resolved_and_due_tomorrow_are_counted_in_the_agencys_rows(service: ReportService) -> None:
    total = counted(
        service,
        [
            a_row(received=naive("2026-08-03T07:00"), due=naive("2026-08-04T17:00")),
            a_row(received="2026-08-03 09:00", due="2026-08-05"),
            a_row(received="2026-07-20", due="2026-08-04", resolved="2026-08-03 15:00"),
            a_row(received="2026-07-01", due="2026-07-20", resolved="2026-07-19"),
        ],
    )
    assert (total["received"], total["resolved"], total["due_tomorrow"]) == (2, 1, 2)


def test_a_dossier_due_tomorrow_counts_although_it_is_resolved(service: ReportService) -> None:
    total = counted(service, [a_row(received="2026-07-20", due="2026-08-04", resolved="2026-07-25")])
    assert total["due_tomorrow"] == 1


def test_a_row_without_a_code_and_a_repeated_code_count_once_or_not_at_all(service: ReportService) -> None:
    total = counted(
        service,
        [
            (None, "1.001", "Khai sinh", "2026-08-03", None, None),
            ("  ", "1.001", "Khai sinh", "2026-08-03", None, None),
            a_row("H1", received="2026-08-03"),
            a_row(" H1 ", received="2026-08-03"),
        ],
    )
    assert total["received"] == 1


def test_each_procedure_has_its_counts_and_the_agency_their_sum(service: ReportService) -> None:
    service.count_agency(
        "nha-trang",
        RowsReader(
            [
                a_row(procedure="1.001", name="Khai sinh", received="2026-08-03"),
                a_row(procedure="1.001", name="Khai sinh", received="2026-08-03"),
                a_row(procedure="2.002", name="Khai tử", received="2026-08-03"),
                a_row(procedure=None, name=None, received="2026-08-03"),
            ]
        ),
        DAY,
    )
    rows = service.rows(DAY, DAY, agencies=[NHA_TRANG])
    told = [(row["procedure_code"], row["procedure_name"], row["received"]) for row in rows]
    assert told == [
        ("", "", 1),
        ("1.001", "Khai sinh", 2),
        ("2.002", "Khai tử", 1),
        ("*", "", 4),
        ("*", "", 4),
    ]


def test_a_procedure_whose_code_is_an_asterisk_is_not_taken_for_a_total(service: ReportService) -> None:
    service.count_agency("nha-trang", RowsReader([a_row(procedure="*", received="2026-08-03")]), DAY)
    rows = service.rows(DAY, DAY, agencies=[NHA_TRANG])
    assert [row["procedure_code"] for row in rows] == ["(*)", "*", "*"]


def test_a_dossier_resolved_without_any_result_message_is_unexplained(
    either_database: ReportDatabase, tmp_path: object, folder: object
) -> None:
    service = a_service(either_database, folder)  # type: ignore[arg-type]
    put_message(either_database, code="H1")
    put_message(either_database, MessageState.SUPPRESSED, reason=Reason.NO_PHONE, code="H2")
    put_message(either_database, kind="supplement", code="H3")
    put_message(either_database, agency="cam-ranh", code="H4")
    codes = ("H1", "H2", "H3", "H4")
    rows = [a_row(code, received="2026-07-20", resolved="2026-08-03 10:00") for code in codes]

    assert service.count_agency("nha-trang", RowsReader(rows), DAY) == 2
    assert total_of(service)["unexplained"] == 2
    found = service.exception_rows(DAY, DAY)
    assert [
        (row["dossier_code"], row["reason"], row["at"]) for row in found if row["reason"] == "unexplained"
    ] == [
        ("H3", "unexplained", "2026-08-03 10:00:00"),
        ("H4", "unexplained", "2026-08-03 10:00:00"),
    ]


def test_many_resolved_dossiers_are_looked_up_in_batches(
    service: ReportService, database: ReportDatabase
) -> None:
    for number in range(3):
        put_message(database, code=f"K{number * 600:05}")
    rows = [a_row(f"K{number:05}", resolved="2026-08-03") for number in range(1300)]
    assert service.count_agency("nha-trang", RowsReader(rows), DAY) == 1297


def test_a_result_message_made_after_the_first_count_explains_at_the_second(
    service: ReportService, database: ReportDatabase
) -> None:
    rows = [a_row("H1", resolved="2026-08-03 16:00")]
    assert service.count_agency("nha-trang", RowsReader(rows), DAY) == 1
    put_message(database, code="H1")
    assert service.count_agency("nha-trang", RowsReader(rows), DAY) == 0
    assert service.exception_rows(DAY, DAY) == []
    assert total_of(service)["unexplained"] == 0


def test_without_resolved_at_neither_resolved_nor_unexplained_can_be_told(service: ReportService) -> None:
    rows = [a_row(received="2026-08-03", resolved="2026-08-03")]
    assert service.count_agency("nha-trang", RowsReader(rows, without=("resolved_at",)), DAY) is None
    total = total_of(service)
    assert (total["received"], total["resolved"], total["unexplained"]) == (1, None, None)


def test_an_agency_that_could_not_be_asked_has_blank_counts_and_its_messages(
    service: ReportService, database: ReportDatabase
) -> None:
    put_message(database)
    with pytest.raises(AgencyError):
        counted(
            service, [a_row(received="2026-08-03")], fault=AgencyError("no route to host", code="connect")
        )
    for row in service.rows(DAY, DAY, agencies=[NHA_TRANG]):
        assert [row[name] for name in ("received", "resolved", "due_tomorrow", "unexplained")] == [None] * 4
        assert row["result_ready_made"] == 1


def test_a_read_that_fails_half_way_leaves_the_counts_of_the_last_one(service: ReportService) -> None:
    counted(service, [a_row(received="2026-08-03")] * 1)
    with pytest.raises(AgencyError):
        counted(
            service,
            [a_row(received="2026-08-03") for _ in range(7)],
            fault=AgencyError("link lost", code="connect"),
        )
    assert total_of(service)["received"] == 1


def test_counts_are_of_the_day_asked_for_alone(service: ReportService) -> None:
    rows = [a_row(received="2026-08-03"), a_row(received="2026-08-04"), a_row(received="2026-08-04")]
    service.count_agency("nha-trang", RowsReader(rows), DAY)
    service.count_agency("nha-trang", RowsReader(rows), NEXT_DAY)
    totals = [row for row in service.rows(DAY, NEXT_DAY, agencies=[NHA_TRANG]) if row["agency"] == "*"]
    assert [(row["date"], row["received"]) for row in totals] == [("2026-08-03", 1), ("2026-08-04", 2)]


def test_a_message_belongs_to_the_local_day_it_was_made(
    service: ReportService, database: ReportDatabase
) -> None:
    midnight = datetime(2026, 8, 3, 0, 0, tzinfo=ZONE).astimezone(UTC)
    put_message(database, made_at=midnight - timedelta(microseconds=1))
    put_message(database, made_at=midnight)
    put_message(database, made_at=NOON, state_at=NOON + timedelta(days=3))
    put_message(database, made_at=midnight + timedelta(days=1))
    assert total_of(service)["result_ready_made"] == 2
