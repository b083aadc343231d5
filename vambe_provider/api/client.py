"""The two clients of the Vambe API: the same methods, one blocking and one for an event loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from vambe_provider.api.calls import Calls, ContactPages, Pause, Steps
from vambe_provider.api.retry import Retries
from vambe_provider.api.transport import AsyncTransport, SyncTransport
from vambe_provider.exceptions import VambeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from types import TracebackType

    from vambe_provider.api.models import Channel, ChatMessage, Contact, OpenedTicket, OpenTicket, Pipeline, Stage
    from vambe_provider.api.replies import Reply
    from vambe_provider.api.requests import ContactFilter, Request, TicketRef
    from vambe_provider.api.settings import ConnectionSettings

T = TypeVar("T")

PAGE_SIZE = 200
MAX_MESSAGE_PAGES = 50


class _Client:
    """What both clients share."""

    def __init__(self, settings: ConnectionSettings, *, retries: Retries | None = None) -> None:
        self.settings = settings
        self._calls = Calls(settings, retries=retries or Retries())

    @property
    def server_clock_offset(self) -> float | None:
        """Seconds that the API's clock was ahead of the local one in the last reply, to a second; None when unknown."""
        return self._calls.server_clock_offset


class VambeClient(_Client):
    """Blocking client; not meant to be shared by threads.

    Reads are repeated after a failure; a call that writes sends exactly one request. Every call raises a
    :class:`~vambe_provider.exceptions.VambeError` whose ``sent`` says whether it may have taken effect.

    :param settings: the connection.
    :param retries: how often and how soon reads are repeated.
    """

    def __init__(self, settings: ConnectionSettings, *, retries: Retries | None = None) -> None:
        super().__init__(settings, retries=retries)
        self._transport = SyncTransport(settings)

    def __enter__(self) -> VambeClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next call opens them again."""
        self._transport.close()

    def _run(self, steps: Steps[T]) -> T:
        answer: Reply | VambeError | None = None
        while True:
            try:
                step = steps.throw(answer) if isinstance(answer, VambeError) else steps.send(answer)
            except StopIteration as stop:
                result: T = stop.value
                return result
            try:
                answer = self._perform(step)
            except VambeError as error:
                answer = error

    def _perform(self, step: Request | Pause) -> Reply | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        return self._transport.exchange(step)

    def open_ticket(
        self, ticket: OpenTicket, *, phone_id: str | None = None, channel: str | None = None
    ) -> OpenedTicket:
        """Open one ticket with one POST, which is never repeated.

        Follows the API page "Open a new ticket for web whatsapp", and its twin for the channel ``whatsapp``.

        :param ticket: what is sent.
        :param phone_id: the sender; default the connection's.
        :param channel: ``web-whatsapp`` or ``whatsapp``; default the connection's.
        :raises VambeError: ``sent`` is ``maybe`` after a timeout, a broken connection, a 5xx or a reply that is not
            ``ok``.
        """
        return self._run(self._calls.open_ticket(ticket, phone_id=phone_id, channel=channel))

    def close_ticket(self, contact_id: str) -> None:
        """Close the active ticket of a contact; Vambe names this endpoint and does not describe it.

        :param contact_id: the ``aiContactId``.
        """
        self._run(self._calls.close_ticket(contact_id))

    def get_pipelines(self) -> list[Pipeline]:
        """Read all pipelines with their stages."""
        return self._run(self._calls.get_pipelines())

    def find_stage(self, name_or_id: str) -> Stage:
        """Find a stage by id, by ``Pipeline / Stage``, or by a name that only one pipeline has; the pipelines are read
        once.

        :raises VambeConfigError: when none or more than one fits; lists what there is.
        """
        return self._run(self._calls.find_stage(name_or_id))

    def get_channel(self, channel: str | None = None) -> Channel:
        """Read the sender of a channel type; its ``id`` is the ``phone_id``.

        :param channel: ``whatsapp``, ``web-whatsapp``, ``instagram`` or ``playground``; default the connection's.
        """
        return self._run(self._calls.get_channel(channel))

    def get_contact(self, contact_id: str) -> Contact:
        """Read a contact with its tickets and all fields that Vambe adds.

        :param contact_id: the ``aiContactId``.
        """
        return self._run(self._calls.get_contact(contact_id))

    def search_contacts(self, *, phone: str | None = None, email: str | None = None) -> list[Contact]:
        """Search by a part of the phone number or of the e-mail; given both, either may match. Vambe returns 50 at
        most.

        :raises VambeConfigError: when neither is given.
        """
        return self._run(self._calls.search_contacts(phone=phone, email=email))

    def list_contacts(self, *, page_size: int = PAGE_SIZE, **filters: Unpack[ContactFilter]) -> Iterator[Contact]:
        """Iterate over all contacts that fit, reading page by page.

        :param days: last message within so many days, 1 to 365; this or one of the next two is needed.
        :param created_after: created after this time.
        :param updated_after: changed after this time.
        :param stage_id: the default stage, which need not be that of the active ticket.
        :param pipeline_id: pipeline of the active ticket.
        :param custom_field_key: with ``custom_field_value``: only contacts with this value.
        :param custom_field_value: see ``custom_field_key``.
        :param page_size: contacts in one request, 1 to 1000.
        """
        pages = ContactPages(self._calls, page_size=page_size, filters=filters)
        while not pages.finished:
            yield from self._run(pages.next())

    def get_messages(self, contact_id: str, *, max_pages: int = MAX_MESSAGE_PAGES) -> list[ChatMessage]:
        """Read the messages of a contact, the newest last.

        :param contact_id: the ``aiContactId``.
        :param max_pages: pages that are read at most.
        """
        return self._run(self._calls.get_messages(contact_id, max_pages=max_pages))

    def update_contact_metadata(self, contact_id: str, metadata: Mapping[str, Any]) -> None:
        """Set custom fields of a contact; values are sent as text, nulls are left out.

        :param contact_id: the ``aiContactId``.
        :param metadata: names and values.
        """
        self._run(self._calls.update_contact_metadata(contact_id, metadata))

    def update_ticket_metadata(self, metadata: Mapping[str, Any], **ticket: Unpack[TicketRef]) -> None:
        """Merge values into the metadata of a ticket, which exactly one of the three ids names.

        :param metadata: names and values; sent as text, nulls are left out.
        :param ticket_id: the ticket.
        :param ai_contact_id: the contact whose active ticket it is.
        :param contact_number: the phone number of that contact.
        :param allow_closed_ticket: take the latest closed ticket when none is active; default false.
        """
        self._run(self._calls.update_ticket_metadata(metadata, ticket))

    def update_ticket_amount(self, amount: object, *, currency: str | None = None, **ticket: Unpack[TicketRef]) -> None:
        """Set the amount of a ticket, which is named as in :meth:`update_ticket_metadata`.

        :param amount: a number, also as text or ``Decimal``.
        :param currency: as ``CLP``; needed when the ticket type takes the amount from its price.
        """
        self._run(self._calls.update_ticket_amount(amount, currency, ticket))


class AsyncVambeClient(_Client):
    """Client for an event loop, safe to share by the tasks of one loop; the methods are those of :class:`VambeClient`.

    :param settings: the connection.
    :param max_connections: connections that may be open at once.
    :param retries: how often and how soon reads are repeated.
    """

    def __init__(
        self, settings: ConnectionSettings, *, max_connections: int = 100, retries: Retries | None = None
    ) -> None:
        super().__init__(settings, retries=retries)
        self._transport = AsyncTransport(settings, max_connections=max_connections)

    async def __aenter__(self) -> AsyncVambeClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the next call opens them again."""
        await self._transport.aclose()

    async def _run(self, steps: Steps[T]) -> T:
        answer: Reply | VambeError | None = None
        while True:
            try:
                step = steps.throw(answer) if isinstance(answer, VambeError) else steps.send(answer)
            except StopIteration as stop:
                result: T = stop.value
                return result
            try:
                answer = await self._perform(step)
            except VambeError as error:
                answer = error

    async def _perform(self, step: Request | Pause) -> Reply | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        return await self._transport.exchange(step)

    async def open_ticket(
        self, ticket: OpenTicket, *, phone_id: str | None = None, channel: str | None = None
    ) -> OpenedTicket:
        """See :meth:`VambeClient.open_ticket`."""
        return await self._run(self._calls.open_ticket(ticket, phone_id=phone_id, channel=channel))

    async def close_ticket(self, contact_id: str) -> None:
        """See :meth:`VambeClient.close_ticket`."""
        await self._run(self._calls.close_ticket(contact_id))

    async def get_pipelines(self) -> list[Pipeline]:
        """See :meth:`VambeClient.get_pipelines`."""
        return await self._run(self._calls.get_pipelines())

    async def find_stage(self, name_or_id: str) -> Stage:
        """See :meth:`VambeClient.find_stage`."""
        return await self._run(self._calls.find_stage(name_or_id))

    async def get_channel(self, channel: str | None = None) -> Channel:
        """See :meth:`VambeClient.get_channel`."""
        return await self._run(self._calls.get_channel(channel))

    async def get_contact(self, contact_id: str) -> Contact:
        """See :meth:`VambeClient.get_contact`."""
        return await self._run(self._calls.get_contact(contact_id))

    async def search_contacts(self, *, phone: str | None = None, email: str | None = None) -> list[Contact]:
        """See :meth:`VambeClient.search_contacts`."""
        return await self._run(self._calls.search_contacts(phone=phone, email=email))

    async def list_contacts(
        self, *, page_size: int = PAGE_SIZE, **filters: Unpack[ContactFilter]
    ) -> AsyncIterator[Contact]:
        """See :meth:`VambeClient.list_contacts`."""
        pages = ContactPages(self._calls, page_size=page_size, filters=filters)
        while not pages.finished:
            for contact in await self._run(pages.next()):
                yield contact

    async def get_messages(self, contact_id: str, *, max_pages: int = MAX_MESSAGE_PAGES) -> list[ChatMessage]:
        """See :meth:`VambeClient.get_messages`."""
        return await self._run(self._calls.get_messages(contact_id, max_pages=max_pages))

    async def update_contact_metadata(self, contact_id: str, metadata: Mapping[str, Any]) -> None:
        """See :meth:`VambeClient.update_contact_metadata`."""
        await self._run(self._calls.update_contact_metadata(contact_id, metadata))

    async def update_ticket_metadata(self, metadata: Mapping[str, Any], **ticket: Unpack[TicketRef]) -> None:
        """See :meth:`VambeClient.update_ticket_metadata`."""
        await self._run(self._calls.update_ticket_metadata(metadata, ticket))

    async def update_ticket_amount(
        self, amount: object, *, currency: str | None = None, **ticket: Unpack[TicketRef]
    ) -> None:
        """See :meth:`VambeClient.update_ticket_amount`."""
        await self._run(self._calls.update_ticket_amount(amount, currency, ticket))
