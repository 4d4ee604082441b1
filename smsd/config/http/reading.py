"""How single values of a description are written, each read in the light of the whole.

Which names a template may place and how paths are written depends on other keys; so those are known while a part is
validated (`reading`). A `Wrong` here says its sentence alone: a template or table may hold what must not be shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, InstanceOf, SecretStr, model_validator

from smsd.config.addresses import http_url_from
from smsd.config.http import fields
from smsd.config.http.fields import Place, placeable_in
from smsd.config.http.paths import KINDS, Path, PathError, parse_path, read_body
from smsd.config.http.presetfiles import preset_names
from smsd.config.http.templates import Node, Template, TemplateError, parse, parse_node
from smsd.config.sections import Section
from smsd.config.values import Wrong, choice_from, list_from, parsed_by, secret_from, text_from
from smsd.core.model import ReceiptVerdict

CLASSES = ("accepted", "rejected", "retry", "throttled", "account", "unknown")
"""What an error code may mean. ``accepted``: a repeat of what was taken; ``throttled``: too many, wait."""

_GATEWAY_NAME = re.compile(r"[a-z0-9-]{1,32}")
_FIELD_NAME = re.compile(r"[^\x00-\x20\x7f-\x9f]{1,200}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OUR_HEADERS = {"host", "content-length", "transfer-encoding", "connection", "user-agent", "authorization"}
_STATUS = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")
_HOSTILE_SAMPLE = "1 --x"
"""Put where values go, it spoils an XML template that places one in a name or a comment."""


# what is known of the whole while a part is read


@dataclass(frozen=True, slots=True)
class Reading:
    """What of the whole decides how a part is read."""

    variables: frozenset[str] = frozenset()
    answer: str = "json"
    token: bool = False
    signature: bool = False
    templates: bool = False
    place: Place = Place.MESSAGE

    @property
    def names(self) -> frozenset[str]:
        """What a template may place here."""
        known = placeable_in(self.place, token=self.token, signature=self.signature, templates=self.templates)
        return known | self.variables


_READING: ContextVar[Reading] = ContextVar("_READING", default=Reading())  # noqa: B039 - it is frozen


@contextmanager
def reading(known: Reading) -> Iterator[None]:
    """Read parts in the light of this."""
    mark = _READING.set(known)
    try:
        yield
    finally:
        _READING.reset(mark)


class Placed(Section):
    """A section whose templates are filled in for something else than a message, and whose answers may differ."""

    PLACE: ClassVar[Place | None] = None

    @model_validator(mode="wrap")
    @classmethod
    def _read_in_its_place(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        known = _READING.get()
        if cls.PLACE is not None:
            known = replace(known, place=cls.PLACE)
        if isinstance(data, dict) and data.get("answer") in KINDS:
            known = replace(known, answer=data["answer"])
        with reading(known):
            return handler(data)


# single values


def wrong(sentence: str) -> Wrong:
    """Says its sentence alone: a template or table may hold what must not be shown."""
    return Wrong(sentence, sentence)


def template_from(value: object) -> Template:
    """A text with placeholders, all of which are known in its place."""
    text = word_from(value).strip()
    try:
        return parse(text, _READING.get().names)
    except TemplateError as error:
        raise wrong(str(error)) from None


def word_from(value: object) -> str:
    """A text that is not shown when it is wrong."""
    try:
        return text_from(value)
    except Wrong as error:
        raise wrong(error.sentence) from None


def header_from(value: object) -> Template:
    """Nothing that other people wrote: a header's limits are looked after, but its readers differ."""
    found = template_from(value)
    written = {name for name in found.names if name in fields.TEXTS or name.startswith("param_")}
    if written:
        raise wrong(f"places {{{min(written)}}} in a header, accepted: in the query or the body")
    if any(isinstance(piece, str) and not _is_header_text(piece) for piece in found.pieces):
        raise wrong("holds a character that headers cannot carry, accepted: printable ASCII")
    return found


def _is_header_text(text: str) -> bool:
    return text.isascii() and text.isprintable()


def url_from(value: object) -> Template:
    """An address; its path and query may place values, scheme and host may not."""
    if value is None:
        raise Wrong("is missing, accepted: the address the provider gave you, https://…")
    found = template_from(value)
    plain = found.fill(dict.fromkeys(found.names, "x"))
    http_url_from(plain)
    parts = urlsplit(plain)
    if not plain.isascii():
        raise Wrong("is no address, accepted: ASCII characters, others percent-encoded")
    if parts.username is not None:
        raise Wrong("holds a login, accepted: an address without one, and auth: {basic: …}")
    start = found.starts_with_literal()
    if found.names and not re.match(r"https?://[^/?#]+[/?]", start):
        raise wrong("places a value in the host, accepted: values in the path or the query")
    return found


def json_from(value: object) -> Node:
    """A JSON body whose texts are templates."""
    if not isinstance(value, dict | list):
        raise wrong("is no JSON object, accepted: keys with values, as the provider's documents show it")
    node, problems = parse_node(value, _READING.get().names)
    if problems:
        raise wrong("; ".join(problems))
    return node


