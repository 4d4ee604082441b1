"""Look-ups by text message: each text of a citizen's is answered once, over the connection that brought it.

The message centre may deliver a text again, because our acknowledgement was lost. Then the same id is asked for again
and nothing is sent twice; a citizen who asks the same once more, and pays, is answered.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256

import structlog

from smsd.adapters.gateways.smpp import statuses
from smsd.adapters.gateways.smpp.assembly import Assembly, Text
from smsd.adapters.gateways.smpp.parts import Address
from smsd.adapters.gateways.smpp.pdu import RECEIPTED_MESSAGE_ID, DeliverSm
from smsd.core.clock import Clock
from smsd.core.errors import described
from smsd.core.lookups import Road
from smsd.services.ports import LookupDesk, LookupRequest

log = structlog.get_logger(__name__)

_SURELY_REPEATED = 60.0
"""Seconds within which the same text from the same number is the same text delivered again."""
_PERHAPS_REPEATED = 600.0
"""The same where an acknowledgement may have been lost: on a new connection, or by an id of the message centre's."""
_MOST_REMEMBERED = 10_000
_MOST_WAITING = 1_000
"""Texts that may wait for an answer, or answers for being sent; more are refused for a while."""
_WORKERS = 2
_SHORTEST_NUMBER = 8
"""Digits of a subscriber's number; whatever is shorter, or a name, is a machine's and gets no answer."""

Reply = Callable[[Address, Address, str, Callable[[], None]], None]
"""Sends a text from an address to another; the last is called when that is over, from any thread."""


@dataclass(slots=True)
class _Asked:
    """A text that was taken: its id, and who waits to hear that its answer is on its way."""

    id: str
    at: float
    connection: int
    waiting: list[tuple[int, int]] = field(default_factory=list)
    answered: bool = False
    failed: bool = False


class Inquiries:
    """Texts from subscribers. `take`, `tick` and `idle` are called by the line's thread."""

    def __init__(
        self,
        desk: LookupDesk | None,
        reply: Reply,
        acknowledge: Callable[[int, Sequence[int], int], None],
        clock: Clock,
    ) -> None:
        self._desk = desk
        self._reply = reply
        self._acknowledge = acknowledge
        self._clock = clock
        self._assembly = Assembly()
        self._asked: OrderedDict[bytes, _Asked] = OrderedDict()
        self._lock = threading.Lock()
        self._unanswered = 0
        self._unsent = 0
        self._workers: ThreadPoolExecutor | None = None

    def take(self, connection: int, sequence: int, message: DeliverSm, now: float) -> None:
        """Take one deliver_sm; it is acknowledged once its answer is on its way, or a further part is needed."""
        source = message.source.removeprefix(b"+")
        if self._desk is None or not source.isdigit() or len(source) < _SHORTEST_NUMBER:
            log.info("smpp_text_ignored", octets=len(message.octets), desk=self._desk is not None)
            self._acknowledge(connection, [sequence], statuses.OK)
            return
        if self._unanswered + self._unsent >= _MOST_WAITING:
            self._acknowledge(connection, [sequence], statuses.TRY_AGAIN)
            return
        text = self._assembly.add(message, now)
        if text is None:
            self._acknowledge(connection, [sequence], statuses.OK)
        else:
            self._ask(text, connection, [(connection, sequence)], now)

    def tick(self, now: float) -> None:
        """Answer what is still unfinished after a while."""
        for text in self._assembly.overdue(now):
            self._ask(text, 0, [], now)

    def idle(self) -> bool:
        """Whether all is answered, and the answers sent."""
        return self._unanswered == 0 and self._unsent == 0

    def close(self) -> None:
        """Take no more."""
        if self._workers is not None:
            self._workers.shutdown(wait=False, cancel_futures=True)

    def _ask(self, text: Text, connection: int, waiting: list[tuple[int, int]], now: float) -> None:
        key = _key(text)
        own_id = text.message.tlvs.get(RECEIPTED_MESSAGE_ID, b"").partition(b"\0")[0]
        with self._lock:
            asked = self._asked.get(key)
            if asked is not None and _is_repeated(asked, connection, now, by_id=bool(own_id)):
                asked.connection = connection
                if not asked.failed:
                    if asked.answered:
                        self._settle(waiting, statuses.OK)
                    else:
                        asked.waiting += waiting
                    return
                asked.failed, asked.waiting = False, waiting
            else:
                asked = _Asked(self._id_of(key, own_id), now, connection, waiting)
                self._remember(key, asked, now)
            self._unanswered += 1
        if self._workers is None:
            self._workers = ThreadPoolExecutor(_WORKERS, thread_name_prefix="smpp-lookups")
        self._workers.submit(self._answer, asked, text)

    def _id_of(self, key: bytes, own_id: bytes) -> str:
        if own_id:
            return "smpp-" + sha256(own_id + b"\0" + key).hexdigest()[:32]
        minute = self._clock.now().strftime("%Y%m%d%H%M").encode()
        return "smpp-" + sha256(minute + b"\0" + key).hexdigest()[:32]

    def _remember(self, key: bytes, asked: _Asked, now: float) -> None:
        self._asked[key] = asked
        self._asked.move_to_end(key)
        while self._asked:
            oldest = next(iter(self._asked.values()))
            if len(self._asked) <= _MOST_REMEMBERED and oldest.at + _PERHAPS_REPEATED > now:
                return
            self._asked.popitem(last=False)

    # in a worker's thread

    def _answer(self, asked: _Asked, text: Text) -> None:
        message = text.message
        status = statuses.OK
        try:
            assert self._desk is not None  # noqa: S101 # nosec B101 # told by `take`
            request = LookupRequest(message.source.decode("ascii"), text.text, asked.id, Road.SMPP)
            answer = self._desk.answer(request)
            source = Address(message.destination_ton, message.destination_npi, _digits(message.destination))
            destination = Address(message.source_ton, message.source_npi, _digits(message.source))
            with self._lock:
                self._unsent += 1
            self._reply(source, destination, answer, self._sent)
        except Exception as error:
            # the citizen has paid: the message centre keeps the text and delivers it again
            log.error("smpp_lookup_failed", **described(error))
            status = statuses.TRY_AGAIN
        with self._lock:
            self._unanswered -= 1
            waiting, asked.waiting = asked.waiting, []
            asked.answered, asked.failed = status == statuses.OK, status != statuses.OK
        self._settle(waiting, status)

    def _sent(self) -> None:
        with self._lock:
            self._unsent -= 1

    def _settle(self, waiting: Sequence[tuple[int, int]], status: int) -> None:
        for connection, sequence in waiting:
            self._acknowledge(connection, [sequence], status)


def _is_repeated(asked: _Asked, connection: int, now: float, *, by_id: bool) -> bool:
    unsure = by_id or asked.failed or asked.connection != connection or not asked.answered
    return now - asked.at < (_PERHAPS_REPEATED if unsure else _SURELY_REPEATED)


def _key(text: Text) -> bytes:
    """What tells one text from another, without keeping it."""
    message = text.message
    said = text.text.encode("utf-8", "surrogatepass")
    own_id = message.tlvs.get(RECEIPTED_MESSAGE_ID, b"").partition(b"\0")[0]
    return sha256(b"\0".join((message.source, message.destination, own_id, said))).digest()


def _digits(address: bytes) -> str:
    return address.decode("ascii", "replace")
