"""The sections of smsd.yaml and of an agency's file, as models whose attribute names are the files' keys.

What a single value may be is in `values`; what spans several keys or files is looked at in `load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BeforeValidator,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from smsd.config import defaults
from smsd.config.addresses import (
    AGENCY_KINDS,
    STORE_KINDS,
    Folder,
    HttpUrl,
    command_from,
    database_url_from,
    listen_from,
)
from smsd.config.gateways import Gateways
from smsd.config.lookups import LookupProviders
from smsd.config.sections import Section, default
from smsd.config.values import (
    Duration,
    DurationOrNone,
    Hours,
    Identifier,
    Limit,
    LongDuration,
    Name,
    Names,
    Secret,
    Switch,
    Template,
    TimeOfDay,
    WhereGiven,
    Wrong,
    choice_from,
    delimiter_from,
    hours_from,
    keyword_from,
    limit_from,
    parsed_by,
    sender_from,
    template_from,
    text_from,
    view_from,
    whole_from,
    zone_name_from,
)
from smsd.core.model import Mode
from smsd.core.policy import Encoding, ReadKind


class PollingSettings(Section):
    """How often and how patiently agencies are read, and how many at once."""

    interval: Duration = default("60s")
    timeout: Duration = default("30s")
    workers: Annotated[int, parsed_by(whole_from(1, 256))] = 8


class PositionSettings(Section):
    """What a dossier's step and status must be; all conditions given must hold, an empty list never does."""

    statuses: Annotated[Names | None, WhereGiven] = None
    steps: Annotated[Names | None, WhereGiven] = None

    @model_validator(mode="after")
    def _has_a_condition(self) -> PositionSettings:
        if self.statuses is None and self.steps is None:
            raise Wrong("has no condition and would fit every dossier, accepted: steps, statuses or both")
        return self


class NoticeSettings(Section):
    """A text and when it is sent. ``at``, ``until`` and ``unless`` belong to the scheduled apology."""

    text: Template
    settle: DurationOrNone = default("2m")
    at: Annotated[TimeOfDay | None, WhereGiven] = None
    until: Annotated[TimeOfDay | None, WhereGiven] = None
    unless: Annotated[Names | None, WhereGiven] = None
    valid_for: Duration = default("10d")

    @field_validator("until", mode="after")
    @classmethod
    def _ends_after_it_began(cls, until: time | None, info: ValidationInfo) -> time | None:
        at = info.data.get("at")
        if until is not None and at is not None and until <= at:
            raise Wrong("is not later than at, accepted: a later time of the same day")
        return until

    @field_validator("valid_for", mode="after")
    @classmethod
    def _outlasts_its_wait(cls, valid_for: timedelta, info: ValidationInfo) -> timedelta:
        if valid_for <= info.data.get("settle", timedelta()):
            raise Wrong(
                "is no longer than settle, so that nothing would ever be sent, accepted: a longer duration"
            )
        return valid_for


def _positions_merged(value: object) -> object:
    """The default positions with those of the file: each replaced whole in its place, new ones last."""
    return {**defaults.POSITIONS, **value} if isinstance(value, dict) else value


def _notices_merged(value: object, info: ValidationInfo) -> object:
    """The notices, a partial one completed by what it changes.

    In smsd.yaml those are the defaults, all of which are there; in an agency's file those of smsd.yaml, of which only
    the changed ones are.
    """
    if not isinstance(value, dict):
        return value
    of_daemon: Mapping[str, NoticeSettings] | None = (info.context or {}).get("notices")
    if of_daemon is None:
        complete: Mapping[str, Mapping[str, object]] = defaults.NOTICES
        names = [*complete, *(name for name in value if name not in complete)]
    else:
        complete = {name: notice.model_dump(exclude_none=True) for name, notice in of_daemon.items()}
        names = list(value)
    return {name: _completed(value.get(name, {}), complete.get(name, {})) for name in names}


def _completed(given: object, base: Mapping[str, object]) -> object:
    return {**base, **given} if isinstance(given, dict) else given


Notices = Annotated[dict[str, NoticeSettings], BeforeValidator(_notices_merged)]


class MessageSettings(Section):
    """How messages look and when they leave."""

    sender: Annotated[str, parsed_by(sender_from)] = "MotcuaSMS"
    encoding: Annotated[Encoding, parsed_by(choice_from("unicode", "unaccented"))] = Encoding.UNICODE
    number_format: Annotated[Literal["84", "+84", "0"], parsed_by(choice_from("84", "+84", "0"))] = "84"
    repeat_after: DurationOrNone = default("1h")
    sending_hours: Annotated[Hours, parsed_by(hours_from)] = default("06:00-22:00")
    unknown_after: Duration = default("15m")
    stale_after: Duration = default("30d")
    hold_above: Annotated[int, parsed_by(whole_from(0, 1_000_000))] = 500
    cost_per_segment: Annotated[int, parsed_by(whole_from(0, 1_000_000))] = 300


