from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.tasks import Ti
from vambe_provider.compat import AIRFLOW_V_3_1_PLUS, DAG, BaseOperator
from vambe_provider.exceptions import VambeConfigError
from vambe_provider.notifications.vambe import VambeNotifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

PHONE = "+56961234567"


@pytest.fixture(autouse=True)
def _connection(connect: Connect) -> None:
    connect()


@pytest.fixture
def ledger(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    return "ledger"


def notifier(**fields: Any) -> VambeNotifier:
    return VambeNotifier(**{"to_phone_number": PHONE, "stage": "Support / New", **fields})


def failed(**fields: Any) -> Any:
    """Return the context of a task's failure."""
    more = {name: fields.pop(name) for name in list(fields) if name not in ("run_id", "task_id", "try_number")}
    return {
        "ti": Ti(**fields),
        "dag": DAG("dag", schedule=None),
        "exception": ValueError("order of maria@example.com"),
        **more,
    }


def of_a_run(**fields: Any) -> Any:
    """Return a context without a task instance."""
    return {"dag": DAG("dag", schedule=None), "dag_run": SimpleNamespace(dag_id="dag", run_id="run-1"), **fields}


def metadata(sandbox: Sandbox) -> dict[str, Any]:
    [ticket] = sandbox.tickets()
    return dict(ticket["ticket_metadata"])


def test_a_failure_is_one_ticket_that_says_where_and_quotes_no_data(vambe_sandbox: Sandbox, ledger: str) -> None:
    notifier(ledger_conn_id=ledger)(failed(task_id="load", try_number=2))
    [ticket] = vambe_sandbox.tickets()
    assert ticket["message"]["content"] == (
        "Airflow: the task load of the Dag dag failed in the run run-1, try 2. Reason: ValueError."
    )
    assert ticket["ticket_metadata"].items() >= {"airflow_dag": "dag", "airflow_error": "ValueError"}.items()
    assert "maria" not in str(vambe_sandbox.requests())


def test_a_later_failure_of_the_run_is_written_to_its_ticket(vambe_sandbox: Sandbox, ledger: str) -> None:
    alert = notifier(ledger_conn_id=ledger)
    alert(failed())
    alert(failed(try_number=2, exception=KeyError("x")))
    assert metadata(vambe_sandbox).items() >= {"airflow_error": "ValueError", "airflow_last_error": "KeyError"}.items()
    assert len(vambe_sandbox.requests("open_ticket")) == 1


def test_each_run_and_each_task_has_its_ticket(vambe_sandbox: Sandbox, ledger: str) -> None:
    alert = notifier(ledger_conn_id=ledger)
    for run, task in (("run-1", "a"), ("run-1", "b"), ("run-2", "a"), ("run-2", "a")):
        alert(failed(run_id=run, task_id=task))
    assert len(vambe_sandbox.requests("open_ticket")) == 3


def test_a_throttled_dag_opens_one_ticket_for_all_its_failures(vambe_sandbox: Sandbox, ledger: str) -> None:
    alert = notifier(ledger_conn_id=ledger, throttle="6 hours")
    for run, task in (("run-1", "a"), ("run-1", "b"), ("run-2", "c")):
        alert(failed(run_id=run, task_id=task))
    assert len(vambe_sandbox.requests("open_ticket")) == 1
    assert metadata(vambe_sandbox).items() >= {"airflow_last_task": "c", "airflow_last_run": "run-2"}.items()


def test_a_recovery_in_a_later_run_closes_the_ticket_and_the_next_one_closes_nothing(
    vambe_sandbox: Sandbox, ledger: str
) -> None:
    notifier(ledger_conn_id=ledger)(failed(task_id="load"))
    recovery = VambeNotifier(action="close", ledger_conn_id=ledger)
    for task in ("another", "load", "load"):
        recovery(failed(run_id="run-2", task_id=task, exception=None))
    [ticket] = vambe_sandbox.tickets()
    assert ticket["closed_at"] is not None
    assert len(vambe_sandbox.requests("close_ticket")) == 1


def test_a_failed_dag_needs_no_task_instance(vambe_sandbox: Sandbox, ledger: str) -> None:
    notifier(ledger_conn_id=ledger)(of_a_run(reason="task_failure"))
    [ticket] = vambe_sandbox.tickets()
    assert ticket["message"]["content"] == "Airflow: the Dag dag failed in the run run-1. Reason: task_failure."
    VambeNotifier(action="close", ledger_conn_id=ledger)(of_a_run(reason="success"))
    assert vambe_sandbox.tickets()[0]["closed_at"] is not None


def test_the_failed_tests_of_cosmos_are_named(vambe_sandbox: Sandbox) -> None:
    names = [f"not_null_orders_{number}" for number in range(7)]
    notifier(message="{{ test_results[0] }}: {{ test_names | length }}")(
        failed(exception=None, test_names=names, test_results=["Got 3 results"])
    )
    [ticket] = vambe_sandbox.tickets()
    assert ticket["message"]["content"] == "Got 3 results: 7"
    assert ticket["ticket_metadata"]["airflow_tests"].endswith("not_null_orders_4 and 2 more")
    assert ticket["ticket_metadata"]["airflow_test_results"] == "Got 3 results"


def test_a_task_that_waits_for_a_person_says_so(vambe_sandbox: Sandbox) -> None:
    task = SimpleNamespace(subject="Send it?", options=["yes", "no"])
    notifier()(failed(exception=None, task=task))
    assert "waits for a decision" in vambe_sandbox.tickets()[0]["message"]["content"]


def test_templates_are_filled_anew_for_each_event(vambe_sandbox: Sandbox, ledger: str) -> None:
    alert = notifier(ledger_conn_id=ledger, message="{{ ti.run_id }}")
    for run in ("run-1", "run-2"):
        alert(failed(run_id=run))
    sent = [request["body"]["message"]["content"] for request in vambe_sandbox.requests("open_ticket")]
    assert sent == ["run-1", "run-2"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"message": "{{ ti.run_id }}"}, "A template of the notifier could not be filled (UndefinedError)"),
        ({"vambe_conn_id": "nowhere"}, "AirflowNotFoundException"),
        ({"stage": "Nowhere"}, "the ticket cannot be sent: st"),
        ({"to_phone_number": "12"}, "to_phone_number"),
        ({"ledger_conn_id": "nowhere"}, "Airflow has no connection nowhere"),
        ({"namespace": "{{ '' }}"}, "namespace: is given, and its template gave nothing"),
    ],
)
def test_what_goes_wrong_is_one_line_and_fails_nothing(
    vambe_sandbox: Sandbox, logged: Callable[[], str], fields: dict[str, Any], said: str
) -> None:
    notifier(**fields)(of_a_run(reason="task_failure"))
    text = logged()
    assert "VambeNotifier for " in text
    assert said in text
    assert vambe_sandbox.tickets() == []


