"""The control API under ``/__sandbox__``: what tests and people do to the sandbox from another process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from vambe_provider.sandbox import actions, shapes
from vambe_provider.sandbox.faults import make_fault
from vambe_provider.sandbox.replies import ApiError
from vambe_provider.sandbox.validation import phone_digits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vambe_provider.sandbox.app import Service
    from vambe_provider.sandbox.model import Contact, JsonObject

_LISTED = 1000


class Control:
    """The control routes.

    :param service: what they control.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._state = service.state

    def routes(self) -> list[web.RouteDef]:
        """Return the control routes."""
        posts: dict[str, Callable[[JsonObject], JsonObject]] = {
            "faults": self.add_fault,
            "configure": self.configure,
            "reset": self.reset,
            "release": self.release,
            "contacts": self.seed,
            "replies": self.reply,
            "close": self.close,
            "move": self.move,
            "merge": self.merge,
        }
        gets: dict[str, Callable[[web.Request], Any]] = {
            "state": self.show_state,
            "tickets": self.show_tickets,
            "requests": self.show_requests,
            "faults": self.show_faults,
        }
        routes = [web.post(f"/__sandbox__/{name}", self._posted(function)) for name, function in posts.items()]
        routes += [web.get(f"/__sandbox__/{name}", self._asked(function)) for name, function in gets.items()]
        return [*routes, web.delete("/__sandbox__/faults", self._posted(self.clear_faults))]

    def _posted(self, function: Callable[[JsonObject], JsonObject]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            refuse_other_sites(request)
            try:
                body = json.loads(await request.text() or "{}")
                if not isinstance(body, dict):
                    raise TypeError("the body must be a JSON object")  # noqa: TRY301
                with self._state.changed:
                    answer = function(body)
            except (KeyError, TypeError, ValueError, ApiError) as error:
                return web.json_response({"error": str(error)}, status=400)
            return web.json_response(answer)

        return handle

    def _asked(self, function: Callable[[web.Request], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            with self._state.changed:
                answer = function(request)
            return web.json_response(answer)

        return handle

    def show_state(self, request: web.Request) -> JsonObject:
        """Return counts, switches, and the newest tickets, messages, contacts and requests (``?limit=``)."""
        state, limit = self._state, _limit(request)
        contacts = list(state.contacts.values())[-limit:]
        messages = [item for contact in contacts for item in state.messages[contact.id]]
        return {
            "counts": self.counts(),
            "config": {name: getattr(state.config, name) for name in state.config.__slots__},
            "tickets": self.show_tickets(request),
            "contacts": [shapes.contact_record(state, contact) for contact in contacts],
            "messages": [shapes.message(state, item) for item in messages][-limit:],
            "requests": self.show_requests(request),
        }

    def counts(self) -> dict[str, int]:
        """Return how many tickets, contacts, messages and requests there are or were."""
        state = self._state
        return {
            "tickets": len(state.tickets),
            "contacts": len(state.contacts),
            "messages": state.message_count,
            "requests": state.request_count,
            "faults": self._service.faults.in_force(),
        }

    def show_tickets(self, request: web.Request) -> list[JsonObject]:
        """Return the newest tickets (``?limit=``), oldest first."""
        tickets = list(self._state.tickets.values())[-_limit(request) :]
        return [shapes.ticket_record(self._state, ticket) for ticket in tickets]

    def show_requests(self, request: web.Request) -> list[JsonObject]:
        """Return the newest requests (``?limit=``), oldest first."""
        return [record.as_dict() for record in list(self._state.requests)[-_limit(request) :]]

    def show_faults(self, request: web.Request) -> list[JsonObject]:
        """Return the faults in force and how often each has struck."""
        del request
        return [rule.as_dict() for rule in self._service.faults.rules]

    def add_fault(self, body: JsonObject) -> JsonObject:
        """Put a fault in force."""
        return self._service.faults.add(make_fault(body)).as_dict()

    def clear_faults(self, body: JsonObject) -> JsonObject:
        """Take all faults out of force and let hanging requests go on."""
        self._service.faults.rules.clear()
        return self.release(body)

    def configure(self, body: JsonObject) -> JsonObject:
        """Set switches."""
        with self._state.change():
            self._state.config = self._state.config.changed(body)
        return {"status": "ok"}

    def reset(self, body: JsonObject) -> JsonObject:
        """Go back to the start."""
        self._service.reset()
        self.release(body)
        return {"status": "ok"}

    def release(self, body: JsonObject) -> JsonObject:
        """Let hanging requests go on."""
        del body
        return {"released": self._service.released.release()}

    def seed(self, body: JsonObject) -> JsonObject:
        """Create a contact: ``phone``, and optionally ``platform``, ``name``, ``email``."""
        phone, platform = phone_digits(body["phone"]), str(body.get("platform", "web-whatsapp"))
        if (phone, platform) in self._state.by_address:
            raise ValueError("this number is a contact on this platform already")
        contact = actions.add_contact(
            self._state, phone=phone, platform=platform, name=body.get("name"), email=body.get("email")
        )
        return {"ai_contact_id": contact.id}

    def reply(self, body: JsonObject) -> JsonObject:
        """Write a message as the customer: ``ai_contact_id`` and ``text``."""
        actions.write(self._state, self.contact(body["ai_contact_id"]), str(body["text"]), direction="INBOUND")
        return {"status": "ok"}

    def close(self, body: JsonObject) -> JsonObject:
        """Close the active ticket of ``ai_contact_id``."""
        if not actions.close_ticket(self._state, self.contact(body["ai_contact_id"])):
            raise ValueError("the contact has no active ticket")
        return {"status": "ok"}

    def move(self, body: JsonObject) -> JsonObject:
        """Move the active ticket of ``ai_contact_id`` to ``stage``, an id or a name."""
        if not actions.move_ticket(self._state, self.contact(body["ai_contact_id"]), str(body["stage"])):
            raise ValueError("the contact has no active ticket")
        return {"status": "ok"}

    def merge(self, body: JsonObject) -> JsonObject:
        """Merge ``ai_contact_id`` into ``into``."""
        actions.merge_contacts(self._state, self.contact(body["ai_contact_id"]), self.contact(body["into"]))
        return {"status": "ok"}

    def contact(self, ai_contact_id: object) -> Contact:
        """Return a contact.

        :param ai_contact_id: its id.
        :raises ValueError: when there is none with that id.
        """
        contact = self._state.contacts.get(str(ai_contact_id))
        if contact is None:
            raise ValueError("the sandbox has no such contact")
        return contact


def refuse_other_sites(request: web.Request) -> None:
    """Refuse a change that a page of another site sends through somebody's browser.

    :param request: the request.
    :raises web.HTTPForbidden: when it comes from elsewhere.
    """
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise web.HTTPForbidden(text="only the sandbox's own page may do this")


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() else _LISTED
