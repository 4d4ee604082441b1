"""The reconciliation's arithmetic: orders, columns, and totals that balance."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.figures import (
    ALL,
    DayMaterial,
    Ending,
    Figures,
    LookupCount,
    MessageCount,
    ProcedureDay,
    ReportAgency,
    cells_of,
    columns_for,
    ending_of,
    kinds_in_order,
    kinds_seen,
    procedure_key,
    reconcile,
)
from smsd.core.model import FAILED, PENDING, MessageState, Reason

DAY = date(2026, 8, 3)
AGENCIES = [ReportAgency("nha-trang", "UBND TP Nha Trang"), ReportAgency("cam-ranh", "UBND TP Cam Ranh")]
IDENTITY = ("date", "agency", "agency_name", "procedure_code", "procedure_name")
MAY_BE_BLANK = {"received", "resolved", "due_tomorrow", "unexplained"}


@pytest.mark.parametrize("state", list(MessageState))
def test_every_state_ends_in_one_column(state: MessageState) -> None:
    expected = (
        Ending.FAILED if state in FAILED else Ending.PENDING if state in PENDING else Ending(state.value)
    )
    assert ending_of(state) is expected


@pytest.mark.parametrize(
    ("configured", "seen", "order"),
    [
        ((), (), ("result_ready", "supplement", "apology")),
        (("apology", "fee_due", "result_ready"), (), ("result_ready", "supplement", "apology", "fee_due")),
        (("b",), ("z", "a", "b", "apology"), ("result_ready", "supplement", "apology", "b", "a", "z")),
    ],
)
def test_notices_are_ordered_by_mission_then_configuration_then_alphabet(
    configured: tuple[str, ...], seen: tuple[str, ...], order: tuple[str, ...]
) -> None:
    assert kinds_in_order(configured, seen) == order


def test_an_absent_procedure_code_is_blank_and_an_asterisk_is_no_total() -> None:
    assert [procedure_key(code) for code in (None, "", "1.001", "*")] == ["", "", "1.001", "(*)"]


def test_what_is_unknown_adds_nothing_and_stays_unknown_only_beside_unknown() -> None:
    total = Figures()
    total.add(Figures(received=None, resolved=2))
    total.add(Figures(received=3, resolved=1))
    assert (total.received, total.resolved, total.due_tomorrow) == (3, 3, None)


def test_of_several_names_of_a_procedure_the_agencys_own_is_told() -> None:
    message = MessageCount("nha-trang", "1", "Tên cũ", "apology", MessageState.DELIVERED, None, 1, 3)
    counts = [
        ProcedureDay("nha-trang", ALL, "", 1, 0, 0, 0),
        ProcedureDay("nha-trang", "1", "Tên mới", 1, 0, 0, 0),
    ]
    (line, *_) = reconcile(DAY, DayMaterial(messages=[message], dossiers=counts), AGENCIES[:1])
    assert line.procedure_name == "Tên mới"
    (line, *_) = reconcile(DAY, DayMaterial(messages=[message]), AGENCIES[:1])
    assert line.procedure_name == "Tên cũ"


agency_ids = st.sampled_from(["cam-ranh", "nha-trang", "so-tu-phap"])
procedure_codes = st.sampled_from(["", "1.001", "2.002"])
numbers = st.integers(0, 50)
message_counts = st.builds(
    MessageCount,
    agency=agency_ids,
    procedure_code=procedure_codes,
    procedure_name=st.just("Khai sinh"),
    kind=st.sampled_from(["result_ready", "supplement", "apology", "fee_due"]),
    state=st.sampled_from(MessageState),
    reason=st.none() | st.sampled_from(Reason),
    count=st.integers(1, 9),
    segments=numbers,
)


@st.composite
def days(draw: st.DrawFn) -> DayMaterial:
    """A day's material in which each asked agency's procedures add up to its marker."""
    dossiers = []
    for agency in draw(st.sets(agency_ids)):
        tells = draw(st.booleans())
        own = [
            ProcedureDay(
                agency,
                code,
                "",
                draw(numbers),
                draw(numbers) if tells else None,
                draw(numbers),
                draw(numbers) if tells else None,
            )
            for code in draw(st.sets(procedure_codes))
        ]
        dossiers += own
        dossiers.append(ProcedureDay(agency, ALL, "", 0, 0 if tells else None, 0, 0 if tells else None))
    return DayMaterial(
        messages=draw(st.lists(message_counts, max_size=12)),
        dossiers=dossiers,
        lookups=draw(
            st.lists(st.builds(LookupCount, agency_ids, procedure_codes, st.integers(1, 5)), max_size=4)
        ),
    )


@given(days())
def test_every_total_is_the_sum_of_its_rows_in_every_column(material: DayMaterial) -> None:
    lines = reconcile(DAY, material, AGENCIES)
    kinds = kinds_in_order((), kinds_seen(lines))
    rows = [cells_of(line, kinds, 300) for line in lines]
    for row in rows:
        for kind in kinds:
            assert row[f"{kind}_made"] == sum(int(row[f"{kind}_{ending}"] or 0) for ending in Ending)
        assert row["cost"] == int(row["segments"] or 0) * 300
    for name in set(columns_for(kinds)) - set(IDENTITY):
        for agency in {row["agency"] for row in rows} - {ALL}:
            own = [row[name] for row in rows if row["agency"] == agency and row["procedure_code"] != ALL]
            (total,) = (row[name] for row in rows if row["agency"] == agency and row["procedure_code"] == ALL)
            assert (total or 0) == sum(int(value or 0) for value in own)
        totals = [row[name] for row in rows[:-1] if row["procedure_code"] == ALL]
        assert (rows[-1][name] or 0) == sum(int(value or 0) for value in totals)
        assert (rows[-1][name] is None) == (name in MAY_BE_BLANK and all(value is None for value in totals))
