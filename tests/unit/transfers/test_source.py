from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from vambe_provider.exceptions import VambeConfigError, VambeDeliveryError
from vambe_provider.transfers.source import SqlSource


@pytest.fixture
def warehouse(ledger_url: str) -> str:
    """A table of orders in each kind of database, behind the Airflow connection `warehouse`."""
    engine = sa.create_engine(ledger_url)
    rows = [(1, "Ana", "+56961234567"), (2, "100% Bea", None), (2, "Bea", ""), (None, "Caro", "x")]
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE orders (id INTEGER, name VARCHAR(40), phone VARCHAR(40))"))
        connection.execute(
            sa.text("INSERT INTO orders VALUES (:id, :name, :phone)"),
            [dict(zip(("id", "name", "phone"), row, strict=True)) for row in rows],
        )
    engine.dispose()
    return connect_to("warehouse", ledger_url)


def connect_to(conn_id: str, url: str) -> str:
    parts = urlsplit(url)
    kind = {"postgresql": "postgres", "mysql": "mysql", "mariadb": "mysql"}.get(parts.scheme.partition("+")[0])
    if kind is None:
        sqlite = {"conn_type": "sqlite", "host": parts.path.removeprefix("/")}
        os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(sqlite)
        return conn_id
    if kind == "mysql":
        pytest.importorskip("airflow.providers.mysql")
    fields: dict[str, Any] = {"conn_type": kind, "host": parts.hostname, "port": parts.port, "login": parts.username}
    fields |= {"password": parts.password or "", "schema": parts.path.removeprefix("/")}
    fields |= {"extra": {"client": "pymysql"}} if kind == "mysql" else {}
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(fields)
    return conn_id


def read(sql: str, parameters: Any = None) -> list[dict[str, Any]]:
    source = SqlSource(conn_id="warehouse", sql=sql, parameters=parameters)
    try:
        with source.open() as rows:
            return list(rows)
    finally:
        source.close()


@pytest.mark.usefixtures("warehouse")
class TestRows:
    def test_rows_are_dicts_in_their_order(self) -> None:
        assert read("SELECT id, name FROM orders WHERE id IS NOT NULL ORDER BY id, name DESC") == [
            {"id": 1, "name": "Ana"},
            {"id": 2, "name": "Bea"},
            {"id": 2, "name": "100% Bea"},
        ]

    def test_a_percent_sign_without_parameters_is_a_percent_sign(self) -> None:
        assert read("SELECT id FROM orders WHERE name LIKE '100%'") == [{"id": 2}]

    def test_an_empty_result_has_columns(self) -> None:
        source = SqlSource(conn_id="warehouse", sql="SELECT id, phone FROM orders WHERE 1 = 0")
        with source.open() as rows:
            assert rows.columns == ("id", "phone")
            assert list(rows) == []
        source.close()

    def test_two_columns_of_one_name_are_refused(self) -> None:
        with pytest.raises(VambeConfigError, match="more than one column is named name"):
            read("SELECT name, phone AS name FROM orders")

    def test_rows_are_counted(self) -> None:
        source = SqlSource(conn_id="warehouse", sql="SELECT name FROM orders -- all of them")
        assert source.count() == 4
        source.close()

    def test_keys_that_are_null_or_double_are_found(self) -> None:
        source = SqlSource(conn_id="warehouse", sql="SELECT id, name FROM orders;")
        found = source.unusable_keys(["id"])
        assert sorted(found, key=str) == [{"id": 2, "rows": 2}, {"id": None, "rows": 1}]
        assert source.unusable_keys(["id"], limit=1) in ([found[0]], [found[1]])
        with pytest.raises(VambeConfigError, match="not a plain name"):
            source.unusable_keys(["id; DROP TABLE orders"])
        source.close()

    def test_the_connections_are_given_back(self) -> None:
        source = SqlSource(conn_id="warehouse", sql="SELECT id FROM orders")
        with source.open() as rows:
            next(iter(rows))
        source.close()
        # A table that somebody still reads could not be dropped in any of these databases.
        engine = SqlSource(conn_id="warehouse", sql="SELECT 1")._engine
        assert engine is not None
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE orders")
        engine.dispose()


def test_parameters_reach_the_driver(sqlite_url: str) -> None:
    connect_to("warehouse", sqlite_url)
    assert read("SELECT ? AS a, ? AS b", [1, "x"]) == [{"a": 1, "b": "x"}]
    assert read("SELECT :a AS a", {"a": None}) == [{"a": None}]


def test_parameters_of_postgresql_are_its_own(postgres_url: str) -> None:
    connect_to("warehouse", postgres_url)
    assert read("SELECT %(a)s AS a, '5%%' AS b", {"a": 1}) == [{"a": 1, "b": "5%"}]


def test_an_error_of_the_database_says_why_and_nothing_personal(postgres_url: str) -> None:
    connect_to("warehouse", postgres_url)
    with pytest.raises(VambeDeliveryError, match="invalid input syntax for type integer") as caught:
        read("SELECT CAST(%s AS INTEGER) AS number", ["+56 961234567"])
    assert "961234567" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_error_in_the_middle_of_the_rows_is_no_other(sqlite_url: str) -> None:
    connect_to("warehouse", sqlite_url)
    # The function fails for its third row only, when two have been handed out.
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3)"
    third = f"{numbers} SELECT abs(-9223372036854775807 - (i = 3)) FROM n"
    with pytest.raises(VambeDeliveryError, match="integer overflow"):
        read(third)


def test_rows_arrive_before_all_of_them_exist(sqlite_url: str) -> None:
    connect_to("warehouse", sqlite_url)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    source = SqlSource(conn_id="warehouse", sql=endless)
    with source.open() as rows:
        assert next(iter(rows)) == {"i": 1}
    source.close()


def test_a_database_without_a_dialect_is_read_through_its_driver(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.sqlite.hooks.sqlite import SqliteHook

    def none(*_: Any) -> None:
        raise ModuleNotFoundError("no dialect for this database")

    monkeypatch.setattr(SqliteHook, "get_sqlalchemy_engine", none)
    connect_to("warehouse", sqlite_url)
    assert read("SELECT ? AS a UNION ALL SELECT 2", [1]) == [{"a": 1}, {"a": 2}]
    with pytest.raises(VambeConfigError, match="more than one column is named a"):
        read("SELECT 1 AS a, 2 AS a")


def test_a_connection_that_runs_no_sql_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CRM", "vambe://:key@")
    with pytest.raises(VambeConfigError, match="sql_conn_id: the connection crm of the type 'vambe' does not run SQL"):
        SqlSource(conn_id="crm", sql="SELECT 1")


def test_a_connection_of_an_unknown_type_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ODD", "oddbase://host")
    with pytest.raises(VambeConfigError, match="Install the Airflow provider of this database"):
        SqlSource(conn_id="odd", sql="SELECT 1")


def test_a_statement_that_returns_nothing_is_refused(sqlite_url: str) -> None:
    connect_to("warehouse", sqlite_url)
    with pytest.raises(VambeConfigError, match="the statement is no query"):
        read("PRAGMA user_version = 1")
