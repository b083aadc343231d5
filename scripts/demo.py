"""Run the nightly Dag for real, twice, against a local Vambe, and show what happened. Run by ``make demo``.

Airflow, the connections, the query, the ledger and the HTTP requests are the real thing; only the other end is a
sandbox on this machine. Everything is kept in ``.demo/``.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sqlite3
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_airflow import ROOT, Processes, ask, environment, migrate, processes, start_sandbox
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from warehouse import Planted, build

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

DAG_ID = "vambe_late_orders"
TASK_ID = "open_tickets"
LATENCY_MS = 25
OUTCOMES = {
    "opened": "Ticket opened",
    "already_opened": "Already open, nothing sent",
    "rejected": "Rejected, nothing sent",
    "duplicate": "Same order again, nothing sent",
    "conflict": "Same order again with other content, nothing sent",
}


@dataclass(frozen=True)
class Demo:
    """One demo on its way.

    :param folder: where everything is kept.
    :param children: the processes.
    :param env: their environment.
    :param sandbox: the URL of the local Vambe.
    :param planted: what the warehouse holds.
    """

    console: Console
    folder: Path
    children: Processes
    env: dict[str, str]
    sandbox: str
    planted: Planted

    @property
    def log(self) -> Path:
        """The file with Airflow's whole output."""
        return self.folder / "airflow.log"

    def tickets(self) -> list[dict[str, Any]]:
        """Return every ticket that the local Vambe has."""
        found: list[dict[str, Any]] = ask(f"{self.sandbox}/__sandbox__/tickets?limit=1000000")
        return found

    def run_dag(self, name: str) -> dict[str, Any]:
        """Run the Dag in a process of its own, show the tickets arriving, and return the report of its task.

        :raises SystemExit: when the Dag fails; names the log.
        """
        result = self.folder / f"{name}.json"
        command = [sys.executable, str(ROOT / "scripts" / "run_dag.py"), DAG_ID, str(result)]
        process = self.children.start(command, env=self.env, log=self.log)
        if name == "first":
            self._follow(process)
        with self.console.status("Airflow runs the Dag ..."):
            process.wait()
        if process.returncode != 0:
            lines = self.log.read_text(errors="replace").splitlines()
            errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Exit|Timeout)\b", line)]
            raise SystemExit("\n".join([*errors[-3:], f"The Dag failed; the whole log is {shown(self.log)}"]))
        report: dict[str, Any] = json.loads(result.read_text())["returned"][TASK_ID]
        return report

    def _follow(self, process: subprocess.Popen[str]) -> None:
        if not self.console.is_terminal:
            for count in self._counts(process, every=2.0):
                self.console.print(f"  {count:,} of {self.planted.sendable:,} tickets")
            return
        columns = (TextColumn("  "), BarColumn(40), MofNCompleteColumn(), TextColumn("tickets"), TimeElapsedColumn())
        with Progress(*columns, console=self.console) as progress:
            bar = progress.add_task("", total=self.planted.sendable)
            for count in self._counts(process, every=0.1):
                progress.update(bar, completed=count)

    def _counts(self, process: subprocess.Popen[str], *, every: float) -> Iterator[int]:
        """Yield how many tickets there are whenever that changed, until the process has ended."""
        pause, before, running = threading.Event(), -1, True
        while running:
            running = process.poll() is None
            count = int(ask(f"{self.sandbox}/__sandbox__/state?limit=1")["counts"]["tickets"])
            if count != before:
                yield count
            before = count
            if running:
                pause.wait(every)


