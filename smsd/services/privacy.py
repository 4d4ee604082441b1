"""What is kept of one telephone number, and its erasure: a citizen may ask for both.

Erasure takes what `retention` would take later. A message still on its way is left alone, for nobody can stop one by
hand; so is the number of an open dossier, which the next read of the agency's view would bring back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from smsd.core.clock import Clock
from smsd.core.phones import mask_phone, numbers_in
from smsd.services.lookup import NumberDigest

_FEWEST_DIGITS = 7
"""Of a number without its area code; fewer are a house number."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose data is meant: the number as `numbers_in` writes it, and the digests by which its look-ups are told."""

    number: str = field(repr=False)
    digests: tuple[str, ...] = field(repr=False)

    @property
    def masked(self) -> str:
        """The number as it may be recorded."""
        return mask_phone(self.number)


@dataclass(frozen=True, slots=True)
class KeptDossier:
    """A dossier whose phone field names the number. ``needed``: its number stays while that is so."""

    agency: str
    code: str
    step: str
    position: str
    received_at: datetime | None
    due_at: datetime | None
    gone_at: datetime | None
    needed: bool
    phone: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """A message to the number, or one that was never sent because a dossier has no better number than this."""

    id: str
    agency: str
    dossier_code: str
    kind: str
    made_at: datetime
    state: str
    reason: str | None
    final_at: datetime | None
    text: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeptInquiry:
    """A look-up that came from the number."""

    id: int
    at: datetime
    outcome: str
    agency: str | None
    dossier_code: str | None
    answer: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Found:
    """What the state store keeps of a number."""

    dossiers: Sequence[KeptDossier]
    messages: Sequence[KeptMessage]
    inquiries: Sequence[KeptInquiry]


@dataclass(frozen=True, slots=True)
class Spooled:
    """A file of a spool, and how many of its lines are for the number."""

    file: str
    lines: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Everything that is kept of a number."""

    found: Found
    spooled: Sequence[Spooled]


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased, and what stays: messages on their way, and dossiers that still need the number."""

    messages: int
    dossiers: int
    inquiries: int
    lines: int
    on_their_way: Sequence[KeptMessage]
    needed: Sequence[KeptDossier]


@dataclass(frozen=True, slots=True)
class Decision:
    """Who ordered an erasure, and when."""

    at: datetime
    os_user: str
    masked: str


class PrivacyStore(Protocol):
    """What is asked of the state store."""

    def find(self, subject: Subject) -> Found:
        """Everything that is kept of a number."""

    def erase(self, found: Found, decision: Decision) -> Erasure:
        """Blank what may be blanked of that, and record the decision, in one transaction; no ``lines`` are told."""


class SpoolFiles(Protocol):
    """What is asked of a spool's directory."""

    def find(self, number: str) -> list[Spooled]:
        """The files that hold lines for a number."""

    def erase(self, number: str, keep: Collection[str]) -> int:
        """Blank number and text in the lines for a number, but for these messages; how many lines."""


class Privacy:
    """Answers citizens' requests about their own number, through an operator."""

    def __init__(
        self, store: PrivacyStore, spools: Sequence[SpoolFiles], clock: Clock, *, secret: str
    ) -> None:
        """``secret`` is that of look-ups: their numbers are kept as digests made with it."""
        self._store = store
        self._spools = spools
        self._clock = clock
        self._digest = NumberDigest(secret)

    def subject(self, typed: str) -> Subject:
        """The one number that was typed, in whatever form. Raises ValueError where it is none, or several."""
        numbers = numbers_in(typed)
        if len(numbers) != 1:
            raise ValueError(
                "names no number, accepted: one" if not numbers else "names several numbers, accepted: one"
            )
        (number,) = numbers
        if len(number.removeprefix("84")) < _FEWEST_DIGITS:
            raise ValueError("is too short, accepted: a telephone number")
        spellings = dict.fromkeys((number, number.removeprefix("84")))
        return Subject(number, tuple(map(self._digest, spellings)))

    def show(self, subject: Subject) -> Kept:
        """Everything that is kept of a number. Raises OSError for a spool that cannot be read."""
        return Kept(self._store.find(subject), list(self._spooled(subject)))

    def foresee(self, subject: Subject) -> Erasure:
        """What `erase` would do now; changes nothing. Raises OSError for a spool that cannot be read.

        ``lines`` are all for the number: which of them are of messages on their way shows only when they are erased.
        """
        kept = self.show(subject)
        ended = [message for message in kept.found.messages if message.final_at is not None]
        return Erasure(
            messages=sum(message.text is not None for message in ended),
            dossiers=sum(not dossier.needed for dossier in kept.found.dossiers),
            inquiries=len(kept.found.inquiries),
            lines=sum(spooled.lines for spooled in kept.spooled),
            on_their_way=[message for message in kept.found.messages if message.final_at is None],
            needed=[dossier for dossier in kept.found.dossiers if dossier.needed],
        )

    def erase(self, subject: Subject, os_user: str) -> Erasure:
        """Erase what may be erased, and record who ordered it. Raises OSError for a spool that cannot be written.

        Safe to repeat: what an interruption left is erased the next time.
        """
        decision = Decision(self._clock.now(), os_user, subject.masked)
        erased = self._store.erase(self._store.find(subject), decision)
        keep = {message.id for message in erased.on_their_way}
        lines = sum(spool.erase(subject.number, keep) for spool in self._spools)
        return Erasure(
            erased.messages, erased.dossiers, erased.inquiries, lines, erased.on_their_way, erased.needed
        )

    def _spooled(self, subject: Subject) -> Iterator[Spooled]:
        for spool in self._spools:
            yield from spool.find(subject.number)
