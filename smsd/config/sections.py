"""What all sections of the configuration have in common.

Attribute names are the keys of the files. Defaults are written as an operator would write them.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


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
