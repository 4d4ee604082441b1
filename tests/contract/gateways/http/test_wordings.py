"""Registered texts: the parameters are found in the message, or it is clear that they cannot be."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.adapters.gateways.http.rendering import UnfitError
from smsd.adapters.gateways.http.wordings import Wording, Wordings
from smsd.core.model import Verdict
from smsd.core.policy import Encoding
from smsd.core.texts import encode_for, fill
from tests.contract.gateways.http.support import NOTICES, a_description, a_notice, settings_of

REGISTERED = {
    "result_ready": {"id": "11", "params": ["Mã số hồ sơ", "Tên cơ quan"]},
    "supplement": {"id": "12", "params": ["Tên cơ quan", "Mã số hồ sơ"]},
    "apology": {"id": "13", "params": ["Mã số hồ sơ", "Ngày hẹn trả", "Tên cơ quan"]},
}


def the_wordings(encoding: Encoding = Encoding.UNICODE, **templates: object) -> Wordings:
    return Wordings(settings_of(a_description(templates=templates or REGISTERED)), NOTICES, encoding)


@pytest.mark.parametrize("encoding", list(Encoding))
@pytest.mark.parametrize(
    ("kind", "id_", "params"),
    [
        ("result_ready", "11", ("H32.12-0001", "UBND TP Nha Trang")),
        ("supplement", "12", ("UBND TP Nha Trang", "H32.12-0001")),
        ("apology", "13", ("H32.12-0001", "04/08/2026", "UBND TP Nha Trang")),
    ],
)
def test_each_notice_gives_its_parameters_in_the_registered_order(
    encoding: Encoding, kind: str, id_: str, params: tuple[str, ...]
) -> None:
    assert the_wordings(encoding).find(*a_notice(kind, encoding)) == (id_, params)


def test_parameters_are_as_they_stand_in_the_text() -> None:
    notice = a_notice(
        encoding=Encoding.UNACCENTED, **{"Tên cơ quan": "Ủy ban Đà Lạt", "Mã số hồ sơ": "{1} (a)"}
    )
    assert the_wordings(Encoding.UNACCENTED).find(*notice)[1] == ("{1} (a)", "Uy ban Da Lat")


def test_a_text_of_no_template_is_refused_alone_but_a_kind_without_one_stops_the_link() -> None:
    with pytest.raises(UnfitError) as caught:
        the_wordings().find("result_ready", "something else")
    assert (caught.value.code, caught.value.verdict) == ("text_unlike_template", Verdict.REJECTED)
    with pytest.raises(UnfitError) as caught:
        the_wordings().find("fee_due", "x")
    assert (caught.value.code, caught.value.verdict) == ("no_template", Verdict.ACCOUNT)


def test_an_agencys_own_text_can_have_a_template_of_its_own() -> None:
    own = "Ho so {Mã số hồ sơ} xong"
    wordings = the_wordings(
        **REGISTERED,
        ready_cam_ranh={"kind": "result_ready", "id": "99", "params": ["Mã số hồ sơ"], "text": own},
    )
    assert wordings.find("result_ready", "Ho so A1 xong") == ("99", ("A1",))
    assert wordings.find(*a_notice())[0] == "11"
    assert wordings.problems == []


def test_several_texts_of_a_notice_may_share_a_template() -> None:
    notices = {"result_ready": ("A {Mã số hồ sơ} x", "B {Mã số hồ sơ} y")}
    templates = {"result_ready": {"id": "1", "params": ["Mã số hồ sơ"]}}
    wordings = Wordings(settings_of(a_description(templates=templates)), notices, Encoding.UNICODE)
    assert wordings.find("result_ready", "A 7 x") == ("1", ("7",))
    assert wordings.find("result_ready", "B 8 y") == ("1", ("8",))


def test_what_is_wrong_with_templates_is_told_before_anything_is_sent() -> None:
    assert the_wordings().problems == []
    problems = the_wordings(result_ready={"id": "1", "params": ["Ngày hẹn trả"]}).problems
    assert problems[0] == "templates.result_ready: the text of result_ready has no {Ngày hẹn trả}"
    assert problems[1:] == ["no template for the notice supplement", "no template for the notice apology"]
    problems = the_wordings(**REGISTERED, fee={"id": "2", "params": []}).problems
    assert problems == ["templates.fee has no text, and there is no notice fee"]


@pytest.mark.parametrize(
    ("template", "text", "values"),
    [
        ("plain", "plain", ()),
        ("plain", "plain ", None),
        ("{Mã số hồ sơ}", "anything\nat all", ("anything\nat all",)),
        ("{Mã số hồ sơ}", "", ("",)),
        ("{Mã số hồ sơ}-{Tên cơ quan}", "a-b-c", ("a",)),
        ("{Mã số hồ sơ}, {Mã số hồ sơ}.", "a, a.", ("a",)),
        ("{Mã số hồ sơ}, {Mã số hồ sơ}.", "a, b.", None),
        ("{Mã số hồ sơ}, {Mã số hồ sơ}, {Tên cơ quan}", "a, a, b", ("a",)),
        ("{Mã số hồ sơ}, {Mã số hồ sơ}, {Tên cơ quan}", "a, b, a", None),
        ("({Mã số hồ sơ})", "()", ("",)),
        ("({Mã số hồ sơ})", "(", None),
        ("a{Mã số hồ sơ}a", "a", None),
    ],
)
def test_texts_are_cut_apart_or_are_not_that_text(
    template: str, text: str, values: tuple[str, ...] | None
) -> None:
    params = ("Mã số hồ sơ",) if "{" in template else ()
    assert Wording.of("k", "1", params, template, Encoding.UNICODE).values_in(text) == values


NAMES = ("Mã số hồ sơ", "Tên cơ quan", "Ngày hẹn trả")
value = st.text(alphabet=st.characters(exclude_categories=["C", "Z", "M"]), max_size=12)


@given(st.tuples(value, value, value), st.sampled_from(sorted(NOTICES)), st.sampled_from(list(Encoding)))
def test_the_parameters_put_back_give_the_text(
    values: tuple[str, str, str], kind: str, encoding: Encoding
) -> None:
    given_values = dict(zip(NAMES, values, strict=True))
    text = encode_for(fill(NOTICES[kind][0], given_values), encoding)
    _, params = the_wordings(encoding).find(kind, text)
    names = REGISTERED[kind]["params"]
    found = dict(zip(names, params, strict=True))  # type: ignore[call-overload]
    pieces = re.split(r"\{([^{}]*)\}", NOTICES[kind][0])
    again = [encode_for(x, encoding) if n % 2 == 0 else found[x] for n, x in enumerate(pieces)]
    assert "".join(again) == text
