"""Nothing unfinished, and nothing of one machine, is in any file."""

from __future__ import annotations

import re

from tests.artefacts.project import ROOT, project_files

_WORDS = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")
_UNFINISHED = re.compile(rf"\b({'|'.join(_WORDS)})\b|\b(pytest\.|mark\.)(sk" + r"ip|xf" + r"ail)")
_ONE_MACHINE = re.compile(r"(?<![\w.$}])/(work|root|home|Users)/[\w.]")
_GENERATED = {".db", ".png", ".pdf"}


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in project_files():
        if path.suffix not in _GENERATED:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if pattern.search(line):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    return found


def test_no_file_is_unfinished() -> None:
    assert lines_with(_UNFINISHED) == []


def test_no_file_names_a_place_of_one_machine() -> None:
    assert lines_with(_ONE_MACHINE) == []


def test_no_file_is_empty_but_markers_of_packages() -> None:
    markers = {"__init__.py", "py.typed"}
    empty = [path for path in project_files() if path.stat().st_size == 0 and path.name not in markers]
    assert empty == []
