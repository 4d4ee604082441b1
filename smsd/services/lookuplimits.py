"""How much is answered in all: look-ups are no way to read out other people's dossiers, however many numbers ask.

Each number has its own limit, which the configuration sets. The limits here are fixed: they stand far above what
citizens ask, and a number that asks little is answered even when others ask far too much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta

from smsd.core.lookups import LookupOutcome

WINDOW = timedelta(hours=1)
MANY = 2_000
"""Answers within the window that no ordinary hour of a province reaches."""
MANY_MISSES = 500
"""Codes within the window that no dossier has: more than people mistype, so that somebody guesses."""
FEW_EACH = 3
"""Answers that each number still gets within the window when there are many."""
MOST = 50_000
"""Answers within the window after which nobody gets any: the token or a provider's secret is in wrong hands."""


class Throng:
    """Counts what all numbers together were answered within the window. Not safe for threads: the service locks."""

    def __init__(self, before: Iterable[tuple[datetime, LookupOutcome]]) -> None:
        self._answered: deque[tuple[datetime, bool]] = deque()
        self._misses = 0
        for at, outcome in sorted(before):
            self.add(at, outcome)

    def add(self, at: datetime, outcome: LookupOutcome) -> None:
        """One more answer; those refused as too many are none."""
        if outcome is LookupOutcome.TOO_MANY:
            return
        missed = outcome is LookupOutcome.NOT_FOUND
        self._answered.append((at, missed))
        self._misses += missed

    def limit(self, own: int, now: datetime) -> int:
        """How many answers a number may have had within the window and still get one; ``own`` is its own limit."""
        while self._answered and not now - WINDOW < self._answered[0][0] <= now:
            self._misses -= self._answered.popleft()[1]
        if len(self._answered) >= MOST:
            return 0
        if len(self._answered) >= MANY or self._misses >= MANY_MISSES:
            return min(own, FEW_EACH)
        return own
