"""The reference model: what the contract makes of each read, told in the simplest words and apart from smsd's own code.

It knows the rows of the last good read of each agency, which entries into positions are to be texted, and for which
reason one is not. It knows nothing of sending.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from smsd.core.model import Message, MessageState, Mode, Reason
from tests.stateful.office import Settings, local_day
from tests.support.builders import ZONE

PHONES: dict[str | None, str | Reason] = {
    "0905123456": "84905123456",
    "0912 345 678 (vợ)": "84912345678",
    "": Reason.NO_PHONE,
    None: Reason.NO_PHONE,
    "0258 3822 222": Reason.LANDLINE,
    "12345": Reason.INVALID_PHONE,
    "0583822222": Reason.AMBIGUOUS_PHONE,
}
"""What stands in the phone field, and the number or the reason it comes to."""

WORKING, READY, RECEPTION, CLOSED, RENAMED = (
    "Thẩm định",
    "Trả kết quả",
    "Tiếp nhận",
    "Kết thúc",
    "Hoàn thành",
)
WAITING = "Chờ bổ sung"
SETTLE = {"result_ready": timedelta(minutes=2), "supplement": timedelta(minutes=2), "apology": timedelta(0)}
VALID_FOR = {
    "result_ready": timedelta(days=10),
    "supplement": timedelta(days=10),
    "apology": timedelta(hours=14),
}
REPEAT_AFTER = timedelta(hours=1)
STALE_AFTER = timedelta(days=30)
LOW_COUNT_STAYS = timedelta(hours=24)
PASS_AT, PASS_UNTIL = time(17, 30), time(20, 30)
REPEATED_BY = {
    MessageState.SENDING,
    MessageState.ACCEPTED,
    MessageState.DELIVERED,
    MessageState.UNDELIVERED,
}
"""Messages that make the next of their kind a repeat; what was not yet handed over ended when its position was left."""

Row = dict[str, Any]


def position_by(row: Row, positions: str) -> str:
    """The position of a row; by the second configuration one more step means that the result is ready."""
    step = row["step"]
    if row["status"] == WAITING and step in (RECEPTION, READY):
        return "supplement"
    if is_ready_step(row, positions):
        return "result_ready"
    return "closed" if step == CLOSED else "in_progress"


def is_ready_step(row: Row, positions: str) -> bool:
    return row["step"] == READY or (row["step"] == RENAMED and positions == "second")


def still_waits(row: Row, positions: str) -> bool:
    """Whether an applicant is still owed an apology."""
    ready = position_by(row, positions) in ("result_ready", "closed")
    return not ready and not is_ready_step(row, positions)


def instant(value: object) -> datetime | None:
    """A date column; impossible dates read as null."""
    return value if isinstance(value, datetime) else None


def day_of(value: object) -> date | None:
    at = instant(value)
    return None if at is None else local_day(at)


@dataclass(eq=False)
class Entry:
    """One thing to tell one applicant: an entry into a position, or an appointed date that will be missed."""

    agency: str
    code: str
    kind: str
    made_at: datetime
    due_day: date | None = None
    instead: list[Entry] = field(default_factory=list)
    """Earlier entries whose messages were on their way when this one was found to be their repeat."""
    ids: list[str] = field(default_factory=list)
    """Its messages: one, and one more for each time its number was mended."""

    def __repr__(self) -> str:
        return f"{self.kind} of {self.agency}/{self.code} made {self.made_at.astimezone(ZONE):%d %b %H:%M:%S}"


@dataclass
class Seen:
    """What is known of one dossier by the last good read."""

    row: Row
    position: str
    entry: Entry | None = None
    """What there is to tell of the position it is in; None: nothing, or it was entered silently."""
    missing: int = 0
    gone: bool = False


@dataclass(frozen=True)
class Expected:
    """A message that a read has to make: for which entry, and why it is not sent if it is not."""

    entry: Entry
    reason: Reason | None
    by_pass: bool = False
    """Made by the 17:30 pass, whose messages are a batch of their own."""


@dataclass
class Book:
    """One agency, as the contract has it."""

    agency: str
    seen: dict[str, Seen] = field(default_factory=dict)
    apologies: dict[tuple[str, date | None], Entry] = field(default_factory=dict)
    by_id: dict[str, Entry] = field(default_factory=dict)
    """What each message is for."""
    baseline_at: datetime | None = None
    read_at: datetime | None = None
    read_with: Settings | None = None
    rows: int = 0
    low_since: datetime | None = None
    baseline_wanted: bool = False

    # what a read is worth

    def is_credible(self, rows: list[Row], at: datetime, settings: Settings) -> bool:
        """Whether a read is to be believed; remembers since when counts have been low."""
        if not rows:
            self.low_since = None
            return False
        same = self.read_with is not None and self.read_with.source == settings.source
        if not same or self.rows < 20 or len(rows) * 2 >= self.rows:
            return True
        if self.low_since is not None and at - self.low_since >= LOW_COUNT_STAYS:
            return True
        self.low_since = self.low_since or at
        return False

    def only_records(self, settings: Settings) -> bool:
        """Whether the next good read is a baseline."""
        other = self.read_with is not None and self.read_with.source != settings.source
        return self.baseline_at is None or self.baseline_wanted or other

    def owes_pass(self, at: datetime, settings: Settings) -> date | None:
        """The day whose apology pass a read at this instant runs, unless that pass is over."""
        moment = at.astimezone(ZONE).time()
        if "apology" not in settings.notices or not settings.apology:
            return None
        return local_day(at) if PASS_AT <= moment < PASS_UNTIL else None

    # a good read

    def read(
        self,
        rows: list[Row],
        at: datetime,
        settings: Settings,
        messages: dict[str, Message],
        pass_day: date | None,
    ) -> list[Expected]:
        """Apply a good read; returns the messages it has to make, all of them."""
        baseline = self.only_records(settings)
        if self.read_with is not None and self.read_with.positions != settings.positions:
            self._judge_anew(settings)
        counts = Counter(row["dossier_code"] for row in rows)
        expected: list[Expected] = []
        for row in rows:
            if (row["dossier_code"] or "").strip() and row["step"] and counts[row["dossier_code"]] == 1:
                expected += self._row(dict(row), at, settings, messages, baseline=baseline)
        for code, seen in self.seen.items():
            seen.missing = 0 if counts[code] else seen.missing + 1
            seen.gone = seen.gone or seen.missing >= (1 if baseline else 2)
        if baseline:
            self.baseline_at = at
        if pass_day is not None and not self._baseline_came_late(pass_day):
            expected += self._apologies(pass_day, at, settings)
        self.read_at, self.read_with, self.rows = at, settings, len(rows)
        self.low_since, self.baseline_wanted = None, False
        return expected

    def _judge_anew(self, settings: Settings) -> None:
        """Changed positions are taken note of, and nothing is told."""
        for seen in self.seen.values():
            position = position_by(seen.row, settings.positions)
            if not seen.gone and position != seen.position:
                seen.position, seen.entry = position, None

    def _row(
        self, row: Row, at: datetime, settings: Settings, messages: dict[str, Message], *, baseline: bool
    ) -> list[Expected]:
        code, position = row["dossier_code"], position_by(row, settings.positions)
        before = self.seen.get(code)
        mended = before is not None and before.row["phone"] != row["phone"]
        first = before is None or before.gone
        moved = first or before is None or before.position != position
        if before is None or moved:
            self.seen[code] = Seen(row, position)
        else:
            before.row = row
        if baseline:
            return []
        expected = []
        if mended and not isinstance(PHONES[row["phone"]], Reason):
            expected = self._made_anew(self.seen[code], at, settings, messages)
        if moved and position in settings.notices:
            earlier = self._repeated(code, position, at, messages)
            reason = _reason(row, settings, at, first=first, repeated=bool(earlier))
            entry = self.seen[code].entry = Entry(self.agency, code, position, at)
            if reason is Reason.REPEAT:
                entry.instead = [self.by_id[m.id] for m in earlier if m.state is MessageState.SENDING]
            expected.append(Expected(entry, reason))
        return expected

    def _repeated(self, code: str, kind: str, at: datetime, messages: dict[str, Message]) -> list[Message]:
        """Messages made lately that make another of their kind a repeat."""
        return [
            m
            for m in messages.values()
            if (m.agency, m.dossier_code, m.kind) == (self.agency, code, kind)
            and abs(at - m.made_at) < REPEAT_AFTER
            and m.state in REPEATED_BY
        ]

    def _made_anew(
        self, seen: Seen, at: datetime, settings: Settings, messages: dict[str, Message]
    ) -> list[Expected]:
        """A number was mended: what had ended for it is made anew, as long as it still says the truth."""
        apology = self.apologies.get((seen.row["dossier_code"], day_of(seen.row["due_at"])))
        if apology is not None and not still_waits(seen.row, settings.positions):
            apology = None
        return [
            Expected(entry, _reason(seen.row, settings, at))
            for entry in (seen.entry, apology)
            if entry is not None
            and entry.kind in settings.notices
            and _ended_for_its_number(entry, at, messages)
        ]

    # the pass

    def _baseline_came_late(self, day: date) -> bool:
        assert self.baseline_at is not None
        return self.baseline_at >= datetime.combine(day, PASS_AT, tzinfo=ZONE)

    def owed_apologies(self, day: date, settings: Settings) -> list[Seen]:
        """Dossiers due on the next day that wait; those that the last read lacked are among them."""
        tomorrow = day + timedelta(days=1)
        return [
            seen
            for seen in self.seen.values()
            if not seen.gone
            and day_of(seen.row["due_at"]) == tomorrow
            and still_waits(seen.row, settings.positions)
        ]

    def _apologies(self, day: date, at: datetime, settings: Settings) -> list[Expected]:
        expected = []
        tomorrow = day + timedelta(days=1)
        for seen in self.owed_apologies(day, settings):
            key = seen.row["dossier_code"], tomorrow
            if seen.missing or key in self.apologies:
                continue
            entry = self.apologies[key] = Entry(self.agency, key[0], "apology", at, tomorrow)
            expected.append(Expected(entry, _reason(seen.row, settings, at), by_pass=True))
        return expected

    # what still holds

    def means(self, entry: Entry, configured: Settings | None = None) -> bool:
        """Whether an entry's message still says the truth, by the last good read (and by what is configured now)."""
        seen = self.seen[entry.code]
        assert self.read_with is not None
        if seen.gone:
            return False
        if entry.due_day is None:
            now = seen.entry
            return now is not None and (now is entry or entry in now.instead)
        if day_of(seen.row["due_at"]) != entry.due_day or not still_waits(seen.row, self.read_with.positions):
            return False
        return configured is None or still_waits(seen.row, configured.positions)

    def number(self, code: str) -> str | Reason:
        """The number of the latest good read, or what is wrong with it."""
        return PHONES[self.seen[code].row["phone"]]

    def brought_back(self, now: datetime) -> None:
        """The clock had run ahead: what was noted in its future is noted as of now."""
        late = now + timedelta(minutes=1)
        if self.baseline_at is not None and self.baseline_at > late:
            self.baseline_at = now
        if self.low_since is not None and self.low_since > late:
            self.low_since = now

    def leaves(self) -> None:
        """The agency was set to off: if it ever was read, it comes back by a baseline."""
        self.baseline_wanted = True
        self.low_since = None


