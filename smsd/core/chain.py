"""The chain of the audit: each event carries a hash over itself and the hash of the event before it.

Whoever changes, removes, inserts or moves an event breaks the chain there, unless all that follows is computed anew;
that in turn loses the heads printed in earlier reports. Pure: which rows there are is the store's business.

What a hash is made of never changes. Another form gets another number, which is part of what is hashed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from smsd.core.model import MessageState

GENESIS = bytes(32)
"""What the first event follows."""
SALT_BYTES = 16
FAULTS_KEPT = 100
"""So many faults are described; all are counted."""
_HEX_OF_A_HASH = 64


class OwnEntry(StrEnum):
    """What the audit says of itself, in events that belong to no message (`message_id` is empty)."""

    CHAINED = "chained"  # events of an older smsd were chained as they stood
    CHECKPOINT = "checkpoint"  # retention removed events
    RESTORED = "restored"  # the store was started from a backup copy


class Event(NamedTuple):
    """One event as it lies in the store: ``at`` in microseconds since 1970. One touched by hand may hold anything."""

    id: int
    message_id: str
    at: int
    state: str
    detail: str | None
    content: bytes | None
    hash: bytes


class Head(NamedTuple):
    """A place in the chain: an event's id, and its hash, which stands for all events up to it."""

    id: int
    hash: bytes


class DayHead(NamedTuple):
    """The last event of a day, or of the days before it if it had none."""

    day: date
    event_id: int
    hash: bytes


class StoredMessage(NamedTuple):
    """What the audit says something about, as it lies in the store."""

    id: str
    state: str
    agency: str
    dossier_code: str
    kind: str
    phone: str | None
    text: str | None
    segments: int
    salt: bytes | None


START = Head(0, GENESIS)


Said = tuple[int, str, int, str, str | None, bytes | None]
"""An event without its hash: id, message, instant, state, detail, content."""
Entry = tuple[str, str, str | None]
"""What is told of a message: its id, its state, and why."""
Content = tuple[str, str, str, str | None, str | None, int]
"""What a message says and to whom: agency, dossier, kind, phone, text, segments."""


def event_hash(before: bytes, said: Said) -> bytes:
    """The hash of an event that follows the one with the hash ``before``. Lengths keep the fields apart."""
    id_, message_id, at, state, detail, content = said
    written = f"1|{id_}|{at}|{len(message_id)}:{message_id}|{_why(state, detail)}"
    return sha256(before + written.encode() + (b"-" if content is None else b"+" + content)).digest()


def _why(state: str, detail: str | None) -> str:
    return f"{len(state)}:{state}|-|" if detail is None else f"{len(state)}:{state}|{len(detail)}:{detail}|"


def chained(
    after: Head, at: int, entries: Sequence[Entry], contents: Sequence[bytes | None]
) -> list[tuple[int, str, int, str, str | None, bytes | None, bytes]]:
    """Events that follow ``after``, with ids and hashes. `event_hash` for many at once, which are mostly alike."""
    id_, before = after
    rows = []
    told, why = None, ""
    for (message_id, state, detail), content in zip(entries, contents, strict=True):
        id_ += 1
        if told != (state, detail):
            told, why = (state, detail), _why(state, detail)
        written = f"1|{id_}|{at}|{len(message_id)}:{message_id}|{why}".encode()
        before = sha256(before + written + (b"-" if content is None else b"+" + content)).digest()
        rows.append((id_, message_id, at, state, detail, content, before))
    return rows


def content_digest(salt: bytes | None, content: Content) -> bytes:
    """What a message says and to whom. Without the salt, blanked with phone and text, no number can be tried on it."""
    agency, code, kind, phone, text, segments = content
    number = "-" if phone is None else f"{len(phone)}:{phone}"
    words = "-" if text is None else f"{len(text)}:{text}"
    own = salt or b""
    written = f"1|{len(own)}|{len(agency)}:{agency}|{len(code)}:{code}|{len(kind)}:{kind}|{number}|{words}|{segments}|"
    return sha256(written.encode() + own).digest()


