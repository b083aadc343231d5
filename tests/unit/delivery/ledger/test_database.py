"""Databases that cannot be used, and what their errors may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.support.ledger import PERSONS, claim_of, connected, options, sql_ledger, work
from vambe_provider.delivery.ledger import database
from vambe_provider.delivery.ledger.sql import SqlLedger
from vambe_provider.exceptions import VambeLedgerError


def test_a_database_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PAUSES", ())
    with pytest.raises(VambeLedgerError, match="Check the ledger's connection"):
        SqlLedger(sa.create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/none"), PERSONS)


def test_a_kind_that_was_never_tried() -> None:
    class Other:
        class dialect:  # noqa: N801 - as SQLAlchemy calls it
            name = "oracle"

    with pytest.raises(VambeLedgerError, match="'oracle' cannot hold the ledger"):
        SqlLedger(Other(), PERSONS)  # type: ignore[arg-type]


def test_an_error_of_the_database_shows_its_code_and_no_values(ledger_url: str) -> None:
    with sql_ledger(ledger_url) as ledger:
        with connected(ledger_url) as connection:
            connection.execute(sa.text("ALTER TABLE vambe_ticket_attempts RENAME TO elsewhere"))
        try:
            with pytest.raises(VambeLedgerError) as caught:
                ledger.exchange([], [work(1)], options(), 60.0)
        finally:
            with connected(ledger_url) as connection:
                connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO vambe_ticket_attempts"))
    text = str(caught.value)
    code = {"sqlite": "SQLITE_ERROR", "postgresql": "42P01", "mysql": "1146"}[
        ledger_url.partition("+")[0].split(":")[0]
    ]
    assert f"({code})" in text
    for part in (work(1).key.digest, "INSERT", "vambe_ticket", "late-orders"):
        assert part not in text
    assert caught.value.__cause__ is None


def test_a_value_that_a_database_quotes_is_not_in_the_error(postgres_url: str) -> None:
    with sql_ledger(postgres_url) as ledger, pytest.raises(VambeLedgerError) as caught:
        ledger._database.write(
            lambda tx: tx.connection.exec_driver_sql("SELECT 'Ana 56912345678'::date")  # the driver quotes it
        )
    assert "56912345678" not in str(caught.value)
    assert "(22007)" in str(caught.value)


def test_a_user_who_may_not_create_tables_is_told_about_create_and_ledger_conn_id(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PAUSES", (3600.0,))  # nothing of this is worth a second try
    engine = sa.create_engine(postgres_url, connect_args={"options": "-c search_path=nowhere"})
    with pytest.raises(VambeLedgerError) as caught:
        SqlLedger(engine, PERSONS, conn_id="warehouse")
    assert "ledger_conn_id" in str(caught.value)
    assert "ledger create --conn-id warehouse`" in str(caught.value)


def test_a_database_that_is_read_only(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sql_ledger(sqlite_url):
        pass
    monkeypatch.setattr(database, "PAUSES", (3600.0,))
    url = f"sqlite:///file:{tmp_path / 'test.sqlite'}?mode=ro&uri=true"
    with sql_ledger(url) as ledger, pytest.raises(VambeLedgerError, match="may not write there"):
        claim_of(ledger, work(1))


def test_a_deadlock_is_tried_again(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PAUSES", (0.0, 0.0))
    failures = [2]
    with sql_ledger(ledger_url) as ledger:

        def fails(*event: Any) -> None:
            if failures[0] and "INSERT" in event[2]:
                failures[0] -= 1
                raise sa.exc.OperationalError(event[2], {}, Exception("deadlock detected"))

        sa.event.listen(ledger._database.engine, "before_cursor_execute", fails)
        assert claim_of(ledger, work(1)).verdict == "send"
    assert failures == [0]
