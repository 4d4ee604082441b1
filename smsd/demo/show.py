"""`smsd demo`: sets the stage, plays with progress shown, ends with what was sent, and why the rest was not."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from smsd.cli.frame import FAULT, Session
from smsd.config.gateways import SpoolSettings
from smsd.config.settings import Settings
from smsd.core.figures import ALL
from smsd.demo.day import Play
from smsd.demo.lives import working_days
from smsd.demo.network import DemoNetwork
from smsd.demo.stage import DemoClock, Stage, set_up
from smsd.installation import read_installation
from smsd.logs import configure_for_daemon
from smsd.wiring import System, open_database

FIRST_DAY = date(2026, 8, 3)
"""A Monday."""


def show_demo(session: Session, *, days: int, dossiers: int, seed: int, keep: Path | None) -> int:
    """Play and show. Returns the exit status."""
    if keep is not None and keep.exists() and any(keep.iterdir()):
        click.echo(f"smsd: {keep} is not empty; name a new folder", err=True)
        return FAULT
    folder = keep if keep is not None else Path(tempfile.mkdtemp(prefix="smsd-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    stage = set_up(folder.resolve(), list(working_days(FIRST_DAY, days)), dossiers, seed)
    with (stage.folder / "smsd.log").open("w", encoding="utf-8") as log:
        configure_for_daemon(log)
        document = _play(session, stage, seed)
    if session.as_json:
        session.print_json(document)
    else:
        _show(session, document)
    return 0


def _play(session: Session, stage: Stage, seed: int) -> dict[str, Any]:
    installation = read_installation(stage.config, {})
    database = open_database(installation.settings)
    clock = DemoClock(stage.begins)
    network = _network(installation.settings)
    system = System(installation, database, clock=clock, gateway=network)
    database.lock()
    try:
        system.take_part()
        play = Play(stage, system, network, clock, seed)
        _with_progress(session, play)
        return _document(stage, system, play)
    finally:
        system.close()
        database.close()
        for agency in stage.agencies.values():
            agency.close()


def _network(settings: Settings) -> DemoNetwork:
    if not isinstance(settings.gateway[0], SpoolSettings):
        raise TypeError("the demonstration's gateway is a spool")
    messages = settings.messages
    return DemoNetwork(
        settings.gateway[0].directory,
        sender=messages.sender,
        zone=settings.zone,
        number_format=messages.number_format,
    )


def _with_progress(session: Session, play: Play) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=session.err, disable=not session.err.is_terminal) as progress:
        instants = play.instants()
        task = progress.add_task("…", total=len(instants))
        for number, at in enumerate(instants):
            play.turn(at)
            progress.update(task, advance=1, description=f"{at:%a %d/%m %H:%M}")
            if not session.err.is_terminal and number % 60 == 0:
                click.echo(f"  {at:%a %d/%m %H:%M} …", err=True)


def _document(stage: Stage, system: System, play: Play) -> dict[str, Any]:
    agencies = system.installation.report_agencies
    rows = system.reports.rows(stage.days[0], stage.days[-1], agencies=agencies)
    kinds = [key.removesuffix("_made") for key in rows[0] if key.endswith("_made")]
    day = stage.days[-1].isoformat()
    reports = stage.folder / "reports" / day
    return {
        "days": [d.isoformat() for d in stage.days],
        "kinds": kinds,
        "agencies": [row for row in rows if row["procedure_code"] == ALL and row["agency"] != ALL],
        "total": [row for row in rows if row["agency"] == ALL],
        "not_delivered": _not_delivered(stage.folder / "smsd.db"),
        "exceptions": _listed(system, stage),
        "lookups": play.lookups,
        "files": {
            "spool": str(stage.folder / "spool" / f"{day}.jsonl"),
            "reconciliation": str(reports / "reconciliation.csv"),
            "exceptions": str(reports / "exceptions.csv"),
            "page": str(reports / "report.html"),
            "config": str(stage.config),
            "log": str(stage.folder / "smsd.log"),
        },
    }


def _not_delivered(store: Path) -> list[dict[str, Any]]:
    """Why messages were made and not delivered, and how often, from the store the daemon leaves."""
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        query = (
            "SELECT kind, state, coalesce(reason, ''), count(*) FROM messages "
            "WHERE state != 'delivered' GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3"
        )
        return [
            {"kind": kind, "state": state, "reason": reason, "messages": count}
            for kind, state, reason, count in connection.execute(query)
        ]
    finally:
        connection.close()


def _listed(system: System, stage: Stage) -> dict[str, int]:
    """How many dossiers are listed for a person to look at, by reason."""
    rows = system.reports.exception_rows(stage.days[0], stage.days[-1])
    return dict(Counter(str(row["reason"]) for row in rows).most_common())


def _show(session: Session, document: dict[str, Any]) -> None:
    kinds = document["kinds"]
    session.print(f"\nSent on {', '.join(document['days'])} (made / delivered of each notice)", style="bold")
    header = (
        "agency",
        "#received",
        "#resolved",
        *(f"#{kind}" for kind in kinds),
        "#unexplained",
        "#segments",
        "#cost đ",
    )
    rows = [_agency_cells(row, kinds) for row in (*document["agencies"], *document["total"])]
    session.print_table(header, rows)
    session.print("\nMade and not delivered, and why", style="bold")
    session.print_table(
        ("notice", "state", "reason", "#messages"),
        [(n["kind"], n["state"], n["reason"], n["messages"]) for n in document["not_delivered"]],
    )
    listed = ", ".join(f"{count} {reason}" for reason, count in document["exceptions"].items())
    session.print(f"\nListed for a person to look at: {listed}")
    session.print(f"\nLook-ups answered: {document['lookups']}")
    session.print("\nLook at", style="bold")
    files = document["files"]
    for name, path in files.items():
        session.print(f"  {name:<15}{path}")
    session.print(f"\n  {sys.argv[0]} --config {files['config']} status")


def _agency_cells(row: dict[str, Any], kinds: list[str]) -> tuple[object, ...]:
    told = [f"{row[f'{kind}_made']} / {row[f'{kind}_delivered']}" for kind in kinds]
    name = "all agencies" if row["agency"] == ALL else row["agency"]
    return (
        name,
        "–" if row["received"] is None else row["received"],
        "–" if row["resolved"] is None else row["resolved"],
        *told,
        "–" if row["unexplained"] is None else row["unexplained"],
        row["segments"],
        row["cost"],
    )
