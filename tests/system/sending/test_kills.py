"""smsd, or the message centre it sends through, is killed in the middle of 2,000 messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.sending.killing import KILLED, kill_in_the_middle

MESSAGES = 2000


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", KILLED)
def test_a_kill_loses_no_message_and_doubles_only_marked_ones_no_more_than_were_under_way(
    tmp_path: Path, what: str
) -> None:
    toll = kill_in_the_middle(tmp_path, MESSAGES, what)
    assert toll.messages == MESSAGES
    assert toll.bearable, toll
    assert toll.marked > 0, "nothing was under way: the kill came too early or too late"
