"""`make check` asks an advisory database about the packages smsd runs with, and works without one."""

from __future__ import annotations

import subprocess
import tomllib

from tests.artefacts.project import ROOT, read
from tests.support.httppeer import HttpPeer, Said, said_json
from tests.support.postgres import free_port

SCRIPT = ROOT / "scripts" / "audit-packages.sh"
PINNED = [line.split("==") for line in read(ROOT / "requirements" / "runtime.lock").splitlines()]


def audited(url: str) -> subprocess.CompletedProcess[str]:
    """The script with the real tool, and a database of the test's own."""
    command = [str(SCRIPT), "--vulnerability-service", "osv", "--osv-url", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def an_advisory(package: str, mended: str) -> dict[str, object]:
    events = [{"introduced": "0"}, {"fixed": mended}]
    affected = {
        "package": {"ecosystem": "PyPI", "name": package},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"id": "PYSEC-2026-1", "summary": "It is weak.", "affected": [affected]}


def test_every_package_is_asked_about_in_its_version_and_nothing_is_said_where_none_is_weak() -> None:
    with HttpPeer() as database:
        database.answers(said_json({}))
        done = audited(database.url("/v1/query"))
        asked = [[heard.json["package"]["name"], heard.json["version"]] for heard in database.requests]
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(asked) == sorted(PINNED)


def test_a_known_weakness_fails_and_is_named_with_the_version_that_mends_it() -> None:
    with HttpPeer() as database:
        database.answers(said_json({"vulns": [an_advisory(PINNED[0][0], "99.1")]}), said_json({}))
        done = audited(database.url("/v1/query"))
    assert done.returncode == 1
    assert f"{PINNED[0][0]} {PINNED[0][1]}: PYSEC-2026-1, mended in 99.1" in done.stderr


def test_without_a_network_it_is_told_that_nothing_was_audited_and_passes() -> None:
    done = audited(f"http://127.0.0.1:{free_port()}/v1/query")
    assert (done.returncode, done.stderr) == (0, "")
    assert "not audited: no network" in done.stdout
    with HttpPeer() as database:
        database.answers(Said(503))
        done = audited(database.url("/v1/query"))
    assert (done.returncode, "not audited" in done.stdout) == (0, True)


def test_bandit_passes_over_nothing_but_single_lines() -> None:
    assert tomllib.loads(read(ROOT / "pyproject.toml"))["tool"]["bandit"] == {}
    for path in (ROOT / "smsd").rglob("*.py"):
        for line in read(path).splitlines():
            if "# nosec" in line:
                test, _, reason = line.partition("# nosec ")[2].partition(" # ")
                assert test.startswith("B") and reason, f"{path.name}: say which test and why: {line.strip()}"
