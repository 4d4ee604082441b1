"""Which agencies take part, and how: what the store knows of them brought in line with their files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import structlog

from smsd.core.model import Mode
from smsd.core.policy import AgencyPolicy
from smsd.services.applying import end_unsent
from smsd.services.ports import AgencyRecord
from smsd.services.storage import SnapshotStore

log = structlog.get_logger(__name__)

_NOT_READ: dict[str, Any] = {
    "failures": 0,
    "next_attempt_at": None,
    "error_code": None,
    "error": None,
    "error_since": None,
    "low_since": None,
}
"""What ailed an agency that is not read any more ails it no more."""


def take_part(
    store: SnapshotStore,
    policies: Mapping[str, AgencyPolicy],
    now: datetime,
    *,
    left_alone: Collection[str] = (),
) -> list[str]:
    """End the unsent messages of agencies set to shadow or off, or removed, noting it: leaving `off` means a baseline.

    ``left_alone``: agencies whose files are wrong; without a policy they stay as they are. Returns the agencies that
    are off or removed. An agency becomes live, or comes out of `off`, by its next applied read alone.
    """
    away = []
    for record in store.agencies():
        policy = policies.get(record.id)
        if policy is None and record.id in left_alone:
            continue
        mode = policy.mode if policy is not None else Mode.OFF
        if mode is Mode.OFF:
            away.append(record.id)
        if mode is not Mode.LIVE:
            _withdraw(store, record, mode, now)
    return away


def _withdraw(store: SnapshotStore, record: AgencyRecord, mode: Mode, now: datetime) -> None:
    with store.transaction(record.id) as tx:
        ended = end_unsent(tx, mode, now)
        changes: dict[str, Any] = dict(_NOT_READ) if mode is Mode.OFF else {}
        if record.mode != Mode.OFF:  # who is off comes back by a baseline, into shadow too
            changes["mode"] = mode
        if changes:
            tx.save_agency(**changes)
    if ended or record.mode != mode:
        log.info("agency_withdrawn", agency=record.id, mode=mode.value, ended=ended)
