"""A day of smsd, from the evening before to the backup after its last report, as a list of moments.

What the agency, the telephone network, the citizens and the operator do is outside the process and stands in files
beside the office's, so that a new process goes on where the last one ended. A moment whose process ended is lived
again from its beginning, as a new process does what is still owed.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from smsd.adapters.store.audit import AuditStore, SoughtHead
from smsd.adapters.store.engine import Database
from smsd.core.chain import head_digits
from smsd.core.model import Receipt, ReceiptVerdict
from smsd.installation import Installation
from smsd.running import daily_jobs
from smsd.services.ports import LookupRequest
from smsd.wiring import System
from tests.crash.points import Fuse, PostOffice, append_line, lines_of, watch_renames, watch_store
from tests.support.agencyviews import COLUMNS, SqliteAgency
from tests.support.builders import FixedClock, local
from tests.system.process import Installed

AGENCY = "nha-trang"
EVENING_BEFORE, DAY, DAY_AFTER = "2026-08-02", "2026-08-03", "2026-08-04"
READY, CLOSED, RECEPTION = "Trả kết quả", "Kết thúc", "Tiếp nhận"
DELIVERED, UNDELIVERED = ReceiptVerdict.DELIVERED, ReceiptVerdict.UNDELIVERED
SEAL = re.compile(rb'class="seal">.*?<code>([0-9a-f ]+)</code>', re.DOTALL)
"""The head of the audit as a report prints it. It is another one each time, for messages have ids of their own."""
Row = dict[str, object]


@dataclass(frozen=True)
class Moment:
    """What there is to see at an instant, what is told from outside, and whether the operator takes a backup."""

    at: str
    rows: tuple[Row, ...]
    receipts: tuple[tuple[str, str, ReceiptVerdict], ...] = ()
    """Messages (dossier, kind) of which the network tells from now on, each until smsd has acknowledged it."""
    inquiries: tuple[tuple[str, str], ...] = ()
    """Texts from citizens by the provider's id; asked until they are answered."""
    backup: bool = False


@dataclass(frozen=True)
class Places:
    """Where a day's files are: smsd's own in ``office``, what is outside of it in ``world``."""

    folder: Path

    @property
    def office(self) -> Path:
        return self.folder / "office"

    @property
    def agency(self) -> Path:
        return self.folder / "agency.db"

    @property
    def store(self) -> Path:
        return self.office / "smsd.db"

    @property
    def reports(self) -> Path:
        return self.office / "reports"

    @property
    def backup(self) -> Path:
        return self.office / "backup.db"

    @property
    def world(self) -> Path:
        return self.folder / "world"

    @property
    def taken(self) -> Path:
        return self.world / "taken.jsonl"

    @property
    def acknowledged(self) -> Path:
        return self.world / "acknowledged.jsonl"

    @property
    def answered(self) -> Path:
        return self.world / "answered.jsonl"

    @property
    def moment(self) -> Path:
        return self.world / "moment"

    @property
    def audit(self) -> Path:
        return self.world / "audit"

    @property
    def crash(self) -> Path:
        return self.world / "crash"


def a_row(code: str, step: str = "Thẩm định", **changes: object) -> Row:
    row: Row = dict.fromkeys(COLUMNS) | {
        "dossier_code": code,
        "phone": "0905123456",
        "step": step,
        "status": "Đang xử lý",
        "procedure_code": "1.001",
        "procedure_name": "Đăng ký khai sinh",
        "received_at": f"{DAY} 07:30:00" if code in "ABCD" else "2026-07-29 09:00:00",
        "due_at": "2026-08-10 17:00:00",
        "resolved_at": f"{DAY} 09:00:00" if step == READY else None,
    }
    return row | changes


def script() -> list[Moment]:
    """The day. Each event is seen, has settled three minutes later, and is looked after after `unknown_after`."""
    return list(_moments())


def _moments() -> Iterator[Moment]:
    quiet = tuple(a_row(f"Q{number}") for number in range(3))
    old = a_row("OLD", READY, resolved_at=f"{EVENING_BEFORE} 20:29:00")
    due = a_row("DUE", due_at=f"{DAY_AFTER} 10:00:00", procedure_code="2.002")
    a, b, c = a_row("A", READY), a_row("B", RECEPTION, status="Chờ bổ sung"), a_row("C", READY, phone="")
    a_back, b_ready, mended = a_row("A"), a_row("B", READY), a_row("C", READY)

    yield Moment(f"{EVENING_BEFORE} 20:00", (*quiet, a_row("OLD"), due))
    yield from _followed(f"{EVENING_BEFORE} 20:30", Moment("", (*quiet, old, due)))
    yield Moment(f"{DAY} 00:10", (*quiet, old, due))
    morning = Moment("", (*quiet, old, a, a_row("B"), a_row("D", READY), due))
    yield from _followed(
        f"{DAY} 09:00",
        morning,
        settled=_with(morning, D=a_row("D")),
        receipts=(("OLD", "result_ready", DELIVERED),),
    )
    bounced = Moment("", (*quiet, old, a_back, b, c, due))
    yield from _followed(f"{DAY} 09:30", bounced, receipts=(("A", "result_ready", DELIVERED),))
    again = Moment("", (*quiet, old, a, b, c, due), inquiries=(("mo-1", "MCKH A"), ("mo-2", "MCKH none")))
    yield from _followed(f"{DAY} 09:55", again, receipts=(("B", "supplement", UNDELIVERED),))
    later = Moment("", (*quiet, old, a_row("A", CLOSED), b_ready, mended, due))
    yield from _followed(f"{DAY} 11:00", later)
    yield from _followed(
        f"{DAY} 17:30", later, receipts=(("C", "result_ready", DELIVERED), ("DUE", "apology", DELIVERED))
    )
    evening = _with(later, DUE=due | {"step": READY, "resolved_at": f"{DAY} 17:58:00"})
    yield from _followed(f"{DAY} 18:00", evening, receipts=(("DUE", "result_ready", DELIVERED),))
    yield Moment(f"{DAY} 20:31", evening.rows)
    yield Moment(f"{DAY} 23:30", evening.rows)
    yield replace(evening, at=f"{DAY_AFTER} 00:10", backup=True)


