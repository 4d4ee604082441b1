"""One agency, a state store and a gateway, with the services between them as the daemon has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from pathlib import Path

from sqlalchemy import select

from smsd.adapters.store.engine import Database
from smsd.adapters.store.journal import Journal
from smsd.adapters.store.mapping import MESSAGE_COLUMNS, message_from, record_events
from smsd.adapters.store.outbox import OutboxStore
from smsd.adapters.store.schema import findings, message_events, messages, transitions
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.core.model import Message, MessageState, Receipt, ReceiptVerdict
from smsd.core.policy import AgencyPolicy
from smsd.services.alarms import AlarmBell
from smsd.services.daily import MissedPasses
from smsd.services.delivery import Delivery, SendingRules
from smsd.services.making import Applied
from smsd.services.participation import take_part
from smsd.services.polling import AgencyPlan, Poller
from smsd.services.ports import AgencyReader, RunKey
from tests.store.empty import copy_empty_store
from tests.support.builders import NOW, PHONE, ZONE, FixedClock, a_policy
from tests.support.fakegateway import FakeGateway
from tests.support.fakereader import FakeAgency, FakeReader

AGENCY = "nha-trang"
WORKING = "Thẩm định"
READY = "Trả kết quả"
CLOSED = "Kết thúc"
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SETTLED = timedelta(minutes=2)

ALWAYS = SendingRules(ZONE, time(0), time(0), unknown_after=timedelta(minutes=15))


def a_row(code: str = "H1", **changes: object) -> dict[str, object]:
    """A row of the view as drivers give it: a dossier being worked on, received days ago, due in days."""
    row: dict[str, object] = {
        "dossier_code": code,
        "phone": PHONE,
        "step": WORKING,
        "status": "Đang xử lý",
        "procedure_code": "1.001",
        "procedure_name": "Đăng ký khai sinh",
        "received_at": NOW - timedelta(days=5),
        "due_at": NOW + timedelta(days=5),
        "resolved_at": None,
    }
    return row | changes


@dataclass
class Stage:
    """``start`` builds the services from what is in the store, as a process does; call it again for a restart."""

    folder: Path
    clock: FixedClock = field(default_factory=FixedClock)
    policy: AgencyPolicy = field(default_factory=a_policy)
    gateway: FakeGateway = field(default_factory=FakeGateway)
    rules: SendingRules = ALWAYS
    url: str = ""
    source: str = "source"
    make_database: Callable[[str], Database] = Database

    def __post_init__(self) -> None:
        self.agency = FakeAgency()
        if not self.url:
            path = self.folder / "smsd.db"
            if not path.exists():
                copy_empty_store(path)
            self.url = f"sqlite:///{path}"
        self.database = self.make_database(self.url)
        self.database.open()
        self.start()

    def start(self) -> None:
        self.policies = {self.policy.id: self.policy}
        self.snapshots = SnapshotStore(self.database)
        self.outbox = OutboxStore(self.database)
        self.journal = Journal(self.database)
        self.alarms = AlarmBell(self.journal, self.clock)
        self.poller = Poller(self.snapshots, self.journal, self.alarms, self.clock, monotonic=self.monotonic)
        self.passes = MissedPasses(self.snapshots, self.journal, self.clock)
        self.reader: AgencyReader = FakeReader(self.agency)
        self.delivery = self.a_delivery()

    def a_delivery(self, gateway: FakeGateway | None = None, beside: tuple[str, ...] = ()) -> Delivery:
        return Delivery(
            self.outbox,
            gateway or self.gateway,
            self.rules,
            self.alarms,
            self.clock,
            policy_of=self._policy_of,
            monotonic=self.monotonic,
            beside=beside,
        )

    def _policy_of(self, agency: str) -> AgencyPolicy | None:
        return self.policies.get(agency)

    def age(self) -> None:
        self.delivery.age()

    def monotonic(self) -> float:
        return self.clock.now().timestamp()

    def restart(self) -> None:
        """A new process on the same store."""
        self.start()
        self.delivery.recover()
        self.take_part()

    def take_part(self) -> list[str]:
        return take_part(self.snapshots, self.policies, self.clock.now())

    # the agency and its reads

    def show(self, *rows: dict[str, object]) -> None:
        self.agency.rows = [dict(row) for row in rows]

    @property
    def plan(self) -> AgencyPlan:
        fingerprint = repr(self.policy.positions)
        return AgencyPlan(
            self.policy, self.source, fingerprint, timedelta(seconds=30), lambda: FakeReader(self.agency)
        )

    def use(self, policy: AgencyPolicy) -> None:
        """A reloaded configuration."""
        self.policy = policy
        self.policies = {policy.id: policy}

    def poll(self, *, dry_run: bool = False, accept: bool = False, baseline: bool = False) -> Applied:
        self.poller.use({self.policy.id: self.plan})
        orders = replace(self.poller.orders(self.policy.id), accept=accept, baseline=baseline)
        return self.poller.poll(self.plan, orders, self.reader, dry_run=dry_run)

    def baseline(self, *rows: dict[str, object]) -> None:
        self.show(*rows)
        assert self.poll().baseline

    def after(self, passed: timedelta = MINUTE) -> Applied:
        """The next read, so much later."""
        self.clock.forward(passed)
        return self.poll()

    def enter(self, *rows: dict[str, object]) -> None:
        """Rows seen for the first time after a baseline of one that has nothing to do with them."""
        other = a_row("other")
        self.baseline(other)
        self.show(other, *rows)
        self.after()

    # sending

    def send(self, passed: timedelta = timedelta(0)) -> None:
        self.clock.forward(passed)
        self.delivery.drain()

    def settle_and_send(self) -> None:
        """A good read once the position has held, then everything that may go."""
        self.after(SETTLED)
        self.send()

    def receipt(self, message_id: str, verdict: ReceiptVerdict) -> str:
        return self.delivery.receive(Receipt("fake", message_id, verdict))

    def put_all(self, state: str, **columns: object) -> None:
        """Every message straight into a state, with the event that belongs to it."""
        with self.database.writing() as connection:
            ids = connection.execute(
                messages.update().values(state=state, **columns).returning(messages.c.id)
            ).scalars()
            record_events(connection, [(id_, state, None) for id_ in ids], self.clock.now())

    # what there is

    def messages(self, kind: str | None = None) -> list[Message]:
        query = select(*MESSAGE_COLUMNS).order_by(messages.c.made_at, messages.c.dossier_code)
        with self.database.reading() as connection:
            found = [message_from(row) for row in connection.execute(query)]
        return [message for message in found if kind is None or message.kind == kind]

    def message(self) -> Message:
        (only,) = self.messages()
        return only

    def states(self, kind: str | None = None) -> list[str]:
        """What became of each message: its state, or why it was suppressed."""
        return [message.reason or message.state for message in self.messages(kind)]

    def events(self, message_id: str) -> list[str]:
        query = select(message_events.c.state).where(message_events.c.message_id == message_id)
        with self.database.reading() as connection:
            return list(connection.execute(query.order_by(message_events.c.id)).scalars())

    def findings(self) -> list[tuple[str, str]]:
        query = select(findings.c.reason, findings.c.dossier_code).order_by(findings.c.id)
        with self.database.reading() as connection:
            return [(reason, code) for reason, code in connection.execute(query)]

    def transitions(self) -> list[tuple[str, str | None, str | None, str]]:
        columns = (transitions.c.code, transitions.c.came_from, transitions.c.went_to, transitions.c.cause)
        with self.database.reading() as connection:
            return [tuple(row) for row in connection.execute(select(*columns).order_by(transitions.c.id))]

    def run_state(self, name: str, day: datetime) -> str:
        return self.journal.run(RunKey(name, self.policy.id, day.astimezone(ZONE).date())).state

    def alarm_keys(self) -> list[str]:
        return [alarm.key for alarm in self.journal.standing_alarms()]


def ended(states: Iterable[str]) -> bool:
    """Whether nothing is on its way any more."""
    return not {MessageState.QUEUED, MessageState.SENDING, MessageState.HELD, MessageState.UNKNOWN} & set(
        states
    )
