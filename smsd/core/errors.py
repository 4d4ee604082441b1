"""The error tree: one class per decision its catcher takes. ``code`` is for programs, the sentence for people."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from smsd.core.names import clean_text

_LONGEST = 1_000
"""Characters of what is said of an agency's database: it names its columns, and may have any number of them."""


class SmsdError(Exception):
    """Anything smsd itself reports; ``hint`` says how to mend it."""

    def __init__(self, message: str, *, code: str = "error", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One mistake in one file. Printed as ``path:line:column: key: what is wrong, what is accepted``."""

    path: str
    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.key}: {self.message}"


class ConfigError(SmsdError):
    """The configuration cannot be used; holds every mistake found, not only the first."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__("\n".join(map(str, problems)), code="config")
        self.problems = tuple(problems)


class StoreError(SmsdError):
    """The state store cannot be used (locked by another smsd, damaged, read-only, of another version)."""


class AgencyError(SmsdError):
    """An agency's database could not be read this time; nothing changed. ``code`` is one of `AGENCY_FAULTS`.

    Parts of the sentence are the database's own words and names: it is one line, without control or bidi characters.
    """

    def __init__(self, message: str, *, code: str = "error", hint: str = "") -> None:
        super().__init__(clean_text(message)[:_LONGEST], code=code, hint=clean_text(hint))


AGENCY_FAULTS = (
    "unreachable",
    "login_failed",
    "database_missing",
    "view_missing",
    "column_missing",
    "permission_denied",
    "timeout",
    "incredible",
    "driver_missing",
    "read_failed",
)


class ReceiptError(SmsdError):
    """A receipt callback that changes nothing. ``code``: ``unsigned``, ``malformed`` or ``oversized``."""


def described(error: BaseException) -> dict[str, str]:
    """What a log line says of an unforeseen error: its type, its first line and the place it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "unknown"
    first_line = next(iter(str(error).splitlines()), "")
    return {"error": type(error).__name__, "detail": first_line[:200], "where": place}
