"""Dossiers missing from full reads, rows that are no dossiers, and codes that stand twice."""

from __future__ import annotations

import structlog

from tests.services.stage import READY, SETTLED, Stage, a_row


def test_missing_from_one_read_keeps_the_position_and_its_message_waits(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.show(a_row("other"))
    assert stage.after(SETTLED).absent == 1
    stage.send()
    assert stage.states() == ["queued"]
    stage.show(a_row("other"), a_row(step=READY))
    stage.after()
    stage.send()
    assert stage.states() == ["accepted"]


def test_missing_from_two_reads_ends_its_message_and_reappearing_counts_as_entering(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.show(a_row("other"))
    stage.after()
    stage.after()
    assert stage.states() == ["superseded"]
    stage.show(a_row("other"), a_row(step=READY))
    stage.after()
    stage.settle_and_send()
    assert stage.states() == ["superseded", "accepted"]
    assert stage.transitions()[-2:] == [
        ("H1", None, None, "gone"),
        ("H1", None, "result_ready", "read"),
    ]


def test_missing_once_now_and_then_is_never_two_in_a_row(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    for _ in range(3):
        stage.show(a_row("other"))
        stage.after()
        stage.show(a_row("other"), a_row(step=READY))
        stage.after()
    assert len(stage.messages()) == 1


def test_a_dossier_that_changed_while_it_was_missing_moves_from_where_it_was(stage: Stage) -> None:
    stage.baseline(a_row("other"), a_row())
    stage.show(a_row("other"))
    stage.after()
    stage.show(a_row("other"), a_row(step=READY))
    stage.after()
    assert stage.transitions() == [("H1", "in_progress", "result_ready", "read")]
    assert stage.states() == ["queued"]


def test_a_row_without_step_is_skipped_listed_and_not_taken_as_absent(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.show(a_row("other"), a_row(step=None))
    for _ in range(3):
        applied = stage.after()
        assert (applied.bad_rows, applied.absent, applied.changed) == (1, 0, 0)
    assert stage.findings() == [("bad_row", "H1")]
    assert stage.states() == ["queued"]


def test_a_row_without_code_is_listed_once_a_day(stage: Stage) -> None:
    stage.baseline(a_row(), a_row(None), a_row("  "))  # type: ignore[arg-type]
    stage.after()
    assert stage.findings() == [("bad_row", "")]


def test_bad_rows_are_logged_when_their_number_changes_and_not_at_every_read(stage: Stage) -> None:
    with structlog.testing.capture_logs() as lines:
        stage.baseline(a_row(), a_row("bad", step=None))
        stage.after()
        stage.after()
        stage.show(a_row(), a_row("bad"))
        stage.after()
    assert [line["rows"] for line in lines if line["event"] == "bad_rows"] == [1, 0]


def test_a_row_that_comes_right_moves_from_where_the_dossier_was(stage: Stage) -> None:
    stage.baseline(a_row())
    stage.show(a_row(step=None))
    stage.after()
    stage.show(a_row(step=READY))
    stage.after()
    assert stage.transitions() == [("H1", "in_progress", "result_ready", "read")]


def test_repeated_codes_are_skipped_whichever_row_changed(stage: Stage) -> None:
    stage.baseline(a_row())
    same, other = a_row(), a_row(step=READY)
    for rows in ([same, other], [other, same], [other, a_row(step="Ký")], [same, same]):
        stage.show(*rows)
        applied = stage.after()
        assert applied.absent == 0
        assert applied.bad_rows > 0
    assert stage.messages() == []
    assert set(stage.findings()) == {("bad_row", "H1")}


def test_a_code_that_stood_twice_is_followed_again_once_it_stands_alone(stage: Stage) -> None:
    stage.baseline(a_row("other"), a_row())
    stage.show(a_row("other"), a_row(), a_row(step=READY))
    stage.after()
    stage.show(a_row("other"), a_row(step=READY))
    stage.after()
    assert stage.states() == ["queued"]


def test_codes_repeated_in_the_baseline_are_not_remembered(stage: Stage) -> None:
    stage.baseline(a_row("H1"), a_row("H2"), a_row("H2", step=READY))
    assert stage.snapshots.agency("nha-trang").bad_rows == 2  # type: ignore[union-attr]
    with stage.snapshots.transaction("nha-trang") as tx:
        assert set(tx.tracked(["H1", "H2"])) == {"H1"}


def test_an_impossible_date_reads_as_null_and_is_listed(stage: Stage) -> None:
    stage.baseline(a_row(due_at="0044-03-15 BC", received_at="2026-02-30"))
    assert stage.findings() == [("bad_date", "H1")]
    with stage.snapshots.transaction("nha-trang") as tx:
        assert tx.tracked(["H1"])["H1"][0].dossier.due_at is None


def test_many_bad_rows_are_written_down_with_few_statements(stage: Stage) -> None:
    stage.baseline(a_row(), *[a_row(f"bad{n}", step=None) for n in range(1200)])
    assert len(stage.findings()) == 1200


def test_spaces_around_a_code_do_not_make_another_dossier(stage: Stage) -> None:
    stage.baseline(a_row("H1"))
    stage.show(a_row(" H1\u200b ", step=READY))
    stage.after()
    assert [(m.dossier_code, m.state) for m in stage.messages()] == [("H1", "queued")]


def test_a_code_too_long_to_be_one_is_a_bad_row(stage: Stage) -> None:
    stage.baseline(a_row("H1"), a_row("9" * 3000), a_row("8" * 3000, step=None))
    assert stage.findings() == [("bad_row", "8" * 200), ("bad_row", "9" * 200)]
