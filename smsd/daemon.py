"""The daemon: one loop of short turns, signals that only set flags, and a stop within ten seconds.

Reading, sending, reporting and listening run beside the loop in threads of their own; the loop starts them, watches
their deadlines and tells systemd that it turns. On SIGHUP the services are built anew from the files on the same open
store, so that every key can be reloaded but the store itself.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

import structlog

from smsd import __version__
from smsd.adapters.gateways.build import receipt_parsers
from smsd.adapters.store.engine import Database
from smsd.adapters.systemd import Systemd
from smsd.adapters.web.app import create_app
from smsd.adapters.web.metrics import collect_metrics
from smsd.adapters.web.server import InboundServer
from smsd.core.clock import Clock, SystemClock
from smsd.core.errors import ConfigError, SmsdError
from smsd.core.model import Receipt
from smsd.daemon_fact import DAEMON_FACT, SIGN_OF_LIFE
from smsd.logs import described
from smsd.services.ports import LookupRequest, ReceiptParser
from smsd.ticks import Ticks
from smsd.wiring import Installation, System, open_database, read_installation

log = structlog.get_logger(__name__)

TURN = 0.2
"""Seconds from one turn of the loop to the next."""
STALLED_AFTER = 60.0
"""Seconds without a turn after which the daemon says that it is not alive."""


class Daemon:
    """smsd as a service. `run` returns the exit status."""

    def __init__(
        self,
        config: Path,
        environ: Mapping[str, str],
        *,
        clock: Clock | None = None,
        systemd: Systemd | None = None,
    ) -> None:
        self._config = config
        self._environ = environ
        self._clock = clock or SystemClock()
        self._systemd = systemd or Systemd()
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._wake = threading.Event()
        self._turned = time.monotonic()
        self._running: Running | None = None
        self._inbound: Inbound | None = None

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT. Raises `ConfigError` or `StoreError` when it cannot start."""
        installation = read_installation(self._config, self._environ)
        database = open_database(installation.settings)
        try:
            database.lock()
            self._install_signals()
            self._serve(installation, database)
        finally:
            database.close()
        log.info("stopped")
        return 0

    def _serve(self, installation: Installation, database: Database) -> None:
        system = System(installation, database, clock=self._clock)
        log.info(
            "started",
            version=__version__,
            config=str(self._config),
            gateway=system.gateway.name,
            agencies=len(installation.agencies),
            left_out=sorted(installation.problems),
        )
        self._running = Running(system)
        try:
            self._running.start()
            self._inbound = Inbound.opened(self._running, self._alive)
            self._systemd.ready()
            self._loop(database)
        finally:
            self._systemd.stopping()
            if self._inbound is not None:
                self._inbound.close()
            self._running.stop()

    def _loop(self, database: Database) -> None:
        ticks = self._ticks()
        while not self._stop.is_set():
            if self._reload.is_set():
                self._reload.clear()
                self._reload_now(database)
            self._turn(ticks)
            self._wake.wait(TURN)
            self._wake.clear()

    def _turn(self, ticks: Ticks) -> None:
        """One turn; an error costs this turn, never the daemon."""
        running = self._current()
        try:
            running.system.poller.tick()
            ticks.run()
        except Exception as error:
            log.error("turn_failed", **described(error))
        self._turned = time.monotonic()
        if running.is_sending():
            self._systemd.alive()

    def _ticks(self) -> Ticks:
        ticks = Ticks(self._clock)
        ticks.every(5, "age", self._age)
        ticks.every(2, "daily", self._start_daily_jobs)
        ticks.every(SIGN_OF_LIFE, "sign_of_life", self._note_turn)
        self._note_turn()
        return ticks

    def _age(self) -> None:
        self._current().system.delivery.age()

    def _start_daily_jobs(self) -> None:
        self._current().start_daily_jobs()

    def _note_turn(self) -> None:
        journal = self._current().system.journal
        fact = {"pid": os.getpid(), "version": __version__, "at": self._clock.now().isoformat()}
        journal.note_fact(DAEMON_FACT, json.dumps(fact))
        standing = len(journal.standing_alarms())
        plans = len(self._current().system.installation.plans)
        self._systemd.status(f"{plans} agencies polled, {standing} alarms standing (see: smsd status)")

    # signals

    def _install_signals(self) -> None:
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()
        self._wake.set()

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload.set()
        self._wake.set()

    # reload

    def _reload_now(self, database: Database) -> None:
        """Read the files again. Whatever is wrong leaves what runs as it is, with an alarm."""
        self._systemd.reloading()
        running = self._current()
        alarms = running.system.alarms
        try:
            installation = read_installation(self._config, self._environ, before=running.system.installation)
            self._replace(installation, database)
        except ConfigError as error:
            alarms.raise_alarm(
                "config",
                f"smsd.yaml is wrong and was not reloaded: {error.problems[0]}",
                hint="see every mistake with: smsd check; then: systemctl reload smsd",
            )
        except SmsdError as error:
            alarms.raise_alarm("config", f"the reload failed: {error.message}", hint=error.hint)
        else:
            self._current().system.alarms.clear("config")
            log.info("reloaded", agencies=len(installation.agencies), left_out=sorted(installation.problems))
        finally:
            self._systemd.ready()

    def _replace(self, installation: Installation, database: Database) -> None:
        old = self._current()
        if installation.settings.store != old.system.settings.store:
            log.warning("store_not_reloaded", hint="another store takes a restart: systemctl restart smsd")
        new = Running(System(installation, database, clock=self._clock))
        _ = new.system.gateway  # what cannot be built must show before the old one is stopped
        same_inbound = installation.settings.inbound == old.system.settings.inbound
        if self._inbound is not None and not same_inbound:
            self._inbound.close()
            self._inbound = None
        old.stop()
        self._running = new
        new.start()
        if self._inbound is not None:
            self._inbound.serve(new)
        else:
            self._inbound = Inbound.opened(new, self._alive)

    # state

    def _current(self) -> Running:
        if self._running is None:
            raise RuntimeError("the daemon has not started")
        return self._running

    def _alive(self) -> bool:
        running = self._running
        turned = time.monotonic() - self._turned < STALLED_AFTER
        return turned and running is not None and running.is_sending()


