"""`smsd demo`: sets the stage, plays with progress shown, ends with what was sent, and why the rest was not."""

from __future__ import annotations

import sqlite3
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from smsd.cli.frame import FAULT, Session
from smsd.core.figures import ALL
from smsd.demo.day import Play
from smsd.demo.lives import working_days
from smsd.demo.stage import DemoClock, Stage, set_up
from smsd.logs import configure_for_daemon
from smsd.wiring import System, open_database, read_installation

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
    system = System(installation, database, clock=clock)
    database.lock()
    try:
        system.take_part()
        play = Play(stage, system, clock, seed)
        _with_progress(session, play)
        return _document(stage, system, play)
    finally:
        system.close()
        database.close()
        for agency in stage.agencies.values():
            agency.close()


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
        "not_sent": _not_sent(stage.folder / "smsd.db"),
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


def _not_sent(store: Path) -> list[dict[str, Any]]:
    """Why messages were made and not sent, and how often, from the store the daemon leaves."""
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        query = (
            "SELECT kind, state, coalesce(reason, ''), count(*) FROM messages "
            "WHERE state NOT IN ('delivered', 'accepted') GROUP BY 1, 2, 3 ORDER BY 4 DESC"
        )
        return [
            {"kind": kind, "state": state, "reason": reason, "messages": count}
            for kind, state, reason, count in connection.execute(query)
        ]
    finally:
        connection.close()


def _show(session: Session, document: dict[str, Any]) -> None:
    kinds = document["kinds"]
    session.print(f"\nSent on {', '.join(document['days'])} (made / delivered of each notice)", style="bold")
    header = (
        "agency",
        "#received",
        "#resolved",
        *(f"#{kind}" for kind in kinds),
        "#suppressed",
        "#superseded",
        "#segments",
        "#cost đ",
    )
    rows = [_agency_cells(row, kinds) for row in (*document["agencies"], *document["total"])]
    session.print_table(header, rows)
    session.print("\nMade and not sent, and why", style="bold")
    session.print_table(
        ("notice", "state", "reason", "#messages"),
        [(n["kind"], n["state"], n["reason"], n["messages"]) for n in document["not_sent"]],
    )
    session.print(f"\nLook-ups answered: {document['lookups']}")
    session.print("\nLook at", style="bold")
    files = document["files"]
    for name, path in files.items():
        session.print(f"  {name:<15}{path}")
    session.print(f"\n  smsd --config {files['config']} status")


def _agency_cells(row: dict[str, Any], kinds: list[str]) -> tuple[object, ...]:
    told = [f"{row[f'{kind}_made']} / {row[f'{kind}_delivered']}" for kind in kinds]
    suppressed, superseded = (
        sum(row[f"{kind}_{what}"] for kind in kinds) for what in ("suppressed", "superseded")
    )
    name = "all agencies" if row["agency"] == ALL else row["agency_name"]
    return (
        name,
        row["received"],
        row["resolved"],
        *told,
        suppressed,
        superseded,
        row["segments"],
        row["cost"],
    )
