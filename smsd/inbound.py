"""The inbound listener in the daemon: one socket, whatever configuration is in force behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from smsd.adapters.gateways.build import receipt_parsers
from smsd.adapters.web.app import AnyReceiptParser, create_app
from smsd.adapters.web.dialects.base import MoDialect
from smsd.adapters.web.dialects.build import dialects_of
from smsd.adapters.web.metrics import collect_metrics
from smsd.adapters.web.server import InboundServer
from smsd.core.model import PartReceipt, Receipt
from smsd.services.ports import LookupRequest
from smsd.wiring import System


class Inbound:
    """The listener, and the services its calls go to: those of the configuration now in force."""

    def __init__(self, system: System, alive: Callable[[], bool], listen: str, secret: str) -> None:
        self._system = system
        self._secret = secret
        self._parsers: dict[str, AnyReceiptParser] = {}
        self._providers: dict[str, MoDialect] = {}
        self.serve(system)
        app = create_app(
            receipts=self._parsers,
            sink=self,
            lookups=self,
            secret=secret,
            providers=self._providers,
            metrics=lambda: collect_metrics(
                self._system.views, self._system.journal, self._system.clock.now()
            ),
            alive=alive,
        )
        self._server = InboundServer(listen, app, app.extensions["smsd_inbound_calls"])
        self._server.start()

    @classmethod
    def opened(cls, system: System, alive: Callable[[], bool]) -> Inbound | None:
        """The configured listener; None without an `inbound` section. Raises `ListenError`."""
        inbound = system.settings.inbound
        if inbound is None:
            return None
        return cls(system, alive, inbound.listen, inbound.secret.get_secret_value())

    def serve(self, system: System) -> None:
        """Send calls to these services from now on; none falls between the old and the new."""
        parsers = receipt_parsers(system.settings.gateway, self._secret)
        _ = system.lookups, system.delivery  # built here, not by several calls at once
        providers = dialects_of(system.settings.lookup.providers)
        self._parsers.update(parsers)
        self._providers.update(providers)
        self._system = system
        for name in self._parsers.keys() - parsers.keys():
            del self._parsers[name]
        for name in self._providers.keys() - providers.keys():
            del self._providers[name]

    def receive(self, receipt: Receipt) -> str:
        """Record a proven receipt."""
        return self._system.delivery.receive(receipt)

    def receive_parts(self, receipts: Sequence[PartReceipt]) -> None:
        """Record receipts that name parts by the provider's ids."""
        self._system.delivery.receive_parts(receipts)

    def answer(self, request: LookupRequest) -> str:
        """The text to send back."""
        return self._system.lookups.answer(request)

    def close(self) -> None:
        """Stop listening."""
        self._server.close()
