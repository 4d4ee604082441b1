"""`smsd check`: what is wrong, and how to mend it."""

from __future__ import annotations

from typing import Any

import pytest

from smsd.adapters.store.engine import Database
from tests.cli.office import READY, RECEIVED, SUPPLEMENT, Office
from tests.support.httpgateway import HttpGateway
from tests.support.postgres import free_port


def results(office: Office, *words: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(r["subject"], r["name"]): r for r in office.smsd("check", *words, "--json").json}


@pytest.fixture
def sound(baselined: Office) -> Office:
    """Dossiers at every step that has a notice."""
    for agency in baselined.databases:
        baselined.move(f"{agency}-0", READY, agency)
        baselined.move(f"{agency}-1", RECEIVED, agency, status=SUPPLEMENT)
        baselined.databases[agency].path.chmod(0o444)  # for smsd's user; the clerks have it open
    return baselined


def test_a_sound_installation_has_nothing_to_mend(sound: Office) -> None:
    shown = sound.smsd("check")
    assert shown.status == 0
    assert shown.out.splitlines()[-1].endswith("0 warnings, 0 failed")
    assert "failed " not in shown.out
    assert "→" not in shown.out


def test_texts_are_counted_for_the_agency_whose_name_makes_them_longest(sound: Office) -> None:
    sound.agency("so-xay-dung", short_name="Sở " + "Xây dựng và nhiều việc khác " * 4)
    text = results(sound)["texts", "result_ready"]
    assert text["state"] == "warning"
    assert "4 segments, 1200 đ (unicode), for so-xay-dung:" in text["message"]
    assert "unaccented" in text["hint"]
    assert "3 segments, 900 đ" in results(sound, "nha-trang")["texts", "result_ready"]["message"]
    sound.configure(messages={"encoding": "unaccented"})
    assert "1 segments, 300 đ (unaccented)" in results(sound, "nha-trang")["texts", "supplement"]["message"]


def test_a_named_agency_is_looked_at_alone(sound: Office) -> None:
    subjects = {subject for subject, _ in results(sound, "nha-trang")}
    assert subjects == {"texts", "nha-trang"}


def test_a_wrong_agency_file_ends_with_2_and_every_mistake(sound: Office) -> None:
    file = sound.folder / "agencies" / "so-xay-dung.yaml"
    file.write_text("name: Sở Xây dựng\nmode: loud\nbogus: 1\n")
    for words in ((), ("so-xay-dung",), ("nha-trang", "so-xay-dung")):
        shown = sound.smsd("check", *words)
        assert shown.status == 2
        assert shown.out.count(f"{file}:") >= 3
    assert sound.smsd("check", "nha-trang").status == 0


def test_faults_of_a_database_fail_its_agency_alone(sound: Office) -> None:
    sound.databases["nha-trang"].lose_view()
    shown = sound.smsd("check")
    assert shown.status == 1
    found = results(sound)
    failed = {subject for (subject, _), r in found.items() if r["state"] == "failed"}
    assert failed == {"nha-trang"}
    assert found["nha-trang", "view"]["hint"]


