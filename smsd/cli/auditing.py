"""Commands that look whether the audit is as smsd wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

import click
from rich.progress import Progress

from smsd.adapters.store.audit import AuditStore, PlacedFault, SoughtHead, Verified
from smsd.cli.frame import FAULT, Session, become_owner_of, command, smsd
from smsd.core.chain import head_digits, printed_head

audit = smsd.group("audit", help="Look whether the audit was touched.")(lambda: None)
_SHOWN = 20


def _heads(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> list[SoughtHead]:
    """Heads copied from reports."""
    try:
        return [SoughtHead(head_digits(one)) for one in given]
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _days(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> list[SoughtHead]:
    """Days with their heads, as in ``2026-08-03=8f3a…``."""
    found = []
    for one in given:
        day, _, digits = one.partition("=")
        try:
            found.append(SoughtHead(head_digits(digits), date.fromisoformat(day)))
        except ValueError as error:
            raise click.BadParameter(f"{one}: {error}; a day and its head: 2026-08-03=8f3a…") from error
    return found


@command("verify", group=audit)
@click.option(
    "--head", "heads", callback=_heads, multiple=True, metavar="HASH", help="A head printed in a report."
)
@click.option(
    "--day",
    "days",
    callback=_days,
    multiple=True,
    metavar="DAY=HASH",
    help="The head printed in a day's final report.",
)
def verify(session: Session, heads: Sequence[SoughtHead], days: Sequence[SoughtHead]) -> int:
    """Look at every event and message: was any changed, removed, inserted or moved?

    The first that is not as smsd wrote it is named. Heads printed in reports show whether all of the audit was
    written anew since.
    """
    database = session.untouched_database
    if database.path is not None:
        become_owner_of(database.path)
    with Progress(console=session.err, transient=True, disable=not session.err.is_terminal) as bar:
        task = bar.add_task("Looking at the audit", total=None)
        found = AuditStore(database).verify(
            [*heads, *days], lambda done, total: bar.update(task, completed=done, total=total)
        )
    if session.as_json:
        session.print_json(_document(found))
    else:
        _show(session, found)
    return 0 if found.whole else FAULT


def _document(found: Verified) -> dict[str, object]:
    return {
        "whole": found.whole,
        "events": found.events,
        "messages": found.messages,
        "removed_by_retention": found.removed,
        "checkpoints": found.checkpoints,
        "head": None if found.head is None else {"event": found.head.id, "hash": found.head.hash.hex()},
        "fault_count": found.fault_count,
        "faults": [asdict(fault) for fault in found.faults],
        "heads": [{**asdict(head), "good": head.good} for head in found.heads],
        "restored_at": found.restored,
    }


def _show(session: Session, found: Verified) -> None:
    looked_at = f"{found.events:,} events of {found.messages:,} messages"
    if found.removed:
        looked_at += f" ({found.removed:,} older events were removed by retention)"
    if found.fault_count:
        session.print(
            f"the audit is not as smsd wrote it: {found.fault_count:,} faults in {looked_at}", style="red"
        )
        for fault in found.faults[:_SHOWN]:
            session.print(f"  {_in_words(session, fault)}")
        if found.fault_count > _SHOWN:
            session.print("  … what comes later may follow from the first")
    else:
        session.print(f"the audit is as smsd wrote it: {looked_at}", style="green")
    if found.head is not None:
        session.print(f"head: {printed_head(found.head.hash)} (event {found.head.id})")
    for head in found.heads:
        session.print(_head_in_words(session, head), style=None if head.good else "red")
    for at in found.restored:
        session.print(
            f"restored from a backup on {session.local(at)}: heads printed between the copy and then are of the "
            "store that was replaced"
        )


def _in_words(session: Session, fault: PlacedFault) -> str:
    named = (
        ("event", fault.event_id),
        ("message", fault.message_id),
        ("dossier", f"{fault.agency} {fault.dossier_code}" if fault.dossier_code else None),
        ("at", session.local(fault.at) if fault.at else None),
    )
    return f"{', '.join(f'{name} {value}' for name, value in named if value is not None)}: {fault.what}"


def _head_in_words(session: Session, head: SoughtHead) -> str:
    whose = f"head of {head.day}" if head.day is not None else f"head {head.digits[:8]}…"
    if head.event_id is None:
        return (
            f"{whose}: not in the chain; what it stood for was written anew, removed, or is of another store"
        )
    where = f"event {head.event_id}, {session.local(head.at)}"
    if head.wrong_day:
        return f"{whose}: in the chain ({where}), but not where that day ended"
    return f"{whose}: in the chain ({where})"
