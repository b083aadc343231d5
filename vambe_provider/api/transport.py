"""What moves the bytes of one request, and knows nothing about what they mean.

There is one transport of httpx. It lies on aiohttp's pool, which does not slow down with many connections as httpx's
own does, and has one place that knows whether a byte can have left. No client of httpx is above it: that would log each
URL at INFO, with the phone numbers and addresses of a search. The blocking transport runs it in a thread. Neither
follows a redirect, and neither repeats a request that writes.
"""

from __future__ import annotations

import asyncio
import functools
import platform
import select
import threading
import weakref
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import httpx
from yarl import URL

from vambe_provider import __version__
from vambe_provider.api.environment import environment_proxy, ssl_context
from vambe_provider.api.replies import MAX_REPLY, Reply
from vambe_provider.api.retry import transport_error

if TYPE_CHECKING:
    import ssl
    from collections.abc import Coroutine

    from aiohttp.client import ClientTimeout
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from vambe_provider.api.requests import Guard, Request
    from vambe_provider.api.settings import ConnectionSettings

T = TypeVar("T")

# A connection that the server closes while it idles makes of the next write one that may have been sent.
KEEPALIVE_SECONDS = 5.0
CONNECT_SECONDS = 10.0
TOO_LARGE = "is larger than 1 MiB"
CUT_OFF = "was cut off"


class Phase(Enum):
    """How far a request has come."""

    LOCAL = "being prepared on this machine"
    GIVEN = "given to the HTTP library, which has not asked for a connection yet"
    CONNECTING = "waiting for a connection"
    OUT = "the first byte may have left"


@dataclass(slots=True)
class Progress:
    """How far one request has come, and what has to be asked before it leaves.

    :param guard: called when the connection is at hand, right before the first byte is written.
    :param phase: kept up to date by :class:`Connector`.
    """

    guard: Guard | None = None
    phase: Phase = Phase.LOCAL

    @property
    def surely_not_sent(self) -> bool:
        """Whether no byte can have left. Where the library's doings are not known, a byte may have."""
        return self.phase in (Phase.LOCAL, Phase.CONNECTING)


_progress: ContextVar[Progress] = ContextVar("vambe_progress")


class Connector(aiohttp.TCPConnector):
    """Hands out connections on which nothing is left to read, and asks the request's guard before it does.

    No request can leave without a connection, and between the return of :meth:`connect` and the first write nothing
    waits. So this one method knows whether a byte may have left, and is the last place that can keep one back.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: weakref.WeakSet[ResponseHandler] = weakref.WeakSet()

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout) -> Connection:
        """Return a connection to a request that may go out now."""
        progress = _progress.get()
        progress.phase = Phase.CONNECTING
        connection = await super().connect(req, traces, timeout)
        while self._spoiled(connection):
            connection.close()
            connection = await super().connect(req, traces, timeout)
        try:
            if progress.guard is not None:
                progress.guard()
        except BaseException:
            connection.close()
            raise
        progress.phase = Phase.OUT
        return connection

    def _spoiled(self, connection: Connection) -> bool:
        """Say whether an earlier request has left something to read, which would pass for the reply to the next one.

        A new connection has nothing to read but what belongs to its TLS handshake.
        """
        protocol = connection.protocol
        assert protocol is not None, "aiohttp hands out open connections only"  # noqa: S101
        if protocol not in self._used:
            self._used.add(protocol)
            return False
        return protocol.should_close or _readable(connection)


def _readable(connection: Connection) -> bool:
    """Say whether bytes, or the end of the connection, wait in the kernel."""
    transport = connection.transport
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class Pool(httpx.AsyncBaseTransport):
    """A transport of httpx on the connections of aiohttp.

    :param settings: the connection.
    :param max_connections: connections that may be open at once.
    :raises VambeConfigError: when the environment names a proxy that cannot be used.
    """

    def __init__(self, settings: ConnectionSettings, *, max_connections: int) -> None:
        self.proxy = environment_proxy(settings.base_url)
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        connect = min(CONNECT_SECONDS, settings.timeout / 2)
        self._limits = aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect)
        # All tickets of one sender go to the same address.
        self._url = functools.lru_cache(maxsize=64)(functools.partial(URL, encoded=True))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request once; the body of the response is still to be read."""
        session = await self._open()
        url, content = self._url(request.extensions["address"]), request.content
        _progress.get().phase = Phase.GIVEN
        response = await session.request(
            request.method,
            url,
            headers=request.extensions["headers"],
            data=content or None,
            timeout=self._limits,
            allow_redirects=False,
            proxy=self.proxy,
        )
        try:
            # The headers as they came: decoded, they may be no text that httpx takes.
            return httpx.Response(response.status, headers=list(response.raw_headers), stream=_Body(response))
        except BaseException:
            response.close()
            raise

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is not None and self._loop is loop:
            return self._session
        context = await asyncio.to_thread(ssl_context)
        # A connection belongs to the loop that opened it, so a client that outlives its loop starts anew. Asked once
        # more, because another task may have been here during the wait.
        if self._session is None or self._loop is not loop:
            self._session, self._loop = _session(context, self._max_connections), loop
        return self._session


