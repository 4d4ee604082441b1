"""Answers of one look that are not of one moment: what left or changed in between is neither lost nor believed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from smsd.core.policy import ReadKind, ReadRule
from smsd.services.rowblocks import BucketSums
from tests.services.stage import HOUR, MINUTE, READY, SETTLED, Stage, a_row
from tests.support.builders import NOW, a_policy
from tests.support.summingreader import SummingReader

OTHERS = [a_row(f"Q{number}") for number in range(30)]


@pytest.fixture
def reader(stage: Stage) -> SummingReader:
    stage.use(a_policy(reading=ReadRule(ReadKind.FINGERPRINT, None, HOUR)))
    made = SummingReader(stage.agency)
    stage.reader = made
    return made


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def sums_of(reader: SummingReader) -> BucketSums | None:
    with reader.look() as look:
        return look.sums()


def test_a_row_that_was_summed_up_and_not_read_is_absent_once_not_twice(
    stage: Stage, reader: SummingReader
) -> None:
    stage.baseline(*OTHERS, a_row("X"))
    ready = a_row("X", step=READY)
    stage.show(*OTHERS, ready)
    stage.after()
    stage.settle_and_send()
    reader.sums_told = sums_of(reader)
    stage.show(*OTHERS)
    stage.after(2 * HOUR)
    reader.sums_told = None
    stage.show(*OTHERS, ready)
    stage.after()
    stage.after(2 * HOUR)
    stage.settle_and_send()
    assert stage.states() == ["accepted"]


def test_a_change_that_was_summed_up_and_not_read_is_seen_by_the_next_read(
    stage: Stage, reader: SummingReader
) -> None:
    stage.baseline(*OTHERS, a_row("Y"))
    stage.show(*OTHERS, a_row("Y"))
    stage.after()
    stage.show(*OTHERS, a_row("Y", step=READY))
    assert stage.after().made == 1
    stage.show(*OTHERS, a_row("Y"))
    reader.sums_told = sums_of(reader)
    stage.show(*OTHERS)
    stage.after(timedelta(seconds=30))
    reader.sums_told = None
    stage.show(*OTHERS, a_row("Y"))
    stage.after(SETTLED)
    stage.send()
    assert stage.states() == ["superseded"]


@pytest.mark.parametrize("kind", [ReadKind.FULL, ReadKind.FINGERPRINT])
def test_the_pass_judges_by_what_a_row_says_now_though_nothing_that_is_compared_changed(
    stage: Stage, kind: ReadKind
) -> None:
    stage.reader = SummingReader(stage.agency)
    stage.use(a_policy(skip_procedures=frozenset({"9.999"}), reading=ReadRule(kind, None, 24 * HOUR)))
    due = {"due_at": NOW + timedelta(days=1)}
    stage.baseline(a_row("X", **due, procedure_code=None), a_row("Y", **due, procedure_code=None))
    stage.after(MINUTE)
    stage.show(a_row("X", **due, procedure_code="9.999"), a_row("Y", **due, procedure_code="1.001"))
    for _ in range(40):
        stage.after(timedelta(minutes=20))
    assert {m.dossier_code: (m.state, m.reason) for m in stage.messages()} == {
        "X": ("suppressed", "procedure"),
        "Y": ("queued", None),
    }
