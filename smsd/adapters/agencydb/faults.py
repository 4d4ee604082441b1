"""What can go wrong with an agency's database, in words for the operator.

The drivers' own words are translated by tables beside each driver; here are the sentences, the hints, and the
scrubbing of what drivers say: no password, no URL, no phone number and no citizen's data leave this package.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from smsd.core.errors import AgencyError

UNREACHABLE = "unreachable"
LOGIN_FAILED = "login_failed"
DATABASE_MISSING = "database_missing"
VIEW_MISSING = "view_missing"
COLUMN_MISSING = "column_missing"
PERMISSION_DENIED = "permission_denied"
TIMEOUT = "timeout"
DRIVER_MISSING = "driver_missing"
READ_FAILED = "read_failed"

_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Place:
    """What an error may say of where it happened. ``secrets`` are what it may not say."""

    where: str
    user: str
    view: str
    secrets: tuple[str, ...] = field(default=(), repr=False)


_SENTENCES = {
    UNREACHABLE: (
        "{where} cannot be reached",
        "check that the server runs, the address in `database`, and the network and firewall between",
    ),
    LOGIN_FAILED: (
        "{where} refuses the login of {user}",
        "check user and password in `database`, and that the server lets this machine in; sql/ has the login to make",
    ),
    DATABASE_MISSING: (
        "there is no database {where}, or {user} may not open it",
        "check the database's name at the end of `database`",
    ),
    VIEW_MISSING: (
        "{where} has no view {view}, or what it is made of is gone",
        "check `view`, schema included; sql/ has the view to make",
    ),
    COLUMN_MISSING: (
        "a column that {view} needs is not in {where}",
        "compare `columns` and `filter` with the view, and the view with the tables below it",
    ),
    PERMISSION_DENIED: (
        "{user} may not read {view} in {where}",
        "grant SELECT on the view to it; sql/ has the login to make",
    ),
    TIMEOUT: (
        "{where} did not give {view} in time",
        "look for locks and load in the agency's database, or raise `timeout` in its file",
    ),
    DRIVER_MISSING: (
        "the driver for {where} is missing",
        "SQL Server: apt-get install tdsodbc, and driver=FreeTDS in `database`",
    ),
    READ_FAILED: (
        "{where} failed while {view} was read",
        "run the view's SELECT in the agency's database with the same login",
    ),
}

_PAIR = re.compile(r"(?i)\b(pwd|password|passwd)(\s*[=:]\s*)(\{[^}]*\}?|\"[^\"]*\"|'[^']*'|[^;\s]+)")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_PHONE = re.compile(r"(?<![0-9])(?:\+?84|0)(?:[ .-]?[0-9]){8,10}(?![0-9])")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|(?<=: )\S.*$")


def scrub(said: str, place: Place, *, data: bool = False) -> str:
    """A driver's first line without passwords, URLs and phone numbers; with ``data``, without quoted values either."""
    line = next((line.strip() for line in said.splitlines() if line.strip()), "")
    for secret in place.secrets:
        if secret:
            line = line.replace(secret, "***")
    line = _URL.sub("…", _PAIR.sub(r"\1\2***", line))
    line = _PHONE.sub("…", line)
    if data:
        line = _QUOTED.sub("…", line)
    line = "".join(char if char.isprintable() else " " for char in line)
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def fault(code: str, place: Place, said: str = "", *, hint: str = "") -> AgencyError:
    """The error of a code, with what the driver said (scrubbed already) behind it."""
    sentence, usual_hint = _SENTENCES[code]
    message = sentence.format(where=place.where, user=place.user, view=place.view)
    return AgencyError(f"{message}: {said}" if said else message, code=code, hint=hint or usual_hint)
