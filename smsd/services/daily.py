"""Daily jobs: apology passes that were missed, and the nightly reconciliation.

A job of a day is owed until its row says that it is over, so a restart, a late start or a night without power needs no
special case. The apology pass itself rides on a read (`polling`); here is what becomes of one nobody could run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time, timedelta, tzinfo

import structlog

from smsd.core.clock import Clock, at_time, local_day
from smsd.core.errors import AgencyError
from smsd.core.figures import ReportAgency
from smsd.core.model import APOLOGY, Mode
from smsd.core.outbox import LONGEST_READ_WAIT, backoff
from smsd.services.deadlines import within
from smsd.services.making import APOLOGY_RUN, LATE_BASELINE
from smsd.services.polling import AgencyPlan
from smsd.services.ports import Alarms, RunKey
from smsd.services.reporting import ReportPaths, ReportService
from smsd.services.silence import list_unapologised
from smsd.services.storage import RunBook, SnapshotStore

log = structlog.get_logger(__name__)

PROVISIONAL_RUN = "reconciliation"
FINAL_RUN = "reconciliation_final"
COUNT_RUN = "count"
ALL_AGENCIES = "*"
FINAL_AT = time(0, 5)
COUNTS_WAITED_FOR_UNTIL = time(6, 0)
DAYS_BACK = 7
"""How many days that passed without a daemon are still reported on."""
_FIRST_WAIT = timedelta(minutes=1)


class MissedPasses:
    """Lists the dossiers of apology passes that nobody could run by `until`."""

    def __init__(self, snapshots: SnapshotStore, runs: RunBook, clock: Clock) -> None:
        self._snapshots = snapshots
        self._runs = runs
        self._clock = clock

    def tick(self, plans: Mapping[str, AgencyPlan]) -> None:
        """Close every pass whose time is over."""
        now = self._clock.now()
        for agency, plan in plans.items():
            for day in self._days(plan, now):
                key = RunKey(APOLOGY_RUN, agency, day)
                if not self._runs.run(key).over:
                    self._close(plan, key, now)

    def _days(self, plan: AgencyPlan, now: datetime) -> Iterator[date]:
        notice, zone = plan.policy.notices.get(APOLOGY), plan.policy.zone
        if notice is None or notice.until is None or plan.policy.mode is Mode.OFF:
            return
        record = self._snapshots.agency(plan.policy.id)
        if record is None or record.baseline_at is None:
            return
        today = local_day(now, zone)
        first = max(local_day(record.baseline_at, zone), today - timedelta(days=DAYS_BACK))
        last_over = self._runs.last_run_day(APOLOGY_RUN, plan.policy.id, until=today)
        if last_over is not None:
            first = max(first, last_over + timedelta(days=1))
        for day in _days_from(first, today):
            if now >= at_time(day, notice.until, zone):
                yield day

    def _close(self, plan: AgencyPlan, key: RunKey, now: datetime) -> None:
        notice, zone = plan.policy.notices[APOLOGY], plan.policy.zone
        with self._snapshots.transaction(plan.policy.id) as tx:
            record = tx.agency()
            if notice.at is None or record is None or record.baseline_at is None:
                return
            if tx.run_is_over(key.name, key.day):
                return  # the pass was just being applied
            if not plan.policy.apology:
                tx.finish_run(key.name, key.day, "skipped", now, "the agency sends no apologies")
                return
            if record.baseline_at >= at_time(key.day, notice.at, zone):
                tx.finish_run(key.name, key.day, "skipped", now, LATE_BASELINE)
                return
            count = list_unapologised(tx, plan.policy, key.day, now)
            tx.finish_run(key.name, key.day, "missed", now, f"{count} without an apology")
        log.warning("apology_pass_missed", agency=plan.policy.id, day=key.day.isoformat(), dossiers=count)


def _days_from(first: date, last: date) -> Iterator[date]:
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        yield date.fromordinal(ordinal)


class NightlyReports:
    """Asks the agencies' databases and writes the reconciliation: provisional at night, final after midnight."""

    def __init__(
        self,
        reports: ReportService,
        runs: RunBook,
        alarms: Alarms,
        clock: Clock,
        *,
        zone: tzinfo,
        at: time,
        workers: int = 8,
    ) -> None:
        self._reports = reports
        self._runs = runs
        self._alarms = alarms
        self._clock = clock
        self._zone = zone
        self._at = at
        self._workers = workers

    def tick(self, plans: Mapping[str, AgencyPlan], agencies: Sequence[ReportAgency]) -> list[ReportPaths]:
        """Run what is owed now; returns what was written. Takes as long as the agencies' databases do."""
        now = self._clock.now()
        written = [self._final(day, plans, agencies) for day in self._days_to_finish(now)]
        today = local_day(now, self._zone)
        key = RunKey(PROVISIONAL_RUN, ALL_AGENCIES, today)
        if now >= at_time(today, self._at, self._zone) and self._is_owed(key, now):
            written.append(self._provisional(key, plans, agencies))
        return [paths for paths in written if paths is not None]

    def _days_to_finish(self, now: datetime) -> list[date]:
        today = local_day(now, self._zone)
        first = max(local_day(self._runs.began(now), self._zone), today - timedelta(days=DAYS_BACK))
        last_over = self._runs.last_run_day(FINAL_RUN, ALL_AGENCIES, until=today)
        if last_over is not None:
            first = max(first, last_over + timedelta(days=1))
        days = []
        for day in _days_from(first, today - timedelta(days=1)):
            if now >= self._final_at(day) and self._is_owed(RunKey(FINAL_RUN, ALL_AGENCIES, day), now):
                days.append(day)
        return days

    def _is_owed(self, key: RunKey, now: datetime) -> bool:
        """Whether a job is to be done now. One put off further than jobs are: the clock was set back since."""
        run = self._runs.run(key)
        waits = run.next_attempt_at is not None and now < run.next_attempt_at <= now + LONGEST_READ_WAIT
        return not run.over and not waits

    def _put_off(self, key: RunKey, detail: str) -> None:
        attempts = self._runs.run(key).attempts + 1
        wait = backoff(attempts, _FIRST_WAIT, LONGEST_READ_WAIT)
        self._runs.put_off_run(key, attempts, self._clock.now() + wait, detail)

    def _final_at(self, day: date) -> datetime:
        return at_time(day + timedelta(days=1), FINAL_AT, self._zone)

    def _provisional(
        self, key: RunKey, plans: Mapping[str, AgencyPlan], agencies: Sequence[ReportAgency]
    ) -> ReportPaths | None:
        self.count(key.day, plans)
        paths = self._write(key.day, agencies, provisional=True)
        if paths is not None:
            self._runs.finish_run(key, "done", self._clock.now())
        else:
            self._put_off(key, "the files cannot be written")
        return paths

    def _final(
        self, day: date, plans: Mapping[str, AgencyPlan], agencies: Sequence[ReportAgency]
    ) -> ReportPaths | None:
        """Count whoever was not counted yet, write; over when all were, or when it is too late to wait for more."""
        key = RunKey(FINAL_RUN, ALL_AGENCIES, day)
        waiting = {
            agency: plan
            for agency, plan in plans.items()
            if not self._runs.run(RunKey(COUNT_RUN, agency, day)).over
        }
        silent = self.count(day, waiting)
        now = self._clock.now()
        for agency in waiting.keys() - silent.keys():
            self._runs.finish_run(RunKey(COUNT_RUN, agency, day), "done", now)
        paths = self._write(day, agencies)
        too_late = now >= at_time(day + timedelta(days=1), COUNTS_WAITED_FOR_UNTIL, self._zone)
        ready = paths is not None and (not silent or too_late)
        detail = f"not asked: {', '.join(sorted(silent))}" if silent else None
        if ready and self._rewrite_changed(day, agencies):
            self._runs.finish_run(key, "done", now, detail)
        else:
            self._put_off(key, detail or "the files cannot be written")
        return paths

    def _rewrite_changed(self, day: date, agencies: Sequence[ReportAgency]) -> bool:
        """Earlier days change only by late receipts: write those again. Returns whether all could be written.

        Before the day's run is over, for nothing would look at them again after a crash.
        """
        began = self._runs.began(self._clock.now())
        since = max(began, at_time(day, FINAL_AT, self._zone))
        changed = [earlier for earlier in self._reports.changed_days(since) if earlier < day]
        return all(self._write(earlier, agencies) is not None for earlier in changed)

    def _write(
        self, day: date, agencies: Sequence[ReportAgency], *, provisional: bool = False
    ) -> ReportPaths | None:
        try:
            paths = self._reports.write(day, agencies=agencies, provisional=provisional)
        except OSError as error:
            self._alarms.raise_alarm(
                "reports",
                f"the reports of {day} cannot be written: {error.strerror or error}",
                hint="check the folder reconciliation.directory and the disk; it is tried again by itself",
            )
            return None
        self._alarms.clear("reports")
        log.info("report_written", day=day.isoformat(), folder=str(paths.folder), provisional=provisional)
        return paths

    def count(self, day: date, plans: Mapping[str, AgencyPlan]) -> dict[str, AgencyError]:
        """Ask each agency's own database about a day, side by side; returns those that could not be asked, with why."""
        failed: dict[str, AgencyError] = {}
        if not plans:
            return failed
        with ThreadPoolExecutor(max_workers=min(self._workers, len(plans))) as pool:
            for agency, error in pool.map(lambda item: self._count_one(day, *item), plans.items()):
                if error is not None:
                    failed[agency] = error
                    log.warning(
                        "count_failed",
                        agency=agency,
                        day=day.isoformat(),
                        code=error.code,
                        error=error.message,
                    )
        return failed

    def _count_one(self, day: date, agency: str, plan: AgencyPlan) -> tuple[str, AgencyError | None]:
        try:
            reader = plan.open_reader()

            def work() -> None:
                try:
                    self._reports.count_agency(agency, reader, day)
                finally:
                    reader.close()  # here, for closing a hanging reader may hang too

            within(plan.timeout.total_seconds(), work, reader.cancel)
        except AgencyError as error:
            return agency, error
        return agency, None
