"""The driver for an event loop: many requests at once over aiohttp.

It is aiohttp itself and not httpx on top of it: httpx's own pool collapses with many connections, and as a layer over
aiohttp it takes as much CPU again for each ticket. In a module of its own, so that a blocking client need not import
it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from vambe_provider.api.replies import MAX_REPLY, Reply
from vambe_provider.api.transport import (
    CUT_OFF,
    KEEPALIVE_SECONDS,
    TOO_LARGE,
    Wire,
    environment_proxy,
    read_reply,
    ssl_context,
)

if TYPE_CHECKING:
    import ssl
    from contextlib import AbstractAsyncContextManager

    from vambe_provider.api.requests import Request
    from vambe_provider.api.settings import ConnectionSettings

    _Sent = AbstractAsyncContextManager[aiohttp.ClientResponse]


class AsyncTransport:
    """Moves many requests at once over aiohttp, whose connection pool stays fast with hundreds of connections.

    :param settings: the connection.
    :param max_connections: connections that may be open at once.
    """

    def __init__(self, settings: ConnectionSettings, *, max_connections: int = 100) -> None:
        self._wire = Wire(settings, library=f"aiohttp/{aiohttp.__version__}")
        self._proxy = environment_proxy(settings.base_url)
        self._max_connections = max_connections
        self._http: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def exchange(self, request: Request) -> Reply:
        """Send one request once and return the reply, all within the connection's timeout.

        :raises VambeError: when there is no reply; ``sent`` says whether the request may have arrived.
        """
        try:
            http = await self._open()
            async with asyncio.timeout(self._wire.timeout), self._sent(http, request) as response:
                return await self._read(response)
        except Exception as error:  # noqa: BLE001 - whatever broke, the request may be out, and the error says so
            failure = self._wire.failure(error, request)
        raise failure  # outside of the handler, so that no text of the library hangs on it

    async def aclose(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    def _sent(self, http: aiohttp.ClientSession, request: Request) -> _Sent:
        return http.request(
            request.method,
            URL(self._wire.url(request), encoded=True),
            # Not the session's own headers: a proxy would get those, and the key with them.
            headers=self._wire.headers(request),
            data=request.content or None,
            allow_redirects=False,
            proxy=self._proxy,
        )

    async def _open(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._http is not None and self._loop is loop:
            return self._http
        context = await asyncio.to_thread(ssl_context)
        # A connection belongs to the loop that opened it, so a client that lives longer than its loop starts anew.
        # Asked once more, because another task may have been here during the wait.
        if self._http is None or self._loop is not loop:
            self._http, self._loop = self._session(context), loop
        return self._http

    def _session(self, context: ssl.SSLContext) -> aiohttp.ClientSession:
        connect = self._wire.connect
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._max_connections, ssl=context, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=60
            ),
            timeout=aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )

    @staticmethod
    async def _read(response: aiohttp.ClientResponse) -> Reply:
        body = bytearray()
        fault = None
        try:
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_REPLY:
                    fault = TOO_LARGE
                    break
        except Exception:  # noqa: BLE001 - the status is known, and decides more than why the body ended
            fault = CUT_OFF
        return read_reply(response.status, response.raw_headers, body, fault)
