"""What pydantic found, said in smsd's own words: where it is in the file, what is wrong, what is accepted."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from smsd.config.values import Wrong
from smsd.config.yamlfile import Location

_NEVER_SHOWN = frozenset(
    {"store", "database", "password", "secret", "url", "public_url", "command", "variables", "token"}
)
_LONGEST_SHOWN = 60
_NOT_A_SECTION = "is not a section, accepted: lines of key: value"
_TAGGED = "gateway"

_REQUIRED = {
    "name": "the agency's full name",
    "database": "the URL of the agency's database",
    "view": "the name of the agency's view",
    "gateway": "a section such as {type: spool, directory: /var/lib/smsd/spool}",
    "type": "the kind of gateway",
    "directory": "a folder",
    "url": "the gateway's address",
    "username": "the account's name",
    "password": "the account's password, better ${credential:NAME}",  # nosec B105 # what to write, not a secret
    "secret": "the secret agreed upon with the provider, better ${credential:NAME}",  # nosec B105 # what to write, not a secret
    "text": "the message's text",
    "command": "a command line",
}
_SENTENCES = {
    "model_type": _NOT_A_SECTION,
    "model_attributes_type": _NOT_A_SECTION,
    "dict_type": _NOT_A_SECTION,
    "union_tag_not_found": "has no type, accepted: type: spool or another kind of gateway",
}


def location_of(error: ErrorDetails) -> Location:
    """Where in the file an error is, a gateway always by its place in the list; pydantic names its type besides."""
    location = error["loc"][:-1] if error["loc"][-1:] == ("[key]",) else error["loc"]
    if location[:1] != (_TAGGED,) or len(location) < 2:
        return location
    if error["type"].startswith("union_tag"):
        return (*location[:2], "type")
    return (*location[:2], *location[3:])


def sentence_of(error: ErrorDetails, model: type[BaseModel], *, may_quote: bool) -> str:
    """What is wrong and what is accepted. ``may_quote``: the value stands in the file itself and may be shown."""
    kind = error["type"]
    if kind == "missing":
        accepted = _REQUIRED.get(str(error["loc"][-1]))
        return f"is missing, accepted: {accepted}" if accepted else "is missing"
    if kind == "extra_forbidden":
        return _unknown_key(str(error["loc"][-1]), sorted(_siblings(model, error["loc"])))
    quoted = _quoted(error) if may_quote else ""
    if kind == "union_tag_invalid":
        return f"{quoted}is no kind of gateway, accepted: {_tags(error)}"
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, Wrong):
        return cause.quoting if may_quote and cause.quoting else quoted + cause.sentence
    return _SENTENCES.get(kind, f"{quoted}cannot be used here")


def _unknown_key(key: str, accepted: list[str]) -> str:
    meant = get_close_matches(key, accepted, 1)
    hint = f" (did you mean {meant[0]}?)" if meant else ""
    return f"is an unknown key{hint}, accepted: {', '.join(accepted)}"


def _tags(error: ErrorDetails) -> str:
    return str(error.get("ctx", {}).get("expected_tags", "")).replace("'", "")


def _quoted(error: ErrorDetails) -> str:
    """The value and a space, where it is short and plain and cannot be a secret."""
    value = error["input"]
    if isinstance(value, dict) and error["type"] == "union_tag_invalid":
        value = value.get("type")
    if not isinstance(value, (str, int, float)) or _NEVER_SHOWN.intersection(error["loc"]):
        return ""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not text.isprintable() or not text or ("://" in text and "@" in text):
        return ""
    return f'"{text}" ' if len(text) <= _LONGEST_SHOWN else ""


def _siblings(model: type[BaseModel], location: Location) -> set[str]:
    """The keys that are accepted where an unknown one stands."""
    for place, part in enumerate(location[:-1]):
        named = {field.alias or name: field for name, field in model.model_fields.items()}
        field = named.get(str(part))
        inner = list(_models_in(field.annotation)) if field is not None else []
        if inner:
            tag = next((after for after in location[place + 1 :] if isinstance(after, str)), None)
            model = next((one for one in inner if tag in _types_of(one)), inner[0])
    return {field.alias or name for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _types_of(model: type[BaseModel]) -> tuple[Any, ...]:
    """The gateway types a class is for."""
    field = model.model_fields.get("type")
    return get_args(field.annotation) if field is not None else ()
