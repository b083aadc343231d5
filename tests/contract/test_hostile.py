"""Thousands of replies that no sane server sends: a result or one of our errors, and never more than was asked for.

``HOSTILE_REPLIES=10000`` runs as many for each method of each client.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.given import KEY, TICKET, settings_for
from tests.contract.hostile import NEEDLE, hostile, hostile_body
from vambe_provider.api import AsyncVambeClient, VambeClient, requests
from vambe_provider.api.replies import MAX_REPLY, Reader, Reply
from vambe_provider.api.retry import Retries
from vambe_provider.api.transport import AsyncTransport
from vambe_provider.exceptions import (
    VambeAuthError,
    VambeConfigError,
    VambeError,
    VambeMaybeSentError,
    VambeRateLimitError,
    VambeReadError,
    VambeRefusedError,
)

if TYPE_CHECKING:
    from tests.contract.wire import WireServer, Writer

REPLIES = int(os.environ.get("HOSTILE_REPLIES", "60"))
TIMEOUT = 60.0
METHODS: dict[str, Callable[[Any], Any]] = {
    "open_ticket": lambda client: client.open_ticket(TICKET),
    "close_ticket": lambda client: client.close_ticket("c1"),
    "get_pipelines": lambda client: client.get_pipelines(),
    "find_stage": lambda client: client.find_stage("Support / New"),
    "get_channel": lambda client: client.get_channel(),
    "get_contact": lambda client: client.get_contact("c1"),
    "search_contacts": lambda client: client.search_contacts(phone="56912345678"),
    "list_contacts": lambda client: client.list_contacts(days=1),
    "get_messages": lambda client: client.get_messages("c1"),
    "update_contact_metadata": lambda client: client.update_contact_metadata("c1", {"a": "b"}),
    "update_ticket_metadata": lambda client: client.update_ticket_metadata({"a": "b"}, ticket_id="t1"),
    "update_ticket_amount": lambda client: client.update_ticket_amount(1, ticket_id="t1"),
}
WRITES = {name for name in METHODS if name.startswith(("open", "close", "update"))}


def serve_hostile(wire: WireServer, seed: str) -> None:
    rng = random.Random(seed)

    async def step(writer: Writer) -> None:
        writer.write(hostile(rng))
        await writer.drain()
        writer.close()  # else a reply that promises more than it holds would last until the timeout

    wire.steps = [step]


def check(name: str, result: Any) -> None:
    if isinstance(result, BaseException):
        kinds = (VambeMaybeSentError,) if name in WRITES else (VambeReadError, VambeConfigError)
        assert isinstance(result, (VambeRefusedError, VambeRateLimitError, *kinds)), (name, result)
        text = f"{result} {result!r}"
        assert text.encode()
        assert not [char for char in text if not char.isprintable()], text
        assert NEEDLE not in text
        assert KEY not in text


@pytest.mark.parametrize("name", METHODS)
async def test_the_async_client_answers_with_a_result_or_with_our_error(name: str, wire: WireServer) -> None:
    serve_hostile(wire, f"async {name}")

    async def many(client: AsyncVambeClient) -> list[Any]:
        results: list[Any] = []
        for _ in range(REPLIES // 8 + 1):
            value = METHODS[name](client)
            try:
                results.append([item async for item in value] if isinstance(value, AsyncIterator) else await value)
            except Exception as error:
                results.append(error)
        return results

    settings = settings_for(wire, timeout=TIMEOUT)
    # No connection to spare, so that one which is never given back is missed.
    async with AsyncVambeClient(settings, max_connections=8, retries=Retries(attempts=1)) as client:
        for results in await asyncio.gather(*(many(client) for _ in range(8))):
            for result in results:
                check(name, result)


@pytest.mark.parametrize("name", METHODS)
def test_the_blocking_client_answers_with_a_result_or_with_our_error(name: str, wire: WireServer) -> None:
    serve_hostile(wire, f"sync {name}")
    with VambeClient(settings_for(wire, timeout=TIMEOUT), retries=Retries(attempts=1)) as client:
        for _ in range(REPLIES):
            try:
                value = METHODS[name](client)
                result = list(value) if isinstance(value, Iterator) else value
            except Exception as error:
                result = error
            check(name, result)


async def test_no_more_than_one_mebibyte_is_kept_of_any_reply(wire: WireServer) -> None:
    serve_hostile(wire, "sizes")
    transport, sizes = AsyncTransport(settings_for(wire, timeout=TIMEOUT)), []
    for _ in range(REPLIES):
        try:
            sizes.append(len((await transport.exchange(requests.write("close the ticket", "/close", {}))).body))
        except VambeError:
            continue
    await transport.aclose()
    assert max(sizes) <= MAX_REPLY


STATUSES = [200, 200, 200, 201, 400, 401, 404, 422, 429, 500]
READS = [Reader.opened, Reader.done, Reader.pipelines, Reader.contacts, Reader.contact, Reader.channel, Reader.messages]


@pytest.fixture(scope="module")
def bodies() -> list[Reply]:
    rng, found = random.Random("bodies"), []
    for _ in range(10_000):
        status, encoding = rng.choice(STATUSES), rng.choice(["", "", "", "", "", "", "gzip", "br"])
        headers = {"content-type": "application/json", "content-encoding": encoding}
        found.append(Reply(status, headers, hostile_body(rng, status)[:MAX_REPLY]))
    return found


@pytest.mark.parametrize("read", READS, ids=lambda read: read.__name__)
def test_ten_thousand_bodies_are_read_or_refused_in_our_words(
    read: Callable[[Reader, Reply], object], bodies: list[Reply]
) -> None:
    reader = Reader(requests.write("close the ticket", "/close", {}), host="h", api_key=KEY)
    kinds: set[type] = set()
    for reply in bodies:
        result: object
        try:
            result = read(reader, reply)
        except Exception as error:
            result = error
        check("open_ticket", result)
        kinds.add(type(result))
    assert {VambeAuthError, VambeMaybeSentError, VambeRateLimitError, VambeRefusedError} < kinds, "and a result"
