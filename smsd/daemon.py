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
from collections.abc import Mapping
from types import FrameType

import structlog

from smsd import __version__, storewatch
from smsd.adapters.memory import keep_what_started, limit_arenas
from smsd.adapters.store.engine import Database
from smsd.adapters.store.setclock import SetClockStore
from smsd.adapters.systemd import Systemd
from smsd.core.clock import Clock, SystemClock
from smsd.core.errors import ConfigError, SmsdError, StoreError, described
from smsd.daemon_fact import DAEMON_FACT, SIGN_OF_LIFE
from smsd.inbound import Inbound
from smsd.installation import Installation, read_installation
from smsd.running import Running, daily_jobs
from smsd.services.clockwatch import ClockWatch, require_believable
from smsd.ticks import Ticks
from smsd.wiring import System, open_database

log = structlog.get_logger(__name__)

TURN = 0.2
"""Seconds from one turn of the loop to the next."""
STALLED_AFTER = 60.0
"""Seconds without a turn after which the daemon says that it is not alive."""
_CLAIM_EVERY = 5.0
"""Seconds from one look at the claim on the store to the next, for the daemon that has it and for those that wait."""
_LOOK = 0.5
_STOP_WITHIN = 9.0
"""Seconds a stop may take; what is under way then is as after a power failure, and taken up by the next start."""
_RATE_PAUSE = 1.1
"""Seconds between the last message of the old configuration and the first of the new one, where there is a `rate`."""
_RETRY = "mend the file, then: systemctl reload smsd"


