"""Look-ups by text message: what is answered, what a repeat gets, and what the eager get."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from smsd.adapters.store.lookups import LookupStore
from smsd.adapters.store.schema import inquiries
from smsd.core.model import Mode
from smsd.core.policy import Encoding
from smsd.services.lookup import Inquiry, LookupRules, LookupService
from smsd.services.ports import LookupRequest
from tests.services.stage import CLOSED, HOUR, READY, Stage, a_row
from tests.support.builders import ZONE, a_policy, local

RULES = LookupRules(
    keyword="MCKH",
    answer=(
        "Hồ sơ của quý Ông/Bà ({Mã số hồ sơ}) hiện đang ở bước {Tên bước giải quyết hiện tại}, "
        "trạng thái hồ sơ: {Đúng hạn/Trễ hạn}."
    ),
    not_found="Không tìm thấy hồ sơ {Mã số hồ sơ}",
    wrong_syntax="Soạn: MCKH <mã hồ sơ>",
    too_many="Quá nhiều tin nhắn",
    limit=20,
    per=HOUR,
    zone=ZONE,
)
NUMBER = "84905123456"
NOON = local("2026-08-03 12:00")


class Desk:
    """The service over a stage's store; ``ask`` is a citizen."""

    def __init__(self, stage: Stage, rules: LookupRules = RULES) -> None:
        self.stage = stage
        self.store = LookupStore(stage.database)
        self.service = LookupService(
            self.store, rules, stage.clock, policies=lambda: stage.policies, secret="secret", patience=10.0
        )

    def ask(self, text: str = "MCKH H1", id_: str | None = None, number: str = NUMBER) -> str:
        return self.service.answer(LookupRequest(number, text, id_))

    def recorded(self) -> list[tuple[str, str, str | None]]:
        with self.stage.database.reading() as connection:
            rows = connection.execute(inquiries.select().order_by(inquiries.c.id)).mappings()
            return [(row["outcome"], row["number_masked"], row["dossier_code"]) for row in rows]


@pytest.fixture
def desk(stage: Stage) -> Iterator[Desk]:
    stage.clock.at = NOON
    made = Desk(stage)
    yield made
    made.service.close()


def late(desk: Desk, **row: object) -> bool:
    desk.stage.baseline(a_row(**row))
    answer = desk.ask()
    assert ("Trễ hạn" in answer) != ("Đúng hạn" in answer)
    return "Trễ hạn" in answer


def test_the_answer_is_the_letter_s_words(desk: Desk) -> None:
    desk.stage.baseline(a_row(step="Thẩm  định\t hồ sơ"))
    assert desk.ask() == (
        "Hồ sơ của quý Ông/Bà (H1) hiện đang ở bước Thẩm định hồ sơ, trạng thái hồ sơ: Đúng hạn."
    )
    assert desk.recorded() == [("found", "0905***456", "H1")]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("MCKH NOBODY", "Không tìm thấy hồ sơ NOBODY"),
        ("hello", "Soạn: MCKH <mã hồ sơ>"),
        ("", "Soạn: MCKH <mã hồ sơ>"),
        ("MCKH", "Soạn: MCKH <mã hồ sơ>"),
    ],
)
def test_there_is_always_some_answer(desk: Desk, text: str, answer: str) -> None:
    desk.stage.baseline(a_row())
    assert desk.ask(text) == answer


@pytest.mark.parametrize(
    ("due", "expected"),
    [
        (NOON, False),
        (NOON - timedelta(microseconds=1), True),
        (local("2026-08-03 00:00"), False),  # a date alone: until the end of that day
        (local("2026-08-02 00:00"), True),
        (None, False),
    ],
)
def test_an_open_dossier_is_late_after_its_appointed_instant(
    desk: Desk, due: datetime | None, expected: bool
) -> None:
    assert late(desk, due_at=due) is expected


@pytest.mark.parametrize(("resolved", "expected"), [(NOON - 3 * HOUR, False), (NOON - HOUR, True)])
def test_a_resolved_dossier_is_judged_by_when_it_was_resolved(
    desk: Desk, resolved: datetime, expected: bool
) -> None:
    assert late(desk, due_at=NOON - 2 * HOUR, resolved_at=resolved, step=CLOSED) is expected


def test_without_resolved_at_it_is_judged_by_when_it_was_first_seen_done(desk: Desk) -> None:
    desk.stage.baseline(a_row(due_at=NOON + HOUR))
    desk.stage.show(a_row(due_at=NOON + HOUR, step=READY))
    desk.stage.after()
    desk.stage.show(a_row(due_at=NOON + HOUR, step=CLOSED))
    desk.stage.after(5 * HOUR)
    assert "Đúng hạn" in desk.ask()


