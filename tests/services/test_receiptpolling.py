"""Asking a provider what became of messages: whom, in which order, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from smsd.adapters.store.unreported import UnreportedStore
from smsd.core.errors import StoreError
from smsd.core.model import Outcome, PartReceipt, ReceiptVerdict, Verdict
from smsd.services.ports import PartReceiptSink, Polled
from smsd.services.receiptpolling import ReceiptPoller
from tests.services.stage import HOUR, MINUTE, READY, SETTLED, Stage, a_row
from tests.support.fakegateway import Reaction

D, U, W = ReceiptVerdict.DELIVERED, ReceiptVerdict.UNDELIVERED, ReceiptVerdict.ON_ITS_WAY


@dataclass
class Provider:
    """Tells what it was told of; one of ``chokes`` ends its asking as a fault does."""

    name: str = "fake"
    poll_interval: float | None = 600.0
    told: dict[str, ReceiptVerdict] = field(default_factory=dict)
    chokes: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def poll_receipts(self, ids: Sequence[str], stop: Callable[[], bool]) -> list[PartReceipt]:
        receipts = []
        for id_ in ids:
            if stop():
                break
            self.asked.append(id_)
            if id_ in self.chokes:
                break
            if id_ in self.told:
                receipts.append(PartReceipt(self.name, id_, self.told[id_], "word"))
        return receipts

    def asked_now(self) -> str:
        """Whom it was asked after since this was looked at last, each a letter."""
        asked, self.asked = "".join(self.asked), []
        return asked


@pytest.fixture(params=["sqlite", "postgresql"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").url(request.getfixturevalue("pg_database"))
    made = Stage(tmp_path, url=url)
    yield made
    made.database.close()


@pytest.fixture
def provider() -> Provider:
    return Provider()


def asking(
    stage: Stage, provider: Polled, most: int = 500, receipts: PartReceiptSink | None = None
) -> ReceiptPoller:
    store = UnreportedStore(stage.database)
    return ReceiptPoller(store, provider, receipts or stage.delivery, interval=600.0, most=most)


def hand_over(stage: Stage, references: str) -> None:
    """A message for each letter, which is the provider's id of it, handed over a minute apart."""
    rows = [a_row("other")]
    stage.baseline(*rows)
    for reference in references:
        rows.append(a_row(f"H-{reference}", step=READY))
        stage.show(*rows)
        stage.after()
        stage.gateway.script(
            Reaction(True, Outcome(Verdict.ACCEPTED, reference=reference, parts=(reference,)))
        )
        stage.settle_and_send()
    assert stage.states() == ["accepted"] * len(references)


def test_what_the_provider_tells_becomes_the_messages_ends(stage: Stage, provider: Provider) -> None:
    hand_over(stage, "abcde")
    provider.told = {"a": D, "b": U, "c": W, "d": ReceiptVerdict.REJECTED}
    assert asking(stage, provider).turn() == 5
    assert stage.states() == ["delivered", "undelivered", "accepted", "rejected", "accepted"]
    assert provider.asked_now() == "abcde"


def test_only_what_is_still_open_is_asked_after_again(stage: Stage, provider: Provider) -> None:
    hand_over(stage, "abc")
    poller = asking(stage, provider)
    provider.told = {"a": W, "b": D}
    poller.turn()
    provider.told |= {"a": D}
    poller.turn()
    assert provider.asked_now() == "abcac"
    assert stage.states() == ["delivered", "delivered", "accepted"]
    stage.clock.forward(72 * HOUR)
    stage.age()
    assert poller.turn() == 0
    assert provider.asked_now() == ""


def test_a_provider_without_open_messages_is_left_in_peace(stage: Stage, provider: Provider) -> None:
    assert asking(stage, provider).turn() == 0
    assert provider.asked == []


def test_a_long_queue_is_asked_after_in_turns_and_nobody_is_left_out(
    stage: Stage, provider: Provider
) -> None:
    hand_over(stage, "abcdefgh")
    poller = asking(stage, provider, most=3)
    turns = []
    for _ in range(4):
        poller.turn()
        turns.append(provider.asked_now())
    assert turns == ["abc", "def", "gha", "bcd"]


def test_a_new_message_waits_behind_those_that_were_there(stage: Stage, provider: Provider) -> None:
    hand_over(stage, "ab")
    poller = asking(stage, provider, most=3)
    poller.turn()
    assert provider.asked_now() == "ab"
    stage.gateway.script(Reaction(True, Outcome(Verdict.ACCEPTED, reference="c", parts=("c",))))
    stage.show(*stage.agency.rows, a_row("H-c", step=READY))
    stage.after()
    stage.after(SETTLED)
    stage.send()
    poller.turn()
    assert provider.asked_now() == "abc"


def test_an_id_that_the_provider_chokes_on_keeps_nobody_else_from_being_asked_after(
    stage: Stage, provider: Provider
) -> None:
    hand_over(stage, "abc")
    provider.chokes = {"a"}
    provider.told = {"b": D, "c": D}
    poller = asking(stage, provider)
    assert poller.turn() == 1
    poller.turn()
    assert provider.asked_now() == "abca"
    assert stage.states() == ["accepted", "delivered", "delivered"]


def test_a_stop_ends_the_turn_and_keeps_what_was_told(stage: Stage, provider: Provider) -> None:
    hand_over(stage, "abc")
    provider.told = dict.fromkeys("abc", D)
    poller = asking(stage, provider)
    assert poller.turn(lambda: len(provider.asked) == 2) == 2
    assert stage.states() == ["delivered", "delivered", "accepted"]
    assert poller.turn(lambda: True) == 0
    poller.turn()
    assert provider.asked_now() == "abc"


def test_what_could_not_be_recorded_is_asked_after_again(stage: Stage, provider: Provider) -> None:
    hand_over(stage, "a")
    provider.told = {"a": D}

    class Full:
        def receive_parts(self, receipts: Sequence[PartReceipt]) -> None:
            raise StoreError("disk full")

    with pytest.raises(StoreError):
        asking(stage, provider, receipts=Full()).turn()
    assert stage.states() == ["accepted"]
    asking(stage, provider).turn()
    assert stage.states() == ["delivered"]


def test_a_restart_goes_on_asking(stage: Stage, provider: Provider) -> None:
    hand_over(stage, "a")
    stage.clock.forward(MINUTE)
    stage.restart()
    provider.told = {"a": D}
    asking(stage, provider).turn()
    assert stage.states() == ["delivered"]
