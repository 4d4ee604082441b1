"""The daemon, and a working day of the demonstration."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import click

from smsd.adapters.store.engine import Database
from smsd.cli.frame import Session, become_owner_of, command
from smsd.logs import configure_for_daemon, tell_of_broken_threads


@command("run", shows=False)
@click.option(
    "--once", is_flag=True, help="Poll every agency, run owed daily passes, send what is due, and exit."
)
def run(session: Session, once: bool) -> int:
    """Run the daemon (systemd does this)."""
    from smsd.daemon import run_daemon, run_once  # noqa: PLC0415 - the other commands start faster without it

    configure_for_daemon()
    tell_of_broken_threads()
    installation = session.installation  # read before the secrets may be out of reach
    store = Database(installation.settings.store.get_secret_value())
    if store.path is not None:
        become_owner_of(store.path)
    status = run_once(installation) if once else run_daemon(installation, os.environ)
    _leave(status)
    return status


def _leave(status: int) -> None:
    """End at once if a database driver hangs in a thread the interpreter would wait for; all is written by now."""
    waiting = [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
    sys.stdout.flush()
    sys.stderr.flush()
    if waiting:
        os._exit(status)


@command("demo")
@click.option("--days", type=click.IntRange(1, 30), default=1, show_default=True, help="Working days.")
@click.option(
    "--dossiers", type=click.IntRange(100, 200_000), default=3000, show_default=True, help="Dossiers in all."
)
@click.option("--seed", type=int, default=1263, show_default=True, help="The same seed gives the same day.")
@click.option(
    "--keep", type=click.Path(path_type=Path), metavar="DIR", help="Keep everything in this new folder."
)
def demo(session: Session, days: int, dossiers: int, seed: int, keep: Path | None) -> int:
    """A working day of the 13 agencies, at high speed.

    On embedded databases made for it; messages go into files.
    """
    from smsd.demo.show import show_demo  # noqa: PLC0415 - the other commands start faster without it

    return show_demo(session, days=days, dossiers=dossiers, seed=seed, keep=keep)
