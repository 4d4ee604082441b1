"""What smsd listens to: receipts, look-ups, metrics and a sign of life, as a WSGI application.

Here calls are taken apart, proven and answered in HTTP; what a receipt or a look-up means is decided elsewhere.
Nothing here logs a number, a text or a parameter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qsl

import structlog
from flask import Flask, Request, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from werkzeug.exceptions import HTTPException, MethodNotAllowed, RequestEntityTooLarge, RequestURITooLarge

from smsd.adapters.web.dialects.base import MoDialect, MoError
from smsd.adapters.web.dialects.plain import PlainDialect
from smsd.core.errors import ReceiptError
from smsd.core.texts import is_gsm7
from smsd.services.ports import (
    LookupDesk,
    LookupRequest,
    PartReceiptParser,
    PartReceiptSink,
    ReceiptParser,
    ReceiptSink,
    Reply,
)

log = structlog.get_logger(__name__)

LARGEST_BODY = 16 * 1024
LONGEST_QUERY = 8 * 1024
_FORM = "application/x-www-form-urlencoded"
_TEXT = "text/plain; charset=utf-8"
_OK = 200
_STATUS_OF_RECEIPT_ERROR = {"unsigned": 403, "malformed": 400, "oversized": 413}
_STATUS_OF_MO_ERROR = {"unsigned": 403, "malformed": 400}
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_CHARSETS = {"utf-8", "utf-16be", "utf-16", "iso-8859-1", "us-ascii", "windows-1258"}


AnyReceiptParser = ReceiptParser | PartReceiptParser


class Sink(ReceiptSink, PartReceiptSink, Protocol):
    """Where receipts of both kinds go."""


class InboundCalls:
    """Counts inbound calls by path and outcome."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counter = Counter(
            "smsd_inbound_calls",
            "Calls to the inbound listener, by path and what became of them",
            ["path", "outcome"],
            registry=registry,
        )

    def count(self, path: str, outcome: str) -> None:
        """One call."""
        self._counter.labels(path, outcome).inc()


class _Call(Request):
    """A request whose query may hold any octets: those that should have been escaped are escaped here."""

    def __init__(self, environ: dict[str, Any], *rest: Any, **more: Any) -> None:
        super().__init__(environ, *rest, **more)
        self.query_string = _NOT_ASCII.sub(lambda octet: b"%%%02X" % octet[0][0], self.query_string)


