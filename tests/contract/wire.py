"""A server that speaks raw bytes, for replies and faults that no HTTP library would send."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

Writer = asyncio.StreamWriter
Step = Callable[[Writer], Awaitable[None]]


@dataclass(frozen=True)
class Seen:
    """One request as it arrived, and on which connection."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class WireServer:
    """Answers the first request with the first step, the second with the second, and so on; the last one stays."""

    port: int = 0
    steps: list[Step] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.connections += 1
        number = self.connections
        try:
            while not writer.is_closing():
                self.seen.append(await _request(reader, number))
                step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
                await step(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went away
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader, connection: int) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, target, headers, body, connection)


@contextlib.contextmanager
def running_wire(*, tls: ssl.SSLContext | None = None) -> Iterator[WireServer]:
    """Run a server in a thread of its own."""
    server = WireServer()
    loop = asyncio.new_event_loop()
    listening = threading.Event()
    stop = asyncio.Event()

    async def main() -> None:
        listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
        server.port = listener.sockets[0].getsockname()[1]
        listening.set()
        await stop.wait()
        listener.close()
        handlers = asyncio.all_tasks() - {asyncio.current_task()}
        for task in handlers:
            task.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)
        # A closed transport lets go of its socket in the next round of the loop.
        await asyncio.sleep(0)

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    assert listening.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        assert not thread.is_alive()
        loop.close()


def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def reply(body: bytes | str = b"", *, status: str = "200 OK", close: bool = False, **headers: str) -> Step:
    """Answer with a whole reply."""
    data = body.encode() if isinstance(body, str) else body
    lines = {"Content-Type": "application/json", "Content-Length": str(len(data))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return raw(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + data, close=close)


def raw(data: bytes, *, close: bool = True) -> Step:
    """Answer with bytes as they are, and then close the connection."""

    async def step(writer: Writer) -> None:
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()

    return step


def reset() -> Step:
    """Break the connection with a RST."""

    async def step(writer: Writer) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return step


def hang() -> Step:
    """Never answer; ends when the client goes away or the server stops."""

    async def step(writer: Writer) -> None:
        await writer.wait_closed()

    return step


def drip(data: bytes) -> Step:
    """Send bytes one by one for ever, so that no single read ever times out."""

    async def step(writer: Writer) -> None:
        writer.write(data)
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    return step


def forever(data: bytes) -> Step:
    """Send the same bytes again and again, a few dozen times a second."""

    async def step(writer: Writer) -> None:
        while not writer.is_closing():
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0.02)

    return step


def again(data: bytes, *, asked: threading.Event, done: threading.Event) -> Step:
    """Answer with bytes, and send them once more when asked, without a request."""

    async def step(writer: Writer) -> None:
        writer.write(data)
        await writer.drain()
        await asyncio.get_running_loop().run_in_executor(None, asked.wait, 30)
        writer.write(data)
        await writer.drain()
        done.set()

    return step
