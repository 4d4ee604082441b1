"""Alembic's entry point: all steps in one transaction on the store's engine."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Engine, text

from smsd.adapters.store.schema import metadata

_MIGRATING = 0x736D6D67  # "smmg"


def run() -> None:
    """Run the migrations alembic has chosen."""
    engine: Engine = context.config.attributes["engine"]
    with engine.connect() as connection:
        locked = connection.execution_options(smsd_immediate=True)
        with locked.begin():
            if engine.dialect.name == "postgresql":  # two hosts may start at once on a new store
                locked.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATING})"))
            context.configure(
                connection=locked, target_metadata=metadata, render_as_batch=True, compare_type=True
            )
            with context.begin_transaction():
                context.run_migrations()


run()
