"""Reads that look at some rows: what they compare with, and indexes that answer what is asked every minute."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_NOT_GONE = sa.text("gone_at IS NULL")
_MISSING = sa.text("missing_reads > 0")


def upgrade() -> None:
    """Add columns and a table, and make the indexes fit."""
    op.add_column("agencies", sa.Column("read_kind", sa.String(length=16), nullable=True))
    op.add_column("agencies", sa.Column("swept_at", sa.BigInteger(), nullable=True))
    op.add_column("agencies", sa.Column("changed_mark", sa.BigInteger(), nullable=True))
    op.add_column(
        "agencies",
        sa.Column("found_by_sweep", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )
    op.create_table(
        "bucket_sums",
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("shape", sa.String(length=64), nullable=False),
        sa.Column("sums", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("agency", name=op.f("pk_bucket_sums")),
    )
    op.drop_index("ix_dossiers_agency_digest", table_name="dossiers")
    op.create_index(
        "ix_dossiers_agency_digest",
        "dossiers",
        ["agency", "digest", "gone_at"],
        sqlite_where=_NOT_GONE,
        postgresql_where=_NOT_GONE,
    )
    _index_missing("agency", "missing_reads")


def downgrade() -> None:
    """Back to full reads alone."""
    _index_missing("agency")
    op.drop_index("ix_dossiers_agency_digest", table_name="dossiers")
    op.create_index("ix_dossiers_agency_digest", "dossiers", ["agency", "digest"])
    op.drop_table("bucket_sums")
    for column in ("found_by_sweep", "changed_mark", "swept_at", "read_kind"):
        op.drop_column("agencies", column)


def _index_missing(*columns: str) -> None:
    op.drop_index("ix_dossiers_missing", table_name="dossiers")
    op.create_index(
        "ix_dossiers_missing", "dossiers", list(columns), sqlite_where=_MISSING, postgresql_where=_MISSING
    )
