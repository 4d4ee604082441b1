"""Alembic's entry point: all steps in one transaction on the store's engine."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Engine

from smsd.adapters.store.schema import metadata


def run() -> None:
    """Run the migrations alembic has chosen."""
    engine: Engine = context.config.attributes["engine"]
    with engine.connect() as connection:
        locked = connection.execution_options(smsd_immediate=True)
        with locked.begin():
            context.configure(
                connection=locked, target_metadata=metadata, render_as_batch=True, compare_type=True
            )
            with context.begin_transaction():
                context.run_migrations()


run()
