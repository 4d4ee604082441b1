"""The project's own files, as the tests of documents and packaging read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "van-hanh.md"
_NOT_OURS = {".git", ".venv", "build", "__pycache__", "smsd.egg-info", "demo"}
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def project_files() -> Iterator[Path]:
    """Every file of the project that people wrote."""
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT)
        ours = not any(part.endswith("_cache") or part == ".hypothesis" for part in inside.parts)
        if ours and inside.parts[0] not in _NOT_OURS and "__pycache__" not in inside.parts and path.is_file():
            yield path


def fenced(document: str, language: str) -> list[str]:
    """The contents of the fenced blocks of one language."""
    return [block for _, name, block in _FENCE.findall(document) if name == language]


def code_spans(document: str) -> list[str]:
    """Everything a document shows as code: inline, and each line of its blocks, without comments."""
    lines = [line for block in _FENCE.findall(document) for line in block[2].splitlines()]
    prose = _FENCE.sub("", document)
    lines += [line for line in prose.splitlines() if line.startswith("    ")]
    spans = re.findall(r"`([^`\n]+)`", prose)
    return [re.sub(r"\s+#.*", "", span).replace("\\|", "|").strip() for span in (*lines, *spans)]


def table(document: str, first_heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    lines = document.splitlines()
    (start,) = (n for n, line in enumerate(lines) if line.startswith(f"| {first_heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows
