"""The ports: what the services ask of the outside world. Adapters implement them; tests hold every adapter to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol, runtime_checkable

from smsd.core import rows
from smsd.core.lookups import Road
from smsd.core.model import MessageState, Outcome, PartReceipt, Reason, Receipt, ReceiptVerdict
from smsd.services.rowblocks import BucketSums, Take

VIEW_COLUMNS = rows.VIEW_COLUMNS
"""The columns of the view that decide anything, in the order in which rows carry them."""

RawValue = object
RawRow = tuple[RawValue, ...]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One thing `smsd check` looked at: ``state`` is ok, warning or failed; ``hint`` says how to mend it."""

    name: str
    state: str
    message: str
    hint: str = ""


class AgencyReader(Protocol):
    """One agency's view. One connection at a time; everything it raises is an `AgencyError`."""

    def rows(self, columns: Sequence[str] = VIEW_COLUMNS) -> Iterator[list[RawRow]]:
        """Stream the whole view in blocks of raw rows with exactly these contract columns.

        A column the view need not have and has not is None in every row. Dates come as the driver gives them, or as
        ISO 8601 text. Memory is bounded by one block.
        """

    def look(self) -> AbstractContextManager[AgencyLook]:
        """One look at the view: what is asked within it is of one state where the database can keep one."""

    def has_column(self, column: str) -> bool:
        """Whether the view has a contract column. Known after `rows` has yielded or ended, or asks the database."""

    def cancel(self) -> None:
        """Make a running `rows` fail soon. Called from another thread; never raises, never blocks."""

    def check(self) -> list[CheckResult]:
        """Connection, view, columns, a sample of rows, and whether the login could write."""

    def close(self) -> None:
        """Let go of the connection."""


class AgencyLook(Protocol):
    """The questions one read may ask. Each gives blocks of rows to ``take``, in any order; see `rowblocks`."""

    def everything(self, take: Take, *, whole: bool) -> None:
        """All rows. Not ``whole``: the columns that decide are enough, where that is cheaper."""

    def of_codes(self, codes: Sequence[str], take: Take) -> None:
        """The whole rows of codes as `RowBlock.code` gave them."""

    def newest(self, column: str) -> object:
        """The largest value of a date column; None where there is none."""

    def since(self, column: str, instant: object, take: Take) -> None:
        """The whole rows whose date column is null, or at or after an instant that is written as `newest` gives it."""


@runtime_checkable
class SummingLook(Protocol):
    """A look at a database that can tell itself in which of its rows something changed."""

    of_one_state: bool
    """Whether all answers of a look are of one moment."""

    def sums(self) -> BucketSums | None:
        """How many rows each bucket of codes holds, with a hash of what decides in them; None where it cannot."""

    def in_buckets(self, buckets: Sequence[int], take: Take) -> None:
        """The whole rows of these buckets."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a gateway is given: our id, ``84…`` digits, the text as it shall appear, and what the spool records."""

    id: str
    phone: str
    text: str
    kind: str
    agency: str
    dossier_code: str
    at: datetime
    segments: int
    repeat: bool = False
    """Whether this message may have been handed over before under the same id."""


Done = Callable[[str, Outcome], None]
"""Called once for each submitted message with its id, from any thread."""


class Gateway(Protocol):
    """A road to the telephone networks."""

    name: str
    window: int
    """How many messages may be under way at once; the rest stay queued, where a crash cannot make them unknown."""
    repeats_safely: bool
    """Whether the same id handed over twice is sent once, so that an unknown one may simply be sent again."""

    def submit(self, messages: Sequence[Outgoing], done: Done) -> None:
        """Hand messages over; returns before the answers. ``done`` is called exactly once for each message."""

    def find(self, message_id: str, since: datetime) -> Outcome | None:
        """Ask what became of a message handed over since an instant; None where the gateway cannot tell."""

    def check(self) -> list[CheckResult]:
        """Whether it can be reached and takes our account."""

    def close(self) -> None:
        """Wait for what is under way (5 s at most) and let go."""


@runtime_checkable
class Connecting(Protocol):
    """A gateway that stays connected and hears of receipts and look-ups over its connection."""

    def start(self) -> None:
        """Connect, though nothing is to be sent yet."""


@runtime_checkable
class Polled(Protocol):
    """A gateway whose provider can be asked what became of messages, by the ids it gave them."""

    name: str

    @property
    def poll_interval(self) -> float | None:
        """Seconds between turns of asking; None if this provider is not asked."""

    def poll_receipts(self, ids: Sequence[str], stop: Callable[[], bool]) -> list[PartReceipt]:
        """What became of messages by the provider's ids; nothing for those it says nothing of.

        ``stop`` is called before each id and ends the asking when it is true. A fault ends it too; what was told till
        then is returned.
        """


