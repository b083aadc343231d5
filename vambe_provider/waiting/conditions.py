"""Has it happened? Judges what Vambe tells about a contact. Pure: no Airflow, no network, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from vambe_provider.api.contact_info import parse_time, same_id
from vambe_provider.api.texts import iso_utc
from vambe_provider.waiting.tickets import CLOCK_ERROR, LAG, Bounds, bounds, created, find

if TYPE_CHECKING:
    from vambe_provider.api.contact_info import ContactInfo
    from vambe_provider.waiting.tickets import KnownBy, Target

UNTIL = ("replied", "closed", "stage", "chat_status")
MODES = ("all", "any")

# Other words, such as INTERNAL, are not documented, and are not the customer.
_FROM_CUSTOMER = frozenset({"in", "inbound", "incoming"})
_SECOND = 1.0
_MOMENT = 0.05


@dataclass(frozen=True, slots=True)
class Wait:
    """What is waited for, the same for all contacts of a task. Times are in seconds since 1970, by the API's clock.

    :param until: one of ``UNTIL``.
    :param stages: with ``stage``: ids of the stages in small letters, any of which will do.
    :param statuses: with ``chat_status``: the words, in small letters.
    :param since: only what happened from then on counts; None for "since the ticket".
    :param started: when the Dag run started, which stands in for the time of the opening where nobody recorded it.
    :param began: when the wait began.
    """

    until: str
    stages: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    since: float | None = None
    started: float | None = None
    began: float | None = None

    @property
    def lasting(self) -> bool:
        """Whether it stays true once it was: a reply is not taken back, a stage can change again."""
        return self.until in ("replied", "closed")

    def moved(self, seconds: float) -> Wait:
        """Return it with the times of our own clock moved to another one."""
        started = None if self.started is None else self.started + seconds
        return replace(self, started=started, began=None if self.began is None else self.began + seconds)

    def bounds(self, target: Target) -> Bounds:
        """Return between which times the ticket of a target was opened."""
        return bounds(target, since=self.since, started=self.started)

    def settles_at(self, target: Target) -> float:
        """Return from when on reads surely show what was opened."""
        known = [at for at in (target.opened_until, target.opened_at, self.began) if at is not None]
        return known[0] + LAG if known else float("-inf")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look at a contact showed.

    :param done: whether it is what is waited for.
    :param at: when that happened, ISO 8601 in UTC; None where Vambe does not say.
    :param known_by: how the ticket is known to be the one that is waited for.
    :param created_at: when the ticket was opened, in seconds since 1970; None where that is not known.
    :param later: whether it will be done when nothing newer comes to light, see :meth:`Wait.settles_at`.
    """

    ai_contact_id: str
    until: str
    done: bool = False
    at: str | None = None
    message_id: str | None = None
    ticket_id: str | None = None
    known_by: KnownBy | None = None
    stage_id: str | None = None
    chat_status: str | None = None
    created_at: float | None = None
    later: bool = False

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
            "ticket_known_by": self.known_by,
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


def judge(
    wait: Wait, target: Target, info: ContactInfo, messages: Sequence[Mapping[str, Any]] = (), *, now: float
) -> Finding:
    """Return what a contact and its messages say about a wait.

    :param messages: only needed where :func:`needs_messages` says so.
    :param now: when it was read, in seconds since 1970 by the API's clock.
    """
    settled = now >= wait.settles_at(target)
    found = _judge(wait, target, info, messages, settled=settled)
    if found.done or settled:
        return found
    return replace(found, later=_judge(wait, target, info, messages, settled=True).done)


def judge_row(wait: Wait, target: Target, row: ContactInfo, *, now: float) -> bool | None:
    """Return what a row of the list says about a wait, or None when the contact has to be read to know.

    :param target: with the id of its ticket, if a look has shown it.
    :param now: when it was read, in seconds since 1970 by the API's clock.
    """
    if wait.until == "chat_status":
        wanted = _folded(row.chat_status) in wait.statuses
        fresh = now >= wait.settles_at(target) or _changed_since(row, wait.bounds(target))
        return wanted if fresh or not wanted else None
    if wait.until == "replied":
        earliest, last = reply_counts_from(wait, target), seconds(row.last_message_at)
        return False if last is not None and earliest is not None and last < earliest - _SECOND else None
    active = next((ticket for ticket in row.tickets if ticket.is_active), None)
    ours = active is not None and same_id(active.id, target.ticket_id)
    if wait.until == "closed":
        gone = target.ticket_id is not None and row.shows_tickets and active is None
        over = gone and _folded(row.chat_status) == "closed" and _changed_since(row, wait.bounds(target))
        return False if ours else True if over else None
    in_stage = active is not None and active.stage_id is not None and active.stage_id.lower() in wait.stages
    return in_stage if ours else None


