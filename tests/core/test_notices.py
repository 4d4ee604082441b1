"""From a transition or an appointed date to a message, or to the first reason not to text."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.model import MessageState, Mode, Reason, Tracked
from smsd.core.notices import (
    COUNTS_AS_REPEATED,
    apology_is_owed,
    decide,
    is_stale,
    remade_occurrence,
    render,
    resolved_the_same_day,
    still_holds,
)
from smsd.core.policy import AgencyPolicy, Encoding, Notice
from tests.support.builders import NOW, a_dossier, a_policy, a_tracked, local, notices

TODAY = date(2026, 8, 3)
TOMORROW = date(2026, 8, 4)
NOTICES = notices()
RESULT, SUPPLEMENT, APOLOGY = (NOTICES[name] for name in ("result_ready", "supplement", "apology"))


def a_ready(position: str = "result_ready", **changes: object) -> Tracked:
    return a_tracked(a_dossier(**{"step": "Trả kết quả", **changes}), position)


def reason_of(
    tracked: Tracked, policy: AgencyPolicy, notice: Notice = RESULT, **facts: bool
) -> Reason | None:
    return decide(tracked, notice, policy, occurrence="1", now=NOW, **facts).reason


# texts


@pytest.mark.parametrize(
    ("notice", "text"),
    [
        (
            RESULT,
            "Thông báo: Hồ sơ của quý Ông/Bà (H32.12-260803-0001) đã được giải quyết xong. "
            "Mời Ông/Bà đến Bộ phận Một cửa UBND TP Nha Trang để nhận kết quả",
        ),
        (
            SUPPLEMENT,
            "Thông báo: Hồ sơ của quý Ông/Bà (H32.12-260803-0001) cần bổ sung theo quy định. "
            "Mời Ông/Bà đến Bộ phận Một cửa UBND TP Nha Trang để nhận thông báo",
        ),
        (
            APOLOGY,
            "Thông báo: Hồ sơ của quý Ông/Bà (H32.12-260803-0001) chưa có kết quả vào ngày 04/08/2026. "
            "UBND TP Nha Trang chân thành xin lỗi. Ông/Bà vui lòng đến nhận kết quả khi có tin nhắn tiếp theo",
        ),
    ],
)
def test_the_letters_texts_are_filled_word_for_word(notice: Notice, text: str) -> None:
    dossier = a_dossier(due_at=local("2026-08-04 00:00"))
    assert render(notice, dossier, a_policy()) == text


def test_an_agency_without_diacritics_texts_without_diacritics() -> None:
    text = render(RESULT, a_dossier("HS-Đ1"), a_policy(encoding=Encoding.UNACCENTED))
    assert text.startswith("Thong bao: Ho so cua quy Ong/Ba (HS-D1) da duoc giai quyet xong. Moi Ong/Ba")
    assert text.isascii()


EVERYTHING = "{Tên bước giải quyết hiện tại}|{Đúng hạn/Trễ hạn}|{Tên thủ tục}|{Ngày hẹn trả}"


@pytest.mark.parametrize(
    ("changes", "late", "text"),
    [
        ({"step": "Thẩm  định\u00a0hồ sơ"}, True, "Thẩm định hồ sơ|Trễ hạn|Đăng ký khai sinh|08/08/2026"),
        ({"procedure_name": None}, False, "Thẩm định|Đúng hạn|1.001|08/08/2026"),
        ({"procedure_name": None, "procedure_code": None}, False, "Thẩm định|Đúng hạn||08/08/2026"),
        ({"due_at": None}, False, "Thẩm định|Đúng hạn|Đăng ký khai sinh|"),
        (
            {"due_at": local("2026-08-08 23:30")},
            False,
            "Thẩm định|Đúng hạn|Đăng ký khai sinh|08/08/2026",
        ),  # local day
    ],
)
def test_the_other_placeholders_come_from_the_dossier(
    changes: dict[str, object], late: bool, text: str
) -> None:
    assert render(Notice("n", EVERYTHING), a_dossier(**changes), a_policy(), late=late) == text


def test_a_code_that_looks_like_a_placeholder_is_not_filled() -> None:
    text = render(Notice("n", "{Mã số hồ sơ}"), a_dossier("{Tên cơ quan}"), a_policy())
    assert text == "{Tên cơ quan}"


# reasons


def test_a_message_waits_for_settle_and_is_valid_from_when_it_was_made() -> None:
    draft = decide(a_ready(), RESULT, a_policy(), occurrence="2", now=NOW)
    assert (draft.state, draft.reason, draft.phone) == (MessageState.QUEUED, None, "84905123456")
    assert (draft.kind, draft.occurrence, draft.made_at) == ("result_ready", "2", NOW)
    assert draft.next_at == NOW + timedelta(minutes=2)
    assert draft.valid_until == NOW + timedelta(days=10)
    assert draft.segments == 3
    assert draft.due_day is None


def test_a_remade_message_keeps_the_validity_and_day_of_the_first() -> None:
    until = NOW + timedelta(hours=1)
    draft = decide(
        a_tracked(), APOLOGY, a_policy(), occurrence="x", now=NOW, due_day=TOMORROW, valid_until=until
    )
    assert (draft.valid_until, draft.due_day) == (until, TOMORROW)


SAME_DAY = {"received_at": local("2026-08-03 07:30"), "due_at": local("2026-08-03 17:00")}
OLD = {"received_at": NOW - timedelta(days=31), "resolved_at": NOW - timedelta(days=31)}


def test_reasons_are_looked_for_in_the_order_of_the_list() -> None:
    """Everything is wrong at once; each wrong is mended in turn, and the next reason shows."""
    policy = {
        "mode": Mode.OFF,
        "skip_procedures": frozenset({"1.001"}),
        "skip_same_day": True,
        "stale_after": timedelta(minutes=1),
    }
    dossier: dict[str, object] = {**SAME_DAY, "phone": None, "resolved_at": local("2026-08-03 08:30")}
    facts = {"first_seen": True, "repeated": True}
    mends: list[tuple[Reason | None, dict[str, object], dict[str, object], dict[str, bool]]] = [
        (Reason.OFF, {"mode": Mode.SHADOW}, {}, {}),
        (Reason.PROCEDURE, {"skip_procedures": frozenset()}, {}, {}),
        (Reason.SAME_DAY, {"skip_same_day": False}, {}, {}),
        (Reason.STALE, {}, {}, {"first_seen": False}),
        (Reason.REPEAT, {}, {}, {"repeated": False}),
        (Reason.NO_PHONE, {}, {"phone": "02583822222"}, {}),
        (Reason.LANDLINE, {}, {"phone": "0905 12345"}, {}),
        (Reason.INVALID_PHONE, {}, {"phone": "0583822222"}, {}),
        (Reason.AMBIGUOUS_PHONE, {}, {"phone": "0905123456"}, {}),
        (Reason.SHADOW, {"mode": Mode.LIVE}, {}, {}),
        (None, {}, {}, {}),
    ]
    for expected, mended_policy, mended_dossier, mended_facts in mends:
        draft = decide(a_ready(**dossier), RESULT, a_policy(**policy), occurrence="1", now=NOW, **facts)
        assert draft.reason is expected
        assert draft.state is (MessageState.SUPPRESSED if expected else MessageState.QUEUED)
        assert draft.text and draft.segments
        policy |= mended_policy  # type: ignore[arg-type]
        dossier |= mended_dossier
        facts |= mended_facts
    assert [mend[0] for mend in mends if mend[0]] == [r for r in Reason if r is not Reason.DISCARDED]


def test_a_skipped_procedure_is_matched_by_its_code_alone() -> None:
    policy = a_policy(skip_procedures=frozenset({"1.001"}))
    assert reason_of(a_ready(), policy) is Reason.PROCEDURE
    assert reason_of(a_ready(procedure_code="1.0011"), policy) is None
    assert reason_of(a_ready(procedure_code=None), policy) is None


@pytest.mark.parametrize(
    ("changes", "position", "done_since", "same"),
    [
        ({}, "result_ready", None, True),
        ({}, "closed", None, True),
        ({}, "supplement", None, False),  # at the step of handing over, but waiting for papers
        ({}, "in_progress", None, False),
        ({"resolved_at": local("2026-08-03 11:00")}, "supplement", None, True),
        ({"resolved_at": local("2026-08-04 00:00")}, "result_ready", None, False),
        ({"resolved_at": local("2026-08-03 23:59")}, "result_ready", None, True),
        ({}, "result_ready", local("2026-08-03 10:00"), True),
        ({}, "result_ready", local("2026-08-02 10:00"), False),
        ({"received_at": local("2026-08-02 23:59")}, "result_ready", None, False),
        ({"received_at": local("2026-08-03 00:00")}, "result_ready", None, True),
        ({"due_at": local("2026-08-04 00:00")}, "result_ready", None, False),
        ({"received_at": None}, "result_ready", None, False),
        ({"due_at": None}, "result_ready", None, False),
    ],
)
def test_the_same_day_is_received_due_and_resolved_on_one_local_day(
    changes: dict[str, object], position: str, done_since: datetime | None, same: bool
) -> None:
    dossier = a_dossier(step="Trả kết quả", **{**SAME_DAY, **changes})
    tracked = a_tracked(dossier, position, done_since=done_since)
    assert resolved_the_same_day(tracked, a_policy(), NOW) is same


def test_a_number_mended_the_next_day_does_not_make_a_same_day_dossier_another() -> None:
    tracked = a_tracked(a_dossier(step="Trả kết quả", **SAME_DAY), "result_ready", done_since=NOW)
    policy = a_policy(skip_same_day=True)
    draft = decide(tracked, RESULT, policy, occurrence="1.1", now=NOW + timedelta(days=1))
    assert draft.reason is Reason.SAME_DAY


@pytest.mark.parametrize(
    ("received", "resolved", "stale"),
    [
        (timedelta(days=90), timedelta(days=30), False),
        (timedelta(days=90), timedelta(days=30, seconds=1), True),
        (timedelta(days=31), None, True),
        (timedelta(days=29), None, False),
        (None, None, False),
    ],
)
def test_a_first_sight_is_stale_by_its_resolution_else_by_its_receipt(
    received: timedelta | None, resolved: timedelta | None, stale: bool
) -> None:
    dossier = a_dossier(
        received_at=NOW - received if received else None, resolved_at=NOW - resolved if resolved else None
    )
    assert is_stale(dossier, timedelta(days=30), NOW) is stale


def test_only_a_first_sight_can_be_stale() -> None:
    assert reason_of(a_ready(**OLD), a_policy(), first_seen=True) is Reason.STALE
    assert reason_of(a_ready(**OLD), a_policy(), first_seen=False) is None


def test_messages_that_never_left_do_not_make_the_next_a_repeat() -> None:
    never_left = set(MessageState) - COUNTS_AS_REPEATED
    assert never_left == {
        MessageState.SUPERSEDED,
        MessageState.SUPPRESSED,
        MessageState.REJECTED,
        MessageState.EXPIRED,
    }


# apologies


@pytest.mark.parametrize(
    ("due", "owed"),
    [
        ("2026-08-03 23:59", False),
        ("2026-08-04 00:00", True),
        ("2026-08-04 11:30", True),
        ("2026-08-04 23:59", True),
        ("2026-08-05 00:00", False),
    ],
)
def test_an_apology_is_owed_for_the_next_calendar_day(due: str, owed: bool) -> None:
    tracked = a_tracked(a_dossier(due_at=local(due)))
    assert apology_is_owed(tracked, APOLOGY, a_policy(), TODAY) is owed


DUE = a_dossier(due_at=local("2026-08-04 11:30"))
DUE_AT_COUNTER = a_dossier(step="Trả kết quả", due_at=local("2026-08-04 11:30"))


@pytest.mark.parametrize(
    ("tracked", "owed"),
    [
        (a_tracked(DUE), True),
        (a_tracked(DUE, "supplement"), True),
        (a_tracked(DUE, "result_ready"), False),
        (a_tracked(DUE, "closed"), False),
        (a_tracked(DUE_AT_COUNTER, "supplement"), False),  # at a step of result_ready
        (a_tracked(DUE_AT_COUNTER, "in_progress"), False),
        (a_tracked(DUE, missing_reads=1), False),
        (a_tracked(DUE, missing_reads=2, gone=True), False),
        (a_tracked(a_dossier(due_at=None)), False),
    ],
)
def test_an_apology_is_owed_while_the_result_is_not_there(tracked: Tracked, owed: bool) -> None:
    assert apology_is_owed(tracked, APOLOGY, a_policy(), TODAY) is owed


@given(st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2027, 1, 1)))  # noqa: DTZ001
def test_an_appointed_instant_is_apologised_for_on_exactly_one_day(due: datetime) -> None:
    tracked = a_tracked(a_dossier(due_at=local(due.isoformat(" "))))
    days = [due.date() + timedelta(days=offset) for offset in range(-4, 4)]
    owed = [day for day in days if apology_is_owed(tracked, APOLOGY, a_policy(), day)]
    assert owed == [due.date() - timedelta(days=1)]


# messages that wait


@pytest.mark.parametrize(
    ("kind", "due_day", "tracked", "holds"),
    [
        ("result_ready", None, a_ready(), True),
        ("result_ready", None, a_ready("closed"), False),
        ("result_ready", None, a_ready("supplement"), False),
        ("supplement", None, a_ready("supplement"), True),
        ("result_ready", None, a_tracked(DUE_AT_COUNTER, "result_ready", missing_reads=1), True),
        (
            "result_ready",
            None,
            a_tracked(DUE_AT_COUNTER, "result_ready", missing_reads=2, gone=True),
            False,
        ),
        ("result_ready", None, None, False),
        ("apology", TOMORROW, a_tracked(DUE), True),
        ("apology", TOMORROW, a_tracked(a_dossier(due_at=local("2026-08-04 16:00"))), True),  # same date
        ("apology", TOMORROW, a_tracked(a_dossier(due_at=local("2026-08-05 00:00"))), False),
        ("apology", TOMORROW, a_tracked(a_dossier(due_at=None)), False),
        ("apology", TOMORROW, a_tracked(DUE_AT_COUNTER, "result_ready"), False),
        ("apology", TOMORROW, a_tracked(DUE, "closed"), False),
        ("apology", TOMORROW, a_tracked(DUE, "supplement"), True),
    ],
)
def test_a_message_holds_while_it_says_the_truth(
    kind: str, due_day: date | None, tracked: Tracked | None, holds: bool
) -> None:
    assert still_holds(kind, due_day, tracked, a_policy()) is holds


def test_an_apology_still_holds_where_the_configuration_lost_the_notice() -> None:
    assert still_holds("apology", TOMORROW, a_tracked(DUE), a_policy(notices={}))


@pytest.mark.parametrize(
    ("occurrence", "times", "remade"),
    [("3", 1, "3.1"), ("3.1", 2, "3.2"), ("2026-08-04", 1, "2026-08-04.1")],
)
def test_a_remade_message_is_numbered_after_the_first(occurrence: str, times: int, remade: str) -> None:
    assert remade_occurrence(occurrence, times) == remade


@given(
    st.sampled_from(["0905123456", None, "0583822222", "x"]),
    st.sampled_from(Mode),
    st.booleans(),
    st.booleans(),
)
def test_a_message_is_queued_for_a_number_or_suppressed_for_a_reason(
    phone: str | None, mode: Mode, first_seen: bool, repeated: bool
) -> None:
    draft = decide(
        a_ready(phone=phone),
        RESULT,
        a_policy(mode=mode),
        occurrence="1",
        now=NOW,
        first_seen=first_seen,
        repeated=repeated,
    )
    assert (draft.state is MessageState.QUEUED) == (draft.reason is None)
    assert draft.reason is not None or draft.phone is not None
