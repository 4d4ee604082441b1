"""The `gateway` section: one class for each `type`, and several gateways in order of preference.

Another gateway is another class, named in the union. What each must have besides its own keys: ``type``, ``name`` (its
receipts come to `/receipts/<name>`), ``rate`` and ``failover_after``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from smsd.config.addresses import Folder, HttpUrl
from smsd.config.http.description import FAILOVER_AFTER, HttpSettings
from smsd.config.http.reading import gateway_name_from
from smsd.config.sections import Section, default
from smsd.config.values import (
    Duration,
    Name,
    Rate,
    Secret,
    Switch,
    Wrong,
    choice_from,
    parsed_by,
    text_from,
    whole_from,
)

GatewayName = Annotated[str, parsed_by(gateway_name_from)]


class SpoolSettings(Section):
    """Messages are written to files and go nowhere."""

    type: Literal["spool"]
    name: GatewayName = "spool"
    failover_after: Duration = default(FAILOVER_AFTER)
    directory: Folder
    rate: Rate = None


class KannelSettings(Section):
    """Kannel's sendsms. ``connections`` is how many messages may be under way at once."""

    type: Literal["kannel"]
    name: GatewayName = "kannel"
    failover_after: Duration = default(FAILOVER_AFTER)
    url: HttpUrl
    username: Name
    password: Secret
    rate: Rate = None
    connections: Annotated[int, parsed_by(whole_from(1, 64))] = 8


class SmppSettings(Section):
    """An SMPP 3.4 transceiver session. ``window`` is how many submits may be unanswered; ``tls`` proves the peer.

    ``source_ton`` 5 is an alphanumeric sender; a sender of digits gets the type that fits it. ``long_messages`` says
    how parts are joined: by a user data header, by sar_* parameters, or as one message_payload.
    """

    type: Literal["smpp"]
    name: GatewayName = "smpp"
    failover_after: Duration = default(FAILOVER_AFTER)
    host: Name
    port: Annotated[int, parsed_by(whole_from(1, 65535))] = 2775
    system_id: Name
    password: Secret
    system_type: Annotated[str, parsed_by(text_from)] = ""
    window: Annotated[int, parsed_by(whole_from(1, 1000))] = 100
    rate: Rate = None
    tls: Switch = False
    source_ton: Annotated[int, parsed_by(whole_from(0, 6))] = 5
    source_npi: Annotated[int, parsed_by(whole_from(0, 18))] = 0
    long_messages: Annotated[
        Literal["udh", "sar", "payload"], parsed_by(choice_from("udh", "sar", "payload"))
    ] = "udh"


GatewaySettings = Annotated[
    SpoolSettings | KannelSettings | SmppSettings | HttpSettings, Field(discriminator="type")
]


def _as_several(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _told_apart(gateways: Sequence[Any]) -> Sequence[Any]:
    if not gateways:
        raise Wrong("names no gateway, accepted: one, or several in order of preference")
    names = [gateway.name for gateway in gateways]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Wrong(f"has several gateways named {twice[0]}, accepted: a name of its own for each (name: …)")
    return gateways


Gateways = Annotated[tuple[GatewaySettings, ...], BeforeValidator(_as_several), AfterValidator(_told_apart)]
"""One gateway, or a list of them: the first that is well is used."""
