"""The shipped files are valid, whole and true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from sqlalchemy.engine import make_url

from smsd.config.http.description import HttpSettings
from smsd.config.load import read_agencies, read_settings
from smsd.config.settings import AlarmSettings, InboundSettings, NoticeSettings, Settings
from smsd.core.model import Mode
from tests.config.files import settings_of

SHIPPED = Path(__file__).parents[2] / "config"

PILOT = {
    "Ủy ban nhân dân thành phố Nha Trang",
    "Ủy ban nhân dân thành phố Cam Ranh",
    "Ủy ban nhân dân phường Lộc Thọ (thành phố Nha Trang)",
    "Văn phòng Ủy ban nhân dân tỉnh",
    "Sở Kế hoạch và Đầu tư",
    "Sở Xây dựng",
    "Sở Tài nguyên và Môi trường",
    "Sở Nông nghiệp và Phát triển nông thôn",
    "Sở Giao thông vận tải",
    "Sở Lao động - Thương binh và Xã hội",
    "Sở Tư pháp",
    "Sở Thông tin và Truyền thông",
    "Ban Quản lý Khu Kinh tế Vân Phong",
}


def test_the_shipped_settings_are_the_defaults(tmp_path: Path) -> None:
    shipped = read_settings(SHIPPED / "smsd.yaml", {})
    bare = settings_of(tmp_path, gateway="gateway: {type: spool, directory: /var/lib/smsd/spool}\n")
    assert shipped.model_copy(update={"agencies": bare.agencies}) == bare
    assert shipped.agencies == SHIPPED / "agencies"


def keys_of(model: type[BaseModel]) -> Iterator[str]:
    """The keys of a section and of those in it; a provider's description has a document of its own."""
    if model is HttpSettings:
        return
    for name, field in model.model_fields.items():
        yield field.alias or name
        yield from inner_keys(field.annotation)


def inner_keys(annotation: Any) -> Iterator[str]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from keys_of(annotation)
    for argument in get_args(annotation):
        yield from inner_keys(argument)


def test_the_shipped_settings_show_every_key() -> None:
    lines = (SHIPPED / "smsd.yaml").read_text("utf-8").splitlines()
    shown = {line.strip(" #").partition(":")[0] for line in lines}
    assert set(keys_of(Settings)) <= shown


def commented_out() -> dict[str, list[str]]:
    """The sections that stand behind marks in the shipped file, as they read without; one may stand there twice."""
    found: dict[str, list[str]] = {"inbound": [], "alarms": [], "gateway": []}
    block: list[str] | None = None
    for line in (SHIPPED / "smsd.yaml").read_text("utf-8").splitlines():
        text = line.removeprefix("# ")
        if line.startswith("# ") and text.removesuffix(":") in found:
            block = [text]
            found[text.removesuffix(":")].append("")
        elif block is not None and line.startswith("# ") and text.startswith("  "):
            block.append(text)
        else:
            block = None
        if block is not None:
            found[block[0].removesuffix(":")][-1] = "\n".join([*block, ""])
    return found


def test_what_stands_commented_out_works_when_the_marks_are_taken_away(tmp_path: Path) -> None:
    own = commented_out()
    for name in ("inbound", "kannel", "smpp"):
        (tmp_path / name).write_text("long and random")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    kannel, smpp = (
        settings_of(tmp_path, "".join(own["inbound"] + own["alarms"]), environ, gateway=one)
        for one in own["gateway"]
    )
    assert isinstance(kannel.inbound, InboundSettings)
    assert kannel.inbound == settings_of(tmp_path, "inbound:\n", environ).inbound
    assert isinstance(kannel.alarms, AlarmSettings)
    assert (kannel.gateway[0].type, kannel.gateway[0].rate, kannel.gateway[0].connections) == (
        "kannel",
        10,
        8,
    )
    assert (smpp.gateway[0].type, smpp.gateway[0].window, smpp.gateway[0].long_messages) == (
        "smpp",
        100,
        "udh",
    )


def test_the_thirteen_pilot_agencies_are_shipped_off_and_load_without_credentials() -> None:
    files = read_agencies(read_settings(SHIPPED / "smsd.yaml", {}), {})
    assert not files.problems
    assert {agency.name for agency in files.agencies.values()} == PILOT
    assert len(files.agencies) == len(PILOT)
    assert {agency.mode for agency in files.agencies.values()} == {Mode.OFF}
    assert "nha-trang" in files.agencies


def test_short_names_are_short_and_all_different() -> None:
    agencies = read_agencies(read_settings(SHIPPED / "smsd.yaml", {}), {}).agencies.values()
    names = [agency.short_name or agency.name for agency in agencies]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 25


def test_the_examples_show_every_kind_of_database() -> None:
    agencies = read_agencies(read_settings(SHIPPED / "smsd.yaml", {}), {}).agencies.values()
    kinds = {make_url(agency.database.get_secret_value()).drivername for agency in agencies}
    assert kinds == {"mssql+pyodbc", "postgresql+psycopg2", "sqlite"}


@pytest.mark.parametrize("mode", ["shadow", "live"])
def test_a_shipped_agency_is_switched_on_by_its_mode_and_credential(tmp_path: Path, mode: str) -> None:
    settings = settings_of(tmp_path)
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for path in (SHIPPED / "agencies").glob("*.yaml"):
        (credentials / path.stem).write_text("p@ss")
        text = path.read_text("utf-8").replace("mode: off", f"mode: {mode}")
        (tmp_path / "agencies" / path.name).write_text(text, "utf-8")
    files = read_agencies(settings, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert not files.problems
    assert {agency.mode for agency in files.agencies.values()} == {Mode(mode)}
    assert not any(agency.unset for agency in files.agencies.values())


def test_every_key_of_a_notice_is_shown_with_its_meaning() -> None:
    text = (SHIPPED / "smsd.yaml").read_text("utf-8")
    assert all(f"{key}:" in text for key in NoticeSettings.model_fields)