class Running:
    """The services of one configuration at work: the sending thread, and the daily jobs' thread while there is one."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._stop = threading.Event()
        self._sending = threading.Thread(target=self._send, name="delivery", daemon=True)
        self._daily: threading.Thread | None = None

    def start(self) -> None:
        """Take up what the last process left, then send."""
        self.system.take_part()
        left = self.system.delivery.recover()
        if left:
            log.warning("answers_lost", messages=left)
        self._sending.start()

    def stop(self) -> None:
        """Stop reading and sending, and wait for what is under way: about seven seconds at most."""
        self._stop.set()
        self.system.poller.stop(1.5)
        self.system.delivery.wake()
        if self._sending.is_alive():
            self._sending.join(6.0)
        self.system.lookups.close()

    def is_sending(self) -> bool:
        """Whether the sending thread is alive."""
        return self._sending.is_alive()

    def start_daily_jobs(self) -> None:
        """Run the daily jobs that are owed, beside the loop, once at a time."""
        if self._daily is None or not self._daily.is_alive():
            self._daily = threading.Thread(target=self._run_daily_jobs, name="daily", daemon=True)
            self._daily.start()

    def _send(self) -> None:
        self.system.delivery.run(self._stop.is_set)

    def _run_daily_jobs(self) -> None:
        for name, job in daily_jobs(self.system):
            if self._stop.is_set():
                return
            try:
                job()
            except Exception as error:
                log.error("daily_job_failed", job=name, **described(error))


def daily_jobs(system: System) -> Iterator[tuple[str, Callable[[], object]]]:
    """What may be owed each day, in the order in which it is run; each finds out by itself."""
    plans = system.installation.plans
    yield "missed_passes", lambda: system.missed_passes.tick(plans)
    yield "reconciliation", lambda: system.nightly.tick(plans, system.installation.report_agencies)
    yield "purge", system.upkeep.tick


class Inbound:
    """The listener, and the services its calls go to: those of the configuration now in force."""

    def __init__(self, running: Running, alive: Callable[[], bool], listen: str, secret: str) -> None:
        self._system = running.system
        self._parsers: dict[str, ReceiptParser] = {}
        self._secret = secret
        self.serve(running)
        app = create_app(
            receipts=self._parsers,
            sink=self,
            lookups=self,
            secret=secret,
            metrics=lambda: collect_metrics(
                self._system.views, self._system.journal, self._system.clock.now()
            ),
            alive=alive,
        )
        self._server = InboundServer(listen, app, app.extensions["smsd_inbound_calls"])
        self._server.start()

    @classmethod
    def opened(cls, running: Running, alive: Callable[[], bool]) -> Inbound | None:
        """The configured listener; None without an `inbound` section. Raises `ListenError`."""
        inbound = running.system.settings.inbound
        if inbound is None:
            return None
        return cls(running, alive, inbound.listen, inbound.secret.get_secret_value())

    def serve(self, running: Running) -> None:
        """Send calls to these services from now on."""
        self._system = running.system
        self._parsers.clear()
        self._parsers.update(receipt_parsers(running.system.settings.gateway, self._secret))

    def receive(self, receipt: Receipt) -> str:
        """Record a proven receipt."""
        return self._system.delivery.receive(receipt)

    def answer(self, request: LookupRequest) -> str:
        """The text to send back."""
        return self._system.lookups.answer(request)

    def close(self) -> None:
        """Stop listening."""
        self._server.close()


def run_daemon(config: Path, environ: Mapping[str, str]) -> int:
    """Serve until told to stop. Returns the exit status."""
    return Daemon(config, environ).run()


def run_once(config: Path, environ: Mapping[str, str], *, clock: Clock | None = None) -> int:
    """Poll every agency, run what is owed, send what is due, wait for nothing. Returns the exit status."""
    installation = read_installation(config, environ)
    database = open_database(installation.settings)
    system = System(installation, database, clock=clock)
    try:
        database.lock()
        system.take_part()
        system.delivery.recover()
        system.delivery.age()
        system.poller.poll_all_once()
        for _, job in daily_jobs(system):
            job()
        system.delivery.drain()
        system.close()
        return 1 if system.journal.standing_alarms() or _any_agency_failing(system) else 0
    finally:
        system.close()
        database.close()


def _any_agency_failing(system: System) -> bool:
    plans = system.installation.plans
    return any(record.error_code is not None for record in system.snapshots.agencies() if record.id in plans)
