"""What runs in Airflow's triggerer. Nothing here ever writes to Vambe."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vambe_provider.compat import AirflowNotFoundException, BaseTrigger, TriggerEvent
from vambe_provider.exceptions import VambeError
from vambe_provider.triggers.connections import shared_settings
from vambe_provider.triggers.contacts import VambeContactEventTrigger
from vambe_provider.waiting.patience import MAX_FAILURES, Patience

if TYPE_CHECKING:
    from vambe_provider.api import ConnectionSettings
    from vambe_provider.waiting.subscription import Subscription

__all__ = ["VambeContactEventTrigger", "VambeTicketTrigger"]

log = logging.getLogger(__name__)

MAX_NAMED = 20


class VambeTicketTrigger(BaseTrigger):
    """Wait until something happened to tickets; it only reads.

    All triggers of a triggerer that use the same connection share one client and one poll, which asks for the contacts
    that changed. Everything that the trigger needs is in its arguments, so that it goes on where it was when the
    triggerer restarts. It fires one event: ``{"status": "success" | "timeout" | "error", "done": 3, "of": 10, …}``; a
    timeout says as ``failing`` why the last look failed, when it did.

    A look may fail: the network, a gateway, the key, and the place where Airflow keeps the connection may be away for
    some minutes. ``max_failures`` of this wait's own looks in a row are borne, and none is counted for which Vambe said
    how long to wait.

    :param vambe_conn_id: the connection.
    :param ai_contact_ids: the contacts.
    :param tickets: for each contact what is known of its ticket: ``mark``, ``opened_at``, ``opened_until``,
        ``ticket_id``, ``created_at``; times in seconds since 1970. Empty when nothing is known of any.
    :param until: ``replied``, ``closed``, ``stage`` or ``chat_status``.
    :param stages: ids of stages, with ``until="stage"``.
    :param statuses: words, with ``until="chat_status"``.
    :param mode_of: ``all`` or ``any``.
    :param since: only what happened from then on counts, in seconds since 1970; None for "since the ticket".
    :param started: when the Dag run started, by the API's clock, in seconds since 1970.
    :param looked_at: when the contacts were last looked at, by the API's clock, in seconds since 1970.
    :param began: when the wait began, likewise.
    :param again: contacts to read again at a time, by the API's clock, although nothing may change.
    :param deadline: when to give up, in seconds since 1970.
    :param poll_interval: seconds between two looks.
    :param max_failures: looks in a row that may fail.
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
        tickets: Sequence[Mapping[str, Any]] = (),
        stages: Sequence[str] = (),
        statuses: Sequence[str] = (),
        mode_of: str = "all",
        since: float | None = None,
        started: float | None = None,
        began: float | None = None,
        again: Mapping[str, float] | None = None,
        poll_interval: float = 60.0,
        max_failures: int = MAX_FAILURES,
        shared_poll: bool = True,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.vambe_conn_id = vambe_conn_id
        self.ai_contact_ids = list(ai_contact_ids)
        self.tickets = [dict(ticket) for ticket in tickets]
        self.until = until
        self.stages = list(stages)
        self.statuses = list(statuses)
        self.mode_of = mode_of
        self.since = since
        self.started = started
        self.looked_at = looked_at
        self.began = began
        self.again = dict(again or {})
        self.deadline = deadline
        self.poll_interval = poll_interval
        self.max_failures = max_failures
        self.shared_poll = shared_poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments, from which Airflow makes the trigger anew."""
        names = (
            "vambe_conn_id", "ai_contact_ids", "tickets", "until", "stages", "statuses", "mode_of", "since", "started",
            "looked_at", "began", "again", "deadline", "poll_interval", "max_failures", "shared_poll",
        )  # fmt: skip
        return "vambe_provider.triggers.vambe.VambeTicketTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fire once."""
        yield TriggerEvent(await self._event())  # type: ignore[no-untyped-call]

    async def _event(self) -> dict[str, Any]:
        """Return the event; small, because Airflow logs it whole, and without anything personal."""
        patience = Patience(self.max_failures, self.poll_interval)
        until = asyncio.timeout(max(0.0, self.deadline - time.time()))
        try:
            async with until:
                done = await self._done(patience)
        except TimeoutError:
            if not until.expired():
                raise
            failing = {} if patience.error is None else {"failing": _kind(patience.error)}
            return {"status": "timeout", "of": len(self.ai_contact_ids), **failing}
        except (VambeError, AirflowNotFoundException, _NoConnectionError) as error:
            return {
                "status": "error",
                "kind": _kind(error),
                "message": f"connection {self.vambe_conn_id}: {error}",
                "permanent": getattr(error, "permanent", True),
            }
        named = done[:MAX_NAMED] if self.mode_of == "any" else []
        return {"status": "success", "done": len(done), "of": len(self.ai_contact_ids), "ai_contact_ids": named}

    async def _done(self, patience: Patience) -> list[str]:
        """Return the contacts for which it happened, when the wait is over."""
        settings = await self._settings(patience)
        while True:
            subscription = self._subscription(patience)
            try:
                return await self._wait(settings, subscription)
            except VambeError as error:
                # The key may have been changed since; a wait of days must not end because of that.
                if error.status != 401 or patience.fail(error, now=time.monotonic()):
                    raise
                self.looked_at = subscription.since
            fresh = await self._settings(patience, refused=settings, refused_at=time.monotonic())
            if fresh == settings:
                await asyncio.sleep(self._pause())
            settings = fresh

    async def _settings(self, patience: Patience, **refused: Any) -> ConnectionSettings:
        """Return the connection; where Airflow keeps it may be away for a moment, which is a failed look."""
        while True:
            try:
                return await shared_settings(self.vambe_conn_id, **refused)
            except Exception as error:
                log.warning("Cannot read the connection %s now (%s)", self.vambe_conn_id, type(error).__name__)
                if patience.fail(error, now=time.monotonic()):
                    if isinstance(error, (VambeError, AirflowNotFoundException)):
                        raise
                    raise _NoConnectionError(f"it cannot be read ({type(error).__name__})") from None
            await asyncio.sleep(self._pause())

    def _pause(self) -> float:
        return self.poll_interval * random.uniform(0.85, 1.15)  # noqa: S311

    def _subscription(self, patience: Patience) -> Subscription:
        from vambe_provider.waiting.conditions import Wait
        from vambe_provider.waiting.subscription import Subscription
        from vambe_provider.waiting.tickets import Target

        known = self.tickets or [{} for _ in self.ai_contact_ids]
        stages, statuses = (frozenset(item.strip().lower() for item in items) for items in (self.stages, self.statuses))
        wait = Wait(self.until, stages, statuses, self.since, self.started, began=self.began)
        return Subscription(
            wait=wait,
            targets=[Target(contact, **ticket) for contact, ticket in zip(self.ai_contact_ids, known, strict=True)],
            mode_of=self.mode_of,
            since=self.looked_at,
            interval=self.poll_interval,
            patience=patience,
            each=not self.shared_poll,
            again=self.again,
        )

    @staticmethod
    async def _wait(settings: ConnectionSettings, subscription: Subscription) -> list[str]:
        from vambe_provider.waiting.poll import subscribed

        async with subscribed(settings, subscription):
            return await subscription.result


class _NoConnectionError(Exception):
    """Airflow could not read the connection; a task retry may find it."""

    kind = "connection"
    permanent = False


def _kind(error: BaseException) -> str:
    return str(getattr(error, "kind", "connection"))
