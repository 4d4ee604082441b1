"""A daemon that sends over SMPP, and what is lost or doubled when it, or the message centre, is killed meanwhile."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.postgres import wait_until
from tests.system.daemonoffice import ALL_DAY, READY, Office, baselined
from tests.system.process import Daemon
from tests.system.sending.forking import ForkedDaemon
from tests.system.sending.peer import PeerProcess

AGENCY = "nha-trang"
WINDOW = 100
KILLED = ("smsd", "message centre")
_LATENCY = "0.03"
"""Seconds before each answer, so that there is always a windowful under way to be killed."""
_STORM_WINDOW, _STORM_LATENCY = 20, "0.15"
READY_PER_LIFE = 20
_SHORT_LIFE, _LONG_LIFE = (0.0, 0.8), (6.0, 8.0)
"""Seconds from a start to the kill. In a long life, messages with a lost answer are sent again, and killed in that."""
_LONG_EVERY = 15
_CUT_TWICE = "(state = 'unknown' AND possible_duplicate)"
"""Killed in both its tries: a message is sent again once, then it waits for a receipt."""
_ON_THEIR_WAY = f"(state IN ('queued', 'held', 'sending', 'unknown') AND NOT {_CUT_TWICE})"


@dataclass(frozen=True)
class Toll:
    """What became of all messages. Every count after ``kills`` would be 0 if nothing were ever killed."""

    messages: int
    kills: int
    lost: int
    """Never taken by the message centre, but for those that were cut off twice."""
    doubled: int
    """Taken more than once."""
    unmarked: int
    """Taken more than once though their row does not say that they may have been."""
    more_than_twice: int
    marked: int
    """Rows that say ``possible_duplicate``."""
    unfinished: int
    """Neither delivered nor handed over nor cut off twice."""
    cut_twice: int = 0
    """Their first and their second try were killed: they wait for a receipt, and are not tried a third time."""
    cut_twice_untaken: int = 0
    """Those of them that the message centre never took."""
    window: int = WINDOW
    """How many messages may be under way at once."""

    @property
    def bearable(self) -> bool:
        """None lost, and no more doubled than were under way, each of them marked."""
        faults = self.lost + self.unmarked + self.more_than_twice + self.unfinished
        return faults == 0 and self.doubled <= self.marked <= self.kills * self.window


class SendingOffice(Office):
    """One agency whose dossiers become ready, at once or by and by, and a message centre."""

    def __init__(self, folder: Path, peer: PeerProcess, messages: int, window: int = WINDOW) -> None:
        super().__init__(
            folder,
            notices={"result_ready": {"settle": "0s", "text": "Ho so {Mã số hồ sơ} da co ket qua"}},
            messages={**ALL_DAY, "encoding": "unaccented", "unknown_after": "1s", "hold_above": messages + 1},
            gateway={
                "type": "smpp", "host": "127.0.0.1", "port": peer.port,
                "system_id": "smsd", "password": "sesame", "window": window,
            },
        )  # fmt: skip
        self.peer = peer
        self.window = window
        self.count = messages
        self.ready = 0
        self.add(AGENCY, messages)

    def all_become_ready(self) -> None:
        self.databases[AGENCY].execute(f"UPDATE dossiers SET step = '{READY}'")

    def some_become_ready(self, count: int) -> None:
        """So many more."""
        self.ready = min(self.count, self.ready + count)
        self.databases[AGENCY].execute(
            f"UPDATE dossiers SET step = '{READY}' WHERE rowid <= {self.ready} AND step <> '{READY}'"
        )

    def reach(self, share: float) -> None:
        """Until this share of the messages was taken."""
        wait_until(lambda: self.peer.taken() >= self.count * share, 60, 0.005)

    def settled(self) -> bool:
        """Whether every message was made and none is on its way to the message centre."""
        query = f"SELECT count(*), coalesce(sum({_ON_THEIR_WAY}), 0) FROM messages"
        return self.ask(query) == [(self.count, 0)]

    def toll(self, kills: int) -> Toll:
        taken = Counter(self.peer.texts())
        rows = self.ask(f"SELECT text, possible_duplicate, state, {_CUT_TWICE} FROM messages")
        marked = {text for text, possible_duplicate, _, _ in rows if possible_duplicate}
        cut_twice = {text for text, _, _, cut in rows if cut}
        doubled = {text for text, times in taken.items() if times > 1}
        return Toll(
            messages=len(rows),
            kills=kills,
            lost=len({row[0] for row in rows} - taken.keys() - cut_twice),
            doubled=len(doubled),
            unmarked=len(doubled - marked),
            more_than_twice=sum(times > 2 for times in taken.values()),
            marked=len(marked),
            unfinished=sum(state not in ("delivered", "accepted") and not cut for _, _, state, cut in rows),
            cut_twice=len(cut_twice),
            cut_twice_untaken=len(cut_twice - taken.keys()),
            window=self.window,
        )


@contextmanager
def an_office(
    folder: Path, messages: int, window: int = WINDOW, latency: str = _LATENCY
) -> Iterator[SendingOffice]:
    record = folder / "sent.jsonl"
    with PeerProcess(record, "--receipts", "tlv", "--ids", "hex", "--latency", latency) as peer:
        office = SendingOffice(folder / "office", peer, messages, window)
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


def kill_at_random(folder: Path, kills: int, seed: int) -> tuple[Toll, float]:
    """Kill smsd at random moments while dossiers become ready and messages flow, and start it again at once.

    Returns the toll, and how many seconds after the last start everything was settled.
    """
    chance = random.Random(seed)
    messages = (kills + 1) * READY_PER_LIFE
    with (
        an_office(folder, messages, _STORM_WINDOW, _STORM_LATENCY) as office,
        ForkedDaemon(office.config, folder / "log.jsonl") as daemon,
    ):
        daemon.start()
        daemon.wait_for("baseline_taken")
        for number in range(1, kills + 1):
            lives = _LONG_LIFE if number % _LONG_EVERY == 0 else _SHORT_LIFE
            _live(office, chance, chance.uniform(*lives))
            daemon.kill()
            daemon.start()
        started = time.monotonic()
        office.some_become_ready(messages)
        try:
            wait_until(office.settled, 120, 0.1)
        except AssertionError:
            raise AssertionError(f"not settled: {office.toll(kills)}\n{daemon.tail()}") from None
        took = time.monotonic() - started
        assert daemon.stop() == 0
        return office.toll(kills), took


def _live(office: SendingOffice, chance: random.Random, seconds: float) -> None:
    """So long a life of the daemon, in which dossiers become ready in two lots."""
    first = chance.uniform(0.0, seconds)
    office.some_become_ready(READY_PER_LIFE // 2)
    time.sleep(first)
    office.some_become_ready(READY_PER_LIFE // 2)
    time.sleep(seconds - first)
