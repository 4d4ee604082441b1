"""Signed callbacks: only who was told the address can report on a message."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.signing import Callback, is_genuine, same_secret, signature

SECRET = "chuỗi bí mật"


def test_a_signature_is_the_same_in_every_process() -> None:
    # addresses handed out before an upgrade are still called back after it
    assert signature("secret", "kannel", "m-1") == "T2Ci9WOiIwODRNY1aPQXCNLr"


def test_the_right_signature_is_genuine() -> None:
    assert is_genuine(SECRET, "kannel", "m-1", signature(SECRET, "kannel", "m-1"))


@pytest.mark.parametrize(
    ("secret", "gateway", "message_id"),
    [("other", "kannel", "m-1"), (SECRET, "http", "m-1"), (SECRET, "kannel", "m-2")],
)
def test_a_signature_proves_one_message_of_one_gateway_under_one_secret(
    secret: str, gateway: str, message_id: str
) -> None:
    assert not is_genuine(SECRET, "kannel", "m-1", signature(secret, gateway, message_id))


def test_moving_letters_between_gateway_and_message_changes_the_signature() -> None:
    assert signature(SECRET, "ab", "c") != signature(SECRET, "a", "bc")
    assert signature(SECRET, "a:1", "b") != signature(SECRET, "a", "1:b")


@given(st.text())
def test_no_other_text_is_genuine(given_signature: str) -> None:
    expected = signature(SECRET, "kannel", "m-1")
    assert is_genuine(SECRET, "kannel", "m-1", given_signature) == (given_signature == expected)


def test_a_signature_cut_short_is_not_genuine() -> None:
    expected = signature(SECRET, "kannel", "m-1")
    assert not any(is_genuine(SECRET, "kannel", "m-1", expected[:length]) for length in range(len(expected)))


def test_an_empty_secret_signs_and_proves_nothing() -> None:
    with pytest.raises(ValueError, match="empty secret"):
        signature("", "kannel", "m-1")
    with pytest.raises(ValueError, match="empty secret"):
        is_genuine("", "kannel", "m-1", "")
    assert not same_secret("", "")


@given(st.text(), st.text())
def test_a_shared_secret_is_known_by_saying_it(expected: str, said: str) -> None:
    assert same_secret(expected, said) == (expected == said and expected != "")


def test_half_characters_in_a_call_are_wrong_and_no_fault() -> None:
    assert not same_secret(SECRET, "\ud800")
    assert not is_genuine(SECRET, "kannel", "\ud800", "\udfff")


@pytest.mark.parametrize("base", ["http://127.0.0.1:8029", "http://127.0.0.1:8029/"])
def test_a_receipt_address_carries_the_id_and_its_proof(base: str) -> None:
    address = urlsplit(Callback(base, SECRET).receipt_url("kannel", "m&1 ?"))
    fields = {name: values[0] for name, values in parse_qs(address.query, strict_parsing=True).items()}
    assert (address.netloc, address.path) == ("127.0.0.1:8029", "/receipts/kannel")
    assert fields.keys() == {"id", "sig"}
    assert fields["id"] == "m&1 ?"
    assert is_genuine(SECRET, "kannel", fields["id"], fields["sig"])


def test_a_proof_needs_no_escaping() -> None:
    for number in range(200):
        assert set(signature(SECRET, "kannel", str(number))) <= set(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        )


def test_the_secret_is_not_shown() -> None:
    assert SECRET not in repr(Callback("http://127.0.0.1:8029", SECRET))
