"""Polling: which agency is read when, each read's deadline, what a failed read leaves behind.

Every read runs in a thread of its own and applies what it read itself, unless its deadline came first. A read that has
given nothing for a second does not count against `polling.workers`, so a hanging database never delays the others; a
driver that cannot be woken costs its thread, never a slot. Positions and messages are decided in `applying`.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from smsd.core.clock import Clock, local_day
from smsd.core.diff import Doubt
from smsd.core.errors import AgencyError, SmsdError
from smsd.core.outbox import LONGEST_READ_WAIT, backoff
from smsd.core.policy import AgencyPolicy
from smsd.services.applying import (
    Application,
    IncredibleRead,
    Orders,
    Overtaken,
    needs_baseline,
)
from smsd.services.making import APOLOGY_RUN, Applied
from smsd.services.passes import apology_window, pass_may_run
from smsd.services.ports import AgencyReader, Alarms, RunKey
from smsd.services.reading import Occasion, Reads
from smsd.services.reads import Job
from smsd.services.storage import RunBook, SnapshotStore
from smsd.services.timetable import Timetable

log = structlog.get_logger(__name__)

STALLED_AFTER = 1.0
"""Seconds without a row after which a read no longer holds a worker's slot."""
MOST_ABANDONED = 3
"""Reads of one agency whose drivers may hang at once; then it is left alone until one comes back."""
FAILURES_BEFORE_ALARM = 3
_NO_ROOM = (
    "what changed is laid aside in a temporary file: is there room in /tmp? It is tried again by itself"
)
_MENDED_BY_PEOPLE = frozenset(
    {"login_failed", "database_missing", "view_missing", "column_missing", "permission_denied", "incredible"}
)


@dataclass(frozen=True, slots=True)
class AgencyPlan:
    """What polling needs of one agency's configuration."""

    policy: AgencyPolicy
    source: str
    positions: str
    timeout: timedelta
    open_reader: Callable[[], AgencyReader]


