"""Whatever the order of events: no second POST for a key without a recorded verdict that the first created nothing."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.delivery import PERSONS, TICKET, Deliveries, options, row
from vambe_provider.api import AsyncVambeClient
from vambe_provider.delivery.attempt.post import Courier
from vambe_provider.delivery.key import METADATA_KEY
from vambe_provider.delivery.ledger import database
from vambe_provider.delivery.ledger.sql import SqlLedger
from vambe_provider.delivery.model import Claim, Settlement, Verdict
from vambe_provider.exceptions import VambeError, VambeLedgerError

if TYPE_CHECKING:
    from datetime import datetime

    import pytest

    from vambe_provider.delivery.model import Attempt, Work
    from vambe_provider.sandbox import Sandbox

LAST = options(run="the last one", polls=(0.0,))
PAST = "2020-01-01 00:00:00.000000"
FAULTS: list[dict[str, Any] | None] = [
    None,
    None,
    {"kind": "status", "status": 500, "when": "before"},
    {"kind": "status", "status": 502, "when": "after", "body": "html"},
    {"kind": "drop", "when": "before"},
    {"kind": "drop", "when": "after"},
    {"kind": "malformed", "when": "after"},
    {"kind": "message_fails"},
    {"kind": "rate_limit"},
    {"kind": "status", "status": 422, "says": "not a valid number"},
    {"kind": "status", "status": 401},
]


class Records:
    """What a worker's ledger tells a look."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._ledger = ledger

    async def siblings(self, attempt: Attempt) -> list[Attempt]:
        return self._ledger.siblings(attempt)

    async def witnesses(self, attempt: Attempt) -> list[Attempt]:
        return self._ledger.witnesses(attempt)

    async def earlier(self, attempt: Attempt) -> list[str]:
        return self._ledger.earlier(attempt)


class Worker:
    """One try of one run: what it has claimed, what it has to look for, and what it has not recorded yet."""

    def __init__(self, url: str, run: str, **more: Any) -> None:
        self.engine = sa.create_engine(url)
        self.ledger = SqlLedger(self.engine, PERSONS)
        self.options = options(run=run, polls=(0.0,), **more)
        self.claimed: list[Claim] = []
        self.unclear: list[tuple[Claim, VambeError | None]] = []
        self.landed: list[Settlement] = []
        self.lose_answers = 0
        commit = self.engine.dialect.do_commit

        def do_commit(connection: Any) -> None:
            commit(connection)
            if self.lose_answers:
                self.lose_answers -= 1
                driver: Any = self.engine.dialect.dbapi
                raise driver.OperationalError("server closed the connection")

        dialect: Any = self.engine.dialect
        dialect.do_commit = do_commit

    def holds(self) -> list[Claim]:
        return [*self.claimed, *(claim for claim, _ in self.unclear), *(item.claim for item in self.landed)]


