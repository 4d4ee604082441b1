"""What `/metrics` tells, counted in the store at the moment it is asked. No phone, text or code is ever a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from smsd import __version__
from smsd.adapters.store.journal import Journal
from smsd.adapters.store.views import Views

COUNTED_BACK = timedelta(hours=24)


def collect_metrics(views: Views, journal: Journal, now: datetime) -> Iterator[Metric]:
    """All metrics of the store; messages and look-ups are those of the last 24 hours."""
    yield _gauge("smsd_build_info", "The running version", ("version",), {(__version__,): 1})
    yield from _agency_metrics(views.agencies(count_dossiers=False), now)
    since = now - COUNTED_BACK
    totals = {tuple(row[:4]): row[4] for row in views.message_totals(since)}
    labels = ("agency", "kind", "state", "reason")
    yield _gauge("smsd_messages_24h", "Messages made in the last 24 hours", labels, totals)
    segments = {(agency,): count for agency, count in views.segments_taken(since).items()}
    yield _gauge(
        "smsd_segments_24h", "Segments gateways took, of messages of the last 24 hours", ("agency",), segments
    )
    lookups = views.lookups(since)
    yield _gauge("smsd_lookups_24h", "Look-ups of the last 24 hours", ("outcome", "road"), lookups)
    oldest = views.oldest_queued()
    waited = max(0.0, (now - oldest).total_seconds()) if oldest is not None else 0.0
    yield _gauge("smsd_oldest_due_seconds", "How long the message due longest has waited", (), {(): waited})
    alarms = {(alarm.key,): 1 for alarm in journal.standing_alarms()}
    yield _gauge("smsd_alarm", "Alarms that stand", ("key",), alarms)


def _agency_metrics(rows: list[dict[str, Any]], now: datetime) -> Iterator[Metric]:
    taking_part = [row for row in rows if row["mode"] != "off"]
    read = [row for row in taking_part if row["last_good_at"] is not None]
    ages = {(row["id"],): (now - row["last_good_at"]).total_seconds() for row in read}
    yield _gauge("smsd_agency_read_age_seconds", "Seconds since the last good read began", ("agency",), ages)
    counts = {(row["id"],): row["last_rows"] or 0 for row in read}
    yield _gauge("smsd_agency_rows", "Rows of the last good read", ("agency",), counts)
    took = {(row["id"],): row["read_time"].total_seconds() for row in read if row["read_time"] is not None}
    yield _gauge("smsd_agency_read_seconds", "How long the last good read took", ("agency",), took)
    failures = {(row["id"],): row["failures"] for row in taking_part}
    yield _gauge("smsd_agency_failures", "Failed reads in a row", ("agency",), failures)
    waiting = {(row["id"], state): count for row in rows for state, count in row["queue"].items()}
    yield _gauge("smsd_messages_pending", "Messages on their way, by state", ("agency", "state"), waiting)


def _gauge(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric([str(part) for part in key], value)
    return family
