"""`smsd check`: configuration, texts, store, databases and gateway: each with a state and a hint how to mend it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import click

from smsd.adapters.store.engine import Database
from smsd.adapters.web.dialects.build import dialects_of
from smsd.cli.frame import FAULT, WRONG_USAGE, Session, command
from smsd.core.changedates import instant_of_change
from smsd.core.clock import SystemClock
from smsd.core.diff import position_of
from smsd.core.errors import AgencyError, SmsdError
from smsd.core.model import CLOSED, Dossier, Mode
from smsd.core.names import fold_name
from smsd.core.notices import render
from smsd.core.phones import classify
from smsd.core.policy import AgencyPolicy, ReadKind
from smsd.core.rows import phone_of, text_of
from smsd.core.texts import segments
from smsd.roads import gateways_of
from smsd.services.deadlines import within
from smsd.services.polling import AgencyPlan
from smsd.services.ports import AgencyReader, CheckResult, SummingLook

MANY_SEGMENTS = 3
_NAMES_SHOWN = 20
_SAMPLE_CODE = "000.00.12.H32-260803-0001"
_STYLE = {"ok": "green", "warning": "yellow", "failed": "red"}


@dataclass(frozen=True, slots=True)
class Checked:
    """One result with what it is about: an agency's id, or a part of smsd."""

    subject: str
    result: CheckResult


@command("check")
@click.argument("agencies", nargs=-1, metavar="[AGENCY…]")
def check(session: Session, agencies: tuple[str, ...]) -> int:
    """Say what is wrong, and how to mend it.

    Configuration, texts (with segments and cost), state store, gateway, databases and their views. Sends and changes
    nothing.
    """
    named = [
        agency for agency in agencies if agency in session.installation.problems or session.agency(agency)
    ]
    found = list(_configuration(session, named))
    if not named:
        found += [Checked("store", result) for result in _store(session)]
        found += [Checked("gateway", result) for result in _gateway(session)]
        found += [Checked("look-ups", result) for result in _lookups(session)]
        found += [Checked("folders", result) for result in _folders(session)]
    found += _agencies(session, named)
    if session.as_json:
        session.print_json(
            [
                {
                    "subject": c.subject,
                    "name": c.result.name,
                    "state": c.result.state,
                    "message": c.result.message,
                    "hint": c.result.hint,
                }
                for c in found
            ]
        )
    else:
        _show(session, found)
    if any(c.subject in session.installation.problems for c in found):
        return WRONG_USAGE
    return FAULT if any(c.result.state == "failed" for c in found) else 0


def _show(session: Session, found: Sequence[Checked]) -> None:
    subject = None
    for checked in found:
        if checked.subject != subject:
            subject = checked.subject
            session.print(f"\n{subject}", style="bold")
        result = checked.result
        session.out.print(f"  {result.state:<8}", style=_STYLE[result.state], end="", markup=False)
        session.print(f"{result.name}: {result.message}")
        if result.hint and result.state != "ok":
            session.print(f"          → {result.hint}")
    counts = Counter(c.result.state for c in found)
    session.print(f"\n{counts['ok']} ok, {counts['warning']} warnings, {counts['failed']} failed")


# configuration and texts


def _configuration(session: Session, named: Sequence[str]) -> Iterator[Checked]:
    installation = session.installation
    if not named:
        modes = Counter(str(agency.mode) for agency in installation.agencies.values())
        counted = ", ".join(f"{count} {mode}" for mode, count in sorted(modes.items())) or "no agencies"
        yield Checked("configuration", CheckResult("smsd.yaml", "ok", f"{session.config}; {counted}"))
    policies = [p for id_, p in installation.policies.items() if not named or id_ in named]
    yield from (Checked("texts", result) for result in _texts(session, policies))
    for agency, error in installation.problems.items():
        if not named or agency in named:
            for problem in error.problems:
                yield Checked(
                    agency,
                    CheckResult("file", "failed", str(problem), "mend the file, then: systemctl reload smsd"),
                )


def _texts(session: Session, policies: Sequence[AgencyPolicy]) -> Iterator[CheckResult]:
    """Every notice's text as its longest agency's citizens get it: how long it is and what it costs."""
    cost = session.installation.settings.messages.cost_per_segment
    kinds = dict.fromkeys(kind for policy in policies for kind in policy.notices)
    for kind in kinds:
        texts = [
            (segments(text, policy.encoding), len(text), text, policy)
            for policy in policies
            if (text := _sample_text(kind, policy)) is not None
        ]
        count, length, text, policy = max(texts, key=lambda entry: entry[:2])
        said = f"{length} characters, {count} segments, {count * cost} đ ({policy.encoding}), for {policy.id}: {text}"
        if count > MANY_SEGMENTS:
            hint = "shorten it, or set messages.encoding: unaccented (about a third of the segments)"
            yield CheckResult(kind, "warning", said, hint)
        else:
            yield CheckResult(kind, "ok", said)


