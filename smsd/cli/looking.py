"""Commands that only look: status, trace, lookup."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from smsd.cli.frame import FAULT, Session, command
from smsd.cli.tracing import show_trace, trace_document
from smsd.cli.waiting import Surroundings, in_words, waiting
from smsd.core.model import Mode
from smsd.daemon_fact import DAEMON_FACT, SIGN_OF_LIFE

SIGNS_MISSED = 6
"""So many signs of life missed in a row mean that the daemon hangs."""


_LONG = timedelta(minutes=15)
_MANY_READS = 10
"""An agency not read for so many intervals, and for so long, is overdue: the daemon stands still or is not running."""


@command("status")
def status(session: Session) -> int:
    """Agencies, queue, alarms, and whether the daemon runs.

    Each agency's last good read with its rows and lag, what is wrong with it, what waits to be sent, and why.
    """
    document = _status_document(session)
    if session.as_json:
        session.print_json(document)
    else:
        _show_status(session, document)
    failing = any(agency["error"] or agency["overdue"] for agency in document["agencies"])
    failing = failing or document["daemon"]["stalled"]
    return FAULT if failing or document["alarms"] or document["problems"] else 0


def _status_document(session: Session) -> dict[str, Any]:
    system, installation = session.system, session.installation
    known = {row["id"]: row for row in system.views.agencies()}
    agencies = [_agency_document(session, id_, known.get(id_)) for id_ in installation.agencies]
    kept = [id_ for id_ in installation.problems if id_ in known and id_ not in installation.agencies]
    agencies += [_agency_document(session, id_, known[id_]) for id_ in kept]
    queue: dict[str, int] = {}
    for row in known.values():
        for state, count in row["queue"].items():
            queue[state] = queue.get(state, 0) + count
    daemon, alarms = _daemon_document(session), system.journal.standing_alarms()
    return {
        "daemon": daemon,
        "gateway": ", ".join(one.name for one in system.settings.gateway),
        "queue": queue,
        "waiting": _waiting_document(session, known, daemon, [alarm.key for alarm in alarms]),
        "agencies": agencies,
        "alarms": [
            {"key": a.key, "severity": a.severity, "message": a.message, "hint": a.hint, "since": a.at}
            for a in alarms
        ],
        "problems": {id_: [str(p) for p in error.problems] for id_, error in installation.problems.items()},
    }


def _daemon_document(session: Session) -> dict[str, Any]:
    fact = session.system.journal.facts([DAEMON_FACT]).get(DAEMON_FACT)
    told = json.loads(fact) if fact else {}
    running = session.database.in_use()
    turned = datetime.fromisoformat(told["at"]) if told else None
    silent = turned is not None and session.now() - turned > timedelta(seconds=SIGNS_MISSED * SIGN_OF_LIFE)
    return {
        "running": running,
        "stalled": running and silent,
        "pid": told.get("pid") if running else None,
        "version": told.get("version"),
        "last_sign_of_life": turned,
        "sign_of_life_every_seconds": SIGN_OF_LIFE,
    }


def _waiting_document(
    session: Session, known: dict[str, dict[str, Any]], daemon: dict[str, Any], alarms: Sequence[str]
) -> dict[str, Any]:
    """What is on its way, by what it waits for."""
    settings, now = session.system.settings, session.now()
    around = Surroundings(
        now=now,
        zone=settings.zone,
        opens=settings.messages.sending_hours.opens,
        closes=settings.messages.sending_hours.closes,
        daemon_works=daemon["running"] and not daemon["stalled"],
        alarms=alarms,
        rates={one.name: one.rate for one in settings.gateway},
    )
    found = waiting(session.system.views.queued(now), known, around)
    return {
        "messages": sum(one.messages for one in found),
        "why": [
            {"reason": one.why, "messages": one.messages, "until": one.until, "agencies": one.agencies}
            for one in found
        ],
        "in_words": in_words(found, around),
    }


def _agency_document(session: Session, id_: str, row: dict[str, Any] | None) -> dict[str, Any]:
    configured = session.installation.agencies.get(id_)
    row = row or {}
    mode = configured.mode if configured is not None else Mode(row["mode"])
    off = mode is Mode.OFF
    good = row.get("last_good_at")
    interval = row.get("interval", timedelta(0))
    return {
        "id": id_,
        "name": configured.name if configured is not None else id_,
        "mode": mode,
        "mode_in_force": row.get("mode"),
        "overdue": bool(good and not off and session.now() - good > max(_LONG, _MANY_READS * interval)),
        "baseline_at": row.get("baseline_at"),
        "last_good_at": good,
        "lag_seconds": max(0.0, (session.now() - good).total_seconds()) if good and not off else None,
        "rows": row.get("last_rows"),
        "bad_rows": row.get("bad_rows", 0),
        "dossiers": row.get("dossiers", 0),
        "read_seconds": row.get("read_time"),
        "read_kind": row.get("read_kind"),
        "found_by_sweep": row.get("found_by_sweep", 0),
        "error": None if off else row.get("error"),
        "error_code": None if off else row.get("error_code"),
        "error_since": None if off else row.get("error_since"),
        "failures": row.get("failures", 0),
        "next_attempt_at": None if off else row.get("next_attempt_at"),
        "queue": row.get("queue", {}),
    }


def _show_status(session: Session, document: dict[str, Any]) -> None:
    session.print(f"daemon   {_daemon_in_words(session, document['daemon'])}")
    session.print(f"gateway  {document['gateway']}: {_queue_in_words(document['queue']) or 'nothing waits'}")
    if document["waiting"]["messages"]:
        session.print(f"waiting  {document['waiting']['in_words']}")
    session.print()
    session.print_table(
        ("agency", "mode", "last good read", "#lag", "#rows", "#read", "#bad", "state", "queue"),
        [
            _agency_cells(session, agency, wrong_file=agency["id"] in document["problems"])
            for agency in document["agencies"]
        ],
    )
    for agency in document["agencies"]:
        if agency["error"]:
            since = f"since {session.local(agency['error_since'])}, {agency['failures']} in a row"
            session.print(f"\n{agency['id']} cannot be read ({since}):", style="red")
            session.print(f"  {agency['error']}")
            session.print(f"  tried again at {session.local(agency['next_attempt_at'])}")
    for id_, problems in document["problems"].items():
        session.print(f"\n{id_}: its file is wrong:", style="red")
        for problem in problems:
            session.print(f"  {problem}")
    for alarm in document["alarms"]:
        session.print(f"\nALARM since {session.local(alarm['since'])}: {alarm['message']}", style="red")
        if alarm["hint"]:
            session.print(f"  {alarm['hint']}")


def _daemon_in_words(session: Session, daemon: dict[str, Any]) -> str:
    if daemon["stalled"]:
        seen = session.local(daemon["last_sign_of_life"])
        return (
            f"hangs, or cannot write the state store: no sign of life since {seen} (pid {daemon['pid']}); "
            "see journalctl -u smsd, then systemctl restart smsd"
        )
    if daemon["running"]:
        return f"running (pid {daemon['pid']}), smsd {daemon['version']}"
    if daemon["last_sign_of_life"] is None:
        return "not running; start it: systemctl start smsd"
    seen = session.local(daemon["last_sign_of_life"])
    return f"not running; the last sign of life was at {seen}; start it: systemctl start smsd"


def _queue_in_words(queue: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(queue.items()))


def _agency_cells(session: Session, agency: dict[str, Any], *, wrong_file: bool) -> tuple[object, ...]:
    lag = agency["lag_seconds"]
    return (
        agency["id"],
        _mode_in_words(agency),
        session.local(agency["last_good_at"]),
        "–" if lag is None else str(timedelta(seconds=int(lag))),
        agency["rows"] if agency["rows"] is not None else "–",
        _read_in_words(agency),
        agency["bad_rows"] or "",
        "wrong file" if wrong_file else _state_in_words(agency),
        _queue_in_words(agency["queue"]),
    )


def _read_in_words(agency: dict[str, Any]) -> str:
    """How long the last good read took, and how it found what changed."""
    if agency["read_seconds"] is None:
        return "–"
    found = f", {agency['found_by_sweep']} found late" if agency["found_by_sweep"] else ""
    return f"{agency['read_seconds'].total_seconds():.1f} s {agency['read_kind'] or ''}{found}".rstrip()


def _mode_in_words(agency: dict[str, Any]) -> str:
    """The mode of the file; beside it the one the daemon goes by, while they differ."""
    in_force = agency["mode_in_force"]
    if in_force is None or in_force == agency["mode"]:
        return str(agency["mode"])
    return f"{in_force} (file: {agency['mode']})"


def _state_in_words(agency: dict[str, Any]) -> str:
    if agency["mode"] is Mode.OFF:
        return ""
    if agency["error"]:
        return "faulty"
    if agency["overdue"]:
        return "overdue"
    return "good" if agency["last_good_at"] else "not read yet"


@command("trace")
@click.argument("dossier_code", metavar="DOSSIER_CODE")
def trace(session: Session, dossier_code: str) -> int:
    """All that was seen, decided and sent for one dossier.

    Why a message was made, or why not, and what became of it. The number is masked.
    """
    found = session.system.views.trace(dossier_code.strip())
    if not found:
        if session.as_json:
            session.print_json([])
        click.echo(f"smsd: no agency's view has had a dossier {dossier_code!r} since its baseline", err=True)
        click.echo(
            "  check the code; an agency that is off is not read; see what is read with: smsd status",
            err=True,
        )
        return FAULT
    documents = [trace_document(session, one) for one in found]
    if session.as_json:
        session.print_json(documents)
    else:
        for document in documents:
            show_trace(session, document)
    return 0


@command("lookup")
@click.argument("text", metavar='"MCKH CODE"')
def lookup(session: Session, text: str) -> int:
    """What a citizen who sends this to 9029 is answered.

    Nothing is recorded or counted.
    """
    answer = session.system.lookups.look_up(text)
    if session.as_json:
        session.print_json(
            {
                "outcome": answer.outcome,
                "text": answer.text,
                "agency": answer.agency,
                "dossier_code": answer.dossier_code,
            }
        )
    else:
        session.print(answer.text)
    return 0
