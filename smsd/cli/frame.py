"""What every command shares: the options, the files and the store it works on, output, and exit statuses.

Exit status: 0 done; 1 it ran and found or met a fault; 2 wrong usage or configuration.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from smsd import __version__
from smsd.adapters.store.engine import Database
from smsd.core.errors import ConfigError, SmsdError, StoreError, described
from smsd.core.phones import mask_numbers
from smsd.installation import Installation, read_installation
from smsd.logs import configure_for_terminal
from smsd.wiring import System, open_database

DEFAULT_CONFIG = "/etc/smsd/smsd.yaml"
FAULT, WRONG_USAGE = 1, 2
_PIPED_WIDTH = 1000
"""Columns where nobody sees them: what reads a pipe wants whole lines."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass
class Session:
    """One command's surroundings: each part is read or opened when it is first asked for."""

    config: Path
    as_json: bool = False
    out: Console = field(default_factory=lambda: _console(sys.stdout.isatty()))
    err: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))

    @cached_property
    def installation(self) -> Installation:
        """The configuration. Raises `ConfigError`."""
        return read_installation(self.config, os.environ)

    @cached_property
    def database(self) -> Database:
        """The state store, which a command never makes: its owner is whoever runs the daemon. Raises `StoreError`."""
        path = self.untouched_database.path
        if path is not None:
            become_owner_of(path)
        return open_database(self.installation.settings)

    @cached_property
    def untouched_database(self) -> Database:
        """The state store as it is, of whatever version, for reading only. Raises `StoreError` if there is none yet."""
        database = Database(self.installation.settings.store.get_secret_value())
        if database.path is not None and not database.path.exists():
            raise StoreError(
                f"there is no state store {database.path} yet",
                code="no_store",
                hint="start the daemon first: systemctl start smsd",
            )
        return database

    @cached_property
    def system(self) -> System:
        """The services on the store."""
        return System(self.installation, self.database)

    def now(self) -> datetime:
        """The present instant."""
        return self.system.clock.now()

    def local(self, instant: datetime | None) -> str:
        """An instant as operators read it; a dash for none."""
        if instant is None:
            return "–"
        return instant.astimezone(self.installation.settings.zone).strftime("%Y-%m-%d %H:%M:%S")

    def agency(self, agency: str) -> str:
        """An agency named on the command line. Raises its `ConfigError`, or `UsageError` for an unknown one."""
        if agency in self.installation.problems:
            raise self.installation.problems[agency]
        if agency not in self.installation.agencies:
            known = ", ".join(self.installation.agencies) or "none"
            raise click.UsageError(
                f"there is no agency {agency!r} in {self.installation.settings.agencies} (known: {known})"
            )
        return agency

    def print(self, text: str = "", style: str | None = None) -> None:
        """A line for people; nothing of it is taken for markup."""
        self.out.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def print_json(self, value: object) -> None:
        """A document for programs."""
        click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=_plain))

    def print_table(
        self, columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None
    ) -> None:
        """A table for people; cells are shown as they are."""
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in columns:
            right = column.startswith("#")
            table.add_column(column.lstrip("#"), justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        with self.out.capture() as captured:
            self.out.print(table, markup=False, highlight=False)
        for line in captured.get().splitlines():
            click.echo(line.rstrip())

    def close(self) -> None:
        """Let go of what was opened."""
        built = vars(self)
        if "system" in built:
            self.system.close()
        for name in ("database", "untouched_database"):
            if name in built:
                built[name].close()


def _console(terminal: bool) -> Console:
    return Console(highlight=False, width=None if terminal else _PIPED_WIDTH)


def _cell(value: object) -> Any:
    from rich.text import Text  # noqa: PLC0415 - only tables need it

    return Text("" if value is None else str(value))


def _plain(value: object) -> object:
    """What JSON has no form for, as programs read it: instants in ISO 8601, durations in seconds."""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def become_owner_of(path: Path) -> None:
    """As root, become the store's owner (or its folder's), so that no file is left that the daemon cannot write."""
    if os.geteuid() != 0:
        return
    owner = next(place for place in (path, *path.absolute().parents) if place.exists()).stat()
    if owner.st_uid == 0:
        return
    try:
        os.initgroups(pwd.getpwuid(owner.st_uid).pw_name, owner.st_gid)
    except KeyError:  # a number without a name, as in containers
        os.setgroups([owner.st_gid])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def os_user() -> str:
    """Who runs the command, for the record: under sudo also who asked."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    asked = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {asked})" if asked and asked != name else name


class _Group(click.Group):
    """The group of all commands: errors become one line and an exit status, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # nobody reads on, as after `| head`
            ctx.exit(FAULT)
        except Exception as error:
            for line in in_words(error):
                click.echo(mask_numbers(line), err=True)
            ctx.exit(WRONG_USAGE if isinstance(error, ConfigError) else FAULT)


def in_words(error: Exception) -> list[str]:
    """What an error comes to for a person: what is wrong, and on a line of its own how to mend it."""
    if isinstance(error, ConfigError):
        lines = [str(problem) for problem in error.problems]
        missing = [p for p in error.problems if p.key == "file" and not Path(p.path).exists()]
        return lines + (["  write a starting configuration with: smsd init DIR"] if missing else [])
    if isinstance(error, SmsdError):
        return [f"smsd: {error.message}", *([f"  {error.hint}"] if error.hint else [])]
    if isinstance(error, SQLAlchemyError):
        cause = described(error.orig if isinstance(getattr(error, "orig", None), Exception) else error)  # type: ignore[attr-defined]
        hint = "  look at the disk's space and who else uses the file, then try again"
        return [f"smsd: the state store failed: {cause['detail']}", hint]
    if isinstance(error, OSError):
        place = f": {error.filename}" if error.filename else ""
        lines = [f"smsd: {error.strerror or error}{place}"]
        if isinstance(error, PermissionError):
            lines.append("  run it as root (sudo smsd …), or as the user that runs the daemon")
        return lines
    said = described(error)
    return [
        f"smsd: a mistake in smsd itself: {said['error']}: {said['detail']} ({said['where']})",
        "  nothing was left half done; please report it with this line",
    ]


def _set_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(dict)["config"] = value


def _set_json(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(dict)["json"] = True


_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Another smsd.yaml (default: $SMSD_CONFIG, else {DEFAULT_CONFIG}).",
    expose_value=False,
    is_eager=True,
    callback=_set_config,
)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="smsd")
@_config
def smsd() -> None:
    """Texts citizens about their administrative dossiers, from the agencies' read-only views."""
    configure_for_terminal()


def shared_options(function: Callable[..., Any], *, shows: bool) -> Callable[..., Any]:
    """--config, and --json where something is shown."""
    if not shows:
        return _config(function)
    as_json = click.option(
        "--json", is_flag=True, help="Show a JSON document.", expose_value=False, callback=_set_json
    )
    return as_json(_config(function))


def command(
    name: str, *, shows: bool = True, group: click.Group | None = None
) -> Callable[[_Command], click.Command]:
    """A command that gets a `Session`. ``shows``: it takes --json."""

    def decorate(function: _Command) -> click.Command:
        def run(**options: Any) -> None:
            context = click.get_current_context()
            chosen = context.ensure_object(dict)
            config = chosen.get("config") or Path(os.environ.get("SMSD_CONFIG") or DEFAULT_CONFIG)
            session = Session(config, as_json=chosen.get("json", False))
            try:
                status = function(session, **options)
            finally:
                session.close()
            if status:
                context.exit(status)

        run.__doc__ = function.__doc__
        run.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        return (group or smsd).command(name)(shared_options(run, shows=shows))

    return decorate
