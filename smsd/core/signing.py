"""Signatures of the addresses gateways are told to call back, so that nobody else can report on a message.

What a callback says is the gateways' business; that it concerns a message we really handed over is proven here.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from urllib.parse import quote

_SIGNATURE_BYTES = 18
"""144 bits: 24 characters that need no escaping in an address."""


def signature(secret: str, gateway: str, message_id: str) -> str:
    """The proof that a callback of a gateway is about a message it was given. Raises ValueError for an empty secret."""
    if not secret:
        raise ValueError("an empty secret proves nothing")
    # the length keeps ("a", "bc") and ("ab", "c") apart
    said = f"receipt:{len(gateway)}:{gateway}:{message_id}".encode("utf-8", "surrogatepass")
    digest = hmac.digest(secret.encode(), said, "sha256")
    return urlsafe_b64encode(digest[:_SIGNATURE_BYTES]).decode()


def is_genuine(secret: str, gateway: str, message_id: str, given: str) -> bool:
    """Whether ``given`` is the signature of this message; takes the same time whatever is wrong with it."""
    expected = signature(secret, gateway, message_id).encode()
    return hmac.compare_digest(expected, given.encode("utf-8", "surrogatepass"))


def same_secret(expected: str, given: str) -> bool:
    """Whether a caller knows a shared secret. Nobody knows an empty one."""
    matches = hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass"))
    return matches and bool(expected)


@dataclass(frozen=True, slots=True)
class Callback:
    """Where receipts are called back: the public address of the inbound listener and the secret that signs."""

    public_url: str
    secret: str = field(repr=False)

    def receipt_url(self, gateway: str, message_id: str) -> str:
        """The signed address for receipts of one message. More parameters may be appended with ``&``."""
        proof = signature(self.secret, gateway, message_id)
        base = self.public_url.rstrip("/")
        return f"{base}/receipts/{quote(gateway)}?id={quote(message_id)}&sig={proof}"
