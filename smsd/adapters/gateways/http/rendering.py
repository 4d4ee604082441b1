"""A description's request as bytes: every value put in once, escaped as its place asks.

Nothing here decides what is sent or what an answer means.
"""

from __future__ import annotations

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from hashlib import new
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape as escape_xml  # nosec B406 # it only writes

from smsd.adapters.gateways.httpexchange import Address
from smsd.config.http import fields
from smsd.config.http.description import (
    AuthSettings,
    HttpSettings,
    RequestSettings,
    SignatureSettings,
)
from smsd.config.http.templates import Template, Values, fill_node
from smsd.core.model import Verdict
from smsd.core.phones import format_number
from smsd.core.policy import Encoding
from smsd.core.signing import Callback
from smsd.services.ports import Outgoing

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_QUOTES = {'"': "&quot;", "'": "&apos;", "\r": "&#13;"}
_ACCEPT = {"json": "application/json", "xml": "text/xml, application/xml", "text": "text/plain"}


class UnfitError(ValueError):
    """A message that this provider cannot be given. ``verdict`` is ACCOUNT where others would fare alike."""

    def __init__(self, code: str, detail: str, verdict: Verdict = Verdict.REJECTED) -> None:
        super().__init__(detail)
        self.verdict = verdict
        self.code = code
        self.detail = detail


# values


@dataclass(frozen=True)
class Surroundings:
    """What all messages have in common."""

    sender: str
    encoding: Encoding
    number_format: str
    zone: tzinfo
    callback: Callback | None


def variables_of(settings: HttpSettings) -> dict[str, str]:
    """The operator's own values."""
    return {name: secret.get_secret_value() for name, secret in settings.variables.items()}


def values_of_time(at: datetime, zone: tzinfo) -> dict[str, str]:
    """The moment of sending in the spellings providers want."""
    local = at.astimezone(zone).replace(microsecond=0)
    return {
        "time": local.strftime("%Y-%m-%d %H:%M:%S"),
        "time_compact": local.strftime("%Y%m%d%H%M%S"),
        "time_iso": local.isoformat(),
        "time_unix": str(int(at.timestamp())),
    }


def values_of_message(message: Outgoing, settings: HttpSettings, around: Surroundings) -> dict[str, str]:
    """Everything a message's request may place but its token, signature and parameters. Raises `UnfitError`."""
    text = text_for(message.text, settings)
    word = settings.encodings.get(around.encoding.value)
    if word is None:
        raise UnfitError(
            "encoding", f"the provider carries no {around.encoding.value} texts", Verdict.ACCOUNT
        )
    callback = around.callback.receipt_url(settings.name, message.id) if around.callback else ""
    return {
        **variables_of(settings),
        **values_of_time(message.at, around.zone),
        "id": message.id,
        "to": format_number(message.phone, settings.number_format or around.number_format),
        "sender": around.sender,
        "text": text,
        "text_base64": b64encode(text.encode("utf-8", "replace")).decode(),
        "segments": str(message.segments),
        "encoding": word,
        fields.CALLBACK: callback,
    }


def text_for(text: str, settings: HttpSettings) -> str:
    """A text as the provider carries it. Raises `UnfitError` if it is too long."""
    for char, instead in settings.text.replace.items():
        text = text.replace(char, instead)
    longest = settings.text.longest
    if longest is not None and len(text) > longest:
        raise UnfitError(
            "text_too_long", f"the provider carries {longest} characters, the text has {len(text)}"
        )
    return text


def signature_of(settings: SignatureSettings, values: Values) -> str:
    """The digest a provider proves requests by."""
    said = settings.of.fill(values).encode("utf-8", "replace")
    name = settings.digest.removeprefix("hmac-")
    if settings.key is not None:
        digest = hmac.new(settings.key.fill(values).encode("utf-8", "replace"), said, name).digest()
    else:
        digest = new(name, said, usedforsecurity=False).digest()
    if settings.written == "base64":
        return b64encode(digest).decode()
    return digest.hex() if settings.written == "hex" else digest.hex().upper()


