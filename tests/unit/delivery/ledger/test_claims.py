"""Who may send a ticket, in each kind of database."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.support.ledger import (
    ACCOUNT,
    ELSEWHERE,
    LEASE,
    claim_of,
    connected,
    history,
    lose_answers,
    moment,
    options,
    pass_time,
    settle,
    settlement,
    sql_ledger,
    statements_of,
    states,
    tickets,
    verdicts,
    work,
    works,
)
from vambe_provider.delivery import clock
from vambe_provider.delivery.ledger import database
from vambe_provider.delivery.ledger.claiming import Claiming
from vambe_provider.delivery.model import Evidence, Outcome, Reason, Sent, Verdict
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.sql import SqlLedger

TONIGHT, TOMORROW = options(run="tonight"), options(run="tomorrow")


# --- New tickets ------------------------------------------------------------------------------------------------------


def test_an_attempt_is_on_record_before_anything_is_sent(ledger: SqlLedger, ledger_url: str) -> None:
    given = works(5)
    claims = ledger.exchange([], given, options(task="group.open", map_index=3, try_number=2), LEASE)
    assert verdicts(claims) == [Verdict.SEND] * 5
    assert [claim.work for claim in claims] == given
    [attempt] = history(ledger_url, 1)
    assert {name: attempt[name] for name in ("dag_id", "task_id", "run_id", "map_index", "try_number")} == {
        "dag_id": "nightly",
        "task_id": "group.open",
        "run_id": "2026-11-22",
        "map_index": 3,
        "try_number": 2,
    }
    assert (attempt["number"], attempt["generation"], attempt["reason"], attempt["sent"]) == (1, 0, "first", "maybe")
    assert (attempt["account"], attempt["sender"]) == (ACCOUNT, "web/1")
    assert attempt["person"] == attempt["in_flight"] == given[0].person
    assert (attempt["fingerprint"], attempt["message_hash"]) == (given[0].fingerprint, given[0].message_hash)
    assert attempt["owner"].startswith(ledger.me)
    assert attempt["closed_at"] is None
    assert moment(attempt["lease_until"]) - moment(attempt["started_at"]) == pytest.approx(LEASE, abs=1.0)
    row = tickets(ledger_url)["id=1"]
    assert (row["state"], row["attempts"], row["opened"]) == ("sending", 1, None)


def test_a_claim_says_what_was_recorded(ledger: SqlLedger, ledger_url: str) -> None:
    claim = claim_of(ledger, work(1))
    made = claim.made
    assert (made.number, made.generation, made.reason, made.sent) == (1, 0, Reason.FIRST, Sent.MAYBE)
    assert (made.person, made.fingerprint, made.mark) == (claim.work.person, claim.work.fingerprint, made.ticket_key)
    assert abs(made.started - time.time()) < 5.0
    assert made.ended - made.started == pytest.approx(LEASE)
    assert claim.owner == history(ledger_url)[0]["owner"]
    assert claim.expires <= clock.now() + LEASE


def test_many_at_once(ledger: SqlLedger, ledger_url: str) -> None:
    given = works(400)
    claims = ledger.exchange([], given, options(), LEASE)
    assert verdicts(claims) == [Verdict.SEND] * 400
    done = [settlement(claim, Outcome.OPENED, ai_contact_id=str(n)) for n, claim in enumerate(claims)]
    assert verdicts(ledger.exchange(done, given[:3], options(), LEASE)) == [Verdict.DUPLICATE] * 3
    contacts = {name: row["ai_contact_id"] for name, row in tickets(ledger_url).items()}
    assert contacts == {ticket.key.text: str(number) for number, ticket in enumerate(given)}
    assert {row["sent"] for row in history(ledger_url, 217)} == {"yes"}


def test_of_the_same_ticket_twice_in_one_exchange_one_is_sent(ledger: SqlLedger, ledger_url: str) -> None:
    claims = ledger.exchange([], [work(1), work(1), work(1, text=" other")], options(), LEASE)
    assert verdicts(claims) == [Verdict.SEND, Verdict.DUPLICATE, Verdict.CONFLICT]
    assert len(history(ledger_url)) == 1


def test_a_look_changes_nothing(ledger: SqlLedger, ledger_url: str) -> None:
    assert verdicts(ledger.look_up(works(5), options())) == [Verdict.SEND] * 5
    assert states(ledger_url) == {}
    claim_of(ledger, work(1))
    assert verdicts(ledger.look_up(works(2), TOMORROW)) == [Verdict.WAIT, Verdict.SEND]
    assert len(history(ledger_url)) == 1
    assert ledger.look_up([], options()) == []


def test_settling_and_claiming_are_one_transaction(
    ledger: SqlLedger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claim_of(ledger, work(1))

    def fails(*_: object) -> None:
        raise sa.exc.ProgrammingError("x", {}, Exception("no such column"))

    monkeypatch.setattr(Claiming, "claim", fails)
    with pytest.raises(VambeLedgerError):
        ledger.exchange([settlement(claim, Outcome.OPENED)], [work(2)], options(), LEASE)
    assert states(ledger_url) == {"id=1": "sending"}
    assert history(ledger_url)[0]["closed_at"] is None


def test_a_ticket_that_failed_can_be_taken_again_in_the_same_exchange(ledger: SqlLedger, ledger_url: str) -> None:
    claim = claim_of(ledger, work(1))
    [again] = ledger.exchange([settlement(claim, Outcome.FAILED)], [work(1)], options(), LEASE)
    assert (again.verdict, again.made.number, again.made.reason) == (Verdict.SEND, 2, Reason.AGAIN)
    assert [(row["sent"], row["evidence"]) for row in history(ledger_url)] == [("no", "not_sent"), ("maybe", None)]


@pytest.mark.parametrize(
    ("outcome", "again"),
    [
        (Outcome.OPENED, Verdict.OPENED),
        (Outcome.REJECTED, Verdict.STILL_REJECTED),
        (Outcome.UNKNOWN, Verdict.CHECK),
        (Outcome.FAILED, Verdict.SEND),
    ],
)
def test_what_became_of_tickets_is_known_to_another_night(
    ledger: SqlLedger, ledger_url: str, outcome: Outcome, again: Verdict
) -> None:
    claims = ledger.exchange([], works(5), TONIGHT, LEASE)
    done = [settlement(claim, outcome, ai_contact_id=f"c{number}") for number, claim in enumerate(claims)]
    ledger.exchange(done, [], TONIGHT, LEASE)
    for number, row in enumerate(tickets(ledger_url).values()):
        assert row["state"] == outcome.value
        assert (row["error_kind"] == "refused_400") == (outcome != Outcome.OPENED)
        assert row["lease_until"] is None
        assert history(ledger_url, number + 1)[0]["in_flight"] is None
    assert {row["ai_contact_id"] for row in tickets(ledger_url).values()} == {f"c{number}" for number in range(5)}
    with sql_ledger(ledger_url) as other:
        answers = other.exchange([], works(5), TOMORROW, LEASE)
        assert verdicts(answers) == [again] * 5
        if outcome == Outcome.OPENED:
            assert [answer.ai_contact_id for answer in answers] == [f"c{number}" for number in range(5)]
            assert {(answer.dag, answer.same_run) for answer in answers} == {("nightly", False)}


def test_of_rivals_for_the_same_tickets_one_gets_each(ledger_url: str) -> None:
    given = works(60)

    def claim(name: int) -> list[Verdict]:
        with sql_ledger(ledger_url) as used:
            order = given if name % 2 else given[::-1]
            claims = [used.exchange([], order[n : n + 20], options(run=str(name)), LEASE) for n in range(0, 60, 20)]
            return [claim.verdict for some in claims for claim in some]

    with sql_ledger(ledger_url), ThreadPoolExecutor(4) as pool:
        found = Counter(verdict for answers in pool.map(claim, range(4)) for verdict in answers)
    assert found == {Verdict.SEND: 60, Verdict.WAIT: 180}
    assert {len(history(ledger_url, number)) for number in range(1, 61)} == {1}


def test_an_account_that_no_column_holds_is_refused(ledger: SqlLedger) -> None:
    for account in ("", "a" * 256):
        with pytest.raises(VambeConfigError, match="account"):
            ledger.exchange([], [work(1)], options(account=account), LEASE)


# --- Never two in flight for one person -------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{}, {"namespace": "payments"}, {"account": ELSEWHERE}])
def test_two_tickets_to_one_person_are_never_on_their_way_together(
    ledger: SqlLedger, ledger_url: str, change: dict[str, Any]
) -> None:
    namespace = change.pop("namespace", "late-orders")
    first = claim_of(ledger, work(1))
    second = work(2, person=1, namespace=namespace)
    with sql_ledger(ledger_url) as other:
        waiting = claim_of(other, second, options(run="other", **change))
        assert (waiting.verdict, waiting.wait > 0) == (Verdict.WAIT, True)
        settle(ledger, first, Outcome.OPENED)
        assert claim_of(other, second, options(run="other", **change)).verdict == Verdict.SEND


def test_two_tickets_to_one_person_in_one_exchange_go_one_after_the_other(ledger: SqlLedger) -> None:
    claims = ledger.exchange([], [work(1), work(2, person=1)], options(), LEASE)
    assert sorted(verdicts(claims)) == [Verdict.SEND, Verdict.WAIT]
    [sent] = [claim for claim in claims if claim.verdict == Verdict.SEND]
    waiting = work(2, person=1) if sent.work.key == work(1).key else work(1)
    [next_] = ledger.exchange([settlement(sent, Outcome.OPENED)], [waiting], options(), LEASE)
    assert next_.verdict == Verdict.SEND


def test_a_person_is_free_again_when_the_worker_died(ledger: SqlLedger, ledger_url: str) -> None:
    claim_of(ledger, work(1))
    pass_time(ledger_url)
    with sql_ledger(ledger_url) as other:
        waiting = claim_of(other, work(2, person=1), TOMORROW)
        assert (waiting.verdict, waiting.wait) == (Verdict.WAIT, 0.0)
        assert claim_of(other, work(2, person=1), TOMORROW).verdict == Verdict.SEND
        assert claim_of(other, work(1), TOMORROW).verdict == Verdict.CHECK


def test_nobody_is_messaged_while_an_attempt_at_them_is_looked_for(ledger: SqlLedger, ledger_url: str) -> None:
    claim_of(ledger, work(1))
    pass_time(ledger_url)
    with sql_ledger(ledger_url) as other:
        check = claim_of(other, work(1), TOMORROW)
        assert check.verdict == Verdict.CHECK
        assert claim_of(ledger, work(2, person=1)).verdict == Verdict.WAIT
        settle(other, check, Outcome.UNKNOWN, TOMORROW)
        assert claim_of(ledger, work(2, person=1)).verdict == Verdict.SEND


def test_an_attempt_is_looked_for_although_its_person_is_being_messaged(ledger: SqlLedger, ledger_url: str) -> None:
    settle(ledger, claim_of(ledger, work(1), TONIGHT), Outcome.UNKNOWN, TONIGHT)
    other = claim_of(ledger, work(2, person=1), TONIGHT)
    assert other.verdict == Verdict.SEND
    assert claim_of(ledger, work(1), TOMORROW).verdict == Verdict.CHECK
    assert history(ledger_url, 2)[0]["in_flight"] == other.work.person


# --- What is looked for is the attempt that was made ------------------------------------------------------------------


def test_a_check_gives_back_the_attempt_and_not_what_the_row_says_today(ledger: SqlLedger, ledger_url: str) -> None:
    first = claim_of(ledger, work(1), TONIGHT)
    pass_time(ledger_url)
    with sql_ledger(ledger_url) as other:
        check = claim_of(other, work(1, person=99, text=" corrected"), TOMORROW)
        assert check.verdict == Verdict.CHECK
        made = check.made
        assert (made.person, made.fingerprint, made.message_hash, made.number, made.dag_run) == (
            first.made.person,
            first.made.fingerprint,
            first.made.message_hash,
            1,
            "nightly/tonight",
        )
        assert made.started == pytest.approx(first.made.started - 3600, abs=1.0)
        assert made.ended == pytest.approx(first.made.ended - 3600, abs=1.0)
        settle(other, check, Outcome.RECONCILED, TOMORROW)
        row = tickets(ledger_url)["id=1"]
        assert (row["state"], row["person"], row["fingerprint"]) == ("opened", made.person, made.fingerprint)
    assert claim_of(ledger, work(1, person=99, text=" corrected"), options(run="3")).verdict == Verdict.OTHER_PERSON


def test_a_new_text_is_still_to_be_sent_when_the_older_one_is_found(ledger: SqlLedger, ledger_url: str) -> None:
    claim_of(ledger, work(1), TONIGHT)
    pass_time(ledger_url)
    again = options(run="tomorrow", on_change="open_again")
    with sql_ledger(ledger_url) as other:
        check = claim_of(other, work(1, text=" v2"), again)
        settle(other, check, Outcome.RECONCILED, again)
        new = claim_of(ledger, work(1, text=" v2"), options(run="in two days", on_change="open_again"))
        assert (new.verdict, new.made.generation, new.made.reason) == (Verdict.SEND, 1, Reason.CHANGED)
        assert new.made.mark == f"{new.work.key.digest}.1"


def test_what_surely_created_nothing_begins_anew(ledger: SqlLedger, ledger_url: str) -> None:
    claim_of(ledger, work(1), TONIGHT)
    pass_time(ledger_url)
    with sql_ledger(ledger_url) as other:
        check = claim_of(other, work(1), TOMORROW)
        settle(other, check, Outcome.FAILED, TOMORROW, evidence=Evidence.NO_CONTACT)
        again = claim_of(other, work(1, person=99), TOMORROW)
        assert (again.verdict, again.made.number, again.made.person) == (Verdict.SEND, 2, work(99).person)
        assert abs(again.made.started - time.time()) < 5.0
    assert [row["evidence"] for row in history(ledger_url)] == ["no_contact", None]


def test_an_undecided_ticket_whose_attempt_is_gone_is_left_alone(ledger: SqlLedger, ledger_url: str) -> None:
    claim_of(ledger, work(1))
    pass_time(ledger_url)
    with connected(ledger_url) as connection:
        connection.execute(sa.text("DELETE FROM vambe_ticket_attempts"))
    assert claim_of(ledger, work(1), TOMORROW).verdict == Verdict.UNKNOWN


# --- Generations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REJECTED])
def test_an_open_generation_stays_open_when_a_newer_one_fails(
    ledger: SqlLedger, ledger_url: str, outcome: Outcome
) -> None:
    settle(ledger, claim_of(ledger, work(1), TONIGHT), Outcome.OPENED, TONIGHT, ai_contact_id="c")
    before = tickets(ledger_url)["id=1"]
    resend = options(run="tomorrow", resend=True)
    again = claim_of(ledger, work(1), resend)
    assert (again.verdict, again.made.generation, again.made.reason) == (Verdict.SEND, 1, Reason.RESEND)
    settle(ledger, again, outcome, resend)
    row = tickets(ledger_url)["id=1"]
    for name in ("state", "opened", "ai_contact_id", "evidence", "error", "fingerprint", "person"):
        assert row[name] == before[name]
    with sql_ledger(ledger_url) as other:
        assert claim_of(other, work(1), options(run="later")).verdict == Verdict.OPENED
        retry = claim_of(other, work(1), resend)
        assert (retry.verdict, retry.made.generation, retry.made.number) == (Verdict.SEND, 1, 3)


def test_a_newer_generation_that_is_unknown_leaves_the_older_one_open(ledger: SqlLedger, ledger_url: str) -> None:
    settle(ledger, claim_of(ledger, work(1), TONIGHT), Outcome.OPENED, TONIGHT)
    resend = options(run="tomorrow", resend=True)
    settle(ledger, claim_of(ledger, work(1), resend), Outcome.UNKNOWN, resend)
    with sql_ledger(ledger_url) as other:
        assert claim_of(other, work(1), options(run="later")).verdict == Verdict.OPENED
        check = claim_of(other, work(1), options(run="later", resend=True))
        assert (check.verdict, check.made.generation) == (Verdict.CHECK, 1)
        settle(other, check, Outcome.RECONCILED, options(run="later", resend=True))
        row = tickets(ledger_url)["id=1"]
        assert (row["state"], row["opened"]) == ("opened", 1)


@pytest.mark.parametrize("given", [{"resend": True}, {"on_change": "open_again"}])
def test_a_dag_run_opens_one_new_generation_over_tries_tasks_and_map_indexes(
    ledger: SqlLedger, ledger_url: str, given: dict[str, Any]
) -> None:
    settle(ledger, claim_of(ledger, work(1), TONIGHT), Outcome.OPENED, TONIGHT)
    new = work(1, text=" new")
    for run in ("tomorrow", "in two days", "tomorrow", "in two days"):
        for where in ({}, {"try_number": 2}, {"map_index": 4}, {"task": "shard_2"}):
            new = work(1, text=f" of {run}") if "on_change" in given else new
            with sql_ledger(ledger_url) as other:
                opts = options(run=run, **where, **given)
                claim = claim_of(other, new, opts)
                if claim.verdict == Verdict.SEND:
                    settle(other, claim, Outcome.OPENED, opts)
                else:
                    assert claim.verdict == Verdict.OPENED
    sent = [(row["run_id"], row["generation"]) for row in history(ledger_url)]
    assert sent == [("tonight", 0), ("tomorrow", 1), ("in two days", 2)]


def test_a_dag_run_that_opened_a_ticket_does_not_send_it_again_when_it_is_told_to_resend(ledger: SqlLedger) -> None:
    resend = options(run="tonight", resend=True)
    settle(ledger, claim_of(ledger, work(1), resend), Outcome.OPENED, resend)
    assert claim_of(ledger, work(1), resend).verdict == Verdict.DUPLICATE


def test_one_blind_attempt_in_a_dag_run(ledger: SqlLedger, ledger_url: str) -> None:
    for run in ("tonight", "tomorrow"):
        for try_number in (1, 2, 3):
            opts = options(run=run, try_number=try_number, on_unknown="resend")
            with sql_ledger(ledger_url) as other:
                while (claim := claim_of(other, work(1), opts)).verdict in (Verdict.SEND, Verdict.CHECK):
                    settle(other, claim, Outcome.UNKNOWN, opts)
                assert claim.verdict == Verdict.UNKNOWN
    made = [(row["run_id"], row["reason"], row["evidence"], row["sent"]) for row in history(ledger_url)]
    assert made == [
        ("tonight", "first", "blind", "maybe"),
        ("tonight", "blind", "blind", "maybe"),
        ("tomorrow", "blind", "no_trace", "maybe"),
    ]
    assert [row["closed_at"] is None for row in history(ledger_url)] == [False, False, True]


def test_a_blind_attempt_goes_to_the_same_person_only(ledger: SqlLedger) -> None:
    opts = options(on_unknown="resend")
    settle(ledger, claim_of(ledger, work(1), opts), Outcome.UNKNOWN, opts)
    assert claim_of(ledger, work(1, person=99), opts).verdict == Verdict.UNKNOWN


# --- Accounts ---------------------------------------------------------------------------------------------------------


def test_what_is_undecided_in_another_account_is_not_sent_here(ledger: SqlLedger, ledger_url: str) -> None:
    settle(ledger, claim_of(ledger, work(1)), Outcome.UNKNOWN)
    with sql_ledger(ledger_url) as other:
        claim = claim_of(other, work(1), options(account=ELSEWHERE, run="other"))
        assert (claim.verdict, claim.elsewhere) == (Verdict.UNKNOWN, ACCOUNT)
        [looked] = other.look_up([work(1)], options(account=ELSEWHERE, run="other"))
        assert (looked.verdict, looked.elsewhere) == (Verdict.UNKNOWN, ACCOUNT)
    assert states(ledger_url, ELSEWHERE) == {}


def test_what_is_open_in_another_account_is_not_open_here(ledger: SqlLedger, ledger_url: str) -> None:
    settle(ledger, claim_of(ledger, work(1), options(account=ELSEWHERE)), Outcome.OPENED, options(account=ELSEWHERE))
    claim = claim_of(ledger, work(1))
    assert (claim.verdict, claim.elsewhere) == (Verdict.SEND, ELSEWHERE)
    settle(ledger, claim, Outcome.OPENED)
    assert (states(ledger_url), states(ledger_url, ELSEWHERE)) == ({"id=1": "opened"}, {"id=1": "opened"})


# --- Clocks, and answers that were lost -------------------------------------------------------------------------------


def test_the_clock_of_the_worker_is_of_no_interest(
    ledger: SqlLedger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose clock is a day off neither takes over what is held, nor mistakes when something began."""
    claim_of(ledger, work(1))
    real = clock.utc
    for off in (-86400.0, 86400.0):
        monkeypatch.setattr(clock, "utc", lambda off=off: real() + off)
        with sql_ledger(ledger_url) as other:
            assert claim_of(other, work(1), TOMORROW).verdict == Verdict.WAIT
            fresh = claim_of(other, work(int(off) % 97 + 10), TOMORROW)
            assert abs(fresh.made.started - (real() + off)) < 5.0


