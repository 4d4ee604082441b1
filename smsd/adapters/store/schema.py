"""The tables of the state store. Alembic's migrations lead here; a test holds the two together.

Instants are whole microseconds since 1970 (UTC) and durations whole microseconds, so that they compare the same in
SQLite and PostgreSQL; days are ISO text. Column types are chosen for both databases: what an operator or a provider
names is `Text`, only our own words and ids have a length.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(instant: datetime) -> int:
    """An aware instant as microseconds since 1970."""
    return (instant - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=4096)  # dossiers of a day have many in common
def from_micros(value: int) -> datetime:
    """The aware UTC instant of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=value)


class Instant(TypeDecorator[datetime]):
    """An aware datetime, kept as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database."""
        return None if value is None else from_micros(value)


class Duration(TypeDecorator[timedelta]):
    """A timedelta, kept as microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else value // _MICROSECOND

    def process_result_value(self, value: Any | None, dialect: Dialect) -> timedelta | None:  # noqa: ARG002
        """From the database."""
        return None if value is None else timedelta(microseconds=value)


class Day(TypeDecorator[date]):
    """A calendar day, kept as ISO text."""

    impl = String(10)
    cache_ok = True

    def process_bind_param(self, value: date | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else value.isoformat()

    def process_result_value(self, value: Any | None, dialect: Dialect) -> date | None:  # noqa: ARG002
        """From the database."""
        return None if value is None else date.fromisoformat(value)


def _where(condition: str) -> dict[str, Any]:
    """The condition of a partial index, for both databases."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


# SQLite counts rows by itself only for INTEGER; PostgreSQL wants room for years of events.
_Serial = BigInteger().with_variant(Integer, "sqlite")

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
"""Facts of the store as a whole: when it began, whether it is a backup copy."""

