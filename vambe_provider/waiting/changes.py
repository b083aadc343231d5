"""The list of contacts that changed, read so that none is skipped and none counts twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from vambe_provider.waiting.conditions import moment

if TYPE_CHECKING:
    from vambe_provider.api import AsyncVambeClient, Contact

OVERLAP = 30.0
"""Seconds that are asked for again each time: a change may show up in the list a little after its own time."""
PAGE = 200
_TIE = 0.001
_MAX_REMEMBERED = 400


async def changed_since(client: AsyncVambeClient, after: float, *, page: int = PAGE) -> AsyncIterator[Contact]:
    """Yield the contacts that changed after a time, those that changed first coming first.

    Each page is asked for by the time of the last contact before, not by its number: a contact that changes while the
    pages are read moves to the end, and would push another one over the edge of a numbered page.

    :param after: seconds since 1970, by the API's clock.
    :param page: contacts in one request.
    """
    while True:
        newest, rows = after, 0
        listing = client.list_contacts(updated_after=_time(after), page_size=page)
        async with aclosing(cast("AsyncGenerator[Contact]", listing)) as contacts:
            async for contact in contacts:
                rows += 1
                at = moment(contact.updated_at)
                newest = max(newest, at or newest)
                yield contact
                # Without times, or with a full page of one and the same time, only page numbers lead on.
                if rows >= page and newest - _TIE > after:
                    break
            else:
                return
        after = newest - _TIE


def fingerprint(row: Contact) -> str:
    """Return what tells two states of a contact in the list apart."""
    ticket = row.active_ticket_v2 or {}
    parts = (row.updated_at, row.last_message_at, row.chat_status, ticket.get("id"), ticket.get("current_stage_id"))
    return "|".join(str(part) for part in parts)


@dataclass(slots=True)
class Cursor:
    """How far the changes were read: what is older is done, and of what is newer it is known what was seen.

    :param floor: seconds since 1970, by the API's clock; changes up to here are done.
    :param seen: contact and time of the changes after the floor that are done.
    """

    floor: float
    seen: dict[str, float] = field(default_factory=dict)

    def news(self, rows: Iterable[Contact]) -> list[Contact]:
        """Return the rows that were not seen before, the oldest change first, and remember them."""
        timed = [(at, row) for row in rows if (at := moment(row.updated_at)) is not None]
        fresh = []
        for at, row in sorted(timed, key=lambda item: item[0]):
            if at > self.floor and self.seen.get(row.id, -1.0) < at:
                self.seen[row.id] = at
                fresh.append(row)
        self._forget()
        return fresh

    def _forget(self) -> None:
        times = sorted(self.seen.values())
        if not times:
            return
        floor = max(self.floor, times[-1] - OVERLAP)
        if len(times) > _MAX_REMEMBERED:
            floor = max(floor, times[-_MAX_REMEMBERED - 1])
        self.floor = floor
        self.seen = {contact: at for contact, at in self.seen.items() if at > floor}

    def copy(self) -> Cursor:
        """Return a cursor of its own at the same place."""
        return Cursor(self.floor, dict(self.seen))

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"floor": self.floor, "seen": dict(self.seen)}

    @classmethod
    def from_json(cls, value: object) -> Cursor | None:
        """Return the cursor that was written by :meth:`to_json`, or None when it is none."""
        if not isinstance(value, Mapping) or not isinstance(value.get("floor"), (int, float)):
            return None
        seen = value.get("seen")
        known = seen.items() if isinstance(seen, Mapping) else ()
        return cls(float(value["floor"]), {str(name): float(at) for name, at in known})


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
