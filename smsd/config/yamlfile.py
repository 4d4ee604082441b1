"""A YAML file as plain data whose every value knows its line and column.

YAML is read by rules an operator can hold in the head: ``true``/``false``, ``null``, whole and decimal numbers written
the usual way; everything else is text as it stands (``17:30``, ``off``, ``no``, ``0012``, ``2024-01-02``). Anchors,
aliases and tags are refused. What the keys mean does not belong here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from yaml import events

from smsd.config.references import Sources, expand
from smsd.core.errors import ConfigError, ConfigProblem

LARGEST_FILE = 1024 * 1024
"""Octets of a file, and characters that its references may bring in altogether."""
MOST_VALUES = 20_000
"""Values of one file: what a second or two can read, and far more than a configuration holds."""
DEEPEST_NESTING = 20
THE_FILE = "file"
"""The key under which a problem of the file as a whole is listed."""

Location = tuple[str | int, ...]
Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]
Mark = tuple[int, int]

_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_DECIMAL_NUMBER = re.compile(r"-?[0-9]{1,15}\.[0-9]{1,15}")
_WORDS: Mapping[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_QUOTED_BY_YAML = re.compile(r"'[^']*'|\"[^\"]*\"")
_HARMLESS = re.compile(r"'<[a-z ]+>'|'\\t'|..?.?")
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Document:
    """One file: its data, where each key and value stands, and what was wrong with single values.

    ``filled`` locations hold what a reference brought in and are never shown. ``unset`` are the problems of references
    that name something missing, ``problems`` all others; the value at such a location means nothing.
    """

    path: Path
    data: dict[str, Value] = field(repr=False)
    keys: Mapping[Location, Mark] = field(repr=False)
    values: Mapping[Location, Mark] = field(repr=False)
    filled: frozenset[Location] = frozenset()
    unset: tuple[tuple[Location, str], ...] = ()
    problems: tuple[tuple[Location, str], ...] = ()

    def problem(self, location: Location, message: str, *, at_key: bool = False) -> ConfigProblem:
        """A problem of a location, at its value, at its key, or at the nearest value around it."""
        if at_key and location in self.keys:
            mark = self.keys[location]
        else:
            around = location
            while around not in self.values:
                around = around[:-1]
            mark = self.keys.get(around, self.values[around]) if around != location else self.values[around]
        return ConfigProblem(str(self.path), *mark, dotted(location), message)


def dotted(location: Location) -> str:
    """A location as operators read it: ``positions.closed.steps[0]``; without any, the file.

    A negative place is that of a key given again (see `_Reader._repeated`), which reads like the key.
    """
    shown = (part for part in location if isinstance(part, str) or part >= 0)
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{_readable(part)}" for part in shown)
    return text.removeprefix(".") or THE_FILE


def _readable(part: str) -> str:
    clipped = part if len(part) <= 60 else part[:59] + "…"
    return clipped if clipped.isprintable() and clipped else repr(clipped)


def read_document(path: Path, environ: Mapping[str, str], *, urls: frozenset[str] = frozenset()) -> Document:
    """Read a file and fill in its references. ``urls`` names the top-level keys that hold URLs.

    Raises `ConfigError` for what leaves nothing to look at: an unreadable file, or one that is not a YAML mapping.
    """
    text = _text_of(path)
    reader = _Reader(path, Sources(path.parent, environ), urls)
    try:
        data = reader.document(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else reader.here
        raise _refusal(path, f"is not YAML: {_safely(error)}", place) from None
    except yaml.reader.ReaderError as error:
        place = _place(text, error.position)
        message = f"holds the character U+{ord(text[error.position]):04X}, which YAML does not allow"
        raise _refusal(path, message, place) from None
    except (ValueError, OverflowError):
        raise _refusal(path, "is not YAML: an escape or number that cannot be", reader.here) from None
    if data is None:
        raise _refusal(path, "is empty, accepted: lines of key: value", (1, 1))
    if not isinstance(data, dict):
        raise _refusal(path, "is not a mapping, accepted: lines of key: value", reader.values[()])
    return Document(
        path,
        data,
        reader.keys,
        reader.values,
        frozenset(reader.filled),
        tuple(reader.unset),
        tuple(reader.problems),
    )


def _refusal(path: Path, message: str, place: Mark) -> ConfigError:
    return ConfigError([ConfigProblem(str(path), *place, THE_FILE, message)])


def _text_of(path: Path) -> str:
    try:
        if not path.is_file():
            state = "is not a file" if path.exists() else "does not exist"
            raise _refusal(path, f"{state}, accepted: a YAML file", (1, 1))
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror}", (1, 1)) from None
    if len(content) > LARGEST_FILE:
        raise _refusal(path, "is too large, accepted: at most 1 MiB", (1, 1))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        raise _refusal(path, "is not UTF-8 text, save it as UTF-8", _place(before, len(before))) from None


def _place(text: str, position: int) -> Mark:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _safely(error: yaml.MarkedYAMLError) -> str:
    """What the YAML library says, less any piece of the file longer than one character: it might be a secret."""
    problem = _QUOTED_BY_YAML.sub(
        lambda match: match[0] if _HARMLESS.fullmatch(match[0]) else "…",
        error.problem or error.context or "it cannot be read",
    )
    return f"{problem} (keys of one section start in one column, after spaces; a text with : # {{ or [ needs quotes)"


class _Reader:
    """Builds the data of one file from the parser's events, so that nothing is resolved that was not asked for."""

    def __init__(self, path: Path, sources: Sources, urls: frozenset[str]) -> None:
        self.path = path
        self.sources = sources
        self.urls = urls
        self.here: Mark = (1, 1)
        self.keys: dict[Location, Mark] = {}
        self.values: dict[Location, Mark] = {(): (1, 1)}
        self.filled: set[Location] = set()
        self.unset: list[tuple[Location, str]] = []
        self.problems: list[tuple[Location, str]] = []
        self.read = 0
        self.brought_in = 0

    def document(self, text: str) -> Value:
        """The data of the only document, None for an empty file."""
        stream = self._events(text)
        first = next(stream, None)
        if first is None:
            return None
        data = self._value(first, stream, ())
        if next(stream, None) is not None:
            raise _refusal(self.path, "holds a second document, accepted: one (no line ---)", self.here)
        return data

    def _events(self, text: str) -> Iterator[events.Event]:
        around = (
            events.StreamStartEvent,
            events.StreamEndEvent,
            events.DocumentStartEvent,
            events.DocumentEndEvent,
        )
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if event.start_mark is not None:
                self.here = (event.start_mark.line + 1, event.start_mark.column + 1)
            if not isinstance(event, around):
                yield event

    def _value(self, event: events.Event, stream: Iterator[events.Event], location: Location) -> Value:
        self.values[location] = self.here
        self.read += 1
        if self.read > MOST_VALUES:
            raise _refusal(self.path, f"holds too much, accepted: at most {MOST_VALUES} values", self.here)
        if len(location) > DEEPEST_NESTING:
            raise _refusal(self.path, f"is nested deeper than {DEEPEST_NESTING} levels", self.here)
        self._refuse_extras(event, location)
        if isinstance(event, events.MappingStartEvent):
            return self._mapping(stream, location)
        if isinstance(event, events.SequenceStartEvent):
            return self._sequence(stream, location)
        return self._scalar(event, location) if isinstance(event, events.ScalarEvent) else None

    def _refuse_extras(self, event: events.Event, location: Location) -> None:
        if isinstance(event, events.AliasEvent) or getattr(event, "anchor", None):
            message = "is an anchor or alias (& or *), accepted: the value itself, in quotes if it is a text"
            self.problems.append((location, message))
        if getattr(event, "tag", None):
            message = "has a tag (!), accepted: the value itself, in quotes if it is a text"
            self.problems.append((location, message))

    def _mapping(self, stream: Iterator[events.Event], location: Location) -> Value:
        data: dict[str, Value] = {}
        for event in stream:
            if isinstance(event, events.MappingEndEvent):
                break
            if not isinstance(event, events.ScalarEvent):
                raise _refusal(self.path, "has a key that is not a plain word", self.here)
            mark, key = self.here, event.value
            inner = (*location, key)
            if key in data:
                self._repeated(inner, mark, stream)
                continue
            self.keys[inner] = mark
            self._refuse_extras(event, inner)
            data[key] = self._value(next(stream), stream, inner)
        return data

    def _repeated(self, location: Location, mark: Mark, stream: Iterator[events.Event]) -> None:
        """A key given twice: its second value is read past, and the problem stands at the second key."""
        aside = _Reader(self.path, self.sources, frozenset())
        aside.here, aside.read, aside.brought_in = self.here, self.read, self.brought_in
        first = next(stream)
        aside.here = self.here
        aside._value(first, stream, location)
        self.read, self.brought_in = aside.read, aside.brought_in
        line = self.keys[location][0]
        marker = (*location, -1 - len(self.problems))
        self.values[marker] = mark
        self.problems.append((marker, f"is given a second time (first on line {line}), accepted: once"))

    def _sequence(self, stream: Iterator[events.Event], location: Location) -> Value:
        data: list[Value] = []
        for event in stream:
            if isinstance(event, events.SequenceEndEvent):
                break
            data.append(self._value(event, stream, (*location, len(data))))
        return data

    def _scalar(self, event: events.ScalarEvent, location: Location) -> Value:
        text: str = event.value
        if _HALF_A_PAIR.search(text):
            self.problems.append(
                (location, "holds half a surrogate pair (\\ud800 to \\udfff), which is no text")
            )
            return text
        if event.style is None and "${" not in text:
            return _resolved(text)
        expansion = expand(text, self.sources, url=len(location) == 1 and location[0] in self.urls)
        if expansion.filled:
            self.filled.add(location)
            self.brought_in += len(expansion.text)
        if self.brought_in > LARGEST_FILE:
            raise _refusal(
                self.path, "has references that bring in too much, accepted: 1 MiB altogether", self.here
            )
        self.unset.extend((location, message) for message in expansion.unset)
        self.problems.extend((location, message) for message in expansion.malformed)
        return expansion.text


def _resolved(text: str) -> Value:
    """What a plain word means. Numbers are numbers only where nothing is lost: ``1.10`` and ``+84`` stay text."""
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    if _DECIMAL_NUMBER.fullmatch(text) and repr(float(text)) == text:
        return float(text)
    return text
