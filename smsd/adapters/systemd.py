"""Telling systemd how the daemon is: ready, reloading, stopping, alive. Nothing happens outside systemd."""

from __future__ import annotations

import os
import time

import sdnotify


class Systemd:
    """The service manager's notification socket and watchdog."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        self._last_ping = 0.0
        self._ping_every = _watchdog_seconds() / 3

    def ready(self) -> None:
        """Started, or done reloading."""
        self._notifier.notify("READY=1")

    def reloading(self) -> None:
        """The configuration is being read again."""
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """On the way out."""
        self._notifier.notify("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._notifier.notify(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the watchdog, no oftener than it asks for."""
        now = time.monotonic()
        if self._ping_every and now - self._last_ping >= self._ping_every:
            self._last_ping = now
            self._notifier.notify("WATCHDOG=1")


def _watchdog_seconds() -> float:
    """How long systemd waits for a sign of life; 0 without a watchdog."""
    try:
        return max(0.0, int(os.environ.get("WATCHDOG_USEC", "0")) / 1_000_000)
    except ValueError:
        return 0.0
