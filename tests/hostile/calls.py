"""Calls that nobody honest makes: what hypothesis makes of routes, methods, queries, bodies, headers and encodings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote_from_bytes

from hypothesis import strategies as st

from tests.hostile.office import Call

METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "get", "X\u0130")
TYPES = (
    "application/x-www-form-urlencoded",
    "application/json",
    "application/json; charset=utf-16",
    "application/x+json",
    "text/xml",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "multipart/mixed; boundary=\x00",
    "; ; =",
    "application/x-www-form-urlencoded; charset=rot13",
)
TRICKS = (
    b"/..",
    b"/../../etc/passwd",
    b"//",
    b"/%2e%2e/",
    b"/\x00",
    b"/\xff\xfe",
    b"/./kannel",
    b"\\..\\",
    b"/" + b"a" * 9000,
    b"/" * 300,
    b";id=1",
    b"/kannel/kannel",
    b"?",
    b"/{{7*7}}",
    b"/%s%n",
)
_odd_texts = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "\0",
            "\ud800",
            "' OR 1=1 --",
            "{id}",
            "%00",
            "../../x",
            "-1",
            "NaN",
            "1e999",
            "9" * 400,
            "\u202e\u200b",
        ]
    ),
)
_deep = [b"[" * 8000, b'{"a":' * 3000, b"<a>" * 4000, b"[" * 4000 + b"]" * 4000]
_bombs = [
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><x>&b;</x>',
    b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><x>&e;</x>',
    b'{"id": ' + b"9" * 5000 + b"}",
    b'{"id": 1e999, "sig": NaN}',
    b"--x\r\nContent-Disposition: form-data; name=id\r\n\r\n1\r\n--x--",
    b"\xff\xfe" + "id=1".encode("utf-16-le"),
]


def octets(fields: Sequence[tuple[str, str]]) -> bytes:
    """Parameters as a query or a form, whatever is in them."""
    return b"&".join(
        quote_from_bytes(name.encode("utf-8", "surrogatepass")).encode()
        + b"="
        + quote_from_bytes(value.encode("utf-8", "surrogatepass")).encode()
        for name, value in fields
    )


def fields(names: Sequence[str]) -> st.SearchStrategy[list[tuple[str, str]]]:
    """Parameters of these names, some missing, some twice, with odd values."""
    return st.lists(st.tuples(st.sampled_from(names), _odd_texts), max_size=6)


_headers = st.lists(
    st.one_of(
        st.tuples(st.just("Content-Type"), st.sampled_from(TYPES)),
        st.tuples(
            st.sampled_from(
                [
                    "Host",
                    "X-Forwarded-For",
                    "X-HTTP-Method-Override",
                    "Content-Encoding",
                    "Authorization",
                    "Cookie",
                ]
            ),
            st.text(alphabet=st.characters(min_codepoint=1, max_codepoint=255), max_size=30),
        ),
    ),
    max_size=4,
)


@st.composite
def malformed_calls(
    draw: st.DrawFn, paths: Sequence[bytes], names: Sequence[str], near: Sequence[Sequence[tuple[str, str]]]
) -> Call:
    """A call to one of ``paths``, or a trick of it, with ``names`` or the parameters of one ``near`` a good call."""
    path = draw(st.sampled_from(paths))
    if draw(st.integers(0, 5)) == 0:
        path += draw(st.sampled_from(TRICKS))
    chosen = draw(st.one_of(fields(names), st.sampled_from(near), st.sampled_from(near)))
    said = list(draw(st.permutations(list(chosen)))) + draw(fields(["x", "charset", "a[b]", ""]))
    encoded = octets(said)
    headers = draw(_headers)
    query = body = b""
    where = draw(st.integers(0, 4))
    if where in (0, 1):
        query = encoded
    elif where == 2:
        body = encoded
        headers.insert(0, ("Content-Type", TYPES[0]))
    elif where == 3:
        body = json.dumps(dict(said)).encode()
        headers.insert(0, ("Content-Type", "application/json"))
    else:
        body = draw(st.one_of(st.binary(max_size=200), st.sampled_from(_deep + _bombs)))
        query = draw(st.one_of(st.binary(max_size=60), st.just(encoded)))
    method = draw(st.sampled_from((*("GET", "POST") * 8, *METHODS)))
    return Call(path, method, query, body, tuple(headers))
