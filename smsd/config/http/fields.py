"""The fixed set of fields a description may place, and where each may stand."""

from __future__ import annotations

import re
from enum import StrEnum

MESSAGE = frozenset({"id", "to", "sender", "text", "text_base64", "segments", "encoding"})
"""What every message has."""
TIMES = frozenset({"time", "time_compact", "time_iso", "time_unix"})
"""The moment of sending: ``2026-08-03 09:00:00``, ``20260803090000``, ISO 8601 with its offset, seconds."""
TEXTS = frozenset({"text", "param"})
"""What other people wrote: never in a header."""
CALLBACK = "callback_url"
TOKEN = "token"  # noqa: S105 # nosec B105 # a field's name
SIGNATURE = "signature"
TEMPLATE_ID = "template_id"
REFERENCE = "reference"
PARAM = "param"
PARAM_NUMBER = "param_number"
EACH_PARAM = "{params}"
"""The key of a JSON object that stands for a list: one item for each parameter of the registered template."""
MOST_PARAMS = 20

PLACEABLE = (
    MESSAGE
    | TIMES
    | {CALLBACK, TOKEN, SIGNATURE, TEMPLATE_ID, REFERENCE, PARAM, PARAM_NUMBER}
    | {f"param_{number}" for number in range(1, MOST_PARAMS + 1)}
)
"""Names that variables cannot have."""

VARIABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


class Place(StrEnum):
    """For what a request is made; it decides what may be placed in it."""

    MESSAGE = "message"
    SIGNATURE = "signature"
    TOKEN = "token"  # noqa: S105 # nosec B105 # a field's name
    POLL = "poll"
    CHECK = "check"


def placeable_in(place: Place, *, token: bool, signature: bool, templates: bool) -> frozenset[str]:
    """The fields that have a value at a place, variables aside; ``token`` and the others say which sections exist."""
    found = set(TIMES)
    if place in (Place.MESSAGE, Place.SIGNATURE):
        found |= MESSAGE | {CALLBACK}
        if templates:
            found |= {TEMPLATE_ID, *(f"param_{number}" for number in range(1, MOST_PARAMS + 1))}
    if place is Place.POLL:
        found.add(REFERENCE)
    if token and place is not Place.TOKEN:
        found.add(TOKEN)
    if signature and place is Place.MESSAGE:
        found.add(SIGNATURE)
    return frozenset(found)
