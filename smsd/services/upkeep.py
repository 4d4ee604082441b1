"""Retention: personal data is blanked, old records go, by `retention` and never before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Protocol

import structlog

from smsd.core.clock import Clock, local_day
from smsd.services.daily import ALL_AGENCIES
from smsd.services.ports import RunKey
from smsd.services.storage import RunBook

log = structlog.get_logger(__name__)

PURGE_RUN = "purge"


class UpkeepStore(Protocol):
    """What retention asks of the state store."""

    def blank_personal_data(self, before: datetime) -> int:
        """Blank phone and text of what ended before an instant; returns how many rows."""

    def forget(self, before: datetime, now: datetime) -> int:
        """Remove what ended before an instant, and say ``now`` in the audit that it was; returns how many rows."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge did."""

    blanked: int
    forgotten: int
    files: int


class Upkeep:
    """Applies retention once a day, and when an operator asks."""

    def __init__(
        self,
        store: UpkeepStore,
        runs: RunBook,
        clock: Clock,
        *,
        zone: tzinfo,
        personal_data: timedelta,
        records: timedelta,
        purge_files: Callable[[date], int],
    ) -> None:
        self._store = store
        self._runs = runs
        self._clock = clock
        self._zone = zone
        self._personal_data = personal_data
        self._records = records
        self._purge_files = purge_files

    def tick(self) -> None:
        """Purge once a day."""
        now = self._clock.now()
        key = RunKey(PURGE_RUN, ALL_AGENCIES, local_day(now, self._zone))
        if not self._runs.run(key).over:
            self.purge()
            self._runs.finish_run(key, "done", now)

    def purge(self) -> Purged:
        """Blank and forget what is older than `retention` allows."""
        now = self._clock.now()
        oldest = now - self._personal_data
        purged = Purged(
            blanked=self._store.blank_personal_data(oldest),
            forgotten=self._store.forget(now - self._records, now),
            files=self._purge_files(local_day(oldest, self._zone)),
        )
        log.info("purged", blanked=purged.blanked, forgotten=purged.forgotten, files=purged.files)
        return purged
