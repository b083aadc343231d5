"""The endpoint, as little of it as answers like the real one: ``python -m tests.benchmarks.server MILLISECONDS``.

It checks nothing and parses hardly anything, because client and server share the machine and it is the client that is
measured.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import sys

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


class Endpoint(asyncio.Protocol):
    """One connection; the next request on it is not looked at before this one is answered.

    :param latency: seconds until a request is answered.
    :param numbers: counts the tickets of all connections.
    """

    def __init__(self, latency: float, numbers: itertools.count[int]) -> None:
        self._latency, self._numbers = latency, numbers
        self._received = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take a request, and answer it when it is complete and its time has come."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head + b"\r\n")
        if not end or len(body) < (int(length[1]) if length else 0):
            return
        self._received = b""
        answer = b'{"status":"ok","aiContactId":"00000000-0000-4000-8000-%012d"}' % next(self._numbers)
        if self._latency:
            self._loop.call_later(self._latency, self._answer, answer)
        else:
            self._answer(answer)

    def _answer(self, body: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(_HEAD % (len(body), body))


async def serve(latency: float) -> None:
    """Answer on a free port, whose address is printed, until the process is ended."""
    numbers = itertools.count(1)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Endpoint(latency, numbers), "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000))
