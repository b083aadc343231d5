"""One running sandbox for all tests of it, empty at the start of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.sandbox.helpers import Api
from vambe_provider.sandbox import running_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vambe_provider.sandbox import Sandbox


@pytest.fixture(scope="session")
def _server() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(_server: Sandbox) -> Sandbox:
    _server.reset()
    return _server


@pytest.fixture
def http(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.url, headers={"x-api-key": sandbox.api_key}, timeout=30) as client:
        yield client


@pytest.fixture
def api(http: httpx.Client) -> Api:
    return Api(http)
