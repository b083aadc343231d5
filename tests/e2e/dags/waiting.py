"""What test_waiting.py runs: a ticket that is waited for in the triggerer, and a Dag that a change in Vambe starts."""

from __future__ import annotations

from airflow.sdk import DAG, Asset, AssetWatcher, task

from vambe_provider.operators.vambe import VambeOpenTicketOperator
from vambe_provider.sensors.vambe import VambeTicketSensor
from vambe_provider.triggers.vambe import VambeContactEventTrigger

params = {"phone": "+56961234567", "until": "replied", "conn": "vambe_default"}

with DAG(dag_id="ticket_and_wait", schedule=None, params=params):
    ask = VambeOpenTicketOperator(
        task_id="ask",
        to_phone_number="{{ params.phone }}",
        stage="Support / New",
        message="Hola",
        vambe_conn_id="{{ params.conn }}",
    )
    VambeTicketSensor(
        task_id="wait",
        vambe_conn_id="{{ params.conn }}",
        ai_contact_ids=ask.output,
        until="{{ params.until }}",
        deferrable=True,
        poke_interval=1,
        timeout=600,
    )

solved = Asset(
    name="solved_tickets",
    watchers=[
        AssetWatcher(name="solved", trigger=VambeContactEventTrigger(stages="Support / Solved", poll_interval=1))
    ],
)

with DAG(dag_id="on_solved", schedule=[solved]):

    @task
    def note(triggering_asset_events: dict[Asset, list[object]]) -> list[object]:
        events = triggering_asset_events[solved]
        return [event.extra["payload"] for event in events]  # type: ignore[attr-defined]

    note()  # type: ignore[call-arg,misc,unused-ignore]
