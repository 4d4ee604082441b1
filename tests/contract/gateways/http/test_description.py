"""The description: what it may hold, how a preset lies under it, and that mistakes name their key and no secret."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from smsd.config.http.description import HttpSettings
from smsd.config.http.presetfiles import laid_over, preset, preset_names
from smsd.config.http.reading import CLASSES
from tests.contract.gateways.http.support import a_description, problems_of, settings_of

URL = "https://sms.example.vn/send"
SIGNED = {"calls": "signed", "status": "s", "verdicts": {"1": "delivered"}}
SHARED = {"calls": "shared", "token": "t0ken", "status": ["s"], "verdicts": {"1": "delivered"}}


def a_request(**keys: Any) -> dict[str, Any]:
    return {"request": {"url": URL, **keys}}


def test_the_least_description_has_the_documented_defaults() -> None:
    settings = settings_of(a_description())
    assert (settings.name, settings.connections, settings.timeout) == ("http", 4, timedelta(seconds=30))
    assert (settings.repeats_safely, settings.rate, settings.receipt) == (False, None, None)
    assert settings.encodings == {"unicode": "unicode", "unaccented": "unaccented"}
    assert settings.request.method == "POST"
    assert [200 in statuses for statuses in settings.accepted.status] == [True]
    assert (settings.errors.other, settings.errors.codes) == ("unknown", {})


LAWFUL: list[dict[str, Any]] = [
    a_request(method="GET", query={"to": "{to}", "t": "{text}"}),
    a_request(form={"to": "{to}", "x[]": "{text}"}),
    a_request(xml="<r><t>{text}</t></r>"),
    a_request(json=[{"to": "{to}"}]),
    a_request(auth={"basic": {"username": "u", "password": "p"}}, headers={"X-Key": "k {id}"}),
    a_request(auth={"bearer": "abc"}),
    {"request": {"url": f"{URL}/{{to}}?x={{id}}"}},
    {"variables": {"key": "v"}, **a_request(query={"k": "{key}"})},
    {"signature": {"digest": "md5", "of": "{id}{text}"}, **a_request(query={"s": "{signature}"})},
    {"signature": {"digest": "hmac-sha256", "of": "{id}", "key": "k", "written": "base64"}},
    {
        "token": {"request": {"url": URL, "form": {"a": "b"}}, "at": "access_token"},
        **a_request(auth={"bearer": "{token}"}),
    },
    {"answer": "text", "accepted": {"at": "^OK", "matches": "."}, "message_id": r"^OK (\d+)"},
    {"answer": "xml", "accepted": {"at": ".//code", "equals": ["0", 1]}},
    {"accepted": {"status": [200, "202-204"]}},
    {
        "errors": {
            "at": "e.c",
            "codes": {"1": "rejected", "*x": "account"},
            "statuses": {"418": "retry", "500-504": "unknown"},
            "wait": "30s",
            "other": "rejected",
        }
    },
    {"receipt": SIGNED, **a_request(query={"cb": "{callback_url}"})},
    {"receipt": SHARED | {"our_id": "ref"}},
    {"receipt": SHARED | {"provider_id": "id"}, "message_id": "id"},
    {
        "receipt": {
            "poll": {
                "request": {"method": "GET", "url": f"{URL}/{{reference}}"},
                "status": "s",
                "verdicts": {"1": "delivered"},
            }
        },
        "message_id": "id",
    },
    {"text": {"longest": 480, "replace": {"&": "-", "#": None}}},
    {
        "templates": {"result_ready": {"id": 12, "params": ["Mã số hồ sơ"]}},
        **a_request(json={"t": "{template_id}", "p": {"{params}": "{param}"}, "first": "{param_1}"}),
    },
    {"check": {"request": {"method": "GET", "url": URL}}},
]


@pytest.mark.parametrize("keys", LAWFUL)
def test_lawful_descriptions_are_taken(keys: dict[str, Any]) -> None:
    assert problems_of(a_description(**keys)) == {}


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"requests": {}}, "requests", "Extra inputs"),
    ({"preset": "nobody"}, "preset", "is unknown, accepted: esms, fpt, speedsms, viettel, vnpt"),
    ({"name": "../x"}, "name", "is no name"),
    ({"connections": 0}, "connections", "from 1 to 64"),
    ({"answer": "yaml"}, "answer", "accepted: json, xml, text"),
    ({"variables": {"key": None}}, "variables.key", "is missing"),
    ({"variables": {"to": "x"}}, "variables.to.[key]", "not the name of a field"),
    ({"variables": {"Key": "x"}}, "variables.Key.[key]", "is no variable's name"),
    ({"encodings": {"latin": "1"}}, "encodings.latin.[key]", "accepted: unicode, unaccented"),
    ({"request": {"url": None}}, "request.url", "is missing"),
    ({"request": {"url": "ftp://h/"}}, "request.url", "is no address"),
    ({"request": {"url": "https://{to}.vn/"}}, "request.url", "in the host"),
    ({"request": {"url": "https://h{to}"}}, "request.url", "in the host"),
    ({"request": {"url": "{to}"}}, "request.url", "is no address"),
    ({"request": {"url": "https://u:p@h/"}}, "request.url", "holds a login"),
    ({"request": {"url": "https://h/é"}}, "request.url", "ASCII"),
    ({"request": {"url": "https://h/a b"}}, "request.url", "is no address"),
    (a_request(method="DELETE"), "request.method", "accepted: GET, POST, PUT"),
    (a_request(method="GET", form={"a": "b"}), "request", "body in a GET"),
    (a_request(form={"a": "b"}, xml="<a/>"), "request", "several bodies"),
    (a_request(query={"x": "{nobody}"}), "request.query.x", "places {nobody}"),
    (a_request(query={"x": "{reference}"}), "request.query.x", "places {reference}"),
    (a_request(query={"x": "{token}"}), "request.query.x", "places {token}"),
    (a_request(query={"x": ["{to}"]}), "request.query.x", "is not a text"),
    (a_request(query={"a b": "x"}), "request.query.a b.[key]", "is no field's name"),
    (a_request(headers={"X": "{text}"}), "request.headers.X", "in a header"),
    (a_request(headers={"X": "a\r\nb"}), "request.headers.X", "printable ASCII"),
    (a_request(headers={"Host": "x"}), "request.headers.Host.[key]", "no header of yours"),
    (a_request(headers={"Authorization": "x"}), "request.headers.Authorization.[key]", "see auth"),
    (a_request(auth={}), "request.auth", "basic or bearer"),
    (a_request(json="text"), "request.json", "is no JSON object"),
    (a_request(json={"a": {"b": "{x}"}}), "request.json", "a.b places {x}"),
    (a_request(json={"a": {"{params}": "x"}}), "request.json", "without templates"),
    (a_request(xml="<r>{text}"), "request.xml", "no well-formed XML"),
    (a_request(xml="<{text}/>"), "request.xml", "no well-formed XML"),
    (a_request(xml="<r {to}='1'/>"), "request.xml", "no well-formed XML"),
    (a_request(xml="<r><!-- {text} --></r>"), "request.xml", "no well-formed XML"),
    (a_request(xml="<r><![CDATA[{text}]]></r>"), "request.xml", "CDATA"),
    (a_request(xml="<!DOCTYPE r><r>{text}</r>"), "request.xml", "no well-formed XML"),
    ({"accepted": {"equals": "1"}}, "accepted", "compares nothing"),
    ({"accepted": {"at": "a"}}, "accepted", "compares with nothing"),
    ({"accepted": {"at": "a", "matches": "("}}, "accepted.matches", "no regular expression"),
    ({"accepted": {"at": "a..b", "equals": "1"}}, "accepted.at", "is no path"),
    ({"accepted": {"status": "2xx"}}, "accepted.status", "is no HTTP status"),
    ({"errors": {"codes": {"1": "rejected"}}}, "errors", "without a place"),
    ({"errors": {"at": "c", "codes": {"1": "refused"}}}, "errors.codes.1", f"accepted: {', '.join(CLASSES)}"),
    ({"errors": {"statuses": {"teapot": "retry"}}}, "errors.statuses.teapot.[key]", "is no HTTP status"),
    ({"signature": {"digest": "hmac-sha1", "of": "x"}}, "signature", "a key with hmac-"),
    ({"signature": {"digest": "md5", "of": "x", "key": "y"}}, "signature", "none without"),
    ({"signature": {"digest": "md5", "of": "{signature}"}}, "signature.of", "places {signature}"),
    (
        {"token": {"request": {"url": URL, "query": {"t": "{text}"}}, "at": "a"}},
        "token.request.query.t",
        "{text}",
    ),
    ({"receipt": {}}, "receipt", "tells of no way"),
    ({"receipt": SIGNED}, "", "{callback_url} placed in request"),
    ({"receipt": {"calls": "signed"}}, "receipt", "what calls mean"),
    ({"receipt": SIGNED | {"our_id": "x"}}, "receipt", "otherwise"),
    ({"receipt": {k: v for k, v in SHARED.items() if k != "token"} | {"our_id": "x"}}, "receipt", "no token"),
    ({"receipt": SHARED}, "receipt", "one of our_id, provider_id"),
    ({"receipt": SHARED | {"our_id": "x", "provider_id": "y"}}, "receipt", "one of our_id, provider_id"),
    ({"receipt": SHARED | {"provider_id": "y"}}, "", "message_id, its path"),
    (
        {"receipt": SHARED | {"our_id": "x", "verdicts": {"1": "sent"}}},
        "receipt.verdicts.1",
        "accepted: on_its_way, delivered, undelivered, rejected",
    ),
    ({"text": {"replace": {"&": "and"}}}, "text.replace.&", "longer than what it replaces"),
    ({"text": {"replace": {"&&": "+"}}}, "text.replace.&&.[key]", "is not one character"),
    ({"templates": None}, "templates", "is missing"),
    (
        {"templates": {"a": {"id": "1", "params": ["Mã số"]}}},
        "templates.a",
        "no placeholder of its text",
    ),
    (
        {"templates": {"a": {"id": "1", "params": ["Tên cơ quan"], "text": "x {Mã số hồ sơ}"}}},
        "templates.a",
        "accepted: Mã số hồ sơ",
    ),
]


@pytest.mark.parametrize(("keys", "key", "said"), WRONG)
def test_every_mistake_names_its_key_and_what_is_accepted(keys: dict[str, Any], key: str, said: str) -> None:
    problems = problems_of(a_description(**keys))
    assert key in problems
    assert said in problems[key]


def test_all_mistakes_are_told_at_once() -> None:
    problems = problems_of(
        a_description(
            connections="many",
            request={"url": "x", "query": {"a": "{b}", "c": "{d}"}, "json": {"x": "{y}", "z": ["{q}"]}},
            accepted={"at": "..", "equals": "1"},
        )
    )
    assert set(problems) == {
        "connections",
        "request.url",
        "request.query.a",
        "request.query.c",
        "request.json",
        "accepted.at",
    }
    assert "x places {y}" in problems["request.json"] and "z[0] places {q}" in problems["request.json"]


@pytest.mark.parametrize(
    "keys",
    [
        a_request(query={"k": "s3cret{"}),
        a_request(query={"k": "s3cret{x}"}),
        a_request(headers={"X": "s3cret\ny"}),
        a_request(json={"k": "s3cret}"}),
        a_request(xml="<s3cret"),
        {"request": {"url": "https://h/?k=s3cret}"}},
        {"receipt": SHARED | {"token": "s3cret"}},
        {"accepted": {"at": "s3cret[", "equals": "1"}},
    ],
)
def test_no_mistake_shows_what_may_be_secret(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        settings_of(a_description(**keys))
    for error in caught.value.errors():
        assert "s3cret" not in error["msg"]
        assert "s3cret" not in str(getattr(error.get("ctx", {}).get("error"), "quoting", ""))


def test_a_description_shows_nothing_of_itself() -> None:
    settings = settings_of(
        a_description(variables={"key": "s3cret"}, **a_request(query={"k": "{key}s3cret"}))
    )
    assert "s3cret" not in repr(settings) + str(settings) + repr(settings.request.query) + repr(
        settings.variables
    )


def test_what_is_known_while_one_description_is_read_is_forgotten_after_it() -> None:
    with_variable = a_description(variables={"key": "v"}, **a_request(query={"k": "{key}"}))
    assert problems_of(with_variable) == {}
    assert "request.query.k" in problems_of(a_description(**a_request(query={"k": "{key}"})))


# presets


def test_an_operators_keys_lie_over_the_presets_key_by_key() -> None:
    base = {"a": {"x": 1, "y": 2}, "l": [1, 2], "n": None, "gone": {"z": 1}}
    own = {"a": {"y": 3}, "l": [9], "n": None, "gone": None, "new": 4}
    assert laid_over(base, own) == {"a": {"x": 1, "y": 3}, "l": [9], "n": None, "new": 4}
    assert base == {"a": {"x": 1, "y": 2}, "l": [1, 2], "n": None, "gone": {"z": 1}}


def test_a_body_of_another_kind_replaces_the_presets() -> None:
    base = {"request": {"url": "u", "json": {"a": 1}, "query": {"q": "1"}}}
    assert laid_over(base, {"request": {"form": {"b": "2"}}}) == {
        "request": {"url": "u", "form": {"b": "2"}, "query": {"q": "1"}}
    }


def test_a_preset_says_what_is_still_to_be_given() -> None:
    assert problems_of({"type": "http", "preset": "esms"}).keys() == {
        "variables.api_key",
        "variables.secret_key",
    }
    assert problems_of({"type": "http", "preset": "vnpt"}).keys() >= {"request.url", "templates"}
    assert problems_of({"type": "http", "preset": "esms", "variables": {"api_key": None}}).keys() == {
        "variables.api_key",
        "variables.secret_key",
    }


def test_no_name_leads_out_of_the_folder_of_presets() -> None:
    assert preset_names() == ("esms", "fpt", "speedsms", "viettel", "vnpt")
    for name in ("../presets/esms", "esms.yaml", "", ".", "ESMS"):
        with pytest.raises(KeyError):
            preset(name)


def test_the_type_is_fixed() -> None:
    with pytest.raises(ValidationError):
        HttpSettings.model_validate(a_description(type="kannel"))
