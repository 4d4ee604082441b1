"""Answering citizens' look-ups from the state store: always some text, in time, the same again for a repeat.

An answer never waits for the store's writer: reading does not block, and the record of an inquiry is written by a
thread of its own while a repeated id or a hasty citizen is told from what is still to be written. No full number is
kept, only its mask and a keyed digest.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from hashlib import sha256
from typing import Protocol

import structlog

from smsd.core.clock import Clock
from smsd.core.lookups import Candidates, LookupOutcome, Road, candidates, is_late, number_key, parse
from smsd.core.model import Mode, Tracked
from smsd.core.names import clean_text
from smsd.core.notices import render
from smsd.core.phones import mask_phone
from smsd.core.policy import AgencyPolicy, Encoding, Notice
from smsd.core.texts import PLACEHOLDERS, encode_for, fill
from smsd.services.lookuplimits import WINDOW, Throng
from smsd.services.ports import LookupRequest

log = structlog.get_logger(__name__)

_LONGEST_ID = 200
"""Characters of a provider's id by which repeats are told."""
_ECHOED = 40
"""Characters of a citizen's own words that an answer may repeat."""


@dataclass(frozen=True, slots=True)
class LookupRules:
    """The `lookup` section of the configuration. At most ``limit`` answers per number within ``per``."""

    keyword: str
    answer: str
    not_found: str
    wrong_syntax: str
    too_many: str
    limit: int
    per: timedelta
    zone: tzinfo
    encoding: Encoding = Encoding.UNICODE


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One look-up as recorded, by what it was answered. ``provider_id`` is one among those of its road."""

    road: Road
    provider_id: str | None
    at: datetime
    number_digest: str
    number_masked: str
    outcome: LookupOutcome
    answer: str = field(repr=False)
    agency: str | None = None
    dossier_code: str | None = None
    procedure_code: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said to one text, and about which dossier."""

    outcome: LookupOutcome
    text: str = field(repr=False)
    agency: str | None = None
    dossier_code: str | None = None
    procedure_code: str | None = None


class NumberDigest:
    """What is kept of a number in its place: the same for every spelling, and nothing without the secret."""

    def __init__(self, secret: str) -> None:
        self._key = sha256(b"smsd inquiry number\0" + secret.encode()).digest()

    def __call__(self, number: str) -> str:
        """The digest of a number."""
        key = number_key(number) or number
        return hmac.new(self._key, key.encode("utf-8", "surrogatepass"), sha256).hexdigest()


class LookupStore(Protocol):
    """What look-ups need of the state store."""

    def find(self, codes: Candidates, agencies: Sequence[str]) -> tuple[str, Tracked] | None:
        """The agency and dossier of the first candidate found; of several the one received last."""

    def previous_answer(self, road: Road, provider_id: str) -> str | None:
        """What an earlier call with this id on this road was answered."""

    def asked_since(self, number_digest: str, since: datetime) -> list[datetime]:
        """When a number asked after an instant, without what was refused as too many."""

    def answered_since(self, since: datetime) -> list[tuple[datetime, LookupOutcome]]:
        """What all numbers were answered after an instant, without what was refused as too many."""

    def record(self, inquiry: Inquiry) -> str:
        """Record an inquiry unless its id is recorded already; returns the answer that stands for the id."""


