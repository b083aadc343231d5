from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.unit.tasks import Ti, context
from vambe_provider.compat import AIRFLOW_V_3_0_PLUS, DAG
from vambe_provider.links.vambe import VambeConversationLink, conversation_url, push_link
from vambe_provider.operators.vambe import VambeOpenTicketOperator

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox


def test_ids_cannot_leave_their_place_in_the_address() -> None:
    url = conversation_url(app_url="https://app.example", pipeline_id="a&b=c", ai_contact_id="../x y")
    assert url == "https://app.example/pipeline?id=a%26b%3Dc&chatContactId=..%2Fx+y"


def test_nothing_is_pushed_without_an_address() -> None:
    run = context(ti=Ti())
    push_link(run, None)
    push_link({}, "https://app.example")
    assert run["ti"].pushed == {}


def test_the_web_interface_finds_the_address_that_the_task_left(
    connect: Connect, vambe_sandbox: Sandbox, run_dag_test: Any
) -> None:
    connect(extra={"app_url": "https://crm.example/app"})
    with DAG("linked", schedule=None) as dag:
        task = VambeOpenTicketOperator(task_id="open", to_phone_number="+56961234567", stage="Support / New")
    result = run_dag_test(dag)
    [ti] = result.run.get_task_instances()
    [ticket] = vambe_sandbox.tickets()
    link = VambeConversationLink()
    # Airflow 3 has the worker leave the whole link in an XCom and reads only that; Airflow 2 asks the link itself.
    address = result.xcom("open", key=link.xcom_key) if AIRFLOW_V_3_0_PLUS else link.get_link(task, ti_key=ti.key)
    assert address == (
        f"https://crm.example/app/pipeline?id={ticket['pipeline_id']}&chatContactId={ticket['ai_contact_id']}"
    )
