"""How a fault reaches the wire: broken connections, wrong lengths, slow bytes."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import TYPE_CHECKING, Any

from aiohttp import web

from vambe_provider.sandbox.endpoints import retry_after
from vambe_provider.sandbox.model import new_id
from vambe_provider.sandbox.replies import Reply, error_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from vambe_provider.sandbox.faults import Fault

_HTML = (
    b"<html><head><title>%d</title></head><body><center><h1>%d</h1></center><hr><center>nginx</center></body></html>"
)
_FAILURES: dict[str, dict[str, Any]] = {
    "success": {"success": False, "message": "The message could not be sent"},
    "status": {"status": "error", "message": "The message could not be sent"},
    "ok": {"ok": False, "error": "The message could not be sent"},
}
# A half-closed connection is given up after so many seconds, when the client never closes its side.
_HALF_CLOSED_SECONDS = 30.0


class Released:
    """Lets hanging requests go on.

    :param announce: is called when one more request hangs.
    """

    def __init__(self, announce: Callable[[], None]) -> None:
        self._waiting: set[asyncio.Event] = set()
        self._announce = announce

    @property
    def waiting(self) -> int:
        """How many requests hang."""
        return len(self._waiting)

    def release(self) -> int:
        """Let every hanging request go on.

        :returns: how many there were.
        """
        count = len(self._waiting)
        for event in self._waiting:
            event.set()
        self._waiting.clear()
        return count

    async def wait(self, seconds: float | None) -> None:
        """Hang.

        :param seconds: how long at most; None until released.
        """
        event = asyncio.Event()
        self._waiting.add(event)
        self._announce()
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting.discard(event)


class Wire:
    """One request on its connection, with what is needed to answer it wrongly.

    :param request: the request.
    :param read: reads the body of the request.
    :param run: has the effect and returns the proper reply.
    :param respond: turns a reply into a response.
    :param sent: is told which status goes out, before it does; None when none does.
    :param released: where hanging requests wait.
    :param server_time: the server's clock, seconds since 1970.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        *,
        read: Callable[[], Awaitable[None]],
        run: Callable[[bool], Awaitable[Reply]],
        respond: Callable[[int, bytes, dict[str, str]], web.Response],
        sent: Callable[[int | None], None],
        released: Released,
        server_time: float,
    ) -> None:
        self.request = request
        self.read = read
        self.run = run
        self.respond = respond
        self.sent = sent
        self.released = released
        self.server_time = server_time

    async def fail(self, fault: Fault) -> web.StreamResponse:
        """Answer as a fault says.

        :param fault: the fault.
        """
        if fault.kind != "drop":
            # Closing a connection with unread bytes resets it, which would hide every gentler fault.
            await self.read()
        if fault.kind == "hang":
            return await self._hang(fault)
        if fault.kind == "message_fails":
            return self._reply(await self.run(False))
        reply = None
        if fault.when == "after":
            reply = await self.run(True)
        return await _KINDS[fault.kind](self, fault, reply or Reply(200, {"aiContactId": new_id(), "status": "ok"}))

    def _reply(self, reply: Reply) -> web.Response:
        self.sent(reply.status)
        return self.respond(reply.status, reply.body(), reply.headers)

    async def _hang(self, fault: Fault) -> web.StreamResponse:
        if fault.when == "before":
            await self.released.wait(fault.seconds)
            return self._reply(await self.run(True))
        reply = await self.run(True)
        await self.released.wait(fault.seconds)
        return self._reply(reply)

    async def status(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Answer with a status of its own."""
        del reply
        status = fault.status or 500
        self.sent(status)
        if fault.body == "empty":
            return self.respond(status, b"", {})
        if fault.body == "html":
            return self.respond(status, _HTML % (status, status), {"Content-Type": "text/html"})
        text = fault.says or ("Internal server error" if status == 500 else "The sandbox was told to fail")
        return self.respond(status, json.dumps(error_body(status, text)).encode(), {})

    async def drop(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Break the connection without a reply: reset it, end it in order, or close only our side."""
        del reply
        self.sent(None)
        transport = self.request.transport
        if transport is not None and fault.mode == "half_close":
            transport.write_eof()
            loop = asyncio.get_running_loop()
            deadline = loop.time() + _HALF_CLOSED_SECONDS
            # Nothing tells a handler that the client has closed as well, so this one place has to look.
            while not transport.is_closing() and loop.time() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        if transport is not None:
            connection = transport.get_extra_info("socket")
            if fault.mode == "reset" and connection is not None:
                # Without lingering the peer gets a reset instead of an orderly end.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        return web.Response()

    async def truncated(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Promise more bytes than are sent."""
        del fault
        body = reply.body()
        self.sent(reply.status)
        response = web.StreamResponse(status=reply.status, headers=self.respond(reply.status, b"", {}).headers)
        response.content_length = len(body) + 64
        await response.prepare(self.request)
        await response.write(body[: len(body) // 2])
        if self.request.transport is not None:
            self.request.transport.close()
        return response

    async def malformed(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Send JSON that ends in the middle."""
        del fault
        self.sent(reply.status)
        return self.respond(reply.status, reply.body()[:-2], {})

    async def failure_body(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Send a success whose body says that it failed."""
        del reply
        self.sent(200)
        return self.respond(200, json.dumps(_FAILURES[fault.failure]).encode(), {})

    async def huge(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Send a very long reply."""
        payload = reply.payload if isinstance(reply.payload, dict) else {"reply": reply.payload}
        padded = json.dumps(payload | {"padding": "x" * fault.size}).encode()
        self.sent(reply.status)
        response = self.respond(reply.status, padded, {})
        if fault.chunked:
            response.enable_chunked_encoding()
        return response

    async def redirect(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Send the client elsewhere."""
        del reply
        status = fault.status or 307
        self.sent(status)
        return self.respond(status, b"", {"Location": fault.location})

    async def slow(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Send the reply byte by byte."""
        body = reply.body()
        self.sent(reply.status)
        response = web.StreamResponse(status=reply.status, headers=self.respond(reply.status, b"", {}).headers)
        response.content_length = len(body)
        await response.prepare(self.request)
        for position in range(len(body)):
            await response.write(body[position : position + 1])
            await self.released.wait(0.1 if fault.seconds is None else fault.seconds)
        return response

    async def rate_limit(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Turn the request away with 429."""
        del reply
        self.sent(429)
        headers = retry_after(fault.retry_after_form, fault.retry_after, self.server_time)
        body = json.dumps(error_body(429, "ThrottlerException: Too Many Requests")).encode()
        return self.respond(429, body, headers)

    async def close_after_reply(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Reply well, and close the connection that the reply promised to keep."""
        response = self._reply(reply)
        await response.prepare(self.request)
        await response.write_eof()
        if self.request.transport is not None:
            asyncio.get_running_loop().call_later(fault.seconds or 0, self.request.transport.close)
        return response

    async def missing_id(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Leave the contact's id out."""
        del fault
        self.sent(reply.status)
        return self.respond(reply.status, json.dumps(_without(reply.payload, "aiContactId")).encode(), {})

    async def bad_status(self, fault: Fault, reply: Reply) -> web.StreamResponse:
        """Say a status that is not "ok"."""
        del fault
        payload = reply.payload | {"status": "pending"} if isinstance(reply.payload, dict) else reply.payload
        self.sent(reply.status)
        return self.respond(reply.status, json.dumps(payload).encode(), {})


def _without(payload: Any, name: str) -> Any:
    return {key: value for key, value in payload.items() if key != name} if isinstance(payload, dict) else payload


_KINDS: dict[str, Callable[[Wire, Fault, Reply], Awaitable[web.StreamResponse]]] = {
    "status": Wire.status,
    "drop": Wire.drop,
    "truncated": Wire.truncated,
    "malformed": Wire.malformed,
    "failure_body": Wire.failure_body,
    "huge": Wire.huge,
    "redirect": Wire.redirect,
    "slow": Wire.slow,
    "rate_limit": Wire.rate_limit,
    "close_after_reply": Wire.close_after_reply,
    "missing_id": Wire.missing_id,
    "bad_status": Wire.bad_status,
}
