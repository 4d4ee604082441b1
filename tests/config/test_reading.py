"""How an agency is to be read: the keys `read`, `changed_by` and `sweep` of its file."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from smsd.config.policies import policy_of
from smsd.core.policy import ReadKind, ReadRule
from tests.config.files import AGENCY, agencies_of, printed, settings_of

HOUR = timedelta(hours=1)

RULES = [
    ("", ReadRule(None, None, HOUR)),
    ("changed_by: updated_at\n", ReadRule(None, "updated_at", HOUR)),
    ("read: full\nchanged_by: updated_at\n", ReadRule(ReadKind.FULL, "updated_at", HOUR)),
    ("read: fingerprint\nsweep: 30m\n", ReadRule(ReadKind.FINGERPRINT, None, HOUR / 2)),
    ("read: changed_by\nchanged_by: received_at\n", ReadRule(ReadKind.CHANGED_BY, "received_at", HOUR)),
    ("sweep: 1d\n", ReadRule(None, None, 24 * HOUR)),
]


@pytest.mark.parametrize(("written", "rule"), RULES)
def test_what_is_written_is_how_it_is_read(tmp_path: Path, written: str, rule: ReadRule) -> None:
    files = agencies_of(tmp_path, {"a.yaml": AGENCY + written})
    assert not files.problems
    assert policy_of(settings_of(tmp_path), files.agencies["a"]).reading == rule


KINDS = "accepted: full, fingerprint, changed_by"
NEEDS = "4:7: read: needs `changed_by`, accepted: changed_by: updated_at beside it"
MISTAKES = [
    ("read: partly", [f'4:7: read: "partly" is unknown, {KINDS}']),
    ("read: Full", [f'4:7: read: "Full" is unknown, {KINDS}']),
    ("read: ''", [f"4:7: read: is unknown, {KINDS}"]),
    ("read: changed_by", [NEEDS]),
    (
        "read: changed_by\nchanged_by: NgaySua",
        [
            "5:13: changed_by: names no column smsd knows, accepted: dossier_code, phone, step, status, "
            "procedure_code, procedure_name, received_at, due_at, resolved_at, updated_at"
        ],
    ),
    (
        "read: changed_by\nsweep: soon",
        [NEEDS, '5:8: sweep: "soon" is no duration, accepted: 30s, 5m, 2h, 3d'],
    ),
]


@pytest.mark.parametrize(("written", "said"), MISTAKES)
def test_a_mistake_is_told_with_its_place_and_what_is_accepted(
    tmp_path: Path, written: str, said: list[str]
) -> None:
    files = agencies_of(tmp_path, {"a.yaml": AGENCY + written + "\n"})
    assert sorted(printed(files.problems["a"])) == said


@pytest.mark.parametrize("written", ["read: [full]", "read: {kind: full}"])
def test_a_way_of_reading_is_one_word(tmp_path: Path, written: str) -> None:
    (said,) = printed(agencies_of(tmp_path, {"a.yaml": AGENCY + written + "\n"}).problems["a"])
    assert said == f"4:7: read: is unknown, {KINDS}"
