"""Commands that read agencies now, write reports, or carry an operator's decision. None sends a text of its own."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from datetime import date
from typing import Any

import click
from rich.progress import track

from smsd.cli.days import FORM, day_from
from smsd.cli.frame import FAULT, Session, command, os_user, shared_options, smsd
from smsd.core.chain import printed_head
from smsd.core.clock import at_time
from smsd.core.errors import AgencyError
from smsd.core.figures import ALL
from smsd.core.model import APOLOGY, Draft, Mode
from smsd.core.phones import mask_phone
from smsd.services.applying import Orders, Overtaken
from smsd.services.daily import ALL_AGENCIES, FINAL_RUN
from smsd.services.deadlines import within
from smsd.services.making import APOLOGY_RUN, LATE_BASELINE, Applied
from smsd.services.ports import RunKey
from smsd.services.reporting import ReportPaths, days_between
from smsd.wiring import today

_TRIES_WHEN_OVERTAKEN = 3


@command("poll")
@click.argument("agency")
@click.option("--dry-run", is_flag=True, help="Show what would be made; change nothing.")
@click.option(
    "--accept", is_flag=True, help="Take the read even if it cannot be true (recorded with your name)."
)
@click.option("--baseline", is_flag=True, help="Record everything, send nothing (recorded with your name).")
def poll(session: Session, agency: str, dry_run: bool, accept: bool, baseline: bool) -> int:
    """Read one agency now, beside the running daemon."""
    if dry_run + accept + baseline > 1:
        raise click.UsageError("--dry-run, --accept and --baseline exclude each other")
    if session.installation.policies[session.agency(agency)].mode is Mode.OFF:
        click.echo(f"smsd: {agency} is off (mode: off in its file) and is not read", err=True)
        return FAULT
    orders = replace(session.system.poller.orders(agency), accept=accept, baseline=baseline)
    if accept or baseline:  # before it is carried out: a decision must not go unrecorded
        action = "accept" if accept else "baseline"
        session.system.journal.record_decision(session.now(), os_user(), action, agency, "ordered")
    applied = read_once(session, agency, orders, dry_run=dry_run)
    if session.as_json:
        session.print_json({"agency": agency, "dry_run": dry_run, **_applied_document(applied)})
    else:
        _show_applied(session, agency, applied, dry_run=dry_run)
    return 0


def read_once(session: Session, agency: str, orders: Orders, *, dry_run: bool) -> Applied:
    """One read within its deadline; again if the daemon's own read was applied first. Raises `AgencyError`."""
    plan = session.installation.plans[agency]
    for _ in range(_TRIES_WHEN_OVERTAKEN):
        reader = plan.open_reader()
        try:
            return within(
                plan.timeout.total_seconds(),
                lambda: session.system.poller.poll(plan, orders, reader, dry_run=dry_run),  # noqa: B023 - used at once
                reader.cancel,
            )
        except Overtaken:
            continue
        finally:
            reader.close()
    raise AgencyError(
        f"{agency} is being read by the daemon", code="read_failed", hint="try again in a moment"
    )


def _applied_document(applied: Applied) -> dict[str, Any]:
    figures = {key: value for key, value in asdict(applied).items() if key != "drafts"}
    return {**figures, "messages": [_draft_document(code, draft) for code, draft in applied.drafts]}


def _draft_document(code: str, draft: Draft) -> dict[str, Any]:
    return {
        "dossier_code": code,
        "kind": draft.kind,
        "state": draft.state,
        "reason": draft.reason,
        "phone": mask_phone(draft.phone or ""),
        "segments": draft.segments,
        "text": draft.text,
    }


def _show_applied(session: Session, agency: str, applied: Applied, *, dry_run: bool) -> None:
    did = "would be" if dry_run else "is"
    if applied.baseline:
        session.print(
            f"{agency}: {applied.rows} rows; a baseline: everything {did} recorded, nothing is sent"
        )
    else:
        session.print(
            f"{agency}: {applied.rows} rows, {applied.changed} changed, {applied.transitions} transitions, "
            f"{applied.made} messages {'would be ' if dry_run else ''}made ({applied.suppressed} suppressed), "
            f"{applied.superseded} superseded, {applied.absent} absent, {applied.bad_rows} bad rows"
        )
    if applied.held:
        session.print(f"{applied.held} messages are more than hold_above at once: held", style="yellow")
    _show_drafts(session, applied.drafts)


