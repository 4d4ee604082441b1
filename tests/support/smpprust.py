"""Another message centre that others wrote: the server of the package `smpp34`, in Rust, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import smpp34

from tests.support.postgres import free_port


class RustSmsc:
    """Takes every message under a hexadecimal id; `deliver` sends and returns the status of the acknowledgement."""

    def __init__(self) -> None:
        self.port = free_port()
        self.taken: list[Any] = []
        self._changed = threading.Condition()
        self._session: Any = None

    def __enter__(self) -> RustSmsc:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._begin())
        self._serving = asyncio.run_coroutine_threadsafe(self._serve(), self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        self._serving.cancel()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _begin(self) -> None:
        self._server = smpp34.Server("127.0.0.1", self.port, system_id="rust")
        await self._server.start()

    async def _end(self) -> None:
        await self._server.stop()

    async def _serve(self) -> None:
        while True:
            event = await self._server.next()
            with self._changed:
                if isinstance(event, smpp34.Esme):
                    self._session = event
                elif isinstance(event, smpp34.SubmitSmEvent):
                    self.taken.append(event)
                    event.accept(f"{len(self.taken):08X}")
                elif isinstance(event, smpp34.Unbound):
                    self._session = None
                self._changed.notify_all()

    def wait(self, condition: Any) -> None:
        """Until a condition over what came holds."""
        with self._changed:
            assert self._changed.wait_for(condition, 15), "the condition did not come true in time"

    @property
    def bound(self) -> bool:
        return self._session is not None

    def deliver(self, text: bytes, source: str, destination: str, **fields: Any) -> int:
        """Send a deliver_sm; the status with which it was acknowledged."""

        async def send() -> int:
            answer = await self._session.deliver_sm(destination, text, source_addr=source, **fields)
            return int(answer.command_status)

        return int(self._do(send()))
