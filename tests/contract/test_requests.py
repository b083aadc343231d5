"""What arrives at the API: paths, headers and bodies, for both clients."""

from __future__ import annotations

import json
import logging
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote
from uuid import UUID

import pytest

from tests.contract.given import EMAIL, KEY, OPENED, PHONE, TICKET, settings_for
from tests.contract.wire import WireServer, reply, reset
from vambe_provider import __version__
from vambe_provider.api import parse_ticket
from vambe_provider.exceptions import VambeConfigError, VambeError, VambeValidationError

if TYPE_CHECKING:
    from tests.contract.conftest import Act, Run

STAGE = "550e8400-e29b-41d4-a716-446655440000"
EMPTY: dict[str, Any] = {"contact_metadata": {}, "ticket_metadata": {}, "integration_data": {}}

# The five uses of the endpoint page: what a pipeline holds, and the body that the page documents. The three metadata
# objects are always there, and metadata are text, as the page's own examples make them.
USES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "contact form": (
        {
            "to_phone_number": "56912345678",
            "stage_id": STAGE,
            "contact_name": "Maria",
            "email": EMAIL,
            "contact_metadata": {
                "form_source": "contact_page",
                "submission_date": datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
            },
            "ticket_metadata": {"subject": "Facturación", "message": "No llegó"},
            "message": {
                "content": "Hola Maria! Hemos recibido tu mensaje y te responderemos pronto.",
                "ai_generated": False,
            },
        },
        {
            "to_phone_number": PHONE,
            "stage_id": STAGE,
            "contact_name": "Maria",
            "email": EMAIL,
            "contact_metadata": {"form_source": "contact_page", "submission_date": "2026-11-22T09:30:00+00:00"},
            "ticket_metadata": {"subject": "Facturación", "message": "No llegó"},
            "integration_data": {},
            "message": {
                "content": "Hola Maria! Hemos recibido tu mensaje y te responderemos pronto.",
                "ai_generated": False,
            },
        },
    ),
    "order": (
        {
            "to_phone_number": 56912345678,
            "stage_id": STAGE,
            "contact_name": "Maria",
            "email": EMAIL,
            "contact_metadata": {"customer_since": date(2024, 1, 31), "lifetime_value": Decimal("1234.50")},
            "ticket_metadata": {
                "order_id": UUID(int=7),
                "order_total": 24990,
                "items": 2,
                "payment_method": "card",
                "gift": True,
                "coupon": None,
                "lines": [{"sku": "ñ1", "price": Decimal("9.90")}],
            },
            "integration_data": {"shopify_order_id": 820982911946154508, "tracking_number": "CL1"},
            "message": "¡Hola Maria! Tu pedido #1 ha sido confirmado y será enviado pronto. Total: $24990",
        },
        {
            "to_phone_number": PHONE,
            "stage_id": STAGE,
            "contact_name": "Maria",
            "email": EMAIL,
            "contact_metadata": {"customer_since": "2024-01-31", "lifetime_value": "1234.50"},
            "ticket_metadata": {
                "order_id": "00000000-0000-0000-0000-000000000007",
                "order_total": "24990",
                "items": "2",
                "payment_method": "card",
                "gift": "true",
                "lines": '[{"sku": "ñ1", "price": "9.90"}]',
            },
            "integration_data": {"shopify_order_id": "820982911946154508", "tracking_number": "CL1"},
            "message": {
                "content": "¡Hola Maria! Tu pedido #1 ha sido confirmado y será enviado pronto. Total: $24990",
                "ai_generated": False,
            },
        },
    ),
    "escalation": (
        {
            "to_phone_number": "+56 9 1234-5678",
            "stage_id": STAGE,
            "contact_name": "Maria",
            "email": EMAIL,
            "ticket_metadata": {"escalation_reason": "refund", "priority": "urgent", "original_system": "zendesk"},
            "message": {"content": "Hola Maria, hemos escalado tu caso a soporte técnico."},
        },
        {
            "to_phone_number": PHONE,
            "stage_id": STAGE,
            "contact_name": "Maria",
            "email": EMAIL,
            **EMPTY,
            "ticket_metadata": {"escalation_reason": "refund", "priority": "urgent", "original_system": "zendesk"},
            "message": {"content": "Hola Maria, hemos escalado tu caso a soporte técnico.", "ai_generated": False},
        },
    ),
    "no first message": (
        {"to_phone_number": PHONE, "stage_id": STAGE, "message": None},
        {"to_phone_number": PHONE, "stage_id": STAGE, **EMPTY},
    ),
    "smart template": (
        {
            "to_phone_number": PHONE,
            "stage_id": STAGE,
            "contact_name": "Maria",
            "message": {"templateId": "tpl-1", "content": "Maria", "ai_generated": False},
        },
        {
            "to_phone_number": PHONE,
            "stage_id": STAGE,
            "contact_name": "Maria",
            **EMPTY,
            "message": {"templateId": "tpl-1", "content": "Maria", "ai_generated": False},
        },
    ),
}