def _show_drafts(session: Session, drafts: Sequence[tuple[str, Draft]]) -> None:
    if drafts:
        rows = [
            (code, d.kind, d.reason or d.state, mask_phone(d.phone or ""), d.segments, d.text)
            for code, d in drafts
        ]
        session.print_table(("dossier", "notice", "state", "phone", "#segments", "text"), rows)


@command("apology")
@click.option(
    "--dry-run",
    is_flag=True,
    required=True,
    expose_value=False,
    help="The daemon alone sends apologies; this only shows them.",
)
def apology(session: Session) -> int:
    """The apologies today's pass would make, as things are.

    Every agency is read now; nothing is changed or sent.
    """
    asked = {
        agency: plan
        for agency, plan in session.installation.plans.items()
        if plan.policy.apology and APOLOGY in plan.policy.notices
    }
    found: dict[str, list[tuple[str, Draft]]] = {}
    failed: dict[str, str] = {}
    _ = session.system.poller  # built here, not by several threads at once
    with ThreadPoolExecutor(max_workers=session.installation.settings.polling.workers) as pool:
        reads = pool.map(lambda agency: _apologies_of(session, agency), asked)
        for agency, drafts in track_on(session, list(zip(asked, reads, strict=True)), "Reading agencies"):
            if isinstance(drafts, AgencyError):
                failed[agency] = str(drafts)
            else:
                found[agency] = drafts
    if session.as_json:
        documents = {a: [_draft_document(c, d) for c, d in drafts] for a, drafts in found.items()}
        session.print_json({"agencies": documents, "failed": failed})
    else:
        _show_apologies(session, found, failed)
    return FAULT if failed else 0


def _apologies_of(session: Session, agency: str) -> list[tuple[str, Draft]] | AgencyError:
    orders = replace(session.system.poller.orders(agency), apology_day=today(session.system))
    try:
        drafts = read_once(session, agency, orders, dry_run=True).drafts
    except AgencyError as error:
        return error
    return [(code, draft) for code, draft in drafts if draft.kind == APOLOGY]


def _show_apologies(
    session: Session, found: dict[str, list[tuple[str, Draft]]], failed: dict[str, str]
) -> None:
    for agency, drafts in found.items():
        session.print(f"{agency}: {_count_in_words(session, agency, len(drafts))}", style="bold")
        _show_drafts(session, drafts)
    for agency, reason in failed.items():
        session.print(f"{agency} could not be read: {reason}", style="red")


def _count_in_words(session: Session, agency: str, count: int) -> str:
    """How many, and why there may be none although dossiers are due."""
    record = session.system.snapshots.agency(agency)
    notice = session.installation.policies[agency].notices[APOLOGY]
    day = today(session.system)
    if record is None or record.baseline_at is None:
        return "no pass today: its first read, the baseline, is still to come"
    if notice.at is not None and record.baseline_at >= at_time(
        day, notice.at, session.installation.settings.zone
    ):
        return f"no pass today: {LATE_BASELINE}"
    run = session.system.journal.run(RunKey(APOLOGY_RUN, agency, day))
    if run.over:
        return f"{count} more apologies (today's pass is {run.state}: {run.detail or 'nothing more is made'})"
    return f"{count} apologies"


def track_on(session: Session, items: Sequence[Any], what: str) -> Any:
    """The items, with a progress bar on a terminal."""
    return track(items, what, console=session.err, transient=True, disable=not session.err.is_terminal)


# reports


@command("report")
@click.option("--date", "day", callback=day_from, metavar=FORM, help="One day (default: today).")
@click.option("--from", "first", callback=day_from, metavar=FORM, help="The first day of a range.")
@click.option("--to", "last", callback=day_from, metavar=FORM, help="The last day of a range.")
def report(session: Session, day: date | None, first: date | None, last: date | None) -> int:
    """Write the reports of a day or a range again.

    The agencies are asked once more about days that are not final; the totals are shown.
    """
    days = _days_asked(session, day, first, last)
    failed = _count(session, days)
    agencies = session.installation.report_agencies
    provisional = days[-1] == today(session.system)
    reports = session.system.reports
    paths = reports.write_range(days[0], days[-1], agencies=agencies, provisional=provisional)
    rows = reports.rows(days[0], days[-1], agencies=agencies)
    heads = reports.heads(days[0], days[-1], provisional=provisional)
    if session.as_json:
        session.print_json(
            {
                "reconciliation": rows,
                "exceptions": reports.exception_rows(days[0], days[-1]),
                "lookups": reports.lookup_rows(days[0], days[-1]),
                "audit_heads": [
                    {"date": head.day, "event": head.event_id, "hash": head.hash.hex()} for head in heads
                ],
                "files": {
                    "reconciliation": paths.reconciliation,
                    "exceptions": paths.exceptions,
                    "page": paths.page,
                },
                "not_asked": failed,
            }
        )
    else:
        _show_report(session, rows, paths, failed)
        for head in heads[-1:]:
            session.print(f"audit head of {head.day}: {printed_head(head.hash)}")
    return FAULT if failed else 0