class _Body(httpx.AsyncByteStream):
    """The body of a response, as it arrives."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._response.content.read(MAX_REPLY + 1):
            yield chunk

    async def aclose(self) -> None:
        # Gives the connection back when the body was read to its end, and else closes it.
        self._response.close()


class AsyncTransport:
    """Moves many requests at once.

    :param settings: the connection.
    :param max_connections: connections that may be open at once.
    :raises VambeConfigError: when the environment names a proxy that cannot be used.
    """

    def __init__(self, settings: ConnectionSettings, *, max_connections: int = 100) -> None:
        self._host, self._base_url = settings.host, settings.base_url
        self._timeout = settings.timeout
        self._pool = Pool(settings, max_connections=max_connections)
        agent = f"airflow-provider-vambe/{__version__} aiohttp/{aiohttp.__version__} python/{platform.python_version()}"
        plain = {"User-Agent": agent, "Accept": "application/json", "Accept-Encoding": "identity"}
        self._plain = {**plain, "x-api-key": settings.api_key}
        self._with_body = {**self._plain, "Content-Type": "application/json"}
        self._url = functools.lru_cache(maxsize=64)(httpx.URL)

    async def exchange(self, request: Request) -> Reply:
        """Send one request once and return the reply, all within the connection's timeout.

        :param request: what is sent. An error of ours that its guard raises comes out as it is.
        :raises VambeError: when there is no reply; ``sent`` says whether the request may have arrived.
        """
        progress = Progress(request.guard)
        token = _progress.set(progress)
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._respond(request)
        except Exception as error:  # noqa: BLE001 - whatever broke, the request may be out, and the error says so
            sent = not (progress.surely_not_sent or isinstance(error, (aiohttp.InvalidURL, httpx.InvalidURL)))
            proxied = self._pool.proxy is not None
            failure = transport_error(error, request, host=self._host, sent=sent, proxied=proxied)
        else:
            return await _read(response, deadline)
        finally:
            _progress.reset(token)
        raise failure  # outside of the handler, so that no text of the library hangs on it

    async def _respond(self, request: Request) -> httpx.Response:
        address = f"{self._base_url}{request.target}"
        made = httpx.Request(
            request.method,
            self._url(address),
            content=request.content,
            extensions={
                # As they go over the wire: httpx would write both in its own way.
                "address": address,
                "headers": self._plain if request.body is None else self._with_body,
            },
        )
        return await self._pool.handle_async_request(made)

    async def aclose(self) -> None:
        """Close the connections; the next request opens them again."""
        await self._pool.aclose()


def _session(context: ssl.SSLContext, max_connections: int) -> aiohttp.ClientSession:
    connector = Connector(limit=max_connections, ssl=context, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=60)
    return aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False
    )


async def _read(response: httpx.Response, deadline: float) -> Reply:
    """Read a body of at most ``MAX_REPLY`` bytes; the status is known, and decides more than why the body ended."""
    body, fault = bytearray(), None
    length = response.headers.get("content-length", "")
    try:
        async with asyncio.timeout_at(deadline):
            if length.isdecimal() and int(length) > MAX_REPLY:
                fault = TOO_LARGE
            else:
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > MAX_REPLY:
                        fault = TOO_LARGE
                        break
    except Exception:  # noqa: BLE001 - see above
        fault = CUT_OFF
    finally:
        await response.aclose()
    return Reply(response.status_code, response.headers, bytes(body[:MAX_REPLY]), fault)


class SyncTransport:
    """Moves one request after the other with :class:`AsyncTransport`, in an event loop that runs only meanwhile.

    The loop runs in a thread, so that it does not matter whether the caller has one, and a signal that interrupts the
    caller is not caught by the loop.

    :param settings: the connection.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._inner = AsyncTransport(settings, max_connections=1)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._forgotten: weakref.finalize[..., Any] | None = None

    def exchange(self, request: Request) -> Reply:
        """Send one request once and return the reply; see :meth:`AsyncTransport.exchange`."""
        with self._lock:
            return _in_a_thread(self._open(), self._inner.exchange(request))

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            loop, self._loop = self._loop, None
            if loop is not None and self._forgotten is not None and self._forgotten.detach():
                _in_a_thread(loop, self._inner.aclose())
                loop.close()

    def _open(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._forgotten = weakref.finalize(self, _close_forgotten, self._loop, self._inner)
        return self._loop


def _in_a_thread(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a loop in a thread of its own, and wait for it; who is interrupted cancels it."""
    done: Future[T] = Future()
    task = loop.create_task(work)

    def run() -> None:
        try:
            done.set_result(loop.run_until_complete(task))
        except BaseException as error:  # noqa: BLE001 - handed to the waiting thread, whatever it is
            done.set_exception(error)

    thread = threading.Thread(target=run, name="vambe-request", daemon=True)
    thread.start()
    try:
        return done.result()
    finally:
        if not done.done():
            loop.call_soon_threadsafe(task.cancel)
        thread.join()


def _close_forgotten(loop: asyncio.AbstractEventLoop, inner: AsyncTransport) -> None:
    """Close what nobody closed, so that nothing complains about it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # as usual, and at the end of the process, where no thread can be started any more
        loop.run_until_complete(inner.aclose())
    else:
        _in_a_thread(loop, inner.aclose())
    loop.close()
