"""What the configuration means to the core: positions, notices and the rules of one agency, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time, timedelta, tzinfo
from enum import StrEnum

from smsd.core.model import Mode


class Encoding(StrEnum):
    """How texts leave: with diacritics in UCS-2, or without in the GSM 7-bit alphabet."""

    UNICODE = "unicode"
    UNACCENTED = "unaccented"


@dataclass(frozen=True, slots=True)
class PositionRule:
    """A position and its conditions; all conditions given must hold. Names are folded (`names.fold_name`)."""

    name: str
    steps: frozenset[str] | None = None
    statuses: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A text and when it is sent. ``at``, ``until`` and ``unless`` are set for the scheduled apology only."""

    name: str
    text: str
    settle: timedelta = timedelta(0)
    valid_for: timedelta = timedelta(days=10)
    at: time | None = None
    until: time | None = None
    unless: frozenset[str] = frozenset()


class ReadKind(StrEnum):
    """How a poll finds what changed."""

    FULL = "full"
    FINGERPRINT = "fingerprint"
    """The database says which parts changed; only those are read."""
    CHANGED_BY = "changed_by"
    """A date says which rows changed; only those are read."""


@dataclass(frozen=True, slots=True)
class ReadRule:
    """How an agency is read between its full reads."""

    kind: ReadKind | None = None
    """None: what suits the database and the number of its rows."""
    changed_by: str | None = None
    """The contract's name of the column that says when a row last changed."""
    sweep: timedelta = timedelta(hours=1)
    """How often everything is read all the same."""


@dataclass(frozen=True, slots=True)
class AgencyPolicy:
    """Everything the core needs to decide for one agency."""

    id: str
    name: str
    """What stands for {Tên cơ quan} in texts: the short name, else the name."""
    mode: Mode
    zone: tzinfo
    positions: tuple[PositionRule, ...]
    notices: Mapping[str, Notice]
    apology: bool = True
    skip_same_day: bool = False
    skip_procedures: frozenset[str] = frozenset()
    interval: timedelta = timedelta(seconds=60)
    reading: ReadRule = ReadRule()
    encoding: Encoding = Encoding.UNICODE
    repeat_after: timedelta = timedelta(hours=1)
    stale_after: timedelta = timedelta(days=30)
    hold_above: int = 500
