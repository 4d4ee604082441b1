"""report.html: the same figures as the files, safe to open, and whole in itself."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from smsd.adapters.reports.page import EXCEPTIONS_SHOWN, number
from smsd.adapters.reports.words import LANGUAGES, outcome_name, road_name
from smsd.adapters.store.mapping import record_events
from smsd.core.chain import printed_head
from smsd.core.figures import ReportAgency
from smsd.core.lookups import LookupOutcome, Road
from smsd.core.model import MessageState, Reason
from smsd.services.reporting import ReportPaths, ReportService
from tests.reports.report_builders import (
    CAM_RANH,
    DAY,
    NHA_TRANG,
    NOON,
    ReportDatabase,
    RowsReader,
    a_row,
    a_service,
    put_lookup,
    put_message,
)

COLUMNS_ON_THE_PAGE = ("received", "resolved", "due_tomorrow")
ENDINGS = ("delivered", "accepted", "failed", "suppressed", "superseded", "pending")
KINDS = ("result_ready", "supplement", "apology")


class Page(HTMLParser):
    """The page's elements, attributes and tables as text."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text("utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.words: list[str] = []
        self._cell: list[str] | None = None
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append("".join(self._cell).strip())
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._cell is not None:
            self._cell.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def busy(service: ReportService, database: ReportDatabase) -> ReportPaths:
    """A day with something in every column."""
    for state in MessageState:
        reason = Reason.LANDLINE if state is MessageState.SUPPRESSED else None
        put_message(database, state, reason=reason)
        put_message(database, state, reason=reason, kind="apology", agency="cam-ranh", procedure="2.002")
    put_lookup(database)
    rows = [a_row(received="2026-08-03", due="2026-08-04", resolved="2026-08-03") for _ in range(4)]
    service.count_agency("nha-trang", RowsReader(rows), DAY)
    service.count_agency("cam-ranh", RowsReader(rows[:2], without=("resolved_at",)), DAY)
    return service.write(DAY, agencies=[NHA_TRANG, CAM_RANH])


def expected_cells(row: dict[str, str]) -> list[str]:
    """What the page's columns must say for a row of reconciliation.csv."""
    ended = [sum(int(row[f"{kind}_{ending}"]) for kind in KINDS) for ending in ENDINGS]
    made = sum(int(row[f"{kind}_made"]) for kind in KINDS)
    delivered, accepted, failed = ended[:3]
    tried = delivered + accepted + failed
    share = f"{100 * delivered / tried:.1f} %" if tried else "–"
    tail = [row["unexplained"] or "–", row["lookups"], row["segments"], f"{int(row['cost']):,}"]
    return [*(row[name] or "–" for name in COLUMNS_ON_THE_PAGE), str(made), *map(str, ended), share, *tail]


