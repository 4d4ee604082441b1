"""The audit's chain: any touch is found, and where it begins is named. Hashes of version 1 never change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsd.core.chain import (
    FAULTS_KEPT,
    GENESIS,
    START,
    Checkpoint,
    Event,
    Fault,
    Faults,
    Head,
    OwnEntry,
    StoredMessage,
    Stretch,
    Walk,
    attestation,
    chained,
    checkpoints_of,
    content_digest,
    event_hash,
    head_digits,
    message_fault,
    printed_head,
)

STATES = ("queued", "sending", "accepted", "delivered")
DETAILS = st.none() | st.text(st.characters(codec="utf-8"), max_size=6)
SAID = st.tuples(
    st.sampled_from(("m1", "m2", "m3")),
    st.integers(0, 9),
    st.sampled_from(STATES),
    DETAILS,
    st.none() | st.binary(min_size=32, max_size=32),
)
CONTENT = ("nha-trang", "H32.12-1", "result_ready", "84905123456", "Thông báo", 1)


def a_chain(said: Sequence[tuple[str, int, str, str | None, bytes | None]]) -> list[Event]:
    events: list[Event] = []
    before = GENESIS
    for id_, one in enumerate(said, 1):
        before = event_hash(before, (id_, *one))
        events.append(Event(id_, *one, before))
    return events


def plain_chain(count: int) -> list[Event]:
    return a_chain([(f"m{n}", n, STATES[n % 4], f"try {n}", None) for n in range(count)])


def end_of(events: Sequence[Event]) -> Head:
    return Head(events[-1].id, events[-1].hash) if events else START


def walked(
    events: Sequence[Event], noted: Head | None, checkpoints: Sequence[Checkpoint] = ()
) -> list[Fault]:
    faults = Faults()
    walk = Walk(checkpoints, faults)
    for event in events:
        walk.take(event)
    walk.end(noted)
    return faults.kept


# what is hashed


def test_the_hashes_of_version_1_are_these_and_never_change() -> None:
    first = event_hash(GENESIS, (1, "0190f2", 1_785_700_000_000_000, "queued", None, None))
    second = event_hash(first, (2, "0190f2", 1_785_700_000_000_001, "sending", "try 1 – lần 1", bytes(32)))
    assert first.hex() == "aae90364220c4e24f532d7e997190d2b57920795ce31961534143bf3c60c298b"
    assert second.hex() == "ca53f2aa40fda4604a877783a032a0378b3e82540e496c3c99a06dd287684290"
    assert (
        content_digest(bytes(range(16)), CONTENT).hex()
        == "ba9b51585d391fc115e9e6edcf4f1399b09ef6dc17ec7771e53d7769492af2f9"
    )


@given(st.tuples(SAID, st.integers(1, 99)), st.tuples(SAID, st.integers(1, 99)))
def test_two_events_have_one_hash_only_if_they_are_the_same(
    one: tuple[tuple[str, int, str, str | None, bytes | None], int],
    other: tuple[tuple[str, int, str, str | None, bytes | None], int],
) -> None:
    hashes = [event_hash(GENESIS, (id_, *said)) for said, id_ in (one, other)]
    assert (hashes[0] == hashes[1]) == (one == other)


@pytest.mark.parametrize(
    "fields",
    [
        (("ab", "c", None), ("a", "bc", None)),
        (("m", "s", None), ("m", "s", "-")),
        (("m", "s", ""), ("m", "s", None)),
        (("m", "1:s|", "x"), ("m", "1", ":s|x")),
        (("m|1:s", "s", "x"), ("m", "s", "1:s|x")),
    ],
)
def test_what_stands_in_one_field_cannot_pass_for_another(
    fields: tuple[tuple[str, str, str | None], tuple[str, str, str | None]],
) -> None:
    one, other = (event_hash(GENESIS, (1, m, 2, s, d, None)) for m, s, d in fields)
    assert one != other
    assert event_hash(GENESIS, (1, "m", 2, "s", "x", None)) != event_hash(GENESIS, (1, "m", 2, "s", "x", b""))


@given(st.tuples(*[st.text("ab|1:-", max_size=3)] * 5), st.tuples(*[st.text("ab|1:-", max_size=3)] * 5))
def test_two_contents_have_one_digest_only_if_they_are_the_same(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    digests = [content_digest(b"s", (*fields, 1)) for fields in (one, other)]  # type: ignore[arg-type]
    assert (digests[0] == digests[1]) == (one == other)


def test_without_the_salt_the_digest_of_a_number_is_another() -> None:
    salted = content_digest(b"s" * 16, CONTENT)
    assert salted != content_digest(b"t" * 16, CONTENT)
    assert salted != content_digest(None, CONTENT)
    assert content_digest(b"s", (*CONTENT[:3], None, None, 1)) != content_digest(
        b"s", (*CONTENT[:3], "-", "-", 1)
    )


@given(st.lists(SAID, max_size=6), st.integers(0, 5))
def test_many_events_are_chained_as_one_after_the_other(
    said: list[tuple[str, int, str, str | None, bytes | None]], id_: int
) -> None:
    entries = [(one[0], one[2], one[3]) for one in said]
    rows = chained(Head(id_, GENESIS), 7, entries, [one[4] for one in said])
    before = GENESIS
    for number, (row, one) in enumerate(zip(rows, said, strict=True), id_ + 1):
        expected = (number, one[0], 7, *one[2:])
        before = event_hash(before, expected)
        assert row == (*expected, before)


# the walk


@given(st.lists(SAID, max_size=12))
def test_what_nobody_touched_has_no_fault(said: list[tuple[str, int, str, str | None, bytes | None]]) -> None:
    events = a_chain(said)
    assert walked(events, end_of(events) if events else None) == []


@given(st.lists(SAID, min_size=1, max_size=8), st.data())
@settings(max_examples=300)
def test_any_change_of_one_event_is_found_and_it_is_the_first_named(
    said: list[tuple[str, int, str, str | None, bytes | None]], data: st.DataObject
) -> None:
    events = a_chain(said)
    index = data.draw(st.integers(0, len(events) - 1))
    field = data.draw(st.sampled_from(("message_id", "at", "state", "detail", "content", "hash")))
    new = data.draw(
        st.none()
        | st.integers()
        | st.text(max_size=3)
        | st.binary(max_size=33)
        | st.sampled_from([getattr(event, field) for event in events])
    )
    old = getattr(events[index], field)
    if old == new and type(old) is type(new):
        return
    touched = [*events[:index], events[index]._replace(**{field: new}), *events[index + 1 :]]
    first = walked(touched, end_of(events))[0]
    assert first.event_id == events[index].id
    assert first.message_id == touched[index].message_id


@given(st.integers(2, 9), st.data())
def test_any_removed_stretch_is_found_and_named_by_its_numbers(count: int, data: st.DataObject) -> None:
    events = plain_chain(count)
    start = data.draw(st.integers(0, count - 1))
    end = data.draw(st.integers(start + 1, count))
    first = walked([*events[:start], *events[end:]], end_of(events))[0]
    numbers = f"event {end}" if end - start == 1 else f"events {start + 1} to {end}"
    assert numbers in first.what
    assert "missing" in first.what
    assert first.event_id == (end + 1 if end < count else count)


@given(st.integers(2, 9), st.data())
def test_any_two_events_that_changed_places_are_found_at_the_first_of_them(
    count: int, data: st.DataObject
) -> None:
    events = plain_chain(count)
    one = data.draw(st.integers(0, count - 2))
    other = data.draw(st.integers(one + 1, count - 1))
    moved = list(events)
    moved[one], moved[other] = (
        events[other]._replace(id=events[one].id),
        events[one]._replace(id=events[other].id),
    )
    assert walked(moved, end_of(events))[0].event_id == one + 1


@given(st.integers(1, 9), st.data())
def test_an_inserted_event_is_found_wherever_it_is_put(count: int, data: st.DataObject) -> None:
    """Numbers leave no room between events; those after it are moved by one, or it comes last."""
    events = plain_chain(count)
    index = data.draw(st.integers(0, count))
    forged = Event(
        index + 1, "m0", 5, "delivered", None, None, data.draw(st.binary(min_size=32, max_size=32))
    )
    later = [event._replace(id=event.id + 1) for event in events[index:]]
    assert walked([*events[:index], forged, *later], end_of(events))[0].event_id == index + 1


def test_an_event_put_where_smsd_passed_by_is_told_from_a_changed_one() -> None:
    events = plain_chain(3)
    forged = Event(4, "m0", 5, "delivered", None, None, bytes(32))
    hash_ = event_hash(events[-1].hash, (5, "m9", 6, "queued", None, None))
    after = Event(5, "m9", 6, "queued", None, None, hash_)
    (fault,) = walked([*events, forged, after], end_of([after]))
    assert (fault.event_id, fault.what) == (4, "smsd did not write it: it was inserted")
    (last,) = walked([*events, forged], end_of(events))
    assert (last.event_id, last.what) == (4, "smsd did not write it: it was inserted")


def test_an_event_that_was_changed_alone_is_one_fault_and_says_so() -> None:
    events = plain_chain(5)
    for index in (0, 2, 4):
        touched = [*events]
        touched[index] = events[index]._replace(detail="nothing happened")
        (fault,) = walked(touched, end_of(events))
        assert fault == Fault(
            "it was changed after smsd wrote it", index + 1, events[index].message_id, events[index].at
        )


def test_a_chain_made_anew_from_one_event_on_does_not_end_where_smsd_noted() -> None:
    events = plain_chain(4)
    forged = a_chain([(*event[1:4], "forged", None) for event in events])
    (fault,) = walked(forged, end_of(events))
    assert "another hash" in fault.what
    (longer,) = walked(plain_chain(6), end_of(events))
    assert longer.what == "after the end of the chain as smsd noted it: events 5 to 6"
    (unnoted,) = walked(events, None)
    assert unnoted.what == "smsd's note of the chain's end is missing"


def test_numbers_that_were_never_given_are_no_fault() -> None:
    before = event_hash(GENESIS, (7, "m1", 1, "queued", None, None))
    events = [Event(7, "m1", 1, "queued", None, None, before)]
    assert walked(events, end_of(events)) == []


def test_of_a_thousand_faults_all_are_counted_and_some_kept() -> None:
    faults = Faults()
    for number in range(1000):
        faults.add(Fault("x", number))
    assert (faults.count, len(faults.kept), faults.kept[0].event_id) == (1000, FAULTS_KEPT, 0)


# retention


def forgotten(
    events: list[Event], gone: set[int], known: Sequence[Checkpoint] = ()
) -> tuple[list[Event], list[Checkpoint]]:
    """As the store does it: what is gone becomes checkpoints, and the chain says so."""
    stretches = [Stretch(e.id, e.id, 1, e.hash, e.id in gone, 9) for e in events]
    stretches += [Stretch(c.first_id, c.last_id, c.rows, c.after, True, c.at) for c in known]
    found = checkpoints_of(sorted(stretches))
    said = (events[-1].id + 1, "", 10, OwnEntry.CHECKPOINT, f"2 events removed; {attestation(found)}", None)
    last = Event(*said, event_hash(events[-1].hash, said))
    return [*(event for event in events if event.id not in gone), last], found


@given(st.integers(1, 10), st.lists(st.sets(st.integers(1, 20)), min_size=1, max_size=4))
def test_whatever_retention_removes_and_how_often_the_chain_stays_whole(
    count: int, rounds: list[set[int]]
) -> None:
    events, checkpoints = plain_chain(count), list[Checkpoint]()
    removed = 0
    for gone in rounds:
        left = {event.id for event in events[:-1]} & gone
        removed += len(left)
        events, checkpoints = forgotten(events, left, checkpoints)
        assert walked(events, end_of(events), checkpoints) == []
        assert sum(one.rows for one in checkpoints) == removed
        for one, other in pairwise(checkpoints):
            assert any(one.last_id < event.id < other.first_id for event in events), "neighbours are one"


@given(st.data())
def test_a_checkpoint_made_changed_or_removed_by_hand_is_found(data: st.DataObject) -> None:
    events, checkpoints = forgotten(plain_chain(8), {1, 2, 5})
    forged = data.draw(
        st.sampled_from(
            (
                [],
                checkpoints[:1],
                checkpoints[1:],
                [*checkpoints, Checkpoint(7, 7, 1, events[3].hash, events[4].hash, 9)],
                [Checkpoint(1, 2, 9, GENESIS, checkpoints[0].after, 9), checkpoints[1]],
                [Checkpoint(1, 2, 2, GENESIS, bytes(32), 9), checkpoints[1]],
                [Checkpoint(1, 2, 2, bytes(31), checkpoints[0].after, 9), checkpoints[1]],
            )
        )
    )
    assert walked(events, end_of(events), forged)


def test_events_removed_by_hand_under_a_checkpoint_made_by_hand_are_found() -> None:
    events = plain_chain(6)
    left = [*events[:2], *events[4:]]
    by_hand = [Checkpoint(3, 4, 2, events[1].hash, events[3].hash, 9)]
    (fault,) = walked(left, end_of(events), by_hand)
    assert fault.what == "the checkpoints of removed events are not those that smsd made"


# messages beside their events


def a_message(**changes: object) -> StoredMessage:
    values = dict(zip(StoredMessage._fields, ("m1", "delivered", *CONTENT, b"s" * 16), strict=True))
    return StoredMessage(**(values | changes))  # type: ignore[arg-type]


def events_of(*said: tuple[str, bytes | None]) -> list[Event]:
    return a_chain([("m1", n, state, None, content) for n, (state, content) in enumerate(said)])


SEALED = content_digest(b"s" * 16, CONTENT)
OTHER = bytes(32)
LIFE = events_of(("queued", SEALED), ("sending", SEALED), ("delivered", None))


@pytest.mark.parametrize(
    ("message", "events", "what"),
    [
        (a_message(), LIFE, None),
        (a_message(phone=None, text=None, salt=None), LIFE, None),
        (a_message(), events_of(("sending", None), ("delivered", None)), None),
        (a_message(), events_of(("queued", OTHER), ("unknown", SEALED), ("delivered", None)), None),
        (None, LIFE, "its message is missing"),
        (a_message(), [], "has no events"),
        (a_message(state="rejected"), LIFE, "is rejected, its last event delivered"),
        (a_message(phone="84905000000"), LIFE, "not what its events sealed"),
        (a_message(text="Khác"), LIFE, "not what its events sealed"),
        (a_message(dossier_code="H2"), LIFE, "not what its events sealed"),
        (a_message(segments=3), LIFE, "not what its events sealed"),
        (a_message(salt=None), LIFE, "not what its events sealed"),
        (a_message(agency=b"\xff"), LIFE, "not what its events sealed"),
        (a_message(), events_of(("queued", OTHER), ("sending", SEALED), ("delivered", None)), "before it was sent"),
    ],
)  # fmt: skip
def test_a_message_and_its_events_say_the_same(
    message: StoredMessage | None, events: list[Event], what: str | None
) -> None:
    fault = message_fault(message, events)
    assert (fault is None) == (what is None)
    if fault is not None and what is not None:
        assert what in fault.what
        assert fault.message_id == "m1"


# on paper


@given(st.binary(min_size=32, max_size=32))
def test_a_head_is_read_back_from_paper_however_it_was_typed(hash_: bytes) -> None:
    printed = printed_head(hash_)
    for typed in (printed, printed.upper(), printed.replace(" ", ""), printed.replace(" ", "-")):
        assert head_digits(f" {typed}\n") == hash_.hex()
    assert head_digits(printed[:35]) == hash_.hex()[:32]


@pytest.mark.parametrize("typed", ["", "12345", "g" * 64, "0" * 65, "0" * 31])
def test_what_is_no_head_is_refused_with_what_is_accepted(typed: str) -> None:
    with pytest.raises(ValueError, match="64 digits 0-9 a-f, of which the first 32"):
        head_digits(typed)
