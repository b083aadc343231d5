"""The same value through each driver and in two session time zones: one key, or a difference that the docs name."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pymysql
import pytest
from sqlalchemy.engine import make_url

from vambe_provider.delivery.key import ticket_key

ZONES = {"UTC": "+00:00", "America/Santiago": "-03:00"}
DRIVERS = ["psycopg2", "psycopg", "psycopg binary", "pymysql", "sqlite3", "duckdb"]
POSTGRES = DRIVERS[:3]
Ask = Callable[[str], Any]


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ask(driver: str, zone: str, request: pytest.FixtureRequest) -> Iterator[Ask]:
    """Return a function that returns the value of a SQL expression, as this driver gives it in this session."""
    connection, cursor = _connected(driver, zone, request)
    with closing(connection):

        def value(expression: str) -> Any:
            cursor.execute(f"SELECT {expression}")
            return cursor.fetchone()[0]

        yield value


def _connected(driver: str, zone: str, request: pytest.FixtureRequest) -> tuple[Any, Any]:
    connection: Any
    if driver in POSTGRES:
        url = make_url(request.getfixturevalue("postgres_url"))
        fields: dict[str, Any] = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
        fields |= {"dbname": url.database, "options": f"-c timezone={zone}"}
        if driver == "psycopg2":
            return (connection := psycopg2.connect(**fields)), connection.cursor()
        psycopg = pytest.importorskip("psycopg")
        return (connection := psycopg.connect(**fields)), connection.cursor(binary=driver.endswith("binary"))
    if driver == "pymysql":
        url = make_url(request.getfixturevalue("mariadb_url"))
        connection = pymysql.connect(
            host=str(url.host), port=url.port or 3306, user=str(url.username), password=str(url.password or ""),
            database=url.database, charset="utf8mb4",
        )  # fmt: skip
        cursor = connection.cursor()
        cursor.execute(f"SET time_zone = '{ZONES[zone]}'")
        return connection, cursor
    if driver == "duckdb":
        connection = pytest.importorskip("duckdb").connect()
        connection.execute(f"SET TimeZone = '{zone}'")
        return connection, connection.cursor()
    return (connection := sqlite3.connect(":memory:")), connection.cursor()


def key_of(value: object) -> str:
    return ticket_key("orders", {"id": value}).digest


ALIKE = {
    "a whole number": (1042, {"": "1042", "pymysql": "CAST(1042 AS UNSIGNED)", "duckdb": "CAST(1042 AS HUGEINT)"}),
    "a number with zeros behind the point": (
        1042,
        {"": "CAST('1042.00' AS DECIMAL(12, 2))", "sqlite3": "1042.0"},
    ),
    "a number with 38 digits": (
        12345678901234567890123456789012345678,
        {
            "": "CAST('12345678901234567890123456789012345678' AS DECIMAL(38, 0))",
            "sqlite3": "'12345678901234567890123456789012345678'",  # it has no such type
        },
    ),
    "a double": (0.1, {"": "CAST('0.1' AS DOUBLE PRECISION)", "pymysql": "CAST('0.1' AS DOUBLE)", "sqlite3": "0.1"}),
    "a text with an accent": ("José", {"": "'Jose\u0301'", "sqlite3": "'José'"}),
    "a text that char fills with blanks": (
        "A-17",
        {"": "CAST('A-17' AS CHAR(10))", "pymysql": "RPAD('A-17', 10, ' ')", "sqlite3": "'A-17      '"},
    ),
    "a uuid": (
        "a0b1c2d3-e4f5-a6b7-c8d9-e0f1a2b3c4d5",
        {
            "": "CAST('{A0B1C2D3-E4F5-A6B7-C8D9-E0F1A2B3C4D5}' AS UUID)",
            "pymysql": "CAST('A0B1C2D3-E4F5-A6B7-C8D9-E0F1A2B3C4D5' AS UUID)",
            "duckdb": "CAST('A0B1C2D3-E4F5-A6B7-C8D9-E0F1A2B3C4D5' AS UUID)",
            "sqlite3": "'A0B1C2D3-E4F5-A6B7-C8D9-E0F1A2B3C4D5'",
        },
    ),
    "a date": ("2026-01-02", {"": "CAST('2026-01-02' AS DATE)", "sqlite3": "date('2026-01-02')"}),
    "bytes": (
        b"\x01\xff",
        {"": r"CAST('\x01ff' AS BYTEA)", "pymysql": "x'01ff'", "duckdb": r"'\x01\xFF'::BLOB", "sqlite3": "x'01ff'"},
    ),
    "a moment as seconds": (
        1767323045,
        {
            "": "CAST(EXTRACT(EPOCH FROM TIMESTAMPTZ '2026-01-02 03:04:05+00') AS BIGINT)",
            "pymysql": "1767323045",
            "sqlite3": "CAST(strftime('%s', '2026-01-02 03:04:05') AS INTEGER)",
        },
    ),
}


@pytest.mark.parametrize("name", ALIKE)
def test_one_value_is_one_key(name: str, driver: str, ask: Ask) -> None:
    expected, expressions = ALIKE[name]
    assert key_of(ask(expressions.get(driver, expressions[""]))) == key_of(expected)


def test_a_time_without_a_zone_is_one_key_where_there_is_such_a_type(driver: str, ask: Ask) -> None:
    if driver == "sqlite3":
        # Text, as the docs say: the two spellings differ.
        assert key_of(ask("datetime('2026-01-02 03:04:05')")) == key_of("2026-01-02 03:04:05")
        return
    expression = "CAST('2026-01-02 03:04:05' AS {})".format("DATETIME" if driver == "pymysql" else "TIMESTAMP")
    assert key_of(ask(expression)) == key_of("2026-01-02T03:04:05")


def test_a_time_with_a_zone_is_one_key_in_each_session(driver: str, ask: Ask) -> None:
    if driver not in (*POSTGRES, "duckdb"):
        pytest.skip("has no such type")
    assert key_of(ask("TIMESTAMPTZ '2026-01-02 03:04:05+00'")) == key_of("2026-01-02T03:04:05")
    assert key_of(ask("TIMESTAMPTZ '2026-01-02 00:04:05-03'")) == key_of("2026-01-02T03:04:05")


@pytest.mark.parametrize("driver", ["pymysql"], indirect=True)
def test_a_timestamp_of_mariadb_differs_by_session_and_its_seconds_do_not(ask: Ask, zone: str) -> None:
    # The source refuses such a column as a key, see test_a_key_that_depends_on_the_session_is_refused.
    moment = "FROM_UNIXTIME(1767323045)"
    assert (key_of(ask(moment)) == key_of("2026-01-02T03:04:05")) == (zone == "UTC")
    assert key_of(ask(f"UNIX_TIMESTAMP({moment})")) == key_of(1767323045)


def test_what_stays_different_is_what_the_docs_say(driver: str, ask: Ask) -> None:
    truth = {"pymysql": "1", "sqlite3": "1"}.get(driver, "true")
    assert key_of(ask("true")) == key_of(truth)
    # A number of single precision has no exact decimal text: drivers show more or fewer of its digits.
    if driver in (*POSTGRES, "duckdb"):
        value = ask("CAST('0.1' AS REAL)")
        assert (key_of(value) == key_of("0.1")) == (driver in ("psycopg2", "psycopg"))
