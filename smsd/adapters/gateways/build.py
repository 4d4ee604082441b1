"""From the `gateway` section to a gateway: the one place that knows every type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo

from smsd.adapters.gateways.http.gateway import HttpProvider
from smsd.adapters.gateways.http.receipts import receipts_of
from smsd.adapters.gateways.kannel import KannelGateway, KannelReceipts
from smsd.adapters.gateways.smpp.gateway import SmppGateway
from smsd.adapters.gateways.spool import SpoolGateway
from smsd.config.gateways import GatewaySettings, KannelSettings, SmppSettings, SpoolSettings
from smsd.config.http.description import HttpSettings
from smsd.core.policy import Encoding
from smsd.core.signing import Callback
from smsd.services.ports import (
    Gateway,
    LookupDesk,
    PartReceiptParser,
    PartReceiptSink,
    ReceiptParser,
)


def build_gateway(
    settings: GatewaySettings,
    *,
    sender: str,
    encoding: Encoding,
    number_format: str,
    zone: tzinfo,
    callback: Callback | None,
    notices: Mapping[str, Sequence[str]],
    receipts: PartReceiptSink,
    lookups: LookupDesk | None,
) -> Gateway:
    """The configured gateway. Opens nothing before the first message, or its ``start`` where it has one.

    ``notices`` are the texts in force by kind; ``receipts`` and ``lookups`` take what comes over a gateway's own
    connection.
    """
    if isinstance(settings, SpoolSettings):
        return SpoolGateway(
            settings.directory, sender=sender, zone=zone, number_format=number_format, name=settings.name
        )
    if isinstance(settings, HttpSettings):
        return HttpProvider(
            settings,
            sender=sender,
            encoding=encoding,
            number_format=number_format,
            zone=zone,
            callback=callback,
            notices=notices,
        )
    if isinstance(settings, SmppSettings):
        session = settings.model_dump(exclude={"type", "rate", "failover_after", "password"})
        return SmppGateway(
            **session,
            password=settings.password.get_secret_value(),
            sender=sender,
            encoding=encoding,
            number_format=number_format,
            receipts=receipts,
            lookups=lookups,
        )
    return KannelGateway(
        settings.url,
        settings.username,
        settings.password.get_secret_value(),
        sender=sender,
        encoding=encoding,
        number_format=number_format,
        callback=callback,
        connections=settings.connections,
        name=settings.name,
    )


def receipt_parsers(
    gateways: Sequence[GatewaySettings], secret: str
) -> dict[str, ReceiptParser | PartReceiptParser]:
    """Who may report at `/receipts/<name>`; a spool has nothing to report, and SMPP reports over its own connection."""
    found: dict[str, ReceiptParser | PartReceiptParser] = {}
    for settings in gateways:
        if isinstance(settings, KannelSettings):
            found[settings.name] = KannelReceipts(settings.name, secret)
        elif isinstance(settings, HttpSettings):
            receipts = receipts_of(settings.name, settings.receipt, secret)
            found |= {settings.name: receipts} if receipts is not None else {}
    return found
