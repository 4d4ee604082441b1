"""docs/http-providers.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from smsd.config.http import description as parts
from smsd.config.http import fields
from smsd.config.http.description import HttpSettings
from smsd.config.http.presetfiles import preset, preset_names
from smsd.config.http.reading import CLASSES
from smsd.config.yamlfile import read_document
from smsd.core.model import ReceiptVerdict
from tests.artefacts.project import ROOT, fenced, read, table
from tests.contract.gateways.http.support import problems_of

DOCUMENT = read(ROOT / "docs" / "http-providers.md")
PRESETS = ROOT / "smsd" / "config" / "http" / "presets"
SECTIONS = [
    parts.TokenSettings,
    parts.SignatureSettings,
    parts.TextSettings,
    parts.RequestSettings,
    parts.AcceptedSettings,
    parts.ErrorSettings,
    parts.ReceiptSettings,
    parts.PollSettings,
    parts.ReplySettings,
    parts.RegisteredSettings,
]


def examples(tmp_path: Path) -> list[dict[str, Any]]:
    """The gateway sections shown, their credentials filled in."""
    secrets = tmp_path / "credentials"
    secrets.mkdir()
    for name in re.findall(r"\$\{credential:([a-z-]+)\}", DOCUMENT):
        (secrets / name).write_text("s3cret", encoding="utf-8")
    found = []
    for number, block in enumerate(fenced(DOCUMENT, "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, encoding="utf-8")
        document = read_document(path, {"CREDENTIALS_DIRECTORY": str(secrets)})
        assert not document.unset and not document.problems
        found.append(document.data["gateway"])
    return found  # type: ignore[return-value]


def test_the_examples_are_lawful_descriptions(tmp_path: Path) -> None:
    shown = examples(tmp_path)
    assert len(shown) == 2
    assert [problems_of(one) for one in shown] == [{}, {}]


def test_every_key_is_explained_with_its_default() -> None:
    told = {row[0].strip("`"): row[1].strip("`") for row in table(DOCUMENT, "key")}
    assert set(told) == set(HttpSettings.model_fields)
    for name, field in HttpSettings.model_fields.items():
        if isinstance(field.default, str | int):
            assert told[name] == str(field.default).lower(), name
    for section in SECTIONS:
        for name, field in section.model_fields.items():
            assert f"`{field.alias or name}" in DOCUMENT or f"{field.alias or name}:" in DOCUMENT, name


def test_every_placeholder_class_and_verdict_is_explained() -> None:
    named = set(re.findall(r"\{([a-z0-9_]+)(?:\|number)?\}", DOCUMENT))
    assert fields.PLACEABLE - {f"param_{n}" for n in range(1, fields.MOST_PARAMS + 1)} <= named
    assert [row[0].strip("`") for row in table(DOCUMENT, "class")] == list(CLASSES_IN_ORDER)
    assert set(CLASSES_IN_ORDER) == set(CLASSES)
    assert all(f"`{verdict.value}`" in DOCUMENT for verdict in ReceiptVerdict)


CLASSES_IN_ORDER = ("accepted", "rejected", "retry", "throttled", "account", "unknown")


def needed(name: str) -> set[str]:
    return {problem.removeprefix("variables.") for problem in problems_of({"type": "http", "preset": name})}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_explained_with_what_it_needs(name: str) -> None:
    (row,) = (row for row in table(DOCUMENT, "preset") if row[0] == f"`{name}`")
    assert set(re.findall(r"`([a-z_.]+)`", row[2])) == needed(name)
    assert row[3].startswith("yes") == bool(preset(name).get("repeats_safely"))
    receipt = preset(name).get("receipt") or {}
    assert ("calls" in row[4], "asking" in row[4]) == ("calls" in receipt, "poll" in receipt)
    assert f"- `{name}`: " in DOCUMENT


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_names_its_sources_and_what_was_not_verified(name: str) -> None:
    head = (PRESETS / f"{name}.yaml").read_text(encoding="utf-8").split("\nname:")[0]
    assert "# Source: " in head and "# Not verified against a live account:" in head
    for variable in needed(name) - {"request.url", "templates"}:
        assert re.search(rf"To give: .*\b{variable}\b", head, re.DOTALL), variable
