"""The statements that are asked of a view, built so that no name and no value can become SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from smsd.adapters.agencydb.faults import COLUMN_MISSING, VIEW_MISSING, Place, fault
from smsd.adapters.agencydb.source import AgencySource

OPTIONAL_COLUMNS = frozenset({"status", "procedure_name", "resolved_at", "updated_at"})
"""Contract columns a view may lack; they read as null."""


@dataclass(frozen=True, slots=True)
class Syntax:
    """How a kind of database writes names, placeholders and the values of a filter."""

    opening: str
    closing: str
    mark: str
    value: Callable[[object], object]

    def name(self, name: str) -> str:
        """A name in quotes, whatever stands in it."""
        quoted = self.opening + name.replace(self.closing, self.closing * 2) + self.closing
        return quoted.replace("%", "%%") if self.mark == "%s" else quoted

    def bare(self, sql: str) -> str:
        """A statement that goes without values: drivers leave its percent signs alone then."""
        return sql.replace("%%", "%") if self.mark == "%s" else sql


def quoted_view(source: AgencySource, syntax: Syntax, place: Place) -> str:
    """The view's name, quoted part by part. Raises `AgencyError` for one that cannot be a name."""
    parts = source.view.split(".")
    if "\0" in source.view or not all(part.strip() for part in parts):
        raise fault(VIEW_MISSING, place, hint="write `view` as name or schema.name, without quotes")
    return ".".join(syntax.name(part) for part in parts)


def probe(view: str, syntax: Syntax) -> str:
    """A question that tells the view's columns and gives no row."""
    return syntax.bare(f"SELECT * FROM {view} WHERE 1 = 0")  # noqa: S608 # nosec B608 # quoted


class ViewColumns:
    """The columns a view really has, found by the contract's names without regard to case."""

    def __init__(self, names: Sequence[str], source: AgencySource, place: Place) -> None:
        self.names = tuple(names)
        self._source = source
        self._place = place
        self._exact = frozenset(names)
        self._folded: dict[str, str] = {}
        for name in names:
            self._folded.setdefault(name.casefold(), name)

    def find(self, name: str) -> str | None:
        """The view's own writing of a column's name; an exact match comes before one that differs in case."""
        return name if name in self._exact else self._folded.get(name.casefold())

    def of(self, column: str) -> str | None:
        """The view's column for a contract column; None where it has none."""
        return self.find(self._source.columns.get(column, column))

    def missing(self, columns: Sequence[str]) -> list[str]:
        """Names of columns that should be there and are not: needed ones, and all that the agency's file names."""
        named = self._source.columns
        needed = [c for c in columns if c not in OPTIONAL_COLUMNS or c in named]
        wanted = [named.get(c, c) for c in needed]
        return [name for name in dict.fromkeys([*wanted, *self._source.filter]) if self.find(name) is None]

    def require(self, columns: Sequence[str], *, all_needed: bool = False) -> None:
        """Raises `AgencyError` naming what is missing and what there is."""
        missing = self.missing(columns)
        if all_needed:
            missing += [column for column in columns if self.of(column) is None and column not in missing]
        if missing:
            raise fault(
                COLUMN_MISSING,
                self._place,
                f"no {', '.join(missing)} among {', '.join(self.names) or 'its columns'}",
                hint="add it to the view, or name the view's own column under `columns` (or mend `filter`)",
            )


@dataclass(frozen=True, slots=True)
class Condition:
    """What rows have to fulfil besides the agency's filter: SQL with marks, and the values for them."""

    sql: str
    values: tuple[object, ...] = ()


Shown = Callable[[str, str], str]
"""The expression by which a contract column is asked for, given the column and its quoted name in the view."""


def as_it_is(column: str, quoted: str) -> str:  # noqa: ARG001 - see Shown
    """As the view has it."""
    return quoted


def select(
    columns: Sequence[str],
    view: str,
    found: ViewColumns,
    filters: Mapping[str, object],
    syntax: Syntax,
    *,
    condition: Condition | None = None,
    expressions: str = "",
    shown: Shown = as_it_is,
) -> tuple[str, list[object]]:
    """The statement that reads ``columns`` in this order, or ``expressions``, and its values.

    Raises `AgencyError` (column_missing).
    """
    found.require(columns)
    own = [(column, found.of(column)) for column in columns]
    chosen = expressions or ", ".join(
        "NULL" if name is None else shown(column, syntax.name(name)) for column, name in own
    )
    conditions: list[str] = []
    values: list[object] = []
    for column, value in filters.items():
        name = syntax.name(found.find(column) or column)
        if value is None:
            conditions.append(f"{name} IS NULL")
        else:
            conditions.append(f"{name} = {syntax.mark}")
            values.append(syntax.value(value))
    if condition is not None:
        conditions.append(condition.sql)
        values += condition.values
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    sql = f"SELECT {chosen} FROM {view}{where}"  # noqa: S608 # nosec B608 # quoted
    return (sql if values else syntax.bare(sql)), values


def value_as_text(value: object) -> object:
    """A filter's value as text, which servers compare with columns of any type: 12 never makes text a number."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
