"""What `smsd check` says of one agency's database: each step has a name, a state, and a hint how to mend it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC

from smsd.adapters.agencydb.query import OPTIONAL_COLUMNS, ViewColumns
from smsd.core.rows import VIEW_COLUMNS, BadRow, dossier_from
from smsd.services.ports import CheckResult, RawRow

SAMPLE = 100
"""Rows that are looked at."""

_WHAT_IS_LOST = {
    "status": "positions with `statuses` (supplement) never fit",
    "procedure_name": "the reports show codes alone",
    "resolved_at": "the reports leave `resolved` blank, and old results cannot be told by age",
    "updated_at": "`changed_by` cannot be used",
}


def columns_result(found: ViewColumns) -> CheckResult:
    """Whether the view has what is needed; what it costs that optional ones are missing."""
    lost = [c for c in (*VIEW_COLUMNS, "updated_at") if c in OPTIONAL_COLUMNS and found.of(c) is None]
    if not lost:
        return CheckResult("columns", "ok", "all of the contract's")
    serious = [column for column in lost if column != "updated_at"]
    message = "without " + "; ".join(f"{column}: {_WHAT_IS_LOST[column]}" for column in lost)
    if not serious:
        return CheckResult("columns", "ok", message)
    return CheckResult(
        "columns", "warning", message, "add them to the view if the agency's software keeps them"
    )


def sample_result(rows: Sequence[RawRow]) -> CheckResult:
    """Whether the first rows can be used. The zone does not matter here, only whether a date is one."""
    if not rows:
        return CheckResult(
            "rows",
            "warning",
            "the view is empty",
            "an empty read is never believed; check the view and `filter`",
        )
    faults: Counter[str] = Counter()
    for row in rows:
        try:
            _, bad_dates = dossier_from(row, UTC)
        except BadRow as bad:
            faults[bad.problem] += 1
        else:
            faults.update(f"{column} is not a date-time" for column in bad_dates)
    if not faults:
        return CheckResult("rows", "ok", f"the first {len(rows)} can be read")
    listed = ", ".join(f"{count} with {problem}" for problem, count in sorted(faults.items()))
    return CheckResult(
        "rows",
        "warning",
        f"of the first {len(rows)}: {listed}",
        "mend them in the agency's software or in the view; until then they are listed as exceptions",
    )


def login_result(rights: Sequence[str], protection: str) -> CheckResult:
    """Whether the login could write."""
    if not rights:
        return CheckResult("read-only", "ok", protection)
    return CheckResult(
        "read-only",
        "warning",
        f"the login could write: it can {', '.join(rights)}",
        "make the login of sql/ for smsd, which can read the view and nothing else (a SQLite file: mode 0644, of "
        "another user)",
    )
