"""The network behind the gateway: it outlives the processes of smsd and remembers everything it was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from smsd.core.model import MessageState, Outcome, PartReceipt, Receipt, ReceiptVerdict, Verdict
from smsd.services.ports import CheckResult, Done, Outgoing

GATEWAY = "fake"
SURELY_NOT_TAKEN = frozenset({Verdict.RETRY, Verdict.ACCOUNT, Verdict.REJECTED})

REACTIONS: dict[str, tuple[bool, Verdict | None]] = {
    "accepted": (True, Verdict.ACCEPTED),
    "delivered": (True, Verdict.DELIVERED),
    "rejected": (False, Verdict.REJECTED),
    "busy": (False, Verdict.RETRY),
    "account": (False, Verdict.ACCOUNT),
    "answer lost": (True, Verdict.UNKNOWN),
    "never arrived": (False, Verdict.UNKNOWN),
    "no answer yet": (True, None),
}
"""By name: whether the message reaches the network, and what is answered."""

_MEANING = {
    Verdict.ACCEPTED: MessageState.ACCEPTED,
    Verdict.DELIVERED: MessageState.DELIVERED,
    Verdict.REJECTED: MessageState.REJECTED,
    ReceiptVerdict.ON_ITS_WAY: MessageState.ACCEPTED,
    ReceiptVerdict.DELIVERED: MessageState.DELIVERED,
    ReceiptVerdict.UNDELIVERED: MessageState.UNDELIVERED,
    ReceiptVerdict.REJECTED: MessageState.REJECTED,
}


class ProcessEnds(BaseException):
    """smsd ends here; nothing in its memory survives."""


@dataclass
class Fuse:
    """Ends the process at the n-th point that is passed from now on; 0: never."""

    left: int = 0
    resting: bool = False
    """While another process works on the store, or threads that the fuse cannot end."""

    def point(self, name: str) -> None:
        if not self.resting:
            self.left -= 1
            if self.left == 0:
                raise ProcessEnds(name)


@dataclass
class Handing:
    """One handing over of one message. ``verdict`` is what smsd was told; None: nothing so far, or ever."""

    message: Outgoing
    taken: bool
    verdict: Verdict | None = None

    @property
    def perhaps_taken(self) -> bool:
        """Whether smsd cannot be sure that the network does not have it."""
        return self.verdict not in SURELY_NOT_TAKEN


@dataclass
class Network:
    """See the module. ``repeats_safely``: it tells an id it has taken from a new one."""

    repeats_safely: bool
    fuse: Fuse
    witness: Callable[[Outgoing], None] = lambda _: None
    """Sees every message before the network does."""
    down: bool = False
    coming: list[str] = field(default_factory=list)
    """How the next messages are met; later ones are accepted."""
    handings: list[Handing] = field(default_factory=list)
    said: dict[str, set[MessageState]] = field(default_factory=dict)
    """What answers and receipts ever said of each message."""
    unanswered: list[tuple[Handing, Done]] = field(default_factory=list)

    def takes(self, ids: Sequence[str]) -> int:
        """How often the network has taken any of these messages."""
        return sum(1 for one in self.handings if one.taken and one.message.id in ids)

    def met(self, message: Outgoing, done: Done) -> None:
        """One message arrives, or does not."""
        self.witness(message)
        self.fuse.point("before the gateway")
        reaction = "busy" if self.down else self.coming.pop(0) if self.coming else "accepted"
        taken, verdict = REACTIONS[reaction]
        known = self.repeats_safely and self.takes([message.id]) > 0
        handing = Handing(message, taken and not known)
        self.handings.append(handing)
        self.fuse.point("after the gateway")
        if verdict is None:
            self.unanswered.append((handing, done))
        else:
            self._answer(handing, verdict, done)

    def answer(self, verdict: Verdict) -> None:
        """Everything still unanswered is answered so."""
        waiting, self.unanswered = self.unanswered, []
        for handing, done in waiting:
            self._answer(handing, verdict, done)

    def _answer(self, handing: Handing, verdict: Verdict, done: Done) -> None:
        handing.verdict = verdict
        handing.taken &= verdict not in SURELY_NOT_TAKEN
        id_ = handing.message.id
        self._say(id_, verdict)
        parts = parts_of(id_) if verdict is Verdict.ACCEPTED else ()
        done(id_, Outcome(verdict, "said", parts=parts))

    def asked(self, message_id: str) -> Outcome | None:
        """What it says of a message when asked; a network that cannot tell repeats cannot tell this either."""
        if not self.repeats_safely or not self.takes([message_id]):
            return None
        self._say(message_id, Verdict.ACCEPTED)
        return Outcome(Verdict.ACCEPTED, "known")

    def _say(self, message_id: str, verdict: Verdict | ReceiptVerdict) -> None:
        if verdict in _MEANING:
            self.said.setdefault(message_id, set()).add(_MEANING[verdict])

    def receipt(self, message_id: str, verdict: ReceiptVerdict) -> Receipt:
        """A receipt that names the message."""
        self._say(message_id, verdict)
        return Receipt(GATEWAY, message_id, verdict)

    def part_receipt(self, message_id: str, part: int, verdict: ReceiptVerdict) -> PartReceipt:
        """A receipt that names one of the message's two parts."""
        self._say(message_id, verdict)
        return PartReceipt(GATEWAY, parts_of(message_id)[part], verdict)


def parts_of(message_id: str) -> tuple[str, str]:
    """The network's own ids of a message's two parts."""
    return f"x{message_id}-1", f"x{message_id}-2"


class Road:
    """The gateway of one process: what it has not answered dies with it."""

    name = GATEWAY
    window = 3

    def __init__(self, network: Network) -> None:
        self._network = network
        self._closed = False
        self.repeats_safely = network.repeats_safely

    def submit(self, messages: Sequence[Outgoing], done: Done) -> None:
        for message in messages:
            if self._closed:
                done(message.id, Outcome(Verdict.RETRY, "closed"))
            else:
                self._network.met(message, done)

    def find(self, message_id: str, since: datetime) -> Outcome | None:
        return self._network.asked(message_id)

    def check(self) -> list[CheckResult]:
        return []

    def close(self) -> None:
        """An orderly stop: what is under way is given up as perhaps taken."""
        self._closed = True
        self._network.answer(Verdict.UNKNOWN)