@pytest.mark.parametrize("use", USES)
def test_the_body_of_each_documented_use(use: str, run: Run, wire: WireServer) -> None:
    given, documented = USES[use]
    wire.steps = [reply(OPENED)]
    run(settings_for(wire), lambda client: client.open_ticket(parse_ticket(given)))
    (seen,) = wire.seen
    assert json.loads(seen.body) == documented
    assert (seen.method, seen.target) == ("POST", "/api/public/ticket/open/web-whatsapp/qr-main")
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["x-api-key"] == KEY
    assert seen.headers["user-agent"].startswith(f"airflow-provider-vambe/{__version__} ")


ID = "df980fc8-b6db-4820-bf22-2969482d106d"
SANTIAGO = timezone(timedelta(hours=-3))
CALLS: dict[str, tuple[Act, str, str, Any]] = {
    "open over whatsapp": (
        lambda client: client.open_ticket(TICKET, phone_id="1951", channel="whatsapp"),
        "POST",
        "/api/public/ticket/open/whatsapp/1951",
        TICKET.body(),
    ),
    "close": (lambda client: client.close_ticket(ID), "POST", f"/api/public/ticket/close/contact/{ID}", {}),
    "pipelines": (lambda client: client.get_pipelines(), "GET", "/api/public/pipeline", None),
    "channel": (lambda client: client.get_channel(), "GET", "/api/public/channels/web-whatsapp", None),
    "other channel": (lambda client: client.get_channel("instagram"), "GET", "/api/public/channels/instagram", None),
    "contact": (lambda client: client.get_contact(ID), "GET", f"/api/public/contact/{ID}/info", None),
    "search": (
        lambda client: client.search_contacts(phone="+56 9 1234-5678", email="a+b@example.com"),
        "GET",
        "/api/public/contacts/search?phone=56912345678&email=a%2Bb%40example.com",
        None,
    ),
    "list": (
        lambda client: client.list_contacts(
            updated_after=datetime(2026, 11, 22, 9, tzinfo=SANTIAGO), pipeline_id="p/1"
        ),
        "GET",
        "/api/public/contacts?updated_after=2026-11-22T12%3A00%3A00.000Z&pipeline_id=p%2F1&limit=200&offset=0",
        None,
    ),
    "list by days": (
        lambda client: client.list_contacts(days=7, custom_field_key="k", custom_field_value="ñ &", page_size=1000),
        "GET",
        "/api/public/contacts?days=7&custom_field_key=k&custom_field_value=%C3%B1%20%26&limit=1000&offset=0",
        None,
    ),
    "list by a custom field": (
        lambda client: client.list_contacts(
            created_after="2026-11-22", custom_field_key="mark", custom_field_value="k:1"
        ),
        "GET",
        "/api/public/contacts?created_after=2026-11-22&custom_field_key=mark&custom_field_value=k%3A1&limit=200&offset=0",
        None,
    ),
    "messages": (lambda client: client.get_messages(ID), "GET", f"/api/public/contact/v2/{ID}/messages?page=1", None),
    "contact metadata": (
        lambda client: client.update_contact_metadata(ID, {"score": 7, "gone": None}),
        "POST",
        f"/api/public/contact/{ID}/update-metadata",
        {"metadata": {"score": "7"}},
    ),
    "ticket metadata": (
        lambda client: client.update_ticket_metadata({"paid": True}, ticket_id=ID),
        "POST",
        "/api/public/ticket/metadata",
        {"ticket_id": ID, "metadata": {"paid": "true"}, "allow_closed_ticket": False},
    ),
    "ticket metadata by number": (
        lambda client: client.update_ticket_metadata({"a": "b"}, contact_number=56912345678, allow_closed_ticket=True),
        "POST",
        "/api/public/ticket/metadata",
        {"contact_number": PHONE, "metadata": {"a": "b"}, "allow_closed_ticket": True},
    ),
    "amount": (
        lambda client: client.update_ticket_amount(Decimal("150000.00"), currency=" clp ", ai_contact_id=ID),
        "POST",
        "/api/public/ticket/amount",
        {"ai_contact_id": ID, "amount": 150000, "currency": "CLP", "allow_closed_ticket": False},
    ),
    "amount as text": (
        lambda client: client.update_ticket_amount("10.5", ai_contact_id=ID),
        "POST",
        "/api/public/ticket/amount",
        {"ai_contact_id": ID, "amount": 10.5, "allow_closed_ticket": False},
    ),
    "an id that wants to be a path": (
        lambda client: client.get_contact("../../ticket/close?x=1#é%2e"),
        "GET",
        "/api/public/contact/..%2F..%2Fticket%2Fclose%3Fx%3D1%23%C3%A9%252e/info",
        None,
    ),
    "a sender that wants to be a path": (
        lambda client: client.open_ticket(TICKET, phone_id="../whatsapp/1"),
        "POST",
        "/api/public/ticket/open/web-whatsapp/..%2Fwhatsapp%2F1",
        TICKET.body(),
    ),
}


