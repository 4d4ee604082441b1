"""1Pay's SMS-Plus dialect: parameters signed by HMAC-SHA256, the answer taken from a JSON reply.

Source: developers.1pay.vn (SMS charging, SMSplus charging, FAQ) and a public client of it. The documents show several
sets of signed parameters, one for each product; the default is that of SMS-Plus with the result of charging. Which one
applies to 9029 stands in the contract, and none was verified against a live account.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256

from smsd.adapters.web.dialects.base import MoCall, MoError, call_of, proven, storable
from smsd.core.lookups import Road

SMS_PLUS = (
    "access_key",
    "amount",
    "command_code",
    "error_code",
    "error_message",
    "mo_message",
    "msisdn",
    "request_id",
    "request_time",
)
"""The signed parameters in their order."""
SMS_CHARGING = (
    "access_key",
    "command",
    "mo_message",
    "msisdn",
    "request_id",
    "request_time",
    "short_code",
)


class OnePayDialect:
    """Proven by a signature over the parameters with the secret that goes with the access key."""

    name = Road.ONEPAY

    def __init__(
        self, secret: str, *, access_key: str | None = None, signed: Sequence[str] = SMS_PLUS
    ) -> None:
        if not secret:
            raise ValueError("an empty secret proves nothing")
        self._secret = secret.encode()
        self._access_key = access_key
        self._signed = tuple(signed)

    def read(self, fields: Mapping[str, str], body: bytes) -> MoCall:
        """The text a call carries. Raises `MoError`."""
        del body  # all is said in the parameters
        if not proven(self._signature(fields), fields.get("signature", "").lower()):
            raise MoError("this call is not signed by 1Pay", code="unsigned")
        if self._access_key is not None and not proven(self._access_key, fields.get("access_key", "")):
            raise MoError("this call is of another product of 1Pay", code="unsigned")
        return call_of(
            fields.get("msisdn", ""), fields.get("mo_message"), fields.get("request_id"), needs_id=True
        )

    def reply(self, call: MoCall, answer: str) -> tuple[str, bytes]:
        """The answer as a text to send; status 1: taken."""
        del call
        told = {"status": 1, "sms": storable(answer), "type": "text"}
        return "application/json; charset=utf-8", json.dumps(told, ensure_ascii=False).encode()

    def _signature(self, fields: Mapping[str, str]) -> str:
        said = "&".join(f"{name}={fields.get(name, '')}" for name in self._signed)
        return hmac.new(self._secret, said.encode("utf-8", "surrogatepass"), sha256).hexdigest()
