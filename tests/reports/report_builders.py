"""A store, an agency's view and messages for the reports' tests, each in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from smsd.adapters.reports.files import FolderReports
from smsd.adapters.store.reports import SqlReportStore
from smsd.adapters.store.schema import inquiries, messages, metadata
from smsd.core.figures import ReportAgency
from smsd.core.lookups import LookupOutcome, Road
from smsd.core.model import MessageState, Reason
from smsd.services.reporting import COUNTED_COLUMNS, ReportService, ReportSettings

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
DAY = date(2026, 8, 3)
NOON = datetime(2026, 8, 3, 12, 0, tzinfo=ZONE).astimezone(UTC)
NHA_TRANG = ReportAgency("nha-trang", "Ủy ban nhân dân thành phố Nha Trang")
CAM_RANH = ReportAgency("cam-ranh", "Ủy ban nhân dân thành phố Cam Ranh")
_numbers = count(1)


class ReportDatabase:
    """The store's tables in an empty database, with the engine's two ways in."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url, poolclass=NullPool)
        metadata.create_all(self.engine)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self.engine.begin() as connection:
            yield connection


class RowsReader:
    """An agency's view held in memory: rows in the order of `COUNTED_COLUMNS`, in small blocks."""

    def __init__(
        self,
        rows: Sequence[tuple[object, ...]],
        *,
        without: tuple[str, ...] = (),
        fault: Exception | None = None,
    ) -> None:
        self._rows = rows
        self._without = without
        self._fault = fault

    def rows(self, columns: Sequence[str]) -> Iterator[list[tuple[object, ...]]]:
        for start in range(0, len(self._rows), 3):
            yield [
                tuple(
                    None if column in self._without else row[COUNTED_COLUMNS.index(column)]
                    for column in columns
                )
                for row in self._rows[start : start + 3]
            ]
        if self._fault:
            raise self._fault

    def has_column(self, column: str) -> bool:
        return column not in self._without

    def cancel(self) -> None:
        return None

    def check(self) -> list[object]:
        return []

    def close(self) -> None:
        return None


def a_row(
    code: object = None,
    *,
    procedure: object = "1.001",
    name: object = "Đăng ký khai sinh",
    received: object = None,
    due: object = None,
    resolved: object = None,
) -> tuple[object, ...]:
    return (code or f"H{next(_numbers):04}", procedure, name, received, due, resolved)


def put_message(
    database: ReportDatabase,
    state: MessageState = MessageState.DELIVERED,
    *,
    agency: str = "nha-trang",
    code: str | None = None,
    kind: str = "result_ready",
    reason: Reason | None = None,
    procedure: str | None = "1.001",
    segments: int = 3,
    made_at: datetime = NOON,
    state_at: datetime | None = None,
    phone: str = "0905***456",
) -> str:
    number = next(_numbers)
    with database.writing() as connection:
        connection.execute(
            messages.insert().values(
                id=f"m{number}",
                agency=agency,
                dossier_code=code or f"H{number:04}",
                kind=kind,
                occurrence=str(number),
                procedure_code=procedure,
                procedure_name="Đăng ký khai sinh" if procedure else None,
                state=state.value,
                reason=reason.value if reason else None,
                phone="84905123456",
                phone_masked=phone,
                text="Thông báo",
                segments=segments,
                made_at=made_at,
                settle=timedelta(minutes=2),
                next_at=made_at,
                valid_until=made_at + timedelta(days=10),
                batch="b1",
                state_at=state_at or made_at,
            )
        )
    return f"m{number}"


def put_lookup(
    database: ReportDatabase,
    *,
    agency: str | None = "nha-trang",
    procedure: str | None = "1.001",
    at: datetime = NOON,
    road: Road = Road.PLAIN,
    outcome: LookupOutcome | None = None,
) -> None:
    with database.writing() as connection:
        connection.execute(
            inquiries.insert().values(
                road=road,
                provider_id=f"p{next(_numbers)}",
                at=at,
                number_digest="x",
                number_masked="0905***456",
                outcome=outcome or (LookupOutcome.FOUND if agency else LookupOutcome.NOT_FOUND),
                agency=agency,
                dossier_code="H1" if agency else None,
                procedure_code=procedure,
                answer="…",
            )
        )


def a_service(
    database: ReportDatabase,
    directory: Path,
    *,
    language: str = "en",
    delimiter: str = ",",
    notices: tuple[str, ...] = (),
) -> ReportService:
    return ReportService(
        SqlReportStore(database, ZONE),
        FolderReports(directory, language=language, delimiter=delimiter),
        ReportSettings(zone=ZONE, notices=notices, cost_per_segment=300),
    )
