"""A ledger that cannot be read is a sentence on the page, whatever is wrong with it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tests.unit.ui.conftest import CONN_ID, SAME_SITE, needs_page
from vambe_provider.delivery.ledger.tables import schema

if TYPE_CHECKING:
    from tests.support.planted import Planted
    from tests.unit.ui.conftest import Browser

pytestmark = needs_page

Connect = Callable[..., None]

REQUESTS = ("/vambe/", "/vambe/tickets", "/vambe/tickets.csv", "/vambe/ticket?key=x&account=y")


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    monkeypatch.setenv("AIRFLOW__VAMBE__LEDGER_CONN_IDS", CONN_ID)
    return lambda **fields: monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(fields))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Return a port that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


def sentences(browser: Browser) -> str:
    """Ask for every page, and return what they say; none of them may be more than a sentence."""
    vera, found = browser("vera"), []
    replies = [vera.get(path) for path in REQUESTS]
    replies.append(vera.post("/vambe/person", json={"ledger": CONN_ID, "phone": "+56961234567"}, headers=SAME_SITE))
    for reply in replies:
        assert reply.status_code == 503
        assert "Traceback" not in reply.text
        found.append(reply.text)
    return "\n".join(found)


@pytest.mark.usefixtures("server")
def test_a_connection_that_the_api_server_does_not_know(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__VAMBE__LEDGER_CONN_IDS", "nowhere")

    reply = browser("vera").get("/vambe/")

    assert reply.status_code == 503
    assert "The API server knows no connection nowhere" in reply.text


def test_a_database_without_a_ledger(browser: Browser, connect: Connect, tmp_path: Path) -> None:
    connect(conn_type="sqlite", host=str(tmp_path / "empty.sqlite"))

    assert f"ledger create --conn-id {CONN_ID}" in sentences(browser)


def test_a_ledger_of_a_newer_provider(ledger: Planted, browser: Browser) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(sa.update(schema).values(version=99))

    assert "Upgrade airflow-provider-vambe" in sentences(browser)


def test_a_connection_that_is_no_database(browser: Browser, connect: Connect) -> None:
    connect(conn_type="vambe", host="https://api.vambe.example", password="secret-key")

    text = sentences(browser)

    assert "has to lead to a PostgreSQL, MySQL, MariaDB or SQLite database" in text
    assert "secret-key" not in text


def test_a_database_that_refuses_connections(browser: Browser, connect: Connect) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    connect(conn_type="postgres", host="127.0.0.1", port=port, login="someone", password="secret-word", schema="x")

    text = sentences(browser)

    assert "cannot be used from the API server" in text
    for known_to_few in ("secret-word", "someone", "127.0.0.1", str(port)):
        assert known_to_few not in text


def test_a_database_that_never_answers(
    browser: Browser, connect: Connect, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vambe_provider.ui import ledgers

    monkeypatch.setattr(ledgers, "PATIENCE", 0.2)
    connect(conn_type="postgres", host="127.0.0.1", port=silent_port, login="someone", password="x", schema="x")

    assert "did not answer within" in sentences(browser)


def test_tables_that_vanish_while_the_page_is_open(ledger: Planted, browser: Browser) -> None:
    vera = browser("vera")
    assert vera.get("/vambe/tickets").status_code == 200
    with ledger.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE vambe_ticket_ledger"))

    reply = vera.get("/vambe/tickets")

    assert reply.status_code == 503
    assert "cannot be used from the API server" in reply.text
    assert "SELECT" not in reply.text
