from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.support.databases import connect_to, wait_for
from tests.unit.tasks import Ti, context
from vambe_provider.compat import DAG, AirflowFailException, AirflowSkipException
from vambe_provider.transfers.sql_to_vambe import SqlToVambeTicketsOperator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

ORDERS: list[dict[str, Any]] = [
    {"id": 1, "name": "Ana", "phone": "+56 9 6123 4567", "late": 1},
    {"id": 2, "name": "Bea", "phone": "56987654321", "late": 1},
    {"id": 3, "name": "Caro", "phone": "+56922222222", "late": 0},
    {"id": 4, "name": None, "phone": "+56933333333", "late": 1},
]
TICKET = {
    "to_phone_number": "{phone}",
    "stage": "Orders / Late",
    "ticket_metadata": {"order": "{id}"},
    "message": "Hola {name}",
}
SQL = "SELECT id, name, phone FROM orders WHERE late = 1 ORDER BY id"


@pytest.fixture(autouse=True)
def _connection(connect: Connect) -> None:
    connect()


def warehouse(url: str) -> sa.engine.Engine:
    """Make a table of orders, behind the Airflow connection `warehouse`."""
    engine = sa.create_engine(url)
    table = "CREATE TABLE orders (id INTEGER, name VARCHAR(40), phone VARCHAR(40), late INTEGER)"
    with engine.begin() as connection:
        connection.execute(sa.text(table))
        connection.execute(sa.text("INSERT INTO orders VALUES (:id, :name, :phone, :late)"), ORDERS)
    connect_to("warehouse", url)
    return engine


@pytest.fixture
def database(ledger_url: str) -> Iterator[sa.engine.Engine]:
    """The warehouse, which is the home of the ledger too, in each kind of database."""
    engine = warehouse(ledger_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite(sqlite_url: str) -> str:
    """A warehouse in a file."""
    warehouse(sqlite_url).dispose()
    return sqlite_url


def transfer(**fields: Any) -> SqlToVambeTicketsOperator:
    arguments = {"sql": SQL, "key_columns": ["id"], "ticket": TICKET, "namespace": "late", **fields}
    return SqlToVambeTicketsOperator(task_id="open", sql_conn_id="warehouse", **arguments)


def orders(sandbox: Sandbox) -> list[str]:
    return sorted(ticket["ticket_metadata"]["order"] for ticket in sandbox.tickets())


def test_a_night_and_the_next_one(vambe_sandbox: Sandbox, database: sa.engine.Engine) -> None:
    first = transfer(max_rejected=1).execute(context())
    assert (first["rows"], first["counts"]["opened"], first["counts"]["rejected"]) == (3, 2, 1)
    assert first["errors"][0]["key"] == "id=4"
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE orders SET late = 1, name = 'Dora'"))
    second = transfer().execute(context(ti=Ti(run_id="run-2")))
    assert (second["counts"]["already_opened"], second["counts"]["opened"]) == (2, 2)
    assert orders(vambe_sandbox) == ["1", "2", "3", "4"]


def test_the_ledger_can_live_elsewhere(
    sqlite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vambe_sandbox: Sandbox
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    transfer(max_rejected=1, ledger_conn_id="ledger").execute(context())
    engine = sa.create_engine(sqlite)
    assert sa.inspect(engine).get_table_names() == ["orders"]
    engine.dispose()
    assert len(orders(vambe_sandbox)) == 2


def test_the_query_is_a_template_and_has_parameters(sqlite: str, tmp_path: Path, vambe_sandbox: Sandbox) -> None:
    (tmp_path / "late.sql").write_text("SELECT id, name, phone FROM orders WHERE id = :id OR name = '{{ name }}'")
    with DAG("templated", schedule=None, template_searchpath=[str(tmp_path)]) as dag:
        task = transfer(sql="late.sql", parameters={"id": "{{ order }}"})
    task.resolve_template_files()
    run = context(order=1, name="Bea", dag=dag)
    task.render_template_fields(run)
    task.execute(run)
    assert orders(vambe_sandbox) == ["1", "2"]


class TestKeys:
    TWICE = """
        SELECT id, name, phone FROM orders WHERE id = 1
        UNION ALL SELECT NULL, 'x', '+56911111111'
        UNION ALL SELECT 1, name, phone FROM orders WHERE id < 3
    """

    def test_they_are_checked_before_anything_is_sent(self, sqlite: str, vambe_sandbox: Sandbox) -> None:
        with pytest.raises(AirflowFailException, match=r"check_keys.*id=null, rows=1; id=1, rows=3"):
            transfer(sql=self.TWICE, check_keys=True).execute(context())
        assert vambe_sandbox.tickets() == []

    def test_a_key_that_may_be_a_person_is_hashed(self, sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
        twice = "SELECT phone, name FROM orders UNION ALL SELECT phone, name FROM orders"
        with pytest.raises(AirflowFailException) as caught:
            transfer(sql=twice, key_columns=["phone"], check_keys="true").execute(context())
        assert "phone=#" in str(caught.value)
        assert "56987654321" not in str(caught.value)
        monkeypatch.setenv("AIRFLOW__VAMBE__PERSON_SECRET", "s3cret")
        with pytest.raises(AirflowFailException) as keyed:
            transfer(sql=twice, key_columns=["phone"], check_keys="true").execute(context())
        assert str(keyed.value) != str(caught.value)

    def test_good_keys_pass(self, sqlite: str) -> None:
        assert transfer(check_keys=True, max_rejected=1).execute(context())["counts"]["opened"] == 2

    def test_unchecked_they_are_reported_row_by_row(self, sqlite: str, vambe_sandbox: Sandbox) -> None:
        report = transfer(sql=self.TWICE, max_rejected=5).execute(context())
        counts = report["counts"]
        assert (counts["opened"], counts["rejected"], counts["duplicate"], counts["conflict"]) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"sql": ""}, "sql: is empty"),
        ({"sql": "SELECT id FROM orders"}, "returns no column name, phone"),
        ({"sql": "SELECT id, phone, name, name FROM orders"}, "more than one column is named name"),
        ({"key_columns": ["number"]}, "returns no column number"),
    ],
)
def test_a_query_that_does_not_fit_sends_nothing(
    sqlite: str, vambe_sandbox: Sandbox, arguments: dict[str, Any], expected: str
) -> None:
    with pytest.raises(AirflowFailException) as caught:
        transfer(**arguments).execute(context())
    assert expected in str(caught.value)
    assert vambe_sandbox.tickets() == []


