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
    description="One ticket for each submission of the contact form",
    schedule=None,
    params={
        "submission_id": Param("FORM-1001", type="string"),
        "submitted_at": Param("2026-11-20T14:05:00Z", type="string"),
        "phone": Param("+56 9 6123 4567", type="string"),
        "name": Param("María Rodríguez", type="string"),
        "email": Param("maria.rodriguez@example.com", type=["string", "null"]),
        "subject": Param("Factura", type="string"),
        "message": Param("¿Me pueden enviar la factura de mi última compra?", type="string"),
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
