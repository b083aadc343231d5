"""Caps and the limit for new people within the claim: never one ticket too many, in each kind of database."""

from __future__ import annotations

import multiprocessing
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.support.databases import connected
from tests.support.ledger import (
    LEASE,
    asked,
    claim_of,
    history,
    lose_answers,
    options,
    pass_time,
    settle,
    sql_ledger,
    statements_of,
    states,
    tickets,
    verdicts,
    work,
)
from tests.support.threads import Background
from vambe_provider.contact_policy import Cap, ContactPolicy, WarmUp
from vambe_provider.delivery.ledger.tables import attempts, senders
from vambe_provider.delivery.model import Outcome, Verdict, Work
from vambe_provider.delivery.permission import Permission

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Barrier

    from vambe_provider.delivery.ledger.sql import SqlLedger
    from vambe_provider.delivery.model import Claim
    from vambe_provider.delivery.options import DeliveryOptions

DAY = 24 * 3600.0
SEND, POSTPONED, WAIT = Verdict.SEND, Verdict.POSTPONED, Verdict.WAIT


def under(*caps: Cap, **more: Any) -> DeliveryOptions:
    """Return the options of a task whose policy has these caps."""
    sender = {name: more.pop(name) for name in ("run", "account") if name in more}
    permission = Permission(ContactPolicy(caps=caps, **more), timeout=30.0)
    return options(policy=permission, **sender)


def send(used: SqlLedger, ticket: Work, opts: DeliveryOptions, outcome: Outcome = Outcome.OPENED) -> Claim:
    claim = claim_of(used, ticket, opts)
    if claim.verdict == SEND:
        settle(used, claim, outcome, opts)
    return claim


def reason(claim: Claim) -> str:
    assert claim.ruling is not None
    return claim.ruling.reason


# --- A person ---------------------------------------------------------------------------------------------------------


def test_a_person_gets_no_more_tickets_than_the_cap_allows(ledger: SqlLedger, ledger_url: str) -> None:
    capped = under(Cap(2, period="7 days"))
    sent = [send(ledger, asked(number, person=9), capped) for number in (1, 2, 3)]
    assert verdicts(sent) == [SEND, SEND, POSTPONED]
    assert reason(sent[2]) == "cap_reached"
    assert sent[2].ruling is not None
    until = sent[2].ruling.due
    assert until is not None
    assert timedelta(days=6, hours=23) < until - datetime.now(UTC) < timedelta(days=7, hours=1)
    row = tickets(ledger_url)["id=3"]
    assert (row["state"], row["evidence"], row["error_kind"]) == ("postponed", "policy", "cap_reached")
    assert row["due_at"] == until.replace(tzinfo=None)
    assert history(ledger_url, 3) == []


def test_a_slot_is_free_again_after_the_period(ledger: SqlLedger, ledger_url: str) -> None:
    capped = under(Cap(1, period="7 days"))
    send(ledger, asked(1, person=9), capped)
    assert send(ledger, asked(2, person=9), capped).verdict == POSTPONED
    pass_time(ledger_url, 7 * DAY + 1)
    assert send(ledger, asked(2, person=9), capped).verdict == SEND
    assert states(ledger_url) == {"id=1": "opened", "id=2": "opened"}


@pytest.mark.parametrize(
    ("outcome", "then"),
    [
        (Outcome.OPENED, POSTPONED),
        (Outcome.RECONCILED, POSTPONED),
        (Outcome.UNKNOWN, POSTPONED),
        (Outcome.FAILED, SEND),
        (Outcome.REJECTED, SEND),
    ],
)
def test_what_may_have_reached_the_person_counts(ledger: SqlLedger, outcome: Outcome, then: Verdict) -> None:
    capped = under(Cap(1))
    send(ledger, asked(1, person=9), capped, outcome)
    assert claim_of(ledger, asked(2, person=9), capped).verdict == then


def test_every_dag_and_account_counts_unless_the_namespace_is_named(ledger: SqlLedger) -> None:
    everywhere, here = under(Cap(1)), under(Cap(1, scope="namespace"))
    send(ledger, asked(1, person=9, namespace="other"), options(account="sandbox.example"))
    assert claim_of(ledger, asked(2, person=9), everywhere).verdict == POSTPONED
    assert send(ledger, asked(2, person=9), here).verdict == SEND
    assert claim_of(ledger, asked(3, person=9), here).verdict == POSTPONED


