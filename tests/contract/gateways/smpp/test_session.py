"""The protocol without a socket: binds, enquire_link, unbind, and peers that keep to nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsd.adapters.gateways.smpp import pdu
from smsd.adapters.gateways.smpp.pdu import Framing, Pdu, write_pdu
from smsd.adapters.gateways.smpp.session import OUT_LIMIT, Session, Timings
from smsd.adapters.gateways.smpp.submission import Submission
from smsd.adapters.gateways.smpp.window import Window
from smsd.core.model import Outcome, Verdict
from tests.support.smpppdus import deliver_body, receipt_body

BIND = pdu.bind_body("smsd", "sesame", "")


class Talk:
    """A session, and what it says."""

    def __init__(self, *, bound: bool = True, window: int = 10) -> None:
        self.now = 1000.0
        self.ended: list[tuple[str, Outcome]] = []
        self.window = Window(
            window, 30.0, lambda submission, outcome: self.ended.append((submission.id, outcome))
        )
        self.session = Session(BIND, self.window, Timings(enquire_every=20.0, answer_timeout=30.0), self.now)
        if bound:
            self.hear(pdu.BIND_TRANSCEIVER_RESP, sequence=self.said()[0].sequence, body=b"peer\0")

    def hear(
        self, command: int, status: int = 0, sequence: int = 1, body: bytes = b""
    ) -> list[tuple[int, object]]:
        heard = self.session.received(write_pdu(command, status, sequence, body), self.now)
        self.session.tick(self.now)
        return list(heard)

    def said(self) -> list[Pdu]:
        """What it has written since the last look, taken off its hands."""
        found = Framing().feed(bytes(self.session.out))
        self.session.sent(len(self.session.out), self.now)
        self.session.tick(self.now)
        return found

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.session.tick(self.now)

    def offer(self, name: str = "m") -> None:
        self.window.offer(Submission(name, [b"body"], lambda *_: None))
        self.session.fill(self.now)

    def lose(self) -> None:
        ending = self.session.ended
        assert ending is not None
        self.window.lost(self.session.sent_octets, ending.code, ending.detail, ending.verdict)


def test_nothing_is_submitted_before_the_bind_is_answered() -> None:
    talk = Talk(bound=False)
    talk.offer()
    (bind,) = talk.said()
    assert (bind.command, bind.body) == (pdu.BIND_TRANSCEIVER, BIND)
    talk.hear(pdu.BIND_TRANSCEIVER_RESP, sequence=bind.sequence)
    talk.session.fill(talk.now)
    (submit,) = talk.said()
    assert submit == Pdu(pdu.SUBMIT_SM, 0, bind.sequence + 1, b"body")


@pytest.mark.parametrize(
    ("command", "status", "verdict", "code"),
    [
        (pdu.BIND_TRANSCEIVER_RESP, 0x0E, Verdict.ACCOUNT, "ESME_RINVPASWD"),
        (pdu.BIND_TRANSCEIVER_RESP, 0x05, Verdict.RETRY, "ESME_RALYBND"),
        (pdu.GENERIC_NACK, 0x03, Verdict.ACCOUNT, "ESME_RINVCMDID"),
    ],
)
def test_a_refused_bind_ends_the_session(command: int, status: int, verdict: Verdict, code: str) -> None:
    talk = Talk(bound=False)
    talk.hear(command, status, talk.said()[0].sequence)
    ending = talk.session.ended
    assert ending is not None
    assert (ending.verdict, ending.code) == (verdict, code)


def test_a_bind_that_is_not_answered_ends_the_session() -> None:
    talk = Talk(bound=False)
    talk.said()
    talk.hear(pdu.BIND_TRANSCEIVER_RESP, sequence=77)  # not ours
    talk.wait(30)
    assert talk.session.ended is not None and talk.session.ended.code == "no_bind_answer"


def test_an_idle_session_asks_whether_the_other_side_is_there() -> None:
    talk = Talk()
    assert talk.session.deadline(talk.now) == talk.now + 20
    talk.wait(19)
    assert talk.said() == []
    talk.wait(1)
    (enquiry,) = talk.said()
    assert enquiry.command == pdu.ENQUIRE_LINK
    talk.wait(29)
    talk.hear(pdu.ENQUIRE_LINK_RESP, sequence=enquiry.sequence)
    talk.wait(5)
    assert talk.session.ended is None


def test_a_peer_that_answers_no_enquire_link_is_gone() -> None:
    talk = Talk()
    talk.wait(20)
    talk.said()
    talk.wait(30)
    assert talk.session.ended is not None and talk.session.ended.code == "silent"


def test_a_peer_that_reads_nothing_is_given_up() -> None:
    talk = Talk()
    talk.hear(pdu.ENQUIRE_LINK)
    talk.wait(0)
    talk.wait(29)
    assert talk.session.ended is None
    talk.wait(1)
    assert talk.session.ended is not None and talk.session.ended.code == "stuck"


def test_a_peer_that_has_said_nothing_since_messages_were_submitted_is_gone() -> None:
    talk = Talk()
    talk.wait(1)
    talk.offer()
    talk.said()
    talk.wait(29)
    assert talk.session.ended is None
    talk.wait(1)
    assert talk.session.ended is not None and talk.session.ended.code == "silent"


def test_enquire_link_and_unbind_are_answered() -> None:
    talk = Talk()
    talk.hear(pdu.ENQUIRE_LINK, sequence=5)
    talk.hear(pdu.UNBIND, sequence=6)
    assert talk.said() == [Pdu(pdu.ENQUIRE_LINK_RESP, 0, 5, b""), Pdu(pdu.UNBIND_RESP, 0, 6, b"")]


def test_after_an_unbind_nothing_is_submitted_and_the_session_ends_soon() -> None:
    talk = Talk()
    talk.hear(pdu.UNBIND, sequence=6)
    talk.said()
    talk.offer()
    assert talk.said() == []
    talk.wait(1)
    talk.lose()
    assert talk.ended[0][1].verdict is Verdict.RETRY


def test_what_was_answered_before_the_unbind_took_effect_counts() -> None:
    talk = Talk()
    talk.offer()
    (submit,) = talk.said()
    talk.hear(pdu.UNBIND, sequence=6)
    talk.hear(pdu.SUBMIT_SM_RESP, sequence=submit.sequence, body=b"17\0")
    assert talk.ended[0][1].parts == ("17",)


def test_a_request_nobody_knows_is_refused_and_an_answer_nobody_waits_for_is_let_pass() -> None:
    talk = Talk()
    talk.hear(0x00000103, sequence=9, body=b"data")
    talk.hear(pdu.ALERT_NOTIFICATION, sequence=10)
    talk.hear(0x80000103, sequence=11)
    talk.hear(pdu.SUBMIT_SM_RESP, sequence=4711, body=b"17\0")
    assert talk.said() == [Pdu(pdu.GENERIC_NACK, 3, 9, b"")]
    assert talk.session.ended is None


def test_a_generic_nack_is_an_answer_to_the_message_it_names() -> None:
    talk = Talk()
    for status, verdict in ((0x02, Verdict.REJECTED), (0x58, Verdict.RETRY), (0x00, Verdict.REJECTED)):
        talk.now += 5
        talk.offer()
        talk.hear(pdu.GENERIC_NACK, status, talk.said()[-1].sequence)
        assert talk.ended.pop()[1].verdict is verdict


def test_a_generic_nack_that_names_nothing_ends_the_session() -> None:
    talk = Talk()
    talk.offer()
    talk.said()
    talk.hear(pdu.GENERIC_NACK, 2, 0)
    talk.lose()
    assert talk.ended[0][1].verdict is Verdict.UNKNOWN


def test_a_session_that_the_message_centre_no_longer_knows_is_begun_anew() -> None:
    talk = Talk()
    talk.offer()
    talk.hear(pdu.SUBMIT_SM_RESP, 0x04, talk.said()[0].sequence)
    assert talk.ended[0][1].verdict is Verdict.RETRY
    assert talk.session.ended is not None and talk.session.ended.code == "not_bound"


def test_deliveries_are_handed_on_and_acknowledged_by_whoever_took_them() -> None:
    talk = Talk()
    ((sequence, delivery),) = talk.hear(pdu.DELIVER_SM, sequence=8, body=receipt_body("17", "DELIVRD", "tlv"))
    assert sequence == 8 and delivery is not None
    assert talk.said() == []
    talk.session.acknowledge([8, 9], 0x64)
    assert talk.said() == [Pdu(pdu.DELIVER_SM_RESP, 0x64, 8, b"\0"), Pdu(pdu.DELIVER_SM_RESP, 0x64, 9, b"\0")]


def test_a_malformed_delivery_is_refused_and_the_session_goes_on() -> None:
    talk = Talk()
    assert talk.hear(pdu.DELIVER_SM, sequence=8, body=b"\0\1") == []
    assert talk.said() == [Pdu(pdu.DELIVER_SM_RESP, 2, 8, b"\0")]
    assert talk.session.ended is None


def test_a_delivery_before_the_bind_is_refused() -> None:
    talk = Talk(bound=False)
    talk.said()
    assert talk.hear(pdu.DELIVER_SM, sequence=8, body=deliver_body(b"x", "84905123456", "9029")) == []
    assert talk.said() == [Pdu(pdu.DELIVER_SM_RESP, 4, 8, b"\0")]


def test_a_length_that_cannot_be_ends_the_session_after_what_came_before_it() -> None:
    talk = Talk()
    talk.offer()
    (submit,) = talk.said()
    answer = write_pdu(pdu.SUBMIT_SM_RESP, 0, submit.sequence, b"17\0")
    talk.session.received(answer + b"\0\0\0\3" + b"\0" * 20, talk.now)
    assert talk.ended[0][1].parts == ("17",)
    assert talk.session.ended is not None and talk.session.ended.code == "out_of_step"


def test_octets_that_wait_for_a_slow_reader_are_bounded() -> None:
    talk = Talk(window=10**6)
    for number in range(50):
        talk.window.offer(Submission(f"m{number}", [b"x" * 60_000], lambda *_: None))
    talk.session.fill(talk.now)
    assert len(talk.session.out) < OUT_LIMIT + 70_000


def test_sequence_numbers_stay_within_their_range() -> None:
    talk = Talk()
    talk.session._sequence = 0x7FFFFFFE
    talk.offer("last")
    talk.offer("first")
    assert [said.sequence for said in talk.said()] == [0x7FFFFFFF, 1]


COMMANDS = st.sampled_from(
    (
        pdu.GENERIC_NACK,
        0x80000004,
        0x5,
        0x6,
        0x80000006,
        0x80000009,
        0x15,
        0x80000015,
        0x102,
        0x103,
        0x4,
        0x9,
        0x21,
        0,
    )
)
HOSTILE = st.one_of(
    st.builds(write_pdu, COMMANDS, st.integers(0, 0x500), st.integers(0, 6), st.binary(max_size=80)),
    st.builds(
        lambda body, cut: write_pdu(pdu.DELIVER_SM, 0, 1, body[:cut]),
        st.sampled_from(
            (receipt_body("17", "DELIVRD", "both"), deliver_body(b"MCKH", "84905123456", "9029"))
        ),
        st.integers(0, 200),
    ),
    st.binary(max_size=40),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(HOSTILE, max_size=8), st.booleans())
def test_no_peer_can_make_a_session_fail_or_a_message_end_twice(stream: list[bytes], bound: bool) -> None:
    talk = Talk(bound=bound)
    for number in range(4):
        talk.offer(f"m{number}")
    for octets in stream:
        talk.said()
        if talk.session.ended is None:
            for sequence, _ in talk.session.received(octets, talk.now):
                talk.session.acknowledge([sequence], 0)
        talk.session.fill(talk.now)
        talk.wait(1)
    talk.session.lost("the end")
    talk.lose()
    assert sorted(name for name, _ in talk.ended) == ["m0", "m1", "m2", "m3"]
