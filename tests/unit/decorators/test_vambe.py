from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import task

from vambe_provider.compat import DAG

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

PHONE = "+56961234567"


@pytest.fixture(autouse=True)
def _connection(connect: Connect) -> None:
    connect()


def test_what_the_function_returns_is_opened_and_is_no_template(vambe_sandbox: Sandbox, run_dag_test: Any) -> None:
    with DAG("decorated_1", schedule=None) as dag:

        @task
        def order() -> dict[str, Any]:
            return {"id": 7, "phone": PHONE}

        @task.vambe_open_ticket(stage="Orders / Late", allow_placeholders=True)
        def inform(row: dict[str, Any], run_id: str | None = None) -> dict[str, Any]:
            return {
                "to_phone_number": row["phone"],
                "ticket_metadata": {"order": row["id"], "run": run_id},
                "message": "{{ ds }}",
            }

        @task
        def use(result: dict[str, Any]) -> str:
            return str(result["outcome"])

        use(inform(order()))  # type: ignore[arg-type]
    result = run_dag_test(dag)
    assert result.tasks == {"order": "success", "inform": "success", "use": "success"}
    assert result.xcom("use") == "opened"
    [ticket] = vambe_sandbox.tickets()
    assert ticket["stage"] == "Orders / Late"
    assert ticket["ticket_metadata"].items() >= {"order": "7", "run": result.run.run_id}.items()
    assert ticket["message"]["content"] == "{{ ds }}"
    assert ticket["ai_contact_id"] in result.xcom("inform", key="vambe_conversation")


def test_none_skips_the_task(vambe_sandbox: Sandbox, run_dag_test: Any) -> None:
    with DAG("decorated_2", schedule=None) as dag:

        @task.vambe_open_ticket
        def nobody() -> dict[str, Any] | None:
            return None

        nobody()
    assert run_dag_test(dag).tasks == {"nobody": "skipped"}
    assert vambe_sandbox.tickets() == []


def test_a_function_that_returns_something_else_fails_without_a_retry(
    vambe_sandbox: Sandbox, run_dag_test: Any
) -> None:
    with DAG("decorated_3", schedule=None) as dag:

        @task.vambe_open_ticket(retries=3)
        def odd() -> list[str]:
            return ["a list"]

        odd()
    assert run_dag_test(dag).tasks == {"odd": "failed"}
    assert vambe_sandbox.tickets() == []