def test_two_tickets_of_one_exchange_do_not_share_the_last_slot(ledger: SqlLedger, ledger_url: str) -> None:
    capped = under(Cap(1))
    claims = ledger.exchange([], [asked(1, person=9), asked(2, person=9), asked(3)], capped, LEASE)
    assert verdicts(claims) == [SEND, POSTPONED, SEND]
    assert history(ledger_url, 2) == []


def test_the_gap_between_two_tickets_is_kept(ledger: SqlLedger, ledger_url: str) -> None:
    capped = under(Cap(5, period="1 day", min_gap="48h"))
    send(ledger, asked(1, person=9), capped)
    pass_time(ledger_url, 47 * 3600.0)
    assert reason(claim_of(ledger, asked(2, person=9), capped)) == "min_gap"
    pass_time(ledger_url, 3600.0)
    assert claim_of(ledger, asked(2, person=9), capped).verdict == SEND


def test_a_lost_answer_takes_one_slot(ledger_url: str) -> None:
    capped = under(Cap(1))
    with sql_ledger(ledger_url) as used:
        lose_answers(used)
        assert claim_of(used, asked(1, person=9), capped).verdict == SEND
    assert len(history(ledger_url, 1)) == 1


def test_a_resend_is_capped_and_the_open_ticket_stays_open(ledger: SqlLedger, ledger_url: str) -> None:
    capped = under(Cap(1))
    send(ledger, asked(1), capped)
    again = claim_of(ledger, asked(1), replace(capped, resend=True))
    assert again.verdict == POSTPONED
    assert states(ledger_url) == {"id=1": "opened"}
    assert len(history(ledger_url, 1)) == 1


# --- A sender, and new people -----------------------------------------------------------------------------------------


def test_a_sender_stops_at_its_cap_within_one_exchange(ledger: SqlLedger, ledger_url: str) -> None:
    capped = under(Cap(3, per="sender", period="1 day"))
    claims = ledger.exchange([], [asked(number) for number in range(1, 6)], capped, LEASE)
    assert verdicts(claims) == [SEND, SEND, SEND, POSTPONED, POSTPONED]
    assert reason(claims[4]) == "sender_cap_reached"
    assert history(ledger_url, 4) == []
    other = replace(capped, sender="web/2")
    assert claim_of(ledger, asked(7), other).verdict == SEND


def test_all_senders_of_an_account_share_its_cap(ledger: SqlLedger) -> None:
    capped = under(Cap(1, per="sender", scope="account", period="1 day"))
    assert claim_of(ledger, asked(1), replace(capped, sender="web/2")).verdict == SEND
    assert claim_of(ledger, asked(2), capped).verdict == POSTPONED


def test_new_people_are_limited_and_known_people_are_not(ledger: SqlLedger, ledger_url: str) -> None:
    for number in (1, 2):
        send(ledger, asked(number), options())
    pass_time(ledger_url, 2 * DAY)
    warm = under(new_people=WarmUp(first_day=1, step=1, ceiling=3))
    # The sender's third day: three new people.
    claims = ledger.exchange([], [asked(n, person=n) for n in range(11, 16)], warm, LEASE)
    assert verdicts(claims) == [SEND, SEND, SEND, POSTPONED, POSTPONED]
    assert reason(claims[4]) == "new_people"
    assert verdicts(ledger.exchange([], [asked(21, person=1), asked(22, person=2)], warm, LEASE)) == [SEND, SEND]


def test_the_warm_up_goes_on_after_the_first_ticket_is_forgotten(ledger: SqlLedger, ledger_url: str) -> None:
    warm = under(new_people=WarmUp(first_day=1, step=1, ceiling=9))
    assert send(ledger, asked(1), warm).verdict == SEND
    assert claim_of(ledger, asked(2), warm).verdict == POSTPONED
    pass_time(ledger_url, 2 * DAY)
    with connected(ledger_url) as connection:
        kept = connection.execute(sa.select(senders.c.first_at)).scalar_one()
        connection.execute(sa.update(senders).values(first_at=kept - timedelta(days=2)))
        connection.execute(sa.delete(attempts))
    claims = ledger.exchange([], [asked(n) for n in range(2, 7)], warm, LEASE)
    assert verdicts(claims) == [SEND, SEND, SEND, POSTPONED, POSTPONED]


# --- What it costs and what it needs ----------------------------------------------------------------------------------


def test_without_a_policy_nothing_is_counted(ledger: SqlLedger) -> None:
    with statements_of(ledger) as sent:
        assert claim_of(ledger, work(1)).verdict == SEND
    assert not [text for text in sent if "vambe_ticket_senders" in text]
    counting = [text for text in sent if text.lstrip().startswith("SELECT") and "vambe_ticket_attempts" in text]
    assert len([text for text in counting if "owner" not in text]) == 0


