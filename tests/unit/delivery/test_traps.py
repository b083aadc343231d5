"""The traps of "exactly once", each with a test that has its name."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.support.delivery import (
    PERSONS,
    Background,
    Deliveries,
    DictStore,
    change_ledger,
    claim_of,
    connected,
    options,
    row,
    rows,
    sql_ledger,
)
from vambe_provider.delivery import clock
from vambe_provider.delivery.batch import loop
from vambe_provider.delivery.ledger.single import NoLedger, StateStoreLedger
from vambe_provider.delivery.ledger.sql import SqlLedger
from vambe_provider.delivery.model import Outcome, Settlement, Verdict
from vambe_provider.delivery.pace import breaker
from vambe_provider.exceptions import VambeDeliveryError, VambeLedgerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vambe_provider.delivery.model import Work

PAST = "2020-01-01 00:00:00.000000"


class LateClock:
    """The clock of a worker that sleeps for an hour when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = 0.0
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + self.offset)

    def sleeps(self) -> None:
        self.offset += 3600.0


@pytest.fixture
def late_clock(monkeypatch: pytest.MonkeyPatch) -> LateClock:
    return LateClock(monkeypatch)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        threading.Event().wait(0.01)


class TestTwoRowsForOnePerson:
    PHONE = "+56911112222"

    def test_never_two_in_flight(self, everywhere: Deliveries) -> None:
        """While the first of two tickets to a person hangs, the second is not posted, and others are."""
        sandbox = everywhere.sandbox
        sandbox.fault("open_ticket", kind="hang", phone=self.PHONE)
        data = [row(1, phone=self.PHONE), row(2, phone=self.PHONE), *rows(5, start=3)]
        run = Background(lambda: everywhere.many(data))
        sandbox.wait_for(lambda sandbox: sandbox.ticket_count == 5)
        mine = [r for r in sandbox.requests("open_ticket") if r["body"]["to_phone_number"] == self.PHONE]
        assert len(mine) == 1
        sandbox.clear_faults()
        assert run.result().counts == {Outcome.OPENED: 7}
        assert everywhere.tickets() == {str(number): 1 for number in range(1, 8)}

    def test_nor_from_two_runs(self, everywhere: Deliveries) -> None:
        """Another run with another namespace waits for the person, too."""
        with sql_ledger(everywhere.url) as first, sql_ledger(everywhere.url) as second:
            one = everywhere.work(row(1, phone=self.PHONE), namespace="one")
            two = everywhere.work(row(1, phone="56 9 1111-2222"), namespace="two")
            claim = claim_of(first, one)
            assert claim.verdict == Verdict.SEND
            assert claim_of(second, two, options(run="other")).verdict == Verdict.WAIT
            everywhere.change(lease_until=PAST)
            assert claim_of(second, two, options(run="other")).verdict == Verdict.WAIT
            assert claim_of(second, two, options(run="other")).verdict == Verdict.SEND

    @pytest.mark.parametrize("switches", [{}, {"metadata_visible": "no"}], ids=["plain", "metadata-hidden"])
    def test_evidence_counts_once(self, deliveries: Deliveries, switches: dict[str, str]) -> None:
        """A ticket that was opened for one row proves nothing for the other row of the same person."""
        deliveries.sandbox.configure(**switches)
        data = [row(1, phone=self.PHONE), row(2, phone=self.PHONE)]
        deliveries.sandbox.fault("open_ticket", kind="drop", when="before", nth=2)
        report = deliveries.many(data, max_concurrency=1)
        # The contact exists by now, so nobody can tell; what must not be is a second row "reconciled" by the first.
        assert report.counts == {Outcome.OPENED: 1, Outcome.UNKNOWN: 1}
        assert deliveries.tickets().total() == 1

    def test_same_text_twice(self, deliveries: Deliveries) -> None:
        """The message of one row is no proof for the other, although both say the same."""
        deliveries.sandbox.configure(metadata_visible="no", ticket_created_at=False)
        ticket = {"to_phone_number": "{phone}", "stage": "Support / New", "message": "Your order is late",
                  "ticket_metadata": {"order_id": "{id}"}}  # fmt: skip
        data = [row(1, phone=self.PHONE), row(2, phone=self.PHONE)]
        deliveries.sandbox.fault("open_ticket", kind="drop", when="before", nth=2)
        report = deliveries.many(data, ticket=ticket, max_concurrency=1)
        assert report.counts == {Outcome.OPENED: 1, Outcome.UNKNOWN: 1}

    def test_the_text_of_a_ticket_that_was_found_is_no_proof(self, deliveries: Deliveries) -> None:
        """The first row was found by its ticket; its message explains itself and nothing of the second row."""
        deliveries.sandbox.configure(metadata_visible="no")
        ticket = {"to_phone_number": "{phone}", "stage": "Support / New", "message": "Your order is late",
                  "ticket_metadata": {"order_id": "{id}"}}  # fmt: skip
        data = [row(1, phone=self.PHONE), row(2, phone=self.PHONE)]
        deliveries.sandbox.fault("open_ticket", kind="drop", when="after")
        deliveries.sandbox.fault("open_ticket", kind="drop", when="before", nth=2)
        report = deliveries.many(data, ticket=ticket, max_concurrency=1)
        assert report.counts == {Outcome.RECONCILED: 1, Outcome.UNKNOWN: 1}
        assert deliveries.tickets() == {"1": 1}

    def test_a_later_ticket_is_no_proof_for_an_earlier_one(self, deliveries: Deliveries) -> None:
        """A dead worker's row is looked for after another row of the person was sent; that one's ticket is not its."""
        sandbox = deliveries.sandbox
        sandbox.configure(clock_skew_seconds=-3600.0)
        sandbox.seed_contact(self.PHONE)
        sandbox.configure(clock_skew_seconds=0.0)
        with sql_ledger(deliveries.url) as dead:
            claim_of(dead, deliveries.work(row(1, phone=self.PHONE)))
        minute_ago = time.strftime("%Y-%m-%d %H:%M:%S.000000", time.gmtime(time.time() - 60))
        deliveries.change(lease_until=PAST)
        change_ledger(deliveries.url, "vambe_ticket_attempts", started_at=minute_ago, lease_until=minute_ago)
        with sql_ledger(deliveries.url) as living:
            claim_of(living, deliveries.work(row(2, phone=self.PHONE)), options(run="other"))
            assert deliveries.one(row(2, phone=self.PHONE), ledger=living).outcome == Outcome.OPENED
        assert deliveries.one(row(1, phone=self.PHONE)).outcome == Outcome.UNKNOWN
        assert deliveries.tickets() == {"2": 1}

    def test_a_ticket_that_came_during_the_look_is_no_proof(self, deliveries: Deliveries) -> None:
        """The look lasts longer than the lease, and another row of the person is sent meanwhile."""
        sandbox = deliveries.sandbox
        sandbox.configure(clock_skew_seconds=-3600.0)
        sandbox.seed_contact(self.PHONE)
        sandbox.configure(clock_skew_seconds=0.0, metadata_visible="no")
        lost = sandbox.fault("open_ticket", kind="drop", when="before")
        looking = sandbox.fault("search_contacts", kind="hang")
        first = Background(lambda: deliveries.one(row(1, phone=self.PHONE), opts=options(polls=(0.0,))))
        sandbox.wait_for(lambda _: looking.hits == 1)
        assert lost.hits == 1
        deliveries.change(lease_until=PAST)
        assert deliveries.one(row(2, phone=self.PHONE), opts=options(run="other")).outcome == Outcome.OPENED
        sandbox.clear_faults()
        assert first.result().outcome == Outcome.UNKNOWN
        assert deliveries.tickets() == {"2": 1}


