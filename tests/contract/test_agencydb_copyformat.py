"""PostgreSQL's binary COPY, as a real server writes it and as a broken wire might."""

from __future__ import annotations

import gc
import random
import struct
import weakref
from contextlib import suppress
from datetime import UTC, date, datetime

import pytest

from smsd.adapters.agencydb.copyformat import END, ORDER, Layout, without_header
from smsd.adapters.agencydb.faults import Place
from smsd.core.errors import AgencyError
from smsd.core.rows import VIEW_COLUMNS, dossier_from
from smsd.services.rowblocks import DECIDING, RowBlock
from tests.contract.agencyrig import Rig, a_row
from tests.contract.test_agencydb_look import everything
from tests.support.builders import ZONE

TEXT, TIMESTAMP, TIMESTAMPTZ, DATE = 25, 1114, 1184, 1082
PLACE = Place("the server", "the login", "smsd_dossiers")
on_postgresql = pytest.mark.parametrize("rig", ["postgresql"], indirect=True)


def a_layout(columns: tuple[str, ...] = DECIDING, **types: int) -> Layout:
    return Layout(columns, {column: types.get(column, TEXT) for column in columns}, PLACE)


def packed(*fields: bytes | None) -> bytes:
    """A row as the server writes it."""
    written = [struct.pack(">h", len(fields))]
    for field in fields:
        written.append(struct.pack(">i", -1) if field is None else struct.pack(">i", len(field)) + field)
    return b"".join(written)


A_ROW = packed(b"H1", b"0905 123 456", "Thẩm định".encode(), None, b"", None)


def test_a_row_is_read_in_the_order_of_the_view() -> None:
    whole = [f"{column}'s".encode() for column in ORDER]

    assert a_layout().row_of(A_ROW) == ("H1", "0905 123 456", "Thẩm định", None, None, None, None, "", None)
    assert a_layout(ORDER).row_of(packed(*whole)) == tuple(f"{column}'s" for column in VIEW_COLUMNS)


def test_a_whole_row_has_the_digest_of_what_decides_in_it() -> None:
    rest: list[bytes | None] = [b"1.001", None, b"2026"]
    deciding: list[bytes | None] = [b"H1", None, "Ký".encode(), b"", b"x" * 300, None]

    short = a_layout().block([packed(*deciding)])
    whole = a_layout(ORDER).block([packed(*deciding, *rest)])
    other = a_layout(ORDER).block([packed(*deciding, b"1.002", *rest[1:])])

    assert short.digests == whole.digests == other.digests
    assert (short.whole, whole.whole) == (False, True)


@pytest.mark.parametrize(
    ("type_", "written", "read"),
    [
        (TIMESTAMP, 0, datetime(2000, 1, 1)),  # noqa: DTZ001
        (TIMESTAMP, -1, datetime(1999, 12, 31, 23, 59, 59, 999_999)),  # noqa: DTZ001
        (TIMESTAMPTZ, 3_600_000_000, datetime(2000, 1, 1, 1, tzinfo=UTC)),
    ],
)
def test_instants_are_counted_from_the_year_2000(type_: int, written: int, read: object) -> None:
    row = packed(b"H1", None, b"S", None, struct.pack(">q", written), None)

    assert a_layout(due_at=type_).row_of(row)[VIEW_COLUMNS.index("due_at")] == read


def test_days_are_counted_from_the_year_2000() -> None:
    row = packed(b"H1", None, b"S", None, struct.pack(">i", -1), None)

    assert a_layout(due_at=DATE).row_of(row)[VIEW_COLUMNS.index("due_at")] == date(1999, 12, 31)


@pytest.mark.parametrize("written", [2**63 - 1, -(2**63), 200_000 * 365 * 86_400 * 10**6])
@pytest.mark.parametrize("type_", [TIMESTAMP, TIMESTAMPTZ])
def test_what_no_calendar_has_is_an_impossible_date(type_: int, written: int) -> None:
    row = packed(b"H1", None, b"S", None, struct.pack(">q", written), None)

    dossier, bad = dossier_from(a_layout(due_at=type_).row_of(row), ZONE)

    assert (dossier.due_at, bad) == (None, ("due_at",))


def test_pieces_of_rows_are_refused_and_say_nothing_of_their_data() -> None:
    pieces = {A_ROW[:end] for end in range(2, len(A_ROW))} | {A_ROW + b"\0", b"\0\7" + A_ROW[2:]}
    for piece in sorted(pieces):
        with pytest.raises(AgencyError) as caught:
            a_layout().row_of(piece)
        assert "0905" not in f"{caught.value} {caught.value.hint}"


