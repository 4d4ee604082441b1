"""What the files mean to the core, and when their meaning has changed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from smsd.config.policies import policy_of, positions_fingerprint, source_fingerprint
from smsd.config.settings import Agency
from smsd.core.diff import position_of
from smsd.core.model import Mode
from smsd.core.policy import AgencyPolicy, Encoding
from tests.config.files import AGENCY, agencies_of, settings_of
from tests.support.builders import POSITIONS, a_policy, notices


def agency_of(tmp_path: Path, text: str = "", environ: Mapping[str, str] | None = None) -> Agency:
    own = text if "database:" in text else AGENCY + text
    return agencies_of(tmp_path, {"a.yaml": own}, environ).agencies["a"]


def policy(tmp_path: Path, text: str = "", settings: str = "") -> AgencyPolicy:
    agency = agencies_of(tmp_path, {"a.yaml": AGENCY + text}, settings=settings).agencies["a"]
    return policy_of(settings_of(tmp_path, settings), agency)


def test_the_default_policy_is_the_missions(tmp_path: Path) -> None:
    assert policy(tmp_path) == a_policy(id="a", name="Sở Tư pháp", positions=POSITIONS, notices=notices())


def test_the_short_name_stands_in_texts(tmp_path: Path) -> None:
    assert policy(tmp_path, "short_name: STP\n").name == "STP"


def test_an_agencys_own_words_go_before_those_of_smsd_yaml(tmp_path: Path) -> None:
    settings = (
        "polling: {interval: 5m}\npositions: {fee: {statuses: [Chờ nộp phí]}}\n"
        "notices: {fee: {text: Phí}}\nmessages: {encoding: unaccented, hold_above: 7, "
        "repeat_after: 2h, stale_after: 9d}\n"
    )
    text = (
        "mode: shadow\npositions: {closed: {steps: [Hoàn tất]}, refused: {steps: [Từ chối]}}\n"
        "notices: {fee: {settle: 0s}, refused: {text: Từ chối}}\n"
        "same_day: skip\nskip_procedures: [' 1.001 ']\napology: false\n"
    )
    own = policy(tmp_path, text, settings)
    assert [rule.name for rule in own.positions] == ["supplement", "result_ready", "closed", "fee", "refused"]
    assert position_of("HOÀN  tất", None, own.positions) == "closed"
    assert position_of("Kết thúc", None, own.positions) == "in_progress"
    assert list(own.notices) == ["supplement", "result_ready", "apology", "fee", "refused"]
    assert (own.notices["fee"].settle, own.notices["fee"].text) == (timedelta(0), "Phí")
    assert (own.mode, own.skip_same_day, own.apology) == (Mode.SHADOW, True, False)
    assert own.skip_procedures == {"1.001"}
    assert (own.interval, own.encoding, own.hold_above) == (timedelta(minutes=5), Encoding.UNACCENTED, 7)
    assert (own.repeat_after, own.stale_after) == (timedelta(hours=2), timedelta(days=9))


def test_an_agencys_interval_goes_before_pollings(tmp_path: Path) -> None:
    assert policy(tmp_path, "interval: 7m\n", "polling: {interval: 5m}\n").interval == timedelta(minutes=7)


def test_an_empty_list_of_conditions_never_fits(tmp_path: Path) -> None:
    own = policy(tmp_path, "positions: {supplement: {steps: []}}\n")
    assert position_of("Trả kết quả", "Chờ bổ sung", own.positions) == "result_ready"


BASE = "name: A\ndatabase: postgresql+psycopg2://smsd:${P}@h/d\nview: v\nfilter: {A: 1}\n"
SAME_SOURCE = [
    ("${P}", "another"),
    ("smsd:", "someone:"),
    ("@h/d", "@H:5432/d?connect_timeout=3"),
    ("name: A", "name: B\nmode: shadow\ninterval: 9m\nchanged_by: updated_at"),
    ("view: v", "view: v\ncolumns: {step: step}"),
]
OTHER_SOURCE = [
    ("@h/d", "@h/e"),
    ("@h/d", "@i/d"),
    ("@h/d", "@h:5433/d"),
    ("postgresql+psycopg2://smsd:${P}@h/d", "sqlite:////d"),
    ("view: v", "view: w"),
    ("{A: 1}", "{A: 2}"),
    ("{A: 1}", "{B: 1}"),
    ("filter: {A: 1}\n", ""),
    ("view: v", "view: v\ncolumns: {step: buoc}"),
]


def fingerprint(tmp_path: Path, text: str) -> str:
    return source_fingerprint(agency_of(tmp_path, text, {"P": "hunter2"}))


@pytest.mark.parametrize(("one", "other"), SAME_SOURCE)
def test_what_only_changes_how_a_source_is_read_keeps_its_fingerprint(
    tmp_path: Path, one: str, other: str
) -> None:
    assert one in BASE
    assert fingerprint(tmp_path, BASE.replace(one, other)) == fingerprint(tmp_path, BASE)


@pytest.mark.parametrize(("one", "other"), OTHER_SOURCE)
def test_another_database_view_filter_or_column_is_another_source(
    tmp_path: Path, one: str, other: str
) -> None:
    assert one in BASE
    assert fingerprint(tmp_path, BASE.replace(one, other)) != fingerprint(tmp_path, BASE)


def test_a_connection_string_is_told_by_its_server_not_by_its_login(tmp_path: Path) -> None:
    def of(connect: str) -> str:
        return fingerprint(tmp_path, f"name: A\nview: v\ndatabase: mssql+pyodbc:///?odbc_connect={connect}\n")

    assert of("SERVER%3Da%3BPWD%3Dx%3BUID%3Du") == of("SERVER%3Da%3Bpwd%3Dy%3BUID%3Dv")
    assert of("SERVER%3Da%3BPWD%3Dx") != of("SERVER%3Db%3BPWD%3Dx")


SAME_RULES = [
    "notices: {apology: {until: '21:00'}}\n",
    "positions: {result_ready: {steps: ['TRẢ  kết quả']}}\n",
]
OTHER_RULES = [
    "positions: {result_ready: {steps: [Trả]}}\n",
    "positions: {result_ready: {statuses: [Trả kết quả]}}\n",
    "positions: {result_ready: {steps: [Trả kết quả], statuses: []}}\n",
    "positions: {other: {steps: [Khác]}}\n",
]


def test_position_rules_have_a_fingerprint_that_tells_their_meaning(tmp_path: Path) -> None:
    base = positions_fingerprint(policy(tmp_path))
    assert {positions_fingerprint(policy(tmp_path, text)) for text in SAME_RULES} == {base}
    others = {positions_fingerprint(policy(tmp_path, text)) for text in OTHER_RULES}
    assert len(others | {base}) == len(OTHER_RULES) + 1


def test_the_order_of_positions_is_part_of_their_meaning(tmp_path: Path) -> None:
    one = "positions: {x: {steps: [A]}, y: {steps: [A]}}\n"
    other = "positions: {y: {steps: [A]}, x: {steps: [A]}}\n"
    assert positions_fingerprint(policy(tmp_path, one)) != positions_fingerprint(policy(tmp_path, other))


def test_fingerprints_fit_into_the_store(tmp_path: Path) -> None:
    assert len(fingerprint(tmp_path, BASE)) == 64
    assert len(positions_fingerprint(policy(tmp_path))) == 64
