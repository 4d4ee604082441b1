"""What may happen to a dossier, its agency or smsd itself while a notice is on its way, each by its name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time

from smsd.core.model import Mode, ReceiptVerdict, Verdict
from tests.stateful.ledger import CLOSED, READY, RECEPTION, RENAMED, WAITING, WORKING
from tests.stateful.life import DAY, GOOD_NUMBER, MINUTE, Life
from tests.stateful.network import REACTIONS
from tests.stateful.office import Settings

Event = Callable[[Life, str, str], None]

PLACES: dict[str, tuple[str | None, str | None]] = {
    "in progress": (WORKING, "Đang xử lý"),
    "ready": (READY, "Đang xử lý"),
    "ready by the second configuration": (RENAMED, None),
    "supplement": (RECEPTION, WAITING),
    "supplement at the step of the result": (READY, WAITING),
    "closed": (CLOSED, None),
    "nowhere": (None, None),
}
"""Where a dossier may stand: step and status. Without a step it is a bad row."""

EDITS: dict[str, Callable[[datetime], dict[str, object]]] = {
    "received, due and resolved today": lambda now: {"received_at": now, "due_at": now, "resolved_at": now},
    "received long ago": lambda now: {"received_at": now - 40 * DAY, "resolved_at": None},
    "never received": lambda _: {"received_at": None, "resolved_at": None},
    "received on an impossible day": lambda _: {"received_at": "2026-13-45", "resolved_at": None},
    "of a procedure that is skipped": lambda _: {"procedure_code": "9.999"},
    "of a procedure that is told": lambda _: {"procedure_code": "1.001"},
    "of no procedure": lambda _: {"procedure_code": None, "procedure_name": None},
}

CONFIGURATIONS: dict[str, dict[str, object]] = {
    "live": {"mode": Mode.LIVE},
    "shadow": {"mode": Mode.SHADOW},
    "off": {"mode": Mode.OFF},
    "other steps": {"positions": "second"},
    "the first steps": {"positions": "first"},
    "another filter": {"source": "another view"},
    "the first filter": {"source": "the view"},
    "no notice of supplements": {"notices": frozenset({"result_ready", "apology"})},
    "no apologies": {"apology": False},
    "no notice of apologies": {"notices": frozenset({"result_ready", "supplement"})},
    "all notices": {"notices": Settings().notices, "apology": True},
}

MET = ("not sent yet", "held", "its number was bad", *sorted(REACTIONS))
"""What has become of a notice when its story begins: a name of `REACTIONS`, or it has not left."""


def begin(life: Life, agency: str, code: str, met: str) -> None:
    """A dossier becomes ready, or is waited for once more, and its notice is made and met so."""
    place = "supplement" if life.step_of(agency, code) == READY else "ready"
    step, status = PLACES[place]
    number = "" if met == "its number was bad" else GOOD_NUMBER
    for one in [code] if met != "held" else ["H1", "H2", "H3"]:
        life.edit(agency, one, step=step, status=status, phone=number)
    life.after(1)
    if met in REACTIONS:
        life.network.coming = [met]
        life.after(2)


def _moves(place: str) -> Event:
    step, status = PLACES[place]
    return _edited(step=step, status=status)


def _edited(**changes: object) -> Event:
    def event(life: Life, agency: str, code: str) -> None:
        life.edit(agency, code, **changes)
        life.after(1)

    return event


def _vanishes(life: Life, agency: str, code: str) -> None:
    life.office.views[agency].delete(code)
    life.after(1)


def _is_due_tomorrow(life: Life, agency: str, code: str) -> None:
    life.edit(agency, code, due_at=life.now + DAY)
    life.after(1)


def _passes(minutes: int) -> Event:
    def event(life: Life, agency: str, code: str) -> None:
        life.after(minutes)

    return event


def _becomes(to: time) -> Event:
    def event(life: Life, agency: str, code: str) -> None:
        life.until(to)
        life.turn()

    return event


def _clock(minutes: int) -> Event:
    def event(life: Life, agency: str, code: str) -> None:
        life.set_clock(minutes)
        life.turn()

    return event


def _reloads(to: str) -> Event:
    return lambda life, agency, code: life.reload(agency, **CONFIGURATIONS[to])


def _ends_at(point: int) -> Event:
    def event(life: Life, agency: str, code: str) -> None:
        life.fuse.left = point
        life.after(2)

    return event


def _receipt(verdict: ReceiptVerdict) -> Event:
    def event(life: Life, agency: str, code: str) -> None:
        if life.handed():
            life.receipt(life.handed()[-1], verdict)

    return event


def _baseline(life: Life, agency: str, code: str) -> None:
    life.order_baseline(agency)
    life.after(1)


def _fails(life: Life, agency: str, code: str) -> None:
    life.read_shown(agency, [])
    life.office.forward(2 * MINUTE)
    life.do(life.office.send)


EVENTS: dict[str, Event] = {
    "the dossier goes on": _moves("in progress"),
    "the dossier is ready": _moves("ready"),
    "the dossier waits for papers": _moves("supplement"),
    "the dossier is closed": _moves("closed"),
    "the row has no step": _moves("nowhere"),
    "the row vanishes": _vanishes,
    "the number is lost": _edited(phone=""),
    "the number is a landline": _edited(phone="0258 3822 222"),
    "the number is mended": _edited(phone=GOOD_NUMBER),
    "the number is another": _edited(phone="0912 345 678 (vợ)"),
    "it is due tomorrow": _is_due_tomorrow,
    "two minutes pass": _passes(2),
    "sixteen minutes pass": _passes(16),
    "an hour passes": _passes(61),
    "four days pass": _passes(4 * 24 * 60),
    "eleven days pass": _passes(11 * 24 * 60),
    "it becomes 17:31": _becomes(time(17, 31)),
    "it becomes 23:00": _becomes(time(23)),
    "the clock is set back half an hour": _clock(-30),
    "the clock is set back eleven hours": _clock(-11 * 60),
    "the clock is set forward an hour": _clock(61),
    **{f"the configuration: {to}": _reloads(to) for to in CONFIGURATIONS},
    "a baseline is ordered": _baseline,
    "a read is empty": _fails,
    "smsd is killed": lambda life, agency, code: life.restart(),
    **{f"smsd ends at point {point} of its turn": _ends_at(point) for point in range(1, 9)},
    "the answer: accepted": lambda life, agency, code: life.answer(Verdict.ACCEPTED),
    "the answer: rejected": lambda life, agency, code: life.answer(Verdict.REJECTED),
    "the answer: try again": lambda life, agency, code: life.answer(Verdict.RETRY),
    "the answer: unknown": lambda life, agency, code: life.answer(Verdict.UNKNOWN),
    **{f"a receipt: {verdict.value}": _receipt(verdict) for verdict in ReceiptVerdict},
    "what is held is released": lambda life, agency, code: life.decide_held(agency, release=True),
    "what is held is discarded": lambda life, agency, code: life.decide_held(agency, release=False),
    "the daily jobs run": lambda life, agency, code: life.run_daily_jobs(),
}
