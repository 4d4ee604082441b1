"""Logging: one JSON object a line for the daemon, short lines for a person at a terminal, never a number or a secret.

Events are stable snake_case names with ids. What other libraries log comes through here too, warnings and worse only.
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from smsd.core.phones import mask_phone

_PHONE = re.compile(r"(?<![\w.-])(?:\+?84|0)\d{8,10}(?![\w.-])")
_FREE_TEXT = ("error", "detail", "message", "hint", "event")
_LONGEST_VALUE = 500


def configure_for_daemon(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """JSON lines on standard output, for the journal."""
    _configure(structlog.processors.JSONRenderer(ensure_ascii=False), stream or sys.stdout, level)


def configure_for_terminal(level: int = logging.WARNING) -> None:
    """Short lines on standard error: what a command shows goes to standard output and is not mixed with them."""
    _configure(structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0), sys.stderr, level)


def _configure(renderer: Any, stream: TextIO, level: int) -> None:
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _without_traceback,
        _without_numbers,
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


def described(error: BaseException) -> dict[str, str]:
    """What a log line says of an unforeseen error: its type, its first line and the place it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "unknown"
    first_line = next(iter(str(error).splitlines()), "")
    return {"error": type(error).__name__, "detail": first_line[:200], "where": place}


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
            event[key] = _PHONE.sub(lambda found: mask_phone(found[0]), value[:_LONGEST_VALUE])
    return event
