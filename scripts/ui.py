"""Start a whole Airflow with the example Dags next to a local Vambe, to click through. Run by ``make ui``.

Both listen on this machine only. What they know is kept in ``.ui/`` until ``make ui ARGS=--fresh``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import threading
from pathlib import Path

from local_airflow import (
    PEOPLE,
    ROOT,
    Processes,
    environment,
    free_port,
    is_free,
    migrate,
    people_environment,
    processes,
    server_environment,
    start_sandbox,
    start_standalone,
)
from warehouse import build

FOLDER = ROOT / ".ui"
PATIENCE = 1.5
"""Seconds that Airflow has to end by itself. It takes longer, and loses nothing that is missed here."""


def add_connections(children: Processes, env: dict[str, str], folder: Path) -> dict[str, str]:
    """Store the two connections in Airflow, where the web pages show them, and return the environment without them."""
    prefix = "AIRFLOW_CONN_"
    found = {
        name.removeprefix(prefix).lower(): json.loads(value) for name, value in env.items() if name.startswith(prefix)
    }
    file = folder / "connections.json"
    file.write_text(json.dumps(found))
    env = {name: value for name, value in env.items() if not name.startswith(prefix)}
    command = [sys.executable, "-m", "airflow", "connections", "import", "--overwrite", str(file)]
    finish(children.start(command, env=env, log=folder / "airflow.log").wait(), folder, "airflow connections import")
    return env


def finish(code: int, folder: Path, what: str) -> None:
    """Leave when a command failed.

    :raises SystemExit: naming the log.
    """
    if code != 0:
        raise SystemExit(f"{what} failed; the log is {folder / 'airflow.log'}")


def serve(children: Processes, folder: Path) -> None:
    """Start everything, say where it is, and wait until it ends or Ctrl-C."""
    folder.mkdir(exist_ok=True)
    warehouse, home = folder / "warehouse.sqlite", folder / "airflow"
    if not warehouse.exists():
        build(warehouse)
    print("Starting; this takes about half a minute ...", flush=True)
    sandbox = start_sandbox(children, folder=folder, port=8700 if is_free(8700) else 0)
    env = environment(home, sandbox_url=sandbox, warehouse=warehouse)
    finish(migrate(children, env=env, log=folder / "airflow.log").wait(), folder, "airflow db migrate")
    env = add_connections(children, env, folder) | server_environment(8080 if is_free(8080) else free_port())
    env |= people_environment(home)
    airflow = start_standalone(children, env=env, log=folder / "airflow.log")
    who = " or ".join(f"{name} / {password}" for name, password in PEOPLE.items())
    print(f"\n  Airflow         {env['AIRFLOW__API__BASE_URL']}   trigger a Dag tagged vambe")
    print(f"  Log in as       {who}")
    print(f"  Vambe, locally  {sandbox}   see the tickets, and answer as the customer")
    print(f"  Warehouse       {warehouse}\n\nCtrl-C ends both.", flush=True)
    while airflow.poll() is None:
        threading.Event().wait(1)
    raise SystemExit(f"Airflow has ended by itself; the log is {folder / 'airflow.log'}")


def main() -> int:
    """Run until Ctrl-C; the exit code is 0 then, and 1 when something did not start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="forget everything of earlier times")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where everything is kept (default: .ui)")
    arguments = parser.parse_args()
    if arguments.fresh and (arguments.folder / "warehouse.sqlite").exists():
        shutil.rmtree(arguments.folder)
    with processes(patience=PATIENCE) as children:
        try:
            serve(children, arguments.folder.resolve())
        except KeyboardInterrupt:
            print("\nStopping ...", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