def test_noise_is_refused_or_read_and_nothing_else_happens() -> None:
    chance = random.Random(7)
    for _ in range(2_000):
        row = bytearray(A_ROW)
        for _ in range(chance.randint(1, 4)):
            row[chance.randrange(len(row))] = chance.randrange(256)
        for layout in (a_layout(due_at=TIMESTAMP), a_layout(ORDER)):
            with suppress(AgencyError):
                block = layout.block([bytes(row)])
                block.code(0)
                block.row(0)


def test_the_header_is_taken_off_and_missed() -> None:
    header = b"PGCOPY\n\xff\r\n\0" + bytes(8)

    assert without_header(header + A_ROW) == A_ROW
    assert without_header(header + END) == END
    assert without_header(A_ROW) is None


@on_postgresql
def test_a_real_server_s_dates_of_every_kind_are_read(rig: Rig) -> None:
    rig.agency.execute(
        "DROP VIEW smsd_dossiers; CREATE VIEW smsd_dossiers AS SELECT 'H' || i AS dossier_code,"
        " 905000000 + i AS phone, i = 1 AS step, NULL::text AS status, 1.5::float8 AS procedure_code,"
        " 'Tên'::varchar(20) AS procedure_name, timestamptz '2026-08-03 17:30+07' AS received_at,"
        " CASE WHEN i = 1 THEN timestamp '2026-08-03 17:30:00.25' ELSE 'infinity' END AS due_at,"
        " CASE WHEN i = 1 THEN date '0044-03-15 BC' ELSE date '2026-08-03' END AS resolved_at,"
        " now() AS updated_at FROM generate_series(1, 2) AS i"
    )
    found = everything(rig.open(), whole=True).rows

    one, two = (dossier_from(row, ZONE) for row in sorted(found, key=str))
    assert one[0].due_at == datetime(2026, 8, 3, 10, 30, 0, 250_000, tzinfo=UTC)
    assert (one[1], two[1]) == (("resolved_at",), ("due_at",))
    assert one[0].received_at == datetime(2026, 8, 3, 10, 30, tzinfo=UTC)
    assert (one[0].phone, one[0].step, one[0].procedure_code, one[0].procedure_name) == (
        "905000001",
        "true",
        "1.5",
        "Tên",
    )
    assert two[0].resolved_at == datetime(2026, 8, 2, 17, tzinfo=UTC)


@on_postgresql
@pytest.mark.parametrize("rows", [0, 1, 9_999, 10_000, 10_001, 20_000])
def test_blocks_end_where_rows_do(rig: Rig, rows: int) -> None:
    rig.agency.insert([a_row(0)])
    rig.agency.execute(
        "DROP VIEW smsd_dossiers; CREATE VIEW smsd_dossiers AS SELECT d.*"
        f" FROM (SELECT * FROM dossiers LIMIT 1) AS d, generate_series(1, {rows})"
    )

    assert len(everything(rig.open(), whole=False).rows) == rows


@on_postgresql
def test_blocks_of_large_rows_are_small(rig: Rig) -> None:
    rig.agency.insert([a_row(0)])
    rig.agency.execute(
        "DROP VIEW smsd_dossiers; CREATE VIEW smsd_dossiers AS SELECT dossier_code, phone, step, status,"
        " procedure_code, CASE WHEN i > 3000 THEN repeat('x', 60000) END AS procedure_name, received_at, due_at,"
        " resolved_at, updated_at FROM dossiers, generate_series(1, 3600) AS i ORDER BY i"
    )
    sizes: list[int] = []
    with rig.open().look() as look:
        look.everything(lambda block: sizes.append(sum(map(len, block.items))), whole=True)

    assert sum(sizes) > 600 * 60_000
    assert max(sizes) < 100 * 60_000 + (2 << 20)


@on_postgresql
def test_a_read_leaves_nothing_for_the_collector_of_cycles(rig: Rig) -> None:
    class Consumer:
        def take(self, block: RowBlock) -> None:
            """Takes rows and leaves them."""

    rig.agency.insert([a_row(0)])
    reader = rig.open()
    everything(reader)
    gc.collect()
    gc.disable()
    try:
        consumer = Consumer()
        gone = weakref.ref(consumer)
        with reader.look() as look:
            look.everything(consumer.take, whole=True)
        del consumer
        assert gone() is None
    finally:
        gc.enable()
