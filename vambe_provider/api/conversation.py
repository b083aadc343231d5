"""In which order messages were written. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vambe_provider.api.models import ChatMessage


def in_order(pages: list[list[ChatMessage]]) -> list[ChatMessage]:
    """Return the messages of all pages with the newest last.

    Nothing says whether the first page is the newest or the oldest, so the times decide; without them the order stays.

    :param pages: each in the order of time.
    """
    pages = [page for page in pages if page]
    messages = [message for page in pages for message in page]
    times = [_moment(message.created_at) for message in messages]
    known = [moment for moment in times if moment is not None]
    if len(known) < len(messages) or not known:
        return messages
    if known[0] > known[-len(pages[-1])]:  # the newest page came first; turned, so that equal times stay in their order
        return in_order(pages[::-1])
    ranked = sorted(range(len(messages)), key=lambda index: known[index])
    return [messages[index] for index in ranked]


def _moment(text: str | None) -> datetime | None:
    try:
        when = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)
