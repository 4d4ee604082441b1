"""What every look at an agency's view has to answer, whatever the database; the fake one of other tests included."""

from __future__ import annotations

import threading
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg2
import pytest

from smsd.core.errors import AgencyError
from smsd.core.rows import VIEW_COLUMNS, dossier_from, parse_instant, text_of
from smsd.services.ports import AgencyLook, AgencyReader, RawRow
from smsd.services.rowblocks import BUCKETS, DECIDING, REST, BucketSums, RowBlock, Take
from tests.contract.agencyrig import REAL_SQLSERVER, SOON, Rig, a_row, held_up
from tests.support.agencyviews import COLUMNS
from tests.support.builders import ZONE
from tests.support.postgres import wait_until

LONG_AGO = "2000-01-01 00:00:00"


summing = pytest.mark.parametrize("rig", ["postgresql", *REAL_SQLSERVER, "fake"], indirect=True)
on_databases = pytest.mark.parametrize("rig", ["sqlite", "postgresql", *REAL_SQLSERVER], indirect=True)
on_servers = pytest.mark.parametrize("rig", ["postgresql", *REAL_SQLSERVER], indirect=True)
on_postgresql = pytest.mark.parametrize("rig", ["postgresql"], indirect=True)


@dataclass
class Taken:
    """What a question gave, row by row."""

    rows: list[RawRow] = field(default_factory=list)
    digests: list[int] = field(default_factory=list)
    codes: list[object] = field(default_factory=list)
    whole: set[bool] = field(default_factory=set)

    def take(self, block: RowBlock) -> None:
        self.rows += [block.row(place) for place in range(len(block))]
        self.codes += [block.code(place) for place in range(len(block))]
        self.digests += block.digests
        self.whole.add(block.whole)
        assert len(block) == len(block.digests)

    def of(self, *columns: str) -> list[tuple[object, ...]]:
        places = [VIEW_COLUMNS.index(column) for column in columns]
        return [tuple(row[place] for place in places) for row in self.rows]

    @property
    def by_code(self) -> dict[str, int]:
        return dict(zip(map(str, self.codes), self.digests, strict=True))


def taken(question: Callable[[Take], None]) -> Taken:
    found = Taken()
    question(found.take)
    return found


def everything(reader: AgencyReader, *, whole: bool = True) -> Taken:
    with reader.look() as look:
        return taken(lambda take: look.everything(take, whole=whole))


def sums_of(reader: AgencyReader) -> BucketSums:
    with reader.look() as look:
        return sums_in(look)


def sums_in(look: AgencyLook) -> BucketSums:
    sums: BucketSums | None = look.sums()  # type: ignore[attr-defined]
    assert sums is not None
    return sums


def questions(look: AgencyLook, codes: list[str]) -> dict[str, Taken]:
    """The rows as every question gives them that may be asked of this look."""
    found = {
        "deciding": taken(lambda take: look.everything(take, whole=False)),
        "whole": taken(lambda take: look.everything(take, whole=True)),
        "codes": taken(lambda take: look.of_codes(codes, take)),
        "since": taken(lambda take: look.since("updated_at", LONG_AGO, take)),
    }
    if hasattr(look, "in_buckets"):
        found["buckets"] = taken(lambda take: look.in_buckets(range(BUCKETS), take))
    return found


def _with_instants(rows: Iterable[RawRow], *columns: str) -> Counter[tuple[object, ...]]:
    """Rows with their dates as instants: a database may give the same one as text or not, by how it is asked."""
    return Counter(
        tuple(
            parse_instant(value, ZONE) if column.endswith("_at") else value
            for column, value in zip(VIEW_COLUMNS, row, strict=True)
            if not columns or column in columns
        )
        for row in rows
    )


ODD = [
    "a\tb",
    "a\nb",
    "a\r\nb",
    "\\N",
    "\\",
    "\\\\",
    "\\n",
    "\\.",
    "a\\tb",
    'hai "ngoặc"',
    "O'Brien; DROP TABLE dossiers --",
    "{a,b}",
    "{}",
    "%s 100%% %(x)s",
    "? :a $1",
    "😀 ở đâu",
    "Trả kết quả",
    unicodedata.normalize("NFD", "Trả kết quả"),
    "trả kết quả",
    "",
    " ",
    "  x ",
    "x",
    "\v\f\b\x01\x1f\x7f",
    "\u2028\u00a0\u200b\ufeff",
    "None",
    "NULL",
    "null",
    "a,b",
    "x" * 300_000,
]


