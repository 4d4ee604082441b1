"""What only records: the first read, another source, leaving off, a restored backup, an operator's order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from smsd.adapters.store.engine import Database
from smsd.core.errors import AgencyError
from smsd.core.model import MessageState, Mode
from smsd.services.participation import take_part
from tests.services.stage import HOUR, MINUTE, READY, SETTLED, Stage, a_row
from tests.support.builders import a_policy, a_rule
from tests.support.fakegateway import HELD, LOST, NEVER_ARRIVED


def test_the_first_read_records_everything_and_sends_nothing(stage: Stage) -> None:
    stage.baseline(a_row("H1", step=READY), a_row("H2", status="Chờ bổ sung", step="Tiếp nhận"))
    stage.after(HOUR)
    assert stage.messages() == []
    assert stage.transitions() == []


def test_another_source_means_a_baseline_and_what_it_lacks_is_gone(stage: Stage) -> None:
    stage.enter(a_row("H1", step=READY), a_row("H2", step=READY))
    stage.source = "another view"
    stage.show(a_row("H2", step=READY), a_row("H3", step=READY))
    assert stage.after().baseline
    assert [(m.dossier_code, m.state) for m in stage.messages()] == [
        ("H1", "superseded"),
        ("H2", "queued"),
    ]


def test_leaving_off_means_a_baseline(stage: Stage) -> None:
    stage.enter(a_row())
    stage.use(a_policy(mode=Mode.OFF))
    assert stage.take_part() == ["nha-trang"]
    stage.use(a_policy())
    stage.take_part()
    stage.show(a_row("other"), a_row(step=READY))
    assert stage.after().baseline
    assert stage.messages() == []


def test_leaving_off_into_shadow_and_then_live_records_once(stage: Stage) -> None:
    stage.enter(a_row())
    stage.use(a_policy(mode=Mode.OFF))
    stage.take_part()
    stage.use(a_policy(mode=Mode.SHADOW))
    stage.take_part()
    stage.show(a_row("other"), a_row(step=READY))
    assert stage.after().baseline
    stage.use(a_policy())
    assert not stage.after().baseline
    assert stage.messages() == []


def test_a_baseline_may_be_ordered_once(stage: Stage) -> None:
    stage.baseline(a_row())
    stage.journal.want_baseline("nha-trang")
    stage.show(a_row(step=READY))
    assert stage.after().baseline
    stage.show(a_row(step=READY), a_row("H2", step=READY))
    assert not stage.after().baseline
    assert [m.dossier_code for m in stage.messages()] == ["H2"]


def test_a_baseline_keeps_what_moved_for_the_trace(stage: Stage) -> None:
    stage.baseline(a_row())
    stage.show(a_row(step=READY))
    stage.clock.forward(MINUTE)
    stage.poll(baseline=True)
    assert stage.transitions() == [("H1", "in_progress", "result_ready", "baseline")]


@pytest.mark.parametrize("doubtful", [[], None])
def test_a_baseline_must_be_credible_too(stage: Stage, doubtful: list[dict[str, object]] | None) -> None:
    rows = doubtful if doubtful is not None else [a_row("same") for _ in range(22)]
    rows += [a_row(f"H{n % 11}") for n in range(22)] if doubtful is None else []
    stage.show(*rows)
    with pytest.raises(AgencyError, match=r"no rows|repeated"):
        stage.poll()
    assert stage.snapshots.agency("nha-trang") is None


def test_positions_that_change_by_configuration_are_recorded_and_never_sent(stage: Stage) -> None:
    stage.baseline(a_row("H1", step="Hoàn thành"), a_row("H2"))
    rules = (*a_policy().positions[:1], a_rule("result_ready", ("Trả kết quả", "Hoàn thành")))
    stage.use(a_policy(positions=rules))
    stage.after()
    assert stage.messages() == []
    assert stage.transitions() == [("H1", "in_progress", "result_ready", "configuration")]


def test_a_row_that_moves_into_a_renamed_position_is_sent(stage: Stage) -> None:
    stage.baseline(a_row("H1"), a_row("H2"))
    rules = (*a_policy().positions[:1], a_rule("result_ready", ("Hoàn thành",)))
    stage.use(a_policy(positions=rules))
    stage.show(a_row("H1", step="Hoàn thành"), a_row("H2"))
    stage.after()
    assert stage.states() == ["queued"]


def test_configuration_that_takes_a_dossier_out_of_its_position_ends_its_message(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.use(a_policy(positions=(a_rule("closed", ("Trả kết quả",)),)))
    stage.after()
    assert stage.states() == ["superseded"]


def test_a_restored_backup_sends_nothing_that_was_unsent_when_it_was_made(
    stage: Stage, tmp_path: Path
) -> None:
    stage.use(a_policy(hold_above=2))
    stage.enter(a_row("H1", step=READY), a_row("H2", step=READY))
    stage.gateway.script(HELD, times=1)
    stage.clock.forward(SETTLED)
    stage.delivery.pump()
    stage.show(a_row("other"), *[a_row(f"H{n}", step=READY) for n in range(1, 7)])
    stage.after()
    assert sorted({m.state.value for m in stage.messages()}) == ["held", "queued", "sending"]
    copy = tmp_path / "copy.db"
    stage.database.backup(copy, stage.clock.now())

    restored = Stage(tmp_path, clock=stage.clock, url=f"sqlite:///{copy}")
    assert restored.snapshots.want_baselines(stage.clock.now())
    restored.restart()
    restored.show(*stage.agency.rows, a_row("H9", step=READY))
    assert restored.after().baseline
    restored.settle_and_send()
    assert {m.state for m in restored.messages()} == {MessageState.EXPIRED}
    assert {m.detail for m in restored.messages()} == {"unsent when the backup was made; perhaps sent since"}
    assert restored.gateway.handed_over == []
    assert not restored.snapshots.want_baselines(stage.clock.now())
    restored.database.close()


def test_an_unknown_message_of_a_restored_backup_is_not_sent_again(stage: Stage, tmp_path: Path) -> None:
    stage.enter(a_row("H1", step=READY))
    stage.gateway.script(LOST)
    stage.settle_and_send()
    stage.database.backup(tmp_path / "copy.db", stage.clock.now())
    restored = Stage(tmp_path, clock=stage.clock, url=f"sqlite:///{tmp_path / 'copy.db'}")
    restored.snapshots.want_baselines(stage.clock.now())
    assert restored.states() == ["expired"]
    restored.database.close()


def test_a_store_that_is_no_copy_wants_no_baselines(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    assert not stage.snapshots.want_baselines(stage.clock.now())
    assert stage.states() == ["queued"]


# taking part


@pytest.mark.parametrize(("mode", "reason"), [(Mode.SHADOW, "shadow"), (Mode.OFF, "off")])
def test_an_agency_set_to_shadow_or_off_ends_its_unsent_messages_so(
    stage: Stage, mode: Mode, reason: str
) -> None:
    stage.enter(a_row("H1", step=READY), a_row("H2", step=READY), a_row("H3", step=READY))
    stage.gateway.script(LOST, times=1)
    stage.gateway.script(HELD, times=1)
    stage.clock.forward(SETTLED)
    stage.delivery.pump()
    stage.gateway.release(LOST.outcome)  # type: ignore[arg-type]
    stage.delivery.pump()
    stage.use(a_policy(mode=mode))
    stage.take_part()
    assert stage.states() == [reason] * 3
    assert stage.snapshots.agency("nha-trang").mode == mode  # type: ignore[union-attr]


def test_a_removed_agency_ends_its_unsent_messages_and_comes_back_by_a_baseline(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    stage.policies = {}
    assert stage.take_part() == ["nha-trang"]
    assert stage.states() == ["off"]
    stage.use(a_policy())
    assert stage.after().baseline


def test_an_agency_whose_file_is_wrong_is_left_alone(stage: Stage) -> None:
    stage.enter(a_row(step=READY))
    take_part(stage.snapshots, {}, stage.clock.now(), left_alone={"nha-trang"})
    assert stage.states() == ["queued"]
    assert stage.snapshots.agency("nha-trang").mode == Mode.LIVE  # type: ignore[union-attr]


def test_a_message_under_way_when_its_agency_leaves_takes_its_answer(stage: Stage) -> None:
    stage.enter(a_row("H1", step=READY))
    stage.gateway.script(HELD)
    stage.clock.forward(SETTLED)
    stage.delivery.pump()
    stage.use(a_policy(mode=Mode.SHADOW))
    stage.take_part()
    assert stage.states() == ["sending"]
    stage.gateway.release()
    stage.delivery.pump()
    assert stage.states() == ["accepted"]


def test_a_message_that_comes_back_after_its_agency_left_ends_so(stage: Stage) -> None:
    stage.enter(a_row("H1", step=READY))
    stage.gateway.script(HELD)
    stage.clock.forward(SETTLED)
    stage.delivery.pump()
    stage.use(a_policy(mode=Mode.SHADOW))
    stage.take_part()
    stage.gateway.release(NEVER_ARRIVED.outcome)  # type: ignore[arg-type]
    stage.delivery.pump()
    assert stage.states() == ["shadow"]


def test_live_after_shadow_sends_what_comes_and_not_what_was(stage: Stage) -> None:
    stage.use(a_policy(mode=Mode.SHADOW))
    stage.enter(a_row("H1", step=READY))
    stage.use(a_policy())
    stage.take_part()
    stage.show(a_row("other"), a_row("H1", step=READY), a_row("H2", step=READY))
    assert not stage.after().baseline
    stage.settle_and_send()
    assert stage.states() == ["shadow", "accepted"]


def test_a_read_begun_before_the_agency_left_cannot_bring_messages_back(stage: Stage) -> None:
    stage.enter(a_row("H1", step=READY))
    late = stage.plan
    stage.use(a_policy(mode=Mode.SHADOW))
    stage.take_part()
    stage.show(a_row("other"), a_row("H1", step=READY), a_row("H2", step=READY))
    stage.clock.forward(MINUTE)
    stage.poller.poll(late, replace(stage.poller.orders("nha-trang"), policy=late.policy), stage.reader)
    stage.after()
    stage.settle_and_send()
    assert stage.states() == ["shadow", "shadow"]


def test_an_emptied_store_means_a_baseline(stage: Stage, tmp_path: Path) -> None:
    stage.enter(a_row(step=READY))
    stage.database.close()
    for file in tmp_path.glob("smsd.db*"):
        file.unlink()
    stage.database = Database(stage.url)
    stage.database.open()
    stage.start()
    assert stage.after(timedelta(days=1)).baseline
    assert stage.messages() == []
