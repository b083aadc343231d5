"""What tests of the ledger share: tickets, tries of a task, what can become of a claim, and a look into the tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tests.support.databases import connected as connected
from vambe_provider.api.models import parse_ticket
from vambe_provider.contact_policy import ContactPolicy
from vambe_provider.delivery.key import TicketKey, digest, ticket_key
from vambe_provider.delivery.ledger.sql import SqlLedger
from vambe_provider.delivery.ledger.tables import attempts, ledger
from vambe_provider.delivery.model import Claim, Evidence, Origin, Outcome, Settlement, Verdict, Work
from vambe_provider.delivery.options import DeliveryOptions
from vambe_provider.delivery.permission import Permission
from vambe_provider.delivery.person import Persons
from vambe_provider.exceptions import VambeError, VambeRefusedError

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger import Ledger

ACCOUNT = "api.vambe.example"
ELSEWHERE = "sandbox.example"
NAMESPACE = "late-orders"
PERSONS = Persons("a secret of the tests")
LEASE = 60.0

ORIGIN = Origin(dag="nightly", task="open", run="2026-11-22")
_EVIDENCE = {
    Outcome.OPENED: Evidence.REPLY,
    Outcome.RECONCILED: Evidence.MARK,
    Outcome.REJECTED: Evidence.REFUSED,
    Outcome.FAILED: Evidence.NOT_SENT,
    Outcome.UNKNOWN: Evidence.NO_TRACE,
}


def options(*, run: str = ORIGIN.run, dag: str = ORIGIN.dag, account: str = ACCOUNT, **more: Any) -> DeliveryOptions:
    """Return the options of a task in this run."""
    where = {name: more.pop(name) for name in ("task", "map_index", "try_number") if name in more}
    return DeliveryOptions(origin=replace(ORIGIN, dag=dag, run=run, **where), account=account, sender="web/1", **more)


def key(number: int, namespace: str = NAMESPACE) -> TicketKey:
    return ticket_key(namespace, {"id": number})


def phone(number: int) -> str:
    return f"+5691{number:07d}"


def work(
    number: int, *, person: int | None = None, text: str = "", namespace: str = NAMESPACE, row: str | None = None
) -> Work:
    """Return a ticket; every number is another person unless told otherwise."""
    to = phone(number if person is None else person)
    message = f"Hello {number}{text}"
    return Work(
        key=key(number, namespace),
        ticket=parse_ticket({"to_phone_number": to, "stage_id": "stage", "contact_name": "Ana", "message": message}),
        person=PERSONS.of(to),
        fingerprint=digest(to, message),
        message_hash=digest(message),
        row_hash=row if row is not None else f"row {number}{text}",
    )


def asked(number: int, *, person: int | None = None, **more: Any) -> Work:
    """Return a ticket as a policy has to be asked about it."""
    made = work(number, person=person, **more)
    permission = Permission(ContactPolicy(), timeout=30.0)
    return replace(made, subject=permission.subject(made.ticket.to_phone_number, first_seen=datetime.now(UTC)))


def works(count: int, *, start: int = 1) -> list[Work]:
    return [work(number) for number in range(start, start + count)]


def settlement(claim: Claim, outcome: Outcome, **more: Any) -> Settlement:
    """Return what became of a claim, with what usually goes with such an outcome."""
    error: VambeError | None = None
    if outcome not in (Outcome.OPENED, Outcome.RECONCILED):
        error = VambeRefusedError("no", status=400)
    given = {"evidence": _EVIDENCE[outcome], "error": error, **more}
    return Settlement(claim, outcome, **given)


def claim_of(used: Ledger, ticket: Work, opts: DeliveryOptions | None = None, *, lease: float = LEASE) -> Claim:
    """Claim one ticket and return the answer."""
    [claim] = used.exchange([], [ticket], opts or options(), lease)
    return claim


def settle(
    used: Ledger, claim: Claim, outcome: Outcome, opts: DeliveryOptions | None = None, **more: Any
) -> Settlement:
    """Record what became of one claim."""
    item = settlement(claim, outcome, **more)
    used.exchange([item], [], opts or options(), LEASE)
    return item


def verdicts(claims: list[Claim]) -> list[Verdict]:
    return [claim.verdict for claim in claims]


@contextmanager
def sql_ledger(url: str, persons: Persons = PERSONS, **more: Any) -> Iterator[SqlLedger]:
    """A ledger as a process of its own has it, as far as the database can tell."""
    used = SqlLedger(sa.create_engine(url), persons, **more)
    try:
        yield used
    finally:
        used.close()


def tickets(url: str, account: str = ACCOUNT) -> dict[str, dict[str, Any]]:
    """Return the ledger's rows of one account by the readable text of their keys."""
    with connected(url) as connection:
        found = connection.execute(sa.select(ledger).where(ledger.c.account == account)).mappings()
        return {item["key_text"]: dict(item) for item in found}


def history(url: str, number: int = 1, *, account: str = ACCOUNT, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """Return the attempts at one ticket, in order."""
    query = (
        sa.select(attempts)
        .where(attempts.c.ticket_key == key(number, namespace).digest, attempts.c.account == account)
        .order_by(attempts.c.number)
    )
    with connected(url) as connection:
        return [dict(item) for item in connection.execute(query).mappings()]


def states(url: str, account: str = ACCOUNT) -> dict[str, str]:
    return {name: row["state"] for name, row in tickets(url, account).items()}


def pass_time(url: str, seconds: float = 3600.0) -> None:
    """Let so much time pass in the ledger: everything in it was that much earlier."""
    with connected(url) as connection:
        for table, names in (
            (ledger, ("lease_until", "due_at", "created_at", "updated_at")),
            (attempts, ("started_at", "lease_until", "ended_at", "closed_at")),
        ):
            keys = list(table.primary_key)
            for row in connection.execute(sa.select(*keys, *(table.c[name] for name in names))).mappings():
                earlier = {n: row[n] - timedelta(seconds=seconds) for n in names if row[n] is not None}
                where = [column == row[column.name] for column in keys]
                connection.execute(sa.update(table).where(*where).values(**earlier))


def moment(value: datetime) -> float:
    """Return a time of the ledger as seconds since 1970."""
    return value.replace(tzinfo=UTC).timestamp()


@contextmanager
def statements_of(used: SqlLedger) -> Iterator[list[str]]:
    """Collect the statements that a ledger sends."""
    sent: list[str] = []

    def note(*event: Any) -> None:
        sent.append(event[2])

    engine = used._database.engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def lose_answers(used: SqlLedger, count: int = 1) -> None:
    """Let so many of the next commits of a ledger work without an answer: the connection breaks right after them."""
    engine = used._database.engine
    dialect: Any = engine.dialect
    real, left = type(dialect).do_commit, [count]

    def do_commit(connection: Any) -> None:
        real(dialect, connection)
        if left[0]:
            left[0] -= 1
            raise dialect.dbapi.OperationalError("server closed the connection")

    dialect.do_commit = do_commit
