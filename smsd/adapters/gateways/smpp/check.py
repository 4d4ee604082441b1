"""What `smsd check` asks of a message centre: does it answer, and does it take our account."""

from __future__ import annotations

import selectors
import socket
import time

from smsd.adapters.gateways.smpp import statuses
from smsd.adapters.gateways.smpp.connection import ConnectError, Endpoint, connect
from smsd.adapters.gateways.smpp.session import Ending, Session, Timings
from smsd.adapters.gateways.smpp.window import Window
from smsd.adapters.gateways.smpp.wire import Wire
from smsd.core.model import Verdict
from smsd.services.ports import CheckResult

_NAME = "smpp"
_PATIENCE = 10.0
_SLICE = 0.1
_MEND_ADDRESS = (
    "mend gateway.host, port or tls in smsd.yaml, or ask the provider whether this host may connect"
)
_MEND_ACCOUNT = "mend gateway.system_id, password or system_type in smsd.yaml"


def check_account(endpoint: Endpoint, bind: bytes, timings: Timings) -> list[CheckResult]:
    """Connect, bind as a transceiver and unbind."""
    patience = min(_PATIENCE, timings.answer_timeout)
    results = []
    if endpoint.tls == "insecure":
        hint = "gateway.tls: true verifies whom the password is told"
        results.append(
            CheckResult(_NAME, "warning", "the message centre's certificate is not verified", hint)
        )
    try:
        connection = connect(endpoint, min(_PATIENCE, timings.connect_timeout))
    except ConnectError as error:
        return [*results, CheckResult(_NAME, "failed", error.detail, _MEND_ADDRESS)]
    window = Window(1, patience, _nothing_submitted)
    session = Session(bind, window, Timings(answer_timeout=patience), time.monotonic())
    _converse(connection, session)
    return [*results, _judged(session, endpoint)]


def _converse(connection: socket.socket, session: Session) -> None:
    """Until the session has ended: unbound by us, refused, or broken."""
    with selectors.DefaultSelector() as selector:
        wire, now = Wire(connection, selector, session), time.monotonic()
        while session.ended is None:
            wire.write(now)
            selector.select(0.0 if wire.unread else _SLICE)
            now = time.monotonic()
            # receipts that wait for the daemon are not ours to take
            session.acknowledge([sequence for sequence, _ in wire.read(now)], statuses.TRY_AGAIN)
            if session.bound:
                session.leave(now)
            session.tick(now)
        wire.write(now)
        wire.close()


def _judged(session: Session, endpoint: Endpoint) -> CheckResult:
    ending = session.ended or Ending("", "")
    if session.bound:
        return CheckResult(_NAME, "ok", f"{endpoint} answers and takes our account")
    if ending.code == statuses.BIND_STATUSES[statuses.ALREADY_BOUND].name:
        return CheckResult(
            _NAME, "ok", f"{endpoint} answers; our account is bound already, by the daemon if it runs"
        )
    hint = _MEND_ACCOUNT if ending.verdict is Verdict.ACCOUNT else _MEND_ADDRESS
    return CheckResult(_NAME, "failed", f"{endpoint} does not bind us: {ending.code} {ending.detail}", hint)


def _nothing_submitted(*_: object) -> None:
    """Outcomes do not come where nothing is submitted."""
