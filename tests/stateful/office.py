"""Two agencies, one state store and smsd's services between them, process after process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path

from sqlalchemy import Connection, func, select

from smsd.adapters.reports.files import FolderReports
from smsd.adapters.store.engine import Database
from smsd.adapters.store.journal import Journal
from smsd.adapters.store.lookups import LookupStore
from smsd.adapters.store.mapping import MESSAGE_COLUMNS, message_from
from smsd.adapters.store.outbox import OutboxStore
from smsd.adapters.store.reports import SqlReportStore
from smsd.adapters.store.schema import findings, message_events, messages
from smsd.adapters.store.setclock import SetClockStore
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.adapters.store.upkeep import UpkeepStore
from smsd.core.errors import AgencyError
from smsd.core.figures import ReportAgency
from smsd.core.model import Message, MessageState, Mode
from smsd.core.policy import AgencyPolicy
from smsd.services.alarms import AlarmBell
from smsd.services.clockwatch import ClockWatch
from smsd.services.daily import MissedPasses, NightlyReports
from smsd.services.delivery import Delivery, SendingRules
from smsd.services.lookup import LookupRules, LookupService
from smsd.services.making import APOLOGY_RUN
from smsd.services.participation import take_part
from smsd.services.polling import AgencyPlan, Poller, note_failure
from smsd.services.ports import LookupRequest, RunKey
from smsd.services.reporting import ReportService, ReportSettings
from smsd.services.upkeep import Upkeep
from tests.stateful.network import Fuse, Network, Road
from tests.store.empty import copy_empty_store
from tests.support.builders import POSITIONS, ZONE, FixedClock, a_policy, a_rule, notices
from tests.support.fakereader import FakeAgency, FakeReader

RULES = SendingRules(ZONE, time(6), time(22), unknown_after=timedelta(minutes=15))
PERSONAL_DATA = timedelta(days=2)
RECORDS = timedelta(days=400)
HOLD_ABOVE = 2
POSITIONS_OF = {
    "first": POSITIONS,
    "second": (POSITIONS[0], a_rule("result_ready", ("Trả kết quả", "Hoàn thành")), POSITIONS[2]),
}
"""Two ways to read the same steps."""
_COMPILED: dict[object, object] = {}
"""Statements compiled once for all stores."""


@dataclass(frozen=True)
class Settings:
    """What an agency's file says."""

    mode: Mode = Mode.LIVE
    positions: str = "first"
    notices: frozenset[str] = frozenset({"supplement", "result_ready", "apology"})
    apology: bool = True
    source: str = "the view"
    skip_same_day: bool = False

    def policy(self, agency: str) -> AgencyPolicy:
        return a_policy(
            id=agency,
            name=agency,
            mode=self.mode,
            positions=POSITIONS_OF[self.positions],
            notices={name: notice for name, notice in notices().items() if name in self.notices},
            apology=self.apology,
            skip_same_day=self.skip_same_day,
            skip_procedures=frozenset({"9.999"}),
            hold_above=HOLD_ABOVE,
        )


class FusedDatabase(Database):
    """May end the process before a commit, which undoes it, or right after; counts commits."""

    def __init__(self, url: str, fuse: Fuse) -> None:
        super().__init__(url)
        self.engine = self.engine.execution_options(compiled_cache=_COMPILED)
        self.commits = 0
        self._fuse = fuse

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with super().writing() as connection:
            yield connection
            self._fuse.point("before a commit")
        self.commits += 1
        self._fuse.point("after a commit")


class Notes(SetClockStore):
    """Tells when what was written under a clock that ran ahead was brought back."""

    brought_back: Callable[[datetime], None]

    def bring_back(self, now: datetime) -> int:
        moved = super().bring_back(now)
        self.brought_back(now)
        return moved


