"""Has it happened? Judges what Vambe tells about a contact. Pure: no Airflow, no network, no clock.

How contact info names its tickets is not documented, so names and shapes are read with tolerance: what is not
understood is treated as not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

UNTIL = ("replied", "closed", "stage", "chat_status")
MODES = ("all", "any")

_TICKET_NAME = re.compile(r"(active|current|open|last|latest|closed)*tickets?(v[0-9]+)?")
_STAGE_NAMES = ("current_stage_id", "currentStageId", "stage_id", "stageId")
_STAGE_OBJECTS = ("current_stage", "currentStage", "stage")
_CLOSED_STATES = frozenset({"closed", "archived"})
_SECOND = 1.0


@dataclass(frozen=True, slots=True)
class Wait:
    """What is waited for, the same for all contacts of a task.

    :param until: one of ``UNTIL``.
    :param stages: with ``stage``: ids of the stages, any of which will do.
    :param statuses: with ``chat_status``: the words, in lower case.
    :param since: only messages from then on count as a reply, in seconds since 1970; None for "since the ticket".
    :param started: when the Dag run started, in seconds since 1970. It tells the run's own ticket from others, and
        stands in for the time of the ticket where Vambe does not show one.
    """

    until: str
    stages: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    since: float | None = None
    started: float | None = None

    @property
    def lasting(self) -> bool:
        """Whether it stays true once it was: a reply is not taken back, a stage can change again."""
        return self.until in ("replied", "closed")


@dataclass(frozen=True, slots=True)
class Ticket:
    """What is understood of a ticket in contact info."""

    id: str | None
    closed: bool
    created_at: float | None
    closed_at: str | None
    stage_id: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look at a contact showed.

    :param done: whether it is what is waited for.
    :param at: when that happened, as Vambe wrote it; None where Vambe does not say.
    """

    ai_contact_id: str
    until: str
    done: bool
    at: str | None = None
    message_id: str | None = None
    ticket_id: str | None = None
    stage_id: str | None = None
    chat_status: str | None = None

    def as_dict(self, *, seen_at: str) -> dict[str, Any]:
        """Return it as plain JSON values, for XCom.

        :param seen_at: when it was looked at, ISO 8601.
        """
        return {
            "ai_contact_id": self.ai_contact_id,
            "until": self.until,
            "done": self.done,
            "at": self.at,
            "seen_at": seen_at,
            "message_id": self.message_id,
            "ticket_id": self.ticket_id,
            "stage_id": self.stage_id,
            "chat_status": self.chat_status,
        }


def is_over(findings: Iterable[bool], mode_of: str) -> bool:
    """Return whether the wait is over; a wait for no contact at all is.

    :param findings: for each contact, whether it has happened.
    :param mode_of: ``all`` or ``any``.
    """
    known = list(findings)
    return all(known) if mode_of == "all" else any(known) or not known


def judge(wait: Wait, info: Mapping[str, Any], messages: Sequence[Mapping[str, Any]] = ()) -> Finding:
    """Return what contact info and messages say about a wait.

    :param info: the contact as ``GET …/contact/{id}/info`` answers, with all its fields.
    :param messages: its messages; only needed where :func:`needs_messages` says so.
    """
    ticket = the_ticket(info, started=wait.started)
    done, at, message_id = False, None, None
    if wait.until == "replied":
        reply = _first_reply(messages, _counts_from(wait, ticket))
        done, at, message_id = reply is not None, _text(reply, "created_at"), _text(reply, "id")
    elif wait.until == "closed":
        done = ticket.closed if ticket else _folded(info.get("chat_status")) == "closed"
        at = ticket.closed_at if ticket and done else None
    elif wait.until == "stage":
        done = ticket is not None and ticket.stage_id is not None and ticket.stage_id.lower() in wait.stages
    else:
        done = _folded(info.get("chat_status")) in wait.statuses
    return Finding(
        ai_contact_id=str(info.get("id")),
        until=wait.until,
        done=done,
        at=at,
        message_id=message_id,
        ticket_id=ticket.id if ticket else None,
        stage_id=ticket.stage_id if ticket else None,
        chat_status=_text(info, "chat_status"),
    )


def needs_messages(wait: Wait, info: Mapping[str, Any]) -> bool:
    """Return whether the messages have to be read; they do not when the last one is older than what counts."""
    if wait.until != "replied":
        return False
    last, earliest = moment(info.get("last_message_at")), _counts_from(wait, the_ticket(info, started=wait.started))
    return last is None or earliest is None or last >= earliest - _SECOND


def hides_messages(info: Mapping[str, Any]) -> bool:
    """Return whether a message did not mark the contact as changed, so that the list of changes cannot be relied on."""
    last, updated = moment(info.get("last_message_at")), moment(info.get("updated_at"))
    return last is not None and updated is not None and last > updated + _SECOND


def the_ticket(info: Mapping[str, Any], *, started: float | None) -> Ticket | None:
    """Return the ticket that is waited for.

    That is the first one that was created since the Dag run started; else the active one; else the one that was closed
    last.
    """
    tickets = list(_tickets(info))
    ours = [ticket for ticket in tickets if started is not None and (ticket.created_at or 0.0) >= started]
    if ours:
        return min(ours, key=lambda ticket: ticket.created_at or 0.0)
    ranked = sorted(tickets, key=lambda ticket: (ticket.closed, -(ticket.created_at or 0.0)))
    return ranked[0] if ranked else None


def moment(value: object) -> float | None:
    """Return an ISO 8601 time in seconds since 1970, or None when it is none; without a zone it is UTC."""
    if isinstance(value, datetime):
        when = value
    else:
        try:
            when = datetime.fromisoformat(str(value))
        except ValueError:
            return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _counts_from(wait: Wait, ticket: Ticket | None) -> float | None:
    if wait.since is not None:
        return wait.since
    return ticket.created_at if ticket and ticket.created_at is not None else wait.started


def _first_reply(messages: Sequence[Mapping[str, Any]], earliest: float | None) -> Mapping[str, Any] | None:
    timed = [
        (at, message)
        for message in messages
        if _folded(message.get("direction")).startswith("in") and (at := moment(message.get("created_at"))) is not None
    ]
    counted = [item for item in timed if earliest is None or item[0] >= earliest]
    return min(counted, key=lambda item: item[0])[1] if counted else None


def _tickets(info: Mapping[str, Any]) -> Iterator[Ticket]:
    for name, value in info.items():
        plain = str(name).replace("_", "").lower()
        if not _TICKET_NAME.fullmatch(plain):
            continue
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(item, Mapping) and item:
                yield _ticket(item, closed="closed" in plain)


def _ticket(item: Mapping[str, Any], *, closed: bool) -> Ticket:
    closed_at = _text(item, "closed_at") or _text(item, "closedAt")
    return Ticket(
        id=_text(item, "id"),
        closed=closed or closed_at is not None or _folded(item.get("status")) in _CLOSED_STATES,
        created_at=moment(item.get("created_at") or item.get("createdAt")),
        closed_at=closed_at,
        stage_id=_stage(item),
    )


def _stage(item: Mapping[str, Any]) -> str | None:
    named = [_text(item, name) for name in _STAGE_NAMES]
    objects = [item.get(name) for name in _STAGE_OBJECTS]
    named += [_text(stage, "id") for stage in objects if isinstance(stage, Mapping)]
    return next((stage for stage in named if stage), None)


def _text(item: Mapping[str, Any] | None, name: str) -> str | None:
    value = None if item is None else item.get(name)
    return None if value is None or isinstance(value, (Mapping, list)) else str(value)


def _folded(value: object) -> str:
    return str(value or "").strip().lower()
