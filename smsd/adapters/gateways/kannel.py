"""Kannel: messages go to sendsms over HTTP, receipts come back to the address each message carries.

Nothing is repeated here: an answer that was lost is an unknown message, and the services decide what becomes of it.
"""

from __future__ import annotations

import queue
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote_plus, urlencode

import structlog

from smsd.adapters.gateways.httpexchange import Address, Answer, ExchangeError, NotSentError
from smsd.adapters.gateways.kannelanswers import RECEIPT_MASK, RECEIPT_TYPES, outcome_of
from smsd.adapters.gateways.multiplexer import Exchange, Multiplexer
from smsd.core.errors import ReceiptError
from smsd.core.model import Outcome, Receipt, Verdict
from smsd.core.phones import format_number
from smsd.core.policy import Encoding
from smsd.core.signing import Callback, is_genuine
from smsd.services.ports import CheckResult, Done, Outgoing

log = structlog.get_logger(__name__)

_AT_HAND = 7
"""Messages that wait for each connection: Kannel answers within a millisecond or two, sooner than a commit takes.

The more, the more of them one commit records; a crash leaves them all unknown.
"""
_LONGEST_FIELD = 200
_QUOTED = {byte: quote_plus(bytes((byte,))) for byte in range(256)}
"""A table of `quote_plus`, which by itself looks at one byte after another in Python."""
_STATUS = re.compile(r"\bstat:([A-Za-z]{1,10})")
_ERROR = re.compile(r"\berr:([0-9A-Za-z]{1,8})")


class KannelGateway:
    """Kannel's sendsms, over ``connections`` kept-alive connections."""

    repeats_safely = False

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        *,
        sender: str,
        encoding: Encoding,
        number_format: str,
        callback: Callback | None,
        connections: int = 8,
        timeout: float = 30,
        name: str = "kannel",
    ) -> None:
        self.name = name
        self._address = Address.of(url)
        self._timeout = timeout
        self._number_format = number_format
        self._callback = callback
        self._account = urlencode({"username": username, "password": password})
        coding = "0" if encoding is Encoding.UNACCENTED else "2"
        fixed = {"from": sender, "coding": coding, "charset": "UTF-8"}
        self._fixed = f"{self._account}&{urlencode(fixed)}"
        self._multiplexer = Multiplexer(name, self._address, connections=connections, timeout=timeout)
        self.window = (1 + _AT_HAND) * connections

    def submit(self, messages: Sequence[Outgoing], done: Done) -> None:
        """Queue the messages for the connections."""
        exchanges = []
        for message in messages:
            try:
                exchanges.append(self._exchange_of(message, done))
            except Exception as error:  # one that cannot be written must cost no other its way
                log.error("gateway_failed", gateway=self.name, error=type(error).__name__)
                done(message.id, Outcome(Verdict.RETRY, "failed", type(error).__name__))
        self._multiplexer.submit(exchanges)

    def _exchange_of(self, message: Outgoing, done: Done) -> Exchange:
        return Exchange(self.request_for(message), lambda result: done(message.id, _outcome(result)))

    def find(self, message_id: str, since: datetime) -> None:
        """Kannel cannot be asked."""

    def check(self) -> list[CheckResult]:
        """A request without a receiver: an account that is taken hears that the receiver is missing."""
        results: queue.SimpleQueue[Answer | ExchangeError] = queue.SimpleQueue()
        timeout = min(self._timeout, 10.0)
        once = Multiplexer(f"{self.name}-check", self._address, connections=1, timeout=timeout)
        once.submit([Exchange(self._request(self._account), results.put)])
        result = results.get()
        once.close()
        if isinstance(result, Answer):
            return [_judged(result, self._address.authority)]
        hint = "start Kannel's smsbox, or mend gateway.url in smsd.yaml"
        return [CheckResult("kannel", "failed", f"no answer: {result.detail}", hint)]

    def close(self) -> None:
        """Wait for answers, 5 s at most, and let go."""
        self._multiplexer.close()

    def request_for(self, message: Outgoing) -> bytes:
        """The whole request for one message."""
        to = quote_plus(format_number(message.phone, self._number_format))
        text = message.text.encode("utf-8", "replace").decode("latin-1").translate(_QUOTED)
        parameters = f"{self._fixed}&to={to}&text={text}"
        if self._callback is not None:
            parameters += f"&dlr-mask={RECEIPT_MASK}&dlr-url={quote_plus(self._receipt_url(message.id))}"
        return self._request(parameters)

    def _receipt_url(self, message_id: str) -> str:
        """The address to call back; Kannel fills in its escapes, so that a ``%`` of ours has to be doubled."""
        assert self._callback is not None  # noqa: S101 # nosec B101 # told by the caller
        own = self._callback.receipt_url(self.name, message_id).replace("%", "%%")
        return f"{own}&status=%d&answer=%A"

    def _request(self, parameters: str) -> bytes:
        """A GET, for Kannel reads a POST's parameters from headers instead."""
        target = self._address.target
        joined = "&" if "?" in target else "?"
        host = self._address.authority
        return (
            f"GET {target}{joined}{parameters} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: smsd\r\n\r\n".encode()
        )


