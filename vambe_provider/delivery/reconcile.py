"""Find out by reading whether a ticket was created: never a POST, a few looks, and the honest answer when nobody can
tell.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from vambe_provider.contact_policy.phone import number_aliases
from vambe_provider.delivery.evidence import SEARCH_CAP, Finding, Seen, Sought, judge, same_person
from vambe_provider.exceptions import VambeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from vambe_provider.api.models import ChatMessage, Contact
    from vambe_provider.delivery.model import Claim, Sibling

    Siblings = Callable[[], Awaitable[Sequence[Sibling]]]

SEARCH_DIGITS = 8
"""The search is partial, and the last eight digits are the same in every spelling of a number."""
SKEW_KNOWN = 2.0
"""Seconds by which the API's clock may be off when its ``Date`` header is known; the header counts whole seconds."""
SKEW_UNKNOWN = 60.0


class Reader(Protocol):
    """The reading half of the API client."""

    @property
    def server_clock_offset(self) -> float | None:
        """Seconds that the API's clock is ahead of this machine's."""
        ...

    async def search_contacts(self, *, phone: str | None = None, email: str | None = None) -> list[Contact]:
        """Find contacts by a part of their number."""
        ...

    async def get_contact(self, contact_id: str) -> Contact:
        """Read one contact with its tickets."""
        ...

    async def get_messages(self, contact_id: str) -> list[ChatMessage]:
        """Read the messages of one contact."""
        ...


async def reconcile(claim: Claim, reader: Reader, *, siblings: Siblings, polls: Sequence[float]) -> Finding:
    """Say whether the ticket of a claim exists.

    :param siblings: returns the other tickets to the same person. It is asked after each look, so that whatever the
        look shows of another ticket is known to be that one's.
    :param polls: seconds to wait before each look; the last look decides about absence, an earlier one only about
        presence.
    :return: ``not_created`` only when the last look worked and found no contact with the number.
    """
    finding = Finding("cannot_tell", "search_failed")
    for pause in polls:
        await asyncio.sleep(pause)
        try:
            seen = await _look(claim, reader)
        except VambeError as error:
            finding = Finding("cannot_tell", f"search_failed_{error.status or ''}".rstrip("_")[:20])
            continue
        finding = judge(_sought(claim, reader, await siblings()), seen)
        if finding.verdict == "created":
            return finding
    return finding


async def _look(claim: Claim, reader: Reader) -> Seen:
    phone = claim.work.ticket.to_phone_number
    numbers = number_aliases(phone)
    found = [_plain(contact) for contact in await reader.search_contacts(phone=phone[-SEARCH_DIGITS:])]
    same = [contact for contact in found if same_person(contact, numbers)]
    contacts = []
    for contact in same:
        info = _plain(await reader.get_contact(str(contact["id"])))
        messages = [_plain(message) for message in await reader.get_messages(str(contact["id"]))]
        contacts.append(({**contact, **info}, messages))
    return Seen(capped=len(found) >= SEARCH_CAP, contacts=contacts)


def _sought(claim: Claim, reader: Reader, siblings: Sequence[Sibling]) -> Sought:
    offset = reader.server_clock_offset
    skew = SKEW_UNKNOWN if offset is None else SKEW_KNOWN
    message = claim.work.ticket.message
    plain = message is not None and message.template_id is None
    return Sought(
        marker=claim.work.key.marker(claim.generation),
        content=message.content if message is not None and plain else None,
        numbers=number_aliases(claim.work.ticket.to_phone_number),
        message_hash=claim.work.message_hash,
        since=claim.started + (offset or 0.0) - skew,
        after=claim.started + (offset or 0.0) + skew,
        siblings=[_on_api_clock(sibling, offset or 0.0) for sibling in siblings],
    )


def _on_api_clock(sibling: Sibling, offset: float) -> Sibling:
    return replace(sibling, started=sibling.started + offset)


def _plain(model: Any) -> dict[str, Any]:
    return dict(model.model_dump(by_alias=False))
