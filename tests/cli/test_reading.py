"""How agencies are read, as `smsd check`, `smsd status` and `smsd poll` tell it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.cli.office import READY, Office


def reading_of(office: Office, name: str) -> dict[str, Any] | None:
    """The line of `smsd check` about reading, if there is one."""
    shown = office.smsd("check", "nha-trang", "--json").json
    found = [one for one in shown if one["name"] in ("reading", "changed_by")]
    assert [one["name"] for one in found] in ([], [name])
    return found[0] if found else None


def date_all(office: Office, at: str | None) -> None:
    for number in range(4):
        office.databases["nha-trang"].update(f"nha-trang-{number}", updated_at=at)


def test_an_agency_that_is_read_in_full_has_no_line_about_it(office: Office) -> None:
    assert reading_of(office, "") is None
    office.agency("nha-trang", read="full", changed_by="updated_at")
    assert reading_of(office, "") is None


def test_the_last_change_is_told_where_a_date_says_what_changed(office: Office) -> None:
    office.agency("nha-trang", changed_by="updated_at")
    date_all(office, "2026-08-03 09:00:00")

    told = reading_of(office, "changed_by")

    assert told is not None
    assert told["state"] == "ok"
    assert told["message"] == "updated_at, the last change was at 2026-08-03 09:00:00"


@pytest.mark.parametrize("date", [None, "hôm qua", "1900-01-01 00:00:00"])
def test_a_date_that_says_nothing_is_warned_of(office: Office, date: str | None) -> None:
    office.agency("nha-trang", read="changed_by", changed_by="updated_at")
    date_all(office, date)

    told = reading_of(office, "changed_by")

    assert told is not None
    assert told["state"] == "warning"
    assert "every read is a full one" in told["message"]
    assert told["hint"]


def test_a_date_the_view_has_not_fails_the_check(office: Office) -> None:
    office.agency("nha-trang", changed_by="updated_at")
    columns = ["dossier_code", "phone", "step", "status", "procedure_code", "received_at", "due_at"]
    office.databases["nha-trang"].show(columns)

    shown = office.smsd("check", "nha-trang")

    assert shown.status == 1
    assert "updated_at" in shown.out


def test_sums_a_database_cannot_make_are_warned_of(office: Office) -> None:
    office.agency("nha-trang", read="fingerprint")

    told = reading_of(office, "reading")

    assert told is not None
    assert told["state"] == "warning"
    assert "every read is a full one" in told["message"]
    assert "changed_by" in told["hint"]


def test_status_tells_how_each_agency_was_read_how_long_it_took_and_what_was_found_late(
    office: Office,
) -> None:
    office.agency("nha-trang", changed_by="updated_at")
    now = datetime.now(office.zone)
    date_all(office, f"{now:%Y-%m-%d %H:%M:%S}")
    assert office.once() == 0
    assert office.once(timedelta(minutes=1)) == 0
    agency = status_of(office)
    assert agency["read_kind"] == "changed_by"
    assert (agency["found_by_sweep"], agency["rows"]) == (0, 4)
    assert 0 <= agency["read_seconds"] < 30
    assert " s changed_by" in office.smsd("status").out

    office.move("nha-trang-0", READY, updated_at="2020-01-01 00:00:00")
    assert office.once(timedelta(minutes=2)) == 0
    assert status_of(office)["found_by_sweep"] == 0
    assert office.once(timedelta(minutes=70)) == 0

    agency = status_of(office)
    assert (agency["read_kind"], agency["found_by_sweep"]) == ("full", 1)
    (line,) = [line for line in office.smsd("status").out.splitlines() if line.startswith("nha-trang")]
    assert "full, 1 found late" in " ".join(line.split())
    assert [message["dossier_code"] for message in office.spooled()] == ["nha-trang-0"]


def status_of(office: Office, id_: str = "nha-trang") -> dict[str, Any]:
    agencies: list[dict[str, Any]] = office.smsd("status", "--json").json["agencies"]
    return next(agency for agency in agencies if agency["id"] == id_)


def test_an_agency_never_read_has_no_way_of_reading_yet(baselined: Office) -> None:
    baselined.add("loc-tho")
    agency = status_of(baselined, "loc-tho")
    assert (agency["read_kind"], agency["read_seconds"], agency["found_by_sweep"]) == (None, None, 0)


def test_accept_takes_a_view_that_lost_most_of_its_rows_however_it_is_read(office: Office) -> None:
    for number in range(4, 40):
        office.stand(f"nha-trang-{number}")
    office.agency("nha-trang", changed_by="updated_at", sweep="1s")
    assert office.once() == 0
    for number in range(4, 40):
        office.databases["nha-trang"].delete(f"nha-trang-{number}")
    assert office.once(timedelta(minutes=1)) == 1
    assert status_of(office)["error_code"] == "incredible"

    assert office.smsd("poll", "nha-trang", "--accept").status == 0

    agency = status_of(office)
    assert (agency["error"], agency["rows"], agency["read_kind"]) == (None, 4, "full")
