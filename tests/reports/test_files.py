"""The files as operators, spreadsheets and scripts meet them."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsd.adapters.reports.csvfile import csv_bytes, guard
from smsd.adapters.reports.words import exceptions_header, reconciliation_header
from smsd.adapters.store.reports import record_findings
from smsd.core.figures import EXCEPTION_COLUMNS, Finding, columns_for
from smsd.core.model import FindingKind, MessageState, Reason
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
    put_message,
)

AGENCIES = [NHA_TRANG, CAM_RANH]


def read(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    text = path.read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


def write(service: ReportService) -> ReportPaths:
    return service.write(DAY, agencies=AGENCIES)


def test_a_day_has_its_folder_and_three_files(service: ReportService, folder: Path) -> None:
    paths = write(service)
    assert paths.folder == folder / "2026-08-03"
    names = ["exceptions.csv", "reconciliation.csv", "report.html"]
    assert sorted(path.name for path in paths.folder.iterdir()) == names


def test_a_range_has_one_folder_named_by_both_days(service: ReportService, database: ReportDatabase) -> None:
    put_message(database, MessageState.REJECTED)
    put_message(database, MessageState.REJECTED, made_at=NOON + timedelta(days=1))
    paths = service.write_range(DAY, DAY + timedelta(days=1), agencies=AGENCIES)
    assert paths.folder.name == "2026-08-03_2026-08-04"
    assert [row["date"] for row in read(paths.exceptions)] == ["2026-08-03", "2026-08-04"]
    totals = [row for row in read(paths.reconciliation) if row["agency"] == "*"]
    assert [(row["date"], row["result_ready_failed"]) for row in totals] == [
        ("2026-08-03", "1"),
        ("2026-08-04", "1"),
    ]


def test_the_files_start_with_a_byte_order_mark_and_end_every_line_with_crlf(
    service: ReportService, database: ReportDatabase
) -> None:
    put_message(database, MessageState.REJECTED)
    paths = write(service)
    for path in (paths.reconciliation, paths.exceptions, *paths.by_agency.values()):
        content = path.read_bytes()
        assert content.startswith(b"\xef\xbb\xbf") and content.count(b"\xef\xbb\xbf") == 1
        assert content.endswith(b"\r\n")
        assert content.count(b"\n") == content.count(b"\r\n")


def test_the_english_header_is_the_contracts_keys(service: ReportService) -> None:
    paths = write(service)
    kinds = ("result_ready", "supplement", "apology")
    header = paths.reconciliation.read_bytes().decode("utf-8-sig").splitlines()[0]
    assert header.split(",") == list(columns_for(kinds))
    assert paths.exceptions.read_bytes().decode("utf-8-sig").splitlines() == [
        "date,agency,dossier_code,procedure_code,kind,reason,phone,at"
    ]


def test_the_vietnamese_header_names_every_column_in_vietnamese_and_once() -> None:
    kinds = ("result_ready", "supplement", "apology", "fee_due")
    columns = columns_for(kinds)
    header = reconciliation_header("vi", columns, kinds)
    assert len(header) == len(columns) == len(set(header))
    assert header[:8] == [
        "Ngày",
        "Mã cơ quan",
        "Tên cơ quan",
        "Mã thủ tục",
        "Tên thủ tục",
        "Hồ sơ tiếp nhận",
        "Hồ sơ có kết quả",
        "Hồ sơ hẹn trả ngày hôm sau",
    ]
    assert not set(header) & set(columns)
    assert header[header.index("Báo có kết quả – đã lập") + 1] == "Báo có kết quả – đã đến máy"
    assert "fee_due – đã lập" in header
    exceptions = exceptions_header("vi")
    assert len(exceptions) == len(EXCEPTION_COLUMNS) and not set(exceptions) & set(EXCEPTION_COLUMNS)


def test_vietnamese_and_english_files_hold_the_same_values(database: ReportDatabase, tmp_path: Path) -> None:
    put_message(database, MessageState.SUPPRESSED, reason=Reason.LANDLINE)
    contents = []
    for language in ("vi", "en"):
        paths = write(a_service(database, tmp_path / language, language=language))
        for path in (paths.reconciliation, paths.exceptions):
            contents.append(path.read_bytes().split(b"\r\n", 1)[1])
    assert contents[:2] == contents[2:]


def test_the_delimiter_is_the_configured_one_and_names_holding_it_are_quoted(
    database: ReportDatabase, folder: Path
) -> None:
    service = a_service(database, folder, delimiter=";")
    service.count_agency("nha-trang", RowsReader([a_row(name='Cấp; "đổi"', received="2026-08-03")]), DAY)
    paths = write(service)
    assert read(paths.reconciliation, ";")[1]["procedure_name"] == 'Cấp; "đổi"'
    assert '"Cấp; ""đổi"""' in paths.reconciliation.read_text("utf-8-sig")