def meaning(target: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the decoded segments and parameters; aiohttp writes some characters plainly that httpx encodes."""
    path, _, query = target.partition("?")
    return [unquote(part) for part in path.split("/")], parse_qsl(query, strict_parsing=bool(query))


@pytest.mark.parametrize("name", CALLS)
def test_where_a_call_goes_and_what_it_carries(name: str, run: Run, wire: WireServer) -> None:
    act, method, target, body = CALLS[name]
    wire.steps = [reply('{"message": "no"}', status="400 Bad Request")]
    run(settings_for(wire, base_url=f"{wire.url}/gateway/v2/"), act)
    (seen,) = wire.seen
    assert seen.method == method
    assert meaning(seen.target) == meaning(f"/gateway/v2{target}")
    assert (json.loads(seen.body) if seen.body else None) == body
    assert seen.headers["x-api-key"] == KEY
    assert KEY not in seen.target


REFUSED_CALLS: dict[str, Act] = {
    "whatsapp with a QR id": lambda client: client.open_ticket(TICKET, channel="whatsapp"),
    "whatsapp with a number": lambda client: client.open_ticket(TICKET, phone_id="+56911112222", channel="whatsapp"),
    "no such channel": lambda client: client.open_ticket(TICKET, channel="sms"),
    "dot segment": lambda client: client.get_contact(".."),
    "empty id": lambda client: client.close_ticket(" "),
    "null id": lambda client: client.close_ticket(None),
    "half of a surrogate pair as id": lambda client: client.get_contact("a\ud83d"),
    "half of a surrogate pair as sender": lambda client: client.open_ticket(TICKET, phone_id="a\ud83d"),
    "half of a surrogate pair as e-mail": lambda client: client.search_contacts(email="a\ud83d"),
    "half of a surrogate pair as filter": lambda client: client.list_contacts(days=1, stage_id="a\ud83d"),
    "half of a surrogate pair as ticket": lambda client: client.update_ticket_metadata({"a": 1}, ticket_id="\ud83d"),
    "half of a surrogate pair as currency": lambda client: client.update_ticket_amount(
        1, ticket_id="t", currency="\ud83d"
    ),
    "half of a surrogate pair as name": lambda client: client.update_contact_metadata("c", {"\ud83d": 1}),
    "a number as channel": lambda client: client.open_ticket(TICKET, channel=1),
    "metadata is a list": lambda client: client.update_contact_metadata("c", ["a"]),
    "no page at all": lambda client: client.list_contacts(days=1, max_pages=0),
    "neither request nor dict": lambda client: client.open_ticket(["x"]),
    "control character": lambda client: client.get_messages("a\r\nX-Injected: 1"),
    "nothing to search for": lambda client: client.search_contacts(phone="+", email=" "),
    "list without a time": lambda client: client.list_contacts(stage_id="s"),
    "too many days": lambda client: client.list_contacts(days=366),
    "half a custom field": lambda client: client.list_contacts(days=1, custom_field_key="k"),
    "no time zone": lambda client: client.list_contacts(created_after=datetime.fromisoformat("2026-01-01")),
    "an empty time": lambda client: client.list_contacts(created_after=" "),
    "page too large": lambda client: client.list_contacts(days=1, page_size=1001),
    "two ids": lambda client: client.update_ticket_metadata({"a": 1}, ticket_id="t", ai_contact_id="c"),
    "no id": lambda client: client.update_ticket_amount(1),
    "nothing to set": lambda client: client.update_contact_metadata("c", {"a": None}),
    "unsendable metadata": lambda client: client.update_contact_metadata("c", {"a": object()}),
    "amount is text": lambda client: client.update_ticket_amount("much", ticket_id="t"),
    "amount is true": lambda client: client.update_ticket_amount(True, ticket_id="t"),
    "amount has no end": lambda client: client.update_ticket_amount(float("inf"), ticket_id="t"),
}


@pytest.mark.parametrize("name", REFUSED_CALLS)
def test_a_call_that_makes_no_sense_sends_nothing(name: str, run: Run, wire: WireServer) -> None:
    wire.steps = [reply(OPENED)]
    (error,) = run(settings_for(wire), REFUSED_CALLS[name])
    assert isinstance(error, (VambeConfigError, VambeValidationError)), error
    assert (error.sent, error.permanent) == ("no", True)
    assert wire.seen == []


def test_a_sender_has_to_come_from_somewhere(run: Run, wire: WireServer) -> None:
    (error,) = run(settings_for(wire, phone_id=None), lambda client: client.open_ticket(TICKET))
    assert isinstance(error, VambeConfigError)
    assert "phone_id" in str(error)


def test_nothing_is_stored_between_calls(run: Run, wire: WireServer) -> None:
    wire.steps = [reply("[]", Set_Cookie="session=1; Path=/")]
    run(settings_for(wire), *[lambda client: client.get_pipelines()] * 2)
    assert ["cookie" in seen.headers for seen in wire.seen] == [False, False]
    assert {seen.connection for seen in wire.seen} == {1}, "one connection serves both"


def test_no_log_line_and_no_traceback_shows_anything_personal(
    run: Run, wire: WireServer, caplog: pytest.LogCaptureFixture
) -> None:
    import traceback

    said = json.dumps({"message": f"{PHONE} ({EMAIL}), key {KEY}: Hola Maria! Hemos recibido tu"})
    wire.steps = [reply(said, status="422 Unprocessable"), reply(OPENED), reply("[]"), reset()]
    # Airflow keeps some libraries quiet, and who uses the client without Airflow does not.
    for name in list(logging.root.manager.loggerDict):
        caplog.set_level(logging.INFO, logger=name)
    with caplog.at_level(logging.INFO):
        results = run(
            settings_for(wire),
            lambda client: client.open_ticket(TICKET),
            lambda client: client.open_ticket(TICKET),
            lambda client: client.search_contacts(phone=PHONE, email=EMAIL),
            lambda client: client.search_contacts(phone=PHONE, email=EMAIL),
        )
    errors = [result for result in results if isinstance(result, VambeError)]
    assert len(errors) == 2
    shown = [record.getMessage() for record in caplog.records if record.name != "asyncio"]
    shown += [repr(result) for result in results]
    shown += ["".join(traceback.format_exception(error)) for error in errors]
    assert "422" in "".join(shown)
    for secret in (PHONE[1:], "maria", "example.com", KEY, "Hola"):
        assert secret not in "".join(shown)
