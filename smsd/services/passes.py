"""When an agency's apology pass may run. It rides on a read: owed from `at` on, over at `until`."""

from __future__ import annotations

from datetime import datetime

from smsd.core.clock import at_time, local_day
from smsd.core.model import APOLOGY, Mode
from smsd.core.policy import AgencyPolicy
from smsd.services.applying import Orders
from smsd.services.making import APOLOGY_RUN
from smsd.services.storage import SnapshotTx


def apology_window(policy: AgencyPolicy, now: datetime) -> tuple[datetime, datetime] | None:
    """From when until when today's apology pass may run for an agency; None where there is none."""
    notice = policy.notices.get(APOLOGY)
    if (
        notice is None
        or notice.at is None
        or notice.until is None
        or not policy.apology
        or policy.mode is Mode.OFF
    ):
        return None
    day = local_day(now, policy.zone)
    return at_time(day, notice.at, policy.zone), at_time(day, notice.until, policy.zone)


def pass_may_run(tx: SnapshotTx, orders: Orders, now: datetime) -> bool:
    """Whether the apology pass that a read was begun with may still run when it is applied."""
    if orders.apology_day is None:
        return True
    notice, zone = orders.policy.notices.get(APOLOGY), orders.policy.zone
    if notice is None or notice.until is None or now >= at_time(orders.apology_day, notice.until, zone):
        return False
    return not tx.run_is_over(APOLOGY_RUN, orders.apology_day)