def test_every_value_comes_unchanged_by_every_question(rig: Rig) -> None:
    rig.agency.insert(a_row(n, **dict.fromkeys(COLUMNS[1:6], value)) for n, value in enumerate(ODD))
    rig.agency.insert(
        [a_row(900, **dict.fromkeys(COLUMNS[1:6]), received_at=None, due_at=None, updated_at=None)]
    )
    reader = rig.open()
    rows = Counter(row for block in reader.rows() for row in block)
    codes = [str(code) for code in everything(reader).codes]

    with reader.look() as look:
        found = questions(look, codes)

    assert len(rows) == len(ODD) + 1
    deciding = found.pop("deciding")
    assert _with_instants(deciding.rows, *DECIDING) == _with_instants(rows.elements(), *DECIDING)
    assert deciding.whole == {True} or set(deciding.of(*REST)) == {(None,) * len(REST)}
    for question, answer in found.items():
        assert _with_instants(answer.rows) == _with_instants(rows.elements()), question
        assert answer.whole == {True}
        assert answer.by_code == deciding.by_code, question
        assert answer.codes == [row[0] for row in answer.rows]


def test_a_digest_tells_every_value_of_every_deciding_column_apart(rig: Rig) -> None:
    variants = [value for value in ODD if len(value) < 100]
    for column in ("dossier_code", "phone", "step", "status"):
        rig.agency.insert([a_row(**{column: value}) for value in [*variants, None]])
    dates = ["2026-08-05 17:00:00", "2026-08-05 17:00:00.000001", "2026-08-06 17:00:00", None]
    rig.agency.insert([a_row(2, due_at=due, resolved_at=done) for due in dates for done in dates])
    rig.agency.insert(
        [
            a_row(3, phone="x", step="y"),
            a_row(3, phone="y", step="x"),
            a_row(3, phone="a\tb", step="c"),
            a_row(3, phone="a", step="b\tc"),
            a_row(3, phone="a', 'b", step="c"),
            a_row(3, phone="a", step="b', 'c"),
            a_row(3, phone=None, step="\\N"),
            a_row(3, phone="\\N", step=None),
        ]
    )

    found = everything(rig.open(), whole=False)

    assert len(found.rows) == 4 * (len(variants) + 1) + 16 + 8
    assert len(set(found.digests)) == len(found.rows) == len(set(found.of(*DECIDING)))


def test_a_digest_stays_while_only_other_columns_and_the_order_change(rig: Rig) -> None:
    rig.agency.insert(a_row(number) for number in range(9))
    before = everything(rig.open()).by_code
    for number in (3, 1):
        code = f"H32.12-260803-{number:04d}"
        rig.agency.delete(code)
        rig.agency.insert(
            [
                a_row(
                    number,
                    procedure_code="2",
                    procedure_name=None,
                    received_at=None,
                    updated_at="2026-08-02 10:00:00",
                )
            ]
        )

    after = everything(rig.open())

    assert after.by_code == before
    assert len(set(before.values())) == 9


def test_rows_that_stand_twice_come_twice(rig: Rig) -> None:
    rig.agency.insert([a_row(1), a_row(1), a_row(2), a_row(1, step="Ký")])

    with rig.open().look() as look:
        found = questions(look, ["H32.12-260803-0001", "H32.12-260803-0002"])

    for answer in found.values():
        assert sorted(Counter(answer.codes).values()) == [1, 3]
        assert sorted(Counter(answer.digests).values()) == [1, 1, 2]


def test_an_empty_view_gives_no_row_by_any_question(rig: Rig) -> None:
    with rig.open().look() as look:
        found = questions(look, ["H1"])
        assert look.newest("updated_at") is None

    assert [answer.rows for answer in found.values()] == [[]] * len(found)


