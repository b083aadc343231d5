"""The control API, as another process uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.helpers import PHONE

if TYPE_CHECKING:
    import httpx

    from tests.sandbox.helpers import Api
    from vambe_provider.sandbox import Sandbox


def _post(http: httpx.Client, what: str, **body: Any) -> Any:
    reply = http.post(f"/__sandbox__/{what}", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_a_fault_can_be_set_seen_and_cleared(api: Api, http: httpx.Client) -> None:
    fault = _post(http, "faults", kind="status", status=503, where="open_ticket", times="forever", phone="+56 9")
    assert api.open().status_code == 503
    (shown,) = http.get("/__sandbox__/faults").json()
    assert (shown["id"], shown["hits"], shown["phone"]) == (fault["id"], 1, "569")
    assert http.delete("/__sandbox__/faults").status_code == 200
    assert api.open().status_code == 200


def test_a_person_answers_moves_and_closes(api: Api, http: httpx.Client) -> None:
    contact = api.opened()
    _post(http, "replies", ai_contact_id=contact, text="Gracias")
    _post(http, "move", ai_contact_id=contact, stage="Support / Solved")
    assert api.bodies(contact) == ["Hola", "Gracias"]
    assert http.get("/__sandbox__/tickets").json()[0]["stage"] == "Support / Solved"
    _post(http, "close", ai_contact_id=contact)
    assert http.get("/__sandbox__/tickets").json()[0]["status"] == "closed"


def test_contacts_are_made_and_merged(api: Api, http: httpx.Client) -> None:
    first = _post(http, "contacts", phone=PHONE, name="Ana")["ai_contact_id"]
    second = _post(http, "contacts", phone=PHONE, platform="whatsapp")["ai_contact_id"]
    assert api.opened() == first
    _post(http, "merge", ai_contact_id=second, into=first)
    assert api.info(second).status_code == 404


def test_the_state_shows_counts_switches_and_the_newest(api: Api, http: httpx.Client) -> None:
    for number in range(3):
        api.opened(to_phone_number=f"+5690000000{number}")
    _post(http, "configure", success_status=201)
    state = http.get("/__sandbox__/state", params={"limit": 2}).json()
    assert state["counts"] == {"tickets": 3, "contacts": 3, "messages": 3, "requests": 3, "faults": 0}
    assert state["config"]["success_status"] == 201
    assert [ticket["phone"] for ticket in state["tickets"]] == ["56900000001", "56900000002"]
    assert [len(state[name]) for name in ("contacts", "messages", "requests")] == [2, 2, 2]
    assert http.get("/__sandbox__/requests", params={"limit": 1}).json()[0]["phone"] == "56900000002"
    _post(http, "reset")
    assert http.get("/__sandbox__/state").json()["counts"]["tickets"] == 0
    assert api.open().status_code == 200


def test_a_hanging_request_is_released(api: Api, http: httpx.Client, sandbox: Sandbox) -> None:
    from concurrent.futures import ThreadPoolExecutor

    _post(http, "faults", kind="hang")
    with ThreadPoolExecutor() as pool:
        reply = pool.submit(api.open)
        sandbox.wait_for(lambda _: sandbox.hanging == 1)
        assert _post(http, "release") == {"released": 1}
        assert reply.result(timeout=20).status_code == 200


@pytest.mark.parametrize(
    ("what", "body", "named"),
    [
        ("faults", {"kind": "nothing"}, "kind"),
        ("configure", {"colour": "red"}, "colour"),
        ("replies", {"ai_contact_id": "x", "text": "a"}, "no such contact"),
        ("replies", {}, "ai_contact_id"),
        ("contacts", {"phone": "1"}, "phone number"),
        ("close", {"ai_contact_id": "x"}, "no such contact"),
        ("move", {"ai_contact_id": "x", "stage": "y"}, "no such contact"),
        ("configure", [], "JSON object"),
    ],
)
def test_a_wrong_command_is_400_and_says_why(http: httpx.Client, what: str, body: Any, named: str) -> None:
    reply = http.post(f"/__sandbox__/{what}", json=body)
    assert reply.status_code == 400
    assert named in reply.json()["error"]


def test_a_contact_without_a_ticket_cannot_be_closed_or_moved(http: httpx.Client) -> None:
    contact = _post(http, "contacts", phone=PHONE)["ai_contact_id"]
    for what in ("close", "move"):
        reply = http.post(f"/__sandbox__/{what}", json={"ai_contact_id": contact, "stage": "Support / Solved"})
        assert "no active ticket" in reply.json()["error"]
    assert http.post("/__sandbox__/contacts", json={"phone": PHONE}).status_code == 400


@pytest.mark.parametrize("path", ["/__sandbox__/reset", "/__sandbox__/page/close"])
def test_a_page_of_another_site_cannot_command_it(http: httpx.Client, sandbox: Sandbox, path: str) -> None:
    assert http.post(path, headers={"Origin": "https://evil.example"}).status_code == 403
    assert http.post(path, headers={"Origin": sandbox.url}).status_code in (200, 303)
