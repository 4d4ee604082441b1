"""Reading what a provider says: JSON by dotted paths, XML by ElementTree's paths, plain text by patterns.

Everything here is hostile: nothing a body holds may raise, expand, or take long. A value that cannot be had is None.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET  # nosec B405 # document types are refused below
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

LONGEST_VALUE = 1_000
"""Characters; what is longer is cut off."""
_LONGEST_TEXT_SEARCHED = 4_096
_STEP = re.compile(r"([^.\[\]\s]+)|\[(\d{1,4})\]")
_JSON_PATH = re.compile(r"(?:[^.\[\]\s]+|\[\d{1,4}\])(?:\.[^.\[\]\s]+|\[\d{1,4}\])*")
_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})")

KINDS = ("json", "xml", "text")


class PathError(ValueError):
    """What is written is no path: a sentence."""


@dataclass(frozen=True, slots=True)
class JsonPath:
    """``data[0].status``."""

    steps: tuple[str | int, ...]

    def find(self, document: object) -> str | None:
        """The text at the end of the path."""
        for step in self.steps:
            if isinstance(step, int):
                if not isinstance(document, list) or step >= len(document):
                    return None
                document = document[step]
            elif isinstance(document, dict) and step in document:
                document = document[step]
            else:
                return None
        return said(document)


@dataclass(frozen=True, slots=True)
class XmlPath:
    """``.//result``, or ``Body/answer/@code`` for an attribute; names without their namespaces."""

    elements: str
    attribute: str | None = None

    def find(self, document: object) -> str | None:
        """The text of the first element (or its attribute) the path finds."""
        if not isinstance(document, ET.Element):
            return None
        found = document.find(self.elements)
        if found is None:
            return None
        if self.attribute is not None:
            return said(found.get(self.attribute))
        return said("".join(found.itertext()).strip())


@dataclass(frozen=True, slots=True)
class TextPattern:
    """A regular expression; its first group, or all it matches."""

    pattern: re.Pattern[str]

    def find(self, document: object) -> str | None:
        """What the pattern matches near the beginning of the text."""
        if not isinstance(document, str):
            return None
        match = self.pattern.search(document[:_LONGEST_TEXT_SEARCHED])
        if match is None:
            return None
        return said(match[1] if self.pattern.groups else match[0])


Path = JsonPath | XmlPath | TextPattern


def parse_path(text: str, kind: str) -> Path:
    """A path into answers of a kind. Raises `PathError`."""
    if kind == "json":
        return _json_path(text)
    if kind == "xml":
        return _xml_path(text)
    try:
        return TextPattern(re.compile(text))
    except re.error:
        raise PathError("is no regular expression, accepted: one such as ^OK:(\\d+)") from None


def _json_path(text: str) -> JsonPath:
    if not _JSON_PATH.fullmatch(text):
        raise PathError("is no path, accepted: names joined by dots, items in brackets: data[0].status")
    return JsonPath(tuple(int(index) if index else name for name, index in _STEP.findall(text)))


def _xml_path(text: str) -> XmlPath:
    elements, at, attribute = text.rpartition("/@")
    path = XmlPath(elements if at else text, attribute if at else None)
    try:
        if not path.elements or (at and not attribute):
            raise SyntaxError
        ET.Element("x").find(path.elements)
    except (SyntaxError, KeyError, ValueError, TypeError):
        raise PathError("is no path, accepted: Body/answer/code, .//code or .//answer/@code") from None
    return path


def said(value: object) -> str | None:
    """A value as text: a number without needless decimals, true and false in lower case; a structure says nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, str | int):
        return str(value)[:LONGEST_VALUE].encode("utf-8", "replace").decode()
    return None


def read_body(body: bytes, kind: str) -> object:
    """A body as the document its paths look into; None if it is none of the kind."""
    if kind == "json":
        return _read_json(body)
    if kind == "xml":
        return _read_xml(body)
    return body.decode("utf-8", "replace").removeprefix("\ufeff").strip()


def _read_json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


class _Refusing(ET.TreeBuilder):
    """Refuses document types: entities need one, and no provider does."""

    def doctype(self, _name: str, _public: str | None, _system: str | None) -> None:
        """Called by the parser before anything of the document type is read."""
        raise ValueError("a document type")


def _read_xml(body: bytes) -> ET.Element | None:
    try:
        parser = ET.XMLParser(target=_Refusing())  # noqa: S314 # nosec B314 # its target refuses document types
        parser.feed(body)
        root: Any = parser.close()
    except (ET.ParseError, ValueError, LookupError, RecursionError):
        return None
    if not isinstance(root, ET.Element):
        return None
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
        for name in [name for name in element.attrib if name.startswith("{")]:
            element.attrib.setdefault(name.rpartition("}")[2], element.attrib[name])
    return root


_Meaning = TypeVar("_Meaning")


def look_up(table: Mapping[str, _Meaning], word: str) -> _Meaning | None:
    """What a word means: the same word first, then the first key that fits: ``*`` for any text, or a range ``1-63``."""
    if word in table:
        return table[word]
    return next((meaning for key, meaning in table.items() if _fits(key, word)), None)


def _fits(key: str, word: str) -> bool:
    if "*" in key:
        return _is_like(key.split("*"), word)
    limits = _RANGE.fullmatch(key)
    if limits is None or not re.fullmatch(r"[0-9]{1,9}", word):
        return False
    return int(limits[1]) <= int(word) <= int(limits[2])


def _is_like(pieces: list[str], word: str) -> bool:
    """Whether a word consists of these pieces with anything between them."""
    first, *middle, last = pieces
    if not word.startswith(first) or not word.endswith(last) or len(word) < len(first) + len(last):
        return False
    start, end = len(first), len(word) - len(last)
    for piece in middle:
        found = word.find(piece, start, end)
        if found < 0:
            return False
        start = found + len(piece)
    return True
