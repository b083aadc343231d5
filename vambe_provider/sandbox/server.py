"""Starting and stopping the sandbox, and the handle that tests and scripts hold."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from vambe_provider.sandbox import actions, shapes
from vambe_provider.sandbox.app import Service
from vambe_provider.sandbox.catalog import SENDERS, find_stage
from vambe_provider.sandbox.config import SandboxConfig
from vambe_provider.sandbox.control import Control
from vambe_provider.sandbox.faults import Fault, make_fault
from vambe_provider.sandbox.state import SandboxState
from vambe_provider.sandbox.storage import Storage
from vambe_provider.sandbox.validation import phone_digits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from vambe_provider.sandbox.model import Contact, JsonObject

_STOP_SECONDS = 10.0


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


async def serve(
    config: SandboxConfig,
    *,
    host: str,
    port: int,
    state: str | Path | None,
    ready: Callable[[Sandbox], None],
    stop: asyncio.Event,
) -> None:
    """Run a sandbox until an event is set.

    :param config: the switches.
    :param host: the address to listen on.
    :param port: the port; 0 for any free one.
    :param state: the SQLite file, or None.
    :param ready: is called with the handle when connections are accepted.
    :param stop: ends it.
    :raises OSError: when the port cannot be had.
    """
    data = SandboxState(config, Storage(state) if state else None)
    service = Service(data)
    app = web.Application()
    app.add_routes([*service.routes(), *Control(service).routes()])
    # A stopped sandbox does not wait for requests that hang on purpose.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    try:
        await runner.setup()
        site = web.TCPSite(runner, host, port, backlog=1024)
        await site.start()
        address = runner.addresses[0]
        shown = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
        ready(Sandbox(service, f"http://{shown}:{address[1]}", asyncio.get_running_loop()))
        await stop.wait()
        service.released.release()
    finally:
        await runner.cleanup()
        data.close()


@contextmanager
def running_sandbox(
    *, host: str = "127.0.0.1", port: int = 0, state: str | Path | None = None, **switches: Any
) -> Iterator[Sandbox]:
    """Run a sandbox in a thread of its own for the length of a ``with`` block.

    :param host: the address to listen on.
    :param port: the port; 0 for any free one.
    :param state: a SQLite file that keeps the data, or None for memory only.
    :param switches: see :class:`~vambe_provider.sandbox.config.SandboxConfig`.
    :returns: the handle, when connections are accepted.
    :raises ValueError: when a switch is wrong.
    :raises OSError: when the port cannot be had.
    """
    config = SandboxConfig().changed(switches)
    started = threading.Event()
    handles: list[Sandbox] = []
    stops: list[Callable[[], None]] = []
    errors: list[BaseException] = []

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))  # type: ignore[arg-type]

        def ready(sandbox: Sandbox) -> None:
            handles.append(sandbox)
            started.set()

        await serve(config, host=host, port=port, state=state, ready=ready, stop=stop)

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            errors.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=main, name="vambe-sandbox", daemon=True)
    thread.start()
    started.wait()
    if errors:
        thread.join()
        raise errors[0]
    try:
        yield handles[0]
    finally:
        stops[0]()
        thread.join(_STOP_SECONDS)
    if errors:
        raise errors[0]
