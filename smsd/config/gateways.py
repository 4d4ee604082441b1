"""The `gateway` section: one class for each `type`. Another gateway is another class, named in the union."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from smsd.config.addresses import Folder, HttpUrl
from smsd.config.http.description import HttpSettings
from smsd.config.sections import Section
from smsd.config.values import Name, Rate, Secret, Switch, choice_from, parsed_by, text_from, whole_from


class SpoolSettings(Section):
    """Messages are written to files and go nowhere."""

    type: Literal["spool"]
    directory: Folder
    rate: Rate = None


class KannelSettings(Section):
    """Kannel's sendsms. ``connections`` is how many messages may be under way at once."""

    type: Literal["kannel"]
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
