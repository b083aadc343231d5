"""What a failure means: was it sent, may it be repeated, and when."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from vambe_provider.api.meaning import Body, verdict
from vambe_provider.exceptions import (
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

_PROXY = frozenset({"aiohttp.ClientProxyConnectionError", "aiohttp.ClientHttpProxyError"})
_CERTIFICATES = (
    "Check the connection's host. Where a company has certificates of its own, name their file in SSL_CERT_FILE or "
    "REQUESTS_CA_BUNDLE on the machine that runs the task."
)


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
    """Return the error for a request whose outcome nobody knows: a read may be repeated, a write may not."""
    kind = VambeReadError if request.idempotent else VambeMaybeSentError
    return kind(message, fix=fix, status=status, said=said)


def transport_error(
    error: BaseException, request: Request, *, host: str, sent: bool, proxied: bool = False
) -> VambeError:
    """Return the error that a failure of the HTTP library means.

    :param error: what was raised; its text is never shown, since it can hold a URL. One of our own errors is returned
        as it is.
    :param request: the request that failed.
    :param host: name of the API's host, for the text.
    :param sent: whether the first byte of the request may have left.
    :param proxied: whether a proxy is between this machine and the API.
    """
    if isinstance(error, VambeError):
        return error
    kind = type(error).__name__
    if verdict(sent=sent, status=None, body=Body.OTHER) != "no":
        text = f"the connection to {host} failed before the reply was there ({kind})"
        return failed(request, f"Could not {request.what}: {text}")
    text, fix = _reason(frozenset().union(*map(_names, _chain(error))), host=host, proxied=proxied)
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


def _reason(names: frozenset[str], *, host: str, proxied: bool) -> tuple[str, str]:
    if names & _PROXY or (proxied and "aiohttp.ServerDisconnectedError" in names):
        return "the proxy did not connect", "Check HTTPS_PROXY and NO_PROXY on the machine that runs the task."
    if names & {"socket.gaierror", "aiohttp.ClientConnectorDNSError"}:
        return (
            f"the host name {host} is not known",
            "Check the connection's host, and DNS on the machine that runs the task.",
        )
    if names & {"aiohttp.InvalidURL", "builtins.UnicodeError"}:
        return f"the host name {host} or the path cannot be sent", "Check the connection's host."
    if "ssl.SSLError" in names:
        return f"no trusted TLS connection to {host}", _CERTIFICATES
    return f"no connection to {host}", "Check the connection's host and port, and the network or firewall."


def rate_limit_error(request: Request, *, seconds: float | None, said: str | None) -> VambeRateLimitError:
    """Return the error for 429."""
    wait = "" if seconds is None else f"; it asks to wait {seconds:.0f} s"
    return VambeRateLimitError(
        f"Could not {request.what}: Vambe has had too many requests{wait}", status=429, said=said, retry_after=seconds
    )
