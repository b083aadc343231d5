"""``make ui`` as a person uses it: log in, open a ticket, follow its link, and end it all with Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from local_airflow import ask, log_in

from tests.e2e.conftest import wait_for

pytestmark = pytest.mark.e2e

UI = Path(__file__).resolve().parents[2] / "scripts" / "ui.py"
SECONDS_TO_END = 5
"""What the documentation promises."""


@contextmanager
def started(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start everything as a terminal does: in a process group of its own, which Ctrl-C reaches as a whole."""
    command = [sys.executable, str(UI), "--folder", str(folder)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=60)


def press_ctrl_c(process: subprocess.Popen[str]) -> None:
    """Interrupt, and hold that everything has ended in time."""
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=SECONDS_TO_END)
    assert process.returncode == 0
    assert output.strip() == "Stopping ..."
    assert [child.cmdline() for child in children if child.is_running() and child.status() != "zombie"] == []


def test_people_log_in_with_their_rights_and_a_link_leads_to_the_sandbox(tmp_path: Path) -> None:
    log = tmp_path / "ui" / "airflow.log"
    with started(log.parent) as process:
        assert process.stdout is not None
        shown = ""
        while "Ctrl-C ends both." not in shown:
            line = process.stdout.readline()
            assert line, f"it ended by itself:\n{shown}"
            shown += line
        airflow, sandbox = re.findall(r"http://127\.0\.0\.1:\d+", shown)
        assert "admin / admin or viewer / viewer" in shown

        admin, viewer = log_in(airflow, "admin"), log_in(airflow, "viewer")
        dags = f"{airflow}/api/v2/dags"
        wait_for(lambda: "vambe_contact_form" in str(ask(dags, token=viewer)), log=log)
        runs = f"{dags}/vambe_contact_form/dagRuns"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(runs, {"logical_date": None}, token=viewer)
        ask(runs.removesuffix("/dagRuns"), {"is_paused": False}, token=admin, method="PATCH")
        run = ask(runs, {"logical_date": None, "conf": {"name": "Ana Rojas"}}, token=admin)["dag_run_id"]
        wait_for(lambda: ask(f"{runs}/{run}", token=viewer)["state"] in ("success", "failed"), log=log)

        link = f"{runs}/{run}/taskInstances/open_ticket/links"
        address = ask(link, token=viewer)["extra_links"]["Vambe conversation"]
        assert address.startswith(f"{sandbox}/pipeline?")
        with urllib.request.urlopen(address, timeout=30) as page:
            assert "<h2><bdi>Ana Rojas</bdi></h2>" in page.read().decode()
        press_ctrl_c(process)


def test_ctrl_c_ends_it_before_it_has_started_too(tmp_path: Path) -> None:
    log = tmp_path / "ui" / "airflow.log"
    with started(log.parent) as process:
        # The warehouse and the sandbox are there, and Airflow makes its database.
        wait_for(log.exists, log=log)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Starting;")
        press_ctrl_c(process)
