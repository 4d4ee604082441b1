"""Descriptions of known providers that ship with smsd, and an operator's keys laid over them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from smsd.config.yamlfile import read_document

_PACKAGE = "smsd.config.http"
_FOLDER = "presets"
_NAME = re.compile(r"[a-z0-9-]{1,32}")
_BODIES = frozenset({"form", "json", "xml"})


@cache
def preset_names() -> tuple[str, ...]:
    """The providers that are known, sorted."""
    folder = resources.files(_PACKAGE) / _FOLDER
    return tuple(sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".yaml")))


@cache
def preset(name: str) -> Mapping[str, Any]:
    """A known provider's description as it is written. Raises KeyError for one that is not known."""
    if not _NAME.fullmatch(name) or name not in preset_names():
        raise KeyError(name)
    with resources.as_file(resources.files(_PACKAGE) / _FOLDER / f"{name}.yaml") as path:
        return read_document(Path(path), {}).data


def laid_over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The preset with the operator's keys over it: sections key by key, everything else replaced, null removed.

    A body of another kind replaces the preset's body.
    """
    whole = dict(base)
    if _BODIES & own.keys():
        for kind in _BODIES - own.keys():
            whole.pop(kind, None)
    for key, value in own.items():
        below = whole.get(key)
        if value is None and below is not None:
            del whole[key]
        elif isinstance(value, dict) and isinstance(below, dict):
            whole[key] = laid_over(below, value)
        else:
            whole[key] = value
    return whole
