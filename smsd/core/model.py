"""The nouns of smsd: dossiers, positions, messages, their states and reasons.

Every status a message can have, every reason it may have been suppressed for and every group of them the reports use
is named here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class Mode(StrEnum):
    """How an agency takes part: texts leave, everything but leaving, or nothing."""

    LIVE = "live"
    SHADOW = "shadow"
    OFF = "off"


class MessageState(StrEnum):
    """Where a message is. ``ACCEPTED`` becomes final by age alone (see `outbox`)."""

    QUEUED = "queued"
    HELD = "held"
    SENDING = "sending"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    SUPPRESSED = "suppressed"


UNSENT = frozenset({MessageState.QUEUED, MessageState.HELD})
PENDING = UNSENT | {MessageState.SENDING, MessageState.UNKNOWN}
FAILED = frozenset({MessageState.UNDELIVERED, MessageState.REJECTED, MessageState.EXPIRED})
HANDED_OVER = frozenset({MessageState.ACCEPTED, MessageState.DELIVERED, MessageState.UNDELIVERED})
"""A gateway took it: these cost money."""
FINAL = FAILED | {MessageState.DELIVERED, MessageState.SUPERSEDED, MessageState.SUPPRESSED}
"""Never left again. ``ACCEPTED`` is not among them: it waits 72 h for a receipt."""


class Reason(StrEnum):
    """Why a message was suppressed, in the order in which the reasons are looked for."""

    OFF = "off"
    PROCEDURE = "procedure"
    SAME_DAY = "same_day"
    STALE = "stale"
    REPEAT = "repeat"
    NO_PHONE = "no_phone"
    LANDLINE = "landline"
    INVALID_PHONE = "invalid_phone"
    AMBIGUOUS_PHONE = "ambiguous_phone"
    SHADOW = "shadow"
    DISCARDED = "discarded"


PHONE_REASONS = frozenset({Reason.NO_PHONE, Reason.LANDLINE, Reason.INVALID_PHONE, Reason.AMBIGUOUS_PHONE})


class FindingKind(StrEnum):
    """What a person should look at beside messages that failed."""

    UNEXPLAINED = "unexplained"
    NO_APOLOGY = "no_apology"
    BOUNCED = "bounced"
    BAD_ROW = "bad_row"
    BAD_DATE = "bad_date"


RESULT_READY = "result_ready"
SUPPLEMENT = "supplement"
APOLOGY = "apology"
CLOSED = "closed"
IN_PROGRESS = "in_progress"
"""The position of a dossier that fits no rule."""


@dataclass(frozen=True, slots=True)
class Dossier:
    """One row of an agency's view, cleaned. Instants are aware UTC datetimes; absent text is None."""

    code: str
    step: str
    status: str | None = None
    phone: str | None = None
    procedure_code: str | None = None
    procedure_name: str | None = None
    received_at: datetime | None = None
    due_at: datetime | None = None
    resolved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Tracked:
    """What the state store remembers of one dossier.

    ``entry`` counts the positions it has entered and so numbers its messages; ``missing_reads`` counts full reads in a
    row that lacked it; ``gone`` says it was missing from two or more, so that reappearing counts as entering;
    ``done_since`` is when it was first seen in a position that ends the wait (`apology.unless`).
    """

    dossier: Dossier
    position: str
    entered_at: datetime
    entry: int = 1
    missing_reads: int = 0
    gone: bool = False
    done_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A dossier came from one position into another. ``came_from`` is None when it was first seen (or seen again)."""

    came_from: str | None
    went_to: str
    at: datetime
    by_configuration: bool = False

    @property
    def first_seen(self) -> bool:
        """Whether smsd had not known the dossier (or had lost it) before."""
        return self.came_from is None


@dataclass(frozen=True, slots=True)
class Draft:
    """A message as decided, before it has an id: queued, or suppressed with its reason.

    ``occurrence`` with agency, dossier and kind makes a message unique: the entry's number, or the apology's due day.
    """

    kind: str
    occurrence: str
    state: MessageState
    reason: Reason | None
    phone: str | None
    text: str
    segments: int
    made_at: datetime
    next_at: datetime
    valid_until: datetime
    due_day: date | None = None
    possible_duplicate: bool = False
    """Takes the place of one that may have arrived after all."""


@dataclass(frozen=True, slots=True)
class Message:
    """One row of the outbox. ``phone`` is ``84…`` digits without plus; ``next_at`` is not-before while queued."""

    id: str
    agency: str
    dossier_code: str
    kind: str
    occurrence: str
    state: MessageState
    phone: str | None
    text: str | None
    segments: int
    made_at: datetime
    next_at: datetime
    valid_until: datetime
    attempts: int = 0
    reason: Reason | None = None
    gateway: str | None = None
    reference: str | None = None
    possible_duplicate: bool = False
    due_day: date | None = None
    held_at: datetime | None = None
    handed_over_at: datetime | None = None
    final_at: datetime | None = None
    state_at: datetime | None = None
    detail: str | None = None


class Verdict(StrEnum):
    """What a gateway's answer to one message means, translated at the gateway's edge."""

    ACCEPTED = "accepted"  # taken; a receipt may follow
    DELIVERED = "delivered"  # taken and nothing more will be told (spool)
    REJECTED = "rejected"  # this message will never be taken
    RETRY = "retry"  # surely not taken; try again later
    ACCOUNT = "account"  # surely not taken; account, sender name or address are wrong: stop the link
    UNKNOWN = "unknown"  # perhaps taken: no answer after writing, or one that cannot be read


@dataclass(frozen=True, slots=True)
class Outcome:
    """A gateway's answer to one message. ``code`` is the provider's own word, ``retry_after`` in seconds.

    ``parts`` are the provider's ids of the message's parts, in order, where receipts come by those ids.
    """

    verdict: Verdict
    code: str = ""
    detail: str = ""
    reference: str | None = None
    retry_after: float | None = None
    parts: tuple[str, ...] = ()


class ReceiptVerdict(StrEnum):
    """What a delivery receipt says."""

    ON_ITS_WAY = "on_its_way"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A delivery receipt that has already been proven genuine. ``message_id`` is our own id."""

    gateway: str
    message_id: str
    verdict: ReceiptVerdict
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PartReceipt:
    """A delivery receipt that names one part of a message by the provider's id, as it stands in the receipt."""

    gateway: str
    part: str
    verdict: ReceiptVerdict
    code: str = ""
    detail: str = ""
