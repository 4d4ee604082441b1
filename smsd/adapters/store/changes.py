"""Changing messages: compare-and-set on the state, one statement for all that change alike, each with its event."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Connection, Update, bindparam, func, update

from smsd.adapters.store.mapping import chunks, contents_of, record_events
from smsd.adapters.store.schema import messages
from smsd.core.outbox import may_follow
from smsd.core.phones import mask_phone
from smsd.services.ports import Change

_ALIKE = attrgetter(*(name for name in Change.__slots__ if name not in ("message_id", "reference")))
"""All of a change but whose it is: messages that change alike are changed by one statement."""
_KEEP_REFERENCE = (
    update(messages).where(messages.c.id == bindparam("b_id")).values(reference=bindparam("b_reference"))
)


def apply_changes(connection: Connection, changes: Sequence[Change]) -> int:
    """Apply changes whose message is still in the state it is expected in; how many were. One for each message."""
    alike: dict[tuple[Any, ...], list[Change]] = {}
    for change in changes:
        alike.setdefault(_ALIKE(change), []).append(change)
    for first, *_ in alike.values():
        if first.after is not first.before and not may_follow(first.before, first.after):
            raise ValueError(f"{first.before} is never followed by {first.after}")
    return sum(_apply_alike(connection, some) for some in alike.values())


def _apply_alike(connection: Connection, changes: Sequence[Change]) -> int:
    first = changes[0]
    new = _new_values(first)
    given = {"before": first.before, **{f"to_{name}": value for name, value in new.items()}}
    changed: set[str] = set()
    for ids in chunks([change.message_id for change in changes]):
        changed.update(connection.execute(_changing(*new), {"ids": ids, **given}).scalars())
    applied = [change for change in changes if change.message_id in changed]
    references = [
        {"b_id": change.message_id, "b_reference": change.reference}
        for change in applied
        if change.reference is not None
    ]
    if references:
        connection.execute(_KEEP_REFERENCE, references)
    why = first.reason or first.detail
    ids = [change.message_id for change in applied]
    contents = contents_of(connection, ids) if first.phone is not None else []
    record_events(connection, [(id_, first.after, why) for id_ in ids], first.at, contents)
    return len(applied)


@cache
def _changing(*names: str) -> Update:
    """Compare-and-set on state that gives these columns new values; the others stay."""
    column = messages.c
    values: dict[str, Any] = {name: bindparam(f"to_{name}", type_=column[name].type) for name in names}
    if "handed_over_at" in values:
        values["handed_over_at"] = func.coalesce(column.handed_over_at, values["handed_over_at"])
    if "attempts" in values:
        values["attempts"] = column.attempts + values["attempts"]
    return (
        update(messages)
        .where(
            column.id.in_(bindparam("ids", expanding=True)),
            _stands_in(bindparam("before", type_=column.state.type)),
            column.final_at.is_(None),
        )
        .values(values)
        .returning(column.id)
    )


def _stands_in(state: BindParameter[str]) -> ColumnElement[bool]:
    """Whether messages found by their ids are in a state.

    Compared so that the index of open messages by their state is of no use: SQLite would rather read all that are in
    the state than look up a hundred ids.
    """
    return messages.c.state.concat("") == state


def _new_values(change: Change) -> dict[str, Any]:
    """The columns that a change gives new values. Of `attempts` it is the difference."""
    values: dict[str, Any] = {
        "state": change.after,
        "state_at": change.at,
        "reason": change.reason,
        "detail": change.detail,
    }
    if change.possible_duplicate:
        values["possible_duplicate"] = True
    if change.unbound or change.gateway is not None:
        values["gateway"] = None if change.unbound else change.gateway
    if change.next_at is not None:
        values["next_at"] = change.next_at
    if change.phone is not None:
        values |= {"phone": change.phone, "phone_masked": mask_phone(change.phone)}
    if change.final:
        values["final_at"] = change.at
    if change.handed_over:
        values["handed_over_at"] = change.at
    if change.failed_try:
        values["attempts"] = -1
    return values
