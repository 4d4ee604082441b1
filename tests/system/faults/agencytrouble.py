"""Agencies in trouble under one running daemon: each has a fault of its own, two are well, and the clerks work on."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from tests.support.postgres import wait_until
from tests.support.reliability import Record
from tests.system.daemonoffice import READY, Office, baselined, instant
from tests.system.process import Daemon

GROUP = "Agencies' databases"
WELL = ("well-1", "well-2")
TOLD_AT_ONCE = {"login_failed", "database_missing", "view_missing", "column_missing", "permission_denied"}
"""Faults that no waiting mends: the first raises an alarm."""
DOSSIERS = 12
INTERVAL = timedelta(seconds=1)
_AGENCIES = "SELECT id, last_good_at, error_code, error FROM agencies"
_T = TypeVar("_T")


class Case(ABC):
    """One agency, what is done to its database, and what shall be said of it."""

    id: str
    fault: str
    """As the row names it."""
    codes: frozenset[str] = frozenset()
    """The faults of which one is reported; none for one that must not be noticed at all."""
    says: tuple[str, ...] = ()
    """Words of the error and its hint in `smsd status`."""
    person: str = ""
    """What a person does; "" where it passes."""
    clerks_wait: bool = False
    """Whether the clerks cannot work either while it lasts."""
    once: bool = False
    """Whether it is over as soon as it happened, so that nobody mends anything."""

    @abstractmethod
    def settle_in(self, office: Office) -> None:
        """Make the database, with dossiers ``<id>-<number>``, and write the agency's file."""

    @abstractmethod
    def spoil(self) -> None:
        """The fault begins."""

    def mend(self) -> None:  # noqa: B027 - not every fault is mended
        """It is over; called for what does not happen only once."""

    @abstractmethod
    def work(self, code: str) -> None:
        """A clerk has a dossier's result."""

    def calm(self) -> None:  # noqa: B027 - few leave anything behind
        """After a round: what the fault left behind goes too."""

    def close(self) -> None:  # noqa: B027 - files need nothing
        """Let everything go."""


@dataclass
class Seen:
    """What was seen of one case in every round."""

    faults: list[set[tuple[str, str]]] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    alarms: list[dict[str, Any] | None] = field(default_factory=list)
    back_after: list[float] = field(default_factory=list)


