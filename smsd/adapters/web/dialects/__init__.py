"""The dialects of content providers: how a look-up sent to 9029 reaches smsd, and how its answer is taken.

A dialect proves a call, reads number, text and id from it, and writes the answer as the provider reads it. What is
answered, and that a repeated id gets the same answer again, is the look-up service's business.
"""

from smsd.adapters.web.dialects.base import MoCall, MoDialect, MoError
from smsd.adapters.web.dialects.esms import EsmsDialect
from smsd.adapters.web.dialects.onepay import OnePayDialect
from smsd.adapters.web.dialects.plain import PlainDialect

__all__ = ["EsmsDialect", "MoCall", "MoDialect", "MoError", "OnePayDialect", "PlainDialect"]
