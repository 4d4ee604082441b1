"""README.md, the operators' guide and the changelog say what is so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import pytest

from smsd import __version__
from smsd.cli import main
from smsd.config.gateways import GatewaySettings
from smsd.config.load import CONTRACT_COLUMNS, read_agencies, read_settings
from smsd.config.sections import Section
from smsd.config.settings import AgencyFile, Settings
from smsd.core.figures import EXCEPTION_COLUMNS, Ending, columns_for
from smsd.core.model import FindingKind, MessageState, Reason
from tests.artefacts.project import GUIDE, README, ROOT, code_spans, fenced, read, table

CONTRACT_COMMANDS = {
    "run": {"--once"},
    "check": {"--json"},
    "demo": set[str](),
    "status": {"--json"},
    "poll": {"--dry-run", "--accept", "--baseline", "--json"},
    "apology": {"--dry-run", "--json"},
    "trace": {"--json"},
    "lookup": {"--json"},
    "report": {"--date", "--from", "--to", "--json"},
    "held": set[str](),
    "init": set[str](),
    "backup": set[str](),
    "purge": set[str](),
    "privacy": set[str](),
    "audit": {"--head", "--day", "--json"},
}
TOLD_WHOLE = {"positions", "notices", "gateway", "inbound", "lookup"}
"""Sections the guide explains in their own words rather than key by key."""
DOCUMENTS = pytest.mark.parametrize("document", [README, GUIDE], ids=lambda path: path.name)
_OF_MAKE = re.compile(r"make ([a-z][a-z-]*)")


def options_of(command: click.Command) -> set[str]:
    own = {option for parameter in command.params for option in parameter.opts}
    if isinstance(command, click.Group):
        for name in command.commands:
            own |= {name} | options_of(command.commands[name])
    return own


def invocations(document: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of smsd a document shows: name, and the words after it."""
    for span in code_spans(document):
        match = re.match(r"(?:sudo )?smsd (?:--config \S+ )?([a-z-]+)(.*)", span)
        if match:
            yield match[1], match[2].split()


# commands


def test_the_contracts_commands_and_options_exist() -> None:
    assert isinstance(main, click.Group)
    assert set(main.commands) == set(CONTRACT_COMMANDS)
    for name, options in CONTRACT_COMMANDS.items():
        assert {*options, "--config"} <= options_of(main.commands[name]) | {"--config"}, name


@DOCUMENTS
def test_every_command_and_option_in_a_document_exists(document: Path) -> None:
    shown = list(invocations(read(document)))
    assert shown
    for name, words in shown:
        assert name in main.commands, f"{document.name} names a command {name!r}"
        known = options_of(main.commands[name]) | {"--config", "--json"}
        for word in re.findall(r"--[a-z-]+", " ".join(words)):
            assert word in known, f"{document.name}: smsd {name} has no {word}"


@DOCUMENTS
def test_every_command_is_documented_with_the_contracts_options(document: Path) -> None:
    told: dict[str, set[str]] = {}
    for name, words in invocations(read(document)):
        told.setdefault(name, set()).update(re.findall(r"--[a-z-]+", " ".join(words)))
    for name, options in CONTRACT_COMMANDS.items():
        assert name in told, f"{document.name} does not tell of smsd {name}"
        assert options - {"--json"} <= told[name], f"{document.name}: smsd {name}"


def test_held_is_documented_with_what_it_can_decide() -> None:
    group = main.commands["held"]
    assert isinstance(group, click.Group)
    assert set(group.commands) == {"list", "release", "discard"}


@DOCUMENTS
def test_make_targets_in_a_document_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    named = {match[1] for span in code_spans(read(document)) if (match := _OF_MAKE.match(span))}
    assert named <= targets
    if document == README:
        assert {"demo", "test", "check"} <= named


# places


@DOCUMENTS
def test_links_lead_somewhere(document: Path) -> None:
    text = read(document)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert (document.parent / target).exists(), target


def test_the_changelog_tells_of_this_version() -> None:
    assert re.search(rf"^## \[{re.escape(__version__)}\] - ", read(ROOT / "CHANGELOG.md"), re.MULTILINE)


# configuration