def _with(moment: Moment, **rows: Row) -> Moment:
    """The moment with other rows for some dossiers."""
    return replace(moment, rows=tuple(rows.get(str(row["dossier_code"]), row) for row in moment.rows))


def _followed(
    at: str,
    moment: Moment,
    *,
    settled: Moment | None = None,
    receipts: tuple[tuple[str, str, ReceiptVerdict], ...] = (),
) -> Iterator[Moment]:
    """A moment, the same three minutes later, and once more when what was lost in between is sent again."""
    day, _, clock = at.partition(" ")
    minutes = int(clock[:2]) * 60 + int(clock[3:])

    def later(by: int) -> str:
        return f"{day} {(minutes + by) // 60:02}:{(minutes + by) % 60:02}"

    follower = replace(settled or moment, inquiries=())
    yield replace(moment, at=at)
    yield replace(follower, at=later(3))
    yield replace(follower, at=later(20), receipts=receipts)


def prepare(folder: Path) -> Places:
    """A new office with one agency and what is around it."""
    places = Places(folder)
    places.world.mkdir(parents=True)
    installed = Installed(
        places.office,
        {
            "polling": {"interval": "1m", "workers": 1},
            "gateway": {"type": "spool", "directory": "spool"},
            "messages": {"sending_hours": "06:00-22:00", "unknown_after": "15m"},
            "retention": {"personal_data": "14h", "records": "27h"},
        },
    )
    database = SqliteAgency(places.agency)
    database.close()
    installed.agency(AGENCY, database=database.url)
    return places


@dataclass
class Day:
    """One process' part of the day: from the moment the last one ended in to the end, unless its fuse burns."""

    places: Places
    installation: Installation
    fuse: Fuse
    repeats_safely: bool
    moments: Sequence[Moment]
    make_database: Callable[[str], Database] = Database

    def live(self) -> None:
        """Start as the daemon does and go on. The moment is noted before anything is done in it."""
        moments = self.moments
        begun = int(self.places.moment.read_text()) if self.places.moment.exists() else 0
        self.clock = FixedClock(local(moments[begun].at))
        self._start()
        for number in range(begun, len(moments)):
            self.places.moment.write_text(str(number))
            self.clock.at = local(moments[number].at)
            self._live_through(moments[number])
            for earlier in moments[: number + 1]:
                for told in earlier.receipts:
                    self._report(*told)
        self._audit()
        self.system.close()
        self.database.close()

    def _audit(self) -> None:
        """Look whether the audit is whole and holds every head printed in a report; what is wrong is written down."""
        printed = {
            page.parent.name: SEAL.search(page.read_bytes()) for page in self.places.reports.glob("*/*.html")
        }
        sought = [
            SoughtHead(head_digits(seal[1].decode()), date.fromisoformat(day))
            for day, seal in printed.items()
            if seal
        ]
        found = AuditStore(self.database).verify(sought)
        wrong = [*map(str, found.faults), *(str(head) for head in found.heads if not head.good)]
        self.places.audit.write_text(json.dumps({"heads": len(sought), "wrong": wrong}))

    def _start(self) -> None:
        self.database = self.make_database(self.installation.settings.store.get_secret_value())
        watch_store(self.database, self.fuse)
        watch_renames(self.fuse)
        self.database.open()
        self.database.lock()
        self.post = PostOffice(self.places.taken, self.fuse, repeats_safely=self.repeats_safely)
        self.system = System(
            self.installation,
            self.database,
            clock=self.clock,
            gateway=self.post,
            monotonic=lambda: self.clock.now().timestamp(),
        )
        self.system.take_part()
        self.system.delivery.recover()

    def _live_through(self, moment: Moment) -> None:
        self._show(moment.rows)
        self.system.delivery.age()
        self.system.poller.poll_all_once()
        for _, job in daily_jobs(self.system):
            job()
        self.system.delivery.drain()
        for id_, text in moment.inquiries:
            self._ask(id_, text)
        if moment.backup and not self.places.backup.exists():
            self.database.backup(self.places.backup, self.clock.now())

    def _show(self, rows: tuple[Row, ...]) -> None:
        with closing(sqlite3.connect(self.places.agency)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("DELETE FROM dossiers")
            connection.executemany(
                f"INSERT INTO dossiers ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})",
                [tuple(row[column] for column in COLUMNS) for row in rows],
            )

    def _report(self, code: str, kind: str, verdict: ReceiptVerdict) -> None:
        """The network calls back until it was told that the receipt was taken."""
        known = {line["id"] for line in lines_of(self.places.acknowledged)}
        for line in lines_of(self.places.taken):
            if line["code"] == code and line["kind"] == kind and line["id"] not in known:
                self.system.delivery.receive(Receipt(self.post.name, line["id"], verdict))
                append_line(self.places.acknowledged, {"id": line["id"]})
                known.add(line["id"])

    def _ask(self, id_: str, text: str) -> None:
        """A provider brings a citizen's text until it has an answer."""
        if all(line["id"] != id_ for line in lines_of(self.places.answered)):
            answer = self.system.lookups.answer(LookupRequest("84905123456", text, id_))
            append_line(self.places.answered, {"id": id_, "text": answer})
