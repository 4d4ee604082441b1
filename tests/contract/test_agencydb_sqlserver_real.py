"""What only a real SQL Server can show; run where SMSD_TEST_MSSQL_URL names one, beside the suites for every reader."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.engine import URL, make_url

from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.core.errors import AgencyError
from smsd.core.rows import parse_instant, text_of
from smsd.services.rowblocks import BUCKETS, DECIDING, BucketSums
from tests.contract.agencyrig import SQLSERVER_URL, Rig, a_row
from tests.contract.sqlserveragency import SqlServerAgency, literal, quoted
from tests.contract.test_agencydb_look import everything, sums_in, sums_of, taken
from tests.support.agencyviews import COLUMNS
from tests.support.builders import ZONE

pytestmark = pytest.mark.parametrize("rig", ["sqlserver"], indirect=True)

CODE = "H32.12-260803-0001"


@pytest.fixture
def agency(rig: Rig) -> SqlServerAgency:
    assert isinstance(rig.agency, SqlServerAgency)
    return rig.agency


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-16-le")).digest()


def test_the_server_sums_up_what_we_think_it_does(rig: Rig, agency: SqlServerAgency) -> None:
    agency.insert(a_row(number, phone=f"0905 {number} 😀", status=None, due_at=None) for number in range(200))
    agency.insert([a_row(dossier_code=None, step="", due_at=None), a_row(1, due_at=None, status="x" * 700)])
    reader = rig.open()

    rows = everything(reader).of(*DECIDING)
    counts: Counter[int] = Counter()
    hashes: Counter[int] = Counter()
    for row in rows:
        texts = ["\x01" if value is None else str(value)[:600] for value in row]
        bucket = int.from_bytes(sha256("" if row[0] is None else texts[0])[:2], "big") % BUCKETS
        counts[bucket] += 1
        hashes[bucket] ^= int.from_bytes(sha256("\x1f".join(texts))[:8], "big")
    signed = {bucket: value - (1 << 64) if value >> 63 else value for bucket, value in hashes.items()}
    sums = sums_of(reader)

    assert sums.total == len(rows) == 202
    assert sums == BucketSums.of(sums.shape, [(b, counts[b], signed[b]) for b in counts])


@pytest.mark.parametrize(
    ("type_", "before", "after"),
    [
        ("FLOAT", 84905123456.0, 84905123457.0),
        ("REAL", 9051234.0, 9051235.0),
        ("MONEY", 905123456.0001, 905123456.0002),
        ("DECIMAL(20, 4)", 905123456.0001, 905123456.0002),
        ("BIGINT", 84905123456, 84905123457),
        ("CHAR(14)", "0905123456", "0905123457"),
        ("NTEXT", "0905123456", "0905123457"),
        ("NVARCHAR(MAX)", "x" * 590 + "0905123456", "x" * 590 + "0905123457"),
    ],
)
def test_a_last_digit_that_changes_shows_in_the_sums_whatever_the_column_s_type(
    rig: Rig, agency: SqlServerAgency, type_: str, before: object, after: object
) -> None:
    agency.retype(phone=type_)
    agency.insert([a_row(1, phone=before), a_row(2, phone=before), a_row(3, phone=None)])
    reader = rig.open()
    sums = sums_of(reader)

    agency.update(CODE, phone=after)

    changed = sums_of(reader)
    (bucket,) = changed.differing(sums)
    with reader.look() as look:
        found = taken(lambda take: look.in_buckets([bucket], take))  # type: ignore[attr-defined]
    assert CODE in found.codes
    assert all(text_of(phone) for code, phone in found.of("dossier_code", "phone") if code == CODE)


@pytest.mark.parametrize("type_", ["INT", "BIGINT", "UNIQUEIDENTIFIER", "CHAR(40)", "VARCHAR(40)", "FLOAT"])
def test_codes_of_any_type_are_found_by_their_bucket_and_by_themselves(
    rig: Rig, agency: SqlServerAgency, type_: str
) -> None:
    agency.retype(dossier_code=type_)
    codes: list[object] = [100_000 + number for number in range(20)]
    if type_ == "UNIQUEIDENTIFIER":
        codes = [f"0E984725-C51C-4BF4-9960-E1C80E27AB{number:02}" for number in range(20)]
    agency.insert(a_row(dossier_code=code, phone=str(number)) for number, code in enumerate(codes))
    reader = rig.open()

    with reader.look() as look:
        sums = sums_in(look)
        buckets = [bucket for bucket in range(BUCKETS) if sums.rows[bucket]]
        in_buckets = taken(lambda take: look.in_buckets(buckets, take))  # type: ignore[attr-defined]
        by_code = taken(lambda take: look.of_codes([str(code) for code in codes], take))

    assert sums.total == len(codes)
    assert len(buckets) > 10, "spread over the buckets"
    assert (
        sorted(in_buckets.of("phone")) == sorted(by_code.of("phone")) == sorted((str(n),) for n in range(20))
    )


def test_a_collation_to_which_capitals_are_small_letters_hides_no_change(
    rig: Rig, agency: SqlServerAgency
) -> None:
    blind = "NVARCHAR(100) COLLATE Latin1_General_CI_AI"
    agency.retype(dossier_code=blind, step=blind)
    agency.insert([a_row(dossier_code="h1", step="Ký"), a_row(dossier_code="H1", step="Ký")])
    reader = rig.open()
    before = sums_of(reader)
    assert sorted(before.rows)[-3:] == [0, 1, 1]

    agency.execute(
        f"UPDATE {quoted(agency.table)} SET [step] = N'KY' WHERE [phone] = {literal('0905 123 456')}"
    )

    assert len(sums_of(reader).differing(before)) == 2
    with reader.look() as look:
        assert set(taken(lambda take: look.of_codes(["h1"], take)).codes) == {"h1", "H1"}


@pytest.mark.parametrize(
    ("type_", "dates"),
    [
        ("DATETIME2(7)", ["2026-08-01 10:00:00", "2026-08-02 10:00:00.1234567"]),
        ("DATETIME", ["2026-08-01T10:00:00", "2026-08-02T10:00:00.130"]),
        ("SMALLDATETIME", ["2026-08-01T10:00:00", "2026-08-02T10:00:00"]),
        ("DATE", ["2026-08-01", "2026-08-02"]),
        ("DATETIMEOFFSET", ["2026-08-01 10:00:00 +07:00", "2026-08-02 10:00:00.1234567 +07:00"]),
        ("NVARCHAR(40)", ["2026-08-01T10:00:00", "2026-08-02T10:00:00"]),
    ],
)
def test_what_changed_since_the_newest_change_is_found_whatever_the_date_s_type(
    rig: Rig, agency: SqlServerAgency, type_: str, dates: list[str]
) -> None:
    agency.retype(updated_at=type_)
    agency.insert(a_row(number, updated_at=date) for number, date in enumerate([*dates, None]))
    reader = rig.open()

    with reader.look() as look:
        newest = look.newest("updated_at")
        found = taken(lambda take: look.since("updated_at", newest, take))

    instant = parse_instant(newest, ZONE)
    assert instant is not None
    assert abs(instant - datetime(2026, 8, 2, 3, tzinfo=UTC)) < timedelta(hours=11)
    assert sorted(str(code)[-1] for code in found.codes) == ["1", "2"]


def test_a_date_with_a_zone_keeps_it_in_every_answer(rig: Rig, agency: SqlServerAgency) -> None:
    agency.retype(due_at="DATETIMEOFFSET", resolved_at="DATETIMEOFFSET(0)")
    agency.insert([a_row(1, due_at="2026-08-05 17:00:00 +07:00", resolved_at="2026-08-04 00:00:00 -05:30")])
    reader = rig.open()
    before = sums_of(reader)

    ((due, done),) = everything(reader).of("due_at", "resolved_at")
    assert parse_instant(due, ZONE) == datetime(2026, 8, 5, 10, tzinfo=UTC)
    assert parse_instant(done, ZONE) == datetime(2026, 8, 4, 5, 30, tzinfo=UTC)

    agency.update(CODE, due_at="2026-08-05 17:00:00 +08:00")
    assert len(sums_of(reader).differing(before)) == 1


def test_a_row_the_view_chokes_on_fails_the_read_without_its_data(rig: Rig, agency: SqlServerAgency) -> None:
    agency.insert([a_row(1, phone="905123456"), a_row(2, phone="Nguyễn Văn A")])
    agency.lose_view()
    chosen = ", ".join(
        quoted(column) if column != "phone" else "CAST([phone] AS INT) AS [phone]" for column in COLUMNS
    )
    agency.execute(f"CREATE VIEW {quoted(agency.view)} AS SELECT {chosen} FROM {quoted(agency.table)}")
    reader = rig.open()

    for read in (lambda: list(reader.rows()), lambda: everything(reader)):
        with pytest.raises(AgencyError) as caught:
            read()
        assert caught.value.code == "read_failed"
        assert "Nguyễn" not in str(caught.value)
    with reader.look() as look:
        assert look.sums() is None, "as of a server that cannot"  # type: ignore[attr-defined]


@pytest.fixture
def uncommitted(agency: SqlServerAgency) -> Iterator[None]:
    """A writer who has changed the first dossier, and not committed yet."""
    agency.insert([a_row(1)])
    writer = agency.connected(autocommit=False)
    writer.execute(f"UPDATE {quoted(agency.table)} SET [step] = N'Ký'")
    yield
    writer.rollback()
    writer.close()


@pytest.mark.usefixtures("uncommitted")
def test_what_is_not_committed_is_never_read(rig: Rig, agency: SqlServerAgency) -> None:
    versioned = agency.ask(
        "SELECT CAST(is_read_committed_snapshot_on AS INT) FROM sys.databases WHERE database_id = DB_ID()"
    )
    reader = rig.open(timeout=rig.short)
    if versioned:
        assert everything(reader).of("step") == [("Thẩm định",)]
        return
    with pytest.raises(AgencyError) as caught:
        everything(reader)
    assert caught.value.code == "timeout"


def faulty(url: URL) -> AgencyError:
    whole = url.render_as_string(hide_password=False)
    reader = open_reader(AgencySource("nha-trang", whole, "smsd_dossiers", timeout=timedelta(seconds=20)))
    with pytest.raises(AgencyError) as caught:
        list(reader.rows())
    reader.close()
    return caught.value


def test_a_login_and_a_database_that_are_not_there_are_told_apart(rig: Rig) -> None:
    assert SQLSERVER_URL is not None
    url = make_url(SQLSERVER_URL)
    assert faulty(url.set(username="smsd_test_nobody", password="of-nobody-1A")).code == "login_failed"
    assert faulty(url.set(database="smsd_test_nowhere")).code == "database_missing"


def test_a_check_warns_that_this_login_could_create_tables(rig: Rig, agency: SqlServerAgency) -> None:
    agency.insert([a_row()])

    (result,) = [result for result in rig.open().check() if result.name == "read-only"]

    assert result.state == "warning"
    assert "create tables" in result.message or "anything" in result.message


def test_reads_of_several_agencies_at_once_do_not_get_into_each_other(
    rig: Rig, agency: SqlServerAgency
) -> None:
    agency.insert(a_row(number) for number in range(3_000))
    readers = [rig.open() for _ in range(4)]
    found: list[int] = []
    threads = [threading.Thread(target=lambda r=r: found.append(len(everything(r).rows))) for r in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert found == [3_000] * 4