def needs_messages(wait: Wait, target: Target, info: ContactInfo) -> bool:
    """Return whether the messages have to be read; they do not when the last one is older than what counts."""
    if wait.until != "replied":
        return False
    last, earliest = seconds(info.last_message_at), reply_counts_from(wait, target, info)
    return last is None or earliest is None or last >= earliest - _SECOND


def reply_counts_from(wait: Wait, target: Target, info: ContactInfo | None = None) -> float | None:
    """Return from when on a message counts as the reply, or None when every one does.

    :param info: the contact; without it, the time is early enough for every contact.
    """
    if wait.since is not None:
        return wait.since
    if target.created_at is not None:
        return target.created_at
    within = wait.bounds(target)
    opened = None if info is None else created(find(info, target, within, settled=False), target, within)
    return within.earliest if opened is None else opened


def hides_messages(info: ContactInfo, *, now: float) -> bool:
    """Return whether a message did not mark the contact as changed, so that the list of changes cannot be relied on.

    :param now: when it was read; a message of later is a mistake in that contact only.
    """
    last, updated = seconds(info.last_message_at), seconds(info.updated_at)
    return last is not None and updated is not None and updated + _SECOND < last <= now + CLOCK_ERROR


def is_behind(info: ContactInfo, messages: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the messages do not hold the one that the contact names as its last."""
    last, known = seconds(info.last_message_at), [moment(message.get("created_at")) for message in messages]
    return last is not None and last > max((at for at in known if at is not None), default=0.0) + _MOMENT


def moment(value: object) -> float | None:
    """Return a time in seconds since 1970, or None when it is none; without a zone it is UTC."""
    return seconds(parse_time(value))


def seconds(when: datetime | None) -> float | None:
    """Return a time in seconds since 1970."""
    return None if when is None else when.timestamp()


def _judge(
    wait: Wait, target: Target, info: ContactInfo, messages: Sequence[Mapping[str, Any]], *, settled: bool
) -> Finding:
    within = wait.bounds(target)
    choice = find(info, target, within, settled=settled)
    ticket = choice.ticket if choice else None
    # A status that has not changed since the opening may be that of before.
    fresh = settled or choice is not None or _changed_since(info, within)
    done, at, message_id = False, None, None
    if wait.until == "replied":
        reply = _first_reply(messages, reply_counts_from(wait, target, info))
        if reply is not None:
            done, at, message_id = True, parse_time(reply.get("created_at")), _text(reply.get("id"))
    elif wait.until == "closed":
        hidden = not info.shows_tickets and fresh
        done = not ticket.is_open if ticket else hidden and _folded(info.chat_status) == "closed"
        at = ticket.closed_at if ticket and done else None
    elif wait.until == "stage":
        done = ticket is not None and ticket.stage_id is not None and ticket.stage_id.lower() in wait.stages
    else:
        done = fresh and _folded(info.chat_status) in wait.statuses
    return Finding(
        ai_contact_id=target.contact_id,
        until=wait.until,
        done=done,
        at=_iso(at),
        message_id=message_id,
        ticket_id=ticket.id if ticket else None,
        known_by=choice.known_by if choice else None,
        stage_id=ticket.stage_id if ticket else None,
        chat_status=info.chat_status,
        created_at=created(choice, target, within),
    )


def _changed_since(info: ContactInfo, within: Bounds) -> bool:
    at = seconds(info.updated_at)
    return within.earliest is None or (at is not None and at >= within.earliest)


def _first_reply(messages: Sequence[Mapping[str, Any]], earliest: float | None) -> Mapping[str, Any] | None:
    timed = [
        (at, message)
        for message in messages
        if _folded(message.get("direction")) in _FROM_CUSTOMER and (at := moment(message.get("created_at"))) is not None
    ]
    counted = [item for item in timed if earliest is None or item[0] >= earliest]
    return min(counted, key=lambda item: item[0])[1] if counted else None


def _iso(when: datetime | None) -> str | None:
    return None if when is None else iso_utc(when, "milliseconds")


def _text(value: object) -> str | None:
    return None if value is None or isinstance(value, (Mapping, list)) else str(value)


def _folded(value: object) -> str:
    return str(value or "").strip().lower()
