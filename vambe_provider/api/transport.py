"""Two drivers that move the bytes of one request, and know nothing about what they mean.

They use the transports of httpx without its clients. A client would log every URL at INFO, with the phone numbers and
addresses that a search carries, keep cookies, and cost time for each request. Neither driver follows a redirect, and
neither repeats a request that writes.
"""

from __future__ import annotations

import asyncio
import functools
import platform
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import httpx

from vambe_provider import __version__
from vambe_provider.api.replies import MAX_REPLY, Reply
from vambe_provider.api.retry import transport_error
from vambe_provider.api.settings import ConnectionSettings, is_loopback
from vambe_provider.exceptions import VambeConfigError, VambeError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from httpx_aiohttp import AiohttpTransport

    from vambe_provider.api.requests import Request

# A connection that the server closes while it idles makes of the next write one that may have been sent.
KEEPALIVE_SECONDS = 5.0
CONNECT_SECONDS = 10.0
_TOO_LARGE = "is larger than 1 MiB"
_CUT_OFF = "was cut off"

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
    """Turns a request into one of httpx's, with everything that is the same for all requests prepared once.

    :param settings: the connection.
    :param read: seconds that one read or write may take; None when the driver limits all of them together.
    """

    def __init__(self, settings: ConnectionSettings, *, read: float | None) -> None:
        self.host = settings.host
        self.timeout = settings.timeout
        self._base = httpx.URL(settings.base_url)
        self._prefix = self._base.raw_path.decode().rstrip("/")
        # All tickets of one sender go to the same address, and parsing it costs more than all the rest of a request.
        self._url = functools.lru_cache(maxsize=64)(self._parsed)
        connect = min(CONNECT_SECONDS, settings.timeout / 2)
        limits = httpx.Timeout(read, connect=connect, pool=connect)
        self._extensions = {"timeout": limits.as_dict()}
        agent = f"airflow-provider-vambe/{__version__} httpx/{httpx.__version__} python/{platform.python_version()}"
        plain = {"User-Agent": agent, "Accept": "application/json", "Accept-Encoding": "identity"}
        self._plain = httpx.Headers({**plain, "Host": self._base.netloc.decode(), "x-api-key": settings.api_key})
        self._with_body = httpx.Headers({**self._plain, "Content-Type": "application/json"})

    def request(self, request: Request) -> httpx.Request:
        """Return httpx's request."""
        headers = self._plain if request.body is None else self._with_body
        # Given a stream, httpx takes the headers as they are, without looking through them for what is missing.
        stream = httpx.ByteStream(request.content)
        made = httpx.Request(
            request.method, self._url(request.target), headers=headers, stream=stream, extensions=self._extensions
        )
        made.headers.encoding = "ascii"
        made.read()
        return made

    def _parsed(self, target: str) -> httpx.URL:
        return self._base.copy_with(raw_path=f"{self._prefix}{target}".encode("ascii"))

    def failure(self, error: BaseException, request: Request) -> VambeError:
        """Return the error that a failure of httpx means."""
        return transport_error(error, request, host=self.host)


def _reply(response: httpx.Response, body: bytes | bytearray, fault: str | None) -> Reply:
    headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in response.headers.raw}
    return Reply(response.status_code, headers, bytes(body), fault)


class SyncTransport:
    """Moves one request after the other over httpx.

    Connecting, sending and each read of the reply have the connection's timeout; only the body has it as a whole.

    :param settings: the connection.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._wire = Wire(settings, read=settings.timeout)
        self._proxy = environment_proxy(settings.base_url)
        self._http: httpx.HTTPTransport | None = None

    def exchange(self, request: Request) -> Reply:
        """Send one request once and return the reply.

        :raises VambeError: when there is no reply; ``sent`` says whether the request may have arrived.
        """
        deadline = time.monotonic() + self._wire.timeout
        try:
            sent = self._wire.request(request)
            if request.body is not None:  # aiohttp puts it there by itself
                sent.headers["Content-Length"] = str(len(sent.content))
            response = self._open().handle_request(sent)
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

    @staticmethod
    def _read(response: httpx.Response, deadline: float) -> Reply:
        body = bytearray()
        fault = None
        try:
            chunks: Iterator[bytes] = response.iter_raw()
            for chunk in chunks:
                body += chunk
                if len(body) > MAX_REPLY or time.monotonic() > deadline:
                    fault = _TOO_LARGE if len(body) > MAX_REPLY else _CUT_OFF
                    break
        except httpx.HTTPError:
            fault = _CUT_OFF
        finally:
            response.close()
        return _reply(response, body[:MAX_REPLY], fault)


class AsyncTransport:
    """Moves many requests at once over httpx and aiohttp, whose connection pool stays fast with hundreds of
    connections.

    :param settings: the connection.
    :param max_connections: connections that may be open at once.
    """

    def __init__(self, settings: ConnectionSettings, *, max_connections: int = 100) -> None:
        self._wire = Wire(settings, read=None)
        self._proxy = environment_proxy(settings.base_url)
        self._max_connections = max_connections
        self._http: AiohttpTransport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def exchange(self, request: Request) -> Reply:
        """Send one request once and return the reply, all within the connection's timeout.

        :raises VambeError: when there is no reply; ``sent`` says whether the request may have arrived.
        """
        try:
            http = await self._open()
            async with asyncio.timeout(self._wire.timeout):
                response = await http.handle_async_request(self._wire.request(request))
                return await self._read(response)
        except Exception as error:  # noqa: BLE001 - whatever broke, the request may be out, and the error says so
            failure = self._wire.failure(error, request)
        raise failure  # outside of the handler, so that no text of the library hangs on it

    async def aclose(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _open(self) -> AiohttpTransport:
        loop = asyncio.get_running_loop()
        if self._http is not None and self._loop is loop:
            return self._http
        context = await asyncio.to_thread(ssl_context) if _context is None else _context
        # A connection belongs to the loop that opened it, so a client that outlives its loop starts anew. Asked once
        # more, because another task may have been here during the wait.
        if self._http is None or self._loop is not loop:
            self._http, self._loop = self._transport(context), loop
        return self._http

    def _transport(self, context: ssl.SSLContext) -> AiohttpTransport:
        import aiohttp
        from httpx_aiohttp import AiohttpTransport

        def session() -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(
                limit=self._max_connections, ssl=context, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=60
            )
            return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)

        proxy = httpx.Proxy(self._proxy) if self._proxy else None
        return AiohttpTransport(verify=context, trust_env=False, proxy=proxy, client=session)

    @staticmethod
    async def _read(response: httpx.Response) -> Reply:
        body = bytearray()
        fault = None
        # The stream as the transport made it: what httpx puts around it only counts the bytes.
        stream = cast("httpx.AsyncByteStream", response.stream)
        try:
            async for chunk in stream:
                body += chunk
                if len(body) > MAX_REPLY:
                    fault = _TOO_LARGE
                    break
        except Exception:  # noqa: BLE001 - the status is known, and decides more than why the body ended
            fault = _CUT_OFF
        finally:
            await stream.aclose()
        return _reply(response, body[:MAX_REPLY], fault)
