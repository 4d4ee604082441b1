"""The project's own source as syntax trees: what each module imports and which dotted names it uses."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "smsd"


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of smsd by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports_of(tree: ast.Module) -> Iterator[str]:
    """The modules that a module names in its imports, those within functions and type checking blocks too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports are absolute"
            if node.module in modules():
                # ``from smsd.core import outbox`` names a module, ``from smsd import __version__`` does not
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                yield from names & modules().keys() or {node.module}
            else:
                yield node.module


def names_used(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The dotted names a module uses, as imported (``datetime.datetime.now``), with their lines."""
    known = _imported_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Name)):
            dotted = _dotted(node, known)
            if dotted is not None:
                yield dotted, node.lineno


def _imported_names(tree: ast.Module) -> dict[str, str]:
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known.update({alias.asname or alias.name: alias.name for alias in node.names})
        elif isinstance(node, ast.ImportFrom) and node.module:
            known.update({a.asname or a.name: f"{node.module}.{a.name}" for a in node.names})
    return known


def _dotted(node: ast.expr, known: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value, known)
        return f"{base}.{node.attr}" if base else None
    return None
