"""`lookup.providers`: who hands on texts to 9029, and what the dialects are told of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from smsd.adapters.web.dialects.build import dialects_of
from smsd.config.settings import Settings
from tests.config.files import mistakes_of, settings_of
from tests.support.mocalls import NUMBER, signed_by_1pay, signed_by_esms

INBOUND = "inbound: {secret: long and random}\n"
SHIPPED = Path(__file__).parents[2] / "config" / "smsd.yaml"


def with_providers(tmp_path: Path, providers: str, **environ: str) -> Settings:
    return settings_of(tmp_path, f"{INBOUND}lookup: {{providers: {{{providers}}}}}\n", environ)


def test_nobody_hands_on_look_ups_unless_it_is_said(tmp_path: Path) -> None:
    assert dialects_of(settings_of(tmp_path).lookup.providers) == {}


def test_each_provider_has_its_own_secret_and_reads_calls_signed_with_it(tmp_path: Path) -> None:
    settings = with_providers(
        tmp_path, "1pay: {secret: '${A}'}, esms: {secret: '${B}'}", A="first", B="second"
    )
    dialects = dialects_of(settings.lookup.providers)
    assert sorted(dialects) == ["1pay", "esms"]
    assert dialects["1pay"].read(signed_by_1pay("first"), b"").number == NUMBER
    assert dialects["esms"].read(signed_by_esms("second"), b"").number == NUMBER
    shown = f"{settings.lookup!r}{settings.lookup.providers}{dialects}"
    assert "first" not in shown and "second" not in shown


@pytest.mark.parametrize(
    ("providers", "fields", "code"),
    [
        ("1pay: {secret: s, access_key: product}", signed_by_1pay("s"), None),
        ("1pay: {secret: s, access_key: another}", signed_by_1pay("s"), "unsigned"),
        ("esms: {secret: s, cpid: cp7}", signed_by_esms("s"), None),
        ("esms: {secret: s, cpid: 7}", signed_by_esms("s"), "unsigned"),
        ("esms: {secret: s, signed: [smsid, content]}", signed_by_esms("s"), "unsigned"),
        ("esms: {secret: s, signed: [smsid, content]}", signed_by_esms("s", cpid="", receiverTime=""), None),
    ],
)
def test_the_contracts_particulars_reach_the_dialect(
    tmp_path: Path, providers: str, fields: dict[str, str], code: str | None
) -> None:
    (dialect,) = dialects_of(with_providers(tmp_path, providers).lookup.providers).values()
    said = None
    try:
        assert dialect.read(fields, b"").number == NUMBER
    except Exception as error:
        said = getattr(error, "code", type(error).__name__)
    assert said == code


@pytest.mark.parametrize(
    ("providers", "mistake"),
    [
        ("1pay: {}", "1pay.secret: is missing, accepted: the secret agreed upon with the provider"),
        ("1pay: ", "1pay: is empty, accepted: a value, or no such key"),
        ("1pay: {secret: ' '}", "1pay.secret: is blank"),
        ("1pai: {secret: s}", "1pai: is an unknown key (did you mean 1pay?), accepted: 1pay, esms"),
        ("1pay: {secret: s, cpid: x}", "1pay.cpid: is an unknown key, accepted: access_key, secret, signed"),
        ("esms: {secret: s, cpid: }", "esms.cpid: is empty, accepted: a value, or no such key"),
        ("esms: {secret: s, signed: [content]}", "esms.signed: leaves out what has to be signed, accepted: "),
        ("1pay: {secret: s, signed: [mo_message, request_id]}", "1pay.signed: leaves out what has to be"),
        ("esms: {secret: s, signed: [content, smsid, smsid]}", "esms.signed: names a parameter twice"),
        (
            "esms: {secret: s, signed: [content, smsid, a b]}",
            "esms.signed: holds what is no parameter's name",
        ),
        ("esms: {secret: s, signed: content}", 'esms.signed: "content" is not a list'),
        ("esms: {secret: '${UNSET}'}", "esms.secret: the environment variable UNSET is not set"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, providers: str, mistake: str) -> None:
    (said,) = mistakes_of(tmp_path, f"{INBOUND}lookup: {{providers: {{{providers}}}}}\n")
    assert re.match(r"2:\d+: lookup\.providers\.", said)
    assert said.partition("lookup.providers.")[2].startswith(mistake)


def test_providers_without_a_listener_are_a_mistake(tmp_path: Path) -> None:
    (said,) = mistakes_of(tmp_path, "lookup: {providers: {esms: {secret: s}}}\n")
    assert said == (
        "1:10: lookup.providers: has providers whom nobody listens to, accepted: an inbound section besides"
    )
    assert settings_of(tmp_path, "lookup: {providers: {}}\n").inbound is None


def test_the_shipped_example_works_when_the_marks_are_taken_away(tmp_path: Path) -> None:
    text = SHIPPED.read_text("utf-8")
    example = re.search(r"^  # providers:\n(?:  #   .*\n)+", text, re.MULTILINE)
    assert example is not None
    for name in ("onepay", "esms-mo"):
        (tmp_path / name).write_text("long and random")
    written = INBOUND + "lookup:\n" + re.sub(r"^  # ", "  ", example[0], flags=re.MULTILINE)
    providers = settings_of(tmp_path, written, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).lookup.providers
    assert providers.onepay is not None and providers.esms is not None
    assert providers.onepay.access_key == providers.esms.cpid == "change-this"
