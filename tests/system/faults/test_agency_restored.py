"""An agency's database goes back in time: dropped and brought back from an old backup, under the services."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.services.applying import IncredibleRead
from tests.services.stage import CLOSED, HOUR, MINUTE, READY, WORKING, Stage, a_row
from tests.support.agencyviews import COLUMNS, PostgresAgency
from tests.support.postgres import PostgresServer
from tests.support.reliability import Record
from tests.system.faults.agencytrouble import GROUP

pytestmark = [pytest.mark.reliability, pytest.mark.xdist_group("agencies-restored")]

FRESH = [f"H{number}" for number in range(10, 20)]
"""Get their results after the backup."""
GIVEN_OUT = [f"H{number}" for number in range(20, 25)]
"""Had their results, and were texted, before the backup; given out after it."""
NEWCOMERS = ["N0", "N1", "N2"]
"""Received after the backup, and resolved."""


@dataclass
class Restorable:
    """An agency of 60 dossiers in PostgreSQL, the services on it, and a backup that can be brought back."""

    stage: Stage
    server: PostgresServer
    agency: PostgresAgency

    def work(self, codes: list[str], step: str) -> None:
        """What clerks do; `updated_at` with it."""
        for code in codes:
            self.agency.update(code, step=step, updated_at=self.stage.clock.now())

    def receive(self, codes: list[str], **values: object) -> None:
        self.agency.insert(a_row(code, updated_at=self.stage.clock.now(), **values) for code in codes)

    def read_and_send(self) -> None:
        """Two good reads, the second after everything has settled, and what may go."""
        self.stage.after()
        self.stage.after(3 * MINUTE)
        self.stage.send()

    def back_up(self) -> None:
        self._alone()
        self.server.execute(f'CREATE DATABASE "{self.agency.database}_old" TEMPLATE "{self.agency.database}"')

    def restore(self) -> None:
        name = self.agency.database
        self._alone()
        self.server.drop(name)
        self.server.execute(f'ALTER DATABASE "{name}_old" RENAME TO "{name}"')

    def _alone(self) -> None:
        self.agency.connection.close()
        self.server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.agency.database}'"
        )

    def texts(self) -> Counter[str]:
        """How often each dossier's result was handed to the gateway."""
        made = {message.id: message.dossier_code for message in self.stage.messages()}
        return Counter(made[taken.id] for taken in self.stage.gateway.taken)

    def a_day_up_to_the_restore(self) -> None:
        """Results before the backup and after it, then the backup comes back two hours after the first of them."""
        self.receive([f"H{number}" for number in range(60)])
        assert self.stage.poll().baseline
        self.work(GIVEN_OUT, READY)
        self.read_and_send()
        self.stage.clock.forward(2 * HOUR)
        self.back_up()
        self.work(FRESH, READY)
        self.work(GIVEN_OUT, CLOSED)
        self.receive(NEWCOMERS, step=READY)
        self.read_and_send()
        assert self.texts() == Counter([*FRESH, *GIVEN_OUT, *NEWCOMERS])
        self.restore()


@pytest.fixture
def restorable(postgres: PostgresServer, pg_database: str, tmp_path: Path) -> Iterator[Restorable]:
    stage = Stage(tmp_path)
    agency = PostgresAgency(postgres, pg_database)
    stage.reader = open_reader(
        AgencySource("nha-trang", agency.url, agency.view, timeout=timedelta(seconds=20))
    )
    yield Restorable(stage, postgres, agency)
    stage.reader.close()
    stage.database.close()
    agency.close()


def doubled(texts: Counter[str], codes: list[str]) -> int:
    """Texts too many."""
    return sum(max(0, texts[code] - 1) for code in codes)


def test_work_that_is_done_again_after_a_restore_texts_nobody_twice(
    restorable: Restorable, reliability: Record
) -> None:
    restorable.a_day_up_to_the_restore()
    stage = restorable.stage

    restorable.read_and_send()  # codes vanish, positions and dates go back
    listed = stage.findings()
    restorable.work(FRESH, READY)
    restorable.receive(NEWCOMERS, step=READY)
    restorable.read_and_send()

    assert {("bounced", code) for code in FRESH} <= set(listed), "results that went back are listed"
    repeats = [m.dossier_code for m in stage.messages() if m.reason == "repeat"]
    assert sorted(repeats) == sorted([*FRESH, *NEWCOMERS]), "each is shown with the reason"
    codes = [*FRESH, *NEWCOMERS]
    assert doubled(restorable.texts(), codes) == 0
    restorable.work(["H40"], READY)
    restorable.read_and_send()
    assert restorable.texts()["H40"] == 1, "and what is new is texted"
    reliability.row(
        GROUP,
        "database restored from an old backup, and the work since done again within repeat_after",
        tried=len(codes),
        doubled=doubled(restorable.texts(), codes),
        recovered="by itself at the next read; results that went back are listed as bounced",
    )


