"""What the tests of described providers need: a description in one line, a provider of it, and one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from smsd.adapters.gateways.http.gateway import HttpProvider
from smsd.config import defaults
from smsd.config.http.description import HttpSettings
from smsd.core.model import Outcome
from smsd.core.policy import Encoding
from smsd.core.signing import Callback
from smsd.core.texts import encode_for, fill
from smsd.services.ports import Outgoing
from tests.contract.gateways.support import CALLBACK, Answers, an_outgoing
from tests.support.builders import ZONE, FixedClock

NOTICES: Mapping[str, Sequence[str]] = {
    kind: (str(notice["text"]),) for kind, notice in defaults.NOTICES.items()
}
HOSTILE = [
    "",
    '"},"to":"84900000000',
    "</Content><Content>x]]><!--",
    "<!DOCTYPE x [<!ENTITY e 'boom'>]>&e;&amp;",
    "{to} {{id}} ${HOME} {password}",
    "a\r\nHost: evil\r\n\r\nGET /",
    "a&to=1&x=%26%00+;#?=/\\..//",
    "😀 Đã được giải quyết “xong” \u00a0…\u2028",
    "'; DROP TABLE messages; --\t\n",
    '{"$gt": 1} [0] \\u0041 \\',
]


def a_description(**keys: Any) -> dict[str, Any]:
    """The least a description must hold, with other keys over it."""
    return {
        "type": "http",
        "request": {"url": "https://sms.example.vn/send", "json": {"to": "{to}", "text": "{text}"}},
        "accepted": {"at": "code", "equals": "0"},
        **keys,
    }


def settings_of(description: Mapping[str, Any]) -> HttpSettings:
    return HttpSettings.model_validate(dict(description))


def problems_of(description: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with a description, by dotted key."""
    try:
        settings_of(description)
    except ValidationError as error:
        return {
            ".".join(map(str, one["loc"])): one["msg"].removeprefix("Value error, ")
            for one in error.errors(include_url=False)
        }
    return {}


def a_provider(
    description: Mapping[str, Any],
    *,
    encoding: Encoding = Encoding.UNICODE,
    callback: Callback | None = CALLBACK,
    number_format: str = "84",
    notices: Mapping[str, Sequence[str]] = NOTICES,
) -> HttpProvider:
    return HttpProvider(
        settings_of(description),
        sender="MotcuaSMS",
        encoding=encoding,
        number_format=number_format,
        zone=ZONE,
        callback=callback,
        notices=notices,
        clock=FixedClock(),
    )


def a_notice(
    kind: str = "result_ready", encoding: Encoding = Encoding.UNICODE, **values: str
) -> tuple[str, str]:
    """The kind and text of a message as it leaves."""
    given = {"Mã số hồ sơ": "H32.12-0001", "Tên cơ quan": "UBND TP Nha Trang", "Ngày hẹn trả": "04/08/2026"}
    return kind, encode_for(fill(NOTICES[kind][0], given | values), encoding)


def send(provider: HttpProvider, message: Outgoing | None = None) -> Outcome:
    answers = Answers()
    provider.submit([message or an_outgoing()], answers)
    return answers.one()