def test_rows_are_found_by_codes_whatever_stands_in_them(rig: Rig) -> None:
    codes = [value for value in ODD if len(value) < 100]
    rig.agency.insert([a_row(dossier_code=code, phone=str(n)) for n, code in enumerate(codes)])
    rig.agency.insert([a_row(dossier_code=None, phone="none")])

    with rig.open().look() as look:
        for code in codes:
            found = taken(lambda take, code=code: look.of_codes([code], take))
            # to SQL Server a text with spaces at its end is the same as without
            alike = (
                [c for c in codes if c.rstrip(" ") == code.rstrip(" ")] if rig.kind == "sqlserver" else [code]
            )
            assert sorted(map(str, found.codes)) == sorted(alike)
            assert (code, str(codes.index(code))) in found.of("dossier_code", "phone")
        assert len(taken(lambda take: look.of_codes([*codes, "H0", "NULL "], take)).rows) == len(codes)
        assert taken(lambda take: look.of_codes([], take)).rows == []


def test_many_codes_are_found_in_as_many_questions_as_it_takes(rig: Rig) -> None:
    rig.agency.insert(a_row(number) for number in range(1_300))
    codes = [f"H32.12-260803-{number:04d}" for number in range(200, 1_500)]

    with rig.open().look() as look:
        found = taken(lambda take: look.of_codes(codes, take))

    assert sorted(map(str, found.codes)) == codes[:1_100]


def test_rows_since_an_instant_are_those_of_it_later_or_without_a_date(rig: Rig) -> None:
    dates = [
        "2026-08-01 09:59:59",
        "2026-08-01 10:00:00",
        "2026-08-01 10:00:00.5",
        "2026-08-02 00:00:00",
        None,
    ]
    rig.agency.insert(a_row(number, updated_at=date) for number, date in enumerate(dates))

    with rig.open().look() as look:
        assert parse_instant(look.newest("updated_at"), ZONE) == parse_instant("2026-08-02 00:00:00", ZONE)
        found = taken(lambda take: look.since("updated_at", "2026-08-01 10:00:00", take))

    assert sorted(str(code)[-1] for code in found.codes) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("column", ["received_at", "due_at", "resolved_at"])
def test_any_date_column_may_say_when_a_row_changed(rig: Rig, column: str) -> None:
    rig.agency.insert(
        [a_row(1, **{column: "2026-08-09 10:00:00"}), a_row(2, **{column: "2026-08-01 10:00:00"})]
    )

    with rig.open().look() as look:
        newest = look.newest(column)
        assert str(newest) == "2026-08-09 10:00:00"
        assert [str(c)[-1] for c in taken(lambda take: look.since(column, newest, take)).codes] == ["1"]


@pytest.mark.parametrize("value", ["O'Brien %s; --", 'hai "ngoặc" {a,b}', "100%", 12, None])
def test_a_filter_goes_for_every_question(rig: Rig, value: object) -> None:
    written = value if rig.kind == "fake" or value is None or isinstance(value, str) else str(value)
    if rig.kind == "sqlite":
        written = value
    rig.agency.insert([a_row(1, agency_code=written), a_row(2, agency_code="H32"), a_row(3, agency_code="%")])

    with rig.open(filter={"agency_code": value}).look() as look:
        found = questions(look, [f"H32.12-260803-{number:04d}" for number in (1, 2, 3)])
        newest = look.newest("updated_at")
        sums = sums_in(look) if rig.kind != "sqlite" else None

    for question, answer in found.items():
        assert [str(code)[-1] for code in answer.codes] == ["1"], question
    assert newest is not None
    assert sums is None or sums.total == 1


NAMES = {
    "dossier_code": "Mã Hồ Sơ 100%",
    "phone": "SốĐT {a} %s",
    "step": "Tên'Bước",
    "due_at": "NGAY HEN",
    "updated_at": "Ngày %% sửa",
}


