"""Templates: what may be placed, and that a value is nothing but a value wherever it is put."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.adapters.gateways.http.rendering import (
    escaped_for_form,
    escaped_for_header,
    escaped_for_url,
    escaped_for_xml,
)
from smsd.config.http.paths import read_body
from smsd.config.http.templates import (
    Template,
    TemplateError,
    fill_node,
    names_in,
    parse,
    parse_node,
)
from tests.contract.gateways.http.support import HOSTILE

NAMES = {"a", "b"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{a}", "1"),
        ("x{a}y{b}z{a}", "x1y2z1"),
        ("{{a}}", "{a}"),
        ("{{{a}}}", "{1}"),
        ("}}{{", "}{"),
    ],
)
def test_placeholders_are_filled_and_doubled_braces_are_single(text: str, filled: str) -> None:
    assert parse(text, NAMES).fill({"a": "1", "b": "2"}) == filled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{c}", "places {c}, which is no field and no variable, accepted: {a}, {b}"),
        ("{A b}", "places {…}"),
        ("{}", "places {…}"),
        ("a}", "brace without its other half"),
        ("{a", "brace without its other half"),
        ("x{a|number}", "within other text"),
    ],
)
def test_what_is_no_template_says_why(text: str, said: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(text, NAMES)
    assert said in str(caught.value)


def test_a_template_does_not_show_its_literals() -> None:
    assert "s3cret" not in repr(parse("s3cret{a}", NAMES))


@given(st.text(), st.text())
def test_what_a_value_holds_is_never_filled_in_again(first: str, second: str) -> None:
    template = parse("<{a}|{b}>", NAMES)
    assert template.fill({"a": f"{first}{{b}}", "b": f"{second}{{a}}"}) == f"<{first}{{b}}|{second}{{a}}>"


# one body kind each


@pytest.mark.parametrize("value", HOSTILE)
def test_in_json_a_value_is_one_text(value: str) -> None:
    node, problems = parse_node({"k": ["{a}", {"x": "-{b}-"}], "n": 2, "t": True, "0": None}, NAMES)
    assert not problems
    filled = fill_node(node, {"a": value, "b": value}, ())
    assert json.loads(json.dumps(filled)) == {
        "k": [value, {"x": f"-{value}-"}],
        "n": 2,
        "t": True,
        "0": None,
    }


@given(st.text())
def test_in_a_query_a_value_is_one_value(value: str) -> None:
    storable = value.encode("utf-8", "replace").decode()
    assert parse_qs(f"k={escaped_for_form(value)}&l=1", keep_blank_values=True) == {
        "k": [storable],
        "l": ["1"],
    }


@given(st.text())
def test_in_a_path_a_value_is_one_segment(value: str) -> None:
    assert not set(escaped_for_url(value)) & set("/?#& \r\n%") - {"%"}


@given(st.text())
def test_in_xml_a_value_is_text_and_the_document_stays_whole(value: str) -> None:
    escaped = escaped_for_xml(value)
    document = read_body(f'<r a="{escaped}"><v>{escaped}</v><w/></r>'.encode("utf-8", "replace"), "xml")
    assert [child.tag for child in document] == ["v", "w"]  # type: ignore[attr-defined]
    found = document.find("v").text or ""  # type: ignore[attr-defined]
    kept = [char for char in value if char in "\t\n\r" or (char >= " " and char not in "\ufffe\uffff")]
    assert found == "".join(char for char in kept if not "\ud800" <= char <= "\udfff")


@given(st.text())
def test_in_a_header_a_value_stays_on_its_line(value: str) -> None:
    escaped = escaped_for_header(value)
    assert escaped.isascii() and (escaped.isprintable() or not escaped)


# structures


def test_a_list_of_parameters_has_an_item_for_each() -> None:
    names = {"a", "template_id"}
    node, problems = parse_node({"P": {"{params}": {"N": "{param_number|number}", "C": "{param}{a}"}}}, names)
    assert not problems
    assert fill_node(node, {"a": "!"}, ("x", "{a}")) == {"P": [{"N": 1, "C": "x!"}, {"N": 2, "C": "{a}!"}]}
    assert fill_node(node, {"a": "!"}, ()) == {"P": []}


def test_every_mistake_in_a_structure_is_told_with_its_place() -> None:
    _, problems = parse_node({"a": ["{x}"], "b": {"c": "}"}, "d": {"{params}": "{param}", "e": 1}}, NAMES)
    assert [problem.split(" ")[0] for problem in problems] == ["a[0]", "b.c", "d", "d"]


def test_a_number_is_a_number_and_nothing_else_is() -> None:
    node, _ = parse_node({"n": "{a|number}"}, NAMES)
    assert fill_node(node, {"a": "12"}, ()) == {"n": 12}
    assert fill_node(node, {"a": "-0.5"}, ()) == {"n": -0.5}
    for wrong in ("", "1e9", "0x1", "NaN", "１", "1 "):
        with pytest.raises(ValueError, match="no number"):
            fill_node(node, {"a": wrong}, ())


def test_a_structure_knows_what_it_places() -> None:
    node, _ = parse_node({"x": ["{a}"], "y": {"{params}": "{param}"}}, {"a", "template_id"})
    assert names_in(node) == {"a", "param", "{params}"}
    assert names_in(None) == frozenset()
    assert isinstance(node, dict) and isinstance(node["x"], tuple) and isinstance(node["x"][0], Template)