class Daemon:
    """smsd as a service. `run` returns the exit status."""

    def __init__(
        self,
        installation: Installation,
        environ: Mapping[str, str],
        *,
        clock: Clock | None = None,
        systemd: Systemd | None = None,
    ) -> None:
        self._installation = installation
        self._environ = environ
        self._clock = clock or SystemClock()
        self._systemd = systemd or Systemd()
        self._stop = threading.Event()
        self._reload = threading.Event()
        self._wake = threading.Event()
        self._turned = self._claim_seen = time.monotonic()
        self._running: Running | None = None
        self._watch: ClockWatch | None = None
        self._inbound: Inbound | None = None

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT. Raises `StoreError` or `ListenError` when it cannot start.

        The loop has a thread of its own, so that a signal is heard at once while another program holds the store.
        """
        limit_arenas()
        self._install_signals()
        broke_off: list[BaseException] = []
        life = threading.Thread(target=self._live, args=(broke_off,), name="loop", daemon=True)
        life.start()
        while life.is_alive() and not self._stop.is_set():
            life.join(_LOOK)
            if self._running is not None:  # from here, for the loop waits for a store that is held
                storewatch.look(self._running.system, self._systemd)
        life.join(_STOP_WITHIN)
        if life.is_alive():
            log.warning(
                "stopped_while_busy", reason="the state store did not answer; nothing was left half done"
            )
        elif broke_off:
            raise broke_off[0]
        log.info("stopped")
        return 0

    def _live(self, broke_off: list[BaseException]) -> None:
        try:
            database = open_database(self._installation.settings, check=True)
            try:
                if self._claim(database):
                    database.checkpoint_aside()
                    self._serve(database)
            finally:
                database.close()
        except BaseException as error:
            broke_off.append(error)

    def _claim(self, database: Database) -> bool:
        """Make the store this daemon's own. False: told to stop before it was.

        A store on a database server may be shared by several hosts: there one daemon works, and the others stand by
        until it is gone.
        """
        standing_by = False
        while not self._stop.is_set():
            try:
                database.lock()
            except StoreError as error:
                if error.code != "store_in_use" or database.is_sqlite:
                    raise
            else:
                return True
            if not standing_by:
                standing_by = True
                log.info("standing_by", reason="a daemon on another host works on this store")
                self._systemd.ready()
                self._systemd.status("standing by: another host's daemon works on the state store")
            self._systemd.alive()
            self._stop.wait(_CLAIM_EVERY)
        return False

    def _serve(self, database: Database) -> None:
        installation = self._installation
        system = System(installation, database, clock=self._clock)
        log.info(
            "started",
            version=__version__,
            config=str(installation.path),
            gateways=[gateway.name for gateway in system.gateways],
            agencies=len(installation.agencies),
            left_out=sorted(installation.problems),
        )
        self._running = Running(system)
        self._watch = ClockWatch(self._clock, SetClockStore(database), lambda: self._current().system.alarms)
        try:
            if self._watch.believed():
                self._running.start()
            self._inbound = Inbound.opened(system, self._alive)
            keep_what_started()
            self._systemd.ready()
            self._loop(database)
        finally:
            self._systemd.stopping()
            self._running.begin_stop()
            if database.end is not None:
                storewatch.give_up(self._running.system, database.end)
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
            if database.end is not None:
                raise database.end
            self._hold_claim(database)
            self._wake.wait(TURN)
            self._wake.clear()

    def _hold_claim(self, database: Database) -> None:
        """End when the claim on the store is lost (its server restarted): another host may have taken it."""
        if time.monotonic() - self._claim_seen < _CLAIM_EVERY:
            return
        if not database.still_locked():
            raise StoreError(
                "the claim on the state store is lost",
                code="claim_lost",
                hint="its database server restarted; systemd starts smsd again",
            )
        self._claim_seen = time.monotonic()

    def _turn(self, ticks: Ticks) -> None:
        """One turn; an error costs this turn, never the daemon."""
        running = self._current()
        try:
            if self._may_work():
                if not running.is_started():  # the clock was in doubt, or the store failed just then
                    running.start()
                running.system.poller.tick()
            ticks.run()
        except Exception as error:
            log.error("turn_failed", **described(error))
        self._turned = time.monotonic()
        if self._is_at_work(running):
            self._systemd.alive()

    def _may_work(self) -> bool:
        return self._watch is None or self._watch.believed()

    def _is_at_work(self, running: Running) -> bool:
        """Whether it sends, or has a reason not to."""
        return running.is_sending() or (self._watch is not None and self._watch.in_doubt)

    def _ticks(self) -> Ticks:
        ticks = Ticks(self._clock)
        ticks.every(5, "age", self._age)
        ticks.every(2, "daily", self._start_daily_jobs)
        ticks.every(SIGN_OF_LIFE, "listen", self._listen)
        ticks.every(SIGN_OF_LIFE, "sign_of_life", self._note_turn)
        self._note_turn()
        return ticks

    def _age(self) -> None:
        if self._may_work():
            self._current().system.delivery.age()

    def _start_daily_jobs(self) -> None:
        if self._may_work():
            self._current().start_daily_jobs()

    def _note_turn(self) -> None:
        if self._watch is not None:
            self._watch.note()
        self._current().system.alarms.refresh()
        journal = self._current().system.journal
        fact = {"pid": os.getpid(), "version": __version__, "at": self._clock.now().isoformat()}
        journal.note_fact(DAEMON_FACT, json.dumps(fact))
        standing = len(journal.standing_alarms())
        plans = len(self._current().system.installation.plans)
        waits = self._watch is not None and self._watch.in_doubt
        doing = "waits for the clock to be set" if waits else f"{plans} agencies polled"
        self._systemd.status(f"{doing}, {standing} alarms standing (see: smsd status)")

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
        try:
            wrong = self._try_reload(database)
            alarms = self._current().system.alarms
            if wrong is None:
                alarms.clear("config")
            else:
                alarms.raise_alarm("config", wrong[0], hint=wrong[1])
                log.warning("not_reloaded", error=wrong[0])
        except Exception as error:
            log.error("reload_failed", **described(error))
        finally:
            self._systemd.ready()

    def _try_reload(self, database: Database) -> tuple[str, str] | None:
        """What hindered the reload, and how to mend it; None once the files are in force."""
        try:
            before = self._current().system.installation
            installation = read_installation(before.path, self._environ, before=before)
            self._replace(installation, database)
        except ConfigError as error:
            more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
            return f"smsd.yaml is wrong and was not reloaded: {error.problems[0]}{more}", (
                "see every mistake with: smsd check; then: systemctl reload smsd"
            )
        except SmsdError as error:
            return f"the reload failed: {error.message}", error.hint
        except OSError as error:
            return f"the reload failed: {error.strerror or error}: {error.filename}", _RETRY
        except Exception as error:
            said = described(error)
            return f"the reload failed: {said['error']} at {said['where']}: {said['detail']}", _RETRY
        log.info("reloaded", agencies=len(installation.agencies), left_out=sorted(installation.problems))
        return None

    def _replace(self, installation: Installation, database: Database) -> None:
        """Put new services in the place of the old. What can fail comes before the old ones are stopped."""
        old = self._current()
        new = Running(System(installation, database, clock=self._clock))
        _ = new.system.gateways
        self._listen_for(new.system, old.system)
        old.stop()
        if any(gateway.rate is not None for gateway in installation.settings.gateway):
            self._stop.wait(_RATE_PAUSE)  # the new link knows nothing of the old one's last second
        self._running = new
        if self._may_work():
            new.start()
        if installation.settings.store != self._installation.settings.store:
            new.system.alarms.raise_alarm(
                "store",
                "smsd.yaml names another state store; the daemon goes on with the one it was started on",
                hint="systemctl restart smsd (commands look at the new one already)",
            )
        self._listen()

    def _listen_for(self, new: System, old: System) -> None:
        """Let the listener serve the new services; another address is opened before the old one is closed."""
        before, now = old.settings.inbound, new.settings.inbound
        listener = self._inbound
        if listener is not None and now == before:
            listener.serve(new)
            return
        if before is not None and now is not None and now.listen == before.listen:
            self._inbound = None  # opened again for the new services once they are at work
        else:
            self._inbound = Inbound.opened(new, self._alive)
        if listener is not None:
            listener.close()

    def _listen(self) -> None:
        """Open the configured listener if it is not open: its address may have been taken for a while."""
        if self._inbound is None:
            self._inbound = Inbound.opened(self._current().system, self._alive)

    # state

    def _current(self) -> Running:
        if self._running is None:
            raise RuntimeError("the daemon has not started")
        return self._running

    def _alive(self) -> bool:
        running = self._running
        turned = time.monotonic() - self._turned < STALLED_AFTER
        return turned and running is not None and self._is_at_work(running)


def run_daemon(installation: Installation, environ: Mapping[str, str]) -> int:
    """Serve until told to stop. Returns the exit status."""
    return Daemon(installation, environ).run()


def run_once(installation: Installation, *, clock: Clock | None = None) -> int:
    """Poll every agency, run what is owed, send what is due, wait for nothing. Returns the exit status."""
    database = open_database(installation.settings, check=True)
    system = System(installation, database, clock=clock)
    try:
        require_believable(system.clock)
        database.lock()
        notes = SetClockStore(database)
        notes.bring_back(system.clock.now())
        notes.note_seen(system.clock.now())
        system.take_part()
        system.delivery.recover()
        for receipts in system.receipt_pollers:
            receipts.turn()
        system.delivery.age()
        system.poller.poll_all_once()
        for _, job in daily_jobs(system):
            job()
        system.delivery.drain()
        troubled = system.delivery.in_trouble
        system.close()
        return 1 if troubled or system.journal.standing_alarms() or _any_agency_failing(system) else 0
    finally:
        system.close()
        database.close()


def _any_agency_failing(system: System) -> bool:
    plans = system.installation.plans
    return any(record.error_code is not None for record in system.snapshots.agencies() if record.id in plans)
