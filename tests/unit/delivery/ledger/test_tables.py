"""The tables themselves: made once, of one version, with one secret; in each kind of database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.support.ledger import (
    PERSONS,
    claim_of,
    connected,
    history,
    options,
    settle,
    sql_ledger,
    states,
    tickets,
    work,
)
from tests.support.threads import Background
from vambe_provider.delivery.ledger import upgrade as upgrade_module
from vambe_provider.delivery.ledger.database import Database
from vambe_provider.delivery.ledger.sql import SqlLedger
from vambe_provider.delivery.ledger.tables import ATTEMPTS, SCHEMA, TABLE, VERSION, attempts, ledger, metadata, schema
from vambe_provider.delivery.ledger.upgrade import ensure_tables, upgrade
from vambe_provider.delivery.model import Outcome, Verdict
from vambe_provider.delivery.person import Persons
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_tables(ledger_url: str) -> Iterator[None]:
    """Begin and end without tables, since these tests make odd ones."""
    _drop(ledger_url)
    yield
    _drop(ledger_url)


def _drop(url: str) -> None:
    with connected(url) as connection:
        for name in (ATTEMPTS, TABLE, SCHEMA):
            connection.execute(sa.text(f"DROP TABLE IF EXISTS {name}"))


def database_at(url: str) -> Database:
    return Database(sa.create_engine(url, poolclass=sa.pool.NullPool), "warehouse")


# --- Made once --------------------------------------------------------------------------------------------------------


def test_the_tables_are_made_once_by_many(ledger_url: str) -> None:
    made = [Background(lambda: SqlLedger(sa.create_engine(ledger_url), PERSONS).close()) for _ in range(4)]
    for thread in made:
        thread.result()
    with connected(ledger_url) as connection:
        assert connection.execute(sa.select(schema.c.version)).all() == [(VERSION,)]
    assert tickets(ledger_url) == {}


def test_tables_that_may_not_be_made_name_the_command_that_makes_them(ledger_url: str) -> None:
    with pytest.raises(VambeLedgerError, match="ledger create --conn-id warehouse`"):
        SqlLedger(sa.create_engine(ledger_url), PERSONS, create=False, conn_id="warehouse")
    assert ensure_tables(database_at(ledger_url), create=True)
    assert not ensure_tables(database_at(ledger_url), create=True)
    with sql_ledger(ledger_url, create=False) as used:
        assert claim_of(used, work(1)).verdict == Verdict.SEND


def test_a_table_that_is_missing_is_made_beside_the_others(ledger_url: str) -> None:
    with sql_ledger(ledger_url):
        pass
    with connected(ledger_url) as connection:
        connection.execute(sa.text(f"DROP TABLE {ATTEMPTS}"))
    with pytest.raises(VambeLedgerError, match=f"{ATTEMPTS} does not exist"):
        SqlLedger(sa.create_engine(ledger_url), PERSONS, create=False)
    with sql_ledger(ledger_url) as used:
        assert claim_of(used, work(1)).verdict == Verdict.SEND


# --- Versions ---------------------------------------------------------------------------------------------------------


def _first_edition(url: str) -> None:
    with connected(url) as connection:
        old = sa.Table(
            TABLE,
            sa.MetaData(),
            sa.Column("namespace", sa.String(200), primary_key=True),
            sa.Column("ticket_key", sa.String(32), primary_key=True),
            sa.Column("resent_by", sa.String(32)),
            sa.Column("schema_version", sa.SmallInteger),
        )
        old.create(connection)
        connection.execute(sa.insert(old).values(namespace="a", ticket_key="k", schema_version=1))


def test_a_table_of_the_first_edition_is_left_alone_and_the_way_out_is_named(ledger_url: str) -> None:
    _first_edition(ledger_url)
    for action in (
        lambda: SqlLedger(sa.create_engine(ledger_url), PERSONS, conn_id="warehouse"),
        lambda: upgrade(database_at(ledger_url)),
        lambda: ensure_tables(database_at(ledger_url), create=True),
    ):
        with pytest.raises(VambeLedgerError, match="of the first edition") as caught:
            action()
        assert "ledger create --conn-id warehouse`" in str(caught.value)
    with connected(ledger_url) as connection:
        assert not sa.inspect(connection).has_table(ATTEMPTS)


def test_a_table_that_is_not_the_ledgers_is_left_alone(ledger_url: str) -> None:
    with connected(ledger_url) as connection:
        connection.execute(sa.text(f"CREATE TABLE {TABLE} (id INTEGER)"))
    with pytest.raises(VambeLedgerError, match="that is not the ledger's"):
        SqlLedger(sa.create_engine(ledger_url), PERSONS)


def _set_version(url: str, version: int) -> None:
    with connected(url) as connection:
        connection.execute(sa.update(schema).values(version=version))


def test_tables_of_a_newer_provider_are_left_alone(ledger_url: str) -> None:
    with sql_ledger(ledger_url) as used:
        claim_of(used, work(1))
    _set_version(ledger_url, VERSION + 1)
    for action in (
        lambda: SqlLedger(sa.create_engine(ledger_url), PERSONS),
        lambda: upgrade(database_at(ledger_url)),
        lambda: ensure_tables(database_at(ledger_url), create=True),
    ):
        with pytest.raises(VambeLedgerError, match=f"version {VERSION + 1}, made by a newer provider"):
            action()


def test_tables_of_an_older_version_name_the_command_that_upgrades_them(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sql_ledger(ledger_url):
        pass
    monkeypatch.setattr(upgrade_module, "VERSION", VERSION + 1)
    with pytest.raises(VambeLedgerError, match="ledger upgrade --conn-id warehouse`"):
        SqlLedger(sa.create_engine(ledger_url), PERSONS, conn_id="warehouse")


def _add_priority(connection: sa.engine.Connection) -> None:
    """A made-up next version: tickets get a priority, which follows from their attempts. It shows how it is done."""
    if "priority" not in {column["name"] for column in sa.inspect(connection).get_columns(TABLE)}:
        connection.execute(sa.text(f"ALTER TABLE {TABLE} ADD COLUMN priority INTEGER"))
    connection.execute(sa.text(f"UPDATE {TABLE} SET priority = attempts * 10"))


STEPS = {VERSION: _add_priority}


def priorities(url: str) -> dict[str, Any]:
    with connected(url) as connection:
        return dict(connection.execute(sa.text(f"SELECT key_text, priority FROM {TABLE}")).all())


def fill(url: str) -> None:
    with sql_ledger(url) as used:
        settle(used, claim_of(used, work(1)), Outcome.OPENED)
        settle(used, claim_of(used, work(2)), Outcome.FAILED)
        settle(used, claim_of(used, work(2)), Outcome.UNKNOWN)


def test_filled_tables_are_upgraded_to_the_next_version(ledger_url: str) -> None:
    fill(ledger_url)
    before = states(ledger_url)
    assert upgrade(database_at(ledger_url), steps=STEPS, target=VERSION + 1) == (VERSION, VERSION + 1)
    assert priorities(ledger_url) == {"id=1": 10, "id=2": 20}
    assert states(ledger_url) == before
    assert len(history(ledger_url, 2)) == 2
    assert upgrade(database_at(ledger_url), steps=STEPS, target=VERSION + 1) == (VERSION + 1, VERSION + 1)
    with connected(ledger_url) as connection:
        assert connection.execute(sa.select(schema.c.version)).all() == [(VERSION + 1,)]


def test_an_upgrade_that_broke_off_goes_on_from_where_it_was(ledger_url: str) -> None:
    fill(ledger_url)

    def breaks(connection: sa.engine.Connection) -> None:
        connection.execute(sa.text(f"ALTER TABLE {TABLE} ADD COLUMN priority INTEGER"))
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        upgrade(database_at(ledger_url), steps={VERSION: breaks}, target=VERSION + 1)
    assert upgrade(database_at(ledger_url)) == (VERSION, VERSION)
    upgrade(database_at(ledger_url), steps=STEPS, target=VERSION + 1)
    assert priorities(ledger_url) == {"id=1": 10, "id=2": 20}


def test_two_who_upgrade_at_once_do_it_once(ledger_url: str) -> None:
    fill(ledger_url)
    both = [Background(lambda: upgrade(database_at(ledger_url), steps=STEPS, target=VERSION + 1)) for _ in range(2)]
    for one in both:
        one.result()
    assert priorities(ledger_url) == {"id=1": 10, "id=2": 20}


def test_what_is_not_there_cannot_be_upgraded(ledger_url: str) -> None:
    with pytest.raises(VambeLedgerError, match="does not exist"):
        upgrade(database_at(ledger_url))


# --- The secret -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [Persons("another"), Persons(None)])
def test_another_secret_is_an_error_and_no_empty_memory(ledger_url: str, other: Persons) -> None:
    with sql_ledger(ledger_url) as used:
        claim_of(used, work(1))
    with pytest.raises(VambeConfigError, match="person_secret"):
        SqlLedger(sa.create_engine(ledger_url), other)
    with sql_ledger(ledger_url) as used:
        assert claim_of(used, work(1), options(run="other")).verdict == Verdict.WAIT


def test_a_secret_that_is_set_later_is_an_error(ledger_url: str) -> None:
    with sql_ledger(ledger_url, Persons(None)):
        pass
    with pytest.raises(VambeConfigError, match="person_secret"):
        SqlLedger(sa.create_engine(ledger_url), PERSONS)


def test_tables_that_were_made_without_the_secret_take_the_first_one(ledger_url: str) -> None:
    ensure_tables(database_at(ledger_url), create=True)
    with sql_ledger(ledger_url):
        pass
    with pytest.raises(VambeConfigError, match="person_secret"):
        SqlLedger(sa.create_engine(ledger_url), Persons("another"))


# --- What the tables hold ---------------------------------------------------------------------------------------------


def test_no_index_is_on_what_a_settlement_changes() -> None:
    changed = {"state", "opened", "owner", "lease_until", "evidence", "error", "ai_contact_id", "updated_at", "dag_run"}
    indexed = {column.name for index in ledger.indexes for column in index.columns}
    assert not indexed & changed
    closed = {"closed_at", "sent", "evidence", "ended_at", "ai_contact_id", "error"}
    assert not {column.name for index in attempts.indexes for column in index.columns} & closed


def test_the_key_of_a_row_comes_first_in_its_index() -> None:
    for table in (attempts, ledger):
        assert [column.name for column in table.primary_key][:3] == ["ticket_key", "namespace", "account"]


def test_mariadb_keeps_rows_in_the_order_of_their_arrival(request: pytest.FixtureRequest) -> None:
    url: str = request.getfixturevalue("mariadb_url")
    with sql_ledger(url), connected(url) as connection:
        for table in (TABLE, ATTEMPTS):
            assert sa.inspect(connection).get_pk_constraint(table)["constrained_columns"] == ["arrival"]
            [unique] = [
                found["column_names"]
                for found in sa.inspect(connection).get_unique_constraints(table)
                if "ticket_key" in found["column_names"]
            ]
            assert unique == [column.name for column in metadata.tables[table].primary_key]
