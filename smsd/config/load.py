"""Reading smsd.yaml and the agencies' files: every mistake of a file at once, each with its place.

What single values may be is in `values`; here is what spans several keys of a file, or several files.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from smsd.config import defaults
from smsd.config.policies import database_and_view, filter_in_effect
from smsd.config.references import Sources, expand
from smsd.config.sections import Section
from smsd.config.sentences import location_of, sentence_of
from smsd.config.settings import Agency, AgencyFile, Settings
from smsd.config.values import Wrong, identifier_from
from smsd.config.yamlfile import THE_FILE, Document, Location, Value, read_document
from smsd.core.errors import ConfigError, ConfigProblem
from smsd.core.model import APOLOGY, IN_PROGRESS, Mode
from smsd.core.policy import ReadKind
from smsd.core.rows import VIEW_COLUMNS

CONTRACT_COLUMNS = (*VIEW_COLUMNS, "updated_at")
"""Every column the view may have."""

_SECTIONS = frozenset(
    name
    for model in (Settings, AgencyFile)
    for name, key in model.model_fields.items()
    if key.default == {} or name in {"inbound", "alarms"}
)
"""The keys that may be given empty, every key in them being the default's."""
_AGENCY_ID = re.compile(r"[a-z0-9-]{1,64}")
_POSITION_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SCHEDULE_KEYS = ("at", "until", "unless")
_SUFFIX = ".yaml"
_A_FOLDER = "accepted: a folder of agency files, which may be empty"
_LONGEST_ID_SHOWN = 64

_Section = TypeVar("_Section", bound=Section)


@dataclass(frozen=True)
class AgencyFiles:
    """The agencies that can be used, and what is wrong with the others, both by id and sorted by it."""

    agencies: dict[str, Agency] = field(default_factory=dict)
    problems: dict[str, ConfigError] = field(default_factory=dict)


