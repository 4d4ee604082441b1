"""The message state machine: every state's followers, and what answers, receipts and age make of a message."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.figures import Ending, ending_of
from smsd.core.model import (
    FAILED,
    FINAL,
    HANDED_OVER,
    PENDING,
    UNSENT,
    MessageState,
    ReceiptVerdict,
    Verdict,
)
from smsd.core.outbox import (
    FIRST_GATEWAY_WAIT,
    FOLLOWERS,
    LONGEST_GATEWAY_WAIT,
    LONGEST_READ_WAIT,
    after_outcome,
    after_receipt,
    backoff,
    may_follow,
    valid_after_hold,
)
from tests.support.builders import NOW

Q, H, SENDING, UNKNOWN = (
    MessageState.QUEUED,
    MessageState.HELD,
    MessageState.SENDING,
    MessageState.UNKNOWN,
)
ACCEPTED, DELIVERED, UNDELIVERED, REJECTED = (
    MessageState.ACCEPTED,
    MessageState.DELIVERED,
    MessageState.UNDELIVERED,
    MessageState.REJECTED,
)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def reachable(start: MessageState) -> set[MessageState]:
    found, ahead = set(), {start}
    while ahead:
        state = ahead.pop()
        found.add(state)
        ahead |= FOLLOWERS[state] - found
    return found


def test_every_state_has_its_row_in_the_table() -> None:
    assert FOLLOWERS.keys() == set(MessageState)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_final_state_is_never_left(state: MessageState) -> None:
    assert FOLLOWERS[state] == frozenset()


@pytest.mark.parametrize("state", sorted(set(MessageState) - FINAL))
def test_every_other_state_comes_to_an_end(state: MessageState) -> None:
    assert reachable(state) & FINAL
    assert state not in FOLLOWERS[state]


def test_every_state_is_reached_from_queued() -> None:
    assert reachable(Q) == set(MessageState)


def test_every_message_is_pending_accepted_or_final() -> None:
    assert PENDING | {ACCEPTED} | FINAL == set(MessageState)
    assert not PENDING & FINAL and ACCEPTED not in PENDING | FINAL
    assert UNSENT <= PENDING and FAILED <= FINAL
    assert {ending_of(state) for state in MessageState} == set(Ending)


def test_what_a_gateway_took_never_becomes_unsent_again() -> None:
    for state in HANDED_OVER:
        assert not reachable(state) & (PENDING | {MessageState.SUPERSEDED, MessageState.SUPPRESSED})


def test_a_held_message_leaves_by_way_of_the_queue_only() -> None:
    assert not FOLLOWERS[H] & (HANDED_OVER | {SENDING, UNKNOWN})


@pytest.mark.parametrize(
    ("verdict", "after"),
    [
        (Verdict.ACCEPTED, ACCEPTED),
        (Verdict.DELIVERED, DELIVERED),
        (Verdict.REJECTED, REJECTED),
        (Verdict.RETRY, Q),
        (Verdict.ACCOUNT, Q),
        (Verdict.UNKNOWN, UNKNOWN),
    ],
)
def test_a_gateways_answer_decides_what_becomes_of_a_message(verdict: Verdict, after: MessageState) -> None:
    assert after_outcome(verdict) is after


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_answer_leads_where_the_table_allows(verdict: Verdict) -> None:
    assert may_follow(SENDING, after_outcome(verdict))


@pytest.mark.parametrize("found", [Q, H, UNKNOWN, SENDING])
def test_whatever_waits_can_be_superseded(found: MessageState) -> None:
    assert may_follow(found, MessageState.SUPERSEDED)


@pytest.mark.parametrize(
    ("before", "verdict", "after"),
    [
        (ACCEPTED, ReceiptVerdict.DELIVERED, DELIVERED),
        (ACCEPTED, ReceiptVerdict.UNDELIVERED, UNDELIVERED),
        (ACCEPTED, ReceiptVerdict.REJECTED, REJECTED),
        (ACCEPTED, ReceiptVerdict.ON_ITS_WAY, None),
        (UNKNOWN, ReceiptVerdict.ON_ITS_WAY, ACCEPTED),
        (UNKNOWN, ReceiptVerdict.DELIVERED, DELIVERED),
        (SENDING, ReceiptVerdict.DELIVERED, DELIVERED),  # the receipt overtook the answer
        (SENDING, ReceiptVerdict.ON_ITS_WAY, ACCEPTED),
        (Q, ReceiptVerdict.DELIVERED, DELIVERED),  # queued again after a first try whose answer was lost
        (H, ReceiptVerdict.DELIVERED, None),
        (DELIVERED, ReceiptVerdict.UNDELIVERED, None),
        (MessageState.SUPERSEDED, ReceiptVerdict.DELIVERED, None),
    ],
)
def test_a_receipt_moves_a_message_on(
    before: MessageState, verdict: ReceiptVerdict, after: MessageState | None
) -> None:
    assert after_receipt(before, verdict, tried=True, ended=False) is after


@given(st.sampled_from(MessageState), st.sampled_from(ReceiptVerdict), st.booleans(), st.booleans())
def test_a_receipt_never_leaves_a_final_state_and_never_breaks_the_table(
    before: MessageState, verdict: ReceiptVerdict, tried: bool, ended: bool
) -> None:
    after = after_receipt(before, verdict, tried=tried, ended=ended)
    if before in FINAL or ended or not tried:
        assert after is None
    if after is not None:
        assert may_follow(before, after)
        assert after in HANDED_OVER | {REJECTED}


@given(st.lists(st.sampled_from(ReceiptVerdict), max_size=6))
def test_repeated_receipts_change_a_message_once(verdicts: list[ReceiptVerdict]) -> None:
    state, finals = ACCEPTED, 0
    for verdict in [v for v in verdicts for _ in range(2)]:
        after = after_receipt(state, verdict, tried=True, ended=False)
        if after is not None:
            state, finals = after, finals + 1
    assert finals == (1 if any(v is not ReceiptVerdict.ON_ITS_WAY for v in verdicts) else 0)


def test_waits_double_up_to_the_longest() -> None:
    waits = [backoff(failures, FIRST_GATEWAY_WAIT, LONGEST_GATEWAY_WAIT) for failures in range(9)]
    assert [wait.total_seconds() for wait in waits] == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_reads_wait_from_their_interval_up_to_a_quarter_of_an_hour() -> None:
    waits = [backoff(failures, MINUTE, LONGEST_READ_WAIT) / MINUTE for failures in range(1, 7)]
    assert waits == [1, 2, 4, 8, 15, 15]


@pytest.mark.parametrize("first", [timedelta(hours=1), timedelta(days=2), timedelta(days=36_500)])
def test_an_interval_longer_than_the_longest_wait_stays_as_it_is(first: timedelta) -> None:
    assert backoff(1_000, first, LONGEST_READ_WAIT) == first


@given(st.integers(1, 10_000), st.timedeltas(SECOND, timedelta(days=36_500)))
def test_a_wait_never_shrinks_and_never_exceeds_its_bounds(failures: int, first: timedelta) -> None:
    wait = backoff(failures, first, LONGEST_READ_WAIT)
    assert first <= wait <= max(first, LONGEST_READ_WAIT)
    assert backoff(failures + 1, first, LONGEST_READ_WAIT) >= wait


@given(st.timedeltas(timedelta(0), timedelta(days=30)), st.timedeltas(timedelta(0), timedelta(days=30)))
def test_a_message_is_valid_for_as_long_after_a_hold_as_before_it(valid: timedelta, held: timedelta) -> None:
    valid_until = NOW + valid
    released_at = NOW + held
    assert valid_after_hold(valid_until, NOW, released_at) - released_at == valid_until - NOW


def test_a_clock_set_back_during_a_hold_takes_no_validity_away() -> None:
    assert valid_after_hold(NOW + MINUTE, NOW, NOW - timedelta(hours=1)) == NOW + MINUTE
