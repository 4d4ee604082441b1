"""The dialects of content providers: whose call it is, what it asks, and how the answer is written."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.adapters.web.dialects import EsmsDialect, MoCall, MoDialect, MoError, OnePayDialect, PlainDialect
from smsd.adapters.web.dialects.onepay import SMS_CHARGING
from tests.support.mocalls import NUMBER, SECRET, TEXT, signed_by_1pay, signed_by_esms

ANSWER = 'Hồ sơ "H32" & <1> hiện ở bước Thẩm định,\ntrạng thái: Đúng hạn 😀'


def with_token(secret: str = SECRET, **changes: str) -> dict[str, str]:
    return {"from": NUMBER, "text": TEXT, "id": "r-1", "token": secret} | changes


Signer = Callable[..., dict[str, str]]
EVERY: list[tuple[MoDialect, Signer, dict[str, str]]] = [
    (PlainDialect(SECRET), with_token, {"number": "from", "text": "text", "id": "id", "proof": "token"}),
    (
        OnePayDialect(SECRET),
        signed_by_1pay,
        {"number": "msisdn", "text": "mo_message", "id": "request_id", "proof": "signature"},
    ),
    (
        EsmsDialect(SECRET),
        signed_by_esms,
        {"number": "sender", "text": "content", "id": "smsid", "proof": "sign"},
    ),
]
signed_ones = pytest.mark.parametrize(("dialect", "sign", "names"), EVERY[1:], ids=["1pay", "esms"])
every = pytest.mark.parametrize(("dialect", "sign", "names"), EVERY, ids=[d.name for d, _, _ in EVERY])


def refusal(dialect: MoDialect, fields: Mapping[str, str]) -> str:
    with pytest.raises(MoError) as caught:
        dialect.read(fields, b"")
    assert SECRET not in str(caught.value) and NUMBER not in str(caught.value)
    return caught.value.code


@every
def test_a_proven_call_is_a_text_from_a_number_with_an_id(
    dialect: MoDialect, sign: Signer, names: dict[str, str]
) -> None:
    assert dialect.read(sign(), b"") == MoCall(NUMBER, TEXT, "r-1")


@every
@pytest.mark.parametrize(
    "text", ["", "MCKH", "mckh a&b=c&msisdn=84900000000", "Hồ sơ\nĐ\u00a0😀", " ", "{x}<y>"]
)
def test_any_text_is_read_as_it_was_sent(
    dialect: MoDialect, sign: Signer, names: dict[str, str], text: str
) -> None:
    assert dialect.read(sign(**{names["text"]: text}), b"").text == text


@every
def test_a_call_that_another_signed_is_refused(
    dialect: MoDialect, sign: Signer, names: dict[str, str]
) -> None:
    assert refusal(dialect, sign(secret="another")) == "unsigned"
    for wrong in ("", "0" * 32, "0" * 64, "ă\ud800", sign()[names["proof"]][:-1]):
        assert refusal(dialect, sign() | {names["proof"]: wrong}) == "unsigned"
    assert refusal(dialect, {}) == "unsigned"


@signed_ones
def test_a_signed_call_that_was_changed_is_refused(
    dialect: MoDialect, sign: Signer, names: dict[str, str]
) -> None:
    for name in ("text", "id"):
        assert refusal(dialect, sign() | {names[name]: "changed"}) == "unsigned"


@signed_ones
def test_hexadecimal_signatures_may_be_in_capitals(
    dialect: MoDialect, sign: Signer, names: dict[str, str]
) -> None:
    fields = sign()
    fields[names["proof"]] = fields[names["proof"]].upper()
    assert dialect.read(fields, b"").id == "r-1"


@every
def test_a_proven_call_without_its_parts_is_malformed(
    dialect: MoDialect, sign: Signer, names: dict[str, str]
) -> None:
    assert refusal(dialect, sign(**{names["number"]: " "})) == "malformed"
    assert refusal(dialect, sign(**{names["number"]: "9" * 201})) == "malformed"
    assert refusal(dialect, sign(**{names["id"]: "9" * 201})) == "malformed"
    assert refusal(dialect, sign(**{names["text"]: "x" * 2001})) == "malformed"


@signed_ones
def test_a_signed_call_has_an_id(dialect: MoDialect, sign: Signer, names: dict[str, str]) -> None:
    assert refusal(dialect, sign(**{names["id"]: ""})) == "malformed"


def test_a_plain_call_may_have_no_id_but_has_a_text() -> None:
    assert PlainDialect(SECRET).read(with_token(id=""), b"").id is None
    fields = with_token()
    del fields["text"]
    assert refusal(PlainDialect(SECRET), fields) == "malformed"


def test_what_no_database_takes_is_left_out() -> None:
    call = PlainDialect(SECRET).read(with_token(**{"from": "849\x0005", "text": "a\x00\ud800b"}), b"")
    assert (call.number, call.text) == ("84905", "a?b")


@every
def test_a_repeat_has_the_same_id(dialect: MoDialect, sign: Signer, names: dict[str, str]) -> None:
    assert dialect.read(sign(), b"").id == dialect.read(sign(), b"").id == "r-1"
    assert dialect.read(sign(**{names["id"]: "r-2"}), b"").id == "r-2"


# settings of one's own


def test_the_product_or_customer_a_call_is_for_can_be_fixed() -> None:
    assert OnePayDialect(SECRET, access_key="product").read(signed_by_1pay(), b"").id == "r-1"
    assert refusal(OnePayDialect(SECRET, access_key="other"), signed_by_1pay()) == "unsigned"
    assert EsmsDialect(SECRET, cpid="cp7").read(signed_by_esms(), b"").id == "r-1"
    assert refusal(EsmsDialect(SECRET, cpid="cp8"), signed_by_esms()) == "unsigned"


def test_another_set_of_signed_parameters_can_be_agreed_upon() -> None:
    fields = {name: name for name in SMS_CHARGING} | {"msisdn": NUMBER, "mo_message": TEXT}
    said = "&".join(f"{name}={fields[name]}" for name in SMS_CHARGING)
    fields["signature"] = hmac.new(SECRET.encode(), said.encode(), sha256).hexdigest()
    assert OnePayDialect(SECRET, signed=SMS_CHARGING).read(fields, b"").text == TEXT
    assert refusal(OnePayDialect(SECRET), fields) == "unsigned"


def test_an_empty_secret_proves_nothing() -> None:
    for dialect in (OnePayDialect, EsmsDialect):
        with pytest.raises(ValueError, match="proves nothing"):
            dialect("")
    assert refusal(PlainDialect(""), with_token(secret="")) == "unsigned"


# answers

CALL = MoCall(NUMBER, TEXT, "r<1>")


def test_the_plain_answer_is_the_text_itself() -> None:
    kind, body = PlainDialect(SECRET).reply(CALL, ANSWER)
    assert (kind, body.decode()) == ("text/plain; charset=utf-8", ANSWER)


def test_1pay_is_answered_in_json() -> None:
    kind, body = OnePayDialect(SECRET).reply(CALL, ANSWER)
    assert kind == "application/json; charset=utf-8"
    assert json.loads(body) == {"status": 1, "sms": ANSWER, "type": "text"}


def test_esms_is_answered_in_xml_with_id_and_number() -> None:
    kind, body = EsmsDialect(SECRET).reply(CALL, ANSWER)
    assert kind == "text/xml; charset=utf-8"
    root = ElementTree.fromstring(body)
    assert root.tag == "ClientResponse"
    assert [(child.tag, child.text) for child in root] == [
        ("Message", ANSWER),
        ("Smsid", "r<1>"),
        ("Receiver", NUMBER),
    ]


@every
@given(answer=st.text(), id_=st.text(max_size=20) | st.none())
def test_any_answer_can_be_written(
    dialect: MoDialect, sign: Signer, names: dict[str, str], answer: str, id_: str | None
) -> None:
    kind, body = dialect.reply(MoCall(NUMBER, TEXT, id_), answer)
    if "json" in kind:
        assert json.loads(body)["status"] == 1
    elif "xml" in kind:
        assert len(ElementTree.fromstring(body)) == 3
    else:
        body.decode()


@every
def test_neither_a_call_nor_a_dialect_shows_who_asked_what(
    dialect: MoDialect, sign: Signer, names: dict[str, str]
) -> None:
    shown = repr(dialect) + repr(dialect.read(sign(), b""))
    assert NUMBER not in shown and TEXT not in shown and SECRET not in shown


@every
@given(
    fields=st.dictionaries(
        st.sampled_from([n for _, _, x in EVERY for n in x.values()]), st.text(max_size=20)
    )
)
def test_no_call_that_proves_nothing_gets_through(
    dialect: MoDialect, sign: Signer, names: dict[str, str], fields: dict[str, str]
) -> None:
    with pytest.raises(MoError):
        dialect.read(fields, b"")
