"""What waits for answers: one outcome for each message, nothing taken twice, whatever comes in whatever order."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from smsd.adapters.gateways.smpp.submission import Submission
from smsd.adapters.gateways.smpp.window import Window
from smsd.core.model import Outcome, Verdict

OK, THROTTLED, INVALID_NUMBER, INVALID_SENDER, SUBMIT_FAILED = 0, 0x58, 0x0B, 0x0A, 0x45


@dataclass
class Network:
    """A window with a message centre behind it that answers as the test says."""

    size: int = 10
    now: float = 100.0
    ended: list[tuple[str, Outcome]] = field(default_factory=list)
    sent: list[tuple[int, str, int]] = field(default_factory=list)
    """Sequence number, message and part of each submit_sm."""

    def __post_init__(self) -> None:
        self.window = Window(
            self.size, 30.0, lambda submission, outcome: self.ended.append((submission.id, outcome))
        )

    def offer(self, name: str = "m", parts: int = 1, *, tried_before: bool = False) -> Submission:
        submission = Submission(name, [b"x"] * parts, lambda *_: None, tried_before)
        self.window.offer(submission)
        return submission

    def submit(self) -> list[int]:
        """Submit what may be; the new sequence numbers. Each PDU is ten octets long."""
        new = []
        while (ready := self.window.next(self.now)) is not None:
            submission, part = ready
            sequence = len(self.sent) + 1
            self.sent.append((sequence, submission.id, part))
            self.window.written(sequence, submission, part, sequence * 10, self.now)
            new.append(sequence)
        return new

    def answer(self, sequence: int, status: int = OK) -> bool:
        return self.window.answered(sequence, status, f"id{sequence}" if status == OK else "", self.now)

    def outcome(self) -> Outcome:
        ((_, outcome),) = self.ended
        return outcome


def test_a_message_is_accepted_once_all_its_parts_are() -> None:
    network = Network()
    network.offer(parts=3)
    network.submit()
    for sequence in (3, 1):
        network.answer(sequence)
        assert network.ended == []
    network.answer(2)
    expected = Outcome(Verdict.ACCEPTED, "accepted", reference="id1", parts=("id1", "id2", "id3"))
    assert network.outcome() == expected


def test_no_more_than_the_window_is_unanswered() -> None:
    network = Network(size=4)
    for number in range(3):
        network.offer(f"m{number}", parts=2)
    assert network.submit() == [1, 2, 3, 4]
    assert network.submit() == []
    network.answer(3)
    assert network.submit() == [5]


def test_an_answer_to_nothing_changes_nothing() -> None:
    network = Network()
    network.offer()
    network.submit()
    assert not network.answer(99)
    assert network.answer(1)
    assert not network.answer(1)
    assert len(network.ended) == 1


def test_an_answer_without_an_id_is_accepted_all_the_same() -> None:
    network = Network()
    network.offer()
    network.submit()
    network.window.answered(1, OK, "", network.now)
    assert network.outcome() == Outcome(Verdict.ACCEPTED, "accepted")


def test_one_id_for_all_parts_counts_once() -> None:
    network = Network()
    network.offer(parts=2)
    network.submit()
    for sequence in (1, 2):
        network.window.answered(sequence, OK, "same", network.now)
    assert network.outcome().parts == ("same",)


def test_throttling_pauses_the_whole_link_longer_each_time() -> None:
    network = Network(size=2)
    waits = []
    for _ in range(8):
        network.offer("first")
        network.offer("second")
        for sequence in network.submit():
            network.answer(sequence, THROTTLED)
        (_, first), (_, second) = network.ended
        assert second.retry_after is None, "a windowful put off at once is one pause"
        assert first.retry_after is not None
        waits.append(first.retry_after)
        network.offer("waiting")
        network.now += waits[-1] - 0.01
        assert network.submit() == []
        network.now += 0.02
        network.window.give_back("stopped", "")
        network.ended.clear()
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_an_accepted_one_ends_the_growing_of_pauses() -> None:
    network = Network()
    for _ in range(2):
        network.offer()
        (sequence,) = network.submit()
        network.answer(sequence, THROTTLED)
        assert network.ended.pop()[1].retry_after == 1.0
        network.now += 1.0
        network.offer()
        network.answer(network.submit()[0])
        assert network.ended.pop()[1].verdict is Verdict.ACCEPTED


def test_a_throttled_message_of_which_nothing_was_taken_goes_back_whole() -> None:
    network = Network(size=1)
    network.offer(parts=3)
    network.submit()
    network.answer(1, THROTTLED)
    assert network.outcome().verdict is Verdict.RETRY
    assert (network.outcome().code, network.outcome().retry_after) == ("ESME_RTHROTTLED", 1.0)
    network.now += 2
    assert network.submit() == []


def test_of_a_message_taken_in_part_only_the_rest_is_submitted_again() -> None:
    network = Network()
    network.offer(parts=3)
    network.submit()
    network.answer(1)
    network.answer(2, THROTTLED)
    network.answer(3, THROTTLED)
    assert network.ended == []
    assert network.submit() == []
    network.now += 1
    network.submit()
    assert [part for _, _, part in network.sent] == [0, 1, 2, 1, 2]
    network.answer(5)
    network.answer(4)
    assert network.outcome().parts == ("id1", "id4", "id5")


def test_a_message_taken_in_part_that_stays_throttled_becomes_unknown_in_the_end() -> None:
    network = Network()
    network.offer(parts=2)
    network.submit()
    network.answer(1)
    network.answer(2, THROTTLED)
    until = network.now + 700
    while not network.ended and network.now < until:
        network.now += 10
        for sequence in network.submit():
            network.answer(sequence, THROTTLED)
    assert network.outcome().verdict is Verdict.UNKNOWN
    assert [part for _, _, part in network.sent].count(0) == 1


def test_a_refused_part_refuses_the_message_and_spares_the_rest() -> None:
    network = Network(size=2)
    network.offer(parts=4)
    network.submit()
    network.answer(1, INVALID_NUMBER)
    assert network.submit() == []
    network.answer(2)
    assert network.outcome().verdict is Verdict.REJECTED
    assert network.outcome().code == "ESME_RINVDSTADR"
    assert network.submit() == [] and network.window.idle


def test_a_fault_of_the_account_is_told_as_such_only_while_nothing_was_taken() -> None:
    network = Network()
    network.offer("whole", parts=2)
    network.offer("half", parts=2)
    network.submit()
    for sequence, status in ((1, INVALID_SENDER), (2, INVALID_SENDER), (3, OK), (4, INVALID_SENDER)):
        network.answer(sequence, status)
    assert [(name, outcome.verdict) for name, outcome in network.ended] == [
        ("whole", Verdict.ACCOUNT),
        ("half", Verdict.UNKNOWN),
    ]


def test_a_refusal_without_a_reason_is_permanent_the_second_time() -> None:
    network = Network()
    for tried_before, verdict in ((False, Verdict.RETRY), (True, Verdict.REJECTED)):
        network.now += 10
        network.offer(tried_before=tried_before)
        network.answer(network.submit()[0], SUBMIT_FAILED)
        assert network.ended.pop()[1].verdict is verdict


def test_what_is_not_answered_in_time_is_unknown_and_makes_room() -> None:
    network = Network(size=1)
    network.offer("silent")
    network.offer("next")
    network.submit()
    assert network.window.deadline(network.now) == network.now + 30
    network.now += 29.9
    network.window.expire(network.now)
    assert network.ended == []
    network.now += 0.1
    network.window.expire(network.now)
    assert network.outcome() == Outcome(Verdict.UNKNOWN, "answer_timeout", "no answer in time")
    assert network.submit() == [2]
    assert not network.answer(1)


def test_when_the_connection_ends_only_what_was_sent_to_its_last_octet_is_unknown() -> None:
    network = Network(size=3)
    for name in ("sent", "cut in two", "not sent", "waiting"):
        network.offer(name)
    network.submit()
    network.window.lost(15, "connection_lost", "it broke", Verdict.RETRY)
    assert [(name, outcome.verdict) for name, outcome in network.ended] == [
        ("sent", Verdict.UNKNOWN),
        ("cut in two", Verdict.RETRY),
        ("not sent", Verdict.RETRY),
        ("waiting", Verdict.RETRY),
    ]
    assert network.window.idle and network.submit() == []


def test_a_message_taken_in_part_is_unknown_when_the_connection_ends() -> None:
    network = Network(size=1)
    network.offer(parts=2)
    network.submit()
    network.answer(1)
    network.window.lost(10, "connection_lost", "it broke", Verdict.RETRY)
    assert network.outcome().verdict is Verdict.UNKNOWN


def test_a_refused_account_is_told_to_what_waited_for_the_bind() -> None:
    network = Network()
    network.offer()
    network.window.lost(0, "ESME_RINVPASWD", "the password is wrong", Verdict.ACCOUNT)
    assert network.outcome().verdict is Verdict.ACCOUNT


def test_what_is_begun_may_be_finished_when_smsd_stops_and_the_rest_goes_back() -> None:
    network = Network(size=1)
    network.offer("begun", parts=2)
    network.offer("waiting")
    network.submit()
    network.window.give_back("stopped", "smsd is stopping")
    assert [(name, outcome.verdict) for name, outcome in network.ended] == [("waiting", Verdict.RETRY)]
    network.answer(1)
    network.answer(network.submit()[0])
    assert network.ended[-1][1].verdict is Verdict.ACCEPTED


STATUSES = st.sampled_from(
    (OK, OK, OK, THROTTLED, 0x14, INVALID_NUMBER, INVALID_SENDER, SUBMIT_FAILED, 0x1234)
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.integers(1, 4)),
        st.tuples(st.just("submit"), st.just(0)),
        st.tuples(st.just("answer"), st.tuples(st.integers(0, 30), STATUSES)),
        st.tuples(st.just("wait"), st.sampled_from((0.5, 2.0, 31.0, 100.0))),
        st.tuples(st.just("lost"), st.integers(0, 300)),
        st.tuples(st.just("give_back"), st.just(0)),
    ),
    max_size=40,
)


class Story:
    """What a random story of a window did to each message, by the message centre's own account."""

    def __init__(self) -> None:
        self.network = Network(size=3)
        self.offered: dict[str, int] = {}
        self.taken: dict[str, list[int]] = {}
        self.maybe: set[str] = set()
        self.unanswered: dict[int, tuple[str, int]] = {}

    def play(self, step: str, value: object) -> None:
        getattr(self, step)(value)
        assert len(self.unanswered) <= 3
        assert len({name for name, _ in self.network.ended}) == len(self.network.ended), "told twice"

    def offer(self, parts: int) -> None:
        name = f"m{len(self.offered)}"
        self.offered[name] = parts
        self.network.offer(name, parts)

    def submit(self, _: object) -> None:
        before = len(self.network.sent)
        self.network.submit()
        for sequence, name, part in self.network.sent[before:]:
            assert part not in self.taken.get(name, []), "a part that was taken was submitted again"
            self.unanswered[sequence] = (name, part)

    def answer(self, what: tuple[int, int]) -> None:
        index, status = what
        if not self.unanswered:
            return
        sequence = sorted(self.unanswered)[index % len(self.unanswered)]
        name, part = self.unanswered.pop(sequence)
        if status == OK:
            self.taken.setdefault(name, []).append(part)
        self.network.answer(sequence, status)

    def wait(self, seconds: float) -> None:
        self.network.now += seconds
        self.network.window.expire(self.network.now)
        if self.network.window.under_way < len(self.unanswered):
            assert self.network.window.under_way == 0 or seconds < 30
            self.maybe |= {name for name, _ in self.unanswered.values()}
            self.unanswered = {}

    def lost(self, sent: int) -> None:
        for sequence, (name, _) in self.unanswered.items():
            if sequence * 10 <= sent:
                self.maybe.add(name)
        self.unanswered = {}
        self.network.window.lost(sent, "connection_lost", "it broke", Verdict.RETRY)

    def give_back(self, _: object) -> None:
        self.network.window.give_back("stopped", "smsd is stopping")


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_whatever_happens_each_message_ends_once_and_truly(steps: list[tuple[str, object]]) -> None:
    story = Story()
    for step, value in steps:
        story.play(step, value)
    story.play("lost", 10**9)
    ended = dict(story.network.ended)
    assert ended.keys() == story.offered.keys()
    for name, outcome in ended.items():
        if outcome.verdict is Verdict.ACCEPTED:
            assert sorted(story.taken[name]) == list(range(story.offered[name]))
        elif outcome.verdict in (Verdict.RETRY, Verdict.ACCOUNT):
            assert name not in story.taken and name not in story.maybe, "it would be sent a second time"


def test_a_message_may_be_submitted_anew_while_parts_of_its_first_try_are_still_in_line() -> None:
    network = Network(size=1)
    first = network.offer(parts=3)
    network.submit()
    network.answer(1, THROTTLED)
    network.window.offer(first.anew())
    network.now += 1
    for _ in range(3):
        (sequence,) = network.submit()
        network.answer(sequence)
    assert network.submit() == [] and network.window.idle
    assert [part for _, _, part in network.sent] == [0, 0, 1, 2]
    assert network.ended[-1][1].parts == ("id2", "id3", "id4")
