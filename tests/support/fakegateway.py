"""A gateway that does as it is told: it answers by script and remembers what it was given.

    gateway = FakeGateway()
    gateway.script(REJECTED, phone="84905123456")           # always for this number
    gateway.script(LOST, times=1)                           # the next message is taken, its answer lost
    gateway.script(HELD, id="m7")                           # answered only when `release` is called

Rules given last are looked at first. What no rule fits is accepted.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from smsd.core.model import Outcome, Verdict
from smsd.services.ports import CheckResult, Done, Outgoing


@dataclass(frozen=True)
class Reaction:
    """What happens to one message: whether it reaches the network, and what is answered (None: `release` decides)."""

    taken: bool
    outcome: Outcome | None


_ACCEPTED = Outcome(Verdict.ACCEPTED, "accepted")
ACCEPTED = Reaction(True, _ACCEPTED)
DELIVERED = Reaction(True, Outcome(Verdict.DELIVERED))
RETRY = Reaction(False, Outcome(Verdict.RETRY, "busy", "try again later"))
REJECTED = Reaction(False, Outcome(Verdict.REJECTED, "refused", "no such number"))
ACCOUNT = Reaction(False, Outcome(Verdict.ACCOUNT, "login", "wrong password"))
LOST = Reaction(True, Outcome(Verdict.UNKNOWN, "answer_timeout", "no answer in time"))
"""Taken, but the answer was lost."""
NEVER_ARRIVED = Reaction(False, Outcome(Verdict.UNKNOWN, "connection_lost", "no answer"))
"""Not taken, which nobody can know."""
GARBLED = Reaction(True, Outcome(Verdict.UNKNOWN, "unrecognised_answer", "HTTP 200"))
HELD = Reaction(True, None)
"""Taken, and under way until `release` or `close`."""


def throttled(seconds: float) -> Reaction:
    """Not taken; the gateway says how long to wait."""
    return Reaction(False, Outcome(Verdict.RETRY, "throttled", retry_after=seconds))


@dataclass
class _Rule:
    reaction: Reaction
    id: str | None
    phone: str | None
    times: int | None

    def fits(self, message: Outgoing) -> bool:
        return (
            self.times != 0
            and (self.id is None or self.id == message.id)
            and (self.phone is None or self.phone == message.phone)
        )


@dataclass
class FakeGateway:
    """See the module. ``handed_over`` is everything submitted, ``taken`` what reached the network, both in order."""

    name: str = "fake"
    window: int = 100
    repeats_safely: bool = False
    """True: an id that was taken is not taken again, and `find` knows it."""
    handed_over: list[Outgoing] = field(default_factory=list)
    taken: list[Outgoing] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)
    most_under_way: int = 0
    closed: bool = False

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._rules: list[_Rule] = []
        self._held: dict[str, list[Done]] = {}
        self._under_way = 0

    # what a test says

    def mend(self) -> None:
        """Forget the script: everything is accepted from now on."""
        with self._lock:
            self._rules.clear()

    def script(
        self,
        reaction: Reaction,
        *,
        id: str | None = None,  # noqa: A002 - reads best where it is called
        phone: str | None = None,
        times: int | None = None,
    ) -> None:
        """React so to an id, a number or anything, ``times`` times or always."""
        with self._lock:
            self._rules.insert(0, _Rule(reaction, id, phone, times))

    def release(self, outcome: Outcome = _ACCEPTED) -> int:
        """Answer everything held; returns how many."""
        with self._lock:
            held, self._held = self._held, {}
        count = 0
        for message_id, waiting in held.items():
            for done in waiting:
                self._answer(message_id, outcome, done)
                count += 1
        return count

    @property
    def texts(self) -> list[str]:
        """The texts that reached the network."""
        return [message.text for message in self.taken]

    # the port

    def submit(self, messages: Sequence[Outgoing], done: Done) -> None:
        for message in messages:
            with self._lock:
                reaction = self._reaction_to(message)
                self.handed_over.append(message)
                self._under_way += 1
                self.most_under_way = max(self.most_under_way, self._under_way)
                known = self.repeats_safely and any(m.id == message.id for m in self.taken)
                if reaction.taken and not known:
                    self.taken.append(message)
                if reaction.outcome is None:
                    self._held.setdefault(message.id, []).append(done)
            if reaction.outcome is not None:
                self._answer(message.id, reaction.outcome, done)

    def find(self, message_id: str, since: datetime) -> Outcome | None:
        with self._lock:
            self.asked_for.append(message_id)
            known = self.repeats_safely and any(m.id == message_id for m in self.taken)
        return Outcome(Verdict.ACCEPTED, "known") if known else None

    def check(self) -> list[CheckResult]:
        return [CheckResult("fake", "ok", "does as it is told")]

    def close(self) -> None:
        self.closed = True
        self.release(Outcome(Verdict.UNKNOWN, "stopped", "smsd stopped before the answer came"))

    def _reaction_to(self, message: Outgoing) -> Reaction:
        if self.closed:
            return RETRY
        for rule in self._rules:
            if rule.fits(message):
                if rule.times is not None:
                    rule.times -= 1
                return rule.reaction
        return ACCEPTED

    def _answer(self, message_id: str, outcome: Outcome, done: Done) -> None:
        with self._lock:
            self._under_way -= 1
        done(message_id, outcome)
