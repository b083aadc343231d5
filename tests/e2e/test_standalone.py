"""A real scheduler, triggerer and API server: what a user sees after installing the provider."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Standalone

pytestmark = pytest.mark.e2e


def test_a_form_that_comes_over_rest_becomes_a_ticket(standalone: Standalone) -> None:
    conf = {"submission_id": "FORM-E2E", "phone": "+52 1 55 4163 7145", "name": "Zoë", "message": "Hola"}
    run_id = standalone.run("vambe_contact_form", conf)

    result = standalone.returned("vambe_contact_form", run_id, "open_ticket")
    [ticket] = [item for item in standalone.tickets() if item["contact_name"] == "Zoë"]
    assert result["outcome"] == "opened"
    assert result["ai_contact_id"] == ticket["ai_contact_id"]
    assert ticket["phone"].lstrip("+") == "525541637145"
    assert ticket["stage"] == "Support / New"

    again = standalone.run("vambe_contact_form", conf)
    assert standalone.returned("vambe_contact_form", again, "open_ticket")["outcome"] == "already_opened"
    assert len([item for item in standalone.tickets() if item["contact_name"] == "Zoë"]) == 1


def test_a_night_of_late_orders_is_sent_once(standalone: Standalone) -> None:
    standalone.run("vambe_late_orders", patience=240)
    second = standalone.run("vambe_late_orders", patience=240)

    late = [ticket for ticket in standalone.tickets() if ticket["stage"] == "Orders / Late"]
    assert len(late) == standalone.planted.sendable
    assert len({ticket["ticket_metadata"]["order_id"] for ticket in late}) == standalone.planted.sendable
    # The schedule has made a run of its own when the Dag was switched on.
    runs = standalone.get("/api/v2/dags/vambe_late_orders/dagRuns?state=success")["dag_runs"]
    reports = {
        run["dag_run_id"]: standalone.returned("vambe_late_orders", run["dag_run_id"], "open_tickets") for run in runs
    }
    assert sum(report["counts"]["opened"] for report in reports.values()) == standalone.planted.sendable
    refused = {report["counts"]["rejected"] + report["counts"]["still_rejected"] for report in reports.values()}
    assert refused == {standalone.planted.rejected.total()}
    assert reports[second]["counts"]["opened"] == 0


def test_no_key_number_or_message_is_in_the_logs(standalone: Standalone) -> None:
    standalone.run(
        "vambe_contact_form", {"submission_id": "FORM-LOG", "phone": "+573001234567", "email": "zoe@example.com"}
    )

    home = standalone.log.parent / "home"
    text = "".join(path.read_text(errors="replace") for path in (home / "logs").rglob("*.log"))
    assert "vambe" in text
    for secret in ("573001234567", "3001234567", "zoe@example.com", "Hemos recibido tu mensaje", "sandbox-key"):
        assert secret not in text


def test_the_connection_form_is_there(standalone: Standalone) -> None:
    [form] = [item for item in standalone.get("/ui/connections/hook_meta") if item["connection_type"] == "vambe"]

    assert form["hook_name"] == "Vambe"
    assert {"phone_id", "channel", "default_region", "timeout", "rate", "app_url"} <= set(form["extra_fields"])
    assert form["standard_fields"]["password"]["title"] == "API key"


def test_airflow_lists_the_provider(standalone: Standalone) -> None:
    command = [sys.executable, "-m", "airflow", "providers", "list", "--output", "plain"]
    reply = subprocess.run(command, env=standalone.env, capture_output=True, text=True, check=True)

    assert "airflow-provider-vambe" in reply.stdout


def test_an_answer_of_the_customer_reaches_the_warehouse(standalone: Standalone) -> None:
    run_id = standalone.start("vambe_order_follow_up", {"order_id": "ORD-100016"})
    [ticket] = standalone.wait_for(
        lambda: [
            item for item in standalone.tickets() if (item["message"] or {}).get("content", "").endswith("lo quieres?")
        ]
    )
    standalone.reply(ticket["ai_contact_id"], "Sí, por favor")
    standalone.wait("vambe_order_follow_up", run_id)

    with closing(sqlite3.connect(standalone.warehouse)) as connection:
        rows = connection.execute("SELECT order_id, ai_contact_id, outcome FROM order_outcomes").fetchall()
    assert rows == [("ORD-100016", ticket["ai_contact_id"], "replied")]
