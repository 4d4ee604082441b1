"""What `smsd check` says of a described provider before anything is sent over it."""

from __future__ import annotations

import ipaddress

from smsd.adapters.gateways.http.rendering import Surroundings, address_of
from smsd.adapters.gateways.httpexchange import ExchangeError, Line
from smsd.config.http.description import HttpSettings, RequestSettings
from smsd.services.ports import CheckResult


def about_description(
    settings: HttpSettings, around: Surroundings, problems_of_templates: list[str]
) -> list[CheckResult]:
    """What a description lacks, and what there is to know of it; empty if nothing."""
    name = settings.name
    found = [
        CheckResult(name, "failed", problem, "mend gateway.templates, or the notices")
        for problem in problems_of_templates
    ]
    if around.encoding.value not in settings.encodings:
        message = f"the provider carries no {around.encoding.value} texts"
        hint = f"set messages.encoding, or gateway.encodings.{around.encoding.value}"
        found.append(CheckResult(name, "failed", message, hint))
    if settings.receipt is None:
        message = "no receipts are described: messages end as accepted, never as delivered"
        found.append(
            CheckResult(name, "warning", message, "describe gateway.receipt if the provider reports")
        )
    elif settings.receipt.calls is not None and around.callback is None:
        message = "receipts are called back, but nothing listens"
        found.append(CheckResult(name, "warning", message, "set inbound in smsd.yaml"))
    for request in _requests(settings):
        if _is_in_the_clear(request):
            message = (
                f"{address_of(request).authority} is spoken to without TLS, account and texts can be read"
            )
            found.append(CheckResult(name, "warning", message, "use https, or a tunnel to the provider"))
            break
    return found


def about_host(name: str, request: RequestSettings, line: Line) -> CheckResult:
    """Whether a connection can be had; nothing is sent over it."""
    authority = address_of(request).authority
    try:
        line.exchange(b"", may_send=lambda: False)
    except ExchangeError as error:
        if error.code != "stopped":
            return refused(name, error.code, error.detail)
    return CheckResult(name, "ok", f"{authority} can be reached")


def answered(name: str, status: int, *, taken: bool) -> CheckResult:
    """What the harmless request was answered with."""
    if taken:
        return CheckResult(name, "ok", "answers and takes our account")
    hint = "mend gateway.variables in smsd.yaml, or ask the provider about the account"
    return CheckResult(name, "failed", f"does not take our account (HTTP {status})", hint)


def refused(name: str, code: str, detail: str) -> CheckResult:
    """Why there was no answer."""
    return CheckResult(
        name, "failed", f"{code}: {detail}", "mend gateway.request.url, or the way to the provider"
    )


def _requests(settings: HttpSettings) -> list[RequestSettings]:
    return [settings.request, *([settings.token.request] if settings.token else [])]


def _is_in_the_clear(request: RequestSettings) -> bool:
    """Whether a request crosses other people's networks without TLS; a tunnel begins at an address of our own."""
    address = address_of(request)
    if address.tls or address.host == "localhost":
        return False
    try:
        return ipaddress.ip_address(address.host).is_global
    except ValueError:
        return True
