"""An agent moves a ticket to another stage in Vambe, and the warehouse knows it a minute later.

For whom: teams whose analysts ask what became of the orders that ``order_follow_up.py`` asked about. It watches Vambe
and sends nothing.

What to change: the stage to watch for, and what is done then. Each change of a contact whose ticket is in the stage
starts a run, so a run may come twice for one ticket; writing the same outcome again changes nothing.

Needs Airflow 3.0 or newer: the triggerer watches for an asset there, and no task waits.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, BaseHook, Param, task
from airflow.sdk import AssetWatcher

from vambe_provider.triggers.vambe import VambeContactEventTrigger

STATEMENT = "UPDATE order_outcomes SET outcome = 'recovered' WHERE ai_contact_id = {contact}"
RECOVERED = Asset(
    name="recovered_orders",
    watchers=[AssetWatcher(name="recovered", trigger=VambeContactEventTrigger(stages="Orders / Recovered"))],
)

with DAG(
    dag_id="vambe_order_recovered",
    dag_display_name="Vambe: recovered order, back to the warehouse",
    description="Writes down which late orders an agent has recovered",
    schedule=[RECOVERED],
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    params={
        "ai_contact_id": Param(
            None, type=["string", "null"], title="Contact", description="Whom a run that is started by hand is about."
        )
    },
    tags=["vambe"],
    doc_md=__doc__,
):

    @task
    def write_outcome(params: dict[str, Any], triggering_asset_events: Any) -> list[str]:
        events = [event for events in triggering_asset_events.values() for event in events]
        contacts = {event.extra["payload"]["ai_contact_id"] for event in events} or {params["ai_contact_id"]}
        hook = BaseHook.get_hook("warehouse")
        for contact in contacts:
            hook.run(STATEMENT.format(contact=hook.placeholder), parameters=(contact,))
        return sorted(filter(None, contacts))

    write_outcome()  # type: ignore[call-arg,misc,unused-ignore]
