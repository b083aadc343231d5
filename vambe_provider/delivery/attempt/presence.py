"""What proves that an attempt created its ticket. Pure functions.

A mark proves by itself. Everything else proves only within the time in which the attempt can have had an effect, and
only what nothing else explains.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from vambe_provider.delivery.attempt.facts import Finding, Looks, Sight, Span, seconds
from vambe_provider.delivery.model import Attempt, Evidence, Sent

if TYPE_CHECKING:
    from vambe_provider.api.contact_info import ContactInfo, Ticket
    from vambe_provider.delivery.attempt.facts import Clock, Said, Witness

Thing = Literal["message", "ticket", "contact"]

CAUSED_BEFORE, CAUSED_AFTER = 60.0, 5.0
"""A message that the customer wrote so many seconds before or after may be why a ticket or a contact was created."""
NEAR = 3600.0
"""Seconds within which the same text beside its time means that it is not known whose time that is."""
ANSWER = 3600.0
"""Seconds within which a message to the customer may belong to what came before it."""


def proof(attempt: Attempt, looks: Looks, *, last: bool) -> Finding | None:
    """Return the proof that an attempt created its ticket, or None.

    :param last: whether no look follows. Tickets and contacts without a mark prove something only then, since the mark
        of another attempt may show up on them.
    """
    checks = (marked, _by_message, _by_ticket, _by_contact) if last else (marked, _by_message)
    return next((finding for check in checks if (finding := check(attempt, looks)) is not None), None)


def unexplained(attempt: Attempt, looks: Looks, sight: Sight) -> bool:
    """Say whether something of a contact was made during the attempt that nothing else explains.

    It may be no proof, and yet it forbids to say that nothing was created.
    """
    if next(_new_tickets(attempt, looks, sight), None) is not None or _is_new_contact(attempt, looks, sight):
        return True
    span, messages = looks.clock.span(attempt), sight.messages or ()
    if any(said.outbound and said.at in span and not _is_answer(said, sight, looks) for said in messages):
        return True
    same_text = [said for said in messages if said.is_text(attempt.message_hash) and said.at in _near(span)]
    return not _explain([looks.clock.span(other) for other in _rivals(attempt, looks)], same_text)


def sent(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Return the attempts that were carried out, surely or maybe."""
    return [attempt for attempt in attempts if attempt.sent != Sent.NO]


def marked(attempt: Attempt, looks: Looks) -> Finding | None:
    """Return the proof that the attempt's mark stands in a contact or in a ticket, or None."""
    for sight in looks.sights:
        if attempt.mark in sight.marks:
            ticket = next((ticket for ticket in sight.tickets if attempt.mark in ticket.marks), None)
            created = seconds(ticket.created_at) if ticket else None
            return Finding("created", Evidence.MARK, sight.info.id, ticket.id if ticket else None, created)
    return None


def _by_message(attempt: Attempt, looks: Looks) -> Finding | None:
    """The attempt's message was sent, once more than other attempts with the same text explain."""
    if attempt.message_hash is None or not _clocks_agree(looks, "message"):
        return None
    rivals = _rivals(attempt, looks)
    taken = {other.evidence_id for other in rivals} - {None}
    span = looks.clock.span(attempt)
    for sight in looks.same:
        same_text = [said for said in sight.messages or () if said.is_text(attempt.message_hash)]
        spans = [looks.clock.span(other) for other in _loose(rivals, {said.id for said in same_text})]
        free = [said for said in same_text if said.id not in taken]
        ours = [said for said in free if said.at in span]
        theirs = [said for said in free if said.at not in span and any(said.at in other for other in spans)]
        if _explain(spans, theirs) and not _explain(spans, theirs + ours):
            found = next((said for said in ours if not any(said.at in other for other in spans)), ours[-1])
            return Finding("created", Evidence.MESSAGE, sight.info.id, found.id, found.at)
    return None


def _rivals(attempt: Attempt, looks: Looks) -> list[Attempt]:
    """Return other attempts that may have sent the same text."""
    return [other for other in sent(looks.siblings) if other.message_hash == attempt.message_hash]


