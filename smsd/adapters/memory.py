"""Keeping the daemon small and even: what the C library's allocator and Python's collector of cycles are told."""

from __future__ import annotations

import ctypes
import gc

_M_ARENA_MAX = -8
"""glibc's malloc.h."""
_ARENAS = 2
_NEW_OBJECTS = 5_000


def limit_arenas() -> bool:
    """Let all threads share two heaps; call it before any is started. False where the C library is not glibc.

    Each reading thread would otherwise leave a heap behind that holds a page or two of every block it ever read.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS))
    except (OSError, AttributeError):
        return False


def keep_what_started() -> None:
    """What is there once all is started stays: the collector need not look through it again and again.

    Nor need it look at what is new after every 700 objects: a poll makes them by the hundred thousand, none in a cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 20)
