"""Look-ups are no oracle for others' dossiers: limits per number and in all, exact codes only, the template only."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from smsd.adapters.store.lookups import LookupStore
from smsd.core.lookups import LookupOutcome as O
from smsd.services.lookup import LookupService
from smsd.services.lookuplimits import FEW_EACH, MANY, MANY_MISSES, MOST, WINDOW, Throng
from smsd.services.ports import LookupRequest
from tests.hostile.office import RULES, Attacked
from tests.support.builders import NOW
from tests.support.reliability import Record

GROUP = "Hostile input"
NEAR_MISSES = [
    "H%", "H_", "H*", "H?", "%", "_", "H1%", "%1", "X1' OR '1'='1", "X1; DROP TABLE dossiers",
    "' UNION SELECT phone --", "\u041d1", "H\u0417", "\u03971", "H\u00b92", "\ua4e71", "\U0001d407\U0001d7cfx",
    "H1\u0301", "H\u0661\u0662", "H1\\", "[H1-4]", "H.", "(H|h)1.", "^H1$", "H 1 2", "H-1", "H1-", "H0", "h", "1",
    "H11", "H01", "&#72;1", "%48%31", "\\u00481", "{Mã số hồ sơ}", "{0.__class__}", "H1\x1b[31m2",
]  # fmt: skip
"""What is none of H1 to H4 however it is looked at, though databases, patterns or eyes might think so."""

TEMPLATES = {
    "Hồ sơ (": "found",
    "Không tìm thấy": "not_found",
    "Sai cú pháp": "wrong_syntax",
    "Quá nhiều": "too_many",
}


def ask(attacked: Attacked, text: str, number: str) -> str:
    return attacked.lookups.answer(LookupRequest(number, text, None))


def outcome(answer: str) -> str:
    """Which of the four templates an answer is; any other text fails."""
    for begin, what in TEMPLATES.items():
        if answer.startswith(begin):
            return what
    raise AssertionError(answer)


@pytest.mark.reliability
def test_wildcards_confusables_and_sql_find_nothing(attacked: Attacked, reliability: Record) -> None:
    for place, code in enumerate(NEAR_MISSES):
        answer = ask(attacked, f"MCKH {code}", f"849000{place:05d}")
        assert outcome(answer) in {"not_found", "wrong_syntax"}, code
        assert "ở bước" not in answer and "0905" not in answer
        assert answer.isprintable() and len(answer) < 80
    assert outcome(ask(attacked, "MCKH H1", "84900999999")) == "found"
    reliability.row(
        GROUP,
        "look-ups with wildcards, regular expressions, SQL and look-alike letters for a code",
        tried=len(NEAR_MISSES),
        recovered="none finds a dossier; the answer is one of the four texts",
    )


@pytest.mark.reliability
def test_one_number_that_guesses_gets_twenty_answers_an_hour(attacked: Attacked, reliability: Record) -> None:
    tried = reliability.times(60, 500)
    answers = Counter(outcome(ask(attacked, f"MCKH H{place}", "84905123456")) for place in range(tried))
    assert answers == {"found": 4, "not_found": 16, "too_many": tried - 20}
    assert outcome(ask(attacked, "MCKH H1", "84905999999")) == "found"
    attacked.stage.clock.forward(timedelta(hours=1))
    assert outcome(ask(attacked, "MCKH H1", "+84905123456")) == "found"
    reliability.row(
        GROUP,
        "codes guessed in order by one number",
        tried=tried,
        recovered="20 answers an hour, the others are told too_many; other numbers are answered",
    )


@pytest.mark.reliability
def test_many_numbers_that_guess_get_few_answers_each_and_citizens_their_own(
    attacked: Attacked, reliability: Record
) -> None:
    """A bank of telephones that tries codes in order; between them citizens ask for their own dossier."""
    guessers = 60
    told: Counter[str] = Counter()
    per_number: Counter[int] = Counter()
    tried = 0
    for round_ in range(20):
        for guesser in range(guessers):
            what = outcome(ask(attacked, f"MCKH X{tried}", f"84900{guesser:06d}"))
            told[what] += 1
            per_number[guesser] += what != "too_many"
            tried += 1
        assert outcome(ask(attacked, "MCKH H1", f"84911{round_:06d}")) == "found"
    assert told["not_found"] == MANY_MISSES
    assert max(per_number.values()) < RULES.limit
    attacked.stage.clock.forward(WINDOW)
    assert outcome(ask(attacked, "MCKH X1", "84900000000")) == "not_found", "an hour later all is as before"
    reliability.row(
        GROUP,
        f"codes guessed in order by {guessers} numbers together",
        tried=tried,
        recovered=f"{told['not_found']} answers in all, then {FEW_EACH} an hour for each number; "
        "20 of 20 citizens were answered",
    )


def test_the_limit_in_all_outlasts_a_restart(attacked: Attacked) -> None:
    for place in range(MANY_MISSES):
        ask(attacked, f"MCKH X{place}", f"84900{place % 100:06d}")
    attacked.lookups.close()
    again = LookupService(
        LookupStore(attacked.stage.database),
        RULES,
        attacked.stage.clock,
        policies=lambda: attacked.stage.policies,
        secret="s",
        patience=10,
    )
    assert outcome(again.answer(LookupRequest("84900000000", "MCKH H1", None))) == "too_many"
    again.close()


def test_far_above_any_citizens_nobody_is_answered_any_more() -> None:
    throng = Throng((NOW, O.FOUND) for _ in range(MANY - 1))
    assert throng.limit(20, NOW) == 20
    throng.add(NOW, O.TOO_MANY)
    assert throng.limit(20, NOW) == 20, "who was refused got nothing"
    throng.add(NOW, O.WRONG_SYNTAX)
    assert (throng.limit(20, NOW), throng.limit(2, NOW)) == (FEW_EACH, 2)
    for _ in range(MOST - MANY):
        throng.add(NOW, O.FOUND)
    assert throng.limit(20, NOW) == 0
    assert throng.limit(20, NOW + WINDOW) == 20


def test_an_answer_holds_the_code_the_step_and_the_time_and_nothing_else(tmp_path: Path) -> None:
    with capture_logs():
        office = Attacked(tmp_path)
    answer = ask(office, "MCKH h1", "84905123456")
    office.close()
    assert answer in {"Hồ sơ (H1) ở bước Trả kết quả: Đúng hạn.", "Hồ sơ (H1) ở bước Trả kết quả: Trễ hạn."}
