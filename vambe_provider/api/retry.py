"""What a failure means: was it sent, may it be repeated, and when."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from vambe_provider.exceptions import (
    VambeConfigError,
    VambeError,
    VambeMaybeSentError,
    VambeNotSentError,
    VambeRateLimitError,
    VambeReadError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vambe_provider.api.requests import Request

MAX_RETRY_AFTER = 3600.0

# Failures before the first byte of the request left. Everything that is not listed may have been sent: a new or renamed
# class of a library then costs a look-up, never a second message.
_NOT_SENT = frozenset(
    {
        "httpx.ConnectError",
        "httpx.ConnectTimeout",
        "httpx.PoolTimeout",
        "httpx.ProxyError",
        "httpx.UnsupportedProtocol",
        "httpx.InvalidURL",
        "aiohttp.ClientConnectorError",
        "aiohttp.ConnectionTimeoutError",
        "aiohttp.ClientHttpProxyError",
        "aiohttp.ServerFingerprintMismatch",
        "aiohttp.InvalidURL",
    }
)
_PROXY = frozenset({"httpx.ProxyError", "aiohttp.ClientProxyConnectionError", "aiohttp.ClientHttpProxyError"})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a read is tried; a request that writes is never repeated here.

    :param attempts: tries altogether, 1 or more.
    :param base: seconds of the first wait at most; each further one may be twice as long.
    :param cap: seconds that one wait may last at most, also when the API asks for more.
    """

    attempts: int = 4
    base: float = 0.5
    cap: float = 20.0

    def wait(self, error: VambeError, attempt: int, *, rng: random.Random | None = None) -> float | None:
        """Return the seconds to wait before a read is tried again, or None when it should not be.

        :param error: why the last try failed.
        :param attempt: number of that try, from 1.
        :param rng: source of the jitter.
        """
        if error.permanent or error.sent != "no" or attempt >= self.attempts:
            return None
        asked = error.retry_after or 0.0
        return None if asked > self.cap else max(asked, backoff(attempt, base=self.base, cap=self.cap, rng=rng))


def backoff(attempt: int, *, base: float, cap: float, rng: random.Random | None = None) -> float:
    """Return a random wait between 0 and ``base`` doubled with every attempt (full jitter).

    :param attempt: number of the try that failed, from 1.
    :param base: upper bound of the first wait, in seconds.
    :param cap: upper bound of every wait, in seconds.
    :param rng: source of the jitter; default the module ``random``.
    """
    bound = min(cap, base * 2 ** min(max(attempt, 1) - 1, 30))
    return (rng or random).uniform(0.0, bound)


def retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Return the seconds that a ``Retry-After`` header means, at most an hour, or None when it makes no sense.

    :param value: seconds, or an HTTP date; a past date means 0.
    :param now: the time to which a date is compared; default the local clock.
    """
    text = (value or "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        when = http_date(text)
        seconds = math.nan if when is None else (when - (now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER) if math.isfinite(seconds) else None


def http_date(text: str) -> datetime | None:
    """Return the time that an HTTP date means, or None when it is not one."""
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def failed(
    request: Request, message: str, *, fix: str | None = None, status: int | None = None, said: str | None = None
) -> VambeError:
    """Return the error for a request of which nobody knows the outcome: a read may be repeated, a write may not."""
    kind = VambeReadError if request.idempotent else VambeMaybeSentError
    return kind(message, fix=fix, status=status, said=said)


def transport_error(error: BaseException, request: Request, *, host: str) -> VambeError:
    """Return the error that a failure of the HTTP library means, with ``sent`` as certain as its phase allows.

    :param error: what the library raised; its text is never shown, since it can hold a URL.
    :param request: the request that failed.
    :param host: name of the API's host, for the text.
    """
    # httpx-aiohttp calls a connection that broke after the request a ConnectTimeout, so what aiohttp raised decides.
    # Never asked is __context__: that may be an older failure, with which the caller is just dealing.
    cause = error.__cause__
    judged = cause if cause is not None and type(cause).__module__.startswith("aiohttp.") else error
    names, kind = _names(judged), type(judged).__name__
    if not names & _NOT_SENT:
        text = f"the connection to {host} failed before the reply was there ({kind})"
        return failed(request, f"Could not {request.what}: {text}")
    text, fix = _reason(frozenset().union(*map(_names, _chain(error))), host=host)
    return VambeNotSentError(f"Could not {request.what}: {text} ({kind})", fix=fix)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Return what led to a failure, as far as it can be told; good enough for a hint, not for a decision."""
    current: BaseException | None = error
    for _ in range(10):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__


def _names(error: BaseException) -> frozenset[str]:
    return frozenset(f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__)


def _reason(names: frozenset[str], *, host: str) -> tuple[str, str]:
    if names & _PROXY:
        return "the proxy did not connect", "Check HTTPS_PROXY and NO_PROXY on the machine that runs the task."
    if "socket.gaierror" in names:
        return (
            f"the host name {host} is not known",
            "Check the connection's host, and DNS on the machine that runs the task.",
        )
    if "ssl.SSLError" in names:
        return (
            f"no trusted TLS connection to {host}",
            "Check the connection's host, and the certificates of the machine.",
        )
    return f"no connection to {host}", "Check the connection's host and port, and the network or firewall."


def redirect_error(request: Request, *, status: int, location: str | None, host: str) -> VambeError:
    """Return the error for a redirect, which is never followed because the key and the body would go along.

    After 301, 307 and 308 nothing was done: they only say where else to ask. Others may follow on a finished write.
    """
    target = f" to {location}" if location else ""
    message = f"Could not {request.what}: {host} answered with a redirect{target}, which is not followed"
    fix = "Check the connection's host: it has to be the final address of the API."
    if request.idempotent or status in (301, 307, 308):
        return VambeConfigError(message, fix=fix, status=status)
    return VambeMaybeSentError(message, fix=fix, status=status)


def rate_limit_error(request: Request, *, seconds: float | None, said: str | None) -> VambeRateLimitError:
    """Return the error for 429."""
    wait = "" if seconds is None else f"; it asks to wait {seconds:.0f} s"
    return VambeRateLimitError(
        f"Could not {request.what}: Vambe has had too many requests{wait}", status=429, said=said, retry_after=seconds
    )
