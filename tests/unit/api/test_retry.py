from __future__ import annotations

import random
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vambe_provider.api import requests
from vambe_provider.api.retry import Retries, backoff, http_date, retry_after, transport_error
from vambe_provider.exceptions import (
    VambeError,
    VambeMaybeSentError,
    VambeNotSentError,
    VambeRateLimitError,
    VambeReadError,
    VambeRefusedError,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
POST = requests.write("close the ticket", "/close", {})
GET = requests.read("read the pipelines", "/pipeline")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("-3", 0.0),
        ("999999", 3600.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30.0),
        ("Sun, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=NOW) == seconds


@given(st.text())
def test_no_header_makes_it_fail(header: str) -> None:
    seconds = retry_after(header)
    assert seconds is None or 0 <= seconds <= 3600
    http_date(header)


@given(st.integers(-3, 10_000), st.floats(0.01, 10), st.floats(0.01, 100))
def test_a_wait_is_between_nothing_and_its_bounds(attempt: int, base: float, cap: float) -> None:
    wait = backoff(attempt, base=base, cap=cap, rng=random.Random(1))
    assert 0 <= wait <= cap


def test_waits_may_get_longer() -> None:
    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    waits = [backoff(attempt, base=0.5, cap=3, rng=Longest()) for attempt in (1, 2, 3, 4)]
    assert waits == [0.5, 1, 2, 3]


@pytest.mark.parametrize(
    ("error", "attempt", "again"),
    [
        (VambeReadError("x"), 1, True),
        (VambeNotSentError("x"), 2, True),
        (VambeReadError("x"), 3, False),
        (VambeRateLimitError("x", retry_after=5.0), 1, True),
        (VambeRateLimitError("x", retry_after=5.1), 1, False),
        (VambeRefusedError("x"), 1, False),
        (VambeMaybeSentError("x"), 1, False),
    ],
)
def test_what_is_tried_again(error: VambeError, attempt: int, again: bool) -> None:
    wait = Retries(attempts=3, base=0.0, cap=5.0).wait(error, attempt)
    assert (wait is not None) == again
    assert not again or wait == (error.retry_after or 0.0)


def caused(error: BaseException, by: BaseException) -> BaseException:
    error.__cause__ = by
    return error


KEY: Any = None


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (aiohttp.ClientConnectorError(KEY, OSError(111, "refused")), "no connection to api.vambe.me"),
        (
            caused(aiohttp.ClientConnectionError(), by=socket.gaierror(-2, "unknown")),
            "host name api.vambe.me is not known",
        ),
        (caused(aiohttp.ClientConnectionError(), by=ssl.SSLError(1, "x")), "no trusted TLS connection"),
        (aiohttp.ServerDisconnectedError(), "the proxy did not connect"),
        (UnicodeError("label too long"), "cannot be sent"),
        (TimeoutError(), "no connection to api.vambe.me"),
    ],
)
def test_before_the_first_byte_every_failure_is_safe_to_repeat(error: BaseException, says: str) -> None:
    for request in (POST, GET):
        failure = transport_error(error, request, host="api.vambe.me", sent=False, proxied=True)
        assert (type(failure), failure.sent) == (VambeNotSentError, "no")
        assert says in str(failure)


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ClientConnectorError(KEY, OSError(111, "refused")),
        aiohttp.ServerDisconnectedError(),
        TimeoutError(),
        ConnectionResetError(),
        ValueError("x"),
        RuntimeError("x"),
    ],
)
def test_after_the_first_byte_no_failure_is(error: Exception) -> None:
    """Not even one whose class speaks of connecting: libraries have used those for other failures before."""
    assert type(transport_error(error, POST, host="api.vambe.me", sent=True)) is VambeMaybeSentError
    assert type(transport_error(error, GET, host="api.vambe.me", sent=True)) is VambeReadError


def test_the_text_of_a_library_is_not_shown_and_a_long_chain_ends() -> None:
    error: BaseException = socket.gaierror("https://api.vambe.me/?phone=56912345678")
    for _ in range(20):
        error = caused(OSError("https://api.vambe.me/?phone=56912345678"), by=error)
    text = str(transport_error(error, GET, host="api.vambe.me", sent=False))
    assert "phone" not in text
    assert "no connection to api.vambe.me" in text
