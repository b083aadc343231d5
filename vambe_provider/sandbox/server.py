"""Starting and stopping the sandbox: in an event loop, or in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from vambe_provider.sandbox.app import Service
from vambe_provider.sandbox.config import DEFAULT_API_KEY, SandboxConfig
from vambe_provider.sandbox.control import Control
from vambe_provider.sandbox.guard import guard, is_loopback
from vambe_provider.sandbox.handle import Sandbox
from vambe_provider.sandbox.page_routes import Pages
from vambe_provider.sandbox.state import SandboxState
from vambe_provider.sandbox.storage import StateFileError, Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_STOP_SECONDS = 10.0
_SHORTEST_KEY = 12


def check_address(host: str, config: SandboxConfig) -> None:
    """Refuse to be reachable from other machines with a key that everybody knows.

    :param host: the address to listen on.
    :param config: the switches, with the key.
    :raises ValueError: naming the way out.
    """
    if not is_loopback(host) and (config.api_key == DEFAULT_API_KEY or len(config.api_key) < _SHORTEST_KEY):
        raise ValueError(
            f"{host or 'every address'} can be reached from other machines; listen on 127.0.0.1, or give a key of your "
            f"own with --api-key, of {_SHORTEST_KEY} characters at least, which the page then asks for"
        )


async def serve(
    config: SandboxConfig,
    *,
    host: str,
    port: int,
    state: str | Path | None,
    ready: Callable[[Sandbox], None],
    stop: asyncio.Event,
) -> None:
    """Run a sandbox until an event is set.

    :param config: the switches.
    :param host: the address to listen on.
    :param port: the port; 0 for any free one.
    :param state: the SQLite file, or None.
    :param ready: is called with the handle when connections are accepted.
    :param stop: ends it.
    :raises OSError: when the port cannot be had.
    :raises StateFileError: when the state file cannot be used.
    :raises ValueError: when other machines could reach it with a key that everybody knows.
    """
    check_address(host, config)
    storage = Storage(state) if state else None
    try:
        data = SandboxState(config, storage)
    except StateFileError:
        if storage is not None:
            storage.close()
        raise
    service = Service(data)
    control = Control(service)
    app = web.Application(middlewares=[guard(data, host)])
    app.add_routes([*service.routes(), *control.routes(), *Pages(service, control).routes()])
    # A stopped sandbox does not wait for requests that hang on purpose.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    try:
        await runner.setup()
        site = web.TCPSite(runner, host, port, backlog=1024)
        await site.start()
        address = runner.addresses[0]
        shown = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
        ready(Sandbox(service, f"http://{shown}:{address[1]}", asyncio.get_running_loop()))
        await stop.wait()
        service.released.release()
    finally:
        await runner.cleanup()
        data.close()


@contextmanager
def running_sandbox(
    *, host: str = "127.0.0.1", port: int = 0, state: str | Path | None = None, **switches: Any
) -> Iterator[Sandbox]:
    """Run a sandbox in a thread of its own for the length of a ``with`` block.

    :param host: the address to listen on.
    :param port: the port; 0 for any free one.
    :param state: a SQLite file that keeps the data, or None for memory only.
    :param switches: see :class:`~vambe_provider.sandbox.config.SandboxConfig`.
    :returns: the handle, when connections are accepted.
    :raises ValueError: when a switch is wrong, or other machines could reach it with a key that everybody knows.
    :raises OSError: when the port cannot be had.
    """
    config = SandboxConfig().changed(switches)
    started = threading.Event()
    handles: list[Sandbox] = []
    stops: list[Callable[[], None]] = []
    errors: list[BaseException] = []

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))  # type: ignore[arg-type]

        def ready(sandbox: Sandbox) -> None:
            handles.append(sandbox)
            started.set()

        await serve(config, host=host, port=port, state=state, ready=ready, stop=stop)

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            errors.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=main, name="vambe-sandbox", daemon=True)
    thread.start()
    started.wait()
    if errors:
        thread.join()
        raise errors[0]
    try:
        yield handles[0]
    finally:
        stops[0]()
        thread.join(_STOP_SECONDS)
    if errors:
        raise errors[0]
