"""Delivery receipts, in whatever order they come: before the answer, after it, twice, late, for parts of a message.

A receipt is recorded before it is acknowledged. What it makes of a message is `core.outbox`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from smsd.core.clock import Clock
from smsd.core.model import Message, MessageState, PartReceipt, Receipt, ReceiptVerdict
from smsd.core.names import clean_text
from smsd.core.outbox import after_receipt
from smsd.services.ports import Change, Part
from smsd.services.storage import OutboxStore, OutboxTx

LATE_MATCH_AFTER = timedelta(seconds=30)
"""A part's receipt that no answer has claimed by then came before no answer: its id may be written in another way."""
_LONGEST_DETAIL = 200
_LONGEST_PART = 100
_SAID = {
    ReceiptVerdict.ON_ITS_WAY: MessageState.ACCEPTED,
    ReceiptVerdict.DELIVERED: MessageState.DELIVERED,
    ReceiptVerdict.UNDELIVERED: MessageState.UNDELIVERED,
    ReceiptVerdict.REJECTED: MessageState.REJECTED,
}


def detail_of(*words: str) -> str | None:
    """A provider's words as they may be kept: one short line that every database takes."""
    return clean_text(" ".join(filter(None, words)))[:_LONGEST_DETAIL] or None


def part_key(part: str) -> str:
    """The form in which providers' ids of parts are kept: receipts and answers differ in case and leading zeros."""
    return clean_text(part).casefold().lstrip("0")[:_LONGEST_PART] or "0"


def other_spellings(key: str) -> list[str]:
    """The same id as hexadecimal or decimal: some message centres answer in one and report in the other."""
    found = []
    if key.isascii() and key.isdigit():
        found.append(f"{int(key):x}")
    if key and all(char in "0123456789abcdef" for char in key):
        found.append(str(int(key, 16)))
    return [other for other in found if other != key]


class Receipts:
    """Records receipts. From any thread."""

    def __init__(self, store: OutboxStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def receive(self, receipt: Receipt) -> str:
        """Record a receipt: ``applied``, ``repeated``, ``late`` or ``unknown_message``."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            message = tx.message(receipt.message_id)
            if message is None:
                return "unknown_message"
            change = _change_by(message, receipt, now)
            if change is not None:
                return "applied" if tx.change([change]) else "repeated"
        ended = message.final_at is not None
        return "late" if ended and message.state is not _SAID[receipt.verdict] else "repeated"

    # parts

    def receive_parts(self, receipts: Sequence[PartReceipt]) -> None:
        """Record receipts of parts. One whose part is not known yet waits for the answer that names it."""
        now = self._clock.now()
        with self._store.transaction() as tx:
            for receipt in receipts:
                key = part_key(receipt.part)
                said = Part(key, receipt.verdict, detail_of(receipt.code, receipt.detail))
                tx.note_part(receipt.gateway, said, now)
                owner = tx.part_owner(receipt.gateway, key)
                if owner is not None:
                    _judge(tx, receipt.gateway, [owner], now)

    def keep_parts(
        self, tx: OutboxTx, gateway: str, parts: Mapping[str, Sequence[str]], now: datetime
    ) -> None:
        """Remember which provider's ids stand for which messages, and what was reported of them already."""
        owners = {part_key(part): id_ for id_, some in parts.items() for part in some}
        reported = tx.own_parts(gateway, owners, now)
        _judge(tx, gateway, dict.fromkeys(owners[key] for key in reported), now)

    def match_late_parts(self) -> None:
        """Receipts whose id no answer has named: look for it in its other spellings, once."""
        now = self._clock.now()
        with self._store.looking() as tx:
            unowned = tx.unowned_parts(now - LATE_MATCH_AFTER)
        if not unowned:
            return
        with self._store.transaction() as tx:
            for gateway, part in unowned:
                tx.give_up_part(gateway, part.key)
                for other in other_spellings(part.key):
                    owner = tx.part_owner(gateway, other)
                    if owner is not None:
                        tx.note_part(gateway, replace(part, key=other), now)
                        _judge(tx, gateway, [owner], now)
                        break


def _change_by(message: Message, receipt: Receipt, now: datetime) -> Change | None:
    """What a receipt makes of a message; None: nothing."""
    ended = message.final_at is not None
    after = after_receipt(message.state, receipt.verdict, tried=message.attempts > 0, ended=ended)
    if after is None:
        return None
    return Change(
        message.id,
        message.state,
        after,
        now,
        detail=detail_of("receipt", receipt.code, receipt.detail),
        gateway=receipt.gateway,
        final=after is not MessageState.ACCEPTED,
        handed_over=after is not MessageState.REJECTED,
    )


def _judge(tx: OutboxTx, gateway: str, owners: Iterable[str], now: datetime) -> None:
    """Whole messages by their parts: one part refused is a message refused, all parts delivered is one delivered."""
    for owner in owners:
        message = tx.message(owner)
        if message is None:
            continue
        verdict, detail = _of_whole(tx.parts_of(owner))
        if verdict is not None:
            change = _change_by(message, Receipt(gateway, owner, verdict, detail=detail or ""), now)
            tx.change([change] if change is not None else [])


def _of_whole(parts: Sequence[Part]) -> tuple[ReceiptVerdict | None, str | None]:
    for verdict in (ReceiptVerdict.UNDELIVERED, ReceiptVerdict.REJECTED):
        for part in parts:
            if part.verdict == verdict:
                return verdict, part.detail
    if parts and all(part.verdict == ReceiptVerdict.DELIVERED for part in parts):
        return ReceiptVerdict.DELIVERED, parts[-1].detail
    return None, None
