"""An HTTP server that remembers every request and answers by script, in a thread of its own.

with HttpPeer() as peer:
    peer.answers(Said(200, b'{"CodeResult":"100"}'), LOST)     # one each, in this order; the last one stays
    peer.answers(Said(200, b'{"access_token":"t1"}'), path="/token")
    … peer.url("/send") … peer.requests …
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Said:
    """One answer. ``lost``: the request is read and the connection closed; ``hang``: nothing is said until the end."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False
    hang: bool = False


LOST = Said(lost=True)
HANG = Said(hang=True)


def said_json(value: object, status: int = 200, **headers: str) -> Said:
    """An answer in JSON."""
    return Said(status, json.dumps(value).encode(), {k.replace("_", "-"): v for k, v in headers.items()})


@dataclass(frozen=True)
class Heard:
    """One request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return _flat(urlsplit(self.target).query)

    @property
    def form(self) -> dict[str, str]:
        return _flat(self.body.decode())

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def _flat(text: str) -> dict[str, str]:
    parsed = parse_qs(text, keep_blank_values=True, strict_parsing=bool(text))
    assert all(len(values) == 1 for values in parsed.values())
    return {name: values[0] for name, values in parsed.items()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        said = self.server.peer.hear(Heard(self.command, self.path, headers, body))
        if said.hang:
            self.server.peer.released.wait(20)
        if said.hang or said.lost:
            self.close_connection = True
            return
        self.send_response(said.status)
        for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said.body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    peer: HttpPeer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no fault of the server."""


class HttpPeer:
    """The server; see the module."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._scripts: dict[str, list[Said]] = {}
        self._requests: list[Heard] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.peer = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    @property
    def requests(self) -> list[Heard]:
        """Every request, in order."""
        with self._lock:
            return list(self._requests)

    def to(self, path: str) -> list[Heard]:
        """The requests to one path."""
        return [heard for heard in self.requests if heard.path == path]

    def answers(self, *script: Said, path: str = "*") -> None:
        """Answer so from now on: one each, the last one for ever."""
        with self._lock:
            self._scripts[path] = list(script)

    def hear(self, heard: Heard) -> Said:
        with self._lock:
            self._requests.append(heard)
            script = self._scripts.get(heard.path) or self._scripts.get("*") or [Said()]
            return script.pop(0) if len(script) > 1 else script[0]

    def __enter__(self) -> HttpPeer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