def xml_from(value: object) -> Template:
    """An XML body that stays well-formed whatever is put in."""
    found = template_from(value)
    if "<![CDATA[" in found.fill(dict.fromkeys(found.names, "")):
        raise wrong("has a CDATA section, accepted: values in plain elements, they are escaped")
    sample = found.fill(dict.fromkeys(found.names, _HOSTILE_SAMPLE)).strip().encode("utf-8", "replace")
    if read_body(sample, "xml") is None:
        raise wrong("is no well-formed XML once it is filled in, accepted: values in elements or attributes")
    return found


def path_from(value: object) -> Path:
    """A path into the answers of this part."""
    try:
        return parse_path(word_from(value), _READING.get().answer)
    except PathError as error:
        raise wrong(str(error)) from None


def pattern_from(value: object) -> re.Pattern[str]:
    """A regular expression."""
    try:
        return re.compile(word_from(value))
    except re.error:
        raise wrong("is no regular expression, accepted: one such as ^OK") from None


def one_or_several_from(value: object) -> list[object]:
    """A list, or its only item."""
    return list_from(value) if isinstance(value, list | tuple) else [value]


def statuses_from(value: object) -> tuple[range, ...]:
    """HTTP statuses."""
    return tuple(status_range_from(item) for item in one_or_several_from(value))


def status_range_from(value: object) -> range:
    """One HTTP status, or several in a row."""
    if isinstance(value, range):
        return value
    match = _STATUS.fullmatch(str(value)) if not isinstance(value, bool) else None
    if match is None:
        raise wrong("is no HTTP status, accepted: 200, 200-299, or a list of them")
    return range(int(match[1]), int(match[2] or match[1]) + 1)


def status_key_from(value: object) -> str:
    """HTTP statuses as a key."""
    status_range_from(value)
    return str(value)


def preset_name_from(value: object) -> str:
    """A provider that is known."""
    return choice_from(*preset_names())(value)


def gateway_name_from(value: object) -> str:
    """What stands in the address of receipts."""
    if not isinstance(value, str) or not _GATEWAY_NAME.fullmatch(value):
        raise Wrong("is no name, accepted: at most 32 of a-z 0-9 and -, as in esms")
    return value


def field_name_from(value: object) -> str:
    """What a provider calls a field."""
    name = word_from(value)
    if not _FIELD_NAME.fullmatch(name):
        raise wrong("is no field's name, accepted: the name as the provider writes it")
    return name


def variable_from(value: object) -> SecretStr:
    """An operator's own value; all of them count as secret."""
    if value is None:
        raise Wrong("is missing, accepted: what the provider gave you, better ${credential:NAME}")
    try:
        return secret_from(value)
    except Wrong as error:
        raise wrong(error.sentence) from None


def variable_name_from(value: object) -> str:
    """A variable's name."""
    name = str(value)
    if not fields.VARIABLE_NAME.fullmatch(name) or name in fields.PLACEABLE:
        raise wrong("is no variable's name, accepted: a-z 0-9 and _, but not the name of a field")
    return name


def header_name_from(value: object) -> str:
    """A header that is the description's to set."""
    name = str(value)
    if not _HEADER_NAME.fullmatch(name) or name.lower() in _OUR_HEADERS:
        raise wrong("is no header of yours, accepted: a header's name; see auth for Authorization")
    return name


def replacement_from(value: object) -> str:
    """What stands instead of a character; never longer, so that no text takes more segments."""
    text = "" if value is None else word_from(value)
    if len(text) > 1 or not text.isascii():
        raise wrong("is longer than what it replaces, accepted: one ASCII character, or nothing")
    return text


def single_from(value: object) -> str:
    """One character."""
    text = word_from(value)
    if len(text) != 1:
        raise wrong("is not one character, accepted: the character to replace")
    return text


TemplateText = Annotated[InstanceOf[Template], BeforeValidator(template_from)]
HeaderText = Annotated[InstanceOf[Template], BeforeValidator(header_from)]
Url = Annotated[InstanceOf[Template], BeforeValidator(url_from)]
PathText = Annotated[Path, BeforeValidator(path_from)]
Word = Annotated[str, parsed_by(word_from)]
Words = Annotated[tuple[Word, ...], parsed_by(one_or_several_from)]
FieldName = Annotated[str, parsed_by(field_name_from)]
FieldNames = Annotated[tuple[FieldName, ...], parsed_by(one_or_several_from)]
Statuses = Annotated[tuple[InstanceOf[range], ...], BeforeValidator(statuses_from)]
AnswerKind = Annotated[str, parsed_by(choice_from(*KINDS))] | None
"""What an answer is; None: as the description's other answers are."""
Class = Annotated[str, parsed_by(choice_from(*CLASSES))]
VerdictWord = Annotated[ReceiptVerdict, parsed_by(choice_from(*ReceiptVerdict))]
Verdicts = dict[Word, VerdictWord]
