"""One server for all tests of the service: installed by the installer, started once as it was, then configured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.postgres import wait_until
from tests.system.unit.machine import made_tree
from tests.system.unit.server import AGENCY, CONFIG, Server

OWNED = (
    CONFIG,
    "/etc/smsd",
    "/etc/smsd/agencies",
    "/etc/smsd/agencies/nha-trang.yaml",
    "/etc/smsd/credentials",
    "/etc/smsd/credentials/inbound",
)


@dataclass(frozen=True)
class Installed:
    """What the installer left behind before anybody changed anything."""

    server: Server
    said: str
    owners: dict[str, str]
    checked: int
    started: int
    status: str


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The server, and what was found on it when it was new."""
    with Server(made_tree(), tmp_path_factory.mktemp("server") / "console") as server:
        said = server.install().stdout
        owners = {path: server.mode(path) for path in OWNED}
        checked = server.smsd("check").returncode
        started = server.systemctl("start", check=False).returncode
        status = server.shown("StatusText")
        server.configure()
        server.systemctl("restart")
        wait_until(lambda: server.status_of(AGENCY)["baseline_at"], 30, 0.2)
        yield Installed(server, said, owners, checked, started, status)


@pytest.fixture
def server(installed: Installed) -> Server:
    """The server with smsd running; the agency's baseline was recorded."""
    installed.server.make_ready()
    return installed.server
