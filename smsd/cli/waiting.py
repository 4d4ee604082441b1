"""Why messages wait, counted for `smsd status`: the first thing each of them waits for, in the order of `smsd trace`.

What a link rests for after a fault is known to the daemon alone until its alarm is raised; such messages count as due.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from smsd.adapters.store.views import QueuedGroup
from smsd.core.clock import at_time, local_day, within_hours
from smsd.core.model import MessageState, Mode
from smsd.services.clockwatch import ALARM as CLOCK_ALARM


class Why(StrEnum):
    """What a message waits for, in the order in which it is told."""

    SETTLING = "settling"
    RETRY = "retry"
    DOSSIER_MISSING = "dossier_missing"
    NOT_LIVE = "not_live"
    DAEMON = "daemon"
    CLOCK = "clock"
    READ = "read"
    SENDING_HOURS = "sending_hours"
    GATEWAY = "gateway"
    DUE = "due"
    HELD = "held"
    UNKNOWN = "unknown"
    SENDING = "sending"


_WORDS = {
    Why.SETTLING: "settling",
    Why.RETRY: "after a failed try",
    Why.DOSSIER_MISSING: "whose dossier the last read missed",
    Why.NOT_LIVE: "of an agency that is not live",
    Why.DAEMON: "until the daemon works",
    Why.CLOCK: "until the clock can be true",
    Why.READ: "until a good read of {agencies}",
    Why.SENDING_HOURS: "until {until}",
    Why.GATEWAY: "until the gateway is well again",
    Why.DUE: "due now",
    Why.HELD: "held for a decision (smsd held)",
    Why.UNKNOWN: "whose answer was lost",
    Why.SENDING: "being handed over",
}
_ALREADY = {
    MessageState.HELD: Why.HELD,
    MessageState.UNKNOWN: Why.UNKNOWN,
    MessageState.SENDING: Why.SENDING,
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What holds for every message. ``rates``: the gateways in order of preference, with their segments a second."""

    now: datetime
    zone: tzinfo
    opens: time
    closes: time
    daemon_works: bool
    alarms: Collection[str]
    rates: Mapping[str, float | None]


@dataclass(slots=True)
class Waiting:
    """How many messages wait for one thing, until when at the earliest, and of which agencies."""

    why: Why
    messages: int
    until: datetime | None
    agencies: list[str]


def waiting(
    groups: Sequence[QueuedGroup], agencies: Mapping[str, Mapping[str, Any]], around: Surroundings
) -> list[Waiting]:
    """All that is on its way, by what it waits for. ``agencies``: their records with their queues, by id."""
    found: dict[Why, Waiting] = {}

    def add(why: Why, agency: str, messages: int, until: datetime | None = None) -> None:
        one = found.setdefault(why, Waiting(why, 0, until, []))
        one.messages += messages
        if until is not None and one.until is not None:
            one.until = min(one.until, until)
        if agency not in one.agencies:
            one.agencies.append(agency)

    for group in groups:
        why, until = _queued(group, agencies.get(group.agency, {}), around)
        add(why, group.agency, group.messages, until)
    for id_, row in agencies.items():
        for state, why in _ALREADY.items():
            if row["queue"].get(state):
                add(why, id_, row["queue"][state])
    return [found[why] for why in Why if why in found]


def _queued(
    group: QueuedGroup, agency: Mapping[str, Any], around: Surroundings
) -> tuple[Why, datetime | None]:
    if group.later:
        return Why.RETRY if group.tried else Why.SETTLING, group.first_at
    if group.missing:
        return Why.DOSSIER_MISSING, None
    if agency.get("mode") != Mode.LIVE:
        return Why.NOT_LIVE, None
    return _due(group, agency, around)


def _due(group: QueuedGroup, agency: Mapping[str, Any], around: Surroundings) -> tuple[Why, datetime | None]:
    if not around.daemon_works:
        return Why.DAEMON, None
    if CLOCK_ALARM in around.alarms:
        return Why.CLOCK, None
    good: datetime | None = agency.get("last_good_at")
    if good is None or around.now > good + group.settle + 2 * agency.get("interval", timedelta(0)):
        return Why.READ, None
    if not within_hours(around.now, around.opens, around.closes, around.zone):
        return Why.SENDING_HOURS, _opening(around)
    if all(f"gateway:{name}" in around.alarms for name in around.rates):
        return Why.GATEWAY, None
    return Why.DUE, None


def _opening(around: Surroundings) -> datetime:
    """The next instant at which the sending hours begin."""
    today = local_day(around.now, around.zone)
    opens = at_time(today, around.opens, around.zone)
    return opens if opens > around.now else at_time(today + timedelta(days=1), around.opens, around.zone)


def in_words(found: Sequence[Waiting], around: Surroundings) -> str:
    """``12 (9 settling, 3 until 06:00)``; nothing where nothing waits."""
    if not found:
        return ""
    told = ", ".join(f"{one.messages} {_in_words(one, around)}" for one in found)
    return f"{sum(one.messages for one in found)} ({told})"


def _in_words(one: Waiting, around: Surroundings) -> str:
    until = f"{one.until.astimezone(around.zone):%H:%M}" if one.until is not None else ""
    words = _WORDS[one.why].format(until=until, agencies=", ".join(one.agencies))
    rate = next((r for name, r in around.rates.items() if f"gateway:{name}" not in around.alarms), None)
    return f"{words}, at {rate:g} segments a second" if one.why is Why.DUE and rate is not None else words
