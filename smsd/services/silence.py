"""Dossiers that were owed an apology and got none: listed, whether the whole pass failed or only their row."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

from smsd.core.clock import day_bounds
from smsd.core.figures import Finding
from smsd.core.model import APOLOGY, FindingKind, Tracked
from smsd.core.notices import apology_is_owed
from smsd.core.phones import mask_phone
from smsd.core.policy import AgencyPolicy
from smsd.services.storage import SnapshotTx


def list_unapologised(tx: SnapshotTx, policy: AgencyPolicy, day: date, now: datetime) -> int:
    """List the dossiers due on the day after ``day`` that wait and have no apology for it; returns how many.

    Those that the last read lacked are among them: a row that is away for one read is not taken for gone.
    """
    notice, count = policy.notices[APOLOGY], 0
    due_day = day + timedelta(days=1)
    for block in tx.due_between(*day_bounds(due_day, policy.zone), present=False):
        owed = [t for t in block if apology_is_owed(replace(t, missing_reads=0), notice, policy, day)]
        made = tx.messages_of([tracked.dossier.code for tracked in owed])
        silent = [
            tracked
            for tracked in owed
            if not any(m.kind == APOLOGY and m.due_day == due_day for m in made.get(tracked.dossier.code, []))
        ]
        tx.find([_no_apology(policy.id, day, tracked, now) for tracked in silent])
        count += len(silent)
    return count


def _no_apology(agency: str, day: date, tracked: Tracked, now: datetime) -> Finding:
    return Finding(
        day=day,
        agency=agency,
        reason=FindingKind.NO_APOLOGY,
        at=now,
        dossier_code=tracked.dossier.code,
        procedure_code=tracked.dossier.procedure_code or "",
        kind=APOLOGY,
        phone_masked=mask_phone(tracked.dossier.phone or ""),
    )
