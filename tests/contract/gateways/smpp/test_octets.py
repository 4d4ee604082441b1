"""PDUs as octets, held against two codecs that others wrote, and against everything a hostile peer can send."""

from __future__ import annotations

import smpp34
from hypothesis import example, given, settings
from hypothesis import strategies as st
from smpplib import smpp as smpplib_codec

from smsd.adapters.gateways.smpp import pdu
from smsd.adapters.gateways.smpp.alphabets import decode_text, from_gsm7, to_gsm7, to_ucs2
from smsd.adapters.gateways.smpp.pdu import Framing, MalformedError, Pdu, read_deliver_sm, write_pdu
from smsd.core.texts import GSM7_BASIC, GSM7_EXTENSION, unaccent
from tests.support.smpppdus import deliver_body, receipt_body, tlv

GSM7 = "".join(GSM7_BASIC).replace("\x1b", "") + "".join(GSM7_EXTENSION)


class _Owner:
    """Whom smpplib asks for sequence numbers."""

    sequence = 7

    def next_sequence(self) -> int:
        return self.sequence


def _by_smpplib(command: str, **fields: object) -> bytes:
    found = smpplib_codec.make_pdu(command, client=_Owner(), **fields)
    found.sequence = 7
    return bytes(found.generate())


def test_a_bind_is_what_smpplib_would_have_written() -> None:
    theirs = _by_smpplib(
        "bind_transceiver", system_id="smsd", password="sesame", system_type="VMA", interface_version=0x34
    )
    assert write_pdu(pdu.BIND_TRANSCEIVER, 0, 7, pdu.bind_body("smsd", "sesame", "VMA")) == theirs


def test_an_account_that_no_message_centre_can_have_is_refused_without_being_shown() -> None:
    for account in (("đỗ", "x", ""), ("smsd", "mật-khẩu", ""), ("smsd", "x" * 65, ""), ("smsd", "a\0b", "")):
        try:
            pdu.bind_body(*account)
        except ValueError as error:
            assert not any(secret in str(error) for secret in ("mật", "xxxx", "a\0b"))
        else:
            raise AssertionError(account)


def test_a_deliver_sm_written_by_smpp34_is_read_field_by_field() -> None:
    octets = smpp34.DeliverSm(
        "84905123456", "9029", b"MCKH H32-1", source_addr_ton=1, source_addr_npi=1, dest_addr_ton=3, esm_class=0x40,
        data_coding=3, tlvs=[smpp34.Tlv(0x001E, b"ab12\0"), smpp34.Tlv(0x1400, b"vendor")], sequence_number=9,
    ).encode()  # fmt: skip
    (found,) = Framing().feed(bytes(octets))
    assert (found.command, found.sequence) == (pdu.DELIVER_SM, 9)
    read = read_deliver_sm(found.body)
    assert (read.source_ton, read.source_npi, read.source) == (1, 1, b"84905123456")
    assert (read.destination_ton, read.destination_npi, read.destination) == (3, 0, b"9029")
    assert (read.esm_class, read.data_coding, read.octets) == (0x40, 3, b"MCKH H32-1")
    assert read.tlvs == {0x001E: b"ab12\0", 0x1400: b"vendor"}


def test_answers_are_what_smpplib_reads() -> None:
    answer = write_pdu(pdu.DELIVER_SM_RESP, 0x64, 7, b"\0")
    found = smpplib_codec.parse_pdu(answer, client=_Owner(), allow_unknown_opt_params=True)
    assert (found.command, found.status, found.sequence) == ("deliver_sm_resp", 0x64, 7)


def test_an_id_ends_with_its_nul_and_may_be_missing() -> None:
    for body, expected in (
        (b"ab12\0", "ab12"),
        (b"ab12", "ab12"),
        (b"", ""),
        (b"\0", ""),
        (b"1" * 500, "1" * 64),
    ):
        assert pdu.message_id(body) == expected


def test_the_text_may_be_in_message_payload() -> None:
    read = read_deliver_sm(deliver_body(b"MCKH H32-1", "84905123456", "9029", payload=True))
    assert read.octets == b"MCKH H32-1"


def test_octets_behind_the_last_parameter_do_no_harm() -> None:
    body = receipt_body("17", "DELIVRD", "both")
    for stray in (b"\0", b"\0\0\0", b"\4\x27\0\5x"):
        assert read_deliver_sm(body + stray) == read_deliver_sm(body)


