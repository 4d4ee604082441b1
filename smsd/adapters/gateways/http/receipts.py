"""What became of a message, as a provider reports it: by calls that name our id or theirs, or when it is asked.

A call is proven first, then read. Its fields come by name from query and form; one that is not there is looked for in
the body as a path, for some providers post JSON or XML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import structlog

from smsd.adapters.gateways.http.answers import LONGEST_REFERENCE, cleaned
from smsd.config.http.description import ReceiptSettings
from smsd.config.http.paths import PathError, look_up, parse_path, read_body
from smsd.core.errors import ReceiptError
from smsd.core.model import PartReceipt, Receipt, ReceiptVerdict
from smsd.core.signing import is_genuine, same_secret

log = structlog.get_logger(__name__)

JOINED_BY = "/"
"""Between the values of several status fields: ``5/1``."""
_OUR_ID = "id"
_PROOF = "sig"
_TOKEN = "token"  # noqa: S105 # nosec B105 # a parameter's name


class _Call:
    """The fields of one call, wherever they stand."""

    def __init__(self, fields: Mapping[str, str], body: bytes) -> None:
        self._fields = fields
        start = body.lstrip()[:1]
        self._kind = "xml" if start == b"<" else "json"
        self._document = read_body(body, self._kind) if start in (b"{", b"[", b"<") else None

    def value(self, name: str) -> str | None:
        """A field's value."""
        if name in self._fields:
            return self._fields[name]
        if self._document is None:
            return None
        try:
            return parse_path(name, self._kind).find(self._document)
        except PathError:
            return None

    def status(self, names: Sequence[str]) -> str:
        """The status fields' values, joined. Raises `ReceiptError` if the first is not there."""
        values = [self.value(name) for name in names]
        if not values or values[0] is None or not values[0].strip():
            raise ReceiptError("a receipt says what became of the message", code="malformed")
        return JOINED_BY.join((value or "").strip() for value in values)


class HttpReceipts:
    """Calls that name our own id: to the signed address of a message, or to a shared one that knows the token."""

    def __init__(self, gateway_name: str, settings: ReceiptSettings, secret: str) -> None:
        self.name = gateway_name
        self.reply = settings.reply
        self._settings = settings
        self._secret = secret

    def parse_receipt(self, fields: Mapping[str, str], body: bytes) -> Receipt:
        """The receipt a call carries. Raises `ReceiptError`: ``unsigned`` or ``malformed``."""
        call = _Call(fields, body)
        message_id = self._proven_id(fields, call)
        if not message_id or len(message_id) > LONGEST_REFERENCE:
            raise ReceiptError("a receipt names its message", code="malformed")
        verdict, code = _meaning(call.status(self._settings.status), self._settings, self.name)
        return Receipt(self.name, message_id, verdict, code)

    def _proven_id(self, fields: Mapping[str, str], call: _Call) -> str:
        if self._settings.calls == "shared":
            _prove_shared(self._settings, fields)
            return (call.value(self._settings.our_id or "") or "").strip()
        message_id = fields.get(_OUR_ID, "")
        if message_id and not is_genuine(self._secret, self.name, message_id, fields.get(_PROOF, "")):
            raise ReceiptError("this receipt is not of a message that was handed over", code="unsigned")
        return message_id


class HttpPartReceipts:
    """Calls to a shared address that name the provider's id."""

    def __init__(self, gateway_name: str, settings: ReceiptSettings) -> None:
        self.name = gateway_name
        self.reply = settings.reply
        self._settings = settings

    def parse_part_receipts(self, fields: Mapping[str, str], body: bytes) -> list[PartReceipt]:
        """The receipts a call carries. Raises `ReceiptError`: ``unsigned`` or ``malformed``."""
        _prove_shared(self._settings, fields)
        call = _Call(fields, body)
        reference = (call.value(self._settings.provider_id or "") or "").strip()
        if not reference or len(reference) > LONGEST_REFERENCE or not reference.isprintable():
            raise ReceiptError("a receipt names its message", code="malformed")
        verdict, code = _meaning(call.status(self._settings.status), self._settings, self.name)
        return [PartReceipt(self.name, reference, verdict, code)]


def receipts_of(
    name: str, settings: ReceiptSettings | None, secret: str
) -> HttpReceipts | HttpPartReceipts | None:
    """Who reads the calls of a description's provider; None where it makes none."""
    if settings is None or settings.calls is None:
        return None
    if settings.provider_id is not None:
        return HttpPartReceipts(name, settings)
    return HttpReceipts(name, settings, secret)


def polled_receipt(
    name: str, reference: str, statuses: Sequence[str | None], verdicts: Mapping[str, ReceiptVerdict]
) -> PartReceipt | None:
    """What an answer to asking says; None if it says nothing."""
    if not statuses or statuses[0] is None:
        return None
    status = JOINED_BY.join((value or "").strip() for value in statuses)
    verdict, code = _told(status, verdicts, name)
    return PartReceipt(name, reference, verdict, code)


def _prove_shared(settings: ReceiptSettings, fields: Mapping[str, str]) -> None:
    expected = settings.token.get_secret_value() if settings.token is not None else ""
    if not same_secret(expected, fields.get(_TOKEN, "")):
        raise ReceiptError("this call does not know the token of receipts", code="unsigned")


def _meaning(status: str, settings: ReceiptSettings, name: str) -> tuple[ReceiptVerdict, str]:
    return _told(status, settings.verdicts, name)


def _told(status: str, verdicts: Mapping[str, ReceiptVerdict], name: str) -> tuple[ReceiptVerdict, str]:
    """A status's meaning. One that is not in the table says only that the provider has the message."""
    code = re.sub(r"\s+", " ", cleaned(status))
    verdict = look_up(verdicts, status)
    if verdict is None:
        log.warning(
            "receipt_status_unknown", gateway=name, status=code, hint="name it under receipt.verdicts"
        )
        return ReceiptVerdict.ON_ITS_WAY, code
    return verdict, code
