"""References in configuration values: ``${NAME}``, ``${file:PATH}``, ``${credential:NAME}``.

What they stand for is mostly secret: nothing here, and no message made here, shows a value, only the name by which
it was asked for. Which values may hold references is the reader's business, not this module's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

ACCEPTED = "accepted: ${NAME}, ${file:PATH}, ${credential:NAME}; a plain ${ is written $${"
LARGEST_SECRET = 64 * 1024
MOST_REFERENCES = 16
"""In one value: each may bring in as much as a secret may be large."""

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CREDENTIAL = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.@:-]{1,255}")
_SCHEME_END = "://"


class Unset(ValueError):  # noqa: N818 - it names what a reference is, and never leaves the configuration
    """A reference names something that is not there."""


class Malformed(ValueError):  # noqa: N818 - likewise
    """Something that starts like a reference is none."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where references are looked up. Relative ``${file:…}`` paths are relative to ``folder``."""

    folder: Path
    environ: Mapping[str, str]

    def value(self, reference: str) -> str:
        """What one reference (without ``${`` and ``}``) stands for. Raises `Unset` or `Malformed`."""
        kind, colon, name = reference.partition(":")
        if not colon and _VARIABLE.fullmatch(reference):
            return self._variable(reference)
        if kind == "file" and name and name.isprintable():
            return self._file(self.folder / name, f"the file {name}")
        if kind == "credential" and _CREDENTIAL.fullmatch(name):
            return self._credential(name)
        raise Malformed(f"holds a reference that is none, {ACCEPTED}")

    def _variable(self, name: str) -> str:
        value = self.environ.get(name)
        if not value:
            state = "is not set" if value is None else "is empty"
            raise Unset(f"the environment variable {name} {state}, set it for the service or write the value")
        return value

    def _credential(self, name: str) -> str:
        folder = self.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise Unset(
                f"the credential {name} is not set: systemd passes credentials to its services only "
                f"($CREDENTIALS_DIRECTORY is not set), accepted: a file credentials/{name} beside smsd.yaml, then "
                f"smsd-credentials and a restart (it writes LoadCredential={name}:… for the unit)"
            )
        return self._file(Path(folder) / name, f"the credential {name}")

    @staticmethod
    def _file(path: Path, what: str) -> str:
        """The text of a small file without its last line break."""
        try:
            if not path.is_file():
                raise Unset(f"{what} is not set: there is no such file")
            with path.open("rb") as file:
                content = file.read(LARGEST_SECRET + 1)
        except OSError as error:
            raise Unset(f"{what} cannot be read: {error.strerror}") from None
        if len(content) > LARGEST_SECRET:
            raise Unset(f"{what} is too large, accepted: at most 64 KiB")
        try:
            text = content.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise Unset(f"{what} is not UTF-8 text") from None
        if not text:
            raise Unset(f"{what} is empty")
        return text


@dataclass(frozen=True, slots=True)
class Expansion:
    """A value after its references were filled in, and what was wrong with them.

    A reference that could not be filled in stays as it was written. ``filled`` says that the text holds what must
    not be shown.
    """

    text: str
    filled: bool = False
    unset: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()


def expand(text: str, sources: Sources, *, url: bool = False) -> Expansion:
    """Fill in the references of one value; what they bring in is not looked at again.

    In a URL, what stands in the user and password is percent-encoded, so that a password with ``@ / :`` works.
    """
    if "${" not in text:
        return Expansion(text)
    if sum(1 for _ in _REFERENCE.finditer(text)) > MOST_REFERENCES:
        return Expansion(text, malformed=(f"holds too many references, accepted: {MOST_REFERENCES}",))
    encoded = _userinfo(text) if url else range(0)
    unset: list[str] = []
    malformed: list[str] = []
    filled = False

    def fill(match: re.Match[str]) -> str:
        nonlocal filled
        if match[0] == "$${":
            return "${"
        try:
            value = sources.value(match[1] or "")
        except Unset as problem:
            unset.append(str(problem))
            return match[0]
        except Malformed as problem:
            malformed.append(str(problem))
            return match[0]
        filled = True
        return quote(value, safe="") if match.start() in encoded else value

    return Expansion(_REFERENCE.sub(fill, text), filled, tuple(unset), tuple(malformed))


def _userinfo(text: str) -> range:
    """The positions of a URL's user and password, references counting as one word whatever stands in them."""
    masked = _REFERENCE.sub(lambda match: "x" * len(match[0]), text)
    start = masked.find(_SCHEME_END)
    if start < 0:
        return range(0)
    start += len(_SCHEME_END)
    end = next((place for place in range(start, len(masked)) if masked[place] in "/?#"), len(masked))
    return range(start, max(start, masked.rfind("@", start, end)))
