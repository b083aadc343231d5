from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.databases import connect_to, connect_to_duckdb, free_port, wait_for
from vambe_provider.exceptions import VambeConfigError, VambeDeliveryError, VambeError
from vambe_provider.transfers import source as source_module
from vambe_provider.transfers.source import SqlSource
from vambe_provider.transfers.spool import ReadAhead
from vambe_provider.transfers.streams import Stream

PHONE = "+56961234567"
MANY = 30_000


@pytest.fixture
def warehouse(ledger_url: str) -> str:
    """A table of orders in each kind of database, behind the Airflow connection `warehouse`."""
    rows = [(1, "Ana", PHONE), (2, "100% Bea", None), (2, "Bea", ""), (None, "Caro", "x")]
    with engine_of(ledger_url) as connection:
        connection.execute(sa.text("CREATE TABLE orders (id INTEGER, name VARCHAR(40), phone VARCHAR(40))"))
        connection.execute(
            sa.text("INSERT INTO orders VALUES (:id, :name, :phone)"),
            [dict(zip(("id", "name", "phone"), row, strict=True)) for row in rows],
        )
    return connect_to("warehouse", ledger_url)


@contextmanager
def engine_of(url: str) -> Iterator[sa.engine.Connection]:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def source_of(sql: str, parameters: Any = None, **options: Any) -> SqlSource:
    return SqlSource(conn_id="warehouse", sql=sql, parameters=parameters, **options)


def read(sql: str, parameters: Any = None) -> list[dict[str, Any]]:
    with source_of(sql, parameters).open() as rows:
        return list(rows)


def error_of(sql: str, parameters: Any = None, **options: Any) -> VambeError:
    with pytest.raises(VambeError) as caught, source_of(sql, parameters, **options).open() as rows:
        list(rows)
    # A traceback would show the driver's own text otherwise.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


@pytest.mark.usefixtures("warehouse")
class TestRows:
    def test_rows_are_tuples_in_the_order_of_the_columns(self) -> None:
        with source_of("SELECT id, name FROM orders WHERE id IS NOT NULL ORDER BY id, name DESC").open() as rows:
            assert rows.columns == ("id", "name")
            assert list(rows.values) == [(1, "Ana"), (2, "Bea"), (2, "100% Bea")]

    def test_a_percent_sign_without_parameters_is_a_percent_sign(self) -> None:
        assert read("SELECT id FROM orders WHERE name LIKE '100%'") == [{"id": 2}]

    def test_an_empty_result_has_columns(self) -> None:
        with source_of("SELECT id, phone FROM orders WHERE 1 = 0").open() as rows:
            assert rows.columns == ("id", "phone")
            assert list(rows) == []

    def test_two_columns_of_one_name_are_refused(self) -> None:
        with pytest.raises(VambeConfigError, match="more than one column is named name"):
            read("SELECT name, phone AS name FROM orders")

    def test_a_semicolon_and_a_comment_behind_the_query_do_no_harm(self) -> None:
        assert len(read("SELECT id FROM orders; -- all; of them\n /* really */")) == 4

    @pytest.mark.parametrize("end", ["", ";", " ; -- note", "\n-- note; again", " /* note */ ;;"])
    def test_keys_that_are_null_or_double_are_found(self, end: str) -> None:
        source = source_of(f"SELECT id, name FROM orders{end}", key_columns=["id"])
        found = source.unusable_keys()
        assert sorted(found, key=str) == [{"id": 2, "rows": 2}, {"id": None, "rows": 1}]
        assert source.unusable_keys(limit=1) in ([found[0]], [found[1]])

    def test_the_connection_is_given_back_when_not_all_rows_are_read(self, ledger_url: str) -> None:
        with source_of("SELECT id FROM orders").open() as rows:
            next(rows.values)
        # A table that somebody still reads could not be dropped in any of these databases.
        with engine_of(ledger_url) as connection:
            connection.exec_driver_sql("DROP TABLE orders")

    @pytest.mark.parametrize(
        "verb", ["DELETE FROM orders", "UPDATE orders SET id = 1", "(-- x\nINSERT INTO orders (id) VALUES (1)"]
    )
    def test_a_statement_that_changes_data_is_not_run(self, verb: str) -> None:
        error = error_of(f"{verb} RETURNING id")
        assert isinstance(error, VambeConfigError)
        assert re.search(
            "the statement begins with (DELETE|UPDATE|INSERT), which changes data; it was not run", str(error)
        )
        assert len(read("SELECT id FROM orders WHERE id = 2")) == 2


QUOTED = ["order id", 'say "id"', "Order", "select", "id`s", "é", "-- x", "a;b", "1st"]


