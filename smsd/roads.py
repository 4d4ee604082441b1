"""The configured gateways, each told where to report back if anything listens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from smsd.adapters.gateways.build import build_gateway
from smsd.config.settings import Settings
from smsd.core.errors import StoreError
from smsd.core.model import PartReceipt
from smsd.core.signing import Callback
from smsd.services.ports import Gateway, LookupDesk, PartReceiptSink


class Deaf:
    """Takes no receipts: for a gateway that is only checked. What comes is told again to the daemon."""

    def receive_parts(self, receipts: Sequence[PartReceipt]) -> None:
        """Raises, so that nothing is acknowledged."""
        raise StoreError(f"{len(receipts)} receipts came to a check", code="not_recorded")


def gateways_of(
    settings: Settings,
    texts: Mapping[str, Sequence[str]],
    *,
    receipts: PartReceiptSink | None = None,
    lookups: LookupDesk | None = None,
) -> tuple[Gateway, ...]:
    """In order of preference. ``texts`` are those in force by notice, for providers that have to know them."""
    inbound, messages = settings.inbound, settings.messages
    callback = Callback(inbound.public_url, inbound.secret.get_secret_value()) if inbound else None
    return tuple(
        build_gateway(
            one,
            sender=messages.sender,
            encoding=messages.encoding,
            number_format=messages.number_format,
            zone=settings.zone,
            callback=callback,
            notices=texts,
            receipts=receipts or Deaf(),
            lookups=lookups,
        )
        for one in settings.gateway
    )
