"""The calls of the Vambe API on the hook, each with its async twin; what they do is in :mod:`vambe_provider.api`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from typing import Unpack

    from vambe_provider.api import (
        AsyncVambeClient,
        Channel,
        ChatMessage,
        Contact,
        OpenedTicket,
        OpenTicket,
        Pipeline,
        Stage,
        VambeClient,
    )
    from vambe_provider.api.requests import ContactFilter, TicketRef


class VambeCalls:
    """What the hook can ask of Vambe.

    All of them raise an error of :mod:`vambe_provider.exceptions`: ``VambeAuthError`` when the key is refused,
    ``VambeRefusedError`` when the request is, ``VambeNotSentError`` when Vambe cannot be reached, and
    ``VambeMaybeSentError`` when nobody can tell what became of a request. The async twins never block the event loop.
    """

    def get_conn(self) -> VambeClient:
        """Return the sync client."""
        raise NotImplementedError

    async def aget_conn(self) -> AsyncVambeClient:
        """Return the async client."""
        raise NotImplementedError

    def open_ticket(
        self, ticket: OpenTicket | Mapping[str, Any], *, phone_id: str | None = None, channel: str | None = None
    ) -> OpenedTicket:
        """Open one ticket with one POST, which is never repeated here; a customer may be messaged.

        A task retry that calls it again opens a second ticket; ``VambeOpenTicketOperator`` does not. Follows
        https://docs.vambe.me/reference/ticket/open-ticket-web-whatsapp.

        :param ticket: the request, or a dict of its fields with ``stage_id``.
        :param phone_id: the sender; the connection's when not given.
        :param channel: ``web-whatsapp`` or ``whatsapp``; the connection's when not given.
        :return: the contact, new or existing.
        :raises VambeValidationError: when the dict is no valid request; names every problem.
        """
        return self.get_conn().open_ticket(_request(ticket), phone_id=phone_id, channel=channel)

    async def aopen_ticket(
        self, ticket: OpenTicket | Mapping[str, Any], *, phone_id: str | None = None, channel: str | None = None
    ) -> OpenedTicket:
        """Async twin of :meth:`open_ticket`."""
        return await (await self.aget_conn()).open_ticket(_request(ticket), phone_id=phone_id, channel=channel)

    def close_ticket(self, contact_id: str) -> None:
        """Close the active ticket of a contact; Vambe names this endpoint without documenting it.

        :param contact_id: the ``aiContactId``.
        """
        self.get_conn().close_ticket(contact_id)

    async def aclose_ticket(self, contact_id: str) -> None:
        """Async twin of :meth:`close_ticket`."""
        await (await self.aget_conn()).close_ticket(contact_id)

    def get_pipelines(self) -> list[Pipeline]:
        """Return all pipelines with their stages, in their order."""
        return self.get_conn().get_pipelines()

    async def aget_pipelines(self) -> list[Pipeline]:
        """Async twin of :meth:`get_pipelines`."""
        return await (await self.aget_conn()).get_pipelines()

    def find_stage(self, name_or_id: str) -> Stage:
        """Return the stage that a name or an id means.

        :param name_or_id: ``Support / New``, ``New`` when only one pipeline has such a stage, or the id.
        :raises VambeConfigError: when there is none, or more than one; names those that exist.
        """
        return self.get_conn().find_stage(name_or_id)

    async def afind_stage(self, name_or_id: str) -> Stage:
        """Async twin of :meth:`find_stage`."""
        return await (await self.aget_conn()).find_stage(name_or_id)

    def get_channel(self, channel: str | None = None) -> Channel:
        """Return the sender of a channel type; its ``id`` is the ``phone_id``.

        :param channel: ``web-whatsapp``, ``whatsapp``, ``instagram`` or ``playground``; default the connection's.
        """
        return self.get_conn().get_channel(channel)

    async def aget_channel(self, channel: str | None = None) -> Channel:
        """Async twin of :meth:`get_channel`."""
        return await (await self.aget_conn()).get_channel(channel)

    def get_contact(self, contact_id: str) -> Contact:
        """Return one contact with all that Vambe tells about it.

        :param contact_id: the ``aiContactId``.
        """
        return self.get_conn().get_contact(contact_id)

    async def aget_contact(self, contact_id: str) -> Contact:
        """Async twin of :meth:`get_contact`."""
        return await (await self.aget_conn()).get_contact(contact_id)

    def search_contacts(self, phone: str | None = None, email: str | None = None) -> list[Contact]:
        """Return up to 50 contacts whose number or e-mail contains a text.

        :param phone: a part of a number.
        :param email: a part of an e-mail; with both, either is enough.
        """
        return self.get_conn().search_contacts(phone=phone, email=email)

    async def asearch_contacts(self, phone: str | None = None, email: str | None = None) -> list[Contact]:
        """Async twin of :meth:`search_contacts`."""
        return await (await self.aget_conn()).search_contacts(phone=phone, email=email)

    def list_contacts(self, **filters: Unpack[ContactFilter]) -> Iterator[Contact]:
        """Yield all contacts that a filter finds, page by page.

        :param days: last message within so many days, 1 to 365; this or one of the next two is needed.
        :param created_after: created after this time.
        :param updated_after: changed after this time.
        :param stage_id: the default stage, which need not be that of the active ticket.
        :param pipeline_id: pipeline of the active ticket.
        :param custom_field_key: with ``custom_field_value``: only contacts with this value.
        :param custom_field_value: see ``custom_field_key``.
        """
        return self.get_conn().list_contacts(**filters)

    async def alist_contacts(self, **filters: Unpack[ContactFilter]) -> AsyncIterator[Contact]:
        """Async twin of :meth:`list_contacts`; use it with ``async for``."""
        async for contact in (await self.aget_conn()).list_contacts(**filters):
            yield contact

    def get_messages(self, contact_id: str) -> list[ChatMessage]:
        """Return the messages of a contact, the newest last.

        :param contact_id: the ``aiContactId``.
        """
        return self.get_conn().get_messages(contact_id)

    async def aget_messages(self, contact_id: str) -> list[ChatMessage]:
        """Async twin of :meth:`get_messages`."""
        return await (await self.aget_conn()).get_messages(contact_id)

    def update_contact_metadata(self, contact_id: str, metadata: Mapping[str, Any]) -> None:
        """Set custom fields of a contact.

        :param contact_id: the ``aiContactId``.
        :param metadata: names and values; values are sent as text, null values are left out.
        """
        self.get_conn().update_contact_metadata(contact_id, metadata)

    async def aupdate_contact_metadata(self, contact_id: str, metadata: Mapping[str, Any]) -> None:
        """Async twin of :meth:`update_contact_metadata`."""
        await (await self.aget_conn()).update_contact_metadata(contact_id, metadata)

    def update_ticket_metadata(self, metadata: Mapping[str, Any], **ticket: Unpack[TicketRef]) -> None:
        """Merge values into the metadata of a ticket; other values stay.

        :param metadata: names and values; values are sent as text, null values are left out.
        :param ticket_id: the ticket; exactly one of the three ids is needed.
        :param ai_contact_id: the contact whose active ticket it is.
        :param contact_number: the phone number of that contact.
        :param allow_closed_ticket: take the latest closed ticket when none is active; default false.
        """
        self.get_conn().update_ticket_metadata(metadata, **ticket)

    async def aupdate_ticket_metadata(self, metadata: Mapping[str, Any], **ticket: Unpack[TicketRef]) -> None:
        """Async twin of :meth:`update_ticket_metadata`."""
        await (await self.aget_conn()).update_ticket_metadata(metadata, **ticket)

    def update_ticket_amount(self, amount: object, *, currency: str | None = None, **ticket: Unpack[TicketRef]) -> None:
        """Set the amount of a ticket, which is named as in :meth:`update_ticket_metadata`.

        :param amount: a number, also as text or ``Decimal``.
        :param currency: as ``CLP``; needed where the kind of ticket takes its amount from a price.
        """
        self.get_conn().update_ticket_amount(amount, currency=currency, **ticket)

    async def aupdate_ticket_amount(
        self, amount: object, *, currency: str | None = None, **ticket: Unpack[TicketRef]
    ) -> None:
        """Async twin of :meth:`update_ticket_amount`."""
        await (await self.aget_conn()).update_ticket_amount(amount, currency=currency, **ticket)


def _request(ticket: OpenTicket | Mapping[str, Any]) -> OpenTicket:
    from vambe_provider.api import parse_ticket

    return parse_ticket(ticket)
