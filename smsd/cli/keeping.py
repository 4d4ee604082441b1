"""Commands that look after files: a starting configuration, backup, retention."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from smsd.cli.frame import FAULT, Session, command
from smsd.config.load import read_settings
from smsd.core.clock import SystemClock

SHIPPED = Path(__file__).parent.parent / "shipped" / "config"


@command("init", shows=False)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
def init(session: Session, directory: Path) -> int:
    """Write a starting configuration into DIR.

    smsd.yaml and a file for each of the 13 pilot agencies, all off. Nothing is overwritten.
    """
    target = directory / "smsd.yaml"
    if target.exists() or (directory / "agencies").exists():
        click.echo(f"smsd: {directory} has a configuration already; nothing was changed", err=True)
        return FAULT
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    shutil.copytree(SHIPPED / "agencies", directory / "agencies")
    shutil.copy(SHIPPED / "smsd.yaml", target)  # with its mode, whatever the umask is
    read_settings(target, {})
    session.print(
        f"Wrote {target} and {len(list((directory / 'agencies').glob('*.yaml')))} agencies (all mode: off)."
    )
    session.print("Next: edit gateway in smsd.yaml, one agency's file (mode: shadow), then: smsd check")
    return 0


@command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
def backup(session: Session, file: Path) -> int:
    """Copy the state store into FILE, also while it is in use.

    A daemon started on the copy first records how all agencies are, and sends nothing old.
    """
    session.untouched_database.backup(file, SystemClock().now())
    if session.as_json:
        session.print_json({"file": str(file), "bytes": file.stat().st_size})
    else:
        session.print(f"Wrote {file} ({file.stat().st_size:,} bytes).")
    return 0


@command("purge")
def purge(session: Session) -> int:
    """Remove what is older than `retention` allows.

    Phone numbers and texts are blanked, later whole rows go. The daemon does so every day by itself.
    """
    purged = session.system.upkeep.purge()
    if session.as_json:
        session.print_json({"blanked": purged.blanked, "forgotten": purged.forgotten, "files": purged.files})
    else:
        session.print(
            f"Blanked {purged.blanked} rows, removed {purged.forgotten} rows and {purged.files} spool files."
        )
    return 0
