"""Rows of a ledger as tasks leave them, for tests of what people see of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa

from vambe_provider.delivery.key import digest
from vambe_provider.delivery.ledger.tables import VERSION, attempts, ledger, metadata, schema
from vambe_provider.delivery.model import State
from vambe_provider.delivery.person import Persons

ACCOUNT = "api.vambe.example"
SENDER = "web-whatsapp/qr-main"


class Planted:
    """A ledger in a database, and a pen for it.

    :param engine: the database; the tables are made in it.
    """

    def __init__(self, engine: sa.engine.Engine) -> None:
        self.engine = engine
        metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(sa.insert(schema).values(id=1, version=VERSION))

    def ticket(self, text: str, state: State, *, tries: Iterable[dict[str, Any]] = ({},), **changed: Any) -> str:
        """Add a ticket with its attempts, and return the digest of its key.

        :param tries: what differs from an ordinary attempt, one mapping for each attempt, the first one first.
        :param changed: what differs in the ticket's row; ``dag``, ``run``, ``phone`` and ``ago`` (a timedelta) too.
        """
        made, row = self._rows(text, state, list(tries), **changed)
        with self.engine.begin() as connection:
            connection.execute(sa.insert(ledger), [row])
            if made:
                connection.execute(sa.insert(attempts), made)
        return str(row["ticket_key"])

    def many(self, count: int, *, states: Iterable[State] = State, **changed: Any) -> None:
        """Add so many tickets of these states in turn, a minute apart, each to another person."""
        kinds, tickets, tries = list(states), [], []
        for number in range(count):
            state = kinds[number % len(kinds)]
            ago = changed.get("ago", timedelta()) + timedelta(minutes=number)
            each = {"phone": f"+5697{number:07d}"} | changed | {"ago": ago}
            made, row = self._rows(f"order_id={number}", state, [{}], **each)
            tickets.append(row)
            tries += made
        with self.engine.begin() as connection:
            connection.execute(sa.insert(ledger), tickets)
            connection.execute(sa.insert(attempts), tries)

    def at_once(self, count: int, **changed: Any) -> None:
        """Add so many tickets that were recorded at the same moment."""
        rows = [self._rows(f"at_once={number}", State.OPENED, [], **changed)[1] for number in range(count)]
        with self.engine.begin() as connection:
            connection.execute(sa.insert(ledger), [row | {"created_at": rows[0]["created_at"]} for row in rows])

    def created(self, text: str) -> datetime:
        """Return when the ticket with this text was recorded."""
        with self.engine.connect() as connection:
            found: datetime = connection.execute(
                sa.select(ledger.c.created_at).where(ledger.c.key_text == text)
            ).scalar_one()
            return found

    def address(self, key: str) -> str:
        """Return the query of the address of a ticket's page."""
        with self.engine.connect() as connection:
            account = connection.scalar(sa.select(ledger.c.account).where(ledger.c.ticket_key == key))
        return urlencode({"key": key, "account": account})

    def another_engine(self) -> sa.engine.Engine:
        """Return an engine of its own for the same database."""
        return sa.create_engine(self.engine.url)

    def updated(self, key: str) -> datetime:
        """Return when a ticket changed last."""
        with self.engine.connect() as connection:
            found: datetime = connection.execute(
                sa.select(ledger.c.updated_at).where(ledger.c.ticket_key == key)
            ).scalar_one()
            return found

    def state(self, key: str) -> str:
        """Return the state of a ticket as the ledger has it now."""
        with self.engine.connect() as connection:
            return str(connection.scalar(sa.select(ledger.c.state).where(ledger.c.ticket_key == key)))

    def tries(self, key: str) -> list[dict[str, Any]]:
        """Return the attempts of a ticket as the ledger has them now, the first one first."""
        query = sa.select(attempts).where(attempts.c.ticket_key == key).order_by(attempts.c.number)
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]

    def _rows(
        self,
        text: str,
        state: State,
        tries: list[dict[str, Any]],
        *,
        dag: str = "late_orders",
        run: str = "scheduled__2026-01-01T00:00:00+00:00",
        namespace: str = "late-orders",
        phone: str = "+56961234567",
        ago: timedelta = timedelta(minutes=1),
        **changed: Any,
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        at = datetime.now(UTC).replace(tzinfo=None) - ago
        key = {"ticket_key": digest(namespace, text), "namespace": namespace, "account": ACCOUNT}
        person = Persons().of(phone)
        row = key | {
            "key_text": text,
            "state": state.value,
            "generation": 0,
            "opened": 0 if state == State.OPENED else None,
            "attempts": len(tries),
            "dag_run": f"{dag}/{run}",
            "owner": "0123456789abcdef.0",
            "lease_until": at + timedelta(minutes=5),
            "due_at": at + timedelta(days=1) if state == State.POSTPONED else None,
            "fingerprint": digest("content", text),
            "row_hash": digest("row", text),
            "person": person,
            "ai_contact_id": None,
            "evidence": None,
            "error_kind": None,
            "error": None,
            "created_at": at,
            "updated_at": at,
        }
        made = [
            key
            | {
                "number": number,
                "generation": 0,
                "reason": "first" if number == 1 else "again",
                "dag_id": dag,
                "task_id": "open_tickets",
                "run_id": run,
                "map_index": -1,
                "try_number": 1,
                "sender": SENDER,
                "person": person,
                "fingerprint": digest("content", text),
                "message_hash": digest("message", text),
                "owner": "0123456789abcdef.0",
                "started_at": at,
                "lease_until": at + timedelta(minutes=5),
                "ended_at": None,
                "closed_at": at + timedelta(seconds=2),
                "sent": {State.OPENED: "yes", State.UNKNOWN: "maybe", State.SENDING: "maybe"}.get(state, "no"),
                "evidence": None,
                "evidence_id": None,
                "ai_contact_id": None,
                "error_kind": None,
                "error": None,
                "decision": None,
                "decided_by": None,
                "in_flight": None,
            }
            | differing
            for number, differing in enumerate(tries, 1)
        ]
        return made, row | changed
