"""A starting configuration, backup, retention."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

from smsd.installation import read_installation
from tests.cli.office import NUMBER, READY, Office


def test_a_starting_configuration_loads_and_has_the_pilot_agencies_off(
    office: Office, tmp_path: Path
) -> None:
    there = tmp_path / "a" / "new"
    shown = office.smsd("init", str(there))
    assert shown.status == 0
    assert str(there / "smsd.yaml") in shown.out
    installation = read_installation(there / "smsd.yaml", {})
    assert (len(installation.agencies), dict(installation.problems), installation.plans) == (13, {}, {})


def test_a_configuration_is_never_overwritten(office: Office, tmp_path: Path) -> None:
    before = office.config.read_bytes()
    shown = office.smsd("init", str(office.folder))
    assert (shown.status, shown.out) == (1, "")
    assert office.config.read_bytes() == before
    (tmp_path / "half" / "agencies").mkdir(parents=True)
    assert office.smsd("init", str(tmp_path / "half")).status == 1
    (tmp_path / "file").write_text("")
    assert office.smsd("init", str(tmp_path / "file")).status == 2
    assert office.smsd("init", str(tmp_path / "file" / "below")).status == 1


def test_a_backup_is_a_private_copy_that_is_never_written_over_another(baselined: Office) -> None:
    copy = baselined.folder / "copy.db"
    document = baselined.smsd("backup", str(copy), "--json").json
    assert document == {"file": str(copy), "bytes": copy.stat().st_size}
    assert copy.stat().st_mode & 0o777 == 0o600
    before = copy.read_bytes()
    shown = baselined.smsd("backup", str(copy))
    assert (shown.status, shown.out) == (1, "")
    assert copy.read_bytes() == before
    shown = baselined.smsd("backup", str(baselined.folder / "nowhere" / "copy.db"))
    assert (shown.status, shown.out) == (1, "")
    assert "nowhere" in shown.err


def test_a_daemon_on_a_backup_records_first_and_sends_nothing_old(baselined: Office) -> None:
    baselined.move("nha-trang-0", READY)
    assert baselined.smsd("poll", "nha-trang").status == 0  # unsent when the copy is made
    assert baselined.smsd("backup", str(baselined.folder / "copy.db")).status == 0
    baselined.move("nha-trang-1", READY)  # and one of the time between
    baselined.configure(store="sqlite:///copy.db")
    assert baselined.once() == 1, "the alarm tells that this is a restored backup"
    assert baselined.spooled() == []
    alarms = baselined.smsd("status", "--json").json["alarms"]
    assert [alarm["key"] for alarm in alarms] == ["restored"]
    assert "expired" in baselined.smsd("trace", "nha-trang-0").out
    baselined.move("nha-trang-2", READY)
    assert baselined.once() == 0
    assert [m["dossier_code"] for m in baselined.spooled()] == ["nha-trang-2"]


def test_purging_blanks_numbers_and_texts_when_their_time_is_over(baselined: Office) -> None:
    baselined.move("nha-trang-1", READY)
    baselined.once(later=-timedelta(days=3))
    assert len(baselined.spooled()) == 1
    assert baselined.smsd("purge", "--json").json == {"blanked": 0, "forgotten": 0, "files": 0}
    baselined.configure(retention={"personal_data": "1d", "records": "5y"})
    document = baselined.smsd("purge", "--json").json
    assert document["blanked"] >= 1
    assert document["files"] == 1
    with sqlite3.connect(baselined.folder / "smsd.db") as connection:
        assert connection.execute("SELECT phone, text FROM messages").fetchall() == [(None, None)]
    assert NUMBER not in baselined.smsd("trace", "nha-trang-1").out
    assert baselined.smsd("purge").out.startswith("Blanked 0 rows")
