"""Writes requirements/*.lock: the exact versions, installed in this environment, of all that setup.cfg asks for.

runtime.lock is what smsd needs, dev.lock what the tests need beside it, build.lock what builds the package.
"""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def closure(requirements: Iterable[str]) -> dict[str, str]:
    """The installed version of each requirement and of everything those require, by name."""
    versions: dict[str, str] = {}
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in versions:
            continue
        installed = distribution(name)
        if not requirement.specifier.contains(installed.version):
            raise SystemExit(f"{name} {installed.version} is installed, setup.cfg asks for {requirement}")
        versions[name] = installed.version
        for line in installed.requires or ():
            needed = Requirement(line)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return versions


def declared() -> dict[str, list[str]]:
    """What setup.cfg and pyproject.toml ask for, by the name of the lock file."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {
        "build": project["build-system"]["requires"],
        "runtime": setup["options"]["install_requires"].split("\n")[1:],
        "dev": setup["options.extras_require"]["dev"].split("\n")[1:],
    }


def main() -> None:
    """Write the files."""
    locked = {name: closure(requirements) for name, requirements in declared().items()}
    for shared in locked["runtime"].keys() & locked["dev"].keys():
        del locked["dev"][shared]
    for name, versions in locked.items():
        lines = "".join(f"{package}=={version}\n" for package, version in sorted(versions.items()))
        (ROOT / "requirements" / f"{name}.lock").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
