"""References are filled in where they are lawful, and what they bring in is never looked at again or shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.config.references import Sources, expand


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "nha-trang").write_text("p@ss/w:rd\n")
    (tmp_path / "token").write_text("from a file\r\n")
    (tmp_path / "blank").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * 70_000)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"), "HOST": "10.65.1.10", "EMPTY": ""}
    return Sources(tmp_path, environ)


FILLED = [
    ("${HOST}", "10.65.1.10"),
    ("http://${HOST}:13013/", "http://10.65.1.10:13013/"),
    ("${file:token}", "from a file"),
    ("${credential:nha-trang}", "p@ss/w:rd"),
    ("$${HOST} costs $5", "${HOST} costs $5"),
    ("$HOST", "$HOST"),
]


@pytest.mark.parametrize(("written", "meant"), FILLED)
def test_a_reference_is_filled_in(sources: Sources, written: str, meant: str) -> None:
    assert expand(written, sources).text == meant


def test_an_absolute_file_is_found_from_anywhere(sources: Sources, tmp_path: Path) -> None:
    elsewhere = Sources(Path("/nowhere"), {})
    assert expand(f"${{file:{tmp_path / 'token'}}}", elsewhere).text == "from a file"


def test_a_password_in_a_url_is_encoded_so_that_it_stays_one(sources: Sources) -> None:
    url = "mssql+pyodbc://smsd:${credential:nha-trang}@${HOST}:1433/MotCua"
    assert expand(url, sources, url=True).text == "mssql+pyodbc://smsd:p%40ss%2Fw%3Ard@10.65.1.10:1433/MotCua"


def test_a_whole_url_from_a_credential_is_taken_as_it_is(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "credentials" / "url").write_text("sqlite:////srv/a b.db")
    assert expand("${credential:url}", sources, url=True).text == "sqlite:////srv/a b.db"


UNSET = [
    ("${NOWHERE}", "the environment variable NOWHERE is not set"),
    ("${EMPTY}", "the environment variable EMPTY is empty"),
    ("${file:nowhere}", "the file nowhere is not set: there is no such file"),
    ("${file:credentials}", "the file credentials is not set: there is no such file"),
    ("${file:blank}", "the file blank is empty"),
    ("${file:binary}", "the file binary is not UTF-8 text"),
    ("${file:large}", "the file large is too large"),
    ("${credential:nowhere}", "the credential nowhere is not set: there is no such file"),
]


@pytest.mark.parametrize(("written", "said"), UNSET)
def test_an_unset_reference_is_named_and_left_as_it_was(sources: Sources, written: str, said: str) -> None:
    expansion = expand(written, sources)
    assert expansion.text == written
    assert not expansion.filled
    assert len(expansion.unset) == 1
    assert expansion.unset[0].startswith(said)


def test_without_systemd_a_credential_is_unset_and_says_how_it_would_come() -> None:
    (said,) = expand("${credential:inbound}", Sources(Path(), {})).unset
    assert "LoadCredential=inbound:" in said


@pytest.mark.parametrize(
    "written",
    [
        "${}",
        "${A-B}",
        "${1A}",
        "${file:}",
        "${credential:}",
        "${credential:../x}",
        "${credential:..}",
        "${vault:x}",
        "${A",
    ],
)
def test_what_only_looks_like_a_reference_is_refused(sources: Sources, written: str) -> None:
    expansion = expand(written, sources)
    assert len(expansion.malformed) == 1
    assert "accepted: ${NAME}, ${file:PATH}, ${credential:NAME}" in expansion.malformed[0]


def test_every_wrong_reference_of_a_value_is_told(sources: Sources) -> None:
    expansion = expand("${A1} ${HOST} ${B1} ${?}", sources)
    assert (len(expansion.unset), len(expansion.malformed), expansion.filled) == (2, 1, True)


@given(st.text())
def test_what_a_reference_brings_in_is_not_looked_at_again(value: str) -> None:
    environ = {"VALUE": value}
    expansion = expand("<${VALUE}>", Sources(Path(), environ))
    assert expansion.text == (f"<{value}>" if value else "<${VALUE}>")
    assert not expansion.malformed


@given(st.text(alphabet="${}:/@#?ab"))
def test_no_text_breaks_the_reader(text: str) -> None:
    expansion = expand(text, Sources(Path("/nowhere"), {"a": "1"}), url=True)
    if "${" not in text:
        assert expansion.text == text


def test_a_value_has_at_most_sixteen_references(sources: Sources) -> None:
    assert expand("${HOST}" * 16, sources).text == "10.65.1.10" * 16
    expansion = expand("${HOST}" * 17, sources)
    assert (expansion.text, expansion.filled, len(expansion.malformed)) == ("${HOST}" * 17, False, 1)
