"""One look at a view: the questions of one read, over one connection and, where the database can, of one state.

Here is what every kind of database answers: SELECTs. What a kind can do better stands in its own module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from smsd.adapters.agencydb.database import Database
from smsd.adapters.agencydb.digests import block_of
from smsd.adapters.agencydb.query import Condition, Shown, ViewColumns, as_it_is, quoted_view, select
from smsd.adapters.agencydb.source import AgencySource
from smsd.adapters.agencydb.work import BLOCK_ROWS, Link, Work
from smsd.services.ports import VIEW_COLUMNS
from smsd.services.rowblocks import Take

_CODES_AT_ONCE = 500
"""Well below the 2,100 values that SQL Server takes."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a look stands on."""

    work: Work
    link: Link
    database: Database
    source: AgencySource
    found: ViewColumns


class SqlLook:
    """Answers the port `AgencyLook` with SELECTs of whole rows."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._syntax = ground.database.syntax
        self._view = quoted_view(ground.source, self._syntax, ground.database.place)

    # the port

    def everything(self, take: Take, *, whole: bool) -> None:  # noqa: ARG002 - whole rows cost no more here
        """All rows."""
        self._rows(None, take)

    def of_codes(self, codes: Sequence[str], take: Take) -> None:
        """The rows of these codes."""
        name = self.column("dossier_code")
        for start in range(0, len(codes), _CODES_AT_ONCE):
            part = codes[start : start + _CODES_AT_ONCE]
            marks = ", ".join([self._syntax.mark] * len(part))
            self._rows(Condition(f"{name} IN ({marks})", tuple(part)), take)

    def newest(self, column: str) -> object:
        """The largest value of a date column."""
        sql, values = self.select_raw(f"max({self.column(column)})")
        with self.driver():
            _, answer = self._ground.link.ask(sql, values)
        return answer[0][0]

    def since(self, column: str, instant: object, take: Take) -> None:
        """The rows whose date column is an instant or later, or null."""
        name = self.column(column)
        said = f"({name} >= {self._syntax.mark} OR {name} IS NULL)"
        self._rows(Condition(said, (instant,)), take)

    # for those that know better

    def column(self, column: str) -> str:
        """A contract column under the view's own name, quoted. Raises `AgencyError` (column_missing)."""
        self._ground.found.require((column,), all_needed=True)
        return self._syntax.name(self._ground.found.of(column) or column)

    def select(
        self, columns: Sequence[str], condition: Condition | None, shown: Shown = as_it_is
    ) -> tuple[str, list[object]]:
        """The statement that reads these columns of the agency's rows, and its values."""
        ground = self._ground
        filters = ground.source.filter
        return select(
            columns, self._view, ground.found, filters, self._syntax, condition=condition, shown=shown
        )

    def select_raw(self, expressions: str, ending: str = "") -> tuple[str, list[object]]:
        """The statement that asks expressions of the agency's rows, and its values."""
        ground = self._ground
        sql, values = select(
            (), self._view, ground.found, ground.source.filter, self._syntax, expressions=expressions
        )
        return sql + ending, values

    def _rows(self, condition: Condition | None, take: Take) -> None:
        sql, values = self.select(VIEW_COLUMNS, condition)
        blocks = self._ground.link.stream(sql, values, BLOCK_ROWS)
        while True:
            with self.driver():
                block = next(blocks, None)
            if block is None:
                return
            self._ground.work.go_on()
            take(block_of(block))
            del block

    @contextmanager
    def driver(self) -> Iterator[None]:
        """Around what the driver does: its errors in our words, unless the work was ended meanwhile."""
        database = self._ground.database
        try:
            yield
        except database.errors() as error:
            self._ground.work.go_on()
            raise database.translate(error) from None
