"""Alarms: conditions that a person must mend, raised once while they last."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from smsd.core.clock import Clock
from smsd.core.phones import mask_numbers
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
        self._told: set[str] = set()

    def raise_alarm(self, key: str, message: str, *, hint: str = "", severity: str = "error") -> None:
        """Raise the alarm of a condition; nothing happens if it stands already."""
        message = mask_numbers(message)  # it may quote a provider or a driver
        alarm = Alarm(key, severity, message, hint, self._clock.now())
        self._standing.add(key)
        if self._store.raise_alarm(alarm):
            self._tell(alarm)

    def tell(self, key: str, message: str, *, hint: str = "") -> None:
        """Tell once of a condition that the store cannot keep, being what fails; `told_is_over` ends it."""
        if key not in self._told:
            self._told.add(key)
            self._tell(Alarm(key, "error", mask_numbers(message), hint, self._clock.now()))

    def told_is_over(self, key: str) -> None:
        """What `tell` told of has ended."""
        if key in self._told:
            self._told.discard(key)
            log.info("alarm_cleared", key=key)

    def _tell(self, alarm: Alarm) -> None:
        log.error(
            "alarm_raised", key=alarm.key, severity=alarm.severity, message=alarm.message, hint=alarm.hint
        )
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
