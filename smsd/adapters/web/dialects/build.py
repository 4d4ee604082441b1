"""From `lookup.providers` to dialects: the one place that knows every content provider."""

from __future__ import annotations

from smsd.adapters.web.dialects.base import MoDialect
from smsd.adapters.web.dialects.esms import SIGNED, EsmsDialect
from smsd.adapters.web.dialects.onepay import SMS_PLUS, OnePayDialect
from smsd.config.lookups import LookupProviders
from smsd.core.lookups import Road


def dialects_of(providers: LookupProviders) -> dict[str, MoDialect]:
    """Who may hand on look-ups at `/lookups/<provider>`, by the name in that address."""
    found: dict[str, MoDialect] = {}
    if (onepay := providers.onepay) is not None:
        secret, signed = onepay.secret.get_secret_value(), onepay.signed or SMS_PLUS
        found[Road.ONEPAY] = OnePayDialect(secret, access_key=onepay.access_key, signed=signed)
    if (esms := providers.esms) is not None:
        secret, signed = esms.secret.get_secret_value(), esms.signed or SIGNED
        found[Road.ESMS] = EsmsDialect(secret, cpid=esms.cpid, signed=signed)
    return found