def test_columns_are_found_under_the_agencys_own_names_by_every_question(rig: Rig) -> None:
    rig.agency.insert([a_row(1), a_row(2, updated_at="2026-08-03 10:00:00")])
    rig.agency.show({column: NAMES.get(column, column) for column in COLUMNS})
    names = NAMES | {"due_at": "Ngay Hen"}

    with rig.open(columns=names).look() as look:
        found = questions(look, ["H32.12-260803-0001", "H32.12-260803-0002"])
        assert str(look.newest("updated_at")) == "2026-08-03 10:00:00"
        if rig.kind != "sqlite":
            assert sums_in(look).total == 2

    for question, answer in found.items():
        assert sorted(answer.of("dossier_code", "phone", "step")) == [
            ("H32.12-260803-0001", "0905 123 456", "Thẩm định"),
            ("H32.12-260803-0002", "0905 123 456", "Thẩm định"),
        ], question


def test_optional_columns_a_view_lacks_are_null_in_every_answer(rig: Rig) -> None:
    rig.agency.insert([a_row(1)])
    rig.agency.show(
        [c for c in COLUMNS if c not in ("status", "procedure_name", "resolved_at", "updated_at")]
    )

    with rig.open().look() as look:
        for whole in (False, True):
            found = taken(lambda take, whole=whole: look.everything(take, whole=whole))
            assert found.of("status", "resolved_at", "step") == [(None, None, "Thẩm định")]
        assert taken(lambda take: look.of_codes(["H32.12-260803-0001"], take)).of("procedure_name") == [
            (None,)
        ]
        if rig.kind != "sqlite":
            assert sums_in(look).total == 1


@on_databases
def test_a_date_column_that_is_not_there_is_named(rig: Rig) -> None:
    rig.agency.show([c for c in COLUMNS if c != "updated_at"])
    reader = rig.open()

    for question in ("newest", "since"):
        with pytest.raises(AgencyError, match="no updated_at among") as caught, reader.look() as look:
            if question == "newest":
                look.newest("updated_at")
            else:
                look.since("updated_at", LONG_AGO, lambda _: None)
        assert caught.value.code == "column_missing"


# the database's own sums


@summing
def test_sums_do_not_depend_on_the_order_of_rows_or_on_the_connection(rig: Rig) -> None:
    rig.agency.insert(a_row(number) for number in range(300))
    first = sums_of(rig.open())
    for number in (0, 150, 299):
        rig.agency.delete(f"H32.12-260803-{number:04d}")
        rig.agency.insert([a_row(number, procedure_name="anders", received_at=None)])

    assert sums_of(rig.open()) == first
    assert first.total == 300
    assert sum(1 for rows in first.rows if rows) > 200, "spread over the buckets"


@summing
def test_a_change_of_a_deciding_column_shows_in_the_bucket_of_its_code_alone(rig: Rig) -> None:
    rig.agency.insert(a_row(number) for number in range(50))
    reader = rig.open()
    code = "H32.12-260803-0007"
    before = sums_of(reader)
    changes: list[dict[str, object]] = [
        {"phone": "0905 123 457"},
        {"step": "thẩm định"},
        {"step": unicodedata.normalize("NFD", "Thẩm định")},
        {"step": "Thẩm định "},
        {"step": ""},
        {"step": None},
        {"status": None},
        {"status": ""},
        {"status": "None"},
        {"due_at": "2026-08-05 17:00:00.000001"},
        {"due_at": None},
        {"resolved_at": "2026-08-05 17:00:00"},
    ]
    seen = {}
    for change in changes:
        rig.agency.update(code, **change)
        after = sums_of(reader)
        (bucket,) = after.differing(before)
        seen[after.hashes[bucket]] = bucket
        with reader.look() as look:
            found = taken(lambda take, bucket=bucket: look.in_buckets([bucket], take))  # type: ignore[attr-defined]
        assert code in found.codes
        assert len(found.rows) == after.rows[bucket]

    assert len(seen) == len(changes)
    assert len(set(seen.values())) == 1


@summing
def test_values_that_two_dossiers_swap_show_in_the_sums(rig: Rig) -> None:
    rig.agency.insert([a_row(1, step="Ký"), a_row(2, step="Trả kết quả"), a_row(3, phone="Ký", step="0905")])
    reader = rig.open()
    before = sums_of(reader)
    rig.agency.update("H32.12-260803-0001", step="Trả kết quả")
    rig.agency.update("H32.12-260803-0002", step="Ký")
    swapped = sums_of(reader)
    assert swapped.rows == before.rows
    assert len(swapped.differing(before)) == 2

    rig.agency.update("H32.12-260803-0003", phone="0905", step="Ký")

    assert len(sums_of(reader).differing(swapped)) == 1


