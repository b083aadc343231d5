"""Both clients behind one call, so that every case runs on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.contract.wire import WireServer, running_wire
from vambe_provider.api import AsyncVambeClient, ConnectionSettings, VambeClient
from vambe_provider.api.retry import Retries

Act = Callable[[Any], Any]
Run = Callable[..., list[Any]]


def run_sync(settings: ConnectionSettings, *acts: Act) -> list[Any]:
    results: list[Any] = []
    with VambeClient(settings, retries=Retries(attempts=2, base=0.0)) as client:
        for act in acts:
            try:
                value = act(client)
                results.append(list(value) if isinstance(value, Iterator) else value)
            except Exception as error:
                results.append(error)
    return results


def run_async(settings: ConnectionSettings, *acts: Act) -> list[Any]:
    async def main() -> list[Any]:
        results: list[Any] = []
        async with AsyncVambeClient(settings, retries=Retries(attempts=2, base=0.0)) as client:
            for act in acts:
                try:
                    value = act(client)
                    results.append([item async for item in value] if isinstance(value, AsyncIterator) else await value)
                except Exception as error:
                    results.append(error)
        return results

    return asyncio.run(main())


@pytest.fixture(params=[run_sync, run_async], ids=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    """Return a function that does things with one client, and returns for each its result or its error."""
    runner: Run = request.param
    return runner


@pytest.fixture
def wire() -> Iterator[WireServer]:
    """A raw server."""
    with running_wire() as server:
        yield server
