"""What is installed: lock files, the package's data, the unit file, the installer."""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.artefacts.project import ROOT, project_files, read

UNIT = ROOT / "smsd.service"
INSTALLER = ROOT / "packaging" / "install.sh"


def run(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def locker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock_packages", ROOT / "scripts" / "lock_packages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def locked(name: str) -> dict[str, str]:
    pins = (line.split("==") for line in read(ROOT / "requirements" / f"{name}.lock").splitlines())
    return dict(pins)  # type: ignore[arg-type]


# lock files


def test_lock_files_hold_names_and_versions_alone() -> None:
    for path in sorted((ROOT / "requirements").iterdir()):
        for line in read(path).splitlines():
            assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9a-z.]*", line), f"{path.name}: {line}"


def test_lock_files_satisfy_everything_that_is_declared() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    build = tomllib.loads(read(ROOT / "pyproject.toml"))["build-system"]["requires"]
    everything = locked("runtime") | locked("dev")
    for pins, lines in (
        (locked("build"), build),
        (locked("runtime"), setup["options"]["install_requires"].split("\n")[1:]),
        (everything, setup["options.extras_require"]["dev"].split("\n")[1:]),
    ):
        for line in lines:
            requirement = Requirement(line)
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), line


def test_lock_files_name_all_that_the_packages_themselves_need_and_nothing_else() -> None:
    module = locker()
    for name, requirements in module.declared().items():
        needed = set(module.closure(requirements))
        assert needed - set(locked("runtime")) == set(locked(name)) - set(locked("runtime")), (
            f"{name}: run make lock"
        )
    assert not set(locked("runtime")) & set(locked("dev"))


# the package


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The package as it is installed on a server, built from a copy."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(ROOT / "smsd", source / "smsd", ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps",
        "--no-index", "--no-build-isolation", "--wheel-dir", str(folder), str(source))  # fmt: skip
    (built,) = folder.glob("smsd-*.whl")
    return zipfile.ZipFile(built)


def test_the_package_holds_every_file_beneath_smsd(wheel: zipfile.ZipFile) -> None:
    installed = set(wheel.namelist())
    for folder, _, names in os.walk(ROOT / "smsd", followlinks=True):
        for name in names:
            path = (Path(folder) / name).relative_to(ROOT)
            if "__pycache__" not in path.parts:
                assert path.as_posix() in installed, f"name {path} under [options.package_data] in setup.cfg"


def test_the_package_brings_the_command(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "smsd = smsd.cli:main" in wheel.read(entry_points).decode()


# the unit file


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists on this machine."""
    path = tmp_path / "smsd.service"
    text = read(UNIT).replace("ExecStart=/opt/smsd/bin/smsd", "ExecStart=/bin/true")
    path.write_text(text, encoding="utf-8")
    return path


def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    assert run("systemd-analyze", "verify", "--man=no", str(unit)) == ""


def test_the_unit_leaves_little_exposed(unit: Path) -> None:
    said = run("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", str(unit))
    assert "Overall exposure level" in said


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
        "RestartPreventExitStatus=2",
        "TimeoutStopSec=15",
        "StateDirectory=smsd",
        "ConfigurationDirectory=smsd",
        "UMask=0077",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
    ],
)
def test_the_unit_keeps_what_the_contract_promises(line: str) -> None:
    assert line in read(UNIT).splitlines()


def test_only_a_wrong_configuration_ends_the_tries_for_good() -> None:
    """Exit status 1 is a store that is away, taken, full or damaged: it may be well at the next try."""
    lines = read(UNIT).splitlines()
    assert [line for line in lines if line.startswith("RestartPreventExitStatus=")] == [
        "RestartPreventExitStatus=2"
    ]
    assert [line for line in lines if line.startswith("StartLimit")] == ["StartLimitIntervalSec=0"]
    assert not [line for line in lines if line.startswith(("RestartForceExitStatus=", "SuccessExitStatus="))]
    (pause,) = re.findall(r"^RestartSec=(\d+)$", read(UNIT), re.MULTILINE)
    assert int(pause) >= 5, "a start looks through the whole store: refused ones must not keep the disk busy"


def test_the_unit_has_a_watchdog() -> None:
    (seconds,) = re.findall(r"^WatchdogSec=(\d+)$", read(UNIT), re.MULTILINE)
    assert int(seconds) > 60, "the loop may take a minute before it counts as stalled"


# scripts


def test_scripts_are_executable_and_free_of_syntax_errors() -> None:
    scripts = [path for path in project_files() if read_first_line(path).startswith(b"#!")]
    assert {path.name for path in scripts} >= {"run", "install.sh", "credentials.sh", "system-packages.sh"}
    for path in scripts:
        assert os.access(path, os.X_OK), path
        shell = read_first_line(path).decode().rsplit("/", 1)[-1].removeprefix("env ").strip()
        assert shell in {"sh", "bash"}
        run(shell, "-n", str(path))


def read_first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline(100)


def test_what_the_installer_copies_is_there() -> None:
    for name in re.findall(r'"\$source/([\w./-]+)"', read(INSTALLER)):
        assert (ROOT / name).exists(), name


def test_installer_and_unit_agree_on_the_places() -> None:
    installer, unit = read(INSTALLER), read(UNIT)
    assert "prefix=/opt/smsd" in installer and "ExecStart=/opt/smsd/bin/smsd run" in unit
    assert "config=/etc/smsd" in installer and "SMSD_CONFIG=/etc/smsd/smsd.yaml" in unit
    assert "useradd" in installer and "User=smsd" in unit
    assert "exec /opt/smsd/bin/smsd" in read(ROOT / "packaging" / "smsd")


def test_the_build_server_runs_make_test() -> None:
    assert "make --no-print-directory test" in read(ROOT / ".ci" / "run")
