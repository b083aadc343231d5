"""The version of the ledger's tables, kept once, and the way from each version to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from vambe_provider.delivery.ledger.tables import SCHEMA, TABLE, VERSION, metadata, schema, senders, suppressions
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.database import Database, Transaction
    from vambe_provider.delivery.person import Persons

Step = Callable[[sa.engine.Connection], None]


def _add_what_a_policy_asks(connection: sa.engine.Connection) -> None:
    for table in (suppressions, senders):
        table.create(connection, checkfirst=True)
    if "imported_at" not in {column["name"] for column in sa.inspect(connection).get_columns(SCHEMA)}:
        kind = schema.c.imported_at.type.compile(connection.dialect)
        connection.execute(sa.text(f"ALTER TABLE {SCHEMA} ADD COLUMN imported_at {kind}"))


STEPS: Mapping[int, Step] = {1: _add_what_a_policy_asks}
"""For each version the function that makes the next one of it. It may find its work half done, since some databases
cannot take back what a failed upgrade has created; so it adds only what is missing.
"""


def ensure_tables(database: Database, persons: Persons | None = None, *, create: bool) -> bool:
    """Make sure that the ledger's tables are there and can be used.

    :param persons: makes the hashes of persons; its secret has to be the one that the ledger was begun with. None when
        no person is looked for.
    :param create: make the tables when they are missing; otherwise that is an error.
    :return: whether they were made here.
    :raises VambeLedgerError: when they are missing and may not be made, or are of another version.
    :raises VambeConfigError: when ``person_secret`` is another one.
    """
    made = _ensure_present(database, create=create)
    version, check = _kept(database)
    _check_version(database, version)
    if persons is not None:
        _check_secret(database, persons, check)
    return made


def upgrade(database: Database, *, steps: Mapping[int, Step] = STEPS, target: int = VERSION) -> tuple[int, int]:
    """Bring the tables from their version to this provider's, one version at a time.

    :return: the version before and after.
    :raises VambeLedgerError: when there are no tables, or they are of the first edition or of a newer version.
    """
    missing = database.retrying(lambda: _missing(database))
    if TABLE in missing or SCHEMA in missing:
        raise _not_there(database, missing[0])
    before, _ = _kept(database)
    if before > target:
        raise _newer(before, target)
    for version in range(before, target):
        database.write(lambda tx, version=version: _step(tx.connection, version, steps[version]))  # type: ignore[misc]
    return before, target


def _step(connection: sa.engine.Connection, version: int, step: Step) -> None:
    query = sa.select(schema.c.version)
    if connection.dialect.name != "sqlite":
        query = query.with_for_update()  # two who upgrade at once do it one after the other
    if connection.scalar(query) == version:
        step(connection)
        connection.execute(sa.update(schema).where(schema.c.version == version).values(version=version + 1))


def _ensure_present(database: Database, *, create: bool) -> bool:
    missing = database.retrying(lambda: _missing(database))
    if not missing:
        return False
    if TABLE not in missing and SCHEMA not in missing:
        _check_version(database, _kept(database)[0])  # what an older version has not got is the upgrade's to make
    if not create:
        raise _not_there(database, missing[0])
    database.retrying(lambda: _create(database))
    return True


def _not_there(database: Database, table: str) -> VambeLedgerError:
    return VambeLedgerError(
        f"The table {table} does not exist",
        fix=f"Run `{database.command('create')}` with a user who may create tables.",
    )


def _missing(database: Database) -> list[str]:
    """Return the names of the tables that are not there.

    :raises VambeLedgerError: when a table with such a name is another one.
    """
    inspector = sa.inspect(database.engine)
    missing = [table.name for table in metadata.sorted_tables if not inspector.has_table(table.name)]
    if TABLE not in missing:
        found = {column["name"] for column in inspector.get_columns(TABLE)}
        if "account" not in found:
            what = "of the first edition" if {"schema_version", "resent_by"} & found else "that is not the ledger's"
            raise VambeLedgerError(
                f"There is a table {TABLE} {what}, whose keys were made otherwise: it says nothing about today's "
                "tickets",
                fix=f"Rename it, run `{database.command('create')}`, and record what need not be sent any more with "
                f"`{database.command('seed')}`; or name another database as `ledger_conn_id`.",
            )
    return missing


def _create(database: Database) -> None:
    """Create the tables, also when another worker does the same at this moment."""
    try:
        metadata.create_all(database.engine, checkfirst=True)
    except sa.exc.DBAPIError:
        if _missing(database):
            raise


def _kept(database: Database) -> tuple[int, str | None]:
    """Return the version and the mark of the secret; the first who asks writes them."""

    def read(tx: Transaction) -> Any:
        return tx.connection.execute(sa.select(schema.c.version, schema.c.person_check)).first()

    def write(tx: Transaction) -> Any:
        # Of two who do this at once the second fails, and finds the row when it tries again.
        if (kept := read(tx)) is None:
            tx.connection.execute(sa.insert(schema).values(id=1, version=VERSION))
            kept = read(tx)
        return kept

    version, check = database.read(read) or database.write(write)
    return int(version), check


def _check_version(database: Database, version: int) -> None:
    if version > VERSION:
        raise _newer(version, VERSION)
    if version < VERSION:
        raise VambeLedgerError(
            f"The ledger's tables have version {version}, this provider needs {VERSION}",
            fix=f"Stop the tasks that use it, then run `{database.command('upgrade')}`.",
        )


def _newer(version: int, known: int) -> VambeLedgerError:
    return VambeLedgerError(
        f"The ledger's tables have version {version}, made by a newer provider; this one knows {known}",
        fix="Upgrade airflow-provider-vambe where this runs.",
    )


def _check_secret(database: Database, persons: Persons, check: str | None) -> None:
    own = persons.check()
    if check is None:
        first = sa.update(schema).where(schema.c.person_check.is_(None)).values(person_check=own)
        database.write(lambda tx: tx.connection.execute(first).rowcount)
        _, check = _kept(database)
    if check != own:
        raise VambeConfigError(
            "[vambe] person_secret is another one than when this ledger was begun, so that nobody in it would be "
            "recognised",
            fix="Set it as it was, on every worker; AIRFLOW__VAMBE__PERSON_SECRET comes before airflow.cfg. With a new "
            "secret begin a new ledger.",
        )
