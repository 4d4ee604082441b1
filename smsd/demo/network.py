"""What lies beyond the spool in the demonstration: a provider that refuses some numbers, telephones out of reach.

A message's fate follows from its number and dossier, so that the same seed tells the same story.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from enum import Enum
from functools import partial
from pathlib import Path
from zlib import crc32

from smsd.adapters.gateways.spool import SpoolGateway
from smsd.core.model import Outcome, Receipt, ReceiptVerdict, Verdict
from smsd.services.ports import Done, Outgoing, ReceiptSink


class Fate(Enum):
    """What becomes of a message that left."""

    REACHED = "reached"
    REFUSED = "refused"
    OUT_OF_REACH = "out of reach"
    SILENT = "no receipt"


_PER_THOUSAND = ((Fate.REFUSED, 10), (Fate.OUT_OF_REACH, 40), (Fate.SILENT, 15))


def fate_of(message: Outgoing) -> Fate:
    """The fate of a message; most arrive."""
    drawn = crc32(f"{message.phone}/{message.dossier_code}/{message.kind}".encode()) % 1000
    for fate, share in _PER_THOUSAND:
        if drawn < share:
            return fate
        drawn -= share
    return Fate.REACHED


class DemoNetwork(SpoolGateway):
    """The spool gateway, with answers and receipts as a network gives them."""

    def __init__(self, directory: Path, *, sender: str, zone: tzinfo, number_format: str) -> None:
        super().__init__(directory, sender=sender, zone=zone, number_format=number_format)
        self._owed: list[str] = []

    def submit(self, messages: Sequence[Outgoing], done: Done) -> None:
        """Refuse some, write the others down; receipts for those out of reach come with `report`."""
        fates = {message.id: fate_of(message) for message in messages}
        for message in messages:
            if fates[message.id] is Fate.REFUSED:
                done(message.id, Outcome(Verdict.REJECTED, "blocked", "the number takes no such messages"))
        taken = [message for message in messages if fates[message.id] is not Fate.REFUSED]
        super().submit(taken, partial(self._taken, fates, done))

    def _taken(self, fates: dict[str, Fate], done: Done, message_id: str, outcome: Outcome) -> None:
        if outcome.verdict is Verdict.DELIVERED and fates[message_id] is not Fate.REACHED:
            outcome = Outcome(Verdict.ACCEPTED)
            if fates[message_id] is Fate.OUT_OF_REACH:
                self._owed.append(message_id)
        done(message_id, outcome)

    def report(self, sink: ReceiptSink) -> None:
        """Send the receipts that have become due."""
        while self._owed:
            message_id = self._owed.pop()
            said = "the telephone was out of reach"
            sink.receive(Receipt(self.name, message_id, ReceiptVerdict.UNDELIVERED, "001", said))