class Poller:
    """Reads every agency once an interval and applies what it read."""

    def __init__(
        self,
        store: SnapshotStore,
        runs: RunBook,
        alarms: Alarms,
        clock: Clock,
        *,
        workers: int = 8,
        monotonic: Callable[[], float] = time.monotonic,
        on_messages: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._runs = runs
        self._alarms = alarms
        self._clock = clock
        self._monotonic = monotonic
        self._on_messages = on_messages
        self.workers = workers
        self._plans: dict[str, AgencyPlan] = {}
        self._times = Timetable({})
        self._attempted: dict[str, datetime] = {}
        self._readers: dict[str, AgencyReader] = {}
        self._jobs: dict[str, Job] = {}
        self._abandoned: list[Job] = []
        self._reads = Reads(store)
        self._lock = threading.RLock()

    def use(self, plans: Mapping[str, AgencyPlan]) -> None:
        """Take a (re)loaded configuration; agencies in `off` are not to be among the plans.

        Reads under way were begun by the old one and are dropped, but for one that is just being applied.
        """
        with self._lock:
            for job in list(self._jobs.values()):
                if job.settle(give_up=True):
                    self._abandon(job)
            for agency in list(self._readers):
                reader = self._readers.pop(agency)
                if agency not in self._jobs:  # else its thread closes it
                    reader.close()
            self._plans = dict(plans)
            self._times = Timetable({agency: plan.policy.interval for agency, plan in plans.items()})

    # the daemon's way: threads and deadlines

    def tick(self) -> None:
        """Give up reads past their deadline, start those that are due."""
        now = self._clock.now()
        with self._lock:
            self._reap()
            self._times.begin(now, self._last_attempt)
            for agency in self._due(now):
                if self._active() >= self.workers:
                    break
                self._start(agency, now)

    def busy(self) -> bool:
        """Whether any read is under way."""
        with self._lock:
            return bool(self._jobs)

    def poll_all_once(self) -> None:
        """Start every agency's read, one each, and wait for all; for `run --once`."""
        with self._lock:
            waiting = list(self._plans)
        while waiting or self.busy():
            with self._lock:
                self._reap()
                while waiting and self._active() < self.workers:
                    self._start(waiting.pop(0), self._clock.now())
            self._wait_for_some()

    def stop(self, seconds: float) -> None:
        """Cancel what is under way and wait a little for it; nothing is applied half."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.settle(give_up=True)
            job.reader.cancel()
        until = self._monotonic() + seconds
        for job in jobs:
            if job.thread is not None:
                job.thread.join(max(0.0, until - self._monotonic()))
        hanging = {id(job.reader) for job in jobs if job.thread is not None and job.thread.is_alive()}
        with self._lock:
            readers, self._readers = self._readers, {}
        for reader in readers.values():
            if id(reader) not in hanging:  # else its thread closes it, if it ever comes back
                reader.close()

    def _wait_for_some(self) -> None:
        with self._lock:
            threads = [job.thread for job in self._jobs.values() if job.thread is not None]
        if threads:
            threads[0].join(0.02)

    def _due(self, now: datetime) -> list[str]:
        due = []
        for agency, plan in self._plans.items():
            if agency in self._jobs or self._hanging(agency) >= MOST_ABANDONED:
                continue
            if self._times.is_due(agency, now) or self._pass_waits(plan, now):
                due.append(agency)
        return sorted(due, key=self._times.due_since)

    def _last_attempt(self, agency: str) -> datetime | None:
        record = self._store.agency(agency)
        return record.attempted_at if record is not None else None

    def _hanging(self, agency: str) -> int:
        return sum(1 for job in self._abandoned if job.agency == agency)

    def _active(self) -> int:
        now = self._monotonic()
        return sum(1 for job in self._jobs.values() if now - max(job.started, job.progress) < STALLED_AFTER)

    def _start(self, agency: str, now: datetime) -> None:
        plan = self._plans[agency]
        started = self._monotonic()
        self._attempted[agency] = now
        self._times.follow(agency, now)
        try:
            reader = self._readers.get(agency) or plan.open_reader()
        except AgencyError as error:
            self._failed(plan, error, now)
            return
        self._readers[agency] = reader
        job = Job(agency, started, reader, started + plan.timeout.total_seconds())
        job.thread = threading.Thread(target=self._run, args=(job, plan), name=f"poll-{agency}", daemon=True)
        self._jobs[agency] = job
        job.thread.start()

    def _run(self, job: Job, plan: AgencyPlan) -> None:
        try:
            self._attempt(plan, job.reader, job)
        finally:
            with self._lock:
                if self._jobs.get(job.agency) is job:
                    del self._jobs[job.agency]
                if job in self._abandoned:
                    self._abandoned.remove(job)
                if self._readers.get(job.agency) is not job.reader:
                    job.reader.close()

    def _attempt(self, plan: AgencyPlan, reader: AgencyReader, job: Job) -> None:
        """One read with everything that can go wrong in it written down; never raises."""
        started_at = self._clock.now()
        try:
            self.poll(plan, self._orders(plan, started_at), reader, job=job)
        except Overtaken:
            log.info("read_overtaken", agency=job.agency)
        except AgencyError as error:
            if job.is_mine():
                self._failed(plan, error, started_at)
        except SmsdError as error:
            log.error("poll_failed", agency=job.agency, code=error.code, error=error.message)
        except OSError as error:  # of what changed a part is laid aside in a file
            if job.is_mine():
                said = f"the read broke off: {error.strerror or type(error).__name__}"
                self._failed(plan, AgencyError(said, code="read_failed", hint=_NO_ROOM), started_at)
        except Exception as error:
            log.exception("poll_crashed", agency=job.agency)
            if job.is_mine():
                fault = AgencyError(f"the read broke off: {type(error).__name__}", code="read_failed")
                self._failed(plan, fault, started_at)

    def _reap(self) -> None:
        """Take overdue jobs from their threads."""
        now = self._monotonic()
        for agency, job in list(self._jobs.items()):
            if now < job.deadline or not job.settle(give_up=True):
                continue
            self._abandon(job)
            plan = self._plans.get(agency)
            if plan is not None:
                seconds = plan.timeout.total_seconds()
                error = AgencyError(
                    f"the read was not over within {seconds:g} s",
                    code="timeout",
                    hint="look for locks and load in the agency's database, or raise timeout in its file",
                )
                self._failed(plan, error, self._attempted[agency])

    def _abandon(self, job: Job) -> None:
        """Leave a read to its thread, which closes its reader when it comes back."""
        del self._jobs[job.agency]
        self._abandoned.append(job)
        self._readers.pop(job.agency, None)
        job.reader.cancel()

    # one read

    def poll(
        self,
        plan: AgencyPlan,
        orders: Orders,
        reader: AgencyReader,
        *,
        dry_run: bool = False,
        job: Job | None = None,
    ) -> Applied:
        """Read one agency and apply it, in this thread. Raises `AgencyError`, `Overtaken`; then nothing changed."""
        agency = plan.policy.id
        started_at = self._clock.now()
        record = self._store.agency(agency)
        occasion = Occasion(
            plan.policy,
            record,
            started_at,
            full=orders.accept or needs_baseline(record, orders),
            apology_day=orders.apology_day,
            on_block=(lambda: job.goes_on(self._monotonic())) if job is not None else (lambda: None),
        )
        with self._reads.read(reader, occasion) as snapshot:
            if job is not None and not job.settle():
                raise AgencyError("the read was given up", code="timeout")
            known_good_at = record.last_good_at if record is not None else None
            try:
                with self._store.transaction(agency) as tx:
                    now = self._clock.now()
                    if not dry_run and not pass_may_run(tx, orders, now):
                        orders = replace(orders, apology_day=None)
                    application = Application(tx, snapshot, orders, now, uuid.uuid4().hex)
                    applied = application.run(known_good_at)
                    if dry_run:
                        raise _Undo(applied)
            except _Undo as undone:
                return undone.applied
            self._reads.applied(agency, snapshot, application.forgotten, application.learnt)
        self._succeeded(plan, applied, started_at)
        return applied

    def _succeeded(self, plan: AgencyPlan, applied: Applied, started_at: datetime) -> None:
        agency = plan.policy.id
        self._times.follow(agency, started_at)
        self._alarms.clear(f"agency:{agency}")
        if applied.baseline:
            log.info("baseline_taken", agency=agency, rows=applied.rows)
        if applied.found_by_sweep:
            log.warning("found_by_sweep", agency=agency, changes=applied.found_by_sweep)
        if applied.bad_rows != applied.bad_rows_before:  # each row is listed in the exceptions
            log.warning("bad_rows", agency=agency, rows=applied.bad_rows, before=applied.bad_rows_before)
        if not applied.still_held:
            self._alarms.clear(f"held:{agency}")
        if applied.held:
            self._alarms.raise_alarm(
                f"held:{agency}",
                f"{applied.held} new messages of {agency} at once were held",
                hint=f"look at the agency's data, then: smsd held release {agency}, or smsd held discard {agency}",
            )
        if applied.changed or applied.made or applied.superseded or applied.absent:
            log.info(
                "read_applied",
                agency=agency,
                kind=applied.kind.value,
                rows=applied.rows,
                changed=applied.changed,
                transitions=applied.transitions,
                made=applied.made,
                suppressed=applied.suppressed,
                superseded=applied.superseded,
                absent=applied.absent,
            )
        if applied.made:
            self._on_messages()

    def _failed(self, plan: AgencyPlan, error: AgencyError, started_at: datetime) -> None:
        """Write the fault down and put the next read off; the last good state stays."""
        agency, now = plan.policy.id, self._clock.now()
        try:
            failures = note_failure(self._store, plan.policy, error, started_at, now)
        except SmsdError as store_error:
            log.error("store_failed", error=store_error.message)
            return
        self._times.put_off(agency, now, backoff(failures, plan.policy.interval, LONGEST_READ_WAIT))
        log.warning("read_failed", agency=agency, code=error.code, error=error.message, failures=failures)
        if error.code in _MENDED_BY_PEOPLE or failures >= FAILURES_BEFORE_ALARM:
            self._alarms.raise_alarm(f"agency:{agency}", f"{agency}: {error.message}", hint=error.hint)

    # the apology pass rides on a read

    def _orders(self, plan: AgencyPlan, now: datetime) -> Orders:
        orders = Orders(plan.policy, plan.source, plan.positions)
        if self._pass_is_owed(plan.policy, now):
            orders = replace(orders, apology_day=local_day(now, plan.policy.zone))
        return orders

    def orders(self, agency: str) -> Orders:
        """What the next read of an agency is to do, as of now."""
        return self._orders(self._plans[agency], self._clock.now())

    def _pass_is_owed(self, policy: AgencyPolicy, now: datetime) -> bool:
        window = apology_window(policy, now)
        if window is None or not window[0] <= now < window[1]:
            return False
        return not self._runs.run(RunKey(APOLOGY_RUN, policy.id, local_day(now, policy.zone))).over

    def _pass_waits(self, plan: AgencyPlan, now: datetime) -> bool:
        """Whether the pass's time has come since the last attempt, so that the read is due at once."""
        window = apology_window(plan.policy, now)
        if window is None or not window[0] <= now < window[1]:
            return False
        attempted = self._attempted.get(plan.policy.id)
        return (attempted is None or attempted < window[0]) and self._pass_is_owed(plan.policy, now)


class _Undo(Exception):  # noqa: N818 - carries a dry run's result out of its transaction
    def __init__(self, applied: Applied) -> None:
        self.applied = applied


def note_failure(
    store: SnapshotStore, policy: AgencyPolicy, error: AgencyError, started_at: datetime, now: datetime
) -> int:
    """Write a failed read into the agency's record; returns how many have failed in a row."""
    with store.transaction(policy.id) as tx:
        record = tx.agency()
        failures = (record.failures if record is not None else 0) + 1
        low_since = record.low_since if record is not None else None
        if isinstance(error, IncredibleRead):
            low_since = (low_since or now) if error.doubt is Doubt.HALVED else None
        tx.save_agency(
            mode=policy.mode if record is None else record.mode,
            interval=policy.interval,
            attempted_at=started_at,
            failures=failures,
            next_attempt_at=now + backoff(failures, policy.interval, LONGEST_READ_WAIT),
            error_code=error.code,
            error=str(error),
            error_since=(record.error_since if record is not None else None) or now,
            low_since=low_since,
        )
        return failures
