"""The real database and Redis servers that some tests need, and a private place on them for each test."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import redis
import sqlalchemy as sa
from sqlalchemy.engine import make_url

REQUIRE = "VAMBE_TEST_REQUIRE_SERVERS"


@dataclass(frozen=True)
class Server:
    """A server, the variable that says where it is, and where it is by default."""

    name: str
    variable: str
    default: str

    @property
    def url(self) -> str:
        return os.environ.get(self.variable) or self.default


POSTGRES = Server("PostgreSQL", "VAMBE_TEST_POSTGRES_URL", "postgresql+psycopg2://postgres@127.0.0.1:5432/test")
MARIADB = Server("MariaDB", "VAMBE_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test")
REDIS = Server("Redis", "VAMBE_TEST_REDIS_URL", "redis://127.0.0.1:6379/0")


@cache
def problem_with(server: Server) -> str | None:
    """Return why a server cannot be used, in one line without its password, or None when it can."""
    try:
        if server is REDIS:
            with redis.Redis.from_url(server.url, socket_connect_timeout=3) as client:
                client.ping()
        else:
            with _administrator(server) as connection:
                connection.execute(sa.text("SELECT 1"))
    except Exception as error:
        where = make_url(server.url).render_as_string(hide_password=True)
        return f"{server.name} is not usable at {where} ({server.variable}): {type(error).__name__}"
    return None


@contextlib.contextmanager
def _administrator(server: Server) -> Iterator[sa.engine.Connection]:
    engine = sa.create_engine(
        server.url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool, connect_args={"connect_timeout": 3}
    )
    with engine.connect() as connection:
        yield connection


@contextlib.contextmanager
def private_database(server: Server) -> Iterator[str]:
    """Create an empty database, yield its URL, and drop it with every connection that is left."""
    name = f"vambe_test_{uuid.uuid4().hex[:16]}"
    with _administrator(server) as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        yield make_url(server.url).set(database=name).render_as_string(hide_password=False)
    finally:
        force = " WITH (FORCE)" if server is POSTGRES else ""
        with _administrator(server) as connection:
            if server is MARIADB:
                _end_sessions(connection, name)
            connection.execute(sa.text(f"DROP DATABASE {name}{force}"))


def _end_sessions(connection: sa.engine.Connection, database: str) -> None:
    """End what still uses a MariaDB database: a session with an open transaction would block the drop for ever."""
    query = sa.text("SELECT id FROM information_schema.processlist WHERE db = :database")
    for (session,) in connection.execute(query, {"database": database}).all():
        with contextlib.suppress(sa.exc.OperationalError):  # it went by itself
            connection.execute(sa.text(f"KILL {int(session)}"))


@contextlib.contextmanager
def private_redis(server: Server = REDIS) -> Iterator[str]:
    """Take an empty numbered Redis database that no other test uses, yield its URL, and empty it again."""
    with redis.Redis.from_url(server.url) as client:
        for number in range(1, 16):
            lock = f"vambe-test-database:{number}"
            if client.set(lock, os.getpid(), nx=True, ex=3600):
                break
        else:
            raise RuntimeError("all Redis databases are taken by other tests")
        try:
            url = make_url(server.url).set(database=str(number)).render_as_string(hide_password=False)
            with redis.Redis.from_url(url) as own:
                own.flushdb()
                yield url
                own.flushdb()
        finally:
            client.delete(lock)