class Clocks:
    """The clocks of this machine and of the database, and how long the database takes to tell its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed, self.ahead, self.latency = 0.0, 0.0, 0.0
        self._begin = datetime(2026, 11, 22, 3, 0)  # noqa: DTZ001 - as the database has it
        monkeypatch.setattr(clock, "now", lambda: self.passed)
        monkeypatch.setattr(database.Database, "_read_clock", lambda *_: self.read())

    def read(self) -> datetime:
        self.passed += self.latency
        now = self._begin + timedelta(seconds=self.passed + self.ahead)
        self.passed += self.latency
        return now


@pytest.mark.parametrize("jump", [300.0, -300.0])
def test_a_jump_of_the_ledgers_clock_makes_earlier_claims_void(
    sqlite_url: str, jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = Clocks(monkeypatch)
    with sql_ledger(sqlite_url) as ledger:
        claim = claim_of(ledger, work(1))
        clocks.passed += 50.0
        ledger.look_up([work(1)], options())
        assert claim.epoch == ledger.epoch
        clocks.ahead += jump
        ledger.look_up([work(1)], options())
        assert claim.epoch < ledger.epoch
        assert claim_of(ledger, work(2)).epoch == ledger.epoch


def test_a_slow_answer_of_the_ledger_is_no_jump_of_its_clock(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    with sql_ledger(sqlite_url) as ledger:
        claim = claim_of(ledger, work(1))
        for latency in (20.0, 0.0, 20.0, 20.0, 0.0):
            clocks.latency = latency
            ledger.look_up([work(1)], options())
            assert claim.epoch == ledger.epoch


def test_a_claim_whose_commit_got_no_answer_is_still_the_workers(ledger: SqlLedger, ledger_url: str) -> None:
    lose_answers(ledger)
    began = clock.now()
    claim = claim_of(ledger, work(1), lease=60.0)
    assert (claim.verdict, claim.made.number) == (Verdict.SEND, 1)
    assert len(history(ledger_url)) == 1
    assert claim.expires <= began + 60.0 + 1.0
    settle(ledger, claim, Outcome.OPENED)
    assert states(ledger_url) == {"id=1": "opened"}


def test_a_retaken_ticket_whose_commit_got_no_answer_was_surely_not_sent(ledger: SqlLedger, ledger_url: str) -> None:
    settle(ledger, claim_of(ledger, work(1)), Outcome.FAILED)
    lose_answers(ledger)
    again = claim_of(ledger, work(1))
    assert (again.verdict, again.made.number) == (Verdict.SEND, 2)
    assert len(history(ledger_url)) == 2


def test_a_check_whose_commit_got_no_answer_stays_a_check(ledger: SqlLedger, ledger_url: str) -> None:
    claim_of(ledger, work(1))
    pass_time(ledger_url)
    with sql_ledger(ledger_url) as other:
        lose_answers(other)
        check = claim_of(other, work(1), TOMORROW)
        assert (check.verdict, check.made.number) == (Verdict.CHECK, 1)


def test_a_caller_who_tries_again_recognises_what_it_had_claimed(
    ledger: SqlLedger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PAUSES", (0.0,))
    lose_answers(ledger, 2)
    with pytest.raises(VambeLedgerError):
        claim_of(ledger, work(1))
    assert claim_of(ledger, work(1)).verdict == Verdict.SEND
    assert len(history(ledger_url)) == 1


def test_a_claim_recovered_from_a_lost_answer_ends_when_its_row_says(
    ledger: SqlLedger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease runs from the commit, however long the answer took."""
    monkeypatch.setattr(database, "PAUSES", (0.0,))
    lose_answers(ledger, 2)
    with pytest.raises(VambeLedgerError):
        claim_of(ledger, work(1))
    pass_time(ledger_url, 50.0)
    began = clock.now()
    claim = claim_of(ledger, work(1))
    assert claim.verdict == Verdict.SEND
    assert claim.expires <= began + 10.0 + 1.0