def _sample_text(kind: str, policy: AgencyPolicy) -> str | None:
    notice, now = policy.notices.get(kind), SystemClock().now()
    sample = Dossier(
        _SAMPLE_CODE,
        "Thẩm định",
        procedure_code="1.001193",
        procedure_name="Đăng ký khai sinh",
        due_at=now,
        received_at=now,
    )
    return render(notice, sample, policy) if notice is not None else None


# store, gateway, folders


def _store(session: Session) -> Iterator[CheckResult]:
    database = Database(session.installation.settings.store.get_secret_value())
    try:
        if database.path is not None and not database.path.exists():
            hint = "the daemon makes it when it first starts"
            yield CheckResult("state store", "warning", f"there is none yet at {database.path}", hint)
            return
        verdict = database.verify()
        used = "a daemon runs on it" if database.in_use() else "no daemon runs on it"
        yield CheckResult("state store", "ok", f"{verdict}; {used}")
    except SmsdError as error:
        yield CheckResult("state store", "failed", error.message, error.hint)
    finally:
        database.close()


def _gateway(session: Session) -> Iterator[CheckResult]:
    """What each gateway says of itself; nothing is sent."""
    settings = session.installation.settings
    for gateway in gateways_of(settings, session.installation.texts):
        try:
            yield from gateway.check()
        except SmsdError as error:
            yield CheckResult(gateway.name, "failed", error.message, error.hint)
        finally:
            gateway.close()
    if settings.inbound is None and any(one.type in ("kannel", "http") for one in settings.gateway):
        hint = "add the section inbound to smsd.yaml: receipts alone tell delivered from accepted"
        yield CheckResult("receipts", "warning", "nothing listens for receipts", hint)


def _lookups(session: Session) -> Iterator[CheckResult]:
    """Where the number's operator hands on what citizens send: the addresses to give it."""
    settings = session.installation.settings
    if settings.inbound is None:
        return
    address = f"{str(settings.inbound.public_url).rstrip('/')}/lookups"
    yield CheckResult("any provider", "ok", f"{address}?from=…&text=…&id=…&token=…, as Kannel's get-url")
    for name in dialects_of(settings.lookup.providers):
        yield CheckResult(name, "ok", f"{address}/{name}, calls signed with lookup.providers.{name}.secret")


def _folders(session: Session) -> Iterator[CheckResult]:
    directory = session.installation.settings.reconciliation.directory
    yield _writable("reports", directory)


