"""What may be said of an agency's database, and what may not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.adapters.agencydb import faults
from smsd.adapters.agencydb.faults import Place, fault, scrub
from smsd.adapters.agencydb.source import AgencySource
from smsd.core.errors import AGENCY_FAULTS

PLACE = Place("10.65.1.10:1433/MotCua", "smsd", "dbo.smsd_dossiers", secrets=("bí mật", "b%C3%AD"))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("  \n first line \nDETAIL: second", "first line"),
        ("login bí mật refused", "login *** refused"),
        ("dsn: host=h password=abc user=u", "dsn: host=h password=*** user=u"),
        ("DRIVER={x};PWD={a;b}};UID=u", "DRIVER={x};PWD=***};UID=u"),
        ("could not open mssql+pyodbc://u:p@h/db now", "could not open … now"),
        ("value 0905 123 456 is wrong", "value … is wrong"),
        ("value +84905123456", "value …"),
        ("10.65.1.10 refused (18456)", "10.65.1.10 refused (18456)"),
        ("bell\x07 and \u202eright", "bell  and  right"),
        ("", ""),
    ],
)
def test_a_driver_s_words_are_scrubbed(said: str, shown: str) -> None:
    assert scrub(said, PLACE) == shown


def test_long_words_are_cut() -> None:
    assert len(scrub("x" * 5_000, PLACE)) < 400


@given(st.text(alphabet="abcXYZ019 =;{}'\"\\:/@%đ", min_size=4, max_size=20), st.text(max_size=30))
def test_a_password_is_never_repeated(password: str, around: str) -> None:
    place = Place("h/db", "u", "v", secrets=(password,))

    assert password not in scrub(f"{around}{password}", place).replace("***", "")


@pytest.mark.parametrize("code", [code for code in AGENCY_FAULTS if code != "incredible"])
def test_every_fault_says_where_and_how_to_mend_it(code: str) -> None:
    error = fault(code, PLACE, "the driver's words")

    assert error.code == code
    assert error.hint
    assert "10.65.1.10:1433/MotCua" in error.message
    assert "the driver's words" in error.message


def test_faults_of_this_package_are_those_of_the_core() -> None:
    named = {value for name, value in vars(faults).items() if name.isupper() and isinstance(value, str)}

    assert named == set(AGENCY_FAULTS) - {"incredible"}


def test_a_source_does_not_show_its_url() -> None:
    source = AgencySource("a", "postgresql+psycopg2://u:p4ss@h/db", "v", timeout=timedelta(seconds=1))

    assert "p4ss" not in repr(source)
