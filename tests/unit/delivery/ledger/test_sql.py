"""The ledger in each kind of database."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.support.delivery import Background, Deliveries, claim_of, connected, ledger_rows, options, row, sql_ledger
from vambe_provider.delivery import clock
from vambe_provider.delivery.ledger.schema import TABLE, VERSION
from vambe_provider.delivery.ledger.sql import SqlLedger
from vambe_provider.delivery.model import Outcome, Settlement, State, Unsendable, Verdict
from vambe_provider.exceptions import VambeLedgerError, VambeRefusedError, VambeValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vambe_provider.delivery.model import Claim, Work

PAST = "2020-01-01 00:00:00.000000"


@pytest.fixture
def ledger(everywhere: Deliveries) -> Iterator[SqlLedger]:
    with sql_ledger(everywhere.url) as made:
        yield made


@pytest.fixture
def works(everywhere: Deliveries) -> list[Work]:
    return [everywhere.work(number) for number in range(1, 6)]


def settled(claim: Claim, state: State, **more: Any) -> Settlement:
    outcome = {State.OPENED: Outcome.OPENED, State.UNKNOWN: Outcome.UNKNOWN, State.REJECTED: Outcome.REJECTED}
    return Settlement(claim, state, outcome.get(state, Outcome.FAILED), **more)


def verdicts(claims: list[Claim]) -> list[Verdict]:
    return [claim.verdict for claim in claims]


def test_a_claim_is_recorded_before_anything_is_sent(
    ledger: SqlLedger, everywhere: Deliveries, works: list[Work]
) -> None:
    claims = ledger.exchange([], works, options(), 60.0)
    assert verdicts(claims) == [Verdict.SEND] * 5
    assert [claim.work for claim in claims] == works
    assert set(everywhere.states().values()) == {"sending"}
    entry = everywhere.ledger_rows()["id=1"]
    assert (entry["attempts"], entry["generation"], entry["run"]) == (1, 0, options().run)
    assert entry["person"] == entry["person_in_flight"] == works[0].person
    assert abs(claims[0].started - time.time()) < 5.0
    assert claims[0].expires <= clock.now() + 60.0


def test_a_look_changes_nothing(ledger: SqlLedger, everywhere: Deliveries, works: list[Work]) -> None:
    assert verdicts(ledger.look_up(works, options())) == [Verdict.SEND] * 5
    assert everywhere.states() == {}
    claim_of(ledger, works[0])
    assert verdicts(ledger.look_up(works[:2], options(run="other"))) == [Verdict.HELD, Verdict.SEND]
    assert ledger.look_up([], options()) == []


@pytest.mark.parametrize(
    ("state", "again"),
    [
        (State.OPENED, Verdict.OPENED),
        (State.REJECTED, Verdict.REJECTED),
        (State.UNKNOWN, Verdict.UNKNOWN),
        (State.FAILED, Verdict.SEND),
    ],
)
def test_outcomes_are_remembered_by_another_process(
    ledger: SqlLedger, everywhere: Deliveries, works: list[Work], state: State, again: Verdict
) -> None:
    error = None if state == State.OPENED else VambeRefusedError("no", status=400)
    claims = ledger.exchange([], works, options(), 60.0)
    done = [settled(c, state, ai_contact_id=f"c{n}", evidence="reply", error=error) for n, c in enumerate(claims)]
    ledger.exchange(done, [], options(), 60.0)
    entries = everywhere.ledger_rows()
    for number, work in enumerate(works):
        entry = entries[work.key.text]
        assert (entry["state"], entry["ai_contact_id"], entry["evidence"]) == (state.value, f"c{number}", "reply")
        assert (entry["error_kind"] == "refused_400") == (error is not None)
        assert entry["lease_until"] is None
        assert entry["person_in_flight"] is None
    with sql_ledger(everywhere.url) as other:
        answers = other.exchange([], works, options(), 60.0)
        assert verdicts(answers) == [again] * 5
        if state == State.OPENED:
            assert [answer.ai_contact_id for answer in answers] == [f"c{number}" for number in range(5)]
        if state == State.FAILED:
            assert {entry["attempts"] for entry in everywhere.ledger_rows().values()} == {2}


def test_many_at_once(ledger: SqlLedger, everywhere: Deliveries) -> None:
    works = [everywhere.work(number) for number in range(1, 401)]
    claims = ledger.exchange([], works, options(), 60.0)
    assert verdicts(claims) == [Verdict.SEND] * 400
    done = [settled(claim, State.OPENED, ai_contact_id=str(number)) for number, claim in enumerate(claims)]
    assert ledger.exchange(done, works[:3], options(), 60.0)[0].verdict == Verdict.DUPLICATE
    contacts = {entry["key_text"]: entry["ai_contact_id"] for entry in everywhere.ledger_rows().values()}
    assert contacts == {work.key.text: str(number) for number, work in enumerate(works)}


def test_settling_and_claiming_are_one_transaction(
    ledger: SqlLedger, everywhere: Deliveries, works: list[Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claim_of(ledger, works[0])

    def fails(*_: object) -> None:
        raise sa.exc.ProgrammingError("x", {}, Exception("no such column"))

    monkeypatch.setattr(ledger, "_take_new", fails)
    with pytest.raises(VambeLedgerError):
        ledger.exchange([settled(claim, State.OPENED)], works[1:2], options(), 60.0)
    assert everywhere.states() == {"id=1": "sending"}


def test_a_row_that_another_has_taken_is_only_settled_as_open(
    ledger: SqlLedger, everywhere: Deliveries, works: list[Work]
) -> None:
    claim = claim_of(ledger, works[0])
    everywhere.change(lease_until=PAST)
    with sql_ledger(everywhere.url) as other:
        check = claim_of(other, works[0])
        assert check.verdict == Verdict.CHECK
        for state in (State.FAILED, State.REJECTED, State.UNKNOWN):
            ledger.exchange([settled(claim, state)], [], options(), 60.0)
            assert everywhere.states() == {"id=1": "sending"}
        ledger.exchange([settled(claim, State.OPENED, ai_contact_id="c")], [], options(), 60.0)
        assert everywhere.states() == {"id=1": "opened"}
        other.exchange([settled(check, State.FAILED)], [], options(), 60.0)
        assert everywhere.states() == {"id=1": "opened"}


def test_an_older_generation_does_not_close_a_newer_one(
    ledger: SqlLedger, everywhere: Deliveries, works: list[Work]
) -> None:
    first = claim_of(ledger, works[0])
    ledger.exchange([settled(first, State.OPENED)], [], options(), 60.0)
    with sql_ledger(everywhere.url) as other:
        again = claim_of(other, works[0], options(run="other", resend=True))
        assert (again.verdict, again.generation) == (Verdict.SEND, 1)
        ledger.exchange([settled(first, State.OPENED)], [], options(), 60.0)
        assert everywhere.states() == {"id=1": "sending"}


def test_what_is_checked_keeps_the_time_of_its_first_attempt(
    ledger: SqlLedger, everywhere: Deliveries, works: list[Work]
) -> None:
    hour_ago = time.time() - 3600
    first = claim_of(ledger, works[0])
    everywhere.change(
        lease_until=PAST, started_at=time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(hour_ago)) + ".000000"
    )
    with sql_ledger(everywhere.url) as other:
        check = claim_of(other, works[0])
        assert check.verdict == Verdict.CHECK
        assert abs(check.started - hour_ago) < 5.0
        other.exchange([settled(check, State.FAILED)], [], options(), 60.0)
        again = claim_of(other, works[0])
        assert (again.verdict, again.started > first.started - 5) == (Verdict.SEND, True)


def test_rejected_rows(ledger: SqlLedger, everywhere: Deliveries, works: list[Work]) -> None:
    claim = claim_of(ledger, works[0])
    ledger.exchange([settled(claim, State.OPENED)], [], options(), 60.0)
    claim_of(ledger, works[1])
    error = VambeValidationError(["email: wrong"], where="row")
    bad = [Unsendable(Outcome.REJECTED, work.key, error, "print") for work in works[:3]]
    bad.append(Unsendable(Outcome.REJECTED, None, error))
    assert ledger.reject(bad, options()) == [Outcome.ALREADY_OPENED, *[Outcome.REJECTED] * 3]
    assert everywhere.states() == {"id=1": "opened", "id=2": "sending", "id=3": "rejected"}
    assert everywhere.ledger_rows()["id=3"]["error_kind"] == "validation"
    with sql_ledger(everywhere.url) as other:
        assert claim_of(other, replace(works[2], fingerprint="print")).verdict == Verdict.REJECTED
        assert claim_of(other, works[2]).verdict == Verdict.SEND
    assert ledger.reject([], options()) == []


def test_siblings_are_the_other_tickets_to_the_person_in_any_namespace(
    ledger: SqlLedger, everywhere: Deliveries
) -> None:
    phone = row(1)["phone"]
    ours, other = everywhere.work(row(1)), everywhere.work(row(2, phone=phone), namespace="elsewhere")
    stranger = everywhere.work(row(3))
    claim = claim_of(ledger, other)
    opened = settled(claim, State.OPENED, ai_contact_id="c", evidence="new_ticket", evidence_id="t")
    ledger.exchange([opened], [], options(), 60.0)
    claim_of(ledger, stranger)
    claim_of(ledger, ours)
    [sibling] = ledger.siblings(ours)
    assert (sibling.ai_contact_id, sibling.evidence_id, sibling.state) == ("c", "t", State.OPENED)
    assert sibling.message_hash == other.message_hash
    assert abs(sibling.started - time.time()) < 5.0


def test_the_clock_of_the_worker_is_of_no_interest(
    ledger: SqlLedger, everywhere: Deliveries, works: list[Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose clock is a day off neither takes over what is held, nor mistakes when something began."""
    claim_of(ledger, works[0])
    real = clock.utc
    for off in (-86400.0, 86400.0):
        monkeypatch.setattr(clock, "utc", lambda off=off: real() + off)
        with sql_ledger(everywhere.url) as other:
            assert claim_of(other, works[0], options(run="other")).verdict == Verdict.HELD
            fresh = claim_of(other, everywhere.work(int(off) % 97 + 10), options(run="other"))
            assert abs(fresh.started - (real() + off)) < 5.0