@pytest.mark.parametrize("name", QUOTED)
def test_keys_are_checked_whatever_their_columns_are_called(ledger_url: str, name: str) -> None:
    connect_to("warehouse", ledger_url)
    dialect = sa.create_engine(ledger_url).dialect
    column = dialect.identifier_preparer.quote_identifier(name)
    source = source_of(f"SELECT 1 AS {column} UNION ALL SELECT 1", key_columns=[name])
    assert source.unusable_keys() == [{name: 1, "rows": 2}]
    with source.open() as rows:
        assert rows.columns == (name,)


@pytest.mark.usefixtures("warehouse")
def test_a_key_column_that_the_query_does_not_return_is_no_key(ledger_url: str) -> None:
    source = source_of("SELECT id,\n name FROM orders", key_columns=["nmae"])
    with pytest.raises(
        VambeConfigError, match=r"^check_keys: .*no such column.*Spell the names in key_columns"
    ) as caught:
        source.unusable_keys()
    assert " of the query" not in str(caught.value)  # nothing of what the user wrote is wrong


def test_an_error_in_the_query_is_found_at_its_place_when_the_keys_are_checked(postgres_url: str) -> None:
    connect_to("warehouse", postgres_url)
    source = source_of("SELECT 1 AS id\n  FROM nowhere;", key_columns=["id"])
    with pytest.raises(VambeConfigError, match="no such table: nowhere, line 2, column 8 of the query"):
        source.unusable_keys()


