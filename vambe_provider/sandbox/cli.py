"""The command ``python -m vambe_provider.sandbox``."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

from vambe_provider.sandbox.config import DEFAULT_API_KEY, SandboxConfig
from vambe_provider.sandbox.server import check_address, serve
from vambe_provider.sandbox.storage import StateFileError

if TYPE_CHECKING:
    from vambe_provider.sandbox.handle import Sandbox


def main(arguments: list[str] | None = None) -> int:
    """Run a sandbox until Ctrl-C or SIGTERM.

    :param arguments: the command line without the program's name; None for the process's own.
    :returns: the exit code: 0 after a stop, 1 when it could not start.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        config = SandboxConfig().changed(
            {"latency_ms": options.latency_ms, "api_key": options.api_key} | _switches(options.config)
        )
        check_address(options.host, config)
    except ValueError as error:
        parser.error(str(error))
    try:
        asyncio.run(_run(config, options))
    except (OSError, StateFileError) as error:
        sys.stderr.write(f"The sandbox cannot start on {options.host}:{options.port}: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vambe_provider.sandbox", description="A local Vambe to develop, demo and test against."
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; one that other machines reach needs --api-key (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=8700, help="port; 0 for any free one (default: %(default)s)")
    parser.add_argument("--state", metavar="FILE", help="SQLite file that keeps tickets over a restart")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="milliseconds that every API request takes")
    parser.add_argument("--api-key", default=DEFAULT_API_KEY, help="the accepted API key (default: %(default)s)")
    parser.add_argument(
        "--config", metavar="JSON", default="{}", help='switches of SandboxConfig, as {"existing_ticket": "move"}'
    )
    return parser


def _switches(text: str) -> dict[str, Any]:
    switches = json.loads(text)
    if not isinstance(switches, dict):
        raise ValueError("--config must be a JSON object")  # noqa: TRY004 - it is the user's text that is wrong
    return switches


async def _run(config: SandboxConfig, options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def ready(sandbox: Sandbox) -> None:
        sys.stdout.write(f"Vambe sandbox ready at {sandbox.url} with API key {sandbox.api_key}\n")
        sys.stdout.flush()

    await serve(config, host=options.host, port=options.port, state=options.state, ready=ready, stop=stop)
