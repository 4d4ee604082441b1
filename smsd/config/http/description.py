"""The `gateway` section of `type: http`: how a provider is spoken to, as a model whose attributes are the file's keys.

Single values are in `reading`; what the description does is in the other modules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, InstanceOf, SecretStr, model_validator

from smsd.config.http import fields
from smsd.config.http.fields import Place
from smsd.config.http.paths import KINDS
from smsd.config.http.presetfiles import laid_over, preset
from smsd.config.http.reading import (
    AnswerKind,
    Class,
    FieldName,
    FieldNames,
    HeaderText,
    PathText,
    Placed,
    Reading,
    Statuses,
    TemplateText,
    Url,
    Verdicts,
    Word,
    Words,
    gateway_name_from,
    header_name_from,
    json_from,
    one_or_several_from,
    pattern_from,
    preset_name_from,
    reading,
    replacement_from,
    single_from,
    status_key_from,
    status_range_from,
    variable_from,
    variable_name_from,
    wrong,
    xml_from,
)
from smsd.config.http.templates import Template, names_in
from smsd.config.sections import Section, default
from smsd.config.values import (
    Duration,
    Name,
    Names,
    Rate,
    Secret,
    Switch,
    Wrong,
    choice_from,
    parsed_by,
    template_from,
    whole_from,
)
from smsd.core.texts import PLACEHOLDERS, placeholders_in


class BasicSettings(Section):
    """HTTP Basic."""

    username: TemplateText
    password: TemplateText


class AuthSettings(Section):
    """How a request proves who asks, where that is done in the Authorization header."""

    basic: BasicSettings | None = None
    bearer: HeaderText | None = None

    @model_validator(mode="after")
    def _is_one(self) -> AuthSettings:
        if (self.basic is None) == (self.bearer is None):
            raise Wrong("is not one way, accepted: basic or bearer")
        return self


class RequestSettings(Section):
    """One request. At most one of ``form``, ``json`` and ``xml`` is its body."""

    method: Annotated[str, parsed_by(choice_from("GET", "POST", "PUT"))] = "POST"
    url: Url
    headers: dict[Annotated[str, BeforeValidator(header_name_from)], HeaderText] = default({})
    auth: AuthSettings | None = None
    query: dict[FieldName, TemplateText] = default({})
    form: dict[FieldName, TemplateText] | None = None
    json_: Annotated[Any, BeforeValidator(json_from)] = Field(default=None, alias="json")
    xml: Annotated[InstanceOf[Template], BeforeValidator(xml_from)] | None = None

    @model_validator(mode="after")
    def _has_one_body(self) -> RequestSettings:
        bodies = [body for body in (self.form, self.json_, self.xml) if body is not None]
        if len(bodies) > 1:
            raise Wrong("has several bodies, accepted: one of form, json, xml")
        if bodies and self.method == "GET":
            raise Wrong("has a body in a GET, accepted: query, or method: POST")
        return self

    @cached_property
    def names(self) -> frozenset[str]:
        """Everything the request places."""
        texts = [self.url, *self.headers.values(), *self.query.values(), *(self.form or {}).values()]
        if self.xml is not None:
            texts.append(self.xml)
        if self.auth is not None and self.auth.basic is not None:
            texts += [self.auth.basic.username, self.auth.basic.password]
        if self.auth is not None and self.auth.bearer is not None:
            texts.append(self.auth.bearer)
        return frozenset().union(names_in(self.json_), *(text.names for text in texts))


class AcceptedSettings(Section):
    """What an answer must be to mean success: all conditions given. ``equals`` and ``matches`` look ``at`` a path."""

    status: Statuses = default("200-299")
    at: PathText | None = None
    equals: Words | None = None
    matches: Annotated[InstanceOf[re.Pattern], BeforeValidator(pattern_from)] | None = None  # type: ignore[type-arg]

    @model_validator(mode="after")
    def _is_whole(self) -> AcceptedSettings:
        if self.at is None and (self.equals is not None or self.matches is not None):
            raise Wrong("compares nothing, accepted: at, the path of what equals or matches is about")
        if self.at is not None and self.equals is None and self.matches is None:
            raise Wrong("compares with nothing, accepted: equals or matches, or no at")
        return self


class ErrorSettings(Section):
    """What the provider's codes mean. ``other`` is for codes that are not in the table; ``statuses`` for HTTP's."""

    at: PathText | None = None
    codes: dict[Word, Class] = default({})
    other: Class = "unknown"
    statuses: dict[Annotated[str, BeforeValidator(status_key_from)], Class] = default({})
    wait: Duration | None = None

    @model_validator(mode="after")
    def _has_a_place(self) -> ErrorSettings:
        if self.codes and self.at is None:
            raise Wrong("has codes without a place, accepted: at, the path of the code")
        return self

    @cached_property
    def status_classes(self) -> tuple[tuple[range, str], ...]:
        """The table of HTTP statuses."""
        return tuple((status_range_from(key), meaning) for key, meaning in self.statuses.items())


class TokenSettings(Placed):
    """How the ``{token}`` of requests is had: fetched, kept for ``lifetime``, fetched anew once refused."""

    PLACE: ClassVar[Place | None] = Place.TOKEN

    request: RequestSettings
    answer: AnswerKind = None
    at: PathText
    lifetime: Duration = default("50m")
    refused: Words = ()


class SignatureSettings(Placed):
    """What requests place as ``{signature}``: a digest over a text, of a key where it is an HMAC."""

    PLACE: ClassVar[Place | None] = Place.SIGNATURE

    digest: Annotated[str, parsed_by(choice_from("md5", "sha1", "sha256", "hmac-sha1", "hmac-sha256"))]
    of: TemplateText
    key: TemplateText | None = None
    written: Annotated[str, parsed_by(choice_from("hex", "HEX", "base64"))] = "hex"

    @model_validator(mode="after")
    def _has_a_key(self) -> SignatureSettings:
        if self.digest.startswith("hmac-") == (self.key is None):
            raise Wrong("does not go with its key, accepted: a key with hmac-…, none without")
        return self


class TextSettings(Section):
    """What the provider does not carry: characters to replace, and the longest text (in characters)."""

    replace: dict[
        Annotated[str, BeforeValidator(single_from)], Annotated[str, BeforeValidator(replacement_from)]
    ] = default({})
    longest: Annotated[int, parsed_by(whole_from(1, 10_000))] | None = None


class RegisteredSettings(Section):
    """A text registered with the provider: its id there, and its parameters in order.

    ``text`` is the notice's text by which parameters are found in a message; without it the notice in force counts.
    """

    id: Name
    params: Names
    text: Annotated[str, parsed_by(template_from(PLACEHOLDERS))] | None = None
    kind: Name | None = None

    @model_validator(mode="after")
    def _has_its_parameters(self) -> RegisteredSettings:
        if len(self.params) > fields.MOST_PARAMS:
            raise Wrong(f"has too many parameters, accepted: at most {fields.MOST_PARAMS}")
        known = PLACEHOLDERS if self.text is None else placeholders_in(self.text)
        for name in self.params:
            if name not in known:
                accepted = ", ".join(known) or "none"
                raise wrong(f"has a parameter that is no placeholder of its text, accepted: {accepted}")
        return self


def _templates_given(value: object) -> object:
    if value is None:
        raise Wrong("is missing, accepted: for each notice the id and params of its registered text")
    return value


class ReplySettings(Section):
    """What a receipt's call is answered with, where the provider looks at it."""

    type: Annotated[str, parsed_by(choice_from("text/plain", "application/json", "text/xml"))] = "text/plain"
    body: Word = "ok"


