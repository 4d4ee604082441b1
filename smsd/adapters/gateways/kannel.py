"""Kannel: messages go to sendsms over HTTP, receipts come back to the address each message carries.

Nothing is repeated here: an answer that was lost is an unknown message, and the services decide what becomes of it.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote_plus, urlencode

import structlog

from smsd.adapters.gateways.httpexchange import Address, Answer, ExchangeError, Line, NotSentError
from smsd.adapters.gateways.kannelanswers import RECEIPT_MASK, RECEIPT_TYPES, outcome_of
from smsd.core.errors import ReceiptError
from smsd.core.model import Outcome, Receipt, Verdict
from smsd.core.phones import format_number
from smsd.core.policy import Encoding
from smsd.core.signing import Callback, is_genuine
from smsd.services.ports import CheckResult, Done, Outgoing

log = structlog.get_logger(__name__)

_PATIENCE = 4.0
"""Seconds `close` waits for answers before it cuts the connections, which the other second is for."""
_IDLE_SECONDS = 5.0
_LONGEST_FIELD = 200
_STATUS = re.compile(r"\bstat:([A-Za-z]{1,10})")
_ERROR = re.compile(r"\berr:([0-9A-Za-z]{1,8})")


class KannelGateway:
    """Kannel's sendsms, over ``connections`` kept-alive connections, each with a thread of its own."""

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
        self.window = 2 * connections
        """Each connection has its next message at hand when an answer comes, and a crash leaves few unknown."""
        self._address = Address.of(url)
        self._timeout = timeout
        self._number_format = number_format
        self._callback = callback
        self._account = urlencode({"username": username, "password": password})
        coding = "0" if encoding is Encoding.UNACCENTED else "2"
        fixed = {"from": sender, "coding": coding, "charset": "UTF-8"}
        self._fixed = f"{self._account}&{urlencode(fixed)}"
        self._connections = connections
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._senders: list[_Sender] = []
        self._closed = False

    def submit(self, messages: Sequence[Outgoing], done: Done) -> None:
        """Queue the messages for the connections."""
        with self._lock:
            closed = self._closed
            if not closed:
                self._start_senders()
                for message in messages:
                    self._jobs.put(_Job(message, done))
        if closed:
            for message in messages:
                done(message.id, Outcome(Verdict.RETRY, "stopped", "smsd is stopping"))

    def find(self, message_id: str, since: datetime) -> None:
        """Kannel cannot be asked."""

    def check(self) -> list[CheckResult]:
        """A request without a receiver: an account that is taken hears that the receiver is missing."""
        line = Line(self._address, min(self._timeout, 10.0))
        try:
            answer = line.exchange(self._request(self._account))
        except ExchangeError as error:
            hint = "start Kannel's smsbox, or mend gateway.url in smsd.yaml"
            return [CheckResult("kannel", "failed", f"no answer: {error.detail}", hint)]
        finally:
            line.close()
        return [_judged(answer, self._address.authority)]

    def close(self) -> None:
        """Give back what no connection has taken up, wait for answers, then cut what still hangs."""
        with self._lock:
            self._closed = True
            senders = list(self._senders)
        until = time.monotonic() + _PATIENCE
        for job in self._unsent():
            job.answer(Outcome(Verdict.RETRY, "stopped", "smsd is stopping"))
        for _ in senders:
            self._jobs.put(None)
        for sender in senders:
            sender.thread.join(max(0.0, until - time.monotonic()))
        for sender in senders:
            sender.cut_off()
        for sender in senders:
            sender.thread.join(max(0.0, until + 0.8 - time.monotonic()))

    def _unsent(self) -> list[_Job]:
        jobs = []
        try:
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    jobs.append(job)
        except queue.Empty:
            return jobs

    def _start_senders(self) -> None:
        while len(self._senders) < self._connections:
            self._senders.append(_Sender(self, Line(self._address, self._timeout), self._jobs))

    def request_for(self, message: Outgoing) -> bytes:
        """The whole request for one message."""
        to = quote_plus(format_number(message.phone, self._number_format))
        text = quote_plus(message.text.encode("utf-8", "replace"))
        parameters = f"{self._fixed}&to={to}&text={text}"
        if self._callback is not None:
            parameters += f"&dlr-mask={RECEIPT_MASK}&dlr-url={quote_plus(self._receipt_url(message.id))}"
        return self._request(parameters)

    def _receipt_url(self, message_id: str) -> str:
        """The address to call back; Kannel fills in its escapes, so that a ``%`` of ours has to be doubled."""
        assert self._callback is not None  # noqa: S101 - told by the caller
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


class _Job:
    """One message under way. It is answered once, whoever is first."""

    def __init__(self, message: Outgoing, done: Done) -> None:
        self.message = message
        self._done = done
        self._lock = threading.Lock()
        self._answered = False
        self.begun = False

    def begin(self) -> bool:
        """The first byte is about to leave; False if it no longer may."""
        with self._lock:
            self.begun = not self._answered
            return self.begun

    def answer(self, outcome: Outcome) -> None:
        """Tell what became of it."""
        with self._lock:
            if self._answered:
                return
            self._answered = True
        self._done(self.message.id, outcome)

    def give_up(self) -> None:
        """Nobody waits any longer; from here on nothing more may begin."""
        with self._lock:
            if self._answered:
                return
            self._answered = True
            begun = self.begun
        if begun:
            outcome = Outcome(Verdict.UNKNOWN, "stopped", "smsd stopped before the answer came")
        else:
            outcome = Outcome(Verdict.RETRY, "stopped", "smsd is stopping")
        self._done(self.message.id, outcome)


class _Sender:
    """A thread with a connection."""

    def __init__(self, gateway: KannelGateway, line: Line, jobs: queue.SimpleQueue[_Job | None]) -> None:
        self._gateway = gateway
        self._line = line
        self._jobs = jobs
        self._job: _Job | None = None
        self.thread = threading.Thread(target=self._run, name="kannel", daemon=True)
        self.thread.start()

    def cut_off(self) -> None:
        """End what is still under way."""
        job = self._job
        if job is not None:
            self._line.abort()
            job.give_up()

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                self._line.close()
                job = self._jobs.get()
            if job is None:
                self._line.close()
                return
            self._job = job
            job.answer(self._outcome(job))
            self._job = None

    def _outcome(self, job: _Job) -> Outcome:
        try:
            return outcome_of(self._line.exchange(self._gateway.request_for(job.message), job.begin))
        except NotSentError as error:
            verdict = Verdict.ACCOUNT if error.code == "certificate" else Verdict.RETRY
            return Outcome(verdict, error.code, error.detail)
        except ExchangeError as error:
            return Outcome(Verdict.UNKNOWN, error.code, error.detail)
        except Exception as error:
            # a mistake of ours must cost neither the thread nor a message's end
            self._line.close()
            log.error("gateway_failed", gateway=self._gateway.name, error=type(error).__name__)
            return Outcome(Verdict.UNKNOWN if job.begun else Verdict.RETRY, "failed", type(error).__name__)


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