def _writable(name: str, directory: Path) -> CheckResult:
    """Whether a folder can be written, or made where it will be."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if os.access(existing, os.W_OK | os.X_OK):
        return CheckResult(name, "ok", f"{directory} can be written")
    return CheckResult(
        name,
        "failed",
        f"{directory} cannot be written by this user",
        "give it to the user that runs the daemon",
    )


# agencies


def _agencies(session: Session, named: Sequence[str]) -> list[Checked]:
    """Every named agency, or all that are not off; side by side, since some may hang."""
    installation = session.installation
    chosen = named or [a for a in installation.agencies if installation.agencies[a].mode is not Mode.OFF]
    chosen = [agency for agency in chosen if agency in installation.agencies]
    if not chosen:
        return []
    with (
        session.err.status(f"Checking {len(chosen)} agencies …"),
        ThreadPoolExecutor(max_workers=installation.settings.polling.workers) as pool,
    ):
        results = pool.map(lambda agency: _agency(session, agency), chosen)
        return [Checked(agency, r) for agency, found in zip(chosen, results, strict=True) for r in found]


def _agency(session: Session, agency: str) -> list[CheckResult]:
    unset = session.installation.agencies[agency].unset
    if unset:
        return [
            CheckResult("database", "failed", reason, "set it before the agency leaves off")
            for reason in unset
        ]
    plan = session.installation.plan(agency)
    reader = plan.open_reader()
    seconds = plan.timeout.total_seconds()
    found: list[CheckResult] = []
    try:
        found += within(seconds, reader.check, reader.cancel)
        if all(result.state != "failed" for result in found):
            found += within(seconds, lambda: list(_reading(reader, plan)), reader.cancel)
            found += within(seconds, lambda: _contents(reader, plan), reader.cancel)
    except AgencyError as error:
        found.append(CheckResult("view", "failed", error.message, error.hint))
    finally:
        reader.close()
    return found


def _reading(reader: AgencyReader, plan: AgencyPlan) -> Iterator[CheckResult]:
    """Whether the view can be read as its file asks, where that is not in full."""
    rule = plan.policy.reading
    full = "every read is a full one"
    with reader.look() as look:
        if rule.changed_by is not None and rule.kind in (None, ReadKind.CHANGED_BY):
            yield _by_date(look.newest(rule.changed_by), rule.changed_by, plan)
        elif rule.kind is ReadKind.FINGERPRINT:
            sums = look.sums() if isinstance(look, SummingLook) else None
            if sums is None:
                hint = "leave `read` out" + (
                    "" if rule.changed_by else ", or name a column of dates in `changed_by`"
                )
                said = f"this database cannot make fingerprints: {full}"
                yield CheckResult("reading", "warning", said, hint)
            else:
                yield CheckResult("reading", "ok", f"{sums.total} rows by the database's own fingerprints")


def _by_date(newest: object, column: str, plan: AgencyPlan) -> CheckResult:
    try:
        instant = instant_of_change(newest, plan.policy.zone)
    except ValueError:
        instant = None
    if instant is None:
        said = f"{column} holds no date: every read is a full one"
        return CheckResult("changed_by", "warning", said, "name a column that says when a row last changed")
    shown = instant.astimezone(plan.policy.zone)
    return CheckResult("changed_by", "ok", f"{column}, the last change was at {shown:%Y-%m-%d %H:%M:%S}")


def _contents(reader: AgencyReader, plan: AgencyPlan) -> list[CheckResult]:
    """What the view's steps, statuses and numbers come to: a misspelt name shows here."""
    rules = plan.policy.positions
    positions: Counter[str] = Counter()
    phones: Counter[str] = Counter()
    seen: Counter[tuple[str, str | None, str]] = Counter()
    for block in reader.rows(("step", "status", "phone")):
        for step_raw, status_raw, phone_raw in block:
            step, status = text_of(step_raw), text_of(status_raw)
            if step is None:
                continue
            position = position_of(step, status, rules)
            positions[position] += 1
            seen[step, status, position] += 1
            if position != CLOSED:
                phones[classify(phone_of(phone_raw)).reason or "mobile"] += 1
    counted = ", ".join(f"{count} {name}" for name, count in sorted(positions.items())) or "no dossiers"
    return [
        CheckResult("positions", "ok", counted),
        *_names_seen(seen),
        *_misspelt(seen, plan),
        *_phones_result(phones),
    ]


def _names_seen(seen: Counter[tuple[str, str | None, str]]) -> Iterator[CheckResult]:
    """The steps and statuses as the view has them, and the position each comes to."""
    if seen:
        named = [
            f"{step}{f' / {status}' if status else ''}: {position} ({count})"
            for (step, status, position), count in seen.most_common(_NAMES_SHOWN)
        ]
        more = f"; and {len(seen) - _NAMES_SHOWN} more" if len(seen) > _NAMES_SHOWN else ""
        yield CheckResult("steps", "ok", "; ".join(named) + more)


def _misspelt(seen: Counter[tuple[str, str | None, str]], plan: AgencyPlan) -> Iterator[CheckResult]:
    """Configured names that no row has while one has a name much like it; and notices whose steps no row has."""
    steps = {fold_name(step): step for step, _, _ in seen}
    statuses = {fold_name(status): status for _, status, _ in seen if status}
    given = [rule.steps for rule in plan.policy.positions] + [rule.statuses for rule in plan.policy.positions]
    configured = frozenset[str]().union(*(names for names in given if names is not None))
    for rule in plan.policy.positions:
        for key, wanted, there in (("steps", rule.steps, steps), ("statuses", rule.statuses, statuses)):
            for name in sorted((wanted or frozenset()) - there.keys()):
                alike = get_close_matches(name, there.keys() - configured, 1, 0.8)
                if alike:
                    said = f"no row has “{name}”; did you mean “{there[alike[0]]}”?"
                    yield CheckResult(
                        f"positions.{rule.name}.{key}", "warning", said, "mend the name in the YAML"
                    )
    silent = [
        rule.name
        for rule in plan.policy.positions
        if rule.name in plan.policy.notices and rule.steps is not None and not rule.steps & steps.keys()
    ]
    if silent and seen:
        hint = (
            "compare the step names under positions with the line “steps” above: misspelt, they never match"
        )
        yield CheckResult("positions", "warning", f"no dossier is at a step of {', '.join(silent)}", hint)


def _phones_result(phones: Counter[str]) -> Iterator[CheckResult]:
    total = sum(phones.values())
    if not total:
        return
    bad = total - phones["mobile"]
    counted = ", ".join(f"{count} {name}" for name, count in phones.most_common())
    said = f"of {total} open dossiers {100 * bad / total:.1f} % have no usable number ({counted})"
    if bad * 10 > total:
        yield CheckResult(
            "phones", "warning", said, "the agency mends them at its counter; exceptions.csv lists each"
        )
    else:
        yield CheckResult("phones", "ok", said)