class Province:
    """The daemon with its agencies, through rounds in which all faults come and go at the same time."""

    def __init__(self, folder: Path, cases: Sequence[Case], **settings: object) -> None:
        self.office = Office(folder, **{"polling": {"interval": "1s", "timeout": "2s"}, **settings})
        self.cases = {case.id: case for case in cases}
        self.seen = {case.id: Seen() for case in cases}
        self.rounds = 0
        self.well_after: list[float] = []
        self.gaps: list[timedelta] = []
        for id_ in WELL:
            self.office.add(id_, DOSSIERS)
        for case in cases:
            case.settle_in(self.office)
        self.daemon = obeying_file_modes(lambda: Daemon(self.office))
        try:
            baselined(self.daemon, *WELL, *self.cases)
        except BaseException:
            self.daemon.kill()  # or it would outlive the tests
            raise

    def round(self) -> None:
        """All faults begin, are told, and end; what becomes of a dossier of each agency meanwhile."""
        number, self.rounds = self.rounds, self.rounds + 1
        with _Watch(self.office) as watch:
            over = self._begin(number)
            worked = time.monotonic()
            for id_ in WELL:
                self.office.databases[id_].update(f"{id_}-{number}", step=READY)
            self._wait_until_told(watch)
            self._note_what_is_told()
            over |= self._end(number)
            self._wait_for_all(number, watch)
            wait_until(lambda: not self.office.ask("SELECT key FROM alarms WHERE cleared_at IS NULL"), 20)
        for case in self.cases.values():
            case.calm()
        self.gaps += watch.gaps()
        self.well_after += [watch.texted[f"{id_}-{number}"] - worked for id_ in WELL]
        for id_, seen in self.seen.items():
            seen.faults.append(watch.faults.get(id_, set()))
            seen.back_after.append(max(0.0, watch.texted[f"{id_}-{number}"] - over[id_]))

    def _begin(self, number: int) -> dict[str, float]:
        """All faults begin; when those were over that happen once."""
        over: dict[str, float] = {}
        for case in self.cases.values():
            case.spoil()
            if case.once:
                over[case.id] = time.monotonic()
            if not case.clerks_wait:
                case.work(f"{case.id}-{number}")
        return over

    def _end(self, number: int) -> dict[str, float]:
        """All faults end that last; when they were over."""
        over: dict[str, float] = {}
        for case in self.cases.values():
            if not case.once:
                case.mend()
                over[case.id] = time.monotonic()
            if case.clerks_wait:
                case.work(f"{case.id}-{number}")
        return over

    def _note_what_is_told(self) -> None:
        status = self.office.json("status")
        told = {agency["id"]: agency for agency in status["agencies"]}
        alarms = {alarm["key"]: alarm for alarm in status["alarms"]}
        assert not any(told[id_]["error"] for id_ in WELL)
        for id_, seen in self.seen.items():
            seen.told.append(told[id_])
            seen.alarms.append(alarms.get(f"agency:{id_}"))

    def _wait_until_told(self, watch: _Watch) -> None:
        owed = {case.id for case in self.cases.values() if case.codes}
        try:
            wait_until(lambda: owed <= watch.faults.keys(), 25)
        except AssertionError:
            raise AssertionError(f"no fault is told of: {sorted(owed - watch.faults.keys())}") from None

    def _wait_for_all(self, number: int, watch: _Watch) -> None:
        owed = {f"{id_}-{number}" for id_ in (*self.cases, *WELL)}
        try:
            wait_until(lambda: owed <= watch.texted.keys(), 45)
        except AssertionError:
            missing = sorted(owed - watch.texted.keys())
            raise AssertionError(f"not texted: {missing}\n{''.join(self.daemon.raw)[-4000:]}") from None

    def end(self) -> None:
        """Stop the daemon in order, so that all it took is in the spool."""
        try:
            if self.daemon.process.poll() is None:
                assert self.daemon.stop() == 0
        finally:
            if self.daemon.process.poll() is None:
                self.daemon.kill()
            for case in self.cases.values():
                case.calm()
            for case in self.cases.values():
                case.close()
            self.office.close()

    def texts(self, id_: str) -> Counter[str]:
        """How often each dossier of an agency was texted."""
        return Counter(m["dossier_code"] for m in self.office.spooled() if m["agency"] == id_)

    def check(self, id_: str, reliability: Record) -> None:
        """Hold one case to what shall be, and keep its row."""
        case, seen = self.cases[id_], self.seen[id_]
        texts = self.texts(id_)
        owed = {f"{id_}-{number}" for number in range(self.rounds)}
        lost, doubled = len(owed - set(texts)), sum(texts.values()) - len(texts)
        assert (set(texts), lost, doubled) == (owed, 0, 0)
        for faults, told, alarm in zip(seen.faults, seen.told, seen.alarms, strict=True):
            reported = {code for code, _ in faults}
            assert reported <= case.codes, faults
            assert bool(reported) == bool(case.codes)
            for words in case.says:
                assert any(words in said for _, said in faults), faults
            if reported & TOLD_AT_ONCE:
                assert told["error_code"] in case.codes
                assert alarm is not None, "a person hears of it at once"
                assert alarm["hint"]
                assert alarm["hint"] in told["error"]
                assert all(words in told["error"] for words in case.says), told["error"]
        worst = max(seen.back_after)
        assert worst < 20
        first = f"{case.person}, then " if case.person else ""
        after = " after it is over" if not (case.person or case.once) else ""
        reliability.row(
            GROUP,
            case.fault,
            tried=self.rounds,
            lost=lost,
            doubled=doubled,
            recovered=f"{first}by itself in {worst:.1f} s{after}",
            note="polled every second, timeout 2 s",
        )

    def check_the_others(self) -> None:
        """The agencies that are well were read and texted as if nothing were amiss elsewhere."""
        for id_ in WELL:
            assert self.texts(id_) == Counter(f"{id_}-{number}" for number in range(self.rounds))
        assert max(self.well_after) < 5
        assert max(self.gaps) < 5 * INTERVAL, sorted(self.gaps)[-5:]
        log = "".join(self.daemon.raw)
        assert "Traceback" not in log
        assert "0905123456" not in log


class _Watch:
    """Looks, twenty times a second, at what the store says of the agencies and at who was texted."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._reads: dict[str, set[object]] = {id_: set() for id_ in WELL}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.faults: dict[str, set[tuple[str, str]]] = {}
        self.texted: dict[str, float] = {}
        """The dossiers that were texted, and when that was seen first."""

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.05):
            for code in self._office.codes():
                self.texted.setdefault(code, time.monotonic())
            for id_, good, code, said in self._office.ask(_AGENCIES):
                if id_ in self._reads:
                    self._reads[str(id_)].add(good)
                if code is not None:
                    self.faults.setdefault(str(id_), set()).add((str(code), str(said)))

    def gaps(self) -> list[timedelta]:
        """The times between good reads of the agencies that are well, once the others' baselines are taken."""
        return [b - a for reads in self._reads.values() for a, b in pairwise(sorted(map(instant, reads))[1:])]


def obeying_file_modes(make: Callable[[], _T]) -> _T:
    """Make something in a thread without root's right to read every file; processes it starts lack it too."""
    if os.geteuid() != 0:
        return make()
    made: list[_T] = []

    def run() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            assert libc.prctl(24, capability, 0, 0, 0) == 0, "PR_CAPBSET_DROP"
        made.append(make())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return made[0]
