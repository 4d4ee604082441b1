"""The audit becomes a chain. Events that are there are chained as they stand; messages still open get their salt."""

import secrets
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from alembic import op

from smsd.core.chain import GENESIS, SALT_BYTES, event_hash
from smsd.core.clock import SystemClock

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_AT_ONCE = 5000
_HEAD = "audit_head"


def upgrade() -> None:
    """Add columns and tables, then chain what is there."""
    op.add_column("messages", sa.Column("salt", sa.LargeBinary(), nullable=True))
    op.add_column("message_events", sa.Column("content", sa.LargeBinary(), nullable=True))
    op.add_column("message_events", sa.Column("hash", sa.LargeBinary(), nullable=True))
    op.create_table(
        "audit_checkpoints",
        sa.Column("first_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.LargeBinary(), nullable=False),
        sa.Column("after", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("first_id", name=op.f("pk_audit_checkpoints")),
    )
    op.create_table(
        "audit_heads",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_audit_heads")),
    )
    _salt_open_messages(op.get_bind())
    _chain_events(op.get_bind())


def downgrade() -> None:
    """Remove them; events of the audit itself go too."""
    op.execute(sa.text("DELETE FROM message_events WHERE message_id = ''"))
    op.execute(sa.text(f"DELETE FROM meta WHERE key = '{_HEAD}'"))  # noqa: S608 # nosec B608 # our own word
    op.drop_table("audit_heads")
    op.drop_table("audit_checkpoints")
    op.drop_column("message_events", "hash")
    op.drop_column("message_events", "content")
    op.drop_column("messages", "salt")


def _salt_open_messages(connection: sa.Connection) -> None:
    ids = connection.execute(sa.text("SELECT id FROM messages WHERE final_at IS NULL")).scalars().all()
    salting = sa.text("UPDATE messages SET salt = :salt WHERE id = :id")
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        connection.execute(salting, [{"id": id_, "salt": secrets.token_bytes(SALT_BYTES)} for id_ in some])


def _chain_events(connection: sa.Connection) -> None:
    """In blocks: there may be years of them."""
    block = sa.text(
        "SELECT id, message_id, at, state, detail FROM message_events WHERE id > :last ORDER BY id LIMIT :limit"
    )
    chaining = sa.text("UPDATE message_events SET hash = :hash WHERE id = :id")
    last, hash_, count = 0, GENESIS, 0
    while rows := connection.execute(block, {"last": last, "limit": _AT_ONCE}).all():
        values = []
        for row in rows:
            hash_ = event_hash(hash_, (*row, None))
            values.append({"id": row.id, "hash": hash_})
        connection.execute(chaining, values)
        last, count = rows[-1].id, count + len(rows)
    if count:
        _note(connection, last + 1, hash_, count)


def _note(connection: sa.Connection, id_: int, before: bytes, count: int) -> None:
    """Say so in the chain, and where it ends."""
    at = (SystemClock().now() - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    detail = f"{count} events of before the audit was a chain, as they stood"
    hash_ = event_hash(before, (id_, "", at, "chained", detail, None))
    connection.execute(
        sa.text(
            "INSERT INTO message_events (id, message_id, at, state, detail, hash) "
            "VALUES (:id, '', :at, 'chained', :detail, :hash)"
        ),
        {"id": id_, "at": at, "detail": detail, "hash": hash_},
    )
    connection.execute(
        sa.text("INSERT INTO meta (key, value) VALUES (:key, :value)"),
        {"key": _HEAD, "value": f"{id_} {hash_.hex()}"},
    )
