"""What is submitted: as many parts as were counted and charged, read back by codecs that others wrote."""

from __future__ import annotations

import pytest
import smpp34
from hypothesis import given, settings
from hypothesis import strategies as st

from smsd.adapters.gateways.smpp import pdu
from smsd.adapters.gateways.smpp.alphabets import from_gsm7
from smsd.adapters.gateways.smpp.parts import (
    Address,
    LongMessages,
    PartWriter,
    encoding_that_fits,
    sender_address,
    subscriber,
)
from smsd.core.policy import Encoding
from smsd.core.texts import encode_for, segments
from tests.support.smppclient import LONG, SHORT
from tests.support.smpppdus import read_fields

SOURCE, DESTINATION = Address(5, 0, "MotcuaSMS"), subscriber("84905123456")


def write(text: str, encoding: Encoding, form: LongMessages = LongMessages.UDH) -> list[bytes]:
    return PartWriter(form).write(SOURCE, DESTINATION, text, encoding, receipts=True)


def test_a_short_text_is_one_submit_sm_as_smpp34_reads_it() -> None:
    (body,) = write(SHORT, Encoding.UNACCENTED)
    read = smpp34.decode(pdu.write_pdu(pdu.SUBMIT_SM, 0, 3, body))
    assert isinstance(read, smpp34.SubmitSm)
    assert (read.source_addr_ton, read.source_addr_npi, read.source_addr) == (5, 0, "MotcuaSMS")
    assert (read.dest_addr_ton, read.dest_addr_npi, read.destination_addr) == (1, 1, "84905123456")
    assert (read.esm_class, read.data_coding, read.registered_delivery) == (0, 0, 1)
    assert read.short_message == SHORT.encode()
    assert (read.priority_flag, read.protocol_id, read.replace_if_present_flag, read.tlvs) == (0, 0, 0, [])


def test_a_text_with_diacritics_is_ucs2() -> None:
    (body,) = write("Hồ sơ", Encoding.UNICODE)
    fields = read_fields(body)
    assert (fields["data_coding"], fields["octets"]) == (8, "Hồ sơ".encode("utf-16-be"))


def test_an_unaccented_text_is_in_the_gsm_alphabet_one_septet_an_octet() -> None:
    (body,) = write("Hồ sơ [1] @ {a_b}", Encoding.UNACCENTED)
    assert read_fields(body)["octets"] == b"Ho so \x1b\x3c1\x1b\x3e \x00 \x1b\x28a\x11b\x1b\x29"


def test_parts_with_a_header_carry_reference_total_and_number() -> None:
    bodies = [read_fields(body) for body in write(LONG, Encoding.UNICODE)]
    assert {fields["esm_class"] for fields in bodies} == {0x40}
    assert [fields["part"][1:] for fields in bodies] == [[2, 1], [2, 2]]
    assert len({fields["part"][0] for fields in bodies}) == 1
    assert "".join(fields["text"] for fields in bodies) == LONG
    assert all(fields["registered"] == 1 and fields["length"] <= 140 for fields in bodies)


def test_parts_with_sar_parameters_carry_them_instead() -> None:
    bodies = [read_fields(body) for body in write(LONG, Encoding.UNICODE, LongMessages.SAR)]
    assert {fields["esm_class"] for fields in bodies} == {0}
    assert [fields["part"][1:] for fields in bodies] == [[2, 1], [2, 2]]
    assert "".join(fields["text"] for fields in bodies) == LONG


def test_one_payload_carries_the_whole_text_and_a_short_one_needs_none() -> None:
    (body,) = write(LONG, Encoding.UNICODE, LongMessages.PAYLOAD)
    fields = read_fields(body)
    assert (fields["length"], fields["text"], fields["part"]) == (0, LONG, None)
    (body,) = write("Hồ sơ", Encoding.UNICODE, LongMessages.PAYLOAD)
    assert (read_fields(body)["length"], read_fields(body)["tlvs"]) == (10, {})


def test_two_messages_in_a_row_have_different_references() -> None:
    writer = PartWriter(LongMessages.UDH)
    references = {
        read_fields(writer.write(SOURCE, DESTINATION, LONG, Encoding.UNICODE, receipts=True)[0])["part"][0]
        for _ in range(256)
    }
    assert len(references) == 256


@settings(deadline=None)
@given(
    st.text(alphabet="abc {}[]€đồ😀\n", max_size=700),
    st.sampled_from(Encoding),
    st.sampled_from((LongMessages.UDH, LongMessages.SAR)),
)
def test_as_many_parts_leave_as_are_counted_and_nothing_is_lost(
    text: str, encoding: Encoding, form: LongMessages
) -> None:
    bodies = write(text, encoding, form)
    assert len(bodies) == segments(text, encoding)
    octets = [read_fields(body)["octets"] for body in bodies]
    if encoding is Encoding.UNICODE:
        assert "".join(part.decode("utf-16-be") for part in octets) == encode_for(text, encoding)
        assert all(len(part) <= 140 for part in octets)
    else:
        assert "".join(map(from_gsm7, octets)) == encode_for(text, encoding)
        assert all(len(part) <= 160 for part in octets)


def test_a_text_that_no_reference_can_count_is_refused() -> None:
    with pytest.raises(ValueError, match="255"):
        write("x" * 153 * 256, Encoding.UNACCENTED)


@pytest.mark.parametrize(
    ("sender", "ton", "npi", "expected"),
    [
        ("MotcuaSMS", 5, 0, Address(5, 0, "MotcuaSMS")),
        ("9029", 5, 0, Address(3, 0, "9029")),
        ("+84905123456", 5, 0, Address(1, 1, "84905123456")),
        ("84905123456", 5, 0, Address(1, 1, "84905123456")),
        ("9029", 0, 1, Address(0, 1, "9029")),  # as the operator says
        ("MotcuaSMS", 0, 0, Address(0, 0, "MotcuaSMS")),
    ],
)
def test_a_number_as_a_sender_has_the_type_of_a_number(
    sender: str, ton: int, npi: int, expected: Address
) -> None:
    assert sender_address(sender, ton, npi) == expected


def test_answers_to_citizens_are_in_the_alphabet_that_loses_nothing() -> None:
    cases = {
        "Ho so H32-1": "unaccented",
        "Hồ sơ": "unicode",
        "là": "unicode",
        "a`b": "unicode",
        "": "unaccented",
    }
    assert {text: encoding_that_fits(text).value for text in cases} == cases