def _outcome(result: Answer | ExchangeError) -> Outcome:
    """What became of a message."""
    if isinstance(result, Answer):
        return outcome_of(result)
    if isinstance(result, NotSentError):
        verdict = Verdict.ACCOUNT if result.code == "certificate" else Verdict.RETRY
        return Outcome(verdict, result.code, result.detail)
    return Outcome(Verdict.UNKNOWN, result.code, result.detail)


def _judged(answer: Answer, authority: str) -> CheckResult:
    """What Kannel says to a request without a receiver."""
    body = answer.body[:100].decode("latin-1").lower()
    if answer.status == 400 and "receiver" in body.split(",")[0]:
        return CheckResult("kannel", "ok", f"{authority} answers and takes our account")
    outcome = outcome_of(answer)
    if outcome.verdict is Verdict.ACCOUNT:
        hint = "mend gateway.url, username or password in smsd.yaml, or the sendsms-user in Kannel"
        return CheckResult("kannel", "failed", outcome.detail, hint)
    if answer.status == 400:
        return CheckResult("kannel", "ok", f"{authority} answers")
    hint = "gateway.url has to be the address of sendsms, usually http://host:13013/cgi-bin/sendsms"
    return CheckResult("kannel", "warning", f"{authority} answers HTTP {answer.status}, unlike Kannel", hint)


class KannelReceipts:
    """Kannel's delivery reports: our own parameters, and the type Kannel filled in."""

    def __init__(self, gateway_name: str, secret: str) -> None:
        self.name = gateway_name
        self._secret = secret

    def parse_receipt(self, fields: Mapping[str, str], body: bytes) -> Receipt:
        """The receipt a call carries. Raises `ReceiptError`: ``unsigned`` or ``malformed``."""
        del body  # all is said in the query
        message_id = fields.get("id", "")
        if not message_id or len(message_id) > _LONGEST_FIELD:
            raise ReceiptError("a receipt names its message", code="malformed")
        if not is_genuine(self._secret, self.name, message_id, fields.get("sig", "")):
            raise ReceiptError("this receipt is not of a message that was handed over", code="unsigned")
        status = fields.get("status", "")
        if status not in RECEIPT_TYPES:
            raise ReceiptError("a receipt says what became of the message", code="malformed")
        return Receipt(
            self.name, message_id, RECEIPT_TYPES[status], status, _reason(fields.get("answer", ""))
        )


def _reason(answer: str) -> str:
    """State and error of the SMSC's own report. The rest of it may quote the message."""
    found = (_STATUS.search(answer), _ERROR.search(answer))
    return " ".join(match[0] for match in found if match is not None)