def test_the_table_is_made_once_by_many(everywhere: Deliveries) -> None:
    made = [Background(lambda: SqlLedger(sa.create_engine(everywhere.url)).close()) for _ in range(4)]
    for thread in made:
        thread.result()
    assert ledger_rows(everywhere.url) == {}


def test_a_table_that_may_not_be_made(everywhere: Deliveries) -> None:
    with pytest.raises(VambeLedgerError, match="ledger create"):
        SqlLedger(sa.create_engine(everywhere.url), create=False)
    with sql_ledger(everywhere.url):
        SqlLedger(sa.create_engine(everywhere.url), create=False).close()


def test_a_table_of_a_newer_provider(ledger: SqlLedger, everywhere: Deliveries, works: list[Work]) -> None:
    claim_of(ledger, works[0])
    everywhere.change(schema_version=VERSION + 1)
    with pytest.raises(VambeLedgerError, match="Upgrade the provider"):
        SqlLedger(sa.create_engine(everywhere.url))


def test_a_database_that_cannot_be_reached() -> None:
    with pytest.raises(VambeLedgerError, match="Check the ledger's connection"):
        SqlLedger(sa.create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/none"))


def test_a_kind_that_was_never_tried() -> None:
    class Other:
        class dialect:  # noqa: N801 - as SQLAlchemy calls it
            name = "oracle"

    with pytest.raises(VambeLedgerError, match="'oracle' cannot hold the ledger"):
        SqlLedger(Other())  # type: ignore[arg-type]


def test_an_error_of_the_database_shows_no_values(ledger: SqlLedger, everywhere: Deliveries, works: list[Work]) -> None:
    with connected(everywhere.url) as connection:
        connection.execute(sa.text(f"DROP TABLE {TABLE}"))
    with pytest.raises(VambeLedgerError) as caught:
        ledger.exchange([], works, options(), 60.0)
    text = str(caught.value)
    assert works[0].key.digest not in text
    assert "INSERT" not in text
    assert caught.value.__cause__ is None
