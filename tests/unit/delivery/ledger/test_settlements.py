"""What is recorded of claims, of refused rows and of a backlog, in each kind of database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.ledger import (
    ACCOUNT,
    ELSEWHERE,
    LEASE,
    claim_of,
    history,
    key,
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
    work,
    works,
)
from vambe_provider.delivery.ledger.tickets import Tickets
from vambe_provider.delivery.model import Evidence, Outcome, Sent, State, Unsendable, Verdict
from vambe_provider.exceptions import VambeRefusedError, VambeValidationError

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.sql import SqlLedger

TONIGHT, TOMORROW = options(run="tonight"), options(run="tomorrow")
WRONG = VambeValidationError(["email: not an e-mail address"], where="row id=1")


def bad(number: int, row_hash: str = "hash") -> Unsendable:
    return Unsendable(Outcome.REJECTED, key(number), WRONG, row_hash)


# --- Settlements ------------------------------------------------------------------------------------------------------


def test_an_attempt_is_closed_with_what_is_known_of_it(ledger: SqlLedger, ledger_url: str) -> None:
    claim = claim_of(ledger, work(1))
    began = time.time()
    settle(ledger, claim, Outcome.RECONCILED, ai_contact_id="c", evidence_id="ticket-1", ended=claim.made.started + 2)
    [attempt] = history(ledger_url)
    assert (attempt["sent"], attempt["evidence"], attempt["evidence_id"]) == ("yes", "mark", "ticket-1")
    assert (attempt["ai_contact_id"], attempt["in_flight"], attempt["error"]) == ("c", None, None)
    assert abs(moment(attempt["closed_at"]) - began) < 5.0
    assert moment(attempt["ended_at"]) <= moment(attempt["closed_at"])
    row = tickets(ledger_url)["id=1"]
    assert (row["state"], row["opened"], row["ai_contact_id"], row["evidence"]) == ("opened", 0, "c", "mark")


def test_an_attempt_with_a_reply_ended_by_then(ledger: SqlLedger) -> None:
    claim = claim_of(ledger, work(1))
    settle(ledger, claim, Outcome.OPENED)
    other = claim_of(ledger, work(2, person=1))
    [sibling] = ledger.siblings(other.made)
    assert sibling.ended < claim.made.ended - 30.0
    assert sibling.sent == Sent.YES


def test_an_error_is_kept_as_a_text_that_fits(ledger: SqlLedger, ledger_url: str) -> None:
    error = VambeRefusedError("no\n\x1b[2J" + "x" * 3000, status=400)
    settle(ledger, claim_of(ledger, work(1)), Outcome.REJECTED, error=error, ai_contact_id="c" * 300)
    [attempt], row = history(ledger_url), tickets(ledger_url)["id=1"]
    for kept in (attempt, row):
        assert kept["error_kind"] == "refused_400"
        assert len(kept["error"]) == 1000
        assert kept["error"].isprintable()
        assert kept["ai_contact_id"] == "c" * 100


def test_an_attempt_of_which_nobody_can_tell_stays_open_until_somebody_can(ledger: SqlLedger, ledger_url: str) -> None:
    settle(ledger, claim_of(ledger, work(1), TONIGHT), Outcome.UNKNOWN, TONIGHT, ai_contact_id="c")
    [attempt] = history(ledger_url)
    assert (attempt["sent"], attempt["evidence"], attempt["closed_at"]) == ("maybe", "no_trace", None)
    assert (attempt["in_flight"], attempt["ai_contact_id"], attempt["error_kind"]) == (None, "c", "refused_400")
    with sql_ledger(ledger_url) as other:
        check = claim_of(other, work(1), TOMORROW)
        assert (check.verdict, check.made.ai_contact_id) == (Verdict.CHECK, "c")
        settle(other, check, Outcome.UNKNOWN, TOMORROW, evidence=Evidence.TOO_OLD)
        assert [(row["evidence"], row["closed_at"]) for row in history(ledger_url)] == [("too_old", None)]
        check = claim_of(other, work(1), options(run="later"))
        settle(other, check, Outcome.FAILED, evidence=Evidence.WITNESS)
    [attempt] = history(ledger_url)
    assert (attempt["sent"], attempt["evidence"], attempt["closed_at"] is None) == ("no", "witness", False)
    assert states(ledger_url) == {"id=1": "failed"}


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REJECTED, Outcome.UNKNOWN])
def test_a_ticket_that_another_has_taken_is_only_settled_as_open(
    ledger: SqlLedger, ledger_url: str, outcome: Outcome
) -> None:
    claim = claim_of(ledger, work(1))
    pass_time(ledger_url)
    with sql_ledger(ledger_url) as other:
        check = claim_of(other, work(1), TOMORROW)
        assert check.verdict == Verdict.CHECK
        settle(ledger, claim, outcome)
        assert states(ledger_url) == {"id=1": "sending"}
        assert history(ledger_url)[0]["closed_at"] is None
        settle(ledger, claim, Outcome.OPENED, ai_contact_id="c")
        assert states(ledger_url) == {"id=1": "opened"}
        settle(other, check, outcome, TOMORROW)
        assert states(ledger_url) == {"id=1": "opened"}
        assert [(row["sent"], row["evidence"]) for row in history(ledger_url)] == [("yes", "reply")]


def test_a_reply_stays_the_evidence_when_a_look_finds_the_ticket_too(ledger: SqlLedger, ledger_url: str) -> None:
    claim = claim_of(ledger, work(1))
    pass_time(ledger_url)
    with sql_ledger(ledger_url) as other:
        check = claim_of(other, work(1), TOMORROW)
        settle(ledger, claim, Outcome.OPENED)
        settle(other, check, Outcome.RECONCILED, TOMORROW)
    assert history(ledger_url)[0]["evidence"] == tickets(ledger_url)["id=1"]["evidence"] == "reply"


def test_a_late_truth_about_an_attempt_does_not_end_the_one_after_it(ledger: SqlLedger, ledger_url: str) -> None:
    """A worker whose reply came very late says so while a blind attempt is on its way."""
    blind = options(on_unknown="resend")
    first = claim_of(ledger, work(1), blind)
    settle(ledger, first, Outcome.UNKNOWN, blind)
    second = claim_of(ledger, work(1), blind)
    assert (second.verdict, second.made.number) == (Verdict.SEND, 2)
    settle(ledger, first, Outcome.OPENED, blind, ai_contact_id="c")
    row = tickets(ledger_url)["id=1"]
    assert (row["state"], row["opened"], row["attempts"]) == ("sending", 0, 2)
    assert [(made["sent"], made["in_flight"] is None) for made in history(ledger_url)] == [
        ("yes", True),
        ("maybe", False),
    ]
    settle(ledger, second, Outcome.FAILED, blind)
    row = tickets(ledger_url)["id=1"]
    assert (row["state"], row["opened"], row["ai_contact_id"]) == ("opened", 0, "c")
    assert [made["sent"] for made in history(ledger_url)] == ["yes", "no"]


def test_an_older_generation_does_not_end_a_newer_one(ledger: SqlLedger, ledger_url: str) -> None:
    first = claim_of(ledger, work(1))
    settle(ledger, first, Outcome.OPENED)
    resend = options(run="other", resend=True)
    with sql_ledger(ledger_url) as other:
        again = claim_of(other, work(1), resend)
        settle(ledger, first, Outcome.OPENED)
        assert states(ledger_url) == {"id=1": "sending"}
        settle(other, again, Outcome.OPENED, resend)
    row = tickets(ledger_url)["id=1"]
    assert (row["state"], row["opened"], row["generation"]) == ("opened", 1, 1)


def test_a_settlement_whose_commit_got_no_answer_is_recorded_once(ledger: SqlLedger, ledger_url: str) -> None:
    claim = claim_of(ledger, work(1))
    lose_answers(ledger)
    settle(ledger, claim, Outcome.FAILED)
    assert [(row["sent"], row["evidence"]) for row in history(ledger_url)] == [("no", "not_sent")]
    lose_answers(ledger)
    [again] = ledger.exchange([settlement(claim, Outcome.FAILED)], [work(1)], options(), LEASE)
    assert again.verdict == Verdict.SEND
    assert len(history(ledger_url)) == 2


# --- Rows that validation refused -------------------------------------------------------------------------------------


def test_refused_rows_are_told_apart_by_what_their_tickets_are(ledger: SqlLedger, ledger_url: str) -> None:
    settle(ledger, claim_of(ledger, work(1)), Outcome.OPENED)
    claim_of(ledger, work(2))
    settle(ledger, claim_of(ledger, work(3)), Outcome.UNKNOWN)
    settle(ledger, claim_of(ledger, work(4)), Outcome.FAILED)
    rows = [*(bad(number) for number in range(1, 6)), Unsendable(Outcome.REJECTED, None, WRONG)]
    with sql_ledger(ledger_url) as other:
        assert other.reject(rows, TOMORROW) == [
            Verdict.OPENED,
            Verdict.HELD,
            Verdict.HELD,
            Verdict.REJECTED,
            Verdict.REJECTED,
            Verdict.REJECTED,
        ]
    assert ledger.reject(rows[:1], options()) == [Verdict.CONFLICT]
    assert states(ledger_url) == {
        "id=1": "opened",
        "id=2": "sending",
        "id=3": "unknown",
        "id=4": "rejected",
        "id=5": "rejected",
    }
    row = tickets(ledger_url)["id=5"]
    assert (row["evidence"], row["error_kind"], row["row_hash"], row["attempts"]) == (
        "validation",
        "validation",
        "hash",
        0,
    )
    assert history(ledger_url, 5) == []
    assert ledger.reject([], options()) == []


def test_a_row_that_is_refused_every_night_is_written_once(ledger: SqlLedger, ledger_url: str) -> None:
    rows = [bad(number) for number in range(1, 20)]
    assert set(ledger.reject(rows, TONIGHT)) == {Verdict.REJECTED}
    for night, expected in (
        ("tonight", Verdict.REJECTED),
        ("2", Verdict.STILL_REJECTED),
        ("3", Verdict.STILL_REJECTED),
    ):
        with sql_ledger(ledger_url) as other, statements_of(other) as sent:
            assert set(other.reject(rows, options(run=night))) == {expected}
            assert not [text for text in sent if text.lstrip().startswith(("UPDATE", "INSERT"))]
            assert claim_of(other, work(1, row="hash"), options(run=night)).verdict == expected
    with sql_ledger(ledger_url) as other:
        assert other.reject([bad(1, "changed")], TOMORROW) == [Verdict.REJECTED]
        assert claim_of(other, work(2, row="mended"), TOMORROW).verdict == Verdict.SEND


def test_the_same_refused_row_twice_in_one_try_is_a_duplicate(ledger: SqlLedger) -> None:
    assert ledger.reject([bad(1), bad(1)], options()) == [Verdict.REJECTED, Verdict.DUPLICATE]
    assert ledger.reject([bad(1)], options()) == [Verdict.DUPLICATE]


def test_of_a_bad_and_a_good_row_with_one_key_the_good_one_is_sent(ledger: SqlLedger) -> None:
    assert ledger.reject([bad(1)], options()) == [Verdict.REJECTED]
    assert claim_of(ledger, work(1)).verdict == Verdict.SEND


def test_a_refused_row_of_an_open_ticket_leaves_it_open_here_and_is_refused_elsewhere(
    ledger: SqlLedger, ledger_url: str
) -> None:
    settle(ledger, claim_of(ledger, work(1)), Outcome.OPENED)
    with sql_ledger(ledger_url) as other:
        assert other.reject([bad(1)], options(account=ELSEWHERE)) == [Verdict.REJECTED]
    assert (states(ledger_url, ACCOUNT), states(ledger_url, ELSEWHERE)) == ({"id=1": "opened"}, {"id=1": "rejected"})


def test_a_row_that_is_claimed_while_it_is_being_refused_is_the_claimers(
    ledger: SqlLedger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ledger_url.startswith("sqlite"):
        pytest.skip("SQLite lets nobody in between")
    real, meanwhile = Tickets.write, [True]

    def write(tickets_: Tickets) -> None:
        if meanwhile:
            meanwhile.clear()
            with sql_ledger(ledger_url) as other:
                assert claim_of(other, work(1)).verdict == Verdict.SEND
        real(tickets_)

    monkeypatch.setattr(Tickets, "write", write)
    assert ledger.reject([bad(1)], TOMORROW) == [Verdict.HELD]
    assert states(ledger_url) == {"id=1": "sending"}


# --- The backlog of the first day -------------------------------------------------------------------------------------


def test_a_seeded_ticket_counts_as_open_and_nothing_was_sent(ledger: SqlLedger, ledger_url: str) -> None:
    settle(ledger, claim_of(ledger, work(3)), Outcome.FAILED)
    assert ledger.seed([key(1), key(2), key(2), key(3)], options()) == 2
    assert ledger.seed([key(1), key(2)], options()) == 0
    assert ledger.seed([], options()) == 0
    assert states(ledger_url) == {"id=1": "opened", "id=2": "opened", "id=3": "failed"}
    [attempt] = history(ledger_url, 1)
    assert (attempt["reason"], attempt["sent"], attempt["evidence"]) == ("seed", "no", "seeded")
    assert (attempt["in_flight"], attempt["closed_at"] is None) == (None, False)
    with sql_ledger(ledger_url) as other:
        claims = other.exchange([], works(3), TOMORROW, LEASE)
        assert [claim.verdict for claim in claims] == [Verdict.OPENED, Verdict.OPENED, Verdict.SEND]
        again = claim_of(other, work(1), options(run="tomorrow", resend=True))
        assert (again.verdict, again.made.generation, again.made.number) == (Verdict.SEND, 1, 2)


def test_a_seeded_ticket_explains_nothing_that_is_found(ledger: SqlLedger) -> None:
    ledger.seed([key(2)], options())
    claim = claim_of(ledger, work(1))
    assert ledger.siblings(claim.made) == []
    assert ledger.witnesses(claim.made) == []


def test_the_state_of_a_row_is_one_that_the_rules_know(ledger: SqlLedger, ledger_url: str) -> None:
    claims = ledger.exchange([], works(4), options(), LEASE)
    outcomes = [Outcome.OPENED, Outcome.REJECTED, Outcome.FAILED, Outcome.UNKNOWN]
    ledger.exchange([settlement(c, o) for c, o in zip(claims, outcomes, strict=True)], [], options(), LEASE)
    assert set(states(ledger_url).values()) <= {state.value for state in State}
