"""A visitor fills in the contact form and is greeted on WhatsApp.

For whom: a shop whose web site can call a URL when its form is sent::

    POST /api/v2/dags/vambe_contact_form/dagRuns
    {"logical_date": null, "conf": {"submission_id": "FORM-2042", "phone": "+56 9 8765 4321", "name": "Ana", ...}}

What to change: the stage, the greeting, and the parameters, which are the fields of your form.

The ticket's key is the number of the submission, so a form that the web site sends twice greets the visitor once.
"""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from vambe_provider.operators.vambe import VambeOpenTicketOperator

with DAG(
    dag_id="vambe_contact_form",
    dag_display_name="Vambe: contact form: a greeting",
    description="One ticket for each submission of the contact form",
    schedule=None,
    params={
        "submission_id": Param(
            "FORM-1001", type="string", title="Submission", description="The form's number; a second one greets nobody."
        ),
        "submitted_at": Param(
            "2026-11-20T14:05:00Z", type="string", title="Sent at", description="When the form was sent, as ISO time."
        ),
        "phone": Param(
            "+56 9 6123 4567", type="string", title="Phone", description="The visitor's number, with the country code."
        ),
        "name": Param(
            "María Rodríguez", type="string", title="Name", description="How the greeting calls the visitor."
        ),
        "email": Param(
            "maria.rodriguez@example.com",
            type=["string", "null"],
            title="E-mail",
            description="Stored with the contact; may be empty.",
        ),
        "subject": Param("Factura", type="string", title="Subject", description="What the agent reads first."),
        "message": Param(
            "¿Me pueden enviar la factura de mi última compra?",
            type="string",
            title="Message",
            description="What the visitor wrote; it is shown to the agent and is not sent back.",
        ),
    },
    tags=["vambe"],
    doc_md=__doc__,
):
    VambeOpenTicketOperator(
        task_id="open_ticket",
        to_phone_number="{{ params.phone }}",
        stage="Support / New",
        contact_name="{{ params.name }}",
        email="{{ params.email or '' }}",
        contact_metadata={"form_source": "contact_page", "submission_date": "{{ params.submitted_at }}"},
        ticket_metadata={"subject": "{{ params.subject }}", "message": "{{ params.message }}"},
        message="Hola {{ params.name }}! Hemos recibido tu mensaje y te responderemos pronto.",
        ticket_key="form/{{ params.submission_id }}",
        ledger_conn_id="warehouse",
    )
