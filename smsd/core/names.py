"""Names as people typed them: cleaned for texts and reports, folded for comparing.

Every name and code that enters smsd, from a view or from the configuration, passes through here, so that two
spellings a reader cannot tell apart are one. What a name means does not belong here.
"""

from __future__ import annotations

import re
import unicodedata

_LINE_BREAKS_AND_TABS = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls: they reorder what stands around them
    "\u200b-\u200d\u2060\ufeff"  # of no width: a reader cannot see them
    "\ud800-\udfff]"  # halves of a surrogate pair: no text, and they cannot be encoded
)


def clean_text(text: str) -> str:
    """A text without outer spaces, control, bidi and zero-width characters.

    A tab or line break between two words becomes a space, so that the words stay two.
    """
    if text.isprintable():
        return text.strip()
    return _INVISIBLE.sub("", _LINE_BREAKS_AND_TABS.sub(" ", text)).strip()


def fold_name(name: str) -> str:
    """The form in which names are compared: trimmed, Unicode NFC, case folded, spaces collapsed.

    Decomposed before folding, as Unicode's canonical caseless matching asks, so that folding twice changes nothing.
    """
    folded = unicodedata.normalize("NFD", clean_text(name)).casefold()
    return " ".join(unicodedata.normalize("NFC", folded).split())
