"""One number is blanked in a spool's files, while they are appended to."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from smsd.adapters.gateways.spool import SpoolGateway
from smsd.adapters.gateways.spoolerasure import SpoolErasure
from smsd.core.model import Outcome, Verdict
from smsd.services.ports import Outgoing
from tests.support.builders import NOW, ZONE

NUMBER = "84905123456"
TEXT = "Thông báo: Hồ sơ của quý Ông/Bà (H1) “đã” xong"


def a_message(id_: str, phone: str = NUMBER, day: int = 0, repeat: bool = False) -> Outgoing:
    at = NOW + timedelta(days=day)
    return Outgoing(id_, phone, TEXT, "result_ready", "nha-trang", "H1", at, 2, repeat)


@pytest.fixture(params=["84", "+84", "0"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> SpoolGateway:
    return SpoolGateway(tmp_path / "spool", sender="MotcuaSMS", zone=ZONE, number_format=request.param)


def hand_over(spool: SpoolGateway, *messages: Outgoing) -> list[Outcome]:
    said: list[Outcome] = []
    spool.submit(messages, lambda _id, outcome: said.append(outcome))
    return said


def records(folder: Path) -> dict[str, tuple[str, str]]:
    lines = (line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines())
    return {one["id"]: (one["to"], one["text"]) for one in map(json.loads, lines)}


def test_number_and_text_of_its_lines_are_blanked_and_all_else_stays(
    spool: SpoolGateway, tmp_path: Path
) -> None:
    hand_over(spool, a_message("m1"), a_message("m2", "84912345678"), a_message("m3"), a_message("m4", day=1))
    folder, erasure = tmp_path / "spool", SpoolErasure(tmp_path / "spool")
    before, sizes = records(folder), {path: path.stat().st_size for path in folder.iterdir()}
    assert [one.lines for one in erasure.find(NUMBER)] == [2, 1]

    assert erasure.erase(NUMBER, keep={"m3"}) == 2

    assert records(folder) == before | {"m1": ("", ""), "m4": ("", "")}
    assert {path: path.stat().st_size for path in folder.iterdir()} == sizes
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert [one.lines for one in erasure.find(NUMBER)] == [1]
    assert erasure.erase(NUMBER, keep={"m3"}) == 0


def test_an_erased_message_is_never_written_again_and_new_ones_follow(
    spool: SpoolGateway, tmp_path: Path
) -> None:
    hand_over(spool, a_message("m1"))
    SpoolErasure(tmp_path / "spool").erase(NUMBER, keep=())
    assert [outcome.verdict for outcome in hand_over(spool, a_message("m1", repeat=True), a_message("m2"))] == [
        Verdict.DELIVERED, Verdict.DELIVERED,
    ]  # fmt: skip
    found = records(tmp_path / "spool")
    assert found["m1"] == ("", "")
    assert found["m2"][1] == TEXT
    assert len((tmp_path / "spool" / "2026-08-03.jsonl").read_text("utf-8").splitlines()) == 2


def test_what_is_no_message_is_left_alone(tmp_path: Path) -> None:
    odd = b'not json 0905123456\n[1]\n{"id": "x"}\n{"to": "0905123456", "text": "cut o'
    (tmp_path / "2026-08-03.jsonl").write_bytes(odd)
    erasure = SpoolErasure(tmp_path)
    assert (erasure.find(NUMBER), erasure.erase(NUMBER, keep=())) == ([], 0)
    assert (tmp_path / "2026-08-03.jsonl").read_bytes() == odd
    assert SpoolErasure(tmp_path / "none").find(NUMBER) == []
