from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from tests import servers
from tests.support.databases import connect_to, connect_to_duckdb, free_port, wait_for
from tests.support.tls_servers import TlsServer, mariadb_with_tls, postgres_with_tls
from tests.unit.tasks import context
from vambe_provider.compat import AirflowFailException
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError
from vambe_provider.hooks.sql import database_engine, database_hook, ledger_engine
from vambe_provider.transfers.source import SqlSource
from vambe_provider.transfers.sql_to_vambe import SqlToVambeTicketsOperator

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

TABLE = "CREATE TABLE orders (id INTEGER, phone VARCHAR(40))"


def needed(server: TlsServer | None) -> TlsServer:
    """Skip the test when the binaries of a server are not there, or fail when they have to be."""
    if server is None:
        (pytest.fail if os.environ.get(servers.REQUIRE) == "1" else pytest.skip)("needs the binaries of the server")
    return server


@pytest.fixture(scope="module")
def tls_postgres() -> Iterator[TlsServer]:
    with postgres_with_tls() as server:
        yield needed(server)


@pytest.fixture(scope="module")
def tls_mariadb() -> Iterator[TlsServer]:
    pytest.importorskip("airflow.providers.mysql")
    with mariadb_with_tls() as server:
        yield needed(server)


@pytest.fixture(params=["psycopg", "psycopg2"])
def postgres_driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make Airflow's hook connect with each of its drivers."""
    from airflow.providers.postgres.hooks import postgres

    if request.param == "psycopg2":
        monkeypatch.setattr(postgres, "USE_PSYCOPG3", False, raising=False)
    elif not getattr(postgres, "USE_PSYCOPG3", False):
        pytest.skip("this Airflow's hook knows psycopg2 only")
    return str(request.param)


