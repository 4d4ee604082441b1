"""A position and a notice of the operators' own, written in YAML alone: its messages, its columns, its totals."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path

from tests.system.daemonoffice import HERE, Office

TEXT = "Bộ phận Một cửa {Tên cơ quan} đã nhận hồ sơ ({Mã số hồ sơ})"


def test_a_notice_of_their_own_has_messages_columns_and_totals_without_code(tmp_path: Path) -> None:
    office = Office(tmp_path / "etc")
    office.add("alpha")
    office.add("beta")
    office.write(
        positions={"received": {"steps": ["Tiếp nhận"]}},
        notices={"received": {"text": TEXT, "settle": "0s"}},
    )
    assert office.smsd("run", "--once").returncode == 0
    now = datetime.now(HERE)
    for agency, count in (("alpha", 2), ("beta", 1)):
        office.databases[agency].insert(
            {
                "dossier_code": f"{agency}-new-{number}",
                "phone": "0905123456",
                "step": "Tiếp nhận",
                "procedure_code": "1.001",
                "received_at": f"{now:%Y-%m-%d %H:%M:%S}",
                "due_at": f"{now + timedelta(days=9):%Y-%m-%d %H:%M:%S}",
            }
            for number in range(count)
        )
    assert office.smsd("run", "--once").returncode == 0
    assert sorted(message["text"] for message in office.spooled()) == [
        "Bộ phận Một cửa Sở alpha đã nhận hồ sơ (alpha-new-0)",
        "Bộ phận Một cửa Sở alpha đã nhận hồ sơ (alpha-new-1)",
        "Bộ phận Một cửa Sở beta đã nhận hồ sơ (beta-new-0)",
    ]
    files = office.json("report")["files"]
    with Path(files["reconciliation"]).open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0])
    assert columns.index("received_made") > columns.index("apology_pending")
    told = {row["agency"]: row for row in rows if row["procedure_code"] == "*"}
    assert {agency: (row["received_made"], row["received_delivered"]) for agency, row in told.items()} == {
        "alpha": ("2", "2"),
        "beta": ("1", "1"),
        "*": ("3", "3"),
    }
    office.close()
