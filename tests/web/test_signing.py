"""The signatures of the addresses gateways call back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.signing import Callback, is_genuine, same_secret, signature

NAMES = st.text(max_size=12)


@given(secret=st.text(min_size=1, max_size=12), gateway=NAMES, message_id=NAMES)
def test_a_signature_proves_what_it_was_made_for(secret: str, gateway: str, message_id: str) -> None:
    secret = secret.encode("utf-8", "replace").decode()
    proof = signature(secret, gateway, message_id)
    assert is_genuine(secret, gateway, message_id, proof)
    assert not is_genuine(secret + "x", gateway, message_id, proof)
    assert not is_genuine(secret, gateway + "x", message_id, proof)
    assert not is_genuine(secret, gateway, message_id + "x", proof)
    assert not is_genuine(secret, gateway, message_id, proof[:-1])


@given(one=st.tuples(NAMES, NAMES), other=st.tuples(NAMES, NAMES))
def test_two_messages_never_share_a_signature(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (signature("s", *one) == signature("s", *other)) == (one == other)


@pytest.mark.parametrize("given_", ["", "x", "ü", "\ud800", "a" * 10_000])
def test_anything_else_proves_nothing(given_: str) -> None:
    assert not is_genuine("s", "kannel", "m1", given_)


def test_an_empty_secret_is_refused_and_known_by_nobody() -> None:
    with pytest.raises(ValueError, match="empty secret"):
        signature("", "kannel", "m1")
    assert not same_secret("", "")


@pytest.mark.parametrize(
    ("given_", "same"), [("tell", True), ("tel", False), ("", False), ("Tell", False), ("té", False)]
)
def test_a_shared_secret_is_compared_whole(given_: str, same: bool) -> None:
    assert same_secret("tell", given_) is same


def test_the_address_to_call_back_survives_being_a_parameter_and_hides_the_secret() -> None:
    callback = Callback("http://host:8029/", "s")
    url = callback.receipt_url("kan nel", "a/b&c")
    assert url == f"http://host:8029/receipts/kan%20nel?id=a/b%26c&sig={signature('s', 'kan nel', 'a/b&c')}"
    assert "secret" not in repr(callback)
    assert signature("s", "g", "m").replace("-", "").replace("_", "").isalnum()
