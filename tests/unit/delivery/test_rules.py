"""The rules of "exactly once": every state, whoever asks, and what a verdict means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.ledger import ACCOUNT, ELSEWHERE, options, work
from vambe_provider.delivery.model import Attempt, Claim, Evidence, Outcome, Reason, Sent, State, Verdict
from vambe_provider.delivery.rules import Glimpse, Known, decide, error_of, glance, outcome_of, refuse
from vambe_provider.exceptions import (
    VambeConfigError,
    VambeRefusedError,
    VambeTicketHeldError,
    VambeUnknownOutcomeError,
)

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
LATER, BEFORE = NOW + timedelta(seconds=30), NOW - timedelta(seconds=1)
ME, OTHER = "me", "other"
WORK = work(1)
THIS, ANOTHER = "nightly/2026-11-22", "nightly/2026-11-21"


def known(state: State, **changes: Any) -> Known:
    """Return a row that another Dag run has left."""
    opened = 0 if state == State.OPENED else None
    base = Known(ACCOUNT, state, 0, opened, 1, ANOTHER, f"{OTHER}.1", WORK.fingerprint, WORK.row_hash, WORK.person)
    return base._replace(**changes)


def attempt(reason: Reason = Reason.FIRST, sent: Sent = Sent.YES) -> Attempt:
    return Attempt("k", "n", ACCOUNT, 1, 0, reason, WORK.person, WORK.fingerprint, None, 0.0, 1.0, sent, dag_run=THIS)


def verdict(row: Known | None, mine: tuple[Attempt, ...] = (), **given: Any) -> Verdict:
    rows = () if row is None else (row,)
    return decide(rows, WORK, options(**given), me=ME, now=NOW, mine=mine).verdict


AGAIN: dict[str, Any] = {"on_change": "open_again"}
RESEND: dict[str, Any] = {"resend": True}
BLIND: dict[str, Any] = {"on_unknown": "resend"}


@pytest.mark.parametrize(
    ("row", "given", "expected"),
    [
        (None, {}, Verdict.SEND),
        # open
        (known(State.OPENED), {}, Verdict.OPENED),
        (known(State.OPENED, fingerprint="x"), {}, Verdict.OPENED),
        (known(State.OPENED, fingerprint="x"), AGAIN, Verdict.SEND),
        (known(State.OPENED, fingerprint=None), AGAIN, Verdict.OPENED),
        (known(State.OPENED), AGAIN, Verdict.OPENED),
        (known(State.OPENED), RESEND, Verdict.SEND),
        (known(State.OPENED, owner=f"{ME}.1"), {}, Verdict.DUPLICATE),
        (known(State.OPENED, owner=f"{ME}.1", fingerprint="x"), {}, Verdict.CONFLICT),
        (known(State.OPENED, person="x"), {}, Verdict.OTHER_PERSON),
        (known(State.OPENED, person="x"), RESEND, Verdict.OTHER_PERSON),
        (known(State.OPENED, person="x", fingerprint="x"), AGAIN, Verdict.OTHER_PERSON),
        (known(State.OPENED, person="x", owner=f"{ME}.1"), {}, Verdict.CONFLICT),
        (known(State.OPENED, person=None), {}, Verdict.OPENED),
        # on its way, or its worker died
        (known(State.SENDING, lease_until=LATER), {}, Verdict.WAIT),
        (known(State.SENDING, lease_until=LATER, dag_run=THIS), {}, Verdict.WAIT),
        (known(State.SENDING, lease_until=LATER, owner=f"{ME}.1"), {}, Verdict.WAIT),
        (known(State.SENDING, lease_until=LATER), RESEND, Verdict.WAIT),
        (known(State.SENDING, lease_until=LATER, opened=0), {}, Verdict.OPENED),
        (known(State.SENDING, lease_until=LATER, opened=0), RESEND, Verdict.WAIT),
        (known(State.SENDING, lease_until=LATER, opened=0), AGAIN, Verdict.WAIT),
        (known(State.SENDING, lease_until=BEFORE), {}, Verdict.CHECK),
        (known(State.SENDING, lease_until=NOW), {}, Verdict.CHECK),
        (known(State.SENDING, lease_until=None), {}, Verdict.CHECK),
        (known(State.SENDING, lease_until=BEFORE, fingerprint="x", person="x"), RESEND, Verdict.CHECK),
        (known(State.SENDING, lease_until=BEFORE, dag_run=THIS), BLIND, Verdict.CHECK),
        # nobody can tell
        (known(State.UNKNOWN), {}, Verdict.CHECK),
        (known(State.UNKNOWN), BLIND, Verdict.CHECK),
        (known(State.UNKNOWN, dag_run=THIS), {}, Verdict.UNKNOWN),
        (known(State.UNKNOWN, dag_run=THIS), RESEND, Verdict.UNKNOWN),
        (known(State.UNKNOWN, dag_run=THIS), BLIND, Verdict.SEND),
        (known(State.UNKNOWN, dag_run=THIS, person="x"), BLIND, Verdict.UNKNOWN),
        (known(State.UNKNOWN, opened=0), {}, Verdict.OPENED),
        (known(State.UNKNOWN, opened=0), RESEND, Verdict.CHECK),
        (known(State.UNKNOWN, opened=0, dag_run=THIS), RESEND, Verdict.UNKNOWN),
        # surely not created
        (known(State.FAILED), {}, Verdict.SEND),
        (known(State.FAILED, owner=f"{ME}.1", person="x"), {}, Verdict.SEND),
        (known(State.REJECTED), {}, Verdict.STILL_REJECTED),
        (known(State.REJECTED, dag_run=THIS), {}, Verdict.REJECTED),
        (known(State.REJECTED), RESEND, Verdict.STILL_REJECTED),
        (known(State.REJECTED, row_hash="x"), {}, Verdict.SEND),
        (known(State.REJECTED, row_hash="x", owner=f"{ME}.r"), {}, Verdict.SEND),
        (known(State.REJECTED, owner=f"{ME}.r"), {}, Verdict.DUPLICATE),
        # the contact policy, or a person
        (known(State.POSTPONED, due_at=LATER), {}, Verdict.POSTPONED),
        (known(State.POSTPONED, due_at=LATER), {"policy": True}, Verdict.SEND),
        (known(State.POSTPONED, due_at=BEFORE), {}, Verdict.SEND),
        (known(State.POSTPONED, due_at=None), {}, Verdict.SEND),
        (known(State.SUPPRESSED), {}, Verdict.SUPPRESSED),
        (known(State.SUPPRESSED), RESEND, Verdict.SUPPRESSED),
        (known(State.SUPPRESSED), {"policy": True}, Verdict.SEND),
        (known(State.SUPPRESSED, evidence=Evidence.PERSON), {"policy": True, **RESEND}, Verdict.SUPPRESSED),
        # an open generation stays open, whatever the state says besides
        (known(State.FAILED, opened=0), {}, Verdict.OPENED),
        (known(State.REJECTED, opened=0, row_hash="x"), {}, Verdict.OPENED),
        (known(State.POSTPONED, opened=0), {"policy": True}, Verdict.OPENED),
        (known(State.SUPPRESSED, opened=0), {"policy": True}, Verdict.OPENED),
        (known(State.SUPPRESSED, opened=0), {"policy": True, **RESEND}, Verdict.SEND),
    ],
)
def test_what_may_be_done(row: Known | None, given: dict[str, Any], expected: Verdict) -> None:
    assert verdict(row, **given) == expected


def test_what_is_not_named_is_not_sent() -> None:
    odd: Any = "a state of a later version"
    for given in ({}, RESEND, AGAIN, BLIND, {"policy": True}):
        assert verdict(known(odd), **given) == Verdict.HELD
        assert refuse(known(odd), "hash", options(**given), me=ME) == Verdict.HELD


@pytest.mark.parametrize(
    ("row", "given", "mine", "expected"),
    [
        (known(State.OPENED), RESEND, (attempt(),), Verdict.SEND),
        (known(State.OPENED), RESEND, (attempt(Reason.RESEND),), Verdict.OPENED),
        (known(State.OPENED), RESEND, (attempt(Reason.BLIND),), Verdict.OPENED),
        (known(State.OPENED, fingerprint="x"), AGAIN, (attempt(),), Verdict.OPENED),
        (known(State.OPENED), RESEND, (attempt(Reason.RESEND, Sent.MAYBE),), Verdict.OPENED),
        (known(State.OPENED), RESEND, (attempt(Reason.RESEND, Sent.NO),), Verdict.SEND),
        (known(State.OPENED, fingerprint="x"), AGAIN, (attempt(Reason.CHANGED),), Verdict.OPENED),
        (known(State.OPENED, fingerprint="x"), AGAIN, (attempt(Reason.CHANGED, Sent.NO),), Verdict.SEND),
        (known(State.UNKNOWN, dag_run=THIS), BLIND, (attempt(sent=Sent.MAYBE),), Verdict.SEND),
        (known(State.UNKNOWN, dag_run=THIS), BLIND, (attempt(Reason.BLIND, Sent.MAYBE),), Verdict.UNKNOWN),
    ],
)
def test_what_a_dag_run_does_once(
    row: Known, given: dict[str, Any], mine: tuple[Attempt, ...], expected: Verdict
) -> None:
    assert verdict(row, mine, **given) == expected


def test_what_is_sent_again_on_purpose_is_the_generation_after_the_open_one() -> None:
    opened = known(State.OPENED, generation=3, opened=2, fingerprint="x")
    for given, reason in ((RESEND, Reason.RESEND), (AGAIN, Reason.CHANGED)):
        decision = decide([opened], WORK, options(**given), me=ME, now=NOW)
        assert (decision.generation, decision.reason) == (3, reason)


def test_what_is_tried_again_keeps_its_generation() -> None:
    for state, dag_run in ((State.FAILED, ANOTHER), (State.SENDING, ANOTHER), (State.UNKNOWN, THIS)):
        row = known(state, generation=2, dag_run=dag_run)
        assert decide([row], WORK, options(on_unknown="resend"), me=ME, now=NOW).generation == 2


def test_why_an_attempt_is_begun() -> None:
    def reason(row: Known | None, **given: Any) -> Reason:
        return decide([row] if row else [], WORK, options(**given), me=ME, now=NOW).reason

    assert reason(None) == Reason.FIRST
    assert reason(known(State.FAILED)) == Reason.AGAIN
    assert reason(known(State.FAILED, attempts=0)) == Reason.FIRST
    assert reason(known(State.REJECTED, row_hash="x", attempts=0)) == Reason.FIRST
    assert reason(known(State.UNKNOWN, dag_run=THIS), **BLIND) == Reason.BLIND


def test_how_long_to_wait() -> None:
    assert decide([known(State.SENDING, lease_until=LATER)], WORK, options(), me=ME, now=NOW).wait == 30.0


@pytest.mark.parametrize("state", [State.SENDING, State.UNKNOWN])
@pytest.mark.parametrize("own", [None, known(State.FAILED), known(State.OPENED), known(State.REJECTED, row_hash="x")])
def test_nothing_is_sent_while_another_account_is_undecided(state: State, own: Known | None) -> None:
    other = known(state, account=ELSEWHERE)
    rows = [other] if own is None else [other, own]
    decision = decide(rows, WORK, options(resend=True), me=ME, now=NOW)
    assert (decision.verdict, decision.elsewhere) == (Verdict.UNKNOWN, ELSEWHERE)


@pytest.mark.parametrize("state", [State.OPENED, State.REJECTED, State.FAILED, State.POSTPONED, State.SUPPRESSED])
def test_what_another_account_knows_for_sure_says_nothing_here(state: State) -> None:
    assert verdict(known(state, account=ELSEWHERE)) == Verdict.SEND


def test_that_an_open_ticket_has_other_content_is_told() -> None:
    assert decide([known(State.OPENED, fingerprint="x")], WORK, options(), me=ME, now=NOW).changed
    assert not decide([known(State.OPENED)], WORK, options(), me=ME, now=NOW).changed


# --- A row that is known before its request is made -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "given", "expected"),
    [
        (known(State.OPENED), {}, Verdict.OPENED),
        (known(State.OPENED), RESEND, None),
        (known(State.OPENED), AGAIN, None),
        (known(State.OPENED, owner=f"{ME}.1"), {}, None),
        (known(State.OPENED, account=ELSEWHERE), {}, None),
        (known(State.REJECTED, row_hash="hash"), {}, Verdict.STILL_REJECTED),
        (known(State.REJECTED, row_hash="hash", dag_run=THIS), {}, Verdict.REJECTED),
        (known(State.REJECTED, row_hash="other"), {}, None),
        (known(State.REJECTED, row_hash="hash", owner=f"{ME}.r"), {}, None),
        (known(State.SENDING), {}, None),
        (known(State.UNKNOWN), {}, None),
        (known(State.FAILED), {}, None),
        (known(State.POSTPONED), {}, None),
        (known(State.SUPPRESSED), {}, None),
    ],
)
def test_what_a_glimpse_decides(row: Known, given: dict[str, Any], expected: Verdict | None) -> None:
    seen = Glimpse(row.account, row.state, row.owner, row.dag_run, row.row_hash)
    assert glance([seen], "hash", options(**given), me=ME) == expected


def test_a_glimpse_decides_as_a_claim_would() -> None:
    for state in State:
        row = known(state, lease_until=LATER, due_at=LATER)
        seen = Glimpse(row.account, row.state, row.owner, row.dag_run, row.row_hash)
        found = glance([seen], WORK.row_hash, options(), me=ME)
        assert found is None or found == verdict(row)


def test_without_the_hash_of_a_row_a_refusal_is_asked_for_again() -> None:
    assert glance([Glimpse(ACCOUNT, State.REJECTED, None, ANOTHER, None)], None, options(), me=ME) is None


# --- Refused rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "given", "expected"),
    [
        (None, {}, Verdict.REJECTED),
        (known(State.OPENED), {}, Verdict.OPENED),
        (known(State.OPENED, owner=f"{ME}.1"), {}, Verdict.CONFLICT),
        (known(State.FAILED, opened=0), {}, Verdict.OPENED),
        (known(State.SENDING), {}, Verdict.HELD),
        (known(State.UNKNOWN), {}, Verdict.HELD),
        (known(State.UNKNOWN, opened=0), {}, Verdict.OPENED),
        (known(State.UNKNOWN, opened=0), RESEND, Verdict.HELD),
        (known(State.REJECTED, row_hash="hash"), {}, Verdict.STILL_REJECTED),
        (known(State.REJECTED, row_hash="hash", dag_run=THIS), {}, Verdict.REJECTED),
        (known(State.REJECTED, row_hash="hash", owner=f"{ME}.r"), {}, Verdict.DUPLICATE),
        (known(State.REJECTED, row_hash="other"), {}, Verdict.REJECTED),
        (known(State.FAILED), {}, Verdict.REJECTED),
        (known(State.POSTPONED), {}, Verdict.REJECTED),
        (known(State.SUPPRESSED), {}, Verdict.REJECTED),
        (known(State.SUPPRESSED, evidence=Evidence.PERSON), {}, Verdict.SUPPRESSED),
    ],
)
def test_what_a_refused_row_is(row: Known | None, given: dict[str, Any], expected: Verdict) -> None:
    assert refuse(row, "hash", options(**given), me=ME) == expected


# --- What a verdict means ---------------------------------------------------------------------------------------------

ENDS = [verdict_ for verdict_ in Verdict if verdict_ not in (Verdict.SEND, Verdict.CHECK)]
QUIET = (Verdict.OPENED, Verdict.DUPLICATE, Verdict.POSTPONED, Verdict.SUPPRESSED)


@pytest.mark.parametrize("end", ENDS)
def test_every_verdict_that_ends_a_row_has_an_outcome_and_a_text(end: Verdict) -> None:
    assert outcome_of(end) in Outcome
    error = error_of(Claim(WORK, end), options(ledger_conn_id="warehouse"))
    assert (error is None) == (end in QUIET)
    if error is not None:
        assert "id=1" in str(error)
        assert error.fix


def test_what_ends_nothing_has_no_outcome() -> None:
    for verdict_ in (Verdict.SEND, Verdict.CHECK):
        with pytest.raises(KeyError):
            outcome_of(verdict_)


@pytest.mark.parametrize(
    ("claim", "kind", "parts"),
    [
        (Claim(WORK, Verdict.STILL_REJECTED), VambeRefusedError, ["ledger retry --conn-id warehouse"]),
        (Claim(WORK, Verdict.UNKNOWN), VambeUnknownOutcomeError, ["ledger resolve --conn-id warehouse", "--not-sent"]),
        (Claim(WORK, Verdict.UNKNOWN, elsewhere=ELSEWHERE), VambeUnknownOutcomeError, [ELSEWHERE, "--not-sent"]),
        (Claim(WORK, Verdict.WAIT), VambeTicketHeldError, ["another task"]),
        (Claim(WORK, Verdict.CONFLICT), VambeConfigError, ["key_columns"]),
        (Claim(WORK, Verdict.OTHER_PERSON, dag="payments"), VambeConfigError, ["another person by the Dag payments"]),
    ],
)
def test_an_error_names_the_way_out(claim: Claim, kind: type[Exception], parts: list[str]) -> None:
    error = error_of(claim, options(ledger_conn_id="warehouse"))
    assert type(error) is kind
    for part in parts:
        assert part in str(error)
