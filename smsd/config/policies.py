"""What an agency's configuration means to the core, and fingerprints that tell when its meaning changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from smsd.config.settings import Agency, NoticeSettings, PositionSettings, Settings
from smsd.core.names import fold_name
from smsd.core.policy import AgencyPolicy, Notice, PositionRule, ReadRule

_DEFAULT_PORTS = {"mssql+pyodbc": 1433, "postgresql+psycopg2": 5432}
_SAYING_WHERE = ("host", "hostaddr", "port", "dbname", "service", "server", "database")
"""What of a URL's query says which database is meant; drivers, time limits and logins do not."""
_LOGIN = ("pwd", "password", "uid", "user id")


def policy_of(settings: Settings, agency: Agency) -> AgencyPolicy:
    """The rules of one agency: what smsd.yaml says, and what its own file says otherwise."""
    positions = {**settings.positions, **agency.positions}
    notices = {**settings.notices, **agency.notices}
    return AgencyPolicy(
        id=agency.id,
        name=agency.short_name or agency.name,
        mode=agency.mode,
        zone=settings.zone,
        positions=tuple(_rule(name, position) for name, position in positions.items()),
        notices={name: _notice(name, notice) for name, notice in notices.items()},
        apology=agency.apology,
        skip_same_day=agency.same_day == "skip",
        skip_procedures=frozenset(agency.skip_procedures),
        interval=agency.interval or settings.polling.interval,
        reading=ReadRule(agency.read, agency.changed_by, agency.sweep),
        encoding=settings.messages.encoding,
        repeat_after=settings.messages.repeat_after,
        stale_after=settings.messages.stale_after,
        hold_above=settings.messages.hold_above,
    )


def _rule(name: str, position: PositionSettings) -> PositionRule:
    return PositionRule(name, steps=_folded(position.steps), statuses=_folded(position.statuses))


def _folded(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(map(fold_name, names))


def _notice(name: str, notice: NoticeSettings) -> Notice:
    return Notice(
        name,
        notice.text,
        settle=notice.settle,
        valid_for=notice.valid_for,
        at=notice.at,
        until=notice.until,
        unless=frozenset(notice.unless or ()),
    )


def source_fingerprint(agency: Agency) -> str:
    """Changes when an agency's dossiers are read from elsewhere or by other columns: then a new baseline is due.

    Neither the login nor the driver and its options have a part in it.
    """
    columns = sorted((ours, theirs) for ours, theirs in agency.columns.items() if ours != theirs)
    filter_ = sorted((name, type(value).__name__, value) for name, value in agency.filter.items())
    return _digest([_database(agency), agency.view, columns, filter_])


def positions_fingerprint(policy: AgencyPolicy) -> str:
    """Changes when a dossier of the same step and status might be in another position."""
    return _digest([[rule.name, _listed(rule.steps), _listed(rule.statuses)] for rule in policy.positions])


def _listed(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _digest(meaning: object) -> str:
    """64 hexadecimal digits."""
    text = json.dumps(meaning, ensure_ascii=True, sort_keys=True)
    return sha256(text.encode()).hexdigest()


def database_and_view(agency: Agency) -> tuple[str, str]:
    """Equal for agencies that read one view of one database, whatever their logins."""
    database = _database(agency)
    view = agency.view.casefold() if database[0] == "mssql+pyodbc" else agency.view
    return json.dumps(database), view


def filter_in_effect(agency: Agency) -> frozenset[tuple[str, str]]:
    """Equal for filters that let the same rows through: a database may take 12 and "12" for one."""
    return frozenset((name.casefold(), str(value)) for name, value in agency.filter.items())


def _database(agency: Agency) -> list[object]:
    """Which database a URL names, without whose login it is; the text itself where references left it no URL."""
    try:
        url = make_url(agency.database.get_secret_value())
    except (ArgumentError, ValueError):
        return [agency.database.get_secret_value()]
    if url.drivername == "sqlite":
        return [url.drivername, url.database]
    query: Mapping[str, str | tuple[str, ...]] = {key.lower(): value for key, value in url.query.items()}
    port = url.port or query.get("port") or _DEFAULT_PORTS.get(url.drivername)
    where = [[key, query[key]] for key in _SAYING_WHERE if key in query and key != "port"]
    return [url.drivername, (url.host or "").lower(), str(port), url.database or "", where, _odbc(url)]


def _odbc(url: URL) -> list[str]:
    """The parts of an ODBC connection string that are no login."""
    text = url.query.get("odbc_connect", "")
    parts = text.split(";") if isinstance(text, str) else [";".join(text)]
    return sorted(part.strip() for part in parts if part.partition("=")[0].strip().lower() not in _LOGIN)
