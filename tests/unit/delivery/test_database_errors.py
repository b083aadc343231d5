from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.databases import connect_to
from vambe_provider.delivery.database_errors import describe_database_error, is_permanent, sqlstate_of
from vambe_provider.exceptions import VambeConfigError, VambeError, VambeLedgerError
from vambe_provider.hooks.sql import ledger_engine

PHONE = "+56961234567"
CREATE = "CREATE TABLE vambe_ticket_ledger (person VARCHAR(12) PRIMARY KEY, state VARCHAR(4) NOT NULL)"


def failure(*statements: str, conn_id: str = "warehouse") -> Exception:
    """Return the error of the last statement, as SQLAlchemy raises it from a ledger's engine."""
    engine = ledger_engine(conn_id)
    try:
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
    except sa.exc.DBAPIError as error:
        return error
    else:
        raise AssertionError("nothing failed")
    finally:
        engine.dispose()


def told(error: Exception, **more: Any) -> VambeError:
    return describe_database_error(error, conn_id="warehouse", what="ledger", **more)


@pytest.fixture(params=["psycopg", "psycopg2"])
def postgres(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, postgres_url: str) -> str:
    """A PostgreSQL behind the connection `warehouse`, through each of its drivers."""
    from airflow.providers.postgres.hooks import postgres

    if request.param == "psycopg2":
        monkeypatch.setattr(postgres, "USE_PSYCOPG3", False, raising=False)
    return connect_to("warehouse", postgres_url)


def no_schema(url: str) -> None:
    connect_to("warehouse", url, options="-c search_path=nowhere")


def no_rights(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    engine.dispose()
    connect_to("warehouse", url, options="-c role=pg_monitor -c search_path=public")


def read_only(url: str) -> None:
    connect_to("warehouse", url, options="-c default_transaction_read_only=on")


@pytest.mark.parametrize("prepare", [no_schema, no_rights, read_only])
@pytest.mark.usefixtures("postgres")
def test_a_warehouse_in_which_no_ledger_can_be_made_names_the_way_out(
    postgres_url: str, prepare: Callable[[str], None]
) -> None:
    prepare(postgres_url)
    error = told(failure(CREATE))
    assert isinstance(error, VambeConfigError)  # not worth a retry
    assert "the ledger failed on the connection warehouse with" in str(error)
    assert "name its connection as ledger_conn_id" in str(error)
    assert "`python -m vambe_provider ledger create --conn-id warehouse`" in str(error)
    assert "Nothing was sent." in str(error)


def test_a_read_only_file_names_the_way_out(sqlite_url: str) -> None:
    sa.create_engine(sqlite_url).connect().close()
    connect_to("warehouse", sqlite_url, mode="ro")
    error = told(failure(CREATE))
    assert isinstance(error, VambeConfigError)
    assert "ledger_conn_id" in str(error)


VALUES = [
    f"INSERT INTO vambe_ticket_ledger VALUES ('{PHONE}', NULL)",
    f"INSERT INTO vambe_ticket_ledger VALUES ('{PHONE}', 'Ana Maria')",
    "INSERT INTO vambe_ticket_ledger VALUES ('Ana Maria Pérez', 'x')",
]


@pytest.mark.parametrize("database", ["postgres", "mariadb", "sqlite"])
@pytest.mark.parametrize("statements", [VALUES[:1], VALUES[1:2], VALUES[2:], [VALUES[0].replace("NULL", "'x'")] * 2])
def test_no_error_of_the_ledger_quotes_a_value(
    database: str, statements: list[str], request: pytest.FixtureRequest
) -> None:
    connect_to("warehouse", request.getfixturevalue(f"{database}_url"))
    engine = ledger_engine("warehouse")
    text = ""  # SQLite takes texts of any length
    try:
        with engine.begin() as connection:
            for statement in (CREATE, *statements):
                connection.exec_driver_sql(statement)
    except sa.exc.DBAPIError as error:
        text = f"{told(error)} {told(error)!r}"
        assert "the ledger failed on the connection warehouse with " in text
    finally:
        engine.dispose()
    assert "ana" not in text.lower()
    assert "961234567" not in text


@pytest.mark.usefixtures("postgres")
def test_names_that_the_driver_gives_as_fields_are_told() -> None:
    error = told(failure(CREATE, VALUES[0]))
    assert "NotNullViolation (SQLSTATE 23502)" in str(error)
    assert "table vambe_ticket_ledger, column state" in str(error)
    assert isinstance(error, VambeLedgerError)
    assert not error.permanent


@pytest.mark.parametrize("database", ["postgres", "mariadb"])
def test_a_lost_connection_is_worth_a_retry(database: str, request: pytest.FixtureRequest) -> None:
    connect_to("warehouse", request.getfixturevalue(f"{database}_url"))
    kill = "SELECT pg_terminate_backend(pg_backend_pid())" if database == "postgres" else "KILL CONNECTION_ID()"
    error = told(failure(kill))
    assert isinstance(error, VambeLedgerError)
    assert not error.permanent


class ForeignError(Exception):
    """An error of a driver, as it looks from outside."""

    def __init__(self, *args: object, **fields: object) -> None:
        super().__init__(*args)
        self.__dict__.update(fields)


ProgrammingError = type("ProgrammingError", (ForeignError,), {})
MysqlError = type("OperationalError", (ForeignError,), {"__module__": "MySQLdb"})


@pytest.mark.parametrize(
    ("error", "state", "permanent"),
    [
        (ForeignError("x", sqlstate="42P01"), "42P01", True),
        (ForeignError("x", pgcode="42501"), "42501", True),
        (ForeignError("x", pgcode="42P07"), "42P07", False),  # another worker made the table just now
        (ForeignError("x", pgcode="40001"), "40001", False),
        (ForeignError("x", pgcode="57P01"), "57P01", False),
        (ForeignError("x", pgcode="28P01"), "28P01", False),  # passwords are rotated
        (ForeignError("42S02", "[42S02] [Microsoft] Invalid object name 'Ana'"), "42S02", True),
        (MysqlError(1205, "Lock wait timeout"), "55P03", False),
        (MysqlError(1213, "Deadlock"), "40001", False),
        (MysqlError(1290, "read-only"), "25006", True),
        (MysqlError(1203, "too many connections", sqlstate="42000"), "42000", False),
        (MysqlError(2013, "Lost connection"), "08006", False),
        (MysqlError(9999, "new"), None, False),
        (ProgrammingError("table Ana"), "42000", True),
        (KeyError("a"), "07001", True),
        (ForeignError("Ana"), None, False),
        (ForeignError(), None, False),
    ],
    ids=repr,
)
def test_what_a_retry_can_cure(error: Exception, state: str | None, permanent: bool) -> None:
    assert sqlstate_of(error) == state
    assert is_permanent(error) is permanent
    assert "Ana" not in str(describe_database_error(error, conn_id="w", what="query"))
