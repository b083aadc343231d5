"""The inbox page: what a person sees and clicks."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.helpers import LATE

if TYPE_CHECKING:
    import httpx

    from tests.sandbox.helpers import Api
    from vambe_provider.sandbox import Sandbox


def test_an_empty_page_says_how_to_begin(http: httpx.Client, sandbox: Sandbox) -> None:
    page = http.get("/").text
    assert sandbox.url in page
    assert sandbox.api_key in page
    assert "qr-main" in page


def test_the_page_shows_the_conversation_and_the_ticket(api: Api, http: httpx.Client) -> None:
    contact = api.opened(
        contact_name="Ana <b>",
        stage_id=LATE,
        ticket_metadata={"order_id": "<i>7</i>"},
        message={"content": "Hola & <u>"},
    )
    page = http.get("/", params={"contact": contact}).text
    for text in ("Ana &lt;b&gt;", "Hola &amp; &lt;u&gt;", "Orders / Late", "order_id", "&lt;i&gt;7&lt;/i&gt;"):
        assert text in page
    assert "<u>" not in page


def test_the_page_asks_no_other_host(http: httpx.Client) -> None:
    reply = http.get("/")
    assert "http" not in reply.text.replace(str(http.base_url).rstrip("/"), "")
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]


def test_the_search_limits_the_inbox(api: Api, http: httpx.Client) -> None:
    api.opened(contact_name="Ana")
    api.opened(contact_name="Berta", to_phone_number="+56900000001")
    page = http.get("/", params={"q": "00001"}).text
    assert "Berta" in page
    assert "Ana" not in page
    assert "No contact has this number" in http.get("/", params={"q": "777777"}).text


def test_an_outdated_click_shows_how_things_are(api: Api, http: httpx.Client, sandbox: Sandbox) -> None:
    contact = api.opened()
    sandbox.close_ticket(contact)
    reply = http.post("/__sandbox__/page/close", data={"contact": contact}, follow_redirects=True)
    assert reply.status_code == 200
    assert "The ticket is closed" in reply.text


@pytest.mark.browser
def test_a_person_replies_moves_and_closes_in_a_browser(api: Api, sandbox: Sandbox) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    contact = api.opened(contact_name="Ana")
    with playwright.sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = browser.new_page()
            problems: list[str] = []
            page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
            page.goto(sandbox.url)
            page.get_by_label("Reply as the customer").fill("Gracias")
            page.get_by_role("button", name="Reply").click()
            page.locator("#thread").get_by_text("Gracias").wait_for()
            page.get_by_label("Stage").select_option(label="Recovered")
            page.get_by_role("button", name="Move").click()
            page.locator("#details").get_by_text("Orders / Recovered").wait_for()
            # What happens elsewhere appears without a click, and what is being typed stays.
            page.get_by_label("Reply as the customer").fill("half a sen")
            api.opened(contact_name="Berta", to_phone_number="+56900000001")
            page.locator("#inbox").get_by_text("Berta").wait_for()
            assert page.get_by_label("Reply as the customer").input_value() == "half a sen"
            page.get_by_role("button", name="Close ticket").click()
            page.get_by_text("The ticket is closed.").wait_for()
            assert problems == []
        finally:
            browser.close()
    assert [message["body"] for message in sandbox.messages(contact)] == ["Hola", "Gracias"]
    ticket = sandbox.tickets()[0]
    assert (ticket["stage"], ticket["status"]) == ("Orders / Recovered", "closed")
