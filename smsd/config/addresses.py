"""How places are written: folders, commands, addresses, databases. Relative paths are relative to the file's folder,
which the context of the validation names.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationInfo
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from smsd.config.values import Wrong, list_from, parsed_by, text_from

STORE_KINDS = ("sqlite", "postgresql+psycopg2")
AGENCY_KINDS = ("mssql+pyodbc", "postgresql+psycopg2", "sqlite")

_LISTEN = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+|\*):([0-9]{1,5})")
_LARGEST_PORT = 65_535
_EXAMPLES = {
    "sqlite": "sqlite:////path/to/file.db",
    "postgresql+psycopg2": "postgresql+psycopg2://user:password@host/database",
    "mssql+pyodbc": "mssql+pyodbc://user:password@host:1433/database?driver=FreeTDS&TDS_Version=7.4",
}


def command_from(value: object, info: ValidationInfo) -> tuple[str, ...]:
    """A command and its arguments, written as a list or as a line; a program given by a path is found from the file."""
    accepted = "accepted: a command line, or a list [program, argument]"
    try:
        words = (
            shlex.split(value) if isinstance(value, str) else [text_from(word) for word in list_from(value)]
        )
    except ValueError:
        raise Wrong(f"is no command, {accepted}") from None
    if not words or not words[0].strip() or "\0" in "".join(words):
        raise Wrong(f"is no command, {accepted}")
    program = str(_beside(info, words[0])) if "/" in words[0] else words[0]
    return (program, *words[1:])


def path_from(value: object, info: ValidationInfo) -> Path:
    """A path; a relative one is relative to the folder of the file it stands in."""
    text = str(value) if isinstance(value, Path) else text_from(value)
    if not text.strip() or "\0" in text:
        raise Wrong("is no path, accepted: a folder such as /var/lib/smsd")
    return _beside(info, text)


def _beside(info: ValidationInfo, path: str) -> Path:
    folder: Path = (info.context or {}).get("folder", Path())
    return folder.absolute() / path


def listen_from(value: object) -> str:
    """Where to listen."""
    text = text_from(value)
    match = _LISTEN.fullmatch(text)
    if match is None or int(match[1]) > _LARGEST_PORT:
        raise Wrong("is no address to listen on, accepted: host:port such as 127.0.0.1:8029")
    return text


def http_url_from(value: object) -> str:
    """The address of an HTTP service."""
    text = text_from(value)
    try:
        parts = urlsplit(text)
        lawful = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        lawful = False
    if not lawful or not text.isprintable() or " " in text or "#" in text:
        raise Wrong("is no address, accepted: http://host:port/path or https://…")
    return text


def database_url_from(kinds: Collection[str]) -> Callable[[object, ValidationInfo], SecretStr]:
    """A parser of SQLAlchemy URLs of these kinds; a relative SQLite path is relative to the file's folder.

    With ``unfilled`` in the context, references of the URL are not set and it is kept as it is written.
    """
    accepted = "accepted: " + ", ".join(_EXAMPLES[kind] for kind in kinds)

    def parse(value: object, info: ValidationInfo) -> SecretStr:
        if isinstance(value, SecretStr):
            return value
        text = text_from(value)
        if (info.context or {}).get("unfilled"):
            return SecretStr(text)
        try:
            url = make_url(text.strip())
        except (ArgumentError, ValueError):
            raise Wrong(f"is no database URL, {accepted}") from None
        if url.drivername not in kinds:
            raise Wrong(f"names no kind of database that can be used here, {accepted}")
        if url.drivername == "sqlite":
            return _sqlite(url, text.strip(), info)
        _check_server(url, accepted)
        return SecretStr(text.strip())

    return parse


def _sqlite(url: URL, text: str, info: ValidationInfo) -> SecretStr:
    if url.host or not url.database or url.database.startswith((":memory:", "file:")):
        raise Wrong(
            "names no file, accepted: sqlite:////path/to/file.db, or sqlite:///file.db beside this file"
        )
    if url.database.startswith("/"):
        return SecretStr(text)
    beside = url.set(database=str(_beside(info, url.database)))
    return SecretStr(beside.render_as_string(hide_password=False))


def _check_server(url: URL, accepted: str) -> None:
    if "@" in (url.host or ""):
        raise Wrong(
            "has an @ within its login, accepted: %40 for it, or better ${credential:NAME} for the password"
        )
    if url.port is not None and not 0 < url.port <= _LARGEST_PORT:
        raise Wrong(f"has a port that cannot be, {accepted}")
    if url.drivername == "mssql+pyodbc" and not (url.host or url.query.get("odbc_connect")):
        raise Wrong(f"names no host, {accepted}")
    if url.drivername == "postgresql+psycopg2" and not (url.database or url.query.get("service")):
        raise Wrong(f"names no database, {accepted}")


Folder = Annotated[Path, parsed_by(path_from)]
HttpUrl = Annotated[str, parsed_by(http_url_from)]
