"""Dossiers and messages put into a store directly, as an applied read would."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update

from smsd.adapters.store.engine import Database
from smsd.adapters.store.outbox import OutboxStore
from smsd.adapters.store.schema import messages
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.core.model import Draft, Message, MessageState, Tracked
from tests.support.builders import NOW, a_digest, a_dossier, a_tracked

AGENCY = "nha-trang"
MINUTE = timedelta(minutes=1)
SETTLE = 2 * MINUTE


def a_draft(kind: str = "result_ready", occurrence: str = "1", **changes: Any) -> Draft:
    values: dict[str, Any] = {
        "kind": kind,
        "occurrence": occurrence,
        "state": MessageState.QUEUED,
        "reason": None,
        "phone": "84905123456",
        "text": "Thông báo",
        "segments": 1,
        "made_at": NOW,
        "next_at": NOW,
        "valid_until": NOW + timedelta(days=10),
    }
    return Draft(**(values | changes))


def keep_agency(database: Database, agency: str = AGENCY, **changes: Any) -> None:
    values: dict[str, Any] = {"mode": "live", "interval": MINUTE, "last_good_at": NOW, "last_rows": 1}
    with SnapshotStore(database).transaction(agency) as tx:
        tx.save_agency(**(values | changes))


def keep_dossier(
    database: Database, code: str = "H1", position: str = "result_ready", agency: str = AGENCY, **changes: Any
) -> Tracked:
    dossier_changes = {key: changes.pop(key) for key in list(changes) if key in a_dossier().__slots__}
    tracked = a_tracked(a_dossier(code, **dossier_changes), position, **changes)
    with SnapshotStore(database).transaction(agency) as tx:
        tx.put([(tracked, a_digest(agency, code, position))])
    return tracked


def keep_message(
    database: Database,
    code: str = "H1",
    agency: str = AGENCY,
    batch: str = "batch",
    state: MessageState | None = None,
    settle: timedelta = SETTLE,
    columns: dict[str, Any] | None = None,
    **changes: Any,
) -> str:
    """A message of a dossier, put straight into ``state`` and ``columns``; returns its id."""
    draft = a_draft(**changes)
    with SnapshotStore(database).transaction(agency) as tx:
        before = {m.id for m in tx.messages_of([code]).get(code, [])}
        tx.add([(a_tracked(a_dossier(code)), draft, settle)], batch)
        (id_,) = {m.id for m in tx.messages_of([code])[code]} - before
    direct = dict(columns or {}) | ({"state": state} if state is not None else {})
    if direct:
        with database.writing() as connection:
            connection.execute(update(messages).where(messages.c.id == id_).values(direct))
    return id_


def ready(database: Database, count: int = 1, agency: str = AGENCY) -> list[str]:
    """An agency with so many messages that may go now."""
    keep_agency(database, agency)
    ids = []
    for n in range(count):
        keep_dossier(database, f"H{n}", agency=agency)
        ids.append(keep_message(database, f"H{n}", agency, next_at=NOW + n * timedelta(milliseconds=1)))
    return ids


def the_message(database: Database, id_: str) -> Message:
    with OutboxStore(database).looking() as tx:
        found = tx.message(id_)
    assert found is not None
    return found


def later(minutes: float = 0.0) -> datetime:
    return NOW + minutes * MINUTE