class PollSettings(Placed):
    """Asking what became of a message by the provider's id, ``{reference}``."""

    PLACE: ClassVar[Place | None] = Place.POLL

    request: RequestSettings
    answer: AnswerKind = None
    status: Annotated[tuple[PathText, ...], parsed_by(one_or_several_from)]
    verdicts: Verdicts
    every: Duration = default("10m")


class ReceiptSettings(Section):
    """How it is told what became of a message: by calls to the inbound listener, by asking, or both.

    ``signed`` calls come to the address each message carries (``{callback_url}``); ``shared`` ones to an address set
    with the provider, proven by ``token``, and name the message by our id or by theirs.
    """

    calls: Annotated[Literal["signed", "shared"] | None, parsed_by(choice_from("signed", "shared"))] = None
    token: Secret | None = None
    our_id: FieldName | None = None
    provider_id: FieldName | None = None
    status: FieldNames = ()
    verdicts: Verdicts = default({})
    reply: ReplySettings = default({})
    poll: PollSettings | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> ReceiptSettings:
        if self.calls is None:
            if self.poll is None:
                raise Wrong("tells of no way, accepted: calls: signed, calls: shared, or poll")
            return self
        if not self.status or not self.verdicts:
            raise Wrong("does not tell what calls mean, accepted: status, the field, and verdicts, its words")
        if self.calls == "signed" and (self.token or self.our_id or self.provider_id):
            raise Wrong("proves signed calls otherwise, accepted: no token, our_id or provider_id")
        if self.calls == "shared":
            self._check_shared()
        return self

    def _check_shared(self) -> None:
        if self.token is None:
            raise Wrong("has no token to prove shared calls by, accepted: token: ${credential:NAME}")
        if (self.our_id is None) == (self.provider_id is None):
            raise Wrong(
                "does not tell by what a call names its message, accepted: one of our_id, provider_id"
            )

    @property
    def by_provider_id(self) -> bool:
        """Whether any receipt comes by the provider's id, which is to be kept then."""
        return self.provider_id is not None or self.poll is not None


