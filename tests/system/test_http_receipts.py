"""A provider described in YAML, and the ways in which it tells what became of messages, from file to store and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from structlog.testing import capture_logs

from smsd.daemon import run_once
from smsd.inbound import Inbound
from smsd.installation import read_installation
from smsd.running import Running
from smsd.wiring import System, open_database
from tests.support.httppeer import Heard, HttpPeer, Said, said_json
from tests.support.postgres import free_port, wait_until
from tests.system.daemonoffice import READY, Office

TOKEN = "a-token-of-receipts"
VERDICTS = {"0": "on_its_way", "1": "delivered", "2": "undelivered"}


@dataclass
class Province:
    """An office at work: its services and listener in this process, one dossier, and the provider's side."""

    office: Office
    system: System
    peer: HttpPeer
    port: int
    logs: list[Any]

    def send(self) -> Heard:
        """The dossier becomes ready; what the provider is told of it."""
        self.office.databases["alpha"].update("alpha-0", step=READY)
        self.system.poller.poll_all_once()
        wait_until(lambda: self.state() == "accepted")
        (heard,) = self.peer.to("/send")
        return heard

    def state(self) -> str:
        (row,) = self.office.ask("SELECT state FROM messages") or [("none",)]
        return str(row[0])

    def parts(self) -> list[tuple[object, ...]]:
        """The provider's ids that are kept: as they are compared, and as they were written."""
        query = "SELECT p.gateway, p.part, m.reference FROM message_parts p JOIN messages m ON m.id = p.message_id"
        return self.office.ask(query)

    def call(self, path: str, **fields: str) -> int:
        """A call of the provider's; the status of its answer."""
        joined = "&" if "?" in path else "?"
        try:
            with urlopen(
                f"http://127.0.0.1:{self.port}{path}{joined}{urlencode(fields)}", timeout=10
            ) as said:
                return int(said.status)
        except HTTPError as error:
            return error.code


@contextmanager
def at_work(folder: Path, receipt: dict[str, Any], **json_: str) -> Iterator[Province]:
    port = free_port()
    with HttpPeer() as peer, capture_logs() as logs:
        peer.answers(said_json({"result": 0, "data": {"sid": "00Ab/7788"}}), path="/send")
        peer.answers(Said(404))
        office = Office(
            folder,
            gateway={
                "type": "http",
                "name": "example",
                "request": {"url": peer.url("/send"), "json": {"to": "{to}", "text": "{text}", **json_}},
                "accepted": {"at": "result", "equals": "0"},
                "message_id": "data.sid",
                "receipt": receipt,
            },
            inbound={
                "listen": f"127.0.0.1:{port}",
                "public_url": f"http://127.0.0.1:{port}",
                "secret": "s3cret-of-the-test",
            },
        )
        office.add("alpha", dossiers=1)
        installation = read_installation(office.config, {})
        system = System(installation, open_database(installation.settings))
        running = Running(system)
        running.start()
        inbound = Inbound.opened(system, running.is_sending)
        assert inbound is not None
        system.poller.poll_all_once()
        try:
            yield Province(office, system, peer, port, logs)
        finally:
            inbound.close()
            running.stop()
            system.database.close()
            office.close()
    assert "905123456" not in str(logs) and TOKEN not in str(logs)


POLL = {"method": "GET", "query": {"ref": "{reference}"}}


def polling(**keys: object) -> dict[str, Any]:
    """Asking every second, at an address that is put in once it is known."""
    return {"poll": {"status": "state", "verdicts": VERDICTS, "every": "1s", **keys}}


def test_a_provider_that_is_asked_tells_that_it_is_delivered(tmp_path: Path) -> None:
    with HttpPeer() as told:
        told.answers(said_json({"state": 0}), said_json({"state": 1}))
        request = {"url": told.url("/status"), **POLL}
        with at_work(tmp_path / "etc", polling(request=request)) as province:
            province.send()
            assert province.parts() == [("example", "ab/7788", "00Ab/7788")]
            wait_until(lambda: province.state() == "delivered")
            asked = [heard.query for heard in told.to("/status")]
            assert asked == [{"ref": "00Ab/7788"}] * 2, "asked by the id as the provider wrote it"


