"""What docs/kannel.md prints is what smsd and Kannel need."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from smsd.adapters.gateways.httpexchange import Answer
from smsd.adapters.gateways.kannelanswers import outcome_of
from smsd.config.load import read_settings
from smsd.core.model import Verdict
from tests.support.kannel import DOCUMENT, printed_groups

TEXT = DOCUMENT.read_text(encoding="utf-8")


def setting(group: str, key: str) -> str:
    (value,) = (g[key] for g in printed_groups() if g["group"] == group)
    return value


def test_the_lines_for_smsd_are_valid_and_fit_those_for_kannel(tmp_path: Path) -> None:
    lines = [line for line in TEXT.splitlines() if re.match("    (gateway|inbound): ", line)]
    (tmp_path / "agencies").mkdir()
    (tmp_path / "smsd.yaml").write_text("\n".join(line.strip() for line in lines), encoding="utf-8")
    for name in ("kannel", "inbound"):
        (tmp_path / name).write_text("s3cret", encoding="utf-8")
    settings = read_settings(tmp_path / "smsd.yaml", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    sendsms = urlsplit(re.search(r'url: "([^"]+)"', lines[0])[1])  # type: ignore[index]
    assert str(sendsms.port) == setting("smsbox", "sendsms-port")
    assert f"username: {setting('sendsms-user', 'username')}," in lines[0]
    assert settings.inbound is not None
    assert setting("sms-service", "get-url").startswith(f"{settings.inbound.public_url}/lookups?")


def test_the_get_url_carries_what_look_ups_need() -> None:
    query = urlsplit(setting("sms-service", "get-url")).query.replace("%", "%25")
    assert dict(parse_qsl(query)) == {
        "from": "%p",
        "text": "%b",
        "charset": "%C",
        "id": "%I",
        "token": "change-this",
    }


def test_every_setting_that_must_not_be_left_out_is_printed() -> None:
    printed = {key for group in printed_groups() for key in group}
    rows = TEXT.partition("| setting | without it |")[2].partition("\n\n")[0].splitlines()[2:]
    named = {re.sub(" = .*", "", name) for row in rows for name in re.findall("`([^`]+)`", row.split("|")[1])}
    groups = {group["group"] for group in printed_groups()}
    assert named - groups - {"smsbox-id"} <= printed
    assert "smsbox-id" not in printed


MEANINGS = {
    "`accepted`": Verdict.ACCEPTED,
    "`rejected`": Verdict.REJECTED,
    "link stops": Verdict.ACCOUNT,
    "tried again": Verdict.RETRY,
}


def test_what_the_document_says_of_answers_is_so() -> None:
    rows = TEXT.partition("| Kannel says | smsd |")[2].partition("\n\n")[0].splitlines()[2:]
    told = 0
    for row in rows:
        answers, meaning = row.split("|")[1:3]
        verdicts = {verdict for words, verdict in MEANINGS.items() if words in meaning}
        for status, body in re.findall(r"(\d{3}) `([^`]+)`", answers):
            assert {outcome_of(Answer(int(status), body.encode())).verdict} == verdicts, row
            told += 1
    assert told == 7
