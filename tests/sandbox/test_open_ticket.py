"""Opening a ticket, as the endpoint's page describes it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.helpers import LATE, NEW, PHONE

if TYPE_CHECKING:
    from tests.sandbox.helpers import Api
    from vambe_provider.sandbox import Sandbox


def test_opens_a_ticket_with_everything_that_was_sent(api: Api, sandbox: Sandbox) -> None:
    reply = api.open(
        contact_name="Maria Rodriguez",
        email="maria.rodriguez@example.com",
        contact_metadata={"company": "Acme"},
        ticket_metadata={"order_id": "ORD-1"},
        integration_data={"tracking_number": "T1"},
        stage_id=LATE,
    )
    assert reply.status_code == 200
    assert set(reply.json()) == {"aiContactId", "status"}
    assert reply.json()["status"] == "ok"
    assert "date" in reply.headers
    (ticket,) = sandbox.tickets()
    assert (
        ticket
        | {
            "ai_contact_id": reply.json()["aiContactId"],
            "phone": "56912345678",
            "phone_id": "qr-main",
            "channel": "web-whatsapp",
            "stage": "Orders / Late",
            "status": "open",
            "contact_name": "Maria Rodriguez",
            "email": "maria.rodriguez@example.com",
            "contact_metadata": {"company": "Acme"},
            "ticket_metadata": {"order_id": "ORD-1"},
            "integration_data": {"tracking_number": "T1"},
            "message": {"content": "Hola", "ai_generated": False},
        }
        == ticket
    )


@pytest.mark.parametrize("number", ["+56912345678", "56912345678", 56912345678, "+56 9 1234-5678"])
def test_every_documented_form_of_the_number_is_the_same_contact(api: Api, sandbox: Sandbox, number: object) -> None:
    first = api.opened()
    assert api.opened(to_phone_number=number) == first
    assert len(sandbox.contacts()) == 1


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "Hola", "ai_generated": False}, "Hola"),
        ({"templateId": "t-1", "content": "Maria", "ai_generated": False}, "template:t-1:Maria"),
        ({"templateId": "t-1", "ai_generated": False}, "template:t-1:"),
    ],
)
def test_the_message_reaches_the_conversation(api: Api, message: dict[str, Any], text: str) -> None:
    contact = api.opened(message=message)
    (sent,) = api.messages(contact).json()["messages"]
    assert (sent["body"], sent["direction"], sent["status"]) == (text, "OUTBOUND", "sent")
    assert sent["to"] == PHONE


def test_without_a_message_the_assistant_writes_unless_it_is_switched_off(api: Api, sandbox: Sandbox) -> None:
    assert len(api.bodies(api.opened(message=None))) == 1
    sandbox.configure(assistant_writes=False)
    assert api.bodies(api.opened(message=None, to_phone_number="+56900000001")) == []


def test_official_numbers_have_contacts_of_their_own(api: Api, sandbox: Sandbox) -> None:
    assert api.opened() != api.opened(channel="whatsapp", phone_id="1951")
    assert {contact["platform"] for contact in sandbox.contacts()} == {"web-whatsapp", "whatsapp"}


@pytest.mark.parametrize("key", [None, "", "wrong"])
def test_a_wrong_key_is_401_and_has_no_effect(api: Api, sandbox: Sandbox, key: str | None) -> None:
    headers = {} if key is None else {"x-api-key": key}
    del api.http.headers["x-api-key"]
    reply = api.http.post("/api/public/ticket/open/web-whatsapp/qr-main", json={}, headers=headers)
    assert reply.status_code == 401
    assert reply.json() == {"statusCode": 401, "message": "Invalid API key", "error": "Unauthorized"}
    assert sandbox.tickets() == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"to_phone_number": None}, "to_phone_number"),
        ({"to_phone_number": True}, "to_phone_number"),
        ({"to_phone_number": 0}, "to_phone_number"),
        ({"to_phone_number": "123"}, "phone number"),
        ({"to_phone_number": "09123456789"}, "phone number"),
        ({"to_phone_number": "1" * 16}, "phone number"),
        ({"stage_id": None}, "stage_id"),
        ({"stage_id": 7}, "stage_id"),
        ({"contact_name": 7}, "contact_name"),
        ({"email": "no address"}, "email"),
        ({"email": ".a@example.com"}, "email"),
        ({"email": "a..b@example.com"}, "email"),
        ({"email": "a@example"}, "email"),
        ({"contact_metadata": None}, "contact_metadata"),
        ({"ticket_metadata": None}, "ticket_metadata"),
        ({"integration_data": None}, "integration_data"),
        ({"ticket_metadata": []}, "ticket_metadata"),
        ({"message": "text"}, "message"),
        ({"message": {"content": 7}}, "message.content"),
        ({"message": {"content": "a", "ai_generated": "no"}}, "message.ai_generated"),
    ],
)
def test_a_wrong_field_is_400_and_named(api: Api, sandbox: Sandbox, fields: dict[str, Any], named: str) -> None:
    reply = api.open(**fields)
    assert reply.status_code == 400
    assert named in str(reply.json()["message"])
    assert sandbox.tickets() == []


def test_all_problems_come_at_once_in_the_configured_form(api: Api, sandbox: Sandbox) -> None:
    wrong: dict[str, Any] = {"email": "x", "stage_id": None}
    assert api.open(**wrong).json()["message"] == ["stage_id must be a string", "email must be an email"]
    sandbox.configure(error_shape="nest_string")
    assert api.open(**wrong).json()["message"] == "stage_id must be a string; email must be an email"
    sandbox.configure(error_shape="zod")
    errors = api.open(**wrong).json()["errors"]
    assert [error["path"] for error in errors] == [["stage_id"], ["email"]]


def test_metadata_objects_may_be_left_out_when_the_api_is_not_strict(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(strict_required=False)
    api.opened(contact_metadata=None, ticket_metadata=None, integration_data=None)
    sandbox.configure(require_message=True)
    assert api.open(message=None).status_code == 400


@pytest.mark.parametrize("content", ["{", "[]", "7", ""])
def test_a_body_that_is_no_object_is_400(api: Api, content: str) -> None:
    reply = api.http.post(
        "/api/public/ticket/open/web-whatsapp/qr-main", content=content, headers={"Content-Type": "application/json"}
    )
    assert reply.status_code == 400


def test_a_very_long_body_is_413(api: Api, sandbox: Sandbox) -> None:
    reply = api.open(ticket_metadata={"text": "x" * 200_000})
    assert reply.status_code == 413
    assert sandbox.tickets() == []
    sandbox.configure(max_body_bytes=1_000_000)
    api.opened(ticket_metadata={"text": "x" * 200_000})


@pytest.mark.parametrize(
    ("channel", "phone_id"),
    [
        ("web-whatsapp", "nobody"),
        ("web-whatsapp", "1951"),
        ("whatsapp", "qr-main"),
        ("whatsapp", "77"),
        ("web-whatsapp", "a%2Fb"),
    ],
)
def test_an_unknown_phone_id_is_404(api: Api, channel: str, phone_id: str) -> None:
    assert api.open(channel=channel, phone_id=phone_id).status_code == 404


@pytest.mark.parametrize("status", [400, 404])
def test_an_unknown_stage_is_400_or_404_as_configured(api: Api, sandbox: Sandbox, status: int) -> None:
    sandbox.configure(bad_stage_status=status)
    reply = api.open(stage_id="550e8400-e29b-41d4-a716-446655440000")
    assert reply.status_code == status
    assert "stage" in reply.json()["message"].lower()


def test_success_can_be_201(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(success_status=201)
    assert api.open().status_code == 201


def test_an_active_ticket_stays_as_replaced_by_default(api: Api, sandbox: Sandbox) -> None:
    contact = api.opened(ticket_metadata={"n": "1"})
    assert api.opened(ticket_metadata={"n": "2"}) == contact
    assert [(ticket["ticket_metadata"]["n"], ticket["status"]) for ticket in sandbox.tickets()] == [
        ("1", "replaced"),
        ("2", "open"),
    ]
    assert api.info(contact).json()["active_ticket"]["metadata"] == {"n": "2"}
    assert api.info(contact).json()["last_closed_ticket"] is None


def test_an_active_ticket_can_be_moved_instead(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(existing_ticket="move")
    contact = api.opened(ticket_metadata={"a": "1"})
    api.opened(ticket_metadata={"b": "2"}, stage_id=LATE, message={"content": "again", "ai_generated": False})
    (ticket,) = sandbox.tickets()
    assert (ticket["stage_id"], ticket["ticket_metadata"]) == (LATE, {"a": "1", "b": "2"})
    assert api.bodies(contact) == ["Hola", "again"]


def test_an_active_ticket_can_stay_as_it_is_while_the_message_is_sent(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(existing_ticket="keep")
    contact = api.opened(ticket_metadata={"a": "1"})
    api.opened(ticket_metadata={"b": "2"}, stage_id=LATE, message={"content": "again", "ai_generated": False})
    (ticket,) = sandbox.tickets()
    assert (ticket["stage_id"], ticket["ticket_metadata"]) == (NEW, {"a": "1"})
    assert api.bodies(contact) == ["Hola", "again"]


def test_an_active_ticket_can_make_the_request_do_nothing(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(existing_ticket="ignore")
    contact = api.opened()
    assert api.opened(stage_id=LATE) == contact
    assert [ticket["stage_id"] for ticket in sandbox.tickets()] == [NEW]
    assert len(api.bodies(contact)) == 1
    assert [request["effect"] for request in sandbox.requests("open_ticket")] == [True, False]


def test_an_active_ticket_can_be_a_conflict(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(existing_ticket="conflict")
    contact = api.opened()
    assert api.open().status_code == 409
    sandbox.close_ticket(contact)
    assert api.opened() == contact
    assert len(sandbox.tickets()) == 2


@pytest.mark.parametrize("status", [400, 500])
def test_a_disconnected_phone_opens_nothing_or_loses_the_message(api: Api, sandbox: Sandbox, status: int) -> None:
    sandbox.configure(disconnected_phones=["qr-main"], disconnected_status=status)
    assert api.open().status_code == status
    assert sandbox.tickets() == []
    assert api.open(phone_id="qr-second").status_code == 200
    sandbox.configure(disconnected_creates_ticket=True)
    assert api.open(to_phone_number="+56900000001").status_code == status
    assert [ticket["phone"] for ticket in sandbox.tickets()] == ["56912345678", "56900000001"]
    assert len(sandbox.messages()) == 1


def test_the_24_hour_rule_can_be_ignored_or_cost_the_message_or_the_ticket(api: Api, sandbox: Sandbox) -> None:
    official = {"channel": "whatsapp", "phone_id": "1951"}
    api.opened(**official)
    sandbox.configure(session_window="fail")
    contact = api.opened(**official)
    assert [message["status"] for message in sandbox.messages(contact)] == ["sent", "failed"]
    sandbox.configure(session_window="refuse")
    assert api.open(**official).status_code == 400
    assert api.open(**official, message={"templateId": "t", "ai_generated": False}).status_code == 200
    sandbox.customer_replies(contact, "Hi")
    assert api.open(**official).status_code == 200


@pytest.mark.parametrize(
    ("form", "pattern"),
    [("seconds", r"^\d+$"), ("date", r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$"), ("none", None)],
)
def test_the_rate_limit_counts_each_sender(api: Api, sandbox: Sandbox, form: str, pattern: str | None) -> None:
    sandbox.configure(rate_limit="2/hour", retry_after=form)
    assert [api.open().status_code for _ in range(3)] == [200, 200, 429]
    assert api.open(phone_id="qr-second").status_code == 200
    header = api.open().headers.get("Retry-After")
    if pattern is None:
        assert header is None
    else:
        assert re.match(pattern, header)
    assert sandbox.ticket_count == 3


def test_whatsapp_may_know_a_number_under_another_spelling(api: Api, sandbox: Sandbox) -> None:
    sandbox.configure(whatsapp_spelling=True)
    for number in ("+525512345678", "+541112345678", "+5511987654321", PHONE):
        api.opened(to_phone_number=number)
    assert [contact["phone"] for contact in sandbox.contacts()] == [
        "5215512345678",
        "5491112345678",
        "551187654321",
        "56912345678",
    ]


def test_the_clock_can_be_ahead(api: Api, sandbox: Sandbox) -> None:
    api.opened()
    sandbox.configure(clock_skew_seconds=86_400)
    reply = api.open(to_phone_number="+56900000001")
    first, second = (contact["created_at"][:10] for contact in sandbox.contacts())
    assert first < second
    day = str(int(second[8:10]))
    assert f" {day.zfill(2)} " in reply.headers["Date"]