class TestOpenTransactions:
    """A paced reader takes hours, and the query must not keep a transaction open for so long."""

    def test_postgresql_has_no_transaction_while_rows_are_left(self, postgres_url: str) -> None:
        connect_to("warehouse", postgres_url, application_name="vambe-source", options="-c search_path=public")
        with engine_of(postgres_url) as connection:
            connection.exec_driver_sql("CREATE TABLE orders AS SELECT i AS id FROM generate_series(1, 30000) i")
        with source_of("SELECT id FROM orders ORDER BY id").open() as rows:
            assert next(rows.values) == (1,)
            with engine_of(postgres_url) as connection:
                connection.exec_driver_sql("SET lock_timeout = '10s'")
                connection.exec_driver_sql("TRUNCATE orders")
                connection.exec_driver_sql("ALTER TABLE orders ADD COLUMN name TEXT")
                look = "SELECT xact_start FROM pg_stat_activity WHERE application_name = 'vambe-source'"
                assert connection.exec_driver_sql(look).fetchall() == [(None,)]
            assert [row[0] for row in rows.values] == list(range(2, MANY + 1))

    @pytest.mark.parametrize("setting", ["idle_in_transaction_session_timeout", "idle_session_timeout"])
    def test_a_slow_reader_is_not_cut_off_as_idle(self, postgres_url: str, setting: str) -> None:
        connect_to("warehouse", postgres_url, options=f"-c {setting}=50ms")
        with source_of("SELECT i FROM generate_series(1, 30000) i").open() as rows:
            assert next(rows.values) == (1,)
            sleep_in(postgres_url, 0.3)
            assert sum(1 for _ in rows.values) == MANY - 1

    def test_what_the_query_would_change_is_not_changed(self, postgres_url: str) -> None:
        connect_to("warehouse", postgres_url)
        with engine_of(postgres_url) as connection:
            connection.exec_driver_sql("CREATE TABLE queue AS SELECT 1 AS id")
            connection.exec_driver_sql(
                "CREATE FUNCTION taken() RETURNS SETOF queue LANGUAGE sql AS 'DELETE FROM queue RETURNING *'"
            )
        error = error_of("SELECT * FROM taken()")
        assert isinstance(error, VambeConfigError)
        assert "25006" in str(error)
        assert "the statement changes data" in str(error)
        assert read("SELECT id FROM queue") == [{"id": 1}]

    def test_a_database_that_only_looks_like_postgresql_is_read_in_a_transaction(self, postgres_url: str) -> None:
        import psycopg2.extensions

        from vambe_provider.transfers.streams import open_stream

        class RedshiftCursor(psycopg2.extensions.cursor):
            def execute(self, query: Any, vars: Any = None) -> None:
                super().execute(query.replace("WITH HOLD", "WITH NO SUCH WORDS"), vars)

        url = sa.engine.make_url(postgres_url)
        connection = psycopg2.connect(
            host=url.host, port=url.port, user=url.username, password=url.password, dbname=url.database,
            cursor_factory=RedshiftCursor,
        )  # fmt: skip
        stream = open_stream(connection, "SELECT i FROM generate_series(1, 30000) i", None)
        assert not stream.detached
        assert sum(len(batch) for batch in stream.batches) == MANY
        connection.close()

    @pytest.mark.parametrize("database", ["mariadb", "connector", "sqlite", "duckdb"])
    def test_elsewhere_the_rest_is_put_aside_when_the_reader_is_slow(
        self, database: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(source_module, "PATIENCE", 0.05)
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)"
        if database == "duckdb":
            connect_to_duckdb("warehouse", tmp_path / "file.duckdb")
            sql = f"{numbers} SELECT i, 'Ana' || i FROM n ORDER BY i"
        else:
            url = request.getfixturevalue("sqlite_url" if database == "sqlite" else "mariadb_url")
            connect_to("warehouse", url, **({"client": "mysql-connector-python"} if database == "connector" else {}))
            with engine_of(url) as connection:
                if database != "sqlite":
                    connection.exec_driver_sql("SET max_recursive_iterations = 100000")
                connection.exec_driver_sql("CREATE TABLE orders (id INTEGER)")
                insert = (
                    f"INSERT INTO orders {numbers} SELECT i FROM n"
                    if database != "sqlite"
                    else (f"{numbers} INSERT INTO orders SELECT i FROM n")
                )
                connection.exec_driver_sql(insert)
            sql = "SELECT id, 'Ana' FROM orders ORDER BY id"
        with source_of(sql).open() as rows:
            first = next(rows.values)
            wait_for(lambda: not any(thread.name == "vambe-query" for thread in threading.enumerate()))
            if database != "duckdb":
                with engine_of(url) as connection:
                    connection.exec_driver_sql("DROP TABLE orders")
            assert [row[0] for row in (first, *rows.values)] == list(range(1, MANY + 1))

    def test_rows_that_are_put_aside_cannot_be_read_on_the_disk(
        self, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import tempfile

        if not Path("/proc/self/fd").exists():
            pytest.skip("looks at the open files of the process as Linux shows them")
        monkeypatch.setattr(source_module, "PATIENCE", 0.0)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        connect_to("warehouse", sqlite_url)
        sql = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {MANY}) SELECT i, '{PHONE}' FROM n"
        with source_of(sql).open() as rows:
            next(rows.values)
            wait_for(lambda: not any(thread.name == "vambe-query" for thread in threading.enumerate()))
            aside = [file for file in Path("/proc/self/fd").iterdir() if is_in(file, tmp_path)]
            assert len(aside) == 1
            content = aside[0].read_bytes()
            assert len(content) > MANY
            assert PHONE.encode() not in content
            assert [path.name for path in tmp_path.iterdir()] == [Path(sqlite_url).name]
            assert sum(1 for _ in rows.values) == MANY - 1

    def test_rows_that_cannot_be_put_aside_wait_in_the_statement(self) -> None:
        class Odd:
            """What drivers of Java return: a value that only lives in this process."""

            def __init__(self, number: int) -> None:
                self.number = number

            def __reduce__(self) -> str:
                raise TypeError("cannot be pickled")

        @contextmanager
        def opened() -> Iterator[Stream]:
            yield Stream(("a",), iter([(Odd(number),)] for number in range(100)))

        with closing(ReadAhead(opened, patience=0.0)) as ahead:
            ahead.start()
            assert [batch[0][0].number for batch in ahead] == list(range(100))

    def test_a_disk_without_room_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import tempfile

        monkeypatch.setattr(tempfile, "tempdir", "/nonexistent/vambe")

        @contextmanager
        def opened() -> Iterator[Stream]:
            yield Stream(("a",), iter([(number,)] for number in range(100)))

        with closing(ReadAhead(opened, patience=0.0)) as ahead:
            ahead.start()
            with pytest.raises(VambeDeliveryError, match=r"could not be put aside.*FileNotFoundError.*TMPDIR"):
                list(ahead)

    def test_large_rows_come_in_small_batches(self, sqlite_url: str) -> None:
        from vambe_provider.hooks.sql import database_hook, opener
        from vambe_provider.transfers.streams import open_stream

        connect_to("warehouse", sqlite_url)
        connection = opener(database_hook("warehouse", argument="x"), argument="x", what="query")()
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 60)"
        sql = f"{numbers} SELECT i, zeroblob(1000000) FROM n"
        sizes = [len(batch) for batch in open_stream(connection, sql, None).batches]
        connection.close()
        assert sum(sizes) == 60
        assert max(sizes[1:]) == 1


def is_in(open_file: Path, folder: Path) -> bool:
    """Return whether an open file without a name is in a folder."""
    try:
        place = str(open_file.readlink())
    except OSError:  # closed meanwhile
        return False
    return place.startswith(str(folder)) and place.endswith("(deleted)")


