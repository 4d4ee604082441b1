"""Reading answers: what a path finds, and that no body does any harm."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.config.http.paths import KINDS, PathError, look_up, parse_path, read_body

SOAP = b"""<?xml version="1.0" ?><S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>
<n:wsCpMtResponse xmlns:n="http://impl.bulkSms.ws/"><return n:kind="k"><message> Insert MT_QUEUE: OK
</message><result>1</result></return></n:wsCpMtResponse></S:Body></S:Envelope>"""


def found(body: bytes, kind: str, path: str) -> str | None:
    return parse_path(path, kind).find(read_body(body, kind))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("code", "100"),
        ("n", "7"),
        ("f", "2"),
        ("g", "2.5"),
        ("big", "12345678901234567890"),
        ("t", "true"),
        ("data[1].id", "x"),
        ("data[0]", "first"),
        ("a.b.c", ""),
        ("null", None),
        ("data", None),
        ("a", None),
        ("data[9].id", None),
        ("data.id", None),
        ("code.x", None),
        ("nowhere", None),
        ("[0]", None),
        ("Mã-số", "ă"),
    ],
)
def test_json_paths_find_texts_and_numbers_alike(path: str, value: str | None) -> None:
    body = """{"code":"100","n":7,"f":2.0,"g":2.5,"big":12345678901234567890,"t":true,"null":null,
    "data":["first",{"id":"x"}],"a":{"b":{"c":""}},"Mã-số":"ă"}""".encode()
    assert found(body, "json", path) == value


def test_a_list_may_be_the_whole_document() -> None:
    assert found(b'[{"id":5}]', "json", "[0].id") == "5"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (".//result", "1"),
        ("Body/wsCpMtResponse/return/message", "Insert MT_QUEUE: OK"),
        (".//return/@kind", "k"),
        (".//return/@other", None),
        ("result", None),
        (".", "Insert MT_QUEUE: OK\n1"),
    ],
)
def test_xml_paths_ignore_namespaces(path: str, value: str | None) -> None:
    assert found(SOAP, "xml", path) == value


@pytest.mark.parametrize(
    ("pattern", "value"), [(r"^OK:(\d+)", "42"), ("^OK", "OK"), ("^(ERR)?", None), ("nothing", None)]
)
def test_patterns_find_their_first_group_in_plain_text(pattern: str, value: str | None) -> None:
    assert found("\ufeff OK:42\r\n".encode(), "text", pattern) == value


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", "json"),
        ("a..b", "json"),
        (".a", "json"),
        ("a[x]", "json"),
        ("a b", "json"),
        ("a[1", "json"),
        ("", "xml"),
        ("a[", "xml"),
        ("/a", "xml"),
        ("a/@", "xml"),
        ("(", "text"),
    ],
)
def test_what_is_no_path_is_refused(path: str, kind: str) -> None:
    with pytest.raises(PathError, match="accepted: "):
        parse_path(path, kind)


BOMB = b"""<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><r>&c;</r>"""


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        b'<!DOCTYPE r SYSTEM "file:///etc/passwd"><r>x</r>',
        b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>',
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE r [<!ENTITY x "y">]><r>&x;</r>'.encode("utf-16"),
        b"<r>&undefined;</r>",
        b"<r>",
        b"",
        b"\xff\xfe\x00",
        b'<?xml version="1.0" encoding="no-such"?><r/>',
        b"<r/><r/>",
    ],
)
def test_document_types_entities_and_broken_xml_say_nothing(body: bytes) -> None:
    assert read_body(body, "xml") is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[" * 60_000, "json"),
        (b'{"a":' * 12_000 + b"1" + b"}" * 12_000, "json"),
        (b"9" * 60_000, "json"),
        (b'{"a":"' + b"x" * 60_000 + b'"}', "json"),
        (b"<a>" * 15_000 + b"</a>" * 15_000, "xml"),
        (b"<a " + b" ".join(b'x%d="1"' % n for n in range(6_000)) + b"/>", "xml"),
        (b"a" * 64_000, "text"),
    ],
)
def test_deep_long_and_wide_bodies_take_no_time(body: bytes, kind: str) -> None:
    began = time.monotonic()
    path = parse_path({"json": "a.a.a", "xml": ".//x", "text": "(a+)b"}[kind], kind)
    path.find(read_body(body, kind))
    assert time.monotonic() - began < 2


@given(st.binary(max_size=200), st.sampled_from(KINDS))
def test_no_body_raises(body: bytes, kind: str) -> None:
    path = parse_path({"json": "a[0].b", "xml": ".//a/@b", "text": "a(b)?"}[kind], kind)
    value = path.find(read_body(body, kind))
    assert value is None or isinstance(value, str)


def test_half_a_surrogate_pair_becomes_something_that_can_be_kept() -> None:
    assert found(rb'{"id":"a\ud800b"}', "json", "id") == "a?b"


# tables


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("5/1", "exact"),
        ("5/9", "any"),
        ("5/", "any"),
        ("5", "range"),
        ("5x", None),
        ("30", "range"),
        ("63", "range"),
        ("64", None),
        ("030", "range"),
        ("-5", None),
        ("٣", None),
        ("Check template: X", "like"),
        ("Recheck template: X", None),
        ("ab", "twice"),
        ("a--b--", None),
        ("a--b", "twice"),
    ],
)
def test_a_word_is_looked_up_exactly_then_by_pattern(word: str, meaning: str | None) -> None:
    table = {"5/*": "any", "5/1": "exact", "1-63": "range", "Check template: *": "like", "a*b": "twice"}
    assert look_up(table, word) == meaning


@given(st.text(alphabet="ab*", max_size=8), st.text(alphabet="ab", max_size=12))
def test_stars_stand_for_any_text(key: str, word: str) -> None:
    like = re.fullmatch(".*".join(map(re.escape, key.split("*"))), word, re.DOTALL)
    assert (look_up({key: "yes"}, word) == "yes") == (like is not None)
