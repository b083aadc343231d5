"""An error about a ticket that may exist leads to the page where a person decides."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.tasks import context
from tests.unit.ui.conftest import CONN_ID, Browser, needs_page
from vambe_provider.operators.vambe import VambeOpenTicketBatchOperator, VambeOpenTicketOperator

if TYPE_CHECKING:
    from tests.support.planted import Planted
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

pytestmark = needs_page
PHONE = "+56961234567"
TASKS = {
    "single": lambda: VambeOpenTicketOperator(
        task_id="open",
        to_phone_number=PHONE,
        stage="Support / New",
        ticket_key="order-7",
        ledger_conn_id=CONN_ID,
    ),
    "batch": lambda: VambeOpenTicketBatchOperator(
        task_id="open",
        rows=[{"order": 7, "phone": PHONE}],
        key_columns=["order"],
        ticket={"to_phone_number": "{phone}", "stage": "Support / New"},
        namespace="late-orders",
        ledger_conn_id=CONN_ID,
    ),
}


@pytest.fixture(params=list(TASKS))
def error(
    request: pytest.FixtureRequest,
    vambe_sandbox: Sandbox,
    connect: Connect,
    ledger: Planted,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Return a function that runs a task whose ticket may exist, and returns the text of its error."""
    connect()
    monkeypatch.setenv("AIRFLOW__VAMBE__RECONCILE_POLLS", "0,0")
    vambe_sandbox.fault("open_ticket", kind="status", status=500)
    for look in ("search_contacts", "list_contacts"):
        vambe_sandbox.fault(look, kind="status", status=503, times="forever")

    def run() -> str:
        with pytest.raises(Exception, match="may exist") as failure:
            TASKS[request.param]().execute(context())
        return str(failure.value)

    return run


def test_the_link_shows_the_ticket(error: Any, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/team/")
    for _ in range(2):  # when it happens, and when a later try meets it
        [link] = re.findall(r"https://airflow\.example/team(/vambe/\S+)", error())
        page = browser("ada").get(link)
        assert page.status_code == 200
        assert re.search(r"order-7|order=7", page.text)


@pytest.mark.parametrize(
    ("option", "value"), [("AIRFLOW__API__BASE_URL", ""), ("AIRFLOW__VAMBE__LEDGER_CONN_IDS", "another")]
)
def test_without_a_page_there_is_the_command_alone(
    error: Any, monkeypatch: pytest.MonkeyPatch, option: str, value: str
) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example")
    monkeypatch.setenv(option, value)
    text = error()
    assert "airflow.example" not in text
    assert f"--conn-id {CONN_ID}" in text
