"""Doing something that may hang, for so long and no longer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from smsd.core.errors import AgencyError

_T = TypeVar("_T")
_GRACE = 2.0


class _Attempt(Generic[_T]):
    """Work in a thread of its own; what it returned or raised is kept for whoever waits."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work = work
        self.result: list[_T] = []
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.result.append(self._work())
        except BaseException as error:
            self.error = error


def within(seconds: float, work: Callable[[], _T], cancel: Callable[[], None]) -> _T:
    """Do ``work``, cancelling it after ``seconds``. Raises what it raises, or `AgencyError` (timeout).

    A driver that cannot be woken keeps its thread; the caller goes on all the same.
    """
    attempt = _Attempt(work)
    attempt.thread.start()
    attempt.thread.join(seconds)
    if attempt.thread.is_alive():
        cancel()
        attempt.thread.join(_GRACE)
    elif attempt.result:
        return attempt.result[0]
    elif attempt.error is not None:
        raise attempt.error
    raise AgencyError(
        f"not over within {seconds:g} s",
        code="timeout",
        hint="look for locks and load in the agency's database, or raise timeout in its file",
    )
