"""The migrations lead to the schema the code works on, on both databases, and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from smsd.adapters.store.engine import SCHEMA_REVISION, Database
from smsd.adapters.store.migrations.run import alembic_config, upgrade
from smsd.adapters.store.schema import metadata
from tests.store.drafts import keep_agency, keep_message


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A store migrated for this test alone."""
    made = Database(url)
    made.open()
    yield made
    made.close()


def tables(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(inspect(connection).get_table_names())


def indexes(database: Database) -> set[str]:
    with database.reading() as connection:
        found = inspect(connection)
        return {str(index["name"]) for table in metadata.tables for index in found.get_indexes(table)}


def test_the_migrations_lead_to_the_schema(database: Database) -> None:
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert tables(database) == {*metadata.tables, "alembic_version"}


def test_every_index_of_the_schema_is_there(database: Database) -> None:
    wanted = {str(index.name) for table in metadata.tables.values() for index in table.indexes}
    assert wanted <= indexes(database)


def test_the_code_and_the_last_migration_agree_on_the_revision(database: Database) -> None:
    assert database.revision() == SCHEMA_REVISION


def test_the_way_back_and_up_again_works_with_rows_in_the_tables(database: Database) -> None:
    keep_agency(database)
    keep_message(database)
    command.downgrade(alembic_config(database.engine), "base")
    assert tables(database) == {"alembic_version"}
    upgrade(database.engine)
    assert tables(database) == {*metadata.tables, "alembic_version"}


def test_a_migration_that_fails_leaves_the_store_as_it_was(url: str) -> None:
    database = Database(url)
    with database.writing() as connection:
        connection.execute(
            text("CREATE TABLE transitions (nothing_like_it INTEGER)")
        )  # the last one to be made
    with pytest.raises(DBAPIError, match="transitions"):
        upgrade(database.engine)
    assert tables(database) == {"transitions"}
    database.close()
