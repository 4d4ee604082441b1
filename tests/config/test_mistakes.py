"""Every mistake in smsd.yaml is told at its line and column, with what is accepted, and all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from smsd.config.load import read_settings
from smsd.core.errors import ConfigError
from tests.config.files import KANNEL, mistakes_of, printed

ALL = "supplement, result_ready, closed"
LETTERS = "{Mã số hồ sơ} {Tên cơ quan} {Ngày hẹn trả} {Tên bước giải quyết hiện tại} {Đúng hạn/Trễ hạn} {Tên thủ tục}"
TOP = (
    "agencies, alarms, gateway, inbound, lookup, messages, notices, polling, positions, reconciliation, "
    "retention, store, timezone"
)
DURATIONS = "accepted: 30s, 5m, 2h, 3d"
SENDERS = (
    "is no sender, accepted: a brandname of at most 11 ASCII letters, digits, . _ - and inner spaces, "
    "with a letter in it, or a number"
)
NOT_A_SECTION = "is not a section, accepted: lines of key: value"

MISTAKES = [
    (
        "timezone: Asia/Nowhere",
        '1:11: timezone: "Asia/Nowhere" is no time zone, accepted: a name such as Asia/Ho_Chi_Minh',
    ),
    (
        "timezone: ../../etc/passwd",
        '1:11: timezone: "../../etc/passwd" is no time zone, accepted: a name such as Asia/Ho_Chi_Minh',
    ),
    ("timezone:", "1:10: timezone: is empty, accepted: a text"),
    ("pollling: {}", f"1:1: pollling: is an unknown key (did you mean polling?), accepted: {TOP}"),
    ("polling: 60s", f"1:10: polling: {NOT_A_SECTION}"),
    ("polling: [1]", f"1:10: polling: {NOT_A_SECTION}"),
    ("polling: {interval: 5 mins}", f'1:21: polling.interval: "5 mins" is no duration, {DURATIONS}'),
    ("polling: {interval: 60}", f'1:21: polling.interval: "60" is no duration, {DURATIONS}'),
    ("polling: {interval: 0s}", f'1:21: polling.interval: "0s" is no time at all, {DURATIONS}'),
    ("polling: {interval: -5m}", f'1:21: polling.interval: "-5m" is no duration, {DURATIONS}'),
    ("polling: {interval: 1y}", f'1:21: polling.interval: "1y" is no duration, {DURATIONS}'),
    ("polling: {interval: 9999999999d}", f'1:21: polling.interval: "9999999999d" is too long, {DURATIONS}'),
    (
        "polling: {workers: 0}",
        '1:20: polling.workers: "0" is no number that fits, accepted: a whole number from 1 to 256',
    ),
    (
        "polling: {workers: true}",
        '1:20: polling.workers: "true" is no number that fits, accepted: a whole number from 1 to 256',
    ),
    (
        "polling: {wrkers: 8}",
        "1:11: polling.wrkers: is an unknown key (did you mean workers?), "
        "accepted: interval, timeout, workers",
    ),
    ("positions: [a]", f"1:12: positions: {NOT_A_SECTION}"),
    (
        "positions: {closed: {}}",
        "1:21: positions.closed: has no condition and would fit every dossier, "
        "accepted: steps, statuses or both",
    ),
    (
        "positions: {closed: {steps: Ký}}",
        '1:29: positions.closed.steps: "Ký" is not a list, accepted: [one, another], or [] for none',
    ),
    (
        "positions: {closed: {steps: [[a]]}}",
        "1:30: positions.closed.steps[0]: is not a text, accepted: one text",
    ),
    (
        "positions: {closed: {steps: [' ']}}",
        '1:30: positions.closed.steps[0]: " " is blank, accepted: a name',
    ),
    (
        "positions: {closed: {steps: }}",
        "1:28: positions.closed.steps: is empty, accepted: a value, or no such key",
    ),
    (
        "positions: {apology: {steps: [a]}}",
        "1:13: positions.apology: is no name for a position, "
        "accepted: at most 40 of a-z 0-9 and _, but not apology or in_progress",
    ),
    (
        "positions: {Fee Due: {steps: [a]}}",
        "1:13: positions.Fee Due: is no name for a position, "
        "accepted: at most 40 of a-z 0-9 and _, but not apology or in_progress",
    ),
    (
        "positions: {closed: {stps: [a], steps: [a]}}",
        "1:22: positions.closed.stps: is an unknown key (did you mean steps?), accepted: statuses, steps",
    ),
    (
        "notices: {fee: {text: Phí}}",
        f"1:11: notices.fee: names no position, accepted: {ALL}, apology; a new one is added under positions",
    ),
    (
        "notices: {closed: {settle: 1m}}",
        "1:11: notices.closed.text: is missing, accepted: the message's text",
    ),
    (
        "notices: {closed: {text: Xong, at: '9:00'}}",
        "1:32: notices.closed.at: only apology is sent at a time of day, accepted: text, settle, valid_for",
    ),
    (
        "notices: {result_ready: {text: '{Mã hồ sơ}'}}",
        f"1:32: notices.result_ready.text: holds the unknown placeholder {{Mã hồ sơ}}, accepted: {LETTERS}",
    ),
    (
        "notices: {result_ready: {text: 'Mời {Tên cơ quan'}}",
        '1:32: notices.result_ready.text: "Mời '
        f'{{Tên cơ quan" has a brace without its other half, accepted: {LETTERS}',
    ),
    ("notices: {result_ready: {text: ''}}", "1:32: notices.result_ready.text: is blank, accepted: a text"),
    (
        'notices: {result_ready: {text: "a\\u202eb"}}',
        "1:32: notices.result_ready.text: holds a control or invisible character, accepted: printable text",
    ),
    (
        "notices: {result_ready: {settle: 10d}}",
        '1:11: notices.result_ready.valid_for: "10d" is no longer than settle, so that nothing '
        "would ever be sent, accepted: a longer duration",
    ),
    ("notices: {result_ready: }", f"1:24: notices.result_ready: {NOT_A_SECTION}"),
    (
        "notices: {apology: {until: '17:00'}}",
        '1:28: notices.apology.until: "17:00" is not later than at, accepted: a later time of the same day',
    ),
    (
        "notices: {apology: {at: 25:00}}",
        '1:25: notices.apology.at: "25:00" is no time of day, accepted: "17:30"',
    ),
    (
        "notices: {apology: {until: }}",
        "1:27: notices.apology.until: is empty, accepted: a value, or no such key",
    ),
    (
        "notices: {apology: {unless: [closd]}}",
        f"1:30: notices.apology.unless[0]: names no position, accepted: {ALL}",
    ),
    ("messages: {sender: Một cửa}", f'1:20: messages.sender: "Một cửa" {SENDERS}'),
    ("messages: {sender: MotcuaSMS-KH}", f'1:20: messages.sender: "MotcuaSMS-KH" {SENDERS}'),
    ("messages: {sender: ' Motcua'}", f'1:20: messages.sender: " Motcua" {SENDERS}'),
    (
        "messages: {encoding: ucs2}",
        '1:22: messages.encoding: "ucs2" is unknown, accepted: unicode, unaccented',
    ),
    (
        "messages: {number_format: '084'}",
        '1:27: messages.number_format: "084" is unknown, accepted: 84, +84, 0',
    ),
    (
        "messages: {sending_hours: 6-22}",
        '1:27: messages.sending_hours: "6-22" is no span of hours, '
        "accepted: 06:00-22:00 (00:00-24:00: always)",
    ),
    (
        "messages: {sending_hours: 24:00-06:00}",
        '1:27: messages.sending_hours: "24:00-06:00" is no span of hours, '
        "accepted: 06:00-22:00 (00:00-24:00: always)",
    ),
    (
        "messages: {cost_per_segment: 1.5}",
        '1:30: messages.cost_per_segment: "1.5" is no number that fits, '
        "accepted: a whole number from 0 to 1000000",
    ),
    (
        "lookup: {keyword: MC KH}",
        '1:19: lookup.keyword: "MC KH" is no keyword, accepted: at most 20 letters A-Z and digits',
    ),
    (
        "lookup: {not_found: '{Tên cơ quan}'}",
        "1:21: lookup.not_found: holds the unknown placeholder {Tên cơ quan}, accepted: {Mã số hồ sơ}",
    ),
    (
        "lookup: {too_many: '{Mã số hồ sơ}'}",
        "1:20: lookup.too_many: holds the unknown placeholder {Mã số hồ sơ}, accepted: none in this text",
    ),
    ("lookup: {per_number: 20}", '1:22: lookup.per_number: "20" is no limit, accepted: 20/1h'),
    ("reconciliation: {language: fr}", '1:28: reconciliation.language: "fr" is unknown, accepted: vi, en'),
    (
        "reconciliation: {delimiter: ';;'}",
        '1:29: reconciliation.delimiter: ";;" is no delimiter, '
        'accepted: "," ";" "|" or "\\t" in double quotes',
    ),
    (
        "reconciliation: {directory: ''}",
        "1:29: reconciliation.directory: is no path, accepted: a folder such as /var/lib/smsd",
    ),
    (
        "retention: {records: 30d}",
        '1:22: retention.records: "30d" is shorter than personal_data, '
        "accepted: the same or a longer duration",
    ),
    ("alarms:", "1:1: alarms.command: is missing, accepted: a command line"),
    (
        'alarms: {command: "tell \'me"}',
        "1:19: alarms.command: is no command, accepted: a command line, or a list [program, argument]",
    ),
    (
        "alarms: {command: []}",
        "1:19: alarms.command: is no command, accepted: a command line, or a list [program, argument]",
    ),
    (
        "store: mysql://u:p@h/d",
        "1:8: store: names no kind of database that can be used here, "
        "accepted: sqlite:////path/to/file.db, postgresql+psycopg2://user:password@host/database",
    ),
    (
        "store: smsd.db",
        "1:8: store: is no database URL, "
        "accepted: sqlite:////path/to/file.db, postgresql+psycopg2://user:password@host/database",
    ),
    (
        "store: sqlite://",
        "1:8: store: names no file, accepted: sqlite:////path/to/file.db, or sqlite:///file.db "
        "beside this file",
    ),
    (
        "store: 'sqlite:///:memory:'",
        "1:8: store: names no file, accepted: sqlite:////path/to/file.db, or sqlite:///file.db "
        "beside this file",
    ),
    (
        "store: ${SMSD_STORE}",
        "1:8: store: the environment variable SMSD_STORE is not set, set it for the service or "
        "write the value",
    ),
    (
        "store: &s x",
        "1:8: store: is an anchor or alias (& or *), accepted: the value itself, in quotes if it is a text",
    ),
    (
        "polling: *p",
        "1:10: polling: is an anchor or alias (& or *), "
        "accepted: the value itself, in quotes if it is a text",
    ),
    ("store: !!str x", "1:8: store: has a tag (!), accepted: the value itself, in quotes if it is a text"),
    (
        "timezone: UTC\ntimezone: UTC",
        "2:1: timezone: is given a second time (first on line 1), accepted: once",
    ),
    (
        "agencies: nowhere",
        "1:11: agencies: the folder {folder}/nowhere cannot be read: No such file or directory, "
        "accepted: a folder of agency files, which may be empty",
    ),
    (
        "agencies: smsd.yaml",
        "1:11: agencies: the folder {folder}/smsd.yaml cannot be read: Not a directory, "
        "accepted: a folder of agency files, which may be empty",
    ),
]


@pytest.mark.parametrize(("written", "said"), MISTAKES)
def test_each_mistake_is_told_with_its_place_and_what_is_accepted(
    tmp_path: Path, written: str, said: str
) -> None:
    expected = said.replace("{folder}", str(tmp_path)) if "{folder}" in said else said
    assert mistakes_of(tmp_path, written + "\n") == [expected]


GATEWAYS = [
    (
        "",
        "1:1: gateway: is missing, accepted: a section such as {type: spool, directory: /var/lib/smsd/spool}",
    ),
    ("gateway:\n", "2:9: gateway: is not a section, accepted: lines of key: value"),
    ("gateway: spool\n", "2:10: gateway: is not a section, accepted: lines of key: value"),
    (
        "gateway: {directory: x}\n",
        "2:1: gateway.type: has no type, accepted: type: spool or another kind of gateway",
    ),
    (
        "gateway: {type: spol, directory: x}\n",
        '2:17: gateway.type: "spol" is no kind of gateway, accepted: spool, kannel, smpp, http',
    ),
    ("gateway: {type: spool}\n", "2:1: gateway.directory: is missing, accepted: a folder"),
    (
        "gateway: {type: spool, directory: x, rate: 0}\n",
        '2:44: gateway.rate: "0" is no rate, accepted: segments a second, more than 0, such as 10 or 0.5',
    ),
    (
        "gateway: {type: spool, directory: x, url: y}\n",
        "2:38: gateway.url: is an unknown key, accepted: directory, failover_after, name, rate, type",
    ),
    (
        "gateway:\n- {type: spool, directory: x}\n- {type: spool, directory: y}\n",
        "3:1: gateway: has several gateways named spool, accepted: a name of its own for each (name: …)",
    ),
    (
        "gateway:\n- {type: spool, directory: x}\n- {type: kannel, urll: y, username: u, password: p, url: 'http://x/'}\n",
        "4:18: gateway[1].urll: is an unknown key (did you mean url?), accepted: connections, failover_after, name, "
        "password, rate, type, url, username",
    ),
    ("gateway: []\n", "2:10: gateway: names no gateway, accepted: one, or several in order of preference"),
    (
        "gateway:\n- {type: spool, directory: x, failover_after: soon}\n",
        '3:47: gateway[0].failover_after: "soon" is no duration, accepted: 30s, 5m, 2h, 3d',
    ),
    (
        KANNEL,
        "2:1: gateway.password: is missing, accepted: the account's password, better ${credential:NAME}",
    ),
    (
        KANNEL.replace("http://127.0.0.1", "ftp://127.0.0.1") + "  password: x\n",
        "4:8: gateway.url: is no address, accepted: http://host:port/path or https://…",
    ),
    (
        KANNEL + "  password: ' '\n",
        "6:13: gateway.password: is blank, accepted: a text, better ${credential:NAME}",
    ),
    (
        KANNEL + "  password: x\n  connections: 0\n",
        '7:16: gateway.connections: "0" is no number that fits, accepted: a whole number from 1 to 64',
    ),
]


@pytest.mark.parametrize(("gateway", "said"), GATEWAYS)
def test_each_mistake_of_a_gateway_is_told(tmp_path: Path, gateway: str, said: str) -> None:
    assert mistakes_of(tmp_path, "timezone: UTC\n", gateway=gateway) == [said]


INBOUNDS = [
    ("listen: nowhere", '"nowhere" is no address to listen on, accepted: host:port such as 127.0.0.1:8029'),
    (
        "listen: 127.0.0.1:70000",
        '"127.0.0.1:70000" is no address to listen on, accepted: host:port such as 127.0.0.1:8029',
    ),
    ("public_url: 127.0.0.1", "is no address, accepted: http://host:port/path or https://…"),
    ("public_url: 'http://h:x/'", "is no address, accepted: http://host:port/path or https://…"),
]


@pytest.mark.parametrize(("written", "said"), INBOUNDS)
def test_each_mistake_of_inbound_is_told(tmp_path: Path, written: str, said: str) -> None:
    (mistake,) = mistakes_of(tmp_path, f"inbound: {{secret: s, {written}}}\n")
    assert mistake.endswith(f": {said}")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    one_file = "\n".join(
        [
            "timezone: Nowhere",
            "store: ${UNSET}",
            "polling: {interval: x, timeout: y, wrkers: 3, workers: 0}",
            "polling: {}",
            "positions: {closed: {}, apology: {steps: [a]}}",
            "notices: {fee: {text: '{x}'}, apology: {unless: [gone], at: 9}}",
            "messages: &m {sender: Một cửa}",
            "agencies: nowhere",
            "foo: bar",
            "",
        ]
    )
    places = [said.split(" ")[1] for said in mistakes_of(tmp_path, one_file, gateway="gateway: {type: x}\n")]
    assert places == [
        "timezone:",
        "store:",
        "polling.interval:",
        "polling.timeout:",
        "polling.wrkers:",
        "polling.workers:",
        "polling:",
        "positions.closed:",
        "positions.apology:",
        "notices.fee:",
        "notices.fee.text:",
        "notices.apology.unless[0]:",
        "notices.apology.at:",
        "messages:",
        "messages.sender:",
        "agencies:",
        "foo:",
        "gateway.type:",
    ]


def test_no_sentence_is_pydantics_own() -> None:
    foreign = ("Input should", "Field required", "Extra inputs", "Value error", "should be", "valid integer")
    assert not [said for _, said in MISTAKES + GATEWAYS if any(word in said for word in foreign)]
    assert not [
        said
        for _, said in MISTAKES + GATEWAYS + INBOUNDS
        if "accepted: " not in said and "$" not in said and "set it" not in said
    ]


def test_a_broken_file_is_told_as_a_whole(tmp_path: Path) -> None:
    (said,) = mistakes_of(tmp_path, "polling: [1, 2\n")
    assert said.startswith("2:8: file: is not YAML: ")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "smsd.yaml", {})
    assert printed(caught.value) == ["1:1: file: does not exist, accepted: a YAML file"]
    assert str(caught.value).startswith(f"{tmp_path}/smsd.yaml:1:1: file: ")
