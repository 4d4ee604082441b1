"""Compares what smsd did with what the ledger says it owes, after every step.

Every state of every message has to have its cause: in the rows, in the configuration, in what an operator or the
network said, or in the clock. What smsd did not do shows at the end, when everything has had time to settle.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta

from smsd.core.figures import Ending
from smsd.core.model import FINAL, PENDING, Message, MessageState, Mode, Reason
from smsd.core.outbox import FOLLOWERS
from smsd.services.ports import Outgoing
from tests.stateful.ledger import PHONES, SETTLE, VALID_FOR, Book, Entry, Expected
from tests.stateful.network import Network
from tests.stateful.office import HOLD_ABOVE, Office, local_day
from tests.support.builders import ZONE

S = MessageState
_OPENS, _CLOSES = time(6), time(22)
_INTERVAL = timedelta(minutes=1)
_RECEIPT_WAIT = timedelta(hours=72)
_SAID_BY_THE_NETWORK = frozenset({S.ACCEPTED, S.DELIVERED, S.UNDELIVERED, S.REJECTED})
_PHONE_REASONS = frozenset(reason for reason in PHONES.values() if isinstance(reason, Reason))


@dataclass
class Tally:
    """What all examples together came to."""

    steps: int = 0
    entries: int = 0
    handed_over: int = 0
    doubled: int = 0
    marked: int = 0
    lost: int = 0
    restarts: int = 0


@dataclass
class Judge:
    """One run's. ``look`` after every step."""

    office: Office
    network: Network
    books: dict[str, Book]
    tally: Tally
    known: dict[str, Message] = field(default_factory=dict)
    """Every message as it was when it was last looked at."""
    deciding: tuple[str, bool] | None = None
    """The agency whose held messages an operator is just releasing (True) or discarding."""
    purging: bool = False
    _objections: list[AssertionError] = field(default_factory=list)
    _last_event: int = 0
    _valid: dict[str, datetime] = field(default_factory=dict)
    """Until when each message may go."""
    _settled: dict[str, datetime] = field(default_factory=dict)
    """From when on each message may go for the first time."""

    def entry(self, message: Message | Outgoing) -> Entry:
        book = self.books[message.agency]
        assert message.id in book.by_id, f"a message that no read called for: {message.kind}"
        return book.by_id[message.id]

    @property
    def now(self) -> datetime:
        return self.office.clock.now()

    # making

    def after_read(self, agency: str, expected: list[Expected]) -> None:
        """The messages a read made are those it had to make, each in the state it had to be made in."""
        made = {
            (m.dossier_code, m.kind): m for m in self.office.messages().values() if m.id not in self.known
        }
        owed = {(one.entry.code, one.entry.kind): one for one in expected}
        assert made.keys() == owed.keys(), f"made {sorted(made)}, owed {sorted(owed)}"
        batches = Counter(one.by_pass for one in expected if one.reason is None)
        for key, one in owed.items():
            message = made[key]
            if one.entry.ids:  # made anew, in a poll's batch, within the time that the first one had
                valid_until = max(self.known[id_].valid_until for id_ in one.entry.ids if id_ in self.known)
            else:
                valid_until = self.now + VALID_FOR[one.entry.kind]
                self.tally.entries += 1
            assert (message.made_at, message.agency) == (self.now, agency)
            assert message.valid_until == valid_until, f"{one.entry} is valid until {message.valid_until}"
            if one.reason is not None:
                assert (message.state, message.reason) == (S.SUPPRESSED, one.reason), (
                    f"{one} is {message.state}"
                )
            else:
                state = S.HELD if batches[one.by_pass] > HOLD_ABOVE else S.QUEUED
                assert message.state is state, (
                    f"{one.entry} is {message.reason or message.state}, not {state}"
                )
            self._valid[message.id] = valid_until
            self._settled[message.id] = self.now + SETTLE[one.entry.kind]
            one.entry.ids.append(message.id)
            self.books[agency].by_id[message.id] = one.entry

    # sending

    def witness(self, handed: Outgoing) -> None:
        """A message is about to reach the gateway. What forbids it is told by `look`: delivery survives any gateway."""
        try:
            self._may_be_sent(handed)
        except AssertionError as objection:
            self._objections.append(objection)

    def _may_be_sent(self, handed: Outgoing) -> None:
        book, entry = self.books[handed.agency], self.entry(handed)
        message, before = self.office.message(handed.id), self.known[handed.id]
        settings = self.office.settings[handed.agency]
        assert settings.mode is Mode.LIVE, f"{entry} was sent while its agency is {settings.mode}"
        assert before.final_at is None and before.state not in FINAL, f"{entry} was sent after it ended"
        assert message.state is S.SENDING, f"{entry} was sent while {message.state}"
        assert not book.seen[entry.code].missing, f"{entry} was sent while its dossier is missing"
        assert book.means(entry), f"{entry} was sent though its dossier had left"
        number = book.number(entry.code)
        assert handed.phone == number, f"{entry} was sent to another number than the latest good read's"
        assert book.read_at is not None
        age = self.now - book.read_at
        assert timedelta(0) <= age <= SETTLE[entry.kind] + 2 * _INTERVAL, f"{entry} was sent on an old read"
        assert self.now < self._valid[handed.id], f"{entry} was sent after its time"
        assert _OPENS <= self.now.astimezone(ZONE).time() < _CLOSES, f"{entry} was sent at night"
        earlier = [one for one in self.network.handings if one.message.id in entry.ids]
        doubtful = [one for one in earlier if one.perhaps_taken]
        if not earlier:
            assert self.now >= self._settled[handed.id], f"{entry} was sent before it settled"
        if doubtful and not self.network.repeats_safely:
            assert message.possible_duplicate, f"{entry} was sent again and is not marked"
            assert len(doubtful) == 1, f"{entry} was sent again more than once"
        if self.network.repeats_safely and not message.possible_duplicate:
            same = all(one.message.id == handed.id for one in doubtful)
            assert same, f"{entry} was sent again under another id"

    # every step

    def look(self) -> None:
        """What changed since the last look had to, and what had ended stayed as it was."""
        for objection in self._objections:
            raise objection
        rows = self.office.messages()
        for event, id_, state, detail in self.office.events_after(self._last_event):
            self._last_event = event
            if id_ in rows:  # else the audit's own
                self._changed(rows[id_], state, detail)
        for id_, row in rows.items():
            assert row.state is self.known[id_].state, f"{self.entry(row)} changed without an event"
            self._stayed(self.known[id_], row)
            assert row.valid_until == self._valid[id_], f"{self.entry(row)} is valid until {row.valid_until}"
            assert (row.reason is not None) == (row.state is S.SUPPRESSED)
            assert row.state not in FINAL or row.final_at is not None, f"{self.entry(row)} ended at no time"
            assert row.state not in PENDING or row.final_at is None, f"{self.entry(row)} ended as pending"
        gone = self.known.keys() - rows.keys()
        assert not gone, f"gone from the store: {[self.entry(self.known[id_]) for id_ in gone]}"
        self.known = rows
        self._one_lives()

    def _changed(self, row: Message, state: MessageState, detail: str | None) -> None:
        entry, before = self.entry(row), self.known.get(row.id)
        if before is None:
            assert state in (S.QUEUED, S.SUPPRESSED), f"{entry} was made {state}"
        else:
            assert before.final_at is None, f"{entry} ended as {before.state} and became {state}"
            if state is not before.state:
                assert state in FOLLOWERS[before.state], f"{entry}: {before.state} became {state}"
                self._caused(entry, before, row, state)
            elif detail == "the clock had run ahead":
                self._valid[row.id] = self.now + (before.valid_until - (before.state_at or self.now))
                waits = before.next_at - (before.state_at or self.now)
                self._settled[row.id] = self.now + max(waits, timedelta(0))
            else:
                waited_out = state is S.ACCEPTED and row.final_at is not None
                assert waited_out or detail == "phone changed by the agency", f"{entry}: {state} again"
        # an ending is told by its last event
        last = state is row.state and state in FINAL
        self.known[row.id] = replace(row, state=state, final_at=row.final_at if last else None)

    def _caused(self, entry: Entry, before: Message, row: Message, state: MessageState) -> None:
        """Whether there is a cause for a message to have come into a state."""
        settings, book = self.office.settings[entry.agency], self.books[entry.agency]
        if state is S.SUPERSEDED:
            assert not book.means(entry, settings), f"{entry} was superseded though it holds"
        elif state is S.EXPIRED:
            assert self.now >= self._valid[row.id], f"{entry} expired before its time"
        elif state is S.SUPPRESSED:
            self._suppressed(entry, row)
        elif state in _SAID_BY_THE_NETWORK:
            said = self.network.said.get(row.id, set())
            assert state in said, f"{entry} became {state}, and nobody said so"
        elif before.state is S.HELD:
            assert self.deciding == (entry.agency, True), f"{entry} was released by nobody"
            assert before.held_at is not None
            self._valid[row.id] += max(self.now - before.held_at, timedelta(0))
            self._settled[row.id] = min(self._settled[row.id], self.now + SETTLE[entry.kind])

    def _suppressed(self, entry: Entry, row: Message) -> None:
        mode, number = self.office.settings[entry.agency].mode, self.books[entry.agency].number(entry.code)
        if row.reason in (Reason.OFF, Reason.SHADOW):
            assert mode.value == row.reason.value, f"{entry} ended as {row.reason}, its agency is {mode}"
        elif row.reason is Reason.DISCARDED:
            assert self.deciding == (entry.agency, False), f"{entry} was discarded by nobody"
        else:
            assert row.reason is number, f"{entry} ended as {row.reason}"

    def _stayed(self, before: Message, row: Message) -> None:
        """What had ended stays; retention alone may blank it."""
        if before.final_at is None:
            return
        if self.purging and row.text is None:
            before = replace(before, text=None, phone=None)
        if before.state is S.ACCEPTED:
            assert before.handed_over_at is None or row.final_at == before.final_at
        assert row == before, f"{self.entry(row)} had ended as {before.state} and changed"

    def _one_lives(self) -> None:
        """Of one entry no two messages live, and none beside one that reached the gateway."""
        for book in self.books.values():
            for entry in set(book.by_id.values()):
                ids = [id_ for id_ in entry.ids if id_ in self.known]
                alive = [id_ for id_ in ids if self.known[id_].state not in (S.SUPPRESSED, S.SUPERSEDED)]
                assert len(alive) <= 1, f"{entry} has {len(alive)} messages alive"

    # figures

    def balance(self) -> None:
        """The figures of every day add up, and are those of the messages there are."""
        by_day: dict[date, list[Message]] = defaultdict(list)
        for message in self.known.values():
            by_day[local_day(message.made_at)].append(message)
        for day, messages in by_day.items():
            rows = self.office.reports.rows(day, day, agencies=self.office.reported_agencies)
            for row in rows:
                for kind in SETTLE:
                    parts = sum(int(row[f"{kind}_{ending}"] or 0) for ending in Ending)
                    assert parts == row[f"{kind}_made"], f"{kind} of {row['agency']} does not add up"
            (total,) = [row for row in rows if row["agency"] == "*"]
            made = Counter(m.kind for m in messages)
            delivered = Counter(m.kind for m in messages if m.state is S.DELIVERED)
            for kind in SETTLE:
                assert (total[f"{kind}_made"], total[f"{kind}_delivered"]) == (made[kind], delivered[kind])

    # the end

    def settled(self) -> None:
        """Everything had time, gateway and databases are well: nothing owed is still to be sent."""
        for message in self.known.values():
            entry = self.entry(message)
            waits_for_receipt = message.state is S.UNKNOWN and message.possible_duplicate
            waits = message.state in (S.ACCEPTED, S.HELD) or waits_for_receipt or message.final_at is not None
            assert waits, f"{entry} is still {message.state}"
        for book in self.books.values():
            for entry in set(book.by_id.values()):
                self._reached(entry)

    def _reached(self, entry: Entry) -> None:
        messages = [self.known[id_] for id_ in entry.ids if id_ in self.known]
        handings = [one for one in self.network.handings if one.message.id in entry.ids]
        self.tally.handed_over += bool(handings)
        takes = sum(1 for one in handings if one.taken)
        marked = any(m.possible_duplicate for m in messages) or not messages
        if takes > 1:
            self.tally.doubled += 1
            self.tally.marked += marked
            assert marked, f"{entry} reached the network {takes} times and is not marked"
        excused = {S.SUPPRESSED, S.SUPERSEDED, S.EXPIRED, S.REJECTED, S.HELD}
        owed = any(m.state not in excused for m in messages)
        if owed and not any(one.perhaps_taken for one in handings):
            said = self.network.said.get(messages[-1].id, set())
            if not said:
                self.tally.lost += 1
                raise AssertionError(f"{entry} never reached the gateway")
