"""One message under way: its parts, what was answered to each, and what the answers make of the whole.

A part that was taken is never submitted again. So a message of which some parts were taken and others put off goes
on here until the rest is taken too; only one of which surely nothing was taken may be tried again from the outbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from smsd.adapters.gateways.smpp.statuses import Meaning
from smsd.core.model import Outcome, Verdict
from smsd.services.ports import Done

_PATIENCE = 600.0
"""Seconds for which a message that was taken in part is tried to be completed."""
_GRAVITY = (Verdict.REJECTED, Verdict.UNKNOWN, Verdict.ACCOUNT)
"""Of several parts' failures the first of these decides."""


@dataclass(slots=True, eq=False)
class Submission:
    """A message and its parts.

    Until ``waits_until`` (monotonic seconds) it outlives failures that surely took nothing.
    """

    id: str
    bodies: Sequence[bytes] = field(repr=False)
    done: Done = field(repr=False)
    tried_before: bool = False
    waits_until: float = 0.0
    ids: list[str | None] = field(init=False)
    """The provider's id of each part that was taken; None for the others."""
    under_way: int = 0
    """Parts that are written and not answered."""
    unwritten: int = field(init=False)
    begun: bool = False
    """Whether any part was written and may have been taken."""
    over: bool = False
    """Whether its outcome was told."""
    _put_off: list[int] = field(default_factory=list)
    _put_off_by: Meaning | None = None
    _patience: float | None = None
    _failures: dict[Verdict, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids = [None] * len(self.bodies)
        self.unwritten = len(self.bodies)

    def anew(self) -> Submission:
        """The same message, of which surely nothing was taken, to be submitted again."""
        return Submission(self.id, self.bodies, self.done, self.tried_before, self.waits_until)

    @property
    def dead(self) -> bool:
        """Whether what is not yet written need not be any more."""
        return self.over or bool(self._failures)

    def written(self) -> None:
        """A part is on its way."""
        self.unwritten -= 1
        self.under_way += 1
        self.begun = True

    def taken(self, part: int, provider_id: str) -> None:
        """A part was taken."""
        self.under_way -= 1
        self.ids[part] = provider_id

    def put_off(self, part: int, meaning: Meaning, *, tries: bool) -> None:
        """A part was surely not taken and may be tried again; ``tries`` says that this counts as a try."""
        self.under_way -= 1
        self._put_off.append(part)
        self._put_off_by = meaning
        self.tried_before = self.tried_before or tries

    def fail(self, verdict: Verdict, code: str, detail: str) -> None:
        """A part ended in another way."""
        self.under_way -= 1
        self._failures.setdefault(verdict, (code, detail))

    def parts_to_repeat(self, now: float) -> list[int]:
        """Parts that were put off while others were taken; they are to be submitted again, before the rest."""
        if self.under_way or not self._put_off or self._failures or not self._taken_in_part():
            return []
        if self._patience is None:
            self._patience = now + _PATIENCE
        if now > self._patience:
            return []
        again, self._put_off = sorted(self._put_off), []
        self.unwritten += len(again)
        return again

    def outcome(self, retry_after: float | None = None) -> Outcome | None:
        """What became of the whole; None while parts are still to be written or answered."""
        if self.under_way:
            return None
        for verdict in _GRAVITY:
            if verdict in self._failures:
                return self._failure(verdict, *self._failures[verdict])
        if self._put_off and self._put_off_by is not None:
            meaning = self._put_off_by
            if self._taken_in_part():
                return Outcome(
                    Verdict.UNKNOWN, meaning.name, "some parts were taken, others were not in time"
                )
            return Outcome(Verdict.RETRY, meaning.name, meaning.detail, retry_after=retry_after)
        if self.unwritten:
            return None
        ids = tuple(dict.fromkeys(filter(None, self.ids)))
        return Outcome(Verdict.ACCEPTED, "accepted", reference=ids[0] if ids else None, parts=ids)

    def ended_early(self, code: str, detail: str, verdict: Verdict) -> Outcome:
        """What became of the whole when nothing more can be submitted or answered; ``verdict`` if nothing was taken."""
        for failure in _GRAVITY:
            if failure in self._failures:
                return self._failure(failure, *self._failures[failure])
        return Outcome(Verdict.UNKNOWN if self._taken_in_part() else verdict, code, detail)

    def _failure(self, verdict: Verdict, code: str, detail: str) -> Outcome:
        if verdict is Verdict.ACCOUNT and self._taken_in_part():
            return Outcome(Verdict.UNKNOWN, code, f"{detail}; some parts were taken before")
        return Outcome(verdict, code, detail)

    def _taken_in_part(self) -> bool:
        return any(provider_id is not None for provider_id in self.ids)
