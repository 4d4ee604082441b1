"""An agency in memory, and a reader of it that keeps the port's promises: for tests of what stands above the port."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from smsd.adapters.agencydb.digests import block_of
from smsd.core.errors import AgencyError
from smsd.services.ports import VIEW_COLUMNS, AgencyLook, CheckResult, RawRow
from smsd.services.rowblocks import REST, RowBlock, Take
from tests.support.agencyviews import COLUMNS, Row

_OPTIONAL = {"status", "procedure_name", "resolved_at", "updated_at"}


class FakeAgency:
    """Rows and the view's columns. ``fault`` is what the next reads end with; `hang` makes them wait."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []
        self.names: dict[str, str] = {name: name for name in (*COLUMNS, "agency_code")}
        self.fault: AgencyError | None = None
        self.hanging = False

    def insert(self, rows: Iterable[Row]) -> None:
        self.rows += [dict(row) for row in rows]

    def update(self, code: str, **values: object) -> None:
        for row in self.rows:
            if row.get("dossier_code") == code:
                row.update(values)

    def delete(self, code: str) -> None:
        self.rows = [row for row in self.rows if row.get("dossier_code") != code]

    def show(self, names: Mapping[str, str] | Sequence[str] = COLUMNS) -> None:
        own = names if isinstance(names, Mapping) else {name: name for name in names}
        self.names = {name: column for column, name in own.items()} | {"agency_code": "agency_code"}
        self.fault, self.hanging = None, False

    def lose_view(self) -> None:
        self.fault = AgencyError("the agency has no view", code="view_missing", hint="make it")

    def hang(self) -> None:
        self.hanging = True

    def close(self) -> None:
        """Nothing to let go of."""


_REST = [VIEW_COLUMNS.index(column) for column in REST]


def partly(block: RowBlock) -> RowBlock:
    """Rows without the columns that do not decide, as PostgreSQL gives them; whole ones where a code is no text."""
    if not all(row[0] is None or isinstance(row[0], str) for row in block.items):
        return block

    def row_of(row: RawRow) -> RawRow:
        return tuple(None if place in _REST else value for place, value in enumerate(row))

    return replace(block, row_of=row_of, whole=False)


class FakeLook:
    """Asks a reader's rows; not all columns where not all are wanted."""

    def __init__(self, reader: FakeReader) -> None:
        self._reader = reader

    def everything(self, take: Take, *, whole: bool) -> None:
        for block in self._reader.rows():
            take(block_of(block) if whole else partly(block_of(block)))

    def of_codes(self, codes: Sequence[str], take: Take) -> None:
        for block in self._reader.rows():
            take(block_of([row for row in block if row[0] in codes]))

    def newest(self, column: str) -> object:
        values = [row[0] for block in self._reader.rows((column,)) for row in block]
        return max((str(value) for value in values if value is not None), default=None)

    def since(self, column: str, instant: object, take: Take) -> None:
        for block in self._reader.rows((*VIEW_COLUMNS, column)):
            chosen = [row[:-1] for row in block if row[-1] is None or str(row[-1]) >= str(instant)]
            take(block_of(chosen))


class FakeReader:
    """Reads a `FakeAgency`."""

    def __init__(
        self,
        agency: FakeAgency,
        *,
        columns: Mapping[str, str] | None = None,
        filters: Mapping[str, object] | None = None,
        timeout: timedelta = timedelta(seconds=30),
        block: int = 2_000,
    ) -> None:
        self.agency = agency
        self._columns = dict(columns or {})
        self._filters = dict(filters or {})
        self._timeout = timeout
        self._block = block
        self._cancelled: threading.Event | None = None

    @property
    def waiting(self) -> bool:
        """Whether a read is under way."""
        return self._cancelled is not None

    def rows(self, columns: Sequence[str] = VIEW_COLUMNS) -> Iterator[list[RawRow]]:
        cancelled = threading.Event()
        if self._cancelled is not None:
            self._cancelled.set()
        self._cancelled = cancelled
        try:
            yield from self._blocks(columns, cancelled)
        finally:
            if self._cancelled is cancelled:
                self._cancelled = None

    def _blocks(self, columns: Sequence[str], cancelled: threading.Event) -> Iterator[list[RawRow]]:
        if self.agency.fault is not None:
            raise self.agency.fault
        own = [self._find(column) for column in columns]
        if self.agency.hanging:
            cancelled.wait(self._timeout.total_seconds())
            raise AgencyError("the read was ended", code="timeout", hint="it is tried again")
        chosen = [
            tuple(None if name is None else row.get(name) for name in own)
            for row in self.agency.rows
            if all(row.get(self._own(name) or name) == value for name, value in self._filters.items())
        ]
        for start in range(0, len(chosen), self._block):
            if cancelled.is_set():
                raise AgencyError("the read was ended", code="timeout", hint="it is tried again")
            yield chosen[start : start + self._block]
        if cancelled.is_set():
            raise AgencyError("the read was ended", code="timeout", hint="it is tried again")

    def _own(self, name: str) -> str | None:
        folded = {shown.casefold(): column for shown, column in self.agency.names.items()}
        return folded.get(name.casefold())

    def _find(self, column: str) -> str | None:
        name = self._columns.get(column, column)
        found = self._own(name)
        if found is None and (column in self._columns or column not in _OPTIONAL):
            there = ", ".join(self.agency.names)
            raise AgencyError(f"no {name} among {there}", code="column_missing", hint="add it to the view")
        return found

    @contextmanager
    def look(self) -> Iterator[AgencyLook]:
        yield FakeLook(self)

    def has_column(self, column: str) -> bool:
        if self.agency.fault is not None:
            raise self.agency.fault
        return self._own(self._columns.get(column, column)) is not None

    def cancel(self) -> None:
        if self._cancelled is not None:
            self._cancelled.set()

    def check(self) -> list[CheckResult]:
        try:
            first = next(self.rows(), [])
        except AgencyError as error:
            return [CheckResult("view", "failed", error.message, error.hint)]
        return [
            CheckResult("connection", "ok", "in memory"),
            CheckResult("view", "ok", "in memory"),
            CheckResult("columns", "ok", "all of them"),
            CheckResult("read-only", "ok", "nothing can be written"),
            CheckResult("rows", "ok" if first else "warning", f"{len(first)} can be read"),
        ]

    def close(self) -> None:
        self.cancel()
