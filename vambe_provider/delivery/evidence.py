"""What the API's answers prove about a ticket that may or may not have been created. Pure functions.

Nothing here is guessed: a finding is either proof that the ticket exists, or proof that it does not, or no proof.
What another ticket to the same person explains is no proof for this one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Literal

from vambe_provider.delivery.key import METADATA_KEY
from vambe_provider.delivery.model import Sibling, State

SIBLING_WINDOW = 3600.0
"""Seconds before the start within which another ticket to the same person may explain what is found."""
SEARCH_CAP = 50
"""The search returns at most so many contacts; a full page proves no absence."""


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for.

    :param marker: the key that travelled in the ticket's metadata.
    :param content: the message's text, when one was sent as plain text.
    :param numbers: the digits under which WhatsApp may know the person.
    :param message_hash: the hash of that text, as the ledger holds it.
    :param since: nothing older than this is evidence, in seconds of the API's clock: the start, less what the clocks
        may differ.
    :param after: what is newer than this was surely made after the start: the start, and what the clocks may differ.
    :param siblings: other tickets to the same person.
    """

    marker: str
    content: str | None = field(repr=False)
    message_hash: str | None
    numbers: frozenset[str] = field(repr=False)
    since: float
    after: float
    siblings: Sequence[Sibling]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look found.

    :param capped: the search was full, so that contacts may be missing from it.
    :param contacts: for each contact with the person's number, its info and its newest messages, as the API gave them.
    """

    capped: bool
    contacts: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look proves.

    :param verdict: ``created``, ``not_created`` or ``cannot_tell``.
    :param check: which check decided.
    :param ai_contact_id: the contact, when it was found.
    :param evidence_id: the ticket or message that is the proof, so that it proves nothing for another ticket.
    """

    verdict: Literal["created", "not_created", "cannot_tell"]
    check: str
    ai_contact_id: str | None = None
    evidence_id: str | None = None


def same_person(contact: Mapping[str, Any], numbers: frozenset[str]) -> bool:
    """Say whether a contact of the partial search has exactly this number, in one of its spellings."""
    return "".join(char for char in str(contact.get("phone") or "") if char.isdigit()) in numbers


def judge(sought: Sought, seen: Seen) -> Finding:
    """Say what one look proves about the ticket."""
    for check in (_by_key, _by_ticket, _by_contact, _by_message):
        for info, messages in seen.contacts:
            finding = check(sought, info, messages)
            if finding is not None:
                return finding
    if seen.contacts:
        return Finding("cannot_tell", "no_trace", ai_contact_id=_text(seen.contacts[0][0].get("id")))
    if seen.capped:
        return Finding("cannot_tell", "search_full")
    return Finding("not_created", "no_contact")


def _by_key(sought: Sought, info: Mapping[str, Any], _: Sequence[Mapping[str, Any]]) -> Finding | None:
    """Our key stands in the contact's or a ticket's data."""
    if any(value == sought.marker for _, value in _walk(info)):
        return Finding("created", "ticket_key", _text(info.get("id")))
    return None


def _by_ticket(sought: Sought, info: Mapping[str, Any], _: Sequence[Mapping[str, Any]]) -> Finding | None:
    """A ticket was created after the start, and no other ticket of ours explains it."""
    tickets = {_text(ticket.get("id")): ticket for ticket in _tickets(info) if not _is_anothers(ticket, sought)}
    taken = {sibling.evidence_id for sibling in sought.siblings}
    for identity, ticket in tickets.items():
        if identity not in taken and _is_new(ticket, sought, among=tickets.keys()):
            return Finding("created", "new_ticket", _text(info.get("id")), identity)
    return None


def _by_contact(sought: Sought, info: Mapping[str, Any], _: Sequence[Mapping[str, Any]]) -> Finding | None:
    """The contact itself was created after the start, and has a ticket or does not show whether it has one."""
    contact = _text(info.get("id"))
    taken = any(sibling.ai_contact_id == contact for sibling in sought.siblings)
    tickets = [ticket for ticket in _tickets(info) if not _is_anothers(ticket, sought)]
    shows_none = any("ticket" in key for key in info) and not tickets
    if taken or shows_none or not _is_new(info, sought, among={contact}):
        return None
    return Finding("created", "new_contact", contact, contact)


def _by_message(sought: Sought, info: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> Finding | None:
    """Our message stands among the contact's messages, once more than other tickets with the same text explain."""
    if sought.content is None:
        return None
    rivals = [s for s in _recent(sought) if s.message_hash == sought.message_hash]
    taken = {sibling.evidence_id for sibling in rivals}
    earliest = min([sought.since, *(sibling.started - (sought.after - sought.since) for sibling in rivals)])
    sent = [
        (created, _text(message.get("id")))
        for message in messages
        if str(message.get("direction", "")).upper() == "OUTBOUND"
        and str(message.get("body") or "").strip() == sought.content.strip()
        and (created := _when(message.get("created_at"))) is not None
        and created >= earliest
    ]
    sent.sort(key=itemgetter(0))
    ours = [item for item in sent if item[1] not in taken]
    if len(ours) <= len(_loose(rivals, {identity for _, identity in sent})) or ours[-1][0] < sought.since:
        return None
    return Finding("created", "message", _text(info.get("id")), ours[-1][1])


def _recent(sought: Sought) -> list[Sibling]:
    """Other tickets to this person whose effects may be among what is seen."""
    sent = (State.OPENED, State.UNKNOWN, State.SENDING)
    return [s for s in sought.siblings if s.state in sent and s.started >= sought.since - SIBLING_WINDOW]


def _loose(siblings: Sequence[Sibling], among: Collection[str | None]) -> list[Sibling]:
    """Those of whom it is not known which of these things they made; each explains one of them."""
    return [sibling for sibling in siblings if sibling.evidence_id is None or sibling.evidence_id not in among]


def _is_new(thing: Mapping[str, Any], sought: Sought, *, among: Collection[str | None]) -> bool:
    """Say whether a thing was created by this ticket, as far as its time tells.

    Tickets to one person are sent one after the other. So what a sibling with a reply made is older than our start, or
    newer than its own start when it was sent after us; a sibling whose end is not known can have made anything.
    """
    created = _when(thing.get("created_at") or thing.get("createdAt"))
    if created is None or created < sought.since:
        return False
    loose = _loose(_recent(sought), among)
    return all(sibling.state == State.OPENED and not _may_be_of(sibling, created, sought) for sibling in loose)


def _may_be_of(sibling: Sibling, created: float, sought: Sought) -> bool:
    start, skew = (sought.since + sought.after) / 2, (sought.after - sought.since) / 2
    return created >= sibling.started - skew if sibling.started > start else created < sought.after


def _tickets(info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Every object under a name that speaks of a ticket; how the API names them is not documented."""
    return [value for key, value in _walk(info) if "ticket" in key and isinstance(value, Mapping) and "id" in value]


def _is_anothers(ticket: Mapping[str, Any], sought: Sought) -> bool:
    """Say whether a ticket carries a mark of ours that is not the one that is looked for."""
    marks: list[object] = []
    for key, value in _walk(ticket):
        if key == METADATA_KEY:
            marks.append(value)
        elif isinstance(value, Mapping) and METADATA_KEY in value.values():  # a list of keys and values
            marks += [item for item in value.values() if item != METADATA_KEY]
    return bool(marks) and sought.marker not in marks


def _walk(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    yield key, value
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _walk(inner, str(name).lower())
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _walk(inner, key)


def _when(value: object) -> float | None:
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _text(value: object) -> str | None:
    return None if value is None else str(value)
