"""Errors say what is wrong, where, and how to mend it."""

from __future__ import annotations

from smsd.core.errors import AgencyError, ConfigError, ConfigProblem, SmsdError, StoreError


def test_an_error_is_a_sentence_with_its_hint() -> None:
    assert str(StoreError("the store is locked", hint="stop the other smsd")) == (
        "the store is locked (stop the other smsd)"
    )
    assert str(SmsdError("the store is locked")) == "the store is locked"


def test_the_code_is_apart_from_the_sentence() -> None:
    error = StoreError("the store is locked", code="locked")
    assert (error.code, error.message, error.hint) == ("locked", "the store is locked", "")
    assert SmsdError("x").code == "error"


def test_a_configuration_error_tells_every_problem_with_its_place() -> None:
    problems = [
        ConfigProblem("smsd.yaml", 3, 5, "polling.interval", "is no duration, accepted: 30s, 5m, 2h, 3d"),
        ConfigProblem("agencies/x.yaml", 1, 1, "view", "is missing"),
    ]
    assert str(ConfigError(problems)).splitlines() == [
        "smsd.yaml:3:5: polling.interval: is no duration, accepted: 30s, 5m, 2h, 3d",
        "agencies/x.yaml:1:1: view: is missing",
    ]


def test_what_a_database_says_of_itself_is_one_plain_line_of_bounded_length() -> None:
    error = AgencyError("no \x1b[31mstep\n{\u202e" + "x" * 5_000, code="column_missing", hint="a\nb")
    assert error.message.startswith("no [31mstep {x") and error.message.isprintable()
    assert (len(error.message), error.code, error.hint) == (1_000, "column_missing", "a b")
