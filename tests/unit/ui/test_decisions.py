"""What a person decides on the page, and where it is recorded."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.planted import ACCOUNT
from tests.unit.ui.conftest import CONN_ID, SAME_SITE, needs_page
from vambe_provider.delivery.ledger.decisions import Choice
from vambe_provider.delivery.model import State
from vambe_provider.exceptions import VambeError

if TYPE_CHECKING:
    from httpx import Response

    from tests.support.planted import Planted
    from tests.unit.ui.conftest import Browser

pytestmark = needs_page

EXPECTED = {
    (State.UNKNOWN, Choice.SENT): "opened",
    (State.UNKNOWN, Choice.NOT_SENT): "failed",
    (State.UNKNOWN, Choice.NEVER): "suppressed",
    (State.REJECTED, Choice.RETRY): "failed",
    (State.REJECTED, Choice.NEVER): "suppressed",
    (State.FAILED, Choice.NEVER): "suppressed",
    (State.POSTPONED, Choice.NEVER): "suppressed",
    (State.SUPPRESSED, Choice.NEVER): "suppressed",
}
UNDECIDED: list[dict[str, Any]] = [{"sent": "maybe", "closed_at": None}]


def shown(client: Any, key: str) -> str:
    """Return the page of a ticket."""
    reply = client.get("/vambe/ticket", params={"ledger": CONN_ID, "key": key, "account": ACCOUNT})
    assert reply.status_code == 200
    return str(reply.text)


def seen(page: str, key: str) -> str:
    """Return what a page says about the moment of a ticket."""
    [found] = re.findall(rf'data-ticket="{key}"[^>]*?data-seen="([^"]*)"', page)
    return unescape(found)


def decide(client: Any, choice: str, *tickets: tuple[str, str], contact: str | None = None) -> Response:
    """Ask for a decision as the page does.

    :param tickets: keys, each with what was seen of it.
    """
    meant = [{"key": key, "account": ACCOUNT, "seen": at} for key, at in tickets]
    body = {"ledger": CONN_ID, "decision": choice, "tickets": meant, "contact": contact}
    reply: Response = client.post("/vambe/decide", json=body, headers=SAME_SITE)
    return reply


@pytest.fixture(autouse=True)
def _empty_audit_log(server: Any) -> None:
    from airflow.models import Log
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    with create_session() as session:
        session.execute(delete(Log).where(Log.event == "vambe_ticket"))


def audit(key: str) -> list[Any]:
    """Return what Airflow's audit log has about a ticket."""
    from airflow.models import Log
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(Log).where(Log.event == "vambe_ticket").order_by(Log.id)).all()
        session.expunge_all()
    return [entry for entry in found if json.loads(entry.extra or "{}")["ticket_key"] == key]


@pytest.mark.parametrize(("state", "choice"), EXPECTED)
def test_a_decision_changes_the_ticket_and_bears_the_name(
    ledger: Planted, browser: Browser, state: State, choice: Choice
) -> None:
    key = ledger.ticket("order_id=1", state, tries=UNDECIDED if state == State.UNKNOWN else [{}])
    uma = browser("uma")

    reply = decide(uma, choice, (key, seen(shown(uma, key), key)))

    assert (reply.status_code, ledger.state(key)) == (200, EXPECTED[state, choice]), reply.text
    assert reply.json()["message"].startswith("order_id=1: ")
    last = ledger.tries(key)[-1]
    assert (last["decision"], last["decided_by"]) == (choice.value, "uma")
    [entry] = audit(key)
    assert (entry.owner, entry.dag_id) == ("uma", "late_orders")
    assert entry.run_id == "scheduled__2026-01-01T00:00:00+00:00"
    assert json.loads(entry.extra)["decision"] == choice.value
    assert "by <strong>uma</strong>" in shown(uma, key)


@pytest.mark.parametrize("state", State)
def test_the_page_offers_what_the_ledger_accepts(ledger: Planted, browser: Browser, state: State) -> None:
    from vambe_provider.delivery.ledger.admin import LedgerAdmin
    from vambe_provider.ui.decisions import carry_out

    tries = UNDECIDED if state in (State.UNKNOWN, State.SENDING) else [{}]
    keys = {choice: ledger.ticket(choice, state, tries=tries, ago=timedelta(hours=1)) for choice in Choice}
    page = shown(browser("uma"), keys[Choice.SENT])
    offered = {choice for choice in Choice if f'data-decision="{choice}"' in page}

    accepted = set()
    for choice, key in keys.items():
        [entry] = LedgerAdmin(ledger.another_engine(), CONN_ID).find(key)
        try:
            carry_out(ledger.another_engine(), CONN_ID, choice, [entry], decided_by="x")
        except VambeError:
            continue
        accepted.add(choice)

    # A failed ticket is tried again anyway.
    assert offered == accepted - ({Choice.RETRY} if state == State.FAILED else set())


