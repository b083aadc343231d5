"""The handle of a running sandbox that tests and scripts hold."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from vambe_provider.sandbox import actions, shapes
from vambe_provider.sandbox.catalog import SENDERS, find_stage
from vambe_provider.sandbox.faults import Fault, make_fault
from vambe_provider.sandbox.validation import phone_digits

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from vambe_provider.sandbox.app import Service
    from vambe_provider.sandbox.config import SandboxConfig
    from vambe_provider.sandbox.model import Contact, JsonObject


class Sandbox:
    """A running sandbox: its address, what happened in it, and what should go wrong next.

    All methods may be called from any thread while requests are being answered.

    :param service: what runs.
    :param url: the base URL, without a slash at the end.
    :param loop: the event loop that it runs in.
    """

    def __init__(self, service: Service, url: str, loop: asyncio.AbstractEventLoop) -> None:
        self._service = service
        self._state = service.state
        self._loop = loop
        self.url = url

    def __repr__(self) -> str:
        """Show the address, and nothing of the data."""
        return f"<Sandbox {self.url}>"

    @property
    def api_key(self) -> str:
        """The API key that requests must carry."""
        return self._state.config.api_key

    def airflow_connection(self, **extra: Any) -> str:
        """Return a connection to this sandbox, as JSON for a variable such as ``AIRFLOW_CONN_VAMBE_DEFAULT``.

        :param extra: further fields of the extra; ``phone_id`` is ``qr-main`` and ``rate`` is ``none`` by default.
        """
        fields = {"phone_id": "qr-main", "rate": "none"} | extra
        return json.dumps({"conn_type": "vambe", "host": self.url, "password": self.api_key, "extra": fields})

    @property
    def config(self) -> SandboxConfig:
        """The switches now."""
        return self._state.config

    @property
    def ticket_count(self) -> int:
        """How many tickets were ever opened; cheaper than ``len(sandbox.tickets())``."""
        return len(self._state.tickets)

    @property
    def request_count(self) -> int:
        """How many API requests came; cheaper than ``len(sandbox.requests())``."""
        return self._state.request_count

    @property
    def hanging(self) -> int:
        """How many requests hang right now because a fault makes them."""
        return self._service.released.waiting

    def stage_id(self, name: str) -> str:
        """Return the id of a stage.

        :param name: as ``Support / New``.
        :raises ValueError: when there is no such stage.
        """
        return find_stage(name).id

    def phone_ids(self) -> list[str]:
        """Return the ids of all senders."""
        return list(SENDERS)

    def tickets(self) -> list[JsonObject]:
        """Return every ticket ever opened, oldest first, whatever the API shows of it."""
        with self._state.changed:
            return [shapes.ticket_record(self._state, ticket) for ticket in self._state.tickets.values()]

    def messages(self, ai_contact_id: str | None = None) -> list[JsonObject]:
        """Return all messages, or those of one contact, oldest first.

        :param ai_contact_id: the contact; None for all.
        """
        with self._state.changed:
            conversations = self._state.messages
            chosen = conversations.values() if ai_contact_id is None else [conversations.get(ai_contact_id, [])]
            messages = sorted((item for part in chosen for item in part), key=lambda item: item.created_at)
            return [shapes.message(self._state, item) for item in messages]

    def contacts(self) -> list[JsonObject]:
        """Return all contacts, oldest first."""
        with self._state.changed:
            return [shapes.contact_record(self._state, contact) for contact in self._state.contacts.values()]

    def requests(self, endpoint: str | None = None) -> list[JsonObject]:
        """Return the remembered API requests, oldest first, with status, body and whether they had an effect.

        :param endpoint: only those of one endpoint, named as the client's method; None for all.
        """
        with self._state.changed:
            records = list(self._state.requests)
        return [record.as_dict() for record in records if endpoint in (None, record.endpoint)]

    def fault(self, where: str = "open_ticket", **description: Any) -> Fault:
        """Make requests go wrong; see :class:`~vambe_provider.sandbox.faults.Fault` for the parameters.

        :param where: the endpoint, named as the client's method, or ``*``.
        :param description: the other parameters; ``kind`` is required.
        :returns: the rule; its ``hits`` says how often it struck.
        :raises ValueError: when a name or a value is wrong.
        """
        fault = make_fault({"where": where, **description})
        with self._state.changed:
            return self._service.faults.add(fault)

    def clear_faults(self) -> None:
        """Take all faults out of force and let hanging requests go on."""
        with self._state.changed:
            self._service.faults.rules.clear()
        self.release()

    def release(self) -> None:
        """Let hanging requests go on."""
        self._loop.call_soon_threadsafe(self._service.released.release)

    def reset(self) -> None:
        """Go back to the start: no data, no requests, no faults, the switches as at the start."""
        self._service.reset()
        self.release()

    def configure(self, **changes: Any) -> None:
        """Set switches; see :class:`~vambe_provider.sandbox.config.SandboxConfig`.

        :param changes: switches and their new values.
        :raises ValueError: when a name or a value is wrong; nothing is changed then.
        """
        with self._state.change():
            self._state.config = self._state.config.changed(changes)

    def seed_contact(
        self, phone: str, *, platform: str = "web-whatsapp", name: str | None = None, email: str | None = None
    ) -> str:
        """Create a contact that no ticket made.

        :param phone: the number in any form.
        :param platform: its channel; the same number can exist once on each.
        :param name: the contact's name.
        :param email: the contact's e-mail address.
        :returns: the id.
        :raises ValueError: when the number exists on this platform.
        """
        digits = phone_digits(phone)
        with self._state.changed:
            if (digits, platform) in self._state.by_address:
                raise ValueError("this number is a contact on this platform already")
            return actions.add_contact(self._state, phone=digits, platform=platform, name=name, email=email).id

    def customer_replies(self, ai_contact_id: str, text: str) -> None:
        """Write a message as the customer.

        :param ai_contact_id: the contact.
        :param text: the message.
        :raises KeyError: when there is no such contact.
        """
        actions.write(self._state, self._contact(ai_contact_id), text, direction="INBOUND")

    def close_ticket(self, ai_contact_id: str) -> None:
        """Close the active ticket, as a person in the web app.

        :param ai_contact_id: the contact.
        :raises KeyError: when there is no such contact, or it has no active ticket.
        """
        if not actions.close_ticket(self._state, self._contact(ai_contact_id)):
            raise KeyError(f"contact {ai_contact_id} has no active ticket")

    def move_ticket(self, ai_contact_id: str, stage: str) -> None:
        """Move the active ticket to another stage.

        :param ai_contact_id: the contact.
        :param stage: an id, or a name as ``Support / Solved``.
        :raises KeyError: when there is no such contact, or it has no active ticket.
        :raises ValueError: when there is no such stage.
        """
        if not actions.move_ticket(self._state, self._contact(ai_contact_id), stage):
            raise KeyError(f"contact {ai_contact_id} has no active ticket")

    def stamp(self, *ai_contact_ids: str, updated_at: datetime) -> None:
        """Set when contacts changed last, as a change in bulk or a wrong clock would.

        :param ai_contact_ids: the contacts.
        :param updated_at: when, with a time zone.
        :raises KeyError: when there is no such contact.
        """
        actions.stamp(
            self._state, [self._contact(item) for item in ai_contact_ids], round(updated_at.timestamp() * 1e3)
        )

    def spoil_row(self, ai_contact_id: str, **fields: Any) -> None:
        """Have the contact list show fields of one contact otherwise, such as ``id=None``.

        :param ai_contact_id: the contact.
        :param fields: names and values; none to show it as it is again.
        :raises KeyError: when there is no such contact.
        """
        with self._state.change():
            self._state.odd_fields[self._contact(ai_contact_id).id] = fields

    def write_message(self, ai_contact_id: str, text: str, *, direction: str) -> None:
        """Write a message with any direction.

        :param ai_contact_id: the contact.
        :param text: the message.
        :param direction: such as ``OUTBOUND``, or a word that no page documents.
        :raises KeyError: when there is no such contact.
        """
        actions.write(self._state, self._contact(ai_contact_id), text, direction=direction)

    def merge_contacts(self, ai_contact_id: str, into: str) -> None:
        """Merge a contact into another; the first id does not exist afterwards.

        :param ai_contact_id: the contact that disappears.
        :param into: the contact that stays.
        :raises KeyError: when one of them does not exist.
        """
        actions.merge_contacts(self._state, self._contact(ai_contact_id), self._contact(into))

    def _contact(self, ai_contact_id: str) -> Contact:
        with self._state.changed:
            if contact := self._state.contacts.get(ai_contact_id):
                return contact
        raise KeyError(f"the sandbox has no contact {ai_contact_id}")

    def wait_for(self, predicate: Callable[[Sandbox], bool], timeout: float = 10.0) -> None:
        """Wait until something is true; it is looked at again after every change and every request.

        :param predicate: gets the sandbox and says whether the wait is over.
        :param timeout: seconds.
        :raises TimeoutError: when it does not become true in time.
        """
        deadline = time.monotonic() + timeout
        while True:
            seen = self._state.version
            # Outside the lock, so that a slow predicate does not hold requests up.
            if predicate(self):
                return
            if not self._state.wait_for_change(seen, max(0.0, deadline - time.monotonic())):
                raise TimeoutError(f"the sandbox did not get there in {timeout:g} s")

    async def wait_for_async(self, predicate: Callable[[Sandbox], bool], timeout: float = 10.0) -> None:
        """Wait as :meth:`wait_for` does, without blocking the event loop."""
        await asyncio.to_thread(self.wait_for, predicate, timeout)
