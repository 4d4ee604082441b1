"""eSMS.vn's short-code dialect: parameters signed by MD5 with a private key, the answer taken from an XML reply.

Source: developers.esms.vn, "Connect to shortcode service". It names the signed values as cpid, smsid, content and
receiverTime with the private key behind them; that was not verified against a live account. MD5 is the provider's
choice, and the sender is not signed: take these calls over TLS, and let a proxy admit the provider's addresses alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import md5
from xml.sax.saxutils import escape  # nosec B406 # it only writes

from smsd.adapters.web.dialects.base import MoCall, MoError, call_of, proven, storable
from smsd.core.lookups import Road

SIGNED = ("cpid", "smsid", "content", "receiverTime")
"""The signed parameters in their order."""


class EsmsDialect:
    """Proven by a signature over the parameters with the private key that goes with the cpid."""

    name = Road.ESMS

    def __init__(self, private_key: str, *, cpid: str | None = None, signed: Sequence[str] = SIGNED) -> None:
        if not private_key:
            raise ValueError("an empty private key proves nothing")
        self._private_key = private_key
        self._cpid = cpid
        self._signed = tuple(signed)

    def read(self, fields: Mapping[str, str], body: bytes) -> MoCall:
        """The text a call carries. Raises `MoError`."""
        del body  # all is said in the parameters
        if not proven(self._signature(fields), fields.get("sign", "").lower()):
            raise MoError("this call is not signed by eSMS", code="unsigned")
        if self._cpid is not None and not proven(self._cpid, fields.get("cpid", "")):
            raise MoError("this call is of another customer of eSMS", code="unsigned")
        return call_of(fields.get("sender", ""), fields.get("content"), fields.get("smsid"), needs_id=True)

    def reply(self, call: MoCall, answer: str) -> tuple[str, bytes]:
        """The answer with the id and the number it is for."""
        parts = {"Message": answer, "Smsid": call.id or "", "Receiver": call.number}
        inner = "".join(f"<{name}>{_in_xml(value)}</{name}>" for name, value in parts.items())
        return "text/xml; charset=utf-8", f"<ClientResponse>{inner}</ClientResponse>".encode()

    def _signature(self, fields: Mapping[str, str]) -> str:
        said = "".join(fields.get(name, "") for name in self._signed) + self._private_key
        return md5(said.encode("utf-8", "surrogatepass")).hexdigest()  # noqa: S324 # nosec B324 # the provider's choice


def _in_xml(value: str) -> str:
    """A value without what XML cannot hold."""
    return escape("".join(char for char in storable(value) if char in "\t\n" or _is_plain(char)))


def _is_plain(char: str) -> bool:
    return char >= " " and char not in "\x7f\ufffe\uffff"
