"""What test_browser.py looks at: a ticket, a wait for its customer, and one ticket for each of two numbers."""

from __future__ import annotations

from airflow.sdk import DAG

from vambe_provider.operators.vambe import VambeOpenTicketOperator
from vambe_provider.sensors.vambe import VambeTicketSensor

with DAG(dag_id="conversation", schedule=None, default_args={"vambe_conn_id": "typed_in"}):
    # Without a country code: the default region of the connection is needed.
    ask = VambeOpenTicketOperator(task_id="ask", to_phone_number="961234567", stage="Support / New", message="Hola")
    # Only the id: the sensor finds out for itself where the conversation is.
    wait = VambeTicketSensor(
        task_id="wait",
        ai_contact_ids="{{ ti.xcom_pull('ask')['ai_contact_id'] }}",
        deferrable=True,
        poke_interval=1,
        timeout=600,
    )
    ask >> wait
    VambeOpenTicketOperator.partial(task_id="ask_each", stage="Orders / Late", message="Hola").expand(
        to_phone_number=["961111111", "962222222"]
    )
