"""The pytest fixture ``vambe_sandbox``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vambe_provider.sandbox.handle import Sandbox


@pytest.fixture(scope="session")
def _vambe_sandbox_server() -> Iterator[Sandbox]:
    from vambe_provider.sandbox.server import running_sandbox

    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def vambe_sandbox(_vambe_sandbox_server: Sandbox) -> Iterator[Sandbox]:
    """A running sandbox, empty at the start of every test; one server serves the whole session."""
    _vambe_sandbox_server.reset()
    yield _vambe_sandbox_server
    _vambe_sandbox_server.reset()
