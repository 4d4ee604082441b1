"""From the `gateway` section to a gateway: the one place that knows every type."""

from __future__ import annotations

from datetime import tzinfo

from smsd.adapters.gateways.kannel import KannelGateway, KannelReceipts
from smsd.adapters.gateways.spool import SpoolGateway
from smsd.config.sections import GatewaySettings, SpoolSettings
from smsd.core.policy import Encoding
from smsd.core.signing import Callback
from smsd.services.ports import Gateway, ReceiptParser


def build_gateway(
    settings: GatewaySettings,
    *,
    sender: str,
    encoding: Encoding,
    number_format: str,
    zone: tzinfo,
    callback: Callback | None,
) -> Gateway:
    """The configured gateway. Opens nothing: connections and files come with the first message."""
    if isinstance(settings, SpoolSettings):
        return SpoolGateway(settings.directory, sender=sender, zone=zone, number_format=number_format)
    return KannelGateway(
        settings.url,
        settings.username,
        settings.password.get_secret_value(),
        sender=sender,
        encoding=encoding,
        number_format=number_format,
        callback=callback,
        connections=settings.connections,
    )


def receipt_parsers(settings: GatewaySettings, secret: str) -> dict[str, ReceiptParser]:
    """Who may report at `/receipts/<name>`; the spool has nothing to report."""
    if isinstance(settings, SpoolSettings):
        return {}
    return {KannelGateway.name: KannelReceipts(KannelGateway.name, secret)}
