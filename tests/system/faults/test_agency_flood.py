"""An agency's software moves everything at once: one held batch, one alarm, and an operator who decides."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import wait_until
from tests.support.reliability import Record
from tests.system.daemonoffice import READY, Office
from tests.system.faults.agencytrouble import GROUP
from tests.system.process import Daemon

pytestmark = [pytest.mark.reliability, pytest.mark.timeout(600)]

FEW = 600
"""In plain runs; `hold_above` is 500."""
DELIVERED = "SELECT count(*) FROM messages WHERE state = 'delivered'"


@pytest.fixture
def flooded(reliability: Record) -> dict[str, int]:
    """The agencies and how many dossiers each moves, by what an operator will decide."""
    return {"discarded": reliability.times(FEW, 50_000), "released": reliability.times(FEW, 5_000)}


@pytest.fixture
def office(tmp_path: Path, flooded: dict[str, int]) -> Iterator[Office]:
    made = Office(tmp_path / "etc", polling={"interval": "1s", "timeout": "60s"})
    for agency, count in flooded.items():
        made.add(agency, dossiers=count)
    made.add("well")
    yield made
    made.close()


def peak_megabytes(daemon: Daemon) -> int:
    """The most memory the daemon ever had."""
    status = Path(f"/proc/{daemon.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) // 1024


def standing(office: Office) -> set[object]:
    """The conditions whose alarms stand."""
    return {key for (key,) in office.ask("SELECT key FROM alarms WHERE cleared_at IS NULL")}


def test_tens_of_thousands_of_changes_at_once_are_held_until_an_operator_decides(
    office: Office, flooded: dict[str, int], reliability: Record
) -> None:
    with Daemon(office) as daemon:
        for agency in (*flooded, "well"):
            daemon.wait_for("baseline_taken", seconds=120, agency=agency)
        before = peak_megabytes(daemon)
        began = time.monotonic()
        for agency in flooded:
            office.databases[agency].execute(f"UPDATE dossiers SET step = '{READY}'")
        office.databases["well"].update("well-0", step=READY)
        wait_until(lambda: standing(office) == {f"held:{agency}" for agency in flooded}, 240)
        took = time.monotonic() - began
        _nothing_leaves_and_all_is_told(office, flooded)
        assert len(daemon.logged("alarm_raised")) == len(flooded), "one alarm each"
        peak = peak_megabytes(daemon)
        assert office.smsd("held", "discard", "discarded").returncode == 0
        assert office.smsd("held", "release", "released").returncode == 0
        wait_until(lambda: office.ask(DELIVERED) == [(flooded["released"] + 1,)], 300, 0.2)
        wait_until(lambda: not standing(office), 60)
        assert daemon.stop() == 0

    texts = Counter(office.codes())
    owed = {f"released-{number}" for number in range(flooded["released"])} | {"well-0"}
    lost, doubled = len(owed - set(texts)), sum(texts.values()) - len(texts)
    assert (set(texts), lost, doubled) == (owed, 0, 0)
    assert office.ask("SELECT agency, state, reason, count(*) FROM messages GROUP BY 1, 2, 3 ORDER BY 1") == [
        ("discarded", "suppressed", "discarded", flooded["discarded"]),
        ("released", "delivered", None, flooded["released"]),
        ("well", "delivered", None, 1),
    ]
    assert peak - before < 100
    reliability.row(
        GROUP,
        f"{flooded['discarded']:,} changes into a noticed position at once",
        tried=len(flooded),
        lost=lost,
        doubled=doubled,
        recovered=f"all held within {took:.0f} s with one alarm, then smsd held release or discard",
        note=f"peak memory of the daemon {peak} MB, {before} MB after the baseline",
    )


def _nothing_leaves_and_all_is_told(office: Office, flooded: dict[str, int]) -> None:
    wait_until(lambda: office.codes() == ["well-0"])
    counts = {f"held:{agency}": f"{count} new messages of {agency}" for agency, count in flooded.items()}
    for alarm in office.alarms():
        assert counts[alarm["key"]] in alarm["message"]
        assert "smsd held release" in alarm["hint"]
    listed = {held["agency"]: held["messages"] for held in office.json("held", "list")}
    assert listed == flooded
