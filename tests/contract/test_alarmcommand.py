"""The operator's command: it hears of every alarm, and whatever it does harms nobody."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from smsd.adapters.alarmcommand import AlarmCommand
from smsd.services.ports import Alarm
from tests.support.builders import NOW
from tests.support.postgres import wait_until

ALARM = Alarm("gateway:kannel", "error", "Kannel không nhận tin", "xem \ud800 nhật ký", NOW)


def test_the_command_is_told_on_its_input(tmp_path: Path) -> None:
    target = tmp_path / "alarm.json"
    script = f"import sys, pathlib; pathlib.Path({str(target)!r}).write_bytes(sys.stdin.buffer.read())"
    AlarmCommand([sys.executable, "-c", script])(ALARM)
    wait_until(lambda: target.exists() and target.read_bytes().endswith(b"}"))
    assert json.loads(target.read_text()) == {
        "key": "gateway:kannel",
        "severity": "error",
        "message": "Kannel không nhận tin",
        "hint": "xem ? nhật ký",
        "at": NOW.isoformat(),
    }


def test_arguments_are_not_given_to_a_shell(tmp_path: Path) -> None:
    AlarmCommand(["/usr/bin/touch", str(tmp_path / "a b;touch c")])(ALARM)
    wait_until(lambda: [path.name for path in tmp_path.iterdir()] == ["a b;touch c"])


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/bin/false"], {"exit_status": 1}),
        (["/nonexistent/command"], {"error": "FileNotFoundError"}),
        (["/etc/passwd"], {"error": "PermissionError"}),
        (["/bin/echo", "\0"], {"error": "ValueError"}),
        ([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], {"exit_status": -9}),
    ],
)
def test_a_command_that_fails_is_one_line_in_the_log(command: list[str], said: dict[str, object]) -> None:
    with capture_logs() as logs:
        AlarmCommand(command)(ALARM)
        wait_until(lambda: bool(logs))
    assert logs == [{"event": "alarm_command_failed", "log_level": "warning"} | said]


def test_a_command_that_reads_nothing_and_says_much_is_no_fault(tmp_path: Path) -> None:
    script = f"print('x' * 1_000_000); open({str(tmp_path / 'done')!r}, 'w')"
    with capture_logs() as logs:
        AlarmCommand([sys.executable, "-c", script])(Alarm("k", "error", "x" * 300_000, "", NOW))
        wait_until((tmp_path / "done").exists)
    assert logs == []


def test_a_command_is_ended_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smsd.adapters.alarmcommand._SECONDS", 0.2)
    with capture_logs() as logs:
        AlarmCommand(["/bin/sleep", "60"])(ALARM)
        wait_until(lambda: bool(logs), seconds=5)
    assert logs[0]["error"] == "TimeoutExpired"
