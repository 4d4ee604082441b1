"""What is known of one link to a gateway: how much it may be given now, and what its answers say of it as a whole.

Nothing here touches messages. Alarms are remembered and told by `tell`, so that nothing is written to the store while
answers are being judged.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from datetime import time as time_of_day

import structlog

from smsd.core.clock import within_hours
from smsd.core.model import Outcome, Verdict
from smsd.core.outbox import (
    FIRST_GATEWAY_WAIT,
    LONGEST_GATEWAY_WAIT,
    REFUSALS_THAT_STOP,
    STOPPED_LINK_WAIT,
    backoff,
)
from smsd.services.ports import Alarms, Gateway

log = structlog.get_logger(__name__)

UNREADABLE_ANSWER = "unrecognised_answer"
"""The code of an answer that no table of the gateway knows; ten in a row stop the link, as refusals do."""
_RATE_SECOND = 1.05
"""Seconds in which no more than `rate` segments leave: a little more than one, so that jitter never exceeds it."""


@dataclass(frozen=True, slots=True)
class SendingRules:
    """The `messages` section of the configuration, as far as sending goes."""

    zone: tzinfo
    opens: time_of_day
    closes: time_of_day
    unknown_after: timedelta
    rate: float | None = None
    """Segments a second, never exceeded."""


class Pace:
    """Keeps to `rate`: messages leave evenly, and no second sees more segments than allowed."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._left: deque[tuple[float, int]] = deque()
        self._slot = 0.0

    def wait(self) -> float:
        """Seconds until the next message may leave, if it is short enough (`budget`)."""
        return max(0.0, self._slot - self._monotonic())

    def budget(self, rate: float) -> int | None:
        """How many segments may leave now; None: any number, for a message longer than a second's worth goes alone."""
        now = self._monotonic()
        while self._left and now - self._left[0][0] >= _RATE_SECOND:
            self._left.popleft()
        return int(rate) - sum(segments for _, segments in self._left) if self._left else None

    def passed(self, segments: int, rate: float) -> None:
        """So many segments leave now."""
        now = self._monotonic()
        self._left.append((now, segments))
        self._slot = max(self._slot, now) + segments / rate * _RATE_SECOND


