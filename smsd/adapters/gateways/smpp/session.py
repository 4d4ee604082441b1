"""The protocol from bind to unbind, without a socket: octets in, octets out, the time as an argument.

A session ends once, for one reason (`Ending`); another connection is another session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import structlog

from smsd.adapters.gateways.smpp import pdu, statuses
from smsd.adapters.gateways.smpp.pdu import DeliverSm, Framing, MalformedError, Pdu, write_pdu
from smsd.adapters.gateways.smpp.window import Window
from smsd.core.model import Verdict

log = structlog.get_logger(__name__)

OUT_LIMIT = 256 * 1024
"""Octets that may wait for a peer that reads slowly; beyond it nothing more is submitted."""
_NO_STATUS = 0
_GOODBYE = 1.0
"""Seconds for the other side's last words after an unbind."""


@dataclass(frozen=True, slots=True)
class Timings:
    """All in seconds. ``reconnect_after`` is the first wait; it doubles to a minute."""

    enquire_every: float = 30.0
    answer_timeout: float = 30.0
    connect_timeout: float = 10.0
    reconnect_after: float = 1.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a session ended. ``verdict`` is what it means for messages that surely were not taken."""

    code: str
    detail: str
    verdict: Verdict = Verdict.RETRY


class Session:
    """One session. Used by one thread; ``out`` are the octets to send, `sent` says how many were."""

    def __init__(self, bind: bytes, window: Window, timings: Timings, now: float) -> None:
        self.out = bytearray()
        self.bound = False
        self.proven = False
        """Whether the message centre has done anything beyond binding us."""
        self.ended: Ending | None = None
        self.leaving = False
        self.sent_octets = 0
        self._queued_octets = 0
        self._window = window
        self._timings = timings
        self._framing = Framing()
        self._sequence = 0
        self._bind_by = now + timings.answer_timeout
        self._leave_by = inf
        self._heard_at = self._moved_at = now
        self._fresh = True
        """Whether ``out`` was begun since the last `tick`."""
        self._enquired_at: float | None = None
        self._bind_sequence = self._request(pdu.BIND_TRANSCEIVER, bind)

    # octets

    def received(self, data: bytes, now: float) -> list[tuple[int, DeliverSm]]:
        """Take what was read; returns the deliver_sm in it with their sequence numbers, each to be acknowledged."""
        deliveries: list[tuple[int, DeliverSm]] = []
        self._heard_at = now
        self._enquired_at = None
        for found in self._framing.feed(data):
            if self.ended is not None:
                break
            if found.command == pdu.SUBMIT_SM_RESP:
                self._on_submit_answer(found, now)
            elif found.command == pdu.DELIVER_SM:
                self._on_delivery(found, deliveries)
            else:
                self._on_other(found, now)
        if self._framing.fault:
            self._end(Ending("out_of_step", f"the message centre sent {self._framing.fault}"))
        return deliveries

    def sent(self, octets: int, now: float) -> None:
        """So many of ``out`` were sent."""
        del self.out[:octets]
        self.sent_octets += octets
        self._moved_at = now

    def lost(self, detail: str) -> None:
        """The connection broke or was closed by the other side."""
        self._end(Ending("connection_lost", detail))

    def _put(self, octets: bytes) -> None:
        self._fresh = self._fresh or not self.out
        self.out += octets
        self._queued_octets += len(octets)

    def _request(self, command: int, body: bytes = b"") -> int:
        self._sequence = self._sequence % pdu.LONGEST_SEQUENCE + 1
        self._put(write_pdu(command, _NO_STATUS, self._sequence, body))
        return self._sequence

    # what is asked for

    def fill(self, now: float) -> None:
        """Submit what the window lets out."""
        if not self.bound or self.leaving or self.ended is not None:
            return
        window = self._window
        while len(self.out) < OUT_LIMIT:
            ready = window.next(now)
            if ready is None:
                return
            submission, part = ready
            sequence = self._request(pdu.SUBMIT_SM, submission.bodies[part])
            window.written(sequence, submission, part, self._queued_octets, now)

    def acknowledge(self, sequences: Sequence[int], status: int) -> None:
        """Answer deliver_sm."""
        answers = [write_pdu(pdu.DELIVER_SM_RESP, status, sequence, b"\0") for sequence in sequences]
        self._put(b"".join(answers))

    def leave(self, now: float) -> None:
        """Unbind."""
        if not self.leaving:
            self.leaving = True
            self._leave_by = now + _GOODBYE
            self._request(pdu.UNBIND)

    # time

    def tick(self, now: float) -> None:
        """Notice what did not happen in time."""
        patience = self._timings.answer_timeout
        if self._fresh:
            self._fresh, self._moved_at = False, now
        if self.ended is not None:
            return
        if now >= self._leave_by:
            self._end(Ending("unbound", "the session was unbound"))
        elif not self.bound and now >= self._bind_by:
            self._end(Ending("no_bind_answer", "no answer to the bind in time"))
        elif self.out and now >= self._moved_at + patience:
            self._end(Ending("stuck", "the message centre reads nothing"))
        elif self._enquired_at is not None and now >= self._enquired_at + patience:
            self._end(Ending("silent", "no answer to enquire_link in time"))
        elif self._heard_at <= self._window.oldest <= now - patience:
            self._end(Ending("silent", "nothing was heard since messages were submitted"))
        elif self.bound:
            self._window.expire(now)
            if self._enquired_at is None and now >= self._heard_at + self._timings.enquire_every:
                self._enquired_at = now
                self._request(pdu.ENQUIRE_LINK)

    def deadline(self, now: float) -> float:
        """When `tick` or `fill` has to be called at the latest, in monotonic seconds."""
        patience = self._timings.answer_timeout
        deadline = self._leave_by
        if not self.bound:
            deadline = min(deadline, self._bind_by)
        elif self._enquired_at is None:
            deadline = min(deadline, self._heard_at + self._timings.enquire_every)
        else:
            deadline = min(deadline, self._enquired_at + patience)
        if self.out:
            deadline = min(deadline, self._moved_at + patience)
        return min(deadline, self._window.deadline(now)) if self.bound else deadline

    # what comes

    def _on_submit_answer(self, found: Pdu, now: float) -> None:
        if not self._window.answered(found.sequence, found.status, pdu.message_id(found.body), now):
            log.debug("smpp_stray_answer", sequence=found.sequence)
            return
        self.proven = True
        if found.status == statuses.NOT_BOUND:
            self._end(Ending("not_bound", "the message centre says that the session is not bound"))

    def _on_delivery(self, found: Pdu, deliveries: list[tuple[int, DeliverSm]]) -> None:
        if not self.bound:
            self.acknowledge([found.sequence], statuses.NOT_BOUND)
            return
        self.proven = True
        try:
            deliveries.append((found.sequence, pdu.read_deliver_sm(found.body)))
        except MalformedError as error:
            log.warning("smpp_malformed_delivery", detail=str(error), octets=len(found.body))
            self.acknowledge([found.sequence], statuses.MALFORMED)

    def _on_other(self, found: Pdu, now: float) -> None:
        match found.command:
            case pdu.BIND_TRANSCEIVER_RESP:
                self._on_bind_answer(found)
            case pdu.ENQUIRE_LINK:
                self._put(write_pdu(pdu.ENQUIRE_LINK_RESP, statuses.OK, found.sequence))
            case pdu.UNBIND:
                self._put(write_pdu(pdu.UNBIND_RESP, statuses.OK, found.sequence))
                self.leaving = True
                self._leave_by = min(self._leave_by, now + _GOODBYE)
            case pdu.UNBIND_RESP if self.leaving:
                self._end(Ending("unbound", "the session was unbound"))
            case pdu.GENERIC_NACK:
                self._on_generic_nack(found, now)
            case pdu.ALERT_NOTIFICATION:
                pass  # it wants no answer
            case command if not command & pdu.RESPONSE:
                self._put(write_pdu(pdu.GENERIC_NACK, statuses.UNKNOWN_COMMAND, found.sequence))

    def _on_bind_answer(self, found: Pdu) -> None:
        if self.bound or found.sequence != self._bind_sequence:
            return
        if found.status == statuses.OK:
            self.bound = True
        else:
            self._refused(found.status)

    def _refused(self, status: int) -> None:
        meaning = statuses.meaning_for_bind(status)
        self._end(Ending(meaning.name, meaning.detail, meaning.verdict))

    def _on_generic_nack(self, found: Pdu, now: float) -> None:
        """The other side could not read one of our PDUs; without its number, it is out of step with us."""
        if not self.bound and found.sequence in (0, self._bind_sequence):
            self._refused(found.status)
        elif found.sequence == 0:
            self._end(Ending("out_of_step", "the message centre could not read what we sent"))
        elif found.status != statuses.OK:
            self._window.answered(found.sequence, found.status, "", now)
        else:
            self._window.answered(found.sequence, statuses.UNKNOWN_COMMAND, "", now)

    def _end(self, ending: Ending) -> None:
        if self.ended is None:
            self.ended = ending
