"""Alarms: conditions that a person must mend, raised once while they last."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from smsd.core.clock import Clock
from smsd.services.ports import Alarm

log = structlog.get_logger(__name__)


class AlarmStore(Protocol):
    """Where alarms stand."""

    def raise_alarm(self, alarm: Alarm) -> bool:
        """Note an alarm; False if it stands already."""

    def clear_alarm(self, key: str, at: datetime) -> bool:
        """Note that a condition is over; False if its alarm did not stand."""

    def standing_alarms(self) -> list[Alarm]:
        """Alarms whose conditions last."""


class AlarmBell:
    """Raises and clears alarms: in the store, in the log, and through the operator's command."""

    def __init__(self, store: AlarmStore, clock: Clock, notify: Callable[[Alarm], object] = repr) -> None:
        self._store = store
        self._clock = clock
        self.notify = notify
        self._standing = {alarm.key for alarm in store.standing_alarms()}

    def raise_alarm(self, key: str, message: str, *, hint: str = "", severity: str = "error") -> None:
        """Raise the alarm of a condition; nothing happens if it stands already."""
        alarm = Alarm(key, severity, message, hint, self._clock.now())
        self._standing.add(key)
        if not self._store.raise_alarm(alarm):
            return
        log.error("alarm_raised", key=key, severity=severity, message=message, hint=hint)
        self.notify(alarm)

    def refresh(self) -> None:
        """Learn of alarms that commands raised, so that they end here too."""
        self._standing |= {alarm.key for alarm in self._store.standing_alarms()}

    def clear(self, key: str) -> None:
        """The condition is over. Costs nothing while no alarm stands."""
        if key in self._standing:
            self._standing.discard(key)
            if self._store.clear_alarm(key, self._clock.now()):
                log.info("alarm_cleared", key=key)
