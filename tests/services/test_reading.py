"""Which rows a read looks at, what it may conclude of the others, and that every way of reading keeps the promises."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from smsd.core.errors import AgencyError
from smsd.core.policy import ReadKind, ReadRule
from smsd.services import reading
from smsd.services.applying import Application, IncredibleRead, Overtaken
from smsd.services.ports import AgencyRecord
from tests.services.stage import AGENCY, CLOSED, HOUR, MINUTE, READY, WORKING, Stage, a_row
from tests.support.builders import NOW, a_policy, local
from tests.support.fakereader import FakeReader
from tests.support.summingreader import SummingReader

FULL, FINGERPRINT, CHANGED_BY = ReadKind
OTHERS = [a_row(f"Q{n}") for n in range(4)]


def read_by(stage: Stage, kind: ReadKind | None, column: str | None = "updated_at") -> None:
    """Have the agency read in one way from now on, and everything once an hour."""
    stage.use(a_policy(reading=ReadRule(kind, column, HOUR)))


@pytest.fixture
def summing(stage: Stage) -> SummingReader:
    """The reader of an agency that is read by its database's sums, all in one bucket."""
    read_by(stage, FINGERPRINT, None)
    reader = SummingReader(stage.agency, buckets=1)
    stage.reader = reader
    return reader


@pytest.fixture
def dated(stage: Stage) -> Stage:
    """A stage whose agency is read by its dates of change."""
    read_by(stage, CHANGED_BY)
    stage.reader = SummingReader(stage.agency)
    return stage


def asked(stage: Stage) -> dict[str, int]:
    """What was asked of the database since the last time."""
    assert isinstance(stage.reader, SummingReader)
    found = dict(stage.reader.asked)
    stage.reader.asked.clear()
    return found


def record(stage: Stage) -> AgencyRecord:
    found = stage.snapshots.agency(AGENCY)
    assert found is not None
    return found


def moved(code: str, step: str = READY, at: datetime | None = None, **changes: object) -> dict[str, object]:
    return a_row(code, step=step, updated_at=at, **changes)


# which way is chosen

CHOICES = [
    ("small, nothing said", None, None, True, 100, FULL),
    ("many rows, nothing said", None, None, True, 3, FINGERPRINT),
    ("many rows, a database without sums", None, None, False, 3, FULL),
    ("a date named", None, "updated_at", True, 3, CHANGED_BY),
    ("forced full in spite of all", FULL, "updated_at", True, 3, FULL),
    ("forced fingerprint in spite of a date", FINGERPRINT, "updated_at", True, 100, FINGERPRINT),
    ("forced fingerprint where there are no sums", FINGERPRINT, None, False, 3, FULL),
    ("forced by date", CHANGED_BY, "updated_at", False, 100, CHANGED_BY),
]


@pytest.mark.parametrize(("case", "rule", "column", "able", "many", "kind"), CHOICES, ids=str)
def test_the_way_follows_the_file_the_database_and_the_number_of_rows(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    rule: ReadKind | None,
    column: str | None,
    able: bool,
    many: int,
    kind: ReadKind,
) -> None:
    monkeypatch.setattr(reading, "SUMS_FROM_ROWS", many)
    read_by(stage, rule, column)
    stage.reader = SummingReader(stage.agency) if able else FakeReader(stage.agency)
    rows = [moved(f"Q{n}", WORKING, NOW) for n in range(4)]
    stage.baseline(*rows)
    assert record(stage).read_kind == FULL

    kinds = [stage.after().kind for _ in range(3)]

    assert kinds[1:] == [kind, kind]
    assert record(stage).read_kind == kind