def test_results_given_out_since_the_backup_stand_as_ready_again_and_are_told_again(
    restorable: Restorable, reliability: Record
) -> None:
    """The contract's own rule: entering again, later than `repeat_after`, makes a new message."""
    restorable.a_day_up_to_the_restore()

    restorable.read_and_send()

    twice = doubled(restorable.texts(), GIVEN_OUT)
    assert twice <= len(GIVEN_OUT)
    assert doubled(restorable.texts(), [*FRESH, *NEWCOMERS]) == 0
    assert set(restorable.texts()) == {*FRESH, *GIVEN_OUT, *NEWCOMERS}
    reliability.row(
        GROUP,
        "database restored from an old backup: results given out since stand as ready again",
        tried=len(GIVEN_OUT),
        doubled=twice,
        recovered="by itself at the next read",
        note="entering again later than repeat_after is texted again (4.2); more than hold_above are held",
    )


def test_step_names_turned_into_numbers_and_put_right_later_enter_again(
    restorable: Restorable, reliability: Record
) -> None:
    """The contract's own rule, as above: with other names every dossier leaves its position."""
    restorable.a_day_up_to_the_restore()
    restorable.work(GIVEN_OUT, CLOSED)
    restorable.work(FRESH, READY)
    restorable.receive(NEWCOMERS, step=READY)
    restorable.read_and_send()
    before = restorable.texts()
    as_numbers = f"CASE step WHEN '{READY}' THEN 7 WHEN '{CLOSED}' THEN 9 ELSE 3 END AS step"
    chosen = ", ".join(column for column in COLUMNS if column != "step")

    restorable.agency.lose_view()
    restorable.agency.execute(f"CREATE VIEW smsd_dossiers AS SELECT {chosen}, {as_numbers} FROM dossiers")
    restorable.read_and_send()
    assert restorable.texts() == before, "numbers text nobody"
    listed = {code for reason, code in restorable.stage.findings() if reason == "bounced"}
    restorable.stage.clock.forward(2 * HOUR)
    restorable.agency.show()
    restorable.read_and_send()

    codes = [*FRESH, *NEWCOMERS]
    assert listed >= set(codes), "every dossier that seemed to leave is listed"
    again = restorable.texts() - before
    assert set(again) <= set(codes)
    assert max(again.values(), default=0) <= 1
    reliability.row(
        GROUP,
        "step names in the view turned into numbers, put right later than repeat_after",
        tried=len(codes),
        doubled=sum(again.values()),
        recovered="by itself at the next read; meanwhile all at the step are listed as bounced",
        note="entering again later than repeat_after is texted again (4.2); more than hold_above are held",
    )


def test_a_backup_with_less_than_half_of_the_dossiers_is_not_believed(
    restorable: Restorable, reliability: Record
) -> None:
    agency, stage = restorable.agency, restorable.stage
    restorable.receive(["H0", "H1", "H2"])
    restorable.back_up()
    restorable.receive([f"H{number}" for number in range(3, 30)], step=WORKING)
    assert stage.poll().baseline
    restorable.work(FRESH, READY)
    restorable.read_and_send()
    restorable.restore()

    stage.clock.forward(MINUTE)
    with pytest.raises(IncredibleRead) as caught:
        stage.poll()
    assert "less than half of the rows of the last good read (3 rows, 30 before)" in caught.value.message
    assert "smsd poll nha-trang --accept" in caught.value.hint
    restorable.receive([f"H{number}" for number in range(3, 30)], step=WORKING)
    restorable.work(FRESH, READY)
    restorable.read_and_send()

    assert restorable.texts() == Counter(FRESH)
    assert agency.ask("SELECT count(*) FROM dossiers") == 30
    reliability.row(
        GROUP,
        "database restored from a backup with less than half of the dossiers",
        tried=1,
        doubled=doubled(restorable.texts(), FRESH),
        recovered="read refused as incredible; by itself once the rest is back, or smsd poll AGENCY --accept",
    )