def test_without_rows_the_task_is_skipped(sqlite: str) -> None:
    with pytest.raises(AirflowSkipException):
        transfer(sql="SELECT id, name, phone FROM orders WHERE 1 = 0").execute(context())


def test_a_query_that_cannot_work_is_not_retried(sqlite: str, vambe_sandbox: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match=r"no such table: nowhere.* Nothing was sent\."):
        transfer(sql="SELECT * FROM nowhere").execute(context())
    assert vambe_sandbox.tickets() == []


def test_the_expected_time_is_told_when_there_is_a_rate(sqlite: str, logged: Callable[[], str]) -> None:
    transfer(rate="2/second", max_rejected=1).execute(context())
    assert "Tickets go out at 2/second at most" in logged()


def test_a_mapped_task_needs_a_namespace(sqlite: str, vambe_sandbox: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match="namespace: a mapped task needs one"):
        transfer(namespace=None).execute(context(ti=Ti(map_index=0)))
    assert vambe_sandbox.tickets() == []


def test_a_query_that_changes_data_is_refused_by_its_verb(sqlite: str, vambe_sandbox: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match="begins with DELETE, which changes data; it was not run"):
        transfer(sql="DELETE FROM orders RETURNING *").execute(context())
    assert transfer(max_rejected=1).execute(context())["counts"]["opened"] == 2


@pytest.mark.parametrize(("arguments", "times"), [({}, 1), ({"rate": "100/second"}, 1), ({"check_keys": True}, 2)])
def test_the_query_runs_once_unless_its_keys_are_checked(
    postgres_url: str, vambe_sandbox: Sandbox, arguments: dict[str, Any], times: int
) -> None:
    engine = warehouse(postgres_url)
    report = transfer(max_rejected=1, sql="SELECT id, name, phone FROM orders", **arguments).execute(context())
    assert report["rows"] == 4
    scans: list[int] = []

    def scanned() -> bool:
        with engine.connect() as connection:
            look = "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'orders'"
            scans.append(connection.exec_driver_sql(look).scalar_one())
        return scans[-1] >= times

    wait_for(scanned)
    assert scans[-1] == times
    engine.dispose()


def test_keys_with_blanks_in_their_names_are_checked(sqlite: str, vambe_sandbox: Sandbox) -> None:
    sql = 'SELECT id AS "order id", name, phone FROM orders WHERE late = 1; -- the late ones'
    ticket = {**TICKET, "ticket_metadata": {"order": "{order id}"}}
    fields: dict[str, Any] = {"ticket": ticket, "key_columns": ["order id"], "check_keys": True}
    report = transfer(sql=sql, max_rejected=1, **fields).execute(context())
    assert report["counts"]["opened"] == 2
    with pytest.raises(AirflowFailException, match="'order id'=1, rows=2"):
        transfer(sql=f"{sql.partition(';')[0]} UNION ALL {sql}", **fields).execute(context())


def test_a_blank_key_is_refused_row_by_row(sqlite: str, vambe_sandbox: Sandbox) -> None:
    sql = """
        SELECT '' AS id, name, phone FROM orders WHERE id = 1
        UNION ALL SELECT 'nan', name, phone FROM orders WHERE id = 2
        UNION ALL SELECT '7', name, phone FROM orders WHERE id = 3
    """
    report = transfer(sql=sql, max_rejected=2).execute(context())
    assert (report["counts"]["opened"], report["counts"]["rejected"], report["counts"]["conflict"]) == (1, 2, 0)


def test_a_column_whose_name_only_looks_right_is_shown_as_it_is(sqlite: str, vambe_sandbox: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match=r"returns no column id.*'\\ufeffid'"):
        transfer(sql=SQL.replace("SELECT id", 'SELECT id AS "\ufeffid"')).execute(context())


def test_shards_of_mapped_tasks_share_the_rows(sqlite: str, vambe_sandbox: Sandbox, run_dag_test: Any) -> None:
    with DAG("shards", schedule=None) as dag:
        SqlToVambeTicketsOperator.partial(
            task_id="open",
            sql_conn_id="warehouse",
            sql="SELECT id, phone FROM orders",
            key_columns=["id"],
            ticket={**TICKET, "message": "Hola"},
            shard_count=3,
            namespace="orders",
        ).expand(shard_index=[0, 1, 2])
    result = run_dag_test(dag)
    assert set(result.tasks.values()) == {"success"}
    assert orders(vambe_sandbox) == ["1", "2", "3", "4"]
