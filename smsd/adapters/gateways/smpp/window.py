"""The submit_sm that wait: for their turn, or for an answer, which is matched by its sequence number alone.

No more than ``size`` are unanswered at once. What is put off pauses the whole, longer each time, not one message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import NamedTuple

from smsd.adapters.gateways.smpp import statuses
from smsd.adapters.gateways.smpp.submission import Submission
from smsd.core.model import Outcome, Verdict
from smsd.core.outbox import FIRST_GATEWAY_WAIT, LONGEST_GATEWAY_WAIT, backoff

Finish = Callable[[Submission, Outcome], None]


class _Waiting(NamedTuple):
    """A part that was given to the connection: where its last octet stands in the stream, and when that was."""

    submission: Submission
    part: int
    end: int
    at: float


class Window:
    """Used by one thread. It outlives sessions, but nothing that was submitted in one does."""

    def __init__(self, size: int, answer_timeout: float, finish: Finish) -> None:
        self._size = size
        self._answer_timeout = answer_timeout
        self._finish = finish
        self._ready: deque[tuple[Submission, int]] = deque()
        self._unanswered: dict[int, _Waiting] = {}
        self._pauses = 0
        self._paused_until = 0.0
        self._untold: float | None = None
        """The wait that the first outcome of a pause has to tell; a windowful put off at once is one pause."""

    def offer(self, submission: Submission) -> None:
        """Submit a message in its turn."""
        for part in range(len(submission.bodies)):
            self._ready.append((submission, part))

    @property
    def under_way(self) -> int:
        """How many are unanswered."""
        return len(self._unanswered)

    @property
    def oldest(self) -> float:
        """When the oldest unanswered one was written, in monotonic seconds; infinity without any."""
        return next(iter(self._unanswered.values())).at if self._unanswered else inf

    @property
    def idle(self) -> bool:
        """Whether nothing waits for anything."""
        while self._ready and self._ready[0][0].dead:
            self._ready.popleft()
        return not self._unanswered and not self._ready

    def deadline(self, now: float) -> float:
        """When `expire` or `next` has to be called at the latest, in monotonic seconds."""
        deadline = self.oldest + self._answer_timeout
        if self._ready and self._paused_until > now:
            deadline = min(deadline, self._paused_until)
        return deadline

    def next(self, now: float) -> tuple[Submission, int] | None:
        """The part to submit now, if any may be."""
        if now < self._paused_until or len(self._unanswered) >= self._size:
            return None
        while self._ready:
            submission, part = self._ready.popleft()
            if not submission.dead:
                return submission, part
        return None

    def written(self, sequence: int, submission: Submission, part: int, end: int, now: float) -> None:
        """A part was given to the connection under a sequence number."""
        submission.written()
        self._unanswered[sequence] = _Waiting(submission, part, end, now)

    def answered(self, sequence: int, status: int, provider_id: str, now: float) -> bool:
        """An answer came. False: nothing waits for it."""
        waiting = self._unanswered.pop(sequence, None)
        if waiting is None:
            return False
        submission, part = waiting.submission, waiting.part
        if status == statuses.OK:
            if now >= self._paused_until:
                self._pauses = 0
            submission.taken(part, provider_id)
        else:
            self._refused(submission, part, status, now)
        self._settle(submission, now)
        return True

    def _refused(self, submission: Submission, part: int, status: int, now: float) -> None:
        meaning = statuses.meaning_for_message(status, tried_before=submission.tried_before)
        if meaning.verdict is Verdict.RETRY:
            self._pause(now)
            submission.put_off(part, meaning, tries=status in statuses.ONCE_MORE)
        else:
            submission.fail(meaning.verdict, meaning.name, meaning.detail)

    def _pause(self, now: float) -> None:
        if now < self._paused_until:
            return  # one of several under way when the pause began
        self._pauses += 1
        wait = backoff(self._pauses, FIRST_GATEWAY_WAIT, LONGEST_GATEWAY_WAIT).total_seconds()
        self._paused_until = now + wait
        self._untold = wait

    def _settle(self, submission: Submission, now: float) -> None:
        again = submission.parts_to_repeat(now)
        if again:
            self._ready.extendleft((submission, part) for part in reversed(again))
            return
        outcome = submission.outcome(self._untold)
        if outcome is None:
            return
        if outcome.verdict is Verdict.RETRY:
            self._untold = None
        self._end(submission, outcome)

    def _end(self, submission: Submission, outcome: Outcome) -> None:
        submission.over = True
        self._finish(submission, outcome)

    def expire(self, now: float) -> None:
        """End what was not answered in time: it may have been taken."""
        while self._unanswered:
            sequence, oldest = next(iter(self._unanswered.items()))
            if oldest.at + self._answer_timeout > now:
                return
            del self._unanswered[sequence]
            oldest.submission.fail(Verdict.UNKNOWN, "answer_timeout", "no answer in time")
            self._settle(oldest.submission, now)

    def give_back(self, code: str, detail: str) -> None:
        """Nothing more is begun: what is not yet begun ends, but for answers to citizens, who have paid for them."""
        waiting, self._ready = self._ready, deque()
        for submission in _distinct(waiting):
            if submission.begun or submission.waits_until:
                self._ready.extend(entry for entry in waiting if entry[0] is submission)
            else:
                self._end(submission, Outcome(Verdict.RETRY, code, detail))

    def lost(self, sent: int, code: str, detail: str, verdict: Verdict) -> None:
        """The session ended after so many octets of its stream were sent: whatever waits ends now.

        A part whose last octet was never sent cannot have been taken; ``verdict`` is what the end means for a message
        without any other.
        """
        unanswered, self._unanswered = self._unanswered, {}
        ready, self._ready = self._ready, deque()
        self._paused_until, self._untold = 0.0, None
        for waiting in unanswered.values():
            if waiting.end <= sent:
                waiting.submission.fail(Verdict.UNKNOWN, code, detail)
        every = [(waiting.submission, waiting.part) for waiting in unanswered.values()]
        for submission in _distinct([*every, *ready]):
            self._end(submission, submission.ended_early(code, detail, verdict))


def _distinct(entries: Iterable[tuple[Submission, int]]) -> Iterator[Submission]:
    """The messages of these parts that have not ended, each once, in order."""
    return iter({id(submission): submission for submission, _ in entries if not submission.over}.values())
