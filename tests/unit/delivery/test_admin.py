from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.support.delivery import Deliveries, change_ledger, claim_of, connected, ledger_rows, options, row, sql_ledger
from vambe_provider.delivery.ledger.admin import LedgerAdmin, create
from vambe_provider.delivery.ledger.entry import Selection
from vambe_provider.delivery.ledger.schema import ledger
from vambe_provider.delivery.model import Outcome, Settlement, State
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

if TYPE_CHECKING:
    from vambe_provider.sandbox import Sandbox

Put = Callable[..., None]


@pytest.fixture
def admin(ledger_url: str) -> Iterator[LedgerAdmin]:
    engine = sa.create_engine(ledger_url)
    create(engine)
    yield LedgerAdmin(engine)
    engine.dispose()


@pytest.fixture
def put(vambe_sandbox: Sandbox, ledger_url: str) -> Put:
    """Return a function that leaves tickets in a state, as a worker that ended there."""
    deliveries = Deliveries(vambe_sandbox, ledger_url)

    def settled(state: State, *numbers: int, namespace: str = "late-orders") -> None:
        with sql_ledger(ledger_url) as used:
            for number in numbers:
                claim = claim_of(used, deliveries.work(row(number), namespace=namespace))
                used.exchange([Settlement(claim, state, Outcome.UNKNOWN)], [], options(), 60.0)

    return settled


def set_age(url: str, number: int, age: timedelta) -> None:
    moment = datetime.now(UTC).replace(tzinfo=None) - age
    with connected(url) as connection:
        connection.execute(sa.update(ledger).where(ledger.c.key_text == f"id={number}").values(updated_at=moment))


def test_pages_join_to_the_whole_without_gap_or_repetition(admin: LedgerAdmin, put: Put) -> None:
    put(State.OPENED, 1, 2, 3)
    put(State.OPENED, 4, 5, 6, 7, namespace="a")
    put(State.OPENED, 8, namespace="z")
    whole = [entry.key_text for entry in admin.every(Selection())]
    assert sorted(whole) == [f"id={number}" for number in range(1, 9)]
    for size in (1, 2, 3, 7, 8):
        assert [entry.key_text for entry in admin.every(Selection(), page=size)] == whole
    opened_there = Selection(namespace="a", states=[State.OPENED])
    assert len(list(admin.every(opened_there, page=3))) == 4


def test_a_slow_reader_keeps_no_delivery_waiting(
    admin: LedgerAdmin, put: Put, ledger_url: str, vambe_sandbox: Sandbox
) -> None:
    put(State.OPENED, 1, 2, 3)
    reading = admin.every(Selection(), page=1)
    next(reading)
    assert Deliveries(vambe_sandbox, ledger_url).one(9).outcome == Outcome.OPENED


@pytest.mark.parametrize("page", [1, 2, 100])
def test_prune_goes_page_by_page_to_the_end(admin: LedgerAdmin, put: Put, ledger_url: str, page: int) -> None:
    put(State.OPENED, 1, 2, 3, 4, 5)
    put(State.REJECTED, 6)
    for number in (1, 2, 3, 4, 6):
        set_age(ledger_url, number, timedelta(days=100 + number % 2))
    assert admin.prune(state=State.OPENED, older_than=timedelta(days=90), page=page) == 4
    assert set(ledger_rows(ledger_url)) == {"id=5", "id=6"}


def test_prune_of_one_namespace_leaves_the_others(admin: LedgerAdmin, put: Put, ledger_url: str) -> None:
    put(State.OPENED, 1)
    put(State.OPENED, 2, namespace="payments")
    for number in (1, 2):
        set_age(ledger_url, number, timedelta(days=100))
    assert admin.prune(state=State.OPENED, older_than=timedelta(days=90), namespace="payments") == 1
    assert set(ledger_rows(ledger_url)) == {"id=1"}


