"""A throw-away Airflow next to a local Vambe: what the demo, ``make ui`` and the end-to-end tests have in common."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE_DAGS = ROOT / "example_dags"
SANDBOX_KEY = "sandbox-key"


def plain_environment() -> dict[str, str]:
    """Return this process's variables without any setting of another Airflow, and with this Python's programs first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    # Airflow starts twice as slowly without bytecode.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"}


def environment(home: Path, *, sandbox_url: str, warehouse: Path) -> dict[str, str]:
    """Return the variables of a process with an Airflow in ``home`` and the two connections of the example Dags.

    :param home: AIRFLOW_HOME.
    :param sandbox_url: where the local Vambe listens, as ``http://127.0.0.1:8700``.
    :param warehouse: the SQLite file behind the connection ``warehouse``.
    """
    host, _, port = sandbox_url.rpartition(":")
    vambe = {
        "conn_type": "vambe",
        # The Test button of Airflow 3.3 works only for a connection with a port.
        "host": host,
        "port": int(port),
        "password": SANDBOX_KEY,
        # The sandbox needs no mercy. A real phone does: without this line, ten tickets a minute are sent. Links to a
        # conversation lead to the sandbox's page.
        "extra": {"phone_id": "qr-main", "rate": "none", "app_url": sandbox_url},
    }
    return plain_environment() | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_VAMBE_DEFAULT": json.dumps(vambe),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(warehouse)}),
        "AIRFLOW__CORE__DAGS_FOLDER": str(EXAMPLE_DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def server_environment(port: int) -> dict[str, str]:
    """Return what ``airflow standalone`` needs on top, to serve one person on a loopback port."""
    return {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        # The default forks 32 workers.
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
    }


PEOPLE = {"admin": "admin", "viewer": "viewer"}
"""Who can log in after :func:`people_environment`: the name of each is its role and its password as well."""


def people_environment(home: Path) -> dict[str, str]:
    """Return what lets people log in with their own rights, in place of everybody as an administrator.

    :param home: AIRFLOW_HOME; the file with the passwords is written there.
    """
    home.mkdir(parents=True, exist_ok=True)
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps(PEOPLE))
    passwords.chmod(0o600)
    return {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{name}" for name in PEOPLE),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
    }


def log_in(url: str, name: str) -> str:
    """Return the token of a person after :func:`people_environment`.

    :param url: the address of Airflow.
    :param name: a key of :data:`PEOPLE`.
    """
    token: str = ask(f"{url}/auth/token", {"username": name, "password": PEOPLE[name]})["access_token"]
    return token


def free_port() -> int:
    """Return a loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Return whether nothing listens on a loopback port now."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def ask(url: str, body: dict[str, Any] | None = None, *, token: str | None = None, method: str | None = None) -> Any:
    """Return the JSON answer to a GET, or to a POST when there is a body and no other method.

    :raises OSError: when nothing answers, or the answer is an error.
    """
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - a loopback address of ours
    for tries_left in range(4 if data is None else 0, -1, -1):
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
                return json.load(reply)
        except urllib.error.HTTPError as error:
            # Airflow's API answers 500 when its SQLite file is locked for long by its other processes.
            if error.code < 500 or not tries_left:
                raise
            time.sleep(1.0)
    raise AssertionError("unreachable")


class Processes:
    """Child processes, each the leader of a group, that are all gone when the ``with`` block of :func:`processes` ends.

    A group is stopped as a whole, because ``airflow standalone`` leaves its children behind when it is killed.

    :param patience: seconds that all of them together have to end by themselves; after a third more they are killed.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._running: list[subprocess.Popen[str]] = []
        self._starting = False
        self._asked_to_stop = False

    def start(
        self, command: Sequence[str], *, env: dict[str, str], log: Path, pipe: bool = False
    ) -> subprocess.Popen[str]:
        """Start a process in a group of its own.

        :param command: the program and its arguments.
        :param env: all of its environment.
        :param log: the file that its output is added to.
        :param pipe: leave its standard output to the caller.
        """
        # An interruption between the start and the note of it would leave a process behind.
        self._starting = True
        with log.open("a") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        self._running.append(process)
        self._starting = False
        if self._asked_to_stop:
            raise KeyboardInterrupt
        return process

    def interrupt(self, _number: int, _frame: FrameType | None) -> None:
        """Handle SIGINT and SIGTERM: leave the ``with`` block as soon as nothing is half started."""
        self._asked_to_stop = True
        if not self._starting:
            raise KeyboardInterrupt

    def stop(self) -> None:
        """End every group: politely, then with force."""
        for number, patience in (
            (signal.SIGINT, self._patience),
            (signal.SIGTERM, self._patience / 3),
            (signal.SIGKILL, 5),
        ):
            alive = [process for process in self._running if _group_is_alive(process)]
            deadline = time.monotonic() + patience
            for process in alive:
                _signal_group(process, number)
            for process in alive:
                _wait_for_group(process, deadline)
        self._running.clear()


