"""The commands as a whole: every one has its help, its action, and its twin in Airflow's own command line."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.delivery import sql_ledger
from vambe_provider.cli.tree import ROOT, Command, Group
from vambe_provider.compat import AIRFLOW_V_3_2_PLUS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.cli.conftest import Command as Run

PROJECT = Path(__file__).resolve().parents[3]


def leaves(group: Group = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    for item in group.commands:
        if isinstance(item, Group):
            yield from leaves(item, (*path, item.name))
        else:
            yield (*path, item.name), item


LEAVES = list(leaves())


@pytest.mark.parametrize(("path", "item"), LEAVES, ids=[" ".join(path) for path, _ in LEAVES])
def test_every_command_has_a_help_and_an_action(path: tuple[str, ...], item: Command, command: Run) -> None:
    answer = command(*path, "--help")
    assert answer.code == 0
    assert item.description in answer.out
    for argument in item.arguments:
        assert argument.flags[0] in answer.out or argument.options["metavar"] in answer.out
    module, _, function = item.action.rpartition(".")
    assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize(("path", "item"), LEAVES, ids=[" ".join(path) for path, _ in LEAVES])
def test_every_example_in_a_help_can_be_run(path: tuple[str, ...], item: Command) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    for argument in item.arguments:
        parser.add_argument(*argument.flags, **argument.options)
    assert item.examples
    for example in item.examples:
        words = example.split()
        assert tuple(words[: len(path)]) == path
        parser.parse_args(words[len(path) :])


@pytest.mark.parametrize("arguments", [[], ["ledger"], ["nonsense"], ["ledger", "nonsense"], ["ledger", "show"]])
def test_a_command_that_is_none_is_a_usage_error(arguments: list[str], command: Run) -> None:
    answer = command(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("usage: python -m vambe_provider")


def test_reading_the_commands_loads_nothing_heavy() -> None:
    """Airflow does it at every start of its command line."""
    code = "import vambe_provider.cli, json, sys; print(json.dumps(sorted(sys.modules)))"
    reply = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(reply.stdout)}
    assert not loaded & {"airflow", "sqlalchemy", "httpx", "aiohttp", "pydantic", "phonenumbers"}


@pytest.fixture
def airflow_vambe(airflow_db: Path) -> Any:
    """Return a function that runs a command of ``airflow`` as a shell does."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; from airflow.__main__ import main; sys.argv[0] = 'airflow'; main()"
        environment = {**os.environ, "COLUMNS": "200"}
        line = [sys.executable, "-W", "ignore", "-c", code, "vambe", *arguments]
        return subprocess.run(line, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.skipif(not AIRFLOW_V_3_2_PLUS, reason="this Airflow takes no commands from providers")
def test_airflow_has_the_same_commands(airflow_vambe: Any, sqlite_url: str) -> None:
    helped = airflow_vambe("ledger", "resolve", "--help")
    assert helped.returncode == 0, helped.stderr
    for text in ("airflow vambe ledger resolve", "--not-sent", "never sent again", "exit codes: 0 done"):
        assert text in helped.stdout
    with sql_ledger(sqlite_url):
        pass
    found = airflow_vambe("ledger", "counts", "--url", sqlite_url, "--json")
    assert (found.returncode, json.loads(found.stdout)) == (1, [])
    wrong = airflow_vambe("ledger", "counts")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "error: Say where the ledger is" in wrong.stderr


def test_connections_in_airflows_database_are_found(airflow_db: Path, sqlite_url: str) -> None:
    """Outside of a task, Airflow 3 reads them only in a process that asks for it."""
    from airflow.models import Connection
    from airflow.utils.session import create_session

    with create_session() as session:
        session.add(Connection(conn_id="stored_ledger", uri=sqlite_url))
    try:
        line = [sys.executable, "-m", "vambe_provider", "ledger", "create", "--conn-id", "stored_ledger"]
        reply = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False)
    finally:
        with create_session() as session:
            session.query(Connection).filter(Connection.conn_id == "stored_ledger").delete()
    kinds = ("attempts", "ledger", "schema", "senders", "suppressions")
    made = ", ".join(f"vambe_ticket_{kind}" for kind in kinds)
    assert (reply.returncode, reply.stdout) == (0, f"The tables {made} were created.\n"), reply.stderr