def test_a_field_that_is_cut_off_makes_a_pdu_malformed() -> None:
    body = deliver_body(b"MCKH H32-1", "84905123456", "9029")
    for length in range(len(body)):
        try:
            read_deliver_sm(body[:length])
        except MalformedError:
            continue
        raise AssertionError(length)


def test_an_address_longer_than_any_is_malformed() -> None:
    try:
        read_deliver_sm(deliver_body(b"x", "8" * 80, "9029"))
    except MalformedError:
        return
    raise AssertionError("80 digits are no number")


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
@example(b"\0" * 17)
@example(deliver_body(b"", "", "", tlvs=tlv(0x0424, b"")))
def test_no_body_makes_the_reader_fail_in_another_way_than_malformed(body: bytes) -> None:
    try:
        read = read_deliver_sm(body)
    except MalformedError:
        return
    assert len(read.octets) + len(read.source) + len(read.destination) <= len(body)


PDUS = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 9), st.integers(0, 99), st.binary(max_size=40))
)


@settings(deadline=None)
@given(PDUS, st.lists(st.integers(1, 30), min_size=1))
def test_a_stream_is_cut_into_the_same_pdus_however_it_arrives(
    pdus: list[tuple[int, int, int, bytes]], sizes: list[int]
) -> None:
    stream = b"".join(write_pdu(*one) for one in pdus)
    framing, found, at = Framing(), [], 0
    while at < len(stream):
        size = sizes[at % len(sizes)]
        found += framing.feed(stream[at : at + size])
        at += size
    assert found == [Pdu(*one) for one in pdus]
    assert framing.fault == ""


def test_an_impossible_length_ends_the_stream_but_not_what_came_before() -> None:
    for length in (0, 1, 15, 65537, 2**32 - 1):
        framing = Framing()
        found = framing.feed(write_pdu(0x15, 0, 1) + length.to_bytes(4) + b"\0" * 40)
        assert [one.sequence for one in found] == [1]
        assert str(length) in framing.fault
        assert framing.feed(write_pdu(0x15, 0, 2)) == []


@given(st.text(alphabet=GSM7))
def test_the_gsm_alphabet_is_written_and_read_back_with_its_extension(text: str) -> None:
    octets = to_gsm7(text)
    assert from_gsm7(octets) == text
    assert len(octets) == sum(2 if char in GSM7_EXTENSION else 1 for char in text)
    assert all(octet < 128 for octet in octets)


@given(st.text())
def test_what_the_gsm_alphabet_lacks_becomes_a_question_mark(text: str) -> None:
    assert len(to_gsm7(text)) >= len(text)
    assert "?" in from_gsm7(to_gsm7("Hồ")) and from_gsm7(to_gsm7("Ho so")) == "Ho so"


@given(st.text())
def test_unaccented_texts_survive_the_gsm_alphabet(text: str) -> None:
    assert from_gsm7(to_gsm7(unaccent(text))) == unaccent(text)


@given(st.text())
def test_ucs2_is_read_back_also_beyond_the_basic_plane(text: str) -> None:
    assert decode_text(8, to_ucs2(text)) == text


def test_texts_are_decoded_by_their_data_coding() -> None:
    cases = {
        (0, b"MCKH H32-1"): "MCKH H32-1",
        (0, b"MCKH_H32@1"): "MCKH_H32@1",  # a message centre that makes ASCII of it
        (0, b"MCKH\x11H32\x001\x1b\x3c2\x1b\x3e"): "MCKH_H32@1[2]",  # one that hands on septets
        (0, "MCKH hồ".encode()): "MCKH hồ",
        (0, b"\xe0 l\xe0"): "à là",
        (1, b"MCKH_1"): "MCKH_1",
        (1, b"MCKH\x111"): "MCKH_1",
        (3, b"l\xe0"): "là",
        (8, "Hồ sơ".encode("utf-16-be")): "Hồ sơ",
        (8, b"\0M\0"): "M\ufffd",
        (0x18, "Hồ".encode("utf-16-be")): "Hồ",
        (0xE0, "Hồ".encode("utf-16-be")): "Hồ",
        (0xF0, b"MCKH"): "MCKH",
        (0xF4, b"\xe0"): "à",
        (0xC8, b"MCKH"): "MCKH",
        (4, b"MCKH"): "MCKH",
        (0, b""): "",
    }
    assert {case: decode_text(*case) for case in cases} == cases


@given(st.integers(0, 255), st.binary())
def test_no_text_makes_decoding_fail(coding: int, octets: bytes) -> None:
    assert isinstance(decode_text(coding, octets), str)
