"""The migrations lead to the schema the code works on, on both databases, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Text, inspect, select, text
from sqlalchemy.exc import DBAPIError

from smsd.adapters.store.audit import AuditStore
from smsd.adapters.store.engine import SCHEMA_REVISION, Database
from smsd.adapters.store.migrations.run import alembic_config, upgrade
from smsd.adapters.store.outbox import OutboxStore
from smsd.adapters.store.schema import dossiers, messages, metadata, to_micros
from tests.store.drafts import keep_agency, keep_message, ready
from tests.support.builders import NOW

NOW_MICROS = to_micros(NOW)
OLD_MESSAGE = (
    "INSERT INTO messages (id, agency, dossier_code, kind, occurrence, state, phone, text, segments, made_at, "
    "settle, next_at, valid_until, batch, state_at, final_at) VALUES (:id, 'nha-trang', :code, 'result_ready', '0', "
    ":state, '84905123456', 'Thông báo', 1, :at, 0, :at, :at + 1, 'b', :at, :final)"
)
OLD_EVENT = "INSERT INTO message_events (id, message_id, at, state) VALUES (:id, :message, :at, :state)"


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


def test_remembered_dossiers_are_the_same_after_the_table_was_laid_out_anew(url: str) -> None:
    database = Database(url)
    command.upgrade(alembic_config(database.engine), "0003")
    everything = text("SELECT * FROM dossiers ORDER BY agency, code")
    values = {
        c.name: f"{c.name} ở" if isinstance(c.type, Text) else n for n, c in enumerate(dossiers.columns)
    }
    rows = [
        values | {"agency": agency, "code": f"H{n}", "gone_at": None} for n in range(3) for agency in "ba"
    ]
    named = ", ".join(values)
    with database.writing() as connection:
        connection.execute(
            text(f"INSERT INTO dossiers ({named}) VALUES ({', '.join(f':{name}' for name in values)})"), rows
        )
        before = connection.execute(everything).all()

    for revision in ("0004", "0003", "0004"):
        move = command.downgrade if revision == "0003" else command.upgrade
        move(alembic_config(database.engine), revision)
        with database.reading() as connection:
            assert connection.execute(everything).all() == before
    database.close()


def test_in_sqlite_dossiers_lie_in_the_order_of_their_codes(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'smsd.db'}")
    database.open()
    with database.reading() as connection:
        made_by = text("SELECT sql FROM sqlite_master WHERE name = 'dossiers'")
        assert str(connection.execute(made_by).scalar()).rstrip().endswith("WITHOUT ROWID")
    database.close()


def test_after_the_table_was_laid_out_anew_the_next_read_looks_at_everything(url: str) -> None:
    database = Database(url)
    command.upgrade(alembic_config(database.engine), "0003")
    with database.writing() as connection:
        connection.execute(text("INSERT INTO bucket_sums VALUES ('a', 'shape', 'sums')"))
        connection.execute(
            text(
                "INSERT INTO agencies (id, mode, interval, changed_mark, swept_at) VALUES ('a', 'live', 1, 5, 6)"
            )
        )
    database.open()
    with database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM bucket_sums")).scalar() == 0
        assert connection.execute(text("SELECT changed_mark FROM agencies")).scalar() is None
    database.close()


def test_the_audit_of_an_older_store_is_chained_as_it_stands_and_goes_on(url: str) -> None:
    database = Database(url)
    command.upgrade(alembic_config(database.engine), "0001")
    with database.writing() as connection:
        for number, state in enumerate(("queued", "delivered", "queued")):
            final = NOW_MICROS if state == "delivered" else None
            message = {"id": f"m{number}", "code": f"H{number}", "state": state, "final": final}
            connection.execute(text(OLD_MESSAGE), {**message, "at": NOW_MICROS})
            for id_, event in enumerate(("queued", state) if final else ("queued",)):
                values = {"id": 10 * number + id_ + 1, "message": f"m{number}", "state": event}
                connection.execute(text(OLD_EVENT), {**values, "at": NOW_MICROS})
    database.open()
    with database.reading() as connection:
        salts = connection.execute(select(messages.c.id, messages.c.salt).order_by(messages.c.id)).all()
    assert [(id_, salt is not None) for id_, salt in salts] == [("m0", True), ("m1", False), ("m2", True)]
    ready(database)
    with OutboxStore(database).transaction() as tx:
        assert [message.dossier_code for message in tx.claim(NOW, 9, "spool")] == ["H0", "H0"]
    found = AuditStore(database).verify()
    assert (found.faults, found.events, found.messages) == ([], 8, 4)
    with database.writing() as connection:
        connection.execute(text("UPDATE message_events SET state = 'rejected' WHERE id = 12"))
    (fault, _) = AuditStore(database).verify().faults
    assert (fault.event_id, fault.message_id, fault.dossier_code) == (12, "m1", "H1")
    database.close()


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
