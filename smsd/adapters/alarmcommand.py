"""Telling the operator's own command of an alarm: the alarm as JSON on its input."""

from __future__ import annotations

import json
import subprocess  # nosec B404 # the operator's own command
import threading
from collections.abc import Sequence

import structlog

from smsd.services.ports import Alarm

log = structlog.get_logger(__name__)
_SECONDS = 30


class AlarmCommand:
    """Runs a command for each alarm, one at a time and beside the daemon's work; its failure is a log line."""

    def __init__(self, command: Sequence[str]) -> None:
        """Without words there is no command, and nothing is run."""
        self._command = list(command)
        self._one_at_a_time = threading.Lock()
        self._last: threading.Thread | None = None

    def __call__(self, alarm: Alarm) -> None:
        """Run the command in the background."""
        if self._command:
            self._last = threading.Thread(target=self._run, args=(alarm,), name="alarm", daemon=True)
            self._last.start()

    def finish(self, seconds: float) -> None:
        """Wait for the last alarm to be told, but no longer; for a process that is about to end because of it."""
        if self._last is not None:
            self._last.join(seconds)

    def _run(self, alarm: Alarm) -> None:
        document = {
            "key": alarm.key,
            "severity": alarm.severity,
            "message": alarm.message,
            "hint": alarm.hint,
            "at": alarm.at.isoformat(),
        }
        try:
            with self._one_at_a_time:
                done = subprocess.run(  # noqa: S603 # nosec B603 # the operator's own command, never a shell line of ours
                    self._command,
                    input=json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"),
                    timeout=_SECONDS,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=False,
                )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            log.warning("alarm_command_failed", error=type(error).__name__)
            return
        if done.returncode:
            log.warning("alarm_command_failed", exit_status=done.returncode)
