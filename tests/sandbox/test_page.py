"""The page: what a person sees and clicks, as HTML."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.helpers import LATE

if TYPE_CHECKING:
    import httpx

    from tests.sandbox.helpers import Api
    from vambe_provider.sandbox import Sandbox


def words(html: str) -> str:
    """Return the text of a page without its marks, styles and script."""
    bare = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", bare).split())


def post(http: httpx.Client, what: str, **form: Any) -> httpx.Response:
    return http.post(f"/__sandbox__/page/{what}", data=form, follow_redirects=True)


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


@pytest.mark.parametrize("view", ["inbox", "open", "faults", "requests"])
def test_the_page_asks_no_other_host(api: Api, http: httpx.Client, view: str) -> None:
    api.opened()
    reply = http.get("/", params={"view": view})
    assert "http" not in reply.text.replace(str(http.base_url).rstrip("/"), "")
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    ("search", "found"), [("00001", "Berta"), ("+569 0000-0001", "Berta"), ("bert", "Berta"), ("ANA@EX", "Ana")]
)
def test_the_search_takes_a_number_a_name_or_an_address(api: Api, http: httpx.Client, search: str, found: str) -> None:
    api.opened(contact_name="Ana", email="ana@example.com")
    api.opened(contact_name="Berta", to_phone_number="+56900000001")
    page = words(http.get("/", params={"q": search}).text)
    assert found in page
    assert {"Ana", "Berta"} & set(page.split()) == {found}
    assert "1 of 2 contacts" in page


def test_a_search_in_vain_says_so(api: Api, http: httpx.Client) -> None:
    api.opened(contact_name="Ana")
    page = words(http.get("/", params={"q": "nobody <b>"}).text)
    assert "Nothing found for “ nobody &lt;b&gt; ”" in page
    assert "0 of 1 contacts" in page


def test_a_long_inbox_says_how_many_it_shows(http: httpx.Client, sandbox: Sandbox) -> None:
    for number in range(101):
        sandbox.seed_contact(f"+569{number:08d}", name="Ana")
    assert "the newest 100 of 101 contacts" in words(http.get("/").text)
    assert "the newest 100 of 101 of 101 contacts" in words(http.get("/", params={"q": "ana"}).text)


def test_an_outdated_click_shows_how_things_are(api: Api, http: httpx.Client, sandbox: Sandbox) -> None:
    contact = api.opened()
    sandbox.close_ticket(contact)
    reply = post(http, "close", contact=contact)
    assert reply.status_code == 200
    assert "The ticket is closed" in reply.text


def test_a_link_of_the_provider_leads_to_the_conversation(api: Api, http: httpx.Client) -> None:
    from vambe_provider.links.vambe import conversation_url

    contact = api.opened(contact_name="Ana")
    api.opened(contact_name="Berta", to_phone_number="+56900000001")
    url = conversation_url(app_url=str(http.base_url).rstrip("/"), pipeline_id="any", ai_contact_id=contact)
    page = http.get(url, follow_redirects=True)
    assert "<h2><bdi>Ana</bdi></h2>" in page.text
    unknown = http.get("/pipeline", params={"chatContactId": "nobody"})
    assert unknown.status_code == 404
    assert "There is no such contact" in unknown.text


def test_a_ticket_is_opened_by_hand(http: httpx.Client, sandbox: Sandbox) -> None:
    form = {"phone": "+56 9 6123 4567", "name": "Ana", "stage": LATE, "phone_id": "1951", "message": "Hola"}
    page = post(http, "open", **form)
    assert "<h2><bdi>Ana</bdi></h2>" in page.text
    [ticket] = sandbox.tickets()
    assert (ticket["stage"], ticket["phone_id"], ticket["phone"]) == ("Orders / Late", "1951", "56961234567")
    assert [message["body"] for message in sandbox.messages()] == ["Hola"]
    wrong = post(http, "open", **(form | {"phone": "12"}))
    assert wrong.status_code == 400
    assert "Invalid phone number" in wrong.text
    assert sandbox.ticket_count == 1


def test_a_fault_is_put_in_force_and_removed_by_hand(api: Api, http: httpx.Client) -> None:
    page = post(
        http, "fault", kind="status", where="open_ticket", when="", times="2", status="503", phone="", seconds=""
    )
    assert "status open_ticket before 2 0 of 0" in words(page.text)
    assert api.open().status_code == 503
    assert "status open_ticket before 1 1 of 1" in words(http.get("/", params={"view": "faults"}).text)
    assert "None. Every request" in post(http, "clear").text
    assert api.open().status_code == 200


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"kind": "status", "times": "often"}, "times: 'often' is not a number"),
        ({"kind": "fire"}, "kind: 'fire' does not fit: Input should be 'status', 'drop'"),
    ],
)
def test_a_fault_that_cannot_be_says_why(http: httpx.Client, form: dict[str, str], said: str) -> None:
    reply = post(http, "fault", **form)
    assert reply.status_code == 400
    assert said in reply.text.replace("&#x27;", "'")


def test_the_log_shows_what_came_and_what_was_answered(api: Api, http: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.fault("get_pipelines", kind="status", status=503)
    api.opened(contact_name="Ana <b>")
    http.get("/api/public/pipeline")
    page = http.get("/", params={"view": "requests"}).text
    rows = [words(row) for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)[1:]]
    assert len(rows) == 2
    assert re.fullmatch(r"\S+ UTC get_pipelines GET /api/public/pipeline 503 status", rows[0])
    assert "open_ticket POST /api/public/ticket/open/web-whatsapp/qr-main 56912345678 200 yes" in rows[1]
    assert "Ana &lt;b&gt;" in rows[1]


def test_a_reset_forgets_everything(api: Api, http: httpx.Client, sandbox: Sandbox) -> None:
    api.opened()
    sandbox.fault(kind="status")
    post(http, "reset")
    assert (sandbox.ticket_count, sandbox.request_count) == (0, 0)
    assert http.get("/__sandbox__/faults").json() == []
