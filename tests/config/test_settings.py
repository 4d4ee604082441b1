"""smsd.yaml: defaults, merging, what values mean, and that nothing of them is ever shown."""

from __future__ import annotations

from datetime import time, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from smsd.config.load import read_settings
from smsd.config.settings import Settings
from smsd.config.values import Hours, Limit
from smsd.core.policy import Encoding
from tests.config.files import KANNEL, SPOOL, folder_of, mistakes_of, settings_of
from tests.support.builders import APOLOGY_TEXT, RESULT_TEXT, SUPPLEMENT_TEXT, ZONE

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3_600, 86_400))


def test_with_a_gateway_alone_everything_is_as_the_contract_prints_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert settings.zone == ZONE
    assert settings.store.get_secret_value() == "sqlite:////var/lib/smsd/smsd.db"
    assert settings.agencies == tmp_path / "agencies"
    polling = settings.polling
    assert (polling.interval, polling.timeout, polling.workers) == (MINUTE, 30 * SECOND, 8)
    assert list(settings.positions) == ["supplement", "result_ready", "closed"]
    assert settings.positions["supplement"].statuses == ("Chờ bổ sung",)
    assert settings.positions["supplement"].steps == ("Tiếp nhận", "Trả kết quả")
    assert settings.positions["closed"].steps == ("Đã trả kết quả", "Kết thúc", "Đã rút")
    messages = settings.messages
    assert (messages.sender, messages.encoding, messages.number_format) == (
        "MotcuaSMS",
        Encoding.UNICODE,
        "84",
    )
    assert (messages.repeat_after, messages.unknown_after, messages.stale_after) == (
        HOUR,
        15 * MINUTE,
        30 * DAY,
    )
    assert messages.sending_hours == Hours(time(6), time(22))
    assert (messages.hold_above, messages.cost_per_segment) == (500, 300)
    assert (settings.inbound, settings.alarms) == (None, None)
    assert settings.lookup.keyword == "MCKH"
    assert settings.lookup.per_number == Limit(20, HOUR)
    reconciliation = settings.reconciliation
    assert (reconciliation.at, reconciliation.language, reconciliation.delimiter) == (time(23, 30), "vi", ",")
    assert reconciliation.directory == Path("/var/lib/smsd/reports")
    assert (settings.retention.personal_data, settings.retention.records) == (90 * DAY, 5 * 365 * DAY)


def test_the_default_texts_are_the_official_letters(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    texts = {name: notice.text for name, notice in settings.notices.items()}
    assert texts == {"supplement": SUPPLEMENT_TEXT, "result_ready": RESULT_TEXT, "apology": APOLOGY_TEXT}
    apology = settings.notices["apology"]
    assert (apology.at, apology.until, apology.valid_for) == (time(17, 30), time(20, 30), 14 * HOUR)
    assert apology.unless == ("result_ready", "closed")
    assert settings.notices["result_ready"].settle == 2 * MINUTE
    assert settings.notices["result_ready"].valid_for == 10 * DAY
    assert settings.lookup.answer == (
        "Hồ sơ của quý Ông/Bà ({Mã số hồ sơ}) hiện đang ở bước {Tên bước giải quyết hiện tại}, "
        "trạng thái hồ sơ: {Đúng hạn/Trễ hạn}."
    )


def test_a_section_merges_key_by_key_with_the_defaults(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "polling: {interval: 2m}\nmessages: {encoding: unaccented}\n")
    assert (settings.polling.interval, settings.polling.timeout) == (2 * MINUTE, 30 * SECOND)
    assert (settings.messages.encoding, settings.messages.sender) == (Encoding.UNACCENTED, "MotcuaSMS")


def test_an_empty_section_is_all_defaults(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "polling:\nnotices:\npositions:\nretention:\n")
    assert settings == settings_of(tmp_path)


def test_a_position_named_again_is_replaced_whole_in_its_place_and_new_ones_come_last(tmp_path: Path) -> None:
    text = "positions: {received: {steps: [Tiếp nhận]}, supplement: {steps: [Bổ sung]}}\n"
    positions = settings_of(tmp_path, text).positions
    assert list(positions) == ["supplement", "result_ready", "closed", "received"]
    assert positions["supplement"].steps == ("Bổ sung",)
    assert positions["supplement"].statuses is None


def test_a_partial_notice_keeps_what_it_does_not_change(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "notices: {apology: {until: '21:00'}, result_ready: {settle: 0s}}\n")
    assert settings.notices["apology"].text == APOLOGY_TEXT
    assert (settings.notices["apology"].at, settings.notices["apology"].until) == (time(17, 30), time(21))
    assert (settings.notices["result_ready"].settle, settings.notices["result_ready"].text) == (
        timedelta(0),
        RESULT_TEXT,
    )


def test_a_new_position_may_have_a_notice_of_its_own(tmp_path: Path) -> None:
    text = (
        "positions: {fee_due: {statuses: [Chờ nộp phí]}}\nnotices: {fee_due: {text: 'Phí {Tên thủ tục}'}}\n"
    )
    notice = settings_of(tmp_path, text).notices["fee_due"]
    assert (notice.text, notice.settle, notice.valid_for) == ("Phí {Tên thủ tục}", 2 * MINUTE, 10 * DAY)
    assert (notice.at, notice.until, notice.unless) == (None, None, None)


def test_lists_are_replaced(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, "notices: {apology: {unless: [closed]}}\npositions: {closed: {steps: []}}\n"
    )
    assert settings.notices["apology"].unless == ("closed",)
    assert settings.positions["closed"].steps == ()


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    text = "store: sqlite:///state/smsd.db\nreconciliation: {directory: reports}\nalarms: {command: ./tell 'a b'}\n"
    settings = settings_of(tmp_path, text)
    assert settings.store.get_secret_value() == f"sqlite:///{tmp_path}/state/smsd.db"
    assert settings.reconciliation.directory == tmp_path / "reports"
    assert settings.gateway[0].type == "spool"
    assert settings.gateway[0].directory == tmp_path / "spool"
    assert settings.alarms is not None
    assert settings.alarms.command == (str(tmp_path / "tell"), "a b")


def test_a_file_named_relatively_gives_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder_of(tmp_path) / "smsd.yaml").write_text(SPOOL)
    monkeypatch.chdir(tmp_path)
    assert read_settings(Path("smsd.yaml"), {}).agencies == tmp_path / "agencies"


