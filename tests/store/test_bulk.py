"""Rows that go to the driver as they are: both databases take them alike."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from smsd.adapters.store.bulk import BulkInsert
from smsd.adapters.store.engine import Database
from smsd.adapters.store.schema import message_events, to_micros
from smsd.core.model import MessageState
from tests.support.builders import NOW

COLUMNS = ("message_id", "at", "state", "detail")


def test_rows_are_kept_as_they_are_given_whatever_is_in_them(database: Database) -> None:
    instant = to_micros(NOW)
    rows = [
        ("m1", instant, MessageState.QUEUED, None),
        ("m2", instant, "accepted", "100 % 'quoted' %s ? :name Đã trả"),
    ]
    with database.writing() as connection:
        BulkInsert(message_events, COLUMNS).write(connection, rows)
        kept = connection.execute(
            select(*(message_events.c[name] for name in COLUMNS)).order_by(message_events.c.id)
        )
        assert [tuple(row) for row in kept] == [
            ("m1", NOW, "queued", None),
            ("m2", NOW, "accepted", "100 % 'quoted' %s ? :name Đã trả"),
        ]


def test_nothing_is_written_for_no_rows(database: Database) -> None:
    with database.writing() as connection:
        BulkInsert(message_events, COLUMNS).write(connection, [])
        assert connection.execute(select(message_events)).first() is None


def test_columns_in_another_order_than_the_table_s_are_a_mistake(database: Database) -> None:
    swapped = BulkInsert(message_events, ("at", "message_id", "state", "detail"))
    with (
        database.writing() as connection,
        pytest.raises(ValueError, match="message_events takes its rows as"),
    ):
        swapped.write(connection, [(to_micros(NOW), "m1", "queued", None)])
