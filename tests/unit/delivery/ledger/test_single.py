"""The memories of one task instance: Airflow's state store, and none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.delivery import Deliveries, DictStore, claim_of, options
from vambe_provider.delivery import clock
from vambe_provider.delivery.ledger.single import NoLedger, StateStoreLedger
from vambe_provider.delivery.model import Outcome, Settlement, State, Unsendable, Verdict
from vambe_provider.exceptions import VambeUnknownOutcomeError

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger import Ledger

BLIND = {"metadata_visible": "no", "ticket_created_at": False}


class Tries:
    """One task instance; every try has a ledger object of its own over the same store."""

    def __init__(self, deliveries: Deliveries) -> None:
        self.deliveries, self.store = deliveries, DictStore()

    @property
    def ledger(self) -> StateStoreLedger:
        return StateStoreLedger(self.store)

    def one(self, **given: object) -> Outcome:
        return self.deliveries.one(1, ledger=self.ledger, opts=options(**given)).outcome

    def time_passes(self) -> None:
        for value in self.store.values.values():
            value["until"] = 0.0


@pytest.fixture
def tries(deliveries: Deliveries) -> Tries:
    return Tries(deliveries)


class TestStateStore:
    def test_a_cleared_task_messages_nobody_again(self, tries: Tries) -> None:
        assert tries.one() == Outcome.OPENED
        assert tries.one() == Outcome.ALREADY_OPENED
        assert tries.deliveries.tickets() == {"1": 1}

    def test_what_is_stored_is_json_and_says_nothing_of_the_person(self, tries: Tries) -> None:
        tries.one()
        text = json.dumps(tries.store.values)
        for part in ("56910000001", "Person1", "order"):
            assert part not in text

    def test_resend_once(self, tries: Tries) -> None:
        tries.one()
        assert tries.one(resend=True) == Outcome.OPENED
        assert tries.one(resend=True) == Outcome.ALREADY_OPENED
        assert set(tries.deliveries.markers().values()) == {1}
        assert tries.deliveries.tickets() == {"1": 2}

    def test_a_resent_ticket_that_was_lost_is_found_by_its_own_mark(self, tries: Tries) -> None:
        tries.one()
        tries.deliveries.sandbox.fault("open_ticket", kind="drop", when="after")
        assert tries.one(resend=True) == Outcome.RECONCILED
        assert tries.one(resend=True) == Outcome.ALREADY_OPENED
        assert tries.deliveries.tickets() == {"1": 2}

    @pytest.mark.parametrize("posted", [False, True])
    def test_a_dead_try_is_reconciled(self, tries: Tries, posted: bool) -> None:
        claim = claim_of(tries.ledger, tries.deliveries.work(1))
        assert claim.verdict == Verdict.SEND
        if posted:
            tries.deliveries.one(1, ledger=NoLedger(second_try=False, since=0.0))
        tries.time_passes()
        assert tries.one() == (Outcome.RECONCILED if posted else Outcome.OPENED)
        assert tries.deliveries.tickets() == {"1": 1}

    def test_a_second_try_waits_for_the_lease_of_the_first_and_then_has_all_its_time(self, tries: Tries) -> None:
        claim_of(tries.ledger, tries.deliveries.work(1), lease=1.0)
        assert claim_of(tries.ledger, tries.deliveries.work(1)).verdict == Verdict.WAIT
        assert tries.one(retry_budget=0.9) == Outcome.OPENED

    def test_unknown_stays_unknown_until_a_person_or_the_user_decides(self, tries: Tries) -> None:
        sandbox = tries.deliveries.sandbox
        sandbox.configure(clock_skew_seconds=-3600.0)
        sandbox.seed_contact("+56910000001")
        sandbox.configure(clock_skew_seconds=0.0)
        sandbox.fault("open_ticket", kind="drop", when="before")
        assert tries.one() == Outcome.UNKNOWN
        again = tries.deliveries.one(1, ledger=tries.ledger)
        assert isinstance(again.error, VambeUnknownOutcomeError)
        assert tries.deliveries.posts() == 1
        assert tries.one(on_unknown="resend") == Outcome.OPENED

    def test_a_refused_ticket_is_tried_again_with_the_task(self, tries: Tries) -> None:
        tries.deliveries.sandbox.fault("open_ticket", kind="status", status=422)
        assert tries.one() == Outcome.REJECTED
        assert tries.one() == Outcome.OPENED

    def test_an_older_try_does_not_take_back_what_a_newer_one_has_done(self, tries: Tries) -> None:
        old = tries.ledger
        claim = claim_of(old, tries.deliveries.work(1))
        tries.time_passes()
        assert tries.one() == Outcome.OPENED
        old.exchange([Settlement(claim, State.UNKNOWN, Outcome.UNKNOWN)], [], options(), 1.0)
        assert claim_of(tries.ledger, claim.work).verdict == Verdict.OPENED


class TestNoLedger:
    def test_a_first_try_posts(self, deliveries: Deliveries) -> None:
        assert deliveries.one(1, ledger=NoLedger(second_try=False, since=clock.utc())).outcome == Outcome.OPENED
        assert deliveries.sandbox.requests("search_contacts") == []

    def test_a_second_try_looks_first(self, deliveries: Deliveries) -> None:
        since = clock.utc() - 60
        second = NoLedger(second_try=True, since=since)
        assert deliveries.one(1, ledger=second).outcome == Outcome.OPENED
        third = NoLedger(second_try=True, since=since)
        assert deliveries.one(1, ledger=third).outcome == Outcome.RECONCILED
        assert deliveries.tickets() == {"1": 1}

    def test_what_was_surely_not_sent_is_not_looked_for(self, deliveries: Deliveries) -> None:
        deliveries.sandbox.fault("open_ticket", kind="rate_limit", retry_after=0.01)
        assert deliveries.one(1, ledger=NoLedger(second_try=False, since=clock.utc())).outcome == Outcome.OPENED
        assert deliveries.sandbox.requests("search_contacts") == []


@pytest.mark.parametrize("kind", ["store", "none"])
def test_what_both_have_in_common(deliveries: Deliveries, kind: str) -> None:
    ledger: Ledger = StateStoreLedger(DictStore()) if kind == "store" else NoLedger(second_try=False, since=0.0)
    work = deliveries.work(1)
    assert [claim.verdict for claim in ledger.look_up([work], options())] == [Verdict.SEND]
    assert ledger.siblings(work) == []
    assert ledger.reject([Unsendable(Outcome.REJECTED, work.key)], options()) == [Outcome.REJECTED]
    assert deliveries.sandbox.request_count == 0