VALUES = [
    ("messages: {number_format: 84}", "messages.number_format", "84"),
    ("messages: {number_format: +84}", "messages.number_format", "+84"),
    ("messages: {number_format: 0}", "messages.number_format", "0"),
    ("messages: {sender: 9029}", "messages.sender", "9029"),
    ("messages: {sender: Mot cua.KH}", "messages.sender", "Mot cua.KH"),
    ("messages: {repeat_after: 0s}", "messages.repeat_after", timedelta(0)),
    ("messages: {sending_hours: 00:00-24:00}", "messages.sending_hours", Hours(time(), time())),
    ("messages: {sending_hours: 6:30 - 21:00}", "messages.sending_hours", Hours(time(6, 30), time(21))),
    ("messages: {hold_above: '20'}", "messages.hold_above", 20),
    ('reconciliation: {delimiter: "\\t"}', "reconciliation.delimiter", "\t"),
    ("reconciliation: {at: 23:30}", "reconciliation.at", time(23, 30)),
    ("retention: {personal_data: 1y}", "retention.personal_data", 365 * DAY),
    ("lookup: {per_number: 5/10m}", "lookup.per_number", Limit(5, 10 * MINUTE)),
    ("alarms: {command: [tell, 12]}", "alarms.command", ("tell", "12")),
    ("lookup: {too_many: 'Thử lại sau'}", "lookup.too_many", "Thử lại sau"),
    ("lookup: {answer: '{ Mã số hồ sơ }'}", "lookup.answer", "{ Mã số hồ sơ }"),
]


@pytest.mark.parametrize(("written", "key", "meant"), VALUES)
def test_a_value_means_what_it_says(tmp_path: Path, written: str, key: str, meant: object) -> None:
    value: object = settings_of(tmp_path, written + "\n")
    for part in key.split("."):
        value = getattr(value, part)
    assert value == meant


def test_a_look_ups_default_explanation_names_the_keyword_in_force(tmp_path: Path) -> None:
    assert "MCKH" in settings_of(tmp_path).lookup.wrong_syntax
    other = settings_of(tmp_path, "lookup: {keyword: HSKH}\n").lookup
    assert "HSKH" in other.wrong_syntax
    assert "MCKH" not in other.wrong_syntax
    own = settings_of(tmp_path, "lookup: {keyword: HSKH, wrong_syntax: Sai}\n").lookup
    assert own.wrong_syntax == "Sai"


def test_kannel_needs_an_account_and_has_a_window(tmp_path: Path) -> None:
    gateway = settings_of(tmp_path, gateway=KANNEL + "  password: 12345\n  rate: 0.5\n").gateway[0]
    assert gateway.type == "kannel"
    assert gateway.password.get_secret_value() == "12345"
    assert (gateway.rate, gateway.connections) == (0.5, 8)


def test_several_gateways_keep_their_order_and_their_patience(tmp_path: Path) -> None:
    text = (
        "gateway:\n"
        "- {type: spool, directory: a, name: first, failover_after: 90s}\n"
        "- {type: spool, directory: b, name: second}\n"
    )
    first, second = settings_of(tmp_path, gateway=text).gateway
    assert (first.name, first.failover_after) == ("first", timedelta(seconds=90))
    assert (second.name, second.failover_after) == ("second", timedelta(minutes=5))


