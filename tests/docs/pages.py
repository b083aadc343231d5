"""Runs the code blocks of a page, one after the other, as its reader would.

Every block in Python, SQL or a shell runs, unless a comment that no reader sees says otherwise::

    <!-- skip: next "needs an account" -->
    <!-- skip: next if(AIRFLOW_2, reason="Airflow 3 only") -->
    <!-- file: dags/greeting.py -->      the block is that file, in the folder of the page
    <!-- sqlite: shop.db -->             the SQL runs in that SQLite file; without it, in PostgreSQL

A ``console`` block holds commands behind ``$ `` and what they print; ``...`` stands for anything.
"""

from __future__ import annotations

import doctest
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser, SkipParser

from tests.airflow_db import AIRFLOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from sybil import Example
    from sybil.typing import Parser

ROOT = Path(__file__).resolve().parents[2]
_HINT = re.compile(r"<!-- (file|sqlite): (\S+) -->\s*\Z")
_PORT = "8700"
_PATIENCE = 180


class Page:
    """One page and the folder in which its blocks run.

    :param path: the page.
    :param folder: an empty folder.
    :param postgres: returns the URL of an empty database; asked for when a block needs one.
    """

    def __init__(self, path: Path, folder: Path, postgres: Callable[[], str]) -> None:
        self.path = path
        self.folder = folder
        self.ran = 0
        self.skipped = 0
        self._postgres = postgres
        self._engine: sa.Engine | None = None
        self._port = _free_port()
        self._groups: list[int] = []
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        self._environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": str(ROOT),
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "COLUMNS": "200",
        }

    def run(self) -> None:
        """Run all blocks, and end what they have left running.

        :raises AssertionError: naming the line of the first block that failed.
        """
        parsers: list[Parser] = [
            PythonCodeBlockParser(future_imports=["annotations"]),
            *(CodeBlockParser(language=name, evaluator=self.shell) for name in ("sh", "bash", "shell")),
            CodeBlockParser(language="console", evaluator=self.console),
            CodeBlockParser(language="sql", evaluator=self.sql),
            SkipParser(),
        ]
        document = Sybil(parsers=parsers, path=str(ROOT)).parse(self.path)
        document.namespace |= {"AIRFLOW_2": AIRFLOW < (3, 0), "AIRFLOW": AIRFLOW}
        document.push_evaluator(self._file)
        try:
            for example in document.examples():
                self._evaluate(example)
        finally:
            for group in self._groups:
                _end(group)
            if self._engine is not None:
                self._engine.dispose()

    def _evaluate(self, example: Example) -> None:
        from unittest import SkipTest

        try:
            example.evaluate()
        except SkipTest:
            self.skipped += 1
            return
        except Exception as error:
            raise AssertionError(f"{self.path.name}:{example.line}: {error}") from error
        self.ran += isinstance(example.parsed, str)

    def _hint(self, example: Example, kind: str) -> str | None:
        found = _HINT.search(example.document.text[: example.region.start])
        return found[2] if found and found[1] == kind else None

    def _file(self, example: Example) -> None:
        """Write a block that is a file; leave every other one to its own evaluator."""
        from sybil.example import NotEvaluated

        name = self._hint(example, "file")
        if name is None or not isinstance(example.parsed, str):
            raise NotEvaluated
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._with_port(example.parsed))

    def shell(self, example: Example) -> None:
        """Run a block in a shell; what it exports is there in the next one, and what it starts with ``&`` goes on."""
        self._bash(self._with_port(example.parsed))

    def console(self, example: Example) -> None:
        """Run each command, and compare what it prints."""
        for part in re.split(r"^\$ ", self._with_port(example.parsed), flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            printed = self._bash(command, check=False)
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert doctest.OutputChecker().check_output(expected.strip() + "\n", printed.strip() + "\n", flags), (
                f"`{command}` prints\n{printed}"
            )

    def sql(self, example: Example) -> None:
        """Run all statements of a block."""
        name = self._hint(example, "sqlite")
        if name is not None:
            with closing(sqlite3.connect(self.folder / name)) as file:
                file.executescript(example.parsed)
            return
        if self._engine is None:
            self._engine = sa.create_engine(self._postgres(), isolation_level="AUTOCOMMIT")
        with self._engine.connect() as connection:
            connection.exec_driver_sql(example.parsed.replace("%", "%%"))

    def _with_port(self, text: str) -> str:
        """Return the text with a free port in place of the sandbox's usual one."""
        return text.replace(_PORT, str(self._port))

    def _bash(self, commands: str, *, check: bool = True) -> str:
        kept, log = self.folder / ".exported", self.folder / ".printed"
        script = f"set -euo pipefail\n[ ! -e {kept} ] || . {kept}\n{commands}\nexport -p > {kept}\n"
        with log.open("w") as output:
            # Into a file, not a pipe: a program that goes on in the background would keep a pipe open.
            process = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._groups.append(process.pid)
            code = process.wait(_PATIENCE)
        printed = log.read_text()
        assert code == 0 or not check, f"exit code {code}\n{commands}\n{printed}"
        return printed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def blocks(text: str) -> list[Any]:
    """Return the languages of all fenced blocks of a page."""
    return re.findall(r"^```(\w+)$", text, re.MULTILINE)
