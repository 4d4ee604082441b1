"""The SMPP 3.4 gateway: what the services ask of it, on one `Line` that stays connected.

A session of a message centre does not know our ids: what was written and never answered is unknown, and cannot be
asked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import structlog

from smsd.adapters.gateways.smpp.check import check_account
from smsd.adapters.gateways.smpp.connection import Endpoint, Tls
from smsd.adapters.gateways.smpp.inbound import Inbound
from smsd.adapters.gateways.smpp.inquiries import Inquiries
from smsd.adapters.gateways.smpp.line import Line
from smsd.adapters.gateways.smpp.parts import (
    Address,
    LongMessages,
    PartWriter,
    encoding_that_fits,
    sender_address,
    subscriber,
)
from smsd.adapters.gateways.smpp.pdu import bind_body
from smsd.adapters.gateways.smpp.session import Timings
from smsd.adapters.gateways.smpp.submission import Submission
from smsd.core.clock import Clock, SystemClock
from smsd.core.errors import described
from smsd.core.model import Outcome, Verdict
from smsd.core.phones import format_number
from smsd.core.policy import Encoding
from smsd.services.ports import CheckResult, Done, LookupDesk, Outgoing, PartReceiptSink

log = structlog.get_logger(__name__)

_CLOSING = 4.5
"""Seconds for the line to end; what is left of five is for giving up."""
_ANSWERS_KEPT = 600.0
"""Seconds for which an answer to a citizen waits for a session."""


class SmppGateway:
    """A transceiver session. Nothing is connected before the first message or `start`."""

    repeats_safely = False

    def __init__(
        self,
        *,
        host: str,
        port: int,
        system_id: str,
        password: str,
        sender: str,
        encoding: Encoding,
        number_format: str,
        receipts: PartReceiptSink,
        lookups: LookupDesk | None = None,
        system_type: str = "",
        window: int = 100,
        tls: Tls = False,
        source_ton: int = 5,
        source_npi: int = 0,
        long_messages: str = "udh",
        enquire_every: float = 30.0,
        answer_timeout: float = 30.0,
        connect_timeout: float = 10.0,
        reconnect_after: float = 1.0,
        clock: Clock | None = None,
        name: str = "smpp",
    ) -> None:
        """Raises ValueError for what no session can be made of; the durations are in seconds."""
        format_number("84", number_format)
        self.name = name
        self.window = window
        self._endpoint = Endpoint(host, port, tls)
        self._bind = bind_body(system_id, password, system_type)
        self._timings = Timings(enquire_every, answer_timeout, connect_timeout, reconnect_after)
        self._source = sender_address(sender, source_ton, source_npi)
        self._encoding = encoding
        self._number_format = number_format
        self._parts = PartWriter(LongMessages(long_messages))
        self._lock = threading.Lock()
        self._closed = False
        self._line: Line | None = None
        self._open: dict[int, Submission] = {}
        """Everything that has not ended, so that each ends once, whoever is first."""
        inquiries = Inquiries(lookups, self._reply, self._acknowledge, clock or SystemClock())
        self._inbound = Inbound(self.name, receipts, inquiries, self._acknowledge)

    def __repr__(self) -> str:
        return f"<SmppGateway {self._endpoint}>"

    def start(self) -> None:
        """Connect, and stay connected: receipts and look-ups come even when nothing is sent."""
        with self._lock:
            if self._line is None and not self._closed:
                self._line = Line(
                    self._endpoint,
                    self._bind,
                    window=self.window,
                    timings=self._timings,
                    finish=self._finish,
                    correspondent=self._inbound,
                )
                self._line.start()

    def submit(self, messages: Sequence[Outgoing], done: Done) -> None:
        """Give the messages to the connection's thread."""
        self.start()
        submissions = []
        for message in messages:
            try:
                bodies = self._bodies_of(message)
            except Exception as error:
                # one message that cannot be written must not hold up the others
                log.error("smpp_message_not_written", message=message.id, **described(error))
                self._tell(
                    done, message.id, Outcome(Verdict.REJECTED, "malformed", "it cannot be written as SMPP")
                )
                continue
            submissions.append(Submission(message.id, bodies, done, message.repeat))
        self._offer(submissions)

    def find(self, message_id: str, since: datetime) -> Outcome | None:
        """A message centre cannot be asked by our id."""

    def check(self) -> list[CheckResult]:
        """Connect, bind and unbind, on a connection of its own."""
        return check_account(self._endpoint, self._bind, self._timings)

    def close(self) -> None:
        """Wait for answers, unbind, and end what is left."""
        with self._lock:
            self._closed = True
        if self._line is not None:
            self._line.stop(_CLOSING)
        self._inbound.close()
        for submission in list(self._open.values()):
            verdict = Verdict.UNKNOWN if submission.begun else Verdict.RETRY
            self._finish(submission, Outcome(verdict, "stopped", "smsd stopped before the answer came"))

    @property
    def connected(self) -> bool:
        """Whether a session is bound."""
        return self._line is not None and self._line.bound

    @property
    def counts(self) -> Mapping[str, int]:
        """What came from the message centre, by kind."""
        return dict(self._inbound.counts)

    def _bodies_of(self, message: Outgoing) -> list[bytes]:
        destination = subscriber(format_number(message.phone, self._number_format))
        return self._parts.write(self._source, destination, message.text, self._encoding, receipts=True)

    def _offer(self, submissions: Sequence[Submission]) -> None:
        with self._lock:
            line = None if self._closed else self._line
            if line is not None:
                self._open.update((id(submission), submission) for submission in submissions)
                line.offer(submissions)
        if line is None:
            stopped = Outcome(Verdict.RETRY, "stopped", "smsd is stopping")
            for submission in submissions:
                self._tell(submission.done, submission.id, stopped)

    def _finish(self, submission: Submission, outcome: Outcome) -> None:
        """A submission ended: from the line's thread, or while closing."""
        untaken = outcome.verdict in (Verdict.RETRY, Verdict.ACCOUNT)
        line = None if self._closed else self._line
        if self._open.pop(id(submission), None) is None:
            return
        if untaken and time.monotonic() < submission.waits_until and line is not None:
            again = submission.anew()
            self._open[id(again)] = again
            line.offer([again])
        else:
            self._tell(submission.done, submission.id, outcome)

    def _tell(self, done: Done, message_id: str, outcome: Outcome) -> None:
        try:
            done(message_id, outcome)
        except Exception as error:
            log.error("smpp_outcome_not_taken", message=message_id, **described(error))

    def _acknowledge(self, connection: int, sequences: Sequence[int], status: int) -> None:
        if self._line is not None:
            self._line.acknowledge(connection, sequences, status)

    def _reply(self, source: Address, destination: Address, text: str, over: Callable[[], None]) -> None:
        """Send a citizen an answer. Receipts of it would be of use to nobody."""
        bodies = self._parts.write(source, destination, text, encoding_that_fits(text), receipts=False)

        def done(_: str, outcome: Outcome) -> None:
            over()
            if outcome.verdict is not Verdict.ACCEPTED:
                log.warning("smpp_answer_not_sent", code=outcome.code, verdict=outcome.verdict.value)

        self._offer([Submission("", bodies, done, waits_until=time.monotonic() + _ANSWERS_KEPT)])
