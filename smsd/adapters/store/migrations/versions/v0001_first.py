"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table of the first schema."""
    _agencies()
    _alarms()
    _day_counts()
    _decisions()
    _dossiers()
    _findings()
    _inquiries()
    _message_events()
    _message_parts()
    _messages()
    _meta()
    _runs()
    _transitions()


def downgrade() -> None:
    """Remove them all."""
    for name in (
        "agencies",
        "alarms",
        "day_counts",
        "decisions",
        "dossiers",
        "findings",
        "inquiries",
        "message_events",
        "message_parts",
        "messages",
        "meta",
        "runs",
        "transitions",
    ):
        op.drop_table(name)


def _create_partial_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, unique=False, sqlite_where=where, postgresql_where=where)


def _agencies() -> None:
    op.create_table(
        "agencies",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("mode", sa.String(length=8), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("positions", sa.Text(), nullable=True),
        sa.Column("interval", sa.BigInteger(), nullable=False),
        sa.Column("baseline_at", sa.BigInteger(), nullable=True),
        sa.Column("baseline_wanted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("attempted_at", sa.BigInteger(), nullable=True),
        sa.Column("last_good_at", sa.BigInteger(), nullable=True),
        sa.Column("last_rows", sa.Integer(), nullable=True),
        sa.Column("bad_rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("read_time", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("error_since", sa.BigInteger(), nullable=True),
        sa.Column("low_since", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agencies")),
    )


def _alarms() -> None:
    op.create_table(
        "alarms",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("hint", sa.Text(), server_default="", nullable=False),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.Column("cleared_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_alarms")),
    )


def _day_counts() -> None:
    op.create_table(
        "day_counts",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("procedure_code", sa.Text(), nullable=False),
        sa.Column("procedure_name", sa.Text(), server_default="", nullable=False),
        sa.Column("received", sa.Integer(), nullable=False),
        sa.Column("resolved", sa.Integer(), nullable=True),
        sa.Column("due_tomorrow", sa.Integer(), nullable=False),
        sa.Column("unexplained", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("day", "agency", "procedure_code", name=op.f("pk_day_counts")),
    )


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("os_user", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )


def _dossiers() -> None:
    op.create_table(
        "dossiers",
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("code_folded", sa.Text(), nullable=False),
        sa.Column("digest", sa.BigInteger(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("procedure_code", sa.Text(), nullable=True),
        sa.Column("procedure_name", sa.Text(), nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("resolved_at", sa.BigInteger(), nullable=True),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("entered_at", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.Integer(), nullable=False),
        sa.Column("missing_reads", sa.Integer(), nullable=False),
        sa.Column("gone_at", sa.BigInteger(), nullable=True),
        sa.Column("done_since", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("agency", "code", name=op.f("pk_dossiers")),
    )
    op.create_index("ix_dossiers_agency_digest", "dossiers", ["agency", "digest"], unique=False)
    op.create_index("ix_dossiers_agency_due_at", "dossiers", ["agency", "due_at"], unique=False)
    op.create_index("ix_dossiers_code", "dossiers", ["code"], unique=False)
    op.create_index("ix_dossiers_code_folded", "dossiers", ["code_folded"], unique=False)
    _create_partial_index("ix_dossiers_missing", "dossiers", ["agency"], "missing_reads > 0")


def _findings() -> None:
    op.create_table(
        "findings",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("dossier_code", sa.Text(), server_default="", nullable=False),
        sa.Column("procedure_code", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("phone_masked", sa.String(length=32), server_default="", nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
        sa.UniqueConstraint(
            "day",
            "agency",
            "dossier_code",
            "reason",
            "kind",
            name=op.f("uq_findings_day_agency_dossier_code_reason_kind"),
        ),
    )


def _inquiries() -> None:
    op.create_table(
        "inquiries",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("road", sa.String(length=16), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("number_digest", sa.String(length=64), nullable=False),
        sa.Column("number_masked", sa.String(length=32), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("agency", sa.Text(), nullable=True),
        sa.Column("dossier_code", sa.Text(), nullable=True),
        sa.Column("procedure_code", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inquiries")),
        sa.UniqueConstraint("road", "provider_id", name=op.f("uq_inquiries_road_provider_id")),
    )
    op.create_index("ix_inquiries_at", "inquiries", ["at"], unique=False)
    op.create_index("ix_inquiries_number_digest_at", "inquiries", ["number_digest", "at"], unique=False)


def _message_events() -> None:
    op.create_table(
        "message_events",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("message_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message_events")),
    )
    op.create_index(op.f("ix_message_events_message_id"), "message_events", ["message_id"], unique=False)


def _message_parts() -> None:
    op.create_table(
        "message_parts",
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("message_id", sa.String(length=32), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("gateway", "part", name=op.f("pk_message_parts")),
    )
    op.create_index(op.f("ix_message_parts_message_id"), "message_parts", ["message_id"], unique=False)


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("dossier_code", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("occurrence", sa.String(length=32), nullable=False),
        sa.Column("procedure_code", sa.Text(), nullable=True),
        sa.Column("procedure_name", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("phone_masked", sa.String(length=32), server_default="", nullable=False),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.Column("settle", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=False),
        sa.Column("due_day", sa.String(length=10), nullable=True),
        sa.Column("batch", sa.String(length=32), nullable=False),
        sa.Column("held_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("possible_duplicate", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("handed_over_at", sa.BigInteger(), nullable=True),
        sa.Column("state_at", sa.BigInteger(), nullable=False),
        sa.Column("final_at", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint(
            "agency",
            "dossier_code",
            "kind",
            "occurrence",
            name=op.f("uq_messages_agency_dossier_code_kind_occurrence"),
        ),
    )
    op.create_index("ix_messages_made_at", "messages", ["made_at"], unique=False)
    _create_partial_index(
        "ix_messages_open_agency_state", "messages", ["agency", "state"], "final_at IS NULL"
    )
    _create_partial_index(
        "ix_messages_open_state_next_at", "messages", ["state", "next_at"], "final_at IS NULL"
    )
    _create_partial_index("ix_messages_personal_final_at", "messages", ["final_at"], "text IS NOT NULL")


def _meta() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", "agency", "day", name=op.f("pk_runs")),
    )


def _transitions() -> None:
    op.create_table(
        "transitions",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("came_from", sa.Text(), nullable=True),
        sa.Column("went_to", sa.Text(), nullable=True),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=True),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transitions")),
    )
    op.create_index("ix_transitions_agency_code", "transitions", ["agency", "code"], unique=False)
    op.create_index("ix_transitions_at", "transitions", ["at"], unique=False)