@summing
def test_rows_that_come_leave_and_stand_twice_are_counted_and_codes_of_null_have_a_bucket(rig: Rig) -> None:
    rig.agency.insert([a_row(1)])
    reader = rig.open()
    before = sums_of(reader)
    rig.agency.insert([a_row(dossier_code=None), a_row(dossier_code=None, step="x"), a_row(1)])

    after = sums_of(reader)

    differing = after.differing(before)
    assert sorted(after.rows[bucket] - before.rows[bucket] for bucket in differing) == [1, 2]
    with reader.look() as look:
        found = taken(lambda take: look.in_buckets(differing, take))  # type: ignore[attr-defined]
    assert Counter(found.codes) == {None: 2, "H32.12-260803-0001": 2}
    rig.agency.delete("H32.12-260803-0001")
    assert sums_of(reader).total == 2


@on_servers
def test_sums_of_another_filter_or_other_columns_have_another_shape(rig: Rig) -> None:
    rig.agency.insert([a_row(1, agency_code="A"), a_row(2, agency_code="B")])
    shapes = {
        sums_of(rig.open(**changes)).shape
        for changes in (
            {},
            {"filter": {"agency_code": "A"}},
            {"filter": {"agency_code": "B"}},
            {"columns": {"phone": "procedure_name"}},
        )
    }
    rig.agency.show([column for column in COLUMNS if column != "resolved_at"])
    shapes.add(sums_of(rig.open()).shape)

    assert len(shapes) == 5
    assert sums_of(rig.open()).shape in shapes


# what PostgreSQL views are made of

TYPES = """
CREATE TABLE typed (code varchar(30), phone char(14), step_id integer, status varchar, pc integer, pn text,
    received date, due timestamptz, resolved text, updated timestamptz);
CREATE TABLE steps (id integer, name varchar(40));
INSERT INTO steps VALUES (1, 'Thẩm định'), (2, 'Trả kết quả');
INSERT INTO typed VALUES
    ('H1', '0905', 1, 'x', 7, NULL, '2026-07-29', '2026-08-05 17:00+07', '2026-08-04T10:00', '2026-08-01 10:00+07'),
    ('H2', '0906', 2, NULL, NULL, 'y', NULL, NULL, NULL, NULL);
CREATE OR REPLACE VIEW typed_view AS SELECT code AS dossier_code, phone, name AS step, status, pc AS procedure_code,
    pn AS procedure_name, received AS received_at, due AS due_at, resolved AS resolved_at, updated AS updated_at
    FROM typed JOIN steps ON steps.id = step_id"""


@on_postgresql
def test_columns_of_other_types_and_views_over_joins_answer_every_question_alike(rig: Rig) -> None:
    rig.agency.execute(TYPES)
    reader = rig.open(view="typed_view")
    rows = {text_of(row[0]): row for block in reader.rows() for row in block}

    with reader.look() as look:
        found = questions(look, ["H1", "H2"])
        newest = look.newest("updated_at")
        since = taken(lambda take: look.since("updated_at", newest, take))
        sums = sums_in(look)

    assert sorted(map(str, since.codes)) == ["H1", "H2"]
    for question, answer in found.items():
        assert answer.by_code == found["whole"].by_code, question
        if question == "deciding":
            continue
        for row in answer.rows:
            assert dossier_from(row, ZONE) == dossier_from(rows[text_of(row[0])], ZONE)
    changes = [
        ("typed", "phone = '0907'"),
        ("typed", "due = due + interval '1 second'"),
        ("typed", "resolved = '2026-08-04T10:01'"),
        ("steps", "name = 'Ký'"),
    ]
    for table, change in changes:
        rig.agency.execute(
            f"UPDATE {table} SET {change} WHERE {'code' if table == 'typed' else 'id::text'} IN ('H1', '1')"
        )
        after = sums_of(reader)
        assert len(after.differing(sums)) == 1, change
        sums = after


