"""reconciliation.csv's figures: columns, what each counts, and sums that balance."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from smsd.core.figures import ReportAgency
from smsd.core.model import MessageState, Reason
from smsd.services.reporting import ReportService
from tests.reports.report_builders import (
    CAM_RANH,
    DAY,
    NHA_TRANG,
    ReportDatabase,
    RowsReader,
    a_row,
    a_service,
    put_lookup,
    put_message,
)

HEAD = [
    "date",
    "agency",
    "agency_name",
    "procedure_code",
    "procedure_name",
    "received",
    "resolved",
    "due_tomorrow",
]
ENDINGS = ["made", "delivered", "accepted", "failed", "suppressed", "superseded", "pending"]
TAIL = [
    "no_phone",
    "landline",
    "invalid_phone",
    "ambiguous_phone",
    "same_day",
    "unexplained",
    "lookups",
    "segments",
    "cost",
]


def columns(*kinds: str) -> list[str]:
    return [*HEAD, *(f"{kind}_{ending}" for kind in kinds for ending in ENDINGS), *TAIL]


def total_of(service: ReportService, agency: str = "nha-trang") -> dict[str, object]:
    rows = service.rows(DAY, DAY, agencies=[NHA_TRANG, CAM_RANH])
    (total,) = (row for row in rows if row["agency"] == agency and row["procedure_code"] == "*")
    return dict(total)


def test_the_columns_are_those_of_the_contract_in_its_order(service: ReportService) -> None:
    (row, *_) = service.rows(DAY, DAY, agencies=[NHA_TRANG])
    assert list(row) == columns("result_ready", "supplement", "apology")


def test_further_notices_follow_the_three_as_configured_and_then_others_seen(
    database: ReportDatabase, folder: Path
) -> None:
    service = a_service(database, folder, notices=("fee_due", "apology", "supplement", "result_ready"))
    put_message(database, kind="received")
    put_message(database, kind="accepted_online")
    (row, *_) = service.rows(DAY, DAY, agencies=[NHA_TRANG])
    kinds = ("result_ready", "supplement", "apology", "fee_due", "accepted_online", "received")
    assert list(row) == columns(*kinds)


@pytest.mark.parametrize(
    ("state", "reason", "column"),
    [
        (MessageState.DELIVERED, None, "delivered"),
        (MessageState.ACCEPTED, None, "accepted"),
        (MessageState.UNDELIVERED, None, "failed"),
        (MessageState.REJECTED, None, "failed"),
        (MessageState.EXPIRED, None, "failed"),
        (MessageState.SUPPRESSED, Reason.SHADOW, "suppressed"),
        (MessageState.SUPERSEDED, None, "superseded"),
        (MessageState.QUEUED, None, "pending"),
        (MessageState.HELD, None, "pending"),
        (MessageState.SENDING, None, "pending"),
        (MessageState.UNKNOWN, None, "pending"),
    ],
)
def test_every_state_is_counted_in_exactly_one_column(
    service: ReportService, database: ReportDatabase, state: MessageState, reason: Reason | None, column: str
) -> None:
    put_message(database, state, kind="supplement", reason=reason)
    total = total_of(service)
    counted = {ending: total[f"supplement_{ending}"] for ending in ENDINGS}
    assert {ending for ending, count in counted.items() if count} == {"made", column}
    assert (counted["made"], counted[column]) == (1, 1)


@pytest.mark.parametrize("state", list(MessageState))
def test_only_segments_that_a_gateway_took_are_charged(
    service: ReportService, database: ReportDatabase, state: MessageState
) -> None:
    put_message(database, state, segments=3)
    taken = state in {MessageState.DELIVERED, MessageState.ACCEPTED, MessageState.UNDELIVERED}
    total = total_of(service)
    assert (total["segments"], total["cost"]) == ((3, 900) if taken else (0, 0))


@pytest.mark.parametrize("reason", list(Reason))
def test_reasons_with_a_column_of_their_own_are_counted_in_it(
    service: ReportService, database: ReportDatabase, reason: Reason
) -> None:
    put_message(database, MessageState.SUPPRESSED, reason=reason)
    total = total_of(service)
    with_column = ("no_phone", "landline", "invalid_phone", "ambiguous_phone", "same_day")
    assert {name for name in with_column if total[name]} == {reason.value} & set(with_column)
    assert total["result_ready_suppressed"] == 1


def test_look_ups_are_counted_where_the_dossier_is_and_unknown_codes_in_the_total_over_all(
    service: ReportService, database: ReportDatabase
) -> None:
    put_lookup(database)
    put_lookup(database)
    put_lookup(database, agency=None, procedure=None)
    rows = service.rows(DAY, DAY, agencies=[NHA_TRANG])
    told = [(row["agency"], row["procedure_code"], row["lookups"]) for row in rows]
    assert told == [("nha-trang", "1.001", 2), ("nha-trang", "*", 2), ("*", "*", 3)]


def test_an_agency_that_takes_part_has_a_total_on_a_day_without_traffic(service: ReportService) -> None:
    service.count_agency("nha-trang", RowsReader([]), DAY)
    off = ReportAgency("cam-ranh", "Ủy ban nhân dân thành phố Cam Ranh", takes_part=False)
    rows = service.rows(DAY, DAY, agencies=[NHA_TRANG, off])
    assert [(row["agency"], row["procedure_code"]) for row in rows] == [("nha-trang", "*"), ("*", "*")]
    assert (rows[0]["received"], rows[0]["resolved"], rows[0]["result_ready_made"]) == (0, 0, 0)


def test_an_agency_no_longer_configured_is_told_by_its_id_while_it_has_traffic(
    service: ReportService, database: ReportDatabase
) -> None:
    put_message(database, agency="loc-tho")
    rows = service.rows(DAY, DAY, agencies=[])
    assert [(row["agency"], row["agency_name"]) for row in rows] == [("loc-tho", "loc-tho")] * 2 + [("*", "")]


def test_what_one_agency_cannot_tell_does_not_blank_the_total_over_all(service: ReportService) -> None:
    service.count_agency("nha-trang", RowsReader([a_row(received="2026-08-03", resolved="2026-08-03")]), DAY)
    service.count_agency(
        "cam-ranh", RowsReader([a_row(received="2026-08-03")], without=("resolved_at",)), DAY
    )
    rows = service.rows(DAY, DAY, agencies=[CAM_RANH, NHA_TRANG])
    told = {(row["agency"], row["procedure_code"]): (row["received"], row["resolved"]) for row in rows}
    assert told == {
        ("cam-ranh", "1.001"): (1, None),
        ("cam-ranh", "*"): (1, None),
        ("nha-trang", "1.001"): (1, 1),
        ("nha-trang", "*"): (1, 1),
        ("*", "*"): (2, 1),
    }


def test_procedures_and_agencies_come_in_one_order_whatever_order_they_were_found_in(
    service: ReportService, database: ReportDatabase
) -> None:
    for agency, procedure in (
        ("nha-trang", "2"),
        ("cam-ranh", "9"),
        ("nha-trang", "10"),
        ("nha-trang", None),
    ):
        put_message(database, agency=agency, procedure=procedure)
    rows = service.rows(DAY, DAY, agencies=[NHA_TRANG, CAM_RANH])
    assert [(row["agency"], row["procedure_code"]) for row in rows] == [
        ("cam-ranh", "9"),
        ("cam-ranh", "*"),
        ("nha-trang", ""),
        ("nha-trang", "10"),
        ("nha-trang", "2"),
        ("nha-trang", "*"),
        ("*", "*"),
    ]


def test_a_range_has_the_rows_of_each_day(service: ReportService, database: ReportDatabase) -> None:
    put_message(database)
    rows = service.rows(DAY - timedelta(days=1), DAY + timedelta(days=1), agencies=[NHA_TRANG])
    assert [(row["date"], row["procedure_code"], row["result_ready_made"]) for row in rows] == [
        ("2026-08-02", "*", 0),
        ("2026-08-02", "*", 0),
        ("2026-08-03", "1.001", 1),
        ("2026-08-03", "*", 1),
        ("2026-08-03", "*", 1),
        ("2026-08-04", "*", 0),
        ("2026-08-04", "*", 0),
    ]
