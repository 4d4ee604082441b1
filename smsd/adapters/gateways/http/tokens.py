"""Tokens that a provider gives for an account: fetched once for all senders, kept, and fetched anew when refused.

A token is as secret as the account: it is neither logged nor part of any error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from smsd.adapters.gateways.http.rendering import UnfitError, address_of, render
from smsd.adapters.gateways.httpexchange import Answer, ExchangeError, Line, NotSentError
from smsd.config.http.description import TokenSettings
from smsd.config.http.paths import read_body
from smsd.config.http.templates import Values
from smsd.core.model import Verdict

log = structlog.get_logger(__name__)

_LONGEST_TOKEN = 1_000
_FAILURE_STANDS = 1.0
"""Seconds in which no sender asks again after another was refused."""


class TokenError(Exception):
    """No token could be had, so that nothing was sent. ``verdict`` is RETRY or ACCOUNT."""

    def __init__(self, verdict: Verdict, code: str, detail: str) -> None:
        super().__init__(detail)
        self.verdict = verdict
        self.code = code
        self.detail = detail


class Tokens:
    """The token of one account, from any thread."""

    def __init__(
        self,
        settings: TokenSettings,
        *,
        gateway: str,
        answer: str,
        timeout: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._gateway = gateway
        self._answer = settings.answer or answer
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._line = Line(address_of(settings.request), timeout)
        self._token: str | None = None
        self._fetched_at = 0.0
        self._failure: tuple[float, TokenError] | None = None

    def get(self, values: Values) -> str:
        """A token that is not too old; ``values`` fill in the request for one. Raises `TokenError`."""
        with self._lock:
            now = self._monotonic()
            lifetime = self._settings.lifetime.total_seconds()
            if self._token is not None and now - self._fetched_at < lifetime:
                return self._token
            if self._failure is not None and now - self._failure[0] < _FAILURE_STANDS:
                raise self._failure[1]
            try:
                self._token = self._fetch(values)
            except TokenError as error:
                self._failure = (self._monotonic(), error)
                raise
            self._fetched_at, self._failure = self._monotonic(), None
            log.info("token_fetched", gateway=self._gateway)
            return self._token

    def drop(self, token: str) -> None:
        """Forget a token that was refused, unless another is had already."""
        with self._lock:
            if self._token == token:
                self._token = None

    def abort(self) -> None:
        """End a request that is under way."""
        self._line.abort()

    def _fetch(self, values: Values) -> str:
        try:
            answer = self._line.exchange(render(self._settings.request, values, answer=self._answer))
        except NotSentError as error:
            verdict = Verdict.ACCOUNT if error.code == "certificate" else Verdict.RETRY
            raise TokenError(verdict, f"token_{error.code}", error.detail) from None
        except ExchangeError as error:
            raise TokenError(Verdict.RETRY, f"token_{error.code}", error.detail) from None
        except UnfitError as error:
            raise TokenError(error.verdict, error.code, error.detail) from None
        finally:
            self._line.close()
        return self._token_in(answer)

    def _token_in(self, answer: Answer) -> str:
        busy = answer.status in (408, 429) or answer.status >= 500
        if busy:
            raise TokenError(Verdict.RETRY, "no_token", f"HTTP {answer.status} instead of a token")
        token = self._settings.at.find(read_body(answer.body, self._answer))
        if not 200 <= answer.status < 300 or not token or len(token) >= _LONGEST_TOKEN:
            raise TokenError(Verdict.ACCOUNT, "token_refused", f"HTTP {answer.status} without a token")
        return token
