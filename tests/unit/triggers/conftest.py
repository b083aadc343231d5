"""What the tests of the triggers share: tickets in the sandbox, and triggers that run side by side in one loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

from vambe_provider.api import ConnectionSettings, OpenTicket, VambeClient
from vambe_provider.triggers.vambe import VambeTicketTrigger

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox


@pytest.fixture
def open_tickets(vambe_sandbox: Sandbox) -> Callable[[int], list[str]]:
    """Return a function that opens some tickets and returns their contacts."""

    def open_some(count: int) -> list[str]:
        settings = ConnectionSettings.from_fields(
            host=vambe_sandbox.url, password=vambe_sandbox.api_key, extra={"phone_id": "qr-main"}
        )
        stage = vambe_sandbox.stage_id("Support / New")
        before = len(vambe_sandbox.contacts())
        with VambeClient(settings) as client:
            return [
                client.open_ticket(
                    OpenTicket(to_phone_number=f"+5696{before + number:07d}", stage_id=stage, message="Hola")
                ).ai_contact_id
                for number in range(count)
            ]

    return open_some


class Triggers:
    """Runs triggers as the triggerer does, each in a task of its own."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self.tasks: list[asyncio.Task[dict[str, Any]]] = []

    def make(self, contacts: list[str], **arguments: Any) -> VambeTicketTrigger:
        defaults = {"until": "replied", "looked_at": time.time(), "deadline": time.time() + 60, "poll_interval": 0.05}
        return VambeTicketTrigger(
            **{"vambe_conn_id": self._conn_id, "ai_contact_ids": contacts, **defaults, **arguments}
        )

    def start(self, contacts: list[str], **arguments: Any) -> asyncio.Task[dict[str, Any]]:
        trigger = self.make(contacts, **arguments)

        async def first_event() -> dict[str, Any]:
            async for event in trigger.run():
                return event.payload
            raise AssertionError("the trigger ended without an event")

        task = asyncio.create_task(first_event())
        self.tasks.append(task)
        return task

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
async def triggers(vambe_sandbox: Sandbox, connect: Connect) -> AsyncIterator[Triggers]:
    running = Triggers(connect())
    yield running
    await running.stop()