def rows(conn_id: str, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with SqlSource(conn_id=conn_id, sql=sql, parameters=parameters).open() as found:
        return list(found.values)


def run(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def in_ledger(conn_id: str, sql: str) -> Any:
    engine = ledger_engine(conn_id)
    try:
        with engine.connect() as connection:
            return connection.exec_driver_sql(sql).scalar()
    finally:
        engine.dispose()


def night(conn_id: str) -> dict[str, Any]:
    return SqlToVambeTicketsOperator(
        task_id="open",
        sql="SELECT id, phone FROM orders ORDER BY id",
        sql_conn_id=conn_id,
        key_columns="id",
        ticket={"to_phone_number": "{phone}", "stage": "Orders / Late"},
        namespace="late",
    ).execute(context())


def phones(sandbox: Sandbox) -> list[str]:
    return sorted(contact["phone"] for contact in sandbox.contacts())


def filled(value: Any, authority: str) -> Any:
    """Put the path of the authority's certificate into the value of an extra."""
    if isinstance(value, dict):
        return {name: filled(inner, authority) for name, inner in value.items()}
    return value.replace("{authority}", authority) if isinstance(value, str) else value


class TestPostgres:
    def test_the_search_path_of_the_connection_says_who_is_messaged_and_where_the_ledger_is(
        self, postgres_url: str, postgres_driver: str, connect: Connect, vambe_sandbox: Sandbox
    ) -> None:
        connect()
        run(
            postgres_url, TABLE, "INSERT INTO orders VALUES (1, '+56911111111'), (2, '+56922222222')",
            "CREATE SCHEMA crm", TABLE.replace("orders", "crm.orders"),
            "INSERT INTO crm.orders VALUES (7, '+56977777777')",
        )  # fmt: skip
        connect_to("warehouse", postgres_url, options="-c search_path=crm")
        assert night("warehouse")["counts"]["opened"] == 1
        assert phones(vambe_sandbox) == ["56977777777"]
        ledger = "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name = 'vambe_ticket_ledger'"
        connect_to("plain", postgres_url)
        assert rows("plain", ledger) == [("crm",)]

    @pytest.mark.parametrize("cursor", ["dictcursor", "namedtuplecursor"])
    def test_the_extra_cursor_does_not_change_what_a_row_is(
        self, postgres_url: str, postgres_driver: str, cursor: str, connect: Connect, vambe_sandbox: Sandbox
    ) -> None:
        connect()
        run(postgres_url, TABLE, "INSERT INTO orders VALUES (1, '+56911111111')")
        connect_to("warehouse", postgres_url, cursor=cursor)
        assert [type(row) for row in rows("warehouse", "SELECT * FROM orders")] == [tuple]
        assert night("warehouse")["counts"]["opened"] == 1

    def test_verify_full_refuses_a_server_without_tls(self, postgres_url: str, postgres_driver: str) -> None:
        connect_to("warehouse", postgres_url, sslmode="verify-full", sslrootcert="system")
        for use in (lambda: rows("warehouse", "SELECT 1 AS a"), lambda: ledger_engine("warehouse")):
            with pytest.raises(VambeConfigError, match=r"the connection warehouse could not be opened: .*SSL"):
                use()

    def test_verify_full_takes_a_server_that_its_authority_vouches_for(
        self, tls_postgres: TlsServer, postgres_driver: str
    ) -> None:
        url = f"postgresql://postgres@127.0.0.1:{tls_postgres.port}/postgres"
        connect_to("warehouse", url, sslmode="verify-full", sslrootcert=tls_postgres.authority)
        encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert rows("warehouse", encrypted) == [(True,)]
        assert in_ledger("warehouse", encrypted) is True

    def test_verify_full_refuses_a_server_that_its_authority_does_not_know(
        self, tls_postgres: TlsServer, postgres_driver: str, tmp_path: Path
    ) -> None:
        import trustme

        trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
        url = f"postgresql://postgres@127.0.0.1:{tls_postgres.port}/postgres"
        connect_to("warehouse", url, sslmode="verify-full", sslrootcert=str(tmp_path / "other.pem"))
        with pytest.raises(VambeConfigError, match="certificate verify failed"):
            rows("warehouse", "SELECT 1 AS a")

    @pytest.mark.parametrize("extra", [{"sslmoode": "require"}, {"cursor": "odd"}, {"sslmode": "perhaps"}])
    def test_an_extra_that_is_wrong_is_an_error_of_the_connection(
        self, postgres_url: str, postgres_driver: str, extra: dict[str, str]
    ) -> None:
        connect_to("warehouse", postgres_url, **extra)
        with pytest.raises(
            VambeConfigError, match="sql_conn_id: the connection warehouse could not be opened"
        ) as caught:
            rows("warehouse", "SELECT 1 AS a")
        assert "Correct the fields and extras of the connection warehouse" in str(caught.value)

    def test_an_extra_for_urls_only_is_refused(self, postgres_url: str) -> None:
        connect_to("warehouse", postgres_url, sqlalchemy_query={"sslmode": "require"})
        with pytest.raises(VambeConfigError, match="sqlalchemy_query"):
            ledger_engine("warehouse")

    @pytest.mark.parametrize(("setting", "expected"), [("off", "on"), ("remote_apply", "remote_apply"), ("on", "on")])
    def test_a_commit_of_the_ledger_waits_for_the_disk(
        self, postgres_url: str, postgres_driver: str, setting: str, expected: str
    ) -> None:
        database = make_url(postgres_url).database
        run(postgres_url, f"ALTER DATABASE {database} SET synchronous_commit = {setting}")
        connect_to("warehouse", postgres_url)
        assert in_ledger("warehouse", "SHOW synchronous_commit") == expected

    def test_no_connection_is_left_behind(self, postgres_url: str) -> None:
        connect_to("warehouse", postgres_url, application_name="vambe-left")
        engine = database_engine(database_hook("warehouse", argument="x"))
        assert engine is not None
        engine.dispose()  # never used
        rows("warehouse", "SELECT 1 AS a")
        connect_to("plain", postgres_url)
        left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'vambe-left'"
        wait_for(lambda: rows("plain", left) == [(0,)])

    def test_a_lost_connection_is_opened_again_with_the_same_extras(
        self, postgres_url: str, postgres_driver: str
    ) -> None:
        connect_to("warehouse", postgres_url, application_name="vambe-again")
        engine = ledger_engine("warehouse")
        with pytest.raises(sa.exc.DBAPIError), engine.connect() as connection:
            connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        with engine.connect() as connection:
            assert connection.exec_driver_sql("SHOW application_name").scalar() == "vambe-again"
        engine.dispose()


class TestMariadb:
    @pytest.fixture(autouse=True)
    def _provider(self) -> None:
        pytest.importorskip("airflow.providers.mysql")

    @pytest.mark.parametrize(
        "extra",
        [
            {}, {"cursor": "DictCursor"}, {"cursor": "SSCursor"}, {"cursor": "SSDictCursor"}, {"charset": "utf8mb4"},
            {"client": "mysql-connector-python"},
        ],
        ids=str,
    )  # fmt: skip
    def test_a_night_with_each_extra(
        self, mariadb_url: str, extra: dict[str, str], connect: Connect, vambe_sandbox: Sandbox
    ) -> None:
        connect()
        run(mariadb_url, TABLE, "INSERT INTO orders VALUES (1, '+56911111111'), (2, '+56922222222')")
        connect_to("warehouse", mariadb_url, **extra)
        assert night("warehouse")["counts"]["opened"] == 2
        assert night("warehouse")["counts"]["already_opened"] == 2
        assert len(vambe_sandbox.tickets()) == 2

    @pytest.mark.parametrize(
        "extra",
        [
            {"ssl": {"ca": "{authority}"}},
            {"ssl": '{"ca": "{authority}"}'},
            {"ssl_mode": "VERIFY_IDENTITY", "ssl": {"ca": "{authority}"}},
            {"client": "mysql-connector-python", "ssl_ca": "{authority}", "ssl_verify_identity": True},
        ],
        ids=str,
    )
    def test_tls(self, tls_mariadb: TlsServer, mariadb_url: str, extra: dict[str, Any]) -> None:
        extra = {name: filled(value, tls_mariadb.authority) for name, value in extra.items()}
        cipher = "SHOW SESSION STATUS LIKE 'Ssl_cipher'"
        connect_to("warehouse", f"mysql://root@127.0.0.1:{tls_mariadb.port}/mysql", **extra)
        assert rows("warehouse", cipher)[0][1].startswith("TLS_")
        in_use = "SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'SSL_CIPHER'"
        assert in_ledger("warehouse", in_use).startswith("TLS_")
        # The server that all tests share speaks without TLS.
        connect_to("warehouse", mariadb_url, **extra)
        for use in (lambda: rows("warehouse", cipher), lambda: ledger_engine("warehouse")):
            with pytest.raises(VambeConfigError, match=r"TLS|SSL"):
                use()

    @pytest.mark.parametrize(
        ("extra", "named"),
        [
            ({"client": "pymysql"}, "client='pymysql'"),
            ({"ssl_ca": "/ca.pem"}, "the extra ssl_ca, which is not read with client='mysqlclient'"),
            ({"client": "mysql-connector-python", "ssl": {"ca": "/ca.pem"}}, "the extra ssl, which is not read"),
            ({"client": "mysql-connector-python", "charset": "latin1"}, "the extra charset"),
            ({"ssl": "true"}, "the extra ssl"),
            ({"ssl": True}, "the extra ssl"),
            ({"ssl_mode": "MAYBE"}, "could not be opened"),
        ],
        ids=str,
    )
    def test_an_extra_that_would_be_passed_over_is_refused(
        self, mariadb_url: str, extra: dict[str, Any], named: str
    ) -> None:
        connect_to("warehouse", mariadb_url, **extra)
        for argument, use in (
            ("sql_conn_id", lambda: rows("warehouse", "SELECT 1 AS a")),
            ("ledger_conn_id", lambda: ledger_engine("warehouse")),
        ):
            with pytest.raises(VambeConfigError, match=f"{argument}: ") as caught:
                use()
            assert named in str(caught.value)


class TestOthers:
    def test_a_ledger_in_sqlite_works_in_another_thread_than_the_one_that_opened_it(self, sqlite_url: str) -> None:
        connect_to("warehouse", sqlite_url)
        engine = ledger_engine("warehouse")
        found: list[Any] = []

        def use() -> None:
            with engine.connect() as connection:
                found.append(connection.exec_driver_sql("SELECT 1").scalar())

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        engine.dispose()
        assert found == [1]

    @pytest.mark.parametrize("prefix", ["sqlite:///", "sqlite:////"])
    def test_a_sqlite_connection_may_be_written_as_airflow_or_as_sqlalchemy_does(
        self, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", f"{prefix}{str(tmp_path).lstrip('/')}/file.sqlite")
        engine = ledger_engine("warehouse")
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE t (a INTEGER)")
        engine.dispose()
        assert rows("warehouse", "SELECT name FROM sqlite_master") == [("t",)]
        assert (tmp_path / "file.sqlite").exists()

    def test_a_sqlite_connection_for_reading_cannot_be_written_to(self, sqlite_url: str) -> None:
        run(sqlite_url, TABLE)
        connect_to("warehouse", sqlite_url, mode="ro")
        assert rows("warehouse", "SELECT * FROM orders") == []
        with pytest.raises(sa.exc.OperationalError, match="readonly"):
            in_ledger("warehouse", "CREATE TABLE t (a INTEGER)")

    def test_a_database_without_a_dialect_holds_no_ledger(self, tmp_path: Path) -> None:
        connect_to_duckdb("warehouse", tmp_path / "file.duckdb")
        with pytest.raises(VambeConfigError, match="ledger_conn_id: there is no SQLAlchemy dialect"):
            ledger_engine("warehouse")
        assert rows("warehouse", "SELECT 1 AS a") == [(1,)]  # the first connection does not hold the file any more

    def test_a_connection_that_does_not_exist_is_not_worth_a_retry(self, connect: Connect) -> None:
        connect()
        with pytest.raises(VambeConfigError, match="ledger_conn_id: Airflow has no connection nowhere"):
            ledger_engine("nowhere")
        with pytest.raises(AirflowFailException, match="sql_conn_id: Airflow has no connection nowhere"):
            night("nowhere")

    def test_a_server_that_does_not_answer_may_be_retried(self) -> None:
        connect_to("warehouse", f"postgresql://ana@127.0.0.1:{free_port()}/test")
        with pytest.raises(VambeLedgerError, match="ledger_conn_id: the connection warehouse could not be opened"):
            ledger_engine("warehouse")
