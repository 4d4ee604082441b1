"""Dossiers lie in the order of their codes in SQLite, and no index of digests is kept.

A digest changes with every change of its dossier and lies anywhere in its index: keeping it cost more than the change.
Codes carry the day on which dossiers were received, and what was received together changes together.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NOT_GONE = sa.text("gone_at IS NULL")
_MISSING = sa.text("missing_reads > 0")
_DIGESTS = "ix_dossiers_agency_digest"
_DUE = "ix_dossiers_agency_due_at"
_COLUMNS = (
    "agency, code, code_folded, digest, phone, step, status, procedure_code, procedure_name, received_at, due_at, "
    "resolved_at, position, entered_at, entry, missing_reads, gone_at, done_since"
)


def upgrade() -> None:
    """Lay the dossiers out anew."""
    op.drop_index(_DIGESTS, table_name="dossiers")
    op.drop_index(_DUE, table_name="dossiers")
    if op.get_bind().dialect.name == "sqlite":
        _lay_out(clustered=True)
    op.create_index(_DUE, "dossiers", ["agency", "due_at", "gone_at"])
    # digests are made otherwise now: the next read looks at everything, and counts nothing as missed by earlier ones
    op.execute("DELETE FROM bucket_sums")
    op.execute("UPDATE agencies SET changed_mark = NULL")


def downgrade() -> None:
    """In the order in which they came, with the index."""
    op.drop_index(_DUE, table_name="dossiers")
    if op.get_bind().dialect.name == "sqlite":
        _lay_out(clustered=False)
    op.create_index(_DUE, "dossiers", ["agency", "due_at"])
    op.create_index(
        _DIGESTS,
        "dossiers",
        ["agency", "digest", "gone_at"],
        sqlite_where=_NOT_GONE,
        postgresql_where=_NOT_GONE,
    )


def _lay_out(*, clustered: bool) -> None:
    """Copy the table into one of the other layout, which takes its place."""
    op.create_table(
        "dossiers_laid_out",
        sa.Column("agency", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("code_folded", sa.Text(), nullable=False),
        sa.Column("digest", sa.BigInteger(), nullable=False),
        sa.Column("phone", sa.Text()),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("status", sa.Text()),
        sa.Column("procedure_code", sa.Text()),
        sa.Column("procedure_name", sa.Text()),
        sa.Column("received_at", sa.BigInteger()),
        sa.Column("due_at", sa.BigInteger()),
        sa.Column("resolved_at", sa.BigInteger()),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("entered_at", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.Integer(), nullable=False),
        sa.Column("missing_reads", sa.Integer(), nullable=False),
        sa.Column("gone_at", sa.BigInteger()),
        sa.Column("done_since", sa.BigInteger()),
        sa.PrimaryKeyConstraint("agency", "code", name=op.f("pk_dossiers")),
        sqlite_with_rowid=not clustered,
    )
    op.execute(f"INSERT INTO dossiers_laid_out SELECT {_COLUMNS} FROM dossiers ORDER BY agency, code")  # noqa: S608 # nosec B608 # our own words
    op.drop_table("dossiers")
    op.rename_table("dossiers_laid_out", "dossiers")
    op.create_index("ix_dossiers_code_folded", "dossiers", ["code_folded"])
    op.create_index("ix_dossiers_code", "dossiers", ["code"])
    op.create_index("ix_dossiers_missing", "dossiers", ["agency", "missing_reads"], sqlite_where=_MISSING)
