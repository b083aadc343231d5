"""What every test shares: an Airflow of its own, and real servers with a private place on them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Before anything imports Airflow: its home is a new folder, and no setting of this machine reaches the tests.
for _name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[_name]
_HOME = tempfile.mkdtemp(prefix="vambe-test-airflow-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.update(
    AIRFLOW_HOME=_HOME,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    # An empty folder: tests hand over the Dag that they mean; Airflow would otherwise read all of them each time.
    AIRFLOW__CORE__DAGS_FOLDER=f"{_HOME}/dags",
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
    # 2.11 warns about its own default otherwise.
    AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY="True",
)
Path(_HOME, "dags").mkdir()

from tests import servers  # noqa: E402
from tests.airflow_db import AIRFLOW, DagResult, migrate, run_dag  # noqa: E402

# No test may depend on how fast this machine is. CI repeats the same examples; elsewhere they vary.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

_skipped_for: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _same_environment_afterwards() -> Iterator[None]:
    """Take back every Airflow variable that a test has set, such as a connection."""
    before = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW")}
    yield
    for name in [name for name in os.environ if name.startswith("AIRFLOW") and name not in before]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session", autouse=True)
def _every_thread_may_execute() -> None:
    """Let tests execute an operator in a thread; Airflow 2.11 notes its callers in a variable of one thread only."""
    if AIRFLOW >= (3, 0):
        return
    from airflow.models.baseoperator import ExecutorSafeguard  # type: ignore[import-not-found]

    class Callers(threading.local):
        def __init__(self) -> None:
            self.callers: dict[str, object] = {}

    ExecutorSafeguard._sentinel = Callers()


@pytest.fixture(scope="session")
def airflow_db() -> Path:
    """Return AIRFLOW_HOME with a migrated metadata database in it; made once, and only when a test asks for it."""
    migrate()
    return Path(_HOME)


@pytest.fixture
def run_dag_test(airflow_db: Path) -> Callable[..., DagResult]:
    """Return a function that runs a Dag object to its end with ``dag.test()``."""
    return run_dag


def _need(server: servers.Server) -> None:
    problem = servers.problem_with(server)
    if problem is None:
        return
    if os.environ.get(servers.REQUIRE) == "1":
        pytest.fail(f"{problem}; {servers.REQUIRE}=1 demands it", pytrace=False)
    _skipped_for[problem] += 1
    pytest.skip(f"needs {server.name}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for problem, count in _skipped_for.items():
        terminalreporter.write_line(f"{problem}; tests skipped: {count}", yellow=True)


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """Return the SQLAlchemy URL of an empty PostgreSQL database that only this test uses."""
    _need(servers.POSTGRES)
    with servers.private_database(servers.POSTGRES) as url:
        yield url


@pytest.fixture
def mariadb_url() -> Iterator[str]:
    """Return the SQLAlchemy URL of an empty MariaDB database that only this test uses."""
    _need(servers.MARIADB)
    with servers.private_database(servers.MARIADB) as url:
        yield url


@pytest.fixture
def redis_url() -> Iterator[str]:
    """Return the URL of an empty Redis database that only this test uses."""
    _need(servers.REDIS)
    with servers.private_redis() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the SQLAlchemy URL of a SQLite file that only this test uses."""
    return f"sqlite:///{tmp_path / 'test.sqlite'}"


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """Return an empty database of each kind that a ledger may live in, one after the other."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
