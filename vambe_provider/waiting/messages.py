"""The messages of a conversation since some time, however the API pages them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vambe_provider.waiting.conditions import moment

if TYPE_CHECKING:
    from vambe_provider.api import AsyncVambeClient, ChatMessage

MAX_PAGES = 100
"""Pages of one conversation that one look reads at most."""
_SECOND = 1.0


@dataclass(slots=True)
class Conversation:
    """What was read of the messages of a contact.

    :param messages: those that were read, without an order.
    :param cut: whether there were more pages than a look reads.
    """

    messages: list[dict[str, Any]] = field(default_factory=list, repr=False)
    cut: bool = False

    def add(self, page: Sequence[ChatMessage]) -> bool:
        """Add a page, and return whether it held anything new."""
        known = {message["id"] for message in self.messages} - {None}
        new = [message.model_dump() for message in page if message.id not in known]
        self.messages += new
        return bool(new)


async def read_messages(
    client: AsyncVambeClient, contact_id: str, *, since: float | None, last: float | None
) -> Conversation:
    """Read the messages of a contact since some time.

    Nothing says whether the first page is the newest or the oldest. Where it is the newest, it is read back to the
    time; where it is the oldest and the number of all messages is given, from the last page back, else to the end.

    :param since: older messages are of no interest, in seconds since 1970; None for all.
    :param last: when the last message came, as the contact tells.
    """
    found = Conversation()
    first = await client.messages_page(contact_id, page=1)
    found.add(first.messages)
    size = len(first.messages)
    if not size or first.more is False or (first.more is None and first.total is not None and first.total <= size):
        return found
    oldest, newest = _oldest(first.messages), _newest(first.messages)
    holds_the_last = last is not None and newest is not None and newest >= last - _SECOND
    if holds_the_last and since is not None and oldest is not None and oldest < since:
        return found
    if not holds_the_last and last is not None and first.total is not None and first.total > size:
        pages = math.ceil(first.total / size)
        found.cut = await _back(client, contact_id, found, numbers=range(pages, 1, -1), since=since)
        return found
    found.cut = await _on(client, contact_id, found, since=since)
    return found


async def _back(
    client: AsyncVambeClient, contact_id: str, found: Conversation, *, numbers: range, since: float | None
) -> bool:
    """Read pages that get older and older, and return whether some were left out."""
    for count, number in enumerate(numbers, 2):
        if count > MAX_PAGES:
            return True
        page = await client.messages_page(contact_id, page=number)
        found.add(page.messages)
        oldest = _oldest(page.messages)
        if since is not None and oldest is not None and oldest < since:
            break
    return False


async def _on(client: AsyncVambeClient, contact_id: str, found: Conversation, *, since: float | None) -> bool:
    """Read the following pages, and return whether some were left out; pages that get older end at the time."""
    newest = _newest(found.messages)
    for number in range(2, MAX_PAGES + 1):
        page = await client.messages_page(contact_id, page=number)
        if not found.add(page.messages) or page.more is False:
            return False
        oldest, until = _oldest(page.messages), _newest(page.messages)
        gets_older = until is not None and newest is not None and until <= newest
        if gets_older and since is not None and oldest is not None and oldest < since:
            return False
    return True


def _times(messages: Sequence[ChatMessage] | Sequence[dict[str, Any]]) -> list[float]:
    times = (moment(item["created_at"] if isinstance(item, dict) else item.created_at) for item in messages)
    return [at for at in times if at is not None]


def _newest(messages: Sequence[ChatMessage] | Sequence[dict[str, Any]]) -> float | None:
    return max(_times(messages), default=None)


def _oldest(messages: Sequence[ChatMessage] | Sequence[dict[str, Any]]) -> float | None:
    return min(_times(messages), default=None)
