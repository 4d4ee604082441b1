"""An office that is attacked: a real store with messages on their way, and everything that listens to the outside."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from sqlalchemy import select

from smsd.adapters.gateways.http.receipts import receipts_of
from smsd.adapters.gateways.kannel import KannelReceipts
from smsd.adapters.store.engine import Database
from smsd.adapters.store.lookups import LookupStore
from smsd.adapters.store.schema import metadata
from smsd.adapters.web.app import AnyReceiptParser, create_app
from smsd.adapters.web.dialects import EsmsDialect, MoDialect, OnePayDialect
from smsd.config.http.description import ReceiptSettings
from smsd.config.http.presetfiles import preset
from smsd.core.model import Outcome, Verdict
from smsd.core.signing import Callback
from smsd.services.lookup import LookupRules, LookupService
from tests.services.stage import Stage, a_row
from tests.support.builders import ZONE
from tests.support.fakegateway import Reaction

SECRET = "tell-nobody-of-this"
TOKEN = "a-token-of-receipts"
ONEPAY_SECRET = "agreed-upon-with-1pay"
ESMS_SECRET = "agreed-upon-with-esms"
SECRETS = (SECRET, TOKEN, ONEPAY_SECRET, ESMS_SECRET)
CALLBACK = Callback("http://localhost", SECRET)
READY = "Trả kết quả"
RULES = LookupRules(
    keyword="MCKH",
    answer="Hồ sơ ({Mã số hồ sơ}) ở bước {Tên bước giải quyết hiện tại}: {Đúng hạn/Trễ hạn}.",
    not_found="Không tìm thấy {Mã số hồ sơ}",
    wrong_syntax="Sai cú pháp",
    too_many="Quá nhiều",
    limit=20,
    per=timedelta(hours=1),
    zone=ZONE,
)
SIGNED, SHARED, THEIRS = "esms", "shared", "theirs"
"""Gateways whose calls name our id in a signed address, our id with a token, and their own id with a token."""
PARTS = ("4711", "4712", "4713", "4714")
"""The ids by which the message centre took the four messages."""


def store_digest(database: Database) -> str:
    """A fingerprint of every row of every table."""
    told = sha256()
    with database.reading() as connection:
        for table in metadata.sorted_tables:
            rows = sorted(repr(tuple(row)) for row in connection.execute(select(table)))
            told.update(repr((table.name, rows)).encode("utf-8", "surrogatepass"))
    return told.hexdigest()


def parsers() -> dict[str, AnyReceiptParser]:
    """Who may report: Kannel, a preset with signed addresses, and two providers with a token."""
    table = {"status": ["state"], "verdicts": {"1": "delivered", "2": "undelivered"}}
    shared = {"calls": "shared", "token": TOKEN, **table}
    found: dict[str, AnyReceiptParser] = {"kannel": KannelReceipts("kannel", SECRET)}
    described: dict[str, Mapping[str, object]] = {
        SIGNED: {key: value for key, value in preset("esms")["receipt"].items() if key != "poll"},
        SHARED: {**shared, "our_id": "ref"},
        THEIRS: {**shared, "provider_id": "data.sid"},
    }
    for name, receipt in described.items():
        parser = receipts_of(name, ReceiptSettings.model_validate(dict(receipt)), SECRET)
        assert parser is not None
        found[name] = parser
    return found


@dataclass(frozen=True)
class Call:
    """One HTTP request, every part of it as octets."""

    path: bytes
    method: str = "GET"
    query: bytes = b""
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def environ(self) -> dict[str, object]:
        """As a WSGI server hands it on."""
        found: dict[str, object] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path.decode("latin-1"),
            "QUERY_STRING": self.query.decode("latin-1"),
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "8029",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_LENGTH": str(len(self.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": io.StringIO(),
        }
        for name, value in self.headers:
            key = name.upper().replace("-", "_")
            found[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
        return found


@dataclass
class Attacked:
    """The store with dossiers H1 to H4, each with a message handed over, and the application before it."""

    folder: Path
    rules: LookupRules = RULES
    stage: Stage = field(init=False)

    def __post_init__(self) -> None:
        self.stage = Stage(self.folder)
        self.stage.enter(*(a_row(f"H{number}", step=READY) for number in range(1, 5)))
        for part in reversed(PARTS):
            self.stage.gateway.script(Reaction(True, Outcome(Verdict.ACCEPTED, parts=(part,))), times=1)
        self.stage.settle_and_send()
        self.ids = [message.id for message in self.stage.messages()]
        assert self.stage.states() == ["accepted"] * 4
        self.lookups = LookupService(
            LookupStore(self.stage.database),
            self.rules,
            self.stage.clock,
            policies=lambda: self.stage.policies,
            secret="s",
            patience=10,
        )
        dialects: dict[str, MoDialect] = {
            "1pay": OnePayDialect(ONEPAY_SECRET),
            "esms": EsmsDialect(ESMS_SECRET, cpid="cp7"),
        }
        self.app = create_app(
            receipts=parsers(),
            sink=self.stage.delivery,
            lookups=self.lookups,
            secret=SECRET,
            providers=dialects,
            metrics=lambda: (),
            alive=lambda: True,
        )

    def call(self, call: Call) -> tuple[int, bytes]:
        """Status and body of what a call is answered."""
        statuses: list[str] = []
        parts = self.app.wsgi_app(call.environ(), lambda status, headers, info=None: statuses.append(status))
        body = b"".join(parts)
        return int(statuses[0].split()[0]), body

    def get(self, path: str, **fields: str) -> tuple[int, bytes]:
        """The same of a GET with these fields."""
        return self.call(Call(path.encode(), query=urlencode(fields).encode()))

    def signed_fields(self, gateway: str, message_id: str) -> dict[str, str]:
        """The id and the signature in the address a gateway is told to call back."""
        return dict(parse_qsl(urlsplit(CALLBACK.receipt_url(gateway, message_id)).query))

    @property
    def digest(self) -> str:
        """See `store_digest`."""
        return store_digest(self.stage.database)

    def close(self) -> None:
        """Let the store go."""
        self.lookups.close()
        self.stage.database.close()
