"""What a database does for each statement when it has many rows and no statistics, such as after a restore: it must not
read a whole table, account or namespace to find the rows of a few keys.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.support.ledger import (
    ACCOUNT,
    LEASE,
    NAMESPACE,
    PERSONS,
    asked,
    connected,
    options,
    phone,
    settlement,
    sql_ledger,
    work,
)
from vambe_provider.contact_policy import Cap, ContactPolicy, WarmUp
from vambe_provider.delivery.key import TicketKey
from vambe_provider.delivery.ledger.suppressions import SuppressionList
from vambe_provider.delivery.ledger.tables import ATTEMPTS, TABLE
from vambe_provider.delivery.model import Outcome, Unsendable, Verdict
from vambe_provider.delivery.permission import Permission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vambe_provider.delivery.ledger.sql import SqlLedger
    from vambe_provider.delivery.model import Work

ROWS = 100_000
_DIGEST = {"postgresql": "md5(n::text)", "sqlite": "printf('%032x', n)"}
_NUMBERS = {
    "postgresql": f"generate_series(1, {ROWS}) AS n",
    "sqlite": f"(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {ROWS}) SELECT n FROM c)",
}
_PAST = "'2020-01-01 00:00:00.000000'"


def fill(url: str) -> None:
    """Write many tickets of one namespace and account, one in ten undecided, and let nobody count them."""
    with connected(url) as connection:
        dialect = connection.dialect.name
        if dialect == "postgresql":
            for name in (TABLE, ATTEMPTS):
                connection.execute(sa.text(f"ALTER TABLE {name} SET (autovacuum_enabled = false)"))
        past = f"{_PAST}::timestamp" if dialect == "postgresql" else _PAST
        digest, numbers = _DIGEST[dialect], _NUMBERS[dialect]
        shared = f"'{NAMESPACE}', '{ACCOUNT}'"
        state = "CASE WHEN n / 10 * 10 = n THEN 'unknown' ELSE 'opened' END"
        connection.exec_driver_sql(
            f"INSERT INTO {TABLE} (ticket_key, namespace, account, key_text, state, generation, opened, attempts,"
            f" dag_run, person, fingerprint, created_at, updated_at) SELECT {digest}, {shared}, 'id', {state}, 0,"
            f" CASE WHEN n / 10 * 10 = n THEN NULL ELSE 0 END, 1, 'dag/run', {digest}, {digest}, {past}, {past}"
            f" FROM {numbers}"
        )
        connection.exec_driver_sql(
            f"INSERT INTO {ATTEMPTS} (ticket_key, namespace, account, number, generation, reason, dag_id, task_id,"
            " run_id, map_index, try_number, sender, person, owner, started_at, lease_until, closed_at, sent, evidence,"
            f" ai_contact_id) SELECT {digest}, {shared}, 1, 0, 'first', 'dag', 'task', 'run', -1, 1, 's', {digest},"
            f" 'o', {past}, {past}, CASE WHEN n / 10 * 10 = n THEN NULL ELSE {past} END,"
            f" CASE WHEN n / 10 * 10 = n THEN 'maybe' ELSE 'yes' END, 'reply', 'c' FROM {numbers}"
        )


def known(number: int, kind: str) -> Work:
    """Return a ticket that is among those rows."""
    import hashlib

    digest = hashlib.md5(str(number).encode()).hexdigest() if kind == "postgresql" else f"{number:032x}"
    return replace(work(number), key=TicketKey(NAMESPACE, digest, "id"), person=digest, fingerprint=digest)


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from tests import servers

    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('plans') / 'ledger.sqlite'}"
        with sql_ledger(url):
            fill(url)
        yield url
        return
    if servers.problem_with(servers.POSTGRES):
        pytest.skip("needs PostgreSQL")
    with servers.private_database(servers.POSTGRES) as url:
        with sql_ledger(url):
            fill(url)
        yield url


def _everything(ledger: SqlLedger, kind: str) -> None:
    """Do all that a night does, with many tickets that are known and some that are new."""
    some = [known(number, kind) for number in range(1, 129)]
    ledger.glimpses(NAMESPACE, [known(number, kind).key.digest for number in range(1, 2001)])
    again = options(run="tonight", resend=True, on_unknown="resend")
    ledger.look_up(some, again)
    claims = ledger.exchange([], [*some, *(work(number) for number in range(1, 65))], again, LEASE)
    outcomes = [Outcome.OPENED, Outcome.RECONCILED, Outcome.FAILED, Outcome.UNKNOWN, Outcome.REJECTED]
    mine = [claim for claim in claims if claim.verdict in (Verdict.SEND, Verdict.CHECK)]
    checked = [claim for claim in mine if claim.verdict == Verdict.CHECK]
    assert len(mine) > 150
    assert checked
    done = [settlement(claim, outcomes[n % 5], ai_contact_id=f"c{n}") for n, claim in enumerate(mine)]
    unknown = [item.claim.work for item in done if item.outcome == Outcome.UNKNOWN]
    blind = ledger.exchange(done, unknown, again, LEASE)
    assert "blind" in {claim.made.reason for claim in blind if claim.verdict == Verdict.SEND}
    busy = next(claim.work for claim in blind if claim.verdict == Verdict.SEND)
    rival = replace(work(999), person=busy.person)
    assert ledger.exchange([], [rival], again, LEASE)[0].verdict == Verdict.WAIT
    ledger.reject([Unsendable(Outcome.REJECTED, known(n, kind).key, None, "x") for n in (7, 10)], again)
    ledger.reject([Unsendable(Outcome.REJECTED, work(500).key, None, "x")], again)
    for made in (mine[0].made, checked[0].made):
        ledger.siblings(made)
        ledger.earlier(made)


def _collected(ledger: SqlLedger, action: Any) -> list[tuple[str, Any]]:
    sent: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        if "vambe_ticket" in statement and "vambe_ticket_schema" not in statement and not many:
            sent.append((statement, parameters))

    sa.event.listen(ledger._database.engine, "before_cursor_execute", note)
    action()
    sa.event.remove(ledger._database.engine, "before_cursor_execute", note)
    return sent


def _plan(url: str, statement: str, parameters: Any) -> list[str]:
    with connected(url) as connection:
        explain = "EXPLAIN " if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
        return [str(row[-1]) for row in connection.exec_driver_sql(explain + statement, parameters)]


_WHOLE = re.compile(rf"Seq Scan on (?:{TABLE}|{ATTEMPTS})|SCAN (?:TABLE )?(?:{TABLE}|{ATTEMPTS})")


def test_no_statement_of_a_night_reads_more_than_its_keys(filled: str) -> None:
    kind = "sqlite" if filled.startswith("sqlite") else "postgresql"
    with sql_ledger(filled) as ledger:
        statements = _collected(ledger, lambda: _everything(ledger, kind))
    assert len({statement for statement, _ in statements}) > 12
    for statement, parameters in statements:
        plan = "\n".join(_plan(filled, statement, parameters))
        assert not _WHOLE.search(plan), f"{statement}\n{plan}"
        # An index by account or namespace would read all of it.
        assert f"ix_{TABLE}_namespace" not in plan, f"{statement}\n{plan}"
        assert f"ix_{ATTEMPTS}_account" not in plan, f"{statement}\n{plan}"


def test_what_a_policy_counts_is_found_by_an_index(filled: str) -> None:
    caps = [Cap(2), Cap(5, per="sender", period="day"), Cap(9, per="sender", scope="account", period="1 day")]
    policy = ContactPolicy(caps=caps, new_people=WarmUp(), suppression={"max_list_age": "30 days"})
    counted = options(run="tonight", policy=Permission(policy, timeout=30.0))
    with sql_ledger(filled) as ledger:
        SuppressionList(ledger._database.engine, PERSONS).add([phone(1)], source="import", added_by=None)
        mine = [asked(number) for number in range(3001, 3065)]
        statements = _collected(ledger, lambda: ledger.exchange([], mine, counted, LEASE))
        listed = _collected(ledger, lambda: ledger.suppressed([ticket.person for ticket in mine]))
    assert len({statement for statement, _ in statements}) > 8
    for statement, parameters in (*statements, *listed):
        plan = "\n".join(_plan(filled, statement, parameters))
        assert not _WHOLE.search(plan), f"{statement}\n{plan}"
        # Of a sender, only what is as new as the cap asks for; and once for each sender, its first ticket.
        if "started_at" not in plan and "LIMIT" not in statement:
            assert f"ix_{ATTEMPTS}_account" not in plan, f"{statement}\n{plan}"


def test_witnesses_are_the_end_of_one_index(filled: str) -> None:
    kind = "sqlite" if filled.startswith("sqlite") else "postgresql"
    with sql_ledger(filled) as ledger:
        [claim] = ledger.look_up([known(1, kind)], options())
        assert claim.verdict == Verdict.OPENED
        made = ledger.exchange([], [work(2000)], options(), LEASE)[0].made
        [(statement, parameters)] = _collected(ledger, lambda: ledger.witnesses(made))
    plan = "\n".join(_plan(filled, statement, parameters))
    assert f"ix_{ATTEMPTS}_account" in plan
    assert not _WHOLE.search(plan), plan