def test_a_relative_file_counts_from_the_agencys_own_file_and_is_told_in_full_when_it_is_not_there(
    sound: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    sound.agency("loc-tho", database="sqlite:///motcua.db")
    found = results(sound, "loc-tho")["loc-tho", "connection"]
    assert found["state"] == "failed"
    assert f"no database {sound.folder}/agencies/motcua.db," in found["message"]
    assert "no such file" in found["hint"]
    assert (
        results(sound, "nha-trang")["nha-trang", "connection"]["state"] == "ok"
    )  # its file says ../nha-trang.db


def test_a_wrong_file_outweighs_a_failed_check_and_the_others_are_looked_at_all_the_same(
    sound: Office,
) -> None:
    sound.databases["nha-trang"].lose_view()
    (sound.folder / "agencies" / "loc-tho.yaml").write_text("name: Lộc Thọ\n")
    assert sound.smsd("check").status == 2
    found = results(sound)
    assert found["nha-trang", "view"]["state"] == "failed"
    assert found["so-xay-dung", "connection"]["state"] == "ok"
    assert found["loc-tho", "file"]["state"] == "failed"


def test_a_database_out_of_reach_does_not_keep_the_others_waiting(sound: Office) -> None:
    sound.agency(
        "so-xay-dung",
        database=f"postgresql+psycopg2://smsd:s3cret@127.0.0.1:{free_port()}/motcua",
        timeout="2s",
    )
    shown = sound.smsd("check")
    assert shown.status == 1
    assert "s3cret" not in shown.out + shown.err
    assert results(sound)["nha-trang", "positions"]["state"] == "ok"


def test_misspelt_steps_and_bad_numbers_are_warned_of(sound: Office) -> None:
    sound.configure(positions={"result_ready": {"steps": ["Tra ket qua"]}})
    sound.move("nha-trang-2", "Thẩm định", phone="khong co")
    found = results(sound)
    assert "no dossier is at a step of result_ready" in found["nha-trang", "positions"]["message"]
    assert "25.0 % have no usable number (3 mobile, 1 no_phone)" in found["nha-trang", "phones"]["message"]
    assert sound.smsd("check").status == 0


def test_the_store_is_looked_at_and_never_made(office: Office) -> None:
    assert results(office)["store", "state store"]["state"] == "warning"
    assert not (office.folder / "smsd.db").exists()
    office.once()
    assert "no daemon runs on it" in results(office)["store", "state store"]["message"]
    database = Database(f"sqlite:///{office.folder / 'smsd.db'}")
    database.lock()
    assert "a daemon runs on it" in results(office)["store", "state store"]["message"]
    database.close()
    (office.folder / "smsd.db").write_bytes(b"garbage" * 1000)
    for file in office.folder.glob("smsd.db-*"):
        file.unlink()
    assert results(office)["store", "state store"]["state"] == "failed"
    assert office.smsd("check").status == 1


def test_a_gateway_out_of_reach_fails_and_a_link_without_receipts_is_warned_of(sound: Office) -> None:
    def kannel(url: str) -> dict[str, str]:
        return {"type": "kannel", "url": url, "username": "smsd", "password": "sesame"}

    sound.configure(gateway=kannel(f"http://127.0.0.1:{free_port()}/cgi-bin/sendsms"))
    found = results(sound)
    assert any(subject == "gateway" and r["state"] == "failed" for (subject, _), r in found.items())
    assert found["gateway", "receipts"]["state"] == "warning"
    with HttpGateway() as gateway:
        sound.configure(gateway=kannel(gateway.url))
        found = results(sound)
        assert not any(r["state"] == "failed" for r in found.values())
        assert gateway.messages == []


def test_the_addresses_that_take_look_ups_are_told_without_their_secrets(sound: Office) -> None:
    assert not any(subject == "look-ups" for subject, _ in results(sound))
    inbound = {
        "listen": "127.0.0.1:8029",
        "public_url": "https://sms.example.vn/",
        "secret": "listener-s3cret",
    }
    sound.configure(inbound=inbound, lookup={"providers": {"esms": {"secret": "esms-s3cret"}}})
    found = {name: told for (subject, name), told in results(sound).items() if subject == "look-ups"}
    assert found.keys() == {"any provider", "esms"}
    assert found["any provider"]["message"].startswith("https://sms.example.vn/lookups?from=")
    assert found["esms"]["message"].startswith("https://sms.example.vn/lookups/esms,")
    assert "s3cret" not in str(found)


def test_an_agency_that_is_off_is_looked_at_only_by_name(sound: Office) -> None:
    sound.agency("nha-trang", mode="off")
    assert "nha-trang" not in {subject for subject, _ in results(sound)}
    assert results(sound, "nha-trang")["nha-trang", "connection"]["state"] == "ok"


def test_a_secret_an_off_agency_still_lacks_is_told_by_name(sound: Office) -> None:
    sound.agency("nha-trang", mode="off", database="sqlite:///${NO_SUCH_VARIABLE}")
    shown = sound.smsd("check", "nha-trang")
    assert shown.status == 1
    assert "NO_SUCH_VARIABLE" in shown.out


def test_a_misspelt_status_is_told_with_the_one_that_was_meant(sound: Office) -> None:
    sound.configure(positions={"supplement": {"statuses": ["Chờ bổ xung"], "steps": [RECEIVED]}})
    found = results(sound, "nha-trang")["nha-trang", "positions.supplement.statuses"]
    assert (found["state"], "did you mean “Chờ bổ sung”?" in found["message"]) == ("warning", True)
    steps = results(sound, "nha-trang")["nha-trang", "steps"]["message"]
    assert f"{RECEIVED} / {SUPPLEMENT}: in_progress (1)" in steps