@on_postgresql
def test_codes_that_are_numbers_or_padded_are_found_and_summed(rig: Rig) -> None:
    for type_, values in (("integer", "(12), (-7), (NULL)"), ("char(12)", "('H1'), ('it''s'), (NULL)")):
        rig.agency.execute(f"DROP TABLE IF EXISTS coded CASCADE; CREATE TABLE coded (code {type_})")
        rig.agency.execute(f"INSERT INTO coded VALUES {values}")
        rig.agency.execute(
            "CREATE VIEW coded_view AS SELECT code AS dossier_code, 'x' AS phone, 'y'::text AS step, "
            "1 AS procedure_code, "
            "now()::date AS received_at, NULL::timestamp AS due_at, NULL::timestamp AS updated_at FROM coded"
        )
        reader = rig.open(view="coded_view")
        everything_ = everything(reader, whole=False)
        codes = [code for code in everything_.codes if isinstance(code, str)]
        with reader.look() as look:
            assert taken(lambda take, codes=codes: look.of_codes(codes, take)).by_code == {
                code: everything_.by_code[code] for code in codes
            }
            sums = sums_in(look)
            buckets = [bucket for bucket in range(BUCKETS) if sums.rows[bucket]]
            found = taken(lambda take, buckets=buckets: look.in_buckets(buckets, take))  # type: ignore[attr-defined]
        assert sums.total == len(found.rows) == 3
        assert found.by_code == everything_.by_code


@on_postgresql
def test_sums_and_digests_do_not_follow_the_session_s_settings(rig: Rig) -> None:
    rig.agency.execute(TYPES)
    reader = rig.open(view="typed_view")
    before = sums_of(reader)
    rig.agency.execute(
        f"ALTER DATABASE {rig.agency.database} SET datestyle = 'SQL, DMY'; "
        f"ALTER DATABASE {rig.agency.database} SET timezone = 'America/New_York'"
    )

    other = rig.open(view="typed_view")

    assert sums_of(other) == before
    dates = {parse_instant(row[0], ZONE) for row in everything(other).of("due_at")}
    assert dates == {None, parse_instant("2026-08-05 17:00", ZONE)}


@on_postgresql
def test_a_collation_to_which_capitals_are_small_letters_hides_no_change(rig: Rig) -> None:
    rig.agency.execute(
        "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false); "
        "CREATE TABLE blinded (LIKE dossiers); ALTER TABLE blinded ALTER dossier_code TYPE text COLLATE blind; "
        "ALTER TABLE blinded ALTER step TYPE text COLLATE blind"
    )
    chosen = ", ".join(COLUMNS)
    rig.agency.execute(f"CREATE VIEW blind_view AS SELECT {chosen} FROM blinded")
    rig.agency.execute("INSERT INTO blinded (dossier_code, step) VALUES ('h1', 'Ký'), ('H1', 'Ký')")
    reader = rig.open(view="blind_view")
    before = sums_of(reader)
    assert sorted(before.rows)[-3:] == [0, 1, 1]

    rig.agency.execute("UPDATE blinded SET step = 'KÝ' WHERE dossier_code::text COLLATE \"C\" = 'h1'")

    assert len(sums_of(reader).differing(before)) == 1
    with reader.look() as look:
        assert "h1" in taken(lambda take: look.of_codes(["h1"], take)).codes


@on_postgresql
def test_a_union_of_columns_of_different_collations_is_read_by_every_question(rig: Rig) -> None:
    rig.agency.insert([a_row(1)])
    names = ", ".join(COLUMNS)
    other = ", ".join(f'{c} COLLATE "C" AS {c}' if c in COLUMNS[:6] else c for c in COLUMNS)
    rig.agency.execute(
        'CREATE TABLE posix (LIKE dossiers); ALTER TABLE posix ALTER step TYPE text COLLATE "POSIX"; '
        f"CREATE VIEW both_view AS SELECT {names} FROM posix UNION ALL SELECT {other} FROM dossiers"
    )
    reader = rig.open(view="both_view")

    with reader.look() as look:
        found = questions(look, ["H32.12-260803-0001"])
        assert sums_in(look).total == 1

    assert {len(answer.rows) for answer in found.values()} == {1}


# one state, deadlines, and consumers that fail


