from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from vambe_provider.api import ConnectionSettings, OpenTicket, VambeClient
from vambe_provider.compat import AIRFLOW_V_3_3_PLUS, AirflowFailException
from vambe_provider.exceptions import VambeDeliveryError, VambeMaybeSentError
from vambe_provider.operators import own_ticket
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
        ticket_id = vambe_sandbox.tickets()[0]["id"]
        assert operator.execute({}) == {"ai_contact_id": contact, "ticket_id": ticket_id, "outcome": "closed"}
        assert operator.execute({})["outcome"] == "no_active_ticket"
        assert len(writes(vambe_sandbox)) == 1
        assert vambe_sandbox.tickets()[0]["closed_at"]

    def test_a_reply_that_got_lost_is_looked_up(self, vambe_sandbox: Sandbox, contact: str) -> None:
        vambe_sandbox.fault("close_ticket", kind="drop", when="after")
        operator = VambeCloseTicketOperator(task_id="close", ai_contact_id=contact)
        assert operator.execute({})["outcome"] == "closed"
        assert operator.execute({})["outcome"] == "no_active_ticket"
        assert len(writes(vambe_sandbox)) == 1

    def test_a_request_that_got_lost_is_for_a_task_retry(self, vambe_sandbox: Sandbox, contact: str) -> None:
        vambe_sandbox.fault("close_ticket", kind="drop", when="before")
        operator = VambeCloseTicketOperator(task_id="close", ai_contact_id=contact)
        with pytest.raises(VambeMaybeSentError):
            operator.execute({})
        assert operator.execute({})["outcome"] == "closed"

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


class TestWhoseTicket:
    """Closing and updating touch the ticket that the task was given, and nobody else's."""

    @pytest.fixture(autouse=True)
    def no_pauses(self, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
        connect()
        monkeypatch.setattr(own_ticket, "LATE", (0.01, 0.01))

    def opened(self, sandbox: Sandbox, mark: str = "d" * 32, **fields: Any) -> dict[str, Any]:
        """Open a ticket as the operator does, and return what it hands on."""
        before = now()
        settings = ConnectionSettings.from_fields(
            host=sandbox.url, password=sandbox.api_key, extra={"phone_id": "qr-main"}
        )
        ticket = OpenTicket(
            to_phone_number="+56961234567",
            stage_id=sandbox.stage_id("Support / New"),
            ticket_metadata={"airflow_ticket_key": mark},
        )
        with VambeClient(settings) as client:
            contact = client.open_ticket(ticket).ai_contact_id
        return {"ai_contact_id": contact, "mark": mark, "opened_at": before, "opened_until": now(), **fields}

    def close(self, given: Any, **context: Any) -> str:
        operator = VambeCloseTicketOperator(task_id="close", ai_contact_id=given)
        outcome: str = operator.execute(cast("Any", context))["outcome"]
        return outcome

    def test_a_ticket_that_somebody_opened_since_stays_open(self, vambe_sandbox: Sandbox) -> None:
        ours = self.opened(vambe_sandbox)
        vambe_sandbox.close_ticket(ours["ai_contact_id"])
        self.opened(vambe_sandbox, mark="e" * 32)
        assert self.close(ours) == "no_active_ticket"
        with pytest.raises(AirflowFailException):
            VambeCloseTicketOperator(task_id="close", ai_contact_id=ours, missing_ok=False).execute({})
        assert [ticket["closed_at"] is None for ticket in vambe_sandbox.tickets()] == [False, True]
        assert writes(vambe_sandbox) == []

    def test_it_is_told_by_time_where_marks_are_not_shown(self, vambe_sandbox: Sandbox) -> None:
        vambe_sandbox.configure(metadata_visible="no", clock_skew_seconds=-3600)
        ours = self.opened(vambe_sandbox, opened_at=now(-3601), opened_until=now(-3599))
        vambe_sandbox.configure(clock_skew_seconds=0)
        vambe_sandbox.close_ticket(ours["ai_contact_id"])
        theirs = self.opened(vambe_sandbox, mark="e" * 32)
        assert self.close(ours) == "no_active_ticket"
        assert self.close(theirs) == "closed"

    def test_a_contact_that_never_had_a_ticket_has_none_to_close(self, vambe_sandbox: Sandbox) -> None:
        assert self.close(vambe_sandbox.seed_contact("+56961111111")) == "no_active_ticket"

    @pytest.mark.parametrize("status", [400, 404])
    def test_a_ticket_that_is_closed_between_the_look_and_the_request(
        self, vambe_sandbox: Sandbox, status: int
    ) -> None:
        vambe_sandbox.configure(close_missing_status=status)
        ours = self.opened(vambe_sandbox)
        vambe_sandbox.fault("close_ticket", kind="hang")
        with ThreadPoolExecutor() as pool:
            closing = pool.submit(self.close, ours)
            vambe_sandbox.wait_for(lambda sandbox: sandbox.hanging == 1)
            vambe_sandbox.close_ticket(ours["ai_contact_id"])
            vambe_sandbox.release()
            assert closing.result() == "no_active_ticket"

    def test_a_refusal_while_the_ticket_is_open_is_an_error(self, vambe_sandbox: Sandbox) -> None:
        ours = self.opened(vambe_sandbox)
        vambe_sandbox.fault("close_ticket", kind="status", status=400)
        with pytest.raises(AirflowFailException, match="answered 400"):
            self.close(ours)

    def test_a_merged_contact_is_followed_only_to_the_same_ticket(self, vambe_sandbox: Sandbox) -> None:
        vambe_sandbox.configure(merged_contacts="followed")
        ours = self.opened(vambe_sandbox)
        kept = vambe_sandbox.seed_contact("+56961111111")
        vambe_sandbox.merge_contacts(ours["ai_contact_id"], into=kept)
        with pytest.raises(AirflowFailException, match="was merged into"):
            self.close(ours["ai_contact_id"])
        assert writes(vambe_sandbox) == []
        assert self.close(ours) == "closed"

    @pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="older Airflow keeps nothing between two tries")
    def test_a_retry_does_not_close_a_ticket_of_between_the_tries(self, vambe_sandbox: Sandbox) -> None:
        store = Store()
        contact = self.opened(vambe_sandbox)["ai_contact_id"]
        assert self.close(contact, task_state_store=store) == "closed"
        self.opened(vambe_sandbox, mark="e" * 32)
        assert self.close(contact, task_state_store=store) == "no_active_ticket"
        assert vambe_sandbox.tickets()[1]["closed_at"] is None

    def test_what_is_not_shown_yet_is_for_a_task_retry(self, vambe_sandbox: Sandbox) -> None:
        earlier = self.opened(vambe_sandbox, mark="e" * 32)
        assert [self.close(earlier) for _ in range(4)] == ["closed", *["no_active_ticket"] * 3]
        vambe_sandbox.configure(visible_after_reads=3)
        ours = self.opened(vambe_sandbox)
        with pytest.raises(VambeDeliveryError, match="does not show the ticket of this run yet"):
            self.close(ours)
        assert self.close(ours) == "closed"

    def test_values_go_to_the_ticket_that_was_given(self, vambe_sandbox: Sandbox) -> None:
        ours = self.opened(vambe_sandbox)
        VambeUpdateTicketOperator(task_id="u", ai_contact_id=ours, metadata={"a": "1"}, amount=5).execute({})
        vambe_sandbox.close_ticket(ours["ai_contact_id"])
        self.opened(vambe_sandbox, mark="e" * 32)
        with pytest.raises(AirflowFailException):
            VambeUpdateTicketOperator(task_id="u", ai_contact_id=ours, metadata={"a": "2"}).execute({})
        VambeUpdateTicketOperator(
            task_id="u", ai_contact_id=ours, metadata={"a": "3"}, allow_closed_ticket=True
        ).execute({})
        first, second = vambe_sandbox.tickets()
        assert (first["ticket_metadata"]["a"], first["amount"]) == ("3", 5)
        assert "a" not in second["ticket_metadata"]


