"""The page in a browser: what a person does with it, and what stays while it refreshes itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.helpers import LATE
from tests.support.browser import CHROMIUM, TOO_FAINT, chromium, picture
from vambe_provider.links.vambe import conversation_url
from vambe_provider.sandbox import running_sandbox

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.sandbox.helpers import Api
    from vambe_provider.sandbox import Sandbox

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]
pytest.importorskip("playwright")

VIEWS = ("inbox", "open", "faults", "requests")
# What is seen only after a click, or when something is wrong.
SHOW_ALL = """() => {
  document.getElementById("gone").hidden = false;
  for (const element of document.querySelectorAll("details")) element.open = true;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a page in Santiago whose console stays free of errors."""
    context = browser.new_context(timezone_id="America/Santiago", locale="en-GB")
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert problems == []


def filled(api: Api, sandbox: Sandbox) -> str:
    """Put something of everything into the sandbox, and return the last contact."""
    api.opened(contact_name="Berta", to_phone_number="+56900000001")
    sandbox.close_ticket(sandbox.contacts()[0]["id"])
    sandbox.fault("get_pipelines", kind="status", status=503, times="forever")
    api.http.get("/api/public/pipeline")
    contact = api.opened(contact_name="Ana", stage_id=LATE, ticket_metadata={"order": "7"})
    sandbox.customer_replies(contact, "Gracias")
    return contact


def test_a_person_replies_moves_and_closes(page: Page, api: Api, sandbox: Sandbox) -> None:
    contact = api.opened(contact_name="Ana")
    page.goto(sandbox.url)
    page.get_by_label("Reply as the customer").fill("Gracias")
    page.get_by_role("button", name="Reply").click()
    page.locator("#thread").get_by_text("Gracias").wait_for()
    page.get_by_label("Stage").select_option(label="Recovered")
    page.get_by_role("button", name="Move").click()
    page.locator("#details").get_by_text("Orders / Recovered").wait_for()
    page.get_by_role("button", name="Close ticket").click()
    page.get_by_text("The ticket is closed.").wait_for()
    assert [message["body"] for message in sandbox.messages(contact)] == ["Hola", "Gracias"]
    [ticket] = sandbox.tickets()
    assert (ticket["stage"], ticket["status"]) == ("Orders / Recovered", "closed")


def test_a_refresh_keeps_what_is_typed_and_where_the_focus_is(page: Page, api: Api, sandbox: Sandbox) -> None:
    contact = api.opened(contact_name="Ana")
    page.goto(sandbox.url)
    page.get_by_label("Reply as the customer").fill("half a sen")
    api.opened(contact_name="Berta", to_phone_number="+56900000001")
    page.locator("#inbox").get_by_text("Berta").wait_for()
    assert page.get_by_label("Reply as the customer").input_value() == "half a sen"
    assert page.locator("h2").inner_text() == "Ana"

    page.locator(f"#c-{contact}").focus()
    api.opened(contact_name="Carla", to_phone_number="+56900000002")
    page.locator("#inbox").get_by_text("Carla").wait_for()
    assert page.evaluate("document.activeElement.id") == f"c-{contact}"
    assert page.locator("#found").inner_text() == "3 contacts"


def test_a_search_by_name_stays_a_search_while_the_page_refreshes(page: Page, api: Api, sandbox: Sandbox) -> None:
    api.opened(contact_name="Ana")
    api.opened(contact_name="Berta", to_phone_number="+56900000001")
    page.goto(sandbox.url)
    box = page.get_by_role("searchbox")
    box.fill("bert")
    box.press("Enter")
    page.locator("#found").get_by_text("1 of 2 contacts").wait_for()
    assert page.locator("#inbox b").all_inner_texts() == ["Berta"]
    api.opened(contact_name="Norberto", to_phone_number="+56900000002")
    api.opened(contact_name="Carla", to_phone_number="+56900000003")
    page.locator("#found").get_by_text("2 of 4 contacts").wait_for()
    assert page.locator("#inbox b").all_inner_texts() == ["Norberto", "Berta"]

    box.fill("dora")
    box.press("Enter")
    page.get_by_text("Nothing found for “dora”.").wait_for()
    assert page.locator("#found").inner_text() == "0 of 4 contacts"
    box.fill("")
    box.press("Enter")
    page.locator("#found").get_by_text("4 contacts", exact=True).wait_for()


def test_a_link_of_the_provider_leads_to_the_conversation(page: Page, api: Api, sandbox: Sandbox) -> None:
    contact = api.opened(contact_name="Ana")
    api.opened(contact_name="Berta", to_phone_number="+56900000001")
    page.goto(conversation_url(app_url=sandbox.url, pipeline_id="any", ai_contact_id=contact))
    assert page.locator("h2").inner_text() == "Ana"
    sandbox.customer_replies(contact, "Gracias")
    page.locator("#thread").get_by_text("Gracias").wait_for()


def test_a_form_that_is_refused_keeps_what_was_typed(browser: Browser, api: Api, sandbox: Sandbox) -> None:
    page = browser.new_page()
    page.goto(f"{sandbox.url}/?view=open")
    page.get_by_label("Number").fill("12")
    page.get_by_label("Name").fill("Ana <b>")
    page.get_by_label("Stage").select_option(label="Late")
    page.get_by_label("Sender").select_option("1951")
    page.get_by_label("Message").fill("Hola & adiós")
    page.get_by_role("button", name="Open the ticket").click()
    page.get_by_role("alert").get_by_text("Invalid phone number").wait_for()
    api.opened()
    page.locator("#counts").get_by_text("1 contacts").wait_for()
    page.get_by_label("Number").fill("+56 9 0000 0001")
    page.get_by_role("button", name="Open the ticket").click()
    page.locator("#thread").get_by_text("Hola & adiós").wait_for()
    [ticket] = [item for item in sandbox.tickets() if item["phone"] == "56900000001"]
    assert (ticket["stage"], ticket["phone_id"]) == ("Orders / Late", "1951")
    assert page.locator("h2").inner_text() == "Ana <b>"

    page.goto(f"{sandbox.url}/?view=faults")
    page.get_by_label("What").select_option("rate_limit")
    page.get_by_label("Where").select_option("*")
    page.get_by_label("How often").fill("often")
    page.get_by_role("button", name="Put in force").click()
    page.get_by_role("alert").get_by_text("'often' is not a number").wait_for()
    page.get_by_label("How often").fill("2")
    page.get_by_role("button", name="Put in force").click()
    page.locator("#faults").get_by_text("rate_limit").wait_for()
    page.close()
    assert [api.open().status_code for _ in range(3)] == [429, 429, 200]


def test_a_ticket_a_fault_and_a_reset_by_hand(page: Page, api: Api, sandbox: Sandbox) -> None:
    page.goto(sandbox.url)
    page.get_by_role("link", name="Open a ticket").click()
    page.get_by_label("Number").fill("+56 9 6123 4567")
    page.get_by_label("Name").fill("Ana")
    page.get_by_label("Stage").select_option(label="Late")
    page.get_by_label("Message").fill("Hola")
    page.get_by_role("button", name="Open the ticket").click()
    page.locator("#thread").get_by_text("Hola").wait_for()

    page.get_by_role("link", name="Faults and reset").click()
    page.get_by_label("What").select_option("status")
    page.get_by_role("textbox", name="Status").fill("503")
    page.get_by_role("button", name="Put in force").click()
    page.locator("#counts").get_by_text("faults in force: 1").wait_for()
    assert api.open().status_code == 503
    page.locator("#faults").get_by_text("1 of 1").wait_for()

    page.get_by_role("link", name="Requests").click()
    page.locator("#requests details summary").click()
    page.locator("#requests pre").get_by_text("to_phone_number").wait_for()
    api.opened(contact_name="Berta", to_phone_number="+56900000001")
    page.locator("#requests").get_by_text("The newest 2 of 2.").wait_for()
    assert page.locator("#requests pre").nth(1).is_visible()  # what was unfolded stays so

    page.get_by_role("link", name="Faults and reset").click()
    page.get_by_text("Reset …").click()
    page.get_by_role("button", name="Forget everything").click()
    page.locator("#counts").get_by_text("0 tickets").wait_for()
    assert sandbox.ticket_count == 0


def test_times_are_the_readers_own_and_name_their_zone(page: Page, api: Api, sandbox: Sandbox) -> None:
    api.opened()
    page.goto(sandbox.url)
    shown = page.locator("#thread time")
    assert "GMT-3" in shown.inner_text()
    moment = shown.get_attribute("datetime")
    assert page.evaluate("moment => new Date(moment).getHours()", moment) == int(shown.inner_text()[:2])


def test_a_text_runs_the_way_its_letters_do(page: Page, api: Api, sandbox: Sandbox) -> None:
    api.opened(contact_name="مريم", message={"content": "مرحبا 123", "ai_generated": False})
    page.goto(sandbox.url)
    assert page.locator("#thread .bubble p").evaluate("element => getComputedStyle(element).direction") == "rtl"
    assert page.locator("h2 bdi").evaluate("element => getComputedStyle(element).direction") == "rtl"
    assert page.locator("html").evaluate("element => getComputedStyle(element).direction") == "ltr"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_and_every_view_fits_a_phone(
    page: Page, api: Api, sandbox: Sandbox, scheme: Any
) -> None:
    contact = filled(api, sandbox)
    page.emulate_media(color_scheme=scheme)
    grounds = set()
    for view in (*(f"{name}&contact={contact}" for name in VIEWS), "inbox&q=nobody"):
        page.goto(f"{sandbox.url}/?view={view}")
        page.evaluate(SHOW_ALL)
        assert page.evaluate(TOO_FAINT) == [], view
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400, view
        page.set_viewport_size({"width": 1280, "height": 800})
    [ground] = grounds
    brightness = max(int(part) for part in ground[4:-1].split(","))
    assert brightness < 60 if scheme == "dark" else brightness > 200


def test_the_inbox_of_a_busy_morning_shows_every_conversation(page: Page, api: Api, sandbox: Sandbox) -> None:
    """Also makes the picture of the documentation, with ``VAMBE_WRITE_PICTURES=1``."""
    people = (("Berta Schmidt", "+4915112345678"), ("João Lima", "+5511912345678"), ("مريم", "+212612345678"))
    for number, (name, phone) in enumerate((*people, ("Ana Rojas", "+56961234567")), start=1041):
        words = f"Hola {name}, your order {number} is late. Can we help?"
        contact = api.opened(
            contact_name=name,
            to_phone_number=phone,
            stage_id=LATE,
            ticket_metadata={"order_id": str(number)},
            message={"content": words, "ai_generated": False},
        )
    sandbox.customer_replies(contact, "Yes please! When will it be here?")
    page.set_viewport_size({"width": 1200, "height": 520})
    page.goto(sandbox.url)
    assert page.locator("#inbox a").count() == 4
    assert page.locator("#inbox a[aria-current]").inner_text().startswith("Ana Rojas")
    if target := picture("sandbox.png"):
        page.screenshot(path=target)


def test_a_banner_says_that_the_server_is_gone(browser: Browser) -> None:
    page = browser.new_page()
    with running_sandbox() as sandbox:
        page.goto(sandbox.url)
        assert not page.get_by_role("alert").is_visible()
        port = int(sandbox.url.rpartition(":")[2])
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    with running_sandbox(port=port):
        page.get_by_role("alert").wait_for(state="hidden")
    page.close()