@on_postgresql
def test_all_of_one_look_is_of_one_state_whatever_is_written_meanwhile(rig: Rig) -> None:
    rig.agency.insert(a_row(number) for number in range(20))
    reader = rig.open()
    code = "H32.12-260803-0003"

    with reader.look() as look:
        before, sums = taken(lambda take: look.everything(take, whole=False)), sums_in(look)
        rig.agency.update(code, step="Ký", updated_at="2026-08-09 10:00:00")
        rig.agency.delete("H32.12-260803-0004")
        rig.agency.insert([a_row(99)])
        answers = questions(look, [str(c) for c in before.codes])
        assert sums_in(look) == sums
        assert look.newest("updated_at") == "2026-08-01 10:00:00"

    for question, answer in answers.items():
        assert answer.by_code == before.by_code, question
    assert len(sums_of(reader).differing(sums)) == 3
    after = everything(reader, whole=False).by_code
    assert after.keys() ^ before.by_code.keys() == {"H32.12-260803-0004", "H32.12-260803-0099"}
    assert after[code] != before.by_code[code]


def hanging_questions(rig: Rig) -> list[Callable[[AgencyLook], object]]:
    asked: list[Callable[[AgencyLook], object]] = [
        lambda look: look.everything(lambda _: None, whole=False),
        lambda look: look.of_codes(["H1"], lambda _: None),
        lambda look: look.newest("updated_at"),
        lambda look: look.since("updated_at", LONG_AGO, lambda _: None),
    ]
    if rig.kind != "sqlite":
        asked.append(sums_in)
        asked.append(lambda look: look.in_buckets(range(BUCKETS), lambda _: None))  # type: ignore[attr-defined]
    return asked


def test_every_question_ends_at_the_deadline_of_the_whole_look(rig: Rig) -> None:
    rig.agency.insert([a_row(dossier_code="H1")])
    rig.agency.hang()
    for question in hanging_questions(rig):
        started = time.monotonic()

        with pytest.raises(AgencyError) as caught, rig.open(timeout=rig.short).look() as look:
            question(look)

        assert caught.value.code == "timeout"
        assert time.monotonic() - started < SOON


def under_way(rig: Rig, reader: AgencyReader) -> Callable[[], bool]:
    """A condition that comes true when the look's statement hangs."""
    if rig.kind == "postgresql":
        since = rig.agency.ask("SELECT clock_timestamp()::text")
        asleep = f"wait_event = 'PgSleep' AND query_start >= '{since}'"
        return lambda: rig.agency.ask(f"SELECT count(*) FROM pg_stat_activity WHERE {asleep}") == 1
    if rig.kind == "sqlite":
        before = time.process_time()
        return lambda: time.process_time() - before > 0.2
    if rig.kind == "sqlserver":
        return held_up(reader)
    return lambda: bool(reader.waiting)  # type: ignore[attr-defined]


@pytest.mark.parametrize("ending", ["cancel", "close"])
def test_every_question_ends_soon_when_another_thread_says_so(rig: Rig, ending: str) -> None:
    rig.agency.insert([a_row(dossier_code="H1")])
    rig.agency.hang()
    for question in hanging_questions(rig):
        reader = rig.open()
        errors: list[BaseException] = []

        def ask(
            reader: AgencyReader = reader,
            question: Callable[[AgencyLook], object] = question,
            errors: list[BaseException] = errors,
        ) -> None:
            try:
                with reader.look() as look:
                    question(look)
            except BaseException as raised:
                errors.append(raised)

        condition = under_way(rig, reader)
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        wait_until(condition)
        getattr(reader, ending)()
        thread.join(SOON)

        assert not thread.is_alive()
        assert [getattr(error, "code", error) for error in errors] == ["timeout"]


