"""The `lookup.providers` section: content providers that hand on what citizens send to 9029."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Annotated

from pydantic import Field

from smsd.config.sections import Section
from smsd.config.values import Name, Secret, WhereGiven, Wrong, list_from, parsed_by, text_from

_PARAMETER = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_MOST_PARAMETERS = 30


def signed_from(needed: Collection[str]) -> Callable[[object], tuple[str, ...]]:
    """A parser of the parameters that a signature is made over, in their order; some have to be among them."""
    among = ", ".join(needed)

    def parse(value: object) -> tuple[str, ...]:
        names = tuple(text_from(name) for name in list_from(value))
        if not all(_PARAMETER.fullmatch(name) for name in names) or len(names) > _MOST_PARAMETERS:
            raise Wrong("holds what is no parameter's name, accepted: the signed parameters in their order")
        if len(set(names)) < len(names):
            raise Wrong("names a parameter twice, accepted: the signed parameters in their order")
        if not set(needed) <= set(names):
            raise Wrong(f"leaves out what has to be signed, accepted: parameters with {among} among them")
        return names

    return parse


OptionalName = Annotated[Name | None, WhereGiven]


class OnePaySettings(Section):
    """1Pay. ``access_key`` is that of the product whose calls alone are taken; ``signed`` is the contract's own set."""

    secret: Secret
    access_key: OptionalName = None
    signed: Annotated[
        tuple[str, ...] | None, parsed_by(signed_from(("mo_message", "msisdn", "request_id")))
    ] = None


class EsmsSettings(Section):
    """eSMS. ``cpid`` is the customer whose calls alone are taken; ``signed`` is the contract's own set."""

    secret: Secret
    cpid: OptionalName = None
    signed: Annotated[tuple[str, ...] | None, parsed_by(signed_from(("content", "smsid")))] = None


class LookupProviders(Section):
    """The providers by their names in the address they call: `/lookups/1pay`, `/lookups/esms`."""

    onepay: Annotated[OnePaySettings | None, WhereGiven] = Field(default=None, alias="1pay")
    esms: Annotated[EsmsSettings | None, WhereGiven] = None
