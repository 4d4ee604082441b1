"""`smsd demo`: the same seed tells the same day, every story of the pilot occurs, and the figures balance."""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner

from smsd.cli import main
from smsd.core.model import MessageState, Reason
from smsd.demo.lives import Storyteller, working_days
from smsd.demo.stage import ZONE

KINDS = ("result_ready", "supplement", "apology")
DOSSIERS = "800"
ENDINGS = ("delivered", "accepted", "failed", "suppressed", "superseded", "pending")


@dataclass(frozen=True)
class Played:
    """What a demonstration showed and left."""

    folder: Path
    document: dict[str, Any]
    err: str

    def file(self, name: str) -> bytes:
        return (self.folder / "reports" / "2026-08-03" / name).read_bytes()


def play(folder: Path, *words: str) -> Played:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        done = CliRunner().invoke(
            main, ["demo", "--keep", str(folder), "--json", *words], catch_exceptions=False
        )
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
    assert done.exit_code == 0, done.stderr
    return Played(folder, json.loads(done.stdout), done.stderr)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A small day, played once for all tests here."""
    return play(tmp_path_factory.mktemp("demo") / "day", "--dossiers", DOSSIERS)


def test_the_same_seed_tells_the_same_day(played: Played, tmp_path: Path) -> None:
    again = play(tmp_path / "again", "--dossiers", DOSSIERS)
    for name in ("reconciliation.csv", "exceptions.csv"):
        assert again.file(name) == played.file(name)


def test_another_seed_tells_another_day() -> None:
    days = list(working_days(date(2026, 8, 3), 1))
    one, same, other = (Storyteller(1, days, ZONE, seed).population(50) for seed in (7, 7, 8))
    assert one == same
    assert one != other


def test_every_row_balances_and_the_total_is_the_sum(played: Played) -> None:
    rows = list(csv.DictReader(played.file("reconciliation.csv").decode("utf-8-sig").splitlines()))
    assert len(rows) > len(played.document["agencies"])
    assert played.document["kinds"] == list(KINDS)
    for row in (*played.document["agencies"], *played.document["total"]):
        for kind in KINDS:
            assert row[f"{kind}_made"] == sum(row[f"{kind}_{ending}"] for ending in ENDINGS)
    [total] = played.document["total"]
    for column in (
        "received",
        "resolved",
        "segments",
        "cost",
        "unexplained",
        *(f"{kind}_made" for kind in KINDS),
    ):
        assert total[column] == sum(row[column] for row in played.document["agencies"])
    assert len(played.document["agencies"]) == 13


def test_every_ending_and_reason_of_the_pilot_occurs(played: Played) -> None:
    seen = {(entry["state"], entry["reason"]) for entry in played.document["not_delivered"]}
    expected = {
        Reason.NO_PHONE, Reason.LANDLINE, Reason.INVALID_PHONE, Reason.AMBIGUOUS_PHONE, Reason.STALE, Reason.SAME_DAY,
        Reason.REPEAT,
    }  # fmt: skip
    assert {reason for state, reason in seen if state == MessageState.SUPPRESSED} == expected
    states = {state for state, _ in seen}
    assert states == {
        MessageState.SUPPRESSED, MessageState.SUPERSEDED, MessageState.UNDELIVERED, MessageState.REJECTED,
        MessageState.ACCEPTED,
    }  # fmt: skip
    assert {"no_apology", "bounced", "unexplained"} <= played.document["exceptions"].keys()


def test_the_figures_are_plausible(played: Played) -> None:
    [total] = played.document["total"]
    made = sum(total[f"{kind}_made"] for kind in KINDS)
    unusable = sum(total[column] for column in ("no_phone", "landline", "invalid_phone", "ambiguous_phone"))
    assert all(total[f"{kind}_delivered"] > 10 for kind in KINDS)
    assert 0.2 < unusable / made < 0.4, "nearly a third, as in the pilot"
    assert 0 < total["unexplained"] < 0.05 * total["resolved"], (
        "those handed over without stopping at the step"
    )
    assert played.document["lookups"] == total["lookups"] > 10


def test_everything_kept_can_be_looked_at(played: Played) -> None:
    for path in played.document["files"].values():
        assert Path(path).is_file()
    status = CliRunner().invoke(main, ["--config", played.document["files"]["config"], "status", "--json"])
    assert status.exit_code == 1  # all is well but that nobody reads these agencies any more
    assert {agency["overdue"] for agency in json.loads(status.output)["agencies"]} == {True}
    assert {a["mode"] for a in json.loads(status.stdout)["agencies"]} == {"live"}
    log = Path(played.document["files"]["log"]).read_text("utf-8").splitlines()
    assert {json.loads(line)["event"] for line in log} >= {
        "baseline_taken",
        "apology_pass_missed",
        "report_written",
    }
    assert "Thông báo" not in "".join(log)


def test_progress_is_plain_lines_where_there_is_no_terminal(played: Played) -> None:
    lines = played.err.splitlines()
    assert lines
    assert all(line.startswith("  Mon 03/08 ") for line in lines)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = CliRunner().invoke(main, ["demo", "--keep", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
