"""Texts with ``{placeholders}``: taken apart once when the description is read, filled in once for each message.

A value is never looked at again after it was put in, and each place escapes what it is given, so that nothing in a
message can become anything but a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from smsd.config.http import fields

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_AS_NUMBER = "|number"

Values = Mapping[str, str]
Escape = Callable[[str], str]


class TemplateError(ValueError):
    """A text that is no template: a sentence that holds nothing of the text but a placeholder's name."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a value goes."""

    name: str


@dataclass(frozen=True, slots=True)
class Template:
    """Literal pieces and slots, in their order. Literals are not shown, for they may be secret."""

    pieces: tuple[str | Slot, ...] = field(repr=False)
    number: bool = False
    """Whether the value is a number where numbers and texts differ (JSON)."""

    @property
    def names(self) -> frozenset[str]:
        """What it places."""
        return frozenset(piece.name for piece in self.pieces if isinstance(piece, Slot))

    def fill(self, values: Values, escape: Escape = str) -> str:
        """The text with every slot filled in by an escaped value. Literals stay as they are."""
        return "".join(
            piece if isinstance(piece, str) else escape(values[piece.name]) for piece in self.pieces
        )

    def fill_whole(self, values: Values, escape: Escape) -> str:
        """The text filled in, literals and values escaped alike."""
        return escape(self.fill(values))

    def starts_with_literal(self) -> str:
        """The text before the first slot."""
        return self.pieces[0] if self.pieces and isinstance(self.pieces[0], str) else ""


def parse(text: str, names: Collection[str]) -> Template:
    """A template; ``{{`` and ``}}`` are single braces. Raises `TemplateError` for a placeholder not among ``names``."""
    pieces: list[str | Slot] = []
    number = False
    start = 0
    for match in _PIECE.finditer(text):
        pieces.append(text[start : match.start()])
        start = match.end()
        if match[1] is None:
            pieces.append(_single_brace(match[0]))
            continue
        name, number = match[1].removesuffix(_AS_NUMBER), match[1].endswith(_AS_NUMBER)
        if name not in names:
            raise TemplateError(_unknown(name, names))
        if number and match[0] != text:
            raise TemplateError(f"has {{{name}|number}} within other text, accepted: it alone, for a number")
        pieces.append(Slot(name))
    pieces.append(text[start:])
    return Template(tuple(_joined(pieces)), number)


def _single_brace(found: str) -> str:
    if len(found) == 1:
        raise TemplateError("has a brace without its other half, accepted: {name}, or {{ and }} for braces")
    return found[0]


def _unknown(name: str, names: Collection[str]) -> str:
    shown = name if fields.VARIABLE_NAME.fullmatch(name) else "…"
    accepted = ", ".join(f"{{{one}}}" for one in sorted(names) if not re.fullmatch(r"param_\d+", one))
    return f"places {{{shown}}}, which is no field and no variable, accepted: {accepted}"


def _joined(pieces: list[str | Slot]) -> Iterator[str | Slot]:
    """Neighbouring literals as one, empty ones left out."""
    literal = ""
    for piece in pieces:
        if isinstance(piece, str):
            literal += piece
            continue
        if literal:
            yield literal
        literal = ""
        yield piece
    if literal:
        yield literal


# bodies as structures


@dataclass(frozen=True, slots=True)
class EachParam:
    """A list with one item for each parameter of the registered template."""

    item: Node


Node = None | bool | int | float | Template | EachParam | tuple["Node", ...] | dict[str, "Node"]
"""JSON whose texts are templates."""


def parse_node(value: object, names: Collection[str], inside: str = "") -> tuple[Node, list[str]]:
    """JSON as a description writes it, and what is wrong with it, each with its place."""
    problems: list[str] = []
    return _node(value, frozenset(names), inside, problems), problems


def _node(value: object, names: frozenset[str], inside: str, problems: list[str]) -> Node:
    if isinstance(value, str):
        try:
            return parse(value, names)
        except TemplateError as error:
            problems.append(f"{inside} {error}".strip())
            return None
    if isinstance(value, list | tuple):
        return tuple(_node(item, names, f"{inside}[{n}]", problems) for n, item in enumerate(value))
    if not isinstance(value, dict):
        return value if isinstance(value, bool | int | float) else None
    if fields.EACH_PARAM in value:
        return _each_param(value, names, inside, problems)
    return {
        str(key): _node(item, names, f"{inside}.{key}".strip("."), problems) for key, item in value.items()
    }


def _each_param(
    value: dict[str, object], names: frozenset[str], inside: str, problems: list[str]
) -> EachParam:
    if len(value) > 1:
        problems.append(f"{inside} has other keys beside {fields.EACH_PARAM}, accepted: this one alone")
    if fields.TEMPLATE_ID not in names:
        problems.append(f"{inside} lists parameters without templates, accepted: a section templates")
    own = names | {fields.PARAM, fields.PARAM_NUMBER}
    return EachParam(_node(value[fields.EACH_PARAM], own, f"{inside}.{fields.EACH_PARAM}", problems))


def fill_node(node: Node, values: Values, params: tuple[str, ...]) -> object:
    """Plain JSON. Raises ValueError if something is to be a number and is none."""
    if isinstance(node, Template):
        text = node.fill(values)
        return _number(text) if node.number else text
    if isinstance(node, EachParam):
        return [
            fill_node(node.item, {**values, fields.PARAM: param, fields.PARAM_NUMBER: str(number)}, params)
            for number, param in enumerate(params, 1)
        ]
    if isinstance(node, tuple):
        return [fill_node(item, values, params) for item in node]
    if isinstance(node, dict):
        return {key: fill_node(item, values, params) for key, item in node.items()}
    return node


def _number(text: str) -> int | float:
    if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", text):
        raise ValueError("no number")
    return float(text) if "." in text else int(text)


def names_in(node: Node) -> frozenset[str]:
    """Everything a structure places."""
    if isinstance(node, Template):
        return node.names
    if isinstance(node, EachParam):
        return names_in(node.item) | {fields.EACH_PARAM}
    if isinstance(node, dict):
        return frozenset().union(*map(names_in, node.values()))
    if isinstance(node, tuple):
        return frozenset().union(*map(names_in, node))
    return frozenset()
