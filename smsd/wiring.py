"""Builds the services of one process from the configuration, on one open state store: here all parts are known.

Nothing here runs by itself: the daemon, the commands and the demo decide what happens when.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from datetime import date, datetime
from functools import cached_property

from smsd.adapters.alarmcommand import AlarmCommand
from smsd.adapters.gateways.spool import SpoolGateway
from smsd.adapters.gateways.spoolerasure import SpoolErasure
from smsd.adapters.reports.files import FolderReports
from smsd.adapters.store.engine import Database
from smsd.adapters.store.journal import Journal
from smsd.adapters.store.lookups import LookupStore
from smsd.adapters.store.outbox import OutboxStore
from smsd.adapters.store.privacy import PrivacyStore
from smsd.adapters.store.reports import SqlReportStore
from smsd.adapters.store.snapshots import SnapshotStore
from smsd.adapters.store.unreported import UnreportedStore
from smsd.adapters.store.upkeep import UpkeepStore
from smsd.adapters.store.views import Views
from smsd.config.gateways import SpoolSettings
from smsd.config.settings import Settings
from smsd.core.clock import Clock, SystemClock
from smsd.core.model import PartReceipt
from smsd.installation import Installation
from smsd.roads import gateways_of
from smsd.services.alarms import AlarmBell
from smsd.services.daily import MissedPasses, NightlyReports
from smsd.services.delivery import Delivery, SendingRules
from smsd.services.lookup import LookupRules, LookupService
from smsd.services.participation import take_part
from smsd.services.polling import Poller
from smsd.services.ports import Gateway, LookupRequest, Polled
from smsd.services.privacy import Privacy
from smsd.services.receiptpolling import ReceiptPoller
from smsd.services.reporting import ReportService, ReportSettings
from smsd.services.routes import Routes
from smsd.services.upkeep import Upkeep


def open_database(settings: Settings, *, check: bool = False) -> Database:
    """The state store, ready for use; ``check``: looked through for damage first. Raises `StoreError`."""
    database = Database(settings.store.get_secret_value())
    database.open(check=check)
    return database


class System:
    """The services of one process, each built when it is first asked for: a command pays for what it uses."""

    def __init__(
        self,
        installation: Installation,
        database: Database,
        *,
        clock: Clock | None = None,
        gateway: Gateway | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.installation = installation
        self.settings = installation.settings
        self.database = database
        self.clock = clock or SystemClock()
        self._given_gateway = gateway
        self._monotonic = monotonic

    # stores

    @cached_property
    def snapshots(self) -> SnapshotStore:
        """What polling works on."""
        return SnapshotStore(self.database)

    @cached_property
    def outbox(self) -> OutboxStore:
        """What delivery works on."""
        return OutboxStore(self.database)

    @cached_property
    def journal(self) -> Journal:
        """Daily jobs, alarms, decisions."""
        return Journal(self.database)

    @cached_property
    def views(self) -> Views:
        """What people look at."""
        return Views(self.database)

    # services

    @cached_property
    def alarms(self) -> AlarmBell:
        """Raises alarms; each runs the operator's command."""
        return AlarmBell(self.journal, self.clock, self.alarm_command)

    @cached_property
    def alarm_command(self) -> AlarmCommand:
        """The operator's own command for alarms."""
        return AlarmCommand(self.settings.alarms.command if self.settings.alarms is not None else [])

    @cached_property
    def gateways(self) -> tuple[Gateway, ...]:
        """The roads to the telephone networks, in order of preference."""
        if self._given_gateway is not None:
            return (self._given_gateway,)
        return gateways_of(self.settings, self.installation.texts, receipts=self, lookups=self)

    @cached_property
    def delivery(self) -> Routes:
        """Sends what the outbox holds."""
        configured = self.settings.gateway[: len(self.gateways)]
        deliveries = [
            self._delivery_over(gateway, own.rate)
            for gateway, own in zip(self.gateways, configured, strict=True)
        ]
        return Routes(deliveries, [own.failover_after for own in configured])

    def _delivery_over(self, gateway: Gateway, rate: float | None) -> Delivery:
        messages = self.settings.messages
        rules = SendingRules(
            zone=self.settings.zone,
            opens=messages.sending_hours.opens,
            closes=messages.sending_hours.closes,
            unknown_after=messages.unknown_after,
            rate=rate,
        )
        return Delivery(
            self.outbox,
            gateway,
            rules,
            self.alarms,
            self.clock,
            policy_of=self.installation.policy_of,
            monotonic=self._monotonic,
            beside=[other.name for other in self.gateways if other is not gateway],
        )

    @cached_property
    def receipt_pollers(self) -> tuple[ReceiptPoller, ...]:
        """One for each gateway whose provider has to be asked what became of messages."""
        store = UnreportedStore(self.database)
        return tuple(
            ReceiptPoller(store, gateway, self, interval=gateway.poll_interval)
            for gateway in self.gateways
            if isinstance(gateway, Polled) and gateway.poll_interval is not None
        )

    @cached_property
    def poller(self) -> Poller:
        """Reads the agencies."""
        poller = Poller(
            self.snapshots,
            self.journal,
            self.alarms,
            self.clock,
            workers=self.settings.polling.workers,
            monotonic=self._monotonic,
            on_messages=self._wake_delivery,
        )
        poller.use(self.installation.plans)
        return poller

    @cached_property
    def missed_passes(self) -> MissedPasses:
        """Closes apology passes that nobody could run."""
        return MissedPasses(self.snapshots, self.journal, self.clock)

    @cached_property
    def reports(self) -> ReportService:
        """Counts, reconciles and writes."""
        reconciliation = self.settings.reconciliation
        files = FolderReports(
            reconciliation.directory, language=reconciliation.language, delimiter=reconciliation.delimiter
        )
        settings = ReportSettings(
            zone=self.settings.zone,
            notices=self.installation.notices,
            cost_per_segment=self.settings.messages.cost_per_segment,
        )
        return ReportService(SqlReportStore(self.database, self.settings.zone), files, settings)

    @cached_property
    def nightly(self) -> NightlyReports:
        """Runs the reconciliation when it is owed."""
        return NightlyReports(
            self.reports,
            self.journal,
            self.alarms,
            self.clock,
            zone=self.settings.zone,
            at=self.settings.reconciliation.at,
            workers=self.settings.polling.workers,
        )

    @cached_property
    def upkeep(self) -> Upkeep:
        """Applies retention."""
        return Upkeep(
            UpkeepStore(self.database),
            self.journal,
            self.clock,
            zone=self.settings.zone,
            personal_data=self.settings.retention.personal_data,
            records=self.settings.retention.records,
            purge_files=self._purge_spool,
        )

    @cached_property
    def privacy(self) -> Privacy:
        """Answers a citizen's request about their own number."""
        spools = [
            SpoolErasure(one.directory) for one in self.settings.gateway if isinstance(one, SpoolSettings)
        ]
        return Privacy(PrivacyStore(self.database), spools, self.clock, secret=self._inbound_secret)

    @property
    def _inbound_secret(self) -> str:
        inbound = self.settings.inbound
        return inbound.secret.get_secret_value() if inbound is not None else ""

    @cached_property
    def lookups(self) -> LookupService:
        """Answers citizens."""
        lookup = self.settings.lookup
        rules = LookupRules(
            keyword=lookup.keyword,
            answer=lookup.answer,
            not_found=lookup.not_found,
            wrong_syntax=lookup.wrong_syntax,
            too_many=lookup.too_many,
            limit=lookup.per_number.limit,
            per=lookup.per_number.per,
            zone=self.settings.zone,
            encoding=self.settings.messages.encoding,
        )
        return LookupService(
            LookupStore(self.database),
            rules,
            self.clock,
            policies=lambda: self.installation.policies,
            secret=self._inbound_secret,
        )

    # what comes over a gateway's own connection

    def receive_parts(self, receipts: Sequence[PartReceipt]) -> None:
        """Record receipts before they are acknowledged."""
        self.delivery.receive_parts(receipts)

    def answer(self, request: LookupRequest) -> str:
        """The text to send back to a citizen."""
        return self.lookups.answer(request)

    # life

    def take_part(self) -> None:
        """Bring what the store knows of the agencies in line with their files, before anything is read or sent."""
        if self.snapshots.want_baselines(self.clock.now()):
            self.alarms.raise_alarm(
                "restored",
                "the state store is a restored backup: every agency's next read only records, and what was "
                "unsent when the copy was made is not sent",
                hint="look at the exceptions of the backup's day; the alarm ends with the next start",
                severity="warning",
            )
        else:
            self.alarms.clear("restored")
        away = take_part(
            self.snapshots,
            self.installation.policies,
            self.clock.now(),
            left_alone=self.installation.problems,
        )
        self._clear_outlived_alarms(away)
        self.report_problems()

    def _clear_outlived_alarms(self, away: Collection[str]) -> None:
        """Over are alarms of agencies that are off or removed, of mended files, and of gateways that are not in use.

        smsd.yaml was read when this is asked, and the store it names opened, or else the daemon says so afterwards.
        """
        for alarm in self.journal.standing_alarms():
            kind, _, whose = alarm.key.partition(":")
            gone = kind in ("agency", "held") and whose in away
            mended = kind in ("config", "store") and whose not in self.installation.problems
            unused = kind == "gateway" and whose not in [one.name for one in self.settings.gateway]
            if gone or mended or unused:
                self.alarms.clear(alarm.key)

    def report_problems(self) -> None:
        """An alarm for each agency whose file is wrong."""
        for agency, error in self.installation.problems.items():
            kept = "it goes on as it was" if agency in self.installation.agencies else "it is left out"
            self.alarms.raise_alarm(
                f"config:{agency}",
                f"the file of {agency} is wrong, {kept}: {error.problems[0]}",
                hint=f"see every mistake with: smsd check {agency}",
            )

    def close(self) -> None:
        """Let go of what was built; safe whatever was."""
        built = vars(self)
        if "poller" in built:
            self.poller.stop(1.5)
        if "delivery" in built:
            self.delivery.close()
        elif "gateways" in built:
            for gateway in self.gateways:
                gateway.close()
        if "lookups" in built:
            self.lookups.close()

    def _wake_delivery(self) -> None:
        """There are new messages. A command that only reads never builds the delivery for it."""
        if "delivery" in vars(self):
            self.delivery.wake()

    def _purge_spool(self, before: date) -> int:
        return sum(gateway.purge(before) for gateway in self.gateways if isinstance(gateway, SpoolGateway))


def today(system: System) -> date:
    """The calendar day in the configured zone."""
    return instant_day(system, system.clock.now())


def instant_day(system: System, instant: datetime) -> date:
    """The calendar day of an instant in the configured zone."""
    return instant.astimezone(system.settings.zone).date()
