"""The story of one dossier: what was seen, what was decided and why, what was sent. Words for `smsd trace`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from smsd.cli.frame import Session
from smsd.core.clock import within_hours
from smsd.core.model import MessageState, Mode, Reason
from smsd.core.phones import classify, mask_phone

WHY_SUPPRESSED = {
    Reason.OFF: "the agency is off (or its file was removed)",
    Reason.PROCEDURE: "its procedure is among skip_procedures",
    Reason.SAME_DAY: "received, due and resolved on one day, and same_day is skip",
    Reason.STALE: "first seen in this position long after it got there (messages.stale_after)",
    Reason.REPEAT: "the same notice went out, or is on its way, since messages.repeat_after",
    Reason.NO_PHONE: "the phone field has no number",
    Reason.LANDLINE: "the phone field has a landline only",
    Reason.INVALID_PHONE: "the phone field has no Vietnamese mobile number",
    Reason.AMBIGUOUS_PHONE: "the number may be an old landline of Khánh Hòa (058 …) or a mobile",
    Reason.SHADOW: "the agency is in shadow: all is decided, nothing leaves",
    Reason.DISCARDED: "an operator discarded the held batch it was in",
}

WHY_ENDED = {
    MessageState.SUPERSEDED: "no longer true before it was handed over: the dossier moved on",
    MessageState.EXPIRED: "it was given up",
    MessageState.REJECTED: "the gateway refused it",
    MessageState.UNDELIVERED: "the network could not deliver it",
    MessageState.DELIVERED: "it reached the telephone",
}

WHY_WAITING = {
    MessageState.HELD: "held with its batch; decide: smsd held release {agency}, or smsd held discard {agency}",
    MessageState.UNKNOWN: "handed over, the answer was lost: a receipt is waited for, else it is sent once more",
    MessageState.SENDING: "handed to the gateway, the answer is waited for",
}

WHY_WAITING_AGAIN = (
    "handed over once more, and that answer was lost too: "
    "a receipt is waited for; without one it expires and is listed"
)

_HIDDEN = ("phone", "code_folded", "digest")


def trace_document(session: Session, found: dict[str, Any]) -> dict[str, Any]:
    """What the store knows, with explanations, and without the number."""
    dossier = dict(found["dossier"])
    phone = dossier["phone"]
    judged = classify(phone)
    agency = found["agency"] or {}
    shown = {key: value for key, value in dossier.items() if key not in _HIDDEN}
    shown["phone"] = mask_phone(phone or "")
    shown["phone_verdict"] = judged.reason or "mobile"
    messages = [{**message, "why": _why(session, message, agency, dossier)} for message in found["messages"]]
    return {
        "dossier": shown,
        "agency_mode": agency.get("mode"),
        "baseline_at": agency.get("baseline_at"),
        "last_good_read_at": agency.get("last_good_at"),
        "transitions": found["transitions"],
        "messages": messages,
        "findings": found["findings"],
        "why_no_message": _why_none(session, dossier, agency, found) if not found["messages"] else None,
    }


def _why(session: Session, message: dict[str, Any], agency: dict[str, Any], dossier: dict[str, Any]) -> str:
    """Why a message is where it is."""
    state = MessageState(message["state"])
    if state is MessageState.SUPPRESSED:
        return WHY_SUPPRESSED[Reason(message["reason"])]
    if state in WHY_ENDED:
        return ": ".join(filter(None, (WHY_ENDED[state], message["detail"])))
    if state is MessageState.ACCEPTED:
        receipt = "no receipt came in 72 h" if message["final_at"] else "no receipt yet"
        return f"the gateway took it; {receipt}"
    if state is MessageState.QUEUED:
        return _why_queued(session, message, agency, dossier)
    if state is MessageState.UNKNOWN and message["possible_duplicate"]:
        return WHY_WAITING_AGAIN
    return WHY_WAITING[state].format(agency=message["agency"])


def _why_queued(
    session: Session, message: dict[str, Any], agency: dict[str, Any], dossier: dict[str, Any]
) -> str:
    now, settings = session.now(), session.installation.settings
    hours = settings.messages.sending_hours
    good: datetime | None = agency.get("last_good_at")
    if message["next_at"] > now:
        return f"waits until {session.local(message['next_at'])} (settle, or the wait after a failed try)"
    if dossier["missing_reads"] or dossier["gone_at"]:
        return "waits: the dossier was missing from the last full read"
    if agency.get("mode") != Mode.LIVE:
        return f"waits: the agency is {agency.get('mode')}"
    if good is None or now > good + message["settle"] + 2 * agency.get("interval", timedelta(0)):
        return "waits for a good read of the agency: the last one is too old"
    if not within_hours(now, hours.opens, hours.closes, settings.zone):
        return "waits for messages.sending_hours"
    return "is due: the daemon sends it next, unless the link is stopped or slowed (see smsd status)"


def _why_none(
    session: Session, dossier: dict[str, Any], agency: dict[str, Any], found: dict[str, Any]
) -> str:
    """Why nothing was ever made for a dossier."""
    position = dossier["position"]
    policy = session.installation.policies.get(dossier["agency"])
    moved = [t for t in found["transitions"] if t["cause"] == "read"]
    if policy is not None and position not in policy.notices:
        return f"its position {position} has no notice"
    if any(t["cause"] == "configuration" and t["went_to"] == position for t in found["transitions"]):
        return f"it came into {position} by a change of configuration, which is recorded and never sent"
    if not moved:
        since = session.local(agency.get("baseline_at"))
        return f"it was in {position} already at the baseline of {since}, which sends nothing"
    return f"no message was made for entering {position}"


def show_trace(session: Session, document: dict[str, Any]) -> None:
    """The story in lines, oldest first."""
    dossier = document["dossier"]
    session.print(
        f"{dossier['code']}  ({dossier['agency']}, {document['agency_mode'] or 'unknown'})", style="bold"
    )
    step = dossier["step"] + (f" / {dossier['status']}" if dossier["status"] else "")
    left = f", left the view {session.local(dossier['gone_at'])}" if dossier["gone_at"] else ""
    session.print(
        f"  step       {step} → {dossier['position']} since {session.local(dossier['entered_at'])}{left}"
    )
    procedure = " ".join(filter(None, (dossier["procedure_code"], dossier["procedure_name"]))) or "–"
    session.print(f"  procedure  {procedure}")
    dates = " · ".join(
        f"{name} {session.local(dossier[f'{name}_at'])}" for name in ("received", "due", "resolved")
    )
    session.print(f"  dates      {dates}")
    session.print(f"  phone      {dossier['phone'] or '–'} ({dossier['phone_verdict']})")
    for at, line in sorted(_lines(document), key=lambda entry: entry[0]):
        session.print(f"  {session.local(at)}  {line}")
    for message in document["messages"]:
        doubled = ", possible duplicate" if message["possible_duplicate"] else ""
        reason = f" ({message['reason']})" if message["reason"] else ""
        session.print(f"  → {message['kind']} {message['state']}{reason}{doubled}: {message['why']}")
        if message["text"]:
            session.print(
                f"      “{message['text']}” ({message['segments']} segments, to {message['phone_masked'] or '–'})"
            )
    if document["why_no_message"]:
        session.print(f"  → no message: {document['why_no_message']}")
    session.print()


def _lines(document: dict[str, Any]) -> list[tuple[datetime, str]]:
    lines = [(move["at"], _move_line(move)) for move in document["transitions"]]
    for message in document["messages"]:
        for event in message["events"]:
            detail = f" ({event['detail']})" if event["detail"] else ""
            lines.append((event["at"], f"{message['kind']} {event['state']}{detail}"))
    lines += [
        (f["at"], f"listed as {f['reason']}{': ' + f['detail'] if f['detail'] else ''}")
        for f in document["findings"]
    ]
    return lines


def _move_line(move: dict[str, Any]) -> str:
    if move["went_to"] is None:
        return "left the view"
    came_from = move["came_from"] or "first seen"
    step = move["step"] + (f" / {move['status']}" if move["status"] else "")
    return f"{came_from} → {move['went_to']} at {step} (by {move['cause']})"
