"""Keeping the daemon small: the C library's allocator told not to keep a heap of its own for every reading thread."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8
"""glibc's malloc.h."""
_ARENAS = 2


def limit_arenas() -> bool:
    """Let all threads share two heaps; call it before any is started. False where the C library is not glibc.

    Each reading thread would otherwise leave a heap behind that holds a page or two of every block it ever read.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS))
    except (OSError, AttributeError):
        return False
