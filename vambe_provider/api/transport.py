"""What moves the bytes of one request, and knows nothing about what they mean: what both drivers share, and the
blocking one.

Neither driver follows a redirect, and neither repeats a request that writes. The blocking one uses httpx's transport
without its client, which would log every URL at INFO, with the phone numbers and addresses that a search carries, and
keep cookies.
"""

from __future__ import annotations

import platform
import threading
import time
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from vambe_provider import __version__
from vambe_provider.api.replies import MAX_REPLY, Reply
from vambe_provider.api.retry import transport_error
from vambe_provider.api.settings import ConnectionSettings, is_loopback
from vambe_provider.exceptions import VambeConfigError, VambeError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator

    from vambe_provider.api.requests import Request

# A connection that the server closes while it idles makes of the next write one that may have been sent.
KEEPALIVE_SECONDS = 5.0
CONNECT_SECONDS = 10.0
TOO_LARGE = "is larger than 1 MiB"
CUT_OFF = "was cut off"

_context_lock = threading.Lock()
_context: ssl.SSLContext | None = None


def ssl_context() -> ssl.SSLContext:
    """Return the one TLS context of this process; making it reads all certificates and takes tens of milliseconds."""
    global _context  # noqa: PLW0603 - one for each process is the point
    with _context_lock:
        if _context is None:
            _context = httpx.create_ssl_context()
        return _context


def environment_proxy(base_url: str) -> str | None:
    """Return the proxy that the environment names for the API, or None; a loopback host never has one.

    Looked up once for each client: the HTTP libraries would do it for every request.

    :raises VambeConfigError: when it is a kind of proxy that the drivers cannot use.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    proxies = urllib.request.getproxies()
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise VambeConfigError(
            f"The environment names a proxy for {host} that is neither http nor https",
            fix="Set HTTPS_PROXY to an http proxy, or add the host to NO_PROXY.",
        )
    return proxy


class Wire:
    """What is the same for all requests of a connection, prepared once.

    :param settings: the connection.
    :param library: what moves the bytes, for the ``User-Agent``, as ``httpx/0.28.1``.
    """

    def __init__(self, settings: ConnectionSettings, *, library: str) -> None:
        self.host = settings.host
        self.timeout = settings.timeout
        self.connect = min(CONNECT_SECONDS, settings.timeout / 2)
        base = httpx.URL(settings.base_url)
        self._base = f"{base.scheme}://{base.netloc.decode()}{base.raw_path.decode().rstrip('/')}"
        self._plain = {
            "User-Agent": f"airflow-provider-vambe/{__version__} {library} python/{platform.python_version()}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "x-api-key": settings.api_key,
        }
        self._with_body = self._plain | {"Content-Type": "application/json"}

    def headers(self, request: Request) -> dict[str, str]:
        """Return the headers of a request; the key is among them, so they must go to the API and nowhere else."""
        return self._with_body if request.body is not None else self._plain

    def url(self, request: Request) -> str:
        """Return the address of a request, percent-encoded."""
        return f"{self._base}{request.target}"

    def failure(self, error: BaseException, request: Request) -> VambeError:
        """Return the error that a failure of the HTTP library means."""
        return transport_error(error, request, host=self.host)


def read_reply(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytearray, fault: str | None) -> Reply:
    """Return what was received."""
    names = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in headers}
    return Reply(status, names, bytes(body[:MAX_REPLY]), fault)


class SyncTransport:
    """Moves one request after the other over httpx.

    Connecting, sending and each read of the reply have the connection's timeout; only the body has it as a whole.

    :param settings: the connection.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._wire = Wire(settings, library=f"httpx/{httpx.__version__}")
        connect = self._wire.connect
        self._timeouts = httpx.Timeout(settings.timeout, connect=connect, pool=connect).as_dict()
        self._proxy = environment_proxy(settings.base_url)
        self._http: httpx.HTTPTransport | None = None

    def exchange(self, request: Request) -> Reply:
        """Send one request once and return the reply.

        :raises VambeError: when there is no reply; ``sent`` says whether the request may have arrived.
        """
        deadline = time.monotonic() + self._wire.timeout
        try:
            response = self._open().handle_request(self._request(request))
        except Exception as error:  # noqa: BLE001 - whatever broke, the request may be out, and the error says so
            failure = self._wire.failure(error, request)
        else:
            return self._read(response, deadline)
        raise failure  # outside of the handler, so that no text of the library hangs on it

    def close(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            http.close()

    def _open(self) -> httpx.HTTPTransport:
        if self._http is None:
            limits = httpx.Limits(max_connections=10, keepalive_expiry=KEEPALIVE_SECONDS)
            self._http = httpx.HTTPTransport(
                verify=ssl_context(), trust_env=False, limits=limits, proxy=self._proxy, retries=0
            )
        return self._http

    def _request(self, request: Request) -> httpx.Request:
        return httpx.Request(
            request.method,
            self._wire.url(request),
            headers=self._wire.headers(request),
            content=request.content,
            extensions={"timeout": self._timeouts},
        )

    @staticmethod
    def _read(response: httpx.Response, deadline: float) -> Reply:
        body = bytearray()
        fault = None
        try:
            chunks: Iterator[bytes] = response.iter_raw()
            for chunk in chunks:
                body += chunk
                if len(body) > MAX_REPLY or time.monotonic() > deadline:
                    fault = TOO_LARGE if len(body) > MAX_REPLY else CUT_OFF
                    break
        except httpx.HTTPError:
            fault = CUT_OFF
        finally:
            response.close()
        return read_reply(response.status_code, response.headers.raw, body, fault)