class ReceiptParser(Protocol):
    """Turns a provider's callback into a receipt. One that has a `Reply` named ``reply`` is answered with it."""

    name: str

    def parse_receipt(self, fields: Mapping[str, str], body: bytes) -> Receipt:
        """The receipt a callback carries. Raises `ReceiptError` for an unsigned, malformed or unknown one."""


class Reply(Protocol):
    """What a provider wants to hear when its call was taken."""

    @property
    def type(self) -> str:
        """The content type."""

    @property
    def body(self) -> str:
        """The text."""


@runtime_checkable
class PartReceiptParser(Protocol):
    """Turns a provider's callback that names its own ids into receipts."""

    name: str

    def parse_part_receipts(self, fields: Mapping[str, str], body: bytes) -> list[PartReceipt]:
        """The receipts a callback carries. Raises `ReceiptError` for an unsigned or malformed one."""


class ReceiptSink(Protocol):
    """Where proven receipts go."""

    def receive(self, receipt: Receipt) -> str:
        """Record a receipt before it is answered: ``applied``, ``repeated``, ``late`` or ``unknown_message``."""


class PartReceiptSink(Protocol):
    """Where receipts go that come over a gateway's own connection, many at a time."""

    def receive_parts(self, receipts: Sequence[PartReceipt]) -> None:
        """Record receipts; they may be acknowledged once this returns. Raises when they could not be recorded."""


@dataclass(frozen=True, slots=True)
class LookupRequest:
    """A text sent to 9029. ``id`` is the provider's id of it, by which repeats on the same road are told."""

    number: str
    text: str
    id: str | None
    road: Road = Road.PLAIN


class LookupDesk(Protocol):
    """Answers citizens' look-ups."""

    def answer(self, request: LookupRequest) -> str:
        """The text to send back; always some text."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A condition a person must mend. ``key`` names the condition, so that it is raised once while it lasts."""

    key: str
    severity: str
    message: str
    hint: str
    at: datetime


class Alarms(Protocol):
    """Raises and clears alarms: log, store, and the operator's command."""

    def raise_alarm(self, key: str, message: str, *, hint: str = "", severity: str = "error") -> None:
        """Raise the alarm of a condition; nothing happens if it stands already."""

    def clear(self, key: str) -> None:
        """The condition is over."""


@dataclass(frozen=True, slots=True)
class DayCounts:
    """What an agency's own database says of one procedure on one day (``resolved`` None: the view cannot tell)."""

    day: date
    agency: str
    procedure_code: str
    procedure_name: str
    received: int
    resolved: int | None
    due_tomorrow: int


@dataclass(frozen=True, slots=True)
class AgencyRecord:
    """What the state store remembers of an agency: its baseline, its last good read and what ails it."""

    id: str
    mode: str
    interval: timedelta
    source: str | None = None
    positions: str | None = None
    baseline_at: datetime | None = None
    baseline_wanted: bool = False
    attempted_at: datetime | None = None
    last_good_at: datetime | None = None
    last_rows: int | None = None
    bad_rows: int = 0
    read_time: timedelta | None = None
    failures: int = 0
    next_attempt_at: datetime | None = None
    error_code: str | None = None
    error: str | None = None
    error_since: datetime | None = None
    low_since: datetime | None = None
    read_kind: str | None = None
    """How the last good read found what changed; see `policy.ReadKind`."""
    swept_at: datetime | None = None
    """When everything was last looked at."""
    changed_mark: datetime | None = None
    """Up to when changes have been read, where they are told by a date."""
    found_by_sweep: int = 0
    """Changes that only full reads have found, since the baseline."""


@dataclass(frozen=True, slots=True)
class RunKey:
    """One daily job: its name, the agency (``*``: all) and the day it belongs to."""

    name: str
    agency: str
    day: date


@dataclass(frozen=True, slots=True)
class RunRecord:
    """How far a daily job is. ``state`` is owed, done, skipped or missed."""

    state: str
    attempts: int = 0
    next_attempt_at: datetime | None = None
    detail: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing is left to do."""
        return self.state != "owed"


@dataclass(frozen=True, slots=True)
class Change:
    """A new state for a message, valid only if it is still in ``before`` and has not ended.

    ``phone`` is the number of the latest good read where it is another; ``failed_try`` takes back the try that was
    counted when the message was claimed; ``unbound``: the gateway surely did not take it, so that another may.
    """

    message_id: str
    before: MessageState
    after: MessageState
    at: datetime
    detail: str | None = None
    gateway: str | None = None
    reference: str | None = None
    next_at: datetime | None = None
    possible_duplicate: bool = False
    final: bool = False
    handed_over: bool = False
    failed_try: bool = False
    reason: Reason | None = None
    phone: str | None = None
    unbound: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message by the provider's id (`receipts.part_key`), and what a receipt said of it."""

    key: str
    verdict: ReceiptVerdict | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """Where a message stands when receipts of it come, and what was reported of each of its parts."""

    message_id: str
    state: MessageState
    tried: bool
    """Whether it was ever given to a gateway."""
    ended: bool
    parts: tuple[Part, ...] = ()