def _explain(spans: Sequence[Span], messages: Sequence[Said]) -> bool:
    """Say whether each message can have been sent in a span of its own."""
    left = sorted(spans, key=lambda span: span.end)
    for said in sorted(messages, key=lambda said: said.at or 0.0):
        found = next((span for span in left if said.at in span), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _by_ticket(attempt: Attempt, looks: Looks) -> Finding | None:
    """A ticket was created that nothing else explains, where tickets do not show their marks."""
    if _shows_marks(looks) or not _clocks_agree(looks, "ticket"):
        return None
    for sight in looks.same:
        ticket = next(_new_tickets(attempt, looks, sight), None)
        if ticket is not None and is_heard(sight):
            return Finding("created", Evidence.TICKET, sight.info.id, ticket.id, seconds(ticket.created_at))
    return None


def _by_contact(attempt: Attempt, looks: Looks) -> Finding | None:
    """The contact was created, and has a ticket or does not show whether it has one."""
    if _shows_marks(looks) or not _clocks_agree(looks, "contact"):
        return None
    for sight in looks.same:
        shows_none = sight.info.shows_tickets and not sight.tickets
        others = any(ticket.marks or ticket.created_at for ticket in sight.tickets)
        if not shows_none and not others and _is_new_contact(attempt, looks, sight) and is_heard(sight):
            contact = sight.info.id
            return Finding("created", Evidence.CONTACT, contact, contact, seconds(sight.info.created_at))
    return None


def _new_tickets(attempt: Attempt, looks: Looks, sight: Sight) -> Iterator[Ticket]:
    """Yield the tickets without a mark that neither another attempt nor the customer explains."""
    span, among = looks.clock.span(attempt), {ticket.id for ticket in sight.tickets}
    for ticket in sight.tickets:
        created = seconds(ticket.created_at)
        if ticket.marks or created is None or created not in span or _is_taken(ticket.id, looks):
            continue
        if not _may_be_anothers(created, looks, among) and not _is_the_customers(created, sight):
            yield ticket


def _is_new_contact(attempt: Attempt, looks: Looks, sight: Sight) -> bool:
    created = seconds(sight.info.created_at)
    if created is None or created not in looks.clock.span(attempt) or _is_taken(sight.info.id, looks):
        return False
    return not _may_be_anothers(created, looks, {sight.info.id}) and not _is_the_customers(created, sight)


def _is_taken(identity: str | None, looks: Looks) -> bool:
    return identity is not None and any(identity == other.evidence_id for other in looks.siblings)


def _may_be_anothers(created: float, looks: Looks, among: Collection[str | None]) -> bool:
    return any(created in looks.clock.span(other) for other in _loose(sent(looks.siblings), among))


def _loose(attempts: Sequence[Attempt], among: Collection[str | None]) -> list[Attempt]:
    """Return the attempts that may have made one of these things, when nothing tells which."""
    return [other for other in attempts if other.evidence_id is None or other.evidence_id not in among]


def _is_the_customers(created: float, sight: Sight) -> bool:
    """Say whether a message of the customer may be why something was created."""
    around = (said.at - created for said in sight.messages or () if not said.outbound and said.at is not None)
    return any(-CAUSED_BEFORE <= distance <= CAUSED_AFTER for distance in around)


def _is_answer(said: Said, sight: Sight, looks: Looks) -> bool:
    """Say whether a message to the customer may belong to what the customer wrote, or to another attempt."""
    at = said.at or 0.0
    asked = [other.at for other in sight.messages or () if not other.outbound and other.at is not None]
    spans = [looks.clock.span(other) for other in sent(looks.siblings)]
    starts = asked + [span.start for span in spans]
    return any(start <= at <= start + ANSWER for start in starts)


def is_heard(sight: Sight) -> bool:
    """Say whether the whole conversation was read."""
    if sight.messages is None:
        return False
    newest = max((said.at for said in sight.messages if said.at is not None), default=None)
    last = seconds(sight.info.last_message_at)
    return last is None or (newest is not None and last <= newest + CAUSED_AFTER)


def _shows_marks(looks: Looks) -> bool:
    """Say whether marks of ours can be seen here, so that what shows none is none of ours."""
    witnesses = [witness.info for witness in looks.witnesses if witness.info is not None]
    return (
        any(sight.marks for sight in looks.sights)
        or any(info.marks for info in witnesses)
        or any(witness.shown_at is not None for witness in looks.witnesses)
    )


def _clocks_agree(looks: Looks, kind: Thing) -> bool:
    """Say whether times that the API stamps can be compared with ours.

    A message is our own text, so for one it is enough that nothing speaks against its time. Where the API's clock is
    not known, the span of an attempt is too wide for anything else.
    """
    is_known = looks.clock.offset is not None
    if is_contradicted(looks) or (kind != "message" and not is_known):
        return False
    if kind == "message" and is_known:
        return True
    return any(_agrees(witness, looks.clock.span(witness.attempt), kind) for witness in looks.witnesses)


def is_contradicted(looks: Looks) -> bool:
    """Say whether a time that the API stamped cannot be right."""
    return any(_shows_the_future(info, messages, looks) for info, messages in _everything(looks)) or any(
        _disagrees(witness, looks.clock) for witness in looks.witnesses
    )


def _agrees(witness: Witness, span: Span, kind: Thing) -> bool:
    """Say whether a witness shows a time of this kind that is surely its own.

    That is so where its attempt made the contact and nothing ever happened to it but within the attempt.
    """
    info = witness.info
    if info is None or info.created_at is None:
        return False
    stamps = [info.created_at, info.updated_at, info.last_message_at, *(ticket.created_at for ticket in info.tickets)]
    if any(stamp is not None and seconds(stamp) not in span for stamp in stamps):
        return False
    if kind == "ticket":
        return any(ticket.created_at is not None for ticket in info.tickets)
    return kind == "contact" or any(said.is_text(witness.attempt.message_hash) for said in witness.messages or ())


def _disagrees(witness: Witness, clock: Clock) -> bool:
    """Say whether a witness shows times at which its attempt cannot have made what it made."""
    span = clock.span(witness.attempt)
    created = seconds(witness.info.created_at) if witness.info else None
    if created is not None and created > span.end:
        return True
    texts = [said for said in witness.messages or () if said.is_text(witness.attempt.message_hash)]
    rivals = [other for other in sent(witness.siblings) if other.message_hash == witness.attempt.message_hash]
    beside = [said for said in texts if said.at in _near(span) and said.at not in span]
    is_strange = not _explain([clock.span(other) for other in rivals], beside)
    return is_strange or (bool(texts) and not any(said.at in span for said in texts))


def _near(span: Span) -> Span:
    return Span(span.start - NEAR, span.end + NEAR)


def _everything(looks: Looks) -> Iterator[tuple[ContactInfo, Sequence[Said]]]:
    for sight in looks.sights:
        yield sight.info, sight.messages or ()
    for witness in looks.witnesses:
        if witness.info is not None:
            yield witness.info, witness.messages or ()


def _shows_the_future(info: ContactInfo, messages: Sequence[Said], looks: Looks) -> bool:
    stamps = [info.created_at, info.updated_at, info.last_message_at, *(ticket.created_at for ticket in info.tickets)]
    latest = looks.clock.latest(looks.read_at)
    return any((seconds(stamp) or 0.0) > latest for stamp in stamps) or any(
        (said.at or 0.0) > latest for said in messages
    )
