"""The commands of smsd. What a command shows goes to standard output, what went wrong to standard error."""

from smsd.cli.frame import smsd as main

from smsd.cli import acting, auditing, checking, keeping, looking, privacy, serving  # isort: skip  # noqa: F401 - they add their commands

__all__ = ["main"]
