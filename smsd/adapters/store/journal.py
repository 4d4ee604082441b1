"""Daily jobs, alarms and operators' decisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from smsd.adapters.store.engine import Database
from smsd.adapters.store.schema import agencies, alarms, decisions, meta, runs
from smsd.services.ports import Alarm, RunKey, RunRecord

BEGAN = "began"


def run_record(connection: Connection, key: RunKey) -> RunRecord:
    """How far a daily job is; one without a row is owed."""
    query = select(runs.c.state, runs.c.attempts, runs.c.next_attempt_at, runs.c.detail).where(
        runs.c.name == key.name, runs.c.agency == key.agency, runs.c.day == key.day
    )
    row = connection.execute(query).first()
    return RunRecord(*row) if row is not None else RunRecord("owed")


def finish_run(
    connection: Connection, key: RunKey, state: str, at: datetime, detail: str | None = None
) -> None:
    """Note that a daily job is over: done, skipped or missed."""
    _save_run(connection, key, {"state": state, "finished_at": at, "next_attempt_at": None, "detail": detail})


def _save_run(connection: Connection, key: RunKey, values: dict[str, Any]) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    query = dialect.insert(runs).values(name=key.name, agency=key.agency, day=key.day, **values)
    connection.execute(query.on_conflict_do_update(index_elements=["name", "agency", "day"], set_=values))


class Journal:
    """The part of the state store that keeps daily jobs, alarms and decisions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, key: RunKey) -> RunRecord:
        """How far a daily job is; one without a row is owed."""
        with self._database.reading() as connection:
            return run_record(connection, key)

    def last_run_day(self, name: str, agency: str, until: date) -> date | None:
        """The latest day, ``until`` at most, for which a daily job is over; a clock that ran ahead left later ones."""
        query = select(func.max(runs.c.day)).where(
            runs.c.name == name, runs.c.agency == agency, runs.c.day <= until, runs.c.state != "owed"
        )
        with self._database.reading() as connection:
            return connection.execute(query).scalar()

    def put_off_run(self, key: RunKey, attempts: int, next_attempt_at: datetime, detail: str) -> None:
        """A daily job was tried in vain and is tried again later."""
        with self._database.writing() as connection:
            values = {
                "state": "owed",
                "attempts": attempts,
                "next_attempt_at": next_attempt_at,
                "detail": detail,
            }
            _save_run(connection, key, values)

    def finish_run(self, key: RunKey, state: str, at: datetime, detail: str | None = None) -> None:
        """A daily job is over."""
        with self._database.writing() as connection:
            finish_run(connection, key, state, at, detail)

    def began(self, now: datetime) -> datetime:
        """When this store was first used; noted on the first call, and again if the clock ran ahead then."""
        noted = self.facts([BEGAN]).get(BEGAN)
        if noted is not None and datetime.fromisoformat(noted) <= now:
            return datetime.fromisoformat(noted)
        self.note_fact(BEGAN, now.isoformat())
        return now

    # alarms

    def raise_alarm(self, alarm: Alarm) -> bool:
        """Note an alarm; False if it stands already."""
        with self._database.writing() as connection:
            standing = select(alarms.c.key).where(alarms.c.key == alarm.key, alarms.c.cleared_at.is_(None))
            if connection.execute(standing).first() is not None:
                return False
            connection.execute(alarms.delete().where(alarms.c.key == alarm.key))
            values = {"severity": alarm.severity, "message": alarm.message, "hint": alarm.hint}
            connection.execute(insert(alarms).values(key=alarm.key, raised_at=alarm.at, **values))
            return True

    def clear_alarm(self, key: str, at: datetime) -> bool:
        """Note that a condition is over; False if its alarm did not stand."""
        query = update(alarms).where(alarms.c.key == key, alarms.c.cleared_at.is_(None)).values(cleared_at=at)
        with self._database.writing() as connection:
            return connection.execute(query).rowcount > 0

    def standing_alarms(self) -> list[Alarm]:
        """Alarms whose conditions last, oldest first."""
        query = select(alarms).where(alarms.c.cleared_at.is_(None)).order_by(alarms.c.raised_at)
        with self._database.reading() as connection:
            return [
                Alarm(row["key"], row["severity"], row["message"], row["hint"], row["raised_at"])
                for row in connection.execute(query).mappings()
            ]

    # operators

    def record_decision(self, at: datetime, os_user: str, action: str, agency: str, detail: str) -> None:
        """Keep what an operator decided, and who it was."""
        with self._database.writing() as connection:
            values = {"at": at, "os_user": os_user, "action": action, "agency": agency, "detail": detail}
            connection.execute(insert(decisions).values(**values))

    def want_baseline(self, agency: str) -> bool:
        """Make the agency's next good read a baseline; False if the agency is not known yet (then it is one anyway)."""
        query = update(agencies).where(agencies.c.id == agency).values(baseline_wanted=True)
        with self._database.writing() as connection:
            return connection.execute(query).rowcount > 0

    def facts(self, keys: Sequence[str]) -> dict[str, str]:
        """Facts of the store by key."""
        with self._database.reading() as connection:
            rows = connection.execute(select(meta.c.key, meta.c.value).where(meta.c.key.in_(keys)))
            return {row.key: row.value for row in rows}

    def note_fact(self, key: str, value: str) -> None:
        """Note a fact of the store, such as the daemon's last turn."""
        with self._database.writing() as connection:
            self._database.set_meta(connection, key, value)