@contextmanager
def processes(*, patience: float = 15) -> Iterator[Processes]:
    """Yield :class:`Processes`; SIGINT and SIGTERM end the block with KeyboardInterrupt, and nothing survives it.

    :param patience: see :class:`Processes`.
    """
    children = Processes(patience)
    in_main_thread = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if in_main_thread else ()
    before = {number: signal.signal(number, children.interrupt) for number in numbers}
    try:
        yield children
    finally:
        # A second Ctrl-C must not keep the first one from cleaning up.
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        children.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _group_is_alive(process: subprocess.Popen[str]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _wait_for_group(process: subprocess.Popen[str], deadline: float) -> None:
    """Wait until a group is gone; once its leader is, the others have two more seconds."""
    pause, led = threading.Event(), True
    while _group_is_alive(process) and time.monotonic() < deadline:
        if led and process.returncode is not None:
            deadline, led = min(deadline, time.monotonic() + 2), False
        pause.wait(0.05)


def start_sandbox(children: Processes, *, folder: Path, latency_ms: int = 0, port: int = 0) -> str:
    """Start a local Vambe and return its URL once it answers.

    :param folder: where its log and its state are kept.
    :param latency_ms: milliseconds that each request takes.
    :param port: 0 for any free one.
    :raises RuntimeError: when it does not start.
    """
    command = [sys.executable, "-m", "vambe_provider.sandbox", "--port", str(port), "--latency-ms", str(latency_ms)]
    command += ["--state", str(folder / "sandbox.sqlite")]
    process = children.start(command, env=plain_environment(), log=folder / "sandbox.log", pipe=True)
    assert process.stdout is not None  # noqa: S101 - it was asked for
    words = process.stdout.readline().split()
    urls = [word for word in words if word.startswith("http://")]
    if not urls:
        raise RuntimeError(f"the sandbox does not start; its log is {folder / 'sandbox.log'}")
    return urls[0]


def migrate(children: Processes, *, env: dict[str, str], log: Path) -> subprocess.Popen[str]:
    """Start making Airflow's metadata database, and return the process."""
    return children.start([sys.executable, "-m", "airflow", "db", "migrate"], env=env, log=log)


def start_standalone(
    children: Processes, *, env: dict[str, str], log: Path, patience: float = 180
) -> subprocess.Popen[str]:
    """Start ``airflow standalone`` and return its process once every part of it is healthy.

    :param env: an environment with :func:`server_environment` in it.
    :param patience: seconds until it has to be healthy.
    :raises RuntimeError: when it ends, or is not healthy in time; names the log.
    """
    process = children.start([sys.executable, "-m", "airflow", "standalone"], env=env, log=log)
    url, pause, deadline = (
        f"{env['AIRFLOW__API__BASE_URL']}/api/v2/monitor/health",
        threading.Event(),
        time.monotonic() + patience,
    )
    while time.monotonic() < deadline and process.poll() is None:
        try:
            parts = ask(url).values()
        except OSError:
            parts = ()
        if parts and all(part["status"] in ("healthy", None) for part in parts):
            return process
        pause.wait(0.5)
    raise RuntimeError(f"airflow standalone does not become healthy; its log is {log}")