def test_a_context_without_a_run_opens_nothing_unless_the_key_is_named(
    vambe_sandbox: Sandbox, logged: Callable[[], str]
) -> None:
    notifier()({"dag": DAG("dag", schedule=None)})
    assert "names no Dag run" in logged()
    notifier(ticket_key="weekly")({"dag": DAG("dag", schedule=None)})
    assert len(vambe_sandbox.tickets()) == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": "shut"}, "action: is neither open nor close"),
        ({"stage": None}, "both are needed"),
        ({"throttle": "6 hours"}, "Set ledger_conn_id"),
        ({"throttle": "soon", "ledger_conn_id": "ledger"}, "throttle: is not a length of time"),
        ({"throttle": "1 h", "ledger_conn_id": "ledger", "ticket_key": "x"}, "has no meaning with throttle"),
    ],
)
def test_arguments_that_can_never_work_are_errors_of_the_dag_file(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(VambeConfigError, match=said):
        notifier(**fields)


@pytest.mark.skipif(not AIRFLOW_V_3_1_PLUS, reason="Airflow awaits notifiers from 3.1 on")
class TestDeadline:
    context = {
        "dag_run": {"dag_id": "dag", "dag_run_id": "run-1"},
        "deadline": {"id": "1", "deadline_time": "2026-11-27T06:00:00Z"},
    }

    def test_a_missed_deadline_is_a_ticket(self, vambe_sandbox: Sandbox, ledger: str) -> None:
        async def miss() -> None:
            for _ in range(2):
                await notifier(ledger_conn_id=ledger, context=dict(self.context))

        asyncio.run(miss())
        [ticket] = vambe_sandbox.tickets()
        assert ticket["message"]["content"] == (
            "Airflow: the run run-1 of the Dag dag missed its deadline of 2026-11-27T06:00:00Z."
        )

    def test_without_a_ledger_nothing_is_sent(self, vambe_sandbox: Sandbox, logged: Callable[[], str]) -> None:
        async def miss() -> None:
            await notifier(context=dict(self.context))

        asyncio.run(miss())
        assert "Set ledger_conn_id" in logged()
        assert vambe_sandbox.tickets() == []


@pytest.mark.dags
def test_a_failing_task_of_a_real_dag_opens_one_ticket(vambe_sandbox: Sandbox, ledger: str, run_dag_test: Any) -> None:
    class Fails(BaseOperator):
        def execute(self, context: Any) -> None:
            raise ValueError("no orders")

    with DAG("alerted", schedule=None) as dag:
        Fails(task_id="load", on_failure_callback=[notifier(ledger_conn_id=ledger, message="{{ exception }}")])
    result = run_dag_test(dag)
    assert result.tasks == {"load": "failed"}
    [ticket] = vambe_sandbox.tickets()
    assert ticket["message"]["content"] == "no orders"
    assert ticket["ticket_metadata"]["airflow_run"] == result.run.run_id
