from __future__ import annotations

import random
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import httpx
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
POST = requests.close_ticket("c1")
GET = requests.get_pipelines()


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


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (httpx.ConnectError("x"), "no"),
        (httpx.ConnectTimeout("x"), "no"),
        (httpx.PoolTimeout("x"), "no"),
        (httpx.ProxyError("x"), "no"),
        (httpx.UnsupportedProtocol("x"), "no"),
        (httpx.ReadTimeout("x"), "maybe"),
        (httpx.ReadError("x"), "maybe"),
        (httpx.WriteTimeout("x"), "maybe"),
        (httpx.WriteError("x"), "maybe"),
        (httpx.RemoteProtocolError("x"), "maybe"),
        (httpx.TimeoutException("x"), "maybe"),
        (TimeoutError(), "maybe"),
        (ConnectionResetError(), "maybe"),
        (RuntimeError("x"), "maybe"),
    ],
)
def test_the_phase_decides_whether_a_write_was_sent(error: Exception, sent: str) -> None:
    writing = transport_error(error, POST, host="api.vambe.me")
    reading = transport_error(error, GET, host="api.vambe.me")
    assert writing.sent == sent
    assert type(reading) is (VambeNotSentError if sent == "no" else VambeReadError)


def test_an_older_failure_that_the_caller_is_dealing_with_decides_nothing() -> None:
    key: Any = None
    try:
        raise aiohttp.ClientConnectorError(key, OSError(111, "refused"))
    except aiohttp.ClientConnectorError:
        try:
            raise TimeoutError
        except TimeoutError as caught:
            error = caught
    assert error.__context__ is not None
    assert transport_error(error, POST, host="api.vambe.me").sent == "maybe"


def test_the_text_of_a_library_is_not_shown_and_a_long_chain_ends() -> None:
    error: BaseException = socket.gaierror("https://api.vambe.me/?phone=56912345678")
    for _ in range(20):
        outer = httpx.ConnectError("https://api.vambe.me/?phone=56912345678")
        outer.__cause__ = error
        error = outer
    text = str(transport_error(error, GET, host="api.vambe.me"))
    assert "phone" not in text
    assert "no connection to api.vambe.me" in text
