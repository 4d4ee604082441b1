"""What agencies' databases may hold, from the view to the text, the reports, the log, the metrics and the terminal."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from smsd.adapters.store.engine import Database
from smsd.adapters.store.journal import Journal
from smsd.adapters.store.views import Views
from smsd.adapters.web.metrics import collect_metrics
from smsd.core.clock import SystemClock
from smsd.core.names import clean_text
from tests.support.reliability import Record
from tests.system.daemonoffice import READY, WORK, Office
from tests.system.process import ROOT

pytestmark = [pytest.mark.reliability, pytest.mark.xdist_group("hostile-agencies")]
GROUP = "Hostile input"
TEMPLATE = (
    "Thông báo: Hồ sơ của quý Ông/Bà ({}) đã được giải quyết xong. "
    "Mời Ông/Bà đến Bộ phận Một cửa Sở Alpha để nhận kết quả"
)
HOSTILE = [
    "=HYPERLINK(\"http://evil\",\"x\")",
    "+cmd|' /C calc'!A1",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\r\n=1+1",
    "\uff1d1+1",
    "\uff20x",
    "  =1",
    "\u200b=1",
    "\"=1",
    "'=1",
    "{Mã số hồ sơ}",
    "{Tên cơ quan}",
    "{{7*7}}",
    "{% raw %}x",
    "{0.__class__}",
    "%s%n%(x)s %d",
    "${HOME}",
    "$(touch HARM)",
    "`touch HARM`",
    "'; DROP TABLE messages; --",
    "1; DELETE FROM dossiers",
    "a,b;c\"d\"\"e",
    "line one\r\nline two",
    "forged\n{\"event\": \"alarm_raised\", \"level\": \"error\"}",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31mred",
    "\x08\x08back",
    "\u202etxet\u202c",
    "\u2066isolate\u2069",
    "NUL\0inside",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</title><svg/onload=alert(1)>",
    "<!--",
    "]]>",
    "&lt;b&gt;&amp;",
    "javascript:alert(1)",
    "[bold red]markup[/bold red]",
    "[link=http://evil]x[/link]",
    "😀👩‍👩‍👧‍👦",
    "Ho\u0302\u0300 so\u031b",
    "\ufb01le",
    "\u0410\u0412\u0421",
    "..\\..\\windows",
    "../../etc/passwd",
    "\\u0022",
    "\u2028separator\u2029",
    "x" * 100,
    "ẩ" * 180,
]  # fmt: skip


class Alphas:
    """An agency whose database is full of these values, in every column, and what became of its dossiers."""

    def __init__(self, folder: Path) -> None:
        self.office = Office(
            folder / "etc",
            alarms={"command": [sys.executable, "-c", "import sys; sys.stdout.write(sys.stdin.read())"]},
            messages={"sending_hours": "00:00-00:00", "hold_above": 5_000},
        )
        database = self.office.add("alpha", name="Sở Alpha", dossiers=30)
        self.logs = [self.once()]
        for place, value in enumerate(HOSTILE):
            self._stand(
                database, f"{place}:{value}", procedure_code=value, procedure_name=value, status=value
            )
        self._stand(
            database, "odd", procedure_code="x" * 5_000, procedure_name="y" * 100_000, status="z" * 100_000
        )
        database.execute(
            "UPDATE dossiers SET procedure_name = CAST(x'EDA08041FF' AS TEXT) WHERE dossier_code = 'odd'"
        )
        self._stand(database, "9" * 3_000, phone="0" * 100_000)
        for place, value in enumerate(HOSTILE):
            self._stand(database, f"work-{place}", step=value, phone=f"{value} 0905123456 {value}")
        self.logs += [self.once(), self.once()]

    def _stand(self, database: object, code: str, **values: object) -> None:
        row = {"dossier_code": code, "phone": "0905123456", "step": READY, "procedure_code": "1", **values}
        database.insert([row])  # type: ignore[attr-defined]

    def once(self) -> str:
        done = self.office.smsd("run", "--once")
        assert "Traceback" not in done.stdout + done.stderr
        return done.stdout + done.stderr

    def on_a_terminal(self, *words: str) -> str:
        """What a command shows on a terminal."""
        ours, theirs = pty.openpty()
        environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160"}
        command = [sys.executable, "-m", "smsd", "--config", str(self.office.config), *words]
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 65536):
                shown += part
        except OSError:
            pass  # how a terminal ends
        os.close(ours)
        process.wait(30)
        return shown.decode("utf-8", "replace")


@pytest.fixture(scope="module")
def alphas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alphas]:
    made = Alphas(tmp_path_factory.mktemp("alphas"))
    yield made
    made.office.close()


def test_each_code_is_in_its_text_once_and_to_the_letter(alphas: Alphas, reliability: Record) -> None:
    sent = {message["dossier_code"]: message["text"] for message in alphas.office.spooled()}
    for place, value in enumerate(HOSTILE):
        code = clean_text(f"{place}:{value}")
        assert sent[code] == unicodedata.normalize("NFC", TEMPLATE.replace("{}", code)), value
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", sent[code])
    assert len(sent) == len(HOSTILE) + 1, "nothing else was sent"
    assert Counter(m["dossier_code"] for m in alphas.office.spooled()).most_common(1)[0][1] == 1
    assert alphas.office.ask("SELECT count(*) FROM dossiers") == [(30 + 2 * len(HOSTILE) + 1,)]
    assert not Path(ROOT / "HARM").exists()
    reliability.row(
        GROUP,
        "values in an agency's database with SQL, formulas, templates, control and bidi characters",
        tried=len(HOSTILE) * 6,
        recovered="each text holds its code once and to the letter, less control and bidi characters",
    )


def test_a_code_that_no_dossier_has_is_a_bad_row_and_the_rest_goes_on(alphas: Alphas) -> None:
    reasons = alphas.office.ask("SELECT dossier_code, detail FROM findings WHERE reason = 'bad_row'")
    assert len(reasons) == 1 and str(reasons[0][0]).startswith("999")
    assert len(str(reasons[0][0])) <= 250


FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|\s*[\t\r\n]")


def test_no_cell_of_a_report_is_a_formula(alphas: Alphas, reliability: Record) -> None:
    alphas.office.smsd("report")
    cells = 0
    files = sorted((alphas.office.folder / "reports").rglob("*.csv"))
    assert len(files) >= 3
    for file in files:
        for row in csv.reader(io.StringIO(file.read_bytes().decode("utf-8-sig"))):
            for cell in row:
                cells += 1
                assert not FORMULA.match(cell) or re.fullmatch(r"-?\d+", cell), cell
                assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", cell), cell
    reliability.row(
        GROUP, "cells of the CSV files made of such values", tried=cells, recovered="none runs as a formula"
    )


class _Page(HTMLParser):
    """The elements, their attributes and the text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_in_the_page_is_an_element_of_theirs(alphas: Alphas, reliability: Record) -> None:
    alphas.office.smsd("report")
    (file,) = (alphas.office.folder / "reports").rglob("report.html")
    page = _Page()
    page.feed(file.read_text("utf-8"))
    assert not page.tags & {"script", "img", "iframe", "object", "embed", "link", "form", "input", "base"}
    assert not [
        name for name, _ in page.attributes if name.startswith("on") or name in ("src", "action", "srcdoc")
    ]
    assert not [value for name, value in page.attributes if name == "href" and not value.startswith("#")]
    shown = " ".join(page.text.split())
    for value in ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "{% raw %}x"):
        assert value in shown, value
    reliability.row(
        GROUP,
        "script, attributes and template code among the names in report.html",
        tried=len(HOSTILE),
        recovered="shown as text: the parsed page has no element or attribute of theirs",
    )


