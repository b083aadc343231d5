"""Which ticket of a contact is the one that is waited for. Pure: no Airflow, no network, no clock.

What the opening recorded is known: the mark in the ticket's metadata, and between which times it was opened, by the
API's clock. Where it is missing, it is inferred from the start of the Dag run. Nothing from before counts, unless
nothing newer has come to light when reads had the time to show it: then the API has used an open ticket again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vambe_provider.api.contact_info import same_id

if TYPE_CHECKING:
    from datetime import datetime

    from vambe_provider.api.contact_info import ContactInfo, Ticket

CLOCK_ERROR = 5.0
"""Seconds by which a time of the API may be off: its ``Date`` header has whole seconds, and requests take some."""
LAG = 60.0
"""Seconds after which reads show what was opened."""
_SAME_CLOCK = 900.0
"""Seconds that the time of a ticket with our mark may differ from ours and still be that of its opening."""

KnownBy = Literal["mark", "id", "time", "inferred"]


@dataclass(frozen=True, slots=True)
class Target:
    """One contact that is waited for, and what is known of its ticket.

    :param contact_id: the contact.
    :param mark: what stands in the ticket's metadata as ``airflow_ticket_key``.
    :param opened_at: the ticket was not opened before, in seconds since 1970 by the API's clock.
    :param opened_until: nor after.
    :param ticket_id: the ticket, when a look has shown it.
    :param created_at: when it was opened, as that look has shown.
    :param account: the account with which it was opened.
    """

    contact_id: str
    mark: str | None = None
    opened_at: float | None = None
    opened_until: float | None = None
    ticket_id: str | None = None
    created_at: float | None = None
    account: str | None = None

    @property
    def key(self) -> str:
        """The contact's id as it is compared: some databases write a uuid in capitals."""
        return self.contact_id.lower()

    def to_json(self) -> dict[str, Any]:
        """Return what is known of the ticket as plain JSON values."""
        names = ("mark", "opened_at", "opened_until", "ticket_id", "created_at")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Choice:
    """The ticket that was found.

    :param known_by: ``mark`` or ``id`` or ``time`` (of its opening), or ``inferred`` from the run and from what else is
        shown.
    """

    ticket: Ticket
    known_by: KnownBy


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which times a ticket was opened, as far as that is known, in seconds since 1970 by the API's clock.

    :param earliest: nothing older counts; None when nothing is known.
    :param latest: a ticket that is newer is another one; None when nothing is known.
    :param told: whether the opening or the user told it, and it was not inferred.
    """

    earliest: float | None
    latest: float | None = None
    told: bool = False


def bounds(target: Target, *, since: float | None, started: float | None) -> Bounds:
    """Return between which times the ticket of a target was opened.

    :param since: what the user said; it stands in for what the opening did not record.
    :param started: when the Dag run started.
    """
    if target.opened_at is not None:
        latest = None if target.opened_until is None else target.opened_until + CLOCK_ERROR
        return Bounds(target.opened_at - CLOCK_ERROR, latest, told=True)
    if since is not None:
        return Bounds(since, told=True)
    return Bounds(None if started is None else started - CLOCK_ERROR)


def find(info: ContactInfo, target: Target, within: Bounds, *, settled: bool) -> Choice | None:
    """Return the ticket of a target, or None when it is not among those that are shown.

    :param info: the contact.
    :param target: what is known of the ticket.
    :param within: when it was opened.
    :param settled: whether reads had the time to show it. Only then an older ticket counts, which was used again.
    """
    marked = [ticket for ticket in info.tickets if target.mark is not None and target.mark in ticket.marks]
    if marked:
        return Choice(max(marked, key=lambda ticket: _seconds(ticket.created_at) or 0.0), "mark")
    for ticket in info.tickets:
        if same_id(ticket.id, target.ticket_id):
            return Choice(ticket, "id")
    others = list(_possible(info, target, within))
    timed = [ticket for ticket in others if _is_new(ticket, within)]
    if timed:
        first = min(timed, key=lambda ticket: _seconds(ticket.created_at) or 0.0)
        return Choice(first, "time" if within.told else "inferred")
    if not settled and within.earliest is not None:
        return None
    # An open ticket was used again, or times are not shown. A contact has one active ticket at most, so with none open
    # the one that was closed since is it.
    ranked = sorted(others, key=lambda ticket: (not ticket.is_open, not ticket.is_active))
    return Choice(ranked[0], "inferred") if ranked else None


def created(choice: Choice | None, target: Target, within: Bounds) -> float | None:
    """Return when the ticket was opened, or None when that is not known: an older ticket may have been used again."""
    at = _seconds(choice.ticket.created_at) if choice else None
    if choice is None or at is None:
        return None
    if choice.known_by == "mark" and target.opened_at is not None:
        return at if abs(at - target.opened_at) <= _SAME_CLOCK else None
    return at if within.earliest is None or at >= within.earliest else None


def _possible(info: ContactInfo, target: Target, within: Bounds) -> Iterator[Ticket]:
    """Yield the tickets that nothing excludes: the mark of another one, a time after, or a closing before."""
    earliest, latest = within.earliest, within.latest
    for ticket in info.tickets:
        made, closed = _seconds(ticket.created_at), _seconds(ticket.closed_at)
        if target.mark is not None and ticket.marks and not _is_ignored(ticket, within):
            continue
        if latest is not None and made is not None and made > latest:
            continue
        closed_before = closed is not None and earliest is not None and closed < earliest
        old_and_closed = not ticket.is_open and closed is None and made is not None and _before(made, earliest)
        if not (closed_before or old_and_closed):
            yield ticket


def _is_ignored(ticket: Ticket, within: Bounds) -> bool:
    """Say whether a ticket with the mark of another one is older: the API may use it again and keep its metadata."""
    return _before(_seconds(ticket.created_at), within.earliest)


def _is_new(ticket: Ticket, within: Bounds) -> bool:
    made = _seconds(ticket.created_at)
    return made is not None and within.earliest is not None and made >= within.earliest


def _before(at: float | None, earliest: float | None) -> bool:
    return at is not None and earliest is not None and at < earliest


def _seconds(when: datetime | None) -> float | None:
    return None if when is None else when.timestamp()