def test_what_was_ruled_out_in_doubt_needs_an_answer_to_come_back(ledger: Planted, browser: Browser) -> None:
    doubted = ledger.ticket("doubted", State.UNKNOWN, tries=UNDECIDED)
    refused = ledger.ticket("refused", State.REJECTED)
    uma = browser("uma")
    for key in (doubted, refused):
        assert decide(uma, Choice.NEVER, (key, seen(shown(uma, key), key))).status_code == 200

    offered = [re.findall(r'data-decision="(\w+)"', shown(uma, key)) for key in (doubted, refused)]

    assert offered == [["sent", "not_sent"], ["retry"]]
    assert decide(uma, Choice.RETRY, (refused, seen(shown(uma, refused), refused))).status_code == 200
    assert ledger.state(refused) == "failed"


def test_the_contact_of_a_sent_ticket_is_recorded(ledger: Planted, browser: Browser) -> None:
    key = ledger.ticket("order_id=1", State.UNKNOWN, tries=UNDECIDED)
    uma = browser("uma")

    assert decide(uma, Choice.SENT, (key, seen(shown(uma, key), key)), contact="contact-77").status_code == 200

    assert "contact-77" in shown(uma, key)


@pytest.mark.parametrize("contact", ["+56 9 6123 4567", "56961234567", "ana@example.com", "ana rojas"])
def test_a_number_or_an_address_is_no_contact_id(ledger: Planted, browser: Browser, contact: str) -> None:
    key = ledger.ticket("order_id=1", State.UNKNOWN, tries=UNDECIDED)
    uma = browser("uma")

    reply = decide(uma, Choice.SENT, (key, seen(shown(uma, key), key)), contact=contact)

    assert reply.status_code == 422
    assert contact not in reply.text
    assert (ledger.state(key), audit(key)) == ("unknown", [])


def test_a_ticket_that_changed_since_is_left_alone(ledger: Planted, browser: Browser) -> None:
    key = ledger.ticket("order_id=1", State.UNKNOWN, tries=UNDECIDED)
    uma, ada = browser("uma"), browser("ada")
    before = seen(shown(uma, key), key)
    assert decide(ada, Choice.NOT_SENT, (key, before)).status_code == 200

    reply = decide(uma, Choice.NEVER, (key, before))

    assert reply.status_code == 409
    assert "has changed since the page was loaded" in reply.json()["message"]
    assert ledger.state(key) == "failed"
    assert [entry.owner for entry in audit(key)] == ["ada"]


def test_while_a_worker_holds_a_ticket_nobody_decides(ledger: Planted, browser: Browser) -> None:
    until = datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=5)
    key = ledger.ticket("order_id=1", State.SENDING, tries=UNDECIDED, lease_until=until)
    uma = browser("uma")
    page = shown(uma, key)
    moment = f"sending.1.{ledger.updated(key).isoformat()}"

    assert "data-decision=" not in page
    assert "Held until" in page
    reply = decide(uma, Choice.NOT_SENT, (key, moment))
    assert reply.status_code == 409
    assert "being sent" in reply.json()["message"]


def test_several_tickets_are_decided_at_once(ledger: Planted, browser: Browser) -> None:
    keys = [ledger.ticket(f"order_id={n}", State.REJECTED, namespace=f"space-{n % 2}") for n in range(5)]
    uma = browser("uma")
    page = uma.get("/vambe/tickets?state=rejected").text

    reply = decide(uma, Choice.RETRY, *((key, seen(page, key)) for key in keys))

    assert reply.json()["message"] == "5 tickets: to be tried again by the next run that returns the row."
    assert {ledger.state(key) for key in keys} == {"failed"}
    assert all(len(audit(key)) == 1 for key in keys)


def test_one_that_may_not_be_changed_keeps_the_others_as_they_are(ledger: Planted, browser: Browser) -> None:
    own = ledger.ticket("lead=1", State.REJECTED, dag="new_leads")
    other = ledger.ticket("order_id=1", State.REJECTED, dag="late_orders")
    everything = browser("uma").get("/vambe/tickets").text

    reply = decide(browser("only-new_leads"), Choice.RETRY, *((key, seen(everything, key)) for key in (own, other)))

    assert reply.status_code == 404
    assert {ledger.state(own), ledger.state(other)} == {"rejected"}


def test_an_open_ticket_stays_open(ledger: Planted, browser: Browser) -> None:
    key = ledger.ticket("order_id=1", State.OPENED)
    uma = browser("uma")
    assert "data-decision=" not in shown(uma, key)

    for choice in Choice:
        assert decide(uma, choice, (key, f"opened.1.{ledger.updated(key).isoformat()}")).status_code == 409
    assert (ledger.state(key), len(ledger.tries(key))) == ("opened", 1)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"ledger": CONN_ID, "decision": "resend", "tickets": [{"key": "k", "account": "a", "seen": "s"}]},
        {"ledger": CONN_ID, "decision": "sent", "tickets": []},
        {"ledger": CONN_ID, "decision": "sent", "tickets": [{"key": "k", "account": "a", "seen": "s"}] * 51},
        ["+56961234567"],
    ],
)
def test_an_odd_request_is_refused_in_a_sentence(ledger: Planted, browser: Browser, body: Any) -> None:
    reply = browser("uma").post("/vambe/decide", json=body, headers=SAME_SITE)

    assert reply.status_code == 422
    assert "The request is not what the page sends" in reply.json()["message"]
    assert "+569" not in reply.text
