"""The memories of one task instance: Airflow's state store, and none."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.ledger import (
    ELSEWHERE,
    claim_of,
    key,
    options,
    phone,
    settle,
    work,
)
from vambe_provider.delivery import clock
from vambe_provider.delivery.ledger.single import NoLedger, StateStoreLedger
from vambe_provider.delivery.model import Evidence, Outcome, Reason, Sent, Unsendable, Verdict
from vambe_provider.exceptions import VambeConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vambe_provider.delivery.ledger import Ledger
    from vambe_provider.delivery.model import Claim


class DictStore:
    """What Airflow hands a task as its state store: values are plain JSON."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)


class Tries:
    """One task instance; every try has a ledger object of its own over the same store."""

    def __init__(self) -> None:
        self.store, self.count = DictStore(), 0

    def next(self) -> StateStoreLedger:
        self.count += 1
        return StateStoreLedger(self.store, later_try=self.count > 1, since=time.time() - 600)

    def clear(self) -> None:
        """Clear the task as Airflow 3.4 does: the store is emptied, and the task starts anew."""
        self.store.values.clear()


@pytest.fixture
def tries() -> Tries:
    return Tries()


@pytest.fixture
def time_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    passed, real, real_now = [0.0], clock.utc, clock.now
    monkeypatch.setattr(clock, "utc", lambda: real() + passed[0])
    monkeypatch.setattr(clock, "now", lambda: real_now() + passed[0])

    def passes(seconds: float) -> None:
        passed[0] += seconds

    return passes


class TestStateStore:
    def test_an_open_ticket_stays_open_for_later_tries(self, tries: Tries) -> None:
        ledger = tries.next()
        settle(ledger, claim_of(ledger, work(1)), Outcome.OPENED, ai_contact_id="c")
        claim = claim_of(tries.next(), work(1))
        assert (claim.verdict, claim.ai_contact_id, claim.same_run) == (Verdict.OPENED, "c", True)

    def test_what_is_stored_says_nothing_of_the_person(self, tries: Tries) -> None:
        ledger = tries.next()
        settle(ledger, claim_of(ledger, work(1)), Outcome.OPENED)
        text = " ".join(tries.store.values.values())
        for part in (phone(1), phone(1)[1:], "Ana", "Hello"):
            assert part not in text

    def test_resend_opens_one_new_generation(self, tries: Tries) -> None:
        again = options(resend=True)
        for expected in (Verdict.SEND, Verdict.OPENED, Verdict.OPENED):
            # What the Dag run has sent because it was told to, its later tries do not send again.
            ledger = tries.next()
            claim = claim_of(ledger, work(1), again)
            assert claim.verdict == expected
            if claim.verdict == Verdict.SEND:
                settle(ledger, claim, Outcome.OPENED)

    def test_a_dead_try_is_looked_for_after_its_lease(self, tries: Tries, time_passes: Callable[[float], None]) -> None:
        first = claim_of(tries.next(), work(1))
        waiting = claim_of(tries.next(), work(1))
        assert (waiting.verdict, waiting.wait > 0) == (Verdict.WAIT, True)
        time_passes(61.0)
        ledger = tries.next()
        check = claim_of(ledger, work(1, person=99, text=" corrected"))
        assert check.verdict == Verdict.CHECK
        assert check.made == first.made
        settle(ledger, check, Outcome.FAILED, evidence=Evidence.NO_CONTACT)
        again = claim_of(ledger, work(1, person=99))
        assert (again.verdict, again.made.number, again.made.person) == (Verdict.SEND, 2, work(99).person)

    def test_unknown_stays_unknown_until_the_task_sends_blindly_once(self, tries: Tries) -> None:
        ledger = tries.next()
        settle(ledger, claim_of(ledger, work(1)), Outcome.UNKNOWN)
        assert claim_of(tries.next(), work(1)).verdict == Verdict.UNKNOWN
        blind = options(on_unknown="resend")
        ledger = tries.next()
        claim = claim_of(ledger, work(1), blind)
        assert (claim.verdict, claim.made.reason, claim.made.number) == (Verdict.SEND, Reason.BLIND, 2)
        settle(ledger, claim, Outcome.UNKNOWN)
        assert claim_of(tries.next(), work(1), blind).verdict == Verdict.UNKNOWN

    def test_a_refused_ticket_is_tried_again_when_it_changed(self, tries: Tries) -> None:
        ledger = tries.next()
        settle(ledger, claim_of(ledger, work(1)), Outcome.REJECTED)
        assert claim_of(tries.next(), work(1)).verdict == Verdict.REJECTED
        assert claim_of(tries.next(), work(1, text=" mended")).verdict == Verdict.SEND

    def test_an_older_try_does_not_take_back_what_a_newer_one_has_done(
        self, tries: Tries, time_passes: Callable[[float], None]
    ) -> None:
        old = tries.next()
        claim = claim_of(old, work(1))
        time_passes(61.0)
        new = tries.next()
        settle(new, claim_of(new, work(1)), Outcome.RECONCILED)
        settle(old, claim, Outcome.UNKNOWN)
        assert claim_of(tries.next(), work(1)).verdict == Verdict.OPENED

    def test_that_a_ticket_is_open_is_recorded_whoever_holds_it(
        self, tries: Tries, time_passes: Callable[[float], None]
    ) -> None:
        old = tries.next()
        claim = claim_of(old, work(1))
        time_passes(61.0)
        check = claim_of(tries.next(), work(1))
        settle(old, claim, Outcome.OPENED)
        settle(tries.next(), check, Outcome.UNKNOWN)
        assert claim_of(tries.next(), work(1)).verdict == Verdict.OPENED

    def test_an_emptied_store_is_not_believed(self, tries: Tries) -> None:
        ledger = tries.next()
        settle(ledger, claim_of(ledger, work(1)), Outcome.OPENED)
        tries.clear()
        ledger = tries.next()
        claim = claim_of(ledger, work(1))
        assert claim.verdict == Verdict.CHECK
        made = claim.made
        assert (made.number, made.generation, made.person, made.sent) == (1, 0, work(1).person, Sent.MAYBE)
        assert made.started == pytest.approx(time.time() - 600, abs=5.0)
        assert made.ended == pytest.approx(time.time(), abs=5.0)
        settle(ledger, claim, Outcome.RECONCILED)
        assert claim_of(tries.next(), work(1)).verdict == Verdict.OPENED

    def test_what_was_looked_for_in_vain_is_sent(self, tries: Tries) -> None:
        tries.next()
        ledger = tries.next()
        settle(ledger, claim_of(ledger, work(1)), Outcome.FAILED, evidence=Evidence.NO_CONTACT)
        assert claim_of(ledger, work(1)).verdict == Verdict.SEND

    def test_another_account_is_not_asked_about_what_this_one_may_have_opened(self, tries: Tries) -> None:
        ledger = tries.next()
        settle(ledger, claim_of(ledger, work(1)), Outcome.UNKNOWN)
        claim = claim_of(tries.next(), work(1), options(account=ELSEWHERE))
        assert (claim.verdict, claim.elsewhere) == (Verdict.UNKNOWN, options().account)

    def test_another_person_under_the_same_key_is_told(self, tries: Tries) -> None:
        ledger = tries.next()
        settle(ledger, claim_of(ledger, work(1)), Outcome.OPENED)
        assert claim_of(tries.next(), work(1, person=2)).verdict == Verdict.OTHER_PERSON