class InboundSettings(Section):
    """The listener for receipts, look-ups, metrics and the dashboard."""

    listen: Annotated[str, parsed_by(listen_from)] = "127.0.0.1:8029"
    public_url: HttpUrl = "http://127.0.0.1:8029"
    secret: Secret


class LookupSettings(Section):
    """The answers to citizens' look-ups, and who hands them on besides the gateways."""

    keyword: Annotated[str, parsed_by(keyword_from)] = defaults.KEYWORD
    answer: Template = default(defaults.ANSWER)
    not_found: Annotated[str, parsed_by(template_from(("Mã số hồ sơ",)))] = default(defaults.NOT_FOUND)
    wrong_syntax: Annotated[str, parsed_by(template_from(()))] = default(defaults.WRONG_SYNTAX)
    too_many: Annotated[str, parsed_by(template_from(()))] = default(defaults.TOO_MANY)
    per_number: Annotated[Limit, parsed_by(limit_from)] = default("20/1h")
    providers: LookupProviders = default({})

    @model_validator(mode="before")
    @classmethod
    def _explains_the_keyword(cls, data: Any) -> Any:
        """The default explanation names the keyword that is in force."""
        if not isinstance(data, dict) or "keyword" not in data or "wrong_syntax" in data:
            return data
        try:
            keyword = keyword_from(data["keyword"])
        except Wrong:
            return data
        return {**data, "wrong_syntax": defaults.WRONG_SYNTAX.replace(defaults.KEYWORD, keyword)}


class ReconciliationSettings(Section):
    """The nightly report."""

    at: TimeOfDay = default("23:30")
    directory: Folder = default("/var/lib/smsd/reports")
    language: Annotated[Literal["vi", "en"], parsed_by(choice_from("vi", "en"))] = "vi"
    delimiter: Annotated[str, parsed_by(delimiter_from)] = ","


class RetentionSettings(Section):
    """After ``personal_data`` phone and text are blanked, after ``records`` the row goes."""

    personal_data: LongDuration = default("90d")
    records: LongDuration = default("5y")

    @field_validator("records", mode="after")
    @classmethod
    def _outlives_personal_data(cls, records: timedelta, info: ValidationInfo) -> timedelta:
        if records < info.data.get("personal_data", timedelta()):
            raise Wrong("is shorter than personal_data, accepted: the same or a longer duration")
        return records


class AlarmSettings(Section):
    """The operator's command that is told of alarms."""

    command: Annotated[tuple[str, ...], parsed_by(command_from)]


class Settings(Section):
    """smsd.yaml."""

    timezone: Annotated[str, parsed_by(zone_name_from)] = "Asia/Ho_Chi_Minh"
    store: Annotated[SecretStr, parsed_by(database_url_from(STORE_KINDS))] = default(
        "sqlite:////var/lib/smsd/smsd.db"
    )
    agencies: Folder = default("agencies")
    polling: PollingSettings = default({})
    positions: Annotated[dict[str, PositionSettings], BeforeValidator(_positions_merged)] = default({})
    notices: Notices = default({})
    messages: MessageSettings = default({})
    gateway: Gateways
    inbound: InboundSettings | None = None
    lookup: LookupSettings = default({})
    reconciliation: ReconciliationSettings = default({})
    retention: RetentionSettings = default({})
    alarms: AlarmSettings | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which days begin and texts tell dates."""
        return ZoneInfo(self.timezone)


FilterValue = str | int | float


def _filter_value(value: object) -> object:
    """What a view's column must equal: a number stays one, for databases tell them from texts."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else text_from(value)


class AgencyFile(Section):
    """What stands in an agency's file. ``interval`` and ``timeout`` are None where `polling` decides."""

    name: Name
    short_name: Name | None = None
    mode: Annotated[Mode, parsed_by(choice_from("live", "shadow", "off"))] = Mode.LIVE
    database: Annotated[SecretStr, parsed_by(database_url_from(AGENCY_KINDS))]
    view: Annotated[str, parsed_by(view_from)]
    columns: dict[str, Identifier] = default({})
    filter: dict[str, Annotated[FilterValue, BeforeValidator(_filter_value)]] = default({})
    changed_by: Name | None = None
    read: Annotated[
        ReadKind | None, parsed_by(choice_from("full", "fingerprint", "changed_by")), WhereGiven
    ] = None
    positions: dict[str, PositionSettings] = default({})
    notices: Notices = default({})
    interval: Duration | None = None
    timeout: Duration | None = None
    sweep: Duration = default("1h")
    same_day: Annotated[Literal["notify", "skip"], parsed_by(choice_from("notify", "skip"))] = "notify"
    skip_procedures: Names = ()
    apology: Switch = True


class Agency(AgencyFile):
    """One agency: what stands in its file, and what the file's place says.

    ``unset`` tells which references of ``database`` are not set; only an agency that is off may have any.
    """

    id: str
    path: Path
    unset: tuple[str, ...] = ()
