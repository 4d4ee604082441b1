"""smsd is killed at random moments while messages flow; the message centre it sends through in the middle of 2,000."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.support.reliability import Record
from tests.system.sending.killing import READY_PER_LIFE, kill_at_random, kill_in_the_middle

MESSAGES = 2000
KILLS, KILLS_OF_THE_TABLE = 5, 300


@pytest.mark.reliability
@pytest.mark.timeout(600)
def test_kills_of_smsd_at_random_lose_no_message_and_double_only_marked_ones_no_more_than_were_under_way(
    tmp_path: Path, reliability: Record
) -> None:
    kills = reliability.times(KILLS, KILLS_OF_THE_TABLE)
    seed = random.SystemRandom().randrange(2**32)
    try:
        toll, settled_in = kill_at_random(tmp_path, kills, seed)
        assert toll.messages == (kills + 1) * READY_PER_LIFE
        assert toll.bearable, toll
        assert toll.marked > 0 or kills < KILLS_OF_THE_TABLE, "nothing was ever under way"
    except AssertionError as error:
        error.add_note(f"seed {seed}")
        raise
    reliability.row(
        "The process ends",
        "smsd killed (SIGKILL) at random moments while it sends over SMPP",
        tried=kills,
        lost=toll.lost,
        doubled=toll.doubled,
        marked=toll.marked,
        recovered=f"by itself; all settled {settled_in:.0f} s after the last start",
        note=f"{toll.messages:,} messages, at most {toll.window} under way at each kill; SMPP cannot tell repeats; "
        f"{toll.cut_twice} cut off in both tries wait for a receipt, {toll.cut_twice_untaken} of them never arrived",
    )


@pytest.mark.slow
@pytest.mark.reliability
@pytest.mark.timeout(300)
def test_a_kill_of_the_message_centre_loses_no_message_and_doubles_only_marked_ones(
    tmp_path: Path, reliability: Record
) -> None:
    kills = reliability.times(1, 5)
    started = time.monotonic()
    toll = kill_in_the_middle(tmp_path, MESSAGES, "message centre", kills)
    assert toll.messages == MESSAGES
    assert toll.bearable, toll
    assert toll.marked > 0, "nothing was under way: the kill came too early or too late"
    reliability.row(
        "Gateways",
        "the message centre killed (SIGKILL) while smsd sends over SMPP",
        tried=kills,
        lost=toll.lost,
        doubled=toll.doubled,
        marked=toll.marked,
        recovered=f"by itself; all settled in {time.monotonic() - started:.0f} s, start and kills included",
        note=f"{toll.messages:,} messages, at most {toll.window} under way at each kill; SMPP cannot tell repeats",
    )