def test_a_repeated_id_gets_the_same_answer_whatever_happened_since_and_is_not_counted(desk: Desk) -> None:
    desk.stage.baseline(a_row())
    first = desk.ask(id_="p1")
    desk.stage.show(a_row(step=READY))
    desk.stage.after()
    assert desk.ask(id_="p1") == first
    assert desk.ask("anything else", id_="p1\x00") == first
    assert READY in desk.ask(id_="p2")
    assert len(desk.recorded()) == 2


def test_repeats_at_the_same_moment_get_one_answer(desk: Desk) -> None:
    desk.stage.baseline(a_row())
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(desk.ask(id_="p1"))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 1
    assert len(desk.recorded()) == 1


def test_the_twenty_first_question_in_an_hour_is_too_many(desk: Desk) -> None:
    desk.stage.baseline(a_row())
    for _ in range(20):
        assert "Quá nhiều" not in desk.ask()
    assert desk.ask() == "Quá nhiều tin nhắn"
    assert desk.ask(number="0905 123 456") == "Quá nhiều tin nhắn", "the same number in another spelling"
    assert "Quá nhiều" not in desk.ask(number="84912345678")
    desk.stage.clock.forward(HOUR)
    desk.stage.poll()
    assert "Quá nhiều" not in desk.ask()


def test_refused_questions_do_not_prolong_the_refusal(desk: Desk) -> None:
    desk.stage.baseline(a_row())
    for _ in range(20):
        desk.ask()
    desk.stage.clock.forward(HOUR / 2)
    for _ in range(30):
        assert desk.ask() == "Quá nhiều tin nhắn"
    desk.stage.clock.forward(HOUR / 2 + timedelta(seconds=1))
    assert desk.ask() != "Quá nhiều tin nhắn"


@pytest.mark.parametrize(("mode", "is_found"), [(Mode.LIVE, True), (Mode.SHADOW, True), (Mode.OFF, False)])
def test_agencies_in_live_and_shadow_are_asked(desk: Desk, mode: Mode, is_found: bool) -> None:
    desk.stage.baseline(a_row())
    desk.stage.use(a_policy(mode=mode))
    assert ("Thẩm định" in desk.ask()) is is_found


def test_an_answer_does_not_wait_for_a_busy_writer(desk: Desk) -> None:
    desk.stage.baseline(a_row())
    desk.service._patience = 0.05
    with desk.stage.database.writing():
        first = desk.ask(id_="p1")
        assert "Thẩm định" in first
        assert desk.ask(id_="p1") == first
        for _ in range(19):
            desk.ask()
        assert desk.ask() == "Quá nhiều tin nhắn", "what is still to be written is counted"
    desk.service.close()
    assert len(desk.recorded()) == 21


def test_an_answer_is_given_though_it_cannot_be_recorded(desk: Desk) -> None:
    desk.stage.baseline(a_row())

    class Full(LookupStore):
        def record(self, inquiry: Inquiry) -> str:
            raise OSError("disk full")

    desk.service._store = Full(desk.stage.database)
    assert "Thẩm định" in desk.ask()


def test_hostile_words_are_not_echoed_at_length_or_filled_in(desk: Desk) -> None:
    desk.stage.baseline(a_row())
    assert desk.ask("MCKH {Tên cơ quan}{Mã số hồ sơ}") == "Không tìm thấy hồ sơ Tên cơ quan}{Mã số hồ sơ"
    assert len(desk.ask("MCKH " + "9" * 90)) < 70
    assert desk.ask("MCKH\udcff\x00H1").startswith("Hồ sơ của quý")


def test_answers_may_leave_without_diacritics(stage: Stage) -> None:
    stage.use(a_policy(encoding=Encoding.UNACCENTED))
    desk = Desk(stage, replace(RULES, encoding=Encoding.UNACCENTED))
    stage.baseline(a_row())
    assert desk.ask().endswith("trang thai ho so: Dung han.")
    assert desk.ask("?") == "Soan: MCKH <ma ho so>"
    desk.service.close()


def test_operators_look_up_without_leaving_a_trace(desk: Desk) -> None:
    desk.stage.baseline(a_row())
    for _ in range(30):
        assert desk.service.look_up("mckh h1").dossier_code == "H1"
    assert desk.recorded() == []


def test_no_full_number_is_kept(desk: Desk, stage: Stage) -> None:
    desk.stage.baseline(a_row())
    desk.ask()
    with stage.database.reading() as connection:
        (row,) = connection.execute(inquiries.select())
    assert NUMBER not in str(row)
    assert NUMBER.removeprefix("84") not in str(row)