def follows(before: bytes, event: Event) -> bool:
    """Whether an event is as smsd wrote it, after the one with this hash. Rows made by hand may hold any type."""
    if type(event.id) is not int or type(event.at) is not int:
        return False
    try:
        return event_hash(before, event[:6]) == event.hash
    except (TypeError, UnicodeEncodeError):
        return False


# what retention removed


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Stands for ``rows`` events in a row that were removed: the hashes before the first and of the last."""

    first_id: int
    last_id: int
    rows: int
    before: bytes
    after: bytes
    at: int


class Stretch(NamedTuple):
    """An event, or what stands for removed ones, in the order of the chain. ``gone``: it is (to be) removed."""

    first_id: int
    last_id: int
    rows: int
    after: bytes
    gone: bool
    at: int


def checkpoints_of(stretches: Iterable[Stretch]) -> list[Checkpoint]:
    """The checkpoints that stand for all that is gone, neighbours as one, so that they stay few."""
    found: list[Checkpoint] = []
    before, was_gone = GENESIS, False
    for one in stretches:
        if one.gone and was_gone:
            last = found[-1]
            found[-1] = replace(
                last,
                last_id=one.last_id,
                rows=last.rows + one.rows,
                after=one.after,
                at=max(last.at, one.at),
            )
        elif one.gone:
            found.append(Checkpoint(one.first_id, one.last_id, one.rows, before, one.after, one.at))
        before, was_gone = one.after, one.gone
    return found


def attestation(checkpoints: Iterable[Checkpoint]) -> str:
    """What an event says of all checkpoints there are, so that none can be made by hand."""
    digest = sha256(b"1|")
    count = 0
    for count, one in enumerate(checkpoints, 1):  # noqa: B007 - counted
        numbers = f"{one.first_id}|{one.last_id}|{one.rows}|{one.at}|"
        digest.update(numbers.encode() + bytes(one.before) + bytes(one.after))
    return f"{count} checkpoints {digest.hexdigest()}"


# looking whether all is as it was written


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as smsd wrote it, and where. ``at`` is what the event says of itself."""

    what: str
    event_id: int | None = None
    message_id: str | None = None
    at: object = None


class Faults:
    """What was found, in order: the first hundred in words, all by number."""

    def __init__(self) -> None:
        self.kept: list[Fault] = []
        self.count = 0

    def add(self, fault: Fault) -> None:
        """One more."""
        self.count += 1
        if len(self.kept) < FAULTS_KEPT:
            self.kept.append(fault)


CHANGED = "it was changed after smsd wrote it"
INSERTED = "smsd did not write it: it was inserted"
TOUCHED = "it is not what smsd wrote here: it was changed, inserted or moved"


