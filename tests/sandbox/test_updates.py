"""Changing tickets and contacts after they exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.helpers import PHONE

if TYPE_CHECKING:
    from tests.sandbox.helpers import Api
    from vambe_provider.sandbox import Sandbox


def _identifier(sandbox: Sandbox, kind: str) -> dict[str, str]:
    (ticket,) = sandbox.tickets()
    return {kind: {"ticket_id": ticket["id"], "ai_contact_id": ticket["ai_contact_id"], "contact_number": PHONE}[kind]}


@pytest.mark.parametrize("kind", ["ticket_id", "ai_contact_id", "contact_number"])
def test_metadata_are_merged_and_an_amount_is_set(api: Api, sandbox: Sandbox, kind: str) -> None:
    contact = api.opened(ticket_metadata={"a": "1", "b": "1"})
    who = _identifier(sandbox, kind)
    assert api.ticket_metadata(**who, metadata={"b": "2"}).json() == {"status": "ok"}
    assert api.amount(**who, amount=150000, currency="CLP").status_code == 200
    ticket = api.info(contact).json()["active_ticket"]
    assert (ticket["metadata"], ticket["amount"], ticket["currency"]) == ({"a": "1", "b": "2"}, 150000, "CLP")


@pytest.mark.parametrize("kind", ["ticket_id", "ai_contact_id", "contact_number"])
def test_a_closed_ticket_only_when_allowed(api: Api, sandbox: Sandbox, kind: str) -> None:
    sandbox.close_ticket(api.opened())
    who = _identifier(sandbox, kind)
    assert api.ticket_metadata(**who, metadata={"a": "1"}).status_code == 404
    assert api.ticket_metadata(**who, metadata={"a": "1"}, allow_closed_ticket=True).status_code == 200
    assert sandbox.tickets()[0]["ticket_metadata"] == {"a": "1"}


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"a": "1"}},
        {"ai_contact_id": "x", "ticket_id": "y", "metadata": {"a": "1"}},
        {"ai_contact_id": 7, "metadata": {"a": "1"}},
        {"ai_contact_id": "x"},
        {"ai_contact_id": "x", "metadata": {"a": 1}},
        {"ai_contact_id": "x", "metadata": {"a": "1"}, "allow_closed_ticket": "yes"},
    ],
)
def test_a_wrong_metadata_body_is_400(api: Api, body: dict[str, Any]) -> None:
    assert api.ticket_metadata(**body).status_code == 400


def test_nobody_to_update_is_404(api: Api) -> None:
    for who in ({"ticket_id": "x"}, {"ai_contact_id": "x"}, {"contact_number": PHONE}):
        assert api.ticket_metadata(**who, metadata={}).status_code == 404


@pytest.mark.parametrize("amount", [None, "10", True])
def test_a_wrong_amount_is_400(api: Api, sandbox: Sandbox, amount: object) -> None:
    api.opened()
    assert api.amount(contact_number=PHONE, amount=amount).status_code == 400
    sandbox.configure(require_currency=True)
    assert api.amount(contact_number=PHONE, amount=10).status_code == 400


def test_contact_metadata_become_snake_case_in_either_body(api: Api, sandbox: Sandbox) -> None:
    contact = api.opened(contact_metadata={"plan": "gold"})
    reply = api.contact_metadata(contact, {"metadata": {"Customer Since": "2020"}})
    assert [(field["key"], field["value"]) for field in reply.json()] == [("customer_since", "2020")]
    api.contact_metadata(contact, {"lastOrder": "7"})
    assert api.info(contact).json()["metadata"] == {"plan": "gold", "customer_since": "2020", "last_order": "7"}
    sandbox.configure(metadata_body="wrapped")
    assert api.contact_metadata(contact, {"a": "1"}).status_code == 400
    assert api.contact_metadata(contact, ["a"]).status_code == 400


def test_closing_ends_the_active_ticket(api: Api, sandbox: Sandbox) -> None:
    contact = api.opened()
    assert api.close(contact).status_code == 200
    assert sandbox.tickets()[0]["status"] == "closed"
    assert api.info(contact).json()["chat_status"] == "CLOSED"


@pytest.mark.parametrize("status", [200, 400, 404])
def test_closing_without_a_ticket_answers_as_configured(api: Api, sandbox: Sandbox, status: int) -> None:
    sandbox.configure(close_missing_status=status)
    contact = sandbox.seed_contact(PHONE)
    assert api.close(contact).status_code == status
    with pytest.raises(KeyError, match="no active ticket"):
        sandbox.close_ticket(contact)
    with pytest.raises(KeyError, match="no active ticket"):
        sandbox.move_ticket(contact, "Support / Solved")


def test_moving_needs_a_stage_that_exists(api: Api, sandbox: Sandbox) -> None:
    contact = api.opened()
    sandbox.move_ticket(contact, "Support / Solved")
    assert sandbox.tickets()[0]["stage"] == "Support / Solved"
    with pytest.raises(ValueError, match="it has: Support / New"):
        sandbox.move_ticket(contact, "Support / Nowhere")
