"""Who opted out is not messaged: by no task, under no spelling of the number, and not a moment later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tests.support.ledger import (
    LEASE,
    PERSONS,
    asked,
    claim_of,
    connected,
    history,
    options,
    phone,
    settle,
    sql_ledger,
    states,
    tickets,
    work,
)
from vambe_provider.contact_policy import ContactPolicy
from vambe_provider.delivery.ledger.admin import LedgerAdmin
from vambe_provider.delivery.ledger.database import Database
from vambe_provider.delivery.ledger.suppressions import SuppressionList
from vambe_provider.delivery.ledger.tables import SCHEMA, SUPPRESSIONS, VERSION, schema, suppressions
from vambe_provider.delivery.ledger.upgrade import upgrade
from vambe_provider.delivery.model import Outcome, State, Verdict
from vambe_provider.delivery.permission import Permission
from vambe_provider.delivery.person import Persons
from vambe_provider.exceptions import VambeConfigError, VambeLedgerError

if TYPE_CHECKING:
    from vambe_provider.delivery.ledger.sql import SqlLedger

MEXICAN, OLD_MEXICAN = "+525541637145", "+5215541637145"


@pytest.fixture
def opt_outs(ledger_url: str, ledger: SqlLedger) -> Iterator[SuppressionList]:
    engine = sa.create_engine(ledger_url)
    yield SuppressionList(engine, PERSONS, "warehouse")
    engine.dispose()


def stop(opt_outs: SuppressionList, *numbers: str, purpose: str | None = None) -> tuple[int, int]:
    return opt_outs.add(numbers, source="message", added_by="Ana", purpose=purpose)


def policy(purpose: str) -> Permission:
    return Permission(ContactPolicy(purpose=purpose), timeout=30.0)  # type: ignore[arg-type]


def test_nobody_is_messaged_who_opted_out_between_the_look_and_the_claim(
    ledger: SqlLedger, ledger_url: str, opt_outs: SuppressionList
) -> None:
    assert ledger.suppressed([work(1).person]) == {}
    assert ledger.look_up([work(1), work(2)], options())[0].verdict == Verdict.SEND
    stop(opt_outs, phone(1))
    refused, other = ledger.exchange([], [work(1), work(2)], options(), LEASE)
    assert (refused.verdict, refused.attempt, other.verdict) == (Verdict.SUPPRESSED, None, Verdict.SEND)
    assert refused.ruling is not None
    assert (refused.ruling.decision.rule, refused.ruling.reason) == ("suppression", "opted_out")
    row = tickets(ledger_url)["id=1"]
    assert (row["state"], row["evidence"], row["error_kind"]) == ("suppressed", "policy", "opted_out")
    assert history(ledger_url, 1) == []
    assert len(history(ledger_url, 2)) == 1


def test_a_look_up_says_who_is_on_the_list_and_writes_nothing(
    ledger: SqlLedger, ledger_url: str, opt_outs: SuppressionList
) -> None:
    stop(opt_outs, phone(1))
    assert ledger.look_up([work(1)], options())[0].verdict == Verdict.SUPPRESSED
    assert tickets(ledger_url) == {}


def test_an_opt_out_holds_for_every_spelling_of_the_number(ledger: SqlLedger, opt_outs: SuppressionList) -> None:
    stop(opt_outs, OLD_MEXICAN)
    assert set(ledger.suppressed([PERSONS.of(MEXICAN), PERSONS.of(OLD_MEXICAN), PERSONS.of(phone(1))])) == {
        PERSONS.of(MEXICAN),
        PERSONS.of(OLD_MEXICAN),
    }
    assert stop(opt_outs, MEXICAN) == (0, 1)
    assert len(opt_outs.of(MEXICAN)) == len(opt_outs.newest(limit=10)) == 1
    assert opt_outs.remove(MEXICAN) == 1
    assert ledger.suppressed([PERSONS.of(MEXICAN), PERSONS.of(OLD_MEXICAN)]) == {}


def test_an_opt_out_of_marketing_stops_marketing_only(ledger: SqlLedger, opt_outs: SuppressionList) -> None:
    stop(opt_outs, phone(1), purpose="marketing")
    [entry] = ledger.suppressed([work(1).person])[work(1).person]
    assert (entry.purpose, entry.source) == ("marketing", "message")
    assert claim_of(ledger, asked(1), options(policy=policy("marketing"))).verdict == Verdict.SUPPRESSED
    assert claim_of(ledger, work(1), options()).verdict == Verdict.SEND


def test_no_option_sends_to_somebody_who_opted_out(
    ledger: SqlLedger, ledger_url: str, opt_outs: SuppressionList
) -> None:
    settle(ledger, claim_of(ledger, work(1)), Outcome.OPENED)
    settle(ledger, claim_of(ledger, work(2)), Outcome.UNKNOWN)
    stop(opt_outs, phone(1), phone(2))
    again = options(run="later", resend=True)
    assert claim_of(ledger, work(1), again).verdict == Verdict.SUPPRESSED
    blind = options(on_unknown="resend")
    assert claim_of(ledger, work(2), blind).verdict == Verdict.SUPPRESSED
    # What was sent, or may have been, is not forgotten for it.
    assert states(ledger_url) == {"id=1": "opened", "id=2": "unknown"}
    assert len(history(ledger_url, 1)) == len(history(ledger_url, 2)) == 1


def test_somebody_who_asks_to_be_contacted_again_gets_the_ticket(
    ledger: SqlLedger, ledger_url: str, opt_outs: SuppressionList
) -> None:
    stop(opt_outs, phone(1))
    assert claim_of(ledger, work(1)).verdict == Verdict.SUPPRESSED
    opt_outs.remove(phone(1))
    assert claim_of(ledger, work(1), options(run="later")).verdict == Verdict.SEND
    assert states(ledger_url) == {"id=1": "sending"}


def test_forgetting_tickets_forgets_no_opt_out(ledger: SqlLedger, ledger_url: str, opt_outs: SuppressionList) -> None:
    stop(opt_outs, phone(1))
    assert claim_of(ledger, work(1)).verdict == Verdict.SUPPRESSED
    engine = sa.create_engine(ledger_url)
    assert LedgerAdmin(engine).prune(state=State.SUPPRESSED, older_than=timedelta(0)) <= 1
    engine.dispose()
    assert claim_of(ledger, work(1)).verdict == Verdict.SUPPRESSED


def test_the_first_entry_of_a_person_stays(opt_outs: SuppressionList) -> None:
    assert stop(opt_outs, phone(1)) == (1, 0)
    assert opt_outs.add([phone(1), phone(2), phone(2)], source="import", added_by="Eva") == (1, 1)
    assert [(entry.source, entry.added_by) for entry in opt_outs.of(phone(1))] == [("message", "Ana")]


def test_the_age_of_a_list_counts_from_its_last_import(ledger: SqlLedger, opt_outs: SuppressionList) -> None:
    assert ledger.list_imported() is None
    stop(opt_outs, phone(1))
    assert ledger.list_imported() is None
    opt_outs.add([phone(1)], source="import", added_by=None)
    assert ledger.list_imported() is not None


def test_nothing_is_sent_with_a_list_that_was_never_imported_where_the_policy_asks_for_its_age(
    ledger: SqlLedger, opt_outs: SuppressionList
) -> None:
    aged = options(policy=Permission(ContactPolicy(suppression={"max_list_age": "30 days"}), timeout=30.0))
    refused = claim_of(ledger, asked(1), aged)
    assert refused.ruling is not None
    assert (refused.verdict, refused.ruling.reason) == (Verdict.POSTPONED, "suppression_list_old")
    opt_outs.add([phone(2)], source="import", added_by=None)
    assert claim_of(ledger, asked(1), aged).verdict == Verdict.SEND


def test_the_list_holds_no_number(ledger_url: str, opt_outs: SuppressionList) -> None:
    stop(opt_outs, phone(1))
    with connected(ledger_url) as connection:
        held = str(connection.execute(sa.select(suppressions)).all())
    assert phone(1)[4:] not in held


def test_another_secret_is_an_error_and_no_empty_list(ledger_url: str, opt_outs: SuppressionList) -> None:
    stop(opt_outs, phone(1))
    with pytest.raises(VambeConfigError, match="person_secret"):
        SuppressionList(sa.create_engine(ledger_url), Persons("another"))


def test_a_purpose_that_does_not_exist_is_refused(opt_outs: SuppressionList) -> None:
    with pytest.raises(VambeConfigError, match="purpose"):
        stop(opt_outs, phone(1), purpose="fun")


def test_a_ledger_of_the_version_before_gets_its_list(ledger_url: str) -> None:
    with sql_ledger(ledger_url) as used:
        claim_of(used, work(1))
    with connected(ledger_url) as connection:
        connection.execute(sa.text(f"DROP TABLE {SUPPRESSIONS}"))
        connection.execute(sa.text(f"ALTER TABLE {SCHEMA} DROP COLUMN imported_at"))
        connection.execute(sa.update(schema).values(version=1))
    with pytest.raises(VambeLedgerError, match="ledger upgrade"), sql_ledger(ledger_url):
        pass
    assert upgrade(Database(sa.create_engine(ledger_url, poolclass=sa.pool.NullPool))) == (1, VERSION)
    opt_outs = SuppressionList(sa.create_engine(ledger_url, poolclass=sa.pool.NullPool), PERSONS)
    opt_outs.add([phone(2)], source="import", added_by=None)
    with sql_ledger(ledger_url) as used:
        assert states(ledger_url) == {"id=1": "sending"}
        assert claim_of(used, work(2)).verdict == Verdict.SUPPRESSED
        assert used.list_imported() is not None
