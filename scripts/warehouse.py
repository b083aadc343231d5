"""Build the SQLite warehouse of a small online shop, with the dirt that real ones have.

::

    python scripts/warehouse.py FILE

The same seed gives the same rows; only the dates move with ``today``. What is planted is counted while it is made, so
that the demo and the tests know what has to come out.
"""

from __future__ import annotations

import random
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from people import COUNTRIES, Country, Customer, Row, customers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CUSTOMERS = 2_600
ORDERS = 6_000
LATE = 1_240
REPEATED = 14
CONFLICTING = 2
FAILED_THREE_TIMES = 4
FAILED_ONCE = 40

# In the mode WAL, a query that is being read keeps nobody from writing; the ledger is written while the rows are read.
SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE countries (
    country TEXT PRIMARY KEY,
    calling_code TEXT NOT NULL
);
CREATE TABLE customers (
    customer_id INTEGER PRIMARY KEY,
    name TEXT,
    phone TEXT,
    email TEXT,
    country TEXT NOT NULL REFERENCES countries,
    created_on DATE NOT NULL,
    lifetime_value NUMERIC(14, 2) NOT NULL
);
-- The customers as other systems need them: a number that was written without its country code gets it.
CREATE VIEW contacts AS
SELECT customer_id, name, email, customers.country, created_on, lifetime_value,
       CASE
           WHEN trim(phone) LIKE '+%' OR trim(phone) LIKE calling_code || '%' THEN phone
           ELSE '+' || calling_code || ' ' || phone
       END AS phone
