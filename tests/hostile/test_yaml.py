"""Configuration files made to harm: refused with their place, soon, in bounded memory; nothing in them is done."""

from __future__ import annotations

import os
import resource
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smsd.config.yamlfile import LARGEST_FILE, Document, read_document
from smsd.core.errors import ConfigError
from tests.support.reliability import Record

pytestmark = pytest.mark.timeout(120)  # what waits for a FIFO waits for ever
GROUP = "Hostile input"
SOON = 10.0
"""Seconds of the processor: a machine at rest needs a tenth of it."""
MEMORY = 64 * 1024 * 1024
FULL = LARGEST_FILE - 64

BOMBS: dict[str, bytes] = {
    "billion laughs": b"a0: &a0 [x, x]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30)
    ),
    "aliases that name themselves": b"a: &a [*a, *a]\n",
    "a quarter of a million aliases": b"a: &x 1\nb: [" + b"*x, " * (FULL // 4 - 9) + b"]\n",
    "half a million values": b"a: [" + b"1," * (FULL // 2 - 9) + b"]\n",
    "one key a hundred thousand times": b"a: {b: 1}\n" * (FULL // 10),
    "keys in their hundred thousands": b"".join(b"k%d: 1\n" % n for n in range(90_000)),
    "a quarter of a million tags": b"a: [" + b"!t x, " * (FULL // 6 - 9) + b"]\n",
    "brackets without end": b"a: " + b"[" * FULL,
    "braces without end": b"a: " + b"{a: " * (FULL // 4),
    "dashes without end": b"a:\n" + b"- " * (FULL // 2),
    "question marks without end": b"? " * (FULL // 2),
    "a quarter of a million references": b"a: '" + b"${A}" * (FULL // 4 - 9) + b"'\n",
    "merges": b"a: &a {b: 1}\nc:\n  <<: *a\n  <<: [*a, *a]\n",
    "python objects": b"a: !!python/object/apply:os.system ['touch HARM']\nb: !!python/name:os.system\n",
    "python module": b"!!python/module:os {}\n",
    "a number of a hundred thousand digits": b"a: " + b"9" * 100_000 + b"\nb: 0x" + b"f" * 9999 + b"\nc: 1e999999\n",
    "timestamps that cannot be": b"a: 99999-99-99T99:99:99Z\nb: 2026-02-30\nc: !!timestamp 0000-00-00\n",
    "binary and sets": b"a: !!binary AAAA\nb: !!set {x}\nc: !!omap [x: 1]\n",
    "NUL": b"a: 1\0\n",
    "UTF-16": "a: 1\n".encode("utf-16"),
    "UTF-32": "a: 1\n".encode("utf-32"),
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbfa: 1\n",
    "no UTF-8": b"a: \xc0\xaf\xed\xa0\x80\n",
    "a megabyte and more": b"#" * (2 * LARGEST_FILE),
    "a directive": b"%YAML 9.9\n---\na: 1\n",
    "a tag's directive": b"%TAG ! tag:yaml.org,2002:python/object:\n---\na: !os.system x\n",
    "documents without end": b"---\n" * 100_000,
}  # fmt: skip
HARMLESS = {
    "merges": 3,
    "timestamps that cannot be": 1,
    "a number of a hundred thousand digits": 0,
    "two byte order marks": 0,
}
"""Read as plain text, with so many problems at least: nothing in them is resolved."""


@contextmanager
def bounded(*, memory: bool = True) -> Iterator[Callable[[], tuple[float, int]]]:
    """Time of the processor and memory of what is done inside.

    Watching the memory takes four times as long.
    """
    if memory:
        tracemalloc.start()
    began = time.process_time()
    try:
        yield lambda: (time.process_time() - began, tracemalloc.get_traced_memory()[1])
        assert time.process_time() - began < SOON
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def refused(path: Path, **environ: str) -> list[str]:
    """Every mistake of a file with its place; nothing for one that is read."""
    try:
        document: Document = read_document(path, environ)
    except ConfigError as error:
        problems = list(error.problems)
    else:
        problems = [document.problem(*one) for one in (*document.problems, *document.unset)]
    assert all(
        problem.path == str(path) and problem.line >= 1 and problem.column >= 1 for problem in problems
    )
    return [str(problem) for problem in problems]


@pytest.mark.reliability
def test_files_made_to_harm_are_refused_soon_and_do_none(tmp_path: Path, reliability: Record) -> None:
    slowest, largest = 0.0, 0
    for name, content in BOMBS.items():
        path = tmp_path / "smsd.yaml"
        path.write_bytes(content)
        with bounded(memory=reliability.thorough) as spent:
            problems = refused(path)
            seconds, octets = spent()
        assert len(problems) >= HARMLESS.get(name, 1), name
        slowest, largest = max(slowest, seconds), max(largest, octets)
    assert [item.name for item in tmp_path.iterdir()] == ["smsd.yaml"], "nothing was carried out"
    assert not Path("HARM").exists()
    reliability.row(
        GROUP,
        "YAML that explodes, runs code, nests without end, repeats keys, or is no text",
        tried=len(BOMBS),
        recovered=f"refused with line and column, the slowest in {slowest:.1f} s of the processor, "
        f"{max(largest, 2**20) / 2**20:.0f} MiB at most",
    )


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


PLACES: dict[str, Callable[[Path], None]] = {
    "a FIFO": _fifo,
    "a link to itself": _loop,
    "a folder": lambda path: path.mkdir(),
    "an endless device": _to("/dev/zero"),
    "a terminal": _to("/dev/tty"),
    "a device of random octets": _to("/dev/urandom"),
    "nothing": _to("/nonexistent/file"),
    "a file of a terabyte": lambda path: _sparse(path, 1 << 40),
    "memory": _to("/proc/self/mem"),
}


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as file:
        os.truncate(file.fileno(), size)


@pytest.mark.reliability
@pytest.mark.parametrize("use", ["smsd.yaml itself", "${file:…}", "${credential:…}"])
def test_what_is_no_file_in_a_file_s_place_is_told_and_never_waited_for(
    tmp_path: Path, use: str, reliability: Record
) -> None:
    for number, make in enumerate(PLACES.values()):
        odd = tmp_path / f"odd{number}"
        make(odd)
        path, environ = odd, {"CREDENTIALS_DIRECTORY": str(tmp_path)}
        if use != "smsd.yaml itself":
            path = tmp_path / f"f{number}.yaml"
            kind = use[2:].partition(":")[0]
            path.write_text(f'a: "${{{kind}:odd{number}}}"\n')
        with bounded():
            problems = refused(path, **environ)
        assert len(problems) == 1
    reliability.row(
        GROUP,
        f"a FIFO, device, folder, link to itself or endless file for {use}",
        tried=len(PLACES),
        recovered="told at once; nothing is waited for",
    )


@pytest.mark.reliability
def test_references_bring_in_no_more_than_they_may(tmp_path: Path, reliability: Record) -> None:
    """A secret of 64 KiB is lawful; thousands of them would fill the memory."""
    (tmp_path / "big").write_text("s" * 65_000)
    path = tmp_path / "smsd.yaml"
    many = {
        "in one value": "a: '" + "${file:big}" * 5_000 + "'\n",
        "in many values": "".join(f"k{n}: '${{file:big}}'\n" for n in range(500)),
        "in repeated keys": "a: '${file:big}'\n" * 500,
        "nested": "a: '${A${A${A}}}'\n",
        "recursive": "a: ['${B}', '${C}']\n",
        "without end": "a: '" + "${" * 30_000 + "'\n",
    }
    for name, content in many.items():
        path.write_text(content)
        with bounded(memory=reliability.thorough or name in ("in one value", "in many values")):
            problems = refused(path, B="${C}", C="${B}", A="1")
        assert bool(problems) == (name != "recursive"), name
        assert "sss" not in str(problems)
    assert read_document(path.with_name("smsd.yaml"), {}).problems
    path.write_text("a: ['${B}', '${C}']\n")
    assert read_document(path, {"B": "${C}", "C": "${B}"}).data == {"a": ["${C}", "${B}"]}, "looked at once"
    reliability.row(
        GROUP,
        "references to large files by the thousand, nested, or naming each other",
        tried=len(many),
        recovered="refused at the 16th in a value and at 1 MiB in a file; what they bring in is not looked at again",
    )


def test_the_limits_leave_room_for_any_honest_configuration(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    codes = "\n".join(f"  - 1.{number:06d}.000.00.00.H32" for number in range(15_000))
    path.write_text(f"name: Sở\nskip_procedures:\n{codes}\n")
    document = read_document(path, {})
    skipped = document.data["skip_procedures"]
    assert isinstance(skipped, list) and len(skipped) == 15_000
    assert document.problems == ()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2 << 20
