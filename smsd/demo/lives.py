"""Plausible lives of dossiers: what each row says, and when it changes. Random, and the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, tzinfo

RECEIVED, REVIEW, OPINIONS, SIGNING, READY, HANDED_OVER, WITHDRAWN = (
    "Tiếp nhận",
    "Thẩm định",
    "Lấy ý kiến",
    "Trình ký",
    "Trả kết quả",
    "Đã trả kết quả",
    "Đã rút",
)
IN_WORK, SUPPLEMENT, DONE = "Đang xử lý", "Chờ bổ sung", "Đã có kết quả"

PROCEDURES = (
    ("1.001193", "Đăng ký khai sinh", 1),
    ("2.000815", "Chứng thực bản sao từ bản chính", 0),
    ("1.004873", "Cấp giấy xác nhận tình trạng hôn nhân", 3),
    ("1.009972", "Cấp giấy phép xây dựng nhà ở riêng lẻ", 15),
    ("1.010030", "Đăng ký biến động quyền sử dụng đất", 10),
    ("2.001610", "Đăng ký thành lập doanh nghiệp", 3),
    ("1.002693", "Cấp đổi giấy phép lái xe", 5),
    ("1.000105", "Cấp phiếu lý lịch tư pháp", 10),
)
_MOBILE_PREFIXES = (
    "090",
    "091",
    "093",
    "094",
    "096",
    "097",
    "098",
    "032",
    "035",
    "037",
    "070",
    "078",
    "083",
    "086",
)
_BAD_PHONES = ("", "khong co", "0258.3822222", "0905", "0583222333", "3822222", "09051234567", "0000000000")
_OPENS, _NOON, _AFTERNOON, _CLOSES = time(7, 30), time(11, 30), time(13, 30), time(17, 0)

Row = dict[str, str | None]


@dataclass(order=True)
class Change:
    """At an instant, columns of one dossier get new values; a dossier not there yet is received."""

    at: datetime
    code: str
    columns: Row = field(compare=False)


@dataclass
class Population:
    """The dossiers of one agency: those there on the first morning, and all that changes afterwards, in order."""

    standing: list[Row]
    changes: list[Change]


class Storyteller:
    """Tells the lives of one agency's dossiers over some working days."""

    def __init__(self, agency: int, days: list[date], zone: tzinfo, seed: int) -> None:
        self._agency = agency
        self._days = days
        self._zone = zone
        self._random = random.Random(f"{seed}/{agency}")  # noqa: S311 # nosec B311 # a play, not a secret
        self._count = 0

    def population(self, dossiers: int) -> Population:
        """About so many dossiers standing, a tenth more received each day, and what happens to all of them."""
        population = Population([], [])
        for _ in range(dossiers):
            self._standing(population)
        for day in self._days:
            for _ in range(max(1, dossiers // 10)):
                self._received(population, day)
            for _ in range(max(1, dossiers // 150)):
                self._brought_in_late(population, day)
                self._ready_after_all(population, day)
        population.changes.sort()
        return population

    # single lives

    def _standing(self, population: Population) -> None:
        """A dossier received some time ago: most are closed or ready, some are due these days."""
        age = self._random.randint(2, 25)
        received = self._moment(self._days[0] - timedelta(days=age))
        kind = self._random.random()
        due = self._appointment(received)
        resolved = self._moment(self._days[0] - timedelta(days=self._random.randint(1, age - 1)))
        if kind < 0.55:
            row = self._row(received, due, HANDED_OVER, DONE, resolved)
        elif kind < 0.62:
            row = self._row(received, due, READY, DONE, resolved)
        else:
            due = self._moment(self._days[0] + timedelta(days=self._random.choice((0, 1, 1, 2, 3, 5, 8))))
            step = self._random.choice((RECEIVED, REVIEW, REVIEW, OPINIONS, SIGNING))
            row = self._row(received, due, step, IN_WORK)
            self._what_happens(population, row, self._random.choice(self._days))
        population.standing.append(row)

    def _received(self, population: Population, day: date) -> None:
        """A dossier brought to the counter on a day; simple ones are resolved on it."""
        at = self._moment(day)
        due = self._appointment(at)
        row = self._row(at, due, RECEIVED, IN_WORK)
        population.changes.append(Change(at, _code(row), row))
        if due.date() == at.date():
            self._resolve(population, row, at + timedelta(minutes=self._random.randint(20, 90)))
        elif self._random.random() < 0.3:
            self._change(population, row, at + timedelta(minutes=40), step=REVIEW)

    def _what_happens(self, population: Population, row: Row, day: date) -> None:
        chance, at = self._random.random(), self._moment(day)
        if chance < 0.34:
            self._resolve(population, row, at)
        elif chance < 0.44:
            self._ask_for_supplement(population, row, at)
        elif chance < 0.47:
            self._ready_by_mistake(population, row, at)
        elif chance < 0.475:
            self._over_the_counter(population, row, at)
        elif chance < 0.49:
            self._change(population, row, at, step=WITHDRAWN, status=None)
        elif chance < 0.51:
            self._change(population, row, at, due_at=_text(at + timedelta(days=3)))
        elif chance < 0.75:
            self._change(population, row, at, step=SIGNING)

    def _resolve(self, population: Population, row: Row, at: datetime) -> None:
        self._change(population, row, at, step=READY, status=DONE, resolved_at=_text(at))
        if self._random.random() < 0.4:
            collected = at + timedelta(minutes=self._random.randint(30, 300))
            self._change(population, row, collected, step=HANDED_OVER)

    def _ask_for_supplement(self, population: Population, row: Row, at: datetime) -> None:
        self._change(population, row, at, step=RECEIVED, status=SUPPLEMENT)
        if self._random.random() < 0.3:
            self._change(population, row, at + timedelta(hours=3), step=REVIEW, status=IN_WORK)

    def _ready_by_mistake(self, population: Population, row: Row, at: datetime) -> None:
        """A clerk takes the wrong step; some notice at once (nothing is sent), some after the text has left."""
        self._change(population, row, at, step=READY)
        noticed = at + timedelta(minutes=self._random.choice((12, 12, 45)))
        self._change(population, row, noticed, step=REVIEW)

    def _ready_after_all(self, population: Population, day: date) -> None:
        """Taken back after the text has left, and ready again within the hour: the citizen knows already."""
        at = self._moment(day)
        row = self._row(at - timedelta(days=3), self._appointment(at), SIGNING, IN_WORK)
        population.standing.append(row)
        for minutes, step in ((0, READY), (25, REVIEW), (40, READY)):
            moment = at + timedelta(minutes=minutes)
            self._change(
                population, row, moment, step=step, resolved_at=_text(moment) if step == READY else None
            )

    def _over_the_counter(self, population: Population, row: Row, at: datetime) -> None:
        """Resolved and handed over in one go: nobody needs a message, the report shows that there was none."""
        self._change(population, row, at, step=HANDED_OVER, status=DONE, resolved_at=_text(at))

    def _brought_in_late(self, population: Population, day: date) -> None:
        """Ready for weeks, entered into the software only now: too old to be news."""
        at = self._moment(day)
        resolved = at - timedelta(days=self._random.randint(35, 60))
        row = self._row(resolved - timedelta(days=5), resolved, READY, DONE, resolved)
        population.changes.append(Change(at, _code(row), row))

    # parts

    def _row(
        self, received: datetime, due: datetime, step: str, status: str, resolved: datetime | None = None
    ) -> Row:
        self._count += 1
        code, name, _ = self._random.choice(PROCEDURES)
        return {
            "dossier_code": f"000.00.{self._agency:02}.H32-{received:%y%m%d}-{self._count:04}",
            "phone": self._phone(),
            "step": step,
            "status": status,
            "procedure_code": code,
            "procedure_name": name,
            "received_at": _text(received),
            "due_at": _text(due),
            "resolved_at": _text(resolved) if resolved else None,
        }

    def _change(self, population: Population, row: Row, at: datetime, **columns: str | None) -> None:
        population.changes.append(Change(at, _code(row), dict(columns)))

    def _phone(self) -> str:
        """A number as clerks type it; nearly a third cannot be texted, as in the pilot."""
        if self._random.random() < 0.3:
            return self._random.choice(_BAD_PHONES)
        prefix, rest = self._random.choice(_MOBILE_PREFIXES), f"{self._random.randrange(10_000_000):07}"
        spelling = self._random.choice(
            ("{p}{r}", "{p}{r}", "{p}.{a}.{b}", "+84{q}{r}", "{q}{r}", "{p} {r} (con)")
        )
        return spelling.format(p=prefix, q=prefix[1:], r=rest, a=rest[:3], b=rest[3:])

    def _appointment(self, received: datetime) -> datetime:
        days = self._random.choice(PROCEDURES)[2]
        return (
            self._moment(received.date() + timedelta(days=days))
            if days
            else received.replace(hour=16, minute=30)
        )

    def _moment(self, day: date) -> datetime:
        """A minute within a working day's hours."""
        opens, closes = self._random.choice(((_OPENS, _NOON), (_AFTERNOON, _CLOSES)))
        minutes = (closes.hour - opens.hour) * 60 + closes.minute - opens.minute
        start = datetime.combine(day, opens, tzinfo=self._zone)
        return start + timedelta(minutes=self._random.randrange(minutes))


def working_days(first: date, count: int) -> Iterator[date]:
    """So many days from Monday to Friday."""
    day = first
    while count:
        if day.weekday() < 5:
            yield day
            count -= 1
        day += timedelta(days=1)


def _code(row: Row) -> str:
    return str(row["dossier_code"])


def _text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S")
