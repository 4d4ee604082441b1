"""Texts to 9029 as content providers hand them on, signed as each of them does."""

from __future__ import annotations

import hmac
from hashlib import md5, sha256

SECRET = "a secret of the provider"
NUMBER = "84905123456"
TEXT = "MCKH H32.12-260803-0001"


def signed_by_1pay(secret: str = SECRET, **changes: str) -> dict[str, str]:
    """The parameters of a call of 1Pay's."""
    fields = {
        "access_key": "product",
        "amount": "1000",
        "command_code": "MCKH",
        "error_code": "00",
        "error_message": "success",
        "mo_message": TEXT,
        "msisdn": NUMBER,
        "request_id": "r-1",
        "request_time": "2026-08-03T09:00:00Z",
    } | changes
    said = "&".join(f"{name}={value}" for name, value in fields.items())
    return fields | {"signature": hmac.new(secret.encode(), said.encode(), sha256).hexdigest()}


def signed_by_esms(secret: str = SECRET, **changes: str) -> dict[str, str]:
    """The parameters of a call of eSMS'."""
    fields = {
        "cpid": "cp7",
        "smsid": "r-1",
        "content": TEXT,
        "receiverTime": "20260803090000",
        "sender": NUMBER,
        "serviceNumber": "9029",
        "keyword": "MCKH",
    } | changes
    said = fields["cpid"] + fields["smsid"] + fields["content"] + fields["receiverTime"] + secret
    return fields | {"sign": md5(said.encode()).hexdigest()}