def read_settings(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read smsd.yaml. Raises `ConfigError` with every mistake in it."""
    review = _Review(read_document(path, environ, urls=frozenset({"store"})))
    review.note(review.document.unset)
    _fill_in_secret(review, Sources(path.parent, environ))
    _look_for_agencies(review, path.parent.absolute())
    _look_for_listener(review)
    review.note_names(review.data, defaults.POSITIONS.keys(), defaults.NOTICES.keys())
    return review.concluded(review.validated(Settings, review.data, {"folder": path.parent}))


def _fill_in_secret(review: _Review, sources: Sources) -> None:
    """The default secret of `inbound` is a reference, so that it is looked up only where something listens."""
    inbound = review.data.get("inbound")
    if not isinstance(inbound, dict) or "secret" in inbound:
        return
    expansion = expand(defaults.SECRET, sources)
    review.note((("inbound", "secret"), message) for message in expansion.unset)
    review.data["inbound"] = {**inbound, "secret": expansion.text}


def _look_for_listener(review: _Review) -> None:
    """Content providers call in: without `inbound` they would find nobody."""
    lookup = review.data.get("lookup")
    providers = lookup.get("providers") if isinstance(lookup, dict) else None
    if isinstance(providers, dict) and providers and "inbound" not in review.data:
        message = "has providers whom nobody listens to, accepted: an inbound section besides"
        review.note([(("lookup", "providers"), message)], at_key=True)


def _look_for_agencies(review: _Review, beside: Path) -> None:
    """The folder must be there, whatever else is wrong."""
    key = ("agencies",)
    written = review.data.get("agencies", "agencies")
    if not isinstance(written, str) or not review.usable(key):
        return
    try:
        next((beside / written).iterdir(), None)
    except (OSError, ValueError) as error:
        which = "" if key in review.document.filled else f" {beside / written}"
        reason = error.strerror if isinstance(error, OSError) else "no folder has such a name"
        review.note([(key, f"the folder{which} cannot be read: {reason}, {_A_FOLDER}")])


def read_agencies(settings: Settings, environ: Mapping[str, str]) -> AgencyFiles:
    """Read every agency's file. A wrong one leaves out that agency only.

    Raises `ConfigError` if the folder, which `read_settings` had looked into, cannot be read any more.
    """
    folder = settings.agencies
    try:
        paths = sorted(path for path in folder.iterdir() if _is_meant(path))
    except OSError as error:
        message = f"the folder cannot be read: {error.strerror}, {_A_FOLDER}"
        raise ConfigError([ConfigProblem(str(folder), 1, 1, THE_FILE, message)]) from None
    found: dict[str, tuple[Agency, Document]] = {}
    problems: dict[str, ConfigError] = {}
    for path in sorted(paths, key=lambda path: (path.suffix != _SUFFIX, path.name)):
        id_ = path.stem
        try:
            _check_file_name(path)
            found[id_] = _read_agency(path, settings, environ)
        except ConfigError as error:
            taken = id_ in found or id_ in problems
            problems[_shown(path.name if taken else id_)] = error
    problems |= _clashes(found)
    agencies = {id_: agency for id_, (agency, _) in sorted(found.items()) if id_ not in problems}
    return AgencyFiles(agencies, dict(sorted(problems.items())))


def _is_meant(path: Path) -> bool:
    """Whether a file was put there as an agency's: those of editors and packages are none."""
    return path.suffix.lower() in {".yaml", ".yml"} and not path.name.startswith((".", "#"))


def _check_file_name(path: Path) -> None:
    message = None
    if path.suffix != _SUFFIX:
        message = f"ends in {path.suffix}, accepted: names ending in {_SUFFIX}"
    elif not _AGENCY_ID.fullmatch(path.stem):
        message = "is no agency's id, accepted: at most 64 of a-z 0-9 and -, as in nha-trang.yaml"
    if message:
        raise ConfigError([ConfigProblem(_shown(str(path), None), 1, 1, THE_FILE, f"its name {message}")])


def _shown(name: str, longest: int | None = _LONGEST_ID_SHOWN) -> str:
    """A file's name that can be printed and stored, whatever its bytes."""
    text = name.encode("utf-8", "replace").decode()
    return "".join(char if char.isprintable() else "?" for char in text)[:longest]


def _read_agency(path: Path, settings: Settings, environ: Mapping[str, str]) -> tuple[Agency, Document]:
    document = read_document(path, environ, urls=frozenset({"database"}))
    review = _Review(document)
    data = review.data
    unset = document.unset
    unfilled: tuple[str, ...] = ()
    if data.get("mode") == Mode.OFF.value:
        unfilled = tuple(message for location, message in unset if location == ("database",))
        unset = tuple(one for one in unset if one[0] != ("database",))
    review.note(unset)
    review.note_names(data, settings.positions.keys(), settings.notices.keys())
    _check_columns(review, data)
    context = {"folder": path.parent, "notices": settings.notices, "unfilled": bool(unfilled)}
    file = review.concluded(review.validated(AgencyFile, data, context))
    known = {name: getattr(file, name) for name in AgencyFile.model_fields}
    return Agency.model_construct(**known, id=path.stem, path=path.absolute(), unset=unfilled), document


def _check_columns(review: _Review, data: Mapping[str, Value]) -> None:
    accepted = f"accepted: {', '.join(CONTRACT_COLUMNS)}"
    columns, filter_, changed_by = data.get("columns"), data.get("filter"), data.get("changed_by")
    for name in columns if isinstance(columns, dict) else ():
        if name not in CONTRACT_COLUMNS:
            review.note([(("columns", name), f"is no column smsd knows, {accepted}")], at_key=True)
    for name in filter_ if isinstance(filter_, dict) else ():
        try:
            identifier_from(name)
        except Wrong as wrong:
            review.note([(("filter", name), wrong.sentence)], at_key=True)
    if isinstance(changed_by, str) and changed_by not in CONTRACT_COLUMNS:
        review.note([(("changed_by",), f"names no column smsd knows, {accepted}")])
    if data.get("read") == ReadKind.CHANGED_BY and changed_by is None:
        review.note([(("read",), "needs `changed_by`, accepted: changed_by: updated_at beside it")])


def _clashes(found: Mapping[str, tuple[Agency, Document]]) -> dict[str, ConfigError]:
    """Agencies that would read the same rows: none of them can be trusted to be the one that was meant."""
    alike: defaultdict[object, list[str]] = defaultdict(list)
    for id_, (agency, _) in found.items():
        alike[(database_and_view(agency), filter_in_effect(agency))].append(id_)
    clashes: dict[str, ConfigError] = {}
    for ids in alike.values():
        for id_ in ids if len(ids) > 1 else ():
            others = ", ".join(other for other in ids if other != id_)
            message = f"reads the same database, view and filter as {others}, accepted: a filter of its own"
            problem = found[id_][1].problem(("filter",), message, at_key=True)
            clashes[id_] = ConfigError([problem])
    return clashes


class _Review:
    """Collects what is wrong with one file."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._unusable = {location for location, _ in (*document.problems, *document.unset)}
        self._problems: set[ConfigProblem] = set()
        self.data = self._prepared()
        self.note(document.problems)

    def _prepared(self) -> dict[str, Value]:
        """The data, an empty section being one without keys; what cannot be used is left out where nothing is there."""
        data = dict(self.document.data)
        for key in [key for key, value in data.items() if value is None]:
            if (key,) in self._unusable:
                del data[key]
            elif key in _SECTIONS:
                data[key] = {}
        return data

    def usable(self, location: Location) -> bool:
        """Whether the value at a location means anything."""
        return location not in self._unusable

    def note(self, findings: Iterable[tuple[Location, str]], *, at_key: bool = False) -> None:
        """Put down what is wrong."""
        for location, message in findings:
            self._problems.add(self.document.problem(location, message, at_key=at_key))

    def validated(
        self, model: type[_Section], data: Mapping[str, Value], context: Mapping[str, object]
    ) -> _Section | None:
        """The section, or None with what is wrong put down. Nothing more is said of values that cannot be used."""
        try:
            return model.model_validate(data, context=dict(context))
        except ValidationError as error:
            errors = error.errors(include_url=False)
        for one in errors:
            location = self._placed(location_of(one))
            if self.usable(location) or one["type"] == "extra_forbidden":
                shown = location not in self.document.filled
                at_key = one["type"] == "extra_forbidden"
                self.note([(location, sentence_of(one, model, may_quote=shown))], at_key=at_key)
        return None

    def _placed(self, location: Location) -> Location:
        """A gateway that stands alone has no place in a list."""
        alone = location[:2] == ("gateway", 0) and not isinstance(self.data.get("gateway"), list)
        return (*location[:1], *location[2:]) if alone else location

    def note_names(self, data: Mapping[str, Value], positions: Iterable[str], notices: Iterable[str]) -> None:
        """Positions need lawful names; notices, and what an apology is not sent for, must name positions."""
        own, texts = data.get("positions"), data.get("notices")
        known = list(positions)
        for name in own if isinstance(own, dict) else ():
            if _POSITION_NAME.fullmatch(name) and name not in {APOLOGY, IN_PROGRESS}:
                known.append(name)
                continue
            accepted = f"at most 40 of a-z 0-9 and _, but not {APOLOGY} or {IN_PROGRESS}"
            self.note(
                [(("positions", name), f"is no name for a position, accepted: {accepted}")], at_key=True
            )
        for name, notice in texts.items() if isinstance(texts, dict) else ():
            self._note_notice(name, notice, list(dict.fromkeys(known)), name in notices)

    def _note_notice(self, name: str, notice: Value, positions: list[str], known: bool) -> None:
        accepted = ", ".join(positions)
        if name not in positions and not known:
            message = (
                f"names no position, accepted: {accepted}, {APOLOGY}; a new one is added under positions"
            )
            self.note([(("notices", name), message)], at_key=True)
        if not isinstance(notice, dict):
            return
        if name != APOLOGY:
            message = f"only {APOLOGY} is sent at a time of day, accepted: text, settle, valid_for"
            self.note(
                ((("notices", name, key), message) for key in _SCHEDULE_KEYS if key in notice), at_key=True
            )
            return
        unless = notice.get("unless")
        for place, position in enumerate(unless if isinstance(unless, list) else ()):
            if isinstance(position, str) and position not in positions:
                self.note([(("notices", name, "unless", place), f"names no position, accepted: {accepted}")])

    def concluded(self, section: _Section | None) -> _Section:
        """The section. Raises `ConfigError` if anything is wrong."""
        if self._problems or section is None:
            in_order = sorted(self._problems, key=lambda one: (one.line, one.column, one.key, one.message))
            raise ConfigError(in_order)
        return section
