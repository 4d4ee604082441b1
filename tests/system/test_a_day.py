"""A day of five agencies on real databases, the daemon a real process that is killed in the middle of sending."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.agencyviews import AgencyDatabase, PostgresAgency, SqliteAgency
from tests.support.httpgateway import HttpGateway
from tests.support.postgres import PostgresServer, free_port, wait_until
from tests.system.process import Daemon, Installed, zone_where_it_is

READY, RECEIVED, WORK, DONE = "Trả kết quả", "Tiếp nhận", "Thẩm định", "Đã trả kết quả"
SUPPLEMENT = "Chờ bổ sung"
PHONE = "0905 111 {:03}"
MANY = 10
"""Dossiers of each agency that simply become ready."""


KINDS = ("result_ready", "supplement", "apology")


def result_text(code: str, agency: str) -> str:
    return (
        f"Thông báo: Hồ sơ của quý Ông/Bà ({code}) đã được giải quyết xong. "
        f"Mời Ông/Bà đến Bộ phận Một cửa {agency} để nhận kết quả"
    )


def supplement_text(code: str, agency: str) -> str:
    return (
        f"Thông báo: Hồ sơ của quý Ông/Bà ({code}) cần bổ sung theo quy định. "
        f"Mời Ông/Bà đến Bộ phận Một cửa {agency} để nhận thông báo"
    )


def apology_text(code: str, agency: str, due: str) -> str:
    return (
        f"Thông báo: Hồ sơ của quý Ông/Bà ({code}) chưa có kết quả vào ngày {due}. "
        f"{agency} chân thành xin lỗi. Ông/Bà vui lòng đến nhận kết quả khi có tin nhắn tiếp theo"
    )


@dataclass
class Agency:
    """One agency of the day: its database and the dossiers by the part they play."""

    id: str
    database: AgencyDatabase
    zone: ZoneInfo
    mode: str = "live"

    @property
    def name(self) -> str:
        return f"Sở {self.id}"

    def code(self, part: str) -> str:
        return f"H32.{self.id}/{part}-0001"

    def stand(self, part: str, step: str = WORK, phone: str = "0905123456", **values: object) -> None:
        now = datetime.now(self.zone)
        row = {
            "dossier_code": self.code(part),
            "phone": phone,
            "step": step,
            "status": "Đang xử lý",
            "procedure_code": "1.001",
            "procedure_name": "Đăng ký khai sinh",
            "received_at": now - timedelta(days=4),
            "due_at": now + timedelta(days=9),
            **values,
        }
        self.database.insert([{k: _text(v) for k, v in row.items()}])

    def move(self, part: str, step: str, status: str = "Đang xử lý", **values: object) -> None:
        resolved = (
            {"resolved_at": _text(datetime.now(self.zone))} if step == READY and status != SUPPLEMENT else {}
        )
        self.database.update(self.code(part), step=step, status=status, **resolved, **values)


def _text(value: object) -> object:
    return value.strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else value


def tomorrow(zone: ZoneInfo) -> datetime:
    return datetime.now(zone).replace(hour=10, minute=0) + timedelta(days=1)


def set_the_stage(agency: Agency) -> None:
    """What is there before the daemon ever looks."""
    for number in range(MANY):
        agency.stand(f"many{number}", phone=PHONE.format(number))
    agency.stand("landline", phone="0258 3822222")
    agency.stand("nophone", phone="khong co")
    agency.stand("ambiguous", phone="0582222333")
    agency.stand("old", phone="01621234567")
    agency.stand("lostzero", phone="905123457")
    agency.stand("supplement")
    agency.stand("elsewhere")
    agency.stand("again", step=READY)
    agency.stand("ready_before", step=READY)
    agency.stand("skipped", procedure_code="9.999")
    for part in ("late", "late_then_ready", "in_time"):
        agency.stand(part, due_at=tomorrow(agency.zone))


def work_through_the_day(agency: Agency) -> None:
    """What the clerks do while the daemon looks."""
    for number in range(MANY):
        agency.move(f"many{number}", READY)
    for part in ("landline", "nophone", "ambiguous", "old", "lostzero", "in_time", "skipped"):
        agency.move(part, READY)
    agency.move("supplement", RECEIVED, SUPPLEMENT)
    agency.move("elsewhere", WORK, SUPPLEMENT)
    now = datetime.now(agency.zone)
    agency.stand("new", step=READY, received_at=now, due_at=now + timedelta(days=2), resolved_at=now)
    agency.move("again", WORK)


def expected_from(agency: Agency) -> Iterator[tuple[str, str]]:
    """Every text of the day, written out from the letter: (number, text)."""
    if agency.mode != "live":
        return
    name, due = agency.name, tomorrow(agency.zone).strftime("%d/%m/%Y")
    for number in range(MANY):
        yield f"84905111{number:03}", result_text(agency.code(f"many{number}"), name)
    yield "84321234567", result_text(agency.code("old"), name)
    yield "84905123457", result_text(agency.code("lostzero"), name)
    yield "84905123456", result_text(agency.code("in_time"), name)
    yield "84905123456", result_text(agency.code("new"), name)
    yield "84905123456", result_text(agency.code("again"), name)
    yield "84905123456", result_text(agency.code("late_then_ready"), name)
    yield "84905123456", supplement_text(agency.code("supplement"), name)
    yield "84905123456", apology_text(agency.code("late"), name, due)
    yield "84905123456", apology_text(agency.code("late_then_ready"), name, due)


class Day:
    """The installation, its agencies and its gateway."""

    def __init__(self, folder: Path, postgres: PostgresServer, gateway: HttpGateway) -> None:
        os.environ["GATEWAY_PASSWORD"] = "sesame"  # for the commands of this process's children
        self.gateway = gateway
        zone_name = zone_where_it_is(12)
        self.zone = ZoneInfo(zone_name)
        self.at = _next_minute(datetime.now(self.zone) + timedelta(seconds=25))
        port = free_port()
        self.installed = Installed(
            folder,
            {
                "timezone": zone_name,
                "polling": {"interval": "1s", "timeout": "5s"},
                "notices": {
                    "supplement": {"settle": "1s"},
                    "result_ready": {"settle": "1s"},
                    "apology": {"at": f"{self.at:%H:%M}", "until": f"{self.at + timedelta(minutes=30):%H:%M}"},
                },
                "messages": {"unknown_after": "6s", "sending_hours": "00:00-00:00"},
                "gateway": {
                    "type": "kannel", "url": gateway.url, "username": "smsd", "password": "${GATEWAY_PASSWORD}",
                },
                "inbound": {
                    "listen": f"127.0.0.1:{port}", "public_url": f"http://127.0.0.1:{port}", "secret": "s3cret",
                },
                "reconciliation": {"at": f"{self.at:%H:%M}", "directory": "reports", "language": "en"},
            },
        )  # fmt: skip
        self.agencies = [
            Agency("pg-a", PostgresAgency(postgres, postgres.database()), self.zone),
            Agency("pg-b", PostgresAgency(postgres, postgres.database()), self.zone),
            Agency("lite-a", SqliteAgency(folder / "lite-a.db"), self.zone),
            Agency("lite-b", SqliteAgency(folder / "lite-b.db"), self.zone),
            Agency("lite-c", SqliteAgency(folder / "lite-c.db"), self.zone, mode="shadow"),
        ]
        for agency in self.agencies:
            set_the_stage(agency)
            self.installed.agency(
                agency.id, database=agency.database.url, mode=agency.mode, skip_procedures=["9.999"]
            )

    def start(self) -> Daemon:
        return Daemon(self.installed)

    def status(self) -> dict[str, Any]:
        return self.installed.json("status")

    def taken(self) -> Counter[tuple[str, str]]:
        return Counter((message.to, message.text) for message in self.gateway.messages)

    def close(self) -> None:
        for agency in self.agencies:
            agency.database.close()


def _next_minute(instant: datetime) -> datetime:
    return (instant + timedelta(minutes=1)).replace(second=0, microsecond=0)


@pytest.fixture
def day(tmp_path: Path, postgres: PostgresServer) -> Iterator[Day]:
    with HttpGateway(receipts=["8", "1"], receipt_delay=0.1, latency=0.04) as gateway:
        the_day = Day(tmp_path / "etc", postgres, gateway)
        yield the_day
        the_day.close()


@pytest.mark.timeout(300)
def test_every_text_of_a_day_arrives_once_though_the_daemon_is_killed_while_it_sends(day: Day) -> None:
    with day.start() as daemon:
        wait_until(lambda: len(daemon.logged("baseline_taken")) == len(day.agencies))
        assert not day.gateway.messages, "a baseline sends nothing"
        for agency in day.agencies:
            work_through_the_day(agency)
        wait_until(lambda: len(day.gateway.messages) >= 8)
        daemon.kill()
    killed_with = day.taken()
    assert sum(killed_with.values()) < MANY * 4, "killed too late to be in the middle"

    with day.start() as daemon:
        daemon.wait_for("started")
        for agency in day.agencies:
            agency.move("again", READY)
        wait_until(lambda: datetime.now(day.zone) >= day.at, seconds=100, step=0.2)
        wait_until(lambda: any("xin lỗi" in message.text for message in day.gateway.messages), seconds=20)
        for agency in day.agencies:
            agency.move("late_then_ready", READY)
        expected = Counter(pair for agency in day.agencies for pair in expected_from(agency))
        wait_until(lambda: sum(day.taken().values()) >= sum(expected.values()), seconds=40)
        wait_until(lambda: not day.status()["queue"], seconds=30, step=0.5)
        assert day.taken() - expected == Counter(), "texts too many or wrong"
        assert expected - day.taken() == Counter(), "texts missing"
        wait_until(lambda: _all_delivered(day, sum(expected.values())), seconds=30, step=0.5)
        _check_the_reports(day)
        assert daemon.stop() == 0
    _check_that_nothing_private_was_logged(daemon)


def _all_delivered(day: Day, expected: int) -> bool:
    total = day.installed.json("report")["reconciliation"][-1]
    return sum(total[f"{kind}_delivered"] for kind in KINDS) == expected


def _check_the_reports(day: Day) -> None:
    """reconciliation.csv balances row by row, and says what the day was."""
    folder = day.installed.folder / "reports" / f"{datetime.now(day.zone):%Y-%m-%d}"
    with (folder / "reconciliation.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    endings = ("delivered", "accepted", "failed", "suppressed", "superseded", "pending")
    for row in rows:
        for kind in KINDS:
            assert int(row[f"{kind}_made"]) == sum(int(row[f"{kind}_{ending}"]) for ending in endings), row
    totals = {row["agency"]: row for row in rows if row["procedure_code"] == "*"}
    columns = [
        c
        for c in rows[0]
        if c.startswith(KINDS) or c in ("received", "resolved", "due_tomorrow", "segments", "cost")
    ]
    for column in columns:
        apart = sum(int(row[column]) for row in rows if row["procedure_code"] != "*")
        assert int(totals["*"][column]) == apart, column
    live = totals["pg-a"]
    # many, landline, nophone, ambiguous, old, lostzero, in_time, skipped, new, again, late_then_ready
    assert (live["result_ready_made"], live["result_ready_delivered"]) == (str(MANY + 10), str(MANY + 6))
    assert (live["supplement_made"], live["supplement_delivered"]) == ("1", "1")
    assert (live["apology_made"], live["apology_delivered"]) == ("2", "2")
    assert (live["landline"], live["no_phone"], live["ambiguous_phone"]) == ("1", "1", "1")
    assert (live["received"], live["due_tomorrow"], live["unexplained"]) == ("1", "3", "0")
    shadow = totals["lite-c"]
    assert shadow["result_ready_delivered"] == "0"
    assert int(shadow["result_ready_suppressed"]) == int(shadow["result_ready_made"]) == MANY + 10
    with (folder / "exceptions-pg-a.csv").open(encoding="utf-8-sig", newline="") as file:
        reasons = Counter(row["reason"] for row in csv.DictReader(file))
    assert reasons == Counter(landline=1, no_phone=1, ambiguous_phone=1, procedure=1)


def _check_that_nothing_private_was_logged(daemon: Daemon) -> None:
    log = "".join(daemon.raw)
    assert not re.search(r"905111\d{3}|905123456|Thông báo|sesame|s3cret", log)
    assert all(line.startswith("{") for line in daemon.raw), "every line is JSON"
