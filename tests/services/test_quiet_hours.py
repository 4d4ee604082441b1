"""Messages that wait for the morning only wait: nothing is tried, written or counted for them meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import time, timedelta

from tests.services.stage import ALWAYS, MINUTE, READY, SETTLED, Stage, a_row
from tests.support.builders import local

QUARTER = timedelta(minutes=15)


def test_a_night_of_waiting_touches_no_message_and_the_morning_sends_each_once(stage: Stage) -> None:
    stage.rules = replace(ALWAYS, opens=time(6), closes=time(22))
    stage.start()
    stage.clock.at = local("2026-08-03 21:57")
    stage.enter(*[a_row(f"H{n}", step=READY) for n in range(5)])
    stage.clock.forward(SETTLED + MINUTE)
    waiting = stage.messages()
    while stage.clock.now() < local("2026-08-04 06:00"):
        stage.poll()
        stage.delivery.age()
        assert not stage.delivery.pump()
        stage.clock.forward(QUARTER)
    assert stage.messages() == waiting
    assert [message.attempts for message in waiting] == [0] * 5
    assert all(stage.events(message.id) == ["queued"] for message in waiting)
    assert stage.gateway.handed_over == []
    stage.poll()
    stage.send()
    assert sorted(sent.id for sent in stage.gateway.taken) == sorted(message.id for message in waiting)
