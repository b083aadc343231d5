"""Read contacts for evidence: requests that may fail one by one, and replies turned into facts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack

from vambe_provider.api.contact_info import ContactInfo, parse_time, read_contact
from vambe_provider.delivery import clock
from vambe_provider.delivery.attempt.facts import Clock, Said, seconds
from vambe_provider.delivery.key import METADATA_KEY, message_hash
from vambe_provider.exceptions import VambeAuthError, VambeError, VambeRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from vambe_provider.api.models import ChatMessage, Contact
    from vambe_provider.api.requests import ContactFilter
    from vambe_provider.delivery.model import Attempt

T = TypeVar("T")

SEARCH_CAP = 50
"""The search returns at most so many contacts; a full answer proves no absence."""
SEARCH_DIGITS = 8
"""The search is partial, and the last eight digits are the same in every spelling of a number."""
PAGE = 200
"""Contacts that are listed at once."""
MAX_MARKED = 5
"""More contacts than these do not have one mark: such a server does not filter by custom field."""
LIST_MARGIN = 60.0
"""Seconds by which lists begin earlier than the attempt."""
_DAY = 86400.0
_MAX_DEPTH = 40


class Reader(Protocol):
    """The reading half of the API client."""

    @property
    def server_clock_offset(self) -> float | None:
        """Seconds that the API's clock is ahead of this machine's."""
        ...

    async def search_contacts(self, *, phone: str | None = None, email: str | None = None) -> list[Contact]:
        """Find contacts by a part of their number."""
        ...

    def list_contacts(self, *, page_size: int = ..., **filters: Unpack[ContactFilter]) -> AsyncIterator[Contact]:
        """Iterate over contacts by the time of their last change and by custom field."""
        ...

    async def get_contact(self, contact_id: str) -> Contact:
        """Read one contact with its tickets."""
        ...

    async def get_messages(self, contact_id: str) -> list[ChatMessage]:
        """Read the messages of one contact."""
        ...


class Requests:
    """The requests of one look after another.

    :param reader: the API client.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._filters: bool | None = None
        self._offset: float | None = None
        self.failed = False
        """Whether a request failed since this was set to false; a contact that does not exist is no failure."""

    @property
    def clock(self) -> Clock:
        """The API's clock, as far as its replies told."""
        self._note_offset()
        return Clock(self._offset)

    def _note_offset(self) -> None:
        """Take note of the clock of the newest reply.

        The time that a reply was under way makes the API's clock seem slow, never fast: so the largest offset is best.
        """
        offset = self._reader.server_clock_offset
        if offset is not None:
            self._offset = offset if self._offset is None else max(offset, self._offset)

    async def contact(self, identity: str, hit: Contact | None = None) -> tuple[ContactInfo, dict[str, Any]] | None:
        """Read one contact; None when it could not be read.

        :param hit: what a search or a list showed of it.
        :raises LookupError: when it does not exist.
        """
        try:
            contact = await self._reader.get_contact(identity)
        except VambeError as error:
            if isinstance(error, VambeRefusedError) and error.status == 404:
                raise LookupError from error
            self.failed = True
            return None
        finally:
            self._note_offset()
        payload = {**(_plain(hit) if hit is not None else {}), **_plain(contact)}
        return read_contact(payload), payload

    async def messages(self, identity: str) -> tuple[Said, ...] | None:
        """Read the conversation of a contact; None when it could not be read."""
        found = await self._ask(self._reader.get_messages(identity))
        return None if found is None else _said(found)

    async def search(self, digits: str) -> list[Contact] | None:
        """Find contacts by a part of their number; None when the search did not work."""
        return await self._ask(self._reader.search_contacts(phone=digits))

    async def changed(self, attempt: Attempt, limit: int) -> list[Contact] | None:
        """Return contacts that changed since an attempt began, in this order; None when the list did not work."""
        return await self._list(limit, updated_after=self._since(attempt))

    async def marked(self, attempt: Attempt, *, days_too: bool = False) -> list[str]:
        """Return the contacts that the list names for an attempt's mark.

        :param days_too: also ask by the time of the last message: a ticket may not count as a change of its contact.
        """
        found = await self._with_mark(attempt.mark, updated_after=self._since(attempt))
        if not found and days_too:
            days = min(365, int((clock.utc() - attempt.started) // _DAY) + 2)
            found = await self._with_mark(attempt.mark, days=days)
        return [contact.id for contact in found] if len(found) <= MAX_MARKED else []

    async def filters_by_mark(self, attempt: Attempt) -> bool:
        """Say whether the list names nobody for a mark that nobody has: older servers ignore the filter."""
        if self._filters is None:
            self._filters = not await self._with_mark(f"{attempt.mark}-none", updated_after=self._since(attempt))
        return self._filters

    async def _with_mark(self, mark: str, **times: Unpack[ContactFilter]) -> list[Contact]:
        filters: ContactFilter = {**times, "custom_field_key": METADATA_KEY, "custom_field_value": mark}
        return await self._list(MAX_MARKED + 1, refusable=True, **filters) or []

    async def _list(
        self, limit: int, *, refusable: bool = False, **filters: Unpack[ContactFilter]
    ) -> list[Contact] | None:
        """Return at most so many contacts of the list.

        :param refusable: a server that refuses such a filter does not have it; that is no failure.
        """
        found: list[Contact] = []
        pages = self._reader.list_contacts(page_size=min(limit, PAGE), **filters)
        try:
            async for contact in pages:
                found.append(contact)
                if len(found) >= limit:
                    break
        except VambeError as error:
            unknown = isinstance(error, VambeRefusedError) and not isinstance(error, VambeAuthError)
            self.failed = self.failed or not (refusable and unknown)
            return None
        finally:
            close = getattr(pages, "aclose", None)
            if close is not None:
                await close()
            self._note_offset()
        return found

    async def _ask(self, request: Awaitable[T]) -> T | None:
        try:
            return await request
        except VambeError:
            self.failed = True
            return None
        finally:
            self._note_offset()

    def _since(self, attempt: Attempt) -> datetime:
        return datetime.fromtimestamp(self.clock.span(attempt).start - LIST_MARGIN, UTC)


def holds(value: object, mark: str, depth: int = 0) -> bool:
    """Say whether a mark stands anywhere in a reply, under whatever name."""
    if isinstance(value, str):
        return value.strip() == mark
    if depth > _MAX_DEPTH:
        return False
    if isinstance(value, dict):
        return any(holds(inner, mark, depth + 1) for inner in value.values())
    return isinstance(value, (list, tuple)) and any(holds(inner, mark, depth + 1) for inner in value)


def listed_info(contact: Contact) -> ContactInfo:
    """Return what a search or a list shows of a contact."""
    return read_contact(_plain(contact))


def _plain(contact: Contact) -> dict[str, Any]:
    # What the API did not send has to stay out: a place for tickets that is empty says that there are none.
    return dict(contact.model_dump(by_alias=False, exclude_unset=True))


def _said(messages: Iterable[ChatMessage]) -> tuple[Said, ...]:
    return tuple(
        Said(
            id=message.id,
            outbound=message.direction == "OUTBOUND",
            text_hash=message_hash(message.body or ""),
            at=seconds(parse_time(message.created_at)),
        )
        for message in messages
        if message.direction in ("OUTBOUND", "INBOUND")
    )


def end_of(number: str | None) -> str:
    """Return the digits by which a number is searched for, or nothing when it does not show enough of them."""
    digits = "".join(char for char in number or "" if char.isascii() and char.isdigit())
    return digits[-SEARCH_DIGITS:] if len(digits) >= SEARCH_DIGITS else ""
