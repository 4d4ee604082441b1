"""Any HTTP provider as a gateway: requests by its description, outcomes by its tables.

Nothing is repeated here but a request whose token was refused, which was surely not taken. An answer that was lost is
an unknown message, and the services decide what becomes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo

import structlog

from smsd.adapters.gateways.http.answers import Judge, is_accepted
from smsd.adapters.gateways.http.checking import about_description, about_host, answered, refused
from smsd.adapters.gateways.http.receipts import polled_receipt
from smsd.adapters.gateways.http.rendering import (
    Surroundings,
    UnfitError,
    address_of,
    render,
    signature_of,
    values_of_message,
    values_of_time,
    variables_of,
)
from smsd.adapters.gateways.http.tokens import TokenError, Tokens
from smsd.adapters.gateways.http.wordings import Wordings
from smsd.adapters.gateways.httpexchange import Answer, ExchangeError, Line, NotSentError
from smsd.adapters.gateways.pool import Attempt, SenderPool
from smsd.config.http import fields
from smsd.config.http.description import HttpSettings, PollSettings, RequestSettings
from smsd.config.http.paths import look_up, read_body
from smsd.core.clock import Clock, SystemClock
from smsd.core.model import Outcome, PartReceipt, Verdict
from smsd.core.policy import Encoding
from smsd.core.signing import Callback
from smsd.services.ports import CheckResult, Done, Outgoing

log = structlog.get_logger(__name__)

_CHECK_SECONDS = 10.0
_REFUSED = 401


class HttpProvider:
    """A provider by its description. ``notices`` are the texts in force by kind, for providers that take templates."""

    def __init__(
        self,
        settings: HttpSettings,
        *,
        sender: str,
        encoding: Encoding,
        number_format: str,
        zone: tzinfo,
        callback: Callback | None,
        notices: Mapping[str, Sequence[str]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = settings.name
        self.repeats_safely = settings.repeats_safely
        self._settings = settings
        self._around = Surroundings(sender, encoding, number_format, zone, callback)
        self._wordings = Wordings(settings, notices or {}, encoding)
        self._clock = clock or SystemClock()
        self._judge = Judge(settings)
        self._timeout = settings.timeout.total_seconds()
        self._tokens = self._tokens_with(self._timeout)
        self._pool = SenderPool(self.name, settings.connections, self._new_line, self._send)
        self.window = self._pool.window

    def submit(self, messages: Sequence[Outgoing], done: Done) -> None:
        """Queue the messages for the connections."""
        self._pool.submit(messages, done)

    def find(self, message_id: str, since: datetime) -> None:
        """No provider that is known can be asked by our id."""

    def close(self) -> None:
        """Wait for answers, 5 s at most, and let go."""
        self._pool.close()
        if self._tokens is not None:
            self._tokens.abort()

    def check(self) -> list[CheckResult]:
        """What the description lacks, whether the host answers and takes the account; no message is sent."""
        results = about_description(self._settings, self._around, self._wordings.problems)
        line = Line(address_of(self._settings.request), min(self._timeout, _CHECK_SECONDS))
        try:
            found = about_host(self.name, self._settings.request, line)
        finally:
            line.close()
        if found.state == "ok":
            found = self._account_checked() or found
        return [found, *results]

    # receipts

    @property
    def poll_interval(self) -> float | None:
        """Seconds between asking after messages; None if the provider is not asked."""
        poll = self._poll
        return None if poll is None else poll.every.total_seconds()

    @property
    def _poll(self) -> PollSettings | None:
        return self._settings.receipt.poll if self._settings.receipt is not None else None

    def poll_receipts(
        self, ids: Sequence[str], stop: Callable[[], bool] = lambda: False
    ) -> list[PartReceipt]:
        """What became of messages by the provider's ids. One fault ends the asking; what was told till then counts."""
        poll = self._poll
        if poll is None:
            return []
        receipts: list[PartReceipt] = []
        line = Line(address_of(poll.request), self._timeout)
        try:
            for reference in ids:
                if stop():
                    break
                receipt = self._polled(line, poll, reference)
                if receipt is not None:
                    receipts.append(receipt)
        except (ExchangeError, TokenError, UnfitError) as error:
            log.warning("receipts_not_asked_for", gateway=self.name, code=error.code, detail=error.detail)
        finally:
            line.close()
        return receipts

    def _polled(self, line: Line, poll: PollSettings, reference: str) -> PartReceipt | None:
        values = self._plain_values() | {fields.REFERENCE: reference}
        kind = poll.answer or self._settings.answer
        answer = self._exchange(line, poll.request, values, kind)
        if answer.status in (_REFUSED, 403, 429) or answer.status >= 500:
            raise ExchangeError("refused", f"HTTP {answer.status} to asking after a message")
        document = read_body(answer.body, kind)
        statuses = [path.find(document) for path in poll.status]
        return polled_receipt(self.name, reference, statuses, poll.verdicts)

    # sending

    def request_for(self, message: Outgoing) -> bytes:
        """The whole request for one message. Raises `UnfitError` or `TokenError`."""
        values, params = self._values_for(message)
        return self._rendered(self._settings.request, values, self._settings.answer, params)

    def _send(self, line: Line, attempt: Attempt) -> Outcome:
        try:
            values, params = self._values_for(attempt.message)
            answer = self._exchange(
                line, self._settings.request, values, self._settings.answer, params=params, attempt=attempt
            )
        except (UnfitError, TokenError) as error:
            return Outcome(error.verdict, error.code, error.detail)
        except NotSentError as error:
            verdict = Verdict.ACCOUNT if error.code == "certificate" else Verdict.RETRY
            return Outcome(verdict, error.code, error.detail)
        except ExchangeError as error:
            return Outcome(Verdict.UNKNOWN, error.code, error.detail)
        return self._judge.outcome_of(answer)

    def _values_for(self, message: Outgoing) -> tuple[dict[str, str], tuple[str, ...]]:
        values = values_of_message(message, self._settings, self._around)
        if not self._settings.templates:
            return values, ()
        of_template, params = self._wordings.values_of(message.kind, message.text)
        return values | of_template, params

    def _plain_values(self) -> dict[str, str]:
        return variables_of(self._settings) | values_of_time(self._clock.now(), self._around.zone)

    def _exchange(
        self,
        line: Line,
        request: RequestSettings,
        values: dict[str, str],
        kind: str,
        *,
        params: tuple[str, ...] = (),
        attempt: Attempt | None = None,
    ) -> Answer:
        """One request and its answer; once more with a new token if its token was refused."""
        may_send = attempt.begin if attempt is not None else lambda: True
        answer = line.exchange(self._rendered(request, values, kind, params), may_send)
        if not self._is_token_refused(request, answer, kind):
            return answer
        assert self._tokens is not None  # noqa: S101 # nosec B101 # it was refused
        self._tokens.drop(values.pop(fields.TOKEN))
        if attempt is not None:
            attempt.take_back()
        return line.exchange(self._rendered(request, values, kind, params), may_send)

    def _rendered(
        self, request: RequestSettings, values: dict[str, str], kind: str, params: tuple[str, ...]
    ) -> bytes:
        """The request, with the token (which ``values`` keep) and the signature it places. Raises `TokenError`."""
        if self._tokens is not None and fields.TOKEN in self._names_of(request):
            values[fields.TOKEN] = self._tokens.get(self._plain_values())
        if self._settings.signature is not None and fields.SIGNATURE in request.names:
            values = values | {fields.SIGNATURE: signature_of(self._settings.signature, values)}
        return render(request, values, answer=kind, params=params)

    def _names_of(self, request: RequestSettings) -> frozenset[str]:
        """What a request places, by its signature too."""
        signature = self._settings.signature
        if signature is None or fields.SIGNATURE not in request.names:
            return request.names
        return request.names | signature.of.names | (signature.key.names if signature.key else frozenset())

    def _is_token_refused(self, request: RequestSettings, answer: Answer, kind: str) -> bool:
        settings = self._settings
        if settings.token is None or fields.TOKEN not in self._names_of(request):
            return False
        if answer.status == _REFUSED:
            return True
        if not settings.token.refused or settings.errors.at is None or kind != settings.answer:
            return False
        code = settings.errors.at.find(read_body(answer.body, kind))
        return code is not None and look_up(dict.fromkeys(settings.token.refused, True), code) is not None

    def _new_line(self) -> Line:
        return Line(address_of(self._settings.request), self._timeout)

    def _tokens_with(self, timeout: float) -> Tokens | None:
        settings = self._settings
        if settings.token is None:
            return None
        return Tokens(settings.token, gateway=self.name, answer=settings.answer, timeout=timeout)

    # checking

    def _account_checked(self) -> CheckResult | None:
        """Whether the provider gives a token, and answers its harmless request; None where neither is described."""
        check = self._settings.check
        try:
            if check is None:
                if self._tokens is None:
                    return None
                self._tokens.get(self._plain_values())
                return CheckResult(self.name, "ok", "answers and gives our account a token")
            line = Line(address_of(check.request), min(self._timeout, _CHECK_SECONDS))
            kind = check.answer or self._settings.answer
            try:
                answer = self._exchange(line, check.request, self._plain_values(), kind)
            finally:
                line.close()
            taken = is_accepted(check.accepted, answer.status, read_body(answer.body, kind))
            return answered(self.name, answer.status, taken=taken)
        except (ExchangeError, TokenError, UnfitError) as error:
            return refused(self.name, error.code, error.detail)
