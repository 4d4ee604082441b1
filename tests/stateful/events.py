"""What may happen to a dossier, its agency or smsd itself while a notice is on its way, each by its name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time

from smsd.core.errors import AgencyError
from smsd.core.model import Mode, ReceiptVerdict, Verdict
from tests.stateful.ledger import CLOSED, READY, RECEPTION, RENAMED, WAITING, WORKING
from tests.stateful.life import DAY, GOOD_NUMBER, MINUTE, Life
from tests.stateful.network import REACTIONS
from tests.stateful.office import Settings
from tests.support.builders import ZONE

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


FOLLOWS = {
    "held": ["what is held is released"],
    "its number was bad": ["the number is mended"],
    "no answer yet": ["the answer: accepted", "the answer: try again", "smsd is killed"],
    "answer lost": ["sixteen minutes pass"],
    "never arrived": ["sixteen minutes pass"],
    "busy": ["two minutes pass"],
    "account": ["sixteen minutes pass"],
}
"""How a story goes on in the end, whatever came upon the notice."""


def prepare(life: Life, agency: str) -> None:
    """So that a notice can be sent: the agency takes part, it is day, the clock is believed, the gateway is there."""
    life.network.down = False
    if life.office.settings[agency].mode is not Mode.LIVE:
        life.reload(agency, mode=Mode.LIVE)
    if not 7 <= life.now.astimezone(ZONE).hour < 20:
        life.until(time(7))
    life.after(1)
    if not life.office.works:
        life.after(11)


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


def _is_away(life: Life, agency: str, code: str) -> None:
    view = life.office.views[agency]
    before = view.rows
    view.rows = [row for row in before if row["dossier_code"] != code]
    life.after(2)
    view.rows = before
    life.after(1)


def _for_a_while(mode: Mode) -> Event:
    """The agency takes no part, or silently, while its dossier becomes ready; then it is live again."""

    def event(life: Life, agency: str, code: str) -> None:
        life.reload(agency, mode=mode)
        life.after(1)
        step, status = PLACES["ready"]
        life.edit(agency, code, step=step, status=status)
        life.after(1)
        life.reload(agency, mode=Mode.LIVE)
        life.after(1)

    return event


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


def _is_empty(life: Life, agency: str, code: str) -> None:
    life.read_shown(agency, [])
    life.office.forward(2 * MINUTE)
    life.do(life.office.send)


def _fails(life: Life, agency: str, code: str) -> None:
    view = life.office.views[agency]
    view.fault = AgencyError("down", code="unreachable")
    life.after(2)
    view.fault = None


def _shows_few(life: Life, agency: str, code: str) -> None:
    life.read_shown(agency, life.office.views[agency].rows[-5:])


def _shows_few_and_is_accepted(life: Life, agency: str, code: str) -> None:
    life.read_shown(agency, life.office.views[agency].rows[-5:], accept=True)


def _stands_there(surplus: str | None) -> Event:
    """A row that should not be in the view. It goes after a turn; where a code is there twice, the first row goes."""

    def event(life: Life, agency: str, code: str) -> None:
        view = life.office.views[agency]
        view.insert([life.a_row(code if surplus == "twice" else surplus) | {"step": READY}])
        life.after(1)
        rows = {row["dossier_code"]: row for row in view.rows if str(row["dossier_code"] or "").strip()}
        view.rows = list(rows.values())

    return event


def _gateway(*, down: bool) -> Event:
    def event(life: Life, agency: str, code: str) -> None:
        life.network.down = down
        life.after(1)

    return event


def _answers(verdict: Verdict) -> Event:
    return lambda life, agency, code: life.answer(verdict)


def _goes_and_is_back(life: Life, agency: str, code: str) -> None:
    step = life.step_of(agency, code)
    life.edit(agency, code, step=WORKING)
    life.after(1)
    life.edit(agency, code, step=step)
    life.after(1)


def _row_is_edited(to: str) -> Event:
    def event(life: Life, agency: str, code: str) -> None:
        life.edit(agency, code, **EDITS[to](life.now))

    return event


_MOMENTS = [time(0, 6), time(7), time(17, 29), time(17, 31), time(20, 31), time(21, 59), time(23, 31)]
_PASSING = {"two minutes": 2, "sixteen minutes": 16, "an hour": 61, "26 hours": 1560, "eleven days": 15_840}
_SETTING = {
    "back a minute": -1,
    "back half an hour": -30,
    "back eleven hours": -11 * 60,
    "back 26 hours": -26 * 60,
    "forward an hour": 61,
    "forward 26 hours": 26 * 60,
}
_ANSWERS = {
    "accepted": Verdict.ACCEPTED,
    "rejected": Verdict.REJECTED,
    "try again": Verdict.RETRY,
    "nobody knows": Verdict.UNKNOWN,
}

GROUPS: tuple[dict[str, Event], ...] = (
    {
        **{f"the dossier is {place}": _moves(place) for place in PLACES},
        "the dossier goes on and is back": _goes_and_is_back,
        "the row vanishes": _vanishes,
        "the row is away for one read": _is_away,
    },
    {
        "the number is lost": _edited(phone=""),
        "the number is a landline's": _edited(phone="0258 3822 222"),
        "the number is mended": _edited(phone=GOOD_NUMBER),
        "the number is another": _edited(phone="0912 345 678 (vợ)"),
        "it is due tomorrow": _is_due_tomorrow,
    },
    {f"the row is {to}": _row_is_edited(to) for to in EDITS},
    {
        **{f"{name} pass": _passes(minutes) for name, minutes in _PASSING.items()},
        **{f"it becomes {to:%H:%M}": _becomes(to) for to in _MOMENTS},
        **{f"the clock is set {name}": _clock(minutes) for name, minutes in _SETTING.items()},
    },
    {
        **{f"the configuration: {to}": _reloads(to) for to in CONFIGURATIONS},
        **{f"{mode} for a while": _for_a_while(mode) for mode in (Mode.SHADOW, Mode.OFF)},
    },
    {
        "a baseline is ordered": _baseline,
        "a read is empty": _is_empty,
        "a read fails": _fails,
        "a read shows few rows": _shows_few,
        "a read shows few rows and is accepted": _shows_few_and_is_accepted,
        "a read is tried": lambda life, agency, code: life.try_read(agency),
        "the code stands there twice": _stands_there("twice"),
        "a row has no code": _stands_there(None),
        "a row has a blank code": _stands_there(" "),
    },
    {
        "smsd is killed": lambda life, agency, code: life.restart(),
        **{f"smsd ends at point {point} of its turn": _ends_at(point) for point in range(1, 9)},
    },
    {
        "the gateway is down": _gateway(down=True),
        "the gateway is back": _gateway(down=False),
        **{f"the answer: {name}": _answers(verdict) for name, verdict in _ANSWERS.items()},
        **{f"a receipt: {verdict.value}": _receipt(verdict) for verdict in ReceiptVerdict},
    },
    {
        "what is held is released": lambda life, agency, code: life.decide_held(agency, release=True),
        "what is held is discarded": lambda life, agency, code: life.decide_held(agency, release=False),
        "a citizen looks it up": lambda life, agency, code: life.look_up(code, f"m{code}"),
        "the daily jobs run": lambda life, agency, code: life.run_daily_jobs(),
    },
)
"""By name, those of a kind together: what happens to an agency and a dossier of it. Most end with a daemon's turn."""
EVENTS = {name: event for group in GROUPS for name, event in group.items()}
