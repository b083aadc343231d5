from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from vambe_provider.api import ConnectionSettings, OpenTicket, VambeClient
from vambe_provider.compat import AirflowFailException
from vambe_provider.operators.lifecycle import (
    VambeCloseTicketOperator,
    VambeUpdateContactOperator,
    VambeUpdateTicketOperator,
)

if TYPE_CHECKING:
    from tests.unit.conftest import Connect
    from vambe_provider.sandbox import Sandbox

NOBODY = "0f6e3a52-7a40-4a5b-9e0a-0f5f3e0d7c11"


@pytest.fixture
def contact(vambe_sandbox: Sandbox, connect: Connect) -> str:
    connect()
    settings = ConnectionSettings.from_fields(
        host=vambe_sandbox.url, password=vambe_sandbox.api_key, extra={"phone_id": "qr-main"}
    )
    ticket = OpenTicket(
        to_phone_number="+56961234567",
        stage_id=vambe_sandbox.stage_id("Orders / Late"),
        ticket_metadata={"order_id": "7"},
    )
    with VambeClient(settings) as client:
        return client.open_ticket(ticket).ai_contact_id


def writes(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return the writes after the ticket itself."""
    return [item for item in sandbox.requests() if item["method"] == "POST" and item["endpoint"] != "open_ticket"]


class TestClose:
    @pytest.mark.parametrize("form", ["id", "result"])
    def test_it_closes_once(self, vambe_sandbox: Sandbox, contact: str, form: str) -> None:
        given = contact if form == "id" else {"ai_contact_id": contact, "outcome": "opened"}
        operator = VambeCloseTicketOperator(task_id="close", ai_contact_id=given)
        assert operator.execute({}) == {"ai_contact_id": contact, "outcome": "closed"}
        assert operator.execute({}) == {"ai_contact_id": contact, "outcome": "no_active_ticket"}
        assert len(writes(vambe_sandbox)) == 1
        assert vambe_sandbox.tickets()[0]["closed_at"]

    def test_a_reply_that_got_lost_does_not_close_the_next_try_twice(
        self, vambe_sandbox: Sandbox, contact: str
    ) -> None:
        vambe_sandbox.fault("close_ticket", kind="drop", when="after")
        operator = VambeCloseTicketOperator(task_id="close", ai_contact_id=contact)
        with pytest.raises(Exception, match="It may have been sent"):
            operator.execute({})
        assert operator.execute({})["outcome"] == "no_active_ticket"

    def test_nothing_to_close_can_be_an_error(self, contact: str) -> None:
        VambeCloseTicketOperator(task_id="close", ai_contact_id=contact).execute({})
        with pytest.raises(AirflowFailException, match="no active ticket"):
            VambeCloseTicketOperator(task_id="close", ai_contact_id=contact, missing_ok="False").execute({})

    def test_a_contact_that_does_not_exist_is_named(self, vambe_sandbox: Sandbox, contact: str) -> None:
        with pytest.raises(AirflowFailException, match=f"There is no contact {NOBODY}"):
            VambeCloseTicketOperator(task_id="close", ai_contact_id=NOBODY).execute({})
        assert writes(vambe_sandbox) == []

    @pytest.mark.parametrize("given", ["", "None", "..", [NOBODY, "x"], {"rows": 1}])
    def test_what_is_no_contact_sends_nothing(self, vambe_sandbox: Sandbox, contact: str, given: Any) -> None:
        with pytest.raises(AirflowFailException, match="ai_contact_id"):
            VambeCloseTicketOperator(task_id="close", ai_contact_id=given).execute({})
        assert writes(vambe_sandbox) == []


class TestUpdateTicket:
    def test_metadata_and_amount(self, vambe_sandbox: Sandbox, contact: str) -> None:
        operator = VambeUpdateTicketOperator(
            task_id="update",
            ai_contact_id={"ai_contact_id": contact},
            metadata={"carrier": "Chilexpress", "days": 3, "note": None},
            amount=Decimal("15990.50"),
            currency="clp",
        )
        assert operator.execute({}) == {"updated": ["metadata", "amount"]}
        assert operator.execute({}) == {"updated": ["metadata", "amount"]}
        [ticket] = vambe_sandbox.tickets()
        assert ticket["ticket_metadata"] == {"order_id": "7", "carrier": "Chilexpress", "days": "3"}
        assert (ticket["amount"], ticket["currency"]) == (15990.5, "CLP")

    def test_what_a_template_leaves_as_text(self, vambe_sandbox: Sandbox, contact: str) -> None:
        VambeUpdateTicketOperator(
            task_id="update", ai_contact_id=contact, ticket_id="None", metadata="{'days': 3}", amount="1500"
        ).execute({})
        [ticket] = vambe_sandbox.tickets()
        assert (ticket["ticket_metadata"]["days"], ticket["amount"]) == ("3", 1500)

    @pytest.mark.parametrize("by", ["ticket_id", "contact_number"])
    def test_the_ticket_can_be_named_in_other_ways(self, vambe_sandbox: Sandbox, contact: str, by: str) -> None:
        names = {"ticket_id": vambe_sandbox.tickets()[0]["id"], "contact_number": "+56961234567"}
        VambeUpdateTicketOperator(task_id="update", metadata={"a": "b"}, **{by: names[by]}).execute({})
        assert vambe_sandbox.tickets()[0]["ticket_metadata"]["a"] == "b"

    def test_a_closed_ticket_is_only_changed_when_that_is_wanted(self, vambe_sandbox: Sandbox, contact: str) -> None:
        vambe_sandbox.close_ticket(contact)
        with pytest.raises(AirflowFailException):
            VambeUpdateTicketOperator(task_id="update", ai_contact_id=contact, metadata={"a": "b"}).execute({})
        VambeUpdateTicketOperator(
            task_id="update", ai_contact_id=contact, metadata={"a": "b"}, allow_closed_ticket="true"
        ).execute({})
        assert vambe_sandbox.tickets()[0]["ticket_metadata"]["a"] == "b"

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({}, "metadata, amount: there is nothing to write"),
            ({"metadata": {"a": None}}, "metadata, amount: there is nothing to write"),
            ({"metadata": {"a": 1}, "amount": "much"}, "amount: is not a number"),
            ({"metadata": {"a": 1}, "amount": 1, "ticket_id": "t"}, "exactly one of them is needed"),
            ({"metadata": "a=1"}, "metadata: a dict is needed"),
        ],
    )
    def test_a_mistake_leaves_nothing_half_written(
        self, vambe_sandbox: Sandbox, contact: str, arguments: dict[str, Any], text: str
    ) -> None:
        with pytest.raises(AirflowFailException, match=text):
            VambeUpdateTicketOperator(task_id="update", ai_contact_id=contact, **arguments).execute({})
        assert writes(vambe_sandbox) == []


class TestUpdateContact:
    def test_it_writes_custom_fields(self, vambe_sandbox: Sandbox, contact: str) -> None:
        operator = VambeUpdateContactOperator(
            task_id="update", ai_contact_id=contact, metadata={"plan": "gold", "since": 2024, "gone": None}
        )
        assert operator.execute({}) == {"ai_contact_id": contact, "updated": ["plan", "since"]}
        assert vambe_sandbox.contacts()[0]["metadata"] == {"plan": "gold", "since": "2024"}

    @pytest.mark.parametrize("metadata", [{}, {"a": None}, "[1]"])
    def test_nothing_to_write_is_an_error(self, vambe_sandbox: Sandbox, contact: str, metadata: Any) -> None:
        with pytest.raises(AirflowFailException, match="metadata"):
            VambeUpdateContactOperator(task_id="update", ai_contact_id=contact, metadata=metadata).execute({})
        assert writes(vambe_sandbox) == []


@pytest.mark.parametrize("operator", [VambeCloseTicketOperator, VambeUpdateTicketOperator, VambeUpdateContactOperator])
def test_every_argument_is_templated(operator: Any) -> None:
    from inspect import signature

    own = {name for name in signature(operator.__init__).parameters if name not in ("self", "kwargs")}
    assert own | {"vambe_conn_id"} == set(operator.template_fields)


def test_results_are_plain_json(contact: str) -> None:
    found = VambeUpdateContactOperator(task_id="u", ai_contact_id=contact, metadata={"a": 1}).execute({})
    assert json.loads(json.dumps(found)) == found