class TestThePausedWorker:
    """A worker that was only suspended must not post when it wakes up."""

    def test_lease_over_before_the_post_means_no_post(
        self, deliveries: Deliveries, late_clock: LateClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "MAX_TRIES", 1)
        with sql_ledger(deliveries.url) as ledger:
            real = ledger.exchange

            def slow(*args: object) -> object:
                claims = real(*args)  # type: ignore[arg-type]
                late_clock.sleeps()
                return claims

            monkeypatch.setattr(ledger, "exchange", slow)
            report = deliveries.many(rows(3), ledger=ledger)
        assert deliveries.posts() == 0
        assert report.counts == {Outcome.FAILED: 3}
        assert deliveries.many(rows(3)).counts == {Outcome.OPENED: 3}

    def test_it_does_not_take_back_what_another_has_done(self, everywhere: Deliveries, late_clock: LateClock) -> None:
        with sql_ledger(everywhere.url) as sleeper:
            claim = claim_of(sleeper, everywhere.work(1))
            everywhere.change(lease_until=PAST)
            assert everywhere.one(1).outcome == Outcome.OPENED
            late_clock.sleeps()
            failed = _settled_late(claim)
            sleeper.exchange([failed], [], options(), 60.0)
            assert everywhere.states() == {"id=1": "opened"}
            assert claim_of(sleeper, everywhere.work(1)).verdict == Verdict.OPENED

    def test_with_a_state_store(self, deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
        """The second try has sent the ticket while the first one slept between its claim and its post."""
        store = DictStore()

        class Sleeper(StateStoreLedger):
            slept = False

            def exchange(self, *args: Any) -> Any:
                claims = super().exchange(*args)
                if not Sleeper.slept:
                    Sleeper.slept = True
                    for value in store.values.values():
                        for known in value["rows"]:
                            known["lease_until"] = "2020-01-01T00:00:00+00:00"
                        for made in value["attempts"]:
                            made["ended"] = clock.utc()
                    second = StateStoreLedger(store, later_try=True, since=clock.utc() - 5)
                    assert deliveries.one(1, ledger=second).outcome == Outcome.OPENED
                    return [replace(claim, expires=0.0) for claim in claims]
                return claims

        result = deliveries.one(1, ledger=Sleeper(store, later_try=False, since=clock.utc() - 5))
        assert result.outcome == Outcome.ALREADY_OPENED
        assert deliveries.tickets() == {"1": 1}
        third = StateStoreLedger(store, later_try=True, since=clock.utc() - 5)
        assert deliveries.one(1, ledger=third).outcome == Outcome.ALREADY_OPENED

    def test_without_a_ledger(self, deliveries: Deliveries) -> None:
        class Sleeper(NoLedger):
            slept = False

            def exchange(self, *args: Any) -> Any:
                claims = super().exchange(*args)
                if not Sleeper.slept:
                    Sleeper.slept = True
                    second = NoLedger(later_try=True, since=clock.utc() - 5)
                    assert deliveries.one(1, ledger=second).outcome == Outcome.OPENED
                    return [replace(claim, expires=0.0) for claim in claims]
                return claims

        result = deliveries.one(1, ledger=Sleeper(later_try=False, since=clock.utc() - 5))
        assert result.outcome == Outcome.RECONCILED
        assert deliveries.tickets() == {"1": 1}

    def test_others_wait_for_the_lease_and_the_last_request(self, everywhere: Deliveries) -> None:
        opts = options()
        hold = opts.hold(everywhere.settings.timeout)
        assert hold >= 120.0 + 2 * everywhere.settings.timeout
        with sql_ledger(everywhere.url) as first, sql_ledger(everywhere.url) as second:
            claim = claim_of(first, everywhere.work(1), opts, lease=hold)
            answer = claim_of(second, everywhere.work(1), options(run="other"))
            assert answer.verdict == Verdict.WAIT
            assert claim.expires <= clock.now() + answer.wait + 0.5


def _settled_late(claim: Any) -> Settlement:
    import asyncio

    from vambe_provider.delivery.attempt.post import Courier

    # Nothing of the API is needed: a ticket whose lease is over is not posted.
    nobody: Any = None
    courier = Courier(nobody, options(), PERSONS, 5.0, lambda: claim.epoch, asyncio.Semaphore(1))
    settled: Any = asyncio.run(courier.post(claim))
    assert isinstance(settled, Settlement)
    return settled


class TestSlowPacingAndLongBatches:
    def test_no_more_is_claimed_than_can_be_sent(self, deliveries: Deliveries) -> None:
        hanging = deliveries.sandbox.fault("open_ticket", kind="hang", times="forever")
        run = Background(lambda: deliveries.many(rows(100), max_concurrency=4))
        deliveries.sandbox.wait_for(lambda _: hanging.hits == 4)
        wait_until(lambda: len(deliveries.states()) > 0)
        assert len(deliveries.states()) <= 4 + 4
        deliveries.sandbox.clear_faults()
        assert run.result().counts == {Outcome.OPENED: 100}

    def test_a_paced_batch_claims_a_row_only_when_it_is_its_turn(self, deliveries: Deliveries) -> None:
        from vambe_provider.api.rate import Rate

        stop = threading.Event()
        run = Background(lambda: deliveries.many(rows(100), rate=Rate(1, 3600), stop=stop))
        deliveries.sandbox.wait_for(lambda sandbox: sandbox.ticket_count == 1)
        stop.set()
        assert run.result().counts == {Outcome.OPENED: 1, Outcome.FAILED: 99}
        assert deliveries.states() == {"id=1": "opened"}


class TestClearingATask:
    def test_messages_nobody_again(self, everywhere: Deliveries) -> None:
        assert everywhere.one(1).outcome == Outcome.OPENED
        again = everywhere.one(1)
        assert (again.outcome, again.error) == (Outcome.ALREADY_OPENED, None)
        assert again.ai_contact_id == everywhere.sandbox.contacts()[0]["id"]
        assert everywhere.many(rows(1)).counts == {Outcome.ALREADY_OPENED: 1}
        assert everywhere.tickets() == {"1": 1}

    def test_resend_sends_once_per_run(self, everywhere: Deliveries) -> None:
        everywhere.many(rows(2))
        on_purpose = options(run="the run that was told to", resend=True)
        assert everywhere.many(rows(2), opts=on_purpose).counts == {Outcome.OPENED: 2}
        assert everywhere.many(rows(2), opts=on_purpose).counts == {Outcome.ALREADY_OPENED: 2}
        assert everywhere.tickets() == {"1": 2, "2": 2}
        assert set(everywhere.markers().values()) == {1}

    def test_resend_after_an_interruption_goes_on_where_it_was(self, everywhere: Deliveries) -> None:
        everywhere.many(rows(3))
        on_purpose = options(resend=True, run="again")
        assert everywhere.many(rows(1), opts=on_purpose).counts == {Outcome.OPENED: 1}
        assert everywhere.many(rows(3), opts=on_purpose).counts == {Outcome.OPENED: 2, Outcome.ALREADY_OPENED: 1}
        assert everywhere.tickets() == {"1": 2, "2": 2, "3": 2}

    def test_a_first_send_with_resend_is_one_ticket(self, everywhere: Deliveries) -> None:
        on_purpose = options(resend=True)
        assert everywhere.one(1, opts=on_purpose).outcome == Outcome.OPENED
        assert everywhere.one(1, opts=on_purpose).outcome == Outcome.ALREADY_OPENED
        assert everywhere.tickets() == {"1": 1}

    def test_a_resent_ticket_that_was_lost_is_looked_for_by_its_own_mark(self, everywhere: Deliveries) -> None:
        everywhere.one(1)
        everywhere.sandbox.fault("open_ticket", kind="drop", when="after")
        assert everywhere.one(1, opts=options(resend=True, run="again")).outcome == Outcome.RECONCILED
        assert everywhere.tickets() == {"1": 2}


class TestTheSameRowEveryNight:
    def test_is_one_ticket_for_ever(self, everywhere: Deliveries) -> None:
        for night in ("2026-11-20", "2026-11-21", "2026-11-22"):
            everywhere.many(rows(3), opts=options(run=night))
        assert everywhere.tickets() == {"1": 1, "2": 1, "3": 1}

    def test_unless_the_key_has_a_period(self, deliveries: Deliveries) -> None:
        prepare = deliveries.prepare(key_columns=("id", "night"))
        for night in ("2026-11-20", "2026-11-21"):
            deliveries.many([row(1, night=night)], prepare=prepare, opts=options(run=night))
        assert deliveries.tickets() == {"1": 2}

    def test_with_other_content(self, everywhere: Deliveries) -> None:
        everywhere.many(rows(1))
        changed = [row(1, name="Somebody")]
        assert everywhere.many(changed, opts=options(run="second")).counts == {Outcome.ALREADY_OPENED: 1}
        again = options(run="third", on_change="open_again")
        assert everywhere.many(rows(1), opts=again).counts == {Outcome.ALREADY_OPENED: 1}
        assert everywhere.many(changed, opts=again).counts == {Outcome.OPENED: 1}
        assert everywhere.many(changed, opts=again).counts == {Outcome.ALREADY_OPENED: 1}
        assert everywhere.tickets() == {"1": 2}


class TestAServerThatIsDown:
    @pytest.fixture(autouse=True)
    def _short(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(breaker, "PAUSES", (0.2, 0.2, 0.2))

    def test_is_asked_a_few_times_and_not_for_every_row(self, deliveries: Deliveries) -> None:
        deliveries.sandbox.fault("*", kind="status", status=502, body="html", times="forever")
        deliveries.settings = replace(deliveries.settings, timeout=1.0)
        report = deliveries.many(rows(200), max_concurrency=8, opts=options(polls=(0.0,), lease=0.0))
        assert report.stopped is not None
        assert "down" in report.stopped
        assert isinstance(report.verdict(), VambeDeliveryError)
        # Eight at once, one more for each of the first answers, and one after each pause.
        assert deliveries.posts() <= 8 + (breaker.IN_A_ROW - 1) + len(breaker.PAUSES) + 1
        deliveries.sandbox.clear_faults()
        again = deliveries.many(rows(200), opts=options(lease=0.0))
        assert again.counts[Outcome.OPENED] + again.counts[Outcome.UNKNOWN] == 200
        assert set(deliveries.tickets().values()) == {1}
        assert len(deliveries.tickets()) == again.counts[Outcome.OPENED]

    def test_each_pause_is_made(self, deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was claimed before the pause does not wear the pauses down while they should last."""
        monkeypatch.setattr(breaker, "PAUSES", (0.5, 0.5, 0.5))
        deliveries.sandbox.fault("open_ticket", kind="status", status=502, times="forever")
        began = time.monotonic()
        report = deliveries.many(rows(50), max_concurrency=8)
        assert report.stopped is not None
        assert time.monotonic() - began >= 1.5
        assert len([line for line in deliveries.log if "rests for 0.5 s" in line]) == 3

    def test_that_comes_back_goes_on(self, deliveries: Deliveries) -> None:
        down = deliveries.sandbox.fault("open_ticket", kind="status", status=503, times=7)
        report = deliveries.many(rows(40), max_concurrency=5)
        assert down.hits == 7
        assert report.counts == {Outcome.OPENED: 40}
        assert set(deliveries.tickets().values()) == {1}


class TestALedgerThatIsDown:
    def test_before_the_first_claim_nothing_is_posted(
        self, everywhere: Deliveries, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(loop, "LEDGER_PATIENCE", 0.0)
        with sql_ledger(everywhere.url) as ledger:
            with connected(everywhere.url) as connection:
                connection.execute(sa.text("DROP TABLE vambe_ticket_ledger"))
            with pytest.raises(VambeLedgerError):
                everywhere.many(rows(20), ledger=ledger)
            with pytest.raises(VambeLedgerError):
                everywhere.one(1, ledger=ledger)
        assert everywhere.posts() == 0

    def test_in_the_middle(self, everywhere: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was posted and could not be settled is found by its ``sending`` row; nobody is messaged twice."""
        monkeypatch.setattr(loop, "LEDGER_PATIENCE", 0.0)
        hanging = everywhere.sandbox.fault("open_ticket", kind="hang", times=4)
        with sql_ledger(everywhere.url) as ledger:
            run = Background(lambda: everywhere.many(rows(20), ledger=ledger, max_concurrency=4))
            everywhere.sandbox.wait_for(lambda _: hanging.hits == 4)
            with connected(everywhere.url) as connection:
                connection.execute(sa.text("ALTER TABLE vambe_ticket_ledger RENAME TO elsewhere"))
            everywhere.sandbox.clear_faults()
            with pytest.raises(VambeLedgerError):
                run.result()
        posted = everywhere.posts()
        assert 4 <= posted <= 8
        with connected(everywhere.url) as connection:
            connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO vambe_ticket_ledger"))
        assert list(everywhere.states().values()) == ["sending"] * len(everywhere.states())
        everywhere.change(lease_until=PAST)
        again = everywhere.many(rows(20))
        assert again.counts == {Outcome.RECONCILED: posted, Outcome.OPENED: 20 - posted}
        assert everywhere.tickets() == {str(number): 1 for number in range(1, 21)}

    def test_a_commit_whose_answer_was_lost_loses_no_row(
        self, everywhere: Deliveries, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The claims were recorded although the ledger said that they were not: they are still this run's."""
        monkeypatch.setattr(loop, "LEDGER_PATIENCE", 30.0)
        engine_ = sa.create_engine(everywhere.url)
        ledger = SqlLedger(engine_, PERSONS)
        _lose_answers(engine_, [2, 3, 4, 5], monkeypatch)
        report = everywhere.many(rows(10), ledger=ledger)
        ledger.close()
        assert report.counts == {Outcome.OPENED: 10}
        assert everywhere.tickets() == {str(number): 1 for number in range(1, 11)}

    def test_a_commit_whose_answer_was_lost_once(self, everywhere: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
        engine_ = sa.create_engine(everywhere.url)
        ledger = SqlLedger(engine_, PERSONS)
        _lose_answers(engine_, [1, 3], monkeypatch)
        assert everywhere.one(1, ledger=ledger).outcome == Outcome.OPENED
        ledger.close()
        assert everywhere.tickets() == {"1": 1}

    def test_a_claim_recovered_from_a_lost_answer_ends_when_its_row_says(
        self, everywhere: Deliveries, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The lease runs from the commit, however long the answer took."""
        engine_ = sa.create_engine(everywhere.url)
        ledger = SqlLedger(engine_, PERSONS)
        late = LateClock(monkeypatch)
        real, lost = engine_.dialect.do_commit, list[bool]()

        def commit(connection: Any) -> None:
            real(connection)
            if not lost:
                lost.append(True)
                # So long it took to notice, on the clocks of the worker and of the database.
                late.offset += 50.0
                [entry] = everywhere.ledger_rows().values()
                until = datetime.fromisoformat(str(entry["lease_until"])) - timedelta(seconds=50)
                everywhere.change(lease_until=until.isoformat(" ", "microseconds"))
                raise _broken(engine_)

        monkeypatch.setattr(engine_.dialect, "do_commit", commit)
        began = clock.now()
        claim = claim_of(ledger, everywhere.work(1), lease=60.0)
        ledger.close()
        assert claim.verdict == Verdict.SEND
        assert claim.expires <= began + 60.0 + 1.0


def _broken(engine_: sa.engine.Engine) -> BaseException:
    driver: Any = engine_.dialect.dbapi
    error: BaseException = driver.OperationalError("server closed the connection unexpectedly")
    return error


def _lose_answers(engine_: sa.engine.Engine, which: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let these commits take place, and then break as a lost connection does."""
    real, count = engine_.dialect.do_commit, iter(range(1, 10_000))

    def commit(connection: Any) -> None:
        real(connection)
        if next(count) in which:
            raise _broken(engine_)

    monkeypatch.setattr(engine_.dialect, "do_commit", commit)


class TestSecondRunsOverlap:
    def test_the_claim_decides_and_the_second_run_waits_for_what_the_first_holds(self, everywhere: Deliveries) -> None:
        hanging = everywhere.sandbox.fault("open_ticket", kind="hang", times=4)
        slow = Background(lambda: everywhere.many(rows(4), max_concurrency=4))
        everywhere.sandbox.wait_for(lambda _: hanging.hits == 4)
        second = Background(lambda: everywhere.many(rows(10), opts=options(run="the next night")))
        everywhere.sandbox.wait_for(lambda sandbox: sandbox.ticket_count == 6)
        everywhere.sandbox.clear_faults()
        assert slow.result().counts == {Outcome.OPENED: 4}
        assert second.result().counts == {Outcome.ALREADY_OPENED: 4, Outcome.OPENED: 6}
        assert everywhere.tickets() == {str(number): 1 for number in range(1, 11)}

    def test_two_at_full_speed(self, everywhere: Deliveries) -> None:
        runs = [
            Background(lambda run=run: everywhere.many(rows(60), opts=options(run=run)))  # type: ignore[misc]
            for run in ("first", "second")
        ]
        reports = [run.result() for run in runs]
        assert everywhere.tickets() == {str(number): 1 for number in range(1, 61)}
        assert sum(report.counts[Outcome.OPENED] for report in reports) == 60
        for report in reports:
            assert report.done == 60
            assert set(report.counts) <= {Outcome.OPENED, Outcome.HELD, Outcome.ALREADY_OPENED}

    def test_a_retry_waits_for_what_its_first_try_holds(self, everywhere: Deliveries) -> None:
        with sql_ledger(everywhere.url) as dead:
            claim_of(dead, everywhere.work(1))
        second = Background(lambda: everywhere.many(rows(2)))
        everywhere.sandbox.wait_for(lambda sandbox: sandbox.ticket_count == 1)
        everywhere.change(lease_until=PAST)
        assert second.result().counts == {Outcome.OPENED: 2}
        assert everywhere.tickets() == {"1": 1, "2": 1}


def test_exactly_one_of_many_threads_wins_a_claim(everywhere: Deliveries) -> None:
    """Real workers on a real database, all at the same moment."""
    workers, count = 6, 25
    works: list[Work] = [everywhere.work(number) for number in range(1, count + 1)]
    ready = threading.Barrier(workers)

    def take() -> list[str]:
        with sql_ledger(everywhere.url) as ledger:
            ready.wait(10)
            claims = ledger.exchange([], works, options(run=threading.current_thread().name), 60.0)
            return [claim.work.key.text for claim in claims if claim.verdict == Verdict.SEND]

    threads = [Background(take) for _ in range(workers)]
    won = [key for thread in threads for key in thread.result()]
    assert sorted(won) == sorted(work.key.text for work in works)


def test_exactly_one_of_many_threads_takes_over_a_dead_row(everywhere: Deliveries) -> None:
    works: list[Work] = [everywhere.work(number) for number in range(1, 11)]
    with sql_ledger(everywhere.url) as dead:
        dead.exchange([], works, options(), 60.0)
    everywhere.change(lease_until=PAST)
    ready = threading.Barrier(5)

    def take() -> list[str]:
        with sql_ledger(everywhere.url) as ledger:
            ready.wait(10)
            claims = ledger.exchange([], works, options(), 60.0)
            return [claim.work.key.text for claim in claims if claim.verdict == Verdict.CHECK]

    threads = [Background(take) for _ in range(5)]
    won = [key for thread in threads for key in thread.result()]
    assert sorted(won) == sorted(work.key.text for work in works)


@pytest.mark.parametrize("values", [("a", "A"), ("a", " a"), ("é", "e"), ("ß", "ss")])
def test_keys_that_a_collation_might_confuse_are_different_tickets(
    everywhere: Deliveries, values: tuple[str, str]
) -> None:
    data = [row(number, id=value) for number, value in enumerate(values, start=1)]
    assert everywhere.many(data).counts == {Outcome.OPENED: 2}
    assert len(everywhere.markers()) == 2