class Link:
    """One gateway's link. Used by the sending thread alone."""

    def __init__(
        self,
        gateway: Gateway,
        rules: SendingRules,
        alarms: Alarms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules = rules
        self.stopped = False
        self.pace = Pace(monotonic)
        self._name = gateway.name
        self._gateway = gateway
        self._alarms = alarms
        self._proven = False
        self._failures = 0
        self._refusals = 0
        self._monotonic = monotonic
        self._trouble_since: float | None = None
        self._resume_at: datetime | None = None
        self._rest = timedelta(0)
        self._news: Callable[[], None] | None = None

    @property
    def in_trouble(self) -> bool:
        """Whether it is stopped, or waits after a fault."""
        return self.stopped or self._failures > 0

    def trouble_for(self) -> float:
        """Seconds for which no answer has shown that the link is well, whatever the clock was set to; 0 while it is."""
        return 0.0 if self._trouble_since is None else max(0.0, self._monotonic() - self._trouble_since)

    def _note_trouble(self) -> None:
        if self._trouble_since is None:
            self._trouble_since = self._monotonic()

    # how much

    def room(self, under_way: int, now: datetime) -> int:
        """How many more messages the link may be given now."""
        rules = self.rules
        if not within_hours(now, rules.opens, rules.closes, rules.zone) or self._rests(now):
            return 0
        window = self._gateway.window
        if self._refusals:
            window = min(window, max(1, REFUSALS_THAT_STOP - self._refusals))
        if self._failures or self.stopped or not self._proven:
            window = 1  # try it with one message: a wrong account or sender must not burn a windowful
        if rules.rate is not None:
            window = min(window, under_way + 1)
            if self.pace.wait() > 0:
                return 0
        return max(0, window - under_way)

    def budget(self) -> int | None:
        """How many segments may leave now; None where nothing limits them."""
        return None if self.rules.rate is None else self.pace.budget(self.rules.rate)

    def passed(self, segments: int) -> None:
        """So many segments leave now."""
        if self.rules.rate is not None:
            self.pace.passed(segments, self.rules.rate)

    def _rests(self, now: datetime) -> bool:
        if self._resume_at is None:
            return False
        # a longer wait than was ordered means that the clock was set back
        return timedelta(0) < self._resume_at - now <= self._rest

    def reload(self, rules: SendingRules) -> None:
        """Take a reloaded configuration; a stopped link tries again at once."""
        self.rules = rules
        self._resume_at = None

    # what answers say

    def judge(self, outcome: Outcome, now: datetime) -> None:
        """What one answer says of the link: go on, slow down, or stop and raise an alarm."""
        verdict = outcome.verdict
        if verdict in (Verdict.ACCEPTED, Verdict.DELIVERED):
            self._recover()
            return
        unreadable = verdict is Verdict.UNKNOWN and outcome.code == UNREADABLE_ANSWER
        if verdict is Verdict.REJECTED or unreadable:
            self._refusals += 1
        if verdict is Verdict.REJECTED:
            self._failures = 0
            self._trouble_since = self._trouble_since if self.stopped else None
        if self.stopped or verdict is Verdict.ACCOUNT or self._refusals >= REFUSALS_THAT_STOP:
            self._stop(outcome, now)
        elif verdict in (Verdict.RETRY, Verdict.UNKNOWN):
            self._slow_down(outcome, now)

    def tell(self) -> None:
        """Raise or clear the link's alarm, as the last answers had it. Writes to the store."""
        news, self._news = self._news, None
        if news is not None:
            news()

    def _recover(self) -> None:
        if self.stopped:
            log.info("link_recovered", gateway=self._name)
        self._proven, self.stopped = True, False
        self._trouble_since = None
        self._failures = self._refusals = 0
        self._resume_at = None
        self._news = self._clear

    def _clear(self) -> None:
        self._alarms.clear(f"gateway:{self._name}")

    def _slow_down(self, outcome: Outcome, now: datetime) -> None:
        wait = _asked_for(outcome)
        if not self._rests(now):
            self._failures += 1
            self._note_trouble()
            wait = max(wait, backoff(self._failures, FIRST_GATEWAY_WAIT, LONGEST_GATEWAY_WAIT))
        elif self._resume_at is not None and now + wait <= self._resume_at:
            return  # one of several under way when the fault began: counted already
        self._rest_for(wait, now)
        log.warning("gateway_waits", gateway=self._name, code=outcome.code, seconds=wait.total_seconds())
        if wait >= LONGEST_GATEWAY_WAIT:
            self._alarm(
                f"gateway {self._name} takes no messages: {outcome.code} {outcome.detail}".strip(),
                "messages wait and go out by themselves when it is back; look at the gateway",
            )

    def _stop(self, outcome: Outcome, now: datetime) -> None:
        self._rest_for(STOPPED_LINK_WAIT, now)
        if not self.stopped:
            log.error("link_stopped", gateway=self._name, code=outcome.code, detail=outcome.detail)
        self.stopped, self._proven = True, False
        self._note_trouble()
        self._alarm(
            f"gateway {self._name} is stopped: {outcome.code} {outcome.detail}".strip(),
            "mend account, sender or address, then: systemctl reload smsd (one is tried every 10 minutes)",
        )

    def _rest_for(self, wait: timedelta, now: datetime) -> None:
        self._resume_at, self._rest = now + wait, wait

    def _alarm(self, message: str, hint: str) -> None:
        self._news = lambda: self._alarms.raise_alarm(f"gateway:{self._name}", message, hint=hint)


def _asked_for(outcome: Outcome) -> timedelta:
    """How long the gateway asks us to wait."""
    seconds = min(max(outcome.retry_after or 0.0, 0.0), LONGEST_GATEWAY_WAIT.total_seconds())
    return timedelta(seconds=seconds)
