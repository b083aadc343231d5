"""Airflow's API server in this process, with some people who may sign in, and a ledger in a SQLite file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from tests.airflow_db import AIRFLOW
from tests.support.planted import Planted

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

Browser = Callable[[str | None], "TestClient"]

USERS = {"vera": "viewer", "uma": "user", "ada": "admin", "only-new_leads": "user"}
CONN_ID = "ledger_of_tests"
SAME_SITE = {"sec-fetch-site": "same-origin"}
"""What a browser says of a request that the page itself makes."""

needs_page = pytest.mark.skipif(AIRFLOW < (3, 1), reason="Airflow has no page of plugins before 3.1")


@pytest.fixture(scope="session")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("server") / "passwords.json"
    file.write_text(json.dumps({name: name for name in USERS}))
    return file


@pytest.fixture
def server(airflow_db: Path, passwords: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return Airflow's own application; it mounts the page because the entry point names it."""
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", "tests.support.auth.PerDagAuthManager")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", ",".join(f"{n}:{r}" for n, r in USERS.items()))
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of these tests" * 4)
    from airflow.api_fastapi.app import cached_app

    return cached_app(apps="core")


@pytest.fixture
def browser(server: Any) -> Iterator[Browser]:
    """Return a function that gives the browser of somebody, signed in by Airflow's cookie; None is nobody."""
    from fastapi.testclient import TestClient

    from vambe_provider.ui import app

    app.shown.forget()
    clients = []

    def open_one(name: str | None) -> TestClient:
        client = TestClient(server, follow_redirects=False, headers={"accept": "text/html"})
        clients.append(client)
        if name is not None:
            reply = client.post("/auth/token", json={"username": name, "password": name})
            client.cookies.set("_token", reply.json()["access_token"])
        return client

    yield open_one
    for client in clients:
        client.close()


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Planted]:
    """Return a ledger that the page shows."""
    file = tmp_path / "ledger.sqlite"
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    monkeypatch.setenv("AIRFLOW__VAMBE__LEDGER_CONN_IDS", CONN_ID)
    engine = sa.create_engine(f"sqlite:///{file}")
    yield Planted(engine)
    engine.dispose()