class LookupService:
    """Answers look-ups, from any thread. ``policies`` gives the configured agencies as they are now."""

    def __init__(
        self,
        store: LookupStore,
        rules: LookupRules,
        clock: Clock,
        *,
        policies: Callable[[], Mapping[str, AgencyPolicy]],
        secret: str,
        patience: float = 1.0,
    ) -> None:
        self.rules = rules
        self._store = store
        self._clock = clock
        self._policies = policies
        self._digest = NumberDigest(secret)
        self._patience = patience
        self._lock = threading.Lock()
        self._unwritten: dict[datetime, Inquiry] = {}
        self._last: datetime | None = None
        self._throng: Throng | None = None
        self._recorder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inquiries")

    def answer(self, request: LookupRequest) -> str:
        """The text to send back. An id seen before gets what it got then and is not counted again."""
        provider_id = clean_text(request.id)[:_LONGEST_ID] if request.id else None
        with self._lock:
            if provider_id:
                known = self._answered_before(request.road, provider_id)
                if known is not None:
                    return known
            inquiry = self._judge(request, provider_id or None, self._next_instant())
            self._all_answered(inquiry.at).add(inquiry.at, inquiry.outcome)
            self._unwritten[inquiry.at] = inquiry
            written = self._recorder.submit(self._write, inquiry)
        return self._standing_answer(inquiry, written)

    def look_up(self, text: str) -> Answer:
        """What a text would be answered, without recording, counting or limiting it; for operators."""
        return self._find(text, self._clock.now())

    def close(self) -> None:
        """Write what is still to be written."""
        self._recorder.shutdown(wait=True)

    def _answered_before(self, road: Road, provider_id: str) -> str | None:
        for inquiry in self._unwritten.values():
            if (inquiry.road, inquiry.provider_id) == (road, provider_id):
                return inquiry.answer
        return self._store.previous_answer(road, provider_id)

    def _standing_answer(self, inquiry: Inquiry, written: Future[str]) -> str:
        """The recorded answer (another host may have been first), or ours if the store's writer is busy or broken."""
        try:
            return written.result(timeout=self._patience)
        except StillWaiting:
            log.info("inquiry_written_later", outcome=inquiry.outcome.value)
        except Exception as error:
            log.error("inquiry_not_recorded", outcome=inquiry.outcome.value, error=type(error).__name__)
        return inquiry.answer

    def _write(self, inquiry: Inquiry) -> str:
        try:
            return self._store.record(inquiry)
        finally:
            with self._lock:
                self._unwritten.pop(inquiry.at, None)

    def _judge(self, request: LookupRequest, provider_id: str | None, now: datetime) -> Inquiry:
        digest = self._digest(request.number)
        if self._is_too_many(digest, now):
            answer = Answer(LookupOutcome.TOO_MANY, self._plain(self.rules.too_many))
        else:
            answer = self._find(request.text, now)
        return Inquiry(
            road=request.road,
            provider_id=provider_id,
            at=now,
            number_digest=digest,
            number_masked=mask_phone(request.number),
            outcome=answer.outcome,
            answer=answer.text,
            agency=answer.agency,
            dossier_code=answer.dossier_code,
            procedure_code=answer.procedure_code,
        )

    def _is_too_many(self, digest: str, now: datetime) -> bool:
        """Whether a number has had its own share, or what is left of it when all numbers together ask too much."""
        own = self.rules.limit
        if self._asked_lately(digest, now, self.rules.per) >= own:
            return True
        left = self._all_answered(now).limit(own, now)
        return left < own and self._asked_lately(digest, now, WINDOW) >= left

    def _all_answered(self, now: datetime) -> Throng:
        """What all numbers were answered lately, also before a restart."""
        if self._throng is None:
            self._throng = Throng(self._store.answered_since(now - WINDOW))
        return self._throng

    def _asked_lately(self, digest: str, now: datetime, per: timedelta) -> int:
        unwritten = {
            inquiry.at
            for inquiry in self._unwritten.values()
            if inquiry.number_digest == digest and inquiry.outcome is not LookupOutcome.TOO_MANY
        }
        return len(unwritten.union(self._store.asked_since(digest, now - per)))

    def _next_instant(self) -> datetime:
        """The present, later than any inquiry before: instants tell a number's inquiries apart when counting them."""
        now = self._clock.now()
        if self._last is not None and self._last >= now > self._last - timedelta(seconds=1):
            now = self._last + timedelta(microseconds=1)
        self._last = now
        return now

    def _find(self, text: str, now: datetime) -> Answer:
        code = parse(text, self.rules.keyword)
        if code is None:
            return Answer(LookupOutcome.WRONG_SYNTAX, self._plain(self.rules.wrong_syntax))
        codes = candidates(code)
        policies = self._policies()
        asked = [id_ for id_, policy in policies.items() if policy.mode is not Mode.OFF]
        found = self._store.find(codes, asked)
        if found is None:
            return Answer(LookupOutcome.NOT_FOUND, self._plain(self.rules.not_found, codes.exact[-1]))
        agency, tracked = found
        dossier = tracked.dossier
        late = is_late(dossier.due_at, dossier.resolved_at, tracked.done_since, now, self.rules.zone)
        notice = Notice("lookup", self.rules.answer)
        text_back = render(notice, dossier, policies[agency], late=late)
        return Answer(LookupOutcome.FOUND, text_back, agency, dossier.code, dossier.procedure_code)

    def _plain(self, template: str, code: str = "") -> str:
        values = dict.fromkeys(PLACEHOLDERS, "") | {"Mã số hồ sơ": code[:_ECHOED]}
        return encode_for(fill(template, values), self.rules.encoding)
