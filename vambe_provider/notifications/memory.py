"""What is remembered of the tickets that notifiers have opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vambe_provider.delivery.key import TicketKey
    from vambe_provider.delivery.ledger import Ledger
    from vambe_provider.delivery.model import Attempt
    from vambe_provider.delivery.options import DeliveryOptions
    from vambe_provider.notifications.event import Event
    from vambe_provider.waiting.tickets import Target

REMEMBERED = timedelta(days=7)
"""How old a ticket may be that a recovery closes."""
AT_ONCE = 5
"""Tickets that one recovery closes, the newest ones."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The ledger of a notifier, to look at."""

    ledger: Ledger
    options: DeliveryOptions
    conn_id: str | None

    def opened(self, place: str, name: str) -> Attempt | None:
        """Return the attempt that opened a ticket."""
        from vambe_provider.delivery.key import check_namespace, named_key

        return self.ledger.opened(named_key(check_namespace(place), name, given=True), self.options)

    def open_ones(self, place: str, name: str) -> list[Target]:
        """Return the tickets of a place that are to be closed, the newest ones; without a ledger the run's own."""
        if self.conn_id is None:
            found = [self.opened(place, name)]
        else:
            found = [self.ledger.opened(key, self.options) for key in self._newest(self.conn_id, place)]
        return [_target(one) for one in found if one is not None and one.ai_contact_id]

    def _newest(self, conn_id: str, place: str) -> list[TicketKey]:
        from vambe_provider.delivery.key import TicketKey
        from vambe_provider.delivery.ledger.admin import LedgerAdmin
        from vambe_provider.delivery.ledger.entry import Selection
        from vambe_provider.delivery.model import State
        from vambe_provider.hooks.sql import ledger_engine

        engine = ledger_engine(conn_id)
        try:
            chosen = Selection(
                namespace=place, account=self.options.account, states=[State.OPENED], newer_than=REMEMBERED
            )
            entries = LedgerAdmin(engine, conn_id).newest(chosen, limit=AT_ONCE)
        finally:
            engine.dispose()
        return [TicketKey(entry.namespace, entry.ticket_key, entry.key_text) for entry in entries]


def _target(attempt: Attempt) -> Target:
    from vambe_provider.waiting.tickets import Target

    return Target(
        str(attempt.ai_contact_id),
        mark=attempt.mark,
        opened_at=attempt.started,
        opened_until=attempt.ended,
        account=attempt.account,
    )


@dataclass(slots=True)
class _TaskInstance:
    """What the operator reads of a task instance. It keeps nothing: the failed task's XComs are not a notifier's."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int
    try_number: int

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep nothing."""


def seen_as_a_task(event: Event, context: Mapping[str, Any]) -> Any:
    """Return the context that the operator gets: the event as a task instance, also where there is none."""
    ti = _TaskInstance(event.dag or "-", event.task or "-", event.run or "-", event.map_index, event.try_number)
    inner: dict[str, Any] = {"ti": ti, "dag_run": SimpleNamespace(start_date=event.started)}
    if context.get("task_state_store") is not None:
        inner["task_state_store"] = context["task_state_store"]
    return inner
