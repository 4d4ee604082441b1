"""Delivery receipts, in whatever order they come: before the answer, after it, twice, late, for parts of a message.

A receipt is recorded before it is acknowledged. What it makes of a message is `core.outbox`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache

from smsd.core.clock import Clock
from smsd.core.model import MessageState, PartReceipt, Receipt, ReceiptVerdict
from smsd.core.names import clean_text
from smsd.core.outbox import after_receipt
from smsd.core.phones import mask_numbers
from smsd.services.ports import Change, Part, Reported
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


@lru_cache(maxsize=64)  # a gateway says the same of most
def detail_of(*words: str) -> str | None:
    """A provider's words as they may be kept: one short line that every database takes, without a full number."""
    return mask_numbers(clean_text(" ".join(filter(None, words))))[:_LONGEST_DETAIL] or None


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
            ended = message.final_at is not None
            standing = Reported(message.id, message.state, message.attempts > 0, ended)
            change = _change_by(standing, receipt, now)
            if change is not None:
                return "applied" if tx.change([change]) else "repeated"
        return "late" if ended and message.state is not _SAID[receipt.verdict] else "repeated"

    # parts

    def receive_parts(self, receipts: Sequence[PartReceipt]) -> None:
        """Record receipts of parts. One whose part is not known yet waits for the answer that names it."""
        now = self._clock.now()
        said: dict[str, list[Part]] = {}
        for receipt in receipts:
            detail = detail_of(receipt.code, receipt.detail)
            part = Part(part_key(receipt.part), receipt.verdict, detail)
            said.setdefault(receipt.gateway, []).append(part)
        with self._store.transaction() as tx:
            for gateway, parts in said.items():
                _note(tx, gateway, parts, now)

    def keep_parts(
        self, tx: OutboxTx, gateway: str, parts: Mapping[str, Sequence[str]], now: datetime
    ) -> None:
        """Remember which provider's ids stand for which messages, and what was reported of them already."""
        owners = {part_key(part): id_ for id_, some in parts.items() for part in some}
        reported = tx.own_parts(gateway, owners, now)
        _judge(tx, gateway, list(reported), now)

    def match_late_parts(self) -> None:
        """Receipts whose id no answer has named: look for it in its other spellings, once."""
        now = self._clock.now()
        while True:
            with self._store.looking() as tx:
                unowned = tx.unowned_parts(now - LATE_MATCH_AFTER)
            if not unowned:
                return
            by_gateway: dict[str, list[Part]] = {}
            for gateway, part in unowned:
                by_gateway.setdefault(gateway, []).append(part)
            with self._store.transaction() as tx:
                for gateway, parts in by_gateway.items():
                    tx.give_up_parts(gateway, [part.key for part in parts])
                    _note(tx, gateway, _spelled_otherwise(tx, gateway, parts), now)


def _spelled_otherwise(tx: OutboxTx, gateway: str, parts: Sequence[Part]) -> list[Part]:
    """What was reported of these parts, under the first other spelling of each that an answer has named."""
    spellings = {part.key: other_spellings(part.key) for part in parts}
    owned = tx.owners_of_parts(gateway, [other for others in spellings.values() for other in others])
    named = ((part, next(filter(owned.__contains__, spellings[part.key]), None)) for part in parts)
    return [replace(part, key=key) for part, key in named if key is not None]


def _note(tx: OutboxTx, gateway: str, parts: Sequence[Part], now: datetime) -> None:
    """Record what was said of parts, in this order, and what that makes of their messages."""
    said: dict[str, Part] = {}
    for part in parts:
        if part.key not in said or said[part.key].verdict is ReceiptVerdict.ON_ITS_WAY:
            said[part.key] = part
    tx.note_parts(gateway, list(said.values()), now)
    _judge(tx, gateway, list(said), now)


def _change_by(message: Reported, receipt: Receipt, now: datetime) -> Change | None:
    """What a receipt makes of a message; None: nothing."""
    after = after_receipt(message.state, receipt.verdict, tried=message.tried, ended=message.ended)
    if after is None:
        return None
    return Change(
        message.message_id,
        message.state,
        after,
        now,
        detail=detail_of("receipt", receipt.code, receipt.detail),
        gateway=receipt.gateway,
        final=after is not MessageState.ACCEPTED,
        handed_over=after is not MessageState.REJECTED,
    )


def _judge(tx: OutboxTx, gateway: str, keys: Sequence[str], now: datetime) -> None:
    """What these parts make of their messages: one refused is a message refused, all delivered is one delivered."""
    changes = []
    for message in tx.reported(gateway, keys):
        verdict, detail = _of_whole(message.parts)
        if verdict is not None:
            receipt = Receipt(gateway, message.message_id, verdict, detail=detail or "")
            changes.append(_change_by(message, receipt, now))
    tx.change([change for change in changes if change is not None])


def _of_whole(parts: Sequence[Part]) -> tuple[ReceiptVerdict | None, str | None]:
    for verdict in (ReceiptVerdict.UNDELIVERED, ReceiptVerdict.REJECTED):
        for part in parts:
            if part.verdict == verdict:
                return verdict, part.detail
    if parts and all(part.verdict == ReceiptVerdict.DELIVERED for part in parts):
        return ReceiptVerdict.DELIVERED, parts[-1].detail
    return None, None
