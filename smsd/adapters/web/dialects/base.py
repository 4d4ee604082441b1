"""What a dialect is: how a content provider hands on a text that a citizen sent to 9029, and takes the answer."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from smsd.core.errors import SmsdError
from smsd.core.lookups import Road

LONGEST_FIELD = 200
"""Characters of a number or id."""
LONGEST_TEXT = 2_000
"""Characters of a citizen's text; ten concatenated messages are shorter."""


@dataclass(frozen=True, slots=True)
class MoCall:
    """A text from a telephone, proven to come from the provider. ``id`` is the provider's; repeats are told by it."""

    number: str = field(repr=False)
    text: str = field(repr=False)
    id: str | None


class MoError(SmsdError):
    """A call that is not answered. ``code``: ``unsigned`` or ``malformed``."""


class MoDialect(Protocol):
    """One provider's way. ``name`` is the road its calls come by."""

    name: Road

    def read(self, fields: Mapping[str, str], body: bytes) -> MoCall:
        """The text a call carries, proven before it is read. Raises `MoError`: ``unsigned`` or ``malformed``."""

    def reply(self, call: MoCall, answer: str) -> tuple[str, bytes]:
        """Content type and body by which the provider is told the text to send back."""


def proven(expected: str, given: str) -> bool:
    """Whether a signature is the expected one; takes the same time whatever is wrong with it."""
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass"))


def call_of(number: str, text: str | None, id_: str | None, *, needs_id: bool) -> MoCall:
    """A call whose parts can be kept. Raises `MoError`."""
    number, id_ = storable(number).strip(), storable(id_ or "").strip()
    if not number or text is None or (needs_id and not id_):
        raise MoError("a call names its sender, its text and its id", code="malformed")
    if max(len(number), len(id_)) > LONGEST_FIELD or len(text) > LONGEST_TEXT:
        raise MoError("a call's number, id or text is too long", code="malformed")
    return MoCall(number, storable(text), id_ or None)


def storable(text: str) -> str:
    """Without what no database takes: NUL and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