agencies = Table(
    "agencies",
    metadata,
    Column("id", Text, primary_key=True),
    Column("mode", String(8), nullable=False),
    Column("source", Text),  # fingerprint of database, view, filter and columns at the last baseline
    Column("positions", Text),  # fingerprint of the position rules the dossiers' positions were told by
    Column("interval", Duration, nullable=False),
    Column("baseline_at", Instant),
    Column("baseline_wanted", Boolean, nullable=False, server_default=text("false")),
    Column("attempted_at", Instant),
    Column("last_good_at", Instant),  # when the last good read began
    Column("last_rows", Integer),
    Column("bad_rows", Integer, nullable=False, server_default=text("0")),
    Column("read_time", Duration),
    Column("failures", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", Instant),
    Column("error_code", Text),
    Column("error", Text),
    Column("error_since", Instant),
    Column("low_since", Instant),  # since when reads have been too small to believe
    Column("read_kind", String(16)),  # full, fingerprint or changed_by
    Column("swept_at", Instant),  # when everything was last looked at
    Column("changed_mark", Instant),  # up to when changes have been read, where a date tells them
    Column("found_by_sweep", Integer, nullable=False, server_default=text("0")),
)

bucket_sums = Table(
    "bucket_sums",
    metadata,
    Column("agency", Text, primary_key=True),
    Column("shape", String(64), nullable=False),  # how they were made
    Column("sums", LargeBinary, nullable=False),
)
"""What an agency's database said of its rows at the last read, see `rowblocks.BucketSums`."""

dossiers = Table(
    "dossiers",
    metadata,
    Column("agency", Text, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("code_folded", Text, nullable=False),
    Column("digest", BigInteger, nullable=False),  # of what decides in the row as read, see `rowblocks`
    Column("phone", Text),
    Column("step", Text, nullable=False),
    Column("status", Text),
    Column("procedure_code", Text),
    Column("procedure_name", Text),
    Column("received_at", Instant),
    Column("due_at", Instant),
    Column("resolved_at", Instant),
    Column("position", Text, nullable=False),
    Column("entered_at", Instant, nullable=False),
    Column("entry", Integer, nullable=False),
    Column("missing_reads", Integer, nullable=False),
    Column("gone_at", Instant),
    Column("done_since", Instant),
    Index("ix_dossiers_code_folded", "code_folded"),
    Index("ix_dossiers_code", "code"),
    # gone_at stands in it so that dossiers are counted from the index alone
    Index("ix_dossiers_agency_due_at", "agency", "due_at", "gone_at"),
    Index("ix_dossiers_missing", "agency", "missing_reads", **_where("missing_reads > 0")),
    sqlite_with_rowid=False,  # the rows lie in the order of their codes
)

transitions = Table(
    "transitions",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("agency", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("came_from", Text),
    Column("went_to", Text),  # null: gone from the view
    Column("step", Text),
    Column("status", Text),
    Column("cause", String(16), nullable=False),  # read, baseline or configuration
    Index("ix_transitions_agency_code", "agency", "code"),
    Index("ix_transitions_at", "at"),
)
"""Every change of position that was seen, for `smsd trace`. Baselines record one row per dossier only when it moved."""

messages = Table(
    "messages",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("agency", Text, nullable=False),
    Column("dossier_code", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("occurrence", String(32), nullable=False),
    Column("procedure_code", Text),
    Column("procedure_name", Text),
    Column("state", String(16), nullable=False),
    Column("reason", String(16)),
    Column("phone", Text),
    Column("phone_masked", String(32), nullable=False, server_default=""),
    Column("text", Text),
    Column("salt", LargeBinary),  # of the digests of phone and text in the audit; blanked together with them
    Column("segments", Integer, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("settle", Duration, nullable=False),
    Column("next_at", Instant, nullable=False),  # not before, while queued
    Column("valid_until", Instant, nullable=False),
    Column("due_day", Day),  # an apology's appointed date
    Column("batch", String(32), nullable=False),  # the poll or pass that made it
    Column("held_at", Instant),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("gateway", Text),
    Column("reference", Text),
    Column("possible_duplicate", Boolean, nullable=False, server_default=text("false")),
    Column("handed_over_at", Instant),
    Column("state_at", Instant, nullable=False),
    Column("final_at", Instant),
    Column("detail", Text),
    UniqueConstraint("agency", "dossier_code", "kind", "occurrence"),
    Index("ix_messages_made_at", "made_at"),
    # what has ended leaves the two indexes that sending works on: years of records cost it nothing
    Index("ix_messages_open_state_next_at", "state", "next_at", **_where("final_at IS NULL")),
    Index("ix_messages_open_agency_state", "agency", "state", **_where("final_at IS NULL")),
    Index("ix_messages_personal_final_at", "final_at", **_where("text IS NOT NULL")),
)

message_events = Table(
    "message_events",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("message_id", String(32), nullable=False, index=True),
    Column("at", Instant, nullable=False),
    Column("state", String(16), nullable=False),
    Column("detail", Text),
    Column("content", LargeBinary),  # see `chain.content_digest`
    Column("hash", LargeBinary),  # see `chain.event_hash`; written with the row, always
)
"""The audit: every state a message was in, since when and why, as a chain. An empty `message_id`: of the audit itself.

`mapping.record_events` alone writes here, and `upkeep` alone removes.
"""

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("first_id", BigInteger, primary_key=True, autoincrement=False),
    Column("last_id", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("before", LargeBinary, nullable=False),  # the hash before the first of them
    Column("after", LargeBinary, nullable=False),  # the hash of the last
    Column("at", Instant, nullable=False),
)
"""What stands for events that retention removed, so that the chain goes on over the gap."""

audit_heads = Table(
    "audit_heads",
    metadata,
    Column("day", Day, primary_key=True),
    Column("event_id", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
"""The last event of each day that is over, as its report prints it."""

message_parts = Table(
    "message_parts",
    metadata,
    Column("gateway", Text, primary_key=True),
    Column("part", Text, primary_key=True),  # the provider's id, see `receipts.part_key`
    Column("message_id", String(32), index=True),  # null: reported before it was answered; "": given up
    Column("at", Instant, nullable=False),
    Column("verdict", String(16)),
    Column("detail", Text),
)
"""Parts of long messages, for gateways whose receipts name parts and not messages."""

runs = Table(
    "runs",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("agency", Text, primary_key=True),
    Column("day", Day, primary_key=True),
    Column("state", String(16), nullable=False),  # owed, done, skipped or missed
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("next_attempt_at", Instant),
    Column("finished_at", Instant),
    Column("detail", Text),
)
"""Daily jobs: one is owed until its row says otherwise."""

findings = Table(
    "findings",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("day", Day, nullable=False),
    Column("agency", Text, nullable=False),
    Column("dossier_code", Text, nullable=False, server_default=""),
    Column("procedure_code", Text, nullable=False, server_default=""),
    Column("kind", Text, nullable=False, server_default=""),
    Column("reason", String(16), nullable=False),
    Column("phone_masked", String(32), nullable=False, server_default=""),
    Column("at", Instant, nullable=False),
    Column("detail", Text),
    UniqueConstraint("day", "agency", "dossier_code", "reason", "kind"),
)
"""What a person should look at beside messages that failed: unexplained, no_apology, bounced, bad_row, bad_date."""

day_counts = Table(
    "day_counts",
    metadata,
    Column("day", Day, primary_key=True),
    Column("agency", Text, primary_key=True),
    Column("procedure_code", Text, primary_key=True),
    Column("procedure_name", Text, nullable=False, server_default=""),
    Column("received", Integer, nullable=False),
    Column("resolved", Integer),
    Column("due_tomorrow", Integer, nullable=False),
    Column("unexplained", Integer, nullable=False, server_default=text("0")),
)
"""What each agency's own database said of a day, kept so that a report made again gives the same figures."""

inquiries = Table(
    "inquiries",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("road", String(16), nullable=False),  # see `lookups.Road`
    Column("provider_id", Text),  # the id on that road
    Column("at", Instant, nullable=False),
    Column("number_digest", String(64), nullable=False),
    Column("number_masked", String(32), nullable=False),
    Column("outcome", String(16), nullable=False),  # found, not_found, wrong_syntax or too_many
    Column("agency", Text),
    Column("dossier_code", Text),
    Column("procedure_code", Text),
    Column("answer", Text, nullable=False),
    UniqueConstraint("road", "provider_id"),
    Index("ix_inquiries_number_digest_at", "number_digest", "at"),
    Index("ix_inquiries_at", "at"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("os_user", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("agency", Text, nullable=False),
    Column("detail", Text),
)
"""What operators decided: held batches released or discarded, reads accepted, baselines ordered."""

alarms = Table(
    "alarms",
    metadata,
    Column("key", Text, primary_key=True),
    Column("severity", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("hint", Text, nullable=False, server_default=""),
    Column("raised_at", Instant, nullable=False),
    Column("cleared_at", Instant),
)