def test_the_page_has_the_same_figures_as_the_files(busy: ReportPaths) -> None:
    content = busy.reconciliation.read_text("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    page = Page(busy.page)
    (by_agency,) = (table for table in page.tables if table[-1][0] == "All")
    totals = [row for row in rows if row["procedure_code"] == "*"]
    assert [cells[1:] for cells in by_agency[1:]] == [expected_cells(row) for row in totals]
    assert [cells[0] for cells in by_agency[1:]] == [CAM_RANH.name, NHA_TRANG.name, "All"]
    procedures = [table[1:] for table in page.tables if table[0][:2] == ["Code", "Procedure"]]
    own = [row for row in rows if row["procedure_code"] != "*"]
    assert [[line[0], *line[2:]] for table in procedures for line in table] == [
        [row["procedure_code"], *expected_cells(row)] for row in own
    ]


def test_the_page_lists_the_same_exceptions_as_the_file(busy: ReportPaths) -> None:
    rows = list(csv.DictReader(io.StringIO(busy.exceptions.read_text("utf-8-sig"), newline="")))
    (listed,) = (table[1:] for table in Page(busy.page).tables if table[0][:2] == ["Agency", "Dossier"])
    assert [(cells[0], cells[1], cells[5], cells[6]) for cells in listed] == [
        (row["agency"], row["dossier_code"], row["phone"], row["at"]) for row in rows
    ]
    assert len(listed) == 12  # 4 endings at each of two agencies, and 4 dossiers without a message


def test_a_range_adds_up_the_days(service: ReportService, database: ReportDatabase) -> None:
    put_message(database)
    put_message(database, made_at=NOON + timedelta(days=1))
    page = Page(service.write_range(DAY, DAY + timedelta(days=1), agencies=[NHA_TRANG]).page)
    (by_agency,) = (table for table in page.tables if table[-1][0] == "All")
    assert by_agency[1][4:6] == ["2", "2"]
    assert "From 2026-08-03 to 2026-08-04" in page.text


def test_the_page_loads_nothing_and_runs_nothing(busy: ReportPaths) -> None:
    page = Page(busy.page)
    assert not [
        tag
        for tag, _ in page.elements
        if tag in {"script", "link", "img", "iframe", "object", "base", "form"}
    ]
    loading = {"src", "href", "srcset", "action", "data", "poster", "background", "xlink:href"}
    for _, attributes in page.elements:
        assert not loading & attributes.keys()
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", page.source)


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;{{ 7 * 7 }}"


def test_hostile_names_are_shown_as_text(database: ReportDatabase, folder: Path) -> None:
    service = a_service(database, folder, notices=(HOSTILE,))
    put_message(database, MessageState.REJECTED, code=HOSTILE, procedure=HOSTILE, kind=HOSTILE, phone=HOSTILE)
    service.count_agency("nha-trang", RowsReader([a_row(name=HOSTILE, received="2026-08-03")]), DAY)
    page = Page(service.write(DAY, agencies=[ReportAgency("nha-trang", HOSTILE)]).page)
    assert not [tag for tag, _ in page.elements if tag in {"script", "img"}]
    assert page.text.count("<script>alert(1)</script>") >= 6
    assert "{{ 7 * 7 }}" in page.text


def test_the_page_says_that_a_day_is_not_over_and_which_agencies_could_not_be_asked(
    service: ReportService,
) -> None:
    service.count_agency("nha-trang", RowsReader([]), DAY)
    page = Page(service.write(DAY, agencies=[NHA_TRANG, CAM_RANH], provisional=True).page)
    assert "Provisional" in page.text
    assert f"could not be asked: {CAM_RANH.name}." in page.text
    service.count_agency("cam-ranh", RowsReader([]), DAY)
    page = Page(service.write(DAY, agencies=[NHA_TRANG, CAM_RANH]).page)
    assert "Provisional" not in page.text and "could not be asked:" not in page.text


def test_a_range_tells_for_how_many_days_an_agency_could_not_be_asked(service: ReportService) -> None:
    service.count_agency("nha-trang", RowsReader([]), DAY)
    last_day = DAY + timedelta(days=2)
    service.count_agency("cam-ranh", RowsReader([]), last_day)
    page = Page(service.write_range(DAY, last_day, agencies=[NHA_TRANG, CAM_RANH]).page)
    assert f"could not be asked: {CAM_RANH.name} (2 days); {NHA_TRANG.name} (2 days)." in page.text


def test_bars_start_where_the_last_ended_and_stay_within_the_chart(busy: ReportPaths) -> None:
    page = Page(busy.page)
    bars: list[list[tuple[float, float]]] = []
    for tag, attributes in page.elements:
        if tag == "svg":
            bars.append([])
        elif tag == "rect":
            bars[-1].append((float(attributes["x"] or 0), float(attributes["width"] or 0)))
    assert len(bars) == 3 + 2  # a bar per notice, two for the agency with results
    for pieces in bars:
        for (start, width), (following, _) in pairwise(pieces):
            assert start + width == pytest.approx(following, abs=0.01)
        assert all(start + width <= 100.01 for start, width in pieces)
    assert sum(width for _, width in bars[0]) == pytest.approx(100, abs=0.01)


def test_look_ups_are_shown_by_road_and_answer_as_programs_get_them(
    database: ReportDatabase, folder: Path
) -> None:
    put_lookup(database, road=Road.ONEPAY)
    put_lookup(database, road=Road.ONEPAY, at=NOON + timedelta(days=1))
    put_lookup(database, road=Road.ONEPAY, agency=None, outcome=LookupOutcome.TOO_MANY)
    put_lookup(database, road=Road.PLAIN, agency=None)
    service = a_service(database, folder, language="vi")
    paths = service.write_range(DAY, DAY + timedelta(days=1), agencies=[NHA_TRANG])
    (table,) = (table for table in Page(paths.page).tables if table[0][0] == "Đường đến")
    assert table == [
        ["Đường đến", "Tìm thấy", "Không tìm thấy", "Sai cú pháp", "Quá nhiều lần", "Tổng"],
        ["1Pay", "2", "0", "0", "1", "3"],
        ["Gọi trực tiếp (Kannel)", "0", "1", "0", "0", "1"],
    ]
    assert service.lookup_rows(DAY, DAY + timedelta(days=1)) == [
        {"date": "2026-08-03", "road": "1pay", "outcome": "found", "count": 1},
        {"date": "2026-08-03", "road": "1pay", "outcome": "too_many", "count": 1},
        {"date": "2026-08-03", "road": "plain", "outcome": "not_found", "count": 1},
        {"date": "2026-08-04", "road": "1pay", "outcome": "found", "count": 1},
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_road_and_answer_has_a_name_for_people(language: str) -> None:
    names = [outcome_name(language, outcome) for outcome in LookupOutcome]
    assert all(names) and len(set(names)) == len(names)
    roads = [road_name(language, road) for road in Road]
    assert len(set(roads)) == len(roads) and not {"plain", "smpp", "1pay", "esms"} & set(roads)


def test_a_long_list_of_exceptions_is_cut_and_says_so(
    service: ReportService, database: ReportDatabase
) -> None:
    for _ in range(EXCEPTIONS_SHOWN + 3):
        put_message(database, MessageState.EXPIRED)
    page = Page(service.write(DAY, agencies=[NHA_TRANG]).page)
    (listed,) = (table[1:] for table in page.tables if table[0][:2] == ["Agency", "Dossier"])
    assert len(listed) == EXCEPTIONS_SHOWN
    assert "There are 3 more rows in exceptions.csv." in page.text


def test_a_day_without_anything_is_a_page_too(service: ReportService) -> None:
    page = Page(service.write(DAY, agencies=[]).page)
    assert "No dossiers and no messages." in page.text


def test_the_vietnamese_page_groups_digits_and_writes_days_as_people_there_do(
    database: ReportDatabase, folder: Path
) -> None:
    service = a_service(database, folder, language="vi")
    put_message(database, segments=4000)
    page = Page(service.write(DAY, agencies=[NHA_TRANG]).page)
    assert "Ngày 03/08/2026" in page.text
    assert "1.200.000 đ" in page.text
    assert "100,0 %" in page.text


@pytest.mark.parametrize(
    ("value", "vi", "en"),
    [(None, "–", "–"), (0, "0", "0"), (999, "999", "999"), (1234567, "1.234.567", "1,234,567")],
)
def test_numbers_are_grouped_by_language(value: int | None, vi: str, en: str) -> None:
    assert (number(value, "vi"), number(value, "en")) == (vi, en)


def test_the_page_ends_with_the_seal_of_the_audit_and_a_closed_day_keeps_it(
    service: ReportService, database: ReportDatabase
) -> None:
    day = {"agencies": [NHA_TRANG]}
    assert "Seal of the audit" not in Page(service.write(DAY, **day).page).text
    heads = []
    for hour, provisional in ((0, True), (1, True), (2, False), (3, False)):
        with database.writing() as connection:
            record_events(connection, [("m1", "queued", None)], NOON + timedelta(hours=hour))
        page = Page(service.write(DAY, **day, provisional=provisional).page)
        (head,) = service.heads(DAY, DAY, provisional=provisional)
        assert printed_head(head.hash) in page.text
        assert ("provisional, up to now" in page.text) == provisional
        assert 'smsd audit verify --head "<seal>" tells' in page.text
        heads.append(head.event_id)
    assert heads == [1, 2, 3, 3]


def test_a_report_of_several_days_has_the_seal_of_the_last(
    service: ReportService, database: ReportDatabase
) -> None:
    for days in range(3):
        with database.writing() as connection:
            record_events(connection, [("m1", "queued", None)], NOON + timedelta(days=days))
    last = DAY + timedelta(days=2)
    page = Page(service.write_range(DAY, last, agencies=[NHA_TRANG]).page)
    heads = service.heads(DAY, last, provisional=False)
    assert [head.event_id for head in heads] == [1, 2, 3]
    assert printed_head(heads[-1].hash) in page.text
    assert printed_head(heads[0].hash) not in page.text


def test_the_seal_is_explained_in_vietnamese(database: ReportDatabase, folder: Path) -> None:
    with database.writing() as connection:
        record_events(connection, [("m1", "queued", None)], NOON)
    page = Page(a_service(database, folder, language="vi").write(DAY, agencies=[NHA_TRANG]).page)
    assert "Mã niêm phong nhật ký (đến hết ngày 03/08/2026):" in page.text
    assert 'Giữ bản in này: về sau lệnh smsd audit verify --head "<mã>" cho biết' in page.text
