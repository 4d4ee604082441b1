"""Receipts forged, replayed, out of order and for others' messages: only the first true word about a message counts."""

from __future__ import annotations

import itertools

import pytest

from smsd.core.model import MessageState, ReceiptVerdict
from smsd.core.signing import signature
from tests.hostile.office import SECRET, SIGNED, Attacked
from tests.services.stage import HOUR, READY, WORKING, a_row
from tests.support.reliability import Record

GROUP = "Hostile input"


@pytest.mark.reliability
def test_forged_receipts_are_refused(attacked: Attacked, reliability: Record) -> None:
    """Every signature but a message's own: of other messages, gateways and secrets, and each of its own spoilt."""
    before, tried = attacked.digest, 0
    for own in attacked.ids:
        true = signature(SECRET, "kannel", own)
        others = [signature(SECRET, "kannel", other) for other in attacked.ids if other != own]
        others += [
            signature(SECRET, SIGNED, own),
            signature("", "kannel", own) if False else "",
            "0" * 24,
            true[::-1],
        ]
        spoilt = [
            true[:place] + ("A" if true[place] != "A" else "B") + true[place + 1 :]
            for place in range(len(true))
        ]
        for sig in (*others, *spoilt, true + "=", true[:-1], true.swapcase(), " " + true, true + "\0"):
            status, _ = attacked.get("/receipts/kannel", id=own, sig=sig, status="1")
            assert status == 403, sig
            tried += 1
    assert attacked.digest == before
    reliability.row(
        GROUP,
        "receipts with another message's, another gateway's or a spoilt signature",
        tried=tried,
        recovered="each refused (403); the store stayed as it was",
    )


@pytest.mark.reliability
def test_replays_and_orders_change_nothing_after_the_final_word(
    attacked: Attacked, reliability: Record
) -> None:
    """All orders of four receipts, each of them three times: the first final one stands."""
    said = {
        "1": MessageState.DELIVERED,
        "2": MessageState.UNDELIVERED,
        "8": None,
        "16": MessageState.REJECTED,
    }
    orders = list(itertools.permutations(said, 4))
    tried = 0
    for place, order in enumerate(orders[: reliability.times(4, 24)]):
        if place and place % 4 == 0:
            _four_more(attacked)
        own = attacked.ids[place % 4]
        for status, _ in itertools.product(order, range(3)):
            sig = signature(SECRET, "kannel", own)
            assert attacked.get("/receipts/kannel", id=own, sig=sig, status=status)[0] == 200
            tried += 1
        first_final = next(said[status] for status in order if said[status] is not None)
        states = {message.id: message.state for message in attacked.stage.messages()}
        assert states[own] is first_final
        assert {states[id_] for id_ in attacked.ids[place % 4 + 1 :]} <= {MessageState.ACCEPTED}, (
            "nobody else's message is touched"
        )
    reliability.row(
        GROUP,
        "true receipts replayed three times each, in every order",
        tried=tried,
        recovered="the first final receipt stands, the others are counted as repeated or late",
    )


def _four_more(attacked: Attacked) -> None:
    """Fresh messages: the dossiers leave the step and enter it again, a day later."""
    known = {m.id for m in attacked.stage.messages()}
    other = a_row("other")
    attacked.stage.show(other, *(a_row(f"H{n}", step=WORKING) for n in range(1, 5)))
    attacked.stage.after(24 * HOUR)
    attacked.stage.show(other, *(a_row(f"H{n}", step=READY) for n in range(1, 5)))
    attacked.stage.after()
    attacked.stage.settle_and_send()
    attacked.ids = [m.id for m in attacked.stage.messages() if m.id not in known]
    assert len(attacked.ids) == 4


def test_a_receipt_for_a_message_of_nobody_is_taken_and_changes_nothing(attacked: Attacked) -> None:
    before = attacked.digest
    for id_ in ("nobody", "0" * 36, "x" * 200, "'; DELETE FROM messages --"):
        status, _ = attacked.get("/receipts/kannel", id=id_, sig=signature(SECRET, "kannel", id_), status="1")
        assert status == 200
    assert attacked.digest == before
    assert {m.state for m in attacked.stage.messages()} == {MessageState.ACCEPTED}
    assert ReceiptVerdict.DELIVERED.value not in str(attacked.stage.findings())