def test_the_guides_table_of_agency_keys_is_complete_and_true() -> None:
    told = {row[0].strip("`"): row[1] for row in table(read(GUIDE), "khóa cơ quan")}
    assert set(told) == set(AgencyFile.model_fields)
    for key, field in AgencyFile.model_fields.items():
        default = getattr(field.default, "value", field.default)
        if isinstance(default, bool):
            assert told[key] == f"`{str(default).lower()}`"
        elif isinstance(default, str):
            assert told[key] == f"`{default}`", key
    polling = Settings.model_fields["polling"].annotation
    assert isinstance(polling, type) and issubclass(polling, Section)
    for key in ("interval", "timeout"):
        assert told[key] == f"`{polling.model_fields[key].default}`"


def described_keys() -> dict[str, str]:
    """Every key of smsd.yaml by its dotted name, with the default the guide must tell ("": none to tell)."""
    found: dict[str, str] = {}
    for name, field in Settings.model_fields.items():
        models = [m for m in (field.annotation, *get_args(field.annotation)) if _is_section(m)]
        if models and name not in TOLD_WHOLE:
            for key, inner in models[0].model_fields.items():
                found[f"{name}.{key}"] = _written(inner.default)
        else:
            found[name] = _written(field.default)
    return found


def _is_section(model: object) -> bool:
    return isinstance(model, type) and issubclass(model, Section)


def _written(default: object) -> str:
    plain = getattr(default, "value", default)
    return str(plain) if isinstance(plain, (str, int)) and not isinstance(plain, bool) else ""


def test_the_guides_table_of_general_keys_is_complete_and_true() -> None:
    told = {row[0].strip("`"): row[1].strip('`"') for row in table(read(GUIDE), "khóa chung")}
    known = described_keys()
    assert set(told) == set(known)
    for key, default in known.items():
        assert not default or told[key] == default, key


def test_every_kind_of_gateway_is_named_in_both_documents_and_no_other() -> None:
    union = get_args(get_args(GatewaySettings)[0]) or (get_args(GatewaySettings)[0],)
    types = {get_args(model.model_fields["type"].annotation)[0] for model in union}
    for document in (README, GUIDE):
        told = {cells[0].strip("`") for cells in table(read(document), "type")}
        assert told == types, document.name


@DOCUMENTS
def test_yaml_in_a_document_is_valid_configuration(document: Path, tmp_path: Path) -> None:
    blocks = fenced(read(document), "yaml")
    assert blocks
    general = [block for block in blocks if "database:" not in block]
    agencies = [block for block in blocks if "database:" in block]
    secrets = tmp_path / "credentials"
    secrets.mkdir()
    for name in re.findall(r"\$\{credential:([^}]+)\}", "".join(blocks)):
        (secrets / name).write_text("s3cret", encoding="utf-8")
    environ = {"CREDENTIALS_DIRECTORY": str(secrets)}
    for number, block in enumerate(general or [""]):
        folder = tmp_path / str(number)
        (folder / "agencies").mkdir(parents=True)
        gateway = (
            ""
            if re.search("^gateway:", block, re.MULTILINE)
            else "gateway: {type: spool, directory: spool}\n"
        )
        (folder / "smsd.yaml").write_text(gateway + block, encoding="utf-8")
        for place, agency in enumerate(agencies):
            (folder / "agencies" / f"a{place}.yaml").write_text(agency, encoding="utf-8")
        files = read_agencies(read_settings(folder / "smsd.yaml", environ), environ)
        assert not files.problems
        assert len(files.agencies) == len(agencies)


# words


def test_the_guide_explains_every_state_and_reason_a_person_may_meet() -> None:
    text = read(GUIDE)
    states = {row[0].strip("`") for row in table(text, "trạng thái")}
    assert states == {state.value for state in MessageState}
    assert {row[0].strip("`") for row in table(text, "lý do không gửi")} == {
        reason.value for reason in Reason
    }
    assert {row[0].strip("`") for row in table(text, "lý do")} == {kind.value for kind in FindingKind}


def test_the_guide_explains_every_column_of_the_reports() -> None:
    text = read(GUIDE)
    told = {key for row in table(text, "cột báo cáo") for key in re.findall(r"`([^`]+)`", row[1])}
    columns = set(columns_for(("…",)))
    assert told == columns
    assert {f"…_{ending}" for ending in ("made", *Ending)} <= told
    for column in EXCEPTION_COLUMNS:
        assert f"`{column}`" in text


def test_the_guide_explains_every_column_of_the_view() -> None:
    told = [row[0].strip("`") for row in table(read(GUIDE), "cột của khung nhìn")]
    assert set(told) == set(CONTRACT_COLUMNS) and len(told) == len(CONTRACT_COLUMNS)