class _Collected(Collector):
    """Lets a function provide metrics at the moment they are asked for."""

    def __init__(self, metrics: Callable[[], Iterable[Metric]]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """The metrics now."""
        return self._metrics()

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: registering must not ask the store."""
        return ()


def create_app(
    *,
    receipts: Mapping[str, AnyReceiptParser],
    sink: Sink,
    lookups: LookupDesk,
    secret: str,
    providers: Mapping[str, MoDialect],
    metrics: Callable[[], Iterable[Metric]],
    alive: Callable[[], bool],
) -> Flask:
    """The application. ``receipts`` are the gateways that may report, by name, and ``providers`` who hands on look-ups.

    Both may change while it serves. Look-ups that no provider hands on must carry ``secret``.
    """
    app = Flask("smsd", static_folder=None)
    app.request_class = _Call
    app.url_map.merge_slashes = False  # it would answer ``//receipts`` with a redirection
    registry = CollectorRegistry(auto_describe=False)
    calls = InboundCalls(registry)
    registry.register(_Collected(metrics))
    app.extensions["smsd_inbound_calls"] = calls
    app.before_request(_refuse_what_is_too_large)
    app.register_error_handler(HTTPException, _answer_http_error(calls))
    app.register_error_handler(Exception, _answer_fault(calls))

    def receive(gateway: str) -> Response:
        return _receive(receipts.get(gateway), sink, calls)

    plain = PlainDialect(secret)

    def look_up() -> Response:
        return _look_up_plainly(plain, lookups, calls)

    def look_up_for(provider: str) -> Response:
        return _look_up_for(providers.get(provider), lookups, calls)

    def show_metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    def show_health() -> Response:
        return _plain("ok") if alive() else _plain("not alive", 503)

    both = ["GET", "POST"]
    _route(app, "/receipts/<gateway>", receive, both)
    _route(app, "/lookups", look_up, both)
    _route(app, "/lookups/<provider>", look_up_for, both)
    _route(app, "/metrics", show_metrics, ["GET", "HEAD"])
    _route(app, "/healthz", show_health, ["GET", "HEAD"])
    return app


def _route(app: Flask, rule: str, view: Callable[..., Response], methods: list[str]) -> None:
    app.add_url_rule(rule, view.__name__, view, methods=methods, provide_automatic_options=False)


def _receive(parser: AnyReceiptParser | None, sink: Sink, calls: InboundCalls) -> Response:
    _refuse_head()
    if parser is None:
        calls.count("receipts", "unknown_gateway")
        return _plain("unknown gateway", 404)
    body = request.get_data(cache=True)
    try:
        outcome = _recorded(parser, sink, _fields(), body)
    except ReceiptError as error:
        calls.count("receipts", error.code if error.code in _STATUS_OF_RECEIPT_ERROR else "malformed")
        return _plain(error.code, _STATUS_OF_RECEIPT_ERROR.get(error.code, 400))
    calls.count("receipts", outcome)
    reply: Reply | None = getattr(parser, "reply", None)
    return _plain("ok") if reply is None else _plain(reply.body, content_type=f"{reply.type}; charset=utf-8")


def _recorded(parser: AnyReceiptParser, sink: Sink, fields: Mapping[str, str], body: bytes) -> str:
    """What a call's receipts came to. Those that name a provider's ids find their messages when they are recorded."""
    if isinstance(parser, PartReceiptParser):
        sink.receive_parts(parser.parse_part_receipts(fields, body))
        return "recorded"
    return sink.receive(parser.parse_receipt(fields, body))


def _look_up_plainly(dialect: PlainDialect, lookups: LookupDesk, calls: InboundCalls) -> Response:
    """A look-up with a token, as Kannel's get-url makes it."""
    _refuse_head()
    request.get_data(cache=True)
    fields = _fields()
    if "text" in fields:
        fields["text"] = _decoded(fields["text"], fields.get("charset"))
    response = _answered(dialect, fields, lookups, calls, "lookups")
    if response.status_code == _OK:
        # without it Kannel answers in the coding of the question, and Vietnamese letters become question marks
        response.headers["X-Kannel-Coding"] = "0" if is_gsm7(response.get_data(as_text=True)) else "2"
    return response


def _look_up_for(dialect: MoDialect | None, lookups: LookupDesk, calls: InboundCalls) -> Response:
    """A look-up that a content provider hands on."""
    _refuse_head()
    if dialect is None:
        calls.count("lookups", "unknown_provider")
        return _plain("unknown provider", 404)
    request.get_data(cache=True)
    return _answered(dialect, _fields(), lookups, calls, f"lookups/{dialect.name}")


def _answered(
    dialect: MoDialect, fields: Mapping[str, str], lookups: LookupDesk, calls: InboundCalls, path: str
) -> Response:
    """The answer to a proven call, counted under ``path``. It was paid for: whatever it asks, there is an answer."""
    try:
        call = dialect.read(fields, request.get_data(cache=True))
    except MoError as error:
        calls.count(path, error.code)
        return _plain(error.message, _STATUS_OF_MO_ERROR[error.code])
    answer = lookups.answer(LookupRequest(call.number, call.text, call.id, dialect.name))
    calls.count(path, "answered")
    content_type, body = dialect.reply(call, answer)
    return _plain(body, content_type=content_type)


def _refuse_head() -> None:
    """A HEAD must change nothing, and the framework offers it wherever there is a GET."""
    if request.method == "HEAD":
        raise MethodNotAllowed(["GET", "POST"])


def _refuse_what_is_too_large() -> None:
    """Too large is told from the announced length; a body without one is cut off by the server's own limit."""
    if len(request.query_string) + len(request.path) > LONGEST_QUERY:
        raise RequestURITooLarge
    if (request.content_length or 0) > LARGEST_BODY:
        raise RequestEntityTooLarge


def _fields() -> dict[str, str]:
    """The call's parameters by name: of the query first, then of a form or a flat JSON object."""
    fields: dict[str, str] = {}
    if request.is_json:
        body = _json_body()
        if isinstance(body, dict):
            fields.update((k, str(v)) for k, v in body.items() if isinstance(v, (str, int, float)))
    elif request.mimetype == _FORM:
        fields.update(request.form.to_dict())
    fields.update(request.args.to_dict())
    return fields


def _json_body() -> object:
    """The body as JSON; None if it is none, or nested so deep that nobody could mean it."""
    try:
        return request.get_json(silent=True)
    except RecursionError:
        return None


def _decoded(text: str, charset: str | None) -> str:
    """A text in the charset the gateway says its bytes are in; without one they are UTF-8, which is read already."""
    name = (charset or "").strip().lower()
    if name not in _CHARSETS or name == "utf-8":
        return text
    query = request.query_string if "text" in request.args else request.get_data(cache=True)
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    raw = next((value.encode("latin-1", "replace") for key, value in pairs if key == "text"), None)
    if raw is None or request.is_json or _is_utf8_all_the_same(raw, name):
        return text
    return raw.decode(name, "replace")


def _is_utf8_all_the_same(raw: bytes, charset: str) -> bool:
    """Kannel names the charset of the message even where it passes the text on as UTF-8; that has no NUL bytes."""
    if not charset.startswith("utf-16") or b"\0" in raw:
        return False
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _plain(body: str | bytes, status: int = 200, content_type: str = _TEXT) -> Response:
    response = Response(body, status=status, content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _path_label() -> str:
    first = request.path.lstrip("/").split("/", 1)[0]
    return first if first in ("receipts", "lookups", "metrics", "healthz") else "other"


def _answer_http_error(calls: InboundCalls) -> Callable[[HTTPException], Response]:
    outcomes = {404: "not_found", 405: "wrong_method", 413: "oversized", 414: "oversized"}

    def answer(error: HTTPException) -> Response:
        code = error.code or 400
        calls.count(_path_label(), outcomes.get(code, "malformed"))
        response = _plain(f"{code} {error.name}", code)
        if isinstance(error, MethodNotAllowed) and error.valid_methods:
            response.headers["Allow"] = ", ".join(error.valid_methods)
        return response

    return answer


def _answer_fault(calls: InboundCalls) -> Callable[[Exception], Response]:
    """Our own fault: the gateway shall try again, and learns nothing of what went wrong."""

    def answer(error: Exception) -> Response:
        calls.count(_path_label(), "failed")
        log.error("inbound_call_failed", path=_path_label(), error=type(error).__name__)
        response = _plain("try again later", 503)
        response.headers["Retry-After"] = "5"
        return response

    return answer
