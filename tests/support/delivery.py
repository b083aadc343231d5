"""What tests of the delivery share: rows, settings that are quick to give up, and a look into the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tests.support.databases import connected as connected
from tests.support.threads import Background as Background
from vambe_provider.api import ConnectionSettings
from vambe_provider.delivery.batch.deliver import deliver_many
from vambe_provider.delivery.batch.source import ListedRows, OpenRows, Rows, Values
from vambe_provider.delivery.key import METADATA_KEY
from vambe_provider.delivery.ledger.sql import SqlLedger
from vambe_provider.delivery.model import Claim, Origin, Result, Unsendable, Verdict, Work
from vambe_provider.delivery.one import deliver_one
from vambe_provider.delivery.options import DeliveryOptions
from vambe_provider.delivery.person import Persons
from vambe_provider.delivery.rows.mapping import compile_ticket
from vambe_provider.delivery.rows.prepare import Preparer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vambe_provider.delivery.batch.report import Report
    from vambe_provider.delivery.ledger import Ledger
    from vambe_provider.sandbox import Sandbox

ORIGIN = Origin("nightly", "open", "2026-11-22")
ACCOUNT = "vambe.test"
PERSON_SECRET = "a secret of the tests"
PERSONS = Persons(PERSON_SECRET)
NAMESPACE = "tests.delivery"
STAGE = "Support / New"
TICKET: dict[str, Any] = {
    "to_phone_number": "{phone}",
    "stage": STAGE,
    "contact_name": "{name}",
    "message": "Hello {name}, your order {id} is late",
    "ticket_metadata": {"order_id": "{id}"},
}


def row(number: int, **changes: Any) -> dict[str, Any]:
    """Return one row of a warehouse; every number is another person."""
    return {"id": number, "phone": f"+5691{number:07d}", "name": f"Person{number}", **changes}


def rows(count: int, *, start: int = 1) -> list[dict[str, Any]]:
    return [row(number) for number in range(start, start + count)]


def options(**changes: Any) -> DeliveryOptions:
    """Return options whose waits are short; the rest is as users have it.

    :param run: another Dag run of the same task.
    """
    run = changes.pop("run", None)
    if run is not None:
        changes["origin"] = replace(ORIGIN, run=run)
    given: dict[str, Any] = {
        "origin": ORIGIN,
        "account": ACCOUNT,
        "polls": (0.01, 0.02, 0.05),
        "retry_budget": 30.0,
        **changes,
    }
    return DeliveryOptions(**given)


def settings(sandbox: Sandbox, **changes: Any) -> ConnectionSettings:
    made = ConnectionSettings(api_key=sandbox.api_key, base_url=sandbox.url, phone_id="qr-main", rate=None, timeout=2.0)
    return replace(made, **changes)


def preparer(
    connection: ConnectionSettings,
    resolve_stage: Callable[[str], str],
    ticket: Any = None,
    *,
    namespace: str = NAMESPACE,
    key_columns: tuple[str, ...] = ("id",),
    **more: Any,
) -> Preparer:
    return Preparer(
        compile_ticket(TICKET if ticket is None else ticket),
        key_columns=key_columns,
        namespace=namespace,
        settings=connection,
        resolve_stage=resolve_stage,
        persons=PERSONS,
        **more,
    )


def made_of(prepare: Preparer, data: Mapping[str, Any]) -> Work | Unsendable:
    """Return what becomes of one row before it is sent."""
    prepare.bind(tuple(data))
    return prepare(tuple(data.values()))


def opened(data: Iterable[Mapping[str, Any]] | OpenRows) -> OpenRows:
    """Return what opens these rows, read one by one as a cursor does."""
    if callable(data):
        return data

    @contextmanager
    def open_rows() -> Iterator[Rows]:
        yield ListedRows(list(data)) if isinstance(data, (list, tuple)) else StreamedRows(iter(data))

    return open_rows


class StreamedRows:
    """Rows of an iterator of dicts, all with the columns of the first one."""

    def __init__(self, rows: Iterator[Mapping[str, Any]]) -> None:
        first = next(rows, None)
        self.columns: tuple[str, ...] = tuple(first or ())
        self._first, self._rows = first, rows

    @property
    def values(self) -> Iterator[Values]:
        if self._first is not None:
            yield tuple(self._first.values())
            for data in self._rows:
                yield tuple(data[name] for name in self.columns)


class Deliveries:
    """Deliveries of rows to one sandbox with one ledger's database; each call is a try in a process of its own, as
    far as the ledger can tell.
    """

    def __init__(self, sandbox: Sandbox, url: str) -> None:
        self.sandbox, self.url = sandbox, url
        self.settings = settings(sandbox)
        self.log: list[str] = []

    def prepare(self, ticket: Any = None, **more: Any) -> Preparer:
        return preparer(self.settings, self.sandbox.stage_id, ticket, **more)

    def work(self, data: Mapping[str, Any] | int, ticket: Any = None, **more: Any) -> Work:
        made = self.made(row(data) if isinstance(data, int) else data, ticket, **more)
        assert isinstance(made, Work), made
        return made

    def made(self, data: Mapping[str, Any], ticket: Any = None, **more: Any) -> Work | Unsendable:
        """Return what becomes of one row before it is sent."""
        return made_of(self.prepare(ticket, **more), data)

    def many(
        self,
        data: Iterable[Mapping[str, Any]] | OpenRows,
        *,
        ticket: Any = None,
        prepare: Preparer | None = None,
        ledger: Ledger | None = None,
        opts: DeliveryOptions | None = None,
        **more: Any,
    ) -> Report:
        with self._ledger(ledger) as used:
            return deliver_many(
                opened(data),
                prepare=prepare or self.prepare(ticket),
                ledger=used,
                settings=more.pop("settings", self.settings),
                options=opts or options(),
                persons=PERSONS,
                log=self.log.append,
                **more,
            )

    def one(
        self,
        data: Mapping[str, Any] | int | Work,
        *,
        ledger: Ledger | None = None,
        opts: DeliveryOptions | None = None,
        **more: Any,
    ) -> Result:
        with self._ledger(ledger) as used:
            return deliver_one(
                data if isinstance(data, Work) else self.work(data),
                ledger=used,
                settings=more.pop("settings", self.settings),
                options=opts or options(),
                persons=PERSONS,
                log=self.log.append,
                **more,
            )

    @contextmanager
    def _ledger(self, given: Ledger | None) -> Iterator[Ledger]:
        if given is not None:
            yield given
            return
        with sql_ledger(self.url) as made:
            yield made

    def tickets(self) -> Counter[str]:
        """Return how many tickets the sandbox has for each order."""
        return Counter(ticket["ticket_metadata"]["order_id"] for ticket in self.sandbox.tickets())

    def markers(self) -> Counter[str]:
        """Return how many tickets the sandbox has for each key."""
        return Counter(ticket["ticket_metadata"][METADATA_KEY] for ticket in self.sandbox.tickets())

    def bodies(self) -> Counter[str]:
        """Return how often each text was sent to a customer."""
        return Counter(message["body"] for message in self.sandbox.messages())

    def states(self) -> dict[str, str]:
        """Return what the ledger says of each key."""
        return {name: row["state"] for name, row in self.ledger_rows().items()}

    def ledger_rows(self) -> dict[str, dict[str, Any]]:
        return ledger_rows(self.url)

    def all_ledger_rows(self) -> list[dict[str, Any]]:
        """Return the rows of all namespaces."""
        with connected(self.url) as connection:
            found = connection.execute(sa.text("SELECT * FROM vambe_ticket_ledger")).mappings()
            return [dict(item) for item in found]

    def attempts(self) -> list[dict[str, Any]]:
        """Return all attempts, in the order of their times."""
        with connected(self.url) as connection:
            query = sa.text("SELECT * FROM vambe_ticket_attempts ORDER BY started_at, ticket_key, number")
            return [dict(item) for item in connection.execute(query).mappings()]

    def change(self, **values: Any) -> None:
        """Set columns of all tickets' rows, as time or another program could have done.

        A lease that is over is over for the attempts too.
        """
        change_ledger(self.url, **values)
        if "lease_until" in values:
            over = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
            change_ledger(self.url, "vambe_ticket_attempts", lease_until=over)

    def posts(self) -> int:
        return len(self.sandbox.requests("open_ticket"))


@contextmanager
def sql_ledger(url: str) -> Iterator[SqlLedger]:
    ledger = SqlLedger(sa.create_engine(url), PERSONS, conn_id="warehouse")
    try:
        yield ledger
    finally:
        ledger.close()


def ledger_rows(url: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a ledger by the readable text of their keys."""
    with connected(url) as connection:
        found = connection.execute(sa.text("SELECT * FROM vambe_ticket_ledger")).mappings()
        return {item["key_text"]: dict(item) for item in found}


def change_ledger(url: str, table: str = "vambe_ticket_ledger", **values: Any) -> None:
    sets = ", ".join(f"{name} = :{name}" for name in values)
    with connected(url) as connection:
        connection.execute(sa.text(f"UPDATE {table} SET {sets}"), values)


class DictStore:
    """What Airflow hands a task as its state store: values survive the task, and are plain JSON."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value


def claim_of(ledger: Ledger, work: Work, opts: DeliveryOptions | None = None, *, lease: float = 60.0) -> Claim:
    """Claim one ticket and return the answer."""
    [claim] = ledger.exchange([], [work], opts or options(), lease)
    return claim


def sendable(claim: Claim) -> Claim:
    assert claim.verdict in (Verdict.SEND, Verdict.CHECK), claim.verdict
    return claim