class CheckSettings(Placed):
    """A harmless request by which `smsd check` finds out whether the account is taken."""

    PLACE: ClassVar[Place | None] = Place.CHECK

    request: RequestSettings
    answer: AnswerKind = None
    accepted: AcceptedSettings = default({})


ENCODINGS: Mapping[str, str] = {"unicode": "unicode", "unaccented": "unaccented"}


FAILOVER_AFTER = "5m"
"""How long a gateway's link may be in trouble before the next gateway takes over."""


class HttpSettings(Section):
    """Any HTTP provider. ``encodings`` are the provider's words for ``{encoding}``; one left out is not carried."""

    type: Literal["http"]
    preset: Annotated[str, parsed_by(preset_name_from)] | None = None
    name: Annotated[str, parsed_by(gateway_name_from)] = "http"
    failover_after: Duration = default(FAILOVER_AFTER)
    rate: Rate = None
    connections: Annotated[int, parsed_by(whole_from(1, 64))] = 4
    timeout: Duration = default("30s")
    repeats_safely: Switch = False
    number_format: Annotated[Literal["84", "+84", "0"], parsed_by(choice_from("84", "+84", "0"))] | None = (
        None
    )
    answer: Annotated[str, parsed_by(choice_from(*KINDS))] = "json"
    variables: dict[
        Annotated[str, BeforeValidator(variable_name_from)],
        Annotated[SecretStr, BeforeValidator(variable_from)],
    ] = default({})
    encodings: dict[Annotated[str, parsed_by(choice_from("unicode", "unaccented"))], Word] = Field(
        default_factory=lambda: dict(ENCODINGS)
    )
    text: TextSettings = default({})
    token: TokenSettings | None = None
    signature: SignatureSettings | None = None
    templates: Annotated[dict[Name, RegisteredSettings], BeforeValidator(_templates_given)] = default({})
    request: RequestSettings
    accepted: AcceptedSettings
    message_id: PathText | None = None
    errors: ErrorSettings = default({})
    receipt: ReceiptSettings | None = None
    check: CheckSettings | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _read_as_a_whole(cls, data: Any, handler: Callable[[Any], Any]) -> Any:
        if not isinstance(data, dict):
            return handler(data)
        whole = _with_preset(data)
        with reading(_reading_of(whole)):
            return handler(whole)

    @model_validator(mode="after")
    def _fits_together(self) -> HttpSettings:
        needs_reference = self.receipt is not None and self.receipt.by_provider_id
        if needs_reference and self.message_id is None:
            raise Wrong(
                "has receipts by the provider's id without message_id, accepted: message_id, its path"
            )
        signed = self.receipt is not None and self.receipt.calls == "signed"
        if signed and fields.CALLBACK not in self.request.names:
            raise Wrong("has signed receipts, accepted: {callback_url} placed in request")
        return self


def _with_preset(data: dict[str, Any]) -> dict[str, Any]:
    try:
        return laid_over(preset(data["preset"]), data) if isinstance(data.get("preset"), str) else data
    except KeyError:
        return data  # the key's own validator says so


def _reading_of(data: Mapping[str, Any]) -> Reading:
    variables = data.get("variables")
    answer = data.get("answer")
    return Reading(
        variables=frozenset(map(str, variables)) if isinstance(variables, dict) else frozenset(),
        answer=answer if answer in KINDS else "json",
        token=data.get("token") is not None,
        signature=data.get("signature") is not None,
        templates="templates" in data,
    )
