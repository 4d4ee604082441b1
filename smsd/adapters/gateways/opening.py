"""Opening a connection in an event loop, or the reason in words why it cannot be opened: nothing has been sent then."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from smsd.adapters.gateways.httpexchange import CONNECT_SECONDS, Address, NotSentError

log = structlog.get_logger(__name__)

_P = TypeVar("_P", bound=asyncio.Protocol)


async def opened(
    address: Address, tls: ssl.SSLContext | None, make: Callable[[], _P], until: float
) -> _P | NotSentError:
    """What ``make`` made, connected; or why not. ``until``: by the loop's time; never longer than `CONNECT_SECONDS`."""
    loop, authority = asyncio.get_running_loop(), address.authority
    until = min(until, loop.time() + CONNECT_SECONDS)
    try:
        async with asyncio.timeout_at(until):
            hosts = await _hosts_of(address)
        return await _first_that_takes_it(hosts, address, tls, make, until)
    except TimeoutError:
        return NotSentError("connect_timeout", f"{authority} does not answer")
    except ssl.SSLCertVerificationError as error:
        return NotSentError("certificate", f"{authority}: {error.verify_message}")
    except ssl.SSLError as error:
        return NotSentError("not_connected", f"{authority}: {type(error).__name__} in TLS")
    except (OSError, UnicodeError) as error:
        return NotSentError("not_connected", f"{authority}: {_reason(error)}")
    except Exception as error:
        # a mistake of ours, or no thread to be had: it must cost neither the connection's place nor a message's end
        log.error("gateway_failed", error=type(error).__name__)
        return NotSentError("failed", type(error).__name__)


def _reason(error: OSError | UnicodeError) -> str:
    """The operating system's words; asyncio writes its own."""
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    return getattr(error, "strerror", None) or type(error).__name__


async def _first_that_takes_it(
    hosts: list[str], address: Address, tls: ssl.SSLContext | None, make: Callable[[], _P], until: float
) -> _P:
    """Over the first of the host's addresses that takes it, each given its share of the time. Raises OSError."""
    loop = asyncio.get_running_loop()
    name = address.host if tls is not None else None
    failure = OSError("the host has no address")
    for place, host in enumerate(hosts):
        share = (until - loop.time()) / (len(hosts) - place)
        try:
            async with asyncio.timeout(share):
                made = loop.create_connection(make, host, address.port, ssl=tls, server_hostname=name)
                return (await made)[1]
        except ssl.SSLCertVerificationError:
            raise
        except OSError as error:
            failure = error
    raise failure


async def _hosts_of(address: Address) -> list[str]:
    """The host's addresses. Looked up in a thread that may be left behind: nothing ends a look-up that hangs."""
    try:
        return [str(ipaddress.ip_address(address.host))]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def tell(result: list[str] | Exception) -> None:
        if found.done():
            return
        if isinstance(result, Exception):
            found.set_exception(result)
        else:
            found.set_result(result)

    def look_up() -> None:
        result: list[str] | Exception
        try:
            entries = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            result = [str(entry[4][0]) for entry in entries]
        except Exception as error:
            result = error
        try:
            loop.call_soon_threadsafe(tell, result)
        except RuntimeError:
            return  # the loop has ended meanwhile

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    return await found