@dataclass
class Office:
    """``start`` is a new process on the same store. Everything runs in the caller's thread."""

    folder: Path
    settings: dict[str, Settings]
    network: Network
    clock: FixedClock = field(default_factory=FixedClock)
    passed: float = 0.0
    """Seconds that really passed, whatever the clock was set to."""
    brought_back: Callable[[datetime], None] = lambda _: None
    took_part: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.views = {agency: FakeAgency() for agency in self.settings}
        path = self.folder / "smsd.db"
        copy_empty_store(path)
        self.database = FusedDatabase(f"sqlite:///{path}", self.network.fuse)
        self.database.open()
        self.build()
        self.watch_clock()

    # time

    def forward(self, time_: timedelta) -> None:
        """Time passes."""
        self.clock.forward(time_)
        self.passed += time_.total_seconds()

    def _monotonic(self) -> float:
        return self.passed

    def watch_clock(self) -> None:
        notes = Notes(self.database)
        notes.brought_back = self._brought_back
        self.watch = ClockWatch(self.clock, notes, lambda: self.alarms, monotonic=self._monotonic)
        self.started = False

    def _brought_back(self, now: datetime) -> None:
        self.brought_back(now)

    def may_work(self) -> bool:
        """What the daemon asks before each turn; a process whose clock was not believed begins only now."""
        if not self.watch.believed():
            return False
        if not self.started:
            take_part(self.snapshots, self.policies, self.clock.now())
            self.took_part()
            self.delivery.recover()
            self.started = True
        return True

    @property
    def works(self) -> bool:
        """Whether the process has begun its work and believes its clock."""
        return self.started and not self.watch.in_doubt

    # processes

    def build(self) -> None:
        """The services, from the configuration and what is in the store."""
        self.policies = {agency: own.policy(agency) for agency, own in self.settings.items()}
        self.snapshots = SnapshotStore(self.database)
        self.outbox = OutboxStore(self.database)
        self.journal = Journal(self.database)
        alarms = self.alarms = AlarmBell(self.journal, self.clock)
        self.poller = Poller(self.snapshots, self.journal, alarms, self.clock, monotonic=self._monotonic)
        self.poller.use(self.plans)
        self.missed = MissedPasses(self.snapshots, self.journal, self.clock)
        self.delivery = Delivery(
            self.outbox,
            Road(self.network),
            RULES,
            alarms,
            self.clock,
            policy_of=self.policies.get,
            monotonic=self._monotonic,
        )
        kinds = ("result_ready", "supplement", "apology")
        self.reports = ReportService(
            SqlReportStore(self.database, ZONE),
            FolderReports(self.folder / "reports", language="en", delimiter=","),
            ReportSettings(ZONE, kinds, 300),
        )
        self.nightly = NightlyReports(
            self.reports, self.journal, alarms, self.clock, zone=ZONE, at=time(23, 30), workers=1
        )
        self.upkeep = Upkeep(
            UpkeepStore(self.database),
            self.journal,
            self.clock,
            zone=ZONE,
            personal_data=PERSONAL_DATA,
            records=RECORDS,
            purge_files=lambda _: 0,
        )

    def start(self) -> None:
        """A process begins: it takes up what the last one left."""
        self.network.unanswered.clear()
        self.build()
        self.watch_clock()
        self.may_work()

    def reload(self, agency: str, settings: Settings) -> None:
        """The file was edited, and smsd told so: the old services end in order."""
        self.delivery.close()
        self.settings[agency] = settings
        self.build()
        self.started = False
        self.may_work()

    # reading

    @property
    def plans(self) -> dict[str, AgencyPlan]:
        """Of the agencies that take part."""
        return {agency: self._plan(agency) for agency in self.settings if self.takes_part(agency)}

    def takes_part(self, agency: str) -> bool:
        return self.settings[agency].mode is not Mode.OFF

    def _plan(self, agency: str) -> AgencyPlan:
        own, view = self.settings[agency], self.views[agency]
        policy, patience = self.policies[agency], timedelta(seconds=30)
        return AgencyPlan(policy, own.source, own.positions, patience, lambda: FakeReader(view))

    def poll(self, agency: str, *, accept: bool = False, dry_run: bool = False) -> None:
        """One read. Raises `AgencyError` after having written it down, as the daemon does."""
        self.poller.use(self.plans)  # no waits between reads
        plan, started_at = self._plan(agency), self.clock.now()
        orders = replace(self.poller.orders(agency), accept=accept)
        try:
            self.poller.poll(plan, orders, plan.open_reader(), dry_run=dry_run)
        except AgencyError as error:
            note_failure(self.snapshots, plan.policy, error, started_at, self.clock.now())
            raise

    def pass_is_over(self, agency: str, day: date) -> bool:
        return self.journal.run(RunKey(APOLOGY_RUN, agency, day)).over

    def pass_was_missed(self, agency: str, day: date) -> bool:
        return self.journal.run(RunKey(APOLOGY_RUN, agency, day)).state == "missed"

    # sending, and the jobs of the day

    def send(self) -> None:
        """Everything that may go now; what is unanswered stays under way."""
        while self.started and self.delivery.pump():
            pass

    def age(self) -> None:
        if self.may_work():
            self.delivery.age()

    def daily_jobs(self) -> None:
        self.missed.tick(self.plans)
        self.nightly.tick(self.plans, self.reported_agencies)
        self.upkeep.tick()

    @property
    def reported_agencies(self) -> list[ReportAgency]:
        return [ReportAgency(agency, agency, self.takes_part(agency)) for agency in self.settings]

    def look_up(self, request: LookupRequest) -> str:
        service = LookupService(
            LookupStore(self.database), LOOKUPS, self.clock, policies=lambda: self.policies, secret="s"
        )
        try:
            return service.answer(request)
        finally:
            service.close()

    # what is in the store

    def messages(self) -> dict[str, Message]:
        with self.database.reading() as connection:
            return {m.id: m for m in map(message_from, connection.execute(select(*MESSAGE_COLUMNS)))}

    def message(self, message_id: str) -> Message:
        with self.database.reading() as connection:
            query = select(*MESSAGE_COLUMNS).where(messages.c.id == message_id)
            return message_from(connection.execute(query).one())

    def last_event(self) -> int:
        with self.database.reading() as connection:
            return connection.execute(select(func.max(message_events.c.id))).scalar() or 0

    def events_after(self, last: int) -> list[tuple[int, str, MessageState, str | None]]:
        columns = message_events.c.id, message_events.c.message_id, message_events.c.state
        query = select(*columns, message_events.c.detail).where(message_events.c.id > last)
        with self.database.reading() as connection:
            rows = connection.execute(query.order_by(message_events.c.id))
            return [(id_, message, MessageState(state), why) for id_, message, state, why in rows]

    def found(self, reason: str) -> set[tuple[str, str, date]]:
        """Findings of a kind: agency, dossier, day."""
        query = select(findings.c.agency, findings.c.dossier_code, findings.c.day)
        with self.database.reading() as connection:
            return {tuple(row) for row in connection.execute(query.where(findings.c.reason == reason))}


LOOKUPS = LookupRules(
    keyword="MCKH",
    answer="{Mã số hồ sơ}: {Tên bước giải quyết hiện tại}, {Đúng hạn/Trễ hạn}",
    not_found="không thấy {Mã số hồ sơ}",
    wrong_syntax="sai cú pháp",
    too_many="quá nhiều",
    limit=20,
    per=timedelta(hours=1),
    zone=ZONE,
)


def local_day(instant: datetime) -> date:
    return instant.astimezone(ZONE).date()
