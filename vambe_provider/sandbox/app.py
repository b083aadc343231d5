"""The HTTP side of the sandbox: from a request to the endpoint's function and back, with the faults in between."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import json
import random
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from aiohttp import web

from vambe_provider.sandbox.endpoints import ENDPOINTS, Call, RateLimiter
from vambe_provider.sandbox.faults import FaultSet
from vambe_provider.sandbox.model import RequestRecord
from vambe_provider.sandbox.replies import ApiError, Reply
from vambe_provider.sandbox.transport import Released, Wire

if TYPE_CHECKING:
    from vambe_provider.sandbox.state import SandboxState


class _StaleRequestError(Exception):
    """The sandbox was reset while the request was under way."""


class Service:
    """Everything that one running sandbox consists of.

    :param state: the account.
    """

    def __init__(self, state: SandboxState) -> None:
        self.state = state
        self.initial_config = state.config
        self.faults = FaultSet()
        self.released = Released(state.announce)
        self.limiter = RateLimiter()
        self._used_connections: WeakSet[asyncio.Transport] = WeakSet()

    def reset(self) -> None:
        """Forget all data, requests, faults and changed switches; requests under way have no effect any more."""
        with self.state.changed:
            self.faults.rules.clear()
            self.limiter.accepted.clear()
            self.state.reset(self.initial_config)

    def routes(self) -> list[web.RouteDef]:
        """Return the API's routes, and one for every other path under ``/api``."""
        routes = [web.route(method, path, self._handler(name)) for name, (method, path, _) in ENDPOINTS.items()]
        return [*routes, web.route("*", "/api/{rest:.*}", self._unknown)]

    def _handler(self, name: str) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._handle(name, request)

        return handle

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        record = self._start("unknown", request)
        self._finish(record, 404)
        error = ApiError(404, f"Cannot {request.method} {request.path}")
        return self._response(404, error.reply(self.state.config).body(), {})

    def _start(self, name: str, request: web.BaseRequest) -> RequestRecord:
        transport = request.transport
        reused = transport in self._used_connections
        if transport is not None and not reused:
            self._used_connections.add(transport)
        query = dict(request.query) if request.query_string else {}
        record = RequestRecord(name, request.method, request.path, query, self.state.now(), reused)
        record.phone = re.sub(r"\D", "", query.get("phone", "")) or None
        self.state.log(record)
        return record

    async def _handle(self, name: str, request: web.Request) -> web.StreamResponse:
        record, epoch = self._start(name, request), self.state.epoch
        fault = None
        if self.faults.rules:
            if self.faults.needs_phone(name):
                await self._read_ahead(request, record)
            with self.state.changed:
                contact = request.match_info.get("id")
                fault = self.faults.pick(name, record.phone, reused=record.reused, contact=contact)
                record.fault = fault.kind if fault else None
                self.state.announce()
        try:
            if fault is not None:
                return await self._wire(name, request, record, epoch).fail(fault)
            reply = await self._run(name, request, record, epoch)
        except (_StaleRequestError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        self._finish(record, reply.status)
        return self._response(reply.status, reply.body(), reply.headers)

    def _wire(self, name: str, request: web.Request, record: RequestRecord, epoch: int) -> Wire:
        async def run(message_runs: bool) -> Reply:
            return await self._run(name, request, record, epoch, message_runs=message_runs)

        return Wire(
            request,
            read=partial(self._read_ahead, request, record),
            run=run,
            respond=self._response,
            sent=partial(self._finish, record),
            released=self.released,
            server_time=self.state.server_time(),
        )

    async def _read_ahead(self, request: web.Request, record: RequestRecord) -> None:
        with contextlib.suppress(ApiError):  # the endpoint itself will say so
            await _read(request, record, self.state)

    def _finish(self, record: RequestRecord, status: int | None) -> None:
        record.status = status
        self.state.announce()

    async def _run(
        self, name: str, request: web.Request, record: RequestRecord, epoch: int, *, message_runs: bool = True
    ) -> Reply:
        """Have the effect of a request: authenticate and read it, take the configured time, call the endpoint."""
        config = self.state.config
        try:
            if request.headers.get("x-api-key") != config.api_key:
                raise ApiError(401, "Invalid API key")  # noqa: TRY301
            # Before the wait: a client that hangs up meanwhile has sent its request all the same.
            await _read(request, record, self.state)
            if config.latency_ms or config.latency_jitter_ms:
                jitter = random.random() * config.latency_jitter_ms  # noqa: S311
                await asyncio.sleep((config.latency_ms + jitter) / 1000)
            call = Call(self.state, dict(request.match_info), record.query, record.body, self.limiter, message_runs)
            with self.state.changed:
                if epoch != self.state.epoch:
                    raise _StaleRequestError
                reply = ENDPOINTS[name][2](call)
        except ApiError as error:
            reply = error.reply(config)
        record.effect = reply.effect
        return reply

    def _response(self, status: int, body: bytes, headers: dict[str, str]) -> web.Response:
        all_headers = {"Content-Type": "application/json; charset=utf-8"} | headers
        if self.state.config.clock_skew_seconds:
            all_headers["Date"] = email.utils.formatdate(self.state.server_time(), usegmt=True)
        return web.Response(status=status, body=body, headers=all_headers)


async def _read(request: web.Request, record: RequestRecord, state: SandboxState) -> None:
    """Read and parse the body into the record, once.

    :raises ApiError: 413 when it is too long, 400 when it is no JSON.
    """
    if record.body is not None or not request.can_read_body:
        return
    longest = state.config.max_body_bytes
    raw = await request.content.read(longest + 1)
    while len(raw) <= longest and not request.content.at_eof():
        raw += await request.content.read(longest + 1 - len(raw))
    if len(raw) > longest:
        raise ApiError(413, "request entity too large")
    if request.content_type != "application/json" or not raw:
        return
    try:
        body = json.loads(raw)
    except ValueError:
        raise ApiError(400, "Unexpected token in JSON") from None
    state.log_body(record, body, len(raw))
    if isinstance(body, dict) and "to_phone_number" in body:
        record.phone = re.sub(r"\D", "", str(body["to_phone_number"])) or None
