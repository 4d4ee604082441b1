"""The spool: lines whole and once each, whatever crashes or fills up in between."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from smsd.adapters.gateways.spool import SpoolGateway
from smsd.core.model import Outcome, Verdict
from smsd.services.ports import Outgoing
from tests.contract.gateways.support import TEXT, Answers, a_spool, an_outgoing
from tests.support.builders import NOW, local

DAY = "2026-08-03"


def written(directory: Path, day: str = DAY) -> list[dict[str, str]]:
    return [json.loads(line) for line in (directory / f"{day}.jsonl").read_text().splitlines()]


def hand_over(gateway: SpoolGateway, *messages: Outgoing) -> list[Outcome]:
    answers = Answers()
    gateway.submit(messages, answers)
    return [outcome for _, outcome in answers.calls]


def verdicts(outcomes: list[Outcome]) -> list[Verdict]:
    return [outcome.verdict for outcome in outcomes]


def test_a_line_holds_the_contracts_fields(tmp_path: Path) -> None:
    hand_over(a_spool(tmp_path / "spool"), an_outgoing(7, at=local("2026-08-03 08:05")))
    assert written(tmp_path / "spool") == [
        {
            "id": an_outgoing(7).id,
            "to": "84905000007",
            "sender": "MotcuaSMS",
            "text": TEXT,
            "kind": "result_ready",
            "agency": "nha-trang",
            "dossier_code": "H32.12-260803-0007",
            "at": "2026-08-03T08:05:00.000+07:00",
        }
    ]


@pytest.mark.parametrize(
    ("style", "to"), [("84", "84905000001"), ("+84", "+84905000001"), ("0", "0905000001")]
)
def test_numbers_are_written_in_the_configured_format(tmp_path: Path, style: str, to: str) -> None:
    hand_over(a_spool(tmp_path, number_format=style), an_outgoing())
    assert written(tmp_path)[0]["to"] == to


def test_files_are_named_by_the_day_in_the_zone(tmp_path: Path) -> None:
    late, early = an_outgoing(1, at=local("2026-08-03 23:59")), an_outgoing(2, at=local("2026-08-04 00:00"))
    hand_over(a_spool(tmp_path), late, early)
    assert [record["id"] for record in written(tmp_path, "2026-08-03")] == [late.id]
    assert [record["id"] for record in written(tmp_path, "2026-08-04")] == [early.id]


def test_only_the_daemons_user_may_read(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        hand_over(a_spool(tmp_path / "deep" / "spool"), an_outgoing())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "deep" / "spool").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "deep" / "spool" / f"{DAY}.jsonl").stat().st_mode) == 0o600


def test_a_message_is_answered_only_once_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, events, sync = a_spool(tmp_path), [], os.fsync

    def note_sync(descriptor: int) -> None:
        sync(descriptor)
        events.append("synced")

    monkeypatch.setattr(os, "fsync", note_sync)
    gateway.submit([an_outgoing(1), an_outgoing(2)], lambda id_, outcome: events.append(id_))
    assert events[0] == "synced"
    assert events[-2:] == [an_outgoing(1).id, an_outgoing(2).id]
    events.clear()
    gateway.submit([an_outgoing(3), an_outgoing(4)], lambda id_, outcome: events.append(id_))
    assert events == ["synced", an_outgoing(3).id, an_outgoing(4).id]


@pytest.mark.parametrize("cut", [1, 5, 60, 200, 1_100_000])
def test_a_line_cut_off_by_a_crash_is_removed_and_never_glued_to(tmp_path: Path, cut: int) -> None:
    gateway = a_spool(tmp_path)
    hand_over(gateway, an_outgoing(1))
    with (tmp_path / f"{DAY}.jsonl").open("ab") as file:
        file.write((b'{"id": "x", "to": "84' + b"9" * cut)[:cut])
    with capture_logs() as logs:
        hand_over(a_spool(tmp_path), an_outgoing(2))
    assert [record["id"] for record in written(tmp_path)] == [an_outgoing(1).id, an_outgoing(2).id]
    assert logs == [
        {"event": "spool_line_cut_off", "file": f"{DAY}.jsonl", "bytes": cut, "log_level": "warning"}
    ]


def test_a_line_without_its_end_was_not_taken(tmp_path: Path) -> None:
    hand_over(a_spool(tmp_path), an_outgoing(1))
    path = tmp_path / f"{DAY}.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    gateway = a_spool(tmp_path)
    assert gateway.find(an_outgoing(1).id, NOW) is None
    hand_over(gateway, an_outgoing(1, repeat=True))
    assert [record["id"] for record in written(tmp_path)] == [an_outgoing(1).id]


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=12))
def test_an_id_is_written_once_however_it_is_repeated(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[int, bool]]
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    gateway, seen = a_spool(directory), set()
    for number, restarted in calls:
        gateway = a_spool(directory) if restarted else gateway
        message = an_outgoing(number, repeat=number in seen)
        assert verdicts(hand_over(gateway, message)) == [Verdict.DELIVERED]
        seen.add(number)
    lines = written(directory) if calls else []
    assert sorted(record["id"] for record in lines) == sorted(an_outgoing(number).id for number in seen)


def test_a_repeat_is_looked_for_in_the_files_of_earlier_days(tmp_path: Path) -> None:
    hand_over(a_spool(tmp_path), an_outgoing(1))
    later = an_outgoing(1, at=NOW + timedelta(days=9), repeat=True)
    assert verdicts(hand_over(a_spool(tmp_path), later)) == [Verdict.DELIVERED]
    assert [path.name for path in tmp_path.iterdir()] == [f"{DAY}.jsonl"]


def test_one_id_twice_in_a_batch_is_written_once(tmp_path: Path) -> None:
    assert len(hand_over(a_spool(tmp_path), an_outgoing(1), an_outgoing(1))) == 2
    assert len(written(tmp_path)) == 1


def test_asking_goes_back_to_the_day_it_is_told_and_no_further(tmp_path: Path) -> None:
    gateway = a_spool(tmp_path)
    hand_over(gateway, an_outgoing(1), an_outgoing(2, at=NOW + timedelta(days=1)))
    assert gateway.find(an_outgoing(1).id, NOW) == Outcome(Verdict.DELIVERED)
    assert gateway.find(an_outgoing(1).id, NOW + timedelta(days=1)) is None
    assert gateway.find(an_outgoing(2).id, NOW - timedelta(days=30)) == Outcome(Verdict.DELIVERED)
    assert gateway.find("0198c0de", NOW) is None


def test_a_file_replaced_by_another_is_read_anew(tmp_path: Path) -> None:
    gateway = a_spool(tmp_path)
    hand_over(gateway, an_outgoing(1), an_outgoing(2))
    assert gateway.find(an_outgoing(1).id, NOW)
    path = tmp_path / f"{DAY}.jsonl"
    path.write_text(path.read_text().splitlines()[1] + "\n")
    assert gateway.find(an_outgoing(1).id, NOW) is None
    assert gateway.find(an_outgoing(2).id, NOW)


def test_other_files_in_the_directory_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "notes.jsonl").write_bytes(b"\xff\xfe no spool")
    (tmp_path / "2026-02-30.jsonl").write_text("no day\n")
    gateway = a_spool(tmp_path)
    assert gateway.find("x", NOW) is None
    assert gateway.purge(date(2030, 1, 1)) == 0
    assert verdicts(hand_over(gateway, an_outgoing(repeat=True))) == [Verdict.DELIVERED]


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 2,000 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_on_a_full_disk_a_batch_is_surely_not_taken_and_leaves_nothing_behind(
    tmp_path: Path, full_disk: None
) -> None:
    gateway = a_spool(tmp_path)
    assert verdicts(hand_over(gateway, an_outgoing(1))) == [Verdict.DELIVERED]
    before = (tmp_path / f"{DAY}.jsonl").read_bytes()
    with capture_logs() as logs:
        outcomes = hand_over(gateway, *(an_outgoing(number) for number in range(2, 12)))
        hand_over(gateway, *(an_outgoing(number) for number in range(2, 12)))
    assert verdicts(outcomes) == [Verdict.RETRY] * 10
    assert outcomes[0].code == "not_written"
    assert os.strerror(errno.EFBIG) in outcomes[0].detail
    assert (tmp_path / f"{DAY}.jsonl").read_bytes() == before
    assert [entry["event"] for entry in logs] == ["spool_not_written"]  # once while it lasts


def test_when_there_is_room_again_everything_is_written(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    directory.write_text("in the way")
    gateway = a_spool(directory)
    assert verdicts(hand_over(gateway, an_outgoing(1))) == [Verdict.RETRY]
    directory.unlink()
    assert verdicts(hand_over(gateway, an_outgoing(1, repeat=True))) == [Verdict.DELIVERED]
    assert len(written(directory)) == 1


def test_what_cannot_be_taken_back_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = a_spool(tmp_path)

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        assert verdicts(hand_over(gateway, an_outgoing(1))) == [Verdict.UNKNOWN]
    assert verdicts(hand_over(gateway, an_outgoing(1, repeat=True))) == [Verdict.DELIVERED]
    assert len(written(tmp_path)) == 1


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / f"{DAY}.jsonl").symlink_to(tmp_path / "elsewhere")
    assert verdicts(hand_over(a_spool(tmp_path), an_outgoing())) == [Verdict.RETRY]
    assert (tmp_path / "elsewhere").read_text() == ""


def test_purging_removes_the_files_of_earlier_days(tmp_path: Path) -> None:
    gateway = a_spool(tmp_path)
    hand_over(gateway, *(an_outgoing(number, at=NOW + timedelta(days=number)) for number in range(3)))
    assert gateway.find(an_outgoing(0).id, NOW)
    assert gateway.purge(date(2026, 8, 5)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["2026-08-05.jsonl"]
    assert gateway.find(an_outgoing(0).id, NOW) is None
    assert gateway.purge(date(2026, 8, 5)) == 0


@pytest.mark.parametrize(
    ("prepare", "state"),
    [
        (lambda path: None, "ok"),
        (lambda path: path.mkdir(mode=0o700), "ok"),
        (lambda path: (path.mkdir(), path.chmod(0o755)), "warning"),
        (lambda path: path.write_text(""), "failed"),
    ],
)
def test_the_check_tells_whether_it_can_be_written(tmp_path: Path, prepare: object, state: str) -> None:
    directory = tmp_path / "spool"
    prepare(directory)  # type: ignore[operator]
    there = directory.exists()
    (result,) = a_spool(directory).check()
    assert result.state == state
    assert bool(result.hint) == (state != "ok")
    assert directory.exists() == there


_WRITER = """
import sys
from pathlib import Path
from tests.contract.gateways.support import a_spool, an_outgoing
gateway = a_spool(Path(sys.argv[1]))
for start in range(0, 100_000, 20):
    gateway.submit([an_outgoing(n) for n in range(start, start + 20)], lambda id_, outcome: print(id_, flush=True))
"""


def test_a_process_killed_at_any_moment_loses_nothing_it_answered(tmp_path: Path) -> None:
    for attempt in range(3):
        directory = tmp_path / f"spool{attempt}"
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(directory)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        told = [writer.stdout.readline().strip() for _ in range(50 + 37 * attempt)]
        writer.kill()
        told += [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.wait()
        gateway = a_spool(directory)
        assert all(gateway.find(id_, NOW) for id_ in told)
        hand_over(gateway, *(an_outgoing(number, repeat=True) for number in range(len(told) + 40)))
        ids = [record["id"] for record in written(directory)]
        assert len(ids) == len(set(ids))
        assert set(told) <= set(ids)
