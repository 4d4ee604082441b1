"""What comes in over the real process: receipts, look-ups, metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.httpgateway import HttpGateway, filled_in
from tests.support.postgres import free_port, wait_until
from tests.system.daemonoffice import READY, Office, baselined, reload
from tests.system.process import Daemon

SECRET = "s3cret-of-the-test"


@dataclass
class Desk:
    """A running daemon with a listener, before Kannel."""

    office: Office
    daemon: Daemon
    gateway: HttpGateway
    port: int

    def call(self, path: str, **fields: str) -> tuple[int, str]:
        """Status and text of a call; with fields a form is posted."""
        return fetched(f"http://127.0.0.1:{self.port}{path}", fields)

    def look_up(
        self, text: str, number: str = "+84905123456", id_: str = "", token: str = SECRET
    ) -> tuple[int, str]:
        query = urlencode({"from": number, "text": text, "id": id_, "token": token})
        return self.call(f"/lookups?{query}")


def fetched(url: str, fields: dict[str, str] | None = None) -> tuple[int, str]:
    request = Request(url, data=urlencode(fields).encode() if fields else None)
    try:
        with urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    port = free_port()
    with HttpGateway() as gateway:
        office = Office(
            tmp_path / "etc",
            gateway={"type": "kannel", "url": gateway.url, "username": "smsd", "password": "sesame"},
            inbound={
                "listen": f"127.0.0.1:{port}",
                "public_url": f"http://127.0.0.1:{port}",
                "secret": SECRET,
            },
            lookup={"per_number": "3/1h"},
        )
        office.add("alpha", name="Sở Alpha")
        office.add("beta", name="Sở Beta", mode="shadow")
        with Daemon(office) as daemon:
            baselined(daemon, "alpha", "beta")
            yield Desk(office, daemon, gateway, port)
        office.close()


def test_receipts_count_when_they_are_signed_and_change_nothing_when_they_are_not(desk: Desk) -> None:
    desk.office.databases["alpha"].execute(
        f"UPDATE dossiers SET step = '{READY}' WHERE dossier_code < 'alpha-2'"
    )
    wait_until(lambda: desk.office.ask("SELECT count(*) FROM messages WHERE state = 'accepted'") == [(2,)])
    first, second = (
        filled_in(message.dlr_url, said) for message, said in zip(desk.gateway.messages, "12", strict=True)
    )
    forged = re.sub(r"(sig[^=]*=)[^&]+", r"\1AAAA", first)
    assert forged != first
    for url in (
        forged,
        first.replace(desk.gateway.messages[0].id, desk.gateway.messages[1].id),
        first.partition("?")[0],
    ):
        status, _ = fetched(url)
        assert 400 <= status < 500
    assert desk.office.ask("SELECT count(*) FROM messages WHERE state = 'accepted'") == [(2,)]
    assert fetched(first)[0] == fetched(first)[0] == 200
    assert fetched(second)[0] == 200
    states = desk.office.ask("SELECT state FROM messages ORDER BY state")
    assert states == [("delivered",), ("undelivered",)]
    reload(desk.daemon)
    assert fetched(first)[0] == 200, "the same listener after a reload"
    assert desk.office.ask("SELECT state FROM messages ORDER BY state") == states
    _nothing_private(desk.daemon)


def test_citizens_are_answered_in_the_words_of_the_letter(desk: Desk) -> None:
    in_time = "Hồ sơ của quý Ông/Bà (alpha-1) hiện đang ở bước Thẩm định, trạng thái hồ sơ: Đúng hạn."
    assert desk.look_up("MCKH alpha-1", number="84905000001") == (200, in_time)
    assert desk.look_up(" mckh   ALPHA-1 ", number="84905000002") == (200, in_time)
    assert desk.call("/lookups", **{"from": "84905000003", "text": "MCKH alpha-1", "token": SECRET}) == (
        200,
        in_time,
    )
    assert "(beta-1)" in desk.look_up("MCKH beta-1", number="84905000004")[1], "shadow is asked too"
    desk.office.databases["alpha"].update("alpha-2", due_at="2020-01-01 10:00:00")
    late = "Hồ sơ của quý Ông/Bà (alpha-2) hiện đang ở bước Thẩm định, trạng thái hồ sơ: Trễ hạn."
    numbers = iter(range(84905100000, 84905200000))
    wait_until(lambda: desk.look_up("MCKH alpha-2", number=str(next(numbers))) == (200, late), step=0.2)
    assert desk.look_up("MCKH nowhere", number="84905000005")[1].startswith("Không tìm thấy hồ sơ nowhere.")
    assert desk.look_up("hello", number="84905000006")[1].startswith("Tin nhắn sai cú pháp.")
    assert desk.look_up("MCKH alpha-1", token="wrong")[0] == 403
    assert desk.call("/lookups?text=MCKH")[0] == 403
    _nothing_private(desk.daemon)


def test_a_repeated_id_gets_the_same_answer_and_too_many_get_another(desk: Desk) -> None:
    answers = [desk.look_up("MCKH alpha-1", id_="same") for _ in range(5)]
    assert len(set(answers)) == 1
    desk.look_up("MCKH alpha-2", id_="b")
    desk.look_up("MCKH alpha-2", id_="c")
    status, text = desk.look_up("MCKH alpha-3", id_="d", number="0905123456")
    assert (status, text) == (200, "Quý Ông/Bà đã tra cứu quá nhiều lần. Vui lòng thử lại sau.")
    assert desk.look_up("MCKH something else", id_="same") == answers[0]
    reload(desk.daemon)
    assert desk.look_up("MCKH alpha-1", id_="same") == answers[0]
    assert desk.look_up("MCKH alpha-1", id_="e")[1].startswith("Quý Ông/Bà đã tra cứu quá nhiều lần.")


def test_metrics_can_be_parsed_and_hold_no_number_and_no_code(desk: Desk) -> None:
    desk.office.databases["alpha"].update("alpha-1", step=READY)
    wait_until(lambda: desk.office.ask("SELECT count(*) FROM messages WHERE state = 'accepted'") == [(1,)])
    desk.look_up("MCKH alpha-1", id_="x")
    status, text = desk.call("/metrics")
    assert status == 200
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {
        "smsd_agency_read_age_seconds",
        "smsd_messages_24h",
        "smsd_lookups_24h",
        "smsd_alarm",
    } <= families.keys()
    assert {sample.labels["agency"] for sample in families["smsd_agency_rows"].samples} == {"alpha", "beta"}
    [looked_up] = families["smsd_lookups_24h"].samples
    assert (looked_up.labels, looked_up.value) == ({"outcome": "found", "road": "plain"}, 1)
    assert not re.search(r"905123456|alpha-\d|Thông báo", text)


def test_a_listener_moves_with_a_reload_and_stays_where_the_new_address_is_taken(desk: Desk) -> None:
    assert desk.call("/healthz") == (200, "ok")
    other = free_port()
    moved = {"listen": f"127.0.0.1:{other}", "public_url": f"http://127.0.0.1:{other}", "secret": SECRET}
    taken = {**moved, "listen": f"127.0.0.1:{desk.gateway.port}"}
    desk.office.write(inbound=taken)
    reload(desk.daemon, "not_reloaded")
    assert desk.call("/healthz") == (200, "ok")
    [alarm] = desk.office.alarms()
    assert alarm["key"] == "config"
    assert "cannot listen" in alarm["message"]
    desk.office.write(inbound=moved)
    reload(desk.daemon)
    assert fetched(f"http://127.0.0.1:{other}/healthz") == (200, "ok")
    with pytest.raises(OSError, match="refused"):
        fetched(f"http://127.0.0.1:{desk.port}/healthz")
    desk.port = other
    desk.office.write(inbound={**moved, "secret": "another-s3cret"})
    reload(desk.daemon)
    assert desk.look_up("MCKH alpha-1")[0] == 403
    assert desk.look_up("MCKH alpha-1", token="another-s3cret")[0] == 200
    assert desk.office.alarms() == []
    del desk.office.settings["inbound"]
    desk.office.write()
    reload(desk.daemon)
    with pytest.raises(OSError, match="refused"):
        fetched(f"http://127.0.0.1:{other}/healthz")
    assert desk.daemon.stop() == 0


def _nothing_private(daemon: Daemon) -> None:
    assert not re.search(r"905\d{6}|Thông báo|sesame|s3cret", "".join(daemon.raw))