def shown(path: Path) -> str:
    """Return a path as a person in the project's folder would write it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def show_report(console: Console, report: dict[str, Any]) -> None:
    """Print how many rows had which outcome."""
    table = Table(box=None, padding=(0, 3, 0, 2), show_header=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_row(f"{report['rows']:,}", "rows found by the query", style="bold")
    for outcome, count in report["counts"].items():
        if count:
            table.add_row(f"{count:,}", OUTCOMES.get(outcome, outcome))
    console.print(table)
    console.print(f"  {report['elapsed_seconds']:.1f} s, {report['rows_per_second']:,.0f} rows a second\n")


def rejected_reasons(warehouse: Path) -> dict[str, tuple[int, str]]:
    """Return why rows were rejected, as the ledger tells it: the reason, how many rows, and the key of one of them."""
    with closing(sqlite3.connect(warehouse)) as connection:
        rows = connection.execute(
            "SELECT error, key_text FROM vambe_ticket_ledger WHERE state = 'rejected' ORDER BY key_text"
        )
        found: dict[str, tuple[int, str]] = {}
        for error, key in rows:
            reason = re.sub(r"^.*? cannot be sent: ", "", error).removesuffix(" Nothing was sent.").rstrip(".")
            # The last digits, which tell a person the row, would make every reason a different one.
            reason = re.sub(r"\*{3}\d+", "***", reason)
            count, first = found.get(reason, (0, key))
            found[reason] = (count + 1, first)
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def show_rejected(console: Console, report: dict[str, Any], warehouse: Path) -> None:
    """Print what has to be corrected in the warehouse."""
    table = Table(box=None, padding=(0, 3, 0, 2), header_style="bold")
    table.add_column("rows", justify="right")
    table.add_column("rejected because", max_width=84)
    table.add_column("for example")
    reasons = rejected_reasons(warehouse)
    for reason, (count, key) in reasons.items():
        table.add_row(f"{count}", reason, key)
    without_key = report["counts"]["rejected"] - sum(count for count, _ in reasons.values())
    if without_key:
        table.add_row(f"{without_key}", "the key column order_id is null, so it could not be sent once only", "")
    console.print(table)
    console.print()


def checks(demo: Demo, first: dict[str, Any], second: dict[str, Any], between: int) -> dict[str, bool]:
    """Return what the demo claims, and whether it is so."""
    tickets = demo.tickets()
    keys = Counter(ticket["ticket_metadata"].get("airflow_ticket_key") for ticket in tickets)
    opened, again = first["counts"]["opened"], second["counts"]["opened"]
    with closing(sqlite3.connect(demo.folder / "warehouse.sqlite")) as connection:
        [recorded] = connection.execute("SELECT COUNT(*) FROM vambe_ticket_ledger WHERE state = 'opened'").fetchone()
    good, bad = demo.planted.sendable, demo.planted.rejected.total()
    return {
        f"every order that can be a ticket is one: {good:,} planted, {opened:,} opened": opened == good,
        f"Vambe and the ledger agree: {between:,} tickets, {recorded:,} recorded": between == recorded == opened,
        f"no order has two tickets: {len(keys):,} different keys": None not in keys
        and len(keys) == len(tickets) == opened,
        f"every bad row was rejected: {bad:,} planted, {first['counts']['rejected']:,} rejected": (
            first["counts"]["rejected"] == bad
        ),
        f"the second run sent nothing: {again:,} opened, {len(tickets):,} tickets in Vambe": (
            again == 0 and len(tickets) == between
        ),
    }


def show_checks(console: Console, results: dict[str, bool]) -> None:
    """Print each claim with its verdict."""
    for claim, holds in results.items():
        console.print(f"  [{'green' if holds else 'red'}]{'ok    ' if holds else 'FAILED'}[/] {claim}")
    console.print()


def empty(folder: Path) -> None:
    """Make a folder for this demo, in place of an earlier demo's.

    :raises SystemExit: when it holds something else.
    """
    marker = folder / ".vambe-demo"
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        raise SystemExit(f"{shown(folder)} holds something that no demo has made; name another folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.touch()


def prepare(console: Console, folder: Path, children: Processes) -> Demo:
    """Build the warehouse, start the local Vambe, and make Airflow's database."""
    empty(folder)
    warehouse, home = folder / "warehouse.sqlite", folder / "airflow"
    sandbox = start_sandbox(children, folder=folder, latency_ms=LATENCY_MS)
    env = environment(home, sandbox_url=sandbox, warehouse=warehouse)
    migration = migrate(children, env=env, log=folder / "airflow.log")
    planted = build(warehouse)
    with console.status("Airflow makes its database ..."):
        migration.wait()
    if migration.returncode != 0:
        raise SystemExit(f"airflow db migrate failed; the log is {shown(folder / 'airflow.log')}")
    console.print(f"  Warehouse  {shown(warehouse)}: 6,000 orders in five countries")
    console.print(f"  Vambe      a local one that messages nobody, {LATENCY_MS} ms a request")
    console.print(f"  Airflow    {version('apache-airflow')}, the Dag {DAG_ID} (example_dags/late_orders.py)")
    console.print("  Pace       rate=none in the connection; a real phone gets 10 tickets a minute\n")
    return Demo(console, folder, children, env, sandbox, planted)


def show_places(demo: Demo, *, kept: bool) -> None:
    """Print where to look further."""
    warehouse, state = shown(demo.folder / "warehouse.sqlite"), shown(demo.folder / "sandbox.sqlite")
    demo.console.print("[bold]Where to look[/]")
    demo.console.print(f"  The ledger: the table vambe_ticket_ledger in {warehouse}")
    if kept:
        demo.console.print(f"  The tickets in Vambe: {demo.sandbox}")
    else:
        command = f"{shown(Path(sys.executable))} -m vambe_provider.sandbox --state {state}"
        demo.console.print("  The tickets in Vambe, at http://127.0.0.1:8700 after this command:")
        demo.console.print(f"    {command}", soft_wrap=True)
    demo.console.print(f"  Airflow's log: {shown(demo.log)}")
    demo.console.print("  The same in Airflow's web pages: make ui\n")


def demonstrate(console: Console, folder: Path, children: Processes, *, keep: bool) -> bool:
    """Do it all, and return whether every claim held."""
    started = time.monotonic()
    console.print("\n[bold]One night of late orders, opened as tickets exactly once[/]\n")
    demo = prepare(console, folder, children)
    console.print("[bold]First run[/]")
    first = demo.run_dag("first")
    between = len(demo.tickets())
    show_report(console, first)
    show_rejected(console, first, folder / "warehouse.sqlite")
    console.print("[bold]Second run, in a new process[/]")
    second = demo.run_dag("second")
    show_report(console, second)
    console.print("[bold]Is it so?[/]")
    results = checks(demo, first, second, between)
    show_checks(console, results)
    show_places(demo, kept=keep)
    console.print(f"{'Done' if all(results.values()) else 'FAILED'} after {time.monotonic() - started:.0f} s.")
    if keep:
        console.print("The local Vambe runs on; Ctrl-C ends it.")
        threading.Event().wait()
    return all(results.values())


def main() -> int:
    """Run the demo; the exit code is 0 when every claim held, 1 when not, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".demo", help="where everything is kept; it is emptied first"
    )
    parser.add_argument("--keep", action="store_true", help="leave the local Vambe running until Ctrl-C")
    arguments = parser.parse_args()
    console = Console(highlight=False, emoji=False)
    with processes() as children:
        try:
            return 0 if demonstrate(console, arguments.folder.resolve(), children, keep=arguments.keep) else 1
        except KeyboardInterrupt:
            console.print("\nStopped; nothing is left running.")
            return 130


if __name__ == "__main__":
    sys.exit(main())