def test_a_spool_has_no_rate_unless_it_is_given(tmp_path: Path) -> None:
    assert settings_of(tmp_path).gateway[0].rate is None
    assert settings_of(tmp_path, gateway=SPOOL[:-2] + ", rate: 10}\n").gateway[0].rate == 10


def test_inbound_takes_its_secret_from_systemd_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "inbound").write_text("long and random\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "OTHER": "another"}
    plain = settings_of(tmp_path, "inbound:\n", environ).inbound
    assert plain is not None
    assert (plain.listen, plain.public_url) == ("127.0.0.1:8029", "http://127.0.0.1:8029")
    assert plain.secret.get_secret_value() == "long and random"
    other = settings_of(tmp_path, "inbound: {listen: '[::1]:0', secret: '${OTHER}'}\n", environ).inbound
    assert other is not None
    assert (other.listen, other.secret.get_secret_value()) == ("[::1]:0", "another")


def test_inbound_without_its_secret_is_a_mistake(tmp_path: Path) -> None:
    (said,) = mistakes_of(tmp_path, "inbound: {}\n")
    assert said.startswith("1:1: inbound.secret: the credential inbound is not set")


def test_numbers_and_switches_may_come_from_references(tmp_path: Path) -> None:
    text = "polling: {workers: '${N}'}\nmessages: {cost_per_segment: '${COST}', sending_hours: '${HOURS}'}\n"
    settings = settings_of(tmp_path, text, {"N": "3", "COST": "250", "HOURS": "07:00-21:00"})
    assert (settings.polling.workers, settings.messages.cost_per_segment) == (3, 250)
    assert settings.messages.sending_hours.opens == time(7)


SECRET = "hunter2"
SPILLS = [
    "timezone: ${S}\n",
    "store: ${S}\n",
    "store: mysql://smsd:${S}@host/db\n",
    "store: mysql://smsd:hunter2@host/db\n",
    "polling: {interval: '${S}', workers: '${S}'}\n",
    "positions: {closed: {steps: '${S}'}}\n",
    "notices: {result_ready: {text: '{${S}}'}}\n",
    "notices: {apology: {at: '${S}', unless: ['${S}']}}\n",
    "messages: {sender: '${S}-${S}-${S}', encoding: '${S}', number_format: '${S}', sending_hours: '${S}'}\n",
    "inbound: {listen: '${S}', public_url: '${S}', secret: '${S}'}\n",
    "lookup: {keyword: '${S} ${S}', not_found: '{${S}}', per_number: '${S}'}\n",
    "reconciliation: {at: '${S}', language: '${S}', delimiter: '${S}'}\n",
    "agencies: ${S}\n",
    'alarms: {command: "${S} \'"}\n',
    "gateway: {type: '${S}'}\n",
    "gateway: {type: kannel, url: 'http://u:hunter2@h:x/', username: '', password: '${S}', "
    "connections: '${S}'}\n",
    "gateway: {type: spool, directory: x, pasword: hunter2}\n",
]


@pytest.mark.parametrize("written", SPILLS)
def test_no_mistake_shows_what_a_reference_brought_in(tmp_path: Path, written: str) -> None:
    gateway = "" if written.startswith("gateway") else SPOOL
    said = "\n".join(mistakes_of(tmp_path, written, {"S": SECRET}, gateway=gateway))
    assert said
    assert SECRET not in said


def test_settings_show_none_of_their_values(tmp_path: Path) -> None:
    text = (
        "store: postgresql+psycopg2://smsd:${S}@host/db\n"
        "inbound: {secret: '${S}'}\nlookup: {answer: '${S}'}\nalarms: {command: 'tell ${S}'}\n"
    )
    gateway = KANNEL.replace("smsd", "${S}") + "  password: ${S}\n"
    settings = settings_of(tmp_path, text, {"S": SECRET}, gateway=gateway)
    assert settings.store.get_secret_value() == f"postgresql+psycopg2://smsd:{SECRET}@host/db"
    shown = "".join(
        f"{one!r}{one!s}{one}" for one in (settings, settings.gateway, settings.inbound, settings.lookup)
    )
    assert SECRET not in shown
    assert SECRET not in repr(settings.alarms)
    assert SECRET not in settings.model_dump_json(include={"store", "inbound"})


def test_settings_never_change(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with pytest.raises(ValidationError):
        settings.polling.workers = 3  # type: ignore[misc]


def test_attribute_names_are_the_contracts_keys() -> None:
    assert list(Settings.model_fields) == [
        "timezone", "store", "agencies", "polling", "positions", "notices", "messages", "gateway", "inbound",
        "lookup", "reconciliation", "retention", "alarms",
    ]  # fmt: skip
