"""A daemon that sends over SMPP, and what is lost or doubled when it, or the message centre, is killed meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.postgres import wait_until
from tests.system.daemonoffice import ALL_DAY, READY, Office, baselined
from tests.system.process import Daemon
from tests.system.sending.peer import PeerProcess

AGENCY = "nha-trang"
WINDOW = 100
KILLED = ("smsd", "message centre")
_LATENCY = "0.03"
"""Seconds before each answer, so that there is always a windowful under way to be killed."""
_ON_THEIR_WAY = "('queued', 'held', 'sending', 'unknown')"


@dataclass(frozen=True)
class Toll:
    """What became of a day's messages. All but ``messages`` and ``kills`` would be 0 if nothing were ever killed."""

    messages: int
    kills: int
    lost: int
    """Never taken by the message centre."""
    doubled: int
    """Taken more than once."""
    unmarked: int
    """Taken more than once though their row does not say that they may have been."""
    more_than_twice: int
    marked: int
    """Rows that say ``possible_duplicate``."""
    unfinished: int
    """Neither delivered nor handed over."""

    @property
    def bearable(self) -> bool:
        """None lost, and no more doubled than were under way, each of them marked."""
        faults = self.lost + self.unmarked + self.more_than_twice + self.unfinished
        return faults == 0 and self.doubled <= self.marked <= self.kills * WINDOW


class SendingOffice(Office):
    """One agency whose dossiers all become ready at once, and a message centre."""

    def __init__(self, folder: Path, peer: PeerProcess, messages: int) -> None:
        super().__init__(
            folder,
            notices={"result_ready": {"settle": "0s", "text": "Ho so {Mã số hồ sơ} da co ket qua"}},
            messages={**ALL_DAY, "encoding": "unaccented", "unknown_after": "1s", "hold_above": messages + 1},
            gateway={
                "type": "smpp", "host": "127.0.0.1", "port": peer.port,
                "system_id": "smsd", "password": "sesame", "window": WINDOW,
            },
        )  # fmt: skip
        self.peer = peer
        self.count = messages
        self.add(AGENCY, messages)

    def all_become_ready(self) -> None:
        self.databases[AGENCY].execute(f"UPDATE dossiers SET step = '{READY}'")

    def reach(self, share: float) -> None:
        """Until this share of the messages was taken."""
        wait_until(lambda: self.peer.taken() >= self.count * share, 60, 0.005)

    def settled(self) -> bool:
        """Whether every message was made and none is on its way to the message centre."""
        query = f"SELECT count(*), coalesce(sum(state IN {_ON_THEIR_WAY}), 0) FROM messages"
        return self.ask(query) == [(self.count, 0)]

    def toll(self, kills: int) -> Toll:
        taken = Counter(self.peer.texts())
        rows = self.ask("SELECT text, possible_duplicate, state FROM messages")
        marked = {text for text, possible_duplicate, _ in rows if possible_duplicate}
        doubled = {text for text, times in taken.items() if times > 1}
        return Toll(
            messages=len(rows),
            kills=kills,
            lost=sum(text not in taken for text, _, _ in rows),
            doubled=len(doubled),
            unmarked=len(doubled - marked),
            more_than_twice=sum(times > 2 for times in taken.values()),
            marked=len(marked),
            unfinished=sum(state not in ("delivered", "accepted") for _, _, state in rows),
        )


@contextmanager
def an_office(folder: Path, messages: int) -> Iterator[SendingOffice]:
    record = folder / "sent.jsonl"
    with PeerProcess(record, "--receipts", "tlv", "--ids", "hex", "--latency", _LATENCY) as peer:
        office = SendingOffice(folder / "office", peer, messages)
        try:
            yield office
        finally:
            office.close()


def kill_in_the_middle(folder: Path, messages: int, what: str, kills: int = 1) -> Toll:
    """End ``what`` (of `KILLED`) in the middle, as often as asked, and start it again at once."""
    with an_office(folder, messages) as office, ExitStack() as daemons:
        daemon = daemons.enter_context(Daemon(office))
        baselined(daemon, AGENCY)
        office.all_become_ready()
        for number in range(1, kills + 1):
            office.reach(number / (kills + 1))
            if what == "smsd":
                daemon.kill()
                daemon = daemons.enter_context(Daemon(office))
            else:
                office.peer.kill()
                office.peer.start()
        try:
            wait_until(office.settled, 120, 0.1)
        except AssertionError:
            raise AssertionError(
                f"not settled: {office.toll(kills)}\n{''.join(daemon.raw)[-4000:]}"
            ) from None
        assert daemon.stop() == 0
        return office.toll(kills)
