"""From the `gateway` section to a gateway."""

from __future__ import annotations

from pathlib import Path

from smsd.adapters.gateways.build import build_gateway, receipt_parsers
from smsd.adapters.gateways.kannel import KannelGateway
from smsd.adapters.gateways.spool import SpoolGateway
from smsd.config.gateways import KannelSettings, SpoolSettings
from smsd.core.model import Verdict
from smsd.core.policy import Encoding
from smsd.roads import Deaf
from smsd.services.ports import Gateway
from tests.contract.gateways.support import CALLBACK, PASSWORD, SECRET, Answers, an_outgoing
from tests.support.builders import ZONE
from tests.support.httpgateway import HttpGateway


def a_kannel_section(**changes: object) -> KannelSettings:
    section = {"type": "kannel", "url": "http://127.0.0.1:13013/cgi-bin/sendsms"}
    return KannelSettings(**(section | {"username": "smsd", "password": PASSWORD} | changes))


def build(settings: SpoolSettings | KannelSettings) -> Gateway:
    return build_gateway(
        settings,
        sender="MotcuaSMS",
        encoding=Encoding.UNICODE,
        number_format="0",
        zone=ZONE,
        callback=CALLBACK,
        notices={},
        receipts=Deaf(),
        lookups=None,
    )


def test_a_spool_is_built_from_its_section(tmp_path: Path) -> None:
    gateway = build(SpoolSettings(type="spool", directory=tmp_path / "spool"))
    assert isinstance(gateway, SpoolGateway)
    assert not (tmp_path / "spool").exists()
    answers = Answers()
    gateway.submit([an_outgoing()], answers)
    assert answers.one().verdict is Verdict.DELIVERED
    assert '"to": "0905000001"' in (tmp_path / "spool" / "2026-08-03.jsonl").read_text()


def test_a_kannel_is_built_from_its_section(server: HttpGateway) -> None:
    gateway = build(a_kannel_section(url=server.url, connections=3))
    assert isinstance(gateway, KannelGateway)
    answers = Answers()
    gateway.submit([an_outgoing()], answers)
    assert answers.one().verdict is Verdict.ACCEPTED
    (message,) = server.messages
    assert (message.to, message.sender) == ("0905000001", "MotcuaSMS")
    assert message.dlr_url.startswith("http://127.0.0.1:8029/receipts/kannel?")
    gateway.close()


def test_the_window_grows_with_the_connections() -> None:
    few, many = build(a_kannel_section(connections=2)), build(a_kannel_section(connections=16))
    assert 2 <= few.window < many.window


def test_only_gateways_that_report_have_a_parser(tmp_path: Path) -> None:
    assert receipt_parsers([SpoolSettings(type="spool", directory=tmp_path)], SECRET) == {}
    parsers = receipt_parsers([a_kannel_section()], SECRET)
    assert {name: parser.name for name, parser in parsers.items()} == {"kannel": "kannel"}