@pytest.mark.parametrize("state", [State.SENDING, State.UNKNOWN])
def test_what_may_have_been_sent_cannot_be_forgotten(admin: LedgerAdmin, state: State) -> None:
    with pytest.raises(VambeConfigError, match="never pruned"):
        admin.prune(state=state, older_than=timedelta(days=90))


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_verdict_loses_against_a_worker_that_took_the_ticket_meanwhile(
    kind: str, request: pytest.FixtureRequest, vambe_sandbox: Sandbox
) -> None:
    """SQLite has no such moment: there, one transaction at a time reads and writes."""
    url: str = request.getfixturevalue(f"{kind}_url")
    deliveries = Deliveries(vambe_sandbox, url)
    work = deliveries.work(7)
    with sql_ledger(url) as used:
        used.exchange([Settlement(claim_of(used, work), State.UNKNOWN, Outcome.UNKNOWN)], [], options(), 60.0)
    engine = sa.create_engine(url)
    admin = LedgerAdmin(engine)
    taken: list[str] = []

    def take_it(*event: Any) -> None:
        if "key_text" in str(event[2]) and not taken:
            taken.append("once")
            with sql_ledger(url) as rival:
                claim_of(rival, work, options(on_unknown="resend", run="another"))

    sa.event.listen(engine, "after_cursor_execute", take_it)
    with pytest.raises(VambeLedgerError, match="changed by a run at this moment"):
        admin.resolve(["id=7"], sent=False)
    engine.dispose()
    assert taken
    assert deliveries.states() == {"id=7": "sending"}


def test_the_same_ticket_named_twice_is_changed_once(admin: LedgerAdmin, put: Put) -> None:
    put(State.UNKNOWN, 1)
    [entry] = admin.find("id=1")
    [resolved] = admin.resolve(["id=1", entry.ticket_key], sent=True)
    assert resolved.state == State.OPENED


def test_not_sent_takes_back_what_was_held_for_a_trace(admin: LedgerAdmin, put: Put, ledger_url: str) -> None:
    put(State.UNKNOWN, 1)
    change_ledger(ledger_url, ai_contact_id="somebody", evidence_id="ticket-1")
    [resolved] = admin.resolve(["id=1"], sent=False)
    assert (resolved.state, resolved.ai_contact_id, resolved.evidence_id) == (State.FAILED, None, None)


def test_sent_keeps_the_contact_that_was_found_unless_told_another(
    admin: LedgerAdmin, put: Put, ledger_url: str
) -> None:
    put(State.UNKNOWN, 1, 2)
    change_ledger(ledger_url, ai_contact_id="found")
    [first] = admin.resolve(["id=1"], sent=True)
    [second] = admin.resolve(["id=2"], sent=True, ai_contact_id="told")
    assert (first.ai_contact_id, second.ai_contact_id) == ("found", "told")


@pytest.mark.parametrize("state", [State.OPENED, State.FAILED, State.REJECTED, State.POSTPONED, State.SUPPRESSED])
def test_a_known_outcome_cannot_be_resolved(admin: LedgerAdmin, put: Put, ledger_url: str, state: State) -> None:
    put(state, 1)
    for sent in (True, False):
        with pytest.raises(VambeLedgerError, match="nothing to resolve"):
            admin.resolve(["id=1"], sent=sent, force=True)
    assert ledger_rows(ledger_url)["id=1"]["state"] == state


@pytest.mark.parametrize("state", [State.OPENED, State.UNKNOWN, State.SENDING, State.POSTPONED, State.SUPPRESSED])
def test_only_what_was_surely_not_created_can_be_retried(
    admin: LedgerAdmin, put: Put, ledger_url: str, state: State
) -> None:
    put(state, 1)
    with pytest.raises(VambeLedgerError, match="not rejected"):
        admin.retry(["id=1"])
    assert admin.retry_all("late-orders") == 0
    assert ledger_rows(ledger_url)["id=1"]["state"] == state


def test_a_failed_ticket_may_be_named_for_a_retry(admin: LedgerAdmin, put: Put) -> None:
    put(State.FAILED, 1)
    [entry] = admin.retry(["id=1"])
    assert entry.state == State.FAILED


def test_a_table_of_a_newer_provider_is_left_alone(admin: LedgerAdmin, put: Put, ledger_url: str) -> None:
    put(State.OPENED, 1)
    change_ledger(ledger_url, schema_version=99)
    engine = sa.create_engine(ledger_url)
    with pytest.raises(VambeLedgerError, match="schema version 99"):
        LedgerAdmin(engine)
    with pytest.raises(VambeLedgerError, match="schema version 99"):
        create(engine)
    engine.dispose()


def test_a_database_that_no_delivery_can_use_gets_no_table() -> None:
    made: list[Any] = []
    oracle: Any = sa.create_mock_engine("oracle+cx_oracle://", lambda *statement: made.append(statement))
    with pytest.raises(VambeLedgerError, match="'oracle' cannot hold the ledger"):
        create(oracle)
    assert not made
