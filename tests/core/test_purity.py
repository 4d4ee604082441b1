"""The core is pure: it imports the standard library and itself, reads no clock, writes no log and opens nothing."""

from __future__ import annotations

import ast
import sys

import pytest

from tests.support.sources import imports_of, modules, names_used

CORE = sorted(name for name in modules() if name.startswith("smsd.core"))

IMPURE = {
    *("asyncio", "http", "io", "logging", "os", "pathlib", "random", "secrets", "shutil", "signal", "socket"),
    *("sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request", "uuid", "warnings"),
}
"""Parts of the standard library that reach outside or tell the time."""

CLOCK_READINGS = {
    *("datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow", "datetime.date.today"),
    *("time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.ctime", "time.strftime"),
    *("sqlalchemy.func.now", "sqlalchemy.func.current_timestamp", "sqlalchemy.func.localtimestamp"),
}


def test_the_core_is_where_it_is_looked_for() -> None:
    assert {"smsd.core.outbox", "smsd.core.phones", "smsd.core.texts", "smsd.core.clock"} <= set(CORE)


@pytest.mark.parametrize("name", CORE)
def test_the_core_imports_the_standard_library_and_itself_only(name: str) -> None:
    for imported in imports_of(modules()[name]):
        own = imported.startswith("smsd.core.")
        assert own or imported.partition(".")[0] in sys.stdlib_module_names, imported


@pytest.mark.parametrize("name", CORE)
def test_the_core_reaches_nothing_outside(name: str) -> None:
    imported = set(imports_of(modules()[name]))
    assert not imported & IMPURE
    called = {
        node.func.id
        for node in ast.walk(modules()[name])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"open", "print", "input", "exec", "eval"}


@pytest.mark.parametrize("name", sorted(modules().keys() - {"smsd.core.clock"}))
def test_only_the_clock_reads_the_clock(name: str) -> None:
    readings = [
        f"{used}, line {line}" for used, line in names_used(modules()[name]) if used in CLOCK_READINGS
    ]
    assert readings == []


def test_the_clock_itself_is_seen_to_read_the_clock() -> None:
    assert "datetime.datetime.now" in {used for used, _ in names_used(modules()["smsd.core.clock"])}


@pytest.mark.parametrize(
    "source",
    [
        "import datetime\ndatetime.datetime.now()",
        "import datetime as d\nd.date.today()",
        "from datetime import datetime as moment\nmoment.utcnow()",
        "from time import time\ntime()",
        "import time as t\nnow = t.time",
        "from sqlalchemy import func\nfunc.now()",
    ],
)
def test_a_reading_is_seen_under_any_name(source: str) -> None:
    assert {used for used, _ in names_used(ast.parse(source))} & CLOCK_READINGS
