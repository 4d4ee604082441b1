"""What may happen in the life of the office: each deed is done to smsd and told to the ledger, then all is examined."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from functools import partial
from pathlib import Path

import structlog

from smsd.core.errors import AgencyError
from smsd.core.model import Mode, Receipt, ReceiptVerdict, Verdict
from smsd.services.ports import LookupRequest
from tests.stateful.judge import Judge, Tally
from tests.stateful.ledger import PHONES, WORKING, Book, Row
from tests.stateful.network import Fuse, Network, ProcessEnds
from tests.stateful.office import Office, Settings, local_day
from tests.support.builders import ZONE

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LARGE, SMALL = "large", "small"
GOOD_NUMBER = "0905123456"
_FILLERS = {LARGE: 20, SMALL: 2}
"""Dossiers that nothing ever happens to: with twenty, a read of half of them is incredible."""


class Life:
    """One run. ``end`` has to be called whatever happened."""

    def __init__(self, tally: Tally, *, repeats_safely: bool) -> None:
        self.tally = tally
        self._quiet = ExitStack()
        self._logs = self._quiet.enter_context(structlog.testing.capture_logs())
        self._folder = Path(tempfile.mkdtemp(prefix="smsd-any-order-", dir=_fast_folder()))
        self.fuse = Fuse()
        self.network = Network(repeats_safely, self.fuse)
        configured = {LARGE: Settings(), SMALL: Settings(skip_same_day=True)}
        self.office = Office(self._folder, configured, self.network)
        self.books = {agency: Book(agency) for agency in configured}
        self.judge = Judge(self.office, self.network, self.books, tally)
        self.network.witness = self.judge.witness
        self.office.brought_back = self._brought_back
        self.office.took_part = self._took_part
        self._answers: dict[str, str] = {}
        for agency, number in _FILLERS.items():
            codes = [*(f"Q{n}" for n in range(number)), "H1", "H2"]
            self.office.views[agency].rows = [self.a_row(code) for code in codes]
        self.office.journal.began(self.now)
        self.turn()

    @property
    def now(self) -> datetime:
        return self.office.clock.now()

    def _brought_back(self, now: datetime) -> None:
        for book in self.books.values():
            book.brought_back(now)

    def _took_part(self) -> None:
        for agency, own in self.office.settings.items():
            if own.mode is Mode.OFF:
                self.books[agency].leaves()

    # the agencies' views

    def a_row(self, code: str | None) -> Row:
        return {
            "dossier_code": code,
            "phone": GOOD_NUMBER,
            "step": WORKING,
            "status": "Đang xử lý",
            "procedure_code": "1.001",
            "procedure_name": "Đăng ký khai sinh",
            "received_at": self.now - 5 * DAY,
            "due_at": self.now + 5 * DAY,
            "resolved_at": None,
        }

    def edit(self, agency: str, code: str, **changes: object) -> None:
        """A clerk changes a row; one that is not there is made."""
        view = self.office.views[agency]
        if not any(row["dossier_code"] == code for row in view.rows):
            view.insert([self.a_row(code)])
        view.update(code, **changes)

    def step_of(self, agency: str, code: str) -> object:
        rows = self.office.views[agency].rows
        return next((row["step"] for row in rows if row["dossier_code"] == code), None)

    # the daemon

    def after(self, minutes: int) -> None:
        """The daemon turns so many minutes later; 0: not yet."""
        if minutes:
            self.office.forward(minutes * MINUTE)
            self.turn()

    def turn(self) -> None:
        for agency in self.office.settings:
            self.read(agency)
        self.do(self.office.age)
        self.do(self.office.send)
        self.do(self.office.watch.note)

    def do(self, job: Callable[[], object]) -> None:
        """Something that may be the last thing the process does."""
        try:
            job()
        except ProcessEnds:
            self.restart()
        self.judge.look()

    def restart(self) -> None:
        """smsd is gone, and starts anew; it may end again while it starts."""
        while True:
            self.tally.restarts += 1
            try:
                self.office.start()
            except ProcessEnds:
                continue
            break
        self.judge.look()

    def reload(self, agency: str, **changes: object) -> None:
        after = replace(self.office.settings[agency], **changes)  # type: ignore[arg-type]
        try:
            self.office.reload(agency, after)
        except ProcessEnds:
            self.office.settings[agency] = after
            self.restart()
        self.judge.look()

    def read(self, agency: str, *, accept: bool = False) -> None:
        """One read, and the ledger told of it if it was applied."""
        self.do(self.office.may_work)
        if not self.office.works or not self.office.takes_part(agency):
            return
        office, book = self.office, self.books[agency]
        own, view = office.settings[agency], office.views[agency]
        day = book.owes_pass(self.now, own)
        if day is not None and office.pass_is_over(agency, day):
            day = None
        commits, failed, ended = office.database.commits, False, False
        try:
            office.poll(agency, accept=accept)
        except AgencyError:
            failed = True
        except ProcessEnds:
            ended = True
        if not (ended and office.database.commits == commits):
            credible = view.fault is None and (accept or book.is_credible(view.rows, self.now, own))
            applied = credible if ended else not failed
            assert applied == credible, f"a {'' if credible else 'in'}credible read was {failed=}"
            if applied:
                self.judge.after_read(agency, book.read(view.rows, self.now, own, self.judge.known, day))
        self.judge.look()
        if ended:
            self.restart()

    def read_shown(self, agency: str, rows: list[Row], *, accept: bool = False) -> None:
        """A read that comes upon other rows than there are."""
        view = self.office.views[agency]
        before, view.rows = view.rows, rows
        self.read(agency, accept=accept)
        view.rows = before

    # the network

    def answer(self, verdict: Verdict) -> None:
        """What the gateway has not answered so far, it answers now."""
        self.network.answer(verdict)
        self.do(self.office.send)

    def handed(self) -> list[str]:
        """The messages handed over, the last one last."""
        return [one.message.id for one in self.network.handings]

    def receipt(self, message_id: str, verdict: ReceiptVerdict) -> None:
        self.do(partial(self.office.delivery.receive, self.network.receipt(message_id, verdict)))

    def part_receipt(self, message_id: str, part: int, verdict: ReceiptVerdict) -> None:
        receipts = [self.network.part_receipt(message_id, part, verdict)]
        self.do(lambda: self.office.delivery.receive_parts(receipts))

    def false_receipt(self, message_id: str, verdict: ReceiptVerdict) -> None:
        """Of a message that the network never had: nothing comes of it."""
        self.do(partial(self.office.delivery.receive, Receipt("fake", message_id, verdict)))

    # operators, citizens and daily jobs, in processes and threads of their own

    @contextmanager
    def _beside(self) -> Iterator[None]:
        """What the daemon's end does not touch."""
        self.fuse.resting = True
        yield
        self.fuse.resting = False
        self.judge.look()

    def order_baseline(self, agency: str) -> None:
        with self._beside():
            self.books[agency].baseline_wanted |= self.office.journal.want_baseline(agency)

    def try_read(self, agency: str) -> None:
        with self._beside():
            if self.office.takes_part(agency):
                self.office.poll(agency, dry_run=True)

    def decide_held(self, agency: str, *, release: bool) -> None:
        self.judge.deciding = agency, release
        with self._beside():
            self.office.outbox.decide_held(agency, release=release, os_user="an", now=self.now)
        self.judge.deciding = None

    def look_up(self, code: str, id_: str) -> None:
        with self._beside():
            answer = self.office.look_up(LookupRequest(GOOD_NUMBER, f"MCKH {code}", id_))
        if id_ in self._answers:
            assert answer == self._answers[id_], "a repeated look-up is answered otherwise"
            return
        self._answers[id_] = answer
        asked = [self.books[agency].seen for agency in self.office.settings if self.office.takes_part(agency)]
        known = [seen[code] for seen in asked if code in seen]
        told = [f"{code}: {seen.row['step']}" for seen in known]
        silent = not known and answer == f"không thấy {code}"
        assert silent or any(map(answer.startswith, told)), answer

    def run_daily_jobs(self) -> None:
        self.do(self.office.may_work)
        if not self.office.works:
            return
        missed = self._missed_passes()
        self.judge.purging = True
        with self._beside():
            self.office.daily_jobs()
        self.judge.purging = False
        self.judge.balance()
        listed = self.office.found("no_apology")
        for agency, day in self._missed_passes() - missed:
            for seen in self.books[agency].owed_apologies(day, self.office.settings[agency]):
                code = seen.row["dossier_code"]
                told = (code, day + DAY) in self.books[agency].apologies
                assert told or (agency, code, day) in listed, f"{code} got no apology and is not listed"

    def _missed_passes(self) -> set[tuple[str, date]]:
        today = local_day(self.now)
        days = [today - n * DAY for n in range(8)]
        return {(one, day) for one in self.books for day in days if self.office.pass_was_missed(one, day)}

    # time

    def until(self, to: time) -> None:
        """It becomes this time of day, today or tomorrow."""
        now = self.now.astimezone(ZONE)
        then = datetime.combine(now.date(), to, tzinfo=ZONE)
        self.office.forward((then if then > now else then + DAY) - now)

    def set_clock(self, minutes: int) -> None:
        """Somebody sets it, by so many minutes forward or back."""
        self.office.clock.forward(minutes * MINUTE)

    # the end

    def settle(self) -> None:
        """All is well again, the clock is believed, there is time for everything; then all is owed."""
        self.fuse.left = 0
        self.network.down, self.network.coming = False, []
        self.answer(Verdict.ACCEPTED)
        self.after(11)
        if not 7 <= self.now.astimezone(ZONE).hour < 20:
            self.until(time(7))
        for minutes in (1, 3, 16, 16):
            self.after(minutes)
        self.judge.settled()
        self.judge.balance()
        said = repr(self._logs)
        assert not [number for number in PHONES if number and number in said], "a number was logged"

    def end(self) -> None:
        """Let go of everything."""
        self.office.database.close()
        self._quiet.close()
        shutil.rmtree(self._folder)


def _fast_folder() -> str | None:
    """Where files need no disk: no power failure is tried here."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