def sleep_in(url: str, seconds: float) -> None:
    """Let the database's own clock go on."""
    with engine_of(url) as connection:
        connection.exec_driver_sql(f"SELECT pg_sleep({seconds})")


class TestParameters:
    def test_they_reach_the_driver_of_sqlite(self, sqlite_url: str) -> None:
        connect_to("warehouse", sqlite_url)
        assert read("SELECT ? AS a, ? AS b", [1, "x"]) == [{"a": 1, "b": "x"}]
        assert read("SELECT :a AS a", {"a": None}) == [{"a": None}]

    def test_they_reach_the_driver_of_postgresql(self, postgres_url: str) -> None:
        connect_to("warehouse", postgres_url)
        assert read("SELECT %(a)s AS a, '5%%' AS b", {"a": 1}) == [{"a": 1, "b": "5%"}]

    def test_they_reach_the_driver_of_mariadb(self, mariadb_url: str) -> None:
        connect_to("warehouse", mariadb_url)
        assert read("SELECT %s AS a, '5%%' AS b", [1]) == [{"a": 1, "b": "5%"}]

    @pytest.mark.parametrize("parameters", [[1, 2], {"other": 1}], ids=["number", "name"])
    def test_those_that_do_not_fit_are_not_worth_a_retry(self, ledger_url: str, parameters: Any) -> None:
        connect_to("warehouse", ledger_url)
        placeholder = ":a" if ledger_url.startswith("sqlite") else "%(a)s"
        assert isinstance(error_of(f"SELECT {placeholder} AS a", parameters), VambeConfigError)


WRONG = {
    "SELECT nmae FROM orders": "no such column: nmae",
    "SELECT id FROM nowhere": "no such table",
    "SELEC id FROM orders": "a syntax error",
    "SELECT id FROM orders WHERE nofunc(id) = 1": "no such function",
}


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize(("sql", "why"), WRONG.items())
def test_a_query_that_cannot_work_is_not_worth_a_retry(sql: str, why: str) -> None:
    error = error_of(sql)
    assert isinstance(error, VambeConfigError)
    assert "sql: the query failed on the connection warehouse with " in str(error)
    assert why in str(error)
    assert "Nothing was sent." in str(error)
    assert "DECLARE" not in str(error)


@pytest.mark.usefixtures("warehouse")
@pytest.mark.parametrize("sql", WRONG)
def test_after_an_earlier_part_of_the_task_nobody_says_that_nothing_was_sent(sql: str) -> None:
    error = error_of(sql, resumed=True)
    assert error.permanent
    assert "Rows that were sent are recorded" in str(error)
    assert "Nothing was sent" not in str(error)


def test_a_connection_that_is_gone_after_an_earlier_part_of_the_task_says_what_is_recorded() -> None:
    connect_to("warehouse", f"postgresql://ana@127.0.0.1:{free_port()}/test")
    assert "Nothing was sent." in str(error_of("SELECT 1 AS a"))
    error = error_of("SELECT 1 AS a", resumed=True)
    assert "Rows that were sent are recorded" in str(error)
    assert "Nothing was sent" not in str(error)
    assert not error.permanent


