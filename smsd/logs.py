"""Logging: one JSON object a line for the daemon, short lines for a person at a terminal, never a number or a secret.

Events are stable snake_case names with ids. What other libraries log comes through here too, warnings and worse only.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, TextIO

import structlog

from smsd.core.errors import described
from smsd.core.names import clean_text
from smsd.core.phones import mask_numbers

_FREE_TEXT = ("error", "detail", "message", "hint", "event")
_LONGEST_VALUE = 500
_FIRST_SILENCE, _LONGEST_SILENCE = 60.0, 900.0
"""Seconds for which a fault that lasts is not told again; they double as it lasts."""


def configure_for_daemon(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """JSON lines on standard output, for the journal."""
    _configure(structlog.processors.JSONRenderer(ensure_ascii=False), stream or sys.stdout, level)


def tell_of_broken_threads() -> None:
    """From now on what nobody catches ends its thread with a line, not with a traceback that quotes what it was at."""
    threading.excepthook = _thread_broke_off


def _thread_broke_off(args: threading.ExceptHookArgs) -> None:
    error = args.exc_value or args.exc_type()
    if isinstance(error, SystemExit):
        return
    name = args.thread.name if args.thread is not None else ""
    structlog.get_logger(__name__).error("thread_broke_off", thread=name, **described(error))


def configure_for_terminal(level: int = logging.WARNING) -> None:
    """Short lines on standard error: what a command shows goes to standard output and is not mixed with them."""
    _configure(structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0), sys.stderr, level)


def _configure(renderer: Any, stream: TextIO, level: int) -> None:
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _without_traceback,
        _without_numbers,
        _on_one_line,
        Repeats(),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def _without_traceback(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A fault is one line: an exception's type, first line and place instead of its traceback."""
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event.update({key: value for key, value in described(error).items() if key not in event})
    return event


def _without_numbers(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drivers and providers quote what they were given: mask what looks like a phone number in free text."""
    for key in _FREE_TEXT:
        value = event.get(key)
        if isinstance(value, str):
            event[key] = mask_numbers(value[:_LONGEST_VALUE])
    return event


def _on_one_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """No value breaks a line, moves a terminal or turns the reading direction, whoever's words it quotes."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[key] = clean_text(value)
    return event


class Repeats:
    """What fails at every turn of a loop is one line while it lasts, then one now and then that tells how often.

    Only errors named ``…_failed`` are looked at: everything else is an event of its own.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._told: dict[tuple[str, ...], _Told] = {}

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """The line, or `structlog.DropEvent`."""
        if event.get("level") != "error" or not str(event.get("event")).endswith("_failed"):
            return event
        fault = tuple(f"{key}={value}" for key, value in sorted(event.items()) if key not in ("at", "where"))
        with self._lock:
            left_out = self._left_out(fault, self._monotonic())
        if left_out is None:
            raise structlog.DropEvent
        if left_out:
            event["times_since"] = left_out
        return event

    def _left_out(self, fault: tuple[str, ...], now: float) -> int | None:
        """How many equal lines were left out since the last one; None: this one is left out too."""
        told = self._told.get(fault)
        if told is None or now - told.last > _FIRST_SILENCE:
            self._told = {
                key: known for key, known in self._told.items() if now - known.last <= _FIRST_SILENCE
            }
            self._told[fault] = _Told(now, now + _FIRST_SILENCE)
            return 0
        told.last = now
        if now < told.quiet_until:
            told.left_out += 1
            return None
        told.silence = min(told.silence * 2, _LONGEST_SILENCE)
        told.quiet_until = now + told.silence
        left_out, told.left_out = told.left_out, 0
        return left_out


@dataclass(slots=True)
class _Told:
    last: float
    quiet_until: float
    silence: float = _FIRST_SILENCE
    left_out: int = 0
