"""Secrets and signatures are compared in constant time, everywhere: read from the source, not from memory."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import smsd

ROOT = Path(smsd.__file__).parent
_SECRET = re.compile(r"(?i)secret|signature|\bsig\b|_sig$|token|proof|password|hmac")

_OUR_OWN = {("smsd/adapters/gateways/http/tokens.py", "self._token == token")}
"""Comparisons of what we hold with what we hold: nothing of it comes from a caller."""


def names_in(node: ast.expr) -> str:
    """The names an expression is made of; constants are none."""
    found = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    found += [n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)]
    found += [n.slice.value for n in ast.walk(node) if isinstance(n, ast.Subscript) and _is_text(n.slice)]  # type: ignore[attr-defined]
    return " ".join(map(str, found))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def equalities(tree: ast.AST) -> list[ast.Compare]:
    """Every == and != whose sides are no constants, whose names speak of secrets."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            continue
        sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Constant) for side in sides):
            continue
        if any(_SECRET.search(names_in(side)) for side in sides):
            found.append(node)
    return found


def test_no_secret_or_signature_is_compared_with_equals() -> None:
    offending = []
    for path in sorted(ROOT.rglob("*.py")):
        place = f"smsd/{path.relative_to(ROOT)}"
        for node in equalities(ast.parse(path.read_text(encoding="utf-8"))):
            if (place, ast.unparse(node)) not in _OUR_OWN:
                offending.append(f"{place}:{node.lineno}: {ast.unparse(node)}")
    assert offending == []


def test_the_look_at_the_source_finds_what_it_looks_for() -> None:
    bad = (
        "def f(fields, secret):\n    return fields['sig'] == sign(secret) or fields.get('x') != self._token\n"
    )
    assert len(equalities(ast.parse(bad))) == 2


def test_whatever_proves_a_call_compares_digests() -> None:
    """Each place where calls from outside are proven comes down to hmac.compare_digest."""
    provers = {
        "core/signing.py": 2,
        "adapters/web/dialects/base.py": 1,
    }
    for name, least in provers.items():
        assert (ROOT / name).read_text(encoding="utf-8").count("hmac.compare_digest(") >= least
    callers = [
        path
        for path in ROOT.rglob("*.py")
        if re.search(r"\b(proven|same_secret|is_genuine)\(", path.read_text(encoding="utf-8"))
    ]
    assert {path.name for path in callers} >= {"plain.py", "onepay.py", "esms.py", "kannel.py", "receipts.py"}