FROM customers JOIN countries ON countries.country = customers.country;
-- No primary key: the loader of this shop sometimes writes a row twice.
CREATE TABLE orders (
    order_id TEXT,
    customer_id INTEGER NOT NULL REFERENCES customers,
    status TEXT NOT NULL,
    total NUMERIC(14, 2) NOT NULL,
    currency TEXT NOT NULL,
    items INTEGER NOT NULL,
    payment_method TEXT NOT NULL,
    shop_order_id TEXT NOT NULL,
    tracking_number TEXT,
    ordered_on DATE NOT NULL,
    promised_on DATE NOT NULL,
    delivered_on DATE
);
CREATE TABLE payments (
    payment_id INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL,
    status TEXT NOT NULL,
    amount NUMERIC(14, 2) NOT NULL,
    reason TEXT,
    tried_at TIMESTAMP NOT NULL
);
CREATE TABLE order_outcomes (
    order_id TEXT PRIMARY KEY,
    ai_contact_id TEXT NOT NULL,
    outcome TEXT NOT NULL,
    noted_at TIMESTAMP NOT NULL
);
"""


@dataclass(slots=True)
class Planted:
    """What the query for late orders has to find in a warehouse.

    :param rows: rows that it returns.
    :param sendable: different orders among them that can become a ticket.
    :param repeated: rows that come a second time, unchanged.
    :param conflicting: rows that come a second time, with another total.
    :param rejected: rows that cannot become a ticket, by what is wrong with them.
    """

    rows: int = 0
    sendable: int = 0
    repeated: int = 0
    conflicting: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


def build(path: Path | str, *, seed: int = 7, today: date | None = None) -> Planted:
    """Write the warehouse into a new file, and return what the late-order query has to find in it.

    :param path: the file; one that exists is replaced.
    :param seed: the same seed gives the same rows.
    :param today: the date that "late" refers to; default: today in UTC.
    """
    rng = random.Random(seed)  # noqa: S311 - it has to be repeatable, not secret
    today = today or datetime.now(UTC).date()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    people = list(customers(rng, today, CUSTOMERS))
    planted = Planted()
    orders = _orders(rng, today, people, planted)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
        _insert(connection, "countries", [{"country": c.code, "calling_code": c.calling_code} for c in COUNTRIES])
        _insert(connection, "customers", [person.row(_price(rng, person.country)) for person in people])
        _insert(connection, "orders", orders)
        _insert(connection, "payments", _payments(rng, today, orders, people))
        connection.commit()
    return planted


def _orders(rng: random.Random, today: date, people: list[Customer], planted: Planted) -> list[Row]:
    """Return all orders; the first ``LATE`` of them are late, and some of those come twice."""
    late, clean = [], []
    for number in range(LATE):
        person = rng.choice(people)
        order = _order(rng, person, number) | _shipped(rng, today, promised_days_ago=rng.randint(1, 9))
        late.append(order)
        if person.fault:
            planted.rejected[person.fault] += 1
        else:
            clean.append(order)
    copies = [dict(order) for order in rng.sample(clean, REPEATED + CONFLICTING + 1)]
    for copy in copies[REPEATED:-1]:
        copy["total"] = round(float(str(copy["total"])) * 1.19, 2)
    copies[-1]["order_id"] = None
    planted.rows = len(late) + len(copies)
    planted.sendable = len(clean)
    planted.repeated, planted.conflicting = REPEATED, CONFLICTING
    planted.rejected["no order number"] = 1
    others = [_order(rng, rng.choice(people), number) | _on_time(rng, today) for number in range(LATE, ORDERS)]
    orders = late + copies + others
    rng.shuffle(orders)
    return orders


def _order(rng: random.Random, person: Customer, number: int) -> Row:
    return {
        "order_id": f"ORD-{100_000 + number}",
        "customer_id": person.customer_id,
        "total": _price(rng, person.country),
        "currency": person.country.currency,
        "items": rng.randint(1, 6),
        "payment_method": rng.choice(["card", "card", "transfer", "cash", "wallet"]),
        "shop_order_id": str(rng.randint(4_000_000_000, 4_999_999_999)),
        "tracking_number": None if rng.random() < 0.2 else f"TRK{rng.randint(10**8, 10**9)}",
    }


def _price(rng: random.Random, country: Country) -> float:
    price = country.price * rng.uniform(0.4, 9)
    return round(price) if country.price > 1000 else round(price, 2)


def _shipped(rng: random.Random, today: date, *, promised_days_ago: int) -> Row:
    promised = today - timedelta(days=promised_days_ago)
    return _dates(ordered=promised - timedelta(days=rng.randint(2, 6)), promised=promised) | {"status": "shipped"}


def _on_time(rng: random.Random, today: date) -> Row:
    """Return the dates and the status of an order that worries nobody: delivered, cancelled, or promised for later."""
    status = rng.choices(["delivered", "cancelled", "shipped", "confirmed"], [80, 5, 10, 5])[0]
    if status in ("shipped", "confirmed"):
        return _shipped(rng, today, promised_days_ago=-rng.randint(3, 9)) | {"status": status}
    promised = today - timedelta(days=rng.randint(1, 200))
    delivered = promised - timedelta(days=rng.randint(0, 2)) if status == "delivered" else None
    return _dates(ordered=promised - timedelta(days=5), promised=promised, delivered=delivered) | {"status": status}


def _dates(*, ordered: date, promised: date, delivered: date | None = None) -> Row:
    return {
        "ordered_on": ordered.isoformat(),
        "promised_on": promised.isoformat(),
        "delivered_on": delivered.isoformat() if delivered else None,
    }


def _payments(rng: random.Random, today: date, orders: list[Row], people: list[Customer]) -> Iterator[Row]:
    """Yield one payment for most orders; yesterday's payment failed for some, and failed three times for a few."""
    faulty = {person.customer_id for person in people if person.fault}
    open_orders = [order for order in orders if order["status"] == "confirmed" and order["customer_id"] not in faulty]
    failing = open_orders[: FAILED_THREE_TIMES + FAILED_ONCE]
    yesterday = datetime.combine(today - timedelta(days=1), datetime.min.time())
    for index, order in enumerate(failing):
        for attempt in range(3 if index < FAILED_THREE_TIMES else 1):
            tried = yesterday + timedelta(hours=9 + attempt, minutes=rng.randrange(60))
            yield _payment(order, "failed", tried, rng.choice(["insufficient funds", "card expired", "bank timeout"]))
    failed = {order["order_id"] for order in failing}
    for order in orders:
        if order["order_id"] and order["order_id"] not in failed and order["status"] != "cancelled":
            ordered = datetime.fromisoformat(str(order["ordered_on"]))
            yield _payment(order, "paid", ordered + timedelta(minutes=rng.randrange(24 * 60)), None)


def _payment(order: Row, status: str, tried: datetime, reason: str | None) -> Row:
    return {
        "order_id": order["order_id"],
        "status": status,
        "amount": order["total"],
        "reason": reason,
        "tried_at": tried.isoformat(sep=" "),
    }


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    rows = list(rows)
    columns = list(rows[0])
    values = ", ".join(f":{column}" for column in columns)
    connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})", rows)  # noqa: S608 - our own names


def main() -> None:
    """Build the warehouse that the command line names."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    planted = build(sys.argv[1])
    print(f"{sys.argv[1]}: {planted.rows} rows for late orders, {planted.sendable} of which can become a ticket")


if __name__ == "__main__":
    main()
