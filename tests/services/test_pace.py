"""`rate`: segments a second, never exceeded, in any second."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from smsd.services.link import Pace


class Seconds:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def leave(lengths: list[int], rate: float) -> list[tuple[float, int]]:
    """When messages of these lengths leave, each as soon as it may, looking every millisecond."""
    clock = Seconds()
    pace = Pace(clock)
    left: list[tuple[float, int]] = []
    for length in lengths:
        while pace.wait() > 0 or ((budget := pace.budget(rate)) is not None and length > budget):
            clock.at += 0.001
        pace.passed(length, rate)
        left.append((clock.at, length))
    return left


@given(st.lists(st.integers(1, 5), min_size=1, max_size=30), st.sampled_from([1, 3, 5, 10, 37]))
def test_no_second_sees_more_segments_than_the_rate_but_for_one_longer_message_alone(
    lengths: list[int], rate: int
) -> None:
    left = leave(lengths, rate)
    for index, (at, _) in enumerate(left):
        within = [length for instant, length in left[index:] if instant < at + 1]
        assert sum(within) <= rate or len(within) == 1


def test_short_messages_leave_evenly_and_nearly_at_the_rate() -> None:
    left = leave([1] * 101, 10)
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(left)]
    assert min(gaps) >= 0.1
    assert left[-1][0] - left[0][0] < 10 * 1.1


def test_a_message_longer_than_a_second_s_worth_is_not_kept_for_ever() -> None:
    left = leave([5, 5], 2)
    assert 2.5 <= left[1][0] - left[0][0] < 3
