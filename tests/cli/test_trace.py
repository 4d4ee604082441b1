"""`smsd trace`: why a text was, or was not, sent for a dossier."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta

import pytest

from tests.cli.office import DONE, NUMBER, READY, RECEIVED, SUPPLEMENT, WORK, Office

Story = Callable[[Office], object]
CODE = "H32.1"


def ready(office: Office, **values: object) -> None:
    office.move(CODE, READY, **values)


def poll(office: Office) -> None:
    shown = office.smsd("poll", "nha-trang")
    assert shown.status == 0, shown.err


def told(office: Office) -> str:
    shown = office.smsd("trace", CODE)
    assert shown.status == 0, shown.err
    assert NUMBER not in shown.out + shown.err
    assert NUMBER[1:] not in shown.out
    document = office.smsd("trace", CODE, "--json")
    assert NUMBER[1:] not in document.out
    assert document.json[0]["dossier"]["code"] == CODE
    return shown.out


def in_work(office: Office) -> None:
    pass


def ready_before(office: Office) -> None:
    office.stand("H32.early", step=READY)


def ready_and_polled(office: Office) -> None:
    ready(office)
    poll(office)


def sent(office: Office) -> None:
    ready(office)
    office.once()


def waits_for_settle(office: Office) -> None:
    office.configure(notices={"result_ready": {"settle": "10m"}})
    ready_and_polled(office)


def outside_hours(office: Office) -> None:
    office.configure(messages={"sending_hours": "01:00-02:00"})
    ready_and_polled(office)


def superseded(office: Office) -> None:
    ready_and_polled(office)
    office.move(CODE, WORK)
    poll(office)


def shadow(office: Office) -> None:
    office.agency("nha-trang", mode="shadow")
    ready_and_polled(office)


def held(office: Office) -> None:
    office.configure(messages={"hold_above": 1, "sending_hours": "00:00-00:00"})
    office.move("nha-trang-0", READY)
    ready_and_polled(office)


def discarded(office: Office) -> None:
    held(office)
    assert office.smsd("held", "discard", "nha-trang").status == 0


def no_phone(office: Office) -> None:
    ready(office, phone="khong co")
    poll(office)


def landline(office: Office) -> None:
    ready(office, phone="0258 3822222")
    poll(office)


def ambiguous(office: Office) -> None:
    ready(office, phone="0582222333")
    poll(office)


def invalid(office: Office) -> None:
    ready(office, phone="0905")
    poll(office)


def skipped_procedure(office: Office) -> None:
    office.agency("nha-trang", skip_procedures=["1.001"])
    ready_and_polled(office)


def same_day(office: Office) -> None:
    office.agency("nha-trang", same_day="skip")
    today = datetime.now(office.zone)
    ready(office, received_at=today, due_at=today, resolved_at=today)
    poll(office)


def repeated(office: Office) -> None:
    sent(office)
    for step in (WORK, READY):
        office.move(CODE, step)
        poll(office)


def by_configuration(office: Office) -> None:
    office.configure(positions={"result_ready": {"steps": [WORK]}})
    poll(office)


def supplement(office: Office) -> None:
    office.move(CODE, RECEIVED, status=SUPPLEMENT)
    office.once()


def closed_at_once(office: Office) -> None:
    office.move(CODE, DONE)
    poll(office)


def missing_once(office: Office) -> None:
    ready_and_polled(office)
    office.databases["nha-trang"].delete(CODE)
    poll(office)


def stale(office: Office) -> None:
    office.databases["nha-trang"].delete(CODE)
    poll(office)
    poll(office)
    long_ago = datetime.now(office.zone) - timedelta(days=90)
    office.stand(CODE, step=READY, received_at=long_ago, resolved_at=long_ago)
    poll(office)


def answer_lost(office: Office) -> None:
    """As a gateway leaves it that took the request and never answered."""
    ready_and_polled(office)
    with closing(sqlite3.connect(office.folder / "smsd.db")) as store, store:
        store.execute("UPDATE messages SET state = 'unknown', attempts = attempts + 1")


def answer_lost_again(office: Office) -> None:
    answer_lost(office)
    with closing(sqlite3.connect(office.folder / "smsd.db")) as store, store:
        store.execute("UPDATE messages SET possible_duplicate = 1")


@pytest.mark.parametrize(
    ("story", "said"),
    [
        (answer_lost, "a receipt is waited for, else it is sent once more"),
        (answer_lost_again, "a receipt is waited for; without one it expires and is listed"),
        (in_work, "no message: its position in_progress has no notice"),
        (closed_at_once, "no message: its position closed has no notice"),
        (by_configuration, "no message: it came into result_ready by a change of configuration"),
        (sent, "result_ready delivered: it reached the telephone"),
        (supplement, "supplement delivered: it reached the telephone"),
        (waits_for_settle, "result_ready queued: waits until"),
        (outside_hours, "result_ready queued: waits for messages.sending_hours"),
        (ready_and_polled, "result_ready queued: is due: the daemon sends it next"),
        (missing_once, "result_ready queued: waits: the dossier was missing from the last full read"),
        (superseded, "result_ready superseded: no longer true before it was handed over"),
        (shadow, "result_ready suppressed (shadow): the agency is in shadow"),
        (held, "result_ready held: held with its batch; decide: smsd held release nha-trang"),
        (discarded, "result_ready suppressed (discarded): an operator discarded the held batch"),
        (no_phone, "result_ready suppressed (no_phone): the phone field has no number"),
        (landline, "result_ready suppressed (landline): the phone field has a landline only"),
        (ambiguous, "result_ready suppressed (ambiguous_phone): the number may be an old landline"),
        (invalid, "result_ready suppressed (invalid_phone): the phone field has no Vietnamese mobile"),
        (skipped_procedure, "result_ready suppressed (procedure): its procedure is among skip_procedures"),
        (same_day, "result_ready suppressed (same_day): received, due and resolved on one day"),
        (repeated, "result_ready suppressed (repeat): the same notice went out"),
        (stale, "result_ready suppressed (stale): first seen in this position long after"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)  # fmt: skip
def test_the_story_of_a_dossier_says_why(office: Office, story: Story, said: str) -> None:
    office.stand(CODE)
    office.once()
    story(office)
    assert said in told(office)


def test_a_dossier_that_was_ready_at_the_baseline_is_told_so(office: Office) -> None:
    office.stand(CODE, step=READY)
    office.once()
    assert "no message: it was in result_ready already at the baseline of" in told(office)


def test_a_queued_message_after_a_long_silence_waits_for_a_good_read(office: Office) -> None:
    office.stand(CODE)
    office.once()
    office.once(later=-timedelta(hours=2))
    office.move(CODE, READY)
    office.configure(messages={"sending_hours": "01:00-02:00"})
    office.once(later=-timedelta(hours=1))
    office.configure(messages={"sending_hours": "00:00-00:00"})
    assert "waits for a good read of the agency: the last one is too old" in told(office)


def test_a_code_is_found_whatever_its_case_and_in_every_agency(office: Office) -> None:
    office.stand(CODE)
    office.stand(CODE, agency="so-xay-dung")
    office.once()
    shown = office.smsd("trace", f"  {CODE.lower()} ")
    assert shown.status == 0
    assert "(nha-trang, live)" in shown.out
    assert "(so-xay-dung, live)" in shown.out


def test_an_unknown_code_is_a_fault_with_a_hint(baselined: Office) -> None:
    shown = baselined.smsd("trace", "H32.nowhere")
    assert (shown.status, shown.out) == (1, "")
    assert "has had a dossier 'H32.nowhere'" in shown.err
    shown = baselined.smsd("trace", "H32.nowhere", "--json")
    assert (shown.status, shown.json) == (1, [])


def test_a_lookup_shows_what_the_citizen_gets_and_counts_nothing(baselined: Office) -> None:
    shown = baselined.smsd("lookup", "mckh nha-trang-1")
    assert shown.out == (
        "Hồ sơ của quý Ông/Bà (nha-trang-1) hiện đang ở bước Thẩm định, trạng thái hồ sơ: Đúng hạn.\n"
    )
    document = baselined.smsd("lookup", "MCKH H32.none", "--json").json
    assert (document["outcome"], document["agency"]) == ("not_found", None)
    assert "H32.none" in document["text"]
    assert baselined.smsd("report", "--json").json["reconciliation"][-1]["lookups"] == 0