def test_unknown_counts_are_blank_cells_and_known_noughts_are_not(service: ReportService) -> None:
    service.count_agency("nha-trang", RowsReader([], without=("resolved_at",)), DAY)
    cam_ranh, nha_trang, overall = read(write(service).reconciliation)
    counts = ("received", "resolved", "due_tomorrow", "unexplained")
    assert [cam_ranh[name] for name in counts] == ["", "", "", ""]
    assert [nha_trang[name] for name in counts] == ["0", "", "0", ""]
    assert [overall[name] for name in counts] == ["0", "", "0", ""]


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+84905123456",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "  =cmd|' /C calc'!A0",
        "\u00a0=1",
        "\u200b=1",
        "＝1+1",
        "＠SUM",
        '"=1',
    ],
)
def test_text_a_spreadsheet_could_run_gets_an_apostrophe(text: str) -> None:
    assert guard(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "H32.12-260803-0001", "1.001", "0905***456", "2026-08-03", "a=b", "*"])
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert guard(text) == text


cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.integers() | st.none()


@given(st.lists(st.lists(cells, min_size=3, max_size=3), max_size=5), st.sampled_from([",", ";", "\t"]))
@example([["=1", None, -5]], ",")
def test_what_is_written_reads_back_cell_by_cell(rows: list[list[str | int | None]], delimiter: str) -> None:
    content = csv_bytes(("a", "b", "c"), rows, delimiter).decode("utf-8-sig")
    back = list(csv.reader(io.StringIO(content, newline=""), delimiter=delimiter))
    expected = [
        ["" if v is None else str(v) if isinstance(v, int) else guard(v) for v in row] for row in rows
    ]
    assert back == [["a", "b", "c"], *expected]


def test_hostile_codes_and_names_cannot_become_formulas(
    service: ReportService, database: ReportDatabase
) -> None:
    put_message(database, MessageState.REJECTED, code="=HYPERLINK(0)", procedure="@1")
    service.count_agency("nha-trang", RowsReader([a_row(name="+cmd", received="2026-08-03")]), DAY)
    paths = write(service)
    (row,) = read(paths.exceptions)
    assert (row["dossier_code"], row["procedure_code"]) == ("'=HYPERLINK(0)", "'@1")
    assert "'+cmd" in [row["procedure_name"] for row in read(paths.reconciliation)]


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        (MessageState.UNDELIVERED, None, "undelivered"),
        (MessageState.REJECTED, None, "rejected"),
        (MessageState.EXPIRED, None, "expired"),
        *((MessageState.SUPPRESSED, reason, reason.value) for reason in Reason),
    ],
)
def test_every_ending_a_person_should_look_at_is_listed_with_its_reason(
    service: ReportService, database: ReportDatabase, state: MessageState, reason: Reason | None, told: str
) -> None:
    put_message(database, state, reason=reason, code="H1", kind="apology", state_at=NOON + timedelta(hours=1))
    assert read(write(service).exceptions) == [
        {
            "date": "2026-08-03",
            "agency": "nha-trang",
            "dossier_code": "H1",
            "procedure_code": "1.001",
            "kind": "apology",
            "reason": told,
            "phone": "0905***456",
            "at": "2026-08-03 13:00:00",
        }
    ]


@pytest.mark.parametrize(
    "state",
    [
        MessageState.DELIVERED,
        MessageState.ACCEPTED,
        MessageState.SUPERSEDED,
        MessageState.QUEUED,
        MessageState.HELD,
        MessageState.SENDING,
        MessageState.UNKNOWN,
    ],
)
def test_other_states_are_no_exceptions(
    service: ReportService, database: ReportDatabase, state: MessageState
) -> None:
    put_message(database, state)
    assert read(write(service).exceptions) == []


def test_each_agency_has_a_file_with_its_own_exceptions_alone(
    service: ReportService, database: ReportDatabase
) -> None:
    put_message(database, MessageState.REJECTED, code="N1")
    put_message(database, MessageState.EXPIRED, code="N2")
    put_message(database, MessageState.REJECTED, agency="cam-ranh", code="C1")
    paths = write(service)
    assert [row["dossier_code"] for row in read(paths.exceptions)] == ["C1", "N1", "N2"]
    assert {agency: path.name for agency, path in paths.by_agency.items()} == {
        "cam-ranh": "exceptions-cam-ranh.csv",
        "nha-trang": "exceptions-nha-trang.csv",
    }
    assert [row["dossier_code"] for row in read(paths.by_agency["nha-trang"])] == ["N1", "N2"]
    assert [row["dossier_code"] for row in read(paths.by_agency["cam-ranh"])] == ["C1"]


def test_an_agencys_file_goes_when_it_has_no_exceptions_any_more(
    service: ReportService, database: ReportDatabase
) -> None:
    rows = [a_row("H1", resolved="2026-08-03")]
    service.count_agency("nha-trang", RowsReader(rows), DAY)
    own = write(service).by_agency["nha-trang"]
    assert own.exists()
    put_message(database, code="H1")
    service.count_agency("nha-trang", RowsReader(rows), DAY)
    write(service)
    assert not own.exists()


