"""What the ledger tells a run that sends nothing, or that looks for an attempt; in each kind of database."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.engine import make_url

from tests.support.ledger import (
    ACCOUNT,
    ELSEWHERE,
    LEASE,
    NAMESPACE,
    claim_of,
    key,
    options,
    pass_time,
    settle,
    settlement,
    sql_ledger,
    verdicts,
    work,
    works,
)
from tests.support.threads import Background
from vambe_provider.delivery.ledger import sql
from vambe_provider.delivery.model import Evidence, Outcome, Sent, State, Verdict
from vambe_provider.delivery.rules import Glimpse

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.sql import SqlLedger
    from vambe_provider.delivery.model import Claim


def test_a_glimpse_is_as_much_as_decides_about_a_known_row(ledger: SqlLedger) -> None:
    settle(ledger, claim_of(ledger, work(1)), Outcome.OPENED)
    rejected = claim_of(ledger, work(2))
    settle(ledger, rejected, Outcome.REJECTED)
    opts = options(account=ELSEWHERE, run="other")
    settle(ledger, claim_of(ledger, work(1), opts), Outcome.FAILED, opts)
    found = ledger.glimpses(NAMESPACE, [key(number).digest for number in (1, 2, 3)])
    assert set(found) == {key(1).digest, key(2).digest}
    assert found[key(2).digest] == [
        Glimpse(ACCOUNT, State.REJECTED, rejected.owner, "nightly/2026-11-22", work(2).row_hash)
    ]
    assert {(row.account, row.state) for row in found[key(1).digest]} == {
        (ACCOUNT, State.OPENED),
        (ELSEWHERE, State.FAILED),
    }
    assert ledger.glimpses(NAMESPACE, []) == {}


def test_glimpses_of_many(ledger: SqlLedger) -> None:
    given = works(2000)
    for begin in range(0, 2000, 500):
        claims = ledger.exchange([], given[begin : begin + 500], options(), LEASE)
        ledger.exchange([settlement(claim, Outcome.OPENED) for claim in claims], [], options(), LEASE)
    found = ledger.glimpses(NAMESPACE, [key(number).digest for number in range(1, 3001)])
    assert set(found) == {ticket.key.digest for ticket in given}
    assert {row.state for rows in found.values() for row in rows} == {State.OPENED}


# --- Siblings, witnesses, earlier contacts ----------------------------------------------------------------------------


def test_siblings_are_attempts_at_the_same_person_that_may_have_come_to_something(ledger: SqlLedger) -> None:
    opened = claim_of(ledger, work(2, person=1, namespace="elsewhere"))
    settle(ledger, opened, Outcome.RECONCILED, ai_contact_id="c", evidence_id="t", evidence=Evidence.TICKET)
    settle(ledger, claim_of(ledger, work(3, person=1)), Outcome.FAILED)
    settle(ledger, claim_of(ledger, work(4, person=1)), Outcome.UNKNOWN)
    settle(ledger, claim_of(ledger, work(5)), Outcome.OPENED)
    other = options(account=ELSEWHERE)
    settle(ledger, claim_of(ledger, work(6, person=1), other), Outcome.OPENED, other)
    settle(ledger, claim_of(ledger, work(1)), Outcome.OPENED)
    resend = options(run="other", resend=True)
    ours = claim_of(ledger, work(1), resend).made
    found = {sibling.ticket_key: sibling for sibling in ledger.siblings(ours)}
    assert set(found) == {key(2, "elsewhere").digest, key(4).digest, key(1).digest}
    sibling = found[key(2, "elsewhere").digest]
    assert (sibling.ai_contact_id, sibling.evidence_id, sibling.sent) == ("c", "t", Sent.YES)
    assert (sibling.message_hash, sibling.namespace) == (opened.work.message_hash, "elsewhere")
    assert sibling.started == pytest.approx(opened.made.started, abs=1.0)
    assert (found[key(4).digest].sent, found[key(1).digest].generation) == (Sent.MAYBE, 0)


def test_of_other_days_the_last_siblings_before_an_attempt_and_all_after_it_are_told(
    ledger: SqlLedger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "MAX_BEFORE", 2)
    for number in (2, 3, 4):
        settle(ledger, claim_of(ledger, work(number, person=1)), Outcome.OPENED)
    pass_time(ledger_url, 86400.0)
    settle(ledger, claim_of(ledger, work(1)), Outcome.UNKNOWN)
    pass_time(ledger_url, 7200.0)
    settle(ledger, claim_of(ledger, work(5, person=1)), Outcome.OPENED)
    check = claim_of(ledger, work(1), options(run="other")).made
    told = [sibling.ticket_key for sibling in ledger.siblings(check)]
    assert told == [key(5).digest, key(4).digest, key(3).digest]


def test_witnesses_are_the_newest_tickets_to_others_that_vambe_confirmed(ledger: SqlLedger) -> None:
    for number in range(10, 20):
        settle(ledger, claim_of(ledger, work(number)), Outcome.OPENED, ai_contact_id=f"c{number}")
    settle(ledger, claim_of(ledger, work(20)), Outcome.RECONCILED, ai_contact_id="found")
    settle(ledger, claim_of(ledger, work(21)), Outcome.OPENED, ai_contact_id=None)
    settle(ledger, claim_of(ledger, work(22)), Outcome.FAILED, ai_contact_id="failed")
    settle(ledger, claim_of(ledger, work(23, person=1)), Outcome.OPENED, ai_contact_id="same person")
    other = options(account=ELSEWHERE)
    settle(ledger, claim_of(ledger, work(24), other), Outcome.OPENED, other, ai_contact_id="other account")
    ours = claim_of(ledger, work(1)).made
    assert [made.ai_contact_id for made in ledger.witnesses(ours)] == [f"c{number}" for number in range(19, 9, -1)]


def test_earlier_contacts_of_the_person_come_newest_first_and_once(ledger: SqlLedger) -> None:
    for number, contact in ((2, "old"), (3, "new"), (4, "old"), (5, "new")):
        settle(ledger, claim_of(ledger, work(number, person=1)), Outcome.OPENED, ai_contact_id=contact)
    settle(ledger, claim_of(ledger, work(6, person=1)), Outcome.UNKNOWN, ai_contact_id="seen by a look")
    settle(ledger, claim_of(ledger, work(7)), Outcome.OPENED, ai_contact_id="of another")
    other = options(account=ELSEWHERE)
    settle(ledger, claim_of(ledger, work(8, person=1), other), Outcome.OPENED, other, ai_contact_id="other account")
    ours = claim_of(ledger, work(1)).made
    assert ledger.earlier(ours) == ["seen by a look", "new", "old"]


# --- Who waits for whom -----------------------------------------------------------------------------------------------


def test_who_only_reads_waits_for_no_writer(sqlite_url: str) -> None:
    """In SQLite a writer locks the whole file."""
    with sql_ledger(sqlite_url) as ledger:
        settle(ledger, claim_of(ledger, work(1)), Outcome.OPENED)
        writer = sqlite3.connect(make_url(sqlite_url).database or "", isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE vambe_ticket_ledger SET state = 'failed'")

        def read() -> list[Claim]:
            assert ledger.glimpses(NAMESPACE, [key(1).digest])
            return ledger.look_up([work(1)], options())

        assert verdicts(Background(read).result(timeout=10.0)) == [Verdict.DUPLICATE]
        writer.close()