@pytest.mark.parametrize(
    ("sql", "place"),
    [
        ("SELECT 1 AS a,\n  nmae AS b", "line 2, column 3 of the query"),
        ("SELECT 1 AS a\nFROM nowhere", "no such table: nowhere, line 2, column 6 of the query"),
        ("\n\nSELECT 1 +", "line 3, column 11 of the query"),
    ],
)
def test_postgresql_tells_where_in_the_query_it_is_wrong(postgres_url: str, sql: str, place: str) -> None:
    connect_to("warehouse", postgres_url)
    assert place in str(error_of(sql))


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT CAST('{PHONE} Ana' AS INTEGER) AS a",
        "SELECT CAST('Ana Maria' AS DATE) AS a",
        "SELECT 1 AS a WHERE \"Ana\" = 'x'",
        f"SELECT 1 AS a WHERE \"{PHONE}\" = 'x'",
        "SELECT 1 AS a FROM 'Ana'",
        "SELECT 'Ana' 'Maria' 'x' y z",
        "SELECT nofunc('Ana')",
        "SELECT * FROM (VALUES (1, 'Ana'), (2)) x",
        "SELECT 'Ana' + 1 AS a",
    ],
)
@pytest.mark.parametrize("database", ["postgres", "sqlite", "mariadb", "duckdb"])
def test_no_error_of_the_database_quotes_a_value(
    database: str, sql: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if database == "duckdb":
        connect_to_duckdb("warehouse", tmp_path / "file.duckdb")
    else:
        connect_to("warehouse", request.getfixturevalue(f"{database}_url"))
    text = ""  # not every database finds each of them wrong
    try:
        read(sql)
    except VambeError as error:
        text = f"{error} {error!r}".lower()
    assert "ana" not in text
    assert "961234567" not in text


def test_no_error_quotes_a_parameter(postgres_url: str) -> None:
    connect_to("warehouse", postgres_url)
    error = error_of("SELECT CAST(%s AS INTEGER) AS number", ["+56 961234567"])
    assert "InvalidTextRepresentation (SQLSTATE 22P02): a value does not fit its type" in str(error)
    assert "961234567" not in str(error)
    assert not error.permanent  # the data may be mended


def test_an_error_in_the_middle_of_the_rows_is_told_as_such(sqlite_url: str) -> None:
    connect_to("warehouse", sqlite_url)
    # The function fails for one row only, when others have been handed out.
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {MANY})"
    sql = f"{numbers} SELECT i, abs(-9223372036854775807 - (i = 20000)) FROM n"
    with source_of(sql).open() as rows:
        read_so_far = [row[0] for row in islice(rows.values, 10_000)]
        with pytest.raises(VambeDeliveryError, match="Rows that were sent are recorded") as caught:
            read_so_far += [row[0] for row in rows.values]
    assert len(read_so_far) >= 10_000
    assert read_so_far == list(range(1, len(read_so_far) + 1))
    assert not caught.value.permanent


def test_a_lost_connection_may_be_retried(postgres_url: str) -> None:
    connect_to("warehouse", postgres_url, application_name="vambe-lost")
    with source_of("SELECT i FROM generate_series(1, 300000) i").open() as rows:
        next(rows.values)
        with engine_of(postgres_url) as connection:
            kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'vambe-lost'"
            connection.exec_driver_sql(kill)
        with pytest.raises(VambeDeliveryError, match="the query failed on the connection warehouse") as caught:
            list(rows.values)
    assert not caught.value.permanent


def test_rows_arrive_before_all_of_them_exist(sqlite_url: str) -> None:
    connect_to("warehouse", sqlite_url)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    with source_of(endless).open() as rows:
        assert next(iter(rows)) == {"i": 1}


def test_a_database_without_a_dialect_is_read_through_its_driver(tmp_path: Path) -> None:
    connect_to_duckdb("warehouse", tmp_path / "file.duckdb")
    assert read("SELECT ? AS a UNION ALL SELECT 2 ORDER BY a", [1]) == [{"a": 1}, {"a": 2}]
    with pytest.raises(VambeConfigError, match="more than one column is named a"):
        read("SELECT 1 AS a, 2 AS a")
    source = source_of('SELECT 1 AS "order id" UNION ALL SELECT 1', key_columns=["order id"])
    assert source.unusable_keys() == [{"order id": 1, "rows": 2}]


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
    with pytest.raises(VambeConfigError, match="the statement returns no rows"):
        read("PRAGMA user_version = 1")


@pytest.mark.parametrize("sql", [" ", ";", "-- nothing\n", "/* nothing */"])
def test_a_text_without_a_statement_is_refused(sql: str) -> None:
    with pytest.raises(VambeConfigError, match="sql: is empty"):
        source_of(sql)


def test_what_cannot_be_seen_in_a_column_s_name_is_shown(sqlite_url: str) -> None:
    connect_to("warehouse", sqlite_url)
    with pytest.raises(VambeConfigError) as caught:
        read('SELECT 1 AS "\ufefforder\xa0id", 2 AS "\ufefforder\xa0id"')
    assert r"'\ufefforder\xa0id'" in str(caught.value)


@pytest.mark.parametrize("client", ["mysqlclient", "mysql-connector-python"])
def test_a_key_that_depends_on_the_session_is_refused(mariadb_url: str, client: str) -> None:
    with engine_of(mariadb_url) as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id INTEGER, made TIMESTAMP, due DATETIME)")
        connection.exec_driver_sql("INSERT INTO orders VALUES (1, NOW(), NOW())")
    connect_to("warehouse", mariadb_url, client=client)
    sql = "SELECT id, made, due, UNIX_TIMESTAMP(made) AS moment FROM orders"
    with pytest.raises(VambeConfigError, match=r"key_columns: made is a TIMESTAMP.*UNIX_TIMESTAMP\(made\)"):
        source_of(sql, key_columns=["id", "made"]).open().__enter__()
    with source_of(sql, key_columns=["id", "due", "moment"]).open() as rows:
        assert len(list(rows)) == 1
