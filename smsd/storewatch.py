"""Tells a person of a state store that cannot be written, by what does not need the store: the log and the command."""

from __future__ import annotations

from smsd.adapters.systemd import Systemd
from smsd.core.errors import StoreError
from smsd.wiring import System

ALARM = "store_failing"
PATIENCE = 5.0
"""Seconds for which nothing could be written before a person is told."""
_TELLING = 3.0
"""Seconds the command has before the process ends."""


def look(system: System, systemd: Systemd) -> None:
    """Tell of a store that cannot be written, once while that lasts."""
    if "alarms" not in vars(system):
        return  # the loop builds them, from what stands in the store
    trouble = system.database.trouble
    if trouble is None:
        system.alarms.told_is_over(ALARM)
    elif trouble.last - trouble.since > PATIENCE:
        systemd.status(f"nothing can be written: {trouble.error.message}")
        system.alarms.tell(ALARM, trouble.error.message, hint=trouble.error.hint)


def give_up(system: System, end: StoreError) -> None:
    """Tell of a store that is damaged or gone, before the process ends because of it."""
    system.database.note_end(system.clock.now())
    system.alarms.tell(ALARM, end.message, hint=end.hint)
    system.alarm_command.finish(_TELLING)