class TestNoLedger:
    def test_a_first_try_sends(self) -> None:
        assert claim_of(NoLedger(later_try=False, since=time.time()), work(1)).verdict == Verdict.SEND

    def test_a_later_try_looks_first(self) -> None:
        ledger = NoLedger(later_try=True, since=time.time() - 60)
        claim = claim_of(ledger, work(1))
        assert claim.verdict == Verdict.CHECK
        assert claim.made.started == pytest.approx(time.time() - 60, abs=5.0)
        settle(ledger, claim, Outcome.FAILED, evidence=Evidence.NO_CONTACT)
        assert claim_of(ledger, work(1)).verdict == Verdict.SEND

    def test_what_was_surely_not_sent_is_not_looked_for(self) -> None:
        ledger = NoLedger(later_try=False, since=time.time())
        settle(ledger, claim_of(ledger, work(1)), Outcome.FAILED)
        assert claim_of(ledger, work(1)).verdict == Verdict.SEND

    def test_after_a_lease_that_ran_out_the_ticket_is_looked_for_up_to_now(
        self, time_passes: Callable[[float], None]
    ) -> None:
        """While this try slept, the next one may have sent it, and nothing would tell."""
        ledger = NoLedger(later_try=False, since=time.time())
        claim = claim_of(ledger, work(1))
        time_passes(600.0)
        settle(ledger, claim, Outcome.FAILED, evidence=Evidence.LEASE_OVER)
        check = claim_of(ledger, work(1))
        assert (check.verdict, check.made.started) == (Verdict.CHECK, claim.made.started)
        assert check.made.ended == pytest.approx(clock.utc(), abs=5.0)

    def test_a_blind_attempt_is_made_once(self) -> None:
        ledger, blind = NoLedger(later_try=True, since=time.time()), options(on_unknown="resend")

        def unknown(claim: Claim) -> None:
            settle(ledger, claim, Outcome.UNKNOWN)

        unknown(claim_of(ledger, work(1), blind))
        unknown(claim_of(ledger, work(1), blind))
        assert claim_of(ledger, work(1), blind).verdict == Verdict.UNKNOWN


@pytest.mark.parametrize("kind", ["store", "none"])
def test_both_know_nothing_of_other_tickets(kind: str) -> None:
    first = {"later_try": False, "since": 0.0}
    ledger: Ledger = StateStoreLedger(DictStore(), **first) if kind == "store" else NoLedger(**first)  # type: ignore[arg-type]
    assert [claim.verdict for claim in ledger.look_up([work(1)], options())] == [Verdict.SEND]
    made = claim_of(ledger, work(1)).made
    assert ledger.siblings(made) == ledger.witnesses(made) == []
    assert ledger.earlier(made) == []
    assert ledger.glimpses("late-orders", [key(1).digest]) == {}
    assert ledger.reject([Unsendable(Outcome.REJECTED, key(1))], options()) == [Verdict.REJECTED]
    assert ledger.epoch == 0
    with pytest.raises(VambeConfigError, match="ledger_conn_id"):
        ledger.seed([key(1)], options())