# --- Cost -------------------------------------------------------------------------------------------------------------


def test_an_exchange_takes_as_many_round_trips_for_many_tickets_as_for_a_few(
    postgres_url: str,
) -> None:
    counts = []
    with sql_ledger(postgres_url) as ledger:
        for start, count in ((1, 8), (1001, 200)):
            given = works(count, start=start)
            claims = ledger.exchange([], given, TONIGHT, LEASE)
            outcomes = [Outcome.OPENED, Outcome.RECONCILED, Outcome.FAILED, Outcome.UNKNOWN, Outcome.REJECTED]
            done = [
                settlement(claim, outcomes[n % 5], ai_contact_id=f"c{n}", evidence_id=f"e{n}")
                for n, claim in enumerate(claims)
            ]
            again = [replace(claim.work, row_hash="new") for n, claim in enumerate(claims) if n % 5 > 1]
            with statements_of(ledger) as sent:
                ledger.exchange(done, [*again, *works(count, start=start + 500)], TOMORROW, LEASE)
            counts.append(len(sent))
    assert counts[0] == counts[1] <= 16


def test_a_settlement_that_changes_nothing_writes_nothing(ledger: SqlLedger) -> None:
    claim = claim_of(ledger, work(1))
    item = settle(ledger, claim, Outcome.OPENED)
    late = settlement(claim, Outcome.UNKNOWN)
    with statements_of(ledger) as sent:
        ledger.exchange([late], [], options(), LEASE)
    assert not [text for text in sent if text.lstrip().startswith(("UPDATE", "INSERT"))]
    with statements_of(ledger) as sent:
        ledger.exchange([item], [], options(), LEASE)
    assert not [text for text in sent if "UPDATE vambe_ticket_ledger" in text or "INSERT" in text]
