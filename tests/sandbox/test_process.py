"""The sandbox as a process of its own, and as a pytest plugin."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.sandbox.helpers import Api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = [sys.executable, "-m", "vambe_provider.sandbox"]


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Run the command; yield it with the URL and the key that it prints."""
    running = subprocess.Popen(
        [*COMMAND, "--port", "0", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout is not None
        words = running.stdout.readline().split()
        yield running, words[4], words[-1]
    finally:
        running.kill()
        running.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_stops_cleanly(number: signal.Signals) -> None:
    with process("--api-key", "secret") as (running, url, key):
        assert httpx.get(f"{url}/api/public/pipeline", headers={"x-api-key": key}).status_code == 200
        assert key == "secret"
        running.send_signal(number)
        output, errors = running.communicate(timeout=30)
    assert (running.returncode, output, errors) == (0, "", "")


def test_a_killed_process_goes_on_with_the_same_tickets(tmp_path: Path) -> None:
    file = str(tmp_path / "state.sqlite")
    with process("--state", file) as (running, url, key):
        with httpx.Client(base_url=url, headers={"x-api-key": key}) as http:
            contact = Api(http).opened(ticket_metadata={"n": "1"})
        running.kill()
    with process("--state", file) as (_, url, key), httpx.Client(base_url=url, headers={"x-api-key": key}) as http:
        assert Api(http).info(contact).json()["active_ticket"]["metadata"] == {"n": "1"}
        assert Api(http).opened() == contact


def test_switches_come_from_the_command_line() -> None:
    switches = ("--config", '{"success_status": 201}', "--latency-ms", "1")
    with process(*switches) as (_, url, key), httpx.Client(base_url=url, headers={"x-api-key": key}) as http:
        assert Api(http).open().status_code == 201
        assert http.get("/__sandbox__/state").json()["config"]["latency_ms"] == 1


@pytest.mark.parametrize("config", ['{"colour": "red"}', "[]", "{", '{"success_status": 7}'])
def test_a_wrong_switch_is_explained(config: str) -> None:
    done = subprocess.run([*COMMAND, "--config", config], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "error:" in done.stderr


def test_a_taken_port_is_explained() -> None:
    with process() as (_, url, _key):
        port = url.rpartition(":")[2]
        done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"The sandbox cannot start on 127.0.0.1:{port}")
    assert "Traceback" not in done.stderr


def test_nothing_personal_is_printed() -> None:
    with process() as (running, url, key):
        with httpx.Client(base_url=url, headers={"x-api-key": key}) as http:
            api = Api(http)
            api.opened(email="ana@example.com")
            api.open(to_phone_number="bad")
            http.post("/__sandbox__/faults", json={"kind": "drop", "when": "after"})
            with pytest.raises(httpx.TransportError):
                api.open()
            http.post("/__sandbox__/configure", json={"latency_ms": 300})
            with pytest.raises(httpx.ReadTimeout):
                http.post("/api/public/ticket/open/web-whatsapp/qr-main", json={"to_phone_number": "1"}, timeout=0.1)
        with socket.create_connection((url[7:].split(":")[0], int(url.rpartition(":")[2]))) as connection:
            connection.sendall(
                b"POST /api/public/ticket/metadata HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
            )
        running.send_signal(signal.SIGTERM)
        output, errors = running.communicate(timeout=30)
    assert (output, errors) == ("", "")


def test_the_fixture_gives_every_test_an_empty_sandbox(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import httpx\n"
        "def test_one(vambe_sandbox):\n"
        "    vambe_sandbox.fault('get_pipelines', kind='status', times='forever')\n"
        "    assert httpx.get(vambe_sandbox.url + '/api/public/pipeline').status_code == 500\n"
        "def test_two(vambe_sandbox):\n"
        "    assert vambe_sandbox.requests() == []\n"
        "    headers = {'x-api-key': vambe_sandbox.api_key}\n"
        "    assert httpx.get(vambe_sandbox.url + '/api/public/pipeline', headers=headers).status_code == 200\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "vambe_provider.sandbox.pytest_plugin",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
