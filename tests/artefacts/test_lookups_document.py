"""docs/look-ups.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from smsd.adapters.web.dialects.esms import SIGNED
from smsd.adapters.web.dialects.onepay import SMS_CHARGING, SMS_PLUS
from smsd.config.load import read_settings
from smsd.config.lookups import EsmsSettings, LookupProviders, OnePaySettings
from smsd.core.lookups import LookupOutcome, Road
from tests.artefacts.project import ROOT, fenced, read, table

DOCUMENT = read(ROOT / "docs" / "look-ups.md")
MODELS = {"1pay": OnePaySettings, "esms": EsmsSettings}


def test_every_road_is_told_and_no_other() -> None:
    assert [row[0].strip("`") for row in table(DOCUMENT, "road")] == [road.value for road in Road]


def test_every_provider_and_its_keys_are_explained() -> None:
    assert {field.alias or name for name, field in LookupProviders.model_fields.items()} == set(MODELS)
    told = [(row[0].strip("`"), row[1].strip("`")) for row in table(DOCUMENT, "provider")]
    assert told == [(name, key) for name, model in MODELS.items() for key in model.model_fields]


def test_the_signed_parameters_are_those_of_the_dialects() -> None:
    told = {row[0]: row[2].strip("`") for row in table(DOCUMENT, "provider") if row[1] == "`signed`"}
    assert told == {"`1pay`": ", ".join(SMS_PLUS), "`esms`": ", ".join(SIGNED)}
    assert f"`{', '.join(SMS_CHARGING)}`" in DOCUMENT.replace("\n", " ")
    shipped = read(ROOT / "config" / "smsd.yaml")
    assert all(f"signed: [{', '.join(names)}]" in shipped for names in (SMS_PLUS, SIGNED))


def test_every_answer_is_named() -> None:
    assert all(f"`{outcome.value}`" in DOCUMENT for outcome in LookupOutcome)


def test_the_example_is_lawful(tmp_path: Path) -> None:
    (tmp_path / "agencies").mkdir()
    for name in re.findall(r"\$\{credential:([a-z-]+)\}", DOCUMENT):
        (tmp_path / name).write_text("s3cret", encoding="utf-8")
    (block,) = fenced(DOCUMENT, "yaml")
    path = tmp_path / "smsd.yaml"
    path.write_text(f"gateway: {{type: spool, directory: spool}}\n{block}", encoding="utf-8")
    providers = read_settings(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).lookup.providers
    assert providers.onepay is not None and providers.esms is not None
