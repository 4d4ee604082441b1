"""A read that cannot be true changes nothing; an operator, or a day of the same, makes it true."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from smsd.core.errors import AgencyError
from smsd.services.applying import IncredibleRead, Overtaken
from smsd.services.polling import note_failure
from smsd.services.ports import VIEW_COLUMNS, RawRow
from tests.services.stage import HOUR, MINUTE, READY, SETTLED, Stage, a_row
from tests.support.fakereader import FakeReader


def many(count: int, **changes: object) -> list[dict[str, object]]:
    return [a_row(f"H{n}", **changes) for n in range(count)]


def refused(stage: Stage) -> IncredibleRead:
    """The next read, which must not be believed; written down as the poller does."""
    stage.clock.forward(MINUTE)
    with pytest.raises(IncredibleRead) as caught:
        stage.poll()
    note_failure(stage.snapshots, stage.policy, caught.value, stage.clock.now(), stage.clock.now())
    return caught.value


@pytest.mark.parametrize(("before", "now"), [(20, 9), (1, 0), (100, 49)])
def test_too_few_rows_change_nothing(stage: Stage, before: int, now: int) -> None:
    stage.baseline(*many(before))
    stage.show(*many(now, step=READY))
    error = refused(stage)
    assert error.code == "incredible"
    assert "smsd poll nha-trang --accept" in error.hint
    assert stage.messages() == []
    record = stage.snapshots.agency("nha-trang")
    assert record is not None
    assert (record.last_rows, record.failures, record.error_code) == (before, 1, "incredible")


@pytest.mark.parametrize(("before", "now"), [(20, 10), (19, 2), (100, 50)])
def test_half_of_the_rows_or_fewer_of_few_are_believed(stage: Stage, before: int, now: int) -> None:
    stage.baseline(*many(before))
    stage.show(*many(now))
    assert stage.after().absent == before - now


def test_more_than_one_in_a_hundred_repeated_codes_change_nothing(stage: Stage) -> None:
    stage.baseline(*many(1000))
    stage.show(*many(1000), *many(11, step=READY))
    refused(stage)
    assert stage.findings() == []
    assert stage.messages() == []


def test_ten_repeated_codes_are_skipped_and_the_rest_goes_on(stage: Stage) -> None:
    stage.baseline(*many(30))
    stage.show(*many(29), a_row("H29", step=READY), *many(10, step=READY))
    assert stage.after().bad_rows == 10
    assert [m.dossier_code for m in stage.messages()] == ["H29"]


def test_an_operator_may_accept_it(stage: Stage) -> None:
    stage.baseline(*many(40))
    stage.show(a_row("H0", step=READY))
    refused(stage)
    applied = stage.poll(accept=True)
    assert applied.absent == 39
    assert stage.states() == ["queued"]
    assert stage.after().absent == 39
    assert stage.snapshots.agency("nha-trang").last_rows == 1  # type: ignore[union-attr]


def test_an_empty_view_may_be_accepted_too(stage: Stage) -> None:
    stage.baseline(*many(3))
    stage.show()
    assert stage.poll(accept=True).absent == 3


def test_a_low_count_that_stays_for_a_day_is_taken_by_itself(stage: Stage) -> None:
    stage.baseline(*many(40))
    stage.show(*many(15))
    refused(stage)
    stage.clock.forward(23 * HOUR)
    refused(stage)
    stage.clock.forward(HOUR)
    assert stage.poll().absent == 25


def test_an_empty_view_is_never_taken_by_itself_and_starts_the_day_anew(stage: Stage) -> None:
    stage.baseline(*many(40))
    stage.show(*many(15))
    refused(stage)
    stage.show()
    stage.clock.forward(25 * HOUR)
    refused(stage)
    stage.show(*many(15))
    refused(stage)
    stage.clock.forward(23 * HOUR)
    refused(stage)


def test_a_good_read_in_between_starts_the_day_anew(stage: Stage) -> None:
    stage.baseline(*many(40))
    stage.show(*many(15))
    refused(stage)
    stage.show(*many(40))
    stage.after(12 * HOUR)
    stage.show(*many(15))
    refused(stage)
    stage.clock.forward(13 * HOUR)
    refused(stage)


def test_a_database_that_cannot_be_reached_in_between_does_not(stage: Stage) -> None:
    stage.baseline(*many(40))
    stage.show(*many(15))
    refused(stage)
    down = AgencyError("no route", code="unreachable")
    note_failure(stage.snapshots, stage.policy, down, stage.clock.now(), stage.clock.now())
    stage.clock.forward(24 * HOUR)
    assert stage.poll().absent == 25


def test_messages_wait_while_reads_are_refused(stage: Stage) -> None:
    stage.baseline(*many(40))
    stage.show(*many(40)[1:], a_row("H0", step=READY))
    stage.after()
    stage.show(*many(3))
    stage.clock.forward(SETTLED + 2 * MINUTE)
    for _ in range(3):
        refused(stage)
        stage.send()
    assert stage.states() == ["queued"]
    stage.show(*many(40)[1:], a_row("H0", step=READY))
    stage.after()
    stage.send()
    assert stage.states() == ["accepted"]


def test_a_read_that_another_overtook_is_dropped(stage: Stage) -> None:
    stage.baseline(a_row())

    class Slow(FakeReader):
        """While its rows are read, another read is applied."""

        def rows(self, columns: Sequence[str] = VIEW_COLUMNS) -> Iterator[list[RawRow]]:
            blocks = list(super().rows(columns))
            stage.show(a_row(step=READY))
            stage.after()
            yield from blocks

    with pytest.raises(Overtaken):
        stage.poller.poll(stage.plan, stage.poller.orders("nha-trang"), Slow(stage.agency))
    stage.settle_and_send()
    assert stage.states() == ["accepted"]


def test_a_dry_run_shows_what_would_be_made_and_changes_nothing(stage: Stage) -> None:
    stage.baseline(a_row())
    stage.show(a_row(step=READY))
    before = stage.snapshots.agency("nha-trang")
    stage.clock.forward(MINUTE)
    applied = stage.poll(dry_run=True)
    assert [(code, draft.kind) for code, draft in applied.drafts] == [("H1", "result_ready")]
    assert stage.messages() == []
    assert stage.transitions() == []
    assert stage.snapshots.agency("nha-trang") == before
    assert stage.after().made == 1


def test_an_applied_read_ends_what_ailed_the_agency(stage: Stage) -> None:
    stage.baseline(*many(30))
    stage.show(*many(2))
    refused(stage)
    stage.show(*many(30))
    stage.after()
    record = stage.snapshots.agency("nha-trang")
    assert record is not None
    assert (record.failures, record.error, record.error_since, record.low_since) == (0, None, None, None)


def test_a_read_is_applied_whole_or_not_at_all(stage: Stage) -> None:
    stage.baseline(*many(600))
    clash = a_row("H599", step=READY, phone="0905123456")
    stage.show(*many(599, step=READY), clash, clash)  # the last block finds out that codes repeat
    stage.show(*stage.agency.rows, *many(20, step=READY))
    refused(stage)
    assert stage.messages() == []
    assert stage.transitions() == []


def test_the_error_lasts_since_the_first_failure(stage: Stage) -> None:
    stage.baseline(*many(30))
    down = AgencyError("no route", code="unreachable")
    since = stage.clock.forward(MINUTE)
    for expected in (1, 2, 3):
        assert (
            note_failure(stage.snapshots, stage.policy, down, stage.clock.now(), stage.clock.now())
            == expected
        )
        stage.clock.forward(SETTLED)
    record = stage.snapshots.agency("nha-trang")
    assert record is not None
    assert record.error_since == since
    assert record.next_attempt_at == stage.clock.now() - SETTLED + 4 * MINUTE


def test_a_policy_alone_makes_no_baseline(stage: Stage) -> None:
    stage.baseline(a_row())
    stage.use(replace(stage.policy, name="another name", interval=timedelta(minutes=5)))
    assert not stage.after().baseline
