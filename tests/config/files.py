"""Configuration files as tests write them, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from smsd.config.load import AgencyFiles, read_agencies, read_settings
from smsd.config.settings import Settings
from smsd.core.errors import ConfigError

SPOOL = "gateway: {type: spool, directory: spool}\n"
KANNEL = "gateway:\n  type: kannel\n  url: http://127.0.0.1:13013/cgi-bin/sendsms\n  username: smsd\n"
AGENCY = "name: Sở Tư pháp\ndatabase: sqlite:////srv/motcua.db\nview: v\n"


def folder_of(tmp_path: Path) -> Path:
    (tmp_path / "agencies").mkdir(exist_ok=True)
    return tmp_path


def settings_of(
    tmp_path: Path, text: str = "", environ: Mapping[str, str] | None = None, *, gateway: str = SPOOL
) -> Settings:
    """The settings in a smsd.yaml of this text, beside an empty agencies folder."""
    path = folder_of(tmp_path) / "smsd.yaml"
    path.write_text(text + gateway, "utf-8")
    return read_settings(path, environ or {})


def mistakes_of(
    tmp_path: Path, text: str, environ: Mapping[str, str] | None = None, *, gateway: str = SPOOL
) -> list[str]:
    """What is wrong with a smsd.yaml of this text, as ``line:column: key: sentence``."""
    with pytest.raises(ConfigError) as caught:
        settings_of(tmp_path, text, environ, gateway=gateway)
    return printed(caught.value)


def agencies_of(
    tmp_path: Path,
    files: Mapping[str, str | bytes],
    environ: Mapping[str, str] | None = None,
    *,
    settings: str = "",
) -> AgencyFiles:
    """What is read from these agency files."""
    read = settings_of(tmp_path, settings)
    for name, text in files.items():
        (tmp_path / "agencies" / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_agencies(read, environ or {})


def printed(error: ConfigError) -> list[str]:
    return [f"{one.line}:{one.column}: {one.key}: {one.message}" for one in error.problems]
