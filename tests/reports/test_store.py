"""What the reports ask of the state store, on both kinds of database."""

from __future__ import annotations

from datetime import timedelta

from smsd.adapters.store.reports import SqlReportStore, record_findings
from smsd.core.clock import day_bounds
from smsd.core.figures import ALL, Finding, LookupCount, MessageCount, ProcedureDay, RoadCount
from smsd.core.lookups import LookupOutcome, Road
from smsd.core.model import FindingKind, MessageState, Reason
from tests.reports.report_builders import DAY, NOON, ZONE, ReportDatabase, put_lookup, put_message

HOUR = timedelta(hours=1)


def store_of(database: ReportDatabase) -> SqlReportStore:
    return SqlReportStore(database, ZONE)


def test_messages_are_grouped_by_what_the_columns_tell_apart(either_database: ReportDatabase) -> None:
    put_message(either_database, segments=3)
    put_message(either_database, segments=2)
    put_message(either_database, MessageState.SUPPRESSED, reason=Reason.REPEAT, segments=1)
    put_message(either_database, procedure=None)
    found = store_of(either_database).material(DAY).messages
    name = "Đăng ký khai sinh"
    assert sorted(found, key=lambda count: (count.procedure_code, count.state)) == [
        MessageCount("nha-trang", "", "", "result_ready", MessageState.DELIVERED, None, 1, 3),
        MessageCount("nha-trang", "1.001", name, "result_ready", MessageState.DELIVERED, None, 2, 5),
        MessageCount(
            "nha-trang", "1.001", name, "result_ready", MessageState.SUPPRESSED, Reason.REPEAT, 1, 1
        ),
    ]


def test_look_ups_are_grouped_by_agency_and_procedure(either_database: ReportDatabase) -> None:
    put_lookup(either_database)
    put_lookup(either_database, at=NOON + HOUR)
    put_lookup(either_database, agency=None, procedure=None)
    put_lookup(either_database, at=NOON + timedelta(days=1))
    found = store_of(either_database).material(DAY).lookups
    assert set(found) == {LookupCount("nha-trang", "1.001", 2), LookupCount(None, "", 1)}


def test_look_ups_of_a_day_are_counted_by_road_and_outcome(either_database: ReportDatabase) -> None:
    put_lookup(either_database, road=Road.ONEPAY)
    put_lookup(either_database, road=Road.ONEPAY, at=day_bounds(DAY, ZONE)[0])
    put_lookup(either_database, road=Road.ONEPAY, agency=None, outcome=LookupOutcome.WRONG_SYNTAX)
    put_lookup(either_database, road=Road.SMPP)
    for at in (day_bounds(DAY, ZONE)[0] - timedelta(microseconds=1), day_bounds(DAY, ZONE)[1]):
        put_lookup(either_database, road=Road.ESMS, at=at)
    assert store_of(either_database).lookups_by_road(DAY) == [
        RoadCount(DAY, "1pay", LookupOutcome.FOUND, 2),
        RoadCount(DAY, "1pay", LookupOutcome.WRONG_SYNTAX, 1),
        RoadCount(DAY, "smpp", LookupOutcome.FOUND, 1),
    ]


def test_counts_of_a_day_replace_the_last_ones_of_that_agency_and_day_alone(
    either_database: ReportDatabase,
) -> None:
    store = store_of(either_database)
    first = ProcedureDay("nha-trang", "1.001", "Khai sinh", 5, 4, 3, 2)
    total = ProcedureDay("nha-trang", ALL, "", 5, None, 3, None)
    other = ProcedureDay("cam-ranh", ALL, "", 1, 1, 1, 0)
    store.replace_day(DAY, "nha-trang", [first], [])
    store.replace_day(DAY, "cam-ranh", [other], [])
    store.replace_day(DAY + timedelta(days=1), "nha-trang", [first], [])
    store.replace_day(DAY, "nha-trang", [total], [])
    assert set(store.material(DAY).dossiers) == {total, other}
    assert store.material(DAY + timedelta(days=1)).dossiers == [first]


def test_findings_noted_twice_stand_once_as_they_were_first(either_database: ReportDatabase) -> None:
    first = Finding(DAY, "nha-trang", FindingKind.BAD_DATE, NOON, "H1", detail="due_at")
    with either_database.writing() as connection:
        record_findings(connection, [first, first])
    with either_database.writing() as connection:
        record_findings(connection, [Finding(DAY, "nha-trang", FindingKind.BAD_DATE, NOON + HOUR, "H1")])
        record_findings(connection, [])
    (row,) = store_of(either_database).exceptions(DAY)
    assert (row.dossier_code, row.at) == ("H1", NOON)


def test_only_unexplained_findings_are_replaced_with_the_counts(either_database: ReportDatabase) -> None:
    store = store_of(either_database)
    with either_database.writing() as connection:
        record_findings(connection, [Finding(DAY, "nha-trang", FindingKind.BOUNCED, NOON, "H1")])
    store.replace_day(DAY, "nha-trang", [], [Finding(DAY, "nha-trang", FindingKind.UNEXPLAINED, NOON, "H2")])
    store.replace_day(DAY, "nha-trang", [], [Finding(DAY, "nha-trang", FindingKind.UNEXPLAINED, NOON, "H3")])
    assert [(row.dossier_code, row.reason) for row in store.exceptions(DAY)] == [
        ("H1", "bounced"),
        ("H3", "unexplained"),
    ]


def test_days_whose_messages_changed_since_are_told(either_database: ReportDatabase) -> None:
    store = store_of(either_database)
    since = NOON + timedelta(days=3)
    assert store.changed_days(since) == []
    put_message(either_database, made_at=NOON, state_at=since + HOUR)
    put_message(either_database, made_at=NOON + timedelta(days=1), state_at=since - HOUR)
    put_message(either_database, made_at=NOON + timedelta(days=2), state_at=since)
    assert store.changed_days(since) == [DAY, DAY + timedelta(days=2)]
