"""The inbound application with places for what it hands on, and the same served for real."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.metrics_core import GaugeMetricFamily
from structlog.testing import capture_logs

from smsd.adapters.gateways.kannel import KannelReceipts
from smsd.adapters.web.app import create_app
from smsd.adapters.web.dialects import EsmsDialect, MoDialect, OnePayDialect
from smsd.adapters.web.server import InboundServer
from smsd.core.model import Receipt
from smsd.services.ports import LookupRequest

SECRET = "tell-nobody"
ONEPAY_SECRET = "agreed upon with 1Pay"
ESMS_SECRET = "agreed upon with eSMS"


@dataclass
class Desk:
    """Takes receipts and look-ups. ``broken`` makes it fail, ``gate`` keeps whoever asks waiting while it is closed."""

    known: set[str] = field(default_factory=set)
    receipts: list[Receipt] = field(default_factory=list)
    asked: list[LookupRequest] = field(default_factory=list)
    broken: bool = False
    alive: bool = True
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    """Set when somebody asks."""

    def __post_init__(self) -> None:
        self.gate.set()

    def receive(self, receipt: Receipt) -> str:
        if self.broken:
            raise RuntimeError("the store is locked: 84905123456")
        if receipt.message_id not in self.known:
            return "unknown_message"
        if receipt in self.receipts:
            return "repeated"
        self.receipts.append(receipt)
        return "applied"

    def answer(self, request: LookupRequest) -> str:
        self.entered.set()
        self.gate.wait(20)
        if self.broken:
            raise RuntimeError("the store is locked: 84905123456")
        self.asked.append(request)
        return f"Hồ sơ {request.text[:20]}: Đúng hạn"


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def providers() -> dict[str, MoDialect]:
    """Who hands on look-ups; may change while the application serves."""
    return {"1pay": OnePayDialect(ONEPAY_SECRET), "esms": EsmsDialect(ESMS_SECRET, cpid="cp7")}


@pytest.fixture
def app(desk: Desk, providers: dict[str, MoDialect]) -> Iterator[Flask]:
    def metrics() -> Iterator[GaugeMetricFamily]:
        if desk.broken:
            raise RuntimeError("the store is locked")
        yield GaugeMetricFamily(
            "smsd_oldest_due_seconds", "How long the message due longest has waited", value=3
        )

    with capture_logs() as logs:
        yield create_app(
            receipts={"kannel": KannelReceipts("kannel", SECRET)},
            sink=desk,
            lookups=desk,
            secret=SECRET,
            providers=providers,
            metrics=metrics,
            alive=lambda: desk.alive,
        )
    said = str(logs)
    assert not any(secret in said for secret in (SECRET, ONEPAY_SECRET, ESMS_SECRET))
    assert "84905" not in said
    assert "MCKH" not in said


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def server(app: Flask) -> Iterator[InboundServer]:
    server = InboundServer("127.0.0.1:0", app, app.extensions["smsd_inbound_calls"])
    server.start()
    yield server
    server.close()
