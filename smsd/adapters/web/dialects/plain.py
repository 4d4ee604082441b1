"""The plain dialect: ``from``, ``text``, ``id`` and a shared ``token``, answered in plain text; Kannel's get-url."""

from __future__ import annotations

from collections.abc import Mapping

from smsd.adapters.web.dialects.base import MoCall, MoError, call_of, storable
from smsd.core.lookups import Road
from smsd.core.signing import same_secret


class PlainDialect:
    """Proven by a shared token."""

    name = Road.PLAIN

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def read(self, fields: Mapping[str, str], body: bytes) -> MoCall:
        """The text a call carries. Without an id it cannot be told from a repeat. Raises `MoError`."""
        del body  # all is said in the parameters
        if not same_secret(self._secret, fields.get("token", "")):
            raise MoError("this call does not know the token of look-ups", code="unsigned")
        return call_of(fields.get("from", ""), fields.get("text"), fields.get("id"), needs_id=False)

    def reply(self, call: MoCall, answer: str) -> tuple[str, bytes]:
        """The text itself."""
        del call
        return "text/plain; charset=utf-8", storable(answer).encode()
