"""docs/decisions.md names tests that are there, for every complaint of the field."""

from __future__ import annotations

import re

from tests.artefacts.project import ROOT, read, table

DECISIONS = ROOT / "docs" / "decisions.md"


def test_every_complaint_is_answered_by_tests_that_are_there() -> None:
    text = read(DECISIONS)
    rows = table(text, "complaint")
    assert len(rows) > 20
    for complaint, answer, held_by in rows:
        named = re.findall(r"`([\w/]+\.py)`", held_by)
        assert answer and named, complaint
        for name in named:
            assert re.search(r"^def test_", read(ROOT / "tests" / name), re.MULTILINE), f"{complaint}: {name}"


def test_what_is_so_by_decision_is_told_above_the_table() -> None:
    """A row that says so has its paragraph."""
    told, _, complaints = read(DECISIONS).partition("## Complaints of the field")
    decided = [row for row in table(complaints, "complaint") if "by decision" in row[1]]
    assert len(decided) == 5
    for words in (
        "Nothing about single messages can be commanded", "Repeats of the same text are not suppressed by content",
        "The configured encoding is used even where 7 bits would do", "No validity is handed to the networks",
        "Receipts that stay away raise no alarm",
    ):  # fmt: skip
        assert words in told
