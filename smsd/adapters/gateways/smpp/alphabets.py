"""Texts as octets: the GSM 7-bit alphabet, one septet an octet, and UCS-2; and what came in, by its data_coding."""

from __future__ import annotations

from smsd.core.texts import GSM7_BASIC, GSM7_EXTENSION

DEFAULT_ALPHABET = 0
UCS2 = 8
_ASCII = 1
_LATIN_1 = 3
_ESCAPE = 0x1B
_NO_TEXT = "\ufffd"


class _Septets(dict[int, str]):
    """From a character's number to its septets, written as characters below 128."""

    def __missing__(self, character: int) -> str:
        return "?"


_SEPTETS = _Septets(
    {ord(char): chr(septet) for septet, char in enumerate(GSM7_BASIC) if septet != _ESCAPE}
    | {ord(char): f"\x1b{chr(septet)}" for char, septet in GSM7_EXTENSION.items()}
)
_EXTENSION = {septet: char for char, septet in GSM7_EXTENSION.items()}


def to_gsm7(text: str) -> bytes:
    """A text in the GSM 7-bit alphabet, one septet an octet; ``?`` for what it lacks."""
    return text.translate(_SEPTETS).encode("latin-1")


def from_gsm7(octets: bytes) -> str:
    """The text of septets, one an octet. An escape before what is no extension is left out, as phones do."""
    if _ESCAPE not in octets:
        return "".join(GSM7_BASIC[octet] if octet < 128 else _NO_TEXT for octet in octets)
    text, escaped = [], False
    for octet in octets:
        if octet == _ESCAPE:
            escaped = True
            continue
        plain = GSM7_BASIC[octet] if octet < 128 else _NO_TEXT
        text.append(_EXTENSION.get(octet, plain) if escaped else plain)
        escaped = False
    return "".join(text)


def to_ucs2(text: str) -> bytes:
    """A text in UCS-2, high octet first; characters beyond it as surrogate pairs, which phones read."""
    return text.encode("utf-16-be", "replace")


def decode_text(data_coding: int, octets: bytes) -> str:
    """A text that came in. Never fails: what cannot be read becomes U+FFFD."""
    coding = _plain_coding(data_coding)
    if coding == UCS2:
        return octets.decode("utf-16-be", "replace")
    if coding == DEFAULT_ALPHABET:
        return _decode_default(octets)
    return octets.decode("latin-1")


def _plain_coding(data_coding: int) -> int:
    """Data codings of the GSM's message classes and waiting indications, as one of the three that are read here."""
    group = data_coding & 0xF0
    if group == 0xE0:
        return UCS2
    if group == 0xF0:
        return _LATIN_1 if data_coding & 0x04 else DEFAULT_ALPHABET
    if group in (0x10, 0xC0, 0xD0):
        bits = data_coding & 0x0C if group == 0x10 else 0
        return {0x00: DEFAULT_ALPHABET, 0x08: UCS2}.get(bits, _LATIN_1)
    if data_coding == _ASCII:
        return DEFAULT_ALPHABET  # some hand on septets here, too
    return data_coding if data_coding in (DEFAULT_ALPHABET, UCS2) else _LATIN_1


def _decode_default(octets: bytes) -> str:
    """The message centre's default alphabet: some hand on septets, others have made ASCII or more of them.

    Both write letters and digits alike. Printable ASCII is taken for ASCII, because ``_`` or ``@`` is likelier in a
    look-up than ``§`` or ``¡``; octets that ASCII has no printing characters for are septets.
    """
    if max(octets, default=0) > 127:
        try:
            return octets.decode("utf-8")
        except UnicodeDecodeError:
            return octets.decode("latin-1")
    text = octets.decode("ascii")
    printing = text.replace("\r", " ").replace("\n", " ").replace("\t", " ")
    return text if printing.isprintable() else from_gsm7(octets)
