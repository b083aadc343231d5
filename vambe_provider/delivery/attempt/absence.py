"""What proves that an attempt created nothing. Pure functions.

Absence is only believed where something that surely exists would have been seen: a *witness*, a ticket that this
account opened in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vambe_provider.delivery.attempt.facts import Finding, Looks, Sight, Witness, seconds
from vambe_provider.delivery.attempt.presence import is_contradicted, is_heard, sent, unexplained
from vambe_provider.delivery.model import Attempt, Evidence, Sent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vambe_provider.api.contact_info import Ticket
    from vambe_provider.delivery.attempt.facts import Clock

RECENT = 600.0
"""A witness that was opened so many seconds before the attempt, or later, has to be seen; an older one may have been
changed, merged or deleted by a person.
"""

Kind = Literal["none", "active"]
"""Whether a contact had an active ticket when the request came: a contact that had one may be treated otherwise."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How much later than it happens the API shows something.

    :param known: the longest that it may take; None when nothing was seen.
    :param missed: something recent that surely exists was not seen.
    """

    known: float | None
    missed: bool


def absence(attempt: Attempt, looks: Looks, *, young: float, patience: float) -> Finding:
    """Say whether the looks prove that an attempt created nothing, given that none of them proves that it did.

    :param young: seconds since the attempt's start for which absence proves something.
    :param patience: seconds after the attempt's end that are long enough for everything to show, where no witness shows
        that less is enough.
    """
    contact = next((sight.info.id for sight in looks.same), next(iter(looks.gone), None))
    forbidden = _forbidden(looks)
    if forbidden is not None:
        return Finding("cannot_tell", forbidden, contact)
    finding = _no_ticket(attempt, looks, contact, patience) if looks.same else _no_contact(attempt, looks)
    if finding.verdict != "not_created" and finding.again_at is None:
        return finding
    if looks.at - attempt.started >= young:
        return Finding("cannot_tell", Evidence.TOO_OLD, contact)
    if looks.at < attempt.ended:  # the request may still be carried out
        return Finding("cannot_tell", Evidence.NO_TRACE, contact, again_at=max(attempt.ended, finding.again_at or 0.0))
    return finding


def _forbidden(looks: Looks) -> Evidence | None:
    """Return why nothing that was not seen can be said to be absent."""
    if not looks.complete:
        return Evidence.LOOK_FAILED
    if looks.unclear or any(sight.whose == "unclear" for sight in looks.sights):
        return Evidence.UNREADABLE_CONTACT
    if looks.full:
        return Evidence.SEARCH_FULL
    if looks.gone or any(sight.whose == "other" for sight in looks.sights):
        return Evidence.CONTACT_KNOWN
    return None


def _no_contact(attempt: Attempt, looks: Looks) -> Finding:
    """Nothing knows a contact of the person; a witness that can be looked for in the same way has to be found."""
    tried = [witness for witness in looks.witnesses if witness.searched]
    found = any(witness.found_at is not None for witness in tried)
    # The first ticket of an account has no witness.
    first = looks.by_number and not looks.witnesses
    lag = _lag(attempt, [(witness, witness.found_at) for witness in tried])
    in_time = lag.known is not None and lag.known <= looks.at - attempt.ended
    if first or (found and (in_time or not lag.missed)):
        return Finding("not_created", Evidence.NO_CONTACT)
    return Finding("cannot_tell", Evidence.NO_WITNESS)


def _no_ticket(attempt: Attempt, looks: Looks, contact: str | None, patience: float) -> Finding:
    """The contact is there without our mark; a witness of each kind that it may be has to show its own."""
    no_trace = Finding("cannot_tell", Evidence.NO_TRACE, contact)
    siblings = sent(looks.siblings)
    if any(other.started > attempt.started for other in siblings):
        return no_trace  # what the attempt created may stand under what came after it
    if any(unexplained(attempt, looks, sight) or _hides_ours(attempt, looks, sight) for sight in looks.same):
        return no_trace
    lags = _needed(attempt, looks)
    age, waits = looks.at - attempt.ended, []
    for lag in lags:
        if lag.known is not None and lag.known <= age:
            continue
        enough = patience if lag.known is None else min(lag.known, patience)
        if lag.missed:
            return no_trace
        if age < enough:
            waits.append(attempt.ended + enough)
    if not lags or waits:
        return Finding("cannot_tell", Evidence.NO_TRACE, contact, again_at=max(waits, default=None))
    return Finding("not_created", Evidence.WITNESS, contact)


def _needed(attempt: Attempt, looks: Looks) -> list[Lag]:
    """Return how late that shows which would have to be seen of the attempt; nothing when it might be seen nowhere.

    A mark has to be seen on contacts of the same kind. Where no witness tells what becomes of an active ticket, the
    attempt's message stands in for the mark: it is sent, whatever becomes of the ticket.
    """
    kinds = {kind for sight in looks.same for kind in _kinds_of_sight(attempt, looks, sight)}
    alike = [witness for witness in looks.witnesses if "active" in kinds or not _kept_another(witness, looks.clock)]
    marks = _lag(attempt, [(witness, witness.shown_at) for witness in alike if _would_show(witness)])
    shown = [witness for witness in (*looks.witnesses, *_own_witnesses(looks)) if witness.shown_at is not None]
    seen = {kind for witness in shown for kind in _kinds(witness, looks.clock)}
    missing = kinds - seen
    if not missing:
        return [marks]
    said = [(witness, witness.heard_at) for witness in looks.witnesses if witness.messages is not None]
    texts = _lag(attempt, [(witness, at) for witness, at in said if witness.attempt.message_hash is not None])
    is_heard_of = attempt.message_hash is not None and all(map(is_heard, looks.same)) and texts.known is not None
    return [marks, texts] if missing == {"active"} and "none" in seen and is_heard_of else []


def _would_show(witness: Witness) -> bool:
    """Say whether the mark of a witness has to be seen; a contact may show that of a later ticket in its place."""
    if witness.info is None or witness.shown_at is not None:
        return witness.info is not None
    later = (other.mark for other in sent(witness.siblings) if other.started > witness.attempt.started)
    return witness.info.marks.isdisjoint(later)


def _lag(attempt: Attempt, seen: Iterable[tuple[Witness, float | None]]) -> Lag:
    """Say within which time after its request something shows."""
    ages, missed = [], False
    for witness, at in seen:
        if at is not None:
            ages.append(at - witness.attempt.started)
        elif witness.attempt.started >= attempt.started - RECENT:
            missed = True
    return Lag(min(ages, default=None), missed)


def _hides_ours(attempt: Attempt, looks: Looks, sight: Sight) -> bool:
    """Say whether something that came after the attempt may stand in the place of its ticket or of its mark."""
    return any(_age(ticket, attempt, looks) == "later" for ticket in sight.tickets)


def _age(ticket: Ticket, attempt: Attempt, looks: Looks) -> Literal["before", "during", "later"]:
    """Say when a ticket was made or moved; ``later`` where that is not known."""
    span, known = looks.clock.span(attempt), {other.mark for other in sent(looks.siblings)}
    if ticket.marks and ticket.marks <= known:
        return "before"  # nothing of ours came after the attempt
    if not _stamps_hold(looks):
        return "later"
    created, closed, updated = map(seconds, (ticket.created_at, ticket.closed_at, ticket.updated_at))
    if any(moment is not None and moment < span.start for moment in (closed, updated)):
        return "before"
    if created is None or ticket.marks:
        return "later"  # somebody else's ticket may have been moved over ours
    return "during" if created in span else "before" if created < span.start else "later"


def _stamps_hold(looks: Looks) -> bool:
    """Say whether a ticket with a mark shows that the times of tickets can be compared with ours."""
    marked = [
        seconds(ticket.created_at) in looks.clock.span(witness.attempt)
        for witness in (*looks.witnesses, *_own_witnesses(looks))
        if witness.info is not None
        for ticket in witness.info.tickets
        if witness.attempt.mark in ticket.marks
    ]
    return any(marked) and not is_contradicted(looks)


def _kinds_of_sight(attempt: Attempt, looks: Looks, sight: Sight) -> set[Kind]:
    """Return what the contact may have been when the request came."""
    if not sight.info.shows_tickets:
        return {"none", "active"}
    start, end = looks.clock.span(attempt).start, looks.clock.span(attempt).end
    kinds: set[Kind] = set()
    hold = _stamps_hold(looks)
    alive = [ticket for ticket in sight.tickets if not hold or (seconds(ticket.closed_at) or start) >= start]
    if alive:
        kinds.add("active")
    if not any(_age(ticket, attempt, looks) == "before" and _lasted(ticket, end) for ticket in alive):
        kinds.add("none")
    return kinds


def _lasted(ticket: Ticket, end: float) -> bool:
    closed = seconds(ticket.closed_at)
    return ticket.is_open if closed is None else closed > end


def _kinds(witness: Witness, clock: Clock) -> set[Kind]:
    """Return what a witness shows of: a contact that had no active ticket, or one that had."""
    if witness.info is None:
        return set()
    span, mark, tickets = clock.span(witness.attempt), witness.attempt.mark, witness.info.tickets
    earlier = earlier_on_contact(witness.attempt, witness.siblings)
    marked = [seconds(ticket.created_at) for ticket in tickets if mark in ticket.marks]
    is_new = any(created in span for created in marked)
    moved = any(created is not None and created <= clock.span(other).end for created in marked for other in earlier)
    replaced = any(seconds(ticket.closed_at) in span for ticket in tickets if mark not in ticket.marks)
    never_closed = witness.info.shows_closed_ticket and all(ticket.is_open for ticket in tickets)
    if moved or replaced or (earlier and never_closed):
        return {"active", "none"} if is_new else {"active"}
    return {"none"}


def _kept_another(witness: Witness, clock: Clock) -> bool:
    """Say whether a ticket from before the witness is active, so that the witness may show in no ticket at all."""
    start, tickets = clock.span(witness.attempt).start, witness.info.tickets if witness.info else ()
    return any(ticket.is_open and (seconds(ticket.created_at) or start) < start for ticket in tickets)


def earlier_on_contact(attempt: Attempt, siblings: Sequence[Attempt]) -> list[Attempt]:
    """Return the attempts that surely opened a ticket on the same contact before."""
    contact = attempt.ai_contact_id
    return [
        other
        for other in siblings
        if other.sent == Sent.YES and other.started < attempt.started and contact and other.ai_contact_id == contact
    ]


def _own_witnesses(looks: Looks) -> list[Witness]:
    """Return the tickets to the same person whose mark the contact shows: they tell how it is treated."""
    return [
        Witness(other, sight.info, shown_at=looks.read_at, siblings=looks.siblings)
        for sight in looks.same
        for other in looks.siblings
        if other.sent == Sent.YES and other.mark in sight.info.marks
    ]