def test_once_it_is_known_nobody_is_asked_any_more(tmp_path: Path) -> None:
    with HttpPeer() as told:
        told.answers(said_json({"state": 2}))
        request = {"url": told.url("/status"), **POLL}
        with at_work(tmp_path / "etc", polling(request=request)) as province:
            province.send()
            wait_until(lambda: province.state() == "undelivered")
            (poller,) = province.system.receipt_pollers
            assert poller.turn() == 0
            assert len(told.requests) == 1


def test_a_provider_that_calls_names_its_own_id(tmp_path: Path) -> None:
    receipt = {
        "calls": "shared",
        "token": TOKEN,
        "provider_id": "sid",
        "status": "state",
        "verdicts": VERDICTS,
        "reply": {"type": "application/json", "body": '{"ok":1}'},
    }
    with at_work(tmp_path / "etc", receipt) as province:
        province.send()
        assert province.parts() == [("example", "ab/7788", "00Ab/7788")]
        path = "/receipts/example"
        assert province.call(path, token="guessed", sid="00Ab/7788", state="1") == 403
        assert province.call(path, token=TOKEN, state="1") == 400
        assert province.call(path, token=TOKEN, sid="another", state="2") == 200
        assert province.call(path, token=TOKEN, sid="00Ab/7788", state="0") == 200
        assert province.state() == "accepted"
        assert province.call(path, token=TOKEN, sid="00Ab/7788", state="1") == 200
        assert province.state() == "delivered"
        assert province.system.receipt_pollers == ()


def test_a_receipt_by_the_providers_id_that_comes_before_the_answer_is_not_lost(tmp_path: Path) -> None:
    receipt = {
        "calls": "shared",
        "token": TOKEN,
        "provider_id": "sid",
        "status": "state",
        "verdicts": VERDICTS,
    }
    with at_work(tmp_path / "etc", receipt) as province:
        assert province.call("/receipts/example", token=TOKEN, sid="00aB/7788", state="1") == 200
        province.office.databases["alpha"].update("alpha-0", step=READY)
        province.system.poller.poll_all_once()
        wait_until(lambda: province.state() == "delivered")


def test_a_provider_that_calls_a_signed_address_names_our_id(tmp_path: Path) -> None:
    receipt = {"calls": "signed", "status": "state", "verdicts": VERDICTS}
    with at_work(tmp_path / "etc", receipt, callback="{callback_url}") as province:
        url = json.loads(province.send().body)["callback"]
        assert province.parts() == [], "the provider's id is not needed"
        path = url.removeprefix(f"http://127.0.0.1:{province.port}")
        assert path.startswith("/receipts/example?id=")
        assert province.call(path.replace("sig=", "sig=x"), state="1") == 403
        assert province.state() == "accepted"
        assert province.call(path, state="1") == 200
        assert province.state() == "delivered"


def test_a_fault_of_the_provider_costs_a_turn_and_not_the_asking(tmp_path: Path) -> None:
    with HttpPeer() as told:
        told.answers(Said(500), Said(200, b"<html>"), said_json({"state": 1}))
        request = {"url": told.url("/status"), **POLL}
        with at_work(tmp_path / "etc", polling(request=request)) as province:
            province.send()
            wait_until(lambda: province.state() == "delivered")
            assert len(told.requests) == 3


def test_a_fault_of_the_store_costs_a_turn_and_not_the_asking(tmp_path: Path) -> None:
    with HttpPeer() as told:
        told.answers(said_json({"state": 0}))
        request = {"url": told.url("/status"), **POLL}
        with at_work(tmp_path / "etc", polling(request=request)) as province:
            province.send()
            with province.system.database.writing() as connection:
                connection.exec_driver_sql("ALTER TABLE message_parts RENAME TO away")
            wait_until(lambda: any(line["event"] == "receipts_not_recorded" for line in province.logs))
            with province.system.database.writing() as connection:
                connection.exec_driver_sql("ALTER TABLE away RENAME TO message_parts")
            told.answers(said_json({"state": 1}))
            wait_until(lambda: province.state() == "delivered")


def test_a_run_of_one_turn_asks_too(tmp_path: Path) -> None:
    with HttpPeer() as told:
        told.answers(said_json({"state": 0}))
        request = {"url": told.url("/status"), **POLL}
        with at_work(tmp_path / "etc", polling(request=request)) as province:
            province.send()
            office = province.office
        told.answers(said_json({"state": 1}))
        assert run_once(read_installation(office.config, {})) == 0
        assert office.ask("SELECT state FROM messages") == [("delivered",)]