ERRORS = [
    ValueError("a value"),
    AgencyError("given up", code="timeout"),
    psycopg2.OperationalError("a store's, not the agency's"),
    ZeroDivisionError(),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_a_consumer_raises_comes_out_as_it_is_and_the_next_look_is_sound(
    rig: Rig, error: BaseException
) -> None:
    rig.agency.insert(a_row(number, procedure_name="x" * 600) for number in range(4_000))
    reader = rig.open()
    blocks = 0

    def take(_: RowBlock) -> None:
        nonlocal blocks
        blocks += 1
        if blocks == 2:
            raise error

    with pytest.raises(type(error)) as caught, reader.look() as look:
        look.everything(take, whole=True)

    assert caught.value is error
    assert blocks == 2, "nothing is handed on after it"
    assert len(everything(reader).rows) == 4_000


def test_a_look_that_asks_nothing_or_is_left_by_an_error_of_its_own_leaves_the_next_sound(rig: Rig) -> None:
    rig.agency.insert([a_row()])
    reader = rig.open()
    with reader.look():
        pass
    with suppress(KeyError), reader.look() as look:
        look.everything(lambda _: None, whole=False)
        raise KeyError

    assert len(everything(reader).rows) == 1
    rig.agency.update("H32.12-260803-0001", step="Ký")
    assert everything(reader).of("step") == [("Ký",)], "no old state is kept"


@on_databases
def test_a_new_look_ends_one_that_is_still_open(rig: Rig) -> None:
    rig.agency.insert([a_row()])
    reader = rig.open()

    with pytest.raises(AgencyError) as caught, reader.look() as first:
        assert len(everything(reader).rows) == 1
        first.everything(lambda _: None, whole=True)

    assert caught.value.code == "timeout"
    assert len(everything(reader).rows) == 1


def test_rows_and_looks_take_turns_on_one_reader(rig: Rig) -> None:
    rig.agency.insert(a_row(number) for number in range(2_500))
    reader = rig.open()
    half = reader.rows()
    next(half)

    assert len(everything(reader).rows) == 2_500
    assert sum(map(len, reader.rows())) == 2_500
    assert reader.has_column("updated_at")
    assert len(everything(reader, whole=False).rows) == 2_500


def test_a_view_that_is_gone_fails_the_look_and_one_that_is_back_does_not(rig: Rig) -> None:
    rig.agency.insert([a_row()])
    reader = rig.open()
    assert len(everything(reader).rows) == 1
    rig.agency.lose_view()

    with pytest.raises(AgencyError) as caught:
        everything(reader)

    assert caught.value.code == "view_missing"
    rig.agency.show()
    assert len(everything(reader).rows) == 1


@on_postgresql
def test_a_kept_connection_that_broke_does_not_cost_a_look(rig: Rig) -> None:
    rig.agency.insert([a_row()])
    reader = rig.open()
    assert len(everything(reader).rows) == 1
    rig.agency.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'smsd'"
    )

    assert len(everything(reader).rows) == 1


@on_postgresql
def test_a_connection_that_breaks_within_a_look_is_a_fault_of_the_agency(rig: Rig) -> None:
    rig.agency.insert([a_row()])
    reader = rig.open()

    with pytest.raises(AgencyError) as caught, reader.look() as look:
        look.newest("updated_at")
        rig.agency.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'smsd'"
        )
        look.everything(lambda _: None, whole=False)

    assert caught.value.code == "unreachable"
    assert len(everything(reader).rows) == 1


@on_postgresql
def test_a_row_the_view_chokes_on_fails_the_look_without_its_data(rig: Rig) -> None:
    rig.agency.insert([a_row(), a_row(2, phone="Nguyễn Văn A")])
    rig.agency.lose_view()
    chosen = ", ".join(c if c != "phone" else "phone::bigint::text AS phone" for c in COLUMNS)
    rig.agency.execute(f"CREATE VIEW smsd_dossiers AS SELECT {chosen} FROM dossiers")
    reader = rig.open()

    for question in (lambda look: look.everything(lambda _: None, whole=True), sums_in):
        with pytest.raises(AgencyError) as caught, reader.look() as look:
            question(look)
        assert caught.value.code == "read_failed"
        assert "Nguyễn" not in str(caught.value)


def test_digests_are_the_same_in_every_process(rig: Rig) -> None:
    rig.agency.insert([a_row(due_at=None, status=None)])

    (digest,) = everything(rig.open()).digests
    of_tuples = -5005355938567972181
    known = dict.fromkeys(("sqlite", "sqlserver", "fake"), of_tuples) | {"postgresql": -5262173774989170773}

    assert digest == known[rig.kind]