# escaping


def escaped_for_url(value: str) -> str:
    """One value in a path or query."""
    return quote(value.encode("utf-8", "replace"), safe="")


def escaped_for_form(value: str) -> str:
    """One name or value of a query or form."""
    return quote_plus(value.encode("utf-8", "replace"))


def escaped_for_xml(value: str) -> str:
    """One value in an element or attribute; characters that XML has no way to write are left out."""
    return escape_xml(_NOT_XML.sub("", value), _QUOTES)


def escaped_for_header(value: str) -> str:
    """One value in a header: what a header cannot carry is left out or becomes ``?``."""
    printable = "".join(char for char in value if char.isprintable())
    return printable.encode("ascii", "replace").decode()


# requests


def render(
    request: RequestSettings, values: Values, *, answer: str = "json", params: tuple[str, ...] = ()
) -> bytes:
    """The whole request. Raises `UnfitError` if a value cannot stand where it is placed."""
    address = address_of(request, values)
    kind, body = _body(request, values, params)
    headers = {
        "Host": address.authority,
        "User-Agent": "smsd",
        "Accept": _ACCEPT[answer],
        **({"Content-Type": kind} if kind else {}),
        **_authorization(request.auth, values),
    }
    own = {name: text.fill(values, escaped_for_header) for name, text in request.headers.items()}
    lowered = {name.lower() for name in own}
    headers = {name: value for name, value in headers.items() if name.lower() not in lowered} | own
    if request.method != "GET":
        headers["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    target = _with_query(address.target, request, values)
    return f"{request.method} {target} HTTP/1.1\r\n{lines}\r\n".encode("ascii", "replace") + body


def address_of(request: RequestSettings, values: Values | None = None) -> Address:
    """Where a request goes. Host and port do not depend on the values, without which only they mean anything."""
    if values is None:
        values = dict.fromkeys(request.url.names, "x")
    return Address.of(request.url.fill(values, escaped_for_url))


def _with_query(target: str, request: RequestSettings, values: Values) -> str:
    query = _form(request.query, values)
    if not query:
        return target
    return f"{target}{'&' if '?' in target else '?'}{query}"


def _form(pairs: Mapping[str, Template], values: Values) -> str:
    return "&".join(
        f"{escaped_for_form(name)}={text.fill_whole(values, escaped_for_form)}"
        for name, text in pairs.items()
    )


def _body(request: RequestSettings, values: Values, params: tuple[str, ...]) -> tuple[str, bytes]:
    """What the body is, and the body."""
    if request.form is not None:
        return "application/x-www-form-urlencoded", _form(request.form, values).encode()
    if request.json_ is not None:
        try:
            structure = fill_node(request.json_, values, params)
        except ValueError:
            raise UnfitError(
                "no_number", "a value that is to be sent as a number is none", Verdict.ACCOUNT
            ) from None
        text = json.dumps(structure, ensure_ascii=False)
        return "application/json; charset=utf-8", text.encode("utf-8", "replace")
    if request.xml is not None:
        filled = request.xml.fill(values, escaped_for_xml)
        return "text/xml; charset=utf-8", filled.encode("utf-8", "replace")
    return "", b""


def _authorization(auth: AuthSettings | None, values: Values) -> dict[str, str]:
    if auth is None:
        return {}
    if auth.basic is not None:
        login = f"{auth.basic.username.fill(values)}:{auth.basic.password.fill(values)}"
        return {"Authorization": f"Basic {b64encode(login.encode('utf-8', 'replace')).decode()}"}
    assert auth.bearer is not None  # noqa: S101 # nosec B101 # one of the two is there
    return {"Authorization": f"Bearer {auth.bearer.fill(values, escaped_for_header)}"}
