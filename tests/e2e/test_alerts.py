"""The notifier where Airflow itself calls it: in the task that waits for a person, and in the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.test_waiting import airflow  # noqa: F401 - the fixture

if TYPE_CHECKING:
    from tests.e2e.test_waiting import Airflow

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def tickets(running: Airflow) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.vambe("state?limit=100")["tickets"]
    return found


def test_a_missed_deadline_and_a_decision_are_one_ticket_each(airflow: Airflow) -> None:  # noqa: F811
    run = airflow.start("waits_for_a_decision")
    airflow.until("both tickets", lambda: len(tickets(airflow)) >= 2)
    messages = {ticket["message"]["content"] for ticket in tickets(airflow)}
    decision, deadline = sorted(messages, key=lambda text: "deadline" in text)
    assert f"the run {run} of the Dag waits_for_a_decision missed its deadline" in deadline
    assert "the task decide of the Dag waits_for_a_decision" in decision
    assert "tonight" not in decision, "what is to be decided is not sent"


def test_the_triggerer_sends_nothing_that_nobody_would_remember(airflow: Airflow) -> None:  # noqa: F811
    before = len(tickets(airflow))
    airflow.start("remembers_nothing")
    airflow.until("the refusal", lambda: refusals(airflow))
    assert len(tickets(airflow)) == before


def refusals(running: Airflow) -> list[str]:
    """Return the log lines that refuse a callback without a ledger."""
    files = [running.log, *(running.log.parent / "home" / "logs").rglob("*.log")]
    lines = [line for file in files for line in file.read_text(errors="replace").splitlines()]
    return [line for line in lines if "Set ledger_conn_id" in line]
