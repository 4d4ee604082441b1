"""CSV as spreadsheets and scripts both read it: RFC 4180, a byte order mark, and no cell that runs as a formula."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from smsd.core.figures import Cell

_BOM = "\ufeff"
_FORMULA = re.compile(
    r"[\s\x00-\x20\u200b-\u200f\u2060\ufeff\"]*[=+\-@＝＋－＠﹢﹣﹦﹫−]|[\s\u200b-\u200f\u2060\ufeff]*[\t\r\n]"
)
"""Text a spreadsheet might compute: a sign of a formula, wide or small variants too, even behind blanks."""


def guard(text: str) -> str:
    """A text that spreadsheets show as it is: one that could run as a formula gets an apostrophe in front."""
    return f"'{text}" if _FORMULA.match(text) else text


def _cell(value: Cell) -> str | int:
    if value is None:
        return ""
    return guard(value) if isinstance(value, str) else value


def csv_bytes(header: Sequence[str], rows: Iterable[Iterable[Cell]], delimiter: str = ",") -> bytes:
    """A whole file. Numbers are our own and stay numbers; None is a blank cell."""
    buffer = io.StringIO(newline="")
    buffer.write(_BOM)
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return buffer.getvalue().encode("utf-8", "replace")