def test_a_view_that_has_grown_is_read_in_full_once_more_before_its_sums_say_anything(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SUMS_FROM_ROWS", 4)
    stage.reader = SummingReader(stage.agency)
    stage.baseline(*OTHERS[:3])
    stage.show(*OTHERS)

    assert [stage.after().kind for _ in range(4)] == [FULL, FULL, FINGERPRINT, FINGERPRINT]


# by the database's own sums


def test_a_view_in_which_nothing_changed_costs_its_sums_alone(stage: Stage, summing: SummingReader) -> None:
    stage.baseline(*OTHERS)
    asked(stage)

    applied = stage.after()

    assert asked(stage) == {"sums": 1}
    assert (applied.kind, applied.rows, applied.changed, applied.absent) == (FINGERPRINT, 4, 0, 0)
    assert record(stage).last_rows == 4
    assert record(stage).last_good_at == stage.clock.now()


def test_a_change_and_a_new_dossier_are_found_in_their_bucket_and_told_once(
    stage: Stage, summing: SummingReader
) -> None:
    summing.buckets = 4096
    stage.baseline(*OTHERS, a_row("H1"))
    stage.show(*OTHERS, moved("H1"), moved("H2"), a_row("H3"))
    asked(stage)

    applied = stage.after()

    assert asked(stage) == {"sums": 1, "in_buckets": 1}
    assert (applied.kind, applied.rows, applied.changed, applied.made) == (FINGERPRINT, 7, 3, 2)
    assert [stage.after().changed for _ in range(3)] == [0, 0, 0]
    assert sorted(m.dossier_code for m in stage.messages("result_ready")) == ["H1", "H2"]
    assert record(stage).last_rows == 7


def test_rows_whose_order_changed_and_rows_beside_a_changed_one_are_as_they_were(
    stage: Stage, summing: SummingReader
) -> None:
    stage.baseline(*OTHERS, a_row("H1"))
    stage.show(*reversed(OTHERS), a_row("H1"))
    asked(stage)
    assert stage.after().changed == 0
    assert asked(stage) == {"sums": 1}

    stage.show(*OTHERS, moved("H1"))

    assert stage.after().changed == 1


def test_values_that_two_dossiers_swapped_are_seen(stage: Stage, summing: SummingReader) -> None:
    stage.baseline(*OTHERS, a_row("H1"), a_row("H2", step=READY))
    stage.show(*OTHERS, a_row("H1", step=READY), a_row("H2"))

    assert stage.after().changed == 2
    assert [m.dossier_code for m in stage.messages()] == ["H1"]


def test_a_dossier_that_left_is_found_by_a_full_read_and_gone_at_its_second_absence(
    stage: Stage, summing: SummingReader
) -> None:
    stage.baseline(*OTHERS, a_row("H1"))
    stage.show(*OTHERS)

    first = stage.after()
    assert (first.kind, first.absent) == (FULL, 1)
    assert stage.snapshots.missing_codes(AGENCY) == {"H1"}
    second = stage.after()
    assert (second.kind, second.absent) == (FINGERPRINT, 1)

    assert stage.snapshots.missing_codes(AGENCY) == set()
    assert stage.transitions()[-1] == ("H1", None, None, "gone")
    assert stage.after().absent == 0


def test_what_came_while_another_left_is_no_reason_to_overlook_either(
    stage: Stage, summing: SummingReader
) -> None:
    stage.baseline(*OTHERS, a_row("H1"))
    stage.show(*OTHERS, moved("H2"))

    applied = stage.after()

    assert (applied.kind, applied.absent, applied.made) == (FULL, 1, 1)
    assert stage.snapshots.missing_codes(AGENCY) == {"H1"}


@pytest.mark.parametrize("back_at", [WORKING, READY])
def test_a_missing_dossier_that_is_back_is_not_gone(
    stage: Stage, summing: SummingReader, back_at: str
) -> None:
    stage.baseline(*OTHERS, a_row("H1"))
    stage.show(*OTHERS)
    stage.after()
    stage.show(*OTHERS, a_row("H1", step=back_at))

    assert stage.after().absent == 0
    assert stage.after().absent == 0

    assert stage.snapshots.missing_codes(AGENCY) == set()
    assert len(stage.messages()) == (back_at == READY)


def test_one_that_left_is_not_overlooked_because_a_missing_one_came_back(
    stage: Stage, summing: SummingReader
) -> None:
    stage.baseline(*OTHERS, a_row("H1"), a_row("H2"))
    stage.show(*OTHERS, a_row("H1"))
    stage.after()
    stage.show(*OTHERS, a_row("H2"))

    applied = stage.after()

    assert (applied.kind, applied.absent) == (FULL, 1)
    assert stage.snapshots.missing_codes(AGENCY) == {"H1"}


def test_a_missing_dossier_that_is_back_as_a_bad_row_is_not_absent(
    stage: Stage, summing: SummingReader
) -> None:
    stage.baseline(*OTHERS, a_row("H1"))
    stage.show(*OTHERS)
    stage.after()
    stage.show(*OTHERS, a_row("H1", step=None))

    assert [stage.after().absent for _ in range(3)] == [0, 0, 0]

    assert ("bad_row", "H1") in stage.findings()
    assert all(cause != "gone" for *_, cause in stage.transitions())


def test_bad_rows_are_listed_and_the_rest_goes_on(stage: Stage, summing: SummingReader) -> None:
    stage.baseline(*OTHERS, a_row("H1"), a_row("H2"))
    stage.show(*OTHERS, a_row("H1", step=None), moved("H2"), a_row("H3", step=None), a_row(""))

    applied = stage.after()

    assert applied.made == 1
    assert {code for reason, code in stage.findings() if reason == "bad_row"} >= {"H1", "H3"}
    assert [stage.after().absent for _ in range(3)] == [0, 0, 0]
    stage.after(HOUR)
    assert record(stage).bad_rows == 3
    assert record(stage).found_by_sweep == 0, "bad rows are no changes"


def test_a_code_that_came_to_stand_twice_is_a_bad_row_and_keeps_its_position(
    stage: Stage, summing: SummingReader
) -> None:
    stage.baseline(*OTHERS, a_row("H1"))
    stage.show(*OTHERS, a_row("H1"), moved("H1"))

    assert stage.after().kind == FULL

    assert stage.messages() == []
    assert ("bad_row", "H1") in stage.findings()
    stage.show(*OTHERS, moved("H1"))
    stage.after()
    assert len(stage.messages()) == 1


@pytest.mark.parametrize("twice", [a_row("H2"), moved("H2")])
def test_one_that_left_is_not_overlooked_because_another_stands_twice(
    stage: Stage, summing: SummingReader, twice: dict[str, object]
) -> None:
    stage.baseline(*OTHERS, a_row("H1"), a_row("H2"))
    stage.show(*OTHERS, a_row("H2"), twice)

    applied = stage.after()

    assert (applied.kind, applied.absent) == (FULL, 1)
    assert stage.snapshots.missing_codes(AGENCY) == {"H1"}


def test_a_new_code_that_stands_twice_is_a_bad_row(stage: Stage, summing: SummingReader) -> None:
    stage.baseline(*OTHERS)
    stage.show(*OTHERS, moved("H1"), moved("H1"))

    stage.after()
    stage.after()

    assert stage.messages() == []
    assert ("bad_row", "H1") in stage.findings()


def test_when_too_many_buckets_differ_everything_is_read(
    stage: Stage, summing: SummingReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_BUCKETS", 2)
    summing.buckets = 4096
    codes = [f"H{n}" for n in range(3)]
    stage.baseline(*OTHERS, *map(a_row, codes))

    stage.show(*OTHERS, *map(moved, codes[:2]), a_row(codes[2]))
    assert stage.after().kind == FINGERPRINT
    stage.show(*OTHERS, *[moved(code, CLOSED) for code in codes])
    applied = stage.after()

    assert (applied.kind, applied.changed) == (FULL, 3)
    assert record(stage).found_by_sweep == 0
    assert stage.after().kind == FINGERPRINT


def test_sums_of_another_making_and_sums_that_cannot_be_had_lead_to_a_full_read(
    stage: Stage, summing: SummingReader
) -> None:
    stage.baseline(*OTHERS, a_row("H1"))
    summing.shape = "another filter"
    stage.show(*OTHERS, moved("H1"))
    applied = stage.after()
    assert (applied.kind, applied.made) == (FULL, 1)
    assert stage.after().kind == FINGERPRINT

    summing.able = False

    assert [stage.after().kind for _ in range(2)] == [FULL, FULL]
    summing.able = True
    assert [stage.after().kind for _ in range(2)] == [FULL, FINGERPRINT]


def test_sums_outlive_the_process(stage: Stage, summing: SummingReader) -> None:
    stage.baseline(*OTHERS, a_row("H1"))
    stage.after()
    stage.restart()
    stage.reader = summing
    stage.show(*OTHERS, moved("H1"))
    asked(stage)

    applied = stage.after()

    assert (applied.kind, applied.made) == (FINGERPRINT, 1)
    assert asked(stage) == {"sums": 1, "in_buckets": 1}


def test_sums_from_before_a_time_of_other_reads_say_nothing(stage: Stage, summing: SummingReader) -> None:
    stage.baseline(*OTHERS, a_row("H1"))
    read_by(stage, FULL)
    stage.show(*OTHERS, moved("H1"))
    assert stage.after().made == 1
    read_by(stage, FINGERPRINT)
    stage.show(*OTHERS, a_row("H1"))

    applied = stage.after()

    assert applied.changed == 1
    assert stage.states() == ["superseded"]


def test_a_read_that_cannot_be_true_leaves_the_sums_before_it(stage: Stage, summing: SummingReader) -> None:
    many = [a_row(f"Q{n}") for n in range(30)]
    stage.baseline(*many, a_row("H1"))
    stage.show(moved("H1"), *many[:5])
    with pytest.raises(IncredibleRead):
        stage.after()
    assert stage.messages() == []

    stage.show(*many, moved("H1"))
    applied = stage.after()

    assert (applied.kind, applied.made, applied.absent) == (FINGERPRINT, 1, 0)


def test_a_row_whose_change_the_sums_do_not_show_is_found_by_the_sweep_and_counted(
    stage: Stage, summing: SummingReader
) -> None:
    stage.baseline(*OTHERS, a_row("H1"), a_row("H2"))
    with summing.look() as look:
        summing.sums_told = look.sums()  # type: ignore[attr-defined]
    stage.show(*OTHERS, moved("H1"), a_row("H2"))

    assert [stage.after().changed for _ in range(3)] == [0, 0, 0]
    swept = stage.after(HOUR)

    assert (swept.kind, swept.made, swept.found_by_sweep) == (FULL, 1, 1)
    assert record(stage).found_by_sweep == 1
    summing.sums_told = None
    stage.after()
    assert [m.dossier_code for m in stage.messages()] == ["H1"]
    stage.show(*OTHERS, moved("H1"), moved("H2"))
    stage.after(HOUR)
    assert record(stage).found_by_sweep == 1, "what the sums showed was not missed"


def test_the_pass_of_half_past_five_needs_no_full_read_where_sums_tell_absence(
    stage: Stage, summing: SummingReader
) -> None:
    stage.clock.at = local("2026-08-03 17:00")
    stage.baseline(*OTHERS, a_row("H1", due_at=local("2026-08-04 10:00")))
    stage.clock.at = local("2026-08-03 17:30")
    stage.show(*OTHERS, a_row("H1", due_at=local("2026-08-04 11:00")))

    assert stage.poll().kind == FINGERPRINT

    assert [m.dossier_code for m in stage.messages("apology")] == ["H1"]


# by dates of change


def test_only_rows_that_changed_since_are_read_and_told_once(dated: Stage) -> None:
    dated.baseline(*[moved(f"Q{n}", WORKING, NOW - HOUR) for n in range(4)], moved("H1", WORKING, NOW))
    asked(dated)
    dated.agency.update("H1", step=READY, updated_at=NOW + MINUTE)

    applied = dated.after()

    assert asked(dated) == {"newest": 1, "since": 1}
    assert (applied.kind, applied.rows, applied.changed, applied.made) == (CHANGED_BY, 1, 1, 1)
    assert [dated.after().changed for _ in range(3)] == [0, 0, 0]
    assert len(dated.messages()) == 1
    assert record(dated).last_rows == 5, "how many rows there are was not asked"
    assert record(dated).changed_mark == NOW + MINUTE
    assert record(dated).swept_at == NOW


LATE = [
    ("committed late", NOW - 14 * MINUTE, True),
    ("at the edge of the overlap", NOW - 15 * MINUTE, True),
    ("of the very instant of the mark", NOW, True),
    ("without a date", None, True),
    ("of the future", NOW + timedelta(days=3), True),
    ("behind the overlap", NOW - 16 * MINUTE, False),
    ("long ago", NOW - timedelta(days=30), False),
]


@pytest.mark.parametrize(("case", "at", "at_once"), LATE, ids=str)
def test_a_change_is_found_by_its_date_or_else_by_the_sweep_and_told_once(
    dated: Stage, case: str, at: datetime | None, at_once: bool
) -> None:
    dated.baseline(moved("Q", WORKING, NOW), moved("H1", WORKING, NOW - 20 * MINUTE))
    dated.agency.update("H1", step=READY, updated_at=at)

    applied = dated.after()
    assert (applied.kind, applied.made) == (CHANGED_BY, int(at_once))
    swept = dated.after(HOUR)

    assert (swept.kind, swept.made) == (FULL, int(not at_once))
    assert swept.found_by_sweep == record(dated).found_by_sweep == int(not at_once)
    dated.after()
    assert [m.dossier_code for m in dated.messages()] == ["H1"]


def test_one_date_that_lies_ahead_hides_nothing(dated: Stage) -> None:
    dated.baseline(moved("Q", WORKING, NOW + timedelta(days=400)), moved("H1", WORKING, NOW))
    assert record(dated).changed_mark == NOW
    for number in range(1, 4):
        dated.agency.insert([moved(f"N{number}", READY, dated.clock.now() + MINUTE)])
        assert dated.after().made == 1

    assert record(dated).found_by_sweep == 0
    assert record(dated).changed_mark == dated.clock.now()


def test_a_clock_of_the_agency_that_was_set_back_costs_a_sweep(dated: Stage) -> None:
    dated.baseline(moved("Q", WORKING, NOW), moved("H1", WORKING, NOW))
    dated.agency.update("H1", step=READY, updated_at=NOW - 2 * HOUR)

    assert dated.after().made == 0
    assert dated.after(HOUR).made == 1
    assert record(dated).found_by_sweep == 1


def test_our_own_clock_set_back_leads_to_a_sweep_at_once_and_misses_nothing(dated: Stage) -> None:
    dated.baseline(moved("Q", WORKING, NOW), moved("H1", WORKING, NOW))
    dated.agency.update("H1", step=READY, updated_at=NOW - HOUR)
    dated.clock.at = NOW - HOUR

    assert dated.poll().kind == FULL
    dated.agency.insert([moved("H2", READY, NOW - HOUR + MINUTE)])
    applied = dated.after()

    assert (applied.kind, applied.made) == (CHANGED_BY, 1)
    assert len(dated.messages()) == 2


@pytest.mark.parametrize(
    "dates", [[None, None], ["hôm qua", "2026-08-03"], ["", ""], ["1900-01-01", "1753-01-01 00:00:00"]]
)
def test_without_a_usable_date_every_read_is_a_full_one(dated: Stage, dates: list[object]) -> None:
    dated.baseline(a_row("Q", updated_at=dates[0]), a_row("H1", updated_at=dates[1]))
    dated.agency.update("H1", step=READY)

    applied = dated.after()

    assert (applied.kind, applied.made, applied.found_by_sweep) == (FULL, 1, 0)
    assert record(dated).changed_mark is None


def test_a_view_that_lost_the_date_fails_the_read_and_changes_nothing(dated: Stage) -> None:
    dated.baseline(moved("H1", WORKING, NOW))
    dated.agency.names = {n: c for n, c in dated.agency.names.items() if c != "updated_at"}
    dated.agency.update("H1", step=READY)
    read_by(dated, CHANGED_BY)
    dated.reader = FakeReader(dated.agency, columns={"updated_at": "NgaySua"})

    with pytest.raises(AgencyError, match="NgaySua"):
        dated.after()

    assert dated.messages() == []


def test_reads_by_date_say_nothing_of_absence_and_two_sweeps_do(dated: Stage) -> None:
    dated.baseline(moved("Q", WORKING, NOW), moved("H1", WORKING, NOW))
    dated.agency.delete("H1")

    assert [dated.after().absent for _ in range(3)] == [0, 0, 0]
    assert dated.snapshots.missing_codes(AGENCY) == set()
    first = dated.after(HOUR)
    assert (first.kind, first.absent) == (FULL, 1)
    between = [dated.after() for _ in range(3)]
    assert {(one.kind, one.absent) for one in between} == {(CHANGED_BY, 0)}
    assert dated.snapshots.missing_codes(AGENCY) == {"H1"}
    assert dated.after(HOUR).absent == 1
    assert dated.transitions()[-1] == ("H1", None, None, "gone")


@pytest.mark.parametrize("step", [WORKING, READY])
def test_a_missing_dossier_that_a_read_by_date_meets_is_back(dated: Stage, step: str) -> None:
    row = moved("H1", WORKING, NOW)
    dated.baseline(moved("Q", WORKING, NOW), row)
    dated.agency.delete("H1")
    dated.after(HOUR)
    dated.agency.insert([row | {"step": step}])

    dated.after()

    assert dated.snapshots.missing_codes(AGENCY) == set()
    dated.agency.delete("H1")
    dated.after(HOUR)
    assert dated.snapshots.missing_codes(AGENCY) == {"H1"}, "the count began anew"


def test_the_mark_outlives_the_process(dated: Stage) -> None:
    dated.baseline(moved("Q", WORKING, NOW), moved("H1", WORKING, NOW - HOUR))
    dated.restart()
    dated.reader = SummingReader(dated.agency)
    dated.agency.update("H1", step=READY, updated_at=NOW + MINUTE)

    applied = dated.after()

    assert (applied.kind, applied.rows, applied.made) == (CHANGED_BY, 2, 1)


def test_a_code_that_stands_twice_among_the_changed_rows_is_a_bad_row(dated: Stage) -> None:
    dated.baseline(moved("Q", WORKING, NOW), moved("H1", WORKING, NOW))
    dated.agency.insert([moved("H1", READY, NOW)])

    for _ in range(2):
        dated.after()

    assert dated.messages() == []
    assert ("bad_row", "H1") in dated.findings()
    dated.after(HOUR)
    assert dated.messages() == []
    assert (record(dated).bad_rows, record(dated).found_by_sweep) == (1, 0)


def test_a_bad_row_is_not_taken_for_a_change_that_was_missed(dated: Stage) -> None:
    dated.baseline(moved("Q", WORKING, NOW), a_row("H1", step=None, updated_at=NOW - HOUR))
    assert record(dated).bad_rows == 1
    dated.after()
    assert record(dated).bad_rows == 1, "it was not looked at"

    dated.after(HOUR)

    assert (record(dated).bad_rows, record(dated).found_by_sweep) == (1, 0)


def test_the_pass_of_half_past_five_rides_on_a_full_read(dated: Stage) -> None:
    dated.clock.at = local("2026-08-03 17:00")
    now = dated.clock.now()
    due = local("2026-08-04 10:00")
    dated.baseline(
        moved("Q", WORKING, now), moved("H1", WORKING, now, due_at=due), moved("H2", WORKING, now, due_at=due)
    )
    dated.agency.delete("H2")
    dated.agency.update("H1", due_at=local("2026-08-04 11:00"), updated_at=now - 5 * HOUR)
    dated.clock.at = local("2026-08-03 17:30")

    applied = dated.poll()

    assert (applied.kind, applied.found_by_sweep) == (FULL, 1)
    assert [m.dossier_code for m in dated.messages("apology")] == ["H1"]
    assert record(dated).swept_at == dated.clock.now()
    assert dated.after().kind == CHANGED_BY


# every way


@pytest.mark.parametrize("kind", ReadKind)
def test_nothing_is_sent_from_a_baseline_and_everything_after_it(stage: Stage, kind: ReadKind) -> None:
    read_by(stage, kind)
    stage.reader = SummingReader(stage.agency)
    ready = [moved(f"H{n}", READY, NOW) for n in range(3)]
    stage.baseline(*ready, moved("H3", WORKING, NOW))
    stage.after()
    stage.agency.update("H3", step=READY, updated_at=stage.clock.now())

    stage.clock.forward(MINUTE)
    again = stage.poll(baseline=True)

    assert (again.kind, again.baseline, stage.messages()) == (FULL, True, [])
    stage.agency.insert([moved("H4", READY, stage.clock.now())])
    stage.after()
    assert [m.dossier_code for m in stage.messages()] == ["H4"]
    assert record(stage).found_by_sweep == 0


@pytest.mark.parametrize("kind", ReadKind)
def test_an_operator_s_accept_takes_all_rows_that_are_there(stage: Stage, kind: ReadKind) -> None:
    read_by(stage, kind)
    stage.reader = SummingReader(stage.agency)
    many = [moved(f"Q{n}", WORKING, NOW) for n in range(30)]
    stage.baseline(*many)
    stage.show(*many[:5], moved("H1", READY, NOW + MINUTE))
    if kind is not CHANGED_BY:  # by dates it is not seen before the next sweep
        with pytest.raises(IncredibleRead):
            stage.after()

    stage.clock.forward(MINUTE)
    taken = stage.poll(accept=True)

    assert (taken.kind, taken.rows, taken.made, taken.absent) == (FULL, 6, 1, 25)
    assert record(stage).last_rows == 6
    assert stage.after().made == 0


@pytest.mark.parametrize("kind", ReadKind)
def test_a_dry_run_leaves_all_as_it_was(stage: Stage, kind: ReadKind) -> None:
    read_by(stage, kind)
    stage.reader = SummingReader(stage.agency)
    stage.baseline(*[moved(f"Q{n}", WORKING, NOW) for n in range(3)], moved("H1", WORKING, NOW))
    stage.after()
    before, sums = record(stage), stage.snapshots.sums(AGENCY)
    stage.agency.update("H1", step=READY, updated_at=NOW + MINUTE)
    stage.clock.forward(MINUTE)

    assert stage.poll(dry_run=True).made == 1

    assert (record(stage), stage.snapshots.sums(AGENCY), stage.messages()) == (before, sums, [])
    assert stage.after().made == 1


def test_what_was_found_by_sweeps_begins_anew_with_a_baseline(dated: Stage) -> None:
    dated.baseline(moved("Q", WORKING, NOW), moved("H1", WORKING, NOW))
    dated.agency.update("H1", step=READY, updated_at=NOW - 5 * HOUR)
    dated.after(HOUR)
    assert record(dated).found_by_sweep == 1

    dated.clock.forward(MINUTE)
    dated.poll(baseline=True)

    assert record(dated).found_by_sweep == 0
    assert record(dated).changed_mark == NOW


def test_a_baseline_ordered_while_some_rows_are_read_waits_for_the_next_read(
    dated: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    dated.baseline(moved("Q", WORKING, NOW), moved("H1", WORKING, NOW))
    run = Application.run

    def order_first(self: Application, known_good_at: datetime | None) -> object:
        self._tx.save_agency(baseline_wanted=True)
        return run(self, known_good_at)

    monkeypatch.setattr(Application, "run", order_first)

    with pytest.raises(Overtaken):
        dated.after()


def test_known_digests_are_taken_from_the_store_again_after_a_read_that_failed(stage: Stage) -> None:
    stage.baseline(*OTHERS, a_row("H1"))
    assert stage.after().changed == 0
    stage.agency.fault = AgencyError("down", code="unreachable")
    with pytest.raises(AgencyError):
        stage.after()
    stage.agency.fault = None
    stage.agency.update("H1", step=READY)

    applied = stage.after()

    assert (applied.changed, applied.made, applied.absent) == (1, 1, 0)


def test_a_read_that_another_process_applied_meanwhile_is_noticed(stage: Stage) -> None:
    stage.baseline(*OTHERS, a_row("H1"))
    stage.after()
    ours = stage.poller
    stage.start()
    stage.agency.update("H1", step=READY)
    assert stage.after().made == 1
    stage.poller = ours
    stage.agency.update("H1", step=WORKING)

    applied = stage.after()

    assert (applied.changed, applied.bad_rows) == (1, 0)
    assert stage.states() == ["superseded"]
