"""The ledger's own list of people who must not be contacted: who put whom on it, when, and for which purpose.

A person is on it under every spelling that WhatsApp or Vambe knows of the number, each as a keyed hash, so that one
look finds them whichever spelling a ticket is addressed to. The list holds no number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite

from vambe_provider.contact_policy import PURPOSES
from vambe_provider.contact_policy.suppression import Suppressed
from vambe_provider.delivery.key import printable
from vambe_provider.delivery.ledger import statements
from vambe_provider.delivery.ledger.database import Database
from vambe_provider.delivery.ledger.tables import ALL_PURPOSES, MAX_NAME, schema, suppressions
from vambe_provider.delivery.ledger.upgrade import ensure_tables
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.database import Transaction
    from vambe_provider.delivery.person import Persons

AT_ONCE = 500
"""Numbers that one transaction records."""
_OWN = (suppressions.c.purpose, suppressions.c.source, suppressions.c.added_at, suppressions.c.added_by)


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of the list, as a person may see it; times are UTC.

    :param purpose: the purpose that it stops, or ``all``.
    :param source: where it comes from, such as ``command``, ``import`` or ``message``.
    :param added_at: when it was added.
    :param added_by: who added it; None when nobody said.
    """

    purpose: str
    source: str
    added_at: datetime
    added_by: str | None


class SuppressionList:
    """The list, in the hands of a person or of a task that collects opt-outs.

    :param engine: an engine of its own for the ledger's database.
    :param persons: makes the hashes of persons; its secret has to be the one that the ledger was begun with.
    :param conn_id: the connection that it came from, for commands in texts.
    :param create: make the ledger's tables when they are missing.
    :raises VambeLedgerError: when the database cannot be reached, or has no ledger or one of another version.
    :raises VambeConfigError: when ``person_secret`` is another one than when the ledger was begun.
    """

    def __init__(
        self, engine: sa.engine.Engine, persons: Persons, conn_id: str | None = None, *, create: bool = True
    ) -> None:
        self._database, self._persons = Database(engine, conn_id), persons
        ensure_tables(self._database, persons, create=create)

    def add(
        self, numbers: Iterable[str], *, source: str, added_by: str | None, purpose: str | None = None
    ) -> tuple[int, int]:
        """Put people on the list, some hundred in each transaction; who is on it stays as they are.

        Repeating it does no harm: after a failure, those that were recorded are known.

        :param numbers: in E.164 form.
        :param source: where they come from, at most 20 characters.
        :param added_by: who says so.
        :param purpose: the purpose that they must not be contacted for; None for all.
        :return: how many were added, and how many were on it before.
        :raises VambeConfigError: when there is no such purpose.
        """
        chosen, by = _purpose(purpose), printable((added_by or "").strip())[:MAX_NAME] or None
        left, added, known = iter(numbers), 0, 0
        while some := list(islice(left, AT_ONCE)):
            entries = {number: sorted(self._persons.any_of(number)) for number in some}
            new = self._database.write(lambda tx, entries=entries: _add(tx, entries, chosen, source, by))  # type: ignore[misc]
            added, known = added + new, known + len({tuple(hashes) for hashes in entries.values()}) - new
        if source == "import":
            # Also when everybody was known: what counts is how old the list is.
            self._database.write(lambda tx: tx.connection.execute(sa.update(schema).values(imported_at=tx.now)))
        return added, known

    def remove(self, number: str, *, purpose: str | None = None) -> int:
        """Take somebody off the list, because they asked to be contacted again.

        :param number: in E.164 form.
        :param purpose: only the entry of this purpose; None for every entry of the person.
        :return: how many entries were removed.
        """
        hashes = sorted(self._persons.any_of(number))
        where: list[Any] = [suppressions.c.person.in_(hashes)]
        if purpose is not None:
            where.append(suppressions.c.purpose == _purpose(purpose))

        def write(tx: Transaction) -> int:
            query = sa.select(sa.func.count()).select_from(suppressions).where(*where, suppressions.c.counts)
            number = int(tx.connection.execute(query).scalar_one())
            tx.connection.execute(sa.delete(suppressions).where(*where))
            return number

        return self._database.write(write)

    def of(self, number: str) -> list[Listed]:
        """Return the entries about somebody.

        :param number: in E.164 form.
        """
        mine = suppressions.c.person.in_(sorted(self._persons.any_of(number)))
        query = sa.select(*_OWN).where(mine, suppressions.c.counts).order_by(suppressions.c.purpose)
        return self._database.read(lambda tx: [Listed(*row) for row in tx.connection.execute(query)])

    def newest(self, *, limit: int, purpose: str | None = None) -> list[Listed]:
        """Return the entries that were added last, newest first.

        :param purpose: only those of this purpose.
        """
        query = sa.select(*_OWN).where(suppressions.c.counts).order_by(suppressions.c.added_at.desc()).limit(limit)
        if purpose is not None:
            query = query.where(suppressions.c.purpose == _purpose(purpose))
        return self._database.read(lambda tx: [Listed(*row) for row in tx.connection.execute(query)])

    def imported_at(self) -> datetime | None:
        """Return when a list was imported last, with its time zone; None when none was."""
        return self._database.read(read_imported)


def read_suppressed(tx: Transaction, dialect: str, persons: Sequence[str]) -> Mapping[str, tuple[Suppressed, ...]]:
    """Return what the list holds about these persons; those who are not on it are left out."""
    found: dict[str, tuple[Suppressed, ...]] = {}
    for statement in statements.suppressed(dialect, persons) if persons else ():
        for person, purpose, source, added in tx.connection.execute(*statement):
            stopped = None if purpose == ALL_PURPOSES else purpose
            entry = Suppressed(purpose=stopped, since=added.replace(tzinfo=UTC), source=source)
            found[person] = (*found.get(person, ()), entry)
    return found


def read_imported(tx: Transaction) -> datetime | None:
    """Return when a list was imported last; None when none was."""
    moment: datetime | None = tx.connection.execute(sa.select(schema.c.imported_at)).scalar_one_or_none()
    return None if moment is None else moment.replace(tzinfo=UTC)


def _add(tx: Transaction, entries: Mapping[str, Sequence[str]], purpose: str, source: str, by: str | None) -> int:
    hashes = sorted({one for found in entries.values() for one in found})
    dialect = tx.connection.dialect.name
    known = {
        row.person
        for statement in statements.suppressed(dialect, hashes)
        for row in tx.connection.execute(*statement)
        if row.purpose == purpose
    }
    new = {tuple(found) for found in entries.values() if known.isdisjoint(found)}
    rows = [
        {
            "person": person,
            "purpose": purpose,
            "counts": person == found[0],
            "source": source,
            "added_at": tx.now,
            "added_by": by,
        }
        for found in sorted(new)
        for person in found
    ]
    if rows:
        tx.connection.execute(_insert(dialect), rows)
    return len(new)


def _insert(dialect: str) -> Any:
    """Return the insert that leaves out whom another has put on the list at this moment."""
    if dialect == "postgresql":
        return postgresql.insert(suppressions).on_conflict_do_nothing()
    if dialect == "sqlite":
        return sqlite.insert(suppressions).on_conflict_do_nothing()
    return mysql.insert(suppressions).on_duplicate_key_update(person=suppressions.c.person)


def _purpose(purpose: str | None) -> str:
    if purpose is None:
        return ALL_PURPOSES
    if purpose not in PURPOSES:
        raise VambeConfigError(f"purpose: is not one of {', '.join(PURPOSES)}", fix="Leave it out for all of them.")
    return purpose
