"""Finding the parameters of a registered text in a message: some providers take a template's id and values, no text.

A message is its notice's text with values put in, so the text tells the values. Where values could be cut apart in
several ways, each way gives the same text back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smsd.adapters.gateways.http.rendering import UnfitError
from smsd.config.http import fields
from smsd.config.http.description import HttpSettings
from smsd.core.model import Verdict
from smsd.core.policy import Encoding
from smsd.core.texts import encode_for

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Wording:
    """A registered text, ready to be compared. ``pieces`` are the literal texts around the placeholders."""

    kind: str
    id: str
    params: tuple[str, ...]
    pieces: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, kind: str, id_: str, params: tuple[str, ...], text: str, encoding: Encoding) -> Wording:
        """A registered text as messages show it once they are encoded."""
        parts = _PLACEHOLDER.split(text)
        pieces = tuple(encode_for(piece, encoding) for piece in parts[::2])
        return cls(kind, id_, params, pieces, tuple(parts[1::2]))

    def values_in(self, text: str) -> tuple[str, ...] | None:
        """The parameters' values in their order; None if the text is not this one."""
        values = self._cut_apart(text)
        if values is None or not all(name in values for name in self.params):
            return None
        return tuple(values[name] for name in self.params)

    def _cut_apart(self, text: str) -> Mapping[str, str] | None:
        """The placeholders' values, each as short as may be, the last one taking the rest."""
        first, *rest = self.pieces
        if not text.startswith(first):
            return None
        if not rest:
            return {} if text == first else None
        values: dict[str, str] = {}
        start = len(first)
        for name, piece in zip(self.names[:-1], rest[:-1], strict=True):
            known = values.get(name)
            end = text.find(piece, start) if known is None else start + len(known)
            if end < 0 or (known is not None and not text.startswith(known + piece, start)):
                return None
            values[name] = text[start:end]
            start = end + len(piece)
        return self._with_last(values, text, start)

    def _with_last(self, values: dict[str, str], text: str, start: int) -> Mapping[str, str] | None:
        end = len(text) - len(self.pieces[-1])
        if end < start or not text.endswith(self.pieces[-1]):
            return None
        name, value = self.names[-1], text[start:end]
        if values.setdefault(name, value) != value:
            return None
        return values


class Wordings:
    """The registered texts of a description. ``notices`` are the texts in force by kind; an agency may have its own."""

    def __init__(
        self, settings: HttpSettings, notices: Mapping[str, Sequence[str]], encoding: Encoding
    ) -> None:
        self._wordings: list[Wording] = []
        self.problems: list[str] = []
        """What is wrong with them, for `smsd check`."""
        for name, registered in settings.templates.items():
            kind = registered.kind or name
            texts = notices.get(kind, ()) if registered.text is None else (registered.text,)
            if not texts:
                self.problems.append(f"templates.{name} has no text, and there is no notice {kind}")
            for text in texts:
                wording = Wording.of(kind, registered.id, registered.params, text, encoding)
                self._wordings.append(wording)
                missing = [param for param in registered.params if param not in wording.names]
                if missing:
                    self.problems.append(f"templates.{name}: the text of {kind} has no {{{missing[0]}}}")
        known = {wording.kind for wording in self._wordings}
        if settings.templates:
            self.problems += [f"no template for the notice {kind}" for kind in notices if kind not in known]

    def find(self, kind: str, text: str) -> tuple[str, tuple[str, ...]]:
        """A message's template and parameters. Raises `UnfitError` where there is none, or it reads otherwise."""
        of_kind = [wording for wording in self._wordings if wording.kind == kind]
        if not of_kind:
            raise UnfitError("no_template", f"no template is described for {kind}", Verdict.ACCOUNT)
        for wording in of_kind:
            params = wording.values_in(text)
            if params is not None:
                return wording.id, params
        raise UnfitError("text_unlike_template", f"the text is not that of any template of {kind}")

    def values_of(self, kind: str, text: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """What a request may place of them, and the parameters. Raises `UnfitError`."""
        id_, params = self.find(kind, text)
        numbered = dict.fromkeys((f"param_{number}" for number in range(1, fields.MOST_PARAMS + 1)), "")
        numbered |= {f"param_{number}": param for number, param in enumerate(params, 1)}
        return {fields.TEMPLATE_ID: id_, **numbered}, params