class Walk:
    """Goes along the chain event by event, remembering one. After an event that does not fit it goes on from there."""

    def __init__(self, checkpoints: Sequence[Checkpoint], faults: Faults) -> None:
        self.head = START
        self.events = 0
        self._faults = faults
        self._checkpoints = sorted(checkpoints, key=lambda one: one.first_id)
        self._passed = 0
        self._doubtful: tuple[bytes, Event] | None = None
        """An event that does not follow what was before it, with the hash of that: the next one tells why."""
        self._attested: Event | None = None

    def take(self, event: Event) -> None:
        """The next event by id."""
        self.events += 1
        while self._passed < len(self._checkpoints) and self._checkpoints[self._passed].first_id <= event.id:
            self._pass(self._checkpoints[self._passed], event)
        if follows(self.head.hash, event):
            self._settle(CHANGED)
        elif self._doubtful is not None and follows(self._doubtful[0], event):
            self._settle(INSERTED)
        else:
            self._settle(TOUCHED)
            self._doubt(event)
        self.head = Head(event.id, event.hash)
        if event.message_id == "" and event.state == OwnEntry.CHECKPOINT:
            self._attested = event

    def end(self, noted: Head | None) -> None:
        """There are no more. ``noted``: where the chain ends by the store's own note."""
        if self._doubtful is not None and noted is not None and noted.hash == self._doubtful[0]:
            self.head = noted
            self._settle(INSERTED)
        self._settle(CHANGED if noted == self.head else TOUCHED)
        for one in self._checkpoints[self._passed :]:
            self._pass(one, None)
        if (noted or START) != self.head:
            self._faults.add(Fault(_wrong_end(self.head, noted), max(self.head.id, noted.id if noted else 0)))
        self._look_at_attestation()

    def _look_at_attestation(self) -> None:
        """Whether an event of the chain names just these checkpoints."""
        if self._attested is None and not self._checkpoints:
            return
        said = attestation(self._checkpoints)
        if self._attested is None or not str(self._attested.detail).endswith(said):
            fault = "the checkpoints of removed events are not those that smsd made"
            self._faults.add(Fault(fault, *(self._attested[:3] if self._attested else ())))

    def _pass(self, checkpoint: Checkpoint, event: Event | None) -> None:
        """Go over removed events."""
        self._passed += 1
        if checkpoint.before != self.head.hash:
            self._settle(TOUCHED)
            removed = _span(checkpoint.first_id, checkpoint.last_id)
            fault = f"the checkpoint for the removed {removed} does not follow what is before it"
            place = (event.id, event.message_id, event.at) if event is not None else (checkpoint.last_id,)
            self._faults.add(Fault(fault, *place))
        self.head = Head(checkpoint.last_id, checkpoint.after)

    def _doubt(self, event: Event) -> None:
        if event.id > self.head.id + 1:
            missing = _span(self.head.id + 1, event.id - 1)
            what = f"missing before it: {missing} (or it was changed itself)"
            self._faults.add(Fault(what, event.id, event.message_id, event.at))
        else:
            self._doubtful = self.head.hash, event

    def _settle(self, what: str) -> None:
        """Say of the doubtful event what is known by now."""
        if self._doubtful is not None:
            event = self._doubtful[1]
            self._faults.add(Fault(what, event.id, event.message_id, event.at))
            self._doubtful = None


def _wrong_end(head: Head, noted: Head | None) -> str:
    if noted is None:
        return "smsd's note of the chain's end is missing"
    if noted.id > head.id:
        return f"missing at the end of the chain: {_span(head.id + 1, noted.id)}"
    if noted.id < head.id:
        return f"after the end of the chain as smsd noted it: {_span(noted.id + 1, head.id)}"
    return "smsd noted another hash for the chain's end"


def _span(first: int, last: int) -> str:
    return f"event {first}" if first == last else f"events {first} to {last}"


def message_fault(message: StoredMessage | None, events: Sequence[Event]) -> Fault | None:
    """What is wrong between a message and its events, oldest first; None for nothing.

    Events that fix what is sent and to whom carry its digest; a `sending` one never changes it.
    """
    if message is None:
        first = events[0]
        return Fault("its message is missing", first.id, first.message_id, first.at)
    if not events:
        return Fault(f"the message, {message.state}, has no events", None, message.id)
    content: bytes | None = None
    for event in events:
        if event.content is None:
            continue
        if content is not None and event.state == MessageState.SENDING and event.content != content:
            what = "number or text were changed by hand before it was sent"
            return Fault(what, event.id, message.id, event.at)
        content = event.content
    last = events[-1]
    if last.state != message.state:
        return Fault(f"the message is {message.state}, its last event {last.state}", *last[:3])
    if content is not None and message.text is not None and _digest_of(message) != content:
        return Fault("the message's number, text or dossier is not what its events sealed", *last[:3])
    return None


def _digest_of(message: StoredMessage) -> bytes | None:
    try:
        return content_digest(message.salt, message[2:8])
    except (TypeError, UnicodeEncodeError):
        return None


# heads on paper


def printed_head(hash_: bytes) -> str:
    """A head as reports print it, in groups that can be read out."""
    digits = hash_.hex()
    return " ".join(digits[start : start + 8] for start in range(0, len(digits), 8))


def head_digits(printed: str) -> str:
    """The digits of a head as somebody copied it from a report. Raises ValueError; half of them are enough."""
    digits = "".join(printed.split()).replace("-", "").lower()
    if not _HEX_OF_A_HASH // 2 <= len(digits) <= _HEX_OF_A_HASH or set(digits) - set("0123456789abcdef"):
        raise ValueError("a head has 64 digits 0-9 a-f, of which the first 32 are enough")
    return digits