def _ended_for_its_number(entry: Entry, at: datetime, messages: dict[str, Message]) -> bool:
    """Whether all that an entry ever came to ended for the phone field, and it is still in time."""
    made = [messages[id_] for id_ in entry.ids if id_ in messages]
    return (
        bool(made)
        and all(m.reason in set(PHONES.values()) for m in made)
        and max(m.valid_until for m in made) > at
    )


def _reason(
    row: Row, settings: Settings, at: datetime, *, first: bool = False, repeated: bool = False
) -> Reason | None:
    """Why a message is not sent: the first reason that applies, in the contract's order."""
    received, due, resolved = (instant(row[name]) for name in ("received_at", "due_at", "resolved_at"))
    if row["procedure_code"] == "9.999":
        return Reason.PROCEDURE
    one_day = None not in (received, due, resolved) and day_of(received) == day_of(due) == day_of(resolved)
    if settings.skip_same_day and one_day:
        return Reason.SAME_DAY
    since = resolved or received
    if first and since is not None and at - since > STALE_AFTER:
        return Reason.STALE
    if repeated:
        return Reason.REPEAT
    phone = PHONES[row["phone"]]
    if isinstance(phone, Reason):
        return phone
    return Reason.SHADOW if settings.mode is Mode.SHADOW else None
