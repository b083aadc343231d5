"""What a person sees in Airflow's pages: the form of a connection, and the link from a task to its conversation."""

from __future__ import annotations

import json
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from local_airflow import PEOPLE, ask, log_in

from tests.support.browser import chromium, require_browser

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.e2e.conftest import Standalone

pytestmark = [pytest.mark.e2e, pytest.mark.browser]
require_browser()

CONNECTION = "typed_in"
APP_URL = "https://app.example.com"


@pytest.fixture(scope="module")
def dags_folder() -> Path:
    return Path(__file__).resolve().parent / "dags"


@pytest.fixture(scope="module")
def page(standalone: Standalone) -> Iterator[Page]:
    """Return a page of a browser, on Airflow's start page, where an administrator has logged in."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1200}, locale="en-US")
        page.set_default_timeout(30_000)
        log_in_by_hand(page, standalone, "admin")
        yield page


@pytest.fixture(scope="module")
def connection(page: Page, standalone: Standalone) -> dict[str, Any]:
    """Type a connection into the form, save it, and return what Airflow has stored."""
    host, _, port = standalone.sandbox.rpartition(":")
    page.get_by_role("button", name="Admin").click()
    page.get_by_role("menuitem", name="Connections").click()
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Connection ID").fill(CONNECTION)
    form.get_by_label("Connection Type").fill("Vambe")
    form.get_by_role("option", name="Vambe", exact=True).click()

    _field(form, "Base URL").fill(host)
    _field(form, "API key").fill("sandbox-key")
    _field(form, "Port", "spinbutton").fill(port)
    assert _field(form, "API key").get_attribute("type") == "password"
    assert form.get_by_text("Login", exact=True).count() == form.get_by_text("Schema", exact=True).count() == 0

    form.get_by_role("button", name="Extra Fields", exact=True).click()
    _field(form, "Phone id").fill("qr-second")
    _field(form, "Channel", "combobox").click()
    form.get_by_role("option", name="web-whatsapp", exact=True).click()
    _field(form, "Default region").fill("CL")
    _field(form, "Timeout", "spinbutton").fill("12")
    _field(form, "Rate").fill("none")
    _field(form, "App URL").fill(APP_URL)
    # Left empty on purpose; it is there all the same.
    _field(form, "Rate store").wait_for()
    form.get_by_role("button", name="Save").click()
    _row(page).wait_for()
    stored: dict[str, Any] = standalone.get(f"/api/v2/connections/{CONNECTION}")
    return stored


@pytest.fixture(scope="module")
def run(connection: dict[str, Any], standalone: Standalone) -> str:
    """Return a run with that connection whose sensor has gone to the triggerer."""
    run: str = standalone.start("conversation")
    path = f"/api/v2/dags/conversation/dagRuns/{run}/taskInstances"

    def states() -> dict[tuple[str, int], str]:
        tasks = standalone.get(path)["task_instances"]
        return {(task["task_id"], task["map_index"]): task["state"] for task in tasks}

    ended = {"success", "failed", "upstream_failed", "deferred"}
    standalone.wait_for(lambda: len(now := states()) == 4 and set(now.values()) <= ended)
    assert states() == {
        ("ask", -1): "success",
        ("wait", -1): "deferred",
        ("ask_each", 0): "success",
        ("ask_each", 1): "success",
    }, f"the log is {standalone.log}"
    return run


def test_a_connection_is_typed_into_the_form(connection: dict[str, Any]) -> None:
    assert (connection["conn_type"], connection["password"]) == ("vambe", "***")
    assert json.loads(connection["extra"]) == {
        "phone_id": "qr-second",
        "channel": "web-whatsapp",
        "account": None,
        "default_region": "CL",
        "allowed_countries": None,
        "repair": None,
        "contact_policy": None,
        "timeout": 12,
        "rate": "none",
        "rate_store": None,
        "app_url": APP_URL,
    }


def test_the_test_button_says_that_the_key_is_good(
    page: Page, connection: dict[str, Any], standalone: Standalone
) -> None:
    page.goto(f"{standalone.url}/connections")
    with page.expect_response("**/api/v2/connections/test") as answer:
        _row(page).get_by_role("button", name="Test Connection").click()
    seen = answer.value.json()
    assert seen["status"], seen["message"]
    assert "sandbox-key" not in seen["message"]


def test_a_run_with_the_saved_connection_sends(run: str, standalone: Standalone) -> None:
    phones = {ticket["phone"].lstrip("+"): ticket["phone_id"] for ticket in standalone.tickets()}
    assert phones == dict.fromkeys(("56961234567", "56961111111", "56962222222"), "qr-second")


@pytest.mark.parametrize(
    ("task", "phone"),
    [
        ("ask", "56961234567"),
        ("wait", "56961234567"),
        ("ask_each/mapped/0", "56961111111"),
        ("ask_each/mapped/1", "56962222222"),
    ],
)
def test_a_click_leads_from_the_task_to_the_conversation(
    page: Page, run: str, standalone: Standalone, task: str, phone: str
) -> None:
    [ticket] = [ticket for ticket in standalone.tickets() if ticket["phone"].lstrip("+") == phone]
    asked = _requests(standalone)
    page.goto(f"{standalone.url}/dags/conversation/runs/{quote(run)}/tasks/{task}")
    page.get_by_role("link", name="Details", exact=True).click()
    page.get_by_text("Deferred" if task == "wait" else "Success", exact=True).first.wait_for()
    link = page.get_by_role("link", name="Vambe conversation", exact=True)
    href = urlsplit(link.get_attribute("href") or "")
    assert f"{href.scheme}://{href.netloc}{href.path}" == f"{APP_URL}/pipeline"
    assert parse_qs(href.query) == {
        "id": [ticket["pipeline_id"]],
        "chatContactId": [ticket["ai_contact_id"]],
    }
    # Airflow only shows what the task has left: nobody asks Vambe in order to draw the link.
    assert _requests(standalone) == asked


def test_a_viewer_sees_the_dag_and_cannot_start_it(page: Page, run: str, standalone: Standalone) -> None:
    token = log_in(standalone.url, "viewer")
    assert "conversation" in {dag["dag_id"] for dag in ask(f"{standalone.url}/api/v2/dags", token=token)["dags"]}
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask(f"{standalone.url}/api/v2/dags/conversation/dagRuns", {"logical_date": None}, token=token)
    browser = page.context.browser
    assert browser is not None
    viewer = browser.new_page(locale="en-US")
    log_in_by_hand(viewer, standalone, "viewer")
    viewer.goto(f"{standalone.url}/dags/conversation/runs/{quote(run)}")
    viewer.get_by_text("ask_each").first.wait_for()
    viewer.close()


def log_in_by_hand(page: Page, standalone: Standalone, name: str) -> None:
    """Type a name and a password into Airflow's login page."""
    page.goto(standalone.url)
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PEOPLE[name])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Browse").wait_for()


def _field(form: Locator, label: str, role: Any = "textbox") -> Locator:
    """Return the input next to a label; not all labels of Airflow's form are tied to their input."""
    group = form.get_by_role("group").filter(has=form.page.get_by_text(label, exact=True))
    return group.get_by_role(role)


def _requests(standalone: Standalone) -> list[str]:
    """Return what Vambe was asked, without what the triggerer reads meanwhile."""
    log = ask(f"{standalone.sandbox}/__sandbox__/requests?limit=100000")
    rounds = {"list_contacts", "get_contact", "get_messages"}
    return [item["endpoint"] for item in log if item["endpoint"] not in rounds]


def _row(page: Page) -> Locator:
    return page.get_by_role("row").filter(has_text=CONNECTION)
