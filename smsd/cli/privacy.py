"""Commands for a citizen's request about their own number: what is kept of it, and its erasure.

`show` is the one command that is about a full number: the one that was typed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import click

from smsd.cli.frame import FAULT, Session, command, os_user, smsd
from smsd.services.privacy import Erasure, Found, KeptDossier, KeptMessage, Subject

_STDIN = "-"
_CONSENT = "yes"
_ELSEWHERE = (
    "Not looked at: the agencies' own databases, the gateway and the networks, copies made by smsd backup, "
    "and look-ups from before inbound.secret was last changed."
)

privacy = smsd.group("privacy", help="Show or erase what is kept of one number.")(lambda: None)
_phone = click.argument("phone", nargs=-1, required=True, metavar="PHONE")


@command("show", group=privacy)
@_phone
def show(session: Session, phone: tuple[str, ...]) -> int:
    """Show what is kept of PHONE.

    Dossiers, messages, look-ups, spooled lines. PHONE in any form: 0905…, +84905…, with spaces. “-” reads it from
    standard input, so that no history or log keeps it.
    """
    subject = _subject(session, phone)
    kept = session.system.privacy.show(subject)
    if session.as_json:
        session.print_json(
            {
                "number": subject.number,
                "dossiers": [_document(one, without=("phone",)) for one in kept.found.dossiers],
                "messages": [_document(one) for one in kept.found.messages],
                "lookups": [_document(one, without=("id",)) for one in kept.found.inquiries],
                "spooled": [asdict(one) for one in kept.spooled],
            }
        )
        return 0
    _show_found(session, kept.found)
    for one in kept.spooled:
        session.print(f"{one.file}: {one.lines} lines")
    if not (kept.spooled or any((kept.found.dossiers, kept.found.messages, kept.found.inquiries))):
        session.print("Nothing is kept of this number.")
    session.print(_ELSEWHERE)
    return 0


@command("erase", group=privacy)
@_phone
@click.option("--yes", is_flag=True, help="Do not ask; for scripts.")
def erase(session: Session, phone: tuple[str, ...], yes: bool) -> int:
    """Erase what is kept of PHONE.

    Number and text of messages that ended, the number of dossiers that are closed or gone, look-ups, spooled lines:
    recorded with your name. What counts messages stays, masked. Messages on their way and open dossiers stay. Says
    how many there are and asks first.
    """
    subject = _subject(session, phone)
    if not yes and (sys.stdin is None or not sys.stdin.isatty()):
        raise click.UsageError(
            "nothing was erased: there is no terminal to ask on; look with smsd privacy show, then give --yes"
        )
    if not yes and not _confirmed(subject, session.system.privacy.foresee(subject)):
        click.echo("smsd: nothing was erased", err=True)
        return FAULT
    erased = session.system.privacy.erase(subject, os_user())
    if session.as_json:
        session.print_json(
            {
                "phone": subject.masked,
                "erased": {
                    "messages": erased.messages,
                    "dossiers": erased.dossiers,
                    "lookups": erased.inquiries,
                    "spooled": erased.lines,
                },
                "on_their_way": [_document(one, without=("text",)) for one in erased.on_their_way],
                "still_needed": [_document(one, without=("phone", "needed")) for one in erased.needed],
            }
        )
    else:
        _show_erased(session, subject, erased)
    return 0


def _subject(session: Session, phone: Sequence[str]) -> Subject:
    """The number that was typed. Raises `UsageError`, which does not repeat it."""
    typed = sys.stdin.readline() if tuple(phone) == (_STDIN,) else " ".join(phone)
    try:
        return session.system.privacy.subject(typed)
    except ValueError as error:
        raise click.UsageError(f"PHONE {error} (for example 0905123456 or +84905123456)") from None


def _confirmed(subject: Subject, coming: Erasure) -> bool:
    """Whether whoever sits at the terminal wants it, being told what it comes to. Not on standard output."""
    click.echo(f"To be erased of {subject.masked}, for good: {_counted(coming)}.", err=True)
    if coming.on_their_way or coming.needed:
        left = f"{len(coming.on_their_way)} messages on their way, {len(coming.needed)} open dossiers"
        click.echo(f"Not touched: {left}.", err=True)
    click.echo(f"Type {_CONSENT} to erase: ", nl=False, err=True)
    return sys.stdin.readline().strip().lower() == _CONSENT


def _counted(erasure: Erasure) -> str:
    return (
        f"{erasure.messages} messages, the number of {erasure.dossiers} dossiers, "
        f"{erasure.inquiries} look-ups, {erasure.lines} spooled lines"
    )


def _document(kept: Any, without: Sequence[str] = ()) -> dict[str, Any]:
    return {key: value for key, value in asdict(kept).items() if key not in without}


def _show_found(session: Session, found: Found) -> None:
    _show_table(
        session,
        "Dossiers",
        ("agency", "dossier", "step", "received", "due", ""),
        [
            (d.agency, d.code, d.step, session.local(d.received_at), session.local(d.due_at), _standing(d))
            for d in found.dossiers
        ],
    )
    _show_table(
        session,
        "Messages",
        ("made", "agency", "dossier", "notice", "state", "text"),
        [
            (session.local(m.made_at), m.agency, m.dossier_code, m.kind, m.reason or m.state, m.text)
            for m in found.messages
        ],
    )
    _show_table(
        session,
        "Look-ups",
        ("at", "outcome", "agency", "dossier", "answer"),
        [(session.local(i.at), i.outcome, i.agency, i.dossier_code, i.answer) for i in found.inquiries],
    )


def _show_table(
    session: Session, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    if rows:
        session.print_table(columns, rows, title=title)
        session.print()


def _standing(dossier: KeptDossier) -> str:
    return "left the view" if dossier.gone_at is not None else dossier.position


def _show_erased(session: Session, subject: Subject, erased: Erasure) -> None:
    session.print(
        f"Erased of {subject.masked}: {_counted(erased)}. The masked records that are counted stay."
    )
    for line in _left(session, erased):
        session.print(line)
    session.print(
        "An agency's own record is the agency's: a closed dossier that changes there is read again with its number. "
        "Ask the agency to remove it there."
    )
    session.print(_ELSEWHERE)


def _left(session: Session, erased: Erasure) -> Iterator[str]:
    if erased.on_their_way:
        yield "Not touched, messages on their way (nobody can stop one by hand; erase again when they have ended):"
        yield from (f"  {_message_line(session, message)}" for message in erased.on_their_way)
    if erased.needed:
        yield "Not touched, dossiers that are open (the next read would bring the number back):"
        yield from (f"  {dossier.agency} {dossier.code}: {dossier.step}" for dossier in erased.needed)


def _message_line(session: Session, message: KeptMessage) -> str:
    made = session.local(message.made_at)
    return f"{message.agency} {message.dossier_code}: {message.kind} of {made}, {message.state}"
