"""What all sections of the configuration have in common, and the gateways: one class for each `type`.

Attribute names are the keys of the files. Defaults are written as an operator would write them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from smsd.config.addresses import Folder, HttpUrl
from smsd.config.values import Name, Rate, Secret, parsed_by, whole_from


class Section(BaseModel):
    """A section: unknown keys are refused, nothing changes afterwards.

    Any value may have come from a reference, so that none is ever shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    __str__ = __repr__


def default(written: object) -> Any:
    """A default as it would be written in the file, read as if it were."""
    return Field(default=written, validate_default=True)


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


GatewaySettings = Annotated[SpoolSettings | KannelSettings, Field(discriminator="type")]
"""Another gateway is another class with its own `type`, named here."""