def _days_asked(session: Session, day: date | None, first: date | None, last: date | None) -> list[date]:
    if (day is not None and (first is not None or last is not None)) or (first is None) != (last is None):
        raise click.UsageError("give --date D, or --from D with --to D")
    now = today(session.system)
    days = list(days_between(day or first or now, day or last or now))
    if not days:
        raise click.UsageError("--from is after --to")
    if days[-1] > now:
        raise click.UsageError(f"{days[-1]} has not come yet")
    return days


def _count(session: Session, days: Sequence[date]) -> dict[str, str]:
    """Ask the agencies about days whose counts are not final; which could not be asked, and why."""
    journal, failed = session.system.journal, {}
    for day in track_on(session, days, "Asking the agencies"):
        if journal.run(RunKey(FINAL_RUN, ALL_AGENCIES, day)).over:
            continue
        for agency, error in session.system.nightly.count(day, session.installation.plans).items():
            failed[agency] = str(error)
    return failed


def _show_report(
    session: Session, rows: Sequence[dict[str, Any]], paths: ReportPaths, failed: dict[str, str]
) -> None:
    kinds = [key.removesuffix("_made") for key in rows[0] if key.endswith("_made")] if rows else []
    totals = [row for row in rows if row["procedure_code"] == ALL]
    table = []
    for row in totals:
        made, delivered = (sum(row[f"{kind}_{what}"] for kind in kinds) for what in ("made", "delivered"))
        dossiers = tuple(
            "–" if row[c] is None else row[c] for c in ("received", "resolved", "due_tomorrow", "unexplained")
        )
        table.append((row["date"], row["agency"], *dossiers, made, delivered, row["segments"], row["cost"]))
    session.print_table(
        (
            "date",
            "agency",
            "#received",
            "#resolved",
            "#due tomorrow",
            "#unexplained",
            "#made",
            "#delivered",
            "#segments",
            "#cost",
        ),
        table,
    )
    for path in (paths.reconciliation, paths.exceptions, paths.page):
        session.print(str(path))
    for agency, reason in failed.items():
        session.print(
            f"{agency} could not be asked, its counts are blank or earlier ones: {reason}", style="red"
        )


# held batches


def _held(context: click.Context) -> None:
    """List, release or discard batches larger than hold_above."""
    if context.invoked_subcommand is None:
        context.invoke(list_held)


held = smsd.group("held", invoke_without_command=True)(click.pass_context(shared_options(_held, shows=True)))


@command("list", group=held)
def list_held(session: Session) -> int:
    """Show what is held, for which agency, since when."""
    batches = session.system.outbox.held()
    if session.as_json:
        session.print_json(batches)
    elif not batches:
        session.print("nothing is held")
    else:
        rows = [
            (b["agency"], b["kind"], b["messages"], b["segments"], session.local(b["since"]), b["example"])
            for b in batches
        ]
        session.print_table(("agency", "notice", "#messages", "#segments", "since", "for example"), rows)
    return 0


@command("release", group=held)
@click.argument("agency")
def release(session: Session, agency: str) -> int:
    """Let AGENCY's held messages go (recorded with your name)."""
    return _decide(session, agency, release=True)


@command("discard", group=held)
@click.argument("agency")
def discard(session: Session, agency: str) -> int:
    """End AGENCY's held messages as suppressed: discarded (recorded with your name)."""
    return _decide(session, agency, release=False)


def _decide(session: Session, agency: str, *, release: bool) -> int:
    batches = session.system.outbox.held()
    if agency not in session.installation.problems and all(b["agency"] != agency for b in batches):
        session.agency(agency)  # an unknown name is a mistake, an agency without held messages is not
    count = session.system.outbox.decide_held(agency, release=release, os_user=os_user(), now=session.now())
    session.system.alarms.clear(f"held:{agency}")
    done = "released" if release else "discarded"
    if session.as_json:
        session.print_json({"agency": agency, "decision": done, "messages": count})
    elif count:
        session.print(f"{count} messages of {agency} {done}")
    else:
        session.print(f"nothing of {agency} is held")
    return 0 if count else FAULT
