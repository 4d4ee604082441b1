"""Content providers of 9029 from smsd.yaml to the report: who may call, what they get, how they are settled."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen
from xml.etree import ElementTree

from smsd.inbound import Inbound
from smsd.installation import read_installation
from smsd.wiring import System, open_database
from tests.support.mocalls import signed_by_1pay, signed_by_esms
from tests.support.postgres import free_port
from tests.system.daemonoffice import Office

IN_TIME = "Hồ sơ của quý Ông/Bà (alpha-1) hiện đang ở bước Thẩm định, trạng thái hồ sơ: Đúng hạn."


def called(port: int, path: str, fields: dict[str, str]) -> tuple[int, bytes]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}?{urlencode(fields)}", timeout=10) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


def test_providers_are_answered_follow_a_reload_and_are_counted_for_settling(tmp_path: Path) -> None:
    port = free_port()
    office = Office(
        tmp_path / "etc",
        inbound={"listen": f"127.0.0.1:{port}", "secret": "token"},
        lookup={"providers": {"1pay": {"secret": "first"}}},
    )
    office.add("alpha")
    database = open_database(read_installation(office.config, {}).settings)
    system = System(read_installation(office.config, {}), database)
    system.take_part()
    system.poller.poll_all_once()
    inbound = Inbound.opened(system, lambda: True)
    assert inbound is not None
    one = signed_by_1pay("first", mo_message="MCKH alpha-1")
    other = signed_by_esms("second", content="MCKH nowhere")
    status, body = called(port, "/lookups/1pay", one)
    assert (status, json.loads(body)["sms"]) == (200, IN_TIME)
    assert called(port, "/lookups/1pay", one) == (status, body)
    assert called(port, "/lookups/esms", other)[0] == 404

    office.write(lookup={"providers": {"esms": {"secret": "second", "cpid": "cp7"}}})
    reloaded = System(read_installation(office.config, {}), database)
    inbound.serve(reloaded)
    status, body = called(port, "/lookups/esms", other)
    said = ElementTree.fromstring(body).findtext("Message") or ""
    assert status == 200 and said.startswith("Không tìm thấy hồ sơ nowhere.")
    assert called(port, "/lookups/1pay", one)[0] == 404
    plain = {"from": "84905000001", "text": "alpha-1", "id": "r-1", "token": "token"}
    assert called(port, "/lookups", plain)[0] == 200
    inbound.close()
    for each in (system, reloaded):
        each.close()
    database.close()

    counted = office.json("report")["lookups"]
    assert [(row["road"], row["outcome"], row["count"]) for row in counted] == [
        ("1pay", "found", 1),
        ("esms", "not_found", 1),
        ("plain", "wrong_syntax", 1),
    ]
    office.close()