def test_a_ticket_that_was_not_prepared_for_the_policy_is_not_sent(ledger: SqlLedger, ledger_url: str) -> None:
    with pytest.raises(ValueError, match="prepared"):
        claim_of(ledger, work(1), under(Cap(1)))
    assert tickets(ledger_url) == {}


# --- Several workers --------------------------------------------------------------------------------------------------


def at_its_insert(used: SqlLedger, action: Callable[[], None]) -> None:
    """Do something in the middle of a ledger's next claim: it has counted, and has not recorded its attempts."""
    left = [action]

    def note(*event: Any) -> None:
        if "INSERT INTO vambe_ticket_attempts" in event[2] and left:
            left.pop()()

    sa.event.listen(used._database.engine, "before_cursor_execute", note)


@pytest.fixture
def parallel(ledger_url: str) -> str:
    """Return a database in which two transactions can write at once."""
    if ledger_url.startswith("sqlite"):
        pytest.skip("SQLite lets one transaction write at a time")
    return ledger_url


def test_a_slot_that_another_worker_took_meanwhile_is_not_taken_again(parallel: str) -> None:
    capped = under(Cap(1))
    with sql_ledger(parallel) as slow, sql_ledger(parallel) as quick:
        at_its_insert(slow, lambda: verdict_is(send(quick, asked(1, person=9), capped), SEND))
        claims = slow.exchange([], [asked(2, person=9), asked(3)], capped, LEASE)
    assert verdicts(claims) == [POSTPONED, SEND]
    assert (states(parallel)["id=2"], history(parallel, 2)) == ("postponed", [])
    assert len(history(parallel, 3)) == 1


def verdict_is(claim: Claim, verdict: Verdict) -> None:
    assert claim.verdict == verdict


def test_workers_of_one_sender_count_one_after_the_other(parallel: str) -> None:
    capped, asks = under(Cap(1, per="sender", period="1 day")), threading.Event()
    with sql_ledger(parallel) as slow, sql_ledger(parallel) as quick:
        started: list[Background] = []

        def note(*event: Any) -> None:
            if "vambe_ticket_senders" in event[2]:
                asks.set()

        def compete() -> None:
            sa.event.listen(quick._database.engine, "before_cursor_execute", note)
            started.append(Background(lambda: send(quick, asked(1), capped)))
            assert asks.wait(30)
            started[0].wait(1.0)  # without the lock, it would count and send by then

        at_its_insert(slow, compete)
        first = claim_of(slow, asked(2), capped)
        second = started[0].result()
    assert (first.verdict, second.verdict) == (SEND, POSTPONED)
    assert states(parallel) == {"id=1": "postponed", "id=2": "sending"}


def rival(
    url: str, start: int, caps: tuple[Cap, ...], more: dict[str, Any], barrier: Barrier, person: int | None
) -> int:
    """Be a worker process: claim tickets as fast as it goes, and return how many it sent."""
    opts, sent = under(*caps, **more), 0
    with sql_ledger(url) as used:
        barrier.wait()
        for number in range(start, start + 12):
            ticket = asked(number, person=person)
            while (claim := claim_of(used, ticket, opts)).verdict == WAIT:
                pass
            if claim.verdict == SEND:
                settle(used, claim, Outcome.OPENED, opts)
                sent += 1
    return sent


def _run(answers: Any, *arguments: Any) -> None:
    answers.put(rival(*arguments))


@pytest.mark.parametrize(
    ("caps", "more", "person", "allowed"),
    [
        ((Cap(5),), {}, 9, 5),
        ((Cap(5, per="sender", period="1 day"),), {}, None, 5),
        ((Cap(5, per="sender", period="1 day", scope="account"),), {}, None, 5),
        ((), {"new_people": WarmUp(first_day=5)}, None, 5),
    ],
    ids=["person", "sender", "account", "new people"],
)
def test_processes_never_take_more_slots_than_there_are(
    ledger_url: str, caps: tuple[Cap, ...], more: dict[str, Any], person: int | None, allowed: int
) -> None:
    with sql_ledger(ledger_url):
        pass
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(3), context.Queue()
    workers = [
        context.Process(target=_run, args=(answers, ledger_url, start, caps, more, barrier, person))
        for start in (100, 200, 300)
    ]
    for worker in workers:
        worker.start()
    sent = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    found = list(states(ledger_url).values())
    assert (sum(sent), found.count("opened"), found.count("postponed")) == (allowed, allowed, 36 - allowed)
