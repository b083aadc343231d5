"""What runs in Airflow's triggerer. Nothing here ever writes to Vambe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from vambe_provider.compat import AirflowNotFoundException, BaseTrigger, TriggerEvent
from vambe_provider.exceptions import VambeAuthError, VambeError
from vambe_provider.triggers.connections import shared_settings
from vambe_provider.triggers.contacts import VambeContactEventTrigger

if TYPE_CHECKING:
    from vambe_provider.api import ConnectionSettings

__all__ = ["VambeContactEventTrigger", "VambeTicketTrigger"]

MAX_NAMED = 20


class VambeTicketTrigger(BaseTrigger):
    """Wait until something happened to tickets; it only reads.

    All triggers of a triggerer that use the same connection share one client and one poll, which asks for the contacts
    that changed. Everything that the trigger needs is in its arguments, so that it goes on where it was when the
    triggerer restarts. It fires one event: ``{"status": "success" | "timeout" | "error", "done": 3, "of": 10, …}``.

    :param vambe_conn_id: the connection.
    :param ai_contact_ids: the contacts.
    :param until: ``replied``, ``closed``, ``stage`` or ``chat_status``.
    :param stages: ids of stages, with ``until="stage"``.
    :param statuses: words, with ``until="chat_status"``.
    :param mode_of: ``all`` or ``any``.
    :param since: replies count from this time on, in seconds since 1970; None for the time of the ticket.
    :param started: when the Dag run started, in seconds since 1970.
    :param looked_at: when the contacts were last looked at, by the API's clock, in seconds since 1970.
    :param deadline: when to give up, in seconds since 1970.
    :param poll_interval: seconds between two looks.
    :param max_failures: looks that may fail one after the other; a refused API key ends the wait at once.
    :param shared_poll: False reads every contact in every round instead of asking for those that changed.
    """

    def __init__(
        self,
        *,
        vambe_conn_id: str,
        ai_contact_ids: Sequence[str],
        until: str,
        looked_at: float,
        deadline: float,
        stages: Sequence[str] = (),
        statuses: Sequence[str] = (),
        mode_of: str = "all",
        since: float | None = None,
        started: float | None = None,
        poll_interval: float = 60.0,
        max_failures: int = 5,
        shared_poll: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vambe_conn_id = vambe_conn_id
        self.ai_contact_ids = list(ai_contact_ids)
        self.until = until
        self.stages = list(stages)
        self.statuses = list(statuses)
        self.mode_of = mode_of
        self.since = since
        self.started = started
        self.looked_at = looked_at
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.max_failures = max_failures
        self.shared_poll = shared_poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments, from which Airflow makes the trigger anew."""
        names = (
            "vambe_conn_id", "ai_contact_ids", "until", "stages", "statuses", "mode_of", "since", "started",
            "looked_at", "deadline", "poll_interval", "max_failures", "shared_poll",
        )  # fmt: skip
        return "vambe_provider.triggers.vambe.VambeTicketTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire once."""
        yield TriggerEvent(await self._event())  # type: ignore[no-untyped-call]

    async def _event(self) -> dict[str, Any]:
        """Return the event; small, because Airflow logs it whole, and without anything personal."""
        patience = asyncio.timeout(max(0.0, self.deadline - time.time()))
        try:
            async with patience:
                done = await self._done()
        except TimeoutError:
            if not patience.expired():
                raise
            return {"status": "timeout", "of": len(self.ai_contact_ids)}
        except (VambeError, AirflowNotFoundException) as error:
            return {
                "status": "error",
                "kind": getattr(error, "kind", "connection"),
                "message": str(error),
                "permanent": getattr(error, "permanent", True),
            }
        named = done[:MAX_NAMED] if self.mode_of == "any" else []
        return {"status": "success", "done": len(done), "of": len(self.ai_contact_ids), "ai_contact_ids": named}

    async def _done(self) -> list[str]:
        """Return the contacts for which it happened, when the wait is over."""
        settings = await shared_settings(self.vambe_conn_id)
        while True:
            try:
                return await self._wait(settings)
            except VambeAuthError:
                # The key may have been changed since; a wait of days must not end because of that.
                fresh = await shared_settings(self.vambe_conn_id, refused=settings)
                if fresh == settings:
                    raise
                settings = fresh

    async def _wait(self, settings: ConnectionSettings) -> list[str]:
        from vambe_provider.waiting.conditions import Wait
        from vambe_provider.waiting.poll import Subscription, subscribed

        subscription = Subscription(
            wait=Wait(self.until, frozenset(self.stages), frozenset(self.statuses), self.since, self.started),
            contact_ids=self.ai_contact_ids,
            mode_of=self.mode_of,
            since=self.looked_at,
            interval=self.poll_interval,
            max_failures=self.max_failures,
            each=not self.shared_poll,
        )
        async with subscribed(settings, subscription):
            return await subscription.result