def test_every_line_of_the_log_is_one_event_of_ours(alphas: Alphas, reliability: Record) -> None:
    lines = [line for log in alphas.logs for line in log.split("\n") if line]
    for line in lines:
        entry = json.loads(line)
        assert re.fullmatch(r"[a-z_]+", entry["event"])
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", line), line
        assert "<script>" not in line and "0905123456" not in line
    assert not [line for line in lines if '"forged' in line]
    reliability.row(
        GROUP,
        "log lines of reading and sending such values",
        tried=len(HOSTILE) * 6,
        recovered=f"{len(lines)} lines, each one JSON object of ours, without a value or a control character",
    )


CONTROL = re.compile(
    r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
)
"""What moves a terminal, but for colours and newlines."""


def test_no_value_commands_a_terminal(alphas: Alphas, reliability: Record) -> None:
    commands = [("status",), ("lookup", "MCKH 26:x")]
    commands += [("trace", clean_text(f"{place}:{HOSTILE[place]}")) for place in (26, 27, 28, 41, 12)]
    commands += [("trace", "work-26"), ("trace", "odd")]
    for words in commands[: reliability.times(3, 20)]:
        shown = alphas.on_a_terminal(*words)
        assert "Traceback" not in shown, words
        assert not CONTROL.search(shown), words
        assert "\x1b[31m" not in shown, words
    reliability.row(
        GROUP,
        "smsd status, trace and lookup of such dossiers on a terminal",
        tried=len(commands[: reliability.times(3, 20)]),
        recovered="no escape sequence but our own colours",
    )


class _Collected(Collector):
    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.database.open()

    def collect(self):  # type: ignore[no-untyped-def]
        return collect_metrics(Views(self.database), Journal(self.database), SystemClock().now())


def test_metrics_stay_readable_and_hold_no_value(alphas: Alphas) -> None:
    collected = _Collected(f"sqlite:///{alphas.office.folder / 'smsd.db'}")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collected)
    text = generate_latest(registry).decode()
    collected.database.close()
    labels = {
        value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for value in sample.labels.values()
    }
    assert not [label for label in labels if re.search(r"[<>=;{}\x00-\x1f]|evil|DROP", label)]


def test_hostile_names_of_columns_are_told_on_one_line(alphas: Alphas) -> None:
    """A view without a column, whose other columns are named to harm: the alarm is one line of plain characters."""
    beta = alphas.office.add("beta", name="Sở Beta", dossiers=1)
    names = {
        "dossier_code": "dossier_code",
        "step": "\x1b[45m\n{'event': 'forged'}\u202e<script>",
        "phone": "phone",
    }
    beta.show(names)
    log = alphas.once()
    for line in filter(None, log.split("\n")):
        assert json.loads(line)["event"] != "forged"
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e]", line), line
    shown = alphas.on_a_terminal("status")
    assert not CONTROL.search(shown)
    assert "\x1b[45m" not in shown
    assert beta.url and "column" in shown
    (alphas.office.folder / "agencies" / "beta.yaml").unlink()
    assert WORK not in log