def test_a_report_written_again_has_the_same_bytes(service: ReportService, database: ReportDatabase) -> None:
    put_message(database, MessageState.REJECTED)
    put_message(database, agency="cam-ranh")
    service.count_agency("nha-trang", RowsReader([a_row(received="2026-08-03")]), DAY)
    first = {path.name: path.read_bytes() for path in write(service).folder.iterdir()}
    second = {path.name: path.read_bytes() for path in write(service).folder.iterdir()}
    assert first == second and len(first) == 4


def test_figures_do_not_depend_on_the_order_in_which_agencies_are_configured(
    service: ReportService, database: ReportDatabase
) -> None:
    put_message(database, MessageState.REJECTED)
    put_message(database, MessageState.REJECTED, agency="cam-ranh")
    first = {path.name: path.read_bytes() for path in write(service).folder.iterdir()}
    again = service.write(DAY, agencies=list(reversed(AGENCIES)))
    assert {path.name: path.read_bytes() for path in again.folder.iterdir()} == first


def test_a_file_that_cannot_be_written_stays_as_it_was(
    service: ReportService, database: ReportDatabase, folder: Path
) -> None:
    old = write(service).reconciliation.read_bytes()
    blocked = folder / "2026-08-03" / ".reconciliation.csv.part"
    blocked.mkdir()
    put_message(database)
    with pytest.raises(OSError):
        write(service)
    assert (folder / "2026-08-03" / "reconciliation.csv").read_bytes() == old
    blocked.rmdir()
    assert write(service).reconciliation.read_bytes() != old


def test_what_an_interrupted_run_left_behind_is_taken_away(service: ReportService, folder: Path) -> None:
    (folder / "2026-08-03").mkdir(parents=True)
    (folder / "2026-08-03" / ".reconciliation.csv.part").write_bytes(b"half a f")
    paths = write(service)
    assert not [path for path in paths.folder.iterdir() if path.name.startswith(".")]


def test_a_link_in_place_of_the_partial_file_is_not_followed(service: ReportService, folder: Path) -> None:
    victim = folder.parent / "victim"
    victim.write_bytes(b"untouched")
    (folder / "2026-08-03").mkdir(parents=True)
    (folder / "2026-08-03" / ".report.html.part").symlink_to(victim)
    write(service)
    assert victim.read_bytes() == b"untouched"


def test_reports_are_readable_by_owner_and_group_only(service: ReportService, folder: Path) -> None:
    paths = write(service)
    assert {path.stat().st_mode & 0o777 for path in paths.folder.iterdir()} == {0o640}
    assert paths.folder.stat().st_mode & 0o777 == folder.stat().st_mode & 0o777 == 0o750


def test_an_existing_folder_keeps_its_mode(service: ReportService, folder: Path) -> None:
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    write(service)
    assert folder.stat().st_mode & 0o777 == 0o755


def test_an_unwritable_place_is_an_os_error(database: ReportDatabase, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        write(a_service(database, tmp_path / "file" / "reports"))


def test_findings_are_listed_beside_messages_in_order_of_agency_and_time(
    service: ReportService, database: ReportDatabase
) -> None:
    put_message(database, MessageState.REJECTED, code="H1", state_at=NOON + timedelta(hours=2))
    found = [
        Finding(
            DAY, "nha-trang", FindingKind.BOUNCED, NOON + timedelta(hours=3), "H2", phone_masked="0905***456"
        ),
        Finding(DAY, "nha-trang", FindingKind.BAD_ROW, NOON + timedelta(hours=1), detail="step is null"),
        Finding(DAY, "cam-ranh", FindingKind.BAD_DATE, NOON + timedelta(hours=4), "H3", detail="due_at"),
        Finding(DAY, "cam-ranh", FindingKind.NO_APOLOGY, NOON + timedelta(hours=5), "H4", kind="apology"),
        Finding(DAY - timedelta(days=1), "cam-ranh", FindingKind.BAD_ROW, NOON, "H5"),
    ]
    with database.writing() as connection:
        record_findings(connection, found)
    assert [
        (row["agency"], row["dossier_code"], row["reason"]) for row in read(write(service).exceptions)
    ] == [
        ("cam-ranh", "H3", "bad_date"),
        ("cam-ranh", "H4", "no_apology"),
        ("nha-trang", "", "bad_row"),
        ("nha-trang", "H1", "rejected"),
        ("nha-trang", "H2", "bounced"),
    ]


def test_the_languages_are_told_apart_by_the_page_and_the_headers(
    database: ReportDatabase, tmp_path: Path
) -> None:
    vietnamese = write(a_service(database, tmp_path / "vi", language="vi"))
    english = write(a_service(database, tmp_path / "en", language="en"))
    assert '<html lang="vi">' in vietnamese.page.read_text("utf-8")
    assert '<html lang="en">' in english.page.read_text("utf-8")


def test_unpaired_surrogates_in_names_do_not_stop_a_report() -> None:
    assert csv_bytes(("a",), [["\ud800x"]]).endswith(b"?x\r\n")