class Nights(RuleBasedStateMachine):
    """Three workers, two rows, a server with faults, time that passes, and workers that die."""

    sandbox: Sandbox
    ahead = 0.0

    @initialize(
        known=st.booleans(),
        one_person=st.booleans(),
        resend=st.booleans(),
        switches=st.sampled_from([{}, {"metadata_visible": "no"}]),
    )
    def begin(self, known: bool, one_person: bool, resend: bool, switches: dict[str, Any]) -> None:
        self.rows = {1: row(1), 2: row(2, phone=row(1 if one_person else 2)["phone"])}
        self.sandbox.reset()
        self.folder = tempfile.TemporaryDirectory()
        url = f"sqlite:///{Path(self.folder.name, 'ledger.sqlite')}"
        self.deliveries = Deliveries(self.sandbox, url)
        self.deliveries.sandbox.configure(clock_skew_seconds=-3600.0)
        if known:
            for person in self.rows.values():
                if not any(person["phone"].endswith(contact["phone"]) for contact in self.sandbox.contacts()):
                    self.sandbox.seed_contact(person["phone"])
        self.sandbox.configure(**{"clock_skew_seconds": 0.0, **switches})
        self.hidden, Nights.ahead = bool(switches), 0.0
        self.resend = resend and not self.hidden
        ticket = {name: value for name, value in TICKET.items() if name != "message"} if resend else TICKET
        self.ticket = ticket
        self.prepare = self.deliveries.prepare(ticket)
        self.works: dict[int, Work] = {}
        for number, data in self.rows.items():
            self.works[number] = self.deliveries.work(data, ticket)
        self.runs: dict[str, dict[str, Any]] = {
            "first try": {"run": "tonight"},
            "second try": {"run": "tonight"},
            # What is sent again on purpose within two seconds of the first time can only be told by its mark.
            "other run": {"run": "tomorrow", "resend": self.resend},
        }
        self.crew = {name: Worker(url, **given) for name, given in self.runs.items()}
        self.loop = asyncio.new_event_loop()
        self.api = AsyncVambeClient(self.deliveries.settings)
        self.posted: list[Attempt] = []

    # --- events ---

    @precondition(lambda self: self.free())
    @rule(data=st.data(), answers_lost=st.sampled_from([0, 0, 0, 1, 2]))
    def claims(self, data: st.DataObject, answers_lost: int) -> None:
        """Ask for a row, and record what has landed; the commit may take place and its answer be lost."""
        name, number = data.draw(st.sampled_from(self.free()))
        worker = self.crew[name]
        landed, worker.landed = worker.landed, []
        worker.lose_answers = answers_lost
        try:
            [claim] = worker.ledger.exchange(landed, [self.works[number]], worker.options, 60.0)
        except VambeLedgerError:  # two answers are more than the ledger asks for again by itself
            [claim] = worker.ledger.exchange(landed, [self.works[number]], worker.options, 60.0)
        worker.lose_answers = 0
        note(f"{name} asks for {number}, {answers_lost} answers lost: {claim.verdict.value}")
        if claim.verdict == Verdict.SEND:
            worker.claimed.append(claim)
        elif claim.verdict == Verdict.CHECK:
            worker.unclear.append((claim, None))

    @precondition(lambda self: self.who("claimed"))
    @rule(data=st.data(), fault=st.sampled_from(FAULTS))
    def posts(self, data: st.DataObject, fault: dict[str, Any] | None) -> None:
        name = data.draw(st.sampled_from(self.who("claimed")))
        worker = self.crew[name]
        claim = worker.claimed.pop(0)
        if fault is not None:
            self.sandbox.fault("open_ticket", **fault)
        before = len(self.sandbox.requests("open_ticket"))
        result = self._run(self._courier(worker).post(claim))
        self.sandbox.clear_faults()
        if len(self.sandbox.requests("open_ticket")) > before:
            self._check_post(name, claim)
        if isinstance(result, Settlement):
            worker.landed.append(result)
        else:
            worker.unclear.append((claim, result))
        note(f"{name} posts {claim.work.key.text}.{claim.made.generation} with {fault}")

    @precondition(lambda self: self.who("unclear"))
    @rule(data=st.data())
    def looks(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.who("unclear")))
        worker = self.crew[name]
        claim, cause = worker.unclear.pop(0)
        found = self._run(self._courier(worker).resolve(claim, cause, Records(worker.ledger)))
        worker.landed.append(found)
        note(f"{name} looks for {claim.work.key.text}.{claim.made.generation}: {found.outcome} ({found.evidence})")

    @precondition(lambda self: self.who("landed"))
    @rule(data=st.data())
    def records(self, data: st.DataObject) -> None:
        worker = self.crew[data.draw(st.sampled_from(self.who("landed")))]
        landed, worker.landed = worker.landed, []
        worker.ledger.exchange(landed, [], worker.options, 60.0)

    @precondition(lambda self: self.who("claimed", "unclear", "landed"))
    @rule(data=st.data())
    def dies(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.who("claimed", "unclear", "landed")))
        note(f"{name} dies")
        self.crew[name].ledger.close()
        self.crew[name] = Worker(self.deliveries.url, **self.runs[name])

    @precondition(lambda self: self.who("claimed", "unclear", "landed") or "sending" in self.states())
    @rule()
    def time_passes(self) -> None:
        """All leases run out, in the ledger and in the heads of those who hold them."""
        note("time passes")
        self.deliveries.change(lease_until=PAST)
        for worker in self.crew.values():
            worker.claimed = [replace(claim, expires=0.0) for claim in worker.claimed]

    @rule(number=st.sampled_from([1, 2]), other=st.sampled_from([1, 2, 3]))
    def number_changes(self, number: int, other: int) -> None:
        """The warehouse has another number for a row from now on."""
        note(f"row {number} goes to person {other}")
        self.rows[number] = row(number, phone=row(other)["phone"])
        self.works[number] = self.deliveries.work(self.rows[number], self.ticket)

    @rule(hours=st.sampled_from([1, 30]))
    def clock_jumps(self, hours: int) -> None:
        """The ledger's clock goes ahead, such as after a fail-over, and every worker notices before it goes on."""
        note(f"the ledger's clock jumps by {hours} h")
        Nights.ahead += hours * 3600.0
        for worker in self.crew.values():
            worker.ledger.glimpses("", ["0" * 32])

    # --- what has to hold ---

    @invariant()
    def a_run_opens_one_new_generation_at_most(self) -> None:
        if hasattr(self, "deliveries"):
            keys = Counter(mark.partition(".")[0] for mark in self._markers())
            assert all(count <= (2 if self.resend else 1) for count in keys.values())

    @invariant()
    def nobody_is_messaged_twice(self) -> None:
        if hasattr(self, "deliveries"):
            assert all(count == 1 for count in self._markers().values())

    def teardown(self) -> None:
        if not hasattr(self, "deliveries"):
            return
        try:
            self._everything_comes_to_an_end()
        finally:
            self._run(self.api.aclose())
            self.loop.close()
            for worker in self.crew.values():
                worker.ledger.close()
            self.folder.cleanup()

    def _everything_comes_to_an_end(self) -> None:
        self.time_passes()
        self.deliveries.many(list(self.rows.values()), prepare=self.prepare, opts=LAST)
        self.nobody_is_messaged_twice()
        markers = self._markers()
        for entry in self.deliveries.ledger_rows().values():
            assert entry["state"] in ("opened", "unknown", "rejected")
            work = next(work for work in self.works.values() if work.key.text == entry["key_text"])
            if entry["opened"] is not None:
                mark = work.key.digest + (f".{entry['opened']}" if entry["opened"] else "")
                assert markers[mark], f"{entry['key_text']} is not open"

    # --- helpers ---

    def who(self, *piles: str) -> list[str]:
        """Return the workers that have something on one of these piles."""
        return [name for name, worker in self.crew.items() if any(getattr(worker, pile) for pile in piles)]

    def free(self) -> list[tuple[str, int]]:
        """Return who may ask for what: an engine does not ask for what it has."""
        return [
            (name, number)
            for name, worker in self.crew.items()
            for number, work in self.works.items()
            if work.key not in {claim.work.key for claim in worker.holds()}
        ]

    def states(self) -> set[str]:
        return set(self.deliveries.states().values())

    def _check_post(self, name: str, claim: Claim) -> None:
        """Whatever was posted before for this ticket and generation surely created nothing, by the ledger's record."""
        recorded = {(item["ticket_key"], item["number"]): item for item in self.deliveries.attempts()}
        for before in self.posted:
            if before.mark == claim.made.mark:
                sent = recorded[before.ticket_key, before.number]["sent"]
                assert sent == "no", f"{name} posts {before.mark} again, of which nobody knows whether it exists"
        self.posted.append(claim.made)

    def _markers(self) -> Counter[str]:
        return Counter(ticket["ticket_metadata"][METADATA_KEY] for ticket in self.sandbox.tickets())

    def _courier(self, worker: Worker) -> Courier:
        return Courier(self.api, worker.options, PERSONS, 5.0, lambda: worker.ledger.epoch, asyncio.Semaphore(4))

    def _run(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)


def test_no_sequence_of_events_sends_twice(vambe_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PAUSES", (0.0,))
    read_clock = database.Database._read_clock

    def jumped(used: database.Database, connection: sa.engine.Connection) -> datetime:
        return read_clock(used, connection) + timedelta(seconds=Nights.ahead)

    monkeypatch.setattr(database.Database, "_read_clock", jumped)
    Nights.sandbox = vambe_sandbox
    case = Nights.TestCase
    case.settings = settings(
        max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    case().runTest()
