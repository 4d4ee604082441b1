"""Sending from a real state store, and a bare SMPP loop beside it: what the benchmarks of gateways have in common."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path

from sqlalchemy import func, select

from smsd.adapters.store.engine import Database
from smsd.adapters.store.journal import Journal
from smsd.adapters.store.outbox import OutboxStore
from smsd.adapters.store.schema import message_events, messages
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.core.clock import SystemClock
from smsd.core.model import Draft, MessageState, PartReceipt
from smsd.services.alarms import AlarmBell
from smsd.services.delivery import Delivery, SendingRules
from smsd.services.ports import Gateway
from tests.support.builders import ZONE, a_digest, a_dossier, a_policy, a_tracked
from tests.support.smpppdus import BIND_TRANSCEIVER, DELIVER_SM, HEADER, RESPONSE, SUBMIT_SM, pdu

AGENCY = "nha-trang"
TEXT = (
    "Thong bao: Ho so cua quy Ong/Ba ({}) da co ket qua. Moi Ong/Ba den Bo phan Mot cua UBND de nhan ket qua"
)
_LOOKS_EVERY = 0.02
"""Seconds between looks whether all is done; no figure is finer than that."""
_LONGEST = 300.0


def text_of(number: int) -> str:
    """One segment in the GSM 7-bit alphabet, another for each message."""
    return TEXT.format(f"000.00.12.H32-{number:06}")


@contextmanager
def a_full_outbox(count: int, text: str | None = None) -> Iterator[Database]:
    """A store on disk, at rest, as the daemon opens it, with so many messages of one agency that may go now.

    Their texts are `text_of` their number, or all the same.
    """
    with tempfile.TemporaryDirectory(prefix="smsd-bench-") as folder:
        database = Database(f"sqlite:///{Path(folder) / 'smsd.db'}")
        database.open()
        database.checkpoint_aside()
        _fill(database, count, text)
        with database.reading() as connection:  # a daemon at rest has done so
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
        yield database
        database.close()


def _fill(database: Database, count: int, text: str | None) -> None:
    now, settle = SystemClock().now(), timedelta(minutes=2)
    tracked = [a_tracked(a_dossier(f"H32-{number:06}"), "result_ready") for number in range(count)]
    with SnapshotStore(database).transaction(AGENCY) as tx:
        tx.save_agency(mode="live", interval=timedelta(days=1), last_good_at=now, last_rows=count)
        tx.put([(one, a_digest(AGENCY, one.dossier.code)) for one in tracked])
        tx.add(
            [
                (one, _draft(number, now, text or text_of(number)), settle)
                for number, one in enumerate(tracked)
            ],
            "batch",
        )


def _draft(number: int, now: datetime, text: str) -> Draft:
    return Draft(
        kind="result_ready",
        occurrence="1",
        state=MessageState.QUEUED,
        reason=None,
        phone=f"84905{number % 1_000_000:06}",
        text=text,
        segments=1,
        made_at=now,
        next_at=now,
        valid_until=now + timedelta(days=10),
    )


class Sender:
    """Delivery as the daemon runs it, in a thread of its own. It is the sink of its gateway's receipts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._delivery: Delivery | None = None

    def receive_parts(self, receipts: Sequence[PartReceipt]) -> None:
        assert self._delivery is not None
        self._delivery.receive_parts(receipts)

    def seconds(
        self, gateway: Gateway, *waiting: MessageState, then: Callable[[], object] = lambda: None
    ) -> float:
        """Send everything; the seconds from the first claim until no message is in one of these states any more.

        ``then`` is done before delivery is stopped, and not timed.
        """
        clock = SystemClock()
        self._delivery = Delivery(
            OutboxStore(self._database),
            gateway,
            SendingRules(ZONE, time_of_day(), time_of_day(), unknown_after=timedelta(minutes=15)),
            AlarmBell(Journal(self._database), clock),
            clock,
            policy_of={AGENCY: a_policy()}.get,
        )
        stopped = threading.Event()
        thread = threading.Thread(target=self._delivery.run, args=(stopped.is_set,))
        begun = time.perf_counter()
        thread.start()
        while self._any_in(waiting):
            assert time.perf_counter() - begun < _LONGEST, f"after {_LONGEST:.0f} s: {self.states()}"
            time.sleep(_LOOKS_EVERY)
        taken = time.perf_counter() - begun
        then()
        stopped.set()
        thread.join()
        return taken

    def _any_in(self, states: Sequence[MessageState]) -> bool:
        """Asked of the driver itself: it is asked so often that it must cost next to nothing."""
        marks = ",".join("?" * len(states))
        query = f"SELECT 1 FROM messages WHERE final_at IS NULL AND state IN ({marks}) LIMIT 1"
        with self._database.reading() as connection:
            return connection.exec_driver_sql(query, tuple(states)).first() is not None

    def states(self) -> Counter[str]:
        """How many messages are in each state."""
        with self._database.reading() as connection:
            counted = connection.execute(select(messages.c.state, func.count()).group_by(messages.c.state))
            return Counter(dict(counted.tuples().all()))

    def events(self) -> Counter[str]:
        """How many times a message came into each state."""
        state = message_events.c.state
        with self._database.reading() as connection:
            counted = connection.execute(select(state, func.count()).group_by(state))
            return Counter(dict(counted.tuples().all()))


def by_bare_socket(port: int, bodies: Sequence[bytes], window: int) -> float:
    """Seconds until the last receipt has come to a loop on a socket that does nothing but keep its window full.

    Bodies are at hand, nothing is remembered of any message, and a receipt is acknowledged unread.
    """
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(pdu(BIND_TRANSCEIVER, 0, 1, b"smsd\0sesame\0\0\x34\0\0\0"))
        assert HEADER.unpack_from(connection.recv(1024))[1:3] == (BIND_TRANSCEIVER | RESPONSE, 0)
        begun = time.perf_counter()
        given = answered = reported = 0
        unread = b""
        while True:
            out = []
            at = 0
            while len(unread) - at >= HEADER.size:
                length, command, status, sequence = HEADER.unpack_from(unread, at)
                if len(unread) - at < length:
                    break
                at += length
                if command == SUBMIT_SM | RESPONSE:
                    assert status == 0
                    answered += 1
                elif command == DELIVER_SM:
                    out.append(pdu(DELIVER_SM | RESPONSE, 0, sequence, b"\0"))
                    reported += 1
            while given < len(bodies) and given - answered < window:
                out.append(pdu(SUBMIT_SM, 0, given + 2, bodies[given]))
                given += 1
            connection.sendall(b"".join(out))
            if reported == len(bodies):
                return time.perf_counter() - begun
            unread = unread[at:] + connection.recv(1 << 18)
