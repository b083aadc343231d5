"""``make demo`` as a person runs it, and how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.e2e

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from local_airflow import processes  # noqa: E402


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPTS / script), *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """Return the output up to the line that holds a text."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"{text!r} is not in the output:\n{''.join(lines)}")


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not [process.cmdline() for process in alive]


def test_the_demo_proves_its_claims(tmp_path: Path) -> None:
    demo = start("demo.py", "--folder", str(tmp_path / "demo"))
    output, _ = demo.communicate(timeout=240)

    assert demo.returncode == 0, output
    assert "1,162 planted, 1,162 opened" in output
    assert "the second run sent nothing: 0 opened" in output
    assert "rate=none" in output
    assert "FAILED" not in output
    assert (tmp_path / "demo" / "airflow.log").stat().st_size > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    demo = start("demo.py", "--folder", str(tmp_path / "demo"))
    # The first tickets are in: Airflow, its task and the sandbox are running.
    read_until(demo, " of 1,162 tickets")
    children = psutil.Process(demo.pid).children(recursive=True)
    assert len(children) >= 2

    demo.send_signal(number)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "nothing is left running" in output
    assert "Traceback" not in output
    assert_gone(children)


def test_the_demo_does_not_empty_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    demo = start("demo.py", "--folder", str(tmp_path))

    demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


STUBBORN = """
import signal
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""


def test_what_does_not_want_to_end_is_killed(tmp_path: Path) -> None:
    """Parts of Airflow sometimes outlive a signal."""
    with processes(patience=0.3) as children:
        started = [
            children.start([sys.executable, "-c", STUBBORN], env={}, log=tmp_path / "log", pipe=True) for _ in range(2)
        ]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2