class TestTheLogSaysWhatWasDone:
    def test_closed_or_not(self, contact: str, logged: Callable[[], str]) -> None:
        operator = VambeCloseTicketOperator(task_id="close", ai_contact_id=contact)
        operator.execute({})
        assert f"of contact {contact}" in (said := logged())
        assert "Closed the ticket" in said
        operator.execute({})
        assert "nothing was closed" in logged()

    def test_written(self, contact: str, logged: Callable[[], str]) -> None:
        VambeUpdateTicketOperator(task_id="u", ai_contact_id=contact, metadata={"a": "private"}, amount=5).execute({})
        VambeUpdateContactOperator(task_id="u", ai_contact_id=contact, metadata={"a": "private"}).execute({})
        said = logged()
        assert f"Wrote metadata and amount to the ticket {contact}" in said
        assert f"Wrote 1 fields of contact {contact}" in said
        assert "private" not in said


class Store(dict[str, Any]):
    """Stands in for Airflow's task state store, which only a task runner has."""

    def set(self, key: str, value: Any, **_: Any) -> None:
        self[key] = value


def now(seconds: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


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
            ({"metadata": {"a": 1}, "amount": "1_000", "currency": "CLP"}, "amount: is not a number"),
            ({"metadata": {"a": 1}, "amount": "1,000"}, "amount: is not a number"),
            ({"metadata": {"a": 1}, "amount": True}, "amount: is not a number"),
            ({"metadata": {"a": 1}, "amount": 1, "currency": 123}, "currency: is not three letters"),
            ({"metadata": {"a": 1}, "amount": 1, "currency": "pesos"}, "currency: is not three letters"),
            ({"metadata": {"a": 1}, "ai_contact_id": None, "ticket_id": "null"}, "ticket_id: the id is empty"),
            ({"metadata": {"a": 1}, "ai_contact_id": None, "ticket_id": "a,b"}, "ticket_id: this cannot be an id"),
            ({"metadata": {"a": 1}, "ai_contact_id": None, "ticket_id": 17}, "ticket_id: the id is of the type int"),
            ({"metadata": {"a": 1}, "ai_contact_id": "null"}, "ai_contact_id: the id is empty"),
        ],
    )
    def test_a_mistake_leaves_nothing_half_written(
        self, vambe_sandbox: Sandbox, contact: str, arguments: dict[str, Any], text: str
    ) -> None:
        with pytest.raises(AirflowFailException, match=text):
            VambeUpdateTicketOperator(task_id="update", **{"ai_contact_id": contact, **arguments}).execute({})
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
