"""What a person may look at, decide and forget."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.ledger import (
    ELSEWHERE,
    claim_of,
    connected,
    history,
    key,
    lose_answers,
    options,
    settle,
    sql_ledger,
    states,
    tickets,
    work,
)
from vambe_provider.delivery.ledger.admin import LedgerAdmin, create
from vambe_provider.delivery.ledger.entry import Selection
from vambe_provider.delivery.ledger.tables import attempts, ledger, utc_now
from vambe_provider.delivery.model import Outcome, State, Verdict
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

OUTCOMES = {
    State.OPENED: Outcome.OPENED,
    State.REJECTED: Outcome.REJECTED,
    State.FAILED: Outcome.FAILED,
    State.UNKNOWN: Outcome.UNKNOWN,
}
LATER = options(run="2026-11-23")


@pytest.fixture
def admin(ledger_url: str) -> Iterator[LedgerAdmin]:
    engine = sa.create_engine(ledger_url)
    create(engine)
    engine.dispose()
    engine = sa.create_engine(ledger_url)
    yield LedgerAdmin(engine, "warehouse")
    engine.dispose()


def put(url: str, state: State, *numbers: int, namespace: str = "late-orders", account: str | None = None) -> None:
    """Leave tickets in a state, as a worker that ended there."""
    opts = options(account=account) if account else options()
    with sql_ledger(url) as used:
        for number in numbers:
            claim = claim_of(used, work(number, namespace=namespace), opts)
            if state in OUTCOMES:
                settle(used, claim, OUTCOMES[state], opts)
    if state in (State.POSTPONED, State.SUPPRESSED):
        with connected(url) as connection:
            connection.execute(sa.update(ledger).values(state=state.value, lease_until=None, evidence="policy"))
            connection.execute(sa.update(attempts).values(closed_at=utc_now(), sent="no", in_flight=None))


def claimed(url: str, number: int, **more: Any) -> Verdict:
    """Ask for a ticket as the next night does."""
    with sql_ledger(url) as used:
        return claim_of(used, work(number, **more), LATER).verdict


def set_age(url: str, number: int, age: timedelta) -> None:
    moment = datetime.now(UTC).replace(tzinfo=None) - age
    with connected(url) as connection:
        connection.execute(sa.update(ledger).where(ledger.c.key_text == f"id={number}").values(updated_at=moment))


# --- Look -----------------------------------------------------------------------------------------------------------


def test_pages_join_to_the_whole_without_gap_or_repetition(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.OPENED, 1, 2, 3)
    put(ledger_url, State.OPENED, 1, 2, account=ELSEWHERE)
    put(ledger_url, State.OPENED, 4, 5, 6, 7, namespace="a")
    whole = [(entry.key_text, entry.account) for entry in admin.every(Selection())]
    assert len(set(whole)) == len(whole) == 9
    for size in (1, 2, 5, 9):
        assert [(entry.key_text, entry.account) for entry in admin.every(Selection(), page=size)] == whole
    assert len(list(admin.every(Selection(namespace="a", states=[State.OPENED]), page=3))) == 4
    assert len(list(admin.every(Selection(account=ELSEWHERE), page=1))) == 2


def test_a_slow_reader_keeps_no_delivery_waiting(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.OPENED, 1, 2, 3)
    reading = admin.every(Selection(), page=1)
    next(reading)
    put(ledger_url, State.OPENED, 9)
    assert states(ledger_url)["id=9"] == "opened"


# --- Decide ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "state", "next_night"), [(True, "opened", Verdict.OPENED), (False, "failed", Verdict.SEND)]
)
def test_a_verdict_closes_the_attempt_that_was_in_doubt_and_says_who(
    admin: LedgerAdmin, ledger_url: str, sent: bool, state: str, next_night: Verdict
) -> None:
    put(ledger_url, State.UNKNOWN, 1)
    [entry] = admin.resolve(["id=1"], sent=sent, decided_by="Ana", ai_contact_id="c-1" if sent else None)
    assert (entry.state, entry.evidence, entry.ai_contact_id) == (state, "person", "c-1" if sent else None)
    doubted, decision = history(ledger_url)
    assert (doubted["sent"], doubted["evidence"]) == ("yes" if sent else "no", "person")
    assert doubted["closed_at"] is not None
    assert (decision["reason"], decision["decision"], decision["decided_by"], decision["sent"]) == (
        "decision",
        "sent" if sent else "not_sent",
        "Ana",
        "no",
    )
    assert [step.reason for step in admin.history(entry)] == ["first", "decision"]
    assert claimed(ledger_url, 1) == next_night


def test_not_sent_leaves_an_older_generation_open(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.OPENED, 1)
    with sql_ledger(ledger_url) as used:
        again = options(run="2026-11-23", resend=True)
        settle(used, claim_of(used, work(1), again), Outcome.UNKNOWN, again)
    [entry] = admin.resolve(["id=1"], sent=False, decided_by="Ana")
    assert (entry.state, entry.opened, entry.evidence) == ("opened", 0, "reply")
    assert claimed(ledger_url, 1) == Verdict.OPENED


def test_sent_opens_the_generation_that_was_in_doubt(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.OPENED, 1)
    again = options(run="2026-11-23", resend=True)
    with sql_ledger(ledger_url) as used:
        settle(used, claim_of(used, work(1), again), Outcome.UNKNOWN, again)
    [entry] = admin.resolve(["id=1"], sent=True, decided_by="Ana")
    assert (entry.state, entry.opened) == ("opened", 1)
    with sql_ledger(ledger_url) as used:
        assert claim_of(used, work(1), again).verdict == Verdict.OPENED


def test_a_worker_that_was_overruled_and_opened_the_ticket_is_believed(admin: LedgerAdmin, ledger_url: str) -> None:
    with sql_ledger(ledger_url) as used:
        claim = claim_of(used, work(1))
        with pytest.raises(VambeLedgerError, match="being sent by a worker"):
            admin.resolve(["id=1"], sent=False, decided_by="Ana")
        admin.resolve(["id=1"], sent=False, decided_by="Ana", force=True)
        settle(used, claim, Outcome.OPENED)
    assert states(ledger_url) == {"id=1": "opened"}
    assert claimed(ledger_url, 1) == Verdict.OPENED


def test_what_a_person_ruled_out_is_not_sent_until_it_is_taken_back(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.FAILED, 1)
    [entry] = admin.never(["id=1"], decided_by="Ana")
    assert (entry.state, entry.evidence) == ("suppressed", "person")
    assert claimed(ledger_url, 1) == Verdict.SUPPRESSED
    assert claimed(ledger_url, 1, text=" and more") == Verdict.SUPPRESSED
    admin.retry(["id=1"], decided_by="Ana")
    assert claimed(ledger_url, 1) == Verdict.SEND
    assert [step.decision for step in admin.history(entry)] == [None, "never", "retry", None]


def test_what_was_ruled_out_in_doubt_is_resolved_before_it_is_sent(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.UNKNOWN, 1)
    admin.never(["id=1"], decided_by="Ana")
    assert claimed(ledger_url, 1) == Verdict.SUPPRESSED
    with pytest.raises(VambeLedgerError, match="nobody knew whether it exists"):
        admin.retry(["id=1"], decided_by="Ana")
    admin.resolve(["id=1"], sent=False, decided_by="Ana")
    assert claimed(ledger_url, 1) == Verdict.SEND


@pytest.mark.parametrize("state", [State.OPENED, State.FAILED, State.REJECTED, State.POSTPONED, State.SUPPRESSED])
def test_a_known_outcome_cannot_be_resolved(admin: LedgerAdmin, ledger_url: str, state: State) -> None:
    put(ledger_url, state, 1)
    for sent in (True, False):
        with pytest.raises(VambeLedgerError, match="nothing to resolve"):
            admin.resolve(["id=1"], sent=sent, force=True, decided_by="Ana")
    assert states(ledger_url) == {"id=1": state.value}


@pytest.mark.parametrize("state", [State.OPENED, State.UNKNOWN, State.SENDING, State.POSTPONED, State.SUPPRESSED])
def test_only_what_was_surely_not_created_can_be_retried(admin: LedgerAdmin, ledger_url: str, state: State) -> None:
    put(ledger_url, state, 1)
    with pytest.raises(VambeLedgerError, match="nothing to retry"):
        admin.retry(["id=1"], decided_by="Ana")
    assert admin.retry_all("late-orders", decided_by="Ana") == 0
    assert states(ledger_url) == {"id=1": state.value}


def test_all_rejected_tickets_are_retried_page_by_page(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.REJECTED, 1, 2, 3)
    put(ledger_url, State.UNKNOWN, 4)
    assert claimed(ledger_url, 1) == Verdict.STILL_REJECTED
    assert admin.retry_all("late-orders", decided_by="Ana", page=2) == 3
    assert claimed(ledger_url, 1) == Verdict.SEND


@pytest.mark.parametrize("state", [State.OPENED, State.SENDING])
def test_what_is_open_or_on_its_way_cannot_be_ruled_out(admin: LedgerAdmin, ledger_url: str, state: State) -> None:
    put(ledger_url, state, 1)
    with pytest.raises(VambeLedgerError, match="nothing to rule out"):
        admin.never(["id=1"], decided_by="Ana")
    assert states(ledger_url) == {"id=1": state.value}


def test_the_same_ticket_named_twice_is_changed_once(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.UNKNOWN, 1)
    [resolved] = admin.resolve(["id=1", key(1).digest], sent=True, decided_by="Ana")
    assert resolved.state == State.OPENED
    assert len(history(ledger_url)) == 2


def test_a_digest_alone_means_the_account_in_which_something_is_to_decide(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.UNKNOWN, 1)
    with connected(ledger_url) as connection:
        for table in (ledger, attempts):
            names = [column.name for column in table.columns if column.name != "account"]
            given: dict[str, Any] = {"state": "failed"} if table is ledger else {"in_flight": None, "number": 9}
            values = [sa.literal(given[name]) if name in given else table.c[name] for name in names]
            copied = sa.select(*values, sa.literal(ELSEWHERE))
            connection.execute(sa.insert(table).from_select([*names, "account"], copied))
        connection.execute(sa.delete(attempts).where(attempts.c.account == ELSEWHERE))
    [resolved] = admin.resolve([key(1).digest], sent=True, decided_by="Ana")
    assert resolved.account != ELSEWHERE
    with pytest.raises(VambeConfigError, match=f"2 tickets have the key.*{ELSEWHERE}"):
        admin.resolve([key(1).digest], sent=True, decided_by="Ana")


def test_a_decision_whose_commit_lost_its_answer_is_recorded_once(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.UNKNOWN, 1)
    lose_answers(admin)  # type: ignore[arg-type]  # it has a database too
    [resolved] = admin.resolve(["id=1"], sent=True, decided_by="Ana")
    assert resolved.state == State.OPENED
    assert [item["reason"] for item in history(ledger_url)] == ["first", "decision"]


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_verdict_loses_against_a_worker_that_took_the_ticket_meanwhile(
    kind: str, request: pytest.FixtureRequest
) -> None:
    """SQLite has no such moment: there, one transaction at a time reads and writes."""
    url: str = request.getfixturevalue(f"{kind}_url")
    put(url, State.UNKNOWN, 7)
    engine = sa.create_engine(url)
    admin = LedgerAdmin(engine)
    taken: list[str] = []

    def take_it(*event: Any) -> None:
        if "key_text" in str(event[2]) and not taken:
            taken.append("once")
            with sql_ledger(url) as rival:
                claim_of(rival, work(7), LATER)

    sa.event.listen(engine, "after_cursor_execute", take_it)
    with pytest.raises(VambeLedgerError, match="being sent by a worker"):
        admin.resolve(["id=7"], sent=False, decided_by="Ana")
    engine.dispose()
    assert taken
    assert states(url) == {"id=7": "sending"}


# --- Forget ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [1, 2, 100])
def test_prune_goes_page_by_page_to_the_end(admin: LedgerAdmin, ledger_url: str, page: int) -> None:
    put(ledger_url, State.OPENED, 1, 2, 3, 4, 5)
    put(ledger_url, State.REJECTED, 6)
    for number in (1, 2, 3, 4, 6):
        set_age(ledger_url, number, timedelta(days=100 + number % 2))
    which: dict[str, Any] = {"state": State.OPENED, "older_than": timedelta(days=90)}
    assert admin.count_prunable(**which) == 4
    assert admin.prune(**which, page=page) == 4
    assert set(tickets(ledger_url)) == {"id=5", "id=6"}
    assert [len(history(ledger_url, number)) for number in (1, 5, 6)] == [0, 1, 1]


def test_prune_of_one_namespace_or_account_leaves_the_others(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.OPENED, 1)
    put(ledger_url, State.OPENED, 2, namespace="payments")
    put(ledger_url, State.OPENED, 3, account=ELSEWHERE)
    for number in (1, 2, 3):
        set_age(ledger_url, number, timedelta(days=100))
    which: dict[str, Any] = {"state": State.OPENED, "older_than": timedelta(days=90)}
    assert admin.prune(**which, namespace="payments") == 1
    assert admin.prune(**which, account=ELSEWHERE) == 1
    assert set(tickets(ledger_url)) == {"id=1"}


def test_what_a_person_ruled_out_is_never_forgotten(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.FAILED, 1)
    admin.never(["id=1"], decided_by="Ana")
    set_age(ledger_url, 1, timedelta(days=100))
    assert admin.prune(state=State.SUPPRESSED, older_than=timedelta(days=90)) == 0
    assert claimed(ledger_url, 1) == Verdict.SUPPRESSED


@pytest.mark.parametrize("state", [State.SENDING, State.UNKNOWN])
def test_what_may_have_been_sent_cannot_be_forgotten(admin: LedgerAdmin, state: State) -> None:
    with pytest.raises(VambeConfigError, match="never pruned"):
        admin.prune(state=state, older_than=timedelta(days=90))


def test_a_ledger_of_a_newer_provider_is_left_alone(admin: LedgerAdmin, ledger_url: str) -> None:
    put(ledger_url, State.OPENED, 1)
    with connected(ledger_url) as connection:
        connection.execute(sa.text("UPDATE vambe_ticket_schema SET version = 99"))
    engine = sa.create_engine(ledger_url)
    with pytest.raises(VambeLedgerError, match="version 99"):
        LedgerAdmin(engine)
    engine.dispose()
    engine = sa.create_engine(ledger_url)
    with pytest.raises(VambeLedgerError, match="version 99"):
        create(engine)
    engine.dispose()


def test_a_database_that_no_delivery_can_use_gets_no_table() -> None:
    made: list[Any] = []
    oracle: Any = sa.create_mock_engine("oracle+cx_oracle://", lambda *statement: made.append(statement))
    with pytest.raises(VambeLedgerError, match="'oracle' cannot hold the ledger"):
        create(oracle)
    assert not made
