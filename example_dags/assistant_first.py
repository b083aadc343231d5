"""A lead gets a ticket without a first message: the assistant of the stage decides what to say.

For whom: teams that have configured an assistant in Vambe and leave the opening words to it.

What to change: the stage, and where the lead comes from. "No message" does not promise silence: the pipeline's
configuration decides whether the assistant writes at once, so treat this as a task that messages somebody.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from vambe_provider.operators.vambe import VambeOpenTicketOperator

with DAG(
    dag_id="vambe_assistant_first",
    dag_display_name="Vambe: lead: the assistant begins",
    description="One ticket for a lead, without a first message",
    schedule=None,
    params={
        "lead_id": Param(
            "LEAD-501",
            type="string",
            title="Lead",
            description="The lead's number; the same one gets no second ticket.",
        ),
        "phone": Param(
            "+57 300 123 4567", type="string", title="Phone", description="The lead's number, with the country code."
        ),
    },
    tags=["vambe"],
    doc_md=__doc__,
):
    VambeOpenTicketOperator(
        task_id="open_ticket",
        to_phone_number="{{ params.phone }}",
        stage="Support / New",
        ticket_key="lead/{{ params.lead_id }}",
        ledger_conn_id="warehouse",
    )
